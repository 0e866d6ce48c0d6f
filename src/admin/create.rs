//! Where primaries and replicas go in a cluster that does not exist yet.
//!
//! Primaries are taken from the hosts in turn, so that a host that dies takes as few of them as
//! possible. Replicas are matched to primaries on other hosts: a maximum matching, because a
//! greedy choice can leave a primary with only its own host's nodes when a swap would not.

use crate::cluster::{Endpoint, Slot, SlotSet};

/// A cluster of this many primaries survives the loss of one: below, a majority needs all.
pub const PRIMARIES_MIN: usize = 3;

/// Who becomes what. Numbers are positions in the list of nodes that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The primaries, and the slots of each: contiguous, in order, all of them together.
    pub primaries: Vec<(usize, SlotSet)>,
    /// The replicas: (replica, its primary), in the order in which they were assigned.
    pub replicas: Vec<(usize, usize)>,
}

/// Too few nodes for so many replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewNodes {
    /// Nodes given.
    pub nodes: usize,
    /// Replicas asked for, per primary.
    pub replicas: usize,
    /// Nodes that would do.
    pub needed: usize,
}

impl std::fmt::Display for TooFewNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "*** ERROR: Invalid configuration for cluster creation.\n\
             *** Redis Cluster requires at least 3 master nodes.\n\
             *** This is not possible with {} nodes and {} replicas per node.\n\
             *** At least {} nodes are required.",
            self.nodes, self.replicas, self.needed
        )
    }
}

impl std::error::Error for TooFewNodes {}

/// Places `replicas` replicas per primary; nodes that are left over become further replicas, one
/// per primary in turn.
///
/// # Errors
/// Fewer than `primaries_min` primaries would result.
pub fn place(
    nodes: &[Endpoint],
    replicas: usize,
    primaries_min: usize,
) -> Result<Placement, TooFewNodes> {
    let too_few = TooFewNodes {
        nodes: nodes.len(),
        replicas,
        needed: primaries_min.saturating_mul(replicas.saturating_add(1)),
    };
    let count = nodes.len() / replicas.saturating_add(1);
    if count < primaries_min.max(1) || count > Slot::COUNT {
        return Err(too_few);
    }
    let order = interleave(nodes);
    let (primaries, rest) = order.split_at(count);
    let slots = share_out(count);
    let seats = seats(primaries, replicas, rest.len());
    Ok(Placement {
        primaries: primaries.iter().copied().zip(slots).collect(),
        replicas: Matching::of(nodes, &seats, rest).into_pairs(),
    })
}

/// The nodes, one of each host in turn; hosts in the order of their first node.
fn interleave(nodes: &[Endpoint]) -> Vec<usize> {
    let mut hosts: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        match hosts.iter_mut().find(|(host, _)| *host == node.host) {
            Some((_, members)) => members.push(index),
            None => hosts.push((&node.host, vec![index])),
        }
    }
    let longest = hosts.iter().map(|(_, members)| members.len()).max().unwrap_or(0);
    let turn = |n: usize| hosts.iter().filter_map(move |(_, members)| members.get(n).copied());
    (0..longest).flat_map(turn).collect()
}

/// All slots in `count` contiguous parts that differ by at most one, rounded as redis-trib does.
fn share_out(count: usize) -> Vec<SlotSet> {
    let share = Slot::COUNT as f64 / count as f64;
    let mut first = 0usize;
    let part = |n: usize| {
        let end = if n + 1 == count {
            Slot::COUNT
        } else {
            ((n + 1) as f64 * share - 1.0).round() as usize + 1
        };
        let slots = (first..end).filter_map(|slot| Slot::new(slot as u16).ok()).collect();
        first = end;
        slots
    };
    (0..count).map(part).collect()
}

/// One entry per replica to be placed: the primary it is for.
fn seats(primaries: &[usize], replicas: usize, available: usize) -> Vec<usize> {
    let asked = primaries.iter().flat_map(|&primary| std::iter::repeat_n(primary, replicas));
    let extra = primaries.iter().copied().cycle();
    asked.chain(extra).take(available).collect()
}

/// Seats (of primaries) matched to the nodes that will follow them.
struct Matching<'a> {
    nodes: &'a [Endpoint],
    seats: &'a [usize],
    rest: &'a [usize],
    /// Per seat, the position in `rest` of the node that has it.
    taken: Vec<Option<usize>>,
}

