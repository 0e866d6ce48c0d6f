//! What handlers may do with one database during one call.
//!
//! Every look-up treats a key past its expiry as gone, and, on a primary, removes it. Reads, writes
//! and questions differ in what they count and in whether they are a use of the key, as they do in
//! Redis.

use super::database::{Database, EntryPlace, Home};
use super::entry::Entry;
use super::keyspace::{Expired, Shared};
use super::rdb::{KeyUse, ValueLimits};
use super::table::{Keyed, Table};
use super::usage::UsagePolicy;
use super::value::{Type, Value, ValueMut, ValueRef};
use crate::cluster::Slot;

/// The key holds a value of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key holds a value of another type")]
pub struct WrongType;

/// What becomes of a key's expiry when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It has none any more.
    Clear,
    /// It stays what it was.
    Keep,
    /// It is this, in milliseconds since the Unix epoch.
    At(u64),
}

/// A string as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// A canonical 64-bit integer.
    Int(i64),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> Text<'a> {
    /// Its bytes; a number is written into `buffer`.
    #[inline]
    pub fn bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(number) => buffer.format(number).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.bytes(&mut itoa::Buffer::new()).len()
    }
}

impl Entry {
    /// The string of this entry.
    ///
    /// # Errors
    /// If it holds another type.
    #[inline]
    pub fn text(&self) -> Result<Text<'_>, WrongType> {
        match self.value() {
            ValueRef::Int(number) => Ok(Text::Int(number)),
            ValueRef::Embedded { bytes, .. } => Ok(Text::Bytes(bytes)),
            ValueRef::String(bytes) => Ok(Text::Bytes(bytes)),
            _ => Err(WrongType),
        }
    }

    /// The type of its value.
    pub fn type_of(&self) -> Type {
        self.value().type_of()
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        self.value().encoding()
    }

    /// A copy under another key.
    pub fn copied(&self, key: &[u8]) -> Self {
        let expires_at = self.expires_at();
        match self.value() {
            ValueRef::Int(number) => Self::int(key, number, expires_at),
            ValueRef::Embedded { bytes, raw } => {
                let mut copy = Self::string(key, b"", expires_at);
                if raw {
                    copy.set_raw(bytes)
                } else {
                    copy.set_string(bytes)
                };
                copy
            }
            ValueRef::String(bytes) => Self::object(key, Value::string(bytes.clone()), expires_at),
            ValueRef::List(list) => Self::object(key, Value::List(list.clone()), expires_at),
            ValueRef::Hash(hash) => Self::object(key, Value::Hash(hash.clone()), expires_at),
            ValueRef::SortedSet(set) => {
                Self::object(key, Value::SortedSet(set.clone()), expires_at)
            }
            ValueRef::Set(set) => Self::object(key, Value::Set(set.clone()), expires_at),
            ValueRef::Stream(stream) => {
                Self::object(key, Value::Stream(Box::new(stream.clone())), expires_at)
            }
        }
    }
}

/// One database during one call.
#[derive(Debug)]
pub struct Db<'a> {
    pub(super) index: usize,
    pub(super) now_ms: u64,
    pub(super) database: &'a mut Database,
    pub(super) shared: &'a mut Shared,
}

impl<'a> Db<'a> {
    /// Keys in it, those that have expired and are not yet removed included.
    pub fn len(&self) -> usize {
        self.database.len()
    }

    /// Whether it has no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of the call, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Where a living key is. One past its expiry is treated as the keyspace is told to.
    #[inline]
    pub(super) fn find(&mut self, key: &[u8]) -> Option<EntryPlace> {
        self.find_at(self.database.home(key), key)
    }

    #[inline]
    pub(super) fn find_at(&mut self, home: Home, key: &[u8]) -> Option<EntryPlace> {
        let place = self.database.find(home, key)?;
        if self.database.at(place).is_expired(self.now_ms) && !self.serves_expired(key) {
            return None;
        }
        Some(place)
    }

    #[cold]
    fn serves_expired(&mut self, key: &[u8]) -> bool {
        match self.shared.on_expired {
            Expired::Keep => true,
            Expired::Hide => false,
            Expired::Remove => {
                if let Some(entry) = self.database.remove(key) {
                    self.shared.has_expired(self.index, entry, self.now_ms);
                }
                false
            }
        }
    }

