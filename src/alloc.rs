//! The allocator, and how many bytes it has given out: what a node calls its used memory.
//!
//! Resident memory stays high after a million keys were deleted, so a limit on it would refuse
//! writes for good. What is counted is what the program asked for. Each thread counts for itself
//! and tells the others in steps: an atomic addition for each allocation would cost more than
//! many an allocation does.

#![allow(unsafe_code, reason = "to stand between the program and its allocator")]

use libmimalloc_sys as mimalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// A thread tells what it has allocated or freed when that is more than this: the figure is off by
/// so much for each thread at most.
const STEP: i64 = 32 * 1024;

static TOLD: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static UNTOLD: Cell<i64> = const { Cell::new(0) };
}

/// Bytes that the program has allocated and not freed, off by at most 32 KiB for each thread; 0
/// where [`Counting`] is not the program's allocator.
pub fn allocated_bytes() -> u64 {
    u64::try_from(TOLD.load(Relaxed)).unwrap_or(0)
}

#[inline]
fn count(bytes: i64) {
    // A thread that is ending has no counter any more: what it frees then is told at once.
    let told = UNTOLD.try_with(|untold| {
        let sum = untold.get() + bytes;
        if sum.abs() < STEP {
            untold.set(sum);
        } else {
            untold.set(0);
            TOLD.fetch_add(sum, Relaxed);
        }
    });
    if told.is_err() {
        TOLD.fetch_add(bytes, Relaxed);
    }
}

/// The alignment that any block of such a size or more has: what C asks of `malloc`.
const NATURAL_ALIGN: usize = 16;

/// Whether a block has its alignment without a word about it.
#[inline]
fn is_natural(layout: Layout) -> bool {
    layout.align() <= NATURAL_ALIGN && layout.align() <= layout.size()
}

/// mimalloc, which is asked for an alignment only where it matters.
///
/// The crate of that name asks for it always, and mimalloc then takes up to 7 bytes more for words,
/// unless the size is a power of two or a block happens to be at hand: an entry of 96 bytes would
/// lie in a block of 112.
#[derive(Debug)]
pub struct Mimalloc;

// SAFETY: mimalloc's blocks are as large as they are asked for, and aligned as the layout says:
// because that is what was asked for, or because C's `malloc` gives no others (`is_natural`). A
// block that has changed its size by `realloc` still has its old alignment, as then the same holds
// for the new size or else it is asked for. None of these functions panics.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two will do.
        unsafe {
            if is_natural(layout) {
                mimalloc::mi_malloc(layout.size()).cast()
            } else {
                mimalloc::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if is_natural(layout) {
                mimalloc::mi_zalloc(layout.size()).cast()
            } else {
                mimalloc::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from mimalloc, whichever function it was.
        unsafe { mimalloc::mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`; the caller promises that the size fits the alignment.
        unsafe {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            if is_natural(new) {
                mimalloc::mi_realloc(block.cast(), size).cast()
            } else {
                mimalloc::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}

/// An allocator that counts what another one gives out.
#[derive(Debug)]
pub struct Counting<A>(pub A);

// SAFETY: every call goes to the inner allocator as it is; counting neither allocates nor panics,
// since the thread's counter is a plain cell that needs no set-up and no destructor.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the inner allocator asks for.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            count(layout.size() as i64);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            count(layout.size() as i64);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as in `alloc`; the block came from the inner allocator.
        unsafe { self.0.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        let moved = unsafe { self.0.realloc(block, layout, size) };
        if !moved.is_null() {
            count(size as i64 - layout.size() as i64);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn every_block_is_aligned_and_keeps_its_content() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            let blocks = (1..300).chain([4000, 70_000, 3 << 20]).map(|size| {
                let layout = Layout::from_size_align(size, align).expect("small");
                // SAFETY: each block is used with the layout that it has at that time.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                    block.write_bytes(7, size);
                    let grown = Mimalloc.realloc(block, layout, size * 3);
                    assert!(!grown.is_null() && grown.addr().is_multiple_of(align), "{layout:?}");
                    assert_eq!((*grown, *grown.add(size - 1)), (7, 7));
                    let layout = Layout::from_size_align(size * 3, align).expect("small");
                    let shrunk = Mimalloc.realloc(grown, layout, 1);
                    assert!(!shrunk.is_null() && shrunk.addr().is_multiple_of(align), "{layout:?}");
                    (shrunk, Layout::from_size_align(1, align).expect("small"))
                }
            });
            for (block, layout) in blocks.collect::<Vec<_>>() {
                // SAFETY: it is not used again.
                unsafe { Mimalloc.dealloc(block, layout) };
            }
        }
    }

    /// No other thread of this test binary counts: it runs on the system's allocator.
    #[test]
    fn what_is_freed_is_not_counted_any_more() {
        let counting = Counting(System);
        let layout = |size| Layout::from_size_align(size, 8).expect("small");
        let before = allocated_bytes();
        // SAFETY: every block is used with the layout that it has at that time.
        unsafe {
            let block = counting.alloc(layout(1 << 20));
            assert_eq!(allocated_bytes() - before, 1 << 20);
            let block = counting.realloc(block, layout(1 << 20), 3 << 20);
            assert_eq!(allocated_bytes() - before, 3 << 20);
            counting.dealloc(block, layout(3 << 20));
        }
        assert_eq!(allocated_bytes(), before);
    }
}
