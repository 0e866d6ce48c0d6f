//! The nodes of a large sorted set in their order: a B+ tree that counts.
//!
//! A leaf holds up to 31 nodes by their 32-bit numbers, each beside a number that sorts as its
//! score does: a search compares such numbers, four cache lines of them per leaf, and looks at the
//! nodes themselves only where scores are equal. What is above knows of each child the first node
//! and how many there are, so that a place yields a rank and a rank a place.
//!
//! A leaf that is full first gives to a neighbour that has room, and is split only between full
//! ones; members that come in order, from either side, leave full leaves behind. A leaf or a
//! branch that gets sparse takes from its neighbour, or is joined with it.

use super::{Arena, Node};
use std::cmp::Ordering;

/// Nodes of a leaf, which then takes 376 bytes of a block of 384.
const LEAF: usize = 31;
/// Children of a branch.
const BRANCH: usize = 32;
/// A leaf or a branch with fewer than this looks at its neighbour.
const SPARSE: usize = 8;
/// Two with no more than this together become one.
const JOIN: usize = 24;

/// A number that sorts as the score does. Scores are never NaN; negative zero equals zero.
fn sortable(score: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// A place in the order: where a node with this score and member is, or belongs.
struct Place<'a> {
    key: u64,
    member: &'a [u8],
}

impl<'a> Place<'a> {
    fn of(nodes: &'a Arena<Node>, id: u32) -> Self {
        Self { key: sortable(nodes[id].score), member: nodes[id].member.bytes() }
    }

    /// How a node compares to this place.
    #[inline]
    fn compare(&self, nodes: &Arena<Node>, key: u64, id: u32) -> Ordering {
        key.cmp(&self.key).then_with(|| nodes[id].member.bytes().cmp(self.member))
    }
}

#[derive(Debug)]
struct Leaf {
    len: u8,
    ids: [u32; LEAF],
    keys: [u64; LEAF],
}

impl Leaf {
    fn new() -> Self {
        Self { len: 0, ids: [0; LEAF], keys: [0; LEAF] }
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn ids(&self) -> &[u32] {
        &self.ids[..self.len()]
    }

    /// How many of its nodes come before a place.
    fn count_before(&self, nodes: &Arena<Node>, place: &Place<'_>) -> usize {
        let keys = &self.keys[..self.len()];
        let lower = keys.partition_point(|&key| key < place.key);
        let ties = keys[lower..].iter().take_while(|&&key| key == place.key).count();
        let tied = &self.ids[lower..lower + ties];
        lower + tied.partition_point(|&id| nodes[id].member.bytes() < place.member)
    }

    fn insert(&mut self, at: usize, key: u64, id: u32) {
        let len = self.len();
        self.ids.copy_within(at..len, at + 1);
        self.keys.copy_within(at..len, at + 1);
        (self.ids[at], self.keys[at]) = (id, key);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) -> u32 {
        let (len, id) = (self.len(), self.ids[at]);
        self.ids.copy_within(at + 1..len, at);
        self.keys.copy_within(at + 1..len, at);
        self.len -= 1;
        id
    }

    /// Moves nodes between two neighbours until the left one has `keep`.
    fn share(left: &mut Self, right: &mut Self, keep: usize) {
        let (on_left, on_right) = (left.len(), right.len());
        if keep > on_left {
            let moved = keep - on_left;
            left.ids[on_left..keep].copy_from_slice(&right.ids[..moved]);
            left.keys[on_left..keep].copy_from_slice(&right.keys[..moved]);
            right.ids.copy_within(moved..on_right, 0);
            right.keys.copy_within(moved..on_right, 0);
        } else {
            let moved = on_left - keep;
            right.ids.copy_within(..on_right, moved);
            right.keys.copy_within(..on_right, moved);
            right.ids[..moved].copy_from_slice(&left.ids[keep..on_left]);
            right.keys[..moved].copy_from_slice(&left.keys[keep..on_left]);
        }
        left.len = keep as u8;
        right.len = (on_left + on_right - keep) as u8;
    }
}

#[derive(Debug)]
enum Kind {
    Leaf(Box<Leaf>),
    Branch(Vec<Child>),
}

/// A part of the tree, with what its parent knows of it.
#[derive(Debug)]
struct Child {
    /// The first node, and what it is sorted by.
    key: u64,
    first: u32,
    /// Nodes.
    count: u32,
    kind: Kind,
}

/// Which node is to be taken out.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    At(&'a Place<'a>),
    Rank(u32),
}

