//! The data of one host, as far as elections care for it: what was written, in order.
//!
//! Copying is not simulated packet by packet: a replica that can reach its primary has, a moment
//! later, all that its primary had. What was not synced to disk is lost in a crash.

use keyway::bus::Replication;
use std::time::Instant;

/// Bytes of the replication stream per write.
const BYTES_PER_WRITE: u64 = 10;

#[derive(Default)]
pub(crate) struct Data {
    log: Vec<u64>,
    synced: usize,
    source: Option<usize>,
    linked: bool,
    heard: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Data {
    pub(crate) fn replication(&self) -> Replication {
        let offset = self.log.len() as u64 * BYTES_PER_WRITE;
        Replication { offset, heard: self.heard, linked: self.linked }
    }

    pub(crate) fn log(&self) -> &[u64] {
        &self.log
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }

    pub(crate) fn source(&self) -> Option<usize> {
        self.source
    }

    pub(crate) fn follow(&mut self, source: Option<usize>) {
        self.source = source;
        self.linked = false;
        self.heard = None;
    }

    pub(crate) fn lose_link(&mut self) {
        self.linked = false;
    }

    pub(crate) fn copy(&mut self, theirs: &Self, now: Instant) {
        if theirs.log.starts_with(&self.log) {
            self.log.extend_from_slice(&theirs.log[self.log.len()..]);
        } else {
            // Not a prefix of the primary's: a full copy takes its place.
            self.log.clone_from(&theirs.log);
            self.synced = 0;
        }
        self.linked = true;
        self.heard = Some(now);
    }

    pub(crate) fn write(&mut self, what: u64) {
        self.log.push(what);
    }

    pub(crate) fn pause(&mut self, until: Option<Instant>) {
        self.paused_until = until;
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    pub(crate) fn fsync(&mut self) {
        self.synced = self.log.len();
    }

    /// What was not synced is gone, and so is what only the process knew.
    pub(crate) fn crash(&mut self) {
        self.log.truncate(self.synced);
        *self = Self { log: std::mem::take(&mut self.log), synced: self.synced, ..Self::default() };
    }

    /// A node that keeps nothing on disk has lost all.
    pub(crate) fn lose_all(&mut self) {
        self.log.clear();
        self.synced = 0;
    }
}
