//! A boxed byte string behind one pointer: its length lies in front of the bytes.
//!
//! `Box<[u8]>` keeps the length beside the pointer, which makes it 16 bytes wherever it is held.
//! A table bucket holds six entries in one cache line only if an entry is one word: the second word
//! would cost every key and every field 8 bytes and more, as buckets are not full. This is the one
//! reason for the `unsafe` below, and all of it that the data structures need.

#![allow(unsafe_code, reason = "a pointer of one word to bytes of any length: see above")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

/// Bytes of any length up to `u32::MAX`, owned, behind a pointer of one word.
pub(super) struct Thin {
    /// Points at the length, a `u32`; that many bytes follow.
    start: NonNull<u32>,
}

/// Bytes in front of the content.
const HEADER: usize = size_of::<u32>();

// SAFETY: it owns what it points to, as a `Box<[u8]>` does, and shares it with nobody.
unsafe impl Send for Thin {}
// SAFETY: `&Thin` only gives `&[u8]`.
unsafe impl Sync for Thin {}

fn layout(len: usize) -> Layout {
    assert!(len <= u32::MAX as usize, "thin bytes are below 4 GiB");
    Layout::from_size_align(HEADER + len, align_of::<u32>()).expect("below isize::MAX")
}

impl Thin {
    /// The parts one after the other.
    pub(super) fn concat(parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        let layout = layout(len);
        // SAFETY: the layout is not empty, it has at least the header.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        let start = start.cast::<u32>();
        // SAFETY: the allocation is aligned for a u32 and has room for it.
        unsafe { start.write(len as u32) };
        // SAFETY: the content starts HEADER bytes into the allocation.
        let mut at = unsafe { start.cast::<u8>().add(HEADER) };
        for part in parts {
            // SAFETY: the parts' lengths add up to `len`, so each write stays inside, and fresh
            // memory cannot overlap a part. `at` ends at most one past the allocation.
            unsafe {
                at.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len());
                at = at.add(part.len());
            }
        }
        Self { start }
    }

    #[inline]
    fn len(&self) -> usize {
        // SAFETY: `start` points at the initialised length for as long as `self` lives.
        unsafe { self.start.read() as usize }
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
        // SAFETY: as in `bytes`, and `&mut self` makes it the only borrow.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.cast::<u8>().add(HEADER).as_ptr(), self.len())
        }
    }

    /// Cuts the content at `len`, or adds zeros up to it.
    pub(super) fn resize(&mut self, len: usize) {
        let old = self.len();
        let new_layout = layout(len);
        // SAFETY: `start` was allocated with the layout of its length, and the size is not zero.
        let start = unsafe {
            NonNull::new(realloc(self.start.cast().as_ptr(), layout(old), new_layout.size()))
        };
        let Some(start) = start else { handle_alloc_error(new_layout) };
        self.start = start.cast();
        // SAFETY: the length lies at the start, and bytes from `old` up to `len` are inside of
        // the allocation, which realloc has made as long as the layout says.
        unsafe {
            self.start.write(len as u32);
            if len > old {
                start.add(HEADER + old).write_bytes(0, len - old);
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        HEADER + self.len()
    }
}

impl Drop for Thin {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody uses it after.
        unsafe { dealloc(self.start.cast().as_ptr(), layout(self.len())) };
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

    #[test]
    fn it_is_one_word_even_where_it_may_be_missing() {
        assert_eq!(size_of::<Option<Thin>>(), size_of::<usize>());
    }

    #[test]
    fn it_holds_what_it_is_given_through_any_change_of_length() {
        let mut thin = Thin::concat(&[b"ab", b"", b"cde"]);
        assert_eq!(thin.bytes(), b"abcde");
        thin.resize(7);
        assert_eq!(thin.bytes(), b"abcde\0\0");
        thin.bytes_mut()[6] = b'x';
        thin.resize(100_000);
        assert_eq!(&thin.bytes()[..8], b"abcde\0x\0");
        thin.resize(2);
        assert_eq!(thin.bytes(), b"ab");
        thin.resize(0);
        assert_eq!(thin.bytes(), b"");
        assert_eq!(Thin::concat(&[]).bytes(), b"");
    }
}