/// Which child a node with this place is in, or belongs into.
fn child_of(children: &[Child], nodes: &Arena<Node>, place: &Place<'_>) -> usize {
    let not_after = |child: &Child| place.compare(nodes, child.key, child.first).is_le();
    children.partition_point(not_after).saturating_sub(1)
}

/// Which child a rank is in; the rank becomes that within it.
fn child_with(children: &[Child], rank: &mut u32) -> usize {
    let last = children.len() - 1;
    let mut at = 0;
    while at < last && *rank >= children[at].count {
        *rank -= children[at].count;
        at += 1;
    }
    at
}

impl Child {
    fn leaf(key: u64, id: u32) -> Self {
        let mut leaf = Leaf::new();
        leaf.insert(0, key, id);
        Self { key, first: id, count: 1, kind: Kind::Leaf(Box::new(leaf)) }
    }

    fn branch(children: Vec<Self>) -> Self {
        let count = children.iter().map(|child| child.count).sum();
        Self { key: children[0].key, first: children[0].first, count, kind: Kind::Branch(children) }
    }

    /// Nodes of a leaf, children of a branch.
    fn width(&self) -> usize {
        match &self.kind {
            Kind::Leaf(leaf) => leaf.len(),
            Kind::Branch(children) => children.len(),
        }
    }

    /// Looks again which node is the first. There is one.
    fn find_first(&mut self) {
        (self.key, self.first) = match &self.kind {
            Kind::Leaf(leaf) => (leaf.keys[0], leaf.ids[0]),
            Kind::Branch(children) => (children[0].key, children[0].first),
        };
    }

    /// Moves what two neighbours hold until the left one is `keep` wide. The right one may be left
    /// with nothing, and is to be dropped then.
    fn share(left: &mut Self, right: &mut Self, keep: usize) {
        let total = left.count + right.count;
        match (&mut left.kind, &mut right.kind) {
            (Kind::Leaf(on_left), Kind::Leaf(on_right)) => {
                Leaf::share(on_left, on_right, keep);
                left.count = keep as u32;
            }
            (Kind::Branch(on_left), Kind::Branch(on_right)) => {
                if keep > on_left.len() {
                    let moved = keep - on_left.len();
                    on_left.extend(on_right.drain(..moved));
                } else {
                    on_right.splice(..0, on_left.drain(keep..));
                }
                left.count = on_left.iter().map(|child| child.count).sum();
            }
            _ => unreachable!("neighbours are of one height"),
        }
        right.count = total - left.count;
        for side in [left, right] {
            if side.count > 0 {
                side.find_first();
            }
        }
    }

    /// Adds a node; gives what is split off to the right, if there was no room.
    fn insert(&mut self, nodes: &Arena<Node>, place: &Place<'_>, id: u32) -> Option<Self> {
        self.count += 1;
        let split = match &mut self.kind {
            Kind::Leaf(leaf) => {
                let at = leaf.count_before(nodes, place);
                if leaf.len() < LEAF {
                    leaf.insert(at, place.key, id);
                    None
                } else {
                    Some(split_leaf(leaf, at, place.key, id))
                }
            }
            Kind::Branch(children) => {
                let mut at = child_of(children, nodes, place);
                if give_to_neighbour(children, at) {
                    at = child_of(children, nodes, place);
                }
                let split = children[at].insert(nodes, place, id);
                split.and_then(|child| split_branch(children, at + 1, child))
            }
        };
        if let Some(split) = &split {
            self.count -= split.count;
        }
        self.find_first();
        split
    }

