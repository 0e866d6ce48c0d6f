//! What walks over all keys must know of the cluster's changes, and when a walk is over.
//!
//! A walk goes in rounds. The first visits every node that owns slots; a key that stays on its node
//! all the while is found there. A key whose slot changes its owner, or is open to another node,
//! may leave a node before it is visited for one that was visited already. So every slot has the
//! stamp of its last change, a round knows when it began, and at its end the nodes are asked what
//! has changed. Who owns a slot that changed since then is visited once more, in a round of its
//! own, until one ends in which nothing changed.
//!
//! A slot that stays open must not keep a walk going for ever. Its keys travel one way, so once
//! its source was visited, a visit of its target finds all that had left in time.
//!
//! A target may own no slot yet. A round that visits it names it by a slot that is open to it, which
//! then names nobody else.
//!
//! The time is kept in units long enough to fit a cursor. Changes and rounds within one unit are
//! told apart by letting the clock run ahead of the time, but not far.

use crate::cluster::{Endpoint, NodeId, NodeIndex, Slot, Topology};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds of a unit.
const UNIT: u64 = 32;

/// What the beginnings of rounds are told apart by, in units, which is nine hours. A round that
/// lasts longer than that, less what the clock may be ahead, may not see a change at its beginning.
pub(super) const HORIZON: u64 = 1023;

/// How far the clock may run ahead of the time, in units. Where it may not go further, rounds are
/// repeated until time has passed.
const AHEAD_MAX: u64 = 256;

/// Rounds after the first that are remembered. One that is forgotten visits every node.
const ROUNDS_MAX: usize = 256;

/// The unit that a time is in.
pub(super) fn unit(unix_us: u64) -> u64 {
    unix_us / 1_000_000 / UNIT
}

/// When each slot last changed.
#[derive(Debug)]
pub(super) struct Changes {
    clock: u64,
    /// The last stamp given.
    latest: u64,
    stamps: Vec<u64>,
    open: BTreeMap<Slot, Open>,
    /// Slots that went to someone whom the map does not know as their owner.
    unheard: BTreeSet<Slot>,
    /// The rounds after the first of all walks, by when they began.
    rounds: BTreeMap<u64, Round>,
}

/// A slot on its way, as the last survey saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    from: NodeId,
    to: NodeId,
    since: u64,
}

/// Whom a round visits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Round {
    /// Owners of slots that changed.
    sources: BTreeSet<Endpoint>,
    /// Where keys of open slots go whose sources were visited in the round before.
    targets: BTreeSet<Endpoint>,
    /// Until it is known who has a slot: it may visit nobody.
    waits: bool,
}

/// A round of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Began {
    /// When, by the clock of [`Changes`].
    pub at: u64,
    /// Whether it follows another.
    pub again: bool,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            clock: 0,
            latest: 0,
            stamps: vec![0; Slot::COUNT],
            open: BTreeMap::new(),
            unheard: BTreeSet::new(),
            rounds: BTreeMap::new(),
        }
    }
}

impl Changes {
    /// It is this unit now. What happened before the first call counts as of then, since a cursor
    /// that another process gave may be older.
    pub(super) fn tick(&mut self, unit: u64) {
        if self.clock == 0 {
            self.stamps.fill(unit);
            self.latest = unit;
        }
        self.clock = self.clock.max(unit);
    }

    /// A slot has another owner, or its owner may have lost its memory.
    pub(super) fn changed(&mut self, slot: Slot) {
        self.stamps[slot.index()] = self.clock;
        self.latest = self.clock;
    }

    /// Every slot of a node may have changed.
    pub(super) fn node_changed(&mut self, topology: &Topology, node: &Endpoint) {
        let Some(node) = topology.find(node) else { return };
        for slot in Slot::all().filter(|&slot| topology.owner(slot) == Some(node)) {
            self.changed(slot);
        }
        // It may be visited by these.
        let id = topology.node(node).id;
        let open = self.open.iter().filter(|(_, open)| Some(open.to) == id);
        let slots: Vec<Slot> = open.map(|(slot, _)| *slot).collect();
        slots.into_iter().for_each(|slot| self.changed(slot));
    }

    /// The slots that are open, with their sources and targets, as all nodes have told.
    pub(super) fn set_open(&mut self, seen: &BTreeMap<Slot, (NodeId, NodeId)>) {
        let old = std::mem::take(&mut self.open);
        for (&slot, &(from, to)) in seen {
            let known = old.get(&slot).filter(|open| (open.from, open.to) == (from, to));
            if known.is_none() && old.contains_key(&slot) {
                self.changed(slot);
            }
            let since = known.map_or(self.clock, |open| open.since);
            self.latest = self.latest.max(since);
            self.open.insert(slot, Open { from, to, since });
        }
        for slot in old.into_keys().filter(|slot| !seen.contains_key(slot)) {
            // Given up, perhaps: then keys may have come back.
            self.changed(slot);
        }
    }

