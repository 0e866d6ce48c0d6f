//! A thread that gives files to the disk, so that nobody waits for it.

use crate::replication::Offset;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

/// Files in the order in which they were written, and up to where in the stream they are written.
type Job = (Vec<Arc<File>>, Offset);

/// See above.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Sender<Job>,
    busy: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    synced: Arc<AtomicU64>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, incoming) = channel::<Job>();
        let (busy, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let synced = Arc::<AtomicU64>::default();
        let syncer =
            Self { jobs, busy: busy.clone(), failed: failed.clone(), synced: synced.clone() };
        std::thread::Builder::new().name("sync".into()).spawn(move || {
            for (files, offset) in incoming {
                match files.iter().try_for_each(|file| file.sync_data()) {
                    Ok(()) => synced.store(offset, Ordering::Relaxed),
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                busy.store(false, Ordering::Release);
            }
        })?;
        Ok(syncer)
    }

    /// Whether it waits for the disk.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Whether it has failed since this was asked last.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.swap(false, Ordering::Relaxed)
    }

    /// Up to where in the stream the disk has everything.
    pub(super) fn synced(&self) -> Offset {
        self.synced.load(Ordering::Relaxed)
    }

    /// Lets it work. Only while it is not busy.
    pub(super) fn sync(&self, files: Vec<Arc<File>>, written: Offset) {
        self.busy.store(true, Ordering::Release);
        // The thread lives as long as this does.
        let _ = self.jobs.send((files, written));
    }
}
