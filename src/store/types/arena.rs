//! Things that point at each other by number: one allocation for many of them, and 32 bits for a
//! pointer.
//!
//! It grows a chunk at a time, so that no insertion pays for a copy of all that is there. A place
//! that is given back is used again before the arena grows.

use std::ops::{Index, IndexMut};

/// No place.
pub(super) const NONE: u32 = u32::MAX;
/// Places of a chunk, as a power of two; the first one starts smaller.
const CHUNK_BITS: u32 = 9;
const CHUNK: usize = 1 << CHUNK_BITS;

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// The next free one.
    Free(u32),
}

/// See above.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Place<T>>>,
    free: u32,
    len: usize,
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0 }
    }

    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn place(&self, at: u32) -> &Place<T> {
        &self.chunks[(at >> CHUNK_BITS) as usize][at as usize & (CHUNK - 1)]
    }

    fn place_mut(&mut self, at: u32) -> &mut Place<T> {
        &mut self.chunks[(at >> CHUNK_BITS) as usize][at as usize & (CHUNK - 1)]
    }

    /// Takes a place.
    pub(super) fn add(&mut self, thing: T) -> u32 {
        self.len += 1;
        if self.free != NONE {
            let at = self.free;
            if let Place::Free(next) = std::mem::replace(self.place_mut(at), Place::Taken(thing)) {
                self.free = next;
            }
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            let first = self.chunks.is_empty();
            self.chunks.push(Vec::with_capacity(if first { 4 } else { CHUNK }));
        }
        let chunks = self.chunks.len() - 1;
        let chunk = &mut self.chunks[chunks];
        chunk.push(Place::Taken(thing));
        assert!(chunks < (NONE >> CHUNK_BITS) as usize, "an arena has fewer than 2^32 places");
        (chunks << CHUNK_BITS | (chunk.len() - 1)) as u32
    }

    /// Gives a place back.
    ///
    /// # Panics
    /// If it is not taken.
    pub(super) fn remove(&mut self, at: u32) -> T {
        let free = self.free;
        let Place::Taken(thing) = std::mem::replace(self.place_mut(at), Place::Free(free)) else {
            unreachable!("a place is given back once");
        };
        self.free = at;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        }
        thing
    }

    /// Bytes on the heap, without what its things own.
    pub(super) fn heap_bytes(&self) -> usize {
        let places: usize = self.chunks.iter().map(Vec::capacity).sum();
        places * size_of::<Place<T>>() + self.chunks.capacity() * size_of::<Vec<Place<T>>>()
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: u32) -> &T {
        match self.place(at) {
            Place::Taken(thing) => thing,
            Place::Free(_) => unreachable!("nothing points at a free place"),
        }
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, at: u32) -> &mut T {
        match self.place_mut(at) {
            Place::Taken(thing) => thing,
            Place::Free(_) => unreachable!("nothing points at a free place"),
        }
    }
}
