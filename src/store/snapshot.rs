//! A snapshot of all keys without a copy of them and without a second process: a walk that takes
//! its time, while writes go on.
//!
//! ```text
//!                      ┌─────────────── walked already ───────────────┬── not yet ──▶
//!  entries             ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ ■ □ □ ■ □ □ □ □ □
//!                                                                          ▲
//!                      about to change: its old value goes to `aside`, then it is marked
//! ```
//! Every entry has a bit, and the keyspace has the value that says "the snapshot has it". Whatever
//! changes or removes an entry without that mark hands over the old value first; a key that is
//! created meanwhile is born with the mark, so that it is not in the snapshot. At the end all
//! entries have the mark, and the next snapshot turns its meaning around: there is nothing to reset.
//!
//! A large value is written in steps, and must not change in between: [`Keyspace::snapshot_needs`]
//! says for which keys a command has to wait. One that disappears nevertheless (it expires, its
//! database is flushed, its slot dropped) is kept by the walk until it is written.

use super::database::{Database, WalkPlace};
use super::entry::Entry;
use super::garbage::{Garbage, Waste};
use super::keyspace::Keyspace;
use super::rdb::{KeyUse, RdbWriter, ValueProgress};
use super::table::{Keyed, Table};
use super::types::Group;
use super::usage::UsagePolicy;
use super::value::ValueRef;
use std::collections::VecDeque;

/// A value of more elements, or kilobytes, than this is large: writing it takes about a millisecond.
const LARGE: usize = 4096;
/// Bytes of a large value that are written at a time.
const LARGE_STEP_BYTES: usize = 64 * 1024;

/// What a snapshot says beside the keys.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOptions {
    /// Whether strings are compressed.
    pub compress: bool,
    /// Whether there is a checksum at the end.
    pub checksum: bool,
    /// Whether the use of keys is kept: where a policy of eviction looks at it.
    pub with_use: bool,
    /// Named facts at the start, in this order.
    pub aux: Vec<(&'static str, Vec<u8>)>,
}

/// How a snapshot is getting on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Keys that it has.
    pub keys_done: u64,
    /// Keys that there were when it began.
    pub keys_total: u64,
}

/// A large value that is being written.
#[derive(Debug)]
struct Large {
    /// The database as it was numbered when the snapshot began.
    number: usize,
    key: Box<[u8]>,
    progress: ValueProgress,
    /// The entry itself, once its key has gone.
    owned: Option<Entry>,
}

/// Keys that have left their database before the walk came to them.
#[derive(Debug)]
enum Gone {
    Database(Box<Database>, WalkPlace),
    Table(Table<Entry>, u64),
    Entry(Entry),
}

/// A snapshot that is being taken.
#[derive(Debug)]
pub(super) struct Walk {
    writer: RdbWriter,
    /// Bytes for whoever keeps the snapshot.
    out: Vec<u8>,
    /// The database that `out` has selected.
    selected: Option<usize>,
    /// Whole keys that were handed over since `out` was last between two keys.
    aside: Vec<u8>,
    aside_selected: Option<usize>,
    /// Writes into `aside`; the checksum takes those bytes when they get into `out`.
    aside_writer: RdbWriter,
    with_use: bool,
    /// Where the databases are: as they were numbered when the snapshot began.
    homes: Vec<usize>,
    /// The database that is being walked.
    number: usize,
    place: WalkPlace,
    large: Option<Large>,
    /// Large values whose turn is next: those that a command waits for come first.
    waiting: VecDeque<(usize, Box<[u8]>)>,
    gone: VecDeque<(usize, Gone)>,
    progress: SnapshotProgress,
    /// Nobody wants it any more: entries are only marked.
    given_up: bool,
    done: bool,
}

/// What writing an entry needs to know of its keyspace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marking {
    /// The mark of entries that the snapshot has.
    pub(super) mark: bool,
    pub(super) usage: UsagePolicy,
    pub(super) now_ms: u64,
}

