//! DEBUG DIGEST over the keyspace: what two nodes compare to know that they hold the same data.

use super::db::Db;
use super::entry::Entry;
use super::keyspace::Keyspace;
use super::table::Keyed;
use super::types::{Hash, List, Set, SortedSet, Stream, StreamIdBuffer};
use super::value::ValueRef;
use crate::value::{Digest, DoubleText};

/// The numbers of types in Redis's object header, which the digest covers.
const TYPE_STRING: u32 = 0;
const TYPE_LIST: u32 = 1;
const TYPE_SET: u32 = 2;
const TYPE_SORTED_SET: u32 = 3;
const TYPE_HASH: u32 = 4;
const TYPE_STREAM: u32 = 6;

impl Keyspace {
    /// The digest of everything it holds.
    pub fn digest(&mut self, now_ms: u64) -> Digest {
        let mut all = Digest::default();
        for index in 0..self.databases() {
            let db = self.db(index, now_ms);
            if db.is_empty() {
                continue;
            }
            all.mix(&(index as u32).to_be_bytes());
            for entry in db.iter() {
                let mut digest = Digest::default();
                digest.mix(entry.key());
                add_value(&mut digest, entry);
                all.xor(digest.bytes());
            }
        }
        all
    }
}

impl Db<'_> {
    /// The digest of one key's value and of whether it expires; zeros if the key is not there.
    pub fn digest_value(&mut self, key: &[u8]) -> Digest {
        let mut digest = Digest::default();
        if let Some(entry) = self.peek(key) {
            add_value(&mut digest, entry);
        }
        digest
    }
}

fn add_value(digest: &mut Digest, entry: &Entry) {
    match entry.value() {
        ValueRef::Int(number) => {
            add_string(digest, itoa::Buffer::new().format(number).as_bytes());
        }
        ValueRef::Embedded { bytes, .. } => add_string(digest, bytes),
        ValueRef::String(bytes) => add_string(digest, bytes),
        ValueRef::List(list) => add_list(digest, list),
        ValueRef::Hash(hash) => add_hash(digest, hash),
        ValueRef::Set(set) => add_set(digest, set),
        ValueRef::SortedSet(set) => add_sorted_set(digest, set),
        ValueRef::Stream(stream) => add_stream(digest, stream),
    }
    if entry.expires_at().is_some() {
        digest.xor(b"!!expire!!");
    }
}

fn add_string(digest: &mut Digest, bytes: &[u8]) {
    digest.mix(&TYPE_STRING.to_be_bytes());
    digest.mix(bytes);
}

fn add_list(digest: &mut Digest, list: &List) {
    digest.mix(&TYPE_LIST.to_be_bytes());
    let mut buffer = itoa::Buffer::new();
    list.iter().for_each(|element| digest.mix(element.bytes(&mut buffer)));
}

fn add_hash(digest: &mut Digest, hash: &Hash) {
    digest.mix(&TYPE_HASH.to_be_bytes());
    let mut buffer = itoa::Buffer::new();
    for (field, value) in hash.iter() {
        let mut element = Digest::default();
        element.mix(field.bytes(&mut buffer));
        element.mix(value.bytes(&mut buffer));
        digest.xor(element.bytes());
    }
}

fn add_set(digest: &mut Digest, set: &Set) {
    digest.mix(&TYPE_SET.to_be_bytes());
    let mut buffer = itoa::Buffer::new();
    set.iter().for_each(|member| digest.xor(member.bytes(&mut buffer)));
}

fn add_sorted_set(digest: &mut Digest, set: &SortedSet) {
    digest.mix(&TYPE_SORTED_SET.to_be_bytes());
    let mut buffer = itoa::Buffer::new();
    for (member, score) in set.iter() {
        let mut element = Digest::default();
        element.mix(member.bytes(&mut buffer));
        element.mix(DoubleText::shortest(score).as_bytes());
        digest.xor(element.bytes());
    }
}

/// Groups do not count.
fn add_stream(digest: &mut Digest, stream: &Stream) {
    digest.mix(&TYPE_STREAM.to_be_bytes());
    let (mut name_buffer, mut value_buffer) = (itoa::Buffer::new(), itoa::Buffer::new());
    for entry in stream.log.iter() {
        digest.mix(entry.id.joined(b'.', &mut StreamIdBuffer::default()));
        for (name, value) in entry.fields() {
            digest.mix(name.bytes(&mut name_buffer));
            digest.mix(value.bytes(&mut value_buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expiry, KeyspaceOptions};

    /// The answers of DEBUG DIGEST and DEBUG DIGEST-VALUE of Redis 7.0.15 to the same data.
    #[test]
    fn digests_are_those_of_redis() {
        let options = KeyspaceOptions { by_slot: false, databases: 16, seed: (1, 2) };
        let mut keyspace = Keyspace::new(options);
        assert_eq!(keyspace.digest(0).to_string(), "0".repeat(40));
        let mut db = keyspace.db(0, 0);
        db.set_string(b"text", b"value", Expiry::Clear);
        db.set_string(b"number", b"12345", Expiry::At(1 << 60));
        let mut hash = db.hash_or_new(b"hash").unwrap();
        hash.set(b"f1", b"v1");
        hash.set(b"f2", b"2");
        assert_eq!(
            db.digest_value(b"text").to_string(),
            "d59ec93db87f4cd915db3cdf44bb63755bc4a635"
        );
        assert_eq!(
            db.digest_value(b"number").to_string(),
            "074a6e8892a0b0b4fcf085794cb69322c36c9d00"
        );
        assert_eq!(
            db.digest_value(b"hash").to_string(),
            "fc076e867f7dbf566ea58172a151d82d78b8f845"
        );
        assert_eq!(db.digest_value(b"none").to_string(), "0".repeat(40));
        keyspace.db(3, 0).set_string(b"other", b"", Expiry::Clear);
        assert_eq!(keyspace.digest(0).to_string(), "47c05c6926eeee28a692834d4aa7be1cee44e043");
    }

    /// The answers of DEBUG DIGEST-VALUE of Valkey 9.1.2, which takes the shortest text of a score.
    #[test]
    fn digests_of_sorted_sets_take_the_shortest_scores() {
        let options = KeyspaceOptions { by_slot: false, databases: 1, seed: (1, 2) };
        let mut keyspace = Keyspace::new(options);
        let mut db = keyspace.db(0, 0);
        for (key, score, digest) in [
            (&b"fraction"[..], 0.1, "6605f56364a85f2c14bc54c5b4318ac4616eb60a"),
            (b"large", 1e17, "865dfe692ba47395ddd673188be31a88f4f3a760"),
        ] {
            db.sorted_set_or_new(key).unwrap().set(b"a", score);
            assert_eq!(db.digest_value(key).to_string(), digest);
        }
    }
}
