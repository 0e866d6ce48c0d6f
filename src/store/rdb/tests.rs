//! Values and files there and back, and Redis's own bytes.

use super::*;
use crate::store::{Db, End, Entry, Expiry, Keyed, Keyspace, KeyspaceOptions};
use proptest::prelude::*;

fn keyspace() -> Keyspace {
    Keyspace::new(KeyspaceOptions { by_slot: false, databases: 16, seed: (1, 2) })
}

/// One key of every type and encoding.
fn fill(db: &mut Db<'_>) {
    db.set_string(b"int", b"-12345", Expiry::Clear);
    db.set_string(b"long", b"9223372036854775807", Expiry::At(1 << 50));
    db.set_string(b"short", b"hello", Expiry::At(77));
    db.set_string(b"large", &vec![b'x'; 100_000], Expiry::Clear);
    let push = |db: &mut Db<'_>, key: &[u8], count: usize| {
        let mut list = db.list_or_new(key).unwrap();
        for n in 0..count {
            let element = format!("element {n}");
            list.make_room_for(std::iter::once(element.as_bytes()));
            list.push(End::Tail, element.as_bytes());
        }
    };
    push(db, b"list", 10);
    push(db, b"quicklist", 5000);
    for (key, count) in [(&b"hash"[..], 10), (b"large hash", 2000)] {
        let mut hash = db.hash_or_new(key).unwrap();
        for n in 0..count {
            hash.set(format!("f{n}").as_bytes(), b"value");
        }
    }
    for (key, count) in [(&b"zset"[..], 10), (b"large zset", 2000)] {
        let mut set = db.sorted_set_or_new(key).unwrap();
        for n in 0..count {
            set.set(format!("m{n}").as_bytes(), f64::from(n) / 4.0);
        }
    }
    for (key, count, word) in
        [(&b"intset"[..], 10, ""), (b"set", 10, "m"), (b"large set", 2000, "m")]
    {
        let mut set = db.set_or_new(key, format!("{word}0").as_bytes(), 1).unwrap();
        for n in 0..count {
            set.add(format!("{word}{n}").as_bytes());
        }
    }
}

fn write(keyspace: &mut Keyspace, compress: bool, step: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = RdbWriter::new(compress, true);
    writer.begin(&mut file);
    writer.aux(&mut file, "redis-ver", b"7.0.15");
    writer.database(&mut file, 3, keyspace.len(Some(3)) as u64, 2);
    for entry in keyspace.db(3, 0).iter() {
        let mut progress = ValueProgress::default();
        writer.key_head(&mut file, entry, Some(KeyUse::Idle(5)));
        let mut part = Vec::new();
        while !writer.value(&mut part, entry, &mut progress, step) {
            file.append(&mut part);
        }
        file.append(&mut part);
    }
    writer.end(&mut file);
    file
}

/// Everything that a file says, fed in pieces.
fn read(file: &[u8], piece: usize) -> Result<(Keyspace, Vec<u8>), RdbError> {
    let mut keyspace = keyspace();
    let mut reader = RdbReader::new(keyspace.value_limits());
    let mut db = 0;
    for piece in file.chunks(piece) {
        reader.feed(piece);
        while let Some(event) = reader.next()? {
            match event {
                RdbEvent::Database(number) => db = number as usize % 16,
                RdbEvent::Key { entry, .. } => keyspace.db(db, 0).insert(entry),
                _ => {}
            }
        }
    }
    if !reader.is_done() {
        return Err(RdbError::Short);
    }
    Ok((keyspace, reader.take_rest()))
}

#[test]
fn a_file_gives_back_what_went_in_however_it_is_cut() {
    let mut original = keyspace();
    fill(&mut original.db(3, 0));
    for compress in [false, true] {
        for step in [1, 1000, usize::MAX] {
            let mut file = write(&mut original, compress, step);
            file.extend_from_slice(b"behind");
            for piece in [7, 4096, usize::MAX] {
                let (mut copy, rest) = read(&file, piece).expect("our own file");
                assert_eq!(copy.digest(0), original.digest(0), "{compress} {step} {piece}");
                assert!(b"behind".ends_with(&rest), "{rest:?}");
                for entry in original.db(3, 0).iter() {
                    let mut db = copy.db(3, 0);
                    let other = db.peek(entry.key()).expect("it is there");
                    assert_eq!(other.encoding(), entry.encoding(), "{entry:?}");
                    assert_eq!(other.expires_at(), entry.expires_at(), "{entry:?}");
                }
            }
        }
    }
}

