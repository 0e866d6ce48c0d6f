//! A primary that comes back without all of its data, while a replica may have it.
//!
//! A primary that keeps nothing on disk and is started again at once would be taken for the old
//! one: its replicas would copy its emptiness. One that has lost its last second with the power, or
//! all since its last snapshot in a crash, would have them copy its older data. So it keeps silent for a
//! while. The others miss it, elect a replica that has the data, and the claim of that one makes this
//! node its replica. If none comes, there was nothing to save: it serves what it has, and says so.

use super::{LinkId, Member};
use crate::clock::Now;
use std::time::{Duration, Instant};

/// An election takes at most so many node timeouts
const ELECTION_TIMEOUTS: u32 = 2;
/// and so long.
const ELECTION_REST: Duration = Duration::from_secs(5);
/// Nodes that live dial one that has come back ten times a second: most primaries are heard by then.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// What a node has of its data when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAtStart {
    /// All that clients were told is done.
    Whole,
    /// It may be of before the node ended: what came last was not on disk.
    MaybeOld,
    /// There is none.
    Empty,
}

/// The silence of a node that lets a replica take over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    since: Instant,
    until: Instant,
    data: DataAtStart,
}

impl Member {
    /// To be called once the data has been loaded, before any client is served. Others may have been spoken with
    /// meanwhile: the silence is long enough for an election from then on.
    pub fn guard_restart(&mut self, now: Now, data: DataAtStart) {
        let myself = super::NodeKey::MYSELF;
        let may_be_saved = self.view.replicas_of(myself).next().is_some();
        let (wanted, what, directive) = match data {
            DataAtStart::Whole => return,
            DataAtStart::MaybeOld => (
                self.options.stale_restart_guard,
                "without an orderly end before, and its last writes may not be on disk",
                "cluster-stale-restart-guard",
            ),
            DataAtStart::Empty => (
                self.options.empty_restart_guard,
                "with an empty data set",
                "cluster-empty-restart-guard",
            ),
        };
        if wanted && self.view.myself().is_voter() && may_be_saved {
            let limit = self.options.node_timeout * ELECTION_TIMEOUTS + ELECTION_REST;
            self.guard = Some(Guard { since: now.instant, until: now.instant + limit, data });
            tracing::warn!(
                "This node owns slots but has started {what}, and a replica may have the data: \
                 waiting up to {limit:?} for it to take over ({directive})."
            );
        }
    }

    /// Whether this node keeps silent because a replica may have its data. It serves nobody.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Ends the silence when somebody took over, or nobody did in time.
    pub(super) fn look_after_guard(&mut self, now: Now) {
        let Some(guard) = self.guard else { return };
        if self.view.myself().is_replica() {
            tracing::info!("A replica has taken over with the data that this node had lost.");
        } else if now.instant >= guard.until {
            tracing::warn!(
                "No replica has taken over: this node serves its slots with what it has."
            );
        } else if self.waits_in_vain(now, guard) {
            tracing::warn!(
                "Too few primaries live to elect a replica: this node serves its slots with what it has."
            );
        } else {
            return;
        }
        self.guard = None;
        self.recheck_state = true;
        // What the others did meanwhile is not known: their silence counts from here.
        for key in self.view.other_keys() {
            let node = self.view.node_mut(key);
            node.ping_sent = None;
            node.pong_received = Some(now);
        }
        self.close_unanswered();
    }

    /// Whether nobody can be elected, as most primaries are silent too: all of a cluster has lost its
    /// power, say, and each would wait for the others. With no data at all it is worth the whole wait.
    fn waits_in_vain(&self, now: Now, guard: Guard) -> bool {
        if guard.data == DataAtStart::Empty || now.instant < guard.since + HEARD_WITHIN {
            return false;
        }
        let heard = |at: Option<Now>| at.is_some_and(|at| at.instant >= guard.since);
        let voters = || self.view.others().filter(|(_, node)| node.is_voter());
        let living = voters().filter(|(_, node)| heard(node.data_received)).count();
        let all = voters().count() + 1;
        living <= all / 2
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
