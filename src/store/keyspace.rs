//! The keyspace: all databases, and what handlers may do with one of them.
//!
//! A handler takes a [`Db`] for the length of a call: a database at a point in time. What a handler
//! changes it tells the node itself (`Ctx::modified`); what the store removes on its own account
//! is told by [`Keyspace::take_told`].

use super::database::Database;
use super::db::Db;
use super::entry::Entry;
use super::garbage::{FREE_INLINE_MAX, Garbage, Tally, Waste};
use super::hasher::Hasher;
use super::random::Random;
use super::rdb::ValueLimits;
use super::snapshot::{Marking, Walk};
use super::table::{Keyed, Table};
use super::types::{HashLimits, ListLimit, SetLimits, SortedSetLimits, StreamLimits};
use super::usage::UsagePolicy;
use super::value::Value;
use crate::cluster::Slot;
use std::sync::Arc;

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
    /// Keys and values that are unlinked and not dropped yet, on whichever thread.
    pub freeing: u64,
    /// Those that have been dropped after they were handed over ([`Keyspace::take_garbage`]).
    pub freed: u64,
}

/// Up to which size collections stay compact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeLimits {
    /// `hash-max-listpack-entries` and `-value`.
    pub hash: HashLimits,
    /// `list-max-listpack-size`.
    pub list: ListLimit,
    /// `set-max-intset-entries`, `set-max-listpack-entries` and `set-max-listpack-value`.
    pub set: SetLimits,
    /// `zset-max-listpack-entries` and `-value`.
    pub sorted_set: SortedSetLimits,
    /// `stream-node-max-bytes` and `-entries`.
    pub stream: StreamLimits,
}

/// Everything that the databases of a node share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: TypeLimits,
    pub(super) usage: UsagePolicy,
    pub(super) on_expired: Expired,
    pub(super) random: Random,
    pub(super) stats: KeyspaceStats,
    /// The snapshot that is being taken.
    pub(super) walk: Option<Box<Walk>>,
    /// The mark of entries that the latest snapshot has: all, unless one is being taken.
    pub(super) mark: bool,
    garbage: Garbage,
    /// What has become of the garbage that was taken.
    tally: Arc<Tally>,
    /// What anyone is to be told of.
    tell: Tell,
    told: Vec<(usize, Told, Box<[u8]>)>,
}

/// What of its own doing the keyspace is to note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tell {
    /// Keys that expire.
    pub expired: bool,
    /// Keys that come into being.
    pub created: bool,
    /// Keys that are read and are not there.
    pub missed: bool,
}

/// What the keyspace has noted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was removed because its time had come.
    Expired,
    /// It is there, and was not before.
    Created,
    /// It was read, and is not there.
    Missed,
}

impl Shared {
    pub(super) fn discard_value(&mut self, old: Option<Value>) {
        if let Some(value) = old
            && value.view().free_effort() > FREE_INLINE_MAX
        {
            self.garbage.push(Waste::Value(value));
        }
    }

    /// An entry has left a database: a snapshot may still want it.
    pub(super) fn discard(&mut self, db: usize, entry: Entry, now_ms: u64) {
        let Some(entry) = self.keep(db, entry, now_ms) else { return };
        if entry.value().free_effort() > FREE_INLINE_MAX {
            self.garbage.push(Waste::Entry(entry));
        }
    }

    pub(super) fn has_expired(&mut self, db: usize, entry: Entry, now_ms: u64) {
        self.stats.expired += 1;
        if self.tell.expired {
            self.told.push((db, Told::Expired, entry.key().into()));
        }
        self.discard(db, entry, now_ms);
    }

    /// A key has come into being.
    #[inline]
    pub(super) fn has_come(&mut self, db: usize, key: &[u8]) {
        if self.tell.created {
            self.told.push((db, Told::Created, key.into()));
        }
    }

    /// A key was read that is not there.
    #[inline]
    pub(super) fn was_missed(&mut self, db: usize, key: &[u8]) {
        self.stats.misses += 1;
        if self.tell.missed {
            self.told.push((db, Told::Missed, key.into()));
        }
    }

    fn marking(&self, now_ms: u64) -> Marking {
        Marking { mark: self.mark, usage: self.usage, now_ms }
    }

    /// An entry is about to change: a snapshot that has not come to it gets it as it is.
    #[inline]
    pub(super) fn hand_over(&mut self, db: usize, entry: &mut Entry, now_ms: u64) {
        let marking = self.marking(now_ms);
        if let Some(walk) = &mut self.walk {
            walk.hand_over(db, entry, marking);
        }
    }

    /// The same for an entry that leaves: none if the snapshot keeps it for a while.
    fn keep(&mut self, db: usize, entry: Entry, now_ms: u64) -> Option<Entry> {
        let marking = self.marking(now_ms);
        match &mut self.walk {
            Some(walk) => walk.keep(db, entry, marking),
            None => Some(entry),
        }
    }

    pub(super) fn add_garbage(&mut self, garbage: Garbage) {
        self.garbage.append(garbage);
    }
}

