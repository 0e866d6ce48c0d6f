//! Lists: one listpack while small, a quicklist beyond: listpacks of a bounded size in a row.
//!
//! Where a quicklist is cut shows in DUMP, so its nodes fill up, split and merge as Redis's do. A
//! list that grows too large for its listpack becomes a quicklist at once; one that shrinks turns
//! back only at half the limit, so that a list at the limit does not change its form all the time.

use super::listpack::{Item, Listpack};
use crate::store::compact::{CompactOr, Form};
use crate::store::garbage::FREE_INLINE_MAX;
use crate::value::parse_i64;
use std::collections::VecDeque;

/// `list-max-listpack-size`: how large a node of a list may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListLimit {
    /// So many bytes.
    Bytes(usize),
    /// So many elements, and no more than 8 KiB.
    Elements(usize),
}

/// Bytes of a node that is limited by its elements.
const SAFE_BYTES_MAX: usize = 8192;
/// What Redis takes for the bytes around an element when it asks whether that still fits.
const ELEMENT_OVERHEAD: usize = 8;
/// What two listpacks have more than one: a header and an end.
const MERGE_SAVES: usize = 7;

impl Default for ListLimit {
    fn default() -> Self {
        Self::of_directive(-2)
    }
}

impl ListLimit {
    /// The limit that a value of the directive stands for: elements, or from -1 to -5 the bytes
    /// 4 KiB, 8 KiB, … 64 KiB.
    pub fn of_directive(value: i64) -> Self {
        const ELEMENTS_MAX: i64 = 32_767;
        match value {
            ..0 => Self::Bytes(4096 << (value.max(-5).unsigned_abs() - 1)),
            0 => Self::Elements(1),
            1.. => Self::Elements(value.min(ELEMENTS_MAX) as usize),
        }
    }

    fn allows(self, bytes: usize, elements: usize) -> bool {
        match self {
            Self::Bytes(max) => bytes <= max,
            Self::Elements(max) => bytes <= SAFE_BYTES_MAX && elements <= max,
        }
    }

    /// Whether a list is so small that it becomes a single listpack again.
    fn allows_twice(self, bytes: usize, elements: usize) -> bool {
        match self {
            Self::Bytes(max) => bytes <= max / 2,
            Self::Elements(max) => elements <= max / 2,
        }
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The left one.
    Head,
    /// The right one.
    Tail,
}

/// A list.
#[derive(Debug)]
#[repr(transparent)]
pub struct List(CompactOr<Listpack, Quicklist>);

#[derive(Clone, Debug)]
struct Quicklist {
    /// None of them is empty.
    nodes: VecDeque<Listpack>,
    len: usize,
    /// The limit when it became a quicklist, which is the one it keeps.
    limit: ListLimit,
}

/// Where an element is: its node, and its position in there.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    at: usize,
}

impl List {
    /// The longest element: a listpack cannot be much longer.
    pub const ELEMENT_BYTES_MAX: usize = (1 << 30) - 1;

    /// A list without elements.
    pub(crate) fn new() -> Self {
        Self::of_listpack(Listpack::new())
    }

    fn of_listpack(list: Listpack) -> Self {
        Self(CompactOr::compact(list))
    }

    /// A list from its nodes. One that a limit allows is no quicklist.
    pub(crate) fn from_nodes(nodes: Vec<Listpack>, limit: ListLimit) -> Self {
        let len = nodes.iter().map(Listpack::len).sum();
        match <[Listpack; 1]>::try_from(nodes) {
            Ok([list]) if limit.allows(list.as_bytes().len(), len) => Self::of_listpack(list),
            Ok(one) => Self::quicklist(one.into(), len, limit),
            Err(nodes) => Self::quicklist(nodes, len, limit),
        }
    }

