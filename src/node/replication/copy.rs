//! A copy of all data for those who follow from the start: one walk over the keys serves all that
//! wait when it begins.
//!
//! To replicas that can tell where it ends, it is sent as it is made; what is not yet taken is held
//! up to a limit, and the walk waits for the slowest. Others get it from a file, because they have
//! to be told its length first.

use super::Replication;
use super::downstream::ReplicaOutput;
use crate::REDIS_VERSION;
use crate::clock::Now;
use crate::node::core::Core;
use crate::node::output::Output;
use crate::node::session::ClientId;
use crate::replication::{Backlog, Offset, Stage};
use crate::store::{Keyspace, SnapshotOptions};
use rand::Rng;
use std::time::{Duration, Instant};

/// Bytes of a snapshot that may wait for the slowest replica.
const WAITING_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long the walk works at a time: no command waits longer for it.
const STEP: Duration = Duration::from_micros(500);
/// Bytes of the mark that ends a snapshot of unknown length.
const MARK_BYTES: usize = 40;

/// A snapshot on its way to replicas.
#[derive(Debug)]
pub(super) struct Copy {
    kind: CopyKind,
    since: Instant,
    /// What has been made and not been taken by everyone.
    data: Backlog,
    mark: [u8; MARK_BYTES],
    /// All of it has been made.
    made: bool,
    /// Bytes in the spool file, once it is complete.
    spooled: u64,
}

/// How a snapshot gets to replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// As it is made.
    Direct,
    /// Through a file.
    Spooled,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// There is more to do, after this pause (`rdb-key-save-delay`).
    More(Duration),
    /// Replicas have to take some of it first.
    Full,
    /// It has been made, or nobody wants it any more.
    Done,
}

impl Copy {
    /// What comes after the first `copied` bytes.
    pub(super) fn output(&self, copied: Offset) -> ReplicaOutput<'_> {
        match self.kind {
            CopyKind::Direct => match self.data.read(copied) {
                [] => ReplicaOutput::Nothing,
                bytes => ReplicaOutput::Bytes(bytes),
            },
            CopyKind::Spooled if copied < self.spooled => {
                ReplicaOutput::Spooled { at: copied, bytes: self.spooled - copied }
            }
            CopyKind::Spooled => ReplicaOutput::Nothing,
        }
    }

    /// Whether replicas wait for the spool file to be complete.
    pub(super) fn is_being_spooled(&self) -> bool {
        self.kind == CopyKind::Spooled && !self.made
    }

    /// What INFO calls the state of those who wait for it: one is sent in bulk what is in a file.
    pub(super) fn state_name(&self) -> &'static str {
        match self.kind {
            CopyKind::Spooled if self.made => "send_bulk",
            CopyKind::Spooled | CopyKind::Direct => "wait_bgsave",
        }
    }

    /// Whether the first `copied` bytes are all of it.
    fn is_all(&self, copied: Offset) -> bool {
        let len = match self.kind {
            CopyKind::Direct => self.data.end(),
            CopyKind::Spooled => self.spooled,
        };
        self.made && copied == len
    }
}

impl Replication {
    /// Whether a snapshot for replicas is being made, and since when.
    pub(in crate::node) fn copies_since(&self) -> Option<Instant> {
        self.copy.as_ref().filter(|copy| !copy.made).map(|copy| copy.since)
    }

    fn is_wanted(&self) -> bool {
        self.followers.values().any(|follower| follower.replica.stage == Stage::Snapshot)
    }

