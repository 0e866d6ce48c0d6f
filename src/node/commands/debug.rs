//! DEBUG: tools of tests and of people who look for a fault.
//!
//! What tunes an inner work of Redis that this node does not have is accepted and does nothing,
//! so that tests written for Redis can run.

use crate::node::args::{integer, is, unsigned};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::output::Output;
use crate::node::rewrite::Which;
use crate::resp::Request;
use crate::store::{Expiry, rdb};
use crate::value::{Case, glob_match};
use std::time::Duration;

pub(super) const HANDLERS: Handlers = &[("debug", debug)];

/// What is accepted and does nothing, with the number of its arguments.
const WITHOUT_EFFECT: [(&str, usize); 9] = [
    ("DICT-RESIZING", 1),
    ("JMAP", 0),
    ("PAUSE-CRON", 1),
    ("PAUSE-AFTER-FORK", 1),
    ("QUICKLIST-PACKED-THRESHOLD", 1),
    ("REPLYBUFFER", 2),
    ("SET-SKIP-CHECKSUM-VALIDATION", 1),
    ("AOF-FLUSH-SLEEP", 1),
    ("DELAY-RDB-CLIENT-FREE-SECONDS", 1),
];

fn debug(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if !ctx.may(ctx.server.settings.debug_allowed) {
        return Err(CommandError::line(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        ));
    }
    let (name, count) = (request.arg(1), request.len() - 2);
    match count {
        0 if is(name, "HELP") => help(ctx),
        0 if is(name, "CHANGE-REPL-ID") => ctx.out.ok(),
        3 if is(name, "CLUSTERLINK") => return super::debug_bus::kill_links(ctx, request),
        0 if is(name, "CONFIG-REWRITE-FORCE-ALL") => return ctx.rewrite_config(Which::All),
        0 if is(name, "DIGEST") => {
            let digest = ctx.keyspace.digest(ctx.now.unix_ms);
            ctx.out.simple(&digest.to_string());
        }
        _ if is(name, "DIGEST-VALUE") => {
            ctx.out.array(count);
            for key in request.args_from(2) {
                let digest = ctx.db().digest_value(key);
                ctx.out.simple(&digest.to_string());
            }
        }
        1 if is(name, "DROP-CLUSTER-PACKET-FILTER") => {
            return super::debug_bus::drop_packets(ctx, request);
        }
        1 if is(name, "HTSTATS") => return table_stats(ctx, request),
        1 if is(name, "HTSTATS-KEY") => return value_table_stats(ctx, request),
        0 if is(name, "LOADAOF") => {
            ctx.server.outputs.push_back(Output::LoadLog);
            ctx.out.ok();
        }
        1 if is(name, "LOG") => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(request.arg(2)));
            ctx.out.ok();
        }
        1 if is(name, "OBJECT") => return object(ctx, request),
        1 if is(name, "PROTOCOL") => return protocol(ctx, request),
        0.. if is(name, "RELOAD") => return super::persistence::reload(ctx, request),
        1 if is(name, "SET-DISABLE-DENY-SCRIPTS") => {
            ctx.server.scripts.deny_none = integer(request.arg(2))? != 0;
            ctx.out.ok();
        }
        1 if is(name, "SET-ACTIVE-EXPIRE") => {
            ctx.server.active_expire = integer(request.arg(2))? != 0;
            ctx.out.ok();
        }
        1 if is(name, "SLEEP") => {
            let text = String::from_utf8_lossy(request.arg(2));
            // Like C's strtod, what is no number counts as none.
            let seconds = text.trim().parse().unwrap_or(0.0);
            let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            ctx.server.host.sleep(time);
            ctx.out.ok();
        }
        2 if is(name, "STRINGMATCH-LEN") => {
            let text = vec![b'a'; unsigned(request.arg(2))? as usize % (TEXT_BYTES_MAX + 1)];
            let matches = glob_match(request.arg(3), &text, Case::Sensitive);
            ctx.out.integer(i64::from(matches));
        }
        1..=3 if is(name, "POPULATE") => return populate(ctx, request),
        _ => {
            let known =
                WITHOUT_EFFECT.iter().any(|(known, args)| is(name, known) && *args == count);
            if !known {
                let name = String::from_utf8_lossy(name);
                return Err(CommandError::err(format!(
                    "unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
                )));
            }
            ctx.out.ok();
        }
    }
    Ok(())
}

/// Longest text that STRINGMATCH-LEN makes up.
const TEXT_BYTES_MAX: usize = 1 << 20;

fn help(ctx: &mut Ctx<'_>) {
    const LINES: [&str; 35] = [
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANGE-REPL-ID",
        "    Accepted, and without effect.",
        "CLUSTERLINK KILL <TO|FROM|ALL> <node-id>",
        "    Close links of the cluster bus to and from a node.",
        "CONFIG-REWRITE-FORCE-ALL",
        "    As CONFIG REWRITE, with what is at its default as well.",
        "DIGEST",
        "    Tell the digest of all data, by which nodes can be compared.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Tell the digests of values.",
        "DROP-CLUSTER-PACKET-FILTER <kind>",
        "    Throw packets of the cluster bus away: -1 none, -2 all, or of one kind.",
        "HTSTATS <dbid>",
        "    Tell how large the tables of a database are.",
        "HTSTATS-KEY <key>",
        "    Tell how large the table of a value is.",
        "LOADAOF",
        "    Empty the node and read its append-only file again.",
        "LOG <message>",
        "    Write a message to the log.",
        "OBJECT <key>",
        "    Tell how a value is stored.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> string keys named <prefix>:<num>, where they are missing.",
        "PROTOCOL <type>",
        "    Reply with a sample of a RESP type.",
        "RELOAD [option ...]",
        "    Save all data, empty the node and load it. Options: MERGE, NOFLUSH, NOSAVE.",
        "SET-ACTIVE-EXPIRE (0|1)",
        "    Turn the search for expired keys off or on.",
        "SLEEP <seconds>",
        "    Stop the whole node for a while.",
        "STRINGMATCH-LEN <len> <pattern>",
        "    Match a text of <len> times `a`.",
    ];
    ctx.out.array(LINES.len());
    for line in LINES {
        ctx.out.simple(line);
    }
}

