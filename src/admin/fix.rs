//! What is to be done about a slot that is open, contested or without an owner.
//!
//! The rule: finish what was begun where the two ends still agree on it; otherwise settle on one
//! owner, bring it the keys that others hold, and close the slot everywhere. No key is deleted.

use crate::cluster::{Epoch, NodeId, Slot};
use std::collections::BTreeMap;
use std::fmt;

/// What every reachable primary says about one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotFacts {
    /// By primary, in the order of their ids.
    pub holders: BTreeMap<NodeId, Holder>,
}

/// What one primary says about the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// It says that the slot is its own.
    pub claims: bool,
    /// The slot is open, and leaves it for this node.
    pub migrating: Option<NodeId>,
    /// The slot is open, and comes to it from this node.
    pub importing: Option<NodeId>,
    /// Keys of the slot that it has.
    pub keys: u64,
    /// The epoch of its claims.
    pub config_epoch: Epoch,
    /// How many slots it has.
    pub slots: usize,
}

/// How one slot becomes well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mending {
    /// The slot.
    pub slot: Slot,
    /// A move to be finished first.
    pub finish: Option<(NodeId, NodeId)>,
    /// Who has the slot in the end.
    pub owner: NodeId,
    /// Whether the owner must be given the slot (with an epoch that beats others' claims).
    pub assign: bool,
    /// Who must give up its claim.
    pub renounce: Vec<NodeId>,
    /// Whose keys go to the owner.
    pub gather: Vec<NodeId>,
    /// Who must close the slot.
    pub close: Vec<NodeId>,
}

impl Mending {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.finish.is_none()
            && !self.assign
            && self.renounce.is_empty()
            && self.gather.is_empty()
            && self.close.is_empty()
    }
}

impl fmt::Display for Mending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, owner, .. } = self;
        if let Some((from, to)) = self.finish {
            write!(f, "Slot {slot}: finish its move from {from} to {to}")?;
        } else if self.assign {
            write!(f, "Slot {slot}: give it to {owner}")?;
        } else {
            write!(f, "Slot {slot}: keep it on {owner}")?;
        }
        for node in &self.renounce {
            write!(f, ", {node} gives up its claim")?;
        }
        for node in &self.gather {
            write!(f, ", take its keys from {node}")?;
        }
        for node in &self.close {
            write!(f, ", close it on {node}")?;
        }
        Ok(())
    }
}

/// Decides about one slot. `None` when no primary is left to take it.
pub fn mend(slot: Slot, facts: &SlotFacts) -> Option<Mending> {
    let claimants: Vec<NodeId> = ids(facts, |holder| holder.claims);
    let (owner, assign, finish) = match claimants.as_slice() {
        [] => (best_heir(facts)?, true, None),
        [owner] => match half_done_move(facts, *owner) {
            Some(to) => (to, false, Some((*owner, to))),
            None => (*owner, false, None),
        },
        several => (strongest(facts, several)?, true, None),
    };
    let from = finish.map(|(from, _)| from);
    let is_third = |id: &NodeId| *id != owner && Some(*id) != from;
    let renounce: Vec<NodeId> = claimants.iter().copied().filter(is_third).collect();
    let gather: Vec<NodeId> =
        ids(facts, |holder| holder.keys > 0).into_iter().filter(is_third).collect();
    // A finished move closes its own two ends; a gathering closes the node it takes from.
    let close = ids(facts, |holder| holder.migrating.is_some() || holder.importing.is_some())
        .into_iter()
        .filter(|id| !gather.contains(id) && (finish.is_none() || is_third(id)))
        .collect();
    Some(Mending { slot, finish, owner, assign, renounce, gather, close })
}

fn ids(facts: &SlotFacts, wanted: impl Fn(&Holder) -> bool) -> Vec<NodeId> {
    facts.holders.iter().filter(|(_, holder)| wanted(holder)).map(|(id, _)| *id).collect()
}