    #[inline]
    pub(super) fn touch(&mut self, place: EntryPlace) {
        // Its use is no part of its value: a snapshot may have the old or the new.
        let entry = self.database.at_mut_handed_over(place);
        let random = &mut self.shared.random;
        let used = self.shared.usage.used(entry.usage(), self.now_ms, || random.next() as u32);
        entry.set_usage(used);
    }

    /// The entry at a place, to be changed: a snapshot that has not come to it gets it as it is.
    #[inline]
    pub(super) fn entry_mut(&mut self, place: EntryPlace) -> &mut Entry {
        let entry = self.database.at_mut_handed_over(place);
        self.shared.hand_over(self.index, entry, self.now_ms);
        entry
    }

    /// The entry of a key that a command reads: counted as a hit or a miss, and as a use.
    #[inline]
    pub fn read(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let place = self.find_counted(key)?;
        self.touch(place);
        Some(self.database.at(place))
    }

    /// Where a living key is, counted as a hit or a miss.
    #[inline]
    pub(super) fn find_counted(&mut self, key: &[u8]) -> Option<EntryPlace> {
        let place = self.find(key);
        match place {
            Some(_) => self.shared.stats.hits += 1,
            None => self.shared.was_missed(self.index, key),
        }
        place
    }

    /// Counts a hit or a miss of a key, and nothing else.
    pub fn count_look(&mut self, key: &[u8]) {
        self.find_counted(key);
    }