impl<'a> Matching<'a> {
    fn of(nodes: &'a [Endpoint], seats: &'a [usize], rest: &'a [usize]) -> Self {
        let mut matching = Self { nodes, seats, rest, taken: vec![None; seats.len()] };
        matching.fill_greedily();
        for seat in 0..seats.len() {
            if matching.taken[seat].is_none() {
                matching.augment(seat, &mut vec![false; rest.len()]);
            }
        }
        matching.fill_anyhow();
        matching
    }

    fn holder(&self, candidate: usize) -> Option<usize> {
        self.taken.iter().position(|taken| *taken == Some(candidate))
    }

    fn is_apart(&self, seat: usize, candidate: usize) -> bool {
        self.nodes[self.seats[seat]].host != self.nodes[self.rest[candidate]].host
    }

    /// Whether another replica of the seat's primary is already on the candidate's host.
    fn doubles_up(&self, seat: usize, candidate: usize) -> bool {
        let host = &self.nodes[self.rest[candidate]].host;
        (0..self.seats.len()).any(|other| {
            other != seat
                && self.seats[other] == self.seats[seat]
                && self.taken[other].is_some_and(|c| self.nodes[self.rest[c]].host == *host)
        })
    }

    /// Each seat takes the first free node of another host, of a host that has no other replica
    /// of the same primary if there is one.
    fn fill_greedily(&mut self) {
        let mut free = vec![true; self.rest.len()];
        for seat in 0..self.seats.len() {
            let apart: Vec<usize> =
                (0..self.rest.len()).filter(|&c| free[c] && self.is_apart(seat, c)).collect();
            let choice = apart.iter().find(|&&c| !self.doubles_up(seat, c)).or(apart.first());
            if let Some(&candidate) = choice {
                free[candidate] = false;
                self.taken[seat] = Some(candidate);
            }
        }
    }

    /// Kuhn's step: finds a node of another host for `seat`, moving others along if need be.
    fn augment(&mut self, seat: usize, tried: &mut Vec<bool>) -> bool {
        for candidate in 0..self.rest.len() {
            if tried[candidate] || !self.is_apart(seat, candidate) {
                continue;
            }
            tried[candidate] = true;
            let free = match self.holder(candidate) {
                None => true,
                Some(other) => self.augment(other, tried),
            };
            if free {
                self.taken[seat] = Some(candidate);
                return true;
            }
        }
        false
    }

    /// What has no other host to go to follows whom it can.
    fn fill_anyhow(&mut self) {
        for seat in 0..self.seats.len() {
            if self.taken[seat].is_none() {
                self.taken[seat] = (0..self.rest.len()).find(|&c| self.holder(c).is_none());
            }
        }
    }

