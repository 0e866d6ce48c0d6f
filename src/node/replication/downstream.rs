//! Those who follow this node: their requests, what they are sent, and when they are given up.

use super::copy::Copy;
use super::{Replication, TEND_EVERY};
use crate::clock::Now;
use crate::node::call::Ctx;
use crate::node::core::Core;
use crate::node::output::Output;
use crate::node::server::Server;
use crate::node::session::{ClientId, Close, Role};
use crate::replication::{Offset, Replica, Resume, Stage};
use std::time::{Duration, Instant};

/// One follower: the books on it, and where its shell is.
pub(super) struct Follower {
    pub(super) replica: Replica,
    /// What it is told before anything else: the head of a snapshot, signs of life.
    pub(super) greeting: Vec<u8>,
    /// It asked with PSYNC, and wants to be told what it gets.
    pub(super) psync: bool,
    /// What of the snapshot it has been sent.
    pub(super) copied: Offset,
    /// Its shell has taken all there was, and waits to be woken.
    pub(super) parked: bool,
}

/// What a follower's shell writes next.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplicaOutput<'a> {
    /// Nothing: its notice will be raised.
    Nothing,
    /// These bytes; [`Core::replica_took`] tells how many of them were taken.
    Bytes(&'a [u8]),
    /// What the spool file of the snapshot holds from here on, in the same way.
    Spooled {
        /// The first byte.
        at: u64,
        /// How many there are.
        bytes: u64,
    },
}

impl Follower {
    fn new(now: Now, session: &crate::node::session::Session, stage: Stage) -> Self {
        let introduction = session.introduction.as_deref().cloned().unwrap_or_default();
        Self {
            replica: Replica::new(now, session.addresses.peer, introduction, stage),
            greeting: Vec::new(),
            psync: true,
            copied: 0,
            parked: false,
        }
    }

    /// The part of the stream that must be kept for it; none while nothing is kept for it.
    pub(super) fn needs(&self) -> Option<Offset> {
        (self.replica.stage != Stage::WaitsForSnapshot).then_some(self.replica.sent)
    }

    /// Whether its shell is to be told that the stream has grown.
    pub(super) fn is_to_be_fed(&mut self) -> bool {
        self.replica.stage == Stage::Online && std::mem::take(&mut self.parked)
    }

    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.replica.ip(), self.replica.introduction.port)
    }
}

impl Replication {
    /// Followers in the order in which they came.
    pub(in crate::node) fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.followers.values().map(|follower| &follower.replica)
    }

    /// The books on a follower.
    pub(in crate::node) fn replica_mut(&mut self, id: ClientId) -> Option<&mut Replica> {
        self.followers.get_mut(&id).map(|follower| &mut follower.replica)
    }

    /// How many followers are online and no further behind than `lag_max` seconds.
    pub(in crate::node) fn good_replicas(&self, now: Now, lag_max: u64) -> usize {
        let online = self.replicas().filter(|replica| replica.stage == Stage::Online);
        online.filter(|replica| replica.lag(now) <= lag_max).count()
    }
}

