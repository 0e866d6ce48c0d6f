//! Whose turn it is to have a snapshot, and how it gets from the keyspace to whoever keeps it.
//!
//! ```text
//!  BGSAVE, save points, a replica      ask_for_snapshot(purpose) ─▶ begins, or waits for its turn
//!  shell, on Output::Save          snapshot_begun() ─▶ opens what the bytes go to
//!         │ again and again            snapshot_slice(…) ─▶ some bytes; Last, GivenUp
//!         └ at the end                 snapshot_kept(outcome) ─▶ the next one begins
//! ```
//! One snapshot is taken at a time; one that nobody wants any more (FLUSHALL, SHUTDOWN) is given
//! up, and its slices go on without bytes until every entry has its mark. A
//! further kind of receiver is a variant of [`SnapshotFor`] and a sink in `io/snapshot.rs`. Copies
//! for replicas take turns with these at [`Keyspace::begin_snapshot`], and carry themselves out.

use super::call::Ctx;
use super::core::Core;
use super::output::Output;
use super::server::Server;
use super::session::Role;
use crate::REDIS_VERSION;
use crate::clock::Now;
use crate::command::{self, Flags, Spec};
use crate::resp::Request;
use crate::store::{Keyspace, SnapshotOptions};
use std::time::Duration;

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFor {
    /// The file of `dbfilename`.
    File,
    /// The base of the append-only file.
    Rewrite,
}

/// A snapshot that is being taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) purpose: SnapshotFor,
    pub(super) since: Now,
    /// [`Stats::dirty`](super::Stats) when it began.
    dirty: u64,
    /// The shell has it.
    begun: bool,
}

/// What a slice of a snapshot was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotSlice {
    /// Some of it. The next one shall come after this pause (`rdb-key-save-delay`).
    More(Duration),
    /// The end of it.
    Last,
    /// Nobody wants it any more: what was written of it is to be thrown away.
    GivenUp,
    /// There is no snapshot.
    Nothing,
}

/// How long a slice takes: no command waits longer for a snapshot.
const SLICE: Duration = Duration::from_micros(500);
/// Steps between two looks at the clock.
const STEPS_AT_ONCE: usize = 4;
/// Bytes after which a slice ends before its time.
const SLICE_BYTES_MAX: usize = 1024 * 1024;

impl Server {
    /// Begins a snapshot, or puts it behind the one that is being taken.
    pub(super) fn ask_for_snapshot(
        &mut self,
        keyspace: &mut Keyspace,
        now: Now,
        purpose: SnapshotFor,
    ) {
        let busy = self.scripts.is_busy();
        if busy || self.persistence.running.is_some() || keyspace.is_snapshotting() {
            if !self.persistence.waiting.contains(&purpose) {
                self.persistence.waiting.push(purpose);
            }
            self.outputs.push_back(Output::Save);
            return;
        }
        let options = SnapshotOptions {
            compress: self.settings.rdb_compression,
            checksum: self.settings.rdb_checksum,
            with_use: self.settings.rdb_with_use,
            aux: self.snapshot_facts(now, purpose),
        };
        keyspace.begin_snapshot(&options);
        let dirty = self.stats.dirty;
        self.persistence.running = Some(Running { purpose, since: now, dirty, begun: false });
        self.snapshot_begins(purpose);
        self.outputs.push_back(Output::Save);
    }

    /// The snapshot is of this very moment: what is propagated from here on is not in it.
    fn snapshot_begins(&mut self, purpose: SnapshotFor) {
        match purpose {
            SnapshotFor::File => {
                let pid = self.host.figures().pid;
                tracing::info!("Background saving started by pid {pid}");
            }
            SnapshotFor::Rewrite => {
                let pid = self.host.figures().pid;
                tracing::info!("Background append only file rewriting started by pid {pid}");
                self.log.rewrites += 1;
                self.log.increment_is_there = false;
                // A file that begins here has to say which database its first command is for.
                self.propagation.log().select_anew();
                self.outputs.push_back(Output::NewIncrement);
            }
        }
    }

