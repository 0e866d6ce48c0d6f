//! A node of a stream: some entries in a listpack, in Redis's form.
//!
//! ```text
//! master entry: live | deleted | names | name … | 0
//! entry:        flags | ms | seq | names | name | value | name | value … | elements before this
//! entry, with the names of the master entry: flags | ms | seq | value … | elements before this
//! ```
//! Ids are differences from the master id, under which the node is kept: the id of its first
//! entry when the node was made. A deleted entry is marked and stays until its node goes. DUMP,
//! RDB and replication send nodes as they are.

use super::id::StreamId;
use crate::store::types::listpack::{Appender, Item, Listpack};

const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;

/// What goes into an entry: names and values in turn.
pub(super) struct Fields<F> {
    /// How many names there are.
    pub(super) len: usize,
    /// The names, at even places, and behind each its value.
    pub(super) content: F,
}

impl<'f, F: Fn(usize) -> &'f [u8]> Fields<F> {
    fn name(&self, index: usize) -> &'f [u8] {
        (self.content)(index * 2)
    }

    fn value(&self, index: usize) -> &'f [u8] {
        (self.content)(index * 2 + 1)
    }

    /// Bytes of all names and values.
    pub(super) fn bytes(&self) -> usize {
        (0..self.len * 2).map(|index| (self.content)(index).len()).sum()
    }
}

/// A node to read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pub(super) master: StreamId,
    pub(super) list: &'a Listpack,
}

/// An entry of a stream, as it lies in its node.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    node: &'a Listpack,
    len: usize,
    /// Where the names are that it shares; none if it has its own.
    names: Option<usize>,
    /// Where its values are, or names and values in turn.
    content: usize,
    deleted: bool,
}

fn number(item: Item<'_>) -> i64 {
    match item {
        Item::Int(number) => number,
        // What is loaded is checked before: it has numbers where they belong.
        Item::Bytes(_) => 0,
    }
}

impl<'a> StreamEntry<'a> {
    /// How many fields it has.
    #[allow(clippy::len_without_is_empty, reason = "an entry has a field at least")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its fields and their values.
    pub fn fields(&self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> + use<'a> {
        let node = self.node;
        let (mut names, mut at) = (self.names, self.content);
        let next = move |at: &mut usize| {
            let (item, after) = node.read(*at);
            *at = after;
            item
        };
        (0..self.len).map(move |_| {
            let name = match &mut names {
                Some(names) => next(names),
                None => next(&mut at),
            };
            (name, next(&mut at))
        })
    }
}

/// A place in a node: where an entry begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    node: Node<'a>,
    /// Names in the master entry, and where the first is.
    names: (usize, usize),
    /// Where the entry begins; for a walk back, where the count behind it is.
    at: usize,
}

impl<'a> Node<'a> {
    fn int(self, at: usize) -> (i64, usize) {
        let (item, next) = self.list.read(at);
        (number(item), next)
    }

    fn start(self) -> usize {
        self.list.first().expect("a node has a master entry")
    }

    /// Entries that are there, and entries that are marked as deleted.
    pub(super) fn counts(self) -> (usize, usize) {
        let (live, at) = self.int(self.start());
        (live.max(0) as usize, self.int(at).0.max(0) as usize)
    }

    /// How many names the master entry has, and where they are.
    fn names(self) -> (usize, usize) {
        let (_, at) = self.int(self.start());
        let (_, at) = self.int(at);
        let (count, at) = self.int(at);
        (count.max(0) as usize, at)
    }

    fn skip(self, mut at: usize, elements: usize) -> usize {
        for _ in 0..elements {
            at = self.list.end_of(at);
        }
        at
    }

    /// The place of the first entry.
    pub(super) fn first(self) -> Cursor<'a> {
        let names = self.names();
        // The 0 behind the names ends the master entry.
        Cursor { node: self, names, at: self.skip(names.1, names.0 + 1) }
    }

    /// The place of the last entry, for a walk back.
    pub(super) fn last(self) -> Cursor<'a> {
        let at = self.list.last().expect("a node has a master entry");
        Cursor { node: self, names: self.names(), at }
    }

    /// The id of the last entry, be it deleted or not.
    pub(super) fn last_id(self) -> StreamId {
        self.last().step_back().map_or(self.master, |entry| entry.id)
    }

    /// The place of the entry with this id, if it is there and not deleted.
    pub(super) fn find(self, id: StreamId) -> Option<usize> {
        let mut cursor = self.first();
        loop {
            let at = cursor.at;
            let entry = cursor.step()?;
            if entry.id >= id {
                return (entry.id == id && !entry.deleted).then_some(at);
            }
        }
    }
}

impl<'a> Cursor<'a> {
    /// The entry that begins here, and where its content ends.
    fn entry(&self) -> (StreamEntry<'a>, usize) {
        let node = self.node;
        let (flags, at) = node.int(self.at);
        let (ms, at) = node.int(at);
        let (seq, at) = node.int(at);
        let same = flags & SAME_NAMES != 0;
        let (len, content) = if same {
            (self.names.0, at)
        } else {
            let (len, at) = node.int(at);
            (len.max(0) as usize, at)
        };
        let id = StreamId {
            ms: node.master.ms.wrapping_add(ms as u64),
            seq: node.master.seq.wrapping_add(seq as u64),
        };
        let entry = StreamEntry {
            id,
            node: node.list,
            len,
            names: same.then_some(self.names.1),
            content,
            deleted: flags & DELETED != 0,
        };
        let end = node.skip(content, if same { len } else { len * 2 });
        (entry, end)
    }

