//! Lists.

use crate::node::args::{at_least, integer, is, negatable, unsigned};
use crate::node::call::{Ctx, Handlers};
use crate::node::commands::{write_item, write_optional};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Encoder, Request};
use crate::store::{End, List, ListMut, Value};

pub(super) const HANDLERS: Handlers = &[
    ("lindex", lindex),
    ("linsert", linsert),
    ("llen", llen),
    ("lmove", lmove),
    ("lmpop", lmpop),
    ("lpop", |ctx, request| pop(ctx, request, "lpop", End::Head)),
    ("lpos", lpos),
    ("lpush", |ctx, request| push(ctx, request, End::Head)),
    ("lpushx", |ctx, request| push_existing(ctx, request, End::Head)),
    ("lrange", lrange),
    ("lrem", lrem),
    ("lset", lset),
    ("ltrim", ltrim),
    ("rpop", |ctx, request| pop(ctx, request, "rpop", End::Tail)),
    ("rpoplpush", |ctx, request| move_element(ctx, request, End::Tail, End::Head)),
    ("rpush", |ctx, request| push(ctx, request, End::Tail)),
    ("rpushx", |ctx, request| push_existing(ctx, request, End::Tail)),
];

type Done = Result<(), CommandError>;

/// Refuses what no listpack can hold.
fn check_length(element: &[u8]) -> Done {
    if element.len() > List::ELEMENT_BYTES_MAX {
        return Err(CommandError::StringTooLong);
    }
    Ok(())
}

fn push_all(mut list: ListMut<'_>, request: &Request<'_>, end: End) -> i64 {
    list.make_room_for(request.args_from(2));
    request.args_from(2).for_each(|element| list.push(end, element));
    list.len() as i64
}

fn push(ctx: &mut Ctx<'_>, request: &Request<'_>, end: End) -> Done {
    let key = request.arg(1);
    request.args_from(2).try_for_each(check_length)?;
    let len = push_all(ctx.db().list_or_new(key)?, request, end);
    ctx.out.integer(len);
    ctx.modified(key);
    ctx.notify(Class::List, pushed(end), key);
    Ok(())
}

fn push_existing(ctx: &mut Ctx<'_>, request: &Request<'_>, end: End) -> Done {
    let key = request.arg(1);
    request.args_from(2).try_for_each(check_length)?;
    let len = ctx.db().list_mut(key)?.map(|list| push_all(list, request, end));
    ctx.out.integer(len.unwrap_or(0));
    if len.is_some() {
        ctx.modified(key);
        ctx.notify(Class::List, pushed(end), key);
    }
    Ok(())
}

/// What is told of a list that got an element.
fn pushed(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

/// What is told of a list that lost one.
fn popped(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

fn pop(ctx: &mut Ctx<'_>, request: &Request<'_>, command: &'static str, end: End) -> Done {
    if request.len() > 3 {
        return Err(CommandError::Arity(command));
    }
    let key = request.arg(1);
    let count = request.get(2).map(unsigned).transpose()?;
    let (mut db, out) = ctx.data();
    let Some(mut list) = db.list_mut(key)? else {
        match count {
            Some(_) => out.null_array(),
            None => out.null(),
        }
        return Ok(());
    };
    match count {
        Some(0) => {
            out.array(0);
            return Ok(());
        }
        Some(count) => {
            take(&mut list, out, end, usize::try_from(count).unwrap_or(usize::MAX));
        }
        None => {
            list.pop(end, |element| write_item(out, element));
        }
    }
    list.settle();
    if list.is_empty() {
        db.remove(key);
    }
    ctx.modified(key);
    ctx.notify(Class::List, popped(end), key);
    ctx.notify_if_gone(key);
    Ok(())
}

/// Pops one element, and answers it behind its key; false, and no answer, if there is none.
pub(super) fn pop_with_key(ctx: &mut Ctx<'_>, key: &[u8], end: End) -> Result<bool, CommandError> {
    let (mut db, out) = ctx.data();
    let Some(mut list) = db.list_mut(key)? else { return Ok(false) };
    out.array(2);
    out.bulk(key);
    list.pop(end, |element| write_item(out, element));
    list.settle();
    if list.is_empty() {
        db.remove(key);
    }
    ctx.modified(key);
    ctx.notify(Class::List, popped(end), key);
    ctx.notify_if_gone(key);
    ctx.propagate_as(&[if end == End::Head { b"LPOP" } else { b"RPOP" }, key]);
    Ok(true)
}

/// Writes and removes up to `max` elements, in the order in which they leave. Returns how many.
fn take(list: &mut ListMut<'_>, out: &mut Encoder<'_>, end: End, max: usize) -> usize {
    let len = list.len();
    let taken = max.min(len);
    out.array(taken);
    match end {
        End::Head => {
            list.iter().take(taken).for_each(|element| write_item(out, element));
            // The reply has cost more than this does.
            drop(list.remove_range(0, taken));
        }
        End::Tail => {
            let elements = list.iter_back_from(len - 1);
            elements.take(taken).for_each(|element| write_item(out, element));
            drop(list.remove_range(len - taken, taken));
        }
    }
    taken
}

fn llen(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.integer(db.list(request.arg(1))?.map_or(0, List::len) as i64);
    Ok(())
}

/// An index that may count from the tail; `None` if it is before the head.
fn index(number: i64, len: usize) -> Option<usize> {
    let number = if number < 0 { number + len as i64 } else { number };
    usize::try_from(number).ok()
}

fn lindex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let Some(list) = db.list(request.arg(1))? else {
        out.null();
        return Ok(());
    };
    let index = index(integer(request.arg(2))?, list.len());
    write_optional(out, index.and_then(|index| list.get(index)));
    Ok(())
}

/// From which index on how many elements lie between two ends, both included.
fn span(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let start = index(start, len).unwrap_or(0);
    let end = index(stop, len).map_or(0, |stop| stop.saturating_add(1).min(len));
    (start, end.saturating_sub(start))
}

fn lrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (start, stop) = (integer(request.arg(2))?, integer(request.arg(3))?);
    let (mut db, out) = ctx.data();
    let Some(list) = db.list(request.arg(1))? else {
        out.array(0);
        return Ok(());
    };
    let (start, count) = span(start, stop, list.len());
    out.array(count);
    list.iter_from(start).take(count).for_each(|element| write_item(out, element));
    Ok(())
}

