//! The node's place in a replication: whose data it has, who follows it, and what goes to them.
//!
//! A primary appends what its commands are to the backlog, from which every replica is sent its own
//! next bytes; a replica appends what its primary sends, as it came, so that those who follow it
//! count alike. What is decided about one connection is in [`crate::replication`]; here it meets
//! the data and the clients.

mod arrival;
mod cluster;
mod copy;
mod describe;
mod downstream;
mod failover;
mod load;
mod own_keys;
mod primary;
mod restrict;
mod resume;
mod settings;
mod upstream;

pub(super) use cluster::refresh_expiry;
pub use copy::{CopyKind, CopyStep};
pub use downstream::ReplicaOutput;
pub(super) use restrict::MASTER_DOWN;
pub(super) use settings::ReplicationSettings;
pub use upstream::{LinkTarget, LinkTask};

use super::call::Ctx;
use super::core::Core;
use super::output::Output;
use super::server::Server;
use super::session::ClientId;
use crate::clock::Now;
use crate::replication::{Backlog, History, Offset, ReplicationId};
use crate::store::{Expired, Keyspace};
use copy::Copy;
use downstream::Follower;
use failover::Failover;
use own_keys::OwnKeys;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use upstream::Upstream;

/// The node's part in a replication.
pub(super) struct Replication {
    /// Whose state the data is.
    history: History,
    /// The recent stream; none until somebody follows, or is followed.
    backlog: Option<Backlog>,
    /// Who follows, by their connections.
    followers: BTreeMap<ClientId, Follower>,
    /// Whom this node follows; none on a primary.
    upstream: Option<Upstream>,
    /// Where names of histories come from.
    random: SmallRng,
    /// Counts links: what comes from one that was given up is no news.
    link: u64,
    /// When followers were last sent a PING.
    pinged: Instant,
    /// When links and followers were last looked through.
    tended: Instant,
    /// The role is being handed to a replica.
    failover: Option<Failover>,
    /// Where the stream was when replicas were last asked how far they are.
    acks_asked_at: Option<Offset>,
    /// What of the stream is in the append-only file, and on disk. None while there is no such file,
    /// or while it is not all of the data yet.
    on_disk: Option<Offset>,
    /// Since when a backlog has been kept for nobody.
    alone_since: Option<Instant>,
    /// What clients have made expire here while the node follows another.
    pub(super) own_keys: OwnKeys,
    /// The snapshot that followers are being sent.
    copy: Option<Copy>,
    /// Where the stream was when the latest snapshot for followers began.
    copied_at: Option<Offset>,
    /// When a snapshot for those who wait for one is to begin.
    snapshot_due: Option<Instant>,
    /// How many full and partial synchronisations were given, and how many partial ones refused.
    pub(super) synchronisations: Synchronisations,
}

/// What INFO counts of requests to follow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Synchronisations {
    /// With a copy of all data.
    pub(super) full: u64,
    /// From where the replica had stopped.
    pub(super) partial: u64,
    /// Asked to go on, and refused.
    pub(super) refused: u64,
}

/// How often links and followers are looked through.
const TEND_EVERY: Duration = Duration::from_secs(1);

impl Replication {
    /// A primary that nobody follows. `seed` is for the names of its histories.
    pub(super) fn new(now: Now, id: ReplicationId, seed: u64) -> Self {
        Self {
            history: History::new(id),
            backlog: None,
            followers: BTreeMap::new(),
            upstream: None,
            random: SmallRng::seed_from_u64(seed),
            link: 0,
            pinged: now.instant,
            tended: now.instant,
            failover: None,
            acks_asked_at: None,
            on_disk: None,
            alone_since: None,
            own_keys: OwnKeys::default(),
            copy: None,
            copied_at: None,
            snapshot_due: None,
            synchronisations: Synchronisations::default(),
        }
    }