/// Whether a value takes long to write.
fn is_large(entry: &Entry) -> bool {
    let cost = match entry.value() {
        ValueRef::Int(_) | ValueRef::Embedded { .. } => 0,
        ValueRef::String(bytes) => bytes.len() / 1024,
        // A node holds up to 8 KiB.
        ValueRef::List(list) => list.listpacks().size_hint().0 * 8,
        ValueRef::Hash(hash) => hash.len(),
        ValueRef::Set(set) => set.len(),
        ValueRef::SortedSet(set) => set.len(),
        // A node has 4 KiB; what is pending is as long as a short string.
        ValueRef::Stream(stream) => {
            let pending: usize = stream.groups.values().map(Group::pending_count).sum();
            stream.log.node_count() * 4 + pending
        }
    };
    cost > LARGE
}

impl Walk {
    fn new(options: &SnapshotOptions, sizes: &[(usize, usize)]) -> Self {
        let mut writer = RdbWriter::new(options.compress, options.checksum);
        let mut out = Vec::new();
        writer.begin(&mut out);
        for (name, value) in &options.aux {
            writer.aux(&mut out, name, value);
        }
        let mut selected = None;
        for (number, &(keys, expiring)) in sizes.iter().enumerate().filter(|(_, size)| size.0 > 0) {
            writer.database(&mut out, number as u64, keys as u64, expiring as u64);
            selected = Some(number);
        }
        let keys_total = sizes.iter().map(|&(keys, _)| keys as u64).sum();
        Self {
            writer,
            out,
            selected,
            aside: Vec::new(),
            aside_selected: None,
            aside_writer: RdbWriter::new(options.compress, false),
            with_use: options.with_use,
            homes: (0..sizes.len()).collect(),
            number: 0,
            place: WalkPlace::default(),
            large: None,
            waiting: VecDeque::new(),
            gone: VecDeque::new(),
            progress: SnapshotProgress { keys_done: 0, keys_total },
            given_up: false,
            done: false,
        }
    }

    /// The number that a database had when the snapshot began.
    fn number_of(&self, db: usize) -> usize {
        self.homes.iter().position(|&home| home == db).expect("databases are only exchanged")
    }

