//! Strings.

use super::set_options::{Condition, Grammar, SetOptions, TimeUnit};
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::propagate::removal;
use crate::resp::{Encoder, Request};
use crate::store::{Expiry, Text};
use crate::value::{Extended, parse_i64};

pub(super) const HANDLERS: Handlers = &[
    ("append", append),
    ("decr", decr),
    ("decrby", decrby),
    ("get", get),
    ("getdel", getdel),
    ("getex", getex),
    ("getrange", getrange),
    ("getset", getset),
    ("incr", incr),
    ("incrby", incrby),
    ("incrbyfloat", incrbyfloat),
    ("mget", mget),
    ("mset", mset),
    ("msetnx", msetnx),
    ("psetex", psetex),
    ("set", set),
    ("setex", setex),
    ("setnx", setnx),
    ("setrange", setrange),
    ("strlen", strlen),
    ("substr", getrange),
];

type Done = Result<(), CommandError>;

/// Writes a string, or the null of a key that is not there.
#[inline]
pub(super) fn write_text(out: &mut Encoder<'_>, text: Option<Text<'_>>) {
    match text {
        Some(text) => out.bulk(text.bytes(&mut itoa::Buffer::new())),
        None => out.null(),
    }
}

fn get(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    write_text(out, db.text(request.arg(1))?);
    Ok(())
}

fn set(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, value) = (request.arg(1), request.arg(2));
    if request.len() == 3 {
        ctx.db().set_string(key, value, Expiry::Clear);
        ctx.modified(key);
        ctx.notify(Class::String, "set", key);
        ctx.out.ok();
        return Ok(());
    }
    let options = SetOptions::parse(request, 3, Grammar::Set)?;
    let expiry = match options.expire {
        Some((unit, time)) => Expiry::At(unit.positive(time, ctx.now.unix_ms, "set")?),
        None if options.keep_ttl => Expiry::Keep,
        None => Expiry::Clear,
    };
    let (mut db, out) = ctx.data();
    if options.get {
        write_text(out, db.text(key)?);
    }
    let allowed = match options.condition {
        None => true,
        Some(Condition::Missing) => !db.contains(key),
        Some(Condition::Present) => db.contains(key),
    };
    if allowed {
        db.set_string(key, value, expiry);
        ctx.modified(key);
        ctx.notify(Class::String, "set", key);
        if options.expire.is_some() {
            ctx.notify(Class::Generic, "expire", key);
        }
        propagate_set(ctx, request, &options, expiry);
    }
    match (options.get, allowed) {
        (true, _) => {}
        (false, true) => ctx.out.ok(),
        (false, false) => ctx.out.null(),
    }
    Ok(())
}

/// A time to live goes on as the time at which it ends, and nobody asks for the old value.
fn propagate_set(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    options: &SetOptions<'_>,
    expiry: Expiry,
) {
    match (expiry, options.expire) {
        (Expiry::At(at), Some(_)) => {
            propagate_expiring(ctx, request.arg(1), request.arg(2), at);
        }
        (Expiry::Keep | Expiry::Clear, _) if options.get && ctx.propagates() => {
            let kept = request.args_from(0).enumerate();
            let kept = kept.filter(|(at, word)| *at < 3 || !is(word, "get"));
            let args: Vec<&[u8]> = kept.map(|(_, word)| word).collect();
            ctx.propagate_as(&args);
        }
        _ => {}
    }
}

fn propagate_expiring(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], at: u64) {
    ctx.propagate_as(&[b"SET", key, value, b"PXAT", itoa::Buffer::new().format(at).as_bytes()]);
}

fn setnx(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let missing = !ctx.db().contains(key);
    if missing {
        ctx.db().set_string(key, request.arg(2), Expiry::Clear);
        ctx.modified(key);
        ctx.notify(Class::String, "set", key);
    }
    ctx.out.integer(i64::from(missing));
    Ok(())
}

fn setex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    set_expiring(ctx, request, TimeUnit::EX, "setex")
}

fn psetex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    set_expiring(ctx, request, TimeUnit::PX, "psetex")
}

