//! A primary that comes back without its data, while a replica may have it.
//!
//! A primary that keeps nothing on disk and is started again at once would be taken for the old
//! one: its replicas would copy its emptiness. So it keeps silent for a while. The others miss it,
//! elect a replica that has the data, and the claim of that one makes this node its replica. If
//! none comes, there was nothing to save: it serves, empty, and says so.

use super::{LinkId, Member};
use crate::clock::Now;
use std::time::Duration;

/// An election takes at most so many node timeouts
const ELECTION_TIMEOUTS: u32 = 2;
/// and so long.
const ELECTION_REST: Duration = Duration::from_secs(5);

impl Member {
    /// To be called once the data has been loaded, before the first input. `is_empty`: there was
    /// none.
    pub fn guard_if_empty(&mut self, now: Now, is_empty: bool) {
        let myself = super::NodeKey::MYSELF;
        let may_be_saved = self.view.replicas_of(myself).next().is_some();
        let wanted = self.options.empty_restart_guard && self.view.myself().is_voter();
        if wanted && is_empty && may_be_saved {
            let limit = self.options.node_timeout * ELECTION_TIMEOUTS + ELECTION_REST;
            self.guarded_until = Some(now.instant + limit);
            tracing::warn!(
                "This node owns slots but has started with an empty data set, and a replica may \
                 have the data: waiting up to {limit:?} for it to take over \
                 (cluster-empty-restart-guard)."
            );
        }
    }

    /// Whether this node keeps silent because a replica may have its data. It serves nobody.
    pub fn is_guarded(&self) -> bool {
        self.guarded_until.is_some()
    }

    /// Ends the silence when somebody took over, or nobody did in time.
    pub(super) fn look_after_guard(&mut self, now: Now) {
        let Some(until) = self.guarded_until else { return };
        if self.view.myself().is_replica() {
            self.guarded_until = None;
            tracing::info!("A replica has taken over with the data that this node had lost.");
        } else if now.instant >= until {
            self.guarded_until = None;
            tracing::warn!("No replica has taken over: this node serves its slots without data.");
        } else {
            return;
        }
        self.recheck_state = true;
        // What the others did meanwhile is not known: their silence counts from here.
        for key in self.view.other_keys() {
            let node = self.view.node_mut(key);
            node.ping_sent = None;
            node.pong_received = Some(now);
        }
        self.close_unanswered();
    }

    /// Closes the links on which others asked and heard nothing. They would wait for that answer and not
    /// ask again, and miss this node all the while: they dial and ask anew at once instead.
    fn close_unanswered(&mut self) {
        let theirs: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| !link.outbound).map(|(id, _)| *id).collect();
        for link in theirs {
            self.close(link);
        }
    }
}
