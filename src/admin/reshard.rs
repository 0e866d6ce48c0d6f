//! Which slots leave which primaries, so that one gets so many more.
//!
//! Every source gives in proportion to what it has; whole numbers by largest remainder, so the
//! sum is what was asked for. A source gives its lowest slots first.

use super::plan::Move;
use super::snapshot::Snapshot;
use crate::cluster::{NodeId, Slot, SlotSet};

/// The sources have fewer slots than are to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The source nodes have {available} slots: {asked} can't be moved.")]
pub struct NotEnoughSlots {
    /// What the sources have.
    pub available: usize,
    /// What was asked for.
    pub asked: usize,
}

/// Takes `count` slots from `sources` for `to`. Richest source first.
///
/// # Errors
/// There are not that many slots.
pub fn plan_reshard(
    sources: &[(NodeId, &SlotSet)],
    to: NodeId,
    count: usize,
) -> Result<Vec<Move>, NotEnoughSlots> {
    let available: usize = sources.iter().map(|(_, slots)| slots.len()).sum();
    if count > available {
        return Err(NotEnoughSlots { available, asked: count });
    }
    let mut sources = sources.to_vec();
    sources.sort_by_key(|(_, slots)| std::cmp::Reverse(slots.len()));
    let weights: Vec<f64> = sources.iter().map(|(_, slots)| slots.len() as f64).collect();
    let shares = apportion(count, &weights, |n| sources[n].1.len());
    let moves = sources.iter().zip(shares).flat_map(|((from, slots), share)| {
        slots.iter().take(share).map(|slot: Slot| Move { slot, from: *from, to })
    });
    Ok(moves.collect())
}

/// Of moves that were begun by another run, those still to be made; `None` if the cluster has gone
/// other ways since, so that the plan means nothing any more.
pub fn left_of(moves: &[Move], snapshot: &Snapshot) -> Option<Vec<Move>> {
    let mut left = Vec::new();
    for slot_move in moves {
        let owners: Vec<NodeId> =
            snapshot.claimants(slot_move.slot).iter().map(|node| node.id()).collect();
        match owners.as_slice() {
            [owner] if *owner == slot_move.to => {}
            [owner] if *owner == slot_move.from => left.push(*slot_move),
            _ => return None,
        }
    }
    Some(left)
}

/// Divides `total` by weights into whole numbers that sum up to it: each part is its exact share
/// rounded down or up. Of equal remainders, the one for which `prefer` is larger is rounded up.
pub(super) fn apportion(
    total: usize,
    weights: &[f64],
    prefer: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|weight| total as f64 * weight / sum).collect();
    let mut parts: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
    let mut order: Vec<usize> = (0..weights.len()).filter(|&n| weights[n] > 0.0).collect();
    order.sort_by(|&a, &b| {
        let (left, right) = (exact[a].fract(), exact[b].fract());
        right.total_cmp(&left).then(prefer(b).cmp(&prefer(a)))
    });
    let missing = total.saturating_sub(parts.iter().sum());
    for &n in order.iter().cycle().take(missing) {
        parts[n] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::{cluster, id};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(slots: std::ops::Range<u16>) -> SlotSet {
        slots.filter_map(|n| Slot::new(n).ok()).collect()
    }

    #[test]
    fn the_handbooks_4096_slots_come_from_three_primaries_alike() {
        let (a, b, c) = (range(0..5461), range(5461..10923), range(10923..16384));
        let sources = [(id(1), &a), (id(2), &b), (id(3), &c)];
        let moves = plan_reshard(&sources, id(9), 4096).expect("enough");
        let from = |n| moves.iter().filter(|m| m.from == id(n)).count();
        assert_eq!((from(1), from(2), from(3)), (1365, 1366, 1365));
        assert_eq!((moves[0].slot.number(), moves[0].from), (5461, id(2)), "the richest first");
    }

    #[test]
    fn what_is_left_of_a_plan_is_what_its_sources_still_have() {
        let snapshot = cluster(&["1 master 0-99", "2 master 100-199", "3 master 200-16383"]);
        let slot = |n| Slot::new(n).expect("in range");
        let step = |n, from: u8| Move { slot: slot(n), from: id(from), to: id(2) };
        assert_eq!(left_of(&[step(5, 1), step(100, 1)], &snapshot), Some(vec![step(5, 1)]));
        assert_eq!(left_of(&[step(5, 1), step(300, 1)], &snapshot), None, "300 is a third node's");
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let slots = range(0..10);
        let error = plan_reshard(&[(id(1), &slots)], id(2), 11).expect_err("too many");
        assert_eq!(error, NotEnoughSlots { available: 10, asked: 11 });
    }

    proptest! {
        #[test]
        fn as_many_slots_move_as_asked_each_once_and_in_proportion(
            bounds in prop::collection::btree_set(1u16..16_384, 0..12),
            share in 0.0f64..=1.0,
        ) {
            let mut bounds: Vec<u16> = bounds.into_iter().collect();
            bounds.insert(0, 0);
            bounds.push(16_384);
            let sets: Vec<SlotSet> = bounds.windows(2).map(|w| range(w[0]..w[1])).collect();
            let sources: Vec<_> =
                sets.iter().enumerate().map(|(n, set)| (id(n as u8), set)).collect();
            let count = (Slot::COUNT as f64 * share) as usize;
            let moves = plan_reshard(&sources, id(99), count).expect("all slots are there");
            prop_assert_eq!(moves.len(), count);
            let moved: BTreeSet<Slot> = moves.iter().map(|m| m.slot).collect();
            prop_assert_eq!(moved.len(), count, "no slot twice");
            for (from, set) in &sources {
                let given = moves.iter().filter(|m| m.from == *from).count();
                let exact = count as f64 * set.len() as f64 / Slot::COUNT as f64;
                prop_assert!((given as f64 - exact).abs() < 1.0 + 1e-6);
                prop_assert!(moves.iter().filter(|m| m.from == *from).all(|m| set.contains(m.slot)));
            }
        }
    }
}
