//! One database: its tables, how many keys are where, and when they expire.
//!
//! In cluster mode a database has a table for each of the 16,384 slots, else one. A slot can so be
//! listed, counted, dropped and moved without a search. The tables are allocated with the first
//! key; a bitmap of non-empty slots and counts per group of slots keep SCAN and RANDOMKEY cheap
//! when few slots hold anything.

use super::entry::Entry;
use super::expire::{Due, ExpiryIndex};
use super::hasher::Hasher;
use super::table::{Keyed, Place, Table};
use crate::cluster::Slot;

/// Bits of a SCAN cursor that name the slot.
const SLOT_BITS: u32 = 14;
/// Slots whose keys are counted together.
const GROUP: usize = 128;
/// SCAN visits at most so many buckets per element asked for, empty ones included.
const BUCKETS_PER_ELEMENT: usize = 10;

/// Where an entry is: which table, and where in it. Valid until the next change of the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryPlace {
    slot: usize,
    place: Place,
}

/// How far a walk through all entries has come: from [`WalkPlace::default`] on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WalkPlace {
    slot: usize,
    cursor: u64,
}

/// Where a key belongs, whether it is there or not. It never becomes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    slot: usize,
    hash: u64,
}

/// One database.
#[derive(Debug)]
pub(super) struct Database {
    by_slot: bool,
    hasher: Hasher,
    /// Empty, or one table, or one per slot.
    tables: Vec<Table<Entry>>,
    /// A bit per slot that holds keys; a key count per group of slots.
    occupied: Vec<u64>,
    group_len: Vec<usize>,
    len: usize,
    /// Keys that expire.
    expiring: usize,
    expiries: ExpiryIndex,
    /// Slots that were dropped, and whose keys the index of expiries still names.
    leaving: Vec<Leaving>,
}

/// A slot that was dropped: its keys are forgotten a few at a time.
#[derive(Debug)]
struct Leaving {
    slot: usize,
    table: Table<Entry>,
    /// How far that has come: a cursor of [`Table::scan`].
    cursor: u64,
}

impl Database {
    pub(super) fn new(by_slot: bool, hasher: Hasher) -> Self {
        Self {
            by_slot,
            hasher,
            tables: Vec::new(),
            occupied: Vec::new(),
            group_len: Vec::new(),
            len: 0,
            expiring: 0,
            expiries: ExpiryIndex::default(),
            leaving: Vec::new(),
        }
    }

    pub(super) fn take(&mut self) -> Self {
        let empty = self.like();
        std::mem::replace(self, empty)
    }

    /// An empty one of the same make.
    pub(super) fn like(&self) -> Self {
        Self::new(self.by_slot, self.hasher)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn hasher(&self) -> Hasher {
        self.hasher
    }

    pub(super) fn expiring(&self) -> usize {
        self.expiring
    }

    pub(super) fn mean_ttl(&self, now_ms: u64) -> u64 {
        self.expiries.mean_ttl(now_ms)
    }

    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiries.next()
    }

    #[inline]
    fn slot_of(&self, key: &[u8]) -> usize {
        if self.by_slot { Slot::of(key).index() } else { 0 }
    }

    fn allocate(&mut self) {
        let slots = if self.by_slot { Slot::COUNT } else { 1 };
        self.tables = (0..slots).map(|_| Table::new(self.hasher)).collect();
        self.occupied = vec![0; slots.div_ceil(64)];
        self.group_len = vec![0; slots.div_ceil(GROUP)];
    }

    /// Where a key belongs: for a look and an insertion with one computation of slot and hash.
    #[inline]
    pub(super) fn home(&self, key: &[u8]) -> Home {
        Home { slot: self.slot_of(key), hash: self.hasher.hash(key) }
    }

    #[inline]
    pub(super) fn find(&self, home: Home, key: &[u8]) -> Option<EntryPlace> {
        let place = self.tables.get(home.slot)?.find_hashed(home.hash, key)?;
        Some(EntryPlace { slot: home.slot, place })
    }

    #[inline]
    pub(super) fn at(&self, at: EntryPlace) -> &Entry {
        self.tables[at.slot].at(at.place)
    }

