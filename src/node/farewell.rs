//! An orderly end: what clients were told is done reaches the replicas first, so that the one which takes
//! this node's place has it.
//!
//! Writes are held back (their clients see the connection end and know no more than that), replicas are
//! asked how far they are, and the end comes when all of them have everything or `shutdown-timeout`
//! has passed.

use super::core::Core;
use crate::clock::Now;
use crate::replication::{Offset, Stage};
use std::time::Duration;

/// Longer than anybody waits: writes that are held back now are never run.
const FOR_GOOD: Duration = Duration::from_secs(24 * 60 * 60);

impl Core {
    /// Begins the end. Gives the place in the stream that replicas must have reached, and how long they
    /// may take; none where nobody has to be waited for.
    pub fn begin_farewell(&mut self, now: Now) -> Option<(Offset, Duration)> {
        let seconds = self.server.directives.number("shutdown-timeout");
        let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let end = self.server.replication.history().offset();
        if limit.is_zero() || self.replicas_behind(end).0 == 0 {
            return None;
        }
        self.pause_writes(Some(now.instant + FOR_GOOD));
        self.server.ask_replicas_for_acks();
        tracing::info!("Waiting for replicas before shutting down.");
        Some((end, limit))
    }

    /// How many replicas have not acknowledged the stream up to `end`, and how many there are.
    pub fn replicas_behind(&self, end: Offset) -> (usize, usize) {
        let replicas = || self.server.replication.replicas();
        let online = replicas().filter(|replica| replica.stage == Stage::Online);
        (online.filter(|replica| replica.acked < end).count(), replicas().count())
    }
}
