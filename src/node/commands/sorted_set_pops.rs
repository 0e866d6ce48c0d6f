//! Taking members from either end of a sorted set.

use super::sorted_sets::{write_member, write_score};
use crate::node::args::{integer, is, unsigned};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Encoder, Protocol, Request};
use crate::store::{Db, Value};

pub(super) const HANDLERS: Handlers =
    &[("zmpop", zmpop), ("zpopmax", zpopmax), ("zpopmin", zpopmin)];

type Done = Result<(), CommandError>;

/// Which end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Lowest,
    Highest,
}

impl End {
    /// What is told of a set that something was taken from.
    fn event(self) -> &'static str {
        match self {
            Self::Lowest => "zpopmin",
            Self::Highest => "zpopmax",
        }
    }
}

/// Takes up to `count` members, 1 at least, from the end of a sorted set that is there, and writes
/// them, as pairs or flat, behind `header`, which gets their number. Returns how many.
fn pop(
    db: &mut Db<'_>,
    out: &mut Encoder<'_>,
    key: &[u8],
    end: End,
    count: usize,
    nests: bool,
    header: impl FnOnce(&mut Encoder<'_>, usize),
) -> Result<usize, CommandError> {
    let Some(mut set) = db.sorted_set_mut(key)? else { return Ok(0) };
    let (len, reverse) = (set.len(), end == End::Highest);
    let count = count.min(len);
    header(out, count);
    for (member, score) in set.iter_from(if reverse { len - 1 } else { 0 }, reverse).take(count) {
        if nests {
            out.array(2);
        }
        write_member(out, member);
        write_score(out, score);
    }
    if count == len {
        db.remove(key);
    } else {
        let old = set.remove_ranks(if reverse { len - count } else { 0 }, count);
        old.into_iter().for_each(|old| db.discard(Value::SortedSet(old)));
    }
    Ok(count)
}

fn zpopmin(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    pop_one_end(ctx, request, End::Lowest)
}

fn zpopmax(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    pop_one_end(ctx, request, End::Highest)
}

fn pop_one_end(ctx: &mut Ctx<'_>, request: &Request<'_>, end: End) -> Done {
    if request.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = request.get(2).map(unsigned).transpose()?;
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    if db.sorted_set_mut(key)?.is_none() || count == Some(0) {
        out.array(0);
        return Ok(());
    }
    let nests = count.is_some() && out.protocol() == Protocol::Resp3;
    pop(&mut db, out, key, end, count.unwrap_or(1) as usize, nests, |out, count| {
        out.array(if nests { count } else { count * 2 });
    })?;
    ctx.modified(key);
    ctx.notify(Class::SortedSet, end.event(), key);
    ctx.notify_if_gone(key);
    Ok(())
}

/// `numkeys key … MIN|MAX [COUNT count]` from `at` on: where the keys end, which end of the set,
/// how many members.
pub(super) fn multi_pop_options(
    request: &Request<'_>,
    at: usize,
) -> Result<(usize, End, usize), CommandError> {
    let positive = |arg: &[u8], error| {
        let number = integer(arg).ok().and_then(|number| usize::try_from(number).ok());
        number.filter(|&number| number > 0).ok_or(CommandError::line(error))
    };
    let keys = positive(request.arg(at), "ERR numkeys should be greater than 0")?;
    let keys_end = keys.checked_add(at + 1).ok_or(CommandError::Syntax)?;
    let end = match request.get(keys_end) {
        Some(word) if is(word, "min") => End::Lowest,
        Some(word) if is(word, "max") => End::Highest,
        _ => return Err(CommandError::Syntax),
    };
    let mut count = None;
    let mut next = keys_end + 1;
    while let Some(word) = request.get(next) {
        match request.get(next + 1) {
            Some(number) if count.is_none() && is(word, "count") => {
                count = Some(positive(number, "ERR count should be greater than 0")?);
            }
            _ => return Err(CommandError::Syntax),
        }
        next += 2;
    }
    Ok((keys_end, end, count.unwrap_or(1)))
}

fn zmpop(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (keys_end, end, count) = multi_pop_options(request, 1)?;
    for at in 2..keys_end {
        if pop_with_key(ctx, request.arg(at), end, Some(count))? {
            return Ok(());
        }
    }
    ctx.out.null_array();
    Ok(())
}

/// Pops, and answers the key before what was popped: one member and its score, or up to `count` of
/// both as a list of pairs. False, and no answer, if the key is not there.
pub(super) fn pop_with_key(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    end: End,
    count: Option<usize>,
) -> Result<bool, CommandError> {
    let (mut db, out) = ctx.data();
    if db.sorted_set_mut(key)?.is_none() {
        return Ok(false);
    }
    let nests = count.is_some();
    let popped = pop(&mut db, out, key, end, count.unwrap_or(1), nests, |out, taken| {
        out.array(if nests { 2 } else { 3 });
        out.bulk(key);
        if nests {
            out.array(taken);
        }
    })?;
    ctx.modified(key);
    ctx.notify(Class::SortedSet, end.event(), key);
    ctx.notify_if_gone(key);
    let name: &[u8] = if end == End::Lowest { b"ZPOPMIN" } else { b"ZPOPMAX" };
    if nests {
        ctx.propagate_as(&[name, key, itoa::Buffer::new().format(popped).as_bytes()]);
    } else {
        ctx.propagate_as(&[name, key]);
    }
    Ok(true)
}
