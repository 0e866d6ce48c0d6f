//! A boxed byte string behind one pointer: its length lies in front of the bytes.
//!
//! `Box<[u8]>` keeps the length beside the pointer, and `Vec<u8>` the capacity too, which makes them
//! two and three words wherever they are held. A table bucket holds six entries in one cache line
//! only if an entry is one word, and a small collection needs no box of its own only if it is: each
//! word more costs every key 16 bytes, the step of the allocator.
//!
//! ```text
//! total length: u32, little-endian, itself included | content
//! ```
//! This is how a listpack begins, so a listpack in memory is its own header. How much is allocated
//! follows from the length (see [`block`]): nothing needs to say it, and most changes of the length
//! need no call of the allocator.

#![allow(unsafe_code, reason = "a pointer of one word to bytes of any length: see above")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

/// Bytes of any length up to [`Thin::CONTENT_MAX`], owned, behind a pointer of one word.
#[repr(transparent)]
pub(super) struct Thin {
    /// Points at the total length; the content follows.
    start: NonNull<u32>,
}

/// Bytes in front of the content.
pub(super) const HEADER: usize = size_of::<u32>();
/// The address is a multiple of this, so that content can hold an aligned word.
pub(super) const ALIGN: usize = 8;

// SAFETY: it owns what it points to, as a `Box<[u8]>` does, and shares it with nobody.
unsafe impl Send for Thin {}
// SAFETY: `&Thin` only gives `&[u8]`.
unsafe impl Sync for Thin {}

/// What is allocated for so many bytes: the size that mimalloc and jemalloc would round them up to,
/// which is 8, a multiple of 16 up to 128, and four sizes per doubling beyond.
#[inline]
fn block(total: usize) -> usize {
    if total <= 8 {
        return 8;
    }
    let step = 1 << (((total - 1) | 64).ilog2() - 2);
    total.next_multiple_of(step)
}

#[inline]
fn layout(total: usize) -> Layout {
    Layout::from_size_align(block(total), ALIGN).expect("below isize::MAX")
}

fn checked_total(len: usize) -> usize {
    assert!(len <= Thin::CONTENT_MAX, "thin bytes are below 4 GiB");
    HEADER + len
}

impl Thin {
    /// The longest content.
    pub(super) const CONTENT_MAX: usize = u32::MAX as usize - HEADER;

