//! Snapshots while keys change.

use super::*;
use crate::store::rdb::{RdbEvent, RdbReader};
use crate::store::{Expiry, KeyspaceOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn keyspace(by_slot: bool) -> Keyspace {
    let databases = if by_slot { 1 } else { 3 };
    Keyspace::new(KeyspaceOptions { by_slot, databases, seed: (1, 2) })
}

/// What each database holds, as texts.
type Contents = BTreeMap<(usize, Vec<u8>), (String, Option<u64>)>;

fn contents(keyspace: &mut Keyspace) -> Contents {
    let mut all = Contents::new();
    for number in 0..keyspace.databases() {
        let keys: Vec<Vec<u8>> =
            keyspace.db(number, 0).iter().map(|entry| entry.key().to_vec()).collect();
        for key in keys {
            let mut db = keyspace.db(number, 0);
            let digest = db.digest_value(&key).to_string();
            let expires_at = db.peek(&key).and_then(Entry::expires_at);
            all.insert((number, key), (digest, expires_at));
        }
    }
    all
}

/// Takes what the snapshot has to say, and reads it: no key may be in it twice.
fn finish(keyspace: &mut Keyspace, mut file: Vec<u8>) -> Contents {
    while !keyspace.step_snapshot(0) {
        keyspace.take_snapshot(&mut file);
    }
    assert!(keyspace.take_snapshot(&mut file));
    assert!(!keyspace.is_snapshotting());
    let mut copy = self::keyspace(keyspace.databases() == 1);
    let mut reader = RdbReader::new(copy.value_limits());
    reader.feed(&file);
    let mut number = 0;
    while let Some(event) = reader.next().expect("our own snapshot") {
        match event {
            RdbEvent::Database(n) => number = n as usize,
            RdbEvent::Key { entry, .. } => {
                let mut db = copy.db(number, 0);
                assert!(!db.contains(entry.key()), "{entry:?} is there twice");
                db.insert(entry);
            }
            _ => {}
        }
    }
    assert!(reader.is_done());
    contents(&mut copy)
}

fn large_hash(keyspace: &mut Keyspace, key: &[u8]) {
    let mut db = keyspace.db(0, 0);
    let mut hash = db.hash_or_new(key).expect("a hash");
    for field in 0..=LARGE {
        hash.set(field.to_string().as_bytes(), &[b'0'; 100]);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8, u8),
    Append(usize, u8),
    Remove(usize, u8),
    Expire(usize, u8),
    Rename(usize, u8, u8),
    Push(usize, u8),
    Move(usize, usize, u8),
    Swap(usize, usize),
    Flush(usize),
    Steps(u8),
    Take,
}

fn change() -> impl Strategy<Value = Change> {
    let db = 0usize..3;
    prop_oneof![
        8 => (db.clone(), any::<u8>(), any::<u8>()).prop_map(|(d, k, v)| Change::Set(d, k, v)),
        4 => (db.clone(), any::<u8>()).prop_map(|(d, k)| Change::Append(d, k)),
        4 => (db.clone(), any::<u8>()).prop_map(|(d, k)| Change::Remove(d, k)),
        4 => (db.clone(), any::<u8>()).prop_map(|(d, k)| Change::Expire(d, k)),
        3 => (db.clone(), any::<u8>(), any::<u8>()).prop_map(|(d, a, b)| Change::Rename(d, a, b)),
        4 => (db.clone(), any::<u8>()).prop_map(|(d, k)| Change::Push(d, k)),
        2 => (db.clone(), db.clone(), any::<u8>()).prop_map(|(a, b, k)| Change::Move(a, b, k)),
        1 => (db.clone(), db.clone()).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => db.prop_map(Change::Flush),
        8 => any::<u8>().prop_map(Change::Steps),
        2 => Just(Change::Take),
    ]
}

fn apply(keyspace: &mut Keyspace, change: &Change, file: &mut Vec<u8>) {
    let name = |key: u8| format!("key {}", key % 100).into_bytes();
    match *change {
        Change::Set(db, key, value) => {
            let text = format!("value {value}");
            keyspace.db(db, 0).set_string(&name(key), text.as_bytes(), Expiry::Clear);
        }
        Change::Append(db, key) => {
            let _ = keyspace.db(db, 0).edit_string(&name(key), |bytes| bytes.push(b'x'));
        }
        Change::Remove(db, key) => {
            keyspace.db(db, 0).remove(&name(key));
        }
        Change::Expire(db, key) => {
            keyspace.db(db, 0).set_expiry(&name(key), Expiry::At(u64::from(key) + 1000));
        }
        Change::Rename(db, from, to) => {
            let mut db = keyspace.db(db, 0);
            if let Some(entry) = db.take(&name(from)) {
                db.insert(entry.renamed(&name(to)));
            }
        }
        Change::Push(db, key) => {
            if let Ok(mut list) = keyspace.db(db, 0).list_or_new(&name(key)) {
                list.push(crate::store::End::Tail, b"element");
            }
        }
        Change::Move(from, to, key) if from != to => {
            keyspace.move_key(from, to, &name(key), 0);
        }
        Change::Move(..) => {}
        Change::Swap(a, b) => keyspace.swap(a, b),
        Change::Flush(db) => {
            keyspace.flush(db);
        }
        Change::Steps(steps) => {
            for _ in 0..steps % 8 {
                keyspace.step_snapshot(0);
            }
        }
        Change::Take => {
            if keyspace.is_snapshotting() && keyspace.snapshot_waiting() > 0 {
                // What is taken with the last step would end it.
                keyspace.take_snapshot(file);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever happens while it is taken, a snapshot is what there was when it began.
    #[test]
    fn a_snapshot_is_of_its_beginning(
        before in proptest::collection::vec(change(), 0..200),
        during in proptest::collection::vec(change(), 0..200),
        again in proptest::collection::vec(change(), 0..50),
        given_up: bool,
    ) {
        let mut keyspace = keyspace(false);
        let mut nothing = Vec::new();
        for change in &before {
            apply(&mut keyspace, change, &mut nothing);
        }
        for changes in [&during, &again] {
            let wanted = contents(&mut keyspace);
            prop_assert!(keyspace.begin_snapshot(&SnapshotOptions::default()));
            prop_assert!(!keyspace.begin_snapshot(&SnapshotOptions::default()));
            let mut file = Vec::new();
            for change in changes {
                // The walk must not end before the last change: that is another snapshot.
                if matches!(change, Change::Take) && keyspace.shared.walk.as_ref().is_none_or(|w| w.done) {
                    continue;
                }
                apply(&mut keyspace, change, &mut file);
            }
            if given_up && std::ptr::eq(changes, &during) {
                keyspace.give_up_snapshot();
                while keyspace.is_snapshotting() && !keyspace.step_snapshot(0) {}
                prop_assert!(!keyspace.is_snapshotting());
            } else {
                prop_assert_eq!(finish(&mut keyspace, file), wanted);
            }
        }
    }
}

#[test]
fn a_large_value_is_written_in_steps_and_whoever_changes_it_waits() {
    let mut keyspace = keyspace(false);
    large_hash(&mut keyspace, b"large");
    keyspace.db(0, 0).set_string(b"small", b"1", Expiry::Clear);
    let wanted = contents(&mut keyspace);
    keyspace.begin_snapshot(&SnapshotOptions::default());
    let mut file = Vec::new();
    let mut waited = 0;
    while keyspace.snapshot_needs(0, b"large") {
        assert!(!keyspace.step_snapshot(0));
        let before = file.len();
        keyspace.take_snapshot(&mut file);
        assert!(file.len() - before < 2 * LARGE_STEP_BYTES);
        keyspace.db(0, 0).set_string(b"small", b"2", Expiry::Clear);
        waited += 1;
    }
    assert!(waited > 3, "{waited}");
    keyspace.db(0, 0).hash_or_new(b"large").expect("a hash").set(b"0", b"1");
    assert!(!keyspace.snapshot_needs(0, b"small"));
    assert_eq!(finish(&mut keyspace, file), wanted);
}

#[test]
fn a_large_value_that_leaves_before_or_in_between_is_in_the_snapshot_all_the_same() {
    for steps in [0, 1, 2, 3, 4] {
        for how in 0..4 {
            let mut keyspace = keyspace(false);
            large_hash(&mut keyspace, b"large");
            large_hash(&mut keyspace, b"other");
            let wanted = contents(&mut keyspace);
            keyspace.begin_snapshot(&SnapshotOptions::default());
            keyspace.snapshot_needs(0, b"large");
            for _ in 0..steps {
                keyspace.step_snapshot(0);
            }
            match how {
                0 => drop(keyspace.db(0, 0).remove(b"large").then_some(())),
                1 => drop(keyspace.flush(0).to_string()),
                2 => keyspace.db(0, 0).set_string(b"large", b"small", Expiry::Clear),
                _ => keyspace.swap(0, 2),
            }
            assert_eq!(finish(&mut keyspace, Vec::new()), wanted, "{steps} steps, case {how}");
        }
    }
}

#[test]
fn a_dropped_slot_is_in_the_snapshot_and_its_new_keys_are_not() {
    let mut keyspace = keyspace(true);
    for n in 0..500 {
        let key = format!("{{tag}}{n}");
        keyspace.db(0, 0).set_string(key.as_bytes(), b"old", Expiry::At(1000 + n));
    }
    let wanted = contents(&mut keyspace);
    keyspace.begin_snapshot(&SnapshotOptions::default());
    for _ in 0..5 {
        keyspace.step_snapshot(0);
    }
    keyspace.drop_slot(crate::cluster::Slot::of(b"tag"));
    keyspace.db(0, 0).set_string(b"{tag}1", b"new", Expiry::Clear);
    assert_eq!(finish(&mut keyspace, Vec::new()), wanted);
    assert_eq!(keyspace.len(None), 1);
}
