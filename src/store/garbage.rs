//! What is too big to be freed on the engine's thread.
//!
//! Freeing a million small blocks takes tenths of a second. The store unlinks such a value at once
//! and hands it over here; the shell lets another thread drop it. Nothing else is done with it.

use super::database::Database;
use super::entry::Entry;
use super::table::Table;
use super::value::Value;

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

/// A list of things to be dropped: [`Send`], and that is all it is.
#[derive(Debug, Default)]
pub struct Garbage {
    waste: Vec<Waste>,
    keys: usize,
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

    pub(super) fn append(&mut self, other: Self) {
        self.keys += other.keys;
        self.waste.extend(other.waste);
    }

    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.waste.is_empty()
    }

    /// How many keys it held: INFO's `lazyfree_pending_objects` sums these up.
    pub fn keys(&self) -> usize {
        self.keys
    }
}