#[test]
fn a_payload_gives_back_its_value_and_every_cut_and_every_flip_is_refused() {
    let mut original = keyspace();
    fill(&mut original.db(0, 0));
    let limits = original.value_limits();
    for entry in original.db(0, 0).iter() {
        let mut payload = Vec::new();
        dump(&mut payload, entry, true);
        let copy = restore(&payload, limits).expect("our own payload");
        let mut other = keyspace();
        other.db(0, 0).insert(copy.into_entry(entry.key(), entry.expires_at()));
        let mut alone = keyspace();
        alone.db(0, 0).insert(entry.copied(entry.key()));
        assert_eq!(other.digest(0), alone.digest(0), "{entry:?}");
        for at in (0..payload.len()).step_by(payload.len() / 64 + 1) {
            let error = restore(&payload[..at], limits).expect_err("it is cut");
            assert!(!matches!(error, RdbError::Unsupported(_)), "{error}");
            let mut flipped = payload.clone();
            flipped[at] ^= 0x10;
            restore(&flipped, limits).expect_err("a bit is another");
        }
    }
}

/// DUMP's answers of Redis 7.0.15 with `rdbcompression no`, byte for byte.
#[test]
fn payloads_are_those_of_redis() {
    let payload = |entry: &Entry| {
        let mut out = Vec::new();
        dump(&mut out, entry, false);
        out
    };
    let hello = payload(&Entry::string(b"k", b"hello", None));
    assert_eq!(hello[..8], *b"\x00\x05hello\x0a");
    assert_eq!(payload(&Entry::string(b"k", b"12", None))[..4], *b"\x00\xc0\x0c\x0a");
    assert_eq!(payload(&Entry::string(b"k", b"-70000", None))[..6], *b"\x00\xc2\x90\xee\xfe\xff");
    let long = payload(&Entry::string(b"k", b"4294967296", None));
    assert_eq!(long[..12], *b"\x00\x0a4294967296");
}

#[test]
fn only_versions_that_are_known_are_read() {
    for (magic, verdict) in [
        ("REDIS0001", Ok(())),
        ("REDIS0011", Ok(())),
        ("VALKEY080", Ok(())),
        ("REDIS0012", Err(RdbError::Version(12))),
        ("REDIS0080", Err(RdbError::Version(80))),
        ("REDIS0000", Err(RdbError::Version(0))),
        ("VALKEY081", Err(RdbError::Version(81))),
        ("VALKEY011", Err(RdbError::Version(11))),
        ("RABBIT010", Err(RdbError::Signature)),
    ] {
        let mut file = magic.as_bytes().to_vec();
        file.push(255);
        if magic != "REDIS0001" {
            file.extend_from_slice(&[0; 8]);
        }
        assert_eq!(read(&file, 3).map(drop), verdict, "{magic}");
    }
}

#[test]
fn what_is_between_keys_and_does_not_concern_us_is_passed_over() {
    let mut file = b"VALKEY080".to_vec();
    file.extend_from_slice(b"\xf4\x01\x02\x03"); // the sizes of a slot
    file.extend_from_slice(b"\xf3\x03job\x01\x00\x05"); // an import of slots
    file.extend_from_slice(b"\xf7\x01\x02\x02\x02\x07\x05\x02hi\x04........\x00"); // a module's data
    file.extend_from_slice(b"\xfd\x01\x00\x00\x00\xf9\x07\x00\x01k\x01v");
    file.extend_from_slice(b"\x16\x01h\x01\x01f\x01v\xff\xff\xff\xff\xff\xff\xff\xff");
    file.extend_from_slice(b"\x02\x05empty\x00");
    file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    for piece in 1..file.len() {
        let (mut keyspace, _) = read(&file, piece).expect("a file of Valkey 9");
        let mut db = keyspace.db(0, 0);
        assert_eq!(db.peek(b"k").and_then(Entry::expires_at), Some(1000));
        assert!(db.contains(b"h") && !db.contains(b"empty"));
        assert_eq!(db.len(), 2);
    }
}