    /// Some slots went to someone whom the map does not know as their owner, and who was not asked.
    pub(super) fn set_unheard(&mut self, slots: BTreeSet<Slot>) {
        slots.iter().for_each(|slot| self.changed(*slot));
        self.unheard = slots;
    }

    /// A walk begins.
    pub(super) fn begin(&mut self, unit: u64) -> Began {
        if self.latest == self.clock {
            self.go_ahead(unit);
        }
        Began { at: self.clock, again: false }
    }

    fn go_ahead(&mut self, unit: u64) {
        if self.clock < unit + AHEAD_MAX {
            self.clock += 1;
        }
    }

    /// Whether any slot has changed since a round began.
    pub(super) fn changed_since(&self, began: Began) -> bool {
        self.latest >= began.at
    }

    /// The beginning that a cursor names, which has its remainder only: the latest that can be.
    pub(super) fn began(&self, remainder: u64, again: bool) -> Began {
        let back = (self.clock + HORIZON - remainder % HORIZON) % HORIZON;
        Began { at: self.clock.saturating_sub(back), again }
    }

    /// The nodes that a round visits, each named by its highest slot that has not changed since the
    /// round began, in descending order. A node can only sink in this order, so none is passed over
    /// but those that have gained slots, which are due for another round.
    pub(super) fn stops(&self, topology: &Topology, began: Began) -> Vec<Slot> {
        let round = self.round(began);
        let mut seen = vec![false; topology.nodes().len()];
        let mut stops = Vec::new();
        for slot in Slot::all().rev().filter(|slot| self.stamps[slot.index()] < began.at) {
            let visited = match self.target(topology, began, slot) {
                Some(target) if owns_nothing(topology, target) => target,
                Some(_) => continue,
                None => {
                    let Some(owner) = topology.owner(slot) else { continue };
                    owner
                }
            };
            if !std::mem::replace(&mut seen[visited.index()], true) {
                let node = &topology.node(visited).endpoint;
                if round.is_none_or(|round| round.visits(node)) {
                    stops.push(slot);
                }
            }
        }
        stops
    }

    /// The node without slots that this one names in a round.
    pub(super) fn guest(&self, topology: &Topology, began: Began, slot: Slot) -> Option<Endpoint> {
        let target = self.target(topology, began, slot)?;
        owns_nothing(topology, target).then(|| topology.node(target).endpoint.clone())
    }

    /// Where the keys of a slot go, if the round visits that node for it. The slot names no other node in that
    /// round then, whatever the target owns: what it names must not change under a cursor.
    fn target(&self, topology: &Topology, began: Began, slot: Slot) -> Option<NodeIndex> {
        let round = self.round(began).filter(|round| !round.targets.is_empty())?;
        let open = self.open.get(&slot).filter(|open| open.since < began.at)?;
        let mut nodes = topology.nodes();
        let (target, node) = nodes.find(|(_, node)| node.id == Some(open.to))?;
        let visited = round.targets.contains(&node.endpoint);
        (visited && self.stamps[slot.index()] < began.at).then_some(target)
    }

    /// Whom a round visits; none for everyone.
    fn round(&self, began: Began) -> Option<&Round> {
        self.rounds.get(&began.at).filter(|_| began.again)
    }

