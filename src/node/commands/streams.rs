//! Streams: entries in and out. Reading that may wait is in `stream_reads`, groups are in
//! `stream_groups`.

use super::stream_args::{
    NewId, TrimOptions, add_options, range_end, range_start, strict_id, trim_options,
};
use super::write_item;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::session::Role;
use crate::resp::{Encoder, Request};
use crate::store::{
    Log, LogFigures, StreamEntry, StreamId, StreamIdBuffer, StreamRange, Trim, Trimmed, Value,
};

pub(super) const HANDLERS: Handlers = &[
    ("xadd", xadd),
    ("xdel", xdel),
    ("xlen", xlen),
    ("xrange", |ctx, request| range(ctx, request, false)),
    ("xrevrange", |ctx, request| range(ctx, request, true)),
    ("xsetid", xsetid),
    ("xtrim", xtrim),
];

type Done = Result<(), CommandError>;

impl Ctx<'_> {
    /// Whether what comes was trimmed at will by the primary, and says exactly what went.
    fn has_trimmed(&self) -> bool {
        self.session.role == Role::Primary
    }
}

/// An id, as a bulk string.
pub(super) fn write_id(out: &mut Encoder<'_>, id: StreamId) {
    out.bulk(id.text(&mut StreamIdBuffer::default()));
}

/// An entry: its id and its fields.
pub(super) fn write_entry(out: &mut Encoder<'_>, entry: &StreamEntry<'_>) {
    out.array(2);
    write_id(out, entry.id);
    out.array(entry.len() * 2);
    for (name, value) in entry.fields() {
        write_item(out, name);
        write_item(out, value);
    }
}

/// Up to `max` entries as an array, or all if that is 0. `among` is how many there may be.
pub(super) fn write_entries(
    out: &mut Encoder<'_>,
    entries: StreamRange<'_>,
    max: usize,
    among: usize,
) {
    let max = if max == 0 { usize::MAX } else { max };
    let head = out.open(max.min(among));
    let mut written = 0;
    for entry in entries.take(max) {
        write_entry(out, &entry);
        written += 1;
    }
    out.close_array(head, written);
}

/// The id of the next entry, if there can be one.
fn next_id(log: &Log, wanted: NewId, now_ms: u64) -> Result<StreamId, CommandError> {
    let last = log.figures().last_id;
    let after_last = last.next().ok_or(CommandError::line(
        "ERR The stream has exhausted the last possible ID, unable to add more items",
    ))?;
    let id = match wanted {
        NewId::Auto if now_ms > last.ms => StreamId::new(now_ms, 0),
        NewId::Auto => after_last,
        NewId::Given(id) => id,
        NewId::At(ms) if ms == last.ms => StreamId::new(ms, last.seq.saturating_add(1)),
        NewId::At(ms) => StreamId::new(ms, 0),
    };
    if id <= last {
        return Err(CommandError::line(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ));
    }
    Ok(id)
}

