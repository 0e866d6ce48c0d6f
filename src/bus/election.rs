//! The replica's half of a failover: when to stand for election, and what to do with the votes.
//!
//! ```text
//!   the majority holds our primary for failed
//!     │  wait: half a second for FAIL to reach the voters, up to half a second more at random,
//!     │        a second for each replica that has more data, half a second for each other shard
//!     ▼        that has failed too and whose turn is first
//!   take the next epoch, save it, ask everyone for a vote (`ballot.rs`)
//!     │  votes of most primaries with slots             not enough of them in time
//!     ▼                                                   ▼
//!   claim the primary's slots under that epoch          try again in another epoch: at once if
//!                                                       nobody else could stand, or else later
//! ```
//! Ranks only make it likely that the best replica asks first; that there is one winner per epoch
//! is the voters' doing.

use super::ballot::Ballot;
use super::{Body, Header, Member, NodeKey};
use crate::clock::Now;
use crate::cluster::{Epoch, NodeFlags, NodeId, Slot};
use rand::RngExt;
use std::time::{Duration, Instant};

/// How long FAIL takes to reach the voters, generously.
const START_DELAY: Duration = Duration::from_millis(500);
/// At random on top, so that two replicas of one rank seldom ask at once.
const START_SPREAD_MS: u64 = 500;
/// For every replica that has more of the primary's data.
const RANK_DELAY: Duration = Duration::from_secs(1);
/// For every other shard without its primary that goes first: two elections at once would take
/// the same epoch, in which each voter has one vote.
const SHARD_DELAY: Duration = Duration::from_millis(500);
/// Votes are waited for so many node timeouts,
const VOTES_TIMEOUTS: u32 = 2;
/// but at least so long.
const VOTES_MIN: Duration = Duration::from_secs(2);
/// Where another replica could stand, one that was not elected tries again after so many times the wait
/// for votes: in between, those who voted for it are free to vote for the other.
const RETRY_AFTER: u32 = 2;
/// Each further epoch that was not decided doubles the pause before the next, so often at most.
const DOUBLINGS_MAX: u32 = 4;
/// The least of that pause, once it is not the first.
const PAUSE_MIN: Duration = Duration::from_millis(300);

/// An election that this replica stands for.
#[derive(Debug)]
pub(super) struct Election {
    /// When it asks for votes, or has.
    starts: Instant,
    rank: u32,
    /// How many other shards without their primary go first.
    shard_rank: u32,
    /// What it has asked in the epoch that it took.
    pub(super) ballot: Option<Ballot>,
    /// How many epochs it has taken before that.
    undecided: u32,
}

/// Why a replica whose primary has failed does not stand for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(
        "Disconnected from master for longer than allowed. Please check the \
         'cluster-replica-validity-factor' configuration option."
    )]
    OldData,
    #[error("Waiting the delay before I can start a new failover.")]
    Waiting,
    #[error("Failover attempt expired.")]
    Expired,
    #[error("Waiting for votes, but majority still not reached.")]
    WaitingForVotes,
}

impl Member {
    /// Stands for election if our primary is gone, and looks after an election under way.
    pub(super) fn look_after_election(&mut self, now: Now) {
        let manual = self.manual_failover_is_ready();
        let Some(primary) = self.primary_to_replace(manual) else {
            self.election = None;
            self.unfit = None;
            return;
        };
        let unfit = self.stand(now, primary, manual).err();
        if unfit != self.unfit {
            self.unfit = unfit;
            if let Some(reason) = unfit {
                tracing::info!("Currently unable to failover: {reason}");
            }
        }
    }

    /// Our primary, if it is to be replaced, and by us.
    fn primary_to_replace(&self, manual: bool) -> Option<NodeKey> {
        let primary = self.view.myself().primary?;
        let node = self.view.node(primary);
        let asked_for = manual || (node.is_failed() && !self.options.no_failover);
        (asked_for && node.slot_count() > 0).then_some(primary)
    }