    fn quicklist(nodes: Vec<Listpack>, len: usize, limit: ListLimit) -> Self {
        Self(CompactOr::large(Quicklist { nodes: nodes.into(), len, limit }))
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        match self.0.get() {
            Form::Compact(list) => list.len(),
            Form::Large(list) => list.len,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match self.0.get() {
            Form::Compact(_) => "listpack",
            Form::Large(_) => "quicklist",
        }
    }

    /// The listpacks it consists of, in order, in two runs.
    fn nodes(&self) -> Nodes<'_> {
        match self.0.get() {
            Form::Compact(list) => (std::slice::from_ref(list), &[]),
            Form::Large(list) => list.nodes.as_slices(),
        }
    }

    /// The listpacks it consists of, as DUMP sends them.
    pub fn listpacks(&self) -> impl Iterator<Item = &Listpack> {
        let (front, back) = self.nodes();
        front.iter().chain(back)
    }

    fn node_mut(&mut self, node: usize) -> &mut Listpack {
        match self.0.get_mut() {
            Form::Compact(list) => list,
            Form::Large(list) => &mut list.nodes[node],
        }
    }

    fn seek(&self, index: usize) -> Option<Place> {
        let len = self.len();
        if index >= len {
            return None;
        }
        let nodes = self.nodes();
        let count = nodes.0.len() + nodes.1.len();
        let (mut node, mut before) = (0, 0);
        if index <= len / 2 {
            while index - before >= node_at(nodes, node)?.len() {
                before += node_at(nodes, node)?.len();
                node += 1;
            }
        } else {
            node = count - 1;
            before = len - node_at(nodes, node)?.len();
            while before > index {
                node -= 1;
                before -= node_at(nodes, node)?.len();
            }
        }
        let at = node_at(nodes, node)?.seek((index - before) as i64)?;
        Some(Place { node, at })
    }

    /// The element at an index.
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        let place = self.seek(index)?;
        node_at(self.nodes(), place.node).map(|node| node.get(place.at))
    }

    /// The elements from an index on, towards the tail.
    pub fn iter_from(&self, index: usize) -> Elements<'_> {
        self.walk(self.seek(index), End::Tail)
    }

    /// The elements from an index on, towards the head.
    pub fn iter_back_from(&self, index: usize) -> Elements<'_> {
        self.walk(self.seek(index), End::Head)
    }

    /// All elements from the head on.
    pub fn iter(&self) -> Elements<'_> {
        self.iter_from(0)
    }

    fn walk(&self, place: Option<Place>, towards: End) -> Elements<'_> {
        let nodes = self.nodes();
        let node = place.map_or(0, |place| place.node);
        let current = place.and_then(|place| Some((node_at(nodes, node)?, place.at)));
        Elements { nodes, node, current, towards }
    }

    /// How many allocations freeing it gives back.
    pub fn free_effort(&self) -> usize {
        match self.0.get() {
            Form::Compact(_) => 1,
            Form::Large(list) => 1 + list.nodes.len(),
        }
    }

    /// Bytes on the heap; of a long list, an estimate from some of its nodes.
    pub fn heap_bytes(&self) -> usize {
        match self.0.get() {
            Form::Compact(list) => list.heap_bytes(),
            Form::Large(list) => {
                const SAMPLE: usize = 64;
                let sampled = list.nodes.len().clamp(1, SAMPLE);
                let bytes: usize = list.nodes.iter().take(SAMPLE).map(Listpack::heap_bytes).sum();
                size_of_val(list)
                    + list.nodes.capacity() * size_of::<Listpack>()
                    + bytes * list.nodes.len() / sampled
            }
        }
    }
}

type Nodes<'a> = (&'a [Listpack], &'a [Listpack]);

fn node_at(nodes: Nodes<'_>, node: usize) -> Option<&Listpack> {
    nodes.0.get(node).or_else(|| nodes.1.get(node - nodes.0.len()))
}