    /// The entry here; afterwards this is the place of the next one.
    pub(super) fn step(&mut self) -> Option<StreamEntry<'a>> {
        if self.node.list.is_end(self.at) {
            return None;
        }
        let (entry, end) = self.entry();
        self.at = self.node.list.end_of(end);
        Some(entry)
    }

    /// The entry that ends here; afterwards this is where the one before it ends.
    pub(super) fn step_back(&mut self) -> Option<StreamEntry<'a>> {
        let list = self.node.list;
        let elements = number(list.get(self.at));
        if elements <= 0 {
            return None;
        }
        let mut at = self.at;
        for _ in 0..elements {
            at = list.before(at)?;
        }
        let (entry, _) = Self { at, ..*self }.entry();
        self.at = list.before(at)?;
        Some(entry)
    }

    /// Where the entry begins that [`Cursor::step`] gives next.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl StreamEntry<'_> {
    /// Whether it is marked as deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.deleted
    }
}

/// A node with its first entry.
pub(super) fn create<'f>(fields: &Fields<impl Fn(usize) -> &'f [u8]>) -> Listpack {
    let mut list = Listpack::new();
    list.extend(|list| {
        list.push_int(1);
        list.push_int(0);
        list.push_int(fields.len as i64);
        (0..fields.len).for_each(|index| list.push(fields.name(index)));
        list.push_int(0);
        push_entry(list, (0, 0), fields, true);
    });
    list
}

/// Adds an entry to the end of a node.
pub(super) fn append<'f>(
    master: StreamId,
    list: &mut Listpack,
    id: StreamId,
    fields: &Fields<impl Fn(usize) -> &'f [u8]>,
) {
    let node = Node { master, list };
    let (live, _) = node.counts();
    let (count, mut at) = node.names();
    let mut buffer = itoa::Buffer::new();
    let same = count == fields.len
        && (0..count).all(|index| {
            let (name, next) = list.read(at);
            at = next;
            name.bytes(&mut buffer) == fields.name(index)
        });
    let ms = id.ms.wrapping_sub(master.ms) as i64;
    let seq = id.seq.wrapping_sub(master.seq) as i64;
    list.replace_int(list.first().expect("a node has a master entry"), live as i64 + 1);
    list.extend(|list| push_entry(list, (ms, seq), fields, same));
}

fn push_entry<'f>(
    list: &mut Appender<'_>,
    (ms, seq): (i64, i64),
    fields: &Fields<impl Fn(usize) -> &'f [u8]>,
    same: bool,
) {
    list.push_int(if same { SAME_NAMES } else { 0 });
    list.push_int(ms);
    list.push_int(seq);
    if !same {
        list.push_int(fields.len as i64);
    }
    for index in 0..fields.len {
        if !same {
            list.push(fields.name(index));
        }
        list.push(fields.value(index));
    }
    let elements = if same { fields.len } else { fields.len * 2 + 1 };
    list.push_int(elements as i64 + 3);
}

/// Marks the entry at a place as deleted, without counting it.
pub(super) fn mark_deleted(list: &mut Listpack, at: usize) {
    let flags = number(list.get(at));
    list.replace_int(at, flags | DELETED);
}

/// Counts entries that have been marked as deleted.
pub(super) fn count_deleted(master: StreamId, list: &mut Listpack, count: usize) {
    let (live, deleted) = Node { master, list }.counts();
    let at = list.first().expect("a node has a master entry");
    list.replace_int(at, live as i64 - count as i64);
    list.replace_int(list.end_of(at), (deleted + count) as i64);
}

/// Whether a listpack of another server's is a node: counts that hold, ids that ascend, and every
/// element where it must be.
pub(super) fn is_well_formed(master: StreamId, list: &Listpack) -> bool {
    check(master, list).is_some()
}

fn check(master: StreamId, list: &Listpack) -> Option<()> {
    let mut items = list.iter();
    let skip = |items: &mut dyn Iterator<Item = Item<'_>>, count: usize| {
        (count == 0 || items.nth(count - 1).is_some()).then_some(())
    };
    let int = |items: &mut dyn Iterator<Item = Item<'_>>| match items.next()? {
        Item::Int(number) => Some(number),
        Item::Bytes(_) => None,
    };
    let size = |items: &mut dyn Iterator<Item = Item<'_>>| usize::try_from(int(items)?).ok();
    let counts = (size(&mut items)?, size(&mut items)?);
    let names = size(&mut items)?;
    skip(&mut items, names)?;
    (int(&mut items)? == 0).then_some(())?;
    let (mut live, mut deleted) = (0, 0);
    let mut last = None;
    while let Some(flags) = items.next() {
        let Item::Int(flags) = flags else { return None };
        let ms = master.ms.wrapping_add(int(&mut items)? as u64);
        let id = StreamId { ms, seq: master.seq.wrapping_add(int(&mut items)? as u64) };
        (last < Some(id)).then_some(())?;
        last = Some(id);
        let elements = if flags & SAME_NAMES != 0 {
            skip(&mut items, names)?;
            names + 3
        } else {
            let content = size(&mut items)?.checked_mul(2)?;
            skip(&mut items, content)?;
            content.checked_add(4)?
        };
        (size(&mut items)? == elements).then_some(())?;
        *(if flags & DELETED == 0 { &mut live } else { &mut deleted }) += 1;
    }
    (counts == (live, deleted)).then_some(())
}
