//! What several sets have in common, have together, or one has alone.

use crate::node::args::{at_least, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::commands::write_item;
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Encoder, Request};
use crate::store::{Db, Item, Set, SetMut, Value};

pub(super) const HANDLERS: Handlers = &[
    ("sdiff", |ctx, request| answer(ctx, request, difference)),
    ("sdiffstore", |ctx, request| store(ctx, request, difference, "sdiffstore")),
    ("sinter", sinter),
    ("sintercard", sintercard),
    ("sinterstore", |ctx, request| store(ctx, request, intersection, "sinterstore")),
    ("sunion", |ctx, request| answer(ctx, request, union)),
    ("sunionstore", |ctx, request| store(ctx, request, union, "sunionstore")),
];

type Done = Result<(), CommandError>;

/// Puts what becomes of some sets into a set that is empty.
type Combine = fn(&[Option<&Set>], &mut SetMut<'_>);

/// Refuses keys that hold something else, and counts the look-ups.
fn check<'k>(db: &mut Db<'_>, keys: impl Iterator<Item = &'k [u8]>) -> Done {
    for key in keys {
        db.set(key)?;
    }
    Ok(())
}

/// The sets from the smallest on; `None` if one of them is missing, and there is nothing that they
/// share.
fn by_size<'s>(sets: &[Option<&'s Set>]) -> Option<Vec<&'s Set>> {
    let mut sets = sets.iter().copied().collect::<Option<Vec<&Set>>>()?;
    sets.sort_by_key(|set| set.len());
    Some(sets)
}

/// What all sets share: members of the smallest that the others have, in its order.
fn shared<'s>(sets: &[Option<&'s Set>]) -> impl Iterator<Item = Item<'s>> {
    let sets = by_size(sets).unwrap_or_default();
    let smallest = sets.first().copied();
    let members = smallest.into_iter().flat_map(Set::iter);
    members.filter(move |member| sets[1..].iter().all(|set| set.contains_item(*member)))
}

fn intersection(sets: &[Option<&Set>], into: &mut SetMut<'_>) {
    for member in shared(sets) {
        into.add_item(member);
    }
    // What is left of a large set may be a few integers.
    into.become_intset();
}

fn union(sets: &[Option<&Set>], into: &mut SetMut<'_>) {
    for member in sets.iter().copied().flatten().flat_map(Set::iter) {
        into.add_item(member);
    }
}

fn difference(sets: &[Option<&Set>], into: &mut SetMut<'_>) {
    let [Some(first), others @ ..] = sets else { return };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    if others.iter().any(|other| std::ptr::eq(*other, *first)) {
        return;
    }
    // Redis's estimate of what costs less: to ask each other set about each member, or to take
    // the members of all others out of a copy. It decides the encoding of what is stored.
    let asking = first.len() * (others.len() + 1) / 2;
    let taking = first.len() + others.iter().map(|other| other.len()).sum::<usize>();
    if asking <= taking {
        others.sort_by_key(|other| std::cmp::Reverse(other.len()));
        let left = |member: &Item<'_>| !others.iter().any(|other| other.contains_item(*member));
        for member in first.iter().filter(left) {
            into.add_item(member);
        }
        return;
    }
    for member in first.iter() {
        into.add_item(member);
    }
    for other in others {
        for member in other.iter() {
            into.remove(member.bytes(&mut itoa::Buffer::new()));
        }
    }
}

fn write_set(out: &mut Encoder<'_>, set: &Set) {
    out.set(set.len());
    set.iter().for_each(|member| write_item(out, member));
}

fn answer(ctx: &mut Ctx<'_>, request: &Request<'_>, combine: Combine) -> Done {
    let (mut db, out) = ctx.data();
    check(&mut db, request.args_from(1))?;
    let mut result = Set::new();
    combine(&db.sets(request.args_from(1)), &mut db.change_set(&mut result));
    write_set(out, &result);
    Ok(())
}

fn store(ctx: &mut Ctx<'_>, request: &Request<'_>, combine: Combine, event: &str) -> Done {
    let destination = request.arg(1);
    let (mut db, out) = ctx.data();
    check(&mut db, request.args_from(2))?;
    let mut result = Set::new();
    combine(&db.sets(request.args_from(2)), &mut db.change_set(&mut result));
    let len = result.len();
    let changed = if len > 0 {
        db.set_value(destination, Value::Set(result));
        true
    } else {
        db.remove(destination)
    };
    out.integer(len as i64);
    if changed {
        ctx.modified(destination);
        match len {
            0 => ctx.notify(Class::Generic, "del", destination),
            _ => ctx.notify(Class::Set, event, destination),
        }
    }
    Ok(())
}

/// SINTER: no set is built, as there is no member twice.
fn sinter(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    check(&mut db, request.args_from(1))?;
    let sets = db.sets(request.args_from(1));
    let members: Vec<Item<'_>> = shared(&sets).collect();
    out.set(members.len());
    members.into_iter().for_each(|member| write_item(out, member));
    Ok(())
}

fn sintercard(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let keys = at_least(1, request.arg(1), "ERR numkeys should be greater than 0")?;
    if keys > request.len() - 2 {
        return Err(CommandError::line("ERR Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut at = 2 + keys;
    while let Some(word) = request.get(at) {
        let value = request.get(at + 1).filter(|_| is(word, "limit"));
        limit = at_least(0, value.ok_or(CommandError::Syntax)?, "ERR LIMIT can't be negative")?;
        at += 2;
    }
    let keys = || request.args_from(2).take(keys);
    let (mut db, out) = ctx.data();
    check(&mut db, keys())?;
    let sets = db.sets(keys());
    let limit = if limit == 0 { usize::MAX } else { limit };
    out.integer(shared(&sets).take(limit).count() as i64);
    Ok(())
}
