//! The entries of a stream, by id.
//!
//! All nodes but the last are in a tree; the last, which entries are added to, is held beside it,
//! so that adding searches for nothing, and a short stream needs no tree.

use super::id::StreamId;
use super::node::{self, Cursor, Fields, Node, StreamEntry};
use super::{Stream, StreamLimits};
use crate::store::garbage::FREE_INLINE_MAX;
use crate::store::types::listpack::Listpack;
use std::collections::{BTreeMap, btree_map};
use std::ops::{Bound, RangeBounds};

/// Redis keeps every node below this, whatever the limits say.
const NODE_BYTES_MAX: usize = 1 << 30;

/// Entries, and what is remembered of those that have gone.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The nodes before the last, by their master ids.
    sealed: BTreeMap<StreamId, Listpack>,
    /// The last node; there is none before it where there is no last.
    tail: Option<(StreamId, Listpack)>,
    len: usize,
    last_id: StreamId,
    first_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

/// What DUMP keeps of a log beside its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Entries that are there.
    pub len: usize,
    /// The id of the entry that was added last, be it still there or not.
    pub last_id: StreamId,
    /// The id of the first entry that is there; `0-0` if there is none.
    pub first_id: StreamId,
    /// The largest id that XDEL has removed; `0-0` if there is none.
    pub max_deleted_id: StreamId,
    /// Entries that were ever added.
    pub entries_added: u64,
}

/// What to trim a stream to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// So many entries.
    MaxLen(usize),
    /// The entries from this id on.
    MinId(StreamId),
}

/// What was trimmed.
#[derive(Debug)]
pub struct Trimmed {
    /// How many entries.
    pub entries: usize,
    nodes: BTreeMap<StreamId, Listpack>,
}

impl Trimmed {
    /// What is left to free, as a stream, if that takes long.
    pub fn waste(self) -> Option<Box<Stream>> {
        if self.nodes.len() <= FREE_INLINE_MAX {
            return None;
        }
        let log = Log { sealed: self.nodes, ..Log::default() };
        Some(Box::new(Stream { log, ..Stream::default() }))
    }
}

impl Log {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it remembers.
    pub fn figures(&self) -> LogFigures {
        LogFigures {
            len: self.len,
            last_id: self.last_id,
            first_id: self.first_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }

    /// Its nodes in order: the master id and the listpack of each.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, &Listpack)> {
        let sealed = self.sealed.iter().map(|(id, list)| (*id, list));
        sealed.chain(self.tail.as_ref().map(|(id, list)| (*id, list)))
    }

    /// The same, the last one first.
    fn nodes_back(&self) -> impl Iterator<Item = (StreamId, &Listpack)> {
        let sealed = self.sealed.iter().rev().map(|(id, list)| (*id, list));
        self.tail.as_ref().map(|(id, list)| (*id, list)).into_iter().chain(sealed)
    }