    /// What a snapshot says of itself at its beginning, in Redis's order.
    pub(super) fn snapshot_facts(
        &self,
        now: Now,
        purpose: SnapshotFor,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let number = |number: u64| number.to_string().into_bytes();
        let mut facts = vec![
            ("redis-ver", REDIS_VERSION.as_bytes().to_vec()),
            ("redis-bits", number(u64::from(usize::BITS))),
            ("ctime", number(now.unix_ms / 1000)),
            ("used-mem", number(self.host.allocated_bytes())),
        ];
        facts.extend(self.place_in_history().into_iter().flatten());
        facts.push(("aof-base", number(u64::from(purpose == SnapshotFor::Rewrite))));
        facts
    }

    /// Nobody wants the snapshot of this purpose any more, or one that waits for its turn.
    pub(super) fn give_up_snapshot(&mut self, keyspace: &mut Keyspace, purpose: SnapshotFor) {
        self.persistence.waiting.retain(|waiting| *waiting != purpose);
        let running = self.persistence.running.as_ref();
        if running.is_some_and(|running| running.purpose == purpose) {
            self.persistence.running = None;
            keyspace.give_up_snapshot();
        }
    }

    /// Clients that were held back look again: to be called after some steps of a snapshot.
    pub(super) fn release_held(&mut self) {
        for id in std::mem::take(&mut self.persistence.held) {
            if let Some(session) = self.clients.get_mut(id) {
                session.paused = false;
                self.outputs.push_back(Output::Wake(id));
            }
        }
    }
}

impl Core {
    /// What the snapshot is for that has begun and that nobody carries out yet. What has to be
    /// brought to its end without bytes is carried out by calling [`Core::snapshot_slice`].
    pub fn snapshot_begun(&mut self, now: Now) -> Option<SnapshotFor> {
        self.begin_waiting(now);
        let running = self.server.persistence.running.as_mut()?;
        (!std::mem::replace(&mut running.begun, true)).then_some(running.purpose)
    }

    /// Goes on with the snapshot for a moment, and adds what that gives to `bytes`.
    pub fn snapshot_slice(&mut self, now: Now, bytes: &mut Vec<u8>) -> SnapshotSlice {
        let running = self.server.persistence.running;
        if !self.keyspace.is_snapshotting() || running.is_some_and(|running| !running.begun) {
            return SnapshotSlice::Nothing;
        }
        let wanted = running.is_some();
        if !wanted && !self.keyspace.is_snapshot_given_up() {
            // Replicas have one of their own.
            return SnapshotSlice::Nothing;
        }
        let delay = self.server.settings.rdb_key_save_delay;
        let keys = |keyspace: &Keyspace| keyspace.snapshot_progress().map_or(0, |p| p.keys_done);
        let before = keys(&self.keyspace);
        let started = self.server.host.elapsed();
        let done = loop {
            let steps = if delay.is_zero() { STEPS_AT_ONCE } else { 1 };
            let done = (0..steps).any(|_| self.keyspace.step_snapshot(now.unix_ms));
            if done
                || !delay.is_zero()
                || self.keyspace.snapshot_waiting() >= SLICE_BYTES_MAX
                || self.server.host.elapsed().saturating_sub(started) >= SLICE
            {
                break done;
            }
        };
        // At the end of one that was given up there are no figures of it any more.
        let taken = keys(&self.keyspace).saturating_sub(before);
        let pause = delay.saturating_mul(u32::try_from(taken).unwrap_or(u32::MAX));
        self.server.release_held();
        if !wanted {
            if done && !self.keyspace.is_snapshotting() {
                self.begin_waiting(now);
            }
            return SnapshotSlice::GivenUp;
        }
        self.keyspace.take_snapshot(bytes);
        if done { SnapshotSlice::Last } else { SnapshotSlice::More(pause) }
    }

