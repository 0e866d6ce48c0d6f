//! All data, taken out for as long as other data may come in its place, and put back if it does not.

use super::database::{Database, WalkPlace};
use super::garbage::{Garbage, Waste};
use super::keyspace::Keyspace;

/// Data that was taken out.
#[derive(Debug)]
pub struct Aside {
    databases: Vec<Database>,
    /// The mark that its entries have.
    mark: bool,
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
        Some(Aside { databases, mark: self.shared.mark })
    }

    /// Puts it back, in place of what is there.
    pub fn put_back(&mut self, aside: Aside) {
        for (db, mut database) in aside.databases.into_iter().enumerate() {
            self.flush(db);
            if aside.mark != self.shared.mark {
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
