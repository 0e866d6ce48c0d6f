//! What a key can hold, beyond the short strings and integers that lie in the entry itself.
//!
//! A further type is a further variant here and a file under `types/`: the compiler then shows
//! every place that must know of it.

use super::types::{Hash, List, Set, SortedSet, Stream};

/// A value with an allocation of its own.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string too long for the entry. Its spare capacity makes APPEND cheap.
    String(Vec<u8>),
    /// A list.
    List(List),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A set.
    Set(Set),
    /// A stream.
    Stream(Box<Stream>),
}

/// The type of a value, as TYPE names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `string`
    String,
    /// `list`
    List,
    /// `hash`
    Hash,
    /// `zset`
    SortedSet,
    /// `set`
    Set,
    /// `stream`
    Stream,
}

impl Type {
    /// Its name in TYPE's reply and SCAN's option.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
            Self::Set => "set",
            Self::Stream => "stream",
        }
    }
}

impl Value {
    /// Its type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::List(_) => Type::List,
            Self::Hash(_) => Type::Hash,
            Self::SortedSet(_) => Type::SortedSet,
            Self::Set(_) => Type::Set,
            Self::Stream(_) => Type::Stream,
        }
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::String(_) => "raw",
            Self::List(list) => list.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::SortedSet(set) => set.encoding(),
            Self::Set(set) => set.encoding(),
            Self::Stream(stream) => stream.encoding(),
        }
    }

    /// How many allocations freeing it gives back: what is worth handing to another thread.
    pub fn free_effort(&self) -> usize {
        match self {
            // Giving back many pages costs too: one per 64 KiB is about right.
            Self::String(bytes) => 1 + bytes.capacity() / (64 * 1024),
            Self::List(list) => list.free_effort(),
            Self::Hash(hash) => hash.free_effort(),
            Self::SortedSet(set) => set.free_effort(),
            Self::Set(set) => set.free_effort(),
            Self::Stream(stream) => stream.free_effort(),
        }
    }

    /// Bytes on the heap; for large collections an estimate from a few of their elements.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::String(bytes) => bytes.capacity(),
            Self::List(list) => list.heap_bytes(),
            Self::Hash(hash) => hash.heap_bytes(),
            Self::SortedSet(set) => set.heap_bytes(),
            Self::Set(set) => set.heap_bytes(),
            Self::Stream(stream) => stream.heap_bytes(),
        }
    }
}
