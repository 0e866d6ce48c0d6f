//! One value on its way out, a few elements at a time: what is large does not have to be written
//! in one go, as long as nobody changes it in between.

use super::kind;
use super::length::{COMPRESSED, put_int, put_length};
use super::lzf;
use super::streams::StreamProgress;
use crate::store::types::{Item, List, SortedSet};
use crate::store::value::ValueRef;
use crate::value::parse_i64;

/// Strings up to this length that are numbers are written as such.
const NUMBER_LEN_MAX: usize = 11;
/// Shorter strings are not worth compressing.
const COMPRESS_MIN: usize = 21;
/// What a compressed string must save.
const COMPRESS_SAVES: usize = 4;
/// Elements written between two looks at how much there is.
const AT_ONCE: usize = 64;

/// How far a value has been written: [`ValueProgress::default`] is not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueProgress {
    begun: bool,
    /// A cursor of its table, or how many elements or nodes are done.
    at: u64,
    stream: StreamProgress,
}

/// How strings are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueWriter {
    pub(super) compress: bool,
}

impl ValueWriter {
    /// The type of a value as it is written.
    pub(super) fn kind(value: ValueRef<'_>) -> u8 {
        match value {
            ValueRef::Int(_) | ValueRef::Embedded { .. } | ValueRef::String(_) => kind::STRING,
            ValueRef::List(_) => kind::QUICKLIST,
            ValueRef::Hash(hash) if hash.as_listpack().is_some() => kind::HASH_LISTPACK,
            ValueRef::Hash(_) => kind::HASH,
            ValueRef::SortedSet(set) if set.as_listpack().is_some() => kind::SORTED_SET_LISTPACK,
            ValueRef::SortedSet(_) => kind::SORTED_SET,
            ValueRef::Set(set) if set.as_intset().is_some() => kind::SET_INTSET,
            // With active times, it is of version 11.
            ValueRef::Stream(_) => kind::STREAM_2,
            // A set as a listpack is of version 11.
            ValueRef::Set(_) => kind::SET,
        }
    }

    /// A string: a key, an element, the bytes of a listpack.
    pub(super) fn string(self, out: &mut Vec<u8>, bytes: &[u8]) {
        if bytes.len() <= NUMBER_LEN_MAX
            && parse_i64(bytes).is_some_and(|number| put_int(out, number))
        {
            return;
        }
        if self.compress && bytes.len() >= COMPRESS_MIN && compressed(out, bytes) {
            return;
        }
        put_length(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    fn number(self, out: &mut Vec<u8>, number: i64) {
        if !put_int(out, number) {
            let mut buffer = itoa::Buffer::new();
            let text = buffer.format(number);
            put_length(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn item(self, out: &mut Vec<u8>, item: Item<'_>) {
        match item {
            Item::Int(number) => self.number(out, number),
            Item::Bytes(bytes) => self.string(out, bytes),
        }
    }

    /// Writes some of a value, without its type: until `out` has grown by about `max` bytes, or
    /// all of it. True when it is done.
    pub(super) fn some(
        self,
        out: &mut Vec<u8>,
        value: ValueRef<'_>,
        progress: &mut ValueProgress,
        max: usize,
    ) -> bool {
        let begins = !std::mem::replace(&mut progress.begun, true);
        let end = out.len().saturating_add(max);
        match value {
            ValueRef::Int(number) => {
                self.number(out, number);
                true
            }
            ValueRef::Embedded { bytes, .. } => {
                self.string(out, bytes);
                true
            }
            ValueRef::String(bytes) => {
                self.string(out, bytes);
                true
            }
            ValueRef::List(list) => self.nodes(out, list, begins, &mut progress.at, end),
            ValueRef::Hash(hash) => {
                if let Some(list) = hash.as_listpack() {
                    self.string(out, list.as_bytes());
                    return true;
                }
                if begins {
                    put_length(out, hash.len() as u64);
                }
                while out.len() < end {
                    progress.at = hash.scan(progress.at, AT_ONCE, |field, value| {
                        self.item(out, field);
                        self.item(out, value);
                    });
                    if progress.at == 0 {
                        return true;
                    }
                }
                false
            }
            ValueRef::Set(set) => {
                if let Some(set) = set.as_intset() {
                    self.string(out, &set.to_bytes());
                    return true;
                }
                if begins {
                    put_length(out, set.len() as u64);
                }
                while out.len() < end {
                    progress.at = set.scan(progress.at, AT_ONCE, |member| self.item(out, member));
                    if progress.at == 0 {
                        return true;
                    }
                }
                false
            }
            ValueRef::Stream(stream) => self.stream(out, stream, &mut progress.stream, end),
            ValueRef::SortedSet(set) => self.members(out, set, begins, &mut progress.at, end),
        }
    }

    fn nodes(
        self,
        out: &mut Vec<u8>,
        list: &List,
        begins: bool,
        done: &mut u64,
        end: usize,
    ) -> bool {
        if begins {
            put_length(out, list.listpacks().count() as u64);
        }
        let mut nodes = list.listpacks().skip(*done as usize);
        while out.len() < end {
            let Some(node) = nodes.next() else { return true };
            put_length(out, kind::NODE_PACKED);
            self.string(out, node.as_bytes());
            *done += 1;
        }
        false
    }

    /// From the highest score down: whoever reads it always adds at the head.
    fn members(
        self,
        out: &mut Vec<u8>,
        set: &SortedSet,
        begins: bool,
        done: &mut u64,
        end: usize,
    ) -> bool {
        if let Some(list) = set.as_listpack() {
            self.string(out, list.as_bytes());
            return true;
        }
        if begins {
            put_length(out, set.len() as u64);
        }
        let Some(last) = (set.len() as u64).checked_sub(1 + *done) else { return true };
        for (member, score) in set.iter_from(last as usize, true) {
            if out.len() >= end {
                return false;
            }
            self.item(out, member);
            out.extend_from_slice(&score.to_le_bytes());
            *done += 1;
        }
        true
    }
}

/// Writes a string compressed, if that is shorter.
fn compressed(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let mut shorter = Vec::new();
    if !lzf::compress(bytes, bytes.len() - COMPRESS_SAVES, &mut shorter) {
        return false;
    }
    out.push(COMPRESSED);
    put_length(out, shorter.len() as u64);
    put_length(out, bytes.len() as u64);
    out.extend_from_slice(&shorter);
    true
}
