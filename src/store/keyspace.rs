//! The keyspace: all databases, and what handlers may do with one of them.
//!
//! A handler takes a [`Db`] for the length of a call: a database at a point in time. Every look-up
//! through it treats a key past its expiry as gone, and, on a primary, removes it. What a handler
//! changes it tells the node itself (`Ctx::modified`); what the store removes on its own account
//! is told by [`Keyspace::take_expired`].

use super::database::{Database, EntryPlace};
use super::entry::{Entry, ValueRef};
use super::garbage::{FREE_INLINE_MAX, Garbage, Waste};
use super::hasher::Hasher;
use super::random::Random;
use super::table::{Keyed, Table};
use super::types::{Hash, HashLimits, HashMut};
use super::usage::UsagePolicy;
use super::value::{Type, Value};
use crate::cluster::Slot;

/// How a keyspace is made.
#[derive(Clone, Copy, Debug)]
pub struct KeyspaceOptions {
    /// Cluster mode: a table per slot.
    pub by_slot: bool,
    /// Numbered databases; 1 in cluster mode.
    pub databases: usize,
    /// Seeds of the hash function and of random picks: random, and known to nobody.
    pub seed: (u64, u64),
}

/// What happens to a key past its expiry when it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Expired {
    /// It is removed: on a primary.
    #[default]
    Remove,
    /// It is hidden, and stays until the primary says so: on a replica.
    Hide,
    /// It is served as if it lived: while a data set is loaded, or for a primary's own commands.
    Keep,
}

/// What the keyspace counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because they expired.
    pub expired: u64,
}

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
            ValueRef::Object(Value::String(bytes)) => Ok(Text::Bytes(bytes)),
            ValueRef::Object(_) => Err(WrongType),
        }
    }

    /// The type of its value.
    pub fn type_of(&self) -> Type {
        match self.value() {
            ValueRef::Int(_) | ValueRef::Embedded { .. } => Type::String,
            ValueRef::Object(value) => value.type_of(),
        }
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        /// The longest string that Redis embeds in its object: what clients know as embstr.
        const EMBSTR_MAX: usize = 44;
        match self.value() {
            ValueRef::Int(_) => "int",
            ValueRef::Embedded { bytes, raw: false } if bytes.len() <= EMBSTR_MAX => "embstr",
            ValueRef::Embedded { .. } => "raw",
            ValueRef::Object(value) => value.encoding(),
        }
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
            ValueRef::Object(value) => Self::object(key, value.clone(), expires_at),
        }
    }
}

/// Up to which size collections stay compact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeLimits {
    /// `hash-max-listpack-entries` and `-value`.
    pub hash: HashLimits,
}

/// Everything that the databases of a node share.
#[derive(Debug)]
struct Shared {
    limits: TypeLimits,
    usage: UsagePolicy,
    on_expired: Expired,
    random: Random,
    stats: KeyspaceStats,
    garbage: Garbage,
    /// Whether anyone is to be told of keys that expired.
    tell_expired: bool,
    expired: Vec<(usize, Box<[u8]>)>,
}

impl Shared {
    fn discard_value(&mut self, old: Option<Box<Value>>) {
        if let Some(value) = old
            && value.free_effort() > FREE_INLINE_MAX
        {
            self.garbage.push(Waste::Value(value));
        }
    }

    fn discard(&mut self, entry: Entry) {
        if let ValueRef::Object(value) = entry.value()
            && value.free_effort() > FREE_INLINE_MAX
        {
            self.garbage.push(Waste::Entry(entry));
        }
    }

    fn has_expired(&mut self, db: usize, entry: Entry) {
        self.stats.expired += 1;
        if self.tell_expired {
            self.expired.push((db, entry.key().into()));
        }
        self.discard(entry);
    }
}

/// All databases of a node.
#[derive(Debug)]
pub struct Keyspace {
    databases: Vec<Database>,
    shared: Shared,
    /// Whose turn it is to have its expired keys removed.
    expire_next: usize,
}

impl Keyspace {
    /// An empty keyspace.
    pub fn new(options: KeyspaceOptions) -> Self {
        let hasher = Hasher::new(options.seed.0, options.seed.1);
        let database = || Database::new(options.by_slot, hasher);
        Self {
            databases: (0..options.databases).map(|_| database()).collect(),
            shared: Shared {
                limits: TypeLimits::default(),
                usage: UsagePolicy::Recency,
                on_expired: Expired::Remove,
                random: Random::new(options.seed.0 ^ options.seed.1.rotate_left(32)),
                stats: KeyspaceStats::default(),
                garbage: Garbage::default(),
                tell_expired: false,
                expired: Vec::new(),
            },
            expire_next: 0,
        }
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// One database at a point in time.
    ///
    /// # Panics
    /// If there is no such database: SELECT and its like check.
    #[inline]
    pub fn db(&mut self, index: usize, now_ms: u64) -> Db<'_> {
        Db { index, now_ms, database: &mut self.databases[index], shared: &mut self.shared }
    }