    /// Two databases are exchanged.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        for home in &mut self.homes {
            *home = match *home {
                home if home == a => b,
                home if home == b => a,
                home => home,
            };
        }
    }

    fn used(&self, entry: &Entry, marking: Marking) -> Option<KeyUse> {
        self.with_use.then(|| marking.usage.saved(entry.usage(), marking.now_ms))
    }

    /// The entry is about to change or to leave: its value as it is goes into the snapshot, if it
    /// is not there yet.
    #[cold]
    pub(super) fn hand_over(&mut self, db: usize, entry: &mut Entry, marking: Marking) {
        if entry.mark() == marking.mark {
            return;
        }
        entry.set_mark(marking.mark);
        self.progress.keys_done += 1;
        if self.given_up {
            return;
        }
        let number = self.number_of(db);
        if let Some(large) = self.large.take_if(|l| l.number == number && *l.key == *entry.key()) {
            // Half of it is written: the rest has to be, too.
            let mut progress = large.progress;
            self.writer.value(&mut self.out, entry, &mut progress, usize::MAX);
            return;
        }
        if self.aside_selected != Some(number) {
            self.aside_selected = Some(number);
            self.aside_writer.select(&mut self.aside, number as u64);
        }
        let used = self.used(entry, marking);
        self.aside_writer.key(&mut self.aside, entry, used);
    }

    /// An entry that has left its database. A large one stays here until it is written; another is
    /// handed over and given back.
    pub(super) fn keep(&mut self, db: usize, mut entry: Entry, marking: Marking) -> Option<Entry> {
        if entry.mark() == marking.mark || self.given_up || !is_large(&entry) {
            self.hand_over(db, &mut entry, marking);
            return Some(entry);
        }
        let number = self.number_of(db);
        match &mut self.large {
            Some(large) if large.number == number && *large.key == *entry.key() => {
                large.owned = Some(entry);
            }
            _ => self.gone.push_back((number, Gone::Entry(entry))),
        }
        None
    }

    /// Keys are about to leave their database together, and will not be found there any more: what
    /// is being written or waits for its turn is taken out before.
    pub(super) fn rescue(
        &mut self,
        db: usize,
        database: &mut Database,
        leaves: impl Fn(&[u8]) -> bool,
    ) {
        let number = self.number_of(db);
        if let Some(large) = self.large.as_mut().filter(|l| l.number == number && leaves(&l.key))
            && large.owned.is_none()
        {
            large.owned = database.remove(&large.key);
        }
        let waiting: Vec<_> = std::mem::take(&mut self.waiting).into();
        let (leaving, staying): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(n, key)| *n == number && leaves(key));
        self.waiting = staying.into();
        let entries = leaving.into_iter().filter_map(|(_, key)| database.remove(&key));
        self.gone.extend(entries.map(|entry| (number, Gone::Entry(entry))));
    }

    /// A database that was emptied: given back if nobody wants its keys.
    pub(super) fn keep_database(&mut self, db: usize, database: Database) -> Option<Database> {
        if self.given_up {
            return Some(database);
        }
        let gone = Gone::Database(Box::new(database), WalkPlace::default());
        let number = self.number_of(db);
        self.gone.push_back((number, gone));
        None
    }

    /// A slot that was dropped: given back if nobody wants its keys.
    pub(super) fn keep_table(&mut self, db: usize, table: Table<Entry>) -> Option<Table<Entry>> {
        if self.given_up {
            return Some(table);
        }
        let number = self.number_of(db);
        self.gone.push_back((number, Gone::Table(table, 0)));
        None
    }

    /// Writes an entry that the walk has come to, or puts it off if it is large.
    fn visit(&mut self, number: usize, entry: &mut Entry, marking: Marking) {
        if entry.mark() == marking.mark {
            return;
        }
        if !self.given_up && is_large(entry) {
            let is_it = |(n, key): &(usize, Box<[u8]>)| *n == number && **key == *entry.key();
            if !self.waiting.iter().any(is_it) {
                self.waiting.push_back((number, entry.key().into()));
            }
            return;
        }
        entry.set_mark(marking.mark);
        self.progress.keys_done += 1;
        if self.given_up {
            return;
        }
        self.select(number);
        let used = self.used(entry, marking);
        self.writer.key(&mut self.out, entry, used);
    }

    fn select(&mut self, number: usize) {
        if self.selected != Some(number) {
            self.selected = Some(number);
            self.writer.select(&mut self.out, number as u64);
        }
    }

    /// What was handed over gets its place between two keys.
    fn take_aside(&mut self) {
        if self.large.is_none() && !self.aside.is_empty() {
            self.writer.raw(&mut self.out, &self.aside);
            self.aside.clear();
            self.selected = self.aside_selected.take();
        }
    }
}

impl Keyspace {
    /// Begins a snapshot of everything as it is; false if one is being taken.
    pub fn begin_snapshot(&mut self, options: &SnapshotOptions) -> bool {
        if self.shared.walk.is_some() {
            return false;
        }
        let sizes: Vec<_> = self.databases.iter().map(|db| (db.len(), db.expiring())).collect();
        self.shared.mark = !self.shared.mark;
        self.shared.walk = Some(Box::new(Walk::new(options, &sizes)));
        true
    }

    /// Whether a snapshot is being taken, wanted or given up.
    pub fn is_snapshotting(&self) -> bool {
        self.shared.walk.is_some()
    }

    /// Whether the snapshot that is being taken was given up.
    pub fn is_snapshot_given_up(&self) -> bool {
        self.shared.walk.as_ref().is_some_and(|walk| walk.given_up)
    }