/// Where the owner was moving the slot to, if that end still knows of it: it holds the slot open
/// as well, or has keys of it (a replica that was promoted does not know that it was importing).
///
/// Where one end of a move is gone, its heir has another name: it is the one that has the keys. To go on is
/// better than to go back, because the owner sends clients on for the keys that are there already.
fn half_done_move(facts: &SlotFacts, owner: NodeId) -> Option<NodeId> {
    let is_gone = |id: &NodeId| !facts.holders.contains_key(id);
    let only = |wanted: &dyn Fn(&Holder) -> bool| {
        let found = ids(facts, |holder| holder.keys > 0 && wanted(holder));
        let mut others = found.into_iter().filter(|id| *id != owner);
        others.next().filter(|_| others.next().is_none())
    };
    match facts.holders.get(&owner)?.migrating {
        Some(to) if is_gone(&to) => only(&|_| true),
        Some(to) => {
            let end = facts.holders.get(&to)?;
            (end.importing == Some(owner) || end.keys > 0).then_some(to)
        }
        None => only(&|holder| holder.importing.as_ref().is_some_and(is_gone)),
    }
}

/// Who gets a slot that nobody has: whoever has most of its keys, else the poorest.
fn best_heir(facts: &SlotFacts) -> Option<NodeId> {
    let worth = |holder: &Holder| (holder.keys, std::cmp::Reverse(holder.slots));
    let best = facts.holders.iter().rev().max_by_key(|(_, holder)| worth(holder))?;
    Some(*best.0)
}