    fn stand(&mut self, now: Now, primary: NodeKey, manual: bool) -> Result<(), Unfit> {
        if !manual && self.has_old_data(now) {
            return Err(Unfit::OldData);
        }
        let wait = (self.options.node_timeout * VOTES_TIMEOUTS).max(VOTES_MIN);
        let quorum = self.quorum();
        // An operator has chosen this replica: it has no rank, also where its primary dies in between.
        let chosen = self.is_chosen_by_an_operator();
        // Whatever the votes say: a claim that is older than the primary's own would not hold.
        let claimed = self.view.node(primary).config_epoch;
        let ballot = self.election.as_ref().and_then(|election| election.ballot.as_ref());
        if ballot.is_some_and(|ballot| ballot.epoch <= claimed) {
            self.election = None;
        }
        let late = |election: &Election| {
            let age = now.instant.saturating_duration_since(election.starts);
            election.ballot.is_none() && age > wait
        };
        if self.election.as_ref().is_none_or(late) {
            self.schedule_election(now, primary, chosen);
            return Err(Unfit::Waiting);
        }
        let asks = self.election.as_ref().is_some_and(|election| election.ballot.is_some());
        if !asks && !chosen {
            self.fall_back_in_rank(primary);
        }
        let Some(election) = &mut self.election else { return Ok(()) };
        let Some(mut ballot) = election.ballot.take() else {
            if now.instant < election.starts {
                return Err(Unfit::Waiting);
            }
            let ballot = self.open_ballot(now, manual);
            return self.go_on_with(ballot, Unfit::WaitingForVotes);
        };
        // Nobody votes for another replica before this time is over, so nobody else wins within it.
        let age = ballot.age(now).unwrap_or_default();
        if age > wait {
            let others = !chosen && self.others_could_stand(primary);
            if others && age <= wait * RETRY_AFTER {
                return self.go_on_with(ballot, Unfit::Expired);
            }
            if others {
                self.schedule_election(now, primary, chosen);
            } else {
                let pause = SHARD_DELAY * self.shard_rank(primary);
                self.stand_in_another_epoch(now, &ballot, pause);
            }
            return Err(Unfit::Waiting);
        }
        if ballot.votes() >= quorum {
            tracing::info!("Failover election won: I'm the new master.");
            self.take_over(now, primary, ballot.epoch);
            return Ok(());
        }
        self.look_after_ballot(now, &mut ballot, manual);
        if let Some(pause) = ballot.is_over(now) {
            self.stand_in_another_epoch(now, &ballot, pause);
            return Err(Unfit::Waiting);
        }
        self.go_on_with(ballot, Unfit::WaitingForVotes)
    }

    fn go_on_with(&mut self, ballot: Ballot, unfit: Unfit) -> Result<(), Unfit> {
        if let Some(election) = &mut self.election {
            election.ballot = Some(ballot);
        }
        Err(unfit)
    }

    /// Gives an epoch up that will not be decided. Where two do so again and again, the pauses between
    /// them become longer than an election takes.
    fn stand_in_another_epoch(&mut self, now: Now, ballot: &Ballot, pause: Duration) {
        let Some(election) = &mut self.election else { return };
        let times = 1 << election.undecided.min(DOUBLINGS_MAX);
        let pause = pause * times + PAUSE_MIN * (times - 1);
        election.undecided += 1;
        election.starts = now.instant + pause;
        let (epoch, votes, millis) = (ballot.epoch, ballot.votes(), pause.as_millis());
        tracing::info!(
            "Epoch {epoch} is not decided ({votes} votes): asking in another after {millis} milliseconds."
        );
    }

    /// Whether our primary has other replicas that could be elected.
    fn others_could_stand(&self, primary: NodeKey) -> bool {
        let unfit = NodeFlags::FAIL.with(NodeFlags::PFAIL).with(NodeFlags::NOFAILOVER);
        let could =
            |(key, node): (NodeKey, &super::Node)| key != NodeKey::MYSELF && !node.flags.any(unfit);
        self.view.replicas_of(primary).any(could)
    }

    /// Somebody else asks for votes. Every voter has one in an epoch: where two ask in the same, neither
    /// may get enough, and the next try would be many seconds away. So they ask again, in epochs of
    /// their own, and in an order. Another replica of our own primary that asks in a newer epoch has its turn.
    pub(super) fn notice_rival(&mut self, now: Now, rival: NodeKey, header: &Header) {
        let Some(own) = self.view.myself().primary else { return };
        let Some(theirs) = self.view.node(rival).primary else { return };
        let is_sibling = own == theirs;
        let goes_first = if is_sibling {
            self.rank(own) == 0
        } else {
            self.view.node(own).id < self.view.node(theirs).id
        };
        let chosen = self.is_chosen_by_an_operator();
        let ballot = self.election.as_mut().and_then(|election| election.ballot.as_mut());
        let Some(ballot) = ballot.filter(|ballot| ballot.epoch <= header.current_epoch) else {
            return;
        };
        let is_same = ballot.epoch == header.current_epoch;
        match (is_sibling, goes_first) {
            (true, _) if chosen => {}
            (true, true) if is_same => ballot.is_split(now, SHARD_DELAY),
            (true, _) => ballot.yield_to_sibling(),
            (false, true) if is_same => ballot.is_split(now, Duration::ZERO),
            (false, false) if is_same => ballot.is_split(now, SHARD_DELAY),
            (false, _) => {}
        }
    }

