//! DUMP and RESTORE: one value as bytes that any server of the family reads.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::propagate::removal;
use crate::resp::Request;
use crate::store::rdb::{self, KeyUse, RdbError};

pub(super) const HANDLERS: Handlers =
    &[("dump", dump), ("restore", restore), ("restore-asking", restore)];

type Done = Result<(), CommandError>;

const BUSY: CommandError = CommandError::line("BUSYKEY Target key name already exists.");
const NOT_OURS: CommandError = CommandError::line("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: CommandError = CommandError::line("ERR Bad data format");

fn dump(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let compress = ctx.server.settings.rdb_compression;
    let (mut db, out) = ctx.data();
    match db.read(request.arg(1)) {
        Some(entry) => {
            let mut payload = Vec::new();
            rdb::dump(&mut payload, entry, compress);
            out.bulk(payload);
        }
        None => out.null(),
    }
    Ok(())
}

/// What may follow the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    used: Option<KeyUse>,
}

impl Options {
    fn read(request: &Request<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 4;
        while let Some(word) = request.get(at) {
            let value = request.get(at + 1);
            // One of the two, as often as one likes; the last holds.
            let counted = matches!(options.used, Some(KeyUse::Frequency(_)));
            let aged = matches!(options.used, Some(KeyUse::Idle(_)));
            at += 1;
            match value {
                _ if is(word, "replace") => options.replace = true,
                _ if is(word, "absttl") => options.absolute = true,
                Some(value) if is(word, "idletime") && !counted => {
                    let seconds = u64::try_from(integer(value)?).map_err(|_| {
                        CommandError::line("ERR Invalid IDLETIME value, must be >= 0")
                    })?;
                    options.used = Some(KeyUse::Idle(seconds));
                    at += 1;
                }
                Some(value) if is(word, "freq") && !aged => {
                    let count = u8::try_from(integer(value)?).map_err(|_| {
                        CommandError::line("ERR Invalid FREQ value, must be >= 0 and <= 255")
                    })?;
                    options.used = Some(KeyUse::Frequency(count));
                    at += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ count]`. Whatever is wrong
/// with it, nothing has changed then.
fn restore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let options = Options::read(request)?;
    let key = request.arg(1);
    if !options.replace && ctx.db().is_taken(key) {
        return Err(BUSY);
    }
    let ttl = u64::try_from(integer(request.arg(2))?)
        .map_err(|_| CommandError::line("ERR Invalid TTL value, must be >= 0"))?;
    let limits = ctx.keyspace.value_limits();
    let loaded = rdb::restore(request.arg(3), limits).map_err(|error| {
        tracing::debug!(%error, "a payload was refused");
        match error {
            RdbError::Version(_) | RdbError::Checksum { .. } => NOT_OURS,
            RdbError::Short if request.arg(3).len() < rdb::PAYLOAD_MIN => NOT_OURS,
            _ => BAD_FORMAT,
        }
    })?;

    let expires_at = match ttl {
        0 => None,
        ttl if options.absolute => Some(ttl),
        ttl => Some(ctx.now.unix_ms.saturating_add(ttl)),
    };
    let replaced = ctx.db().remove(key);
    if expires_at.is_some_and(|at| ctx.has_passed(at)) {
        // It would be gone before anybody could see it.
        if replaced {
            ctx.modified(key);
            ctx.notify(Class::Generic, "del", key);
            ctx.propagate_as(&[removal(false), key]);
        }
        ctx.out.ok();
        return Ok(());
    }
    ctx.db().restore(loaded.into_entry(key, expires_at), options.used);
    ctx.modified(key);
    ctx.notify(Class::Generic, "restore", key);
    if let Some(at) = expires_at.filter(|_| !options.absolute && ctx.propagates()) {
        let mut buffer = itoa::Buffer::new();
        let (at, payload) = (buffer.format(at).as_bytes(), request.arg(3));
        let mut args: Vec<&[u8]> = vec![b"RESTORE", key, at, payload];
        args.extend(request.args_from(4));
        args.push(b"ABSTTL");
        ctx.propagate_as(&args);
    }
    ctx.out.ok();
    Ok(())
}
