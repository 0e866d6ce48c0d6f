//! What a group was given and has not acknowledged: shown, and handed to other consumers.

use super::stream_args::{range_end, range_start, shown, strict_id};
use super::stream_feed::Feed;
use super::stream_groups::{CONSUMER_MADE, no_such_group};
use super::streams::{write_entry, write_id};
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Encoder, Request, parse_i64};
use crate::store::{ConsumerId, Group, Pending, Stream, StreamEntry, StreamId};

pub(super) const HANDLERS: Handlers =
    &[("xautoclaim", xautoclaim), ("xclaim", xclaim), ("xpending", xpending)];

type Done = Result<(), CommandError>;

/// The range of XPENDING.
struct Selection<'a> {
    idle_ms: i64,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn selection<'a>(request: &Request<'a>) -> Result<Option<Selection<'a>>, CommandError> {
    match request.len() {
        3 => return Ok(None),
        6..=9 => {}
        _ => return Err(CommandError::Syntax),
    }
    let mut at = 3;
    let mut idle_ms = 0;
    if is(request.arg(3), "idle") {
        idle_ms = integer(request.arg(4))?;
        if request.len() < 8 {
            return Err(CommandError::Syntax);
        }
        at = 5;
    }
    let count = usize::try_from(integer(request.arg(at + 2))?).unwrap_or(0);
    let (from, to) = (range_start(request.arg(at))?, range_end(request.arg(at + 1))?);
    Ok(Some(Selection { idle_ms, from, to, count, consumer: request.get(at + 3) }))
}

fn xpending(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let selection = selection(request)?;
    let (key, name) = (request.arg(1), request.arg(2));
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms() as i64;
    let group = db.stream(key)?.and_then(|stream| stream.groups.get(name));
    let group = group.ok_or_else(|| no_such_group(key, name))?;
    let Some(Selection { idle_ms, from, to, count, consumer }) = selection else {
        summarise(out, group);
        return Ok(());
    };
    let consumer = match consumer {
        None => None,
        Some(name) => match group.find_consumer(name) {
            Some(consumer) => Some(consumer),
            None => {
                out.array(0);
                return Ok(());
            }
        },
    };
    let all = consumer.is_none().then(|| group.pending_range(from, to)).into_iter().flatten();
    let its = consumer.map(|consumer| group.pending_of(consumer, from, to));
    let head = out.open(count.min(group.pending_count()));
    let mut written = 0;
    let idle = |pending: &Pending| now_ms.saturating_sub(pending.delivered_ms);
    for (id, pending) in all
        .chain(its.into_iter().flatten())
        // 0 asks for all, those of a future delivery included.
        .filter(|(_, pending)| idle_ms == 0 || idle(pending) >= idle_ms)
        .take(count)
    {
        out.array(4);
        write_id(out, id);
        out.bulk(group.consumer(pending.consumer).name());
        out.integer(idle(pending).max(0));
        out.integer(pending.deliveries as i64);
        written += 1;
    }
    out.close_array(head, written);
    Ok(())
}

/// How much is pending, between which ids, and for whom.
fn summarise(out: &mut Encoder<'_>, group: &Group) {
    out.array(4);
    out.integer(group.pending_count() as i64);
    let mut pending = group.pending_range(StreamId::MIN, StreamId::MAX);
    let Some((first, _)) = pending.next() else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    write_id(out, first);
    write_id(out, pending.next_back().map_or(first, |(last, _)| last));
    let waiting = || group.consumers().filter(|consumer| !consumer.pending().is_empty());
    out.array(waiting().count());
    for consumer in waiting() {
        out.array(2);
        out.bulk(consumer.name());
        out.bulk_integer(consumer.pending().len() as i64);
    }
}

