//! Consumer groups: made, moved, removed, and entries that they acknowledge.

use super::help;
use super::stream_args::{id, shown, strict_id, text, wrong_arguments};
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::Request;
use crate::store::{Group, Stream, StreamId, StreamMut, Value};

pub(super) const HANDLERS: Handlers = &[
    ("xack", xack),
    ("xgroup|create", create),
    ("xgroup|createconsumer", create_consumer),
    ("xgroup|delconsumer", remove_consumer),
    ("xgroup|destroy", destroy),
    ("xgroup|help", help),
    ("xgroup|setid", set_id),
];

type Done = Result<(), CommandError>;

/// What a command about a group of a missing key or name is told.
pub(super) fn no_such_group(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (shown(key), shown(group));
    let line = format!("NOGROUP No such key '{key}' or consumer group '{group}'");
    CommandError::Other(line.into())
}

/// The event of a consumer that comes into being, by whichever command.
pub(super) const CONSUMER_MADE: &str = "xgroup-createconsumer";

const NO_KEY: CommandError = CommandError::line(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
     use the MKSTREAM option to create an empty stream automatically.",
);

/// The words behind the id of CREATE and SETID.
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

fn options(request: &Request<'_>, creates: bool) -> Result<Options, CommandError> {
    let mut options = Options { make_stream: false, entries_read: None };
    let mut at = 5;
    while let Some(word) = request.get(at) {
        if creates && is(word, "mkstream") {
            options.make_stream = true;
            at += 1;
            continue;
        }
        let value = request.get(at + 1).filter(|_| is(word, "entriesread"));
        let read = integer(value.ok_or_else(|| wrong_arguments(request, "XGROUP"))?)?;
        options.entries_read = match read {
            -1 => None,
            read => Some(u64::try_from(read).map_err(|_| {
                CommandError::line("ERR value for ENTRIESREAD must be positive or -1")
            })?),
        };
        at += 2;
    }
    Ok(options)
}

fn create(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    /// Each option once.
    const ARGUMENTS_MAX: usize = 8;
    let (key, name) = (request.arg(2), request.arg(3));
    let options = options(request, true)?;
    let (mut db, out) = ctx.data();
    let stream = db.stream_mut(key)?;
    let is_new = stream.is_none();
    if is_new && !options.make_stream {
        return Err(NO_KEY);
    }
    if request.len() > ARGUMENTS_MAX {
        return Err(wrong_arguments(request, "XGROUP"));
    }
    let last_id = match text(request.arg(4)) {
        b"$" => stream.map_or(StreamId::MIN, |stream| stream.log.figures().last_id),
        _ => strict_id(request.arg(4), 0)?,
    };
    let mut stream = db.stream_or_new(key)?;
    if stream.groups.contains_key(name) {
        return Err(CommandError::line("BUSYGROUP Consumer Group name already exists"));
    }
    stream.groups.insert(name.into(), Group::new(last_id, options.entries_read));
    out.ok();
    if is_new {
        ctx.modified(key);
    } else {
        ctx.server.stats.dirty += 1;
    }
    ctx.notify(Class::Stream, "xgroup-create", key);
    Ok(())
}

/// The group that a subcommand names.
fn group<'s>(
    stream: &'s mut Option<StreamMut<'_>>,
    request: &Request<'_>,
) -> Result<&'s mut Group, CommandError> {
    let stream = stream.as_mut().ok_or(NO_KEY)?;
    stream.groups.get_mut(request.arg(3)).ok_or_else(|| {
        let (name, key) = (request.arg(3), request.arg(2));
        let (name, key) = (shown(name), shown(key));
        let line = format!("NOGROUP No such consumer group '{name}' for key name '{key}'");
        CommandError::Other(line.into())
    })
}

fn set_id(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let options = options(request, false)?;
    let (mut db, out) = ctx.data();
    let mut stream = db.stream_mut(request.arg(2))?;
    let newest = stream.as_ref().map(|stream| stream.log.figures().last_id);
    let group = group(&mut stream, request)?;
    if request.len() != 5 && request.len() != 7 {
        return Err(wrong_arguments(request, "XGROUP"));
    }
    group.last_id = match text(request.arg(4)) {
        b"$" => newest.unwrap_or_default(),
        _ => id(request.arg(4), 0)?,
    };
    group.entries_read = options.entries_read;
    out.ok();
    ctx.server.stats.dirty += 1;
    ctx.notify(Class::Stream, "xgroup-setid", request.arg(2));
    Ok(())
}

fn destroy(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let mut stream = db.stream_mut(request.arg(2))?.ok_or(NO_KEY)?;
    let removed = stream.groups.remove_entry(request.arg(3));
    out.integer(i64::from(removed.is_some()));
    if let Some((name, group)) = removed {
        db.discard(Value::Stream(Box::new(Stream::of_group(name, group))));
        ctx.server.stats.dirty += 1;
        ctx.notify(Class::Stream, "xgroup-destroy", request.arg(2));
        // Whoever waits to read for it hears that it has gone.
        ctx.touch_awaited(ctx.session.db, request.arg(2));
    }
    Ok(())
}

fn create_consumer(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms() as i64;
    let mut stream = db.stream_mut(request.arg(2))?;
    let added = group(&mut stream, request)?.add_consumer(request.arg(4), now_ms).is_some();
    out.integer(i64::from(added));
    if added {
        ctx.server.stats.dirty += 1;
        ctx.notify(Class::Stream, CONSUMER_MADE, request.arg(2));
    }
    Ok(())
}

fn remove_consumer(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let mut stream = db.stream_mut(request.arg(2))?;
    let removed = group(&mut stream, request)?.remove_consumer(request.arg(4));
    out.integer(removed.as_ref().map_or(0, |(pending, _)| *pending as i64));
    if let Some((_, gone)) = removed {
        db.discard(Value::Stream(Box::new(Stream::of_group(request.arg(3).into(), gone))));
        ctx.server.stats.dirty += 1;
        ctx.notify(Class::Stream, "xgroup-delconsumer", request.arg(2));
    }
    Ok(())
}

fn xack(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let mut stream = db.stream_read_mut(request.arg(1))?;
    let group = stream.as_mut().and_then(|stream| stream.groups.get_mut(request.arg(2)));
    let Some(group) = group else {
        out.integer(0);
        return Ok(());
    };
    request.args_from(3).try_for_each(|arg| strict_id(arg, 0).map(drop))?;
    let mut acknowledged = 0;
    for arg in request.args_from(3) {
        acknowledged += u64::from(group.acknowledge(strict_id(arg, 0)?).is_some());
    }
    out.integer(acknowledged as i64);
    ctx.server.stats.dirty += acknowledged;
    Ok(())
}