    /// How the snapshot is getting on.
    pub fn snapshot_progress(&self) -> Option<SnapshotProgress> {
        self.shared.walk.as_ref().map(|walk| walk.progress)
    }

    /// Bytes of the snapshot that wait to be taken.
    pub fn snapshot_waiting(&self) -> usize {
        self.shared.walk.as_ref().map_or(0, |walk| walk.out.len() + walk.aside.len())
    }

    /// Goes on a little: some entries, or some of a large one. True when all bytes are there, or
    /// nobody wants them any more and all entries are marked. The caller keeps calling while its
    /// time lasts.
    pub fn step_snapshot(&mut self, now_ms: u64) -> bool {
        let Some(mut walk) = self.shared.walk.take() else { return true };
        let marking = Marking { mark: self.shared.mark, usage: self.shared.usage, now_ms };
        let mut garbage = Garbage::default();
        if !walk.done {
            walk.step(&mut self.databases, marking, &mut garbage);
        }
        self.shared.add_garbage(garbage);
        let done = walk.done;
        if !(done && walk.given_up) {
            self.shared.walk = Some(walk);
        }
        done
    }

    /// Takes the bytes so far; with the last of them the snapshot is over. True if these were.
    pub fn take_snapshot(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(walk) = &mut self.shared.walk else { return true };
        into.append(&mut walk.out);
        let done = walk.done;
        if done {
            self.shared.walk = None;
        }
        done
    }

    /// Nobody wants the snapshot any more. It still has to mark the entries that are left:
    /// [`Keyspace::step_snapshot`] goes on, and gives no bytes.
    pub fn give_up_snapshot(&mut self) {
        let Some(mut walk) = self.shared.walk.take() else { return };
        walk.given_up = true;
        (walk.out, walk.aside) = (Vec::new(), Vec::new());
        let large = walk.large.take().map(|large| (large.number, large.key));
        for (number, key) in large.into_iter().chain(std::mem::take(&mut walk.waiting)) {
            let database = &mut self.databases[walk.homes[number]];
            if let Some(place) = database.find(database.home(&key), &key) {
                database.at_mut_handed_over(place).set_mark(self.shared.mark);
            }
        }
        let mut garbage = Garbage::default();
        for (_, gone) in walk.gone.drain(..) {
            garbage.push(match gone {
                Gone::Database(database, _) => Waste::Database(database),
                Gone::Table(table, _) => Waste::Slot(table),
                Gone::Entry(entry) => Waste::Entry(entry),
            });
        }
        self.shared.add_garbage(garbage);
        if !walk.done {
            self.shared.walk = Some(walk);
        }
    }

    /// Whether a command that changes this key has to wait, because its value is large and not in
    /// the snapshot yet. Its turn is next then.
    pub fn snapshot_needs(&mut self, db: usize, key: &[u8]) -> bool {
        let Some(walk) = &mut self.shared.walk else { return false };
        if walk.given_up || walk.done {
            return false;
        }
        let database = &self.databases[db];
        let Some(place) = database.find(database.home(key), key) else { return false };
        let entry = database.at(place);
        if entry.mark() == self.shared.mark || !is_large(entry) {
            return false;
        }
        let number = walk.number_of(db);
        let is_it = |n: usize, k: &[u8]| n == number && *k == *key;
        if !walk.large.as_ref().is_some_and(|large| is_it(large.number, &large.key)) {
            walk.waiting.retain(|(n, k)| !is_it(*n, k));
            walk.waiting.push_front((number, key.into()));
        }
        true
    }
}