    /// Keys in a database, in all of them: `None`.
    pub fn len(&self, db: Option<usize>) -> usize {
        match db {
            Some(db) => self.databases[db].len(),
            None => self.databases.iter().map(Database::len).sum(),
        }
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len(None) == 0
    }

    /// Keys of a database that expire.
    pub fn expiring(&self, db: usize) -> usize {
        self.databases[db].expiring()
    }

    /// About how long keys of a database have to live on average, in milliseconds.
    pub fn mean_ttl(&self, db: usize, now_ms: u64) -> u64 {
        self.databases[db].mean_ttl(now_ms)
    }

    /// What it has counted.
    pub fn stats(&self) -> KeyspaceStats {
        self.shared.stats
    }

    /// Counts from zero again: CONFIG RESETSTAT.
    pub fn reset_stats(&mut self) {
        self.shared.stats = KeyspaceStats::default();
    }

    /// Whether keys past their expiry are removed, hidden or served.
    pub fn set_on_expired(&mut self, on_expired: Expired) {
        self.shared.on_expired = on_expired;
    }

    /// Whether entries remember when or how often they are used.
    pub fn usage_policy(&self) -> UsagePolicy {
        self.shared.usage
    }

    /// Changes what entries remember of their use (`maxmemory-policy` and the `lfu-` settings).
    pub fn set_usage_policy(&mut self, usage: UsagePolicy) {
        self.shared.usage = usage;
    }

    /// Up to which size collections stay compact.
    pub fn limits(&self) -> TypeLimits {
        self.shared.limits
    }

    /// Changes up to which size collections stay compact; those that are there stay as they are.
    pub fn set_limits(&mut self, limits: TypeLimits) {
        self.shared.limits = limits;
    }

    /// Asks for a record of keys that expire, for replicas and notifications: see
    /// [`Keyspace::take_expired`].
    pub fn tell_expired(&mut self, tell: bool) {
        self.shared.tell_expired = tell;
    }

    /// The keys that expired since the last call, with their databases, in order.
    pub fn take_expired(&mut self) -> Vec<(usize, Box<[u8]>)> {
        std::mem::take(&mut self.shared.expired)
    }

    /// What has been unlinked and waits to be dropped, preferably on another thread.
    pub fn take_garbage(&mut self) -> Garbage {
        std::mem::take(&mut self.shared.garbage)
    }

    /// Whether there is something for [`Keyspace::take_garbage`] to take.
    #[inline]
    pub fn has_garbage(&self) -> bool {
        !self.shared.garbage.is_empty()
    }

    /// Removes up to `max` keys that have expired, and moves resizes on a little. Returns how many
    /// it looked at: fewer than `max` means that nothing is due. The caller keeps calling while its
    /// time budget lasts; 32 keys take some 20 µs.
    pub fn expire_some(&mut self, now_ms: u64, max: usize) -> usize {
        if self.shared.on_expired != Expired::Remove {
            return 0;
        }
        let mut looked = 0;
        for _ in 0..self.databases.len() {
            let index = self.expire_next % self.databases.len();
            let database = &mut self.databases[index];
            database.step_resize(max);
            while looked < max {
                let Some(removed) = database.remove_expired(now_ms) else { break };
                looked += 1;
                if let Some(entry) = removed {
                    self.shared.has_expired(index, entry);
                }
            }
            if looked == max {
                break;
            }
            self.expire_next = index + 1;
        }
        looked
    }