    /// The parts one after the other.
    pub(super) fn concat(parts: &[&[u8]]) -> Self {
        let total = checked_total(parts.iter().map(|part| part.len()).sum());
        let layout = layout(total);
        // SAFETY: the layout is not empty, it has at least the header.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        let start = start.cast::<u32>();
        // SAFETY: the allocation is aligned for a u32 and has room for it.
        unsafe { start.write((total as u32).to_le()) };
        // SAFETY: the content starts HEADER bytes into the allocation.
        let mut at = unsafe { start.cast::<u8>().add(HEADER) };
        for part in parts {
            // SAFETY: the parts' lengths and the header add up to `total`, so each write stays
            // inside, and fresh memory cannot overlap a part. `at` ends at most one past it.
            unsafe {
                at.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len());
                at = at.add(part.len());
            }
        }
        Self { start }
    }

    #[inline]
    fn total(&self) -> usize {
        // SAFETY: `start` points at the initialised length for as long as `self` lives.
        u32::from_le(unsafe { self.start.read() }) as usize
    }

    /// Bytes of the content.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.total() - HEADER
    }

    /// The content with the length in front of it.
    #[inline]
    pub(super) fn whole(&self) -> &[u8] {
        // SAFETY: `total` bytes are initialised, the header's among them; borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>().as_ptr(), self.total()) }
    }

    /// The content.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes follow the header, borrowed as long as `self`.
        unsafe {
            std::slice::from_raw_parts(self.start.cast::<u8>().add(HEADER).as_ptr(), self.len())
        }
    }

    /// The content, to be changed.
    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes it the only borrow. The length is not in it.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.cast::<u8>().add(HEADER).as_ptr(), self.len())
        }
    }

    /// Cuts the content at `len`, or adds zeros up to it.
    #[inline]
    pub(super) fn resize(&mut self, len: usize) {
        let (old, total) = (self.total(), checked_total(len));
        if block(old) != block(total) {
            self.reallocate(old, total);
        }
        // SAFETY: the length lies at the start, and bytes from `old` up to `total` are inside of
        // the allocation, which has as many as `block` says.
        unsafe {
            self.start.write((total as u32).to_le());
            if total > old {
                self.start.cast::<u8>().add(old).write_bytes(0, total - old);
            }
        }
    }

    fn reallocate(&mut self, old: usize, total: usize) {
        let wanted = layout(total);
        // SAFETY: `start` was allocated with the layout of its length, and the size is not zero.
        let start = unsafe {
            NonNull::new(realloc(self.start.cast().as_ptr(), layout(old), wanted.size()))
        };
        let Some(start) = start else { handle_alloc_error(wanted) };
        self.start = start.cast();
    }

    /// Makes room for `room` bytes in place of those from `start` to `end` of the content, moves what
    /// follows, and gives the room to be written.
    #[inline]
    pub(super) fn splice(&mut self, start: usize, end: usize, room: usize) -> &mut [u8] {
        let (old, len) = (end - start, self.len());
        if room > old {
            self.resize(len + (room - old));
        }
        if room != old {
            self.bytes_mut().copy_within(end..len, start + room);
        }
        if room < old {
            self.resize(len - (old - room));
        }
        &mut self.bytes_mut()[start..start + room]
    }

    /// Adds the parts at the end.
    pub(super) fn extend(&mut self, parts: &[&[u8]]) {
        let mut at = self.len();
        self.resize(at + parts.iter().map(|part| part.len()).sum::<usize>());
        for part in parts {
            self.bytes_mut()[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        block(self.total())
    }
}

/// What is a [`Thin`] and nothing else, so that a place that holds the one can be seen as the other.
///
/// # Safety
/// The type is `repr(transparent)` around a [`Thin`], and is safe to use whatever its bytes are: it
/// may panic.
pub(super) unsafe trait Compact: Sized {
    /// The same bytes, seen as this.
    #[inline]
    fn of(thin: &Thin) -> &Self {
        // SAFETY: the layout is the same, as the trait demands.
        unsafe { &*std::ptr::from_ref(thin).cast() }
    }

    /// The same bytes, seen as this, to be changed.
    #[inline]
    fn of_mut(thin: &mut Thin) -> &mut Self {
        // SAFETY: the layout is the same, as the trait demands.
        unsafe { &mut *std::ptr::from_mut(thin).cast() }
    }
}

// SAFETY: it is one.
unsafe impl Compact for Thin {}

impl Clone for Thin {
    fn clone(&self) -> Self {
        Self::concat(&[self.bytes()])
    }
}

impl PartialEq for Thin {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Thin {}

impl Drop for Thin {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody uses it after.
        unsafe { dealloc(self.start.cast().as_ptr(), layout(self.total())) };
    }
}

impl std::fmt::Debug for Thin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Thin({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_one_word_even_where_it_may_be_missing() {
        assert_eq!(size_of::<Option<Thin>>(), size_of::<usize>());
    }

    #[test]
    fn blocks_are_the_sizes_of_the_allocator() {
        let sizes = [8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512];
        for total in 1..=512 {
            let fitting = sizes.into_iter().find(|size| *size >= total);
            assert_eq!(Some(block(total)), fitting, "{total} bytes");
        }
        assert_eq!((block(4096), block(4097)), (4096, 5120));
        assert_eq!(block(u32::MAX as usize), 1 << 32);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Resize(usize),
        Splice(usize, usize, Vec<u8>),
        Extend(Vec<u8>, Vec<u8>),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let op = prop_oneof![
            1 => (0usize..2000).prop_map(Op::Resize),
            4 => (any::<usize>(), 0usize..60, bytes()).prop_map(|(at, n, b)| Op::Splice(at, n, b)),
            2 => (bytes(), bytes()).prop_map(|(a, b)| Op::Extend(a, b)),
        ];
        proptest::collection::vec(op, 0..40)
    }

    proptest! {
        #[test]
        fn it_holds_what_a_vector_holds(ops in ops()) {
            let (mut thin, mut model) = (Thin::concat(&[]), Vec::new());
            for op in ops {
                match op {
                    Op::Resize(len) => {
                        thin.resize(len);
                        model.resize(len, 0);
                    }
                    Op::Splice(at, count, bytes) => {
                        let start = at % (model.len() + 1);
                        let end = (start + count).min(model.len());
                        thin.splice(start, end, bytes.len()).copy_from_slice(&bytes);
                        model.splice(start..end, bytes);
                    }
                    Op::Extend(first, second) => {
                        thin.extend(&[&first, &second]);
                        model.extend(first.into_iter().chain(second));
                    }
                }
                prop_assert_eq!(thin.bytes(), &model[..]);
                prop_assert_eq!(&thin.whole()[..4], ((model.len() + 4) as u32).to_le_bytes());
            }
            prop_assert_eq!(&thin.clone(), &thin);
            let twice = Thin::concat(&[&model, b"", &model]);
            prop_assert_eq!(twice.bytes(), model.repeat(2));
        }
    }
}
