//! WAIT and WAITAOF: a client that wants to know who has what it wrote.

use crate::node::args::integer;
use crate::node::blocking::Subject;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::serve::Wait;
use crate::replication::Stage;
use crate::resp::Request;
use std::time::Instant;

pub(super) const HANDLERS: Handlers = &[("wait", wait), ("waitaof", waitaof)];

type Done = Result<(), CommandError>;

/// How many replicas have run everything that this client wrote.
fn holders(ctx: &Ctx<'_>) -> usize {
    let replicas = ctx.server.replication.replicas();
    let online = replicas.filter(|replica| replica.stage == Stage::Online);
    online.filter(|replica| replica.acked >= ctx.session.write_offset).count()
}

/// Blocks the client until replicas have said more, and has them say it.
fn wait_for_acks(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    until: Option<Instant>,
    timed_out: fn(&mut Ctx<'_>),
) {
    if !ctx.block_again() {
        ctx.server.ask_replicas_for_acks();
        let wait = Wait { request: request.to_owned(), until, timed_out };
        ctx.block_on(Subject::Acknowledgements, wait);
    }
}

/// How many replicas have it on disk.
fn keepers(ctx: &Ctx<'_>) -> usize {
    let replicas = ctx.server.replication.replicas();
    let online = replicas.filter(|replica| replica.stage == Stage::Online);
    let keeps = |on_disk| on_disk >= ctx.session.write_offset;
    online.filter(|replica| replica.on_disk.is_some_and(keeps)).count()
}

/// `WAIT replicas milliseconds`: until so many replicas have what this client wrote, or the time is
/// over (never, if it is 0). The reply is how many have it.
fn wait(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if ctx.server.replication.is_replica() {
        return Err(CommandError::line(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 \
             if a replica is configured to be writable (which is not the default) writes to \
             replicas are just local and are not propagated.",
        ));
    }
    let wanted = integer(request.arg(1))?;
    let until = ctx.deadline_millis(request.arg(2))?;
    let held = holders(ctx);
    if held as i64 >= wanted || !ctx.may_block() {
        ctx.out.integer(held as i64);
        return Ok(());
    }
    fn timed_out(ctx: &mut Ctx<'_>) {
        let held = holders(ctx);
        ctx.out.integer(held as i64);
    }
    wait_for_acks(ctx, request, until, timed_out);
    Ok(())
}

/// `WAITAOF here replicas milliseconds`: the same for what is on disk, on this node and on replicas.
fn waitaof(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    const NO_FILE: CommandError = CommandError::line(
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
    );
    const OUT_OF_RANGE: CommandError =
        CommandError::line("ERR value is out of range, value must between 0 and 1");
    let here = integer(request.arg(1))?;
    if !(0..=1).contains(&here) {
        return Err(OUT_OF_RANGE);
    }
    let wanted = integer(request.arg(2)).map_err(|_| CommandError::NotPositive)?;
    if wanted < 0 {
        return Err(CommandError::NotPositive);
    }
    let until = ctx.deadline_millis(request.arg(3))?;
    if ctx.server.replication.is_replica() {
        return Err(CommandError::line(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to \
             replicas are just local and are not propagated.",
        ));
    }
    // One that was just asked for begins a little later: that is waited for too.
    if here > 0 && !ctx.server.directives.is("appendonly") {
        return Err(NO_FILE);
    }
    fn answer(ctx: &mut Ctx<'_>) {
        let (own, kept) = (ctx.server.is_on_disk(ctx.session.write_offset), keepers(ctx));
        ctx.out.array(2);
        ctx.out.integer(i64::from(own));
        ctx.out.integer(kept as i64);
    }
    let enough = i64::from(ctx.server.is_on_disk(ctx.session.write_offset)) >= here
        && keepers(ctx) as i64 >= wanted;
    if enough || !ctx.may_block() {
        answer(ctx);
        return Ok(());
    }
    wait_for_acks(ctx, request, until, answer);
    Ok(())
}
