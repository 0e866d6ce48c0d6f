//! The one map of a process, shared by its workers: read without a lock, changed rarely.
//!
//! Two things change it. A MOVED teaches one slot; a reading of the topology replaces the whole.
//! Which of two stories of a slot is believed is decided here alone, by these rules, the first that
//! applies:
//!
//! 1. A claim of a higher epoch. A reading may be a lie (a node that was cut off, or has just lost its
//!    memory), so a newer claim is never given up for an older one until every node that can be asked
//!    has told the same.
//! 2. What was learned after a reading began, which took time.
//! 3. What a node says of itself: that it has the slot, or has it not.
//! 4. What was learned by a redirect, or of an owner's own word, against hearsay: a third node that
//!    repeats the very claim which that contradicted has not heard yet. A slot can be given away without
//!    a higher epoch, and then nothing else tells the two stories apart. This holds for
//!    [`HEARSAY_MAX`]; if it was wrong, the node that does not have the slot says so at once.
//! 5. The later reading.

mod survey;

use super::walks::Changes;
use crate::cluster::{Endpoint, Epoch, NodeId, NodeIndex, Slot, Topology, TopologyNode, View};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The map and what is known beside it.
#[derive(Debug)]
pub struct ClusterMap {
    current: ArcSwap<Topology>,
    changing: Mutex<Changing>,
    /// What walks over all keys must know. Locked after `changing`, where both are.
    changes: Mutex<Changes>,
    refresh_wanted: AtomicBool,
    /// How many slots were being moved, as the last reading saw it.
    slots_open: AtomicUsize,
    /// How many databases the nodes have, as far as one has told.
    databases: AtomicU32,
    /// Readings believed.
    readings: AtomicU64,
    /// Readings that nobody answered.
    readings_failed: AtomicU64,
    on_refresh_wanted: OnceLock<Hook>,
}

/// What is called when a reading is asked for.
pub(super) type RefreshHook = Box<dyn Fn() + Send + Sync>;

struct Hook(RefreshHook);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

#[derive(Debug, Default)]
struct Changing {
    /// What is laid over readings.
    learned: BTreeMap<Slot, Learned>,
    /// The highest config epoch behind each slot's owner.
    claims: BTreeMap<Slot, Claim>,
    /// Slots that went to someone whom the map does not know as their owner, since when.
    unheard: BTreeMap<Slot, Instant>,
    last_believed: Option<Instant>,
    /// Readings in a row that were not believed, and who gave them.
    doubted: Vec<Endpoint>,
    /// The lowest version that a node has told, as its parts.
    versions: BTreeMap<Endpoint, String>,
    /// Who replicates whom, as the last reading that was believed saw it.
    replicas: Vec<(Endpoint, Endpoint)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    id: NodeId,
    epoch: Epoch,
}

/// A slot's owner, by a MOVED or by its own word.
#[derive(Clone, Debug)]
struct Learned {
    to: Endpoint,
    at: Instant,
    /// The claim of another that this contradicts.
    over: Option<Claim>,
}

impl Learned {
    /// Whether it stands against what the node `by`, which clients reach at `from`, tells of the slot.
    fn stands_against(
        &self,
        told: Option<&Claim>,
        by: Option<NodeId>,
        from: &Endpoint,
        now: Instant,
    ) -> bool {
        let same_story = |over: Claim| {
            told.is_some_and(|told| told.id == over.id && told.epoch <= over.epoch)
                && by != Some(over.id)
        };
        self.over.is_some_and(same_story)
            && self.to != *from
            && now.saturating_duration_since(self.at) < HEARSAY_MAX
    }
}

/// What became of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The map says the same already.
    Unchanged,
    /// The map is another now: ranges of slots, and who owns them.
    Changed(Vec<String>),
    /// It contradicts what is known, from a lower epoch.
    Doubted,
}

/// How many nodes may be in the table that no reading has named.
const UNKNOWN_NODES_MAX: usize = 100;

/// How long a third node may repeat what an owner has given up: as long as nodes that hear of each
/// other at all may need for it, by their default time-out.
const HEARSAY_MAX: Duration = Duration::from_secs(15);

/// Readings in a row that tell an older story before it is believed.
const DOUBTS_MAX: usize = 3;

