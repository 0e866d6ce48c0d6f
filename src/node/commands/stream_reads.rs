//! XREAD and XREADGROUP: entries past an id, of one stream or several.

use super::stream_args::{shown, strict_id, text};
use super::stream_feed::Feed;
use super::stream_groups::CONSUMER_MADE;
use super::streams::{write_entries, write_entry, write_id};
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::serve::{Wait, no_array};
use crate::resp::{Encoder, OpenHead, OwnedRequest, Protocol, Request};
use crate::store::{ConsumerId, Entry, Group, Log, Pending, Stream, StreamId, Type, ValueRef};
use std::time::Instant;

pub(super) const HANDLERS: Handlers = &[("xread", xread), ("xreadgroup", xreadgroup)];

type Done = Result<(), CommandError>;

/// What stands before and behind STREAMS.
struct Options<'a> {
    /// The most entries of each stream; 0 is no limit.
    count: usize,
    /// BLOCK: until when to wait; forever if none.
    block: Option<Option<Instant>>,
    /// What is read is not to be acknowledged.
    no_ack: bool,
    /// The group and the consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// Where the first key stands.
    keys_at: usize,
    /// How many keys there are, and as many ids behind them.
    keys: usize,
}

fn options<'a>(
    ctx: &Ctx<'_>,
    request: &Request<'a>,
    for_group: bool,
) -> Result<Options<'a>, CommandError> {
    let mut options =
        Options { count: 0, block: None, no_ack: false, group: None, keys_at: 0, keys: 0 };
    let mut at = 1;
    while let Some(word) = request.get(at) {
        let more = request.len() - at - 1;
        if is(word, "block") && more > 0 {
            options.block = Some(ctx.deadline_millis(request.arg(at + 1))?);
            at += 2;
        } else if is(word, "count") && more > 0 {
            options.count = usize::try_from(integer(request.arg(at + 1))?).unwrap_or(0);
            at += 2;
        } else if is(word, "streams") && more > 0 {
            if !more.is_multiple_of(2) {
                let (name, sign) = if for_group { ("xreadgroup", '>') } else { ("xread", '$') };
                return Err(CommandError::err(format_args!(
                    "Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' \
                     must be specified."
                )));
            }
            (options.keys_at, options.keys) = (at + 1, more / 2);
            break;
        } else if is(word, "group") && more >= 2 {
            if !for_group {
                return Err(CommandError::line(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD \
                     instead.",
                ));
            }
            options.group = Some((request.arg(at + 1), request.arg(at + 2)));
            at += 3;
        } else if is(word, "noack") {
            if !for_group {
                return Err(CommandError::line(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD \
                     instead.",
                ));
            }
            options.no_ack = true;
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.keys_at == 0 {
        return Err(CommandError::Syntax);
    }
    if for_group && options.group.is_none() {
        return Err(CommandError::line("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(options)
}

/// Past which id a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// This one.
    Id(StreamId),
    /// `$`: the last one there is.
    Last,
    /// `+`: the one before the last entry.
    LastEntry,
    /// `>`: the last one that the group has read.
    Group,
}

impl From {
    fn parse(arg: &[u8], for_group: bool) -> Result<Self, CommandError> {
        match text(arg) {
            b"$" if for_group => Err(CommandError::line(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The $ ID would just return an empty result set.",
            )),
            b"$" => Ok(Self::Last),
            b"+" if for_group => Err(CommandError::line(
                "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The + ID would just return an empty result set.",
            )),
            b"+" => Ok(Self::LastEntry),
            b">" if for_group => Ok(Self::Group),
            b">" => Err(CommandError::line(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                 <group> <consumer> option.",
            )),
            // Whoever reads a group past the last id of all says `>` in other words.
            _ => match strict_id(arg, 0)? {
                StreamId::MAX if for_group => Ok(Self::Group),
                id => Ok(Self::Id(id)),
            },
        }
    }
}

/// The reply as it grows: it begins with the first stream that has something.
#[derive(Default)]
struct Served {
    head: Option<OpenHead>,
    streams: usize,
}

impl Served {
    fn begin(&mut self, out: &mut Encoder<'_>, key: &[u8]) {
        if self.head.is_none() {
            self.head = Some(out.open(1));
        }
        self.streams += 1;
        if out.protocol() == Protocol::Resp2 {
            out.array(2);
        }
        out.bulk(key);
    }

    /// Ends the reply. False if there was nothing to serve.
    fn end(self, out: &mut Encoder<'_>) -> bool {
        let Some(head) = self.head else { return false };
        match out.protocol() {
            Protocol::Resp2 => out.close_array(head, self.streams),
            Protocol::Resp3 => out.close_map(head, self.streams),
        }
        true
    }
}

/// Nothing was there to read: the client waits, if it asked for that and may.
fn wait(ctx: &mut Ctx<'_>, request: &Request<'_>, options: &Options<'_>, for_group: bool) -> Done {
    let Some(until) = options.block.filter(|_| ctx.may_block()) else {
        ctx.out.null_array();
        return Ok(());
    };
    if ctx.block_again() {
        return Ok(());
    }
    // `$` is the last id of this moment, also when the command runs again.
    let mut args: Vec<Box<[u8]>> = request.args_from(0).map(Into::into).collect();
    for at in options.keys_at..options.keys_at + options.keys {
        if text(request.arg(at + options.keys)) == b"$" {
            // It was asked for before: who listens for keys that are missed has heard of it.
            let mut db = ctx.db();
            let last = match db.peek(request.arg(at)).map(Entry::value) {
                Some(ValueRef::Stream(stream)) => stream.log.figures().last_id,
                _ => StreamId::default(),
            };
            args[at + options.keys] = last.to_string().into_bytes().into();
        }
    }
    let request = OwnedRequest::from_args(&args);
    let wait = Wait { request, until, timed_out: no_array };
    let keys = args[options.keys_at..options.keys_at + options.keys].iter().map(|key| &**key);
    // Who reads for a group hears of its end, and of that of its stream.
    ctx.block(keys, Type::Stream, for_group, wait);
    Ok(())
}

fn xread(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let options = options(ctx, request, false)?;
    if let Some(key) = ctx.ready_key()
        && let key = Vec::from(key)
        && !ctx.db().peek(&key).is_some_and(|entry| entry.type_of() == Type::Stream)
    {
        // What has come is no stream.
        ctx.block_again();
        return Ok(());
    }
    let (mut db, out) = ctx.data();
    // All are looked at before any is served: an error leaves nothing written.
    for at in options.keys_at..options.keys_at + options.keys {
        db.stream(request.arg(at))?;
        From::parse(request.arg(at + options.keys), false)?;
    }
    let mut served = Served::default();
    for at in options.keys_at..options.keys_at + options.keys {
        let key = request.arg(at);
        let Some(stream) = db.stream(key)? else { continue };
        let log = &stream.log;
        let after = match From::parse(request.arg(at + options.keys), false)? {
            From::Id(id) => id,
            From::Last | From::Group => log.figures().last_id,
            From::LastEntry => match log.last_valid_id().previous() {
                Some(before) => before,
                None => continue,
            },
        };
        if log.is_empty() || log.last_valid_id() <= after {
            continue;
        }
        served.begin(out, key);
        let entries = log.range(after.next().unwrap_or(StreamId::MAX), StreamId::MAX);
        write_entries(out, entries, options.count, log.len());
    }
    if served.end(out) { Ok(()) } else { wait(ctx, request, &options, false) }
}

fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (shown(key), shown(group));
    CommandError::Other(
        format!(
            "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP \
             option"
        )
        .into(),
    )
}

fn xreadgroup(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let options = options(ctx, request, true)?;
    let (group_name, consumer_name) = options.group.unwrap_or_default();
    let mut feed = Feed::new(ctx);
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms() as i64;
    for at in options.keys_at..options.keys_at + options.keys {
        let key = request.arg(at);
        let stream = db.stream(key)?;
        if !stream.is_some_and(|stream| stream.groups.contains_key(group_name)) {
            return Err(no_group(key, group_name));
        }
        From::parse(request.arg(at + options.keys), true)?;
    }
    let mut served = Served::default();
    let (mut changes, mut made) = (0, Vec::new());
    for at in options.keys_at..options.keys_at + options.keys {
        let key = request.arg(at);
        let from = From::parse(request.arg(at + options.keys), true)?;
        let Some(mut stream) = db.stream_mut(key)? else { continue };
        let Stream { log, groups } = &mut *stream;
        let Some(group) = groups.get_mut(group_name) else { continue };
        let consumer = match group.find_consumer(consumer_name) {
            Some(consumer) => consumer,
            None => {
                changes += 1;
                made.push(key);
                if options.no_ack {
                    feed.consumer(key, consumer_name);
                }
                group.add_consumer(consumer_name, now_ms).expect("it was not there")
            }
        };
        group.consumer_mut(consumer).seen_ms = now_ms;
        let reading =
            Reading { key, now_ms, count: options.count, no_ack: options.no_ack, consumer };
        match from {
            From::Id(after) => {
                served.begin(out, key);
                reading.history(out, log, group, after);
            }
            _ if !log.is_empty() && log.last_valid_id() > group.last_id => {
                served.begin(out, key);
                reading.deliver(out, log, group, &mut feed);
            }
            _ => continue,
        }
        changes += 1;
    }
    let has_served = served.end(out);
    ctx.server.stats.dirty += changes;
    made.into_iter().for_each(|key| ctx.notify(Class::Stream, CONSUMER_MADE, key));
    feed.send(ctx, group_name);
    if has_served { Ok(()) } else { wait(ctx, request, &options, true) }
}

/// One consumer's reading of one stream.
struct Reading<'a> {
    key: &'a [u8],
    now_ms: i64,
    /// The most entries; 0 is no limit.
    count: usize,
    no_ack: bool,
    consumer: ConsumerId,
}

impl<'a> Reading<'a> {
    /// Entries that nobody in the group has read: they are pending for the consumer from here on.
    fn deliver(&self, out: &mut Encoder<'_>, log: &Log, group: &mut Group, feed: &mut Feed<'a>) {
        let max = if self.count == 0 { usize::MAX } else { self.count };
        let first = group.last_id.next().unwrap_or(StreamId::MAX);
        let head = out.open(max.min(log.len()));
        let mut written = 0;
        for entry in log.range(first, StreamId::MAX).take(max) {
            group.advance(log, entry.id);
            write_entry(out, &entry);
            if !self.no_ack {
                let (consumer, delivered_ms) = (self.consumer, self.now_ms);
                let pending = Pending { consumer, delivered_ms, deliveries: 1 };
                group.set_pending(entry.id, pending);
                feed.claim(self.key, group, entry.id, pending);
            }
            written += 1;
        }
        if written > 0 {
            feed.read(self.key, group);
        }
        if written > 0 && !self.no_ack {
            group.consumer_mut(self.consumer).active_ms = Some(self.now_ms);
        }
        out.close_array(head, written);
    }

    /// What is pending for the consumer past an id. Of what has gone from the stream, the id.
    fn history(&self, out: &mut Encoder<'_>, log: &Log, group: &mut Group, after: StreamId) {
        let max = if self.count == 0 { usize::MAX } else { self.count };
        let pending = group.consumer(self.consumer).pending();
        let ids = after.next().map(|first| pending.range(first..)).into_iter().flatten();
        let ids: Vec<StreamId> = ids.copied().take(max).collect();
        out.array(ids.len());
        for id in ids {
            match log.get(id) {
                Some(entry) => {
                    write_entry(out, &entry);
                    group.deliver_again(id, self.now_ms);
                }
                None => {
                    out.array(2);
                    write_id(out, id);
                    out.null_array();
                }
            }
        }
    }
}
