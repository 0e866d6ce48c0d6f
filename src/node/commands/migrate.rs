//! MIGRATE: what is asked for, and the keys as the target is to restore them.

use crate::node::args::{integer, is};
use crate::node::blocking::Subject;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::migrate::{Move, Target};
use crate::node::serve::{Wait, no_value};
use crate::resp::{Request, encode_request};
use crate::store::rdb;
use std::ops::Range;
use std::time::Duration;

pub(super) const HANDLERS: Handlers = &[("migrate", migrate)];

/// What a timeout of zero, or less, stands for.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

const NO_KEY_BESIDE_KEYS: CommandError = CommandError::line(
    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
);
const NOT_IN_MULTI: CommandError =
    CommandError::line("ERR MIGRATE waits for another server, which a transaction cannot");
const READ_ONLY: CommandError =
    CommandError::line("READONLY You can't write against a read only replica.");

struct Options {
    copy: bool,
    replace: bool,
    auth: Option<Vec<Box<[u8]>>>,
    /// Where the keys are.
    keys: Range<usize>,
}

impl Options {
    fn read(request: &Request<'_>) -> Result<Self, CommandError> {
        let mut options = Self { copy: false, replace: false, auth: None, keys: 3..4 };
        let mut at = 6;
        while let Some(word) = request.get(at) {
            let mut words = |count: usize| {
                let words = (at + 1..=at + count).map(|at| request.get(at).map(Box::from));
                at += count;
                words.collect::<Option<Vec<_>>>().ok_or(CommandError::Syntax)
            };
            if is(word, "copy") {
                options.copy = true;
            } else if is(word, "replace") {
                options.replace = true;
            } else if is(word, "auth") {
                options.auth = Some(words(1)?);
            } else if is(word, "auth2") {
                options.auth = Some(words(2)?);
            } else if is(word, "keys") {
                if !request.arg(3).is_empty() {
                    return Err(NO_KEY_BESIDE_KEYS);
                }
                options.keys = at + 1..request.len();
                break;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// As C's `atoi` reads it, and as a socket address holds it: blanks and a sign may come before the
/// digits, anything after them, and of a number that is too large the lower 16 bits count.
fn port(arg: &[u8]) -> u16 {
    let text = arg.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits
        .fold(0u16, |number, digit| number.wrapping_mul(10).wrapping_add(u16::from(digit - b'0')));
    if negative { number.wrapping_neg() } else { number }
}

/// `MIGRATE host port key|"" db milliseconds [COPY] [REPLACE] [AUTH password | AUTH2 user password]
/// [KEYS key ...]`
fn migrate(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let options = Options::read(request)?;
    let millis = integer(request.arg(5))?;
    let target_db = integer(request.arg(4))?;
    if ctx.server.replication.is_replica() {
        return Err(READ_ONLY);
    }
    if !ctx.may_block() {
        return Err(NOT_IN_MULTI);
    }
    let timeout = match u64::try_from(millis) {
        Ok(0) | Err(_) => TIMEOUT_DEFAULT,
        Ok(millis) => Duration::from_millis(millis),
    };
    let restore: &[u8] = if ctx.server.cluster.is_some() { b"RESTORE-ASKING" } else { b"RESTORE" };
    let compress = ctx.server.settings.rdb_compression;
    let now_ms = ctx.now.unix_ms;
    let (mut keys, mut restores) = (Vec::new(), Vec::new());
    for at in options.keys {
        let key = request.arg(at);
        let mut db = ctx.db();
        let Some(entry) = db.read(key) else { continue };
        let mut payload = Vec::new();
        rdb::dump(&mut payload, entry, compress);
        // What is about to expire must not become what never does.
        let ttl = entry.expires_at().map_or(0, |at| at.saturating_sub(now_ms).max(1));
        let mut ttl_text = itoa::Buffer::new();
        let mut args = vec![restore, key, ttl_text.format(ttl).as_bytes(), &payload];
        if options.replace {
            args.push(b"REPLACE");
        }
        encode_request(&mut restores, &args);
        keys.push(key.into());
    }
    if keys.is_empty() {
        ctx.out.simple("NOKEY");
        return Ok(());
    }
    let host = String::from_utf8_lossy(request.arg(1)).into_owned();
    let target = Target { host, port: port(request.arg(2)), auth: options.auth };
    let copies = options.copy;
    let id = ctx.begin_migration(Move { target, target_db, timeout, keys, restores, copies });
    // It has an end of its own.
    let wait = Wait { request: request.to_owned(), until: None, timed_out: no_value };
    ctx.block_on(Subject::Migration(id), wait);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_redis_reads_them() {
        for (text, number) in [
            ("6379", 6379),
            ("  6379x", 6379),
            ("+6379", 6379),
            ("", 0),
            ("x", 0),
            ("83528", 17992),
            ("-1", 65535),
        ] {
            assert_eq!(port(text.as_bytes()), number, "{text}");
        }
    }
}