impl Ctx<'_> {
    /// PSYNC: this client becomes a replica, and goes on from where it stopped if it can.
    pub(in crate::node) fn accept_replica(&mut self, asked: Option<(&[u8], Offset)>) {
        let id = self.session.id;
        let replication = &mut self.server.replication;
        // It may have grown by more than its size since the last look.
        replication.trim();
        let resume = asked.map(|(history, next)| {
            replication.history.resume(replication.backlog.as_ref(), history, next)
        });
        self.session.role = Role::Replica;
        if let Some(Resume::From(offset)) = resume {
            replication.synchronisations.partial += 1;
            let mut follower = Follower::new(self.now, self.session, Stage::Online);
            follower.replica.sent = offset;
            let bytes = replication.history.offset() - offset;
            tracing::info!(
                "Partial resynchronization request from {} accepted. Sending {bytes} bytes of \
                 backlog starting from offset {}.",
                follower.name(),
                offset + 1
            );
            if follower.replica.introduction.psync2 {
                self.out.simple(&format!("CONTINUE {}", replication.history.id()));
            } else {
                self.out.simple("CONTINUE");
            }
            replication.followers.insert(id, follower);
            replication.alone_since = None;
            return;
        }
        replication.synchronisations.full += 1;
        let mut follower = Follower::new(self.now, self.session, Stage::WaitsForSnapshot);
        follower.psync = asked.is_some();
        let name = follower.name();
        match (resume, asked) {
            (Some(Resume::OtherHistory), Some((history, _))) if history != b"?" => {
                replication.synchronisations.refused += 1;
                let former = replication.history.former();
                tracing::info!(
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica \
                     asked for '{}', my replication IDs are '{}' and '{}')",
                    String::from_utf8_lossy(history),
                    replication.history.id(),
                    former.map_or_else(|| "0".repeat(40), |(id, _)| id.to_string()),
                );
            }
            (Some(Resume::OutOfBacklog), Some((_, next))) => {
                replication.synchronisations.refused += 1;
                tracing::info!(
                    "Unable to partial resync with replica {name} for lack of backlog (Replica \
                     request was: {next})."
                );
            }
            _ => {}
        }
        tracing::info!("Full resync requested by replica {name}");
        replication.followers.insert(id, follower);
        replication.alone_since = None;
        self.server.keep_backlog();
        self.server.listen(self.keyspace);
        self.server.schedule_snapshot(self.now);
    }
}

impl Server {
    /// A snapshot is to begin for those who wait for one: soon, so that it serves several, or at
    /// once where no more are expected.
    fn schedule_snapshot(&mut self, now: Now) {
        let settings = &self.settings.replication;
        let waiting = self.replication.followers.values();
        let waiting = waiting.filter(|f| f.replica.stage == Stage::WaitsForSnapshot).count();
        let enough =
            settings.diskless_replicas_max > 0 && waiting >= settings.diskless_replicas_max;
        let delay =
            if settings.diskless && !enough { settings.diskless_delay } else { Duration::ZERO };
        let due = now.instant + delay;
        let known = self.replication.snapshot_due;
        self.replication.snapshot_due = Some(known.map_or(due, |known| known.min(due)));
        self.outputs.push_back(Output::Snapshot);
    }

    /// All followers are sent away: they ask again, and hear what has changed.
    pub(super) fn close_followers(&mut self) {
        for id in self.replication.followers.keys() {
            if let Some(session) = self.clients.get_mut(*id) {
                session.close(Close::Now);
            }
            self.outputs.push_back(Output::Wake(*id));
        }
    }

    /// Those for whom more of the stream waits than the limit allows are cut off.
    /// Without the time, only those beyond the hard limit.
    pub(super) fn cut_off_slow_followers(&mut self, now: Option<Now>) {
        let end = self.replication.history.offset();
        let limit = self.settings.replication.stream_limit;
        for (id, follower) in &mut self.replication.followers {
            if follower.needs().is_some() && follower.replica.is_over(now, end, limit) {
                let waiting = end - follower.replica.sent;
                tracing::warn!(
                    "Client id={id} addr={} scheduled to be closed ASAP for overcoming of output \
                     buffer limits ({waiting} bytes).",
                    follower.replica.peer
                );
                self.stats.closed_for_output += 1;
                if let Some(session) = self.clients.get_mut(*id) {
                    session.close(Close::Now);
                }
                self.outputs.push_back(Output::Wake(*id));
            }
        }
    }

    /// A replica has said something.
    pub(in crate::node) fn note_replica_lives(&mut self, now: Now, id: ClientId) {
        if let Some(replica) = self.replication.replica_mut(id) {
            replica.acked_at = now.instant;
        }
    }

    /// A connection that was a replica's has ended.
    pub(in crate::node) fn forget_follower(&mut self, now: Instant, id: ClientId) {
        if let Some(follower) = self.replication.followers.remove(&id) {
            tracing::info!("Connection with replica {} lost.", follower.name());
            // What was kept for it alone is not for those who come back.
            self.replication.trim();
            // A snapshot may be on its way to nobody now.
            self.outputs.push_back(Output::Snapshot);
            if self.replication.followers.is_empty() {
                self.replication.alone_since = Some(now);
            }
        }
    }