fn ltrim(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (start, stop) = (integer(request.arg(2))?, integer(request.arg(3))?);
    let (mut db, out) = ctx.data();
    let Some(mut list) = db.list_mut(key)? else {
        out.ok();
        return Ok(());
    };
    out.ok();
    let (start, count) = span(start, stop, list.len());
    let cuts = count < list.len();
    if count == 0 {
        db.remove(key);
    } else {
        let cut = [list.remove_range(start + count, usize::MAX), list.remove_range(0, start)];
        list.settle();
        cut.into_iter().flatten().for_each(|cut| db.discard(Value::List(cut)));
    }
    ctx.modified(key);
    if !cuts {
        // As in Redis, whoever watches the key is told all the same.
        ctx.propagate_nothing();
    }
    ctx.notify(Class::List, "ltrim", key);
    ctx.notify_if_gone(key);
    Ok(())
}

fn lset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, element) = (request.arg(1), request.arg(3));
    let (mut db, out) = ctx.data();
    let mut list = db.list_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    let index = index(integer(request.arg(2))?, list.len());
    check_length(element)?;
    list.make_room_for(std::iter::once(element));
    if !index.is_some_and(|index| list.set(index, element)) {
        return Err(CommandError::IndexOutOfRange);
    }
    list.settle();
    out.ok();
    ctx.modified(key);
    ctx.notify(Class::List, "lset", key);
    Ok(())
}

fn linsert(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, element) = (request.arg(1), request.arg(4));
    let after = match request.arg(2) {
        word if is(word, "after") => true,
        word if is(word, "before") => false,
        _ => return Err(CommandError::Syntax),
    };
    let (mut db, out) = ctx.data();
    let Some(mut list) = db.list_mut(key)? else {
        out.integer(0);
        return Ok(());
    };
    check_length(element)?;
    // Like Redis, before it is known whether the pivot is there.
    list.make_room_for(std::iter::once(element));
    if !list.insert(request.arg(3), after, element) {
        out.integer(-1);
        return Ok(());
    }
    out.integer(list.len() as i64);
    ctx.modified(key);
    ctx.notify(Class::List, "linsert", key);
    Ok(())
}

fn lrem(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let count = integer(request.arg(2))?;
    let (mut db, out) = ctx.data();
    let Some(mut list) = db.list_mut(key)? else {
        out.integer(0);
        return Ok(());
    };
    let end = if count < 0 { End::Tail } else { End::Head };
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let removed = list.remove_equal(end, max, request.arg(3));
    out.integer(removed as i64);
    if removed > 0 {
        list.settle();
        if list.is_empty() {
            db.remove(key);
        }
        ctx.modified(key);
        ctx.notify(Class::List, "lrem", key);
        ctx.notify_if_gone(key);
    }
    Ok(())
}

