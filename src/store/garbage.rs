//! What is too big to be freed on the engine's thread.
//!
//! Freeing a million small blocks takes tenths of a second. The store unlinks such a value at once
//! and hands it over here; the shell lets another thread drop it. Nothing else is done with it.

use super::database::Database;
use super::entry::Entry;
use super::table::Table;
use super::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Values that cost more allocations than this to free are handed over.
pub const FREE_INLINE_MAX: usize = 64;

/// Something to be dropped, on whichever thread has the time.
#[derive(Debug)]
#[allow(dead_code, reason = "they are only held to be dropped")]
pub(super) enum Waste {
    /// A value that was replaced.
    Value(Value),
    /// A key that was removed, with its value.
    Entry(Entry),
    /// The keys of a slot.
    Slot(Table<Entry>),
    /// A whole database.
    Database(Box<Database>),
}

/// How many keys and values were handed over, and how many of them have been dropped since:
/// threads that drop them write it, and nothing is decided by it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pending: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts what is dropped from zero again.
    pub(super) fn reset(&self) {
        self.dropped.store(0, Ordering::Relaxed);
    }
}

/// A list of things to be dropped: [`Send`], and that is all it is.
#[derive(Debug, Default)]
pub struct Garbage {
    waste: Vec<Waste>,
    keys: usize,
    tally: Option<Arc<Tally>>,
}

impl Drop for Garbage {
    fn drop(&mut self) {
        self.waste.clear();
        if let Some(tally) = &self.tally {
            tally.pending.fetch_sub(self.keys as u64, Ordering::Relaxed);
            tally.dropped.fetch_add(self.keys as u64, Ordering::Relaxed);
        }
    }
}

impl Garbage {
    pub(super) fn push(&mut self, waste: Waste) {
        self.keys += match &waste {
            Waste::Value(_) | Waste::Entry(_) => 1,
            Waste::Slot(table) => table.len(),
            Waste::Database(database) => database.len(),
        };
        self.waste.push(waste);
    }

    pub(super) fn extend(&mut self, waste: impl IntoIterator<Item = Waste>) {
        waste.into_iter().for_each(|waste| self.push(waste));
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.keys += std::mem::take(&mut other.keys);
        self.waste.append(&mut other.waste);
    }

    /// What waits, to be handed over: it is counted until it is dropped.
    pub(super) fn take(&mut self, tally: &Arc<Tally>) -> Self {
        let mut taken = std::mem::take(self);
        tally.pending.fetch_add(taken.keys as u64, Ordering::Relaxed);
        taken.tally = Some(Arc::clone(tally));
        taken
    }

    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.waste.is_empty()
    }

    /// How many keys it holds, or values that keys held.
    pub fn keys(&self) -> usize {
        self.keys
    }
}