/// A walk over elements, in either direction.
#[derive(Debug)]
pub struct Elements<'a> {
    nodes: Nodes<'a>,
    node: usize,
    current: Option<(&'a Listpack, usize)>,
    towards: End,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let (node, at) = self.current?;
        let (item, next) = node.read(at);
        self.current = match self.towards {
            End::Tail if node.is_end(next) => {
                self.node += 1;
                node_at(self.nodes, self.node).and_then(|node| Some((node, node.first()?)))
            }
            End::Tail => Some((node, next)),
            End::Head => match node.before(at) {
                Some(before) => Some((node, before)),
                None if self.node == 0 => None,
                None => {
                    self.node -= 1;
                    node_at(self.nodes, self.node).and_then(|node| Some((node, node.last()?)))
                }
            },
        };
        Some(item)
    }
}

impl<'a> Elements<'a> {
    /// How many steps from the start elements that equal `wanted` are, of the first `max`.
    pub fn matching(self, wanted: &'a [u8], max: usize) -> impl Iterator<Item = usize> + 'a {
        let number = parse_i64(wanted);
        let matches = move |item: &Item<'_>| item.is(wanted, number);
        self.take(max).enumerate().filter(move |(_, item)| matches(item)).map(|(steps, _)| steps)
    }
}

impl Quicklist {
    fn has_room(&self, node: usize, element: &[u8]) -> bool {
        self.nodes.get(node).is_some_and(|node| {
            let bytes = node.as_bytes().len() + element.len() + ELEMENT_OVERHEAD;
            self.limit.allows(bytes, node.len() + 1)
        })
    }

    fn push(&mut self, end: End, element: &[u8]) {
        self.len += 1;
        match end {
            End::Head if self.has_room(0, element) => self.nodes[0].push_front(element),
            End::Head => self.nodes.push_front(single(element)),
            End::Tail => {
                let last = self.nodes.len().wrapping_sub(1);
                if self.has_room(last, element) {
                    self.nodes[last].push(element);
                } else {
                    self.nodes.push_back(single(element));
                }
            }
        }
    }

    /// Takes out the nodes from one on that have no more than `max` elements together: none of
    /// them has to be looked through.
    fn cut(&mut self, from: usize, max: usize) -> Vec<Listpack> {
        let (mut to, mut removed) = (from, 0);
        while let Some(node) = self.nodes.get(to)
            && removed + node.len() <= max
        {
            removed += node.len();
            to += 1;
        }
        self.len -= removed;
        self.nodes.drain(from..to).collect()
    }

    /// Adds an element beside another.
    fn insert(&mut self, place: Place, after: bool, element: &[u8]) {
        let Place { node, at } = place;
        self.len += 1;
        let list = &mut self.nodes[node];
        let beside = if after { list.end_of(at) } else { at };
        let at_head = !after && list.first() == Some(at);
        let at_tail = after && list.is_end(beside);
        if self.has_room(node, element) {
            self.nodes[node].insert(beside, element);
        } else if at_tail && self.has_room(node + 1, element) {
            self.nodes[node + 1].push_front(element);
        } else if at_head && node > 0 && self.has_room(node - 1, element) {
            self.nodes[node - 1].push(element);
        } else if at_tail || at_head {
            self.nodes.insert(node + usize::from(at_tail), single(element));
        } else {
            let mut tail = self.nodes[node].split_off(beside);
            if after {
                tail.push_front(element);
            } else {
                self.nodes[node].push(element);
            }
            self.nodes.insert(node + 1, tail);
            self.merge_around(if after { node } else { node + 1 });
        }
    }

    /// Puts an element that is too long for its place's node into a node of its own.
    fn set_apart(&mut self, place: Place, element: &[u8]) {
        let mut tail = self.nodes[place.node].split_off(place.at);
        tail.remove(tail.first().expect("the split is before an element"), 1);
        self.nodes.insert(place.node + 1, single(element));
        self.nodes.insert(place.node + 2, tail);
        self.nodes.retain(|node| !node.is_empty());
    }

