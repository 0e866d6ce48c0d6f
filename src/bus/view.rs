//! The cluster as this node believes it: who is there, who owns what, and under which epoch.
//!
//! A slot's owner is a small key, not an id: the table that every request reads is 64 KiB, and a
//! node that is renamed when its handshake ends keeps its key.

use super::output::LinkId;
use super::packet::Header;
use crate::clock::Now;
use crate::cluster::{
    Durable, Epoch, Move, NodeFlags, NodeId, NodeRecord, OpenSlot, Slot, SlotSet,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

/// Which node of a [`View`]: stays the same for as long as the node is known, and is never given
/// to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(NonZeroU32);

impl NodeKey {
    /// The node whose view it is.
    pub const MYSELF: Self = Self(NonZeroU32::MIN);
}

/// Where a node is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// None while it is not known.
    pub ip: Option<IpAddr>,
    /// The port for clients.
    pub port: u16,
    /// The other port for clients, where there are two; else 0.
    pub secondary_port: u16,
    /// The port for nodes.
    pub bus_port: u16,
}

/// What is known of one node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name; one of our own making until its handshake is done.
    pub id: NodeId,
    /// Where it is.
    pub address: Address,
    /// The host name it announces.
    pub hostname: Option<String>,
    /// What people call it, for the log (`cluster-announce-human-nodename`).
    pub human_name: Option<String>,
    /// Its shard, where it said.
    pub shard_id: Option<NodeId>,
    /// Role and state.
    pub flags: NodeFlags,
    /// Whom it copies.
    pub primary: Option<NodeKey>,
    /// The epoch of its claim.
    pub config_epoch: Epoch,
    /// Its replication offset.
    pub offset: u64,
    /// What it owns. Changed by [`View::assign`] alone.
    slots: SlotSet,
    slot_count: usize,
    /// When it was first heard of.
    pub created: Now,
    /// When the PING that waits for an answer was sent.
    pub ping_sent: Option<Now>,
    /// When it last answered, to us or (as gossip has it) to others.
    pub pong_received: Option<Now>,
    /// When anything last came from it.
    pub data_received: Option<Now>,
    /// When it was marked as failed.
    pub failed_at: Option<Now>,
    /// When one of its replicas last got our vote.
    pub voted_at: Option<Instant>,
    /// Which replica that was.
    pub voted_for: Option<NodeKey>,
    /// Since when it has slots, had replicas, and has none left that works.
    pub orphaned_at: Option<Instant>,
    /// Which primaries say that they cannot reach it, and when they last did.
    pub reports: BTreeMap<NodeKey, Instant>,
    /// The link that we opened to it.
    pub outbound: Option<LinkId>,
    /// The link that it opened to us.
    pub inbound: Option<LinkId>,
    /// It understands ping extensions.
    pub extensions: bool,
}

impl Node {
    /// A node that was just heard of.
    pub fn new(id: NodeId, address: Address, flags: NodeFlags, now: Now) -> Self {
        Self {
            id,
            address,
            hostname: None,
            human_name: None,
            shard_id: None,
            flags,
            primary: None,
            config_epoch: Epoch::ZERO,
            offset: 0,
            slots: SlotSet::new(),
            slot_count: 0,
            created: now,
            ping_sent: None,
            pong_received: None,
            data_received: None,
            failed_at: None,
            voted_at: None,
            voted_for: None,
            orphaned_at: None,
            reports: BTreeMap::new(),
            outbound: None,
            inbound: None,
            extensions: false,
        }
    }

    /// Its id, and what people call it: for the log.
    pub(super) fn label(&self) -> String {
        match &self.human_name {
            Some(name) => format!("{} ({name})", self.id),
            None => self.id.to_string(),
        }
    }

    /// Whether it is a primary.
    pub fn is_primary(&self) -> bool {
        self.flags.any(NodeFlags::PRIMARY)
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.flags.any(NodeFlags::REPLICA)
    }

    /// Whether it has a say in elections and failures: a primary with slots.
    pub fn is_voter(&self) -> bool {
        self.is_primary() && self.slot_count > 0
    }

    /// Whether the majority holds it for failed.
    pub fn is_failed(&self) -> bool {
        self.flags.any(NodeFlags::FAIL)
    }

    /// Whether its name is not known yet.
    pub fn in_handshake(&self) -> bool {
        self.flags.any(NodeFlags::HANDSHAKE)
    }

    /// What it owns.
    pub fn slots(&self) -> &SlotSet {
        &self.slots
    }

    /// How many slots it owns.
    pub fn slot_count(&self) -> usize {
        self.slot_count
    }
}

