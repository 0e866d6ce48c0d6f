//! The word of an entry that is no short string: an integer, or what owns the value.
//!
//! Which of them it is, the entry's meta word says, so that the value itself needs no more than a
//! pointer. That is a union: whoever reads it vouches for the kind.

#![allow(unsafe_code, reason = "a union whose kind is kept elsewhere: see above")]

use super::types::{Hash, List, Set, SortedSet, Stream};
use super::value::{Value, ValueMut, ValueRef};
use std::mem::ManuallyDrop;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A string that lies in the entry: there is no payload.
    Embedded = 0,
    Int = 1,
    String = 2,
    List = 3,
    Hash = 4,
    SortedSet = 5,
    Set = 6,
    Stream = 7,
}

impl Kind {
    /// The kind that the lowest three bits stand for.
    #[inline]
    pub(super) fn of_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::Embedded,
            1 => Self::Int,
            2 => Self::String,
            3 => Self::List,
            4 => Self::Hash,
            5 => Self::SortedSet,
            6 => Self::Set,
            _ => Self::Stream,
        }
    }
}

/// A word of some kind. It does not drop what it owns: [`Payload::take`] it.
#[repr(C)]
#[allow(clippy::box_collection, reason = "each kind is one word")]
pub(super) union Payload {
    int: i64,
    string: ManuallyDrop<Box<Vec<u8>>>,
    list: ManuallyDrop<List>,
    hash: ManuallyDrop<Hash>,
    sorted_set: ManuallyDrop<SortedSet>,
    set: ManuallyDrop<Set>,
    stream: ManuallyDrop<Box<Stream>>,
}

const _: () = assert!(size_of::<Payload>() == 8 && align_of::<Payload>() == 8);

impl Payload {
    pub(super) const fn int(int: i64) -> Self {
        Self { int }
    }

    pub(super) fn of(value: Value) -> (Kind, Self) {
        match value {
            Value::String(it) => (Kind::String, Self { string: ManuallyDrop::new(it) }),
            Value::List(it) => (Kind::List, Self { list: ManuallyDrop::new(it) }),
            Value::Hash(it) => (Kind::Hash, Self { hash: ManuallyDrop::new(it) }),
            Value::SortedSet(it) => (Kind::SortedSet, Self { sorted_set: ManuallyDrop::new(it) }),
            Value::Set(it) => (Kind::Set, Self { set: ManuallyDrop::new(it) }),
            Value::Stream(it) => (Kind::Stream, Self { stream: ManuallyDrop::new(it) }),
        }
    }

    /// The value.
    ///
    /// # Safety
    /// It is of this kind, and the kind is not [`Kind::Embedded`].
    #[inline]
    pub(super) unsafe fn view(&self, kind: Kind) -> ValueRef<'_> {
        // SAFETY: the caller vouches for the kind.
        unsafe {
            match kind {
                Kind::Embedded => unreachable!("an embedded string has no payload"),
                Kind::Int => ValueRef::Int(self.int),
                Kind::String => ValueRef::String(&self.string),
                Kind::List => ValueRef::List(&self.list),
                Kind::Hash => ValueRef::Hash(&self.hash),
                Kind::SortedSet => ValueRef::SortedSet(&self.sorted_set),
                Kind::Set => ValueRef::Set(&self.set),
                Kind::Stream => ValueRef::Stream(&self.stream),
            }
        }
    }

    /// The value, to be changed; none if it is an integer.
    ///
    /// # Safety
    /// It is of this kind, and the kind is not [`Kind::Embedded`].
    #[inline]
    pub(super) unsafe fn view_mut(&mut self, kind: Kind) -> Option<ValueMut<'_>> {
        // SAFETY: the caller vouches for the kind.
        unsafe {
            Some(match kind {
                Kind::Embedded | Kind::Int => return None,
                Kind::String => ValueMut::String(&mut self.string),
                Kind::List => ValueMut::List(&mut self.list),
                Kind::Hash => ValueMut::Hash(&mut self.hash),
                Kind::SortedSet => ValueMut::SortedSet(&mut self.sorted_set),
                Kind::Set => ValueMut::Set(&mut self.set),
                Kind::Stream => ValueMut::Stream(&mut self.stream),
            })
        }
    }

    /// The value; none if it is an integer.
    ///
    /// # Safety
    /// It is of this kind, and nobody uses the value through a copy of this after.
    pub(super) unsafe fn take(self, kind: Kind) -> Option<Value> {
        // SAFETY: the caller vouches for the kind, and for there being no other owner.
        unsafe {
            Some(match kind {
                Kind::Embedded | Kind::Int => return None,
                Kind::String => Value::String(ManuallyDrop::into_inner(self.string)),
                Kind::List => Value::List(ManuallyDrop::into_inner(self.list)),
                Kind::Hash => Value::Hash(ManuallyDrop::into_inner(self.hash)),
                Kind::SortedSet => Value::SortedSet(ManuallyDrop::into_inner(self.sorted_set)),
                Kind::Set => Value::Set(ManuallyDrop::into_inner(self.set)),
                Kind::Stream => Value::Stream(ManuallyDrop::into_inner(self.stream)),
            })
        }
    }
}
