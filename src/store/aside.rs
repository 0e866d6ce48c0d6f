//! All data, taken out for as long as other data may come in its place, and put back if it does not;
//! or other data, gathered beside what is there until it may take its place.

use super::database::{Database, WalkPlace};
use super::garbage::{Garbage, Waste};
use super::keyspace::Keyspace;

/// Data that is not the keyspace's: it was taken out, or is to be put in.
#[derive(Debug)]
pub struct Aside {
    databases: Vec<Database>,
    /// The mark that its entries have.
    mark: bool,
    /// Some of them have the other mark.
    mixed: bool,
}

impl Keyspace {
    /// Takes all data out. None, and all data is gone, while a snapshot is being taken: it needs what
    /// goes.
    pub fn set_aside(&mut self) -> Option<Aside> {
        if self.is_snapshotting() {
            for db in 0..self.databases() {
                self.flush(db);
            }
            return None;
        }
        let databases = self.databases.iter_mut().map(Database::take).collect();
        Some(Aside { databases, mark: self.shared.mark, mixed: false })
    }

    /// A place for other data, beside what is there.
    pub fn room_aside(&self) -> Aside {
        let databases = self.databases.iter().map(Database::like).collect();
        Aside { databases, mark: self.shared.mark, mixed: false }
    }

    /// Does something with the data that is aside as if it were the keyspace's.
    pub fn with_aside<R>(&mut self, aside: &mut Aside, work: impl FnOnce(&mut Self) -> R) -> R {
        // A snapshot has begun since: its entries are told by their mark.
        aside.mixed |= aside.mark != self.shared.mark;
        std::mem::swap(&mut self.databases, &mut aside.databases);
        let outcome = work(self);
        std::mem::swap(&mut self.databases, &mut aside.databases);
        outcome
    }

    /// Puts it in place of what is there.
    pub fn put_back(&mut self, aside: Aside) {
        for (db, mut database) in aside.databases.into_iter().enumerate() {
            self.flush(db);
            if aside.mixed || aside.mark != self.shared.mark {
                // A snapshot has come and gone, or is under way: it is without these.
                let (mut place, mark) = (WalkPlace::default(), self.shared.mark);
                while database.walk(&mut place, |entry| entry.set_mark(mark)) {}
            }
            self.databases[db] = database;
        }
    }

    /// It is not needed any more.
    pub fn forget_aside(&mut self, aside: Aside) {
        let mut garbage = Garbage::default();
        for database in aside.databases.into_iter().filter(|database| database.len() > 0) {
            garbage.push(Waste::Database(Box::new(database)));
        }
        self.shared.add_garbage(garbage);
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Expiry, Keyspace, KeyspaceOptions, SnapshotOptions};