/// What XCLAIM is told behind its ids.
struct Claim {
    delivered_ms: i64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

fn claim_options(request: &Request<'_>, mut at: usize, now_ms: i64) -> Result<Claim, CommandError> {
    let number = |at: usize, error| parse_i64(request.arg(at)).ok_or(CommandError::line(error));
    let (mut delivered_ms, mut deliveries) = (None, None);
    let (mut force, mut just_id, mut last_id) = (false, false, StreamId::MIN);
    while let Some(word) = request.get(at) {
        let more = at + 1 < request.len();
        let mut takes = 2;
        if is(word, "force") {
            (force, takes) = (true, 1);
        } else if is(word, "justid") {
            (just_id, takes) = (true, 1);
        } else if is(word, "idle") && more {
            let idle = number(at + 1, "ERR Invalid IDLE option argument for XCLAIM")?;
            delivered_ms = Some(now_ms.wrapping_sub(idle));
        } else if is(word, "time") && more {
            let time = number(at + 1, "ERR Invalid TIME option argument for XCLAIM")?;
            delivered_ms = Some(time);
        } else if is(word, "retrycount") && more {
            let count = number(at + 1, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
            deliveries = u64::try_from(count).ok();
        } else if is(word, "lastid") && more {
            last_id = strict_id(request.arg(at + 1), 0)?;
        } else {
            let word = shown(word);
            return Err(CommandError::err(format_args!("Unrecognized XCLAIM option '{word}'")));
        }
        at += takes;
    }
    // A time that cannot be is no error: clients have clocks of their own.
    let delivered_ms = delivered_ms.filter(|time| (0..=now_ms).contains(time)).unwrap_or(now_ms);
    Ok(Claim { delivered_ms, deliveries, force, just_id, last_id })
}

/// An id or an entry, as JUSTID says.
fn write_claimed(out: &mut Encoder<'_>, entry: &StreamEntry<'_>, just_id: bool) {
    if just_id {
        write_id(out, entry.id);
    } else {
        write_entry(out, entry);
    }
}

/// The consumer that claims, seen at this time.
/// And whether it was made for that.
fn claimant(group: &mut Group, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
    let found = group.find_consumer(name);
    let consumer =
        found.unwrap_or_else(|| group.add_consumer(name, now_ms).expect("it was not there"));
    group.consumer_mut(consumer).seen_ms = now_ms;
    (consumer, found.is_none())
}

fn xclaim(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, name) = (request.arg(1), request.arg(2));
    let mut feed = Feed::new(ctx);
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms() as i64;
    let mut stream = db.stream_read_mut(key)?;
    let parts = stream.as_mut().map(|stream| {
        let Stream { log, groups } = &mut **stream;
        (log, groups.get_mut(name))
    });
    let Some((log, Some(group))) = parts else { return Err(no_such_group(key, name)) };
    let idle_min = parse_i64(request.arg(4));
    let idle_min =
        idle_min.ok_or(CommandError::line("ERR Invalid min-idle-time argument for XCLAIM"))?.max(0);
    let ids = request.args_from(5).take_while(|arg| strict_id(arg, 0).is_ok()).count();
    let claim = claim_options(request, 5 + ids, now_ms)?;
    let mut tell_last_id = claim.last_id > group.last_id;
    group.last_id = group.last_id.max(claim.last_id);
    let (consumer, made) = claimant(group, request.arg(3), now_ms);
    let mut changes = u64::from(made);
    let head = out.open(ids);
    let mut written = 0;
    for at in 5..5 + ids {
        let id = strict_id(request.arg(at), 0)?;
        let old = group.pending(id).copied();
        let Some(entry) = log.get(id) else {
            if let Some(old) = old {
                feed.claim(key, group, id, old);
                group.acknowledge(id);
                tell_last_id = false;
                changes += 1;
            }
            continue;
        };
        if old.is_none() && !claim.force {
            continue;
        }
        if old.is_some_and(|old| idle_min > 0 && now_ms - old.delivered_ms < idle_min) {
            continue;
        }
        // An entry that FORCE makes pending has been delivered once, and now again.
        let before = old.map_or(1, |old| old.deliveries);
        let deliveries = match claim.deliveries {
            Some(deliveries) => deliveries,
            None => before.wrapping_add(u64::from(!claim.just_id)),
        };
        let pending = Pending { consumer, delivered_ms: claim.delivered_ms, deliveries };
        group.set_pending(id, pending);
        group.consumer_mut(consumer).active_ms = Some(now_ms);
        feed.claim(key, group, id, pending);
        write_claimed(out, &entry, claim.just_id);
        tell_last_id = false;
        written += 1;
        changes += 1;
    }
    if tell_last_id {
        feed.read(key, group);
        changes += 1;
    }
    out.close_array(head, written);
    ctx.server.stats.dirty += changes;
    if made {
        ctx.notify(Class::Stream, CONSUMER_MADE, key);
    }
    feed.send(ctx, name);
    Ok(())
}

/// How many pending entries XAUTOCLAIM looks at for one that it may return.
const LOOKED_AT: usize = 10;

/// What XAUTOCLAIM is told behind its start: how many entries at most, and JUSTID.
fn scan_options(request: &Request<'_>) -> Result<(usize, bool), CommandError> {
    /// What keeps Redis's count of bytes and of attempts within 64 bits.
    const COUNT_MAX: i64 = i64::MAX / 16;
    /// Ids that no machine has the memory to remember, which is what Redis says then.
    const COUNT_TOO_HIGH: usize = 1 << 43;
    let (mut count, mut just_id, mut at) = (100, false, 6);
    while let Some(word) = request.get(at) {
        if is(word, "justid") {
            just_id = true;
            at += 1;
            continue;
        }
        let value = request.get(at + 1).filter(|_| is(word, "count"));
        let number = parse_i64(value.ok_or(CommandError::Syntax)?);
        let number = number.filter(|number| (1..=COUNT_MAX).contains(number));
        count = number.ok_or(CommandError::line("ERR COUNT must be > 0"))? as usize;
        at += 2;
    }
    if count > COUNT_TOO_HIGH {
        return Err(CommandError::line(
            "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        ));
    }
    Ok((count, just_id))
}

fn xautoclaim(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, name) = (request.arg(1), request.arg(2));
    // Redis looks for the key before it reads what follows.
    ctx.data().0.count_look(key);
    let idle_min = parse_i64(request.arg(4));
    let idle_min = idle_min
        .ok_or(CommandError::line("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?
        .max(0);
    let start = range_start(request.arg(5))?;
    let (mut count, just_id) = scan_options(request)?;
    let mut feed = Feed::new(ctx);
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms() as i64;
    let mut stream = db.stream_mut(key)?;
    let parts = stream.as_mut().map(|stream| {
        let Stream { log, groups } = &mut **stream;
        (log, groups.get_mut(name))
    });
    let Some((log, Some(group))) = parts else { return Err(no_such_group(key, name)) };
    let (consumer, made) = claimant(group, request.arg(3), now_ms);
    let mut changes = u64::from(made);

    // The cursor comes first in the reply and is known last: what comes after it is written aside.
    let mut claimed = Vec::new();
    let mut claims = Encoder::new(&mut claimed, out.protocol());
    let mut written = 0;
    let mut deleted = Vec::new();
    let mut attempts = count.saturating_mul(LOOKED_AT);
    let mut next = group.pending_range(start, StreamId::MAX).next().map(|(id, _)| id);
    while let Some(id) = next.filter(|_| attempts > 0 && count > 0) {
        attempts -= 1;
        next = group.pending_after(id);
        let Some(&old) = group.pending(id) else { break };
        let Some(entry) = log.get(id) else {
            feed.claim(key, group, id, old);
            group.acknowledge(id);
            deleted.push(id);
            changes += 1;
            count -= 1;
            continue;
        };
        if idle_min > 0 && now_ms - old.delivered_ms < idle_min {
            continue;
        }
        let deliveries = old.deliveries.wrapping_add(u64::from(!just_id));
        let pending = Pending { consumer, delivered_ms: now_ms, deliveries };
        group.set_pending(id, pending);
        group.consumer_mut(consumer).active_ms = Some(now_ms);
        feed.claim(key, group, id, pending);
        write_claimed(&mut claims, &entry, just_id);
        changes += 1;
        written += 1;
        count -= 1;
    }
    out.array(3);
    write_id(out, next.unwrap_or(StreamId::MIN));
    out.array(written);
    out.buffer().extend_from_slice(&claimed);
    out.array(deleted.len());
    deleted.into_iter().for_each(|id| write_id(out, id));
    ctx.server.stats.dirty += changes;
    if made {
        ctx.notify(Class::Stream, CONSUMER_MADE, key);
    }
    feed.send(ctx, name);
    Ok(())
}