    /// The entry at a place, to be changed by whoever has seen to it that a snapshot has it:
    /// [`Db::entry_mut`](super::Db) does.
    #[inline]
    pub(super) fn at_mut_handed_over(&mut self, at: EntryPlace) -> &mut Entry {
        self.tables[at.slot].at_mut(at.place)
    }

    /// Adds an entry whose key is not there.
    pub(super) fn insert_new(&mut self, home: Home, entry: Entry) -> &mut Entry {
        if self.tables.is_empty() {
            self.allocate();
        }
        let Home { slot, hash } = home;
        if let Some(at) = entry.expires_at() {
            self.expiries.insert(Due { at, slot: slot as u16, hash });
            self.expiring += 1;
        }
        self.len += 1;
        self.group_len[slot / GROUP] += 1;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.tables[slot].insert_new_hashed(hash, entry)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let slot = self.slot_of(key);
        let table = self.tables.get_mut(slot)?;
        let entry = table.remove(key)?;
        if table.is_empty() {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
        self.len -= 1;
        self.group_len[slot / GROUP] -= 1;
        self.forget_expiry(slot, &entry);
        Some(entry)
    }

    fn forget_expiry(&mut self, slot: usize, entry: &Entry) {
        if let Some(at) = entry.expires_at() {
            let hash = self.hasher.hash(entry.key());
            self.expiries.remove(Due { at, slot: slot as u16, hash });
            self.expiring -= 1;
        }
    }

    /// Sets or clears when the entry at a place expires.
    pub(super) fn set_expires_at(&mut self, at: EntryPlace, expires_at: Option<u64>) {
        let entry = self.tables[at.slot].at_mut(at.place);
        let before = entry.expires_at();
        if before == expires_at {
            return;
        }
        entry.set_expires_at(expires_at);
        let hash = self.hasher.hash(entry.key());
        let slot = at.slot as u16;
        if let Some(at) = before {
            self.expiries.remove(Due { at, slot, hash });
            self.expiring -= 1;
        }
        if let Some(at) = expires_at {
            self.expiries.insert(Due { at, slot, hash });
            self.expiring += 1;
        }
    }

    /// Removes the key that expired first, if one has. `None` when nothing is due; an element of
    /// the index whose key has gone is `Some(None)`.
    pub(super) fn remove_expired(&mut self, now_ms: u64) -> Option<Option<Entry>> {
        let due = self.expiries.pop_past(now_ms)?;
        let table = &self.tables[usize::from(due.slot)];
        let is_due = |entry: &Entry| entry.is_expired(now_ms);
        let Some(entry) = table.find_by_hash(due.hash, is_due) else { return Some(None) };
        let key = entry.key().to_vec();
        // The element is out of the index already; removing the key finds nothing there to remove.
        Some(self.remove(&key))
    }

    fn next_occupied(&self, from: usize) -> Option<usize> {
        let first = self.occupied.get(from / 64)? & (u64::MAX << (from % 64));
        if first != 0 {
            return Some(from / 64 * 64 + first.trailing_zeros() as usize);
        }
        let rest = self.occupied.iter().enumerate().skip(from / 64 + 1);
        let (index, word) = rest.into_iter().find(|(_, word)| **word != 0)?;
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    /// Visits about `count` entries from `cursor` on; returns the next cursor, 0 at the end.
    pub(super) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&Entry)) -> u64 {
        let slot_bits = if self.by_slot { SLOT_BITS } else { 0 };
        let mut slot = (cursor & ((1 << slot_bits) - 1)) as usize;
        let mut inner = cursor >> slot_bits;
        let mut seen = 0;
        for _ in 0..count.saturating_mul(BUCKETS_PER_ELEMENT) {
            if inner == 0 {
                match self.next_occupied(slot) {
                    Some(next) => slot = next,
                    None => return 0,
                }
            }
            let Some(table) = self.tables.get(slot) else { return 0 };
            inner = table.scan(inner, |entry| {
                seen += 1;
                visit(entry);
            });
            if inner == 0 {
                slot += 1;
                match self.next_occupied(slot) {
                    Some(next) => slot = next,
                    None => return 0,
                }
            }
            if seen >= count {
                break;
            }
        }
        inner << slot_bits | slot as u64
    }