/// The cluster, as this node believes it.
#[derive(Clone, Debug)]
pub struct View {
    nodes: BTreeMap<NodeKey, Node>,
    keys: BTreeMap<NodeId, NodeKey>,
    next_key: NonZeroU32,
    owners: Box<[Option<NodeKey>]>,
    /// Slots whose owner no longer claims them: still bound to it, so that clients are sent
    /// somewhere, but free for whoever claims them.
    unclaimed: SlotSet,
    migrating: BTreeMap<Slot, NodeKey>,
    importing: BTreeMap<Slot, NodeKey>,
    /// The slots of the two maps above, for the one lookup that a request makes.
    open: SlotSet,
    /// The highest epoch seen.
    pub current_epoch: Epoch,
    /// The last epoch in which we voted.
    pub last_vote_epoch: Epoch,
    /// Whether the cluster is up.
    pub state_ok: bool,
}

impl View {
    /// The view of a node that knows only itself.
    pub fn new(myself: Node) -> Self {
        let mut nodes = BTreeMap::new();
        let keys = BTreeMap::from([(myself.id, NodeKey::MYSELF)]);
        nodes.insert(NodeKey::MYSELF, myself);
        Self {
            nodes,
            keys,
            next_key: NonZeroU32::MIN.saturating_add(1),
            owners: vec![None; Slot::COUNT].into_boxed_slice(),
            unclaimed: SlotSet::new(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            open: SlotSet::new(),
            current_epoch: Epoch::ZERO,
            last_vote_epoch: Epoch::ZERO,
            state_ok: false,
        }
    }

    /// The view that was saved.
    pub fn restore(durable: &Durable, now: Now) -> Self {
        let node = |record: &NodeRecord| {
            let address = Address {
                ip: record.ip,
                port: record.port,
                secondary_port: 0,
                bus_port: record.bus_port,
            };
            let mut node = Node::new(record.id, address, record.flags, now);
            node.hostname.clone_from(&record.hostname);
            node.shard_id = record.shard_id;
            // The text has a replica's primary's. Its own it tells when it is a primary, and then it
            // may be a lower one: a replica that was cut off can have won an older election.
            node.config_epoch =
                if record.primary.is_some() { Epoch::ZERO } else { record.config_epoch };
            // Whether others are alive is to be found out, from scratch, as of now.
            node.ping_sent = (record.ping_sent_ms > 0).then_some(now);
            node.pong_received = (record.pong_received_ms > 0).then_some(now);
            node.failed_at = record.flags.any(NodeFlags::FAIL).then_some(now);
            node
        };
        let mut view = Self::new(node(durable.myself()));
        for record in durable.nodes.iter().filter(|record| record.id != durable.myself().id) {
            view.insert(node(record));
        }
        for record in &durable.nodes {
            let key = view.keys[&record.id];
            let primary = record.primary.and_then(|id| view.key(&id));
            view.set_primary_of(key, primary);
            for slot in record.slots.iter() {
                view.assign(slot, Some(key));
            }
        }
        for open in &durable.myself().open_slots {
            if let Some(peer) = view.key(&open.peer) {
                view.set_open(open.slot, open.direction, Some(peer));
            }
        }
        view.current_epoch = durable.current_epoch;
        view.last_vote_epoch = durable.last_vote_epoch;
        view
    }

    /// This node.
    pub fn myself(&self) -> &Node {
        self.node(NodeKey::MYSELF)
    }

    /// This node.
    pub fn myself_mut(&mut self) -> &mut Node {
        self.node_mut(NodeKey::MYSELF)
    }

    /// A node that is known.
    ///
    /// # Panics
    /// When the key's node was removed: keys are not kept across a removal.
    pub fn node(&self, key: NodeKey) -> &Node {
        &self.nodes[&key]
    }

    /// A node that is known, to change it.
    ///
    /// # Panics
    /// As [`View::node`].
    pub fn node_mut(&mut self, key: NodeKey) -> &mut Node {
        self.nodes.get_mut(&key).expect("keys are not kept across a removal")
    }

    /// A node, if it is (still) known.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(&key)
    }