    /// The entry of a living key, without a change to anything: several can be held at once.
    pub(super) fn glance(&self, key: &[u8]) -> Option<&'_ Entry> {
        let entry = self.database.at(self.database.find(self.database.home(key), key)?);
        let serves = self.shared.on_expired == Expired::Keep;
        (serves || !entry.is_expired(self.now_ms)).then_some(entry)
    }

    /// The entry of a key, neither counted nor used by this.
    pub fn peek(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let place = self.find(key)?;
        Some(self.database.at(place))
    }

    /// The entry of a key that a command asks about without using its value (TTL, TYPE, EXISTS):
    /// counted as a hit or a miss.
    pub fn peek_counted(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let place = self.find_counted(key)?;
        Some(self.database.at(place))
    }

    /// The same, and if it is not there nobody is told: for questions about the entry itself
    /// (OBJECT).
    pub fn peek_counted_untold(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let Some(place) = self.find(key) else {
            self.shared.stats.misses += 1;
            return None;
        };
        self.shared.stats.hits += 1;
        Some(self.database.at(place))
    }

    /// The type of what a key holds; none if it is not there.
    pub fn type_of(&mut self, key: &[u8]) -> Option<Type> {
        self.peek(key).map(Entry::type_of)
    }

    /// The type of what a key holds, also past its expiry, which this does not enforce: for those
    /// who only want to know whether a look may be worth it.
    pub fn raw_type_of(&self, key: &[u8]) -> Option<Type> {
        let place = self.database.find(self.database.home(key), key)?;
        Some(self.database.at(place).type_of())
    }

    /// Whether the key is there.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// Whether a key is there that a command may replace: the question counts as a use of it.
    pub fn is_taken(&mut self, key: &[u8]) -> bool {
        let place = self.find(key);
        if let Some(place) = place {
            self.touch(place);
        }
        place.is_some()
    }

    /// The entry of a key that a command changes. Its value may be changed in place, its expiry
    /// only by [`Db::set_expiry`].
    #[inline]
    pub fn write(&mut self, key: &[u8]) -> Option<&'_ mut Entry> {
        let place = self.find(key)?;
        self.touch(place);
        Some(self.entry_mut(place))
    }

    /// The string of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    #[inline]
    pub fn text(&mut self, key: &[u8]) -> Result<Option<Text<'_>>, WrongType> {
        self.read(key).map(Entry::text).transpose()
    }

    /// Sets a string, whatever the key held before.
    pub fn set_string(&mut self, key: &[u8], bytes: &[u8], expiry: Expiry) {
        let home = self.database.home(key);
        match self.find_at(home, key) {
            Some(place) => {
                if expiry != Expiry::Keep {
                    self.set_expiry_at(place, expiry);
                }
                let old = self.entry_mut(place).set_string(bytes);
                self.shared.discard_value(old);
                self.touch(place);
            }
            None => self.add(home, Entry::string(key, bytes, expiry.time())),
        }
    }

    /// Sets a string that stays text even where it is a number (what INCRBYFLOAT leaves behind);
    /// the key's expiry stays.
    pub fn set_text(&mut self, key: &[u8], bytes: &[u8]) {
        let home = self.database.home(key);
        if self.find_at(home, key).is_none() {
            self.add(home, Entry::string(key, b"", None));
        }
        if let Some(entry) = self.write(key) {
            let old = entry.set_text(bytes);
            self.shared.discard_value(old);
        }
    }

    /// Puts `number` into a key that may or may not be there; its expiry stays.
    pub fn set_int(&mut self, key: &[u8], number: i64) {
        let home = self.database.home(key);
        match self.find_at(home, key) {
            Some(place) => {
                let old = self.entry_mut(place).set_int(number);
                self.shared.discard_value(old);
                self.touch(place);
            }
            None => self.add(home, Entry::int(key, number, None)),
        }
    }

    /// Puts a value into a key that may or may not be there; its expiry stays.
    pub fn set_value(&mut self, key: &[u8], value: Value) {
        let home = self.database.home(key);
        match self.find_at(home, key) {
            Some(place) => {
                let old = self.entry_mut(place).set_object(value);
                self.shared.discard_value(old);
                self.touch(place);
            }
            None => self.add(home, Entry::object(key, value, None)),
        }
    }

    /// The bytes of a key's string, to be changed in place (APPEND, SETRANGE, SETBIT): its encoding
    /// becomes raw. A key that is not there becomes an empty string.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn edit_string<R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, WrongType> {
        let home = self.database.home(key);
        let Some(place) = self.find_at(home, key) else {
            let mut bytes = Vec::new();
            let result = edit(&mut bytes);
            let mut entry = Entry::string(key, b"", None);
            entry.set_raw(&bytes);
            self.add(home, entry);
            return Ok(result);
        };
        self.touch(place);
        let entry = self.entry_mut(place);
        if let Some(ValueMut::String(bytes)) = entry.object_mut() {
            return Ok(edit(bytes));
        }
        let mut bytes = entry.text()?.bytes(&mut itoa::Buffer::new()).to_vec();
        let result = edit(&mut bytes);
        if bytes.len() > super::entry::EMBEDDED_MAX {
            entry.set_object(Value::string(bytes));
        } else {
            entry.set_raw(&bytes);
        }
        Ok(result)
    }

    /// Drops what a command has cut off a value, on another thread if that takes long.
    pub fn discard(&mut self, cut: Value) {
        self.shared.discard_value(Some(cut));
    }

    /// Adds an entry whose key is not there.
    pub(super) fn add(&mut self, home: Home, mut entry: Entry) {
        if self.shared.on_expired == Expired::Hide {
            self.drop_hidden(entry.key());
        }
        entry.set_usage(self.shared.usage.fresh(self.now_ms));
        entry.set_mark(self.shared.mark);
        self.shared.has_come(self.index, entry.key());
        self.database.insert_new(home, entry);
    }

    /// A key is about to be written that may be there, past its expiry, and hidden.
    #[cold]
    pub(super) fn drop_hidden(&mut self, key: &[u8]) {
        if let Some(hidden) = self.database.remove(key) {
            self.shared.has_expired(self.index, hidden, self.now_ms);
        }
    }

    /// Adds an entry that comes from a file.
    ///
    /// # Errors
    /// Its key is there: the entry itself.
    pub fn restore_new(&mut self, mut entry: Entry, used: Option<KeyUse>) -> Result<(), Entry> {
        let home = self.database.home(entry.key());
        if self.database.find(home, entry.key()).is_some() {
            return Err(entry);
        }
        entry.set_usage(self.shared.usage.restored(used, self.now_ms));
        entry.set_mark(self.shared.mark);
        self.database.insert_new(home, entry);
        Ok(())
    }

    /// Adds an entry that comes from a file or from another node, in place of the one with its key.
    pub fn restore(&mut self, mut entry: Entry, used: Option<KeyUse>) {
        entry.set_usage(self.shared.usage.restored(used, self.now_ms));
        self.insert(entry);
    }

    /// Adds an entry, or puts it in place of the one with its key.
    pub fn insert(&mut self, mut entry: Entry) {
        if let Some(old) = self.database.remove(entry.key()) {
            self.shared.discard(self.index, old, self.now_ms);
        }
        entry.set_mark(self.shared.mark);
        self.shared.has_come(self.index, entry.key());
        let home = self.database.home(entry.key());
        self.database.insert_new(home, entry);
    }

    /// Adds a copy of an entry, in place of the one with its key: it has not been used yet.
    pub fn insert_copy(&mut self, mut entry: Entry) {
        entry.set_usage(self.shared.usage.fresh(self.now_ms));
        self.insert(entry);
    }

    /// Takes a living key out, with its value, expiry and use.
    pub fn take(&mut self, key: &[u8]) -> Option<Entry> {
        self.find(key)?;
        let mut entry = self.database.remove(key)?;
        self.shared.hand_over(self.index, &mut entry, self.now_ms);
        Some(entry)
    }

    /// Removes a key. True if it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        if self.find(key).is_none() {
            return false;
        }
        if let Some(entry) = self.database.remove(key) {
            self.shared.discard(self.index, entry, self.now_ms);
        }
        true
    }

    /// Sets or clears when a key expires. True if the key is there.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Expiry) -> bool {
        let Some(place) = self.find(key) else { return false };
        self.set_expiry_at(place, expiry);
        true
    }

    fn set_expiry_at(&mut self, place: EntryPlace, expiry: Expiry) {
        self.entry_mut(place);
        match expiry {
            Expiry::Keep => {}
            Expiry::Clear => self.database.set_expires_at(place, None),
            Expiry::At(at) => self.database.set_expires_at(place, Some(at)),
        }
    }

    /// Visits about `count` living keys from `cursor` on; returns the next cursor, 0 at the end.
    /// A key that is there from start to end of a scan is visited. One past its expiry is treated
    /// as a look-up treats it.
    pub fn scan(&mut self, cursor: u64, count: usize, mut visit: impl FnMut(&Entry)) -> u64 {
        let now_ms = self.now_ms;
        let removes = self.shared.on_expired == Expired::Remove;
        let mut expired: Vec<Box<[u8]>> = Vec::new();
        let next = self.database.scan(cursor, count, |entry| {
            if !entry.is_expired(now_ms) {
                visit(entry);
            } else if removes {
                expired.push(entry.key().into());
            }
        });
        for key in expired {
            self.find(&key);
        }
        next
    }

    /// Every living entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let now_ms = self.now_ms;
        self.database.iter().filter(move |entry| !entry.is_expired(now_ms))
    }

    /// The living entries of the slot that `tag` hashes to.
    pub fn iter_slot(&self, slot: Slot) -> impl Iterator<Item = &Entry> {
        let now_ms = self.now_ms;
        let table = self.database.slot_table(slot);
        table.into_iter().flat_map(Table::iter).filter(move |entry| !entry.is_expired(now_ms))
    }

    /// A living key, each about as likely as any other.
    pub fn random_key(&mut self) -> Option<Box<[u8]>> {
        // Where nearly all keys have expired and wait to be removed, give up on the living ones
        // after some tries, as Redis does, and give one of the others.
        const TRIES: usize = 100;
        let mut last = None;
        for _ in 0..TRIES {
            let random = &mut self.shared.random;
            let key: Box<[u8]> = self.database.random(|| random.next())?.key().into();
            if self.find(&key).is_some() {
                return Some(key);
            }
            last = Some(key);
        }
        last.filter(|_| self.shared.on_expired == Expired::Hide)
    }

    /// 64 random bits, for commands that pick by chance.
    pub fn random(&mut self) -> u64 {
        self.shared.random.next()
    }

    /// Whether entries remember when or how often they are used.
    pub fn usage_policy(&self) -> UsagePolicy {
        self.shared.usage
    }

    /// What decides the form of values that are read from RDB.
    pub fn value_limits(&self) -> ValueLimits {
        ValueLimits { types: self.shared.limits, hasher: self.database.hasher() }
    }
}

impl Expiry {
    fn time(self) -> Option<u64> {
        match self {
            Self::At(at) => Some(at),
            Self::Clear | Self::Keep => None,
        }
    }
}