    /// Facts about the stream that goes on after a snapshot. Whoever loads it has to know which
    /// database the next command runs in: on a primary, `selected`.
    pub(in crate::node) fn aux(&self, selected: usize) -> [(&'static str, Vec<u8>); 3] {
        let stream_db = self.upstream.as_ref().map_or(selected, |upstream| upstream.stream_db());
        [
            ("repl-stream-db", stream_db.to_string().into_bytes()),
            ("repl-id", self.history.id().to_string().into_bytes()),
            ("repl-offset", self.history.offset().to_string().into_bytes()),
        ]
    }
}

impl Core {
    /// Begins a snapshot for the replicas that wait for one, if it is time. [`Core::step_copy`] has
    /// to be called until it is done.
    pub fn begin_copy(&mut self, now: Now) -> Option<CopyKind> {
        self.server.replication.snapshot_due.filter(|due| now.instant >= *due)?;
        if self.server.scripts.is_busy() {
            // What it has done so far is not the whole of it.
            return None;
        }
        let replication = &mut self.server.replication;
        let waiting = |stage: Stage| stage == Stage::WaitsForSnapshot;
        if replication.copy.is_some() {
            // They wait for the next one.
            return None;
        }
        let followers = replication.followers.values().filter(|f| waiting(f.replica.stage));
        let (mut any, mut direct) = (false, self.server.settings.replication.diskless);
        for follower in followers {
            any = true;
            direct &= follower.replica.introduction.eof;
        }
        if !any {
            replication.snapshot_due = None;
            return None;
        }
        // The stream up to here is in the snapshot.
        self.server.flush_stream();
        let aux = [
            ("redis-ver", REDIS_VERSION.as_bytes().to_vec()),
            ("redis-bits", b"64".to_vec()),
            ("ctime", (now.unix_ms / 1000).to_string().into_bytes()),
            ("used-mem", self.server.host.allocated_bytes().to_string().into_bytes()),
        ];
        // A primary says it with the next command.
        let aux = aux.into_iter().chain(self.server.replication.aux(0));
        let aux = aux.chain(self.server.slot_states()).collect();
        let options = SnapshotOptions { compress: !direct, checksum: true, with_use: false, aux };
        if !self.keyspace.begin_snapshot(&options) {
            // Another one is being taken: this one's turn comes.
            return None;
        }
        self.server.propagation.stream().select_anew();
        let replication = &mut self.server.replication;
        replication.snapshot_due = None;
        replication.copied_at = Some(replication.history.offset());
        let mut mark = [0; MARK_BYTES];
        for byte in &mut mark {
            *byte = b"0123456789abcdef"[(replication.random.next_u32() % 16) as usize];
        }
        let kind = if direct { CopyKind::Direct } else { CopyKind::Spooled };
        let to = if direct { "replicas sockets" } else { "disk" };
        tracing::info!("Starting BGSAVE for SYNC with target: {to}");
        let history = replication.history;
        for (id, follower) in &mut replication.followers {
            if !waiting(follower.replica.stage) {
                continue;
            }
            follower.replica.stage = Stage::Snapshot;
            follower.replica.sent = history.offset();
            follower.copied = 0;
            if follower.psync {
                let line = format!("+FULLRESYNC {} {}\r\n", history.id(), history.offset());
                follower.greeting.extend_from_slice(line.as_bytes());
            }
            if direct {
                follower.greeting.extend_from_slice(b"$EOF:");
                follower.greeting.extend_from_slice(&mark);
                follower.greeting.extend_from_slice(b"\r\n");
            }
            follower.parked = false;
            self.server.outputs.push_back(Output::Wake(*id));
        }
        let data = Backlog::new(0, 0);
        replication.copy =
            Some(Copy { kind, since: now.instant, data, mark, made: false, spooled: 0 });
        Some(kind)
    }

