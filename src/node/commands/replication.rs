//! Who follows whom: REPLICAOF and ROLE, and what replicas say: REPLCONF, PSYNC, SYNC.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::session::Role;
use crate::replication::{Introduction, Stage};
use crate::resp::{Request, parse_i64};

pub(super) const HANDLERS: Handlers = &[
    ("failover", failover),
    ("psync", psync),
    ("replconf", replconf),
    ("replicaof", replicaof),
    ("role", role),
    ("slaveof", replicaof),
    ("sync", sync),
];

type Done = Result<(), CommandError>;

/// An address may be as long as the name of a host.
const IP_BYTES_MAX: usize = 255;

/// What a connection says of itself before it asks to be a replica, and how far it is afterwards.
/// ACK and GETACK have no reply.
fn replconf(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let number = |arg: &[u8]| parse_i64(arg).and_then(|number| u64::try_from(number).ok());
    let mut introduction = ctx.session.introduction.take().unwrap_or_default();
    let mut outcome = Ok(true);
    for at in (1..request.len()).step_by(2) {
        let (option, value) = (request.arg(at), request.arg(at + 1));
        if is(option, "ack") {
            let on_disk = request.get(at + 2).filter(|word| is(word, "fack"));
            let on_disk = on_disk.and_then(|_| request.get(at + 3)).and_then(number);
            if let Some(offset) = number(value) {
                ctx.take_ack(offset, on_disk);
            }
            outcome = Ok(false);
            break;
        } else if is(option, "getack") {
            if ctx.session.role == Role::Primary {
                ctx.server.ask_for_ack();
            }
            outcome = Ok(false);
            break;
        }
        outcome = introduce(&mut introduction, option, value).map(|()| true);
        if outcome.is_err() {
            break;
        }
    }
    if *introduction != Introduction::default() {
        ctx.session.introduction = Some(introduction);
    }
    if outcome? {
        ctx.out.ok();
    }
    Ok(())
}

fn introduce(introduction: &mut Introduction, option: &[u8], value: &[u8]) -> Done {
    if is(option, "listening-port") {
        let port = integer(value)?;
        introduction.port = u16::try_from(port).map_err(|_| CommandError::NotInteger)?;
    } else if is(option, "ip-address") {
        if value.len() > IP_BYTES_MAX {
            return Err(CommandError::err(format_args!(
                "REPLCONF ip-address provided by replica instance is too long: {} bytes",
                value.len()
            )));
        }
        let text = String::from_utf8_lossy(value).into_owned();
        introduction.ip = Some(text).filter(|text| !text.is_empty());
    } else if is(option, "capa") {
        // What is not known is ignored: later replicas may do more.
        introduction.eof |= is(value, "eof");
        introduction.psync2 |= is(value, "psync2");
    } else if is(option, "version") {
        let version = Introduction::parse_version(value);
        introduction.version = version.ok_or(CommandError::line("ERR Invalid version format"))?;
    } else if is(option, "rdb-only") {
        introduction.snapshot_only = integer(value)? != 0;
    } else {
        return Err(CommandError::err(format_args!(
            "Unrecognized REPLCONF option: {}",
            String::from_utf8_lossy(option)
        )));
    }
    Ok(())
}

/// What keeps a connection from becoming a replica.
fn check_follower(ctx: &Ctx<'_>) -> Done {
    if ctx.server.replication.is_replica() && !ctx.server.replication.link_is_up() {
        return Err(CommandError::line(
            "NOMASTERLINK Can't SYNC while not connected with my master",
        ));
    }
    Ok(())
}

/// `PSYNC id next`, or `PSYNC ? -1` for a copy of all data.
fn psync(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if ctx.session.role != Role::Client {
        return Ok(());
    }
    if request.get(3).is_some_and(|word| is(word, "failover")) {
        ctx.take_over(request.arg(1))?;
    }
    check_follower(ctx)?;
    let next = integer(request.arg(2)).inspect_err(|_| {
        let peer = ctx.session.addresses.peer;
        tracing::warn!("Replica {peer} asks for synchronization but with a wrong offset");
    })?;
    ctx.accept_replica(Some((request.arg(1), u64::try_from(next).unwrap_or(0))));
    Ok(())
}

