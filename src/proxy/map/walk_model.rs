//! A walk over all keys of a model of a cluster, in which slots move at any step, nodes hear of it late,
//! and the map later still: every key that is there all the while is given at least once.

use super::ClusterMap;
use crate::cluster::{Endpoint, Epoch, NodeId, Slot, SlotSet, View, ViewNode};
use crate::proxy::cursor::{Cursor, Position};
use crate::proxy::walks::Began;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NODES: usize = 4;
/// Those that own slots at the beginning; the others are new.
const OWNERS: usize = 3;
const SLOTS: u16 = 24;
/// Keys of a slot.
const KEYS: u16 = 2;
/// Pages of a node's own SCAN.
const BUCKETS: u64 = 3;
const NOW: u64 = 50_000_000;
/// More requests than a walk needs of which everything that is going to move has moved.
const REQUESTS_MAX: usize = 2_000;

type Key = (u16, u16);

struct Node {
    /// What it says of itself.
    own: ViewNode,
    keys: BTreeSet<Key>,
    /// What it has heard of each node, itself among them.
    heard: Vec<ViewNode>,
}

struct Model {
    nodes: Vec<Node>,
    map: ClusterMap,
    now: Instant,
    random: SmallRng,
    /// Changes that are still to come.
    changes_left: u32,
    log: Vec<String>,
}

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("in range")
}

fn at(node: usize) -> Endpoint {
    Endpoint::new("n", 7000 + node as u16)
}

impl Model {
    #[allow(clippy::disallowed_methods, reason = "tests need some start")]
    fn new(seed: u64) -> Self {
        let own = |node: usize| {
            let mut slots = SlotSet::new();
            (0..SLOTS)
                .filter(|s| usize::from(*s) % OWNERS == node)
                .for_each(|s| _ = slots.insert(slot(s)));
            ViewNode {
                id: NodeId::parse(format!("{node:040x}").as_bytes()).expect("valid"),
                endpoint: at(node),
                myself: false,
                replica_of: None,
                primary: true,
                failed: false,
                suspected: false,
                unusable: false,
                config_epoch: Epoch(node as u64 + 1),
                connected: true,
                slots,
                migrating: Vec::new(),
                importing: Vec::new(),
            }
        };
        let all: Vec<ViewNode> = (0..NODES).map(own).collect();
        let keys = |node: &ViewNode| {
            let of_slot = |s: Slot| (0..KEYS).map(move |key| (s.number(), key));
            node.slots.iter().flat_map(of_slot).collect()
        };
        let nodes = all
            .iter()
            .map(|own| Node { own: own.clone(), keys: keys(own), heard: all.clone() })
            .collect();
        let mut random = SmallRng::seed_from_u64(seed);
        let changes_left = random.random_range(2..20);
        let (now, log) = (Instant::now(), Vec::new());
        let mut model = Self { nodes, map: ClusterMap::default(), now, random, changes_left, log };
        model.map.changes().tick(NOW);
        model.read(0);
        model
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.random.random_range(0..many) == 0
    }

    fn node(&mut self) -> usize {
        self.random.random_range(0..NODES)
    }

    /// The map is read from a node.
    fn read(&mut self, from: usize) {
        self.now += Duration::from_millis(100);
        let mut nodes = self.nodes[from].heard.clone();
        nodes[from] = ViewNode { myself: true, ..self.nodes[from].own.clone() };
        let told = self.map.publish(&View { nodes }, &at(from), self.now, self.now);
        self.log.push(format!("read from {from}: {told:?}"));
    }

    fn top_epoch(&self) -> u64 {
        self.nodes.iter().map(|node| node.own.config_epoch.0).max().expect("there are nodes")
    }

    /// Any of what can happen in a cluster and around it, or nothing.
    fn happens(&mut self) {
        for _ in 0..self.random.random_range(0..4) {
            let (one, other) = (self.node(), self.node());
            match self.random.random_range(0..10) {
                0 | 1 => self.open(one, other),
                2..=4 => self.move_key(one),
                5 => self.close(one),
                6 => {
                    // By gossip. Who comes to own a slot tells it for itself; nobody else's claims count.
                    let own = self.nodes[one].own.clone();
                    self.nodes[other].heard[one] = own;
                }
                7 => self.redirect(one),
                8 => self.read(one),
                _ if self.changes_left > 0 => {
                    self.changes_left -= 1;
                    self.map.count_loss(&at(one));
                }
                _ => {}
            }
        }
    }

    fn open(&mut self, from: usize, to: usize) {
        let own = &self.nodes[from].own;
        if from == to || self.changes_left == 0 || own.slots.len() < 3 {
            return;
        }
        let number = self.random.random_range(0..own.slots.len());
        let moving = own.slots.iter().nth(number).expect("in range");
        if own.migrating.iter().any(|(slot, _)| *slot == moving) {
            return;
        }
        self.changes_left -= 1;
        self.log.push(format!("{} goes from {from} to {to}", moving.number()));
        let (source, target) = (self.nodes[from].own.id, self.nodes[to].own.id);
        self.nodes[to].own.importing.push((moving, source));
        self.nodes[from].own.migrating.push((moving, target));
    }

    /// The first slot that leaves a node, and where it goes.
    fn first_open(&self, from: usize) -> Option<(Slot, usize)> {
        let (moving, target) = *self.nodes[from].own.migrating.first()?;
        let to = self.nodes.iter().position(|node| node.own.id == target).expect("one of them");
        Some((moving, to))
    }

