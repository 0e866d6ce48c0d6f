//! The order and the index of a large sorted set.
//!
//! Members lie in one arena as nodes, and everything points at them by 32-bit numbers. By score,
//! and members of one score by their bytes, the nodes are a list; above it run express lanes, each
//! with a quarter of the stops of the one below, and every hop of a lane knows how many nodes it
//! passes: a search takes O(log n) steps and yields a rank. By member, the nodes are chained into
//! the buckets of an index, which grows and shrinks a bucket at a time and which ZSCAN walks like
//! a table of the store.
//!
//! ```text
//!  lane 2   head ──────────── 4 ───────────▶ e ───── 2 ─────▶ end
//!  lane 1   head ── 2 ──▶ b ────── 2 ──────▶ e ───── 2 ─────▶ end
//!  nodes            a ◀─▶ b ◀─▶ c ◀─▶ d ◀─▶ e ◀─▶ f
//! ```
//! A node takes 32 bytes, its hops 5 and its place in the index 4, beside the member's bytes:
//! about half of what pointers take. How many lanes stop at a node follows from the hash of its
//! member, whose seed is secret, so that nobody can choose members that make the lanes useless.

mod index;

use self::index::Index;
use super::arena::{Arena, NONE};
use crate::store::hasher::Hasher;
use crate::store::thin::Thin;
use std::cmp::Ordering;

/// Lanes that a list may have: 4^16 nodes.
const LANES_MAX: usize = 16;

/// A member with its score, and where it stands in the list and in the index.
#[derive(Debug)]
struct Node {
    member: Thin,
    score: f64,
    hash: u32,
    /// The next one in the same bucket of the index.
    chained: u32,
    before: u32,
    after: u32,
}

/// A stop of a lane, with the hop that leads on from it.
#[derive(Clone, Debug)]
struct Stop {
    /// The node here; none at the head.
    node: u32,
    /// The next stop of this lane.
    next: u32,
    /// The same place in the lane below; none in the lowest.
    below: u32,
    /// How many nodes further the next stop is; the end counts as one more node.
    hop: u32,
}

/// Members in order, and by name.
#[derive(Debug)]
pub(super) struct SkipList {
    nodes: Arena<Node>,
    stops: Arena<Stop>,
    /// The heads of the lanes, the lowest first.
    heads: Vec<u32>,
    first: u32,
    last: u32,
    index: Index,
    hasher: Hasher,
}

/// The last stop before some place, in every lane, and how many nodes are up to there.
type Path = [(u32, u32); LANES_MAX];

fn order(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    // Scores are never NaN; negative zero equals zero.
    a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1))
}