    /// After a split, nodes that fit into one become one: the two before `center`, the two behind
    /// it, and `center` with its neighbours.
    fn merge_around(&mut self, mut center: usize) {
        if center >= 2 && self.merge(center - 2) {
            center -= 1;
        }
        self.merge(center + 1);
        if center >= 1 && self.merge(center - 1) {
            center -= 1;
        }
        self.merge(center);
    }

    /// Merges a node with the one behind it, if both exist and fit into one.
    fn merge(&mut self, node: usize) -> bool {
        let (Some(first), Some(second)) = (self.nodes.get(node), self.nodes.get(node + 1)) else {
            return false;
        };
        let bytes = first.as_bytes().len() + second.as_bytes().len() - MERGE_SAVES;
        let fits = self.limit.allows(bytes, first.len() + second.len());
        if fits && let Some(second) = self.nodes.remove(node + 1) {
            self.nodes[node].append(&second);
        }
        fits
    }
}

fn single(element: &[u8]) -> Listpack {
    let mut list = Listpack::new();
    list.push(element);
    list
}

impl Clone for List {
    fn clone(&self) -> Self {
        Self(match self.0.get() {
            Form::Compact(list) => CompactOr::compact(list.clone()),
            Form::Large(list) => CompactOr::large(list.clone()),
        })
    }
}

/// A list that a command changes, with what it must know to change its form.
#[derive(Debug)]
pub struct ListMut<'a> {
    list: &'a mut List,
    limit: ListLimit,
}

impl<'a> ListMut<'a> {
    pub(crate) fn new(list: &'a mut List, limit: ListLimit) -> Self {
        Self { list, limit }
    }