fn object(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let compress = ctx.server.settings.rdb_compression;
    let mut db = ctx.db();
    let (policy, now_ms) = (db.usage_policy(), db.now_ms());
    let entry = db.peek(request.arg(2)).ok_or(CommandError::NoSuchKey)?;
    let length = rdb::serialized_bytes(entry, compress);
    let idle = policy.idle_seconds(entry.usage(), now_ms);
    let line = format!(
        "Value at:{entry:p} refcount:1 encoding:{} serializedlength:{length} lru:{} \
         lru_seconds_idle:{idle}",
        entry.encoding(),
        entry.usage(),
    );
    ctx.out.simple(&line);
    Ok(())
}

/// `DEBUG POPULATE count [prefix] [size]`: values are `value:number`, cut or zero-padded to `size`.
fn populate(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let count = unsigned(request.arg(2))?;
    let prefix = request.get(3).unwrap_or(b"key");
    let size = request.get(4).map(unsigned).transpose()?.map(|size| size as usize);
    if size.is_some_and(|size| size > ctx.server.settings.bulk_bytes_max) {
        return Err(CommandError::StringTooLong);
    }
    let mut db = ctx.db();
    for number in 0..count {
        let key = [prefix, format!(":{number}").as_bytes()].concat();
        if db.contains(&key) {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = size.filter(|size| *size > 0) {
            value.resize(size, 0);
        }
        db.set_string(&key, &value, Expiry::Clear);
    }
    ctx.server.stats.dirty += count;
    // As in Redis: what a debugger does to one node stays there.
    ctx.propagate_nothing();
    ctx.out.ok();
    Ok(())
}

fn table_stats(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let db = usize::try_from(integer(request.arg(2))?).unwrap_or(usize::MAX);
    if db >= ctx.keyspace.databases() {
        return Err(CommandError::line("ERR Out of range database"));
    }
    let (keys, expiring) = (ctx.keyspace.len(Some(db)), ctx.keyspace.expiring(db));
    let mut text = "[Dictionary HT]\n".to_owned();
    describe_table(&mut text, ctx.keyspace.buckets(db), keys);
    // Expiry is kept in an index of another kind: there are no buckets to speak of.
    text.push_str(&format!("[Expires HT]\n number of elements: {expiring}\n"));
    ctx.out.verbatim(text);
    Ok(())
}

/// The same of a value that is kept in a table.
fn value_table_stats(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let mut db = ctx.db();
    let entry = db.peek(request.arg(2)).ok_or(CommandError::NoSuchKey)?;
    let (buckets, elements) = entry.value().buckets().ok_or(CommandError::line(
        "ERR The value stored at the specified key is not represented using an hash table",
    ))?;
    let mut text = String::new();
    describe_table(&mut text, buckets, elements);
    ctx.out.verbatim(text);
    Ok(())
}

/// A table's size and content in Redis's words. A bucket has room for several elements and no chain.
fn describe_table(text: &mut String, (old, new): (usize, usize), elements: usize) {
    let main = if old > 0 { old } else { new };
    text.push_str("Hash table 0 stats (main hash table):\n");
    if elements == 0 {
        text.push_str("No stats available for empty dictionaries\n");
        return;
    }
    text.push_str(&format!(" table size: {main}\n number of elements: {elements}\n"));
    if old > 0 {
        text.push_str(&format!("Hash table 1 stats (rehashing target):\n table size: {new}\n"));
    }
}

/// One sample of each type, as Redis sends it.
fn protocol(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let name = request.arg(2);
    let resp3 = ctx.session.protocol == crate::resp::Protocol::Resp3;
    let out = &mut ctx.out;
    let three = |out: &mut crate::resp::Encoder<'_>| (0..3).for_each(|n| out.integer(n));
    match name {
        _ if is(name, "string") => out.bulk("Hello World"),
        _ if is(name, "integer") => out.integer(12345),
        _ if is(name, "double") => out.double_text("3.141"),
        _ if is(name, "null") => out.null(),
        _ if is(name, "array") => {
            out.array(3);
            three(out);
        }
        _ if is(name, "set") => {
            out.set(3);
            three(out);
        }
        _ if is(name, "map") => {
            out.map(3);
            for n in 0..3 {
                out.integer(n);
                out.boolean(n == 1);
            }
        }
        _ if is(name, "attrib") => {
            if resp3 {
                out.buffer().extend_from_slice(b"|1\r\n$14\r\nkey-popularity\r\n");
                out.array(2);
                out.bulk("key:123");
                out.integer(90);
            }
            out.bulk("Some real reply following the attribute");
        }
        _ if is(name, "push") => {
            if !resp3 {
                return Err(CommandError::line("ERR RESP2 is not supported by this command"));
            }
            out.push(2);
            out.bulk("server-cpu-usage");
            out.integer(42);
        }
        _ if is(name, "verbatim") => out.verbatim("This is a verbatim\nstring"),
        _ if is(name, "true") => out.boolean(true),
        _ if is(name, "false") => out.boolean(false),
        _ if is(name, "bignum") => {
            out.reply(&crate::resp::Reply::BigNumber(bytes::Bytes::from_static(
                b"1234567999999999999999999999999999999",
            )));
        }
        _ => {
            return Err(CommandError::line(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}
