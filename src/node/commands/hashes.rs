//! Hashes.

use crate::node::args::{draws, integer, is, negatable};
use crate::node::call::{Ctx, Handlers};
use crate::node::commands::{write_item, write_optional};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Encoder, Protocol, Request};
use crate::store::{Hash, Item, Random};
use crate::value::{Extended, parse_i64};
use std::collections::BTreeSet;

pub(super) const HANDLERS: Handlers = &[
    ("hdel", hdel),
    ("hexists", hexists),
    ("hget", hget),
    ("hgetall", hgetall),
    ("hincrby", hincrby),
    ("hincrbyfloat", hincrbyfloat),
    ("hkeys", hkeys),
    ("hlen", hlen),
    ("hmget", hmget),
    ("hmset", hmset),
    ("hrandfield", hrandfield),
    ("hset", hset),
    ("hsetnx", hsetnx),
    ("hstrlen", hstrlen),
    ("hvals", hvals),
];

type Done = Result<(), CommandError>;

fn hset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let added = set_fields(ctx, request, "hset")?;
    ctx.out.integer(added);
    Ok(())
}

fn hmset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    set_fields(ctx, request, "hmset")?;
    ctx.out.ok();
    Ok(())
}

fn set_fields(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    command: &'static str,
) -> Result<i64, CommandError> {
    if !request.len().is_multiple_of(2) {
        return Err(CommandError::Arity(command));
    }
    let key = request.arg(1);
    let mut db = ctx.db();
    let mut hash = db.hash_or_new(key)?;
    hash.make_room_for(request.args_from(2));
    let mut added = 0;
    for at in (2..request.len()).step_by(2) {
        added += i64::from(hash.set(request.arg(at), request.arg(at + 1)));
    }
    ctx.modified(key);
    ctx.notify(Class::Hash, "hset", key);
    Ok(added)
}

fn hsetnx(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, field) = (request.arg(1), request.arg(2));
    let (mut db, out) = ctx.data();
    let mut hash = db.hash_or_new(key)?;
    if hash.contains(field) {
        out.integer(0);
        return Ok(());
    }
    hash.set(field, request.arg(3));
    out.integer(1);
    ctx.modified(key);
    ctx.notify(Class::Hash, "hset", key);
    Ok(())
}

fn hget(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let hash = db.hash(request.arg(1))?;
    write_optional(out, hash.and_then(|hash| hash.get(request.arg(2))));
    Ok(())
}

fn hmget(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let hash = db.hash(request.arg(1))?;
    out.array(request.len() - 2);
    for field in request.args_from(2) {
        write_optional(out, hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let mut db = ctx.db();
    let mut removed = 0;
    if let Some(mut hash) = db.hash_mut(key)? {
        for field in request.args_from(2) {
            removed += i64::from(hash.remove(field));
        }
        if hash.is_empty() {
            db.remove(key);
        }
    }
    if removed > 0 {
        ctx.modified(key);
        ctx.notify(Class::Hash, "hdel", key);
        ctx.notify_if_gone(key);
    }
    ctx.out.integer(removed);
    Ok(())
}

fn hlen(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.integer(db.hash(request.arg(1))?.map_or(0, Hash::len) as i64);
    Ok(())
}

fn hstrlen(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let value = db.hash(request.arg(1))?.and_then(|hash| hash.get(request.arg(2)));
    out.integer(value.map_or(0, |value| value.bytes(&mut itoa::Buffer::new()).len()) as i64);
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let found = db.hash(request.arg(1))?.is_some_and(|hash| hash.contains(request.arg(2)));
    out.integer(i64::from(found));
    Ok(())
}

fn hkeys(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let hash = db.hash(request.arg(1))?;
    out.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(field, _)| write_item(out, field));
    Ok(())
}

fn hvals(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let hash = db.hash(request.arg(1))?;
    out.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(_, value)| write_item(out, value));
    Ok(())
}

fn hgetall(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let hash = db.hash(request.arg(1))?;
    out.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        write_item(out, field);
        write_item(out, value);
    }
    Ok(())
}

