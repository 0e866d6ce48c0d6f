//! Watched keys: has one changed since WATCH?
//!
//! Each watched key has a version that every change bumps, and a watcher remembers the version it
//! saw. Nothing is pushed to sessions, so a change costs one look-up, and none while nobody
//! watches.

use std::collections::BTreeMap;

/// The keys that anyone watches.
#[derive(Debug, Default)]
pub(super) struct WatchTable {
    keys: BTreeMap<(usize, Box<[u8]>), Watched>,
}

#[derive(Debug)]
struct Watched {
    version: u64,
    watchers: usize,
}

/// One key that a session watches, as it was when WATCH was called.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Its database.
    pub(super) db: usize,
    /// The key.
    pub(super) key: Box<[u8]>,
    /// Whether it was there, and not past its expiry. A key that was and no longer is has
    /// changed, though expiry bumps no version: expiring is nobody's call.
    pub(super) existed: bool,
    version: u64,
}

impl WatchTable {
    /// Starts watching a key for one more session.
    pub(super) fn watch(&mut self, db: usize, key: &[u8], existed: bool) -> Watch {
        let entry = self.keys.entry((db, key.into()));
        let watched = entry.or_insert(Watched { version: 0, watchers: 0 });
        watched.watchers += 1;
        Watch { db, key: key.into(), existed, version: watched.version }
    }

    /// Ends what [`WatchTable::watch`] started.
    pub(super) fn unwatch(&mut self, watch: Watch) {
        let place = (watch.db, watch.key);
        if let Some(watched) = self.keys.get_mut(&place) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                self.keys.remove(&place);
            }
        }
    }

    /// A key has changed.
    #[inline]
    pub(super) fn touch(&mut self, db: usize, key: &[u8]) {
        if !self.keys.is_empty() {
            self.touch_watched(db, key);
        }
    }

    #[cold]
    fn touch_watched(&mut self, db: usize, key: &[u8]) {
        if let Some(watched) = self.keys.get_mut(&(db, key.into())) {
            watched.version += 1;
        }
    }

    /// Every key of `db` for which `changed` says so has changed; of all databases if `None`.
    pub(super) fn touch_where(
        &mut self,
        db: Option<usize>,
        mut changed: impl FnMut(usize, &[u8]) -> bool,
    ) {
        for ((of, key), watched) in &mut self.keys {
            if db.is_none_or(|db| db == *of) && changed(*of, key) {
                watched.version += 1;
            }
        }
    }

    /// Whether a change was told since the watch began.
    pub(super) fn has_changed(&self, watch: &Watch) -> bool {
        let watched = self.keys.get(&(watch.db, watch.key.clone()));
        watched.is_none_or(|watched| watched.version != watch.version)
    }

    /// How many keys are watched.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_sees_changes_made_after_it_began() {
        let mut table = WatchTable::default();
        table.touch(0, b"k");
        let first = table.watch(0, b"k", true);
        assert!(!table.has_changed(&first));
        table.touch(1, b"k");
        table.touch(0, b"other");
        assert!(!table.has_changed(&first), "another database, another key");
        table.touch(0, b"k");
        let second = table.watch(0, b"k", true);
        assert!(table.has_changed(&first));
        assert!(!table.has_changed(&second));
        table.unwatch(first);
        assert_eq!(table.len(), 1);
        table.unwatch(second);
        assert_eq!(table.len(), 0);
    }
}