    /// A round has visited all its nodes, and every node was asked what has changed: the round
    /// that must follow, if one must.
    pub(super) fn next_round(
        &mut self,
        topology: &Topology,
        began: Began,
        unit: u64,
    ) -> Option<Began> {
        let mut next = Round::default();
        for slot in Slot::all().filter(|slot| self.stamps[slot.index()] >= began.at) {
            if let Some(owner) = topology.owner(slot) {
                let node = &topology.node(owner).endpoint;
                if !next.sources.contains(node) {
                    next.sources.insert(node.clone());
                }
            }
        }
        next.waits = !self.unheard.is_empty();
        let stops = self.stops(topology, began);
        // Where every slot of a node names another, the node was not visited.
        let left_out = |node: &Endpoint| {
            let index = topology.find(node);
            let named = |slot: &Slot| {
                self.target(topology, began, *slot).is_none() && topology.owner(*slot) == index
            };
            self.round(began).is_some_and(|round| round.visits(node) && !round.targets.is_empty())
                && index.is_some_and(|index| !owns_nothing(topology, index))
                && !stops.iter().any(named)
        };
        let endpoint = |id: NodeId| {
            let mut nodes = topology.nodes();
            nodes.find(|(_, node)| node.id == Some(id)).map(|(_, node)| node.endpoint.clone())
        };
        for open in self.open.values() {
            let Some(from) = endpoint(open.from) else { continue };
            if open.since >= began.at || left_out(&from) {
                next.sources.insert(from);
            } else if self.round(began).is_none_or(|round| round.sources.contains(&from)) {
                next.targets.extend(endpoint(open.to));
            }
        }
        if next == Round::default() {
            return None;
        }
        if self.latest == self.clock || self.rounds.get(&self.clock).is_some_and(|r| *r != next) {
            self.go_ahead(unit);
        }
        let round = self.rounds.entry(self.clock).or_default();
        round.sources.append(&mut next.sources);
        round.targets.append(&mut next.targets);
        round.waits |= next.waits;
        while self.rounds.len() > ROUNDS_MAX {
            self.rounds.pop_first();
        }
        Some(Began { at: self.clock, again: true })
    }
}

impl Round {
    fn visits(&self, node: &Endpoint) -> bool {
        self.sources.contains(node) || self.targets.contains(node)
    }
}