    /// Goes on with the snapshot that [`Core::begin_copy`] began. What is to be spooled is appended
    /// to `spool`.
    pub fn step_copy(&mut self, now: Now, spool: &mut Vec<u8>) -> CopyStep {
        let replication = &mut self.server.replication;
        let wanted = replication.is_wanted();
        let Some(copy) = &mut replication.copy else { return CopyStep::Done };
        if !wanted {
            // All entries have to be marked before another walk can begin.
            self.keyspace.give_up_snapshot();
            if self.keyspace.step_snapshot(now.unix_ms) {
                replication.copy = None;
                tracing::info!("Nobody waits for the snapshot any more");
                return CopyStep::Done;
            }
            return CopyStep::More(Duration::ZERO);
        }
        if copy.data.end() - copy.data.start() > WAITING_BYTES_MAX {
            return CopyStep::Full;
        }
        let delay = self.server.settings.rdb_key_save_delay;
        let keys = |keyspace: &Keyspace| keyspace.snapshot_progress().map_or(0, |p| p.keys_done);
        let before = keys(&self.keyspace);
        let started = self.server.host.elapsed();
        let mut bytes = Vec::new();
        let whole = loop {
            let whole = self.keyspace.step_snapshot(now.unix_ms);
            let spent = self.server.host.elapsed().saturating_sub(started);
            let full = self.keyspace.snapshot_waiting() as u64 > WAITING_BYTES_MAX;
            if whole || full || spent >= STEP || !delay.is_zero() {
                break whole;
            }
        };
        let taken = keys(&self.keyspace).saturating_sub(before);
        let pause = delay.saturating_mul(u32::try_from(taken).unwrap_or(u32::MAX));
        self.server.release_held();
        let Some(copy) = &mut self.server.replication.copy else { return CopyStep::Done };
        let out = match copy.kind {
            CopyKind::Direct => &mut bytes,
            CopyKind::Spooled => spool,
        };
        let made = self.keyspace.take_snapshot(out) && whole;
        if copy.kind == CopyKind::Direct {
            copy.data.push(&bytes);
            if made {
                copy.data.push(&copy.mark);
                copy.made = true;
            }
            self.wake_copied();
        }
        if made { CopyStep::Done } else { CopyStep::More(pause) }
    }

    /// The spool file holds all of the snapshot: so many bytes.
    pub fn copy_spooled(&mut self, bytes: u64) {
        let replication = &mut self.server.replication;
        let Some(copy) = &mut replication.copy else { return };
        copy.spooled = bytes;
        copy.made = true;
        for follower in replication.followers.values_mut() {
            if follower.replica.stage == Stage::Snapshot {
                follower.greeting.extend_from_slice(format!("${bytes}\r\n").as_bytes());
                follower.parked = true;
            }
        }
        self.wake_copied();
    }

    /// The snapshot could not be spooled: whoever waited for it asks again.
    pub fn copy_failed(&mut self) {
        self.keyspace.give_up_snapshot();
        let replication = &mut self.server.replication;
        for (id, follower) in &replication.followers {
            if follower.replica.stage == Stage::Snapshot {
                if let Some(session) = self.server.clients.get_mut(*id) {
                    session.close(crate::node::session::Close::Now);
                }
                self.server.outputs.push_back(Output::Wake(*id));
            }
        }
    }

    /// Whether replicas are still being sent the snapshot.
    pub fn is_copying(&self) -> bool {
        self.server.replication.copy.is_some()
    }

    /// Whether somebody waits for the snapshot, or is being sent it.
    pub fn is_copy_wanted(&self) -> bool {
        self.server.replication.is_wanted()
    }

    /// A snapshot that is made, and that nobody is being sent any more, is dropped.
    pub fn forget_unwanted_copy(&mut self) {
        let replication = &mut self.server.replication;
        let made = replication.copy.as_ref().is_some_and(|copy| copy.made);
        if made && !replication.is_wanted() {
            replication.copy = None;
        }
    }

    fn wake_copied(&mut self) {
        for (id, follower) in &mut self.server.replication.followers {
            if follower.replica.stage == Stage::Snapshot && std::mem::take(&mut follower.parked) {
                self.server.outputs.push_back(Output::Wake(*id));
            }
        }
    }

    /// A follower has taken some more of the snapshot.
    pub(super) fn copied_some(&mut self, id: ClientId) {
        let replication = &mut self.server.replication;
        let Some(copy) = &mut replication.copy else { return };
        if let Some(follower) = replication.followers.get_mut(&id)
            && copy.is_all(follower.copied)
        {
            // Whoever was told the length knows when it is there, and is sent what follows at once.
            // Others say so.
            follower.replica.stage = match copy.kind {
                CopyKind::Direct => Stage::Loads,
                CopyKind::Spooled => Stage::Online,
            };
            follower.replica.acked_at = self.turn;
            tracing::info!("Synchronization with replica {} succeeded", follower.name());
        }
        let slowest = replication
            .followers
            .values()
            .filter(|follower| follower.replica.stage == Stage::Snapshot)
            .map(|follower| follower.copied)
            .min();
        match slowest {
            Some(slowest) => copy.data.trim(Some(slowest)),
            None if copy.made => replication.copy = None,
            None => {}
        }
        self.server.outputs.push_back(Output::Snapshot);
    }
}
