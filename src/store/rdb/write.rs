//! A whole file on its way out, piece by piece, into a buffer that the caller empties as it likes.

use super::crc64::Crc64;
use super::length::put_length;
use super::write_value::{ValueProgress, ValueWriter};
use super::{RDB_VERSION, opcode};
use crate::store::entry::Entry;
use crate::store::table::Keyed;

/// When, or how often, a key was used, where that is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Under an LRU policy: seconds since the last use.
    Idle(u64),
    /// Under an LFU policy: the counter.
    Frequency(u8),
}

/// Writes a file in the order of its parts: [`RdbWriter::begin`], [`RdbWriter::aux`],
/// [`RdbWriter::function`], then for each database [`RdbWriter::database`] and its keys, then
/// [`RdbWriter::end`]. Each call appends to a buffer that may have been emptied since the last.
///
/// ```
/// # use keyway::store::rdb::{RdbWriter, RdbReader, RdbEvent, ValueLimits};
/// # use keyway::store::{Entry, Keyspace, KeyspaceOptions};
/// # let keyspace = Keyspace::new(KeyspaceOptions { by_slot: false, databases: 1, seed: (1, 2) });
/// let mut file = Vec::new();
/// let mut writer = RdbWriter::new(true, true);
/// writer.begin(&mut file);
/// writer.aux(&mut file, "redis-ver", b"7.0.15");
/// writer.database(&mut file, 0, 1, 0);
/// writer.key(&mut file, &Entry::string(b"greeting", b"hello", None), None);
/// writer.end(&mut file);
///
/// let mut reader = RdbReader::new(keyspace.value_limits());
/// reader.feed(&file);
/// while let Some(event) = reader.next().expect("a file of ours") {
///     println!("{event:?}");
/// }
/// assert!(reader.is_done());
/// ```
#[derive(Debug)]
pub struct RdbWriter {
    values: ValueWriter,
    /// None if the file shall have no checksum.
    crc: Option<Crc64>,
}

impl RdbWriter {
    /// A writer: whether strings are compressed (`rdbcompression`), and whether there is a
    /// checksum at the end (`rdbchecksum`).
    pub fn new(compress: bool, checksum: bool) -> Self {
        Self { values: ValueWriter { compress }, crc: checksum.then(Crc64::default) }
    }

    /// Appends, and adds to the checksum what was appended.
    fn put<R>(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&Self, &mut Vec<u8>) -> R) -> R {
        let start = out.len();
        let outcome = write(self, out);
        if let Some(crc) = &mut self.crc {
            crc.update(&out[start..]);
        }
        outcome
    }

    /// The magic and the version.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.put(out, |_, out| out.extend_from_slice(format!("REDIS{RDB_VERSION:04}").as_bytes()));
    }

    /// A named fact: `redis-ver`, `repl-id`, …
    pub fn aux(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        self.put(out, |this, out| {
            out.push(opcode::AUX);
            this.values.string(out, name.as_bytes());
            this.values.string(out, value);
        });
    }

    /// The code of a library of functions.
    pub fn function(&mut self, out: &mut Vec<u8>, code: &[u8]) {
        self.put(out, |this, out| {
            out.push(opcode::FUNCTION);
            this.values.string(out, code);
        });
    }

    /// The keys that follow are of this database, about so many, of which so many expire.
    pub fn database(&mut self, out: &mut Vec<u8>, number: u64, keys: u64, expiring: u64) {
        self.put(out, |_, out| {
            out.push(opcode::SELECT_DB);
            put_length(out, number);
            out.push(opcode::RESIZE_DB);
            put_length(out, keys);
            put_length(out, expiring);
        });
    }

    /// The keys that follow are of this database, however many.
    pub fn select(&mut self, out: &mut Vec<u8>, number: u64) {
        self.put(out, |_, out| {
            out.push(opcode::SELECT_DB);
            put_length(out, number);
        });
    }

    /// A key with its value, whatever its size.
    pub fn key(&mut self, out: &mut Vec<u8>, entry: &Entry, used: Option<KeyUse>) {
        let mut progress = ValueProgress::default();
        self.key_head(out, entry, used);
        while !self.value(out, entry, &mut progress, usize::MAX) {}
    }

    /// A key's expiry, use, type and name; [`RdbWriter::value`] comes next.
    pub fn key_head(&mut self, out: &mut Vec<u8>, entry: &Entry, used: Option<KeyUse>) {
        self.put(out, |this, out| {
            if let Some(at) = entry.expires_at() {
                out.push(opcode::EXPIRE_MS);
                out.extend_from_slice(&at.to_le_bytes());
            }
            match used {
                Some(KeyUse::Idle(seconds)) => {
                    out.push(opcode::IDLE);
                    put_length(out, seconds);
                }
                Some(KeyUse::Frequency(count)) => out.extend_from_slice(&[opcode::FREQ, count]),
                None => {}
            }
            out.push(ValueWriter::kind(entry.value()));
            this.values.string(out, entry.key());
        });
    }

    /// Some of a key's value: until `out` has grown by about `max` bytes, or all of it. True when
    /// it is done; the key must not have changed since its head was written.
    pub fn value(
        &mut self,
        out: &mut Vec<u8>,
        entry: &Entry,
        progress: &mut ValueProgress,
        max: usize,
    ) -> bool {
        self.put(out, |this, out| this.values.some(out, entry.value(), progress, max))
    }

    /// Bytes of whole keys that another writer has made.
    pub(in crate::store) fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        self.put(out, |_, out| out.extend_from_slice(bytes));
    }

    /// The end, and the checksum.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.put(out, |_, out| out.push(opcode::END));
        let sum = self.crc.map_or(0, Crc64::value);
        out.extend_from_slice(&sum.to_le_bytes());
    }
}