fn sync(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    if ctx.session.role != Role::Client {
        return Ok(());
    }
    check_follower(ctx)?;
    ctx.accept_replica(None);
    Ok(())
}

/// `REPLICAOF host port`, or `NO ONE`.
fn replicaof(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if ctx.server.settings.cluster_enabled {
        return Err(CommandError::line("ERR REPLICAOF not allowed in cluster mode."));
    }
    if ctx.server.replication.is_failing_over() {
        return Err(CommandError::line("ERR REPLICAOF not allowed while failing over."));
    }
    if is(request.arg(1), "no") && is(request.arg(2), "one") {
        if ctx.server.replication.is_replica() {
            ctx.lead();
            tracing::info!(
                "MASTER MODE enabled (user request from '{}')",
                ctx.session.describe(ctx.now)
            );
        }
        ctx.out.ok();
        return Ok(());
    }
    if ctx.session.role == Role::Replica {
        return Err(CommandError::line("ERR Command is not valid when client is a replica."));
    }
    let port = integer(request.arg(2)).ok().and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(CommandError::line("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(request.arg(1)).into_owned();
    if ctx.server.replication.follows(&host, port) {
        tracing::info!(
            "REPLICAOF would result into synchronization with the master we are already connected \
             with. No operation performed."
        );
        ctx.out.simple("OK Already connected to specified master");
        return Ok(());
    }
    ctx.follow(&host, port);
    tracing::info!(
        "REPLICAOF {host}:{port} enabled (user request from '{}')",
        ctx.session.describe(ctx.now)
    );
    ctx.out.ok();
    Ok(())
}

fn role(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    let replication = &ctx.server.replication;
    let offset = replication.history().offset() as i64;
    if let Some((host, port, state)) = replication.primary() {
        let offset = if replication.has_data() { offset } else { -1 };
        ctx.out.array(5);
        ctx.out.bulk("slave");
        ctx.out.bulk(host);
        ctx.out.integer(i64::from(port));
        ctx.out.bulk(state);
        ctx.out.integer(offset);
        return Ok(());
    }
    let online: Vec<_> =
        replication.replicas().filter(|replica| replica.stage == Stage::Online).collect();
    ctx.out.array(3);
    ctx.out.bulk("master");
    ctx.out.integer(offset);
    ctx.out.array(online.len());
    for replica in online {
        ctx.out.array(3);
        ctx.out.bulk(replica.ip());
        ctx.out.bulk_integer(i64::from(replica.introduction.port));
        ctx.out.bulk_integer(replica.acked as i64);
    }
    Ok(())
}

/// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`
fn failover(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if ctx.server.settings.cluster_enabled {
        return Err(CommandError::line("ERR FAILOVER not allowed in cluster mode."));
    }
    let (mut target, mut force, mut abort, mut timeout) = (None, false, false, None);
    let mut at = 1;
    while let Some(word) = request.get(at) {
        let left = request.len() - at - 1;
        if is(word, "abort") && request.len() == 2 {
            abort = true;
        } else if is(word, "to") && left >= 2 && target.is_none() {
            // What is no port is none that a replica has.
            let port = u16::try_from(integer(request.arg(at + 2))?).unwrap_or(0);
            target = Some((String::from_utf8_lossy(request.arg(at + 1)).into_owned(), port));
            at += 2;
        } else if is(word, "timeout") && left >= 1 && timeout.is_none() {
            let millis = integer(request.arg(at + 1))?;
            let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0);
            timeout = Some(
                millis.ok_or(CommandError::line("ERR FAILOVER timeout must be greater than 0"))?,
            );
            at += 1;
        } else if is(word, "force") && !force {
            force = true;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if abort {
        ctx.abort_failover("Failover manually aborted")?;
    } else {
        ctx.start_failover(target, force, timeout)?;
    }
    ctx.out.ok();
    Ok(())
}