    /// A key, each about as likely as any other.
    pub(super) fn random(&self, mut random: impl FnMut() -> u64) -> Option<&Entry> {
        if self.len == 0 {
            return None;
        }
        let mut n = (random() % self.len as u64) as usize;
        let group = self.group_len.iter().position(|&len| {
            let here = n < len;
            n -= if here { 0 } else { len };
            here
        })?;
        let slots = self.tables[group * GROUP..].iter().take(GROUP);
        let table = slots.into_iter().find(|table| {
            let here = n < table.len();
            n -= if here { 0 } else { table.len() };
            here
        })?;
        table.random(random)
    }

    /// Visits the entries of the next bucket behind a place of a walk through all of them; false
    /// at the end. Entries that are there all the time are visited at least once.
    pub(super) fn walk(&mut self, walk: &mut WalkPlace, visit: impl FnMut(&mut Entry)) -> bool {
        if walk.cursor == 0 {
            match self.next_occupied(walk.slot) {
                Some(slot) => walk.slot = slot,
                None => return false,
            }
        }
        let Some(table) = self.tables.get_mut(walk.slot) else { return false };
        walk.cursor = table.scan_mut(walk.cursor, visit);
        if walk.cursor == 0 {
            walk.slot += 1;
        }
        true
    }

    /// All entries, slot by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.tables.iter().flat_map(Table::iter)
    }

    pub(super) fn slot_table(&self, slot: Slot) -> Option<&Table<Entry>> {
        debug_assert!(self.by_slot, "slots are for cluster mode");
        self.tables.get(slot.index())
    }

    /// Takes all keys of a slot out at once: how many there were. What is left to do, whatever
    /// their number, is for [`Database::step_leaving`].
    pub(super) fn drop_slot(&mut self, slot: Slot) -> usize {
        let slot = slot.index();
        let Some(table) = self.tables.get_mut(slot).filter(|table| !table.is_empty()) else {
            return 0;
        };
        let table = table.take();
        let len = table.len();
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        self.len -= len;
        self.group_len[slot / GROUP] -= len;
        self.leaving.push(Leaving { slot, table, cursor: 0 });
        len
    }

    /// Whether [`Database::step_leaving`] has something to do.
    pub(super) fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Forgets when about `max` keys of a dropped slot would have expired. Returns how many it
    /// looked at, and the slot's table when that was the last of it.
    pub(super) fn step_leaving(&mut self, max: usize) -> (usize, Option<Table<Entry>>) {
        let Some(mut leaving) = self.leaving.pop() else { return (0, None) };
        let mut looked = 0;
        while self.expiring > 0 && looked < max {
            let mut gone: Vec<Due> = Vec::new();
            leaving.cursor = leaving.table.scan(leaving.cursor, |entry| {
                looked += 1;
                if let Some(at) = entry.expires_at() {
                    let hash = self.hasher.hash(entry.key());
                    gone.push(Due { at, slot: leaving.slot as u16, hash });
                }
            });
            for due in gone {
                self.expiring -= 1;
                // The slot may be ours again, and the key back with the same expiry.
                let is_it = |entry: &Entry| entry.expires_at() == Some(due.at);
                if self.tables[leaving.slot].find_by_hash(due.hash, is_it).is_none() {
                    self.expiries.remove(due);
                }
            }
            // Empty buckets take time too.
            looked += 1;
            if leaving.cursor == 0 {
                return (looked, Some(leaving.table));
            }
        }
        if self.expiring == 0 {
            return (looked, Some(leaving.table));
        }
        self.leaving.push(leaving);
        (looked, None)
    }

    /// Moves a few buckets of resizes that wait for the next change of their table.
    pub(super) fn step_resize(&mut self, buckets: usize) {
        if !self.by_slot
            && let Some(table) = self.tables.first_mut()
        {
            table.step(buckets);
        }
    }

    /// Bytes of the tables themselves, without the entries.
    pub(super) fn table_bytes(&self) -> usize {
        let tables = self.tables.iter().map(|table| size_of_val(table) + table.heap_bytes());
        tables.sum()
    }

    /// Buckets of the tables: those being left, and those in use.
    pub(super) fn buckets(&self) -> (usize, usize) {
        self.tables.iter().map(Table::buckets).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}