fn set_expiring(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    unit: TimeUnit,
    command: &'static str,
) -> Done {
    let at = unit.positive(request.arg(2), ctx.now.unix_ms, command)?;
    ctx.db().set_string(request.arg(1), request.arg(3), Expiry::At(at));
    ctx.modified(request.arg(1));
    ctx.notify(Class::String, "set", request.arg(1));
    ctx.notify(Class::Generic, "expire", request.arg(1));
    propagate_expiring(ctx, request.arg(1), request.arg(3), at);
    ctx.out.ok();
    Ok(())
}

fn getset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    write_text(out, db.text(key)?);
    db.set_string(key, request.arg(2), Expiry::Clear);
    ctx.modified(key);
    ctx.notify(Class::String, "set", key);
    ctx.propagate_as(&[b"SET", key, request.arg(2)]);
    Ok(())
}

fn getdel(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    write_text(out, db.text(key)?);
    if db.remove(key) {
        ctx.modified(key);
        ctx.notify(Class::Generic, "del", key);
        ctx.propagate_as(&[removal(ctx.server.settings.lazy_user_del), key]);
    }
    Ok(())
}

fn getex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let options = SetOptions::parse(request, 2, Grammar::GetEx)?;
    let now_ms = ctx.now.unix_ms;
    let late = ctx.runs_late();
    let (mut db, out) = ctx.data();
    let Some(text) = db.text(key)? else {
        out.null();
        return Ok(());
    };
    let expiry = match options.expire {
        Some((unit, time)) => Some((unit, unit.positive(time, now_ms, "getex")?)),
        None => None,
    };
    write_text(out, Some(text));
    let event = match expiry {
        // A time that has passed removes the key here and now.
        Some((unit, at)) if unit.is_absolute() && at <= now_ms && !late => {
            db.remove(key);
            ctx.propagate_as(&[removal(ctx.server.settings.lazy_expire), key]);
            "del"
        }
        Some((_, at)) => {
            db.set_expiry(key, Expiry::At(at));
            ctx.propagate_as(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]);
            "expire"
        }
        None => {
            let expires = db.peek(key).is_some_and(|entry| entry.expires_at().is_some());
            if !options.persist || !expires {
                return Ok(());
            }
            db.set_expiry(key, Expiry::Clear);
            ctx.propagate_as(&[b"PERSIST", key]);
            "persist"
        }
    };
    ctx.modified(key);
    ctx.notify(Class::Generic, event, key);
    Ok(())
}

fn mget(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.array(request.len() - 1);
    for key in request.args_from(1) {
        write_text(out, db.text(key).unwrap_or(None));
    }
    Ok(())
}

fn mset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::Arity("mset"));
    }
    set_all(ctx, request);
    ctx.out.ok();
    Ok(())
}

fn msetnx(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::Arity("msetnx"));
    }
    let mut db = ctx.db();
    let taken = request.args_from(1).step_by(2).any(|key| db.contains(key));
    if !taken {
        set_all(ctx, request);
    }
    ctx.out.integer(i64::from(!taken));
    Ok(())
}

fn set_all(ctx: &mut Ctx<'_>, request: &Request<'_>) {
    for at in (1..request.len()).step_by(2) {
        let key = request.arg(at);
        ctx.db().set_string(key, request.arg(at + 1), Expiry::Clear);
        ctx.modified(key);
        ctx.notify(Class::String, "set", key);
    }
}

fn incr(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    add(ctx, request.arg(1), 1)
}

fn decr(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    add(ctx, request.arg(1), -1)
}

fn incrby(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    add(ctx, request.arg(1), integer(request.arg(2))?)
}

fn decrby(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let by = integer(request.arg(2))?.checked_neg();
    add(ctx, request.arg(1), by.ok_or(CommandError::line("ERR decrement would overflow"))?)
}

