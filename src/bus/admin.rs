//! What an operator (or his tool) changes: the CLUSTER commands, without their syntax.
//!
//! The order of the checks and the texts are Redis's; tools look for both. What a command must
//! know of the data set (are there keys?) comes with it, as the bus knows no data.

use super::{Address, FailoverMode, Member, NodeKey};
use crate::clock::Now;
use crate::cluster::{Epoch, Move, NodeFlags, NodeId, OpenSlot, Slot, SlotSet};
use rand::RngExt;
use std::net::IpAddr;

/// One change. Nodes are named as the operator wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// MEET: get to know whoever listens there.
    Meet {
        /// Its address.
        ip: IpAddr,
        /// Its port for clients.
        port: u16,
        /// Its port for nodes.
        bus_port: u16,
    },
    /// FORGET: drop a node, and let nobody bring it back for a minute.
    Forget(String),
    /// ADDSLOTS, ADDSLOTSRANGE: take slots that nobody owns.
    AddSlots(SlotSet),
    /// DELSLOTS, DELSLOTSRANGE: forget who owns slots.
    DelSlots(SlotSet),
    /// FLUSHSLOTS: give up every slot of ours.
    FlushSlots {
        /// Whether there is any key.
        has_keys: bool,
    },
    /// SETSLOT MIGRATING: begin to give a slot away.
    Migrating(Slot, String),
    /// SETSLOT IMPORTING: begin to take a slot over.
    Importing(Slot, String),
    /// SETSLOT STABLE: it stays where it is.
    Stable(Slot),
    /// SETSLOT NODE: it belongs to that node.
    Assign {
        /// The slot.
        slot: Slot,
        /// Its owner to be.
        node: String,
        /// Whether there are keys in the slot.
        has_keys: bool,
    },
    /// SET-CONFIG-EPOCH: the first epoch of a node that knows nobody.
    SetConfigEpoch(Epoch),
    /// BUMPEPOCH: an epoch above everyone's.
    BumpEpoch,
    /// RESET: know nobody and own nothing.
    Reset {
        /// Also forget the epochs and the own name.
        hard: bool,
        /// Whether there is any key.
        has_keys: bool,
    },
    /// SAVECONFIG: write nodes.conf.
    SaveConfig,
    /// REPLICATE: become a replica.
    Replicate {
        /// Whose.
        node: String,
        /// Whether there is any key.
        has_keys: bool,
    },
    /// FAILOVER: take over from our primary.
    Failover(FailoverMode),
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is done.
    Done,
    /// BUMPEPOCH: the epoch is a new one.
    Bumped(Epoch),
    /// BUMPEPOCH: the epoch was the highest already.
    Still(Epoch),
}

/// Why a change is not made. The text is the reply's, without `ERR`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Refusal {
    #[error("Unknown node {0}")]
    UnknownNode(String),
    #[error("I don't know about node {0}")]
    UnknownPeer(String),
    #[error("I tried hard but I can't forget myself...")]
    ForgetMyself,
    #[error("Can't forget my master!")]
    ForgetMyPrimary,
    #[error("Slot {0} is already busy")]
    Busy(Slot),
    #[error("Slot {0} is already unassigned")]
    Unassigned(Slot),
    #[error("DB must be empty to perform CLUSTER FLUSHSLOTS.")]
    FlushWithKeys,
    #[error("Please use SETSLOT only with masters.")]
    NotAPrimary,
    #[error("I'm not the owner of hash slot {0}")]
    NotOwner(Slot),
    #[error("I'm already the owner of hash slot {0}")]
    AlreadyOwner(Slot),
    #[error("Target node is not a master")]
    TargetNotAPrimary,
    #[error("Target node is myself")]
    TargetIsMyself,
    #[error(
        "Can't assign hashslot {0} to a different node while I still hold keys for this hash slot."
    )]
    StillHasKeys(Slot),
    #[error("The user can assign a config epoch only when the node does not know any other node.")]
    KnowsOthers,
    #[error("Node config epoch is already non-zero")]
    HasEpoch,
    #[error("CLUSTER RESET can't be called with master nodes containing keys")]
    ResetWithKeys,
    #[error("Can't replicate myself")]
    ReplicateMyself,
    #[error("I can only replicate a master, not a replica.")]
    ReplicateReplica,
    #[error("To set a master the node must be empty and without assigned slots.")]
    ReplicateWithSlots,
    #[error("You should send CLUSTER FAILOVER to a replica")]
    FailoverOfPrimary,
    #[error("I'm a replica but my master is unknown to me")]
    FailoverWithoutPrimary,
    #[error("Master is down or failed, please use CLUSTER FAILOVER FORCE")]
    FailoverOfFailed,
}

