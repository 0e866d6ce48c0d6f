//! The votes of one epoch: who is asked, who is asked again, and when there is nothing left to wait for.
//!
//! A request or a vote is lost when its link is replaced just then, and a voter that has not heard of
//! the failure yet says no and nothing more. So whoever has not voted is asked again, in the same
//! epoch: a voter gives one vote in it, however often it is asked. What cannot be mended that way is
//! an epoch that is over: others have taken a newer one, in which the votes of this one are refused.
//!
//! The votes are waited for from when the request has left, which is behind the disk: a replica that
//! began to wait when it had the wish would have stopped before anybody had heard of it.

use super::failure::UNDO_FAIL_TIMEOUTS;
use super::{Body, Header, LinkId, Member, NodeKey, Packet};
use crate::clock::Now;
use crate::cluster::{Durable, Epoch};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Who has not voted is asked again so often.
const REPEAT_EVERY: Duration = Duration::from_millis(500);
/// Votes are under way for less than that: what is not decided by then, in an epoch that is over, will
/// not be.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// What a replica has asked in one epoch, and what came of it.
#[derive(Debug)]
pub(super) struct Ballot {
    pub(super) epoch: Epoch,
    votes: BTreeSet<NodeKey>,
    /// When it was decided to ask.
    decided: Instant,
    /// When the request left: the epoch is on disk before that.
    left: Option<Instant>,
    repeat_at: Instant,
    /// The epoch is over, or two elections have split its votes: if this one is not won by then, it asks
    /// in another after that pause.
    over: Option<(Instant, Duration)>,
    /// Another replica of our primary has asked since: it is its turn.
    yields: bool,
}

/// What is on disk, of what others build upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SavedEpochs {
    current: Epoch,
    vote: Epoch,
}

impl Ballot {
    /// How long the votes have been waited for; `None` before the request has left.
    pub(super) fn age(&self, now: Now) -> Option<Duration> {
        Some(now.instant.saturating_duration_since(self.left?))
    }

    pub(super) fn votes(&self) -> usize {
        self.votes.len()
    }

    /// How long votes may be under way: a disk like ours may be in their way.
    fn under_way(&self) -> Duration {
        let left = self.left.unwrap_or(self.decided);
        UNDER_WAY.max(left.saturating_duration_since(self.decided))
    }

    /// The pause before the next epoch, if it is time for that.
    pub(super) fn is_over(&self, now: Now) -> Option<Duration> {
        self.over.filter(|(at, _)| now.instant >= *at).map(|(_, pause)| pause)
    }

    /// Whoever stands in the same epoch takes votes that this one lacks.
    pub(super) fn is_split(&mut self, now: Now, pause: Duration) {
        let at = now.instant + self.under_way();
        self.over.get_or_insert((at, pause));
    }

    /// Another replica of the same primary has asked in a newer epoch.
    pub(super) fn yield_to_sibling(&mut self) {
        self.yields = true;
        self.over = None;
    }
}

impl Member {
    /// What is on disk: an epoch that was not asked for yet, and a vote that was not sent yet, wait for
    /// that ([`Promises`](super::Promises)). A member that is never told is carried out by somebody who saves
    /// before he goes on.
    pub(super) fn note_saved(&mut self, durable: Option<&Durable>) {
        let (current, vote) = durable.map_or((Epoch::ZERO, Epoch::ZERO), |durable| {
            (durable.current_epoch, durable.last_vote_epoch)
        });
        self.saved = Some(SavedEpochs { current, vote });
    }

    /// Whether a vote of that epoch has left: it does not as long as the disk does not have it.
    pub(super) fn vote_is_saved(&self, epoch: Epoch) -> bool {
        self.saved.is_none_or(|saved| saved.vote >= epoch)
    }

    fn epoch_is_saved(&self, epoch: Epoch) -> bool {
        self.saved.is_none_or(|saved| saved.current >= epoch)
    }

    /// Takes the next epoch, saves it, and asks everyone for a vote in it.
    pub(super) fn open_ballot(&mut self, now: Now, manual: bool) -> Ballot {
        let epoch = self.view.current_epoch.next();
        self.view.current_epoch = epoch;
        self.out.persist = true;
        tracing::info!("Starting a failover election for epoch {epoch}.");
        for link in self.links_to_known() {
            self.request_vote(now, link, epoch, manual);
        }
        Ballot {
            epoch,
            votes: BTreeSet::new(),
            decided: now.instant,
            left: None,
            repeat_at: now.instant,
            over: None,
            yields: false,
        }
    }