    /// When the next key expires, if any does, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self) -> Option<u64> {
        self.databases.iter().filter_map(Database::next_expiry).min()
    }

    /// Empties a database. Returns how many keys it held.
    pub fn flush(&mut self, db: usize) -> usize {
        let database = self.databases[db].take();
        let len = database.len();
        if len > 0 {
            self.shared.garbage.push(Waste::Database(Box::new(database)));
        }
        len
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.databases.swap(a, b);
    }

    /// Moves a key to another database; false if it is not there, or the other has one of that name.
    pub fn move_key(&mut self, from: usize, to: usize, key: &[u8], now_ms: u64) -> bool {
        if self.db(from, now_ms).peek(key).is_none() || self.db(to, now_ms).peek(key).is_some() {
            return false;
        }
        if let Some(entry) = self.databases[from].remove(key) {
            self.databases[to].insert_new(entry);
        }
        true
    }

    /// How many keys a slot holds.
    pub fn count_in_slot(&self, slot: Slot) -> usize {
        self.databases[0].slot_table(slot).map_or(0, Table::len)
    }

    /// Up to `max` keys of a slot.
    pub fn keys_in_slot(&self, slot: Slot, max: usize) -> impl Iterator<Item = &[u8]> {
        let table = self.databases[0].slot_table(slot);
        table.into_iter().flat_map(Table::iter).map(Keyed::key).take(max)
    }

    /// Drops all keys of a slot. Returns how many there were.
    pub fn drop_slot(&mut self, slot: Slot) -> usize {
        let Some(table) = self.databases[0].take_slot(slot) else { return 0 };
        let len = table.len();
        self.shared.garbage.push(Waste::Slot(table));
        len
    }

    /// Bytes of all hash tables of keys, without the entries.
    pub fn table_bytes(&self) -> usize {
        self.databases.iter().map(Database::table_bytes).sum()
    }

    /// Buckets of a database's tables: those being left by a resize, and those in use.
    pub fn buckets(&self, db: usize) -> (usize, usize) {
        self.databases[db].buckets()
    }
}

