//! Which node owns which slot: the map that every request is routed by.
//!
//! The table of nodes never changes once it is published; the 16,384 indices into it are atomics.
//! So a MOVED to a node of the table stores one index, without a lock and without a copy, and
//! everything else swaps the whole map.

use super::{Endpoint, Epoch, NodeId, Slot};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// A place in a topology's table of nodes. Means nothing in another topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(u16);

impl NodeIndex {
    /// As an index into a table kept beside the topology's.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One node of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyNode {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Its id; none for a node known from a redirect alone.
    pub id: Option<NodeId>,
    /// Whether it is a primary, as far as is known.
    pub primary: bool,
    /// The version of its claim to slots.
    pub config_epoch: Epoch,
}

impl TopologyNode {
    /// Whether it makes no difference to where a command goes: all but the epoch is the same.
    pub fn leads_as(&self, other: &Self) -> bool {
        (&self.endpoint, self.id, self.primary) == (&other.endpoint, other.id, other.primary)
    }
}

/// Slot → node.
#[derive(Debug)]
pub struct Topology {
    nodes: Vec<TopologyNode>,
    owners: Box<[AtomicU16]>,
    generation: AtomicU64,
}

/// The index that no node has.
const NONE: u16 = u16::MAX;

/// How many nodes a topology may have: far above what gossip can carry.
pub const NODES_MAX: usize = 16_384;

impl Topology {
    /// A map in which nothing is known.
    pub fn empty() -> Self {
        Self::new(Vec::new(), 0)
    }

    /// A map of these nodes (at most [`NODES_MAX`]) in which no slot has an owner yet.
    pub fn new(nodes: Vec<TopologyNode>, generation: u64) -> Self {
        assert!(nodes.len() <= NODES_MAX, "a topology has at most {NODES_MAX} nodes");
        let owners = (0..Slot::COUNT).map(|_| AtomicU16::new(NONE)).collect();
        Self { nodes, owners, generation: AtomicU64::new(generation) }
    }

    /// The same table as another generation.
    pub fn of_generation(self, generation: u64) -> Self {
        Self { generation: AtomicU64::new(generation), ..self }
    }

    /// Counts every change of the map up, over all topologies of a process.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The owner of a slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        let index = self.owners[slot.index()].load(Ordering::Relaxed);
        (index != NONE).then_some(NodeIndex(index))
    }

    /// Gives a slot another owner. True if that is a change.
    pub fn set_owner(&self, slot: Slot, owner: Option<NodeIndex>) -> bool {
        let index = owner.map_or(NONE, |node| node.0);
        debug_assert!(index == NONE || usize::from(index) < self.nodes.len());
        let changed = self.owners[slot.index()].swap(index, Ordering::Relaxed) != index;
        if changed {
            self.generation.fetch_add(1, Ordering::Release);
        }
        changed
    }

    /// A node of the table.
    pub fn node(&self, index: NodeIndex) -> &TopologyNode {
        &self.nodes[index.index()]
    }

    /// The node that clients reach at this endpoint.
    pub fn find(&self, endpoint: &Endpoint) -> Option<NodeIndex> {
        let at = self.nodes.iter().position(|node| node.endpoint == *endpoint)?;
        Some(NodeIndex(at as u16))
    }

    /// The nodes, in the order of their indices.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeIndex, &TopologyNode)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeIndex(i as u16), node))
    }

    /// Every node that owns slots, with the lowest of them, in the order of that slot. The lowest
    /// slot names a shard without naming a node, so it stays right across a failover.
    pub fn shards(&self) -> Vec<(Slot, NodeIndex)> {
        let mut seen = vec![false; self.nodes.len()];
        let mut shards = Vec::new();
        for slot in Slot::all() {
            if let Some(owner) = self.owner(slot)
                && !std::mem::replace(&mut seen[owner.index()], true)
            {
                shards.push((slot, owner));
            }
        }
        shards
    }

    /// How many slots have an owner.
    pub fn slots_covered(&self) -> usize {
        Slot::all().filter(|&slot| self.owner(slot).is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> TopologyNode {
        TopologyNode {
            endpoint: Endpoint::new("127.0.0.1", port),
            id: None,
            primary: true,
            config_epoch: Epoch::ZERO,
        }
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("in range")
    }

    #[test]
    fn a_redirect_changes_one_slot_and_counts_the_generation_up() {
        let map = Topology::new(vec![node(1), node(2)], 7);
        let second = map.find(&Endpoint::new("127.0.0.1", 2)).expect("known");
        assert_eq!(map.owner(slot(5)), None);
        assert!(map.set_owner(slot(5), Some(second)));
        assert_eq!((map.owner(slot(5)), map.generation()), (Some(second), 8));
        assert!(!map.set_owner(slot(5), Some(second)), "the same again is no change");
        assert_eq!((map.generation(), map.slots_covered()), (8, 1));
    }

    #[test]
    fn a_shard_is_named_by_its_lowest_slot() {
        let map = Topology::new(vec![node(1), node(2), node(3)], 0);
        let at = |port| map.find(&Endpoint::new("127.0.0.1", port));
        for (number, port) in [(9, 1), (3, 2), (4, 1), (16_000, 2)] {
            map.set_owner(slot(number), at(port));
        }
        let shards: Vec<(u16, usize)> =
            map.shards().iter().map(|(s, n)| (s.number(), n.index())).collect();
        assert_eq!(shards, [(3, 1), (4, 0)]);
    }
}
