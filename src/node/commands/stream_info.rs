//! XINFO: what a stream, its groups and their consumers are like.

use super::help;
use super::stream_args::{shown, wrong_arguments};
use super::streams::{write_entries, write_entry, write_id};
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::{Encoder, Request};
use crate::store::{Consumer, Group, Log, Pending, Stream, StreamId};

pub(super) const HANDLERS: Handlers = &[
    ("xinfo|consumers", consumers),
    ("xinfo|groups", groups),
    ("xinfo|help", help),
    ("xinfo|stream", stream),
];

type Done = Result<(), CommandError>;

/// Entries that FULL shows of each list, where nothing is said.
const SHOWN: usize = 10;

fn consumers(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (key, name) = (request.arg(2), request.arg(3));
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms() as i64;
    let stream = db.stream(key)?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.groups.get(name).ok_or_else(|| {
        let (name, key) = (shown(name), shown(key));
        let line = format!("NOGROUP No such consumer group '{name}' for key name '{key}'");
        CommandError::Other(line.into())
    })?;
    out.array(group.consumer_count());
    for consumer in group.consumers() {
        out.map(4);
        out.bulk("name");
        out.bulk(consumer.name());
        out.bulk("pending");
        out.integer(consumer.pending().len() as i64);
        out.bulk("idle");
        out.integer(now_ms.saturating_sub(consumer.seen_ms).max(0));
        out.bulk("inactive");
        out.integer(consumer.active_ms.map_or(-1, |active| now_ms.saturating_sub(active)));
    }
    Ok(())
}

fn write_optional(out: &mut Encoder<'_>, number: Option<i64>) {
    match number {
        Some(number) => out.integer(number),
        None => out.null(),
    }
}

fn write_progress(out: &mut Encoder<'_>, group: &Group, log: &Log) {
    out.bulk("last-delivered-id");
    write_id(out, group.last_id);
    out.bulk("entries-read");
    write_optional(out, group.entries_read.map(|read| read as i64));
    out.bulk("lag");
    write_optional(out, group.lag(log));
}

fn groups(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let stream = db.stream(request.arg(2))?.ok_or(CommandError::NoSuchKey)?;
    out.array(stream.groups.len());
    for (name, group) in &stream.groups {
        out.map(6);
        out.bulk("name");
        out.bulk(name);
        out.bulk("consumers");
        out.integer(group.consumer_count() as i64);
        out.bulk("pending");
        out.integer(group.pending_count() as i64);
        write_progress(out, group, &stream.log);
    }
    Ok(())
}

/// How many elements of each list XINFO STREAM FULL shows, 0 for all; nothing without FULL.
fn full(request: &Request<'_>) -> Result<Option<usize>, CommandError> {
    let is_full = request.get(3).is_some_and(|word| is(word, "full"));
    match request.len() {
        3 => Ok(None),
        4 if is_full => Ok(Some(SHOWN)),
        6 if is_full && is(request.arg(4), "count") => {
            Ok(Some(usize::try_from(integer(request.arg(5))?).unwrap_or(SHOWN)))
        }
        _ => Err(wrong_arguments(request, "XINFO")),
    }
}

fn stream(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let stream = db.stream(request.arg(2))?.ok_or(CommandError::NoSuchKey)?;
    let full = full(request)?;
    let log = &stream.log;
    let figures = log.figures();
    out.map(if full.is_some() { 9 } else { 10 });
    out.bulk("length");
    out.integer(log.len() as i64);
    out.bulk("radix-tree-keys");
    out.integer(log.node_count() as i64);
    out.bulk("radix-tree-nodes");
    out.integer(stream.radix_nodes() as i64);
    out.bulk("last-generated-id");
    write_id(out, figures.last_id);
    out.bulk("max-deleted-entry-id");
    write_id(out, figures.max_deleted_id);
    out.bulk("entries-added");
    out.integer(figures.entries_added as i64);
    out.bulk("recorded-first-entry-id");
    write_id(out, figures.first_id);
    match full {
        None => {
            out.bulk("groups");
            out.integer(stream.groups.len() as i64);
            let first = log.iter().next();
            let last = log.range_back(StreamId::MIN, StreamId::MAX).next();
            for (name, entry) in [("first-entry", first), ("last-entry", last)] {
                out.bulk(name);
                match entry {
                    Some(entry) => write_entry(out, &entry),
                    None => out.null(),
                }
            }
        }
        Some(shown) => {
            out.bulk("entries");
            write_entries(out, log.iter(), shown, log.len());
            out.bulk("groups");
            write_groups(out, stream, shown);
        }
    }
    Ok(())
}

fn write_groups(out: &mut Encoder<'_>, stream: &Stream, shown: usize) {
    let max = if shown == 0 { usize::MAX } else { shown };
    out.array(stream.groups.len());
    for (name, group) in &stream.groups {
        out.map(7);
        out.bulk("name");
        out.bulk(name);
        write_progress(out, group, &stream.log);
        out.bulk("pel-count");
        out.integer(group.pending_count() as i64);
        out.bulk("pending");
        out.array(group.pending_count().min(max));
        for (id, pending) in group.pending_range(StreamId::MIN, StreamId::MAX).take(max) {
            out.array(4);
            write_id(out, id);
            out.bulk(group.consumer(pending.consumer).name());
            write_delivery(out, pending);
        }
        out.bulk("consumers");
        out.array(group.consumer_count());
        for consumer in group.consumers() {
            write_consumer(out, group, consumer, max);
        }
    }
}

fn write_delivery(out: &mut Encoder<'_>, pending: &Pending) {
    out.integer(pending.delivered_ms);
    out.integer(pending.deliveries as i64);
}

fn write_consumer(out: &mut Encoder<'_>, group: &Group, consumer: &Consumer, max: usize) {
    out.map(5);
    out.bulk("name");
    out.bulk(consumer.name());
    out.bulk("seen-time");
    out.integer(consumer.seen_ms);
    out.bulk("active-time");
    out.integer(consumer.active_ms.unwrap_or(-1));
    out.bulk("pel-count");
    out.integer(consumer.pending().len() as i64);
    out.bulk("pending");
    out.array(consumer.pending().len().min(max));
    for &id in consumer.pending().iter().take(max) {
        let pending = group.pending(id).expect("what a consumer has is pending in its group");
        out.array(3);
        write_id(out, id);
        write_delivery(out, pending);
    }
}
