//! Which role this node has: a primary, or whose replica.
//!
//! The bus decides it, and the node's replication carries it out: whom to copy is compared with
//! what replication was last told, after every input, so that no path that changes a role or an
//! address can forget to say so. In the other direction replication says how far it has come
//! ([`Replication`]), which is what elections weigh.

use super::{Member, NodeKey, Output};
use crate::clock::Now;
use crate::cluster::{NodeFlags, NodeId};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How far this node's replication is: to be told before each input, as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Bytes of the stream that have been written (as primary) or applied (as replica).
    pub offset: u64,
    /// When anything last came from the primary that this node copies. None before the first
    /// copy of its data is complete: such a replica has nothing to offer.
    pub heard: Option<Instant>,
    /// Whether it is connected to its primary and has its data.
    pub linked: bool,
}

impl Replication {
    /// How old its data may be.
    pub(super) fn age(&self, now: Now) -> Duration {
        self.heard.map_or(Duration::MAX, |at| now.instant.saturating_duration_since(at))
    }
}

/// The primary that this node copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub id: NodeId,
    /// Where it takes clients and replicas.
    pub address: SocketAddr,
}

impl Member {
    /// How far replication is. To be called before [`Member::handle_input`] and
    /// [`Member::apply`].
    pub fn set_replication(&mut self, replication: Replication) {
        self.replication = replication;
        self.view.myself_mut().offset = replication.offset;
    }

    /// Becomes a replica of that primary, or changes over to it.
    pub(super) fn follow(&mut self, primary: NodeKey) {
        debug_assert_ne!(primary, NodeKey::MYSELF, "nobody copies itself");
        let shard_id = self.view.node(primary).shard_id;
        // Within a shard all know which slots are on their way (SETSLOT is replicated).
        let stays = shard_id.is_some() && shard_id == self.view.own_shard().shard_id;
        let myself = self.view.myself_mut();
        myself.flags.remove(NodeFlags::PRIMARY.with(NodeFlags::MIGRATE_TO));
        myself.flags.insert(NodeFlags::REPLICA);
        myself.shard_id = shard_id.or(myself.shard_id);
        self.view.set_primary_of(NodeKey::MYSELF, Some(primary));
        if !stays {
            self.view.close_all_slots();
        }
        self.end_manual_failover();
        self.election = None;
        self.out.persist = true;
        self.recheck_state = true;
    }

    /// Becomes a primary; its slots, if any, are for the caller to give.
    pub(super) fn stop_following(&mut self) {
        self.view.set_primary_of(NodeKey::MYSELF, None);
        let myself = self.view.myself_mut();
        myself.flags.remove(NodeFlags::REPLICA);
        myself.flags.insert(NodeFlags::PRIMARY);
        self.end_manual_failover();
        self.election = None;
        self.out.persist = true;
        self.recheck_state = true;
    }

    /// Tells replication whom to copy, if that has changed.
    pub(super) fn settle_role(&mut self) {
        let myself = self.view.myself();
        let wanted = if myself.is_replica() {
            let primary = myself.primary.map(|key| self.view.node(key));
            let source = primary.and_then(|node| {
                let ip = node.address.ip.filter(|_| node.address.port != 0)?;
                let address = SocketAddr::new(ip, node.address.port);
                Some(Source { id: node.id, address })
            });
            // While nobody knows where the primary is, the place where it was is tried.
            if source.is_none() {
                return;
            }
            source
        } else {
            None
        };
        if self.following != wanted {
            self.following = wanted;
            self.out.push(Output::Replicate(wanted));
        }
    }

    /// A replica of a replica has nobody to vote for it: it goes to the head of its chain.
    pub(super) fn leave_a_chain(&mut self) {
        let Some(primary) = self.view.myself().primary else { return };
        let Some(head) = self.view.node(primary).primary else { return };
        if head == NodeKey::MYSELF || !self.view.node(head).is_primary() {
            return;
        }
        let (from, to) = (self.view.node(primary).id, self.view.node(head).id);
        tracing::info!("I'm a sub-replica! Reconfiguring myself from {from} to {to}");
        self.follow(head);
    }
}
