//! What a key can hold, beyond the short strings and integers that lie in the entry itself.
//!
//! A further type is a further variant here and a file under `types/`: the compiler then shows
//! every place that must know of it.

use super::types::{Hash, List, Set, SortedSet, Stream};

/// A value with an allocation of its own, and one pointer to it.
#[derive(Debug, Clone)]
#[allow(clippy::box_collection, reason = "each kind is one word, as entries hold it")]
pub enum Value {
    /// A string too long for the entry. Its spare capacity makes APPEND cheap.
    String(Box<Vec<u8>>),
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

/// The value of an entry, to be read.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A string that is a canonical 64-bit integer.
    Int(i64),
    /// A string that lies in the entry; `raw` if it was changed in place.
    Embedded {
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether it was changed in place since it was set.
        raw: bool,
    },
    /// A string too long for the entry.
    String(&'a Vec<u8>),
    /// A list.
    List(&'a List),
    /// A hash.
    Hash(&'a Hash),
    /// A sorted set.
    SortedSet(&'a SortedSet),
    /// A set.
    Set(&'a Set),
    /// A stream.
    Stream(&'a Stream),
}

/// The value of an entry, to be changed in place: what is more than a short string.
#[derive(Debug)]
pub enum ValueMut<'a> {
    /// A string too long for the entry.
    String(&'a mut Vec<u8>),
    /// A list.
    List(&'a mut List),
    /// A hash.
    Hash(&'a mut Hash),
    /// A sorted set.
    SortedSet(&'a mut SortedSet),
    /// A set.
    Set(&'a mut Set),
    /// A stream.
    Stream(&'a mut Stream),
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
    /// A string.
    pub fn string(bytes: Vec<u8>) -> Self {
        Self::String(Box::new(bytes))
    }

    /// The value, to be read.
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Self::String(bytes) => ValueRef::String(bytes),
            Self::List(list) => ValueRef::List(list),
            Self::Hash(hash) => ValueRef::Hash(hash),
            Self::SortedSet(set) => ValueRef::SortedSet(set),
            Self::Set(set) => ValueRef::Set(set),
            Self::Stream(stream) => ValueRef::Stream(stream),
        }
    }
}

impl ValueRef<'_> {
    /// Its type.
    pub fn type_of(self) -> Type {
        match self {
            Self::Int(_) | Self::Embedded { .. } | Self::String(_) => Type::String,
            Self::List(_) => Type::List,
            Self::Hash(_) => Type::Hash,
            Self::SortedSet(_) => Type::SortedSet,
            Self::Set(_) => Type::Set,
            Self::Stream(_) => Type::Stream,
        }
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(self) -> &'static str {
        /// The longest string that Redis embeds in its object: what clients know as embstr.
        const EMBSTR_MAX: usize = 44;
        match self {
            Self::Int(_) => "int",
            Self::Embedded { bytes, raw: false } if bytes.len() <= EMBSTR_MAX => "embstr",
            Self::Embedded { .. } | Self::String(_) => "raw",
            Self::List(list) => list.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::SortedSet(set) => set.encoding(),
            Self::Set(set) => set.encoding(),
            Self::Stream(stream) => stream.encoding(),
        }
    }

    /// Buckets of its table, if it is kept in one: those being left by a resize, and those in use.
    /// And how many elements are in it.
    pub fn buckets(self) -> Option<((usize, usize), usize)> {
        match self {
            Self::Hash(hash) => Some((hash.buckets()?, hash.len())),
            Self::SortedSet(set) => Some((set.buckets()?, set.len())),
            Self::Set(set) => Some((set.buckets()?, set.len())),
            Self::Int(_)
            | Self::Embedded { .. }
            | Self::String(_)
            | Self::List(_)
            | Self::Stream(_) => None,
        }
    }

    /// How many allocations freeing it gives back: what is worth handing to another thread.
    pub fn free_effort(self) -> usize {
        match self {
            Self::Int(_) | Self::Embedded { .. } => 0,
            // Giving back many pages costs too: one per 64 KiB is about right.
            Self::String(bytes) => 1 + bytes.capacity() / (64 * 1024),
            Self::List(list) => list.free_effort(),
            Self::Hash(hash) => hash.free_effort(),
            Self::SortedSet(set) => set.free_effort(),
            Self::Set(set) => set.free_effort(),
            Self::Stream(stream) => stream.free_effort(),
        }
    }

    /// Bytes on the heap outside of the entry; for large collections an estimate from a few of
    /// their elements.
    pub fn heap_bytes(self) -> usize {
        match self {
            Self::Int(_) | Self::Embedded { .. } => 0,
            Self::String(bytes) => size_of::<Vec<u8>>() + bytes.capacity(),
            Self::List(list) => list.heap_bytes(),
            Self::Hash(hash) => hash.heap_bytes(),
            Self::SortedSet(set) => set.heap_bytes(),
            Self::Set(set) => set.heap_bytes(),
            Self::Stream(stream) => stream.heap_bytes(),
        }
    }
}