/// All databases of a node.
#[derive(Debug)]
pub struct Keyspace {
    pub(super) databases: Vec<Database>,
    hasher: Hasher,
    pub(super) shared: Shared,
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
            hasher,
            shared: Shared {
                limits: TypeLimits::default(),
                usage: UsagePolicy::Recency,
                on_expired: Expired::Remove,
                random: Random::new(options.seed.0 ^ options.seed.1.rotate_left(32)),
                stats: KeyspaceStats::default(),
                walk: None,
                mark: false,
                garbage: Garbage::default(),
                tally: Arc::default(),
                tell: Tell::default(),
                told: Vec::new(),
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

    /// All entries of a database, those that have expired included, in no order.
    pub fn entries(&self, db: usize) -> impl Iterator<Item = &Entry> {
        self.databases[db].iter()
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
        let Shared { stats, garbage, tally, .. } = &self.shared;
        let freeing = tally.pending() + garbage.keys() as u64;
        KeyspaceStats { freeing, freed: tally.dropped(), ..*stats }
    }

    /// Counts from zero again: CONFIG RESETSTAT.
    pub fn reset_stats(&mut self) {
        self.shared.stats = KeyspaceStats::default();
        self.shared.tally.reset();
    }

    /// Whether keys past their expiry are removed, hidden or served.
    pub fn set_on_expired(&mut self, on_expired: Expired) {
        self.shared.on_expired = on_expired;
    }

    /// What happens to keys past their expiry.
    pub fn on_expired(&self) -> Expired {
        self.shared.on_expired
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

    /// What decides the form of values that are read from RDB.
    pub fn value_limits(&self) -> ValueLimits {
        ValueLimits { types: self.shared.limits, hasher: self.hasher }
    }

    /// Asks for a record of what the keyspace does by itself, for replicas and notifications: see
    /// [`Keyspace::take_told`].
    pub fn tell(&mut self, tell: Tell) {
        self.shared.tell = tell;
    }

    /// What has been noted since the last call: database, what, and which key, in order.
    pub fn take_told(&mut self) -> Vec<(usize, Told, Box<[u8]>)> {
        std::mem::take(&mut self.shared.told)
    }

    /// A key that came into being took the place of one that a command removed just before: what
    /// is noted of it is not that it came.
    pub fn was_replaced(&mut self, db: usize, key: &[u8]) {
        let created = |(of, told, known): &(usize, Told, Box<[u8]>)| {
            *of == db && *told == Told::Created && **known == *key
        };
        if let Some(place) = self.shared.told.iter().rposition(created) {
            self.shared.told.remove(place);
        }
    }

    /// Whether there is something for [`Keyspace::take_told`] to take.
    #[inline]
    pub fn has_told(&self) -> bool {
        !self.shared.told.is_empty()
    }

    /// What has been unlinked and waits to be dropped, preferably on another thread.
    pub fn take_garbage(&mut self) -> Garbage {
        let Shared { garbage, tally, .. } = &mut self.shared;
        garbage.take(tally)
    }

    /// Whether there is something for [`Keyspace::take_garbage`] to take.
    #[inline]
    pub fn has_garbage(&self) -> bool {
        !self.shared.garbage.is_empty()
    }

    /// Removes up to `max` keys that have expired, and moves resizes and dropped slots on a little.
    /// Returns how many it looked at: fewer than `max` means that nothing is due. The caller keeps calling while its
    /// time budget lasts; 32 keys take some 20 µs.
    pub fn expire_some(&mut self, now_ms: u64, max: usize) -> usize {
        let mut looked = 0;
        while looked < max && self.databases[0].is_leaving() {
            let (seen, table) = self.databases[0].step_leaving(max - looked);
            looked += seen;
            let table = table.and_then(|table| match &mut self.shared.walk {
                Some(walk) => walk.keep_table(0, table),
                None => Some(table),
            });
            self.shared.garbage.extend(table.map(Waste::Slot));
        }
        if self.shared.on_expired != Expired::Remove || looked >= max {
            return looked.min(max);
        }
        for _ in 0..self.databases.len() {
            let index = self.expire_next % self.databases.len();
            let database = &mut self.databases[index];
            database.step_resize(max);
            while looked < max {
                let Some(removed) = database.remove_expired(now_ms) else { break };
                looked += 1;
                if let Some(entry) = removed {
                    self.shared.has_expired(index, entry, now_ms);
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
        let len = self.databases[db].len();
        if let Some(walk) = &mut self.shared.walk {
            walk.rescue(db, &mut self.databases[db], |_| true);
        }
        let database = self.databases[db].take();
        if len > 0 {
            let unwanted = match &mut self.shared.walk {
                Some(walk) => walk.keep_database(db, database),
                None => Some(database),
            };
            let unwanted = unwanted.map(|database| Waste::Database(Box::new(database)));
            self.shared.garbage.extend(unwanted);
        }
        len
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.databases.swap(a, b);
        if let Some(walk) = &mut self.shared.walk {
            walk.swap(a, b);
        }
    }

    /// Moves a key to another database; false if it is not there, or the other has one of that name.
    pub fn move_key(&mut self, from: usize, to: usize, key: &[u8], now_ms: u64) -> bool {
        if self.db(from, now_ms).peek(key).is_none() || self.db(to, now_ms).peek(key).is_some() {
            return false;
        }
        if self.shared.on_expired == Expired::Hide {
            self.db(to, now_ms).drop_hidden(key);
        }
        if let Some(mut entry) = self.databases[from].remove(key) {
            self.shared.hand_over(from, &mut entry, now_ms);
            self.shared.has_come(to, key);
            let database = &mut self.databases[to];
            database.insert_new(database.home(key), entry);
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

    /// Drops all keys of a slot, at once for whoever looks. Returns how many there were. Their
    /// memory is handed over in the calls of [`Keyspace::expire_some`] that follow.
    pub fn drop_slot(&mut self, slot: Slot) -> usize {
        let len = self.count_in_slot(slot);
        if let Some(walk) = &mut self.shared.walk {
            walk.rescue(0, &mut self.databases[0], |key| Slot::of(key) == slot);
        }
        self.databases[0].drop_slot(slot);
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

#[cfg(test)]
mod tests;
