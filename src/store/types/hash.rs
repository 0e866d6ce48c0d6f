//! Hashes: a listpack of fields and values while small, a table beyond.

use super::listpack::{Item, Listpack};
use super::pair::Pair;
use crate::store::compact::{CompactOr, Form};
use crate::store::garbage::FREE_INLINE_MAX;
use crate::store::hasher::Hasher;
use crate::store::table::{Keyed, Table};

/// Up to which size a hash stays a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    /// `hash-max-listpack-entries`: fields.
    pub entries: usize,
    /// `hash-max-listpack-value`: bytes of a field or value.
    pub value: usize,
}

impl Default for HashLimits {
    fn default() -> Self {
        Self { entries: 512, value: 64 }
    }
}

/// A hash: field, value, field, value, … in the order of their insertion, or a table.
#[derive(Debug)]
#[repr(transparent)]
pub struct Hash(CompactOr<Listpack, Table<Pair>>);

impl Hash {
    /// A hash without fields.
    pub(crate) fn new() -> Self {
        Self(CompactOr::compact(Listpack::new()))
    }

    fn of_table(table: Table<Pair>) -> Self {
        Self(CompactOr::large(table))
    }

    /// A hash of so many fields, in the form for them.
    pub(crate) fn for_fields(fields: u64, limits: HashLimits, hasher: Hasher) -> Self {
        if fields > limits.entries as u64 {
            return Self::of_table(Table::new(hasher));
        }
        Self::new()
    }

    /// A hash from a listpack of fields and values that somebody else wrote: none if a value is
    /// missing or a field is there twice.
    pub(crate) fn from_listpack(
        list: Listpack,
        limits: HashLimits,
        hasher: Hasher,
    ) -> Option<Self> {
        if !list.len().is_multiple_of(2) || !list.is_unique(2, hasher) {
            return None;
        }
        let mut hash = Self(CompactOr::compact(list));
        if hash.len() > limits.entries {
            HashMut::new(&mut hash, limits, hasher).become_table();
        }
        Some(hash)
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        match self.0.get() {
            Form::Compact(list) => list.len() / 2,
            Form::Large(table) => table.len(),
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
            Form::Large(_) => "hashtable",
        }
    }

    /// The listpack of a small hash.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self.0.get() {
            Form::Compact(list) => Some(list),
            Form::Large(_) => None,
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Item<'_>> {
        match self.0.get() {
            Form::Compact(list) => {
                let at = list.find(field, 1)?;
                Some(list.get(list.after(at).expect("a value follows every field")))
            }
            Form::Large(table) => table.get(field).map(|pair| Item::Bytes(pair.value())),
        }
    }

    /// Whether it has this field.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Fields and values: in the order of insertion while it is small, in none beyond.
    pub fn iter(&self) -> impl Iterator<Item = (Item<'_>, Item<'_>)> {
        let (list, table) = match self.0.get() {
            Form::Compact(list) => (Some(list), None),
            Form::Large(table) => (None, Some(table)),
        };
        let mut items = list.into_iter().flat_map(Listpack::iter);
        let listed = std::iter::from_fn(move || Some((items.next()?, items.next()?)));
        let pairs = table.into_iter().flat_map(|table| table.iter());
        listed.chain(pairs.map(as_items))
    }

    /// Visits about `count` fields from `cursor` on; returns the next cursor, 0 at the end. A
    /// small hash is visited whole.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(Item<'_>, Item<'_>),
    ) -> u64 {
        match self.0.get() {
            Form::Compact(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Form::Large(table) => {
                let mut cursor = cursor;
                let mut seen = 0;
                for _ in 0..count.saturating_mul(10) {
                    cursor = table.scan(cursor, |pair| {
                        seen += 1;
                        visit(Item::Bytes(pair.key()), Item::Bytes(pair.value()));
                    });
                    if cursor == 0 || seen >= count {
                        break;
                    }
                }
                cursor
            }
        }
    }

    /// A field with its value, each as likely as any other. `random` gives 64 random bits.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<(Item<'_>, Item<'_>)> {
        match self.0.get() {
            Form::Compact(list) => {
                let len = (list.len() / 2) as u64;
                let at = list.seek(random().checked_rem(len)? as i64 * 2)?;
                Some((list.get(at), list.get(list.after(at)?)))
            }
            Form::Large(table) => table.random(random).map(as_items),
        }
    }

    /// Buckets of its table, if it has one: those being left by a resize, and those in use.
    pub fn buckets(&self) -> Option<(usize, usize)> {
        match self.0.get() {
            Form::Compact(_) => None,
            Form::Large(table) => Some(table.buckets()),
        }
    }

    /// How many allocations freeing it gives back.
    pub fn free_effort(&self) -> usize {
        match self.0.get() {
            Form::Compact(_) => 1,
            Form::Large(table) => 1 + table.len(),
        }
    }

    /// Bytes on the heap; of a large hash, an estimate from some of its fields.
    pub fn heap_bytes(&self) -> usize {
        match self.0.get() {
            Form::Compact(list) => list.heap_bytes(),
            Form::Large(table) => {
                const SAMPLE: usize = 64;
                let sampled = table.len().clamp(1, SAMPLE);
                let bytes: usize = table.iter().take(SAMPLE).map(Pair::heap_bytes).sum();
                size_of_val(table) + table.heap_bytes() + bytes * table.len() / sampled
            }
        }
    }
}