/// One database during one call.
#[derive(Debug)]
pub struct Db<'a> {
    index: usize,
    now_ms: u64,
    database: &'a mut Database,
    shared: &'a mut Shared,
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
    fn find(&mut self, key: &[u8]) -> Option<EntryPlace> {
        let place = self.database.find(key)?;
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
                    self.shared.has_expired(self.index, entry);
                }
                false
            }
        }
    }

    #[inline]
    fn touch(&mut self, place: EntryPlace) {
        let entry = self.database.at_mut(place);
        let random = &mut self.shared.random;
        let used = self.shared.usage.used(entry.usage(), self.now_ms, || random.next() as u32);
        entry.set_usage(used);
    }

    /// The entry of a key that a command reads: counted as a hit or a miss, and as a use.
    #[inline]
    pub fn read(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let Some(place) = self.find(key) else {
            self.shared.stats.misses += 1;
            return None;
        };
        self.shared.stats.hits += 1;
        self.touch(place);
        Some(self.database.at(place))
    }

    /// The entry of a key, neither counted nor used by this.
    pub fn peek(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let place = self.find(key)?;
        Some(self.database.at(place))
    }

    /// The entry of a key that a command asks about without using its value (TTL, TYPE, EXISTS):
    /// counted as a hit or a miss.
    pub fn peek_counted(&mut self, key: &[u8]) -> Option<&'_ Entry> {
        let Some(place) = self.find(key) else {
            self.shared.stats.misses += 1;
            return None;
        };
        self.shared.stats.hits += 1;
        Some(self.database.at(place))
    }

    /// Whether the key is there.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The entry of a key that a command changes. Its value may be changed in place, its expiry
    /// only by [`Db::set_expiry`].
    #[inline]
    pub fn write(&mut self, key: &[u8]) -> Option<&'_ mut Entry> {
        let place = self.find(key)?;
        self.touch(place);
        Some(self.database.at_mut(place))
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
        match self.find(key) {
            Some(place) => {
                if expiry != Expiry::Keep {
                    self.set_expiry_at(place, expiry);
                }
                let old = self.database.at_mut(place).set_string(bytes);
                self.shared.discard_value(old);
                self.touch(place);
            }
            None => self.add(Entry::string(key, bytes, expiry.time())),
        }
    }

    /// Sets a string that stays text even where it is a number (what INCRBYFLOAT leaves behind);
    /// the key's expiry stays.
    pub fn set_text(&mut self, key: &[u8], bytes: &[u8]) {
        if !self.contains(key) {
            self.add(Entry::string(key, b"", None));
        }
        if let Some(entry) = self.write(key) {
            let old = entry.set_text(bytes);
            self.shared.discard_value(old);
        }
    }

    /// Puts `number` into a key that may or may not be there; its expiry stays.
    pub fn set_int(&mut self, key: &[u8], number: i64) {
        match self.find(key) {
            Some(place) => {
                let old = self.database.at_mut(place).set_int(number);
                self.shared.discard_value(old);
                self.touch(place);
            }
            None => self.add(Entry::int(key, number, None)),
        }
    }

    /// Puts a value into a key that may or may not be there; its expiry stays.
    pub fn set_value(&mut self, key: &[u8], value: Value) {
        match self.find(key) {
            Some(place) => {
                let old = self.database.at_mut(place).set_object(value);
                self.shared.discard_value(old);
                self.touch(place);
            }
            None => self.add(Entry::object(key, value, None)),
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
        let Some(place) = self.find(key) else {
            let mut bytes = Vec::new();
            let result = edit(&mut bytes);
            let mut entry = Entry::string(key, b"", None);
            entry.set_raw(&bytes);
            self.add(entry);
            return Ok(result);
        };
        self.touch(place);
        let entry = self.database.at_mut(place);
        if let Some(Value::String(bytes)) = entry.object_mut() {
            return Ok(edit(bytes));
        }
        let mut bytes = entry.text()?.bytes(&mut itoa::Buffer::new()).to_vec();
        let result = edit(&mut bytes);
        if bytes.len() > super::entry::EMBEDDED_MAX {
            entry.set_object(Value::String(bytes));
        } else {
            entry.set_raw(&bytes);
        }
        Ok(result)
    }

    /// The hash of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&'_ Hash>, WrongType> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::Object(Value::Hash(hash))) => Ok(Some(hash)),
            Some(_) => Err(WrongType),
        }
    }

    /// The hash of a key that a command changes. Whoever empties it removes the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn hash_mut(&mut self, key: &[u8]) -> Result<Option<HashMut<'_>>, WrongType> {
        let Some(place) = self.find(key) else { return Ok(None) };
        self.hash_at(place).map(Some)
    }

    /// The hash of a key that a command adds to; an empty one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn hash_or_new(&mut self, key: &[u8]) -> Result<HashMut<'_>, WrongType> {
        let place = match self.find(key) {
            Some(place) => place,
            None => {
                self.add(Entry::object(key, Value::Hash(Hash::new()), None));
                self.database.find(key).expect("the key was added a moment ago")
            }
        };
        self.hash_at(place)
    }

    fn hash_at(&mut self, place: EntryPlace) -> Result<HashMut<'_>, WrongType> {
        self.touch(place);
        let hasher = self.database.hasher();
        match self.database.at_mut(place).object_mut() {
            Some(Value::Hash(hash)) => Ok(HashMut::new(hash, self.shared.limits.hash, hasher)),
            _ => Err(WrongType),
        }
    }

    /// Adds an entry whose key is not there.
    fn add(&mut self, mut entry: Entry) {
        entry.set_usage(self.shared.usage.fresh(self.now_ms));
        self.database.insert_new(entry);
    }

    /// Adds an entry, or puts it in place of the one with its key.
    pub fn insert(&mut self, entry: Entry) {
        if let Some(old) = self.database.remove(entry.key()) {
            self.shared.discard(old);
        }
        self.database.insert_new(entry);
    }

    /// Adds a copy of an entry, in place of the one with its key: it has not been used yet.
    pub fn insert_copy(&mut self, mut entry: Entry) {
        entry.set_usage(self.shared.usage.fresh(self.now_ms));
        self.insert(entry);
    }

    /// Takes a living key out, with its value, expiry and use.
    pub fn take(&mut self, key: &[u8]) -> Option<Entry> {
        self.find(key)?;
        self.database.remove(key)
    }

    /// Removes a key. True if it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let Some(entry) = self.take(key) else { return false };
        self.shared.discard(entry);
        true
    }

    /// Sets or clears when a key expires. True if the key is there.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Expiry) -> bool {
        let Some(place) = self.find(key) else { return false };
        self.set_expiry_at(place, expiry);
        true
    }

    fn set_expiry_at(&mut self, place: EntryPlace, expiry: Expiry) {
        match expiry {
            Expiry::Keep => {}
            Expiry::Clear => self.database.set_expires_at(place, None),
            Expiry::At(at) => self.database.set_expires_at(place, Some(at)),
        }
    }

    /// Visits about `count` living keys from `cursor` on; returns the next cursor, 0 at the end.
    /// A key that is there from start to end of a scan is visited.
    pub fn scan(&mut self, cursor: u64, count: usize, mut visit: impl FnMut(&Entry)) -> u64 {
        let now_ms = self.now_ms;
        self.database.scan(cursor, count, |entry| {
            if !entry.is_expired(now_ms) {
                visit(entry);
            }
        })
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
}

impl Expiry {
    fn time(self) -> Option<u64> {
        match self {
            Self::At(at) => Some(at),
            Self::Clear | Self::Keep => None,
        }
    }
}

#[cfg(test)]
mod tests;
