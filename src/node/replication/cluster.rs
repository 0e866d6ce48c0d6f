//! Replication as a cluster's bus sees it: the bus decides whom this node copies, and weighs how far
//! the copy is.

use super::upstream::{Phase, Upstream};
use crate::bus::{self, NodeKey, Source};
use crate::clock::Now;
use crate::cluster::slot_states_text;
use crate::node::core::Core;
use crate::node::server::Server;
use crate::replication::{Offset, Stage};
use crate::store::{Expired, Keyspace};

impl Server {
    /// Tells the bus how far replication is, before it decides anything.
    pub(in crate::node) fn tell_bus(&mut self) {
        let replication = &self.replication;
        let upstream = replication.upstream.as_ref();
        let has_data = upstream.is_none_or(Upstream::has_data);
        let state = bus::Replication {
            // While a copy comes and what there was is gone, siblings need not let this replica go first.
            offset: if has_data { replication.history.offset() } else { 0 },
            heard: upstream.filter(|upstream| upstream.has_data()).map(Upstream::current_at),
            linked: upstream.is_some_and(|upstream| upstream.phase == Phase::Online),
        };
        if let Some(member) = &mut self.cluster {
            member.set_replication(state);
        }
    }
}

/// The first version of a replica that takes CLUSTER SETSLOT from its primary: above 7.2.255.
const SETSLOT_SINCE: u32 = 0x07_02_ff + 1;
/// The fact of a snapshot that says which slots are on their way.
pub(super) const SLOT_STATES: &str = "cluster-slot-states";

impl Server {
    /// Tells the replicas what becomes of a slot. False if there is none that could be told, or one
    /// that could not.
    pub(in crate::node) fn tell_replicas_of_slot(&mut self, words: &[&[u8]]) -> bool {
        let none = self.replication.replicas().next().is_none();
        let all = self.replicas_are_told_of_slots();
        // While a replica takes over the end of the stream must stay where it is.
        let quiet = self.failover_pause.is_some();
        if none || !all || quiet || !self.propagation.stream().is_on() {
            return false;
        }
        self.propagation.stream().push(words);
        self.flush_stream();
        true
    }

    /// Whether all replicas are told of slots. Where one is not, none is: an heir that knows of a slot
    /// on its way has to hear of its end, too.
    fn replicas_are_told_of_slots(&self) -> bool {
        self.replication.replicas().all(|replica| replica.introduction.version >= SETSLOT_SINCE)
    }

    /// What a copy of all data says of slots on their way, if there are any.
    pub(super) fn slot_states(&self) -> Option<(&'static str, Vec<u8>)> {
        let member = self.cluster.as_ref().filter(|_| self.replicas_are_told_of_slots())?;
        let open = member.view().record(NodeKey::MYSELF).open_slots;
        (!open.is_empty()).then(|| (SLOT_STATES, slot_states_text(&open).into_bytes()))
    }

    /// Whether a copy of all data was begun when the stream had passed `offset`: those who got it did not
    /// get what the stream had said up to there, and what that has done was not done yet.
    pub(in crate::node) fn has_copied_since(&self, offset: Offset) -> bool {
        self.replication.copied_at.is_some_and(|at| at >= offset)
    }

    /// Whether every replica that is told of slots, and is online, has run the stream up to `offset`.
    pub(in crate::node) fn replicas_have(&self, offset: Offset) -> bool {
        let online = self.replication.replicas().filter(|replica| replica.stage == Stage::Online);
        let mut told = online.filter(|replica| replica.introduction.version >= SETSLOT_SINCE);
        told.all(|replica| replica.acked >= offset)
    }
}

impl Core {
    /// From here on this node copies that primary; if none, it is a primary itself.
    pub fn replicate(&mut self, now: Now, source: Option<Source>) {
        match source {
            Some(source) => {
                let host = source.address.ip().to_string();
                self.follow(now, &host, source.address.port());
            }
            None => self.lead(),
        }
    }

    /// See [`refresh_expiry`].
    pub(in crate::node) fn refresh_expiry(&mut self, now: Now) {
        refresh_expiry(&self.server, &mut self.keyspace, now);
    }
}

/// Keys past their expiry are removed by a primary whose writes are not held back, and hidden
/// otherwise: what is removed has to be told, and only a primary tells.
pub(in crate::node) fn refresh_expiry(server: &Server, keyspace: &mut Keyspace, now: Now) {
    let removes = !server.replication.is_replica() && !server.is_write_paused(now);
    keyspace.set_on_expired(if removes { Expired::Remove } else { Expired::Hide });
}