    /// All of the snapshot is where it belongs, or it could not be kept: the reason.
    pub fn snapshot_kept(&mut self, now: Now, outcome: Result<(), String>) {
        // Another may have taken its place that nobody carries out yet.
        let running = self.server.persistence.running.take_if(|running| running.begun);
        let Some(running) = running else { return };
        if self.keyspace.is_snapshotting() {
            // It failed before its end.
            self.keyspace.give_up_snapshot();
            self.server.outputs.push_back(Output::Save);
        }
        let persistence = &mut self.server.persistence;
        match running.purpose {
            SnapshotFor::File => {
                persistence.last_took = Some(now.instant - running.since.instant);
                match outcome {
                    Ok(()) => {
                        tracing::info!("Background saving terminated with success");
                        persistence.saved(now, running.dirty);
                    }
                    Err(error) => {
                        tracing::error!("Background saving error: {error}");
                        persistence.save_failed = true;
                    }
                }
            }
            SnapshotFor::Rewrite => {
                let log = &mut self.server.log;
                log.rewrite_took = Some(now.instant - running.since.instant);
                log.rewrite_failed = outcome.is_err();
                match outcome {
                    Ok(()) => {
                        log.failures = 0;
                        tracing::info!("Background AOF rewrite finished successfully");
                    }
                    Err(error) => {
                        log.failures += 1;
                        tracing::error!("Background AOF rewrite terminated with error: {error}");
                    }
                }
            }
        }
        self.begin_waiting(now);
    }

    /// The process is asked to end: what that would lose is saved, if the node saves by itself. From then on no
    /// write is run, as it would not be saved.
    ///
    /// # Errors
    /// It could not be saved, and everything goes on.
    pub fn prepare_end(&mut self, now: Now) -> std::io::Result<()> {
        self.end_script(now)?;
        super::commands::prepare_end(&mut self.server, &mut self.keyspace, now, None)
    }

    /// The next of those that wait for their turn.
    pub(super) fn begin_waiting(&mut self, now: Now) {
        if self.server.scripts.is_busy() {
            // What it has done so far is not the whole of it.
            return;
        }
        let ready = self.server.log.increment_is_there;
        let persistence = &mut self.server.persistence;
        if persistence.running.is_some() || self.keyspace.is_snapshotting() {
            return;
        }
        let may_begin = |purpose: &SnapshotFor| ready || *purpose != SnapshotFor::Rewrite;
        let Some(next) = persistence.waiting.iter().position(may_begin) else { return };
        let purpose = persistence.waiting.remove(next);
        self.server.ask_for_snapshot(&mut self.keyspace, now, purpose);
    }
}

impl Ctx<'_> {
    /// Whether a command has to wait because a key that it changes is large and not in the
    /// snapshot yet.
    #[cold]
    pub(super) fn waits_for_snapshot(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
    ) -> bool {
        // What a primary says is not held back: its large values are written in one go instead.
        let obeys = self.session.role == Role::Primary;
        let may_write = Flags::WRITE.union(Flags::MAY_REPLICATE);
        if obeys || !self.flags_of(spec).intersects(may_write) {
            return false;
        }
        let db = self.session.db;
        let mut waits = needs(self.keyspace, db, spec, request);
        if spec.name == "exec"
            && let Some(transaction) = &self.session.transaction
        {
            for queued in transaction.queue() {
                waits |= needs(self.keyspace, db, queued.spec, &queued.request.as_request());
            }
        }
        if waits {
            self.session.paused = true;
            self.server.persistence.held.push(self.session.id);
        }
        waits
    }
}

fn needs(keyspace: &mut Keyspace, db: usize, spec: &Spec, request: &Request<'_>) -> bool {
    let keys = command::keys(spec, request).into_iter().flatten();
    let keys: Vec<&[u8]> = keys.map(|key| request.arg(key.index)).collect();
    // All of them are asked for: each gets its turn early.
    keys.into_iter().filter(|key| keyspace.snapshot_needs(db, key)).count() > 0
}