impl SkipList {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self {
            nodes: Arena::new(),
            stops: Arena::new(),
            heads: Vec::new(),
            first: NONE,
            last: NONE,
            index: Index::default(),
            hasher,
        }
    }

    pub(super) fn hasher(&self) -> Hasher {
        self.hasher
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn place(&self, node: u32) -> (f64, &[u8]) {
        let node = &self.nodes[node];
        (node.score, node.member.bytes())
    }

    fn find(&self, member: &[u8], hash: u32) -> Option<u32> {
        let mut at = self.index.bucket(hash);
        while at != NONE {
            let node = &self.nodes[at];
            if node.hash == hash && node.member.bytes() == member {
                return Some(at);
            }
            at = node.chained;
        }
        None
    }

    /// The score of a member.
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let found = self.find(member, self.hasher.hash(member) as u32)?;
        Some(self.nodes[found].score)
    }

    /// How many nodes from the first on satisfy `is_before`, which holds for a head of the list
    /// and not for the rest; and the last of them.
    fn search(&self, is_before: impl Fn(f64, &[u8]) -> bool, path: &mut Path) -> (u32, u32) {
        let is_before = |node: u32| {
            let (score, member) = self.place(node);
            is_before(score, member)
        };
        let (mut node, mut count) = (NONE, 0);
        let mut lane = self.heads.len();
        let mut at = self.heads.last().copied().unwrap_or(NONE);
        while at != NONE {
            lane -= 1;
            let mut stop = &self.stops[at];
            while stop.next != NONE && is_before(self.stops[stop.next].node) {
                count += stop.hop;
                at = stop.next;
                stop = &self.stops[at];
            }
            path[lane] = (at, count);
            node = stop.node;
            at = stop.below;
        }
        let mut next = if node == NONE { self.first } else { self.nodes[node].after };
        while next != NONE && is_before(next) {
            count += 1;
            node = next;
            next = self.nodes[next].after;
        }
        (count, node)
    }

    /// How many members satisfy `is_before`, which holds for those up to some place in the order
    /// and not for the rest.
    pub(super) fn count_before(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.search(is_before, &mut [(NONE, 0); LANES_MAX]).0 as usize
    }

    /// The rank of a member, which is known to be there with this score.
    pub(super) fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.count_before(|s, m| order((s, m), (score, member)).is_lt())
    }

    /// The node of a rank.
    fn at(&self, rank: usize) -> u32 {
        if rank >= self.len() {
            return NONE;
        }
        if rank == 0 {
            return self.first;
        }
        if rank + 1 == self.len() {
            return self.last;
        }
        let wanted = rank as u32 + 1;
        let (mut node, mut count) = (NONE, 0);
        let mut at = self.heads.last().copied().unwrap_or(NONE);
        while at != NONE {
            let mut stop = &self.stops[at];
            while stop.next != NONE && count + stop.hop <= wanted {
                count += stop.hop;
                stop = &self.stops[stop.next];
            }
            node = stop.node;
            at = stop.below;
        }
        while count < wanted {
            node = if node == NONE { self.first } else { self.nodes[node].after };
            count += 1;
        }
        node
    }

    /// The members from a rank on, upwards or downwards.
    pub(super) fn iter_from(
        &self,
        rank: usize,
        reverse: bool,
    ) -> impl Iterator<Item = (&[u8], f64)> {
        let mut at = self.at(rank);
        std::iter::from_fn(move || {
            if at == NONE {
                return None;
            }
            let node = &self.nodes[at];
            at = if reverse { node.before } else { node.after };
            Some((node.member.bytes(), node.score))
        })
    }

    /// Adds a member that is not there.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) {
        let hash = self.hasher.hash(member);
        let node = Node {
            member: Thin::concat(&[member]),
            score,
            hash: hash as u32,
            chained: NONE,
            before: NONE,
            after: NONE,
        };
        let id = self.nodes.add(node);
        self.index.insert(&mut self.nodes, id);
        self.link(id, lanes(hash));
    }

    /// Gives a member another score; the old one, if it is there.
    pub(super) fn update(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let hash = self.hasher.hash(member);
        let id = self.find(member, hash as u32)?;
        let node = &self.nodes[id];
        let old = node.score;
        if old == score {
            return Some(old);
        }
        let fits = |neighbour: u32, wanted: Ordering| {
            neighbour == NONE || order(self.place(neighbour), (score, member)) == wanted
        };
        // Where it stays between its neighbours nothing has to be linked anew.
        if fits(node.before, Ordering::Less) && fits(node.after, Ordering::Greater) {
            self.nodes[id].score = score;
            return Some(old);
        }
        self.unlink(id);
        self.nodes[id].score = score;
        self.link(id, lanes(hash));
        Some(old)
    }

    /// Removes a member; its score, if it was there.
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let id = self.find(member, self.hasher.hash(member) as u32)?;
        Some(self.remove_node(id))
    }

    /// Removes `count` members from a rank on.
    pub(super) fn remove_ranks(&mut self, rank: usize, count: usize) {
        let mut at = self.at(rank);
        for _ in 0..count {
            if at == NONE {
                return;
            }
            let next = self.nodes[at].after;
            self.remove_node(at);
            at = next;
        }
    }

    fn remove_node(&mut self, id: u32) -> f64 {
        self.unlink(id);
        self.index.remove(&mut self.nodes, id);
        self.nodes.remove(id).score
    }

    /// Puts a node where its score and member belong, with stops in so many lanes. It is in the
    /// arena already.
    fn link(&mut self, id: u32, lanes: usize) {
        // Nodes that are linked: this one is not.
        let linked = self.nodes.len() as u32 - 1;
        while self.heads.len() < lanes {
            let below = self.heads.last().copied().unwrap_or(NONE);
            let head = Stop { node: NONE, next: NONE, below, hop: linked + 1 };
            self.heads.push(self.stops.add(head));
        }
        let mut path = [(NONE, 0); LANES_MAX];
        let place = self.place(id);
        let (rank, before) =
            self.search(|score, member| order((score, member), place).is_lt(), &mut path);

        let after = if before == NONE { self.first } else { self.nodes[before].after };
        (self.nodes[id].before, self.nodes[id].after) = (before, after);
        match before {
            NONE => self.first = id,
            before => self.nodes[before].after = id,
        }
        match after {
            NONE => self.last = id,
            after => self.nodes[after].before = id,
        }

        let mut below = NONE;
        for (lane, &(at, count)) in path[..self.heads.len()].iter().enumerate() {
            let to_here = rank - count + 1;
            let stop = &mut self.stops[at];
            if lane >= lanes {
                stop.hop += 1;
                continue;
            }
            let new = Stop { node: id, next: stop.next, below, hop: stop.hop + 1 - to_here };
            stop.hop = to_here;
            below = self.stops.add(new);
            self.stops[at].next = below;
        }
    }

    /// Takes a node out of the list and its lanes; it stays in the arena.
    fn unlink(&mut self, id: u32) {
        let mut path = [(NONE, 0); LANES_MAX];
        let place = self.place(id);
        self.search(|score, member| order((score, member), place).is_lt(), &mut path);
        for &(at, _) in &path[..self.heads.len()] {
            let next = self.stops[at].next;
            if next != NONE && self.stops[next].node == id {
                let gone = self.stops.remove(next);
                self.stops[at].next = gone.next;
                self.stops[at].hop += gone.hop - 1;
            } else {
                self.stops[at].hop -= 1;
            }
        }
        let Node { before, after, .. } = self.nodes[id];
        match before {
            NONE => self.first = after,
            before => self.nodes[before].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.nodes[after].before = before,
        }
    }

    /// Visits the members of one bucket of the index, as [`crate::store::Table::scan`] does.
    pub(super) fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        self.index.scan(cursor, |mut at| {
            while at != NONE {
                let node = &self.nodes[at];
                visit(node.member.bytes(), node.score);
                at = node.chained;
            }
        })
    }

    /// Bytes on the heap; the members' from a sample of them.
    pub(super) fn heap_bytes(&self) -> usize {
        const SAMPLE: usize = 64;
        let sampled = self.len().clamp(1, SAMPLE);
        let members = self.iter_from(0, false).take(SAMPLE);
        let bytes: usize = members.map(|(member, _)| member.len() + 4).sum();
        self.nodes.heap_bytes()
            + self.stops.heap_bytes()
            + self.heads.capacity() * 4
            + self.index.heap_bytes()
            + bytes * self.len() / sampled
    }

    #[cfg(test)]
    fn check(&self) {
        let order: Vec<u32> =
            std::iter::successors((self.first != NONE).then_some(self.first), |&node| {
                let after = self.nodes[node].after;
                (after != NONE).then_some(after)
            })
            .collect();
        assert_eq!(order.len(), self.len());
        for pair in order.windows(2) {
            assert_eq!(self.nodes[pair[1]].before, pair[0]);
            assert!(super::skip_list::order(self.place(pair[0]), self.place(pair[1])).is_lt());
        }
        let rank = |node: u32| match node {
            NONE => 0,
            node => 1 + order.iter().position(|&other| other == node).expect("it is listed"),
        };
        for &head in &self.heads {
            let mut at = head;
            loop {
                let stop = &self.stops[at];
                let end = order.len() + 1;
                let next = if stop.next == NONE { end } else { rank(self.stops[stop.next].node) };
                assert_eq!(rank(stop.node) + stop.hop as usize, next);
                if stop.next == NONE {
                    break;
                }
                at = stop.next;
            }
        }
    }
}

/// In how many lanes a node stops: one in four in the first, one in sixteen in the second, …
fn lanes(hash: u64) -> usize {
    ((hash >> 32) as u32).trailing_zeros() as usize / 2
}

#[cfg(test)]
mod tests;
