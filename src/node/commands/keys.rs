//! Keys as such, whatever they hold.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::propagate::Audience;
use crate::node::snapshots::SnapshotFor;
use crate::resp::Request;
use crate::store::{Entry, Keyed, Text, UsagePolicy};
use crate::value::{Case, glob_match};

pub(super) const HANDLERS: Handlers = &[
    ("copy", copy),
    ("dbsize", dbsize),
    ("del", del),
    ("exists", exists),
    ("flushall", flushall),
    ("flushdb", flushdb),
    ("keys", keys),
    ("move", move_key),
    ("object|encoding", object_encoding),
    ("object|freq", object_freq),
    ("object|help", super::help),
    ("object|idletime", object_idletime),
    ("object|refcount", object_refcount),
    ("randomkey", randomkey),
    ("rename", |ctx, request| rename(ctx, request, true)),
    ("renamenx", |ctx, request| rename(ctx, request, false)),
    ("swapdb", swapdb),
    ("touch", touch),
    ("type", type_of),
    ("unlink", del),
];

type Done = Result<(), CommandError>;

const SAME_OBJECT: CommandError =
    CommandError::line("ERR source and destination objects are the same");

/// DEL and UNLINK: what is big is freed on another thread either way.
fn del(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let mut removed = 0;
    for key in request.args_from(1) {
        if ctx.db().remove(key) {
            ctx.modified(key);
            ctx.notify(Class::Generic, "del", key);
            removed += 1;
        }
    }
    ctx.out.integer(removed);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let found = request.args_from(1).filter(|key| db.peek_counted(key).is_some()).count();
    out.integer(found as i64);
    Ok(())
}

fn touch(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let found = request.args_from(1).filter(|key| db.read(key).is_some()).count();
    out.integer(found as i64);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.simple(db.peek_counted(request.arg(1)).map_or("none", |entry| entry.type_of().name()));
    Ok(())
}

fn dbsize(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    let (db, out) = ctx.data();
    out.integer(db.len() as i64);
    Ok(())
}

fn randomkey(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    ctx.propagate_apart();
    let (mut db, out) = ctx.data();
    match db.random_key() {
        Some(key) => out.bulk(key),
        None => out.null(),
    }
    Ok(())
}

fn keys(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let pattern = request.arg(1);
    let (db, out) = ctx.data();
    let all = pattern == b"*";
    let matching =
        || db.iter().map(Keyed::key).filter(|key| all || glob_match(pattern, key, Case::Sensitive));
    // Found twice rather than copied: the count comes before the keys.
    out.array(matching().count());
    matching().for_each(|key| out.bulk(key));
    Ok(())
}

fn rename(ctx: &mut Ctx<'_>, request: &Request<'_>, replace: bool) -> Done {
    let (from, to) = (request.arg(1), request.arg(2));
    let mut db = ctx.db();
    if !db.is_taken(from) {
        return Err(CommandError::NoSuchKey);
    }
    let moves = from != to && (replace || !db.is_taken(to));
    if moves && let Some(entry) = db.take(from) {
        db.insert(entry.renamed(to));
        ctx.modified(from);
        ctx.modified(to);
        ctx.notify(Class::Generic, "rename_from", from);
        ctx.notify(Class::Generic, "rename_to", to);
    }
    if replace {
        ctx.out.ok()
    } else {
        ctx.out.integer(i64::from(moves))
    }
    Ok(())
}