/// Who keeps a slot that several claim: the one with most keys, else the newest claim, which is
/// what the nodes themselves will agree on.
fn strongest(facts: &SlotFacts, claimants: &[NodeId]) -> Option<NodeId> {
    let worth = |id: &NodeId| {
        let holder = facts.holders[id];
        (holder.keys, holder.config_epoch)
    };
    claimants.iter().copied().max_by_key(worth)
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::id;
    use super::*;
    use proptest::prelude::*;

    const SLOT: u16 = 7;

    fn slot() -> Slot {
        Slot::new(SLOT).expect("in range")
    }

    fn facts(holders: &[(u8, Holder)]) -> SlotFacts {
        SlotFacts { holders: holders.iter().map(|(n, holder)| (id(*n), *holder)).collect() }
    }

    fn bare() -> Holder {
        Holder::default()
    }

    fn owner() -> Holder {
        Holder { claims: true, slots: 10, ..bare() }
    }

    #[test]
    fn a_move_that_stopped_in_the_middle_is_finished() {
        let facts = facts(&[
            (1, Holder { migrating: Some(id(2)), keys: 3, ..owner() }),
            (2, Holder { importing: Some(id(1)), keys: 4, ..bare() }),
            (3, bare()),
        ]);
        let mending = mend(slot(), &facts).expect("an owner");
        assert_eq!(mending.finish, Some((id(1), id(2))));
        assert!(mending.gather.is_empty() && mending.close.is_empty() && !mending.assign);
    }

    #[test]
    fn a_promoted_replica_that_forgot_its_import_still_gets_the_rest() {
        let facts = facts(&[
            (1, Holder { migrating: Some(id(2)), keys: 3, ..owner() }),
            (2, Holder { keys: 4, ..bare() }),
        ]);
        assert_eq!(mend(slot(), &facts).expect("an owner").finish, Some((id(1), id(2))));
    }

    #[test]
    fn the_heir_of_an_end_that_is_gone_goes_on_in_its_place() {
        let gone = Some(id(9));
        let with_keys = Holder { keys: 4, ..bare() };
        let source = Holder { migrating: gone, keys: 3, ..owner() };
        let replaced = facts(&[(1, source), (2, with_keys), (3, bare())]);
        assert_eq!(mend(slot(), &replaced).expect("an owner").finish, Some((id(1), id(2))));

        let destination = Holder { importing: gone, ..with_keys };
        let replaced = facts(&[(1, Holder { keys: 3, ..owner() }), (2, destination), (3, bare())]);
        assert_eq!(mend(slot(), &replaced).expect("an owner").finish, Some((id(1), id(2))));

        let unclear = facts(&[(1, source), (2, with_keys), (3, with_keys)]);
        let mending = mend(slot(), &unclear).expect("an owner");
        assert_eq!((mending.finish, mending.owner), (None, id(1)));
        assert_eq!((mending.close, mending.gather), (vec![id(1)], vec![id(2), id(3)]));
    }

    #[test]
    fn one_open_end_without_keys_is_closed() {
        let source = facts(&[(1, Holder { migrating: Some(id(2)), ..owner() }), (2, bare())]);
        let mending = mend(slot(), &source).expect("an owner");
        assert_eq!((mending.finish, mending.owner, mending.close), (None, id(1), vec![id(1)]));

        let destination = facts(&[(1, owner()), (2, Holder { importing: Some(id(1)), ..bare() })]);
        let mending = mend(slot(), &destination).expect("an owner");
        assert_eq!((mending.finish, mending.owner, mending.close), (None, id(1), vec![id(2)]));
    }

    #[test]
    fn keys_at_an_open_end_that_the_owner_does_not_know_go_back_to_it() {
        let facts =
            facts(&[(1, owner()), (2, Holder { importing: Some(id(1)), keys: 5, ..bare() })]);
        let mending = mend(slot(), &facts).expect("an owner");
        assert_eq!((mending.owner, mending.gather, mending.close), (id(1), vec![id(2)], vec![]));
    }

    #[test]
    fn after_the_destination_was_made_owner_the_source_gives_up_its_claim() {
        let facts = facts(&[
            (1, Holder { migrating: Some(id(2)), config_epoch: Epoch(1), ..owner() }),
            (2, Holder { config_epoch: Epoch(9), ..owner() }),
        ]);
        let mending = mend(slot(), &facts).expect("an owner");
        assert_eq!((mending.owner, mending.renounce), (id(2), vec![id(1)]));
    }

    #[test]
    fn a_slot_without_an_owner_goes_where_its_keys_are_or_to_the_poorest() {
        let rich = Holder { slots: 100, keys: 2, ..bare() };
        let with_keys = facts(&[(1, bare()), (2, rich)]);
        let mending = mend(slot(), &with_keys).expect("an heir");
        assert_eq!((mending.owner, mending.assign), (id(2), true));
        let without =
            facts(&[(1, Holder { slots: 3, ..bare() }), (2, Holder { slots: 2, ..bare() })]);
        assert_eq!(mend(slot(), &without).expect("an heir").owner, id(2));
        assert_eq!(mend(slot(), &SlotFacts::default()), None);
    }

    fn holders() -> impl Strategy<Value = Vec<(u8, Holder)>> {
        // The fifth is gone.
        let link = || prop::option::of(1u8..6);
        let one = (any::<bool>(), link(), link(), 0u64..3, 0u64..5);
        prop::collection::vec(one, 4).prop_map(|holders| {
            let holder = |(n, (claims, migrating, importing, keys, epoch))| {
                let n: u8 = n;
                let (migrating, importing): (Option<u8>, Option<u8>) = (migrating, importing);
                let holder = Holder {
                    claims,
                    migrating: migrating.filter(|to| *to != n && claims).map(id),
                    importing: importing.filter(|from| *from != n && !claims).map(id),
                    keys,
                    config_epoch: Epoch(epoch),
                    slots: usize::from(claims),
                };
                (n, holder)
            };
            (1u8..).zip(holders).map(holder).collect()
        })
    }

    proptest! {
        /// Whatever state the nodes are in, carrying a mending out leaves one owner that has
        /// every key, and nothing open.
        #[test]
        fn a_mended_slot_has_one_owner_with_all_keys_and_is_closed(holders in holders()) {
            let facts = facts(&holders);
            let before: u64 = facts.holders.values().map(|holder| holder.keys).sum();
            let mending = mend(slot(), &facts).expect("there are primaries");
            let mut after = facts.clone();
            let mut take = |from: NodeId, to: NodeId| {
                let keys = std::mem::take(&mut after.holders.get_mut(&from).expect("known").keys);
                after.holders.get_mut(&to).expect("known").keys += keys;
            };
            if let Some((from, to)) = mending.finish {
                take(from, to);
            }
            for from in &mending.gather {
                take(*from, mending.owner);
            }
            for (holder_id, holder) in &mut after.holders {
                let is_end = |(from, to)| from == *holder_id || to == *holder_id;
                if mending.close.contains(holder_id)
                    || mending.gather.contains(holder_id)
                    || mending.finish.is_some_and(is_end)
                {
                    (holder.migrating, holder.importing) = (None, None);
                }
                if mending.renounce.contains(holder_id)
                    || mending.finish.is_some_and(|(from, _)| from == *holder_id)
                {
                    holder.claims = false;
                }
                if *holder_id == mending.owner && (mending.assign || mending.finish.is_some()) {
                    holder.claims = true;
                }
            }
            prop_assert_eq!(after.holders[&mending.owner].keys, before);
            let claimants: Vec<_> = ids(&after, |holder| holder.claims);
            prop_assert_eq!(claimants, vec![mending.owner]);
            prop_assert!(ids(&after, |h| h.migrating.is_some() || h.importing.is_some()).is_empty());
            prop_assert!(mend(slot(), &after).expect("an owner").is_idle());
        }
    }
}