impl Member {
    /// Makes one change, or says why not. Drain [`Member::poll_output`] before it is answered:
    /// what it changes is on disk by then.
    ///
    /// # Errors
    /// A [`Refusal`] changes nothing.
    pub fn apply(&mut self, now: Now, change: Change) -> Result<Applied, Refusal> {
        let applied = self.change(now, change);
        self.settle(now);
        applied
    }

    fn change(&mut self, now: Now, change: Change) -> Result<Applied, Refusal> {
        match change {
            Change::Meet { ip, port, bus_port } => {
                let address =
                    Address { ip: Some(ip.to_canonical()), port, secondary_port: 0, bus_port };
                self.start_handshake(now, address, true);
            }
            Change::Forget(id) => self.forget_on_demand(now, &id)?,
            Change::AddSlots(slots) => self.add_slots(&slots)?,
            Change::DelSlots(slots) => self.del_slots(&slots)?,
            Change::FlushSlots { has_keys: true } => return Err(Refusal::FlushWithKeys),
            Change::FlushSlots { has_keys: false } => {
                self.view.unassign_all(NodeKey::MYSELF);
                self.changed();
            }
            Change::Migrating(slot, peer) => self.open(slot, Move::MigratingTo, &peer)?,
            Change::Importing(slot, peer) => self.open(slot, Move::ImportingFrom, &peer)?,
            Change::Stable(slot) => {
                self.require_primary()?;
                self.view.set_open(slot, Move::MigratingTo, None);
                self.view.set_open(slot, Move::ImportingFrom, None);
                self.changed();
            }
            Change::Assign { slot, node, has_keys } => self.assign(now, slot, &node, has_keys)?,
            Change::SetConfigEpoch(epoch) => self.set_config_epoch(epoch)?,
            Change::BumpEpoch => {
                let bumped = self.bump_epoch().map(Applied::Bumped);
                if bumped.is_some() {
                    // A tool goes on at another node, which must not take the very same epoch: of two
                    // claims under one, either may win.
                    self.announce_since.get_or_insert(now);
                }
                let still = Applied::Still(self.view.myself().config_epoch);
                return Ok(bumped.unwrap_or(still));
            }
            Change::Reset { has_keys: true, .. } if self.view.myself().is_primary() => {
                return Err(Refusal::ResetWithKeys);
            }
            Change::Reset { hard, .. } => self.reset(hard),
            Change::SaveConfig => self.out.persist = true,
            Change::Replicate { node, has_keys } => self.replicate(&node, has_keys)?,
            Change::Failover(mode) => self.start_manual_failover(now, mode)?,
        }
        Ok(Applied::Done)
    }

    fn changed(&mut self) {
        self.out.persist = true;
        self.recheck_state = true;
    }

    /// The node that a name means.
    fn named(&self, name: &str) -> Option<NodeKey> {
        NodeId::parse(name.as_bytes()).ok().and_then(|id| self.view.key(&id))
    }

    fn is_forgotten(&self, name: &str) -> bool {
        NodeId::parse(name.as_bytes()).is_ok_and(|id| self.forgotten.contains_key(&id))
    }

    fn forget_on_demand(&mut self, now: Now, name: &str) -> Result<(), Refusal> {
        match self.named(name) {
            // A peer was faster, and gossip has told us: what is wanted is done (Redis 7.2 says so, too).
            None if self.is_forgotten(name) => Ok(()),
            None => Err(Refusal::UnknownNode(name.to_owned())),
            Some(NodeKey::MYSELF) => Err(Refusal::ForgetMyself),
            Some(key) if self.view.myself().primary == Some(key) => Err(Refusal::ForgetMyPrimary),
            Some(key) => {
                let id = self.view.node(key).id;
                self.forgotten.insert(id, now.instant + self.options.forget_for);
                self.forget(key);
                Ok(())
            }
        }
    }

    fn add_slots(&mut self, slots: &SlotSet) -> Result<(), Refusal> {
        if let Some(busy) = slots.iter().find(|slot| self.view.owner(*slot).is_some()) {
            return Err(Refusal::Busy(busy));
        }
        for slot in slots.iter() {
            self.view.set_open(slot, Move::ImportingFrom, None);
            self.view.assign(slot, Some(NodeKey::MYSELF));
        }
        self.changed();
        Ok(())
    }

