//! Who owns a slot: the claim with the higher config epoch.
//!
//! A primary claims its slots in every heartbeat. A claim wins a slot that has no owner, or one
//! whose owner's epoch is lower; whoever claims a slot with a lower epoch than its owner's is told
//! about that owner (UPDATE). An owner may take an epoch for other reasons after it lost a slot that
//! third nodes still see with it; so what an owner does not claim any more is free for any claim. Two primaries of one epoch would never settle, so one of them (the
//! one with the smaller id) takes the next.

use super::{Header, Member, NodeKey, Update};
use crate::cluster::{Epoch, Move, NodeFlags, Slot, SlotSet};

impl Member {
    /// A node is a primary, or whose replica it is.
    pub(super) fn learn_role(&mut self, key: NodeKey, header: &Header) {
        match &header.replica_of {
            None => self.set_primary(key),
            Some(id) => {
                let node = self.view.node_mut(key);
                if !node.is_replica() {
                    node.flags.remove(NodeFlags::PRIMARY.with(NodeFlags::MIGRATE_TO));
                    node.flags.insert(NodeFlags::REPLICA);
                    self.view.unassign_all(key);
                    self.out.persist = true;
                    self.recheck_state = true;
                }
                // A primary that we do not know yet will be told of by somebody.
                let primary = self.view.key(id).filter(|primary| *primary != key);
                if primary.is_some() && self.view.set_primary_of(key, primary) {
                    self.out.persist = true;
                    self.leave_a_chain();
                }
            }
        }
    }

    fn set_primary(&mut self, key: NodeKey) {
        if self.view.node(key).is_primary() {
            return;
        }
        let was_replica = self.view.set_primary_of(key, None);
        let node = self.view.node_mut(key);
        node.flags.remove(NodeFlags::REPLICA);
        node.flags.insert(NodeFlags::PRIMARY);
        if was_replica {
            // Its shard had a replica, and may be sent one again.
            node.flags.insert(NodeFlags::MIGRATE_TO);
        }
        self.out.persist = true;
        self.recheck_state = true;
    }

    /// What a node says of its slots (a replica: of its primary's).
    pub(super) fn handle_claims(&mut self, key: NodeKey, header: &Header) {
        let node = self.view.node(key);
        let is_primary = node.is_primary();
        let owner = if is_primary { Some(key) } else { node.primary };
        let differs = owner.is_some_and(|owner| *self.view.node(owner).slots() != header.slots);
        // An owner may also claim again what it had stopped to claim.
        if differs || self.view.has_unclaimed() {
            if is_primary {
                self.apply_claim(key, header.config_epoch, &header.slots);
            }
            let outbid = |owner: NodeKey| {
                owner != key && self.view.node(owner).config_epoch > header.config_epoch
            };
            // What an owner no longer claims is not worth telling: it may be wrong by now.
            let claimed = header.slots.iter().filter(|slot| self.view.is_claimed(*slot));
            let mut owners = claimed.filter_map(|slot| self.view.owner(slot));
            if let Some(better) = owners.find(|owner| outbid(*owner)) {
                tracing::debug!(node = %header.sender, "told a node about a newer owner of its slots");
                self.send_update(key, better);
            }
        }
        let myself = self.view.myself();
        if is_primary && myself.is_primary() && header.config_epoch == myself.config_epoch {
            self.resolve_collision(header);
        }
    }

    /// A third node says who owns slots.
    pub(super) fn handle_update(&mut self, update: &Update) {
        let Some(key) = self.view.key(&update.node) else { return };
        let node = self.view.node(key);
        if key == NodeKey::MYSELF || node.in_handshake() || node.config_epoch >= update.config_epoch
        {
            return;
        }
        if !self.is_credible(update.config_epoch) {
            tracing::error!(node = %update.node, epoch = %update.config_epoch, "refused a jump of the epoch");
            return;
        }
        self.set_primary(key);
        self.view.current_epoch = self.view.current_epoch.max(update.config_epoch);
        self.view.node_mut(key).config_epoch = update.config_epoch;
        self.out.persist = true;
        self.apply_claim(key, update.config_epoch, &update.slots);
    }

