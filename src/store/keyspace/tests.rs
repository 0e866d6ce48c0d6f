use super::*;
use crate::store::Expiry;
use std::collections::BTreeSet;

fn keyspace(by_slot: bool) -> Keyspace {
    Keyspace::new(KeyspaceOptions { by_slot, databases: 1, seed: (7, 11) })
}

fn fill(keyspace: &mut Keyspace, keys: std::ops::Range<usize>, expiry: Expiry) {
    for n in keys {
        keyspace.db(0, 0).set_string(format!("key:{n}").as_bytes(), b"value", expiry);
    }
}

#[test]
fn slots_count_list_and_drop_their_own_keys() {
    let mut keyspace = keyspace(true);
    fill(&mut keyspace, 0..5000, Expiry::At(100));
    let total: usize = Slot::all().map(|slot| keyspace.count_in_slot(slot)).sum();
    assert_eq!((total, keyspace.len(None), keyspace.expiring(0)), (5000, 5000, 5000));
    let slot = Slot::of(b"key:42");
    let count = keyspace.count_in_slot(slot);
    assert!(keyspace.keys_in_slot(slot, 1000).any(|key| key == b"key:42"));
    assert!(keyspace.keys_in_slot(slot, 1000).all(|key| Slot::of(key) == slot));
    assert_eq!(keyspace.drop_slot(slot), count);
    assert_eq!(keyspace.len(None), 5000 - count);
    assert!(!keyspace.db(0, 0).contains(b"key:42"));
    assert_eq!(keyspace.drop_slot(slot), 0);
}

/// A key that comes back, with the expiry it had, before its slot is forgotten expires by itself.
#[test]
fn a_dropped_slot_is_forgotten_in_steps() {
    let mut keyspace = keyspace(true);
    fill(&mut keyspace, 0..10, Expiry::At(200));
    for n in 0..1000 {
        keyspace.db(0, 0).set_string(format!("{{t}}{n}").as_bytes(), b"value", Expiry::At(100));
    }
    assert_eq!(keyspace.drop_slot(Slot::of(b"{t}")), 1000);
    assert_eq!(keyspace.len(None), 10);
    keyspace.db(0, 0).set_string(b"{t}7", b"value", Expiry::At(100));
    let mut steps = 0;
    while keyspace.expire_some(0, 10) == 10 {
        steps += 1;
        assert!(keyspace.has_garbage() || keyspace.expiring(0) > 10);
    }
    assert!((90..500).contains(&steps), "{steps} steps");
    assert_eq!((keyspace.len(None), keyspace.expiring(0)), (11, 11));
    assert_eq!(keyspace.take_garbage().keys(), 1000);
    assert_eq!(keyspace.expire_some(150, 10), 1, "it expires though nobody asks for it");
    assert_eq!((keyspace.len(None), keyspace.expiring(0)), (10, 10));
    assert_eq!(keyspace.stats().expired, 1);
}

/// Sparse and dense, with and without slots; others come and go between the steps.
#[test]
fn a_scan_returns_what_stays() {
    for by_slot in [false, true] {
        for keys in [0, 1, 3, 100, 3000] {
            let mut keyspace = keyspace(by_slot);
            fill(&mut keyspace, 0..keys, Expiry::Clear);
            let (mut seen, mut cursor, mut round) = (BTreeSet::new(), 0, 0);
            loop {
                let mut db = keyspace.db(0, 0);
                cursor = db.scan(cursor, 10, |entry| {
                    seen.insert(entry.key().to_vec());
                });
                if cursor == 0 {
                    break;
                }
                round += 1;
                let extra = format!("extra:{round}");
                db.set_string(extra.as_bytes(), b"", Expiry::Clear);
                db.remove(format!("extra:{}", round / 2).as_bytes());
            }
            let missed =
                (0..keys).filter(|n| !seen.contains(format!("key:{n}").as_bytes())).count();
            assert_eq!(missed, 0, "of {keys} keys, by slot: {by_slot}");
        }
    }
}

#[test]
fn an_expired_key_is_gone_on_access_and_by_itself() {
    let mut keyspace = keyspace(true);
    keyspace.tell(Tell { expired: true, ..Tell::default() });
    fill(&mut keyspace, 0..100, Expiry::At(1000));
    fill(&mut keyspace, 100..110, Expiry::Clear);
    assert!(keyspace.db(0, 1000).contains(b"key:5"), "it lives through its last millisecond");
    assert!(!keyspace.db(0, 1001).contains(b"key:5"));
    assert_eq!(keyspace.len(None), 109);
    // A later expiry, and none any more: neither is due.
    keyspace.db(0, 0).set_expiry(b"key:6", Expiry::At(5000));
    keyspace.db(0, 0).set_expiry(b"key:7", Expiry::Clear);
    assert_eq!(keyspace.next_expiry(), Some(1000));
    assert_eq!(keyspace.expire_some(1001, 50), 50);
    assert_eq!(keyspace.expire_some(1001, 50), 47);
    assert_eq!((keyspace.len(None), keyspace.expiring(0)), (12, 1));
    assert_eq!(keyspace.stats().expired, 98);
    let told = keyspace.take_told();
    assert!(told.iter().all(|(_, told, _)| *told == Told::Expired));
    assert_eq!(told.len(), 98);
}

#[test]
fn a_replica_hides_what_has_expired_and_keeps_it() {
    let mut keyspace = keyspace(true);
    fill(&mut keyspace, 0..1, Expiry::At(1000));
    keyspace.set_on_expired(Expired::Hide);
    assert!(keyspace.db(0, 1001).read(b"key:0").is_none());
    assert_eq!(keyspace.expire_some(1001, 10), 0);
    assert_eq!(keyspace.len(None), 1);
}

#[test]
fn what_is_large_is_handed_over_and_what_is_small_is_not() {
    let mut keyspace = keyspace(false);
    let mut db = keyspace.db(0, 0);
    for n in 0..1000 {
        let field = n.to_string();
        db.hash_or_new(b"large").unwrap().set(field.as_bytes(), b"value");
    }
    db.hash_or_new(b"small").unwrap().set(b"field", b"value");
    assert_eq!(db.peek(b"large").map(Entry::encoding), Some("hashtable"));
    assert_eq!(db.peek(b"small").map(Entry::encoding), Some("listpack"));
    db.remove(b"small");
    assert!(!keyspace.has_garbage());
    keyspace.db(0, 0).set_string(b"large", b"", Expiry::Clear);
    assert!(keyspace.has_garbage());
}

#[test]
fn what_waits_to_be_freed_is_counted_until_it_is() {
    let mut keyspace = keyspace(false);
    let counts = |keyspace: &Keyspace| (keyspace.stats().freeing, keyspace.stats().freed);
    fill(&mut keyspace, 0..1000, Expiry::Clear);
    keyspace.flush(0);
    assert_eq!(counts(&keyspace), (1000, 0));
    let garbage = keyspace.take_garbage();
    assert_eq!(counts(&keyspace), (1000, 0));
    fill(&mut keyspace, 0..10, Expiry::Clear);
    keyspace.flush(0);
    assert_eq!(counts(&keyspace), (1010, 0));
    std::thread::spawn(move || drop(garbage)).join().expect("it is dropped");
    assert_eq!(counts(&keyspace), (10, 1000));
    keyspace.reset_stats();
    drop(keyspace.take_garbage());
    assert_eq!(counts(&keyspace), (0, 10));
}
