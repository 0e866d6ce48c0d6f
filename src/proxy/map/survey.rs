//! What has changed, for walks over all keys: by a reading of the map, and by what every owner of
//! slots tells of itself at the end of a walk's round.

use super::{Claim, ClusterMap, HEARSAY_MAX, Learned};
use crate::cluster::{NodeId, NodeIndex, Slot, Topology, ViewNode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

impl ClusterMap {
    /// Marks the slots that another node owns, or the same one by another claim: between two
    /// readings a slot may have gone away and come back.
    pub(super) fn note_changes(
        &self,
        claims_before: &BTreeMap<Slot, Claim>,
        claims: &BTreeMap<Slot, Claim>,
        old: &Topology,
        new: &Topology,
    ) {
        let same_owner = |slot| match (old.owner(slot), new.owner(slot)) {
            (Some(a), Some(b)) => old.node(a).endpoint == new.node(b).endpoint,
            (a, b) => a.is_none() && b.is_none(),
        };
        let changes = &mut *self.changes();
        for slot in Slot::all() {
            if claims_before.get(&slot) != claims.get(&slot) || !same_owner(slot) {
                changes.changed(slot);
            }
        }
    }

    /// Owners of slots have told what they own and which slots are open, each of itself: what
    /// walks must know that ends here. An owner that has told nothing counts as changed.
    pub(in crate::proxy) fn survey(&self, told: &[ViewNode], now: Instant) {
        let changing = &mut *self.lock();
        let topology = self.current.load_full();
        let by_id: BTreeMap<NodeId, NodeIndex> =
            topology.nodes().filter_map(|(index, node)| Some((node.id?, index))).collect();
        let changes = &mut *self.changes();
        let mut open = BTreeMap::new();
        let gives_up = |id: NodeId, slot: Slot| {
            told.iter().any(|node| node.id == id && !node.slots.contains(slot))
        };
        let mut answered = vec![false; topology.nodes().len()];
        for node in told {
            let index = by_id.get(&node.id).copied();
            if let Some(index) = index {
                answered[index.index()] = true;
            }
            if !node.primary {
                continue;
            }
            let claim = Claim { id: node.id, epoch: node.config_epoch };
            for slot in node.slots.iter() {
                match changing.claims.get(&slot) {
                    Some(known) if *known == claim => continue,
                    // Of an older claim only if the other has given the slot up: the new owner of
                    // one that is given away has not always a higher epoch.
                    Some(known)
                        if known.id != claim.id
                            && known.epoch > claim.epoch
                            && !gives_up(known.id, slot) =>
                    {
                        continue;
                    }
                    _ => {}
                }
                let over = changing.claims.insert(slot, claim).filter(|over| over.id != claim.id);
                changes.changed(slot);
                if let Some(index) = index {
                    topology.set_owner(slot, Some(index));
                    let endpoint = topology.node(index).endpoint.clone();
                    changing.learned.insert(slot, Learned { to: endpoint, at: now, over });
                }
                self.want_refresh();
            }
            for &(slot, to) in &node.migrating {
                open.insert(slot, (node.id, to));
            }
            for &(slot, from) in &node.importing {
                open.entry(slot).or_insert((from, node.id));
            }
        }
        changes.set_open(&open);
        let mut unheard = BTreeSet::new();
        for slot in Slot::all() {
            let Some(owner) = topology.owner(slot) else {
                if changing.unheard.contains_key(&slot) {
                    unheard.insert(slot);
                }
                continue;
            };
            if !answered[owner.index()] {
                changes.changed(slot);
            } else if topology.node(owner).id.is_some_and(|id| gives_up(id, slot))
                || open.get(&slot).is_some_and(|(_, to)| !by_id.contains_key(to))
            {
                unheard.insert(slot);
            }
        }
        // They are somewhere else than the map says, or go where it knows nobody: it hears of that soon, and walks
        // go on until then. But a slot may belong to nobody, or be open to a node that is gone.
        let claimed = |slot: &Slot| told.iter().any(|node| node.slots.contains(*slot));
        changing.unheard.retain(|slot, _| unheard.contains(slot) || !claimed(slot));
        unheard.retain(|slot| {
            let since = changing.not_heard(*slot, now);
            !claimed(slot) && now.saturating_duration_since(since) < HEARSAY_MAX
        });
        if !unheard.is_empty() {
            self.want_refresh();
        }
        changes.set_unheard(unheard);
    }
}
