//! The shell of snapshots for replicas: lets the core walk when it is time, a slice at a time, and
//! writes to disk what has to go there.

use super::engine::Engine;
use super::spool::Spool;
use crate::clock::Now;
use crate::node::{CopyKind, CopyStep};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the shells of snapshots share.
#[derive(Default)]
pub(super) struct Copies {
    changed: Notify,
    spool: RefCell<Option<Spool>>,
}

impl Copies {
    /// Something may be due.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// The file that holds the snapshot.
    pub(super) fn spool(&self) -> io::Result<File> {
        let spool = self.spool.borrow();
        let spool = spool.as_ref().ok_or_else(|| io::Error::other("the snapshot is gone"))?;
        spool.file.try_clone()
    }
}

/// Makes snapshots whenever replicas wait for one.
pub(super) async fn make(engine: Rc<Engine>) {
    loop {
        let now = Now::read();
        let (kind, due) = engine.with_core(|core| (core.begin_copy(now), core.snapshot_due()));
        let Some(kind) = kind else {
            match due.filter(|due| *due > now.instant) {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = engine.copies.changed.notified() => {}
                },
                None => engine.copies.changed.notified().await,
            }
            continue;
        };
        if let Err(error) = walk(&engine, kind).await {
            tracing::error!(%error, "cannot spool a snapshot for replicas");
            engine.with_core(|core| core.copy_failed());
            finish(&engine).await;
        }
        while engine.with_core(|core| core.is_copying()) {
            engine.copies.changed.notified().await;
            finish_if_unwanted(&engine);
        }
        engine.copies.spool.borrow_mut().take();
    }
}

/// One walk, to its end.
async fn walk(engine: &Rc<Engine>, kind: CopyKind) -> io::Result<()> {
    let mut spool = match kind {
        CopyKind::Direct => None,
        CopyKind::Spooled => Some(Spool::create()?),
    };
    let (mut bytes, mut len) = (Vec::new(), 0);
    loop {
        let step = engine.with_core(|core| core.step_copy(Now::read(), &mut bytes));
        if let Some(spool) = &mut spool {
            len += bytes.len() as u64;
            spool.file.write_all(&bytes)?;
            bytes.clear();
        }
        match step {
            CopyStep::More(pause) if !pause.is_zero() => rest(engine, pause).await,
            CopyStep::More(_) => tokio::task::yield_now().await,
            CopyStep::Full => engine.copies.changed.notified().await,
            CopyStep::Done => break,
        }
    }
    if spool.is_some() {
        *engine.copies.spool.borrow_mut() = spool;
        engine.with_core(|core| core.copy_spooled(len));
    }
    Ok(())
}

/// Waits, but no longer than anybody waits for the snapshot.
async fn rest(engine: &Engine, pause: Duration) {
    let until = Instant::now() + pause;
    while engine.with_core(|core| core.is_copy_wanted())
        && tokio::time::timeout_at(until, engine.copies.changed.notified()).await.is_ok()
    {}
}

/// After a failure: the walk is ended in order.
async fn finish(engine: &Rc<Engine>) {
    let mut nowhere = Vec::new();
    while engine.with_core(|core| core.step_copy(Now::read(), &mut nowhere)) != CopyStep::Done {
        nowhere.clear();
        tokio::task::yield_now().await;
    }
}

/// Everyone who was being sent the snapshot may have gone.
fn finish_if_unwanted(engine: &Rc<Engine>) {
    engine.with_core(|core| core.forget_unwanted_copy());
}