    /// A node, if it is (still) known, to change it.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        self.nodes.get_mut(&key)
    }

    /// The key of a node, by its id.
    pub fn key(&self, id: &NodeId) -> Option<NodeKey> {
        self.keys.get(id).copied()
    }

    /// A node, by its id.
    pub fn by_id(&self, id: &NodeId) -> Option<&Node> {
        self.key(id).map(|key| self.node(key))
    }

    /// Every node, in the order in which they became known; this one first.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes.iter().map(|(key, node)| (*key, node))
    }

    /// Every node but this one.
    pub fn others(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes().filter(|(key, _)| *key != NodeKey::MYSELF)
    }

    /// The keys of every node but this one: for loops that change nodes.
    pub fn other_keys(&self) -> Vec<NodeKey> {
        self.others().map(|(key, _)| key).collect()
    }

    /// How many nodes are known, this one and those in handshake included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a view has its own node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The replicas of a primary.
    pub fn replicas_of(&self, primary: NodeKey) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes().filter(move |(_, node)| node.primary == Some(primary))
    }

    /// Adds a node whose id is not known yet.
    pub fn insert(&mut self, node: Node) -> NodeKey {
        let key = NodeKey(self.next_key);
        self.next_key = self.next_key.checked_add(1).expect("four thousand million nodes");
        let doubled = self.keys.insert(node.id, key);
        assert!(doubled.is_none(), "two nodes of one name");
        self.nodes.insert(key, node);
        key
    }

    /// Gives a node another id: its handshake's end, or our own RESET HARD.
    pub fn rename(&mut self, key: NodeKey, id: NodeId) {
        let node = self.nodes.get_mut(&key).expect("keys are not kept across a removal");
        self.keys.remove(&node.id);
        node.id = id;
        let doubled = self.keys.insert(id, key);
        assert!(doubled.is_none(), "two nodes of one name");
    }

    /// Forgets a node, its slots and whatever was said about it or by it.
    pub fn remove(&mut self, key: NodeKey) -> Node {
        assert_ne!(key, NodeKey::MYSELF, "a node cannot forget itself");
        self.unassign_all(key);
        for moving in [&mut self.migrating, &mut self.importing] {
            moving.retain(|_, peer| *peer != key);
        }
        self.open = self.migrating.keys().chain(self.importing.keys()).copied().collect();
        let node = self.nodes.remove(&key).expect("keys are not kept across a removal");
        self.keys.remove(&node.id);
        for other in self.nodes.values_mut() {
            other.reports.remove(&key);
            if other.primary == Some(key) {
                other.primary = None;
            }
        }
        if let Some(primary) = node.primary {
            self.note_replicas(primary);
        }
        node
    }

    /// Notes whom a node copies; true if that is news. A primary that has replicas, or whose
    /// shard had some, is one that others may send a replica to ([`NodeFlags::MIGRATE_TO`]).
    pub fn set_primary_of(&mut self, key: NodeKey, primary: Option<NodeKey>) -> bool {
        let was = std::mem::replace(&mut self.node_mut(key).primary, primary);
        if was == primary {
            return false;
        }
        for changed in [was, primary].into_iter().flatten() {
            self.note_replicas(changed);
        }
        true
    }

    fn note_replicas(&mut self, primary: NodeKey) {
        let has_replicas = self.replicas_of(primary).next().is_some();
        let Some(node) = self.nodes.get_mut(&primary) else { return };
        if has_replicas {
            node.flags.insert(NodeFlags::MIGRATE_TO);
        } else {
            node.flags.remove(NodeFlags::MIGRATE_TO);
        }
    }

    /// The replicas of a primary that can be reached, as far as this node knows.
    pub fn working_replicas_of(&self, primary: NodeKey) -> impl Iterator<Item = (NodeKey, &Node)> {
        let gone = NodeFlags::FAIL.with(NodeFlags::NOADDR);
        self.replicas_of(primary).filter(move |(_, node)| !node.flags.any(gone))
    }

    /// Who owns a slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<NodeKey> {
        self.owners[slot.index()]
    }

    /// Gives a slot to a node, or to nobody; true if that changed its owner.
    pub fn assign(&mut self, slot: Slot, owner: Option<NodeKey>) -> bool {
        let was = std::mem::replace(&mut self.owners[slot.index()], owner);
        self.unclaimed.remove(slot);
        if was == owner {
            return false;
        }
        if let Some(was) = was {
            let node = self.node_mut(was);
            node.slots.remove(slot);
            node.slot_count -= 1;
        }
        if let Some(owner) = owner {
            let node = self.node_mut(owner);
            node.slots.insert(slot);
            node.slot_count += 1;
        }
        true
    }

    /// Notes whether the owner of a slot still claims it.
    pub fn set_claimed(&mut self, slot: Slot, claimed: bool) {
        if claimed {
            self.unclaimed.remove(slot);
        } else {
            self.unclaimed.insert(slot);
        }
    }

    /// Whether there are slots whose owner does not claim them.
    pub fn has_unclaimed(&self) -> bool {
        !self.unclaimed.is_empty()
    }

    /// Whether a slot has an owner, and one that claims it.
    pub fn is_claimed(&self, slot: Slot) -> bool {
        self.owner(slot).is_some() && !self.unclaimed.contains(slot)
    }

    /// Takes every slot from a node; true if it had any.
    pub fn unassign_all(&mut self, key: NodeKey) -> bool {
        let slots: Vec<Slot> = self.node(key).slots.iter().collect();
        for &slot in &slots {
            self.assign(slot, None);
        }
        !slots.is_empty()
    }

    /// Whether a slot is on its way to or from this node.
    #[inline]
    pub fn is_open(&self, slot: Slot) -> bool {
        self.open.contains(slot)
    }

    /// The node that a slot is moving to, if it is.
    pub fn migrating_to(&self, slot: Slot) -> Option<&Node> {
        self.migrating.get(&slot).map(|key| self.node(*key))
    }

    /// The node that a slot is coming from, if it is.
    pub fn importing_from(&self, slot: Slot) -> Option<&Node> {
        self.importing.get(&slot).map(|key| self.node(*key))
    }

    /// Opens a slot towards a node, or closes it that way; true if it was open that way before.
    pub fn set_open(&mut self, slot: Slot, direction: Move, peer: Option<NodeKey>) -> bool {
        let moving = match direction {
            Move::MigratingTo => &mut self.migrating,
            Move::ImportingFrom => &mut self.importing,
        };
        let was = match peer {
            Some(peer) => moving.insert(slot, peer),
            None => moving.remove(&slot),
        };
        if self.migrating.contains_key(&slot) || self.importing.contains_key(&slot) {
            self.open.insert(slot);
        } else {
            self.open.remove(slot);
        }
        was.is_some()
    }

    /// Closes every open slot.
    pub fn close_all_slots(&mut self) {
        self.migrating.clear();
        self.importing.clear();
        self.open = SlotSet::new();
    }

    /// The node whose slots and epoch this one speaks for: its primary, or itself.
    pub fn own_shard(&self) -> &Node {
        self.myself().primary.map_or_else(|| self.myself(), |primary| self.node(primary))
    }

    /// The header of whatever this node sends.
    pub fn header(&self) -> Header {
        let myself = self.myself();
        let shard = self.own_shard();
        let replica_of = myself.primary.map(|primary| self.node(primary).id);
        Header {
            sender: myself.id,
            current_epoch: self.current_epoch,
            config_epoch: shard.config_epoch,
            offset: myself.offset,
            slots: shard.slots.clone(),
            replica_of,
            ip: None,
            port: myself.address.port,
            secondary_port: myself.address.secondary_port,
            bus_port: myself.address.bus_port,
            flags: myself.flags,
            state_ok: self.state_ok,
            paused: false,
            force_ack: false,
            extensions: true,
        }
    }

    /// What CLUSTER NODES says of a node.
    pub fn record(&self, key: NodeKey) -> NodeRecord {
        let node = self.node(key);
        let millis = |time: Option<Now>| time.map_or(0, |time| time.unix_ms);
        let primary = node.primary.and_then(|primary| self.get(primary));
        let mut open_slots = Vec::new();
        if key == NodeKey::MYSELF {
            let of = |moving: &BTreeMap<Slot, NodeKey>, direction| -> Vec<OpenSlot> {
                let open = |(slot, peer): (&Slot, &NodeKey)| OpenSlot {
                    slot: *slot,
                    direction,
                    peer: self.node(*peer).id,
                };
                moving.iter().map(open).collect()
            };
            open_slots.extend(of(&self.migrating, Move::MigratingTo));
            open_slots.extend(of(&self.importing, Move::ImportingFrom));
            open_slots.sort_by_key(|open| (open.slot, open.direction));
        }
        NodeRecord {
            id: node.id,
            ip: node.address.ip,
            port: node.address.port,
            bus_port: node.address.bus_port,
            tls_port: node.address.secondary_port,
            hostname: node.hostname.clone(),
            shard_id: node.shard_id,
            flags: node.flags,
            primary: primary.map(|primary| primary.id),
            ping_sent_ms: millis(node.ping_sent),
            pong_received_ms: millis(node.pong_received),
            config_epoch: primary.unwrap_or(node).config_epoch,
            connected: key == NodeKey::MYSELF || node.outbound.is_some(),
            slots: node.slots.clone(),
            open_slots,
            offset: node.offset,
        }
    }

    /// What CLUSTER NODES says, in order of ids.
    pub fn records(&self) -> Vec<NodeRecord> {
        self.keys.values().map(|key| self.record(*key)).collect()
    }

    /// What must survive a restart. Nodes whose handshake is not done are none of it.
    pub fn durable(&self) -> Durable {
        let known = |record: &NodeRecord| !record.flags.any(NodeFlags::HANDSHAKE);
        Durable {
            nodes: self.records().into_iter().filter(known).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
        }
    }
}