fn xadd(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let options = add_options(request, ctx.server.settings.stream_limits, ctx.has_trimmed())?;
    let first = options.id_at + 1;
    let content = request.len() - first;
    if content == 0 || content % 2 == 1 {
        return Err(CommandError::Arity("xadd"));
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(CommandError::line("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms();
    let bytes: usize = request.args_from(first).map(<[u8]>::len).sum();
    let too_large = bytes > Log::ENTRY_BYTES_MAX;
    if options.only_existing || too_large {
        let stream = db.stream_mut(key)?;
        if let Some(stream) = &stream {
            next_id(&stream.log, options.id, now_ms)?;
        } else if options.only_existing {
            out.null();
            return Ok(());
        }
        if too_large {
            return Err(CommandError::line("ERR Elements are too large to be stored"));
        }
    }
    let mut stream = db.stream_or_new(key)?;
    let id = next_id(&stream.log, options.id, now_ms)?;
    stream.append(id, content / 2, |index| request.arg(first + index));
    let trimmed = options.trim.map(|trim| trim.apply(&mut stream.log));
    let figures = stream.log.figures();
    let removed = trimmed.as_ref().map_or(0, |trimmed| trimmed.entries);
    if let Some(waste) = trimmed.and_then(Trimmed::waste) {
        db.discard(Value::Stream(waste));
    }
    write_id(out, id);
    ctx.modified(key);
    ctx.notify(Class::Stream, "xadd", key);
    if removed > 0 {
        ctx.notify(Class::Stream, "xtrim", key);
    }
    let chosen = !matches!(options.id, NewId::Given(_));
    let trimmed = options.trim.filter(|trim| trim.approximately);
    if ctx.propagates() && (chosen || trimmed.is_some()) {
        propagate_as_done(ctx, request, trimmed, figures, chosen.then_some((options.id_at, id)));
    }
    Ok(())
}

/// What was trimmed at will goes on as exactly what was trimmed, and an id that was chosen as that
/// id: with where it stands.
fn propagate_as_done(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    trimmed: Option<TrimOptions>,
    figures: LogFigures,
    id: Option<(usize, StreamId)>,
) {
    let mut args: Vec<&[u8]> = request.args_from(0).collect();
    let (mut id_buffer, mut first_buffer) = <(StreamIdBuffer, StreamIdBuffer)>::default();
    let mut len_buffer = itoa::Buffer::new();
    if let Some(trimmed) = trimmed {
        args[trimmed.threshold_at - 1] = b"=";
        args[trimmed.threshold_at] = match trimmed.trim {
            Trim::MaxLen(_) => len_buffer.format(figures.len).as_bytes(),
            Trim::MinId(_) => figures.first_id.text(&mut first_buffer),
        };
    }
    if let Some((at, id)) = id {
        args[at] = id.text(&mut id_buffer);
    }
    ctx.propagate_as(&args);
}

fn xlen(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.integer(db.stream(request.arg(1))?.map_or(0, |stream| stream.log.len()) as i64);
    Ok(())
}

fn range(ctx: &mut Ctx<'_>, request: &Request<'_>, back: bool) -> Done {
    let (first, last) = if back { (3, 2) } else { (2, 3) };
    let from = range_start(request.arg(first))?;
    let to = range_end(request.arg(last))?;
    let mut count = None;
    let mut at = 4;
    while let Some(word) = request.get(at) {
        let Some(value) = request.get(at + 1).filter(|_| is(word, "count")) else {
            return Err(CommandError::Syntax);
        };
        count = Some(usize::try_from(integer(value)?).unwrap_or(0));
        at += 2;
    }
    let (mut db, out) = ctx.data();
    let Some(stream) = db.stream(request.arg(1))? else {
        out.array(0);
        return Ok(());
    };
    if count == Some(0) {
        out.null_array();
        return Ok(());
    }
    let log = &stream.log;
    let entries = if back { log.range_back(from, to) } else { log.range(from, to) };
    write_entries(out, entries, count.unwrap_or(0), log.len());
    Ok(())
}

fn xdel(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    let Some(mut stream) = db.stream_mut(key)? else {
        out.integer(0);
        return Ok(());
    };
    request.args_from(2).try_for_each(|arg| strict_id(arg, 0).map(drop))?;
    let mut removed = 0;
    for arg in request.args_from(2) {
        removed += i64::from(stream.log.remove(strict_id(arg, 0)?));
    }
    out.integer(removed);
    if removed > 0 {
        ctx.modified(key);
        ctx.notify(Class::Stream, "xdel", key);
    }
    Ok(())
}

fn xtrim(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let options = trim_options(request, ctx.server.settings.stream_limits, ctx.has_trimmed())?;
    let (mut db, out) = ctx.data();
    let Some(mut stream) = db.stream_mut(key)? else {
        out.integer(0);
        return Ok(());
    };
    let trimmed = options.apply(&mut stream.log);
    let figures = stream.log.figures();
    let removed = trimmed.entries;
    out.integer(removed as i64);
    if let Some(waste) = trimmed.waste() {
        db.discard(Value::Stream(waste));
    }
    if removed > 0 {
        ctx.modified(key);
        ctx.notify(Class::Stream, "xtrim", key);
        if ctx.propagates() && options.approximately {
            propagate_as_done(ctx, request, Some(options), figures, None);
        }
    }
    Ok(())
}

fn xsetid(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let id = strict_id(request.arg(2), 0)?;
    let (mut entries_added, mut max_deleted) = (None, None);
    let mut at = 3;
    while let Some(word) = request.get(at) {
        let value = request.get(at + 1).ok_or(CommandError::Syntax)?;
        if is(word, "entriesadded") {
            let refused = CommandError::line("ERR entries_added must be positive");
            entries_added = Some(u64::try_from(integer(value)?).map_err(|_| refused)?);
        } else if is(word, "maxdeletedid") {
            let deleted = strict_id(value, 0)?;
            if id < deleted {
                return Err(CommandError::line(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
            max_deleted = Some(deleted);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let (mut db, out) = ctx.data();
    let mut stream = db.stream_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    let log = &mut stream.log;
    if id < log.figures().max_deleted_id {
        return Err(CommandError::line(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if !log.is_empty() {
        if id < log.last_valid_id() {
            return Err(CommandError::line(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if entries_added.is_some_and(|added| added < log.len() as u64) {
            return Err(CommandError::line(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    log.set_last_id(id, entries_added, max_deleted.filter(|id| *id != StreamId::MIN));
    out.ok();
    ctx.server.stats.dirty += 1;
    ctx.notify(Class::Stream, "xsetid", key);
    Ok(())
}
