//! The order and the index of a large sorted set.
//!
//! Members lie in one arena as nodes, and everything points at them by 32-bit numbers. By score,
//! and members of one score by their bytes, a tree holds them in order, which knows their ranks.
//! By member, the nodes are chained into the buckets of an index, which grows and shrinks a bucket
//! at a time and which ZSCAN walks like a table of the store.
//!
//! A node takes 24 bytes, its place in the tree 14 to 20 and that in the index 4 to 8, beside the
//! member's bytes: about half of what pointers take.

mod index;
mod tree;

use self::index::Index;
use self::tree::Tree;
use super::arena::{Arena, NONE};
use crate::store::garbage::FREE_INLINE_MAX;
use crate::store::hasher::Hasher;
use crate::store::thin::Thin;

/// A member with its score, and where it stands in the index.
#[derive(Debug)]
struct Node {
    member: Thin,
    score: f64,
    hash: u32,
    /// The next one in the same bucket of the index.
    chained: u32,
}

/// Members in order, and by name.
#[derive(Debug)]
pub(super) struct Ranking {
    nodes: Arena<Node>,
    tree: Tree,
    index: Index,
    hasher: Hasher,
}

impl Ranking {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self { nodes: Arena::new(), tree: Tree::new(), index: Index::default(), hasher }
    }

    pub(super) fn hasher(&self) -> Hasher {
        self.hasher
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
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

    /// The rank of a member, and its score.
    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let found = self.find(member, self.hasher.hash(member) as u32)?;
        Some((self.tree.rank(&self.nodes, found), self.nodes[found].score))
    }

    /// How many members satisfy `is_before`, which holds for those up to some place in the order
    /// and not for the rest.
    pub(super) fn count_before(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.tree.count_before(|id| {
            let node = &self.nodes[id];
            is_before(node.score, node.member.bytes())
        })
    }

    /// The members from a rank on, upwards or downwards.
    pub(super) fn iter_from(
        &self,
        rank: usize,
        reverse: bool,
    ) -> impl Iterator<Item = (&[u8], f64)> {
        self.tree.iter_from(rank, reverse).map(|id| {
            let node = &self.nodes[id];
            (node.member.bytes(), node.score)
        })
    }

    /// Gives a member a score; the old one, if it was there.
    pub(super) fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let hash = self.hasher.hash(member) as u32;
        let Some(id) = self.find(member, hash) else {
            self.add(member, hash, score);
            return None;
        };
        let old = self.nodes[id].score;
        if old == score {
            return Some(old);
        }
        if self.tree.rescore(&self.nodes, id, score) {
            self.nodes[id].score = score;
        } else {
            self.tree.remove(&self.nodes, id);
            self.nodes[id].score = score;
            self.tree.insert(&self.nodes, id);
        }
        Some(old)
    }

    /// Adds a member that is not there.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) {
        self.add(member, self.hasher.hash(member) as u32, score);
    }

    fn add(&mut self, member: &[u8], hash: u32, score: f64) {
        let node = Node { member: Thin::concat(&[member]), score, hash, chained: NONE };
        let id = self.nodes.add(node);
        self.index.insert(&mut self.nodes, id);
        self.tree.insert(&self.nodes, id);
    }

    /// Removes a member; its score, if it was there.
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let id = self.find(member, self.hasher.hash(member) as u32)?;
        self.tree.remove(&self.nodes, id);
        Some(self.forget(id))
    }

    /// Removes `count` members from a rank on.
    pub(super) fn remove_ranks(&mut self, rank: usize, count: usize) {
        for _ in 0..count {
            let Some(id) = self.tree.remove_at(&self.nodes, rank) else { return };
            self.forget(id);
        }
    }

    /// Whether removing so many members, one by one, takes longer than adding those that stay to
    /// a ranking of their own.
    pub(super) fn is_cheaper_to_rebuild_without(&self, count: usize) -> bool {
        const FEW: usize = 4;
        count > FREE_INLINE_MAX && self.len().saturating_sub(count) <= count / FEW
    }

    /// The members but for `count` of them from a rank on.
    pub(super) fn without(&self, rank: usize, count: usize) -> Self {
        let mut rest = Self::new(self.hasher);
        let before = self.iter_from(0, false).take(rank);
        for (member, score) in before.chain(self.iter_from(rank + count, false)) {
            rest.insert(member, score);
        }
        rest
    }

    fn forget(&mut self, id: u32) -> f64 {
        self.index.remove(&mut self.nodes, id);
        self.nodes.remove(id).score
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
    /// Buckets of the index: those being left by a resize, and those in use.
    pub(super) fn buckets(&self) -> (usize, usize) {
        self.index.buckets()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        const SAMPLE: usize = 64;
        let sampled = self.len().clamp(1, SAMPLE);
        let members = self.iter_from(0, false).take(SAMPLE);
        let bytes: usize = members.map(|(member, _)| member.len() + 4).sum();
        self.nodes.heap_bytes()
            + self.tree.heap_bytes()
            + self.index.heap_bytes()
            + bytes * self.len() / sampled
    }
}

#[cfg(test)]
mod tests;
