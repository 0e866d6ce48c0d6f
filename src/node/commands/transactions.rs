//! MULTI, EXEC and the watching of keys.

use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::transaction::Transaction;
use crate::resp::Request;

pub(super) const HANDLERS: Handlers = &[
    ("discard", discard),
    ("exec", exec),
    ("multi", multi),
    ("unwatch", unwatch),
    ("watch", watch),
];

fn multi(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::line("ERR MULTI calls can not be nested"));
    }
    ctx.session.transaction = Some(Box::new(Transaction::default()));
    ctx.out.ok();
    Ok(())
}

fn discard(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    if ctx.session.transaction.is_none() {
        return Err(CommandError::line("ERR DISCARD without MULTI"));
    }
    ctx.end_transaction();
    ctx.unwatch();
    ctx.out.ok();
    Ok(())
}

/// Runs the queue, unless a command of it was refused or a watched key has changed.
fn exec(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    let Some(transaction) = ctx.end_transaction() else {
        return Err(CommandError::line("ERR EXEC without MULTI"));
    };
    let changed = ctx.watched_has_changed();
    ctx.unwatch();
    if transaction.broken {
        return Err(CommandError::ExecAbort);
    }
    if changed {
        ctx.out.null_array();
        return Ok(());
    }
    let exec = ctx.session.last_command;
    ctx.out.array(transaction.len());
    ctx.in_transaction = true;
    for queued in transaction.queue() {
        let handler = ctx.server.handlers[queued.spec.id()].expect("it was checked when queued");
        ctx.call(queued.spec, handler, &queued.request.as_request());
    }
    ctx.in_transaction = false;
    ctx.session.last_command = exec;
    Ok(())
}

fn watch(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::line("ERR WATCH inside MULTI is not allowed"));
    }
    for key in request.args_from(1) {
        let db = ctx.session.db;
        if ctx.session.watches.iter().any(|watch| watch.db == db && *watch.key == *key) {
            continue;
        }
        let existed = ctx.exists(db, key);
        ctx.session.watches.push(ctx.server.watched.watch(db, key, existed));
    }
    ctx.out.ok();
    Ok(())
}

fn unwatch(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.unwatch();
    ctx.out.ok();
    Ok(())
}

impl Ctx<'_> {
    /// Ends MULTI; its queue, if there was one.
    pub(in crate::node) fn end_transaction(&mut self) -> Option<Box<Transaction>> {
        self.session.transaction.take()
    }

    /// The client watches nothing any longer.
    pub(in crate::node) fn unwatch(&mut self) {
        for watch in std::mem::take(&mut self.session.watches) {
            self.server.watched.unwatch(watch);
        }
    }

    /// Whether a key has changed since the client watched it. One that expired meanwhile has.
    fn watched_has_changed(&mut self) -> bool {
        let watches = std::mem::take(&mut self.session.watches);
        let changed = watches.iter().any(|watch| {
            self.server.watched.has_changed(watch)
                || (watch.existed && !self.exists(watch.db, &watch.key))
        });
        self.session.watches = watches;
        changed
    }
}