    /// Whether our data is too old to be served (`cluster-replica-validity-factor`).
    fn has_old_data(&self, now: Now) -> bool {
        let options = &self.options;
        let timeout = options.node_timeout;
        let factor = options.replica_validity_factor;
        // The primary is silent for the node timeout before anyone calls it failed.
        let age = self.replication.age(now).saturating_sub(timeout);
        factor != 0
            && age > options.replication_ping_period.saturating_add(timeout.saturating_mul(factor))
    }

    fn schedule_election(&mut self, now: Now, primary: NodeKey, chosen: bool) {
        let (delay, rank, shard_rank) = if chosen {
            (Duration::ZERO, 0, 0)
        } else {
            let spread = Duration::from_millis(self.rng.random_range(0..START_SPREAD_MS));
            let (rank, shard_rank) = (self.rank(primary), self.shard_rank(primary));
            let delay = START_DELAY + spread + RANK_DELAY * rank + SHARD_DELAY * shard_rank;
            (delay, rank, shard_rank)
        };
        let starts = now.instant + delay;
        self.election = Some(Election { starts, rank, shard_rank, ballot: None, undecided: 0 });
        tracing::info!(
            "Start of election delayed for {} milliseconds (rank #{rank}, offset {}).",
            delay.as_millis(),
            self.replication.offset,
        );
        // The other replicas compare their offsets with ours.
        let siblings = self.view.replicas_of(primary).filter(|(key, _)| *key != NodeKey::MYSELF);
        let links: Vec<_> = siblings.filter_map(|(_, node)| node.outbound).collect();
        for link in links {
            self.send_heartbeat(now, link, Body::Pong);
        }
    }

    /// While we wait, a replica that has more data may have told us so, and other shards may have
    /// turned out to be without their primary, too.
    fn fall_back_in_rank(&mut self, primary: NodeKey) {
        let (rank, shard_rank) = (self.rank(primary), self.shard_rank(primary));
        let Some(election) = &mut self.election else { return };
        if shard_rank > election.shard_rank {
            election.starts += SHARD_DELAY * (shard_rank - election.shard_rank);
            election.shard_rank = shard_rank;
        }
        if rank > election.rank {
            let added = RANK_DELAY * (rank - election.rank);
            election.starts += added;
            election.rank = rank;
            let millis = added.as_millis();
            tracing::info!(
                "Replica rank updated to #{rank}, added {millis} milliseconds of delay."
            );
        }
    }

    /// How many replicas of our primary should go first: those with more data, and of those with
    /// as much the one with the smallest id.
    fn rank(&self, primary: NodeKey) -> u32 {
        let own = (self.replication.offset, self.view.myself().id);
        let unfit = NodeFlags::FAIL.with(NodeFlags::PFAIL).with(NodeFlags::NOFAILOVER);
        let better = |offset: u64, id: NodeId| offset > own.0 || (offset == own.0 && id < own.1);
        let siblings = self.view.replicas_of(primary).filter(|(key, node)| {
            *key != NodeKey::MYSELF && !node.flags.any(unfit) && better(node.offset, node.id)
        });
        siblings.count() as u32
    }

    /// How many other shards have lost their primary and go first.
    fn shard_rank(&self, primary: NodeKey) -> u32 {
        let own = self.view.node(primary).id;
        let failed = self
            .view
            .nodes()
            .filter(|(_, node)| node.is_voter() && node.is_failed() && node.id < own);
        failed.count() as u32
    }

    /// Becomes the primary of our primary's slots under that epoch.
    pub(super) fn take_over(&mut self, now: Now, primary: NodeKey, epoch: Epoch) {
        let slots: Vec<Slot> = self.view.node(primary).slots().iter().collect();
        self.stop_following();
        for slot in slots {
            self.view.assign(slot, Some(NodeKey::MYSELF));
        }
        let myself = self.view.myself_mut();
        myself.config_epoch = myself.config_epoch.max(epoch);
        tracing::info!("configEpoch set to {epoch} after successful failover");
        self.broadcast_pong(now);
    }
}
