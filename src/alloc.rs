//! The allocator, and how many bytes it has given out: what a node calls its used memory.
//!
//! Resident memory stays high after a million keys were deleted, so a limit on it would refuse
//! writes for good. What is counted is what the program asked for. Each thread counts for itself
//! and tells the others in steps: an atomic addition for each allocation would cost more than
//! many an allocation does.

#![allow(unsafe_code, reason = "to stand between the program and its allocator")]

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