fn owns_nothing(topology: &Topology, node: NodeIndex) -> bool {
    Slot::all().all(|slot| topology.owner(slot) != Some(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Epoch, TopologyNode};

    const NOW: u64 = 50_000_000;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("in range")
    }

    fn id(port: u16) -> NodeId {
        NodeId::parse(format!("{port:040x}").as_bytes()).expect("valid")
    }

    fn at(port: u16) -> Endpoint {
        Endpoint::new("127.0.0.1", port)
    }

    /// Nodes 1 to 3 with slots 0 to 9, 10 to 19 and 20 to 29.
    fn start() -> (Topology, Changes) {
        let node = |port| TopologyNode {
            endpoint: at(port),
            id: Some(id(port)),
            primary: true,
            config_epoch: Epoch::ZERO,
        };
        let topology = Topology::new((1..=3).map(node).collect(), 0);
        for number in 0..30 {
            topology.set_owner(slot(number), topology.find(&at(number / 10 + 1)));
        }
        let mut changes = Changes::default();
        changes.tick(NOW);
        (topology, changes)
    }

    fn stops(topology: &Topology, changes: &Changes, began: Began) -> Vec<u16> {
        changes.stops(topology, began).into_iter().map(Slot::number).collect()
    }

    fn give(topology: &Topology, changes: &mut Changes, number: u16, to: u16) {
        topology.set_owner(slot(number), topology.find(&at(to)));
        changes.changed(slot(number));
    }

    #[test]
    fn a_walk_over_a_cluster_at_rest_is_one_round() {
        let (topology, mut changes) = start();
        for _ in 0..3 {
            let began = changes.begin(NOW);
            assert_eq!(stops(&topology, &changes, began), [29, 19, 9]);
            assert_eq!(changes.next_round(&topology, began, NOW), None);
        }
        assert_eq!(changes.clock, NOW + 1, "the clock does not run ahead for nothing");
    }

    #[test]
    fn whoever_owns_a_slot_that_moved_is_visited_again_and_nobody_else() {
        let (topology, mut changes) = start();
        let first = changes.begin(NOW);
        give(&topology, &mut changes, 29, 1);
        assert_eq!(stops(&topology, &changes, first), [28, 19, 9], "node 1 keeps its place");
        let second = changes.next_round(&topology, first, NOW).expect("node 1 has gained");
        assert_eq!(stops(&topology, &changes, second), [29]);
        give(&topology, &mut changes, 10, 3);
        let third = changes.next_round(&topology, second, NOW).expect("node 3 has gained");
        assert_eq!(stops(&topology, &changes, third), [28]);
        assert_eq!(changes.next_round(&topology, third, NOW), None);
        // Another walk sees none of it.
        let began = changes.begin(NOW);
        assert_eq!(stops(&topology, &changes, began), [29, 28, 19]);
        assert_eq!(changes.next_round(&topology, began, NOW), None);
    }

    #[test]
    fn a_node_that_was_lost_is_visited_again() {
        let (topology, mut changes) = start();
        let first = changes.begin(NOW);
        changes.node_changed(&topology, &at(2));
        assert_eq!(stops(&topology, &changes, first), [29, 9]);
        let second = changes.next_round(&topology, first, NOW).expect("node 2 was not visited");
        assert_eq!(stops(&topology, &changes, second), [19]);
        assert_eq!(changes.next_round(&topology, second, NOW), None);
    }

    #[test]
    fn a_slot_that_stays_open_costs_a_visit_of_its_target_and_no_more() {
        let (topology, mut changes) = start();
        let first = changes.begin(NOW);
        // Two that cross each other.
        let open = BTreeMap::from([(slot(5), (id(1), id(3))), (slot(25), (id(3), id(1)))]);
        changes.set_open(&open);
        let second = changes.next_round(&topology, first, NOW).expect("keys may have left");
        assert_eq!(stops(&topology, &changes, second), [29, 9], "the sources");
        changes.set_open(&open);
        let third = changes.next_round(&topology, second, NOW).expect("keys may have arrived");
        assert_eq!(stops(&topology, &changes, third), [29, 9], "the targets");
        changes.set_open(&open);
        assert_eq!(changes.next_round(&topology, third, NOW), None);
        // It is given up: keys may have come back to the source.
        let began = changes.begin(NOW);
        changes.set_open(&BTreeMap::new());
        let next = changes.next_round(&topology, began, NOW).expect("the owners again");
        assert_eq!(stops(&topology, &changes, next), [29, 9]);
        assert_eq!(changes.next_round(&topology, next, NOW), None);
    }

    #[test]
    fn a_target_that_owns_nothing_yet_is_visited_by_a_slot_that_is_open_to_it() {
        let (topology, mut changes) = start();
        for number in 20..30 {
            topology.set_owner(slot(number), topology.find(&at(2)));
        }
        let first = changes.begin(NOW);
        changes.set_open(&BTreeMap::from([(slot(9), (id(1), id(3)))]));
        let second = changes.next_round(&topology, first, NOW).expect("keys may have left");
        assert_eq!(stops(&topology, &changes, second), [9], "the source");
        let third = changes.next_round(&topology, second, NOW).expect("keys may have arrived");
        assert_eq!(stops(&topology, &changes, third), [9], "the target");
        assert_eq!(changes.guest(&topology, third, slot(9)), Some(at(3)));
        assert_eq!(changes.guest(&topology, second, slot(9)), None);
        assert_eq!(changes.next_round(&topology, third, NOW), None);
        // It comes to own the slot: who is in the middle of it begins again.
        give(&topology, &mut changes, 9, 3);
        assert!(stops(&topology, &changes, third).is_empty());
        let fourth = changes.next_round(&topology, third, NOW).expect("node 3 has gained");
        assert_eq!(stops(&topology, &changes, fourth), [9]);
        assert_eq!(changes.guest(&topology, fourth, slot(9)), None, "it is its own");
    }

    #[test]
    fn a_walk_waits_until_it_is_known_who_has_a_slot() {
        let (topology, mut changes) = start();
        topology.set_owner(slot(5), None);
        let first = changes.begin(NOW);
        changes.set_unheard(BTreeSet::from([slot(5)]));
        let second = changes.next_round(&topology, first, NOW).expect("somebody has it");
        assert!(stops(&topology, &changes, second).is_empty(), "there is nobody to visit");
        changes.set_unheard(BTreeSet::new());
        assert_eq!(changes.next_round(&topology, second, NOW), None);
    }

    #[test]
    fn a_round_that_nobody_remembers_visits_everyone() {
        let (topology, mut changes) = start();
        changes.begin(NOW);
        let began = Began { at: NOW + 1, again: true };
        assert_eq!(stops(&topology, &changes, began), [29, 19, 9]);
        // A cursor older than the process: everything may have changed since.
        let old = changes.began((NOW - 5) % HORIZON, false);
        assert_eq!(old.at, NOW - 5);
        assert!(stops(&topology, &changes, old).is_empty());
        let next = changes.next_round(&topology, old, NOW).expect("all of it");
        assert_eq!(stops(&topology, &changes, next), [29, 19, 9]);
        assert_eq!(changes.next_round(&topology, next, NOW), None);
    }

    #[test]
    fn the_clock_and_the_rounds_are_bounded() {
        let (topology, mut changes) = start();
        for _ in 0..2 * AHEAD_MAX {
            let began = changes.begin(NOW);
            changes.changed(slot(3));
            assert!(changes.next_round(&topology, began, NOW).is_some());
        }
        assert_eq!(changes.clock, NOW + AHEAD_MAX);
        assert!(changes.rounds.len() <= ROUNDS_MAX);
        // Where it can go no further, time heals it.
        let began = changes.begin(NOW);
        assert!(changes.next_round(&topology, began, NOW).is_some());
        let began = changes.begin(NOW + 1);
        assert_eq!(changes.next_round(&topology, began, NOW + 1), None);
    }
}