/// A database by its number.
fn database(ctx: &Ctx<'_>, arg: &[u8]) -> Result<usize, CommandError> {
    let number = integer(arg)?;
    if i32::try_from(number).is_err() {
        return Err(CommandError::err(format_args!(
            "value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )));
    }
    let index = usize::try_from(number).ok();
    let found = index.filter(|&index| index < ctx.keyspace.databases());
    found.ok_or(CommandError::DbOutOfRange)
}

fn copy(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (from, to) = (request.arg(1), request.arg(2));
    let from_db = ctx.session.db;
    let (mut to_db, mut replace) = (from_db, false);
    let mut at = 3;
    while let Some(word) = request.get(at) {
        at += 1;
        if is(word, "replace") {
            replace = true;
        } else if is(word, "db") && at < request.len() {
            to_db = database(ctx, request.arg(at))?;
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if from_db == to_db && from == to {
        return Err(SAME_OBJECT);
    }
    let now_ms = ctx.now.unix_ms;
    let keyspace = &mut *ctx.keyspace;
    let copied = match keyspace.db(from_db, now_ms).read(from) {
        Some(entry) => {
            let copy = entry.copied(to);
            let mut db = keyspace.db(to_db, now_ms);
            let free = replace || !db.is_taken(to);
            if free {
                db.insert_copy(copy);
            }
            free
        }
        None => false,
    };
    if copied {
        ctx.server.stats.dirty += 1;
        ctx.touched(to_db, to);
        ctx.notify_in(to_db, Class::Generic, "copy_to", to);
    }
    ctx.out.integer(i64::from(copied));
    Ok(())
}

fn move_key(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    if ctx.server.settings.cluster_enabled {
        return Err(CommandError::line("ERR MOVE is not allowed in cluster mode"));
    }
    let (from, to) = (ctx.session.db, database(ctx, request.arg(2))?);
    if from == to {
        return Err(SAME_OBJECT);
    }
    let moved = ctx.keyspace.move_key(from, to, key, ctx.now.unix_ms);
    if moved {
        ctx.modified(key);
        ctx.touched(to, key);
        ctx.notify(Class::Generic, "move_from", key);
        ctx.notify_in(to, Class::Generic, "move_to", key);
    }
    ctx.out.integer(i64::from(moved));
    Ok(())
}

fn swapdb(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if ctx.server.settings.cluster_enabled {
        return Err(CommandError::line("ERR SWAPDB is not allowed in cluster mode"));
    }
    let index = |at: usize, error: &'static str| {
        let number = integer(request.arg(at)).ok().filter(|&n| i32::try_from(n).is_ok());
        number.ok_or(CommandError::line(error))
    };
    let first = index(1, "ERR invalid first DB index")?;
    let second = index(2, "ERR invalid second DB index")?;
    let databases = ctx.keyspace.databases();
    let known = |number: i64| usize::try_from(number).ok().filter(|&db| db < databases);
    let (Some(a), Some(b)) = (known(first), known(second)) else {
        return Err(CommandError::DbOutOfRange);
    };
    if a != b {
        touch_existing(ctx, Some(a));
        touch_existing(ctx, Some(b));
        ctx.keyspace.swap(a, b);
        // A key that is there now and was not before has changed as well.
        touch_existing(ctx, Some(a));
        touch_existing(ctx, Some(b));
        ctx.touch_all_awaited(Some(a));
        ctx.touch_all_awaited(Some(b));
    }
    ctx.server.stats.dirty += 1;
    ctx.out.ok();
    Ok(())
}

/// Watched keys that are in a database (in all of them: `None`) are about to change.
fn touch_existing(ctx: &mut Ctx<'_>, db: Option<usize>) {
    let now_ms = ctx.now.unix_ms;
    let keyspace = &mut *ctx.keyspace;
    ctx.server.watched.touch_where(db, |db, key| keyspace.db(db, now_ms).contains(key));
}

fn flush_mode(request: &Request<'_>) -> Done {
    match request.get(1) {
        None => Ok(()),
        Some(mode) if request.len() == 2 && (is(mode, "async") || is(mode, "sync")) => Ok(()),
        Some(_) => Err(CommandError::Syntax),
    }
}

/// FLUSHDB. The keys are gone at once; their memory is freed on another thread, SYNC or not.
fn flushdb(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    flush_mode(request)?;
    let db = ctx.session.db;
    touch_existing(ctx, Some(db));
    let flushed = ctx.keyspace.flush(db);
    ctx.server.stats.dirty += flushed as u64;
    ctx.propagate_always(Audience::ALL);
    ctx.touch_all_awaited(Some(db));
    ctx.out.ok();
    Ok(())
}

fn flushall(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    flush_mode(request)?;
    touch_existing(ctx, None);
    // A save of what is gone is of no use to anybody, and the file shall not bring it back.
    ctx.server.give_up_snapshot(ctx.keyspace, SnapshotFor::File);
    for db in 0..ctx.keyspace.databases() {
        let flushed = ctx.keyspace.flush(db);
        ctx.server.stats.dirty += flushed as u64;
    }
    if !ctx.server.settings.save_rules.is_empty() {
        // What went wrong is in the log, and the data is gone either way.
        let _ = super::save_now(ctx.server, ctx.keyspace, ctx.now);
    }
    ctx.propagate_always(Audience::ALL);
    ctx.touch_all_awaited(None);
    ctx.out.ok();
    Ok(())
}

fn object_encoding(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    match db.peek_counted_untold(request.arg(2)) {
        Some(entry) => out.bulk(entry.encoding()),
        None => out.null(),
    }
    Ok(())
}

/// Redis shares the integers below 10,000 among keys, and says so with the largest count.
fn object_refcount(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    match db.peek_counted_untold(request.arg(2)).map(Entry::text) {
        Some(Ok(Text::Int(0..10_000))) => out.integer(i64::from(i32::MAX)),
        Some(_) => out.integer(1),
        None => out.null(),
    }
    Ok(())
}

fn object_idletime(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    const BY_FREQUENCY: CommandError = CommandError::line(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    );
    let (mut db, out) = ctx.data();
    let (policy, now_ms) = (db.usage_policy(), db.now_ms());
    match (db.peek_counted_untold(request.arg(2)), policy) {
        (None, _) => out.null(),
        (Some(_), UsagePolicy::Frequency { .. }) => return Err(BY_FREQUENCY),
        (Some(entry), UsagePolicy::Recency) => {
            out.integer(policy.idle_seconds(entry.usage(), now_ms) as i64);
        }
    }
    Ok(())
}

fn object_freq(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    const BY_RECENCY: CommandError = CommandError::line(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust.",
    );
    let (mut db, out) = ctx.data();
    let (policy, now_ms) = (db.usage_policy(), db.now_ms());
    match (db.peek_counted_untold(request.arg(2)), policy) {
        (None, _) => out.null(),
        (Some(_), UsagePolicy::Recency) => return Err(BY_RECENCY),
        (Some(entry), UsagePolicy::Frequency { .. }) => {
            out.integer(i64::from(policy.frequency(entry.usage(), now_ms)));
        }
    }
    Ok(())
}