    /// Looks after the followers: PING, silence, limits, and the end of a backlog that nobody
    /// needs. Called at every tick; does something once a second.
    pub(in crate::node) fn tend_followers(&mut self, now: Now) {
        self.flush_stream();
        if self.replication.snapshot_due.is_some_and(|due| now.instant >= due) {
            self.outputs.push_back(Output::Snapshot);
        }
        let replication = &mut self.replication;
        if now.instant.saturating_duration_since(replication.tended) < TEND_EVERY {
            return;
        }
        replication.tended = now.instant;
        let settings = &self.settings.replication;
        let ping = now.instant.saturating_duration_since(replication.pinged) >= settings.ping_every;
        let primary = replication.upstream.is_none();
        if ping {
            replication.pinged = now.instant;
        }
        // Writes that are held back are to be the last of the stream: a PING would move its end.
        let quiet = self.failover_pause.is_some();
        if ping
            && primary
            && !quiet
            && !replication.followers.is_empty()
            && self.propagation.stream().is_on()
        {
            self.propagation.stream().push(&["PING"]);
        }
        for (id, follower) in &mut replication.followers {
            let waits = match follower.replica.stage {
                Stage::WaitsForSnapshot => true,
                Stage::Snapshot => replication.copy.as_ref().is_some_and(Copy::is_being_spooled),
                Stage::Loads | Stage::Online => false,
            };
            if waits && follower.greeting.is_empty() {
                // Those who wait for a snapshot are shown that we live.
                follower.greeting.push(b'\n');
                follower.parked = false;
                self.outputs.push_back(Output::Wake(*id));
            }
            if follower.replica.is_silent(now, settings.timeout) {
                tracing::warn!(
                    "Disconnecting timedout replica (streaming sync): {}",
                    follower.name()
                );
                if let Some(session) = self.clients.get_mut(*id) {
                    session.close(Close::Now);
                }
                self.outputs.push_back(Output::Wake(*id));
            }
        }
        let ttl = settings.backlog_ttl;
        let alone = replication.alone_since.filter(|_| ttl > Duration::ZERO && primary);
        if alone.is_some_and(|since| now.instant.saturating_duration_since(since) > ttl) {
            // What is not kept any more must not be asked for under the same name.
            let id = replication.new_id();
            replication.history.restart(id);
            replication.backlog = None;
            replication.alone_since = None;
            self.propagation.set_stream(false);
            tracing::info!(
                "Replication backlog freed after {} seconds without connected replicas.",
                ttl.as_secs()
            );
        }
        self.flush_stream();
        self.cut_off_slow_followers(Some(now));
        self.replication.trim();
    }
}

impl Core {
    /// What a follower's shell writes next.
    pub fn replica_output(&mut self, id: ClientId) -> ReplicaOutput<'_> {
        let replication = &mut self.server.replication;
        let Some(follower) = replication.followers.get_mut(&id) else {
            return ReplicaOutput::Nothing;
        };
        if !follower.greeting.is_empty() {
            return ReplicaOutput::Bytes(&follower.greeting);
        }
        if follower.replica.stage == Stage::Snapshot {
            let output = match &replication.copy {
                Some(copy) => copy.output(follower.copied),
                None => ReplicaOutput::Nothing,
            };
            follower.parked = output == ReplicaOutput::Nothing;
            return output;
        }
        if follower.replica.stage == Stage::Online
            && let Some(backlog) = &replication.backlog
        {
            let bytes = backlog.read(follower.replica.sent);
            follower.parked = bytes.is_empty();
            if !bytes.is_empty() {
                return ReplicaOutput::Bytes(bytes);
            }
        }
        ReplicaOutput::Nothing
    }

    /// So many of the bytes that [`Core::replica_output`] gave are on their way.
    pub fn replica_took(&mut self, id: ClientId, bytes: usize) {
        self.server.stats.replica_output_bytes += bytes as u64;
        let Some(follower) = self.server.replication.followers.get_mut(&id) else { return };
        if !follower.greeting.is_empty() {
            follower.greeting.drain(..bytes);
        } else if follower.replica.stage == Stage::Snapshot {
            follower.copied += bytes as u64;
            self.copied_some(id);
        } else {
            follower.replica.sent += bytes as u64;
        }
    }

    /// When a snapshot for followers is to begin, if any waits for one: for its shell.
    pub fn snapshot_due(&self) -> Option<std::time::Instant> {
        self.server.replication.snapshot_due
    }
}