    /// Whose state the data is.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The recent stream, if it is kept.
    pub(super) fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_ref()
    }

    /// Whether this node follows another.
    pub(super) fn is_replica(&self) -> bool {
        self.upstream.is_some()
    }

    /// Grows whenever the node begins to follow, follows another, or ceases to.
    pub(super) fn term(&self) -> u64 {
        self.link
    }

    fn new_id(&mut self) -> ReplicationId {
        let mut bytes = [0; 20];
        self.random.fill_bytes(&mut bytes);
        ReplicationId::from_random(bytes)
    }

    /// The stream goes on by `bytes`. True if the place of the slowest follower is to be looked at.
    fn extend(&mut self, bytes: &[u8]) -> bool {
        /// Looking for what nobody needs any more, and for who is too far behind, waits for so
        /// many bytes.
        const LOOK_EVERY_BITS: u32 = 16;
        let before = self.history.offset() >> LOOK_EVERY_BITS;
        self.history.advance(bytes.len());
        if let Some(backlog) = &mut self.backlog {
            backlog.push(bytes);
        }
        before != self.history.offset() >> LOOK_EVERY_BITS
    }

    /// So many bytes went into the append-only file of a primary that nobody follows.
    pub(super) fn note_logged(&mut self, bytes: usize) {
        if self.upstream.is_none() {
            self.history.advance(bytes);
        }
    }

    /// `repl-backlog-size` is another.
    pub(super) fn resize_backlog(&mut self, bytes: usize) {
        if let Some(backlog) = self.backlog.as_mut().filter(|backlog| backlog.size() != bytes) {
            backlog.set_size(bytes);
            self.trim();
        }
    }

    fn trim(&mut self) {
        let needed = self.followers.values().filter_map(Follower::needs).min();
        if let Some(backlog) = &mut self.backlog {
            backlog.trim(needed);
        }
    }
}

impl Server {
    /// What was propagated goes into the stream, and to whoever waits for it.
    #[inline]
    pub(super) fn flush_stream(&mut self) {
        if !self.propagation.stream().is_empty() {
            self.extend_stream();
        }
    }

    fn extend_stream(&mut self) {
        let look = self.replication.extend(self.propagation.stream().bytes());
        self.propagation.stream().clear();
        self.stream_grew(look);
    }

    /// The stream has grown: those who wait for more are fed.
    fn stream_grew(&mut self, look: bool) {
        for (id, follower) in &mut self.replication.followers {
            if follower.is_to_be_fed() {
                self.outputs.push_back(Output::Feed(*id));
            }
        }
        if look {
            self.cut_off_slow_followers(None);
            self.replication.trim();
        }
    }

    /// Replicas are asked how far they are, unless they have been since the last write.
    pub(super) fn ask_replicas_for_acks(&mut self) {
        let offset = self.replication.history.offset();
        // While a replica takes over the end of the stream must stay where it is: Redis waits until it
        // has just so much. Replicas say how far they are once a second in any case.
        if self.failover_pause.is_some()
            || self.replication.followers.is_empty()
            || self.replication.acks_asked_at == Some(offset)
            || !self.propagation.stream().is_on()
        {
            return;
        }
        self.propagation.stream().push(&["REPLCONF", "GETACK", "*"]);
        self.flush_stream();
        self.replication.acks_asked_at = Some(self.replication.history.offset());
    }

    /// Whether the append-only file has the stream up to `offset`, on disk.
    pub(super) fn is_on_disk(&self, offset: Offset) -> bool {
        self.replication.on_disk.is_some_and(|on_disk| on_disk >= offset)
    }

    /// The append-only file is on disk, as it was when the stream was at `offset`: WAITAOF waits
    /// for it, here and on the primary. None if there is no such file any more.
    pub(super) fn note_on_disk(&mut self, offset: Option<Offset>) {
        if self.replication.on_disk != offset {
            self.replication.on_disk = offset;
            self.waiters.acknowledged();
        }
    }

    /// The backlog is kept from here on, if it is not yet; and on a primary, commands are told.
    pub(super) fn keep_backlog(&mut self) {
        if self.replication.backlog.is_none() {
            let size = self.settings.replication.backlog_bytes;
            if !self.replication.is_replica() {
                // The stream was not kept until here: nobody may go on from what was before.
                let id = self.replication.new_id();
                self.replication.history.restart(id);
                tracing::info!(
                    "Replication backlog created, my new replication IDs are '{id}' and '{}'",
                    "0".repeat(40)
                );
            }
            let offset = self.replication.history.offset();
            self.replication.backlog = Some(Backlog::new(offset, size));
        }
        let primary = !self.replication.is_replica();
        self.propagation.set_stream(primary);
    }
}

impl Core {
    /// Follows another node: this one's data becomes a copy of its data. What it has now is kept
    /// for as long as the other has not sent its own; if theirs was one history, it may go on.
    pub fn follow(&mut self, now: Now, host: &str, port: u16) {
        follow(&mut self.server, &mut self.keyspace, now, host, port);
    }