    fn snapshot(keyspace: &mut Keyspace) -> Vec<u8> {
        keyspace.begin_snapshot(&SnapshotOptions {
            compress: false,
            checksum: false,
            with_use: false,
            aux: Vec::new(),
        });
        let mut bytes = Vec::new();
        while !keyspace.step_snapshot(0) {}
        keyspace.take_snapshot(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_put_back_is_all_there_and_in_the_next_snapshot() {
        let options = KeyspaceOptions { by_slot: false, databases: 2, seed: (1, 2) };
        for snapshots_between in 0..3 {
            let mut keyspace = Keyspace::new(options);
            keyspace.db(1, 0).set_string(b"old", b"v", Expiry::At(1000));
            let aside = keyspace.set_aside().expect("nothing is in its way");
            assert!(keyspace.is_empty());
            keyspace.db(0, 0).set_string(b"new", b"v", Expiry::Clear);
            for _ in 0..snapshots_between {
                snapshot(&mut keyspace);
            }
            keyspace.put_back(aside);
            assert!(!keyspace.db(0, 0).contains(b"new"));
            assert!(keyspace.db(1, 0).contains(b"old"));
            let bytes = snapshot(&mut keyspace);
            assert!(bytes.windows(3).any(|part| part == b"old"), "{snapshots_between}");
            assert_eq!(keyspace.expire_some(1001, 10), 1);
        }
    }

    #[test]
    fn what_was_gathered_beside_takes_the_place_of_what_was_there() {
        let options = KeyspaceOptions { by_slot: false, databases: 2, seed: (1, 2) };
        for snapshots_between in 0..3 {
            let mut keyspace = Keyspace::new(options);
            keyspace.db(0, 0).set_string(b"old", b"v", Expiry::Clear);
            let mut aside = keyspace.room_aside();
            for n in 0..=snapshots_between {
                if n > 0 {
                    let bytes = snapshot(&mut keyspace);
                    assert!(bytes.windows(3).any(|part| part == b"old"), "{snapshots_between}");
                    assert!(!bytes.windows(3).any(|part| part == b"new"), "{snapshots_between}");
                }
                keyspace.with_aside(&mut aside, |keyspace| {
                    let key = format!("new{n}");
                    keyspace.db(1, 0).set_string(key.as_bytes(), b"v", Expiry::At(1000));
                    assert!(!keyspace.db(0, 0).contains(b"old"));
                });
                assert!(keyspace.db(0, 0).contains(b"old"));
                assert!(!keyspace.db(1, 0).contains(b"new0"));
            }
            keyspace.put_back(aside);
            assert!(!keyspace.db(0, 0).contains(b"old"));
            let bytes = snapshot(&mut keyspace);
            for n in 0..=snapshots_between {
                let key = format!("new{n}");
                assert!(bytes.windows(4).any(|part| part == key.as_bytes()), "{snapshots_between}");
            }
            assert_eq!(keyspace.expire_some(1001, 10), snapshots_between + 1);
        }
    }

    #[test]
    fn a_snapshot_under_way_is_without_what_was_gathered_beside() {
        let options = KeyspaceOptions { by_slot: false, databases: 1, seed: (1, 2) };
        let mut keyspace = Keyspace::new(options);
        keyspace.db(0, 0).set_string(b"old", b"v", Expiry::Clear);
        let mut aside = keyspace.room_aside();
        let put = |key: &'static [u8]| {
            move |keyspace: &mut Keyspace| keyspace.db(0, 0).set_string(key, b"v", Expiry::Clear)
        };
        keyspace.with_aside(&mut aside, put(b"new0"));
        for _ in 0..2 {
            // The second one's mark is that of the beginning.
            snapshot(&mut keyspace);
            keyspace.with_aside(&mut aside, put(b"new1"));
        }
        keyspace.begin_snapshot(&SnapshotOptions {
            compress: false,
            checksum: false,
            with_use: false,
            aux: Vec::new(),
        });
        keyspace.with_aside(&mut aside, put(b"new2"));
        keyspace.put_back(aside);
        let mut bytes = Vec::new();
        while !keyspace.step_snapshot(0) {}
        keyspace.take_snapshot(&mut bytes);
        assert!(bytes.windows(3).any(|part| part == b"old"));
        assert!(!bytes.windows(3).any(|part| part == b"new"));
        assert_eq!(keyspace.db(0, 0).len(), 3);
    }

    #[test]
    fn a_snapshot_that_is_under_way_gets_what_was_there() {
        let options = KeyspaceOptions { by_slot: false, databases: 1, seed: (1, 2) };
        let mut keyspace = Keyspace::new(options);
        keyspace.db(0, 0).set_string(b"old", b"v", Expiry::Clear);
        keyspace.begin_snapshot(&SnapshotOptions {
            compress: false,
            checksum: false,
            with_use: false,
            aux: Vec::new(),
        });
        assert!(keyspace.set_aside().is_none());
        let mut bytes = Vec::new();
        while !keyspace.step_snapshot(0) {}
        keyspace.take_snapshot(&mut bytes);
        assert!(bytes.windows(3).any(|part| part == b"old"));
        assert!(keyspace.is_empty());
    }
}
