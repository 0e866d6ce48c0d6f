//! The commands that wait for an element to take: of lists and of sorted sets.

use super::lists::{self, MultiPop};
use super::sorted_set_pops::{self, multi_pop_options};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::serve::{Wait, no_array, no_value};
use crate::resp::Request;
use crate::store::{End, Type};
use std::ops::Range;
use std::time::Instant;

pub(super) const HANDLERS: Handlers = &[
    ("blmove", blmove),
    ("blmpop", blmpop),
    ("blpop", |ctx, request| list_pop(ctx, request, End::Head)),
    ("brpop", |ctx, request| list_pop(ctx, request, End::Tail)),
    ("brpoplpush", brpoplpush),
    ("bzmpop", bzmpop),
    ("bzpopmax", |ctx, request| sorted_set_pop(ctx, request, sorted_set_pops::End::Highest)),
    ("bzpopmin", |ctx, request| sorted_set_pop(ctx, request, sorted_set_pops::End::Lowest)),
];

type Done = Result<(), CommandError>;

/// Tries the keys in order, and waits for one of them if there is nothing to take. `take` answers,
/// or says that there is nothing; `nothing` answers where a command must not wait.
fn take_or_wait(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    keys: Range<usize>,
    until: Option<Instant>,
    of: Type,
    nothing: fn(&mut Ctx<'_>),
    mut take: impl FnMut(&mut Ctx<'_>, &[u8]) -> Result<bool, CommandError>,
) -> Done {
    for at in keys.clone() {
        let key = request.arg(at);
        if !ctx.is_candidate(key) {
            continue;
        }
        if take(ctx, key)? {
            return Ok(());
        }
    }
    if !ctx.may_block() {
        nothing(ctx);
        return Ok(());
    }
    if ctx.block_again() {
        return Ok(());
    }
    let keys = keys.map(|at| request.arg(at));
    ctx.block(keys, of, false, Wait { request: request.to_owned(), until, timed_out: no_array });
    Ok(())
}

fn list_pop(ctx: &mut Ctx<'_>, request: &Request<'_>, end: End) -> Done {
    let last = request.len() - 1;
    let until = ctx.deadline_seconds(request.arg(last))?;
    take_or_wait(ctx, request, 1..last, until, Type::List, no_array, |ctx, key| {
        lists::pop_with_key(ctx, key, end)
    })
}

fn blmpop(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let pop = MultiPop::parse(request, 2)?;
    let until = ctx.deadline_seconds(request.arg(1))?;
    let keys = pop.keys.clone();
    take_or_wait(ctx, request, keys, until, Type::List, no_array, |ctx, key| pop.pop(ctx, key))
}

fn blmove(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (from, to) = (lists::end(request.arg(3))?, lists::end(request.arg(4))?);
    let until = ctx.deadline_seconds(request.arg(5))?;
    let destination = request.arg(2);
    take_or_wait(ctx, request, 1..2, until, Type::List, no_value, |ctx, source| {
        let moved = lists::try_move(ctx, source, destination, from, to)?;
        if moved {
            ctx.propagate_as(&[b"LMOVE", source, destination, request.arg(3), request.arg(4)]);
        }
        Ok(moved)
    })
}

fn brpoplpush(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let until = ctx.deadline_seconds(request.arg(3))?;
    let destination = request.arg(2);
    take_or_wait(ctx, request, 1..2, until, Type::List, no_value, |ctx, source| {
        let moved = lists::try_move(ctx, source, destination, End::Tail, End::Head)?;
        if moved {
            ctx.propagate_as(&[b"RPOPLPUSH", source, destination]);
        }
        Ok(moved)
    })
}

fn sorted_set_pop(ctx: &mut Ctx<'_>, request: &Request<'_>, end: sorted_set_pops::End) -> Done {
    let last = request.len() - 1;
    let until = ctx.deadline_seconds(request.arg(last))?;
    take_or_wait(ctx, request, 1..last, until, Type::SortedSet, no_array, |ctx, key| {
        sorted_set_pops::pop_with_key(ctx, key, end, None)
    })
}

fn bzmpop(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (keys_end, end, count) = multi_pop_options(request, 2)?;
    let until = ctx.deadline_seconds(request.arg(1))?;
    let keys = 3..keys_end;
    take_or_wait(ctx, request, keys, until, Type::SortedSet, no_array, |ctx, key| {
        sorted_set_pops::pop_with_key(ctx, key, end, Some(count))
    })
}