impl Default for ClusterMap {
    fn default() -> Self {
        Self {
            current: ArcSwap::from_pointee(Topology::empty()),
            changing: Mutex::default(),
            changes: Mutex::default(),
            refresh_wanted: AtomicBool::new(true),
            slots_open: AtomicUsize::new(0),
            databases: AtomicU32::new(1),
            readings: AtomicU64::new(0),
            readings_failed: AtomicU64::new(0),
            on_refresh_wanted: OnceLock::new(),
        }
    }
}

impl ClusterMap {
    /// The map as it is now. Cheap, but not free: a worker keeps it and compares.
    pub fn current(&self) -> &ArcSwap<Topology> {
        &self.current
    }

    /// Asks for a reading; whoever reads looks here.
    pub fn want_refresh(&self) {
        if !self.refresh_wanted.load(Ordering::Relaxed)
            && !self.refresh_wanted.swap(true, Ordering::Relaxed)
            && let Some(Hook(hook)) = self.on_refresh_wanted.get()
        {
            hook();
        }
    }

    /// Has this called when a reading is asked for. Only the first hook counts.
    pub fn on_refresh_wanted(&self, hook: RefreshHook) {
        let _ = self.on_refresh_wanted.set(Hook(hook));
    }

    /// A reading has ended, with an answer or with none.
    pub fn count_refresh(&self, answered: bool) {
        if !answered {
            self.readings_failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Readings that nobody answered.
    pub fn readings_failed(&self) -> u64 {
        self.readings_failed.load(Ordering::Relaxed)
    }

    /// Whether a reading was asked for since the last call.
    pub fn take_refresh_wanted(&self) -> bool {
        self.refresh_wanted.load(Ordering::Relaxed)
            && self.refresh_wanted.swap(false, Ordering::Relaxed)
    }

    /// A node said that `slot` belongs to `to`. True if that was not known.
    pub fn learn(&self, slot: Slot, to: &Endpoint, now: Instant) -> bool {
        let changing = &mut *self.lock();
        let topology = self.current.load_full();
        let known = topology.find(to);
        if known.is_some() && topology.owner(slot) == known {
            return false;
        }
        let changed = match known {
            Some(node) => topology.set_owner(slot, Some(node)),
            None => {
                let strangers = topology.nodes().filter(|(_, node)| node.id.is_none()).count();
                if strangers >= UNKNOWN_NODES_MAX {
                    return false;
                }
                let mut nodes: Vec<TopologyNode> =
                    topology.nodes().map(|(_, node)| node.clone()).collect();
                nodes.push(TopologyNode {
                    endpoint: to.clone(),
                    id: None,
                    primary: true,
                    config_epoch: Epoch::ZERO,
                });
                let next = Topology::new(nodes, topology.generation() + 1);
                for other in Slot::all() {
                    next.set_owner(other, topology.owner(other));
                }
                next.set_owner(slot, next.find(to));
                self.current.store(Arc::new(next));
                true
            }
        };
        let known = known.and_then(|node| topology.node(node).id);
        let over = changing.claims.get(&slot).copied().filter(|claim| Some(claim.id) != known);
        changing.learned.insert(slot, Learned { to: to.clone(), at: now, over });
        self.changes().changed(slot);
        changed
    }

    /// A node at `from` has told its view, in answer to a question asked at `began`.
    pub fn publish(&self, view: &View, from: &Endpoint, began: Instant, now: Instant) -> Reading {
        let changing = &mut *self.lock();
        let claims = claims(view);
        if !changing.believes(&claims, view) {
            if !changing.doubted.contains(from) {
                changing.doubted.push(from.clone());
            }
            let everyone = {
                let topology = self.current.load();
                let mut asked = topology.nodes().filter(|(_, node)| node.primary);
                asked.all(|(_, node)| changing.doubted.contains(&node.endpoint))
            };
            if changing.doubted.len() < DOUBTS_MAX && !everyone {
                return Reading::Doubted;
            }
        }
        changing.doubted.clear();
        changing.last_believed = Some(now);
        let claims_before = std::mem::replace(&mut changing.claims, claims);
        changing.replicas = super::replicas::pairs(view);
        changing.weigh(&claims_before, view, from, began, now);
        self.slots_open.store(view.slots_open(), Ordering::Relaxed);
        self.readings.fetch_add(1, Ordering::Release);

        let old = self.current.load_full();
        let mut next = build(view, &changing.learned, old.generation() + 1);
        let changes = differences(&old, &next);
        let same_nodes = old.nodes().map(|(_, n)| n).eq(next.nodes().map(|(_, n)| n));
        let same_road = |(_, a): (_, &TopologyNode), (_, b): (_, &TopologyNode)| a.leads_as(b);
        let unchanged = changes.is_empty()
            && old.nodes().len() == next.nodes().len()
            && old.nodes().zip(next.nodes()).all(|(a, b)| same_road(a, b));
        if unchanged {
            next = next.of_generation(old.generation());
        }
        let next = Arc::new(next);
        if !unchanged || !same_nodes {
            self.current.store(next.clone());
        }
        for slot in Slot::all() {
            if old.owner(slot).is_some() && next.owner(slot).is_none() {
                changing.not_heard(slot, now);
            }
        }
        // After it is stored: a walk that begins later sees it.
        self.note_changes(&claims_before, &changing.claims, &old, &next);
        if unchanged { Reading::Unchanged } else { Reading::Changed(changes) }
    }

    /// Each replica, and its primary.
    pub(super) fn replicas(&self) -> Vec<(Endpoint, Endpoint)> {
        self.lock().replicas.clone()
    }

    /// How long ago the map was last confirmed by a node.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.lock().last_believed.map(|at| now.saturating_duration_since(at))
    }

    /// Slots being moved, as the last reading saw it.
    pub fn slots_open(&self) -> usize {
        self.slots_open.load(Ordering::Relaxed)
    }

    /// Readings believed since the start.
    pub fn readings(&self) -> u64 {
        self.readings.load(Ordering::Acquire)
    }

    /// The highest config epoch known.
    pub fn epoch(&self) -> Epoch {
        self.lock().claims.values().map(|claim| claim.epoch).max().unwrap_or_default()
    }

    /// A node has told its version.
    pub fn set_version(&self, node: &Endpoint, version: &str) {
        self.lock().versions.insert(node.clone(), version.to_owned());
    }

    /// A node has told how many databases it has.
    pub fn set_databases(&self, count: u32) {
        self.databases.store(count.max(1), Ordering::Relaxed);
    }

    /// How many databases the cluster has.
    pub fn databases(&self) -> u32 {
        self.databases.load(Ordering::Relaxed)
    }

    /// The lowest version that a node has told: what clients may rely on.
    pub fn lowest_version(&self) -> Option<String> {
        let parts = |version: &str| -> Vec<u32> {
            version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
        };
        self.lock().versions.values().min_by_key(|version| parts(version)).cloned()
    }

    /// A connection to a node was lost: its cursors may mean nothing any more.
    pub fn count_loss(&self, node: &Endpoint) {
        let topology = self.current.load();
        self.changes().node_changed(&topology, node);
    }

    /// What walks over all keys must know.
    pub(super) fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changing {
    /// More is known of this slot than the map says. Since when.
    fn not_heard(&mut self, slot: Slot, now: Instant) -> Instant {
        let since = self.unheard.entry(slot).or_insert(now);
        if now.saturating_duration_since(*since) > HEARSAY_MAX * 2 {
            // That was another time.
            *since = now;
        }
        *since
    }

    /// Keeps of what was learned what stands against this reading, and learns what its teller says of
    /// itself.
    fn weigh(
        &mut self,
        before: &BTreeMap<Slot, Claim>,
        view: &View,
        from: &Endpoint,
        began: Instant,
        now: Instant,
    ) {
        let Self { learned, claims, .. } = self;
        let teller = view.nodes.iter().find(|node| node.myself);
        let by = teller.map(|node| node.id);
        let from = teller.map_or(from, |node| &node.endpoint);
        let ids: BTreeMap<&Endpoint, NodeId> =
            view.nodes.iter().map(|node| (&node.endpoint, node.id)).collect();
        learned.retain(|slot, learned| {
            let told = claims.get(slot).copied();
            let stands = learned.at > began || learned.stands_against(told.as_ref(), by, from, now);
            let known = before.get(slot).filter(|known| ids.get(&learned.to) == Some(&known.id));
            if let Some(known) = known.filter(|_| stands)
                && told.is_none_or(|told| told.id != known.id)
            {
                claims.insert(*slot, *known);
            }
            stands
        });
        let Some(teller) = teller.filter(|node| node.primary) else { return };
        for slot in teller.slots.iter() {
            let over = before.get(&slot).filter(|claim| claim.id != teller.id);
            let own = claims.get(&slot).is_some_and(|claim| claim.id == teller.id);
            if let Some(&over) = over.filter(|_| own) {
                let to = teller.endpoint.clone();
                learned.entry(slot).or_insert(Learned { to, at: began, over: Some(over) });
            }
        }
    }

    /// Whether a reading may replace what is known: no slot may fall back to a claim of a lower
    /// epoch, nor lose its owner to a node that has not heard of that owner's claim.
    fn believes(&self, claims: &BTreeMap<Slot, Claim>, view: &View) -> bool {
        self.claims.iter().all(|(slot, known)| match claims.get(slot) {
            Some(claim) => claim.id == known.id || claim.epoch >= known.epoch,
            None => view.node(known.id).is_some_and(|node| node.config_epoch >= known.epoch),
        })
    }
}

/// The claim to each slot with the highest epoch.
fn claims(view: &View) -> BTreeMap<Slot, Claim> {
    let mut claims = BTreeMap::<Slot, Claim>::new();
    for node in view.nodes.iter().filter(|node| !node.unusable) {
        let claim = Claim { id: node.id, epoch: node.config_epoch };
        for slot in node.slots.iter() {
            let entry = claims.entry(slot).or_insert(claim);
            if claim.epoch > entry.epoch {
                *entry = claim;
            }
        }
    }
    claims
}

fn build(view: &View, learned: &BTreeMap<Slot, Learned>, generation: u64) -> Topology {
    let mut nodes: Vec<TopologyNode> = view
        .nodes
        .iter()
        .filter(|node| !node.unusable)
        .map(|node| TopologyNode {
            endpoint: node.endpoint.clone(),
            id: Some(node.id),
            primary: node.primary,
            config_epoch: node.config_epoch,
        })
        .collect();
    let known: BTreeSet<Endpoint> = nodes.iter().map(|node| node.endpoint.clone()).collect();
    let strangers: BTreeSet<&Endpoint> =
        learned.values().map(|learned| &learned.to).filter(|to| !known.contains(*to)).collect();
    // Each node lists the others in an order of its own, and another one is asked each time.
    nodes.sort_by(|a, b| (&a.endpoint, a.id).cmp(&(&b.endpoint, b.id)));
    nodes.extend(strangers.into_iter().map(|endpoint| TopologyNode {
        endpoint: endpoint.clone(),
        id: None,
        primary: true,
        config_epoch: Epoch::ZERO,
    }));
    let topology = Topology::new(nodes, generation);
    let by_id: BTreeMap<NodeId, NodeIndex> =
        topology.nodes().filter_map(|(index, node)| Some((node.id?, index))).collect();
    for (slot, claim) in claims(view) {
        topology.set_owner(slot, by_id.get(&claim.id).copied());
    }
    for (slot, learned) in learned {
        topology.set_owner(*slot, topology.find(&learned.to));
    }
    // However many slots were filled in.
    topology.of_generation(generation)
}

/// `slots 0-5460: a:1 -> b:2`, for people.
fn differences(old: &Topology, new: &Topology) -> Vec<String> {
    let owner = |map: &Topology, slot| {
        map.owner(slot).map_or_else(|| "nobody".to_owned(), |n| map.node(n).endpoint.to_string())
    };
    let mut changes: Vec<(u16, u16, String, String)> = Vec::new();
    for slot in Slot::all() {
        let same = match (old.owner(slot), new.owner(slot)) {
            (None, None) => true,
            (Some(a), Some(b)) => old.node(a).endpoint == new.node(b).endpoint,
            _ => false,
        };
        if same {
            continue;
        }
        let (from, to) = (owner(old, slot), owner(new, slot));
        match changes.last_mut() {
            Some((_, last, f, t)) if *last + 1 == slot.number() && *f == from && *t == to => {
                *last += 1;
            }
            _ => changes.push((slot.number(), slot.number(), from, to)),
        }
    }
    changes
        .into_iter()
        .map(|(first, last, from, to)| format!("slots {first}-{last}: {from} -> {to}"))
        .collect()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_model;