    fn apply_claim(&mut self, claimant: NodeKey, epoch: Epoch, slots: &SlotSet) {
        let own_shard = self.view.myself().primary.unwrap_or(NodeKey::MYSELF);
        // After a failover, slots that were on their way still are.
        let shard_of = |key: NodeKey| self.view.node(key).shard_id;
        let within_shard =
            shard_of(claimant).is_some() && shard_of(claimant) == shard_of(own_shard);
        let mut lost = SlotSet::new();
        let mut lost_by_shard = 0;
        let mut changed = false;
        for slot in Slot::all() {
            let owner = self.view.owner(slot);
            if owner == Some(claimant) {
                // It stays bound to it until somebody claims it: a redirect is better than none.
                self.view.set_claimed(slot, slots.contains(slot));
                continue;
            }
            if !slots.contains(slot) {
                continue;
            }
            // A slot on its way to us is its importer's and its exporter's business until the
            // operator (or his tool) says where it belongs.
            let is_primary = own_shard == NodeKey::MYSELF;
            if is_primary && self.view.importing_from(slot).is_some() {
                continue;
            }
            let outbid = |owner| self.view.node(owner).config_epoch >= epoch;
            if self.view.is_claimed(slot) && owner.is_some_and(outbid) {
                continue;
            }
            if owner == Some(own_shard) {
                lost_by_shard += 1;
                if !within_shard {
                    self.view.set_open(slot, Move::MigratingTo, None);
                }
            }
            if claimant == own_shard {
                self.view.set_open(slot, Move::ImportingFrom, None);
            }
            if owner == Some(NodeKey::MYSELF) {
                lost.insert(slot);
            }
            changed |= self.view.assign(slot, Some(claimant));
        }
        if changed {
            self.out.persist = true;
            self.recheck_state = true;
        }
        let to = self.view.node(claimant).id;
        let all_of_its = lost_by_shard == slots.iter().count();
        let shard_is_empty = lost_by_shard > 0 && self.view.node(own_shard).slot_count() == 0;
        if shard_is_empty && (self.options.allow_replica_migration || all_of_its) {
            tracing::info!(
                "Configuration change detected. Reconfiguring myself as a replica of {to}"
            );
            // What is here is replaced by the primary's data; there is nothing to give up.
            self.follow(claimant);
            return;
        }
        self.leave_a_chain();
        if !lost.is_empty() {
            tracing::info!(slots = %lost, %to, "slots went to a node with a newer claim");
        }
        self.give_up(lost);
    }

    /// Two primaries with one epoch: the one with the smaller id takes the next.
    fn resolve_collision(&mut self, header: &Header) {
        if header.sender <= self.view.myself().id {
            return;
        }
        let epoch = self.view.current_epoch.next();
        self.view.current_epoch = epoch;
        self.view.myself_mut().config_epoch = epoch;
        self.out.persist = true;
        tracing::warn!(node = %header.sender, %epoch, "configEpoch collision: configEpoch set to a new one");
    }

    /// Takes an epoch that is higher than everyone's without asking anyone: for what an operator
    /// commands. `None` if ours is the highest already.
    pub(super) fn bump_epoch(&mut self) -> Option<Epoch> {
        let claimed = self.view.nodes().map(|(_, node)| node.config_epoch).max();
        let highest = claimed.unwrap_or_default().max(self.view.current_epoch);
        let own = self.view.myself().config_epoch;
        if own != Epoch::ZERO && own == highest {
            return None;
        }
        let epoch = highest.next();
        self.view.current_epoch = epoch;
        self.view.myself_mut().config_epoch = epoch;
        self.out.persist = true;
        Some(epoch)
    }
}