    /// Asks again, and finds out whether there is anything left to ask for.
    pub(super) fn look_after_ballot(&mut self, now: Now, ballot: &mut Ballot, manual: bool) {
        if ballot.left.is_none() && self.epoch_is_saved(ballot.epoch) {
            ballot.left = Some(now.instant);
            ballot.repeat_at = now.instant + REPEAT_EVERY;
        }
        if ballot.left.is_some() && now.instant >= ballot.repeat_at {
            ballot.repeat_at = now.instant + REPEAT_EVERY;
            let owed = self.owed_votes(ballot);
            if !owed.is_empty() {
                let (epoch, count) = (ballot.epoch, owed.len());
                tracing::info!(
                    "Asking {count} primaries again for a vote in epoch {epoch}: they have not answered."
                );
            }
            for (_, link) in owed {
                self.request_vote(now, link, ballot.epoch, manual);
            }
        }
        let taken = |epoch| self.view.others().any(|(_, node)| node.config_epoch == epoch);
        let is_over = self.view.current_epoch > ballot.epoch || taken(ballot.epoch);
        if is_over && !ballot.yields {
            ballot.is_split(now, Duration::ZERO);
        }
    }

    /// Those that can be asked and have not voted, with the links to them.
    fn owed_votes(&self, ballot: &Ballot) -> Vec<(NodeKey, LinkId)> {
        let own = self.view.myself().primary;
        let owes = |(key, node): &(NodeKey, &super::Node)| {
            node.is_voter() && Some(*key) != own && !ballot.votes.contains(key)
        };
        let is_open = |link: &LinkId| self.links.get(link).is_some_and(|link| link.open);
        let owed = self.view.others().filter(owes);
        owed.filter_map(|(key, node)| Some((key, node.outbound.filter(is_open)?))).collect()
    }

    /// A link was opened: the request may have been lost with the one before.
    pub(super) fn ask_on_opened_link(&mut self, now: Now, link: LinkId) {
        let ballot = self.election.as_ref().and_then(|election| election.ballot.as_ref());
        let Some(ballot) = ballot.filter(|ballot| ballot.left.is_some()) else { return };
        if self.owed_votes(ballot).iter().any(|(_, owed)| *owed == link) {
            let epoch = ballot.epoch;
            self.request_vote(now, link, epoch, self.manual_failover_is_ready());
        }
    }

    fn request_vote(&mut self, now: Now, link: LinkId, epoch: Epoch, manual: bool) {
        // Nobody votes who has not heard of the failure. As long as none may have taken it back yet, it
        // is told on the same link just before.
        let primary = self.view.myself().primary.map(|key| self.view.node(key));
        let undo_after = self.options.node_timeout * UNDO_FAIL_TIMEOUTS;
        let is_fresh = |at: Now| now.instant.saturating_duration_since(at.instant) < undo_after;
        let failed =
            primary.filter(|node| node.is_failed() && node.failed_at.is_some_and(is_fresh));
        if let Some(id) = failed.map(|node| node.id) {
            let header = Box::new(self.header());
            self.send(link, Packet::Full { header, body: Body::Fail(id) });
        }
        // Of the epoch that was taken for it, whatever has been heard of since.
        let header = Header { current_epoch: epoch, force_ack: manual, ..self.header() };
        self.send(link, Packet::Full { header: Box::new(header), body: Body::VoteRequest });
    }

    /// Somebody voted for us.
    pub(super) fn handle_vote(&mut self, voter: NodeKey, header: &Header) {
        let is_voter = self.view.node(voter).is_voter();
        let ballot = self.election.as_mut().and_then(|election| election.ballot.as_mut());
        // A vote of another epoch counts for nothing in this one.
        let Some(ballot) = ballot.filter(|ballot| ballot.epoch == header.current_epoch) else {
            return;
        };
        if is_voter && ballot.votes.insert(voter) {
            let (name, epoch) = (self.view.node(voter).label(), ballot.epoch);
            tracing::info!("Vote of {name} for epoch {epoch} received");
        }
    }
}