    /// Makes it a quicklist if its listpack has no room for these elements, to be added right
    /// after: once, before the first is added.
    pub fn make_room_for<'b>(&mut self, elements: impl Iterator<Item = &'b [u8]>) {
        let Form::Compact(list) = self.list.0.get_mut() else { return };
        let (mut bytes, mut len) = (list.as_bytes().len(), list.len());
        for element in elements {
            bytes += element.len();
            len += 1;
        }
        if self.limit.allows(bytes, len) {
            return;
        }
        let mut quicklist = Quicklist { nodes: VecDeque::new(), len: 0, limit: self.limit };
        if !list.is_empty() {
            quicklist.len = list.len();
            quicklist.nodes.push_back(std::mem::take(list));
        }
        self.list.0 = CompactOr::large(quicklist);
    }

    /// Makes it a listpack again if it is so small after something was removed.
    pub fn settle(&mut self) {
        let Form::Large(list) = self.list.0.get_mut() else { return };
        if list.nodes.len() == 1
            && self.limit.allows_twice(list.nodes[0].as_bytes().len(), list.len)
            && let Some(node) = list.nodes.pop_front()
        {
            *self.list = List::of_listpack(node);
        }
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, element: &[u8]) {
        match (self.list.0.get_mut(), end) {
            (Form::Compact(list), End::Head) => list.push_front(element),
            (Form::Compact(list), End::Tail) => list.push(element),
            (Form::Large(list), end) => list.push(end, element),
        }
    }

    /// Takes an element from an end, after `read` has seen it; `None` if there is none.
    pub fn pop<R>(&mut self, end: End, read: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let node = match (self.list.0.get(), end) {
            (Form::Large(list), End::Tail) => list.nodes.len().wrapping_sub(1),
            _ => 0,
        };
        let list = node_at(self.list.nodes(), node)?;
        let at = match end {
            End::Head => list.first()?,
            End::Tail => list.last()?,
        };
        let result = read(list.get(at));
        self.remove_at(Place { node, at }, 1);
        Some(result)
    }

    /// Takes out up to `count` elements of one node, and the node with its last one. Returns how
    /// many, and whether the node has gone.
    fn remove_at(&mut self, place: Place, count: usize) -> (usize, bool) {
        let node = self.list.node_mut(place.node);
        let before = node.len();
        node.remove(place.at, count);
        let removed = before - node.len();
        let Form::Large(list) = self.list.0.get_mut() else { return (removed, false) };
        list.len -= removed;
        let emptied = list.nodes[place.node].is_empty();
        if emptied {
            list.nodes.remove(place.node);
        }
        (removed, emptied)
    }

    /// Takes out `count` elements from an index on, or as many as there are. Gives back what takes
    /// long to free.
    pub fn remove_range(&mut self, start: usize, count: usize) -> Option<List> {
        let mut left = count;
        let mut cut = None;
        while left > 0
            && let Some(place) = self.list.seek(start)
        {
            if let Form::Large(list) = self.list.0.get_mut()
                && list.nodes[place.node].first() == Some(place.at)
                && list.nodes[place.node].len() <= left
            {
                let nodes = list.cut(place.node, left);
                let nodes = List::from_nodes(nodes, list.limit);
                left -= nodes.len();
                cut = Some(nodes).filter(|nodes| nodes.free_effort() > FREE_INLINE_MAX);
            } else {
                left -= self.remove_at(place, left).0;
            }
        }
        cut
    }

    /// Puts an element in place of the one at an index; false if there is none.
    pub fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let Some(place) = self.list.seek(index) else { return false };
        match self.list.0.get_mut() {
            Form::Large(list) if !list.nodes[place.node].has_room_for(element.len()) => {
                list.set_apart(place, element);
            }
            _ => self.list.node_mut(place.node).replace(place.at, element),
        }
        true
    }

    /// Adds an element before or after the first one that equals `pivot`; false if none does.
    pub fn insert(&mut self, pivot: &[u8], after: bool, element: &[u8]) -> bool {
        let found = self.list.listpacks().enumerate().find_map(|(node, list)| {
            let at = list.find(pivot, 0)?;
            Some(Place { node, at })
        });
        let Some(place) = found else { return false };
        match self.list.0.get_mut() {
            Form::Compact(list) => {
                let beside = if after { list.end_of(place.at) } else { place.at };
                list.insert(beside, element);
            }
            Form::Large(list) => list.insert(place, after, element),
        }
        true
    }

    /// Removes up to `max` elements that equal `element`, from one end on. Returns how many.
    pub fn remove_equal(&mut self, from: End, max: usize, element: &[u8]) -> usize {
        let number = parse_i64(element);
        let mut removed = 0;
        let mut place = match from {
            End::Head => self.list.seek(0),
            End::Tail => self.list.seek(self.list.len().wrapping_sub(1)),
        };
        while let Some(here) = place
            && removed < max
        {
            let node = self.list.node_mut(here.node);
            let next = match from {
                End::Head => node.after(here.at),
                End::Tail => node.before(here.at),
            };
            let matches = node.get(here.at).is(element, number);
            let emptied = matches && self.remove_at(here, 1).1;
            removed += usize::from(matches);
            place = match (from, next) {
                // What was removed has made way for the next one.
                (End::Head, Some(_)) if matches => Some(here),
                (_, Some(at)) => Some(Place { node: here.node, at }),
                (End::Head, None) => {
                    let node = here.node + usize::from(!emptied);
                    let first = node_at(self.list.nodes(), node).and_then(Listpack::first);
                    first.map(|at| Place { node, at })
                }
                (End::Tail, None) if here.node == 0 => None,
                (End::Tail, None) => {
                    let node = here.node - 1;
                    let last = node_at(self.list.nodes(), node).and_then(Listpack::last);
                    last.map(|at| Place { node, at })
                }
            };
        }
        removed
    }
}

impl std::ops::Deref for ListMut<'_> {
    type Target = List;

    fn deref(&self) -> &List {
        self.list
    }
}

#[cfg(test)]
mod tests;