    fn del_slots(&mut self, slots: &SlotSet) -> Result<(), Refusal> {
        if let Some(free) = slots.iter().find(|slot| self.view.owner(*slot).is_none()) {
            return Err(Refusal::Unassigned(free));
        }
        for slot in slots.iter() {
            self.view.assign(slot, None);
            self.view.set_open(slot, Move::MigratingTo, None);
        }
        self.changed();
        Ok(())
    }

    fn require_primary(&self) -> Result<(), Refusal> {
        if self.view.myself().is_primary() { Ok(()) } else { Err(Refusal::NotAPrimary) }
    }

    /// Says whether SETSLOT would be refused, and changes nothing: it goes to replicas before it is
    /// carried out here.
    ///
    /// # Errors
    /// The [`Refusal`] that [`Member::apply`] would give.
    pub fn check_slot_change(&self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::Migrating(slot, peer) => {
                self.check_open(*slot, Move::MigratingTo, peer).map(drop)
            }
            Change::Importing(slot, peer) => {
                self.check_open(*slot, Move::ImportingFrom, peer).map(drop)
            }
            Change::Assign { slot, node, has_keys } => {
                self.check_assign(*slot, node, *has_keys).map(drop)
            }
            _ => self.require_primary(),
        }
    }

    /// Makes the change of a slot that our primary has told us of, so that whoever takes over from
    /// it knows which slots are on their way. What it may, it has checked itself.
    ///
    /// # Errors
    /// A node that is not known here.
    pub fn follow_slot_change(&mut self, now: Now, change: Change) -> Result<(), Refusal> {
        let primary = self.view.myself().primary.ok_or(Refusal::FailoverWithoutPrimary)?;
        let named =
            |name: &str| self.named(name).ok_or_else(|| Refusal::UnknownPeer(name.to_owned()));
        match change {
            Change::Migrating(slot, peer) => {
                let peer = named(&peer)?;
                self.view.set_open(slot, Move::MigratingTo, Some(peer));
            }
            Change::Importing(slot, peer) => {
                let peer = named(&peer)?;
                self.view.set_open(slot, Move::ImportingFrom, Some(peer));
            }
            Change::Assign { slot, node, .. } => {
                let owner = named(&node)?;
                self.view.assign(slot, Some(owner));
                self.view.set_open(slot, Move::MigratingTo, None);
                if owner == primary {
                    self.view.set_open(slot, Move::ImportingFrom, None);
                }
            }
            Change::Stable(slot) => {
                self.view.set_open(slot, Move::MigratingTo, None);
                self.view.set_open(slot, Move::ImportingFrom, None);
            }
            _ => return Ok(()),
        }
        self.changed();
        self.settle(now);
        Ok(())
    }

    /// The primary's copy of all data has said which slots are on their way for it: those, and no
    /// others. A node that is not known here, or that the slot cannot come from or go to, is left out.
    pub fn follow_open_slots(&mut self, now: Now, open: &[OpenSlot]) {
        let Some(primary) = self.view.myself().primary else { return };
        let before = self.view.record(NodeKey::MYSELF).open_slots;
        self.view.close_all_slots();
        for OpenSlot { slot, direction, peer } in open {
            let key = self.view.key(peer).filter(|key| ![NodeKey::MYSELF, primary].contains(key));
            match key {
                Some(key) => {
                    self.view.set_open(*slot, *direction, Some(key));
                }
                None => {
                    tracing::warn!(%slot, %peer, "a slot on its way is left out: to or from whom?")
                }
            }
        }
        if self.view.record(NodeKey::MYSELF).open_slots != before {
            self.changed();
            self.settle(now);
        }
    }

    fn check_open(&self, slot: Slot, direction: Move, peer: &str) -> Result<NodeKey, Refusal> {
        self.require_primary()?;
        let own = self.view.owner(slot) == Some(NodeKey::MYSELF);
        match direction {
            Move::MigratingTo if !own => return Err(Refusal::NotOwner(slot)),
            Move::ImportingFrom if own => return Err(Refusal::AlreadyOwner(slot)),
            Move::MigratingTo | Move::ImportingFrom => {}
        }
        let key = self.named(peer).ok_or_else(|| Refusal::UnknownPeer(peer.to_owned()))?;
        if key == NodeKey::MYSELF {
            // Redis 7.0 takes it, and then sends clients in a circle; Valkey refuses.
            return Err(Refusal::TargetIsMyself);
        }
        if !self.view.node(key).is_primary() {
            return Err(Refusal::TargetNotAPrimary);
        }
        Ok(key)
    }

    fn open(&mut self, slot: Slot, direction: Move, peer: &str) -> Result<(), Refusal> {
        let key = self.check_open(slot, direction, peer)?;
        self.view.set_open(slot, direction, Some(key));
        self.changed();
        Ok(())
    }

    fn check_assign(&self, slot: Slot, name: &str, has_keys: bool) -> Result<NodeKey, Refusal> {
        self.require_primary()?;
        let key = self.named(name).ok_or_else(|| Refusal::UnknownNode(name.to_owned()))?;
        if !self.view.node(key).is_primary() {
            return Err(Refusal::TargetNotAPrimary);
        }
        let was_mine = self.view.owner(slot) == Some(NodeKey::MYSELF);
        if was_mine && key != NodeKey::MYSELF && has_keys {
            return Err(Refusal::StillHasKeys(slot));
        }
        Ok(key)
    }

    fn assign(&mut self, now: Now, slot: Slot, name: &str, has_keys: bool) -> Result<(), Refusal> {
        let key = self.check_assign(slot, name, has_keys)?;
        let was_mine = self.view.owner(slot) == Some(NodeKey::MYSELF);
        if !has_keys || key != NodeKey::MYSELF {
            self.view.set_open(slot, Move::MigratingTo, None);
        }
        self.view.assign(slot, Some(key));
        if was_mine
            && key != NodeKey::MYSELF
            && self.view.myself().slot_count() == 0
            && self.options.allow_replica_migration
        {
            let to = self.view.node(key).id;
            tracing::info!(
                "Lost my last slot during slot migration. Reconfiguring myself as a replica of {to}"
            );
            self.follow(key);
        }
        if key == NodeKey::MYSELF && self.view.set_open(slot, Move::ImportingFrom, None) {
            // The claim must win over the former owner's, so it needs a newer epoch; and the
            // sooner others hear of it, the fewer clients are sent to the wrong node. A tool that moves
            // many slots says so of many in one turn.
            if let Some(epoch) = self.bump_epoch() {
                tracing::info!(%slot, %epoch, "configEpoch updated after importing slot");
            }
            self.announce_since.get_or_insert(now);
        }
        self.changed();
        Ok(())
    }

    fn set_config_epoch(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        if self.view.len() > 1 {
            return Err(Refusal::KnowsOthers);
        }
        if self.view.myself().config_epoch != Epoch::ZERO {
            return Err(Refusal::HasEpoch);
        }
        self.view.myself_mut().config_epoch = epoch;
        self.view.current_epoch = self.view.current_epoch.max(epoch);
        self.changed();
        Ok(())
    }

    fn reset(&mut self, hard: bool) {
        for key in self.view.other_keys() {
            self.drop_node(key);
        }
        self.view.unassign_all(NodeKey::MYSELF);
        self.view.close_all_slots();
        self.forgotten.clear();
        self.last_vote = None;
        let was_replica = self.view.myself().is_replica();
        self.stop_following();
        let shard_id = NodeId::from_random(self.rng.random());
        let myself = self.view.myself_mut();
        myself.flags.remove(NodeFlags::MIGRATE_TO);
        if was_replica {
            myself.shard_id = Some(shard_id);
        }
        if hard {
            myself.config_epoch = Epoch::ZERO;
            myself.shard_id = Some(shard_id);
            self.view.current_epoch = Epoch::ZERO;
            self.view.last_vote_epoch = Epoch::ZERO;
            let before = self.view.myself().id;
            let id = NodeId::from_random(self.rng.random());
            self.view.rename(NodeKey::MYSELF, id);
            tracing::info!(%before, "Node hard reset, now I'm {id}");
        }
        self.changed();
    }

    fn replicate(&mut self, name: &str, has_keys: bool) -> Result<(), Refusal> {
        let myself = self.view.myself();
        match self.named(name) {
            // A peer was faster, and gossip has told us: what is wanted is done (Redis 7.2 says so, too).
            None if self.is_forgotten(name) => Ok(()),
            None => Err(Refusal::UnknownNode(name.to_owned())),
            Some(NodeKey::MYSELF) => Err(Refusal::ReplicateMyself),
            Some(key) if !self.view.node(key).is_primary() => Err(Refusal::ReplicateReplica),
            Some(_) if myself.is_primary() && (myself.slot_count() > 0 || has_keys) => {
                Err(Refusal::ReplicateWithSlots)
            }
            Some(key) => {
                self.follow(key);
                Ok(())
            }
        }
    }
}