fn as_items(pair: &Pair) -> (Item<'_>, Item<'_>) {
    (Item::Bytes(pair.key()), Item::Bytes(pair.value()))
}

impl Clone for Hash {
    fn clone(&self) -> Self {
        match self.0.get() {
            Form::Compact(list) => Self(CompactOr::compact(list.clone())),
            Form::Large(table) => {
                let mut copy = Table::new(table.hasher());
                for pair in table.iter() {
                    copy.insert_new(pair.clone());
                }
                Self::of_table(copy)
            }
        }
    }
}

/// A hash that a command changes, with what it must know to change its form.
#[derive(Debug)]
pub struct HashMut<'a> {
    hash: &'a mut Hash,
    limits: HashLimits,
    hasher: Hasher,
}

impl<'a> HashMut<'a> {
    pub(crate) fn new(hash: &'a mut Hash, limits: HashLimits, hasher: Hasher) -> Self {
        Self { hash, limits, hasher }
    }

    /// Makes it a table if any of these fields and values, to be set right after, is too long for
    /// a listpack: once, before the first is set.
    pub fn make_room_for<'b>(&mut self, elements: impl Iterator<Item = &'b [u8]>) {
        let Form::Compact(list) = self.hash.0.get() else { return };
        let mut sum = 0;
        for element in elements {
            sum += element.len();
            if element.len() > self.limits.value {
                self.become_table();
                return;
            }
        }
        if !list.has_room_for(sum) {
            self.become_table();
        }
    }

    /// Sets a field; true if it was not there.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.make_room_for([field, value].into_iter());
        let added = match self.hash.0.get_mut() {
            Form::Compact(list) => match list.find(field, 1) {
                Some(at) => {
                    let at = list.after(at).expect("a value follows every field");
                    list.replace(at, value);
                    false
                }
                None => {
                    list.push(field);
                    list.push(value);
                    true
                }
            },
            Form::Large(table) => match table.get_mut(field) {
                Some(pair) => {
                    pair.set_value(value);
                    false
                }
                None => {
                    table.insert_new(Pair::new(field, value));
                    true
                }
            },
        };
        if added && self.as_listpack().is_some() && self.len() > self.limits.entries {
            self.become_table();
        }
        added
    }

    /// Removes a field; true if it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self.hash.0.get_mut() {
            Form::Compact(list) => match list.find(field, 1) {
                Some(at) => {
                    list.remove(at, 2);
                    true
                }
                None => false,
            },
            Form::Large(table) => table.remove(field).is_some(),
        }
    }

    fn become_table(&mut self) {
        let mut table = Table::new(self.hasher);
        let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
        for (field, value) in self.hash.iter() {
            table.insert_new(Pair::new(field.bytes(&mut first), value.bytes(&mut second)));
        }
        *self.hash = Hash::of_table(table);
    }
}

impl std::ops::Deref for HashMut<'_> {
    type Target = Hash;

    fn deref(&self) -> &Hash {
        self.hash
    }
}

const _: () = assert!(FREE_INLINE_MAX < 512, "a table is worth handing over, a listpack is not");