/// A key that is not there counts as zero. The key keeps its time to live.
fn add(ctx: &mut Ctx<'_>, key: &[u8], by: i64) -> Done {
    let mut db = ctx.db();
    let sum = match db.write(key) {
        Some(entry) => {
            let number = match entry.text()? {
                Text::Int(number) => Some(number),
                Text::Bytes(bytes) => parse_i64(bytes),
            };
            let number = number.ok_or(CommandError::NotInteger)?;
            let sum = number.checked_add(by).ok_or(CommandError::Overflow)?;
            entry.set_int(sum);
            sum
        }
        None => {
            db.set_int(key, by);
            by
        }
    };
    ctx.modified(key);
    ctx.notify(Class::String, "incrby", key);
    ctx.out.integer(sum);
    Ok(())
}

fn incrbyfloat(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let old = match db.write(key) {
        Some(entry) => entry.text()?.bytes(&mut buffer),
        None => b"0",
    };
    let number = Extended::parse(old).ok_or(CommandError::NotFloat)?;
    let by = Extended::parse(request.arg(2)).ok_or(CommandError::NotFloat)?;
    let sum = number.checked_add(by).ok_or(CommandError::NotFinite)?.to_string();
    db.set_text(key, sum.as_bytes());
    out.bulk(&sum);
    ctx.modified(key);
    ctx.notify(Class::String, "incrbyfloat", key);
    ctx.propagate_as(&[b"SET", key, sum.as_bytes(), b"KEEPTTL"]);
    Ok(())
}

fn append(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, suffix) = (request.arg(1), request.arg(2));
    let bytes_max = ctx.server.settings.bulk_bytes_max;
    let (mut db, out) = ctx.data();
    let len = match db.write(key) {
        None => {
            db.set_string(key, suffix, Expiry::Clear);
            suffix.len()
        }
        Some(entry) => {
            if entry.text()?.len() + suffix.len() > bytes_max {
                return Err(CommandError::StringTooLong);
            }
            db.edit_string(key, |bytes| {
                bytes.extend_from_slice(suffix);
                bytes.len()
            })?
        }
    };
    out.integer(len as i64);
    ctx.modified(key);
    ctx.notify(Class::String, "append", key);
    Ok(())
}

fn setrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, patch) = (request.arg(1), request.arg(3));
    let offset = integer(request.arg(2))?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let bytes_max = ctx.server.settings.bulk_bytes_max;
    let (mut db, out) = ctx.data();
    let len = db.write(key).map(|entry| entry.text()).transpose()?.map_or(0, |text| text.len());
    if patch.is_empty() {
        out.integer(len as i64);
        return Ok(());
    }
    let end = offset.saturating_add(patch.len());
    if end > bytes_max {
        return Err(CommandError::StringTooLong);
    }
    let len = db.edit_string(key, |bytes| {
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(patch);
        bytes.len()
    })?;
    out.integer(len as i64);
    ctx.modified(key);
    ctx.notify(Class::String, "setrange", key);
    Ok(())
}

fn strlen(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let len = db.text(request.arg(1))?.map_or(0, |text| text.len());
    out.integer(len as i64);
    Ok(())
}

/// GETRANGE, and SUBSTR, its old name.
fn getrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (start, end) = (integer(request.arg(2))?, integer(request.arg(3))?);
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let text = db.text(request.arg(1))?;
    let bytes = text.as_ref().map_or(&[][..], |text| text.bytes(&mut buffer));
    out.bulk(range(bytes, start, end));
    Ok(())
}

/// The bytes from `start` to `end` inclusive; negative numbers count from the end.
fn range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = bytes.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_end = |n: i64| if n < 0 { n.saturating_add(len).max(0) } else { n };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { &[] } else { &bytes[start as usize..=end as usize] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_both_ends_and_stop_at_them() {
        for (start, end, expected) in [
            (0, 3, "This"),
            (0, -1, "This is"),
            (-2, -1, "is"),
            (-1, -2, ""),
            (-100, 1, "Th"),
            (-100, -200, ""),
            (-200, -100, "T"),
            (5, 100, "is"),
            (7, 9, ""),
            (3, 1, ""),
            (i64::MIN, i64::MAX, "This is"),
        ] {
            assert_eq!(range(b"This is", start, end), expected.as_bytes(), "{start} to {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }
}
