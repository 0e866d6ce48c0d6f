//! The nodes of a skip list by the hashes of their members.
//!
//! It is not the store's table: that one holds what knows its own key, and a second pointer to
//! every member is what this saves. Like it, it resizes a few buckets at a time and can be scanned
//! meanwhile.

use super::{Arena, NONE, Node};

/// Which nodes have which hash: buckets, each the first of a chain of nodes.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// What is being left, while there is a resize; empty otherwise.
    old: Vec<u32>,
    new: Vec<u32>,
    /// Old buckets below this one have moved.
    moved: usize,
    len: usize,
}

impl Index {
    /// The smallest index.
    const BUCKETS_MIN: usize = 16;
    /// Old buckets that each insertion and each removal moves.
    const STEP: usize = 4;

    /// Buckets that are being left by a resize, and those in use.
    pub(super) fn buckets(&self) -> (usize, usize) {
        (self.old.len(), self.new.len())
    }

    fn slot(&self, hash: u32) -> (bool, usize) {
        if !self.old.is_empty() {
            let index = hash as usize & (self.old.len() - 1);
            if index >= self.moved {
                return (true, index);
            }
        }
        (false, hash as usize & (self.new.len().wrapping_sub(1)))
    }

    pub(super) fn bucket(&self, hash: u32) -> u32 {
        let (old, index) = self.slot(hash);
        let side = if old { &self.old } else { &self.new };
        side.get(index).copied().unwrap_or(NONE)
    }

    fn bucket_mut(&mut self, hash: u32) -> &mut u32 {
        let (old, index) = self.slot(hash);
        if old { &mut self.old[index] } else { &mut self.new[index] }
    }

    pub(super) fn insert(&mut self, nodes: &mut Arena<Node>, id: u32) {
        self.step(nodes);
        if self.new.is_empty() {
            self.new = vec![NONE; Self::BUCKETS_MIN];
        } else if self.old.is_empty() && self.len >= self.new.len() {
            self.resize(self.new.len() * 2);
        }
        self.len += 1;
        let bucket = self.bucket_mut(nodes[id].hash);
        nodes[id].chained = *bucket;
        *bucket = id;
    }

    pub(super) fn remove(&mut self, nodes: &mut Arena<Node>, id: u32) {
        let Node { hash, chained, .. } = nodes[id];
        let bucket = self.bucket_mut(hash);
        if *bucket == id {
            *bucket = chained;
        } else {
            let mut at = *bucket;
            while nodes[at].chained != id {
                at = nodes[at].chained;
            }
            nodes[at].chained = chained;
        }
        self.len -= 1;
        self.step(nodes);
        if self.old.is_empty()
            && self.new.len() > Self::BUCKETS_MIN
            && self.len * 8 < self.new.len()
        {
            self.resize(self.new.len() / 4);
        }
    }

    fn resize(&mut self, buckets: usize) {
        let buckets = buckets.max(Self::BUCKETS_MIN);
        self.old = std::mem::replace(&mut self.new, vec![NONE; buckets]);
        self.moved = 0;
    }

    fn step(&mut self, nodes: &mut Arena<Node>) {
        if self.old.is_empty() {
            return;
        }
        for _ in 0..Self::STEP {
            if self.moved == self.old.len() {
                self.old = Vec::new();
                self.moved = 0;
                return;
            }
            let mut at = self.old[self.moved];
            self.moved += 1;
            let mask = self.new.len() - 1;
            while at != NONE {
                let bucket = &mut self.new[nodes[at].hash as usize & mask];
                let next = std::mem::replace(&mut nodes[at].chained, *bucket);
                *bucket = at;
                at = next;
            }
        }
    }

    /// Visits the chains that `cursor` names, and returns the next cursor: buckets by their
    /// reversed bits, so that a resize moves nothing from what is ahead to what is behind.
    pub(super) fn scan(&self, cursor: u64, mut visit: impl FnMut(u32)) -> u64 {
        let next =
            |cursor: u64, mask: u64| (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits();
        let (small, large) = match (self.old.len(), self.new.len()) {
            (_, 0) => return 0,
            (0, _) => (&self.new, None),
            (old, new) if new < old => (&self.new, Some(&self.old)),
            _ => (&self.old, Some(&self.new)),
        };
        let small_mask = small.len() as u64 - 1;
        // Buckets that have moved are left as they were: their chains are the new side's.
        let mut visit_bucket = |side: &Vec<u32>, index: u64| {
            let has_moved = std::ptr::eq(side, &self.old) && (index as usize) < self.moved;
            if !has_moved {
                visit(side[index as usize]);
            }
        };
        visit_bucket(small, cursor & small_mask);
        let Some(large) = large else { return next(cursor, small_mask) };
        let large_mask = large.len() as u64 - 1;
        let mut cursor = cursor;
        loop {
            visit_bucket(large, cursor & large_mask);
            cursor = next(cursor, large_mask);
            if cursor & (small_mask ^ large_mask) == 0 {
                return cursor;
            }
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.old.capacity() + self.new.capacity()) * 4
    }
}