    /// Follows nobody any more: the data is this node's own from here on.
    pub fn lead(&mut self) {
        lead(&mut self.server, &mut self.keyspace);
    }

    /// How much of its history this node has, in bytes of the stream.
    pub fn replication_offset(&self) -> Offset {
        self.server.replication.history.offset()
    }
}

impl Server {
    /// CONFIG REWRITE writes whom the node follows. In a cluster nodes.conf says it.
    fn remember_primary(&mut self, words: &[&str; 2]) {
        if self.settings.cluster_enabled {
            return;
        }
        if let Err(reason) = self.directives.load("replicaof", words) {
            tracing::warn!(primary = words.join(":"), reason, "CONFIG REWRITE cannot name it");
        }
    }
}

/// See [`Core::follow`].
fn follow(server: &mut Server, keyspace: &mut Keyspace, now: Now, host: &str, port: u16) {
    server.remember_primary(&[host, &port.to_string()]);
    if server.replication.follows(host, port) {
        return;
    }
    let was_primary = !server.replication.is_replica();
    if was_primary {
        super::serve::unblock_all(now, keyspace, server);
        tracing::info!(
            "Before turning into a replica, using my own master parameters to synthesize a cached \
             master: I may be able to synchronize with the new master with just a partial transfer."
        );
    }
    server.flush_stream();
    server.propagation.set_stream(false);
    if let Some(upstream) = &mut server.replication.upstream {
        upstream.abandon_load(keyspace);
    }
    let resumable = server.replication.backlog.is_some()
        && (was_primary || server.replication.upstream.as_ref().is_some_and(Upstream::has_data));
    let replication = &mut server.replication;
    replication.own_keys.clear();
    replication.link += 1;
    replication.upstream = Some(Upstream::new(now, replication.link, host, port, resumable));
    // They ask again, and are told under which name this node goes on.
    server.close_followers();
    server.listen(keyspace);
    keyspace.set_on_expired(Expired::Hide);
    server.outputs.push_back(Output::Link);
}

/// See [`Core::lead`].
fn lead(server: &mut Server, keyspace: &mut Keyspace) {
    server.remember_primary(&["no", "one"]);
    let Some(mut upstream) = server.replication.upstream.take() else { return };
    upstream.abandon_load(keyspace);
    let replication = &mut server.replication;
    replication.own_keys.clear();
    replication.link += 1;
    let former = replication.history.id();
    let id = replication.new_id();
    replication.history.fork(id);
    let until = replication.history.offset() + 1;
    tracing::info!(
        "Setting secondary replication ID to {former}, valid up to offset: {until}. New \
         replication ID is {id}"
    );
    // Followers ask again, and hear of the new name; what they have is good.
    server.close_followers();
    let kept = server.replication.backlog.is_some();
    server.propagation.set_stream(kept);
    server.listen(keyspace);
    // A copy that did not arrive may have ended it.
    server.resume_log();
    keyspace.set_on_expired(Expired::Remove);
    server.outputs.push_back(Output::Link);
}

impl Core {
    /// The directive `replicaof`, if it was given.
    pub(super) fn follow_as_configured(&mut self, now: Now) {
        let text = self.server.directives.text("replicaof").to_owned();
        let mut words = text.split_ascii_whitespace();
        let (Some(host), Some(port)) = (words.next(), words.next()) else { return };
        if self.server.settings.cluster_enabled {
            return;
        }
        if let Ok(port) = port.parse() {
            self.follow(now, host, port);
        }
    }
}

impl Ctx<'_> {
    /// REPLICAOF: see [`Core::follow`].
    pub(super) fn follow(&mut self, host: &str, port: u16) {
        follow(self.server, self.keyspace, self.now, host, port);
    }

    /// REPLICAOF NO ONE: see [`Core::lead`].
    pub(super) fn lead(&mut self) {
        lead(self.server, self.keyspace);
    }

    /// `REPLCONF ACK`.
    pub(super) fn take_ack(&mut self, offset: Offset, on_disk: Option<Offset>) {
        let (id, now) = (self.session.id, self.now);
        self.server.waiters.acknowledged();
        let Some(replica) = self.server.replication.replica_mut(id) else { return };
        if replica.acknowledge(now, offset, on_disk) {
            tracing::info!("Replica {} is online", replica.ip());
        }
    }
}
