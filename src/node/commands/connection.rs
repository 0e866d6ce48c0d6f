//! AUTH, HELLO and what else is about the connection itself.

use crate::REDIS_VERSION;
use crate::node::args::is;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::session::{Close, Replies};
use crate::resp::{Protocol, Request, parse_i64};

pub(super) const HANDLERS: Handlers = &[
    ("auth", auth),
    ("echo", echo),
    ("hello", hello),
    ("ping", ping),
    ("quit", quit),
    ("reset", reset),
    ("select", select),
];

fn ping(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if request.len() <= 2 && ctx.session.only_listens() {
        ctx.out.array(2);
        ctx.out.bulk("pong");
        ctx.out.bulk(request.get(1).unwrap_or_default());
        return Ok(());
    }
    match request.len() {
        1 => ctx.out.simple("PONG"),
        2 => ctx.out.bulk(request.arg(1)),
        _ => return Err(CommandError::Arity("ping")),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    ctx.out.bulk(request.arg(1));
    Ok(())
}

fn quit(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.out.ok();
    ctx.session.close(Close::AfterReplies);
    Ok(())
}

/// A cluster has database 0 only.
fn select(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let index = parse_i64(request.arg(1)).ok_or(CommandError::NotInteger)?;
    let index = i32::try_from(index).map_err(|_| {
        CommandError::line(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )
    })?;
    if ctx.server.settings.cluster_enabled && index != 0 {
        return Err(CommandError::line("ERR SELECT is not allowed in cluster mode"));
    }
    match usize::try_from(index) {
        Ok(index) if index < ctx.server.settings.databases => {
            ctx.session.db = index;
            ctx.out.ok();
            Ok(())
        }
        _ => Err(CommandError::DbOutOfRange),
    }
}

/// `AUTH password` and `AUTH user password`. There is one user, `default`.
fn auth(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if request.len() > 3 {
        return Err(CommandError::Syntax);
    }
    if request.len() == 2 {
        if ctx.server.settings.password.is_none() {
            return Err(CommandError::line(
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            ));
        }
        authenticate(ctx, b"default", request.arg(1))?;
    } else {
        authenticate(ctx, request.arg(1), request.arg(2))?;
    }
    ctx.out.ok();
    Ok(())
}

/// A user without a password is let in with any. Unknown users and wrong passwords look alike.
fn authenticate(ctx: &mut Ctx<'_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let right = match &ctx.server.settings.password {
        Some(secret) => secret.matches(password),
        None => true,
    };
    if user != b"default" || !right {
        return Err(CommandError::line(CommandError::WRONG_PASSWORD));
    }
    ctx.session.authenticated = true;
    Ok(())
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
fn hello(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let protocol = match request.get(1).map(parse_i64) {
        None => ctx.session.protocol,
        Some(Some(2)) => Protocol::Resp2,
        Some(Some(3)) => Protocol::Resp3,
        Some(Some(_)) => return Err(CommandError::line("NOPROTO unsupported protocol version")),
        Some(None) => {
            return Err(CommandError::line(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
    };
    let mut name = None;
    let mut at = 2;
    while at < request.len() {
        let option = request.arg(at);
        let left = request.len() - at - 1;
        if is(option, "AUTH") && left >= 2 {
            authenticate(ctx, request.arg(at + 1), request.arg(at + 2))?;
            at += 3;
        } else if is(option, "SETNAME") && left >= 1 {
            name = Some(printable(request.arg(at + 1), "Client names")?);
            at += 2;
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::err(format!("Syntax error in HELLO option '{option}'")));
        }
    }
    if !ctx.session.authenticated {
        return Err(CommandError::line(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        ctx.session.name = name;
    }
    ctx.set_protocol(protocol);

    let role = if ctx.server.replication.is_replica() { "replica" } else { "master" };
    let mode = if ctx.server.settings.cluster_enabled { "cluster" } else { "standalone" };
    let out = &mut ctx.out;
    out.map(7);
    out.bulk("server");
    out.bulk("redis");
    out.bulk("version");
    out.bulk(REDIS_VERSION);
    out.bulk("proto");
    out.integer(i64::from(protocol.number()));
    out.bulk("id");
    out.integer(ctx.session.id as i64);
    out.bulk("mode");
    out.bulk(mode);
    out.bulk("role");
    out.bulk(role);
    out.bulk("modules");
    out.array(0);
    Ok(())
}

/// The connection as if it were a new one; only the library it named itself stays.
fn reset(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.end_transaction();
    ctx.unwatch();
    ctx.server.pubsub.leave(ctx.session);
    ctx.server.monitors.remove(ctx.session.id);
    ctx.session.monitors = false;
    ctx.set_protocol(Protocol::Resp2);
    let session = &mut *ctx.session;
    session.db = 0;
    session.name = "".into();
    session.asking = false;
    session.readonly = false;
    session.no_evict = false;
    session.no_touch = false;
    // A reply that was asked to be left out is this one.
    if session.replies != Replies::Skip {
        session.replies = Replies::On;
    }
    session.authenticated = ctx.server.settings.password.is_none();
    session.anonymous_since = ctx.now.instant;
    ctx.out.simple("RESET");
    Ok(())
}

/// A name as CLIENT LIST can show it in one word. `what` begins the error.
pub(super) fn printable(name: &[u8], what: &str) -> Result<Box<str>, CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(String::from_utf8_lossy(name).into())
    } else {
        Err(CommandError::err(format!(
            "{what} cannot contain spaces, newlines or special characters."
        )))
    }
}
