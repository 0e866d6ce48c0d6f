//! The clients of all workers that are shown every command: which workers have any, and how much of
//! what they are to be shown is on its way between workers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the workers know together of clients that said MONITOR.
#[derive(Debug, Default)]
pub struct Monitors {
    by_worker: Mutex<BTreeMap<usize, usize>>,
    /// Bytes that other workers have not taken yet.
    under_way: AtomicUsize,
}

impl Monitors {
    /// A client of this worker is one from here on.
    pub(super) fn add(&self, worker: usize) {
        *self.lock().entry(worker).or_default() += 1;
    }

    /// One of this worker is none any more.
    pub(super) fn remove(&self, worker: usize) {
        let by_worker = &mut *self.lock();
        if let Some(count) = by_worker.get_mut(&worker) {
            *count -= 1;
            if *count == 0 {
                by_worker.remove(&worker);
            }
        }
    }

    /// The workers that have any.
    pub(super) fn workers(&self) -> Vec<usize> {
        self.lock().keys().copied().collect()
    }

    /// Room for `bytes` between workers, of `most` in all: false if there is none.
    pub(super) fn reserve(&self, bytes: usize, most: usize) -> bool {
        let before = self.under_way.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > most {
            self.release(bytes);
            return false;
        }
        true
    }

    /// `bytes` have been taken.
    pub(super) fn release(&self, bytes: usize) {
        self.under_way.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.by_worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