#[test]
fn claims_take_no_memory_and_doubles_are_refused() {
    let huge = b"\x81\x00\x00\x00\xff\xff\xff\xff\xff";
    for kind in [1u8, 2, 3, 4, 5, 14, 18, 22] {
        let mut file = b"REDIS0011".to_vec();
        file.extend_from_slice(&[kind, 1, b'k']);
        file.extend_from_slice(huge);
        assert_eq!(read(&file, 100).map(drop), Err(RdbError::Short), "type {kind}");
    }
    for (value, what) in [
        (&b"\x02\x02\x01a\x01a"[..], "Duplicate set members detected"),
        (b"\x04\x02\x01a\x01b\x01a\x01b", "Duplicate hash fields detected"),
        (b"\x03\x02\x01a\x011\x01a\x011", "Duplicate zset fields detected"),
        (b"\x03\x01\x01a\xfd", "Zset with NAN score detected"),
        (b"\x12\x01\x01\x00", "a list's node without an element"),
        (b"\x63\x01", "Unknown RDB encoding type"),
        (b"\x00\xc3\x01\x40\xff\x00", "Invalid LZF compressed string"),
    ] {
        let mut payload = value.to_vec();
        payload.extend_from_slice(&RDB_VERSION.to_le_bytes());
        payload.extend_from_slice(&Crc64::of(&payload).to_le_bytes());
        let error = restore(&payload, keyspace().value_limits()).expect_err(what);
        assert_eq!(error, RdbError::Corrupt(what));
    }
}

proptest! {
    /// A value of any type from any bytes: read or refused, never a panic.
    #[test]
    fn any_bytes_are_read_or_refused(kind in 0u8..24, bytes: Vec<u8>) {
        let mut payload = vec![kind];
        payload.extend_from_slice(&bytes);
        payload.extend_from_slice(&RDB_VERSION.to_le_bytes());
        payload.extend_from_slice(&Crc64::of(&payload).to_le_bytes());
        let limits = keyspace().value_limits();
        if let Ok(loaded) = restore(&payload, limits) {
            let mut again = Vec::new();
            dump(&mut again, &loaded.into_entry(b"k", None), false);
            prop_assert!(restore(&again, limits).is_ok());
        }
    }
}

#[test]
fn an_import_has_as_many_ranges_as_there_are_slots_and_no_more() {
    let import = |ranges: u32| {
        let mut file = b"VALKEY080\xf3\x03job\x80".to_vec();
        file.extend_from_slice(&ranges.to_be_bytes());
        file.resize(file.len() + 2 * ranges as usize, 0);
        file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
        file
    };
    read(&import(16_384), 4096).expect("the most there can be");
    let more = import(16_385);
    let error = RdbError::Corrupt("more ranges of slots than there are slots");
    // It is told from the count alone.
    for file in [&more[..], &more[..19]] {
        assert_eq!(read(file, 4096).expect_err("too many"), error);
    }
}

/// A primary that never ends a module's data is waited for, as one that never ends its keys; but it
/// has nothing held, and nothing looked at twice.
#[test]
fn a_modules_data_without_end_is_not_held() {
    let mut reader = RdbReader::new(keyspace().value_limits());
    reader.feed(b"REDIS0010\xf7\x01\x02\x02");
    assert!(reader.next().expect("a beginning").is_none());
    let parts = b"\x02\x07\x05\x02hi\x04........\x03....".repeat(1000);
    let mut fed = reader.position();
    for piece in parts.chunks(1021).cycle().take(1000) {
        // Each run of all parts begins anew with a mark.
        reader.feed(piece);
        fed += piece.len() as u64;
        assert!(reader.next().expect("parts that can be").is_none());
        assert!(fed - reader.position() < 16, "{} bytes are held", fed - reader.position());
    }
    reader.feed(b"\x00\xff");
    assert!(reader.next().expect("an end").is_none());
    assert_eq!(reader.position(), fed + 2);
}