impl Walk {
    fn step(&mut self, databases: &mut [Database], marking: Marking, garbage: &mut Garbage) {
        if self.large.is_some() {
            return self.step_large(databases, marking, garbage);
        }
        self.take_aside();
        if let Some((number, key)) = self.waiting.pop_front() {
            return self.begin_large(databases, number, key, marking);
        }
        if let Some((number, gone)) = self.gone.pop_front() {
            return self.step_gone(number, gone, marking, garbage);
        }
        if let Some(&home) = self.homes.get(self.number) {
            let (number, mut place) = (self.number, self.place);
            let goes_on =
                databases[home].walk(&mut place, |entry| self.visit(number, entry, marking));
            self.place = place;
            if !goes_on {
                (self.number, self.place) = (number + 1, WalkPlace::default());
            }
            return;
        }
        // A slot that was dropped comes here when the index of expiries has forgotten it.
        if databases[0].is_leaving() {
            const AT_ONCE: usize = 64;
            let (_, table) = databases[0].step_leaving(AT_ONCE);
            if let Some(table) = table.and_then(|table| self.keep_table(0, table)) {
                garbage.push(Waste::Slot(table));
            }
            return;
        }
        if !self.given_up {
            self.writer.end(&mut self.out);
        }
        self.done = true;
    }

    fn begin_large(
        &mut self,
        databases: &mut [Database],
        number: usize,
        key: Box<[u8]>,
        marking: Marking,
    ) {
        let database = &mut databases[self.homes[number]];
        let Some(place) = database.find(database.home(&key), &key) else { return };
        let entry = database.at(place);
        if entry.mark() == marking.mark {
            return;
        }
        self.select(number);
        let used = self.used(entry, marking);
        self.writer.key_head(&mut self.out, entry, used);
        self.large = Some(Large { number, key, progress: ValueProgress::default(), owned: None });
    }

    fn step_large(&mut self, databases: &mut [Database], marking: Marking, garbage: &mut Garbage) {
        let Some(large) = &mut self.large else { return };
        let (writer, out) = (&mut self.writer, &mut self.out);
        if let Some(entry) = &large.owned {
            if writer.value(out, entry, &mut large.progress, LARGE_STEP_BYTES) {
                self.progress.keys_done += 1;
                if let Some(entry) = self.large.take().and_then(|large| large.owned) {
                    garbage.push(Waste::Entry(entry));
                }
            }
            return;
        }
        let database = &mut databases[self.homes[large.number]];
        let place = database.find(database.home(&large.key), &large.key);
        let place = place.expect("a key that is being written is kept when it leaves");
        let entry = database.at_mut_handed_over(place);
        if writer.value(out, entry, &mut large.progress, LARGE_STEP_BYTES) {
            entry.set_mark(marking.mark);
            self.progress.keys_done += 1;
            self.large = None;
        }
    }

    fn step_gone(&mut self, number: usize, gone: Gone, marking: Marking, garbage: &mut Garbage) {
        let waiting = self.waiting.len();
        match gone {
            Gone::Entry(entry) => {
                self.select(number);
                let used = self.used(&entry, marking);
                self.writer.key_head(&mut self.out, &entry, used);
                let (key, progress) = (entry.key().into(), ValueProgress::default());
                self.large = Some(Large { number, key, progress, owned: Some(entry) });
            }
            Gone::Database(mut database, mut place) => {
                let goes_on = database.walk(&mut place, |entry| self.visit(number, entry, marking));
                for (_, key) in self.waiting.split_off(waiting) {
                    let entry = database.remove(&key).expect("it was there a moment ago");
                    self.gone.push_back((number, Gone::Entry(entry)));
                }
                if goes_on {
                    self.gone.push_front((number, Gone::Database(database, place)));
                } else {
                    garbage.push(Waste::Database(database));
                }
            }
            Gone::Table(mut table, cursor) => {
                let cursor = table.scan_mut(cursor, |entry| self.visit(number, entry, marking));
                for (_, key) in self.waiting.split_off(waiting) {
                    let entry = table.remove(&key).expect("it was there a moment ago");
                    self.gone.push_back((number, Gone::Entry(entry)));
                }
                if cursor != 0 {
                    self.gone.push_front((number, Gone::Table(table, cursor)));
                } else {
                    garbage.push(Waste::Slot(table));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