fn hincrby(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, field) = (request.arg(1), request.arg(2));
    let by = integer(request.arg(3))?;
    let (mut db, out) = ctx.data();
    let old = match db.hash_mut(key)?.as_ref().and_then(|hash| hash.get(field)) {
        None => 0,
        Some(Item::Int(number)) => number,
        Some(Item::Bytes(bytes)) => {
            parse_i64(bytes).ok_or(CommandError::line("ERR hash value is not an integer"))?
        }
    };
    let sum = old.checked_add(by).ok_or(CommandError::Overflow)?;
    db.hash_or_new(key)?.set(field, itoa::Buffer::new().format(sum).as_bytes());
    out.integer(sum);
    ctx.modified(key);
    ctx.notify(Class::Hash, "hincrby", key);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, field) = (request.arg(1), request.arg(2));
    let by = Extended::parse(request.arg(3)).ok_or(CommandError::NotFloat)?;
    if !by.is_finite() {
        return Err(CommandError::line("ERR value is NaN or Infinity"));
    }
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let hash = db.hash_mut(key)?;
    let old = hash.as_ref().and_then(|hash| hash.get(field));
    let old = old.as_ref().map_or(&b"0"[..], |item| item.bytes(&mut buffer));
    let old = Extended::parse(old).ok_or(CommandError::line("ERR hash value is not a float"))?;
    let sum = old.checked_add(by).ok_or(CommandError::NotFinite)?.to_string();
    db.hash_or_new(key)?.set(field, sum.as_bytes());
    out.bulk(&sum);
    ctx.modified(key);
    ctx.notify(Class::Hash, "hincrbyfloat", key);
    ctx.propagate_as(&[b"HSET", key, field, sum.as_bytes()]);
    Ok(())
}

fn hrandfield(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    let mut random = Random::new(db.random());
    let Some(count) = request.get(2) else {
        let field = db.hash(key)?.and_then(|hash| hash.random(|| random.next()));
        write_optional(out, field.map(|(field, _)| field));
        return Ok(());
    };
    let count = negatable(count)?;
    let with_values = match request.get(3) {
        None => false,
        Some(word) if request.len() == 4 && is(word, "withvalues") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::line("ERR value is out of range"));
    }
    let Some(hash) = db.hash(key)? else {
        out.array(0);
        return Ok(());
    };
    let mut writer = Fields { out, with_values };
    let (wanted, len) = (count.unsigned_abs() as usize, hash.len());
    if count < 0 {
        // Each one drawn on its own: a field may come again.
        let draws = draws(count, len, hash.heap_bytes())?;
        writer.head(draws);
        for _ in 0..draws {
            if let Some(pair) = hash.random(|| random.next()) {
                writer.pair(pair);
            }
        }
    } else if wanted >= len {
        writer.head(len);
        hash.iter().for_each(|pair| writer.pair(pair));
    } else {
        writer.head(wanted);
        distinct(hash, wanted, &mut random, |pair| writer.pair(pair));
    }
    Ok(())
}

/// Writes fields, with their values or without: as pairs in RESP3, flat in RESP2.
struct Fields<'o, 'e> {
    out: &'o mut Encoder<'e>,
    with_values: bool,
}

impl Fields<'_, '_> {
    fn nests(&self) -> bool {
        self.with_values && self.out.protocol() == Protocol::Resp3
    }

    fn head(&mut self, len: usize) {
        let flat = self.with_values && !self.nests();
        self.out.array(if flat { len * 2 } else { len });
    }

    fn pair(&mut self, (field, value): (Item<'_>, Item<'_>)) {
        if self.nests() {
            self.out.array(2);
        }
        write_item(self.out, field);
        if self.with_values {
            write_item(self.out, value);
        }
    }
}

/// `wanted` different fields, fewer than there are, each set of them as likely as any other.
fn distinct<'h>(
    hash: &'h Hash,
    wanted: usize,
    random: &mut Random,
    mut each: impl FnMut((Item<'h>, Item<'h>)),
) {
    let len = hash.len();
    if wanted > len / 3 {
        // Many of them: one walk, in which each field is taken with the chance that is left.
        let mut left = wanted;
        for (seen, pair) in hash.iter().enumerate() {
            if random.below(len - seen) < left {
                left -= 1;
                each(pair);
            }
        }
        return;
    }
    let mut taken: BTreeSet<Box<[u8]>> = BTreeSet::new();
    while taken.len() < wanted {
        let Some(pair) = hash.random(|| random.next()) else { return };
        if taken.insert(pair.0.bytes(&mut itoa::Buffer::new()).into()) {
            each(pair);
        }
    }
}
