//! An orderly end: what clients were told is done reaches the replicas first, so that the one which takes
//! this node's place has it.
//!
//! Writes are held back by then ([`Core::prepare_end`]); replicas are asked how far they are, and the end comes
//! when all of them have everything or `shutdown-timeout` has passed.

use super::core::Core;
use crate::replication::{Offset, Stage};
use std::time::Duration;

impl Core {
    /// Begins the end. Gives the place in the stream that replicas must have reached, and how long they
    /// may take; none where nobody has to be waited for.
    pub fn begin_farewell(&mut self) -> Option<(Offset, Duration)> {
        let seconds = self.server.directives.number("shutdown-timeout");
        let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let end = self.server.replication.history().offset();
        if limit.is_zero() || self.replicas_behind(end).0 == 0 {
            return None;
        }
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