    fn into_pairs(self) -> Vec<(usize, usize)> {
        let pair = |(seat, taken): (usize, &Option<usize>)| {
            taken.map(|candidate| (self.rest[candidate], self.seats[seat]))
        };
        self.taken.iter().enumerate().filter_map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes(texts: &[&str]) -> Vec<Endpoint> {
        texts.iter().map(|text| Endpoint::parse(text).expect("an endpoint")).collect()
    }

    #[test]
    fn six_nodes_of_one_host_become_the_handbooks_cluster() {
        let nodes = nodes(&["h:8000", "h:8001", "h:8002", "h:8003", "h:8004", "h:8005"]);
        let placement = place(&nodes, 1, PRIMARIES_MIN).expect("enough");
        let slots: Vec<String> =
            placement.primaries.iter().map(|(n, s)| format!("{n}: {s}")).collect();
        assert_eq!(slots, ["0: 0-5460", "1: 5461-10922", "2: 10923-16383"]);
        assert_eq!(placement.replicas, [(3, 0), (4, 1), (5, 2)]);
    }

    #[test]
    fn too_few_nodes_are_refused_in_redis_tribs_words() {
        let error = place(&nodes(&["h:1", "h:2", "h:3"]), 1, PRIMARIES_MIN).expect_err("too few");
        assert_eq!(
            error.to_string(),
            "*** ERROR: Invalid configuration for cluster creation.\n\
             *** Redis Cluster requires at least 3 master nodes.\n\
             *** This is not possible with 3 nodes and 1 replicas per node.\n\
             *** At least 6 nodes are required."
        );
    }

    #[test]
    fn a_swap_is_found_where_the_greedy_choice_leaves_a_primary_alone() {
        // Greedily a's primary takes b's node and so on, and the last has only its own host.
        let nodes = nodes(&["a:1", "b:1", "c:1", "b:2", "c:2", "c:3"]);
        let placement = place(&nodes, 1, PRIMARIES_MIN).expect("enough");
        for (replica, primary) in placement.replicas {
            assert_ne!(nodes[replica].host, nodes[primary].host);
        }
    }

    proptest! {
        #[test]
        fn every_slot_has_one_primary_and_every_node_one_role(
            hosts in prop::collection::vec(0u8..6, 3..40),
            replicas in 0usize..4,
        ) {
            let nodes: Vec<Endpoint> = hosts
                .iter()
                .enumerate()
                .map(|(n, host)| Endpoint::new(format!("10.0.0.{host}"), 7000 + n as u16))
                .collect();
            let Ok(placement) = place(&nodes, replicas, PRIMARIES_MIN) else {
                prop_assert!(nodes.len() < PRIMARIES_MIN * (replicas + 1));
                return Ok(());
            };
            let mut covered = SlotSet::new();
            let (mut least, mut most) = (Slot::COUNT, 0);
            for (_, slots) in &placement.primaries {
                prop_assert_eq!(slots.ranges().len(), 1);
                (least, most) = (least.min(slots.len()), most.max(slots.len()));
                for slot in slots.iter() {
                    prop_assert!(covered.insert(slot), "slot {} twice", slot);
                }
            }
            prop_assert_eq!(covered.len(), Slot::COUNT);
            prop_assert!(most - least <= 1);

            let mut used: Vec<usize> = placement.primaries.iter().map(|(n, _)| *n).collect();
            used.extend(placement.replicas.iter().map(|(replica, _)| *replica));
            used.sort_unstable();
            prop_assert_eq!(used, (0..nodes.len()).collect::<Vec<_>>());

            let counts: Vec<usize> = placement
                .primaries
                .iter()
                .map(|(n, _)| placement.replicas.iter().filter(|(_, p)| p == n).count())
                .collect();
            let fewest = counts.iter().min().copied().unwrap_or(0);
            prop_assert!(fewest >= replicas);
            prop_assert!(counts.iter().max().copied().unwrap_or(0) - fewest <= 1);
        }

        /// Nobody could place replicas so that fewer of them share their primary's host.
        #[test]
        fn no_other_assignment_keeps_more_replicas_apart(
            hosts in prop::collection::vec(0u8..4, 4..12),
            replicas in 0usize..3,
        ) {
            let nodes: Vec<Endpoint> = hosts
                .iter()
                .enumerate()
                .map(|(n, host)| Endpoint::new(format!("10.0.0.{host}"), 7000 + n as u16))
                .collect();
            let Ok(placement) = place(&nodes, replicas, 2) else { return Ok(()) };
            let beside = |pairs: &[(usize, usize)]| {
                pairs.iter().filter(|(r, p)| nodes[*r].host == nodes[*p].host).count()
            };
            let seats: Vec<usize> = placement.replicas.iter().map(|(_, p)| *p).collect();
            let mut rest: Vec<usize> = placement.replicas.iter().map(|(r, _)| *r).collect();
            if rest.len() > 5 {
                return Ok(());
            }
            let best = fewest(0, &seats, &mut rest, &beside);
            prop_assert_eq!(beside(&placement.replicas), best);
        }
    }

    /// The least of `count` over all ways to give `rest`, from `at` on, to `seats`.
    fn fewest(
        at: usize,
        seats: &[usize],
        rest: &mut Vec<usize>,
        count: &impl Fn(&[(usize, usize)]) -> usize,
    ) -> usize {
        if at == rest.len() {
            let pairs: Vec<_> = rest.iter().copied().zip(seats.iter().copied()).collect();
            return count(&pairs);
        }
        let mut best = usize::MAX;
        for other in at..rest.len() {
            rest.swap(at, other);
            best = best.min(fewest(at + 1, seats, rest, count));
            rest.swap(at, other);
        }
        best
    }
}
