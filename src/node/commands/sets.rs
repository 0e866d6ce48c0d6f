//! Sets: one at a time. What several of them have in common is in `set_algebra`.

use crate::node::args::{draws, negatable, unsigned};
use crate::node::call::{Ctx, Handlers};
use crate::node::commands::{write_item, write_optional};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::propagate::removal;
use crate::resp::{Encoder, Request};
use crate::store::{Item, Random, Set};
use std::collections::BTreeSet;

pub(super) const HANDLERS: Handlers = &[
    ("sadd", sadd),
    ("scard", scard),
    ("sismember", sismember),
    ("smembers", smembers),
    ("smismember", smismember),
    ("smove", smove),
    ("spop", spop),
    ("srandmember", srandmember),
    ("srem", srem),
];

type Done = Result<(), CommandError>;

fn sadd(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let mut db = ctx.db();
    let mut set = db.set_or_new(key, request.arg(2), request.len() - 2)?;
    let added = request.args_from(2).filter(|member| set.add(member)).count();
    if added > 0 {
        ctx.modified(key);
        ctx.notify(Class::Set, "sadd", key);
    }
    ctx.out.integer(added as i64);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let mut db = ctx.db();
    let mut removed = 0;
    if let Some(mut set) = db.set_mut(key)? {
        removed = request.args_from(2).filter(|member| set.remove(member)).count();
        if set.is_empty() {
            db.remove(key);
        }
    }
    if removed > 0 {
        ctx.modified(key);
        ctx.notify(Class::Set, "srem", key);
        ctx.notify_if_gone(key);
    }
    ctx.out.integer(removed as i64);
    Ok(())
}

fn scard(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.integer(db.set(request.arg(1))?.map_or(0, Set::len) as i64);
    Ok(())
}

fn sismember(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let found = db.set(request.arg(1))?.is_some_and(|set| set.contains(request.arg(2)));
    out.integer(i64::from(found));
    Ok(())
}

fn smismember(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let set = db.set(request.arg(1))?;
    out.array(request.len() - 2);
    for member in request.args_from(2) {
        out.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn smembers(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let set = db.set(request.arg(1))?;
    out.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| write_item(out, member));
    Ok(())
}

fn smove(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (source, destination, member) = (request.arg(1), request.arg(2), request.arg(3));
    let (mut db, out) = ctx.data();
    if db.set_mut(source)?.is_none() {
        out.integer(0);
        return Ok(());
    }
    db.set_mut(destination)?;
    let Some(mut set) = db.set_mut(source)? else { return Ok(()) };
    if source == destination {
        out.integer(i64::from(set.contains(member)));
        return Ok(());
    }
    if !set.remove(member) {
        out.integer(0);
        return Ok(());
    }
    if set.is_empty() {
        db.remove(source);
    }
    out.integer(1);
    ctx.modified(source);
    ctx.notify(Class::Set, "srem", source);
    ctx.notify_if_gone(source);
    let added = ctx.db().set_or_new(destination, member, 1)?.add(member);
    if added {
        ctx.modified(destination);
        ctx.notify(Class::Set, "sadd", destination);
    }
    Ok(())
}

fn spop(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if request.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let key = request.arg(1);
    let count = request.get(2).map(unsigned).transpose()?;
    // Who else removes members at random removes others: what went goes on.
    let tells = ctx.propagates();
    let mut gone: Vec<Box<[u8]>> = Vec::new();
    let (mut db, out) = ctx.data();
    let mut random = Random::new(db.random());
    let mut write = |out: &mut Encoder<'_>, member: Item<'_>| {
        write_item(out, member);
        if tells {
            gone.push(bytes(member));
        }
    };
    let Some(mut set) = db.set_mut(key)? else {
        match count {
            Some(_) => out.set(0),
            None => out.null(),
        }
        return Ok(());
    };
    let len = set.len();
    match count {
        None => {
            set.pop(|| random.next(), |member| write(out, member));
        }
        Some(0) => {
            out.set(0);
            return Ok(());
        }
        Some(count) if count >= len as u64 => {
            out.set(len);
            set.iter().for_each(|member| write_item(out, member));
            db.remove(key);
            ctx.modified(key);
            ctx.notify(Class::Set, "spop", key);
            ctx.notify_if_gone(key);
            ctx.propagate_as(&[removal(ctx.server.settings.lazy_server_del), key]);
            return Ok(());
        }
        Some(count) => {
            /// Where so many times what stays is no more than what goes, Redis builds what stays
            /// anew, and a table may become compact.
            const REBUILD_BELOW: usize = 5;
            let count = count as usize;
            out.set(count);
            for _ in 0..count {
                set.pop(|| random.next(), |member| write(out, member));
            }
            if set.encoding() == "hashtable" && (len - count).saturating_mul(REBUILD_BELOW) <= count
            {
                set.rebuild_as_listpack();
            }
        }
    }
    if set.is_empty() {
        db.remove(key);
    }
    ctx.modified(key);
    ctx.notify(Class::Set, "spop", key);
    ctx.notify_if_gone(key);
    gone.iter().for_each(|member| ctx.propagate_as(&[b"SREM", key, member]));
    Ok(())
}

fn srandmember(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if request.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let key = request.arg(1);
    let count = request.get(2).map(negatable).transpose()?;
    let (mut db, out) = ctx.data();
    let mut random = Random::new(db.random());
    let set = db.set(key)?;
    let Some(count) = count else {
        write_optional(out, set.and_then(|set| set.random(|| random.next())));
        return Ok(());
    };
    let Some(set) = set else {
        out.array(0);
        return Ok(());
    };
    let (wanted, len) = (count.unsigned_abs() as usize, set.len());
    if count < 0 {
        // Each one drawn on its own: a member may come again.
        let draws = draws(count, len, set.heap_bytes())?;
        out.array(draws);
        for _ in 0..draws {
            write_optional(out, set.random(|| random.next()));
        }
    } else if wanted >= len {
        out.array(len);
        set.iter().for_each(|member| write_item(out, member));
    } else {
        out.array(wanted);
        distinct(set, wanted, &mut random, out);
    }
    Ok(())
}

/// `wanted` different members, fewer than there are, each group of them as likely as any other.
fn distinct(set: &Set, wanted: usize, random: &mut Random, out: &mut Encoder<'_>) {
    let len = set.len();
    if wanted > len / 3 {
        // Many of them: one walk, in which each member is taken with the chance that is left.
        let mut left = wanted;
        for (seen, member) in set.iter().enumerate() {
            if random.below(len - seen) < left {
                left -= 1;
                write_item(out, member);
            }
        }
        return;
    }
    let mut taken: BTreeSet<Box<[u8]>> = BTreeSet::new();
    while taken.len() < wanted {
        let Some(member) = set.random(|| random.next()) else { return };
        if taken.insert(bytes(member)) {
            write_item(out, member);
        }
    }
}

fn bytes(member: Item<'_>) -> Box<[u8]> {
    member.bytes(&mut itoa::Buffer::new()).into()
}