    /// The nodes behind one, by its master id; all of them if there is none.
    pub(in crate::store) fn nodes_after(
        &self,
        after: Option<StreamId>,
    ) -> impl Iterator<Item = (StreamId, &Listpack)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sealed = self.sealed.range((after, Bound::Unbounded)).map(|(id, list)| (*id, list));
        let tail = self.tail.as_ref().map(|(id, list)| (*id, list));
        let is_behind = |id: StreamId| (after, Bound::Unbounded).contains(&id);
        sealed.chain(tail.filter(|(id, _)| is_behind(*id)))
    }

    /// Adds a node of another server's at the end. False if it is none, or not behind the others.
    pub(in crate::store) fn push_node(&mut self, master: StreamId, list: Listpack) -> bool {
        let node = Node { master, list: &list };
        let follows = self
            .tail
            .as_ref()
            .is_none_or(|(tail, list)| Node { master: *tail, list }.last_id() < master);
        if !follows || !node::is_well_formed(master, &list) {
            return false;
        }
        self.len += node.counts().0;
        if let Some((master, list)) = self.tail.replace((master, list)) {
            self.sealed.insert(master, list);
        }
        true
    }

    /// What another server remembered of its nodes, which were added before. False if that cannot
    /// be.
    pub(in crate::store) fn set_figures(&mut self, figures: LogFigures) -> bool {
        self.last_id = figures.last_id;
        self.first_id = figures.first_id;
        self.max_deleted_id = figures.max_deleted_id;
        self.entries_added = figures.entries_added;
        let newest = self.tail.as_ref().map(|(id, list)| Node { master: *id, list }.last_id());
        figures.len == self.len && newest.is_none_or(|newest| newest <= figures.last_id)
    }

    /// How many nodes it has.
    pub fn node_count(&self) -> usize {
        self.sealed.len() + usize::from(self.tail.is_some())
    }

    /// The entries from one id to another, both included, the first one first.
    pub fn range(&self, from: StreamId, to: StreamId) -> StreamRange<'_> {
        self.walk(from, to, false)
    }

    /// The same, the last one first.
    pub fn range_back(&self, from: StreamId, to: StreamId) -> StreamRange<'_> {
        self.walk(from, to, true)
    }

    fn walk(&self, from: StreamId, to: StreamId, backwards: bool) -> StreamRange<'_> {
        let tail = self.tail.as_ref().map(|(master, list)| Node { master: *master, list });
        let tail = tail.filter(|tail| tail.master <= to);
        let sealed = if from > to || tail.is_some_and(|tail| tail.master <= from) {
            btree_map::Range::default()
        } else {
            let first = self.sealed.range(..=from).next_back().map_or(from, |(master, _)| *master);
            self.sealed.range(first..=to)
        };
        StreamRange { sealed, tail, cursor: None, from, to, backwards }
    }

    /// All entries.
    pub fn iter(&self) -> StreamRange<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    /// The id of the last entry that is there; `0-0` if there is none.
    pub fn last_valid_id(&self) -> StreamId {
        if self.is_empty() {
            return StreamId::MIN;
        }
        let mut back = self.range_back(StreamId::MIN, StreamId::MAX);
        back.next().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// Whether there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.node_of(id).is_some_and(|node| node.find(id).is_some())
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.range(id, id).next()
    }

    fn first_node(&self) -> Option<Node<'_>> {
        self.nodes().next().map(|(master, list)| Node { master, list })
    }

    fn node_of(&self, id: StreamId) -> Option<Node<'_>> {
        match &self.tail {
            Some((master, list)) if *master <= id => Some(Node { master: *master, list }),
            _ => {
                let (master, list) = self.sealed.range(..=id).next_back()?;
                Some(Node { master: *master, list })
            }
        }
    }

    /// Adds an entry, whose id is above all others'. The caller has checked that, and that its
    /// names and values have no more than [`Log::ENTRY_BYTES_MAX`] bytes.
    pub(super) fn append<'f>(
        &mut self,
        id: StreamId,
        fields: &Fields<impl Fn(usize) -> &'f [u8]>,
        limits: StreamLimits,
    ) {
        match &mut self.tail {
            Some((master, list)) if has_room(*master, list, fields, limits) => {
                node::append(*master, list, id, fields);
            }
            tail => {
                if let Some((master, full)) = tail.replace((id, node::create(fields))) {
                    self.sealed.insert(master, full);
                }
            }
        }
        self.len += 1;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    /// The most bytes that the names and values of an entry may have together.
    pub const ENTRY_BYTES_MAX: usize = NODE_BYTES_MAX;

    /// Removes an entry. True if it was there.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let Some(node) = self.node_of(id) else { return false };
        let Some(at) = node.find(id) else { return false };
        let (master, last) = (node.master, node.counts().0 == 1);
        if last {
            self.remove_node(master);
        } else if let Some(list) = self.node_mut(master) {
            node::mark_deleted(list, at);
            node::count_deleted(master, list, 1);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if self.len == 0 || id == self.first_id {
            self.first_id = self.first_valid_id();
        }
        true
    }

    fn node_mut(&mut self, master: StreamId) -> Option<&mut Listpack> {
        match &mut self.tail {
            Some((tail, list)) if *tail == master => Some(list),
            _ => self.sealed.get_mut(&master),
        }
    }

    fn remove_node(&mut self, master: StreamId) {
        if self.sealed.remove(&master).is_none() {
            self.tail = self.sealed.pop_last();
        }
    }

    /// The id of the first entry that is there; `0-0` if there is none.
    pub(in crate::store) fn first_valid_id(&self) -> StreamId {
        self.iter().next().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// Removes entries from the front on. `exactly` so many, or else only such nodes as go as a
    /// whole, and no more than `limit` entries, if that is not 0.
    pub fn trim(&mut self, trim: Trim, exactly: bool, limit: usize) -> Trimmed {
        let (mut entries, kept) = self.nodes_to_trim(trim, limit);
        let nodes = self.cut_before(kept);
        self.len -= entries;
        let longer = !matches!(trim, Trim::MaxLen(max) if self.len <= max);
        if exactly
            && longer
            && let Some(first) = self.first_node().map(|node| node.master)
        {
            entries += self.trim_node(first, trim);
        }
        if entries > 0 {
            self.first_id = self.first_valid_id();
        }
        Trimmed { entries, nodes }
    }

    /// How many entries are in the nodes that go as a whole, and the first node that stays.
    fn nodes_to_trim(&self, trim: Trim, limit: usize) -> (usize, Option<StreamId>) {
        let live = |master, list| Node { master, list }.counts().0;
        if let (Trim::MaxLen(max), 0) = (trim, limit)
            && max <= self.len / 2
        {
            // What stays is less to look at.
            let (mut kept, mut first) = (0, None);
            for (master, list) in self.nodes_back() {
                if kept >= max {
                    break;
                }
                kept += live(master, list);
                first = Some(master);
            }
            return (self.len - kept, first);
        }
        if let (Trim::MinId(min), 0) = (trim, limit) {
            let first = self.first_node_from(min);
            return (self.entries_before(first), first);
        }
        let mut removed = 0;
        for (master, list) in self.nodes() {
            let live = live(master, list);
            let goes = match trim {
                Trim::MaxLen(max) => self.len - removed > max && self.len - removed - live >= max,
                Trim::MinId(min) => Node { master, list }.last_id() < min,
            };
            if !goes || limit > 0 && removed + live > limit {
                return (removed, Some(master));
            }
            removed += live;
        }
        (removed, None)
    }

    /// The first node with entries from an id on, deleted ones included.
    fn first_node_from(&self, id: StreamId) -> Option<StreamId> {
        let node = self.node_of(id).or_else(|| self.first_node())?;
        if node.last_id() >= id {
            return Some(node.master);
        }
        self.nodes_after(Some(node.master)).next().map(|(master, _)| master)
    }

    /// How many entries are in the nodes before one, or in all of them: told from the nodes on the
    /// side that has fewer.
    fn entries_before(&self, node: Option<StreamId>) -> usize {
        let Some(node) = node else { return self.len };
        let live = |master, list| Node { master, list }.counts().0;
        let (mut before, mut from) = (0, 0);
        for ((first, first_list), (last, last_list)) in self.nodes().zip(self.nodes_back()) {
            if first == node {
                break;
            }
            before += live(first, first_list);
            from += live(last, last_list);
            if last == node {
                return self.len - from;
            }
        }
        before
    }

    /// Takes out the nodes before one, or all of them. A few are freed here.
    fn cut_before(&mut self, kept: Option<StreamId>) -> BTreeMap<StreamId, Listpack> {
        let Some(kept) = kept else {
            self.tail = None;
            return std::mem::take(&mut self.sealed);
        };
        for _ in 0..FREE_INLINE_MAX {
            match self.sealed.first_entry() {
                Some(first) if *first.key() < kept => drop(first.remove()),
                _ => return BTreeMap::new(),
            }
        }
        let staying = self.sealed.split_off(&kept);
        std::mem::replace(&mut self.sealed, staying)
    }

    /// Marks entries at the front of a node as deleted: not all of them.
    fn trim_node(&mut self, master: StreamId, trim: Trim) -> usize {
        let len = self.len;
        let Some(list) = self.node_mut(master) else { return 0 };
        let mut marked = Vec::new();
        let mut cursor = Node { master, list }.first();
        loop {
            let at = cursor.at();
            let Some(entry) = cursor.step() else { break };
            let stop = match trim {
                Trim::MaxLen(max) => len - marked.len() <= max,
                Trim::MinId(min) => entry.id >= min,
            };
            if stop {
                break;
            }
            if !entry.is_deleted() {
                marked.push(at);
            }
        }
        marked.iter().for_each(|&at| node::mark_deleted(list, at));
        node::count_deleted(master, list, marked.len());
        self.len -= marked.len();
        marked.len()
    }

    /// XSETID: what it remembers from here on.
    pub fn set_last_id(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        self.last_id = last_id;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    /// Bytes on the heap; of many nodes an estimate from some of them.
    pub(super) fn heap_bytes(&self) -> usize {
        const SAMPLE: usize = 16;
        let place = size_of::<(StreamId, Listpack)>();
        let sampled = self.sealed.len().clamp(1, SAMPLE);
        let bytes: usize = self.sealed.values().take(SAMPLE).map(Listpack::heap_bytes).sum();
        let tail = self.tail.as_ref().map_or(0, |(_, list)| list.heap_bytes());
        // A tree's nodes are about two thirds full.
        tail + self.sealed.len() * (place + place / 2) + bytes * self.sealed.len() / sampled
    }
}

fn has_room<'f>(
    master: StreamId,
    list: &Listpack,
    fields: &Fields<impl Fn(usize) -> &'f [u8]>,
    limits: StreamLimits,
) -> bool {
    let bytes_max = match limits.node_bytes {
        0 => NODE_BYTES_MAX,
        bytes => bytes.min(NODE_BYTES_MAX),
    };
    let (live, deleted) = Node { master, list }.counts();
    list.as_bytes().len() + fields.bytes() < bytes_max
        && (limits.node_entries == 0 || live + deleted < limits.node_entries)
}

/// A walk over entries, in either direction.
#[derive(Debug)]
pub struct StreamRange<'a> {
    sealed: btree_map::Range<'a, StreamId, Listpack>,
    tail: Option<Node<'a>>,
    cursor: Option<Cursor<'a>>,
    /// What is left lies between these, both included.
    from: StreamId,
    to: StreamId,
    backwards: bool,
}

impl<'a> StreamRange<'a> {
    fn next_node(&mut self) -> Option<Node<'a>> {
        let sealed = |(master, list): (&StreamId, &'a Listpack)| Node { master: *master, list };
        if self.backwards {
            self.tail.take().or_else(|| self.sealed.next_back().map(sealed))
        } else {
            self.sealed.next().map(sealed).or_else(|| self.tail.take())
        }
    }

    fn step(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            let entry = match &mut self.cursor {
                Some(cursor) if self.backwards => cursor.step_back(),
                Some(cursor) => cursor.step(),
                None => None,
            };
            if entry.is_some() {
                return entry;
            }
            let node = self.next_node()?;
            self.cursor = Some(if self.backwards { node.last() } else { node.first() });
        }
    }
}

impl<'a> Iterator for StreamRange<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        while self.from <= self.to {
            let entry = self.step()?;
            if self.backwards && entry.id < self.from || !self.backwards && entry.id > self.to {
                break;
            }
            if !entry.is_deleted() && self.from <= entry.id && entry.id <= self.to {
                return Some(entry);
            }
        }
        // There is nothing further: a look at it must not start again.
        (self.from, self.to) = (StreamId::MAX, StreamId::MIN);
        None
    }
}