fn lpos(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut rank, mut count, mut looked_max) = (1, None, 0);
    let mut at = 3;
    while let Some(word) = request.get(at) {
        let value = request.get(at + 1).ok_or(CommandError::Syntax)?;
        if is(word, "rank") {
            rank = negatable(value)?;
            if rank == 0 {
                return Err(CommandError::line(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
        } else if is(word, "count") {
            count = Some(at_least(0, value, "ERR COUNT can't be negative")?);
        } else if is(word, "maxlen") {
            looked_max = at_least(0, value, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let (mut db, out) = ctx.data();
    let Some(list) = db.list(request.arg(1))? else {
        match count {
            Some(_) => out.array(0),
            None => out.null(),
        }
        return Ok(());
    };
    let len = list.len();
    let looked_max = if looked_max == 0 { usize::MAX } else { looked_max };
    let (end, skipped) = if rank < 0 { (End::Tail, -rank - 1) } else { (End::Head, rank - 1) };
    let elements = match end {
        End::Head => list.iter(),
        End::Tail => list.iter_back_from(len - 1),
    };
    let mut found = elements
        .matching(request.arg(2), looked_max)
        .skip(usize::try_from(skipped).unwrap_or(usize::MAX))
        .map(|steps| if end == End::Head { steps } else { len - 1 - steps });
    match count {
        None => match found.next() {
            Some(index) => out.integer(index as i64),
            None => out.null(),
        },
        Some(count) => {
            let found: Vec<usize> = found.take(if count == 0 { len } else { count }).collect();
            out.array(found.len());
            found.iter().for_each(|&index| out.integer(index as i64));
        }
    }
    Ok(())
}

pub(super) fn end(word: &[u8]) -> Result<End, CommandError> {
    if is(word, "left") {
        Ok(End::Head)
    } else if is(word, "right") {
        Ok(End::Tail)
    } else {
        Err(CommandError::Syntax)
    }
}

fn lmove(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (from, to) = (end(request.arg(3))?, end(request.arg(4))?);
    move_element(ctx, request, from, to)
}

fn move_element(ctx: &mut Ctx<'_>, request: &Request<'_>, from: End, to: End) -> Done {
    if !try_move(ctx, request.arg(1), request.arg(2), from, to)? {
        ctx.out.null();
    }
    Ok(())
}

/// Moves an element, and answers it; false, and no answer, if there is none.
pub(super) fn try_move(
    ctx: &mut Ctx<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<bool, CommandError> {
    let (mut db, out) = ctx.data();
    if db.list_mut(source)?.is_none() {
        return Ok(false);
    }
    db.list_mut(destination)?;
    let mut list = db.list_or_new(source)?;
    let element = list.pop(from, |element| element.bytes(&mut itoa::Buffer::new()).to_vec());
    let element = element.expect("the store keeps no empty list");
    if source == destination {
        list.make_room_for(std::iter::once(&element[..]));
        list.push(to, &element);
        list.settle();
    } else {
        list.settle();
        if list.is_empty() {
            db.remove(source);
        }
        let mut list = db.list_or_new(destination)?;
        list.make_room_for(std::iter::once(&element[..]));
        list.push(to, &element);
    }
    out.bulk(&element);
    ctx.modified(source);
    if source != destination {
        ctx.modified(destination);
    }
    ctx.notify(Class::List, pushed(to), destination);
    ctx.notify(Class::List, popped(from), source);
    ctx.notify_if_gone(source);
    Ok(true)
}

/// Pops from one end of one of several lists.
pub(super) struct MultiPop {
    /// Which arguments are the keys.
    pub(super) keys: std::ops::Range<usize>,
    from: End,
    count: usize,
}

impl MultiPop {
    /// `numkeys key … LEFT|RIGHT [COUNT count]` from argument `at` on.
    pub(super) fn parse(request: &Request<'_>, at: usize) -> Result<Self, CommandError> {
        let keys = at_least(1, request.arg(at), "ERR numkeys should be greater than 0")?;
        let place = keys.saturating_add(at + 1);
        let from = end(request.get(place).ok_or(CommandError::Syntax)?)?;
        let mut count = None;
        let mut next = place + 1;
        while let Some(word) = request.get(next) {
            let value = request.get(next + 1).filter(|_| count.is_none() && is(word, "count"));
            let value = value.ok_or(CommandError::Syntax)?;
            count = Some(at_least(1, value, "ERR count should be greater than 0")?);
            next += 2;
        }
        Ok(Self { keys: at + 1..place, from, count: count.unwrap_or(1) })
    }

    /// Pops from this list, and answers what; false, and no answer, if it is not there.
    pub(super) fn pop(&self, ctx: &mut Ctx<'_>, key: &[u8]) -> Result<bool, CommandError> {
        let (mut db, out) = ctx.data();
        let Some(mut list) = db.list_mut(key)? else { return Ok(false) };
        out.array(2);
        out.bulk(key);
        let taken = take(&mut list, out, self.from, self.count);
        list.settle();
        if list.is_empty() {
            db.remove(key);
        }
        ctx.modified(key);
        ctx.notify(Class::List, popped(self.from), key);
        ctx.notify_if_gone(key);
        let name: &[u8] = if self.from == End::Head { b"LPOP" } else { b"RPOP" };
        ctx.propagate_as(&[name, key, itoa::Buffer::new().format(taken).as_bytes()]);
        Ok(true)
    }
}

fn lmpop(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let pop = MultiPop::parse(request, 1)?;
    for at in pop.keys.clone() {
        if pop.pop(ctx, request.arg(at))? {
            return Ok(());
        }
    }
    ctx.out.null_array();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_at_the_ends_of_the_list() {
        for (start, stop, expected) in [
            (0, -1, (0, 5)),
            (1, 3, (1, 3)),
            (-100, 100, (0, 5)),
            (-2, -1, (3, 2)),
            (3, 2, (3, 0)),
            (5, 9, (5, 0)),
            (0, -6, (0, 0)),
            (i64::MIN, i64::MAX, (0, 5)),
            (i64::MAX, i64::MIN, (usize::MAX >> 1, 0)),
        ] {
            assert_eq!(span(start, stop, 5), expected, "{start} {stop}");
        }
    }
}