    /// Takes a node out.
    fn remove(&mut self, nodes: &Arena<Node>, wanted: Wanted<'_>) -> u32 {
        self.count -= 1;
        let removed = match &mut self.kind {
            Kind::Leaf(leaf) => leaf.remove(match wanted {
                Wanted::At(place) => leaf.count_before(nodes, place),
                Wanted::Rank(rank) => rank as usize,
            }),
            Kind::Branch(children) => {
                let (at, wanted) = match wanted {
                    Wanted::At(place) => (child_of(children, nodes, place), wanted),
                    Wanted::Rank(mut rank) => (child_with(children, &mut rank), Wanted::Rank(rank)),
                };
                let removed = children[at].remove(nodes, wanted);
                mend(children, at);
                removed
            }
        };
        if self.count > 0 {
            self.find_first();
        }
        removed
    }

    /// How many of its nodes satisfy `is_before`.
    fn count_before(&self, is_before: &impl Fn(u32) -> bool) -> usize {
        match &self.kind {
            Kind::Leaf(leaf) => leaf.ids().partition_point(|&id| is_before(id)),
            Kind::Branch(children) => {
                let begun = children.partition_point(|child| is_before(child.first));
                let Some((last, whole)) = children[..begun].split_last() else { return 0 };
                let whole: usize = whole.iter().map(|child| child.count as usize).sum();
                whole + last.count_before(is_before)
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.kind {
            Kind::Leaf(_) => size_of::<Leaf>(),
            Kind::Branch(children) => {
                let below: usize = children.iter().map(Self::heap_bytes).sum();
                children.capacity() * size_of::<Self>() + below
            }
        }
    }
}

/// Adds to a leaf that is full; gives the right one of the two that it becomes. At either end it
/// stays full: what comes in order goes on there.
fn split_leaf(leaf: &mut Leaf, at: usize, key: u64, id: u32) -> Child {
    let mut right = Box::new(Leaf::new());
    let keep = match at {
        0 => 0,
        LEAF => LEAF,
        _ => LEAF.div_ceil(2),
    };
    Leaf::share(leaf, &mut right, keep);
    if at < keep || at == 0 {
        leaf.insert(at, key, id);
    } else {
        right.insert(at - keep, key, id);
    }
    let (key, first, count) = (right.keys[0], right.ids[0], u32::from(right.len));
    Child { key, first, count, kind: Kind::Leaf(right) }
}

/// Adds a child to a branch; gives the right one of the two that it becomes if it was full.
fn split_branch(children: &mut Vec<Child>, at: usize, child: Child) -> Option<Child> {
    if children.len() < BRANCH {
        children.insert(at, child);
        return None;
    }
    // A new child is never the first: the one before it may be what was put in front.
    let keep = match at {
        1 => 1,
        BRANCH => BRANCH,
        _ => BRANCH / 2,
    };
    let mut right = Vec::with_capacity(BRANCH);
    right.extend(children.drain(keep..));
    if at < keep {
        children.insert(at, child);
    } else {
        right.insert(at - keep, child);
    }
    Some(Child::branch(right))
}

/// Makes room in a leaf that is full, if a neighbour has some. True if it did.
fn give_to_neighbour(children: &mut [Child], at: usize) -> bool {
    let full = |child: &Child| matches!(&child.kind, Kind::Leaf(leaf) if leaf.len() == LEAF);
    if !full(&children[at]) {
        return false;
    }
    // Neighbours that lack one or two would ask again at once.
    let has_room = |child: &Child| child.width() + 2 < LEAF;
    let left = if at > 0 && has_room(&children[at - 1]) {
        at - 1
    } else if at + 1 < children.len() && has_room(&children[at + 1]) {
        at
    } else {
        return false;
    };
    let [left, right] = pair(children, left);
    let keep = (left.width() + right.width()) / 2;
    Child::share(left, right, keep);
    true
}

/// Joins a child that has become sparse with its neighbour, or lets it take from there.
fn mend(children: &mut Vec<Child>, at: usize) {
    if children[at].count == 0 {
        children.remove(at);
        return;
    }
    if children[at].width() >= SPARSE || children.len() == 1 {
        return;
    }
    let left = at.min(children.len() - 2);
    let [one, other] = pair(children, left);
    let width = one.width() + other.width();
    if width > JOIN {
        Child::share(one, other, width / 2);
    } else {
        Child::share(one, other, width);
        children.remove(left + 1);
    }
}

/// Two neighbours.
fn pair(children: &mut [Child], left: usize) -> &mut [Child; 2] {
    children[left..].first_chunk_mut().expect("there is one to the right")
}

/// See above.
#[derive(Debug)]
pub(super) struct Tree {
    root: Option<Child>,
}

impl Tree {
    pub(super) const fn new() -> Self {
        Self { root: None }
    }

    /// Adds a node, whose score and member say where.
    pub(super) fn insert(&mut self, nodes: &Arena<Node>, id: u32) {
        let place = Place::of(nodes, id);
        let Some(root) = &mut self.root else {
            self.root = Some(Child::leaf(place.key, id));
            return;
        };
        let right = root.insert(nodes, &place, id);
        if let Some(right) = right {
            let mut children = Vec::with_capacity(BRANCH);
            children.extend(self.root.take());
            children.push(right);
            self.root = Some(Child::branch(children));
        }
    }

    /// Takes a node out, whose score and member are what they were when it came.
    pub(super) fn remove(&mut self, nodes: &Arena<Node>, id: u32) {
        let place = Place::of(nodes, id);
        let removed = self.take(nodes, Wanted::At(&place));
        debug_assert_eq!(removed, Some(id));
    }

    /// Takes the node of a rank out.
    pub(super) fn remove_at(&mut self, nodes: &Arena<Node>, rank: usize) -> Option<u32> {
        let rank = u32::try_from(rank).ok()?;
        self.take(nodes, Wanted::Rank(rank))
    }

    fn take(&mut self, nodes: &Arena<Node>, wanted: Wanted<'_>) -> Option<u32> {
        let root = self.root.as_mut()?;
        if let Wanted::Rank(rank) = wanted
            && rank >= root.count
        {
            return None;
        }
        let removed = root.remove(nodes, wanted);
        if root.count == 0 {
            self.root = None;
        } else if let Kind::Branch(children) = &mut root.kind
            && children.len() == 1
        {
            self.root = children.pop();
        }
        Some(removed)
    }

    /// Gives a node a score that leaves it where it is, if the score does and that can be told
    /// from its neighbours in its leaf. The node itself has the old score.
    pub(super) fn rescore(&mut self, nodes: &Arena<Node>, id: u32, score: f64) -> bool {
        let (place, key) = (Place::of(nodes, id), sortable(score));
        let mut kind = self.root.as_mut().map(|root| &mut root.kind);
        while let Some(Kind::Branch(children)) = kind {
            let at = child_of(children, nodes, &place);
            kind = Some(&mut children[at].kind);
        }
        let Some(Kind::Leaf(leaf)) = kind else { return false };
        let at = leaf.count_before(nodes, &place);
        let stays =
            at > 0 && at + 1 < leaf.len() && leaf.keys[at - 1] < key && key < leaf.keys[at + 1];
        if stays {
            leaf.keys[at] = key;
        }
        stays
    }

    /// How many nodes satisfy `is_before`, which holds for those up to some place in the order and
    /// not for the rest.
    pub(super) fn count_before(&self, is_before: impl Fn(u32) -> bool) -> usize {
        self.root.as_ref().map_or(0, |root| root.count_before(&is_before))
    }

    /// The rank of a node.
    pub(super) fn rank(&self, nodes: &Arena<Node>, id: u32) -> usize {
        let place = Place::of(nodes, id);
        let mut rank = 0;
        let mut kind = self.root.as_ref().map(|root| &root.kind);
        while let Some(Kind::Branch(children)) = kind {
            let at = child_of(children, nodes, &place);
            rank += children[..at].iter().map(|child| child.count as usize).sum::<usize>();
            kind = Some(&children[at].kind);
        }
        match kind {
            Some(Kind::Leaf(leaf)) => rank + leaf.count_before(nodes, &place),
            _ => rank,
        }
    }

    /// The leaf that a rank is in, and where in it.
    fn leaf_with(&self, rank: usize) -> Option<(&Leaf, usize)> {
        let root = self.root.as_ref()?;
        let mut rank = u32::try_from(rank).ok().filter(|&rank| rank < root.count)?;
        let mut kind = &root.kind;
        loop {
            match kind {
                Kind::Leaf(leaf) => return Some((leaf, rank as usize)),
                Kind::Branch(children) => {
                    let at = child_with(children, &mut rank);
                    kind = &children[at].kind;
                }
            }
        }
    }

    /// The nodes from a rank on, upwards or downwards.
    pub(super) fn iter_from(&self, rank: usize, reverse: bool) -> impl Iterator<Item = u32> {
        let mut run: &[u32] = &[];
        let mut next = Some(rank);
        std::iter::from_fn(move || {
            if run.is_empty() {
                let from = next?;
                let (leaf, at) = self.leaf_with(from)?;
                (run, next) = if reverse {
                    (&leaf.ids()[..=at], from.checked_sub(at + 1))
                } else {
                    (&leaf.ids()[at..], Some(from + leaf.len() - at))
                };
            }
            let (&id, rest) = if reverse { run.split_last()? } else { run.split_first()? };
            run = rest;
            Some(id)
        })
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.root.as_ref().map_or(0, Child::heap_bytes)
    }

    /// Checks what holds between changes; gives the nodes in order.
    #[cfg(test)]
    pub(super) fn check(&self, nodes: &Arena<Node>) -> Vec<u32> {
        fn walk(child: &Child, nodes: &Arena<Node>, all: &mut Vec<u32>) -> usize {
            let before = all.len();
            let height = match &child.kind {
                Kind::Leaf(leaf) => {
                    assert!(!leaf.ids().is_empty());
                    for (&id, &key) in leaf.ids().iter().zip(&leaf.keys) {
                        assert_eq!(key, sortable(nodes[id].score));
                    }
                    all.extend(leaf.ids());
                    0
                }
                Kind::Branch(children) => {
                    assert!(!children.is_empty() && children.len() <= BRANCH);
                    assert!(children.capacity() <= BRANCH);
                    let heights: Vec<usize> =
                        children.iter().map(|child| walk(child, nodes, all)).collect();
                    assert!(heights.iter().all(|&height| height == heights[0]));
                    1 + heights[0]
                }
            };
            assert_eq!(child.count as usize, all.len() - before);
            assert_eq!((child.first, child.key), {
                let first = all[before];
                (first, sortable(nodes[first].score))
            });
            height
        }
        let mut all = Vec::new();
        if let Some(root) = &self.root {
            walk(root, nodes, &mut all);
        }
        all
    }

    /// Leaves, each with how many nodes it has.
    #[cfg(test)]
    pub(super) fn leaves(&self) -> Vec<usize> {
        fn walk(child: &Child, all: &mut Vec<usize>) {
            match &child.kind {
                Kind::Leaf(leaf) => all.push(leaf.len()),
                Kind::Branch(children) => children.iter().for_each(|child| walk(child, all)),
            }
        }
        let mut all = Vec::new();
        self.root.iter().for_each(|root| walk(root, &mut all));
        all
    }
}

const _: () = assert!(size_of::<Leaf>() <= 384 && size_of::<Child>() * BRANCH <= 1280);
