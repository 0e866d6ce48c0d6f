//! Which slots change hands so that every primary has its share by weight.

use super::plan::Move;
use super::reshard::apportion;
use crate::cluster::{NodeId, SlotSet};

/// A primary, what it has, and how much it should carry: 0 empties it.
#[derive(Clone, Copy, Debug)]
pub struct Weighted<'a> {
    /// The primary.
    pub id: NodeId,
    /// Its slots.
    pub slots: &'a SlotSet,
    /// Its weight; never negative.
    pub weight: f64,
}

/// Slots that one primary hands to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who gives.
    pub from: NodeId,
    /// Who gets.
    pub to: NodeId,
    /// The slots, lowest first.
    pub moves: Vec<Move>,
}

/// Evens out. No slot moves unless some primary is further than `threshold` percent from its
/// share; then as few as possible move: exactly what primaries have too much.
pub fn plan_rebalance(primaries: &[Weighted<'_>], threshold: f64) -> Vec<Transfer> {
    let total: usize = primaries.iter().map(|primary| primary.slots.len()).sum();
    let weights: Vec<f64> = primaries.iter().map(|primary| primary.weight).collect();
    let targets = apportion(total, &weights, |n| primaries[n].slots.len());
    let balanced =
        primaries.iter().zip(&targets).all(|(p, &target)| is_within(p, target, threshold));
    if balanced {
        return Vec::new();
    }
    let mut givers: Vec<(usize, usize)> = Vec::new();
    let mut takers: Vec<(usize, usize)> = Vec::new();
    for (n, (primary, &target)) in primaries.iter().zip(&targets).enumerate() {
        let own = primary.slots.len();
        if own > target {
            givers.push((n, own - target));
        } else if own < target {
            takers.push((n, target - own));
        }
    }
    givers.sort_by_key(|(_, surplus)| std::cmp::Reverse(*surplus));
    takers.sort_by_key(|(_, missing)| std::cmp::Reverse(*missing));
    pair_up(primaries, &givers, &mut takers)
}

/// redis-trib's measure: how far the share is from what the primary has, in percent of that.
fn is_within(primary: &Weighted<'_>, target: usize, threshold: f64) -> bool {
    let own = primary.slots.len();
    if own == 0 {
        return target <= 1;
    }
    // An emptied node is not done while it has any slot, whatever the threshold.
    if target == 0 {
        return false;
    }
    (100.0 - 100.0 * target as f64 / own as f64).abs() <= threshold
}

fn pair_up(
    primaries: &[Weighted<'_>],
    givers: &[(usize, usize)],
    takers: &mut [(usize, usize)],
) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    let mut taker = 0;
    for (giver, surplus) in givers {
        let from = primaries[*giver].id;
        let mut slots = primaries[*giver].slots.iter().take(*surplus).peekable();
        while slots.peek().is_some() {
            let (n, missing) = &mut takers[taker];
            let to = primaries[*n].id;
            let moves: Vec<Move> =
                slots.by_ref().take(*missing).map(|slot| Move { slot, from, to }).collect();
            *missing -= moves.len();
            if *missing == 0 {
                taker += 1;
            }
            transfers.push(Transfer { from, to, moves });
        }
    }
    transfers
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::id;
    use super::*;
    use crate::cluster::Slot;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(slots: std::ops::Range<u16>) -> SlotSet {
        slots.filter_map(|n| Slot::new(n).ok()).collect()
    }

    fn weighted<'a>(sets: &'a [SlotSet], weights: &[f64]) -> Vec<Weighted<'a>> {
        let primary = |(n, (slots, weight)): (usize, (&'a SlotSet, &f64))| Weighted {
            id: id(n as u8),
            slots,
            weight: *weight,
        };
        sets.iter().zip(weights).enumerate().map(primary).collect()
    }

    #[test]
    fn within_the_threshold_nothing_moves() {
        let sets = [range(0..5400), range(5400..10923), range(10923..16384)];
        assert!(plan_rebalance(&weighted(&sets, &[1.0; 3]), 2.0).is_empty());
        assert!(!plan_rebalance(&weighted(&sets, &[1.0; 3]), 1.0).is_empty());
    }

    #[test]
    fn an_empty_primary_gets_its_share_and_one_of_weight_0_is_emptied() {
        let sets = [range(0..8192), range(8192..16384), range(0..0)];
        let transfers = plan_rebalance(&weighted(&sets, &[1.0, 0.0, 1.0]), 2.0);
        assert_eq!(transfers.len(), 1);
        assert_eq!((transfers[0].from, transfers[0].to), (id(1), id(2)));
        assert_eq!(transfers[0].moves.len(), 8192);
    }

    proptest! {
        #[test]
        fn weights_are_honoured_by_the_fewest_moves(
            parts in prop::collection::vec((1u16..1000, 0u8..4), 2..10),
        ) {
            let total: u32 = parts.iter().map(|(part, _)| u32::from(*part)).sum();
            let (mut sets, mut at) = (Vec::new(), 0u32);
            let mut sum = 0u32;
            for (part, _) in &parts {
                sum += u32::from(*part);
                let end = (Slot::COUNT as u32 * sum / total).min(Slot::COUNT as u32);
                sets.push(range(at as u16..end as u16));
                at = end;
            }
            let weights: Vec<f64> = parts.iter().map(|(_, weight)| f64::from(*weight)).collect();
            prop_assume!(weights.iter().sum::<f64>() > 0.0);
            let primaries = weighted(&sets, &weights);
            let transfers = plan_rebalance(&primaries, 0.0);

            let mut after = sets.clone();
            let mut moved = BTreeSet::new();
            for m in transfers.iter().flat_map(|transfer| &transfer.moves) {
                prop_assert!(moved.insert(m.slot), "slot {} moves once", m.slot);
                let number = |who: NodeId| (0..parts.len()).find(|&n| id(n as u8) == who);
                prop_assert!(after[number(m.from).expect("a giver")].remove(m.slot));
                prop_assert!(after[number(m.to).expect("a taker")].insert(m.slot));
            }
            let sum: f64 = weights.iter().sum();
            let mut fewest = 0;
            for ((before, after), weight) in sets.iter().zip(&after).zip(&weights) {
                let exact = Slot::COUNT as f64 * weight / sum;
                prop_assert!((after.len() as f64 - exact).abs() < 1.0 + 1e-6);
                fewest += before.len().saturating_sub(after.len());
            }
            prop_assert_eq!(moved.len(), fewest, "nobody gives and takes");
            prop_assert_eq!(after.iter().map(SlotSet::len).sum::<usize>(), Slot::COUNT);
            let again = weighted(&after, &weights);
            prop_assert!(plan_rebalance(&again, 0.0).is_empty(), "what is even stays as it is");
        }
    }
}