    fn move_key(&mut self, from: usize) {
        let Some((moving, to)) = self.first_open(from) else { return };
        let key = self.nodes[from].keys.iter().copied().find(|key| key.0 == moving.number());
        if let Some(key) = key {
            self.nodes[from].keys.remove(&key);
            self.nodes[to].keys.insert(key);
        }
    }

    /// The first open slot changes its owner; its keys go first. Mostly with a higher epoch, but not
    /// where a late claim has ended the import.
    fn close(&mut self, from: usize) {
        let Some((moving, to)) = self.first_open(from) else { return };
        while self.nodes[from].keys.iter().any(|key| key.0 == moving.number()) {
            self.move_key(from);
        }
        let top = self.top_epoch();
        let bumps = !self.one_in(4) && self.nodes[to].own.config_epoch.0 != top;
        let target = &mut self.nodes[to].own;
        target.slots.insert(moving);
        target.importing.retain(|(slot, _)| *slot != moving);
        if bumps {
            target.config_epoch = Epoch(top + 1);
        }
        let source = &mut self.nodes[from].own;
        source.slots.remove(moving);
        source.migrating.retain(|(slot, _)| *slot != moving);
        self.log.push(format!("{} is at {to} (a higher epoch: {bumps})", moving.number()));
    }

    /// A client's command finds a slot's owner.
    fn redirect(&mut self, from: usize) {
        let number = self.random.random_range(0..SLOTS);
        let owner = self.nodes.iter().position(|node| node.own.slots.contains(slot(number)));
        let owner = owner.expect("every slot has one");
        if owner != from && self.map.learn(slot(number), &at(owner), self.now) {
            self.log.push(format!("MOVED {number} to {owner}"));
        }
    }

    /// The node that a page of this slot is asked of.
    fn route(&mut self, began: Began, slot: Slot) -> usize {
        loop {
            let topology = self.map.current().load();
            if let Some(guest) = self.map.changes().guest(&topology, began, slot) {
                return usize::from(guest.port - 7000);
            }
            if let Some(owner) = topology.owner(slot) {
                return usize::from(topology.node(owner).endpoint.port - 7000);
            }
            // Whoever told the map last had heard of one who gives it and not yet of one who has it. In
            // time all have heard of everything.
            let all: Vec<ViewNode> = self.nodes.iter().map(|node| node.own.clone()).collect();
            self.nodes.iter_mut().for_each(|node| node.heard.clone_from(&all));
            let from = self.node();
            self.read(from);
        }
    }

    /// A SCAN as [`super::super::core`] runs it. The keys, and the next cursor.
    fn scan(&mut self, cursor: u64) -> (Vec<Key>, u64) {
        let text = cursor.to_string();
        let cursor = Cursor::parse(text.as_bytes()).expect("ours");
        let began = match &cursor {
            Some(cursor) => self.map.changes().began(cursor.began, cursor.again),
            None => self.map.changes().begin(NOW),
        };
        let stops = |model: &Self| {
            let topology = model.map.current().load();
            model.map.changes().stops(&topology, began)
        };
        let mut position = Position::new(began, &stops(self), cursor.as_ref());
        let mut keys = Vec::new();
        let mut page = position.slot();
        while let Some(of) = page.take() {
            let mut asked = self.route(began, of);
            self.happens();
            if self.one_in(10) {
                // Its connection is lost, and the page goes to whom the map names then.
                self.map.count_loss(&at(asked));
                self.happens();
                asked = self.route(began, of);
            }
            let bucket = position.node_cursor();
            let held = self.nodes[asked].keys.iter();
            keys.extend(held.filter(|key| u64::from(key.0 + key.1) % BUCKETS == bucket));
            let next = (bucket + 1) % BUCKETS;
            self.log.push(format!("page {bucket} of slot {} from {asked}", of.number()));
            self.happens();
            if self.map.changes().changed_since(began) {
                position.visits_then(&stops(self));
            }
            position.answered(next.to_string().as_bytes()).expect("a cursor");
            self.happens();
            if let Some(next) = position.goes_to(keys.len() as u64) {
                page = Some(next);
                position.visits_then(&stops(self));
            }
        }
        if position.is_round_over() {
            // Owners alone, as the map knows them by now.
            let topology = self.map.current().load_full();
            for (_, owner) in topology.shards() {
                let node = usize::from(topology.node(owner).endpoint.port - 7000);
                self.happens();
                position.told.push(self.nodes[node].own.clone());
            }
            self.map.survey(&position.told, self.now);
            let topology = self.map.current().load();
            let next = self.map.changes().next_round(&topology, began, NOW);
            self.log.push(format!("asked all: {next:?}"));
            if let Some(next) = next {
                position.go_on(next);
            }
        }
        (keys, position.client_cursor())
    }
}

fn try_walk(seed: u64) {
    let mut model = Model::new(seed);
    let (mut cursor, mut seen) = (0, BTreeSet::new());
    for request in 0.. {
        assert!(request < REQUESTS_MAX, "seed {seed} does not end: {:#?}", model.log);
        let (keys, next) = model.scan(cursor);
        seen.extend(keys);
        cursor = next;
        if next == 0 {
            break;
        }
    }
    let all = (0..SLOTS).flat_map(|slot| (0..KEYS).map(move |key| (slot, key)));
    let missed: Vec<Key> = all.filter(|key| !seen.contains(key)).collect();
    assert!(missed.is_empty(), "seed {seed} misses {missed:?}: {:#?}", model.log);
}

#[test]
fn whatever_moves_at_whatever_step_a_walk_misses_no_key_and_ends() {
    let seeds = std::env::var("KEYWAY_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    // A third of a second each where nothing is optimised.
    (0..seeds.unwrap_or(16).min(500)).for_each(try_walk);
}
