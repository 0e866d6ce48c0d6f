//! The replica's half of a failover: when to stand for election, and what to do with the votes.
//!
//! ```text
//!   the majority holds our primary for failed
//!     │  wait: half a second for FAIL to reach the voters, up to half a second more at random,
//!     │        a second for each replica that has more data, half a second for each other shard
//!     ▼        that has failed too and whose turn is first
//!   take the next epoch, save it, ask everyone for a vote
//!     │  votes of most primaries with slots             not enough of them in time
//!     ▼                                                   ▼
//!   claim the primary's slots under that epoch          try again later, in another epoch
//! ```
//! Ranks only make it likely that the best replica asks first; that there is one winner per epoch
//! is the voters' doing.

use super::{Body, Header, Member, NodeKey, Packet};
use crate::clock::Now;
use crate::cluster::{Epoch, NodeFlags, NodeId, Slot};
use rand::RngExt;
use std::collections::BTreeSet;
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
/// Votes are under way for less than that: two elections in one epoch that are not decided by then
/// have split them.
const TIE_AFTER: Duration = Duration::from_millis(300);
/// An election that was not won is tried again after so many times the wait for votes.
const RETRY_AFTER: u32 = 2;

/// An election that this replica stands for.
#[derive(Debug)]
pub(super) struct Election {
    /// When it asks for votes, or has.
    starts: Instant,
    rank: u32,
    /// How many other shards without their primary go first.
    shard_rank: u32,
    /// The epoch it asked in, and who voted for it.
    asked: Option<(Epoch, BTreeSet<NodeKey>)>,
    /// Another shard's replica asked in the same epoch: if this one has not won by then, neither has
    /// the votes, and it asks in another epoch after that pause.
    tied: Option<(Instant, Duration)>,
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
        let asked = self.election.as_ref().and_then(|election| election.asked.as_ref());
        if asked.is_some_and(|(epoch, _)| *epoch <= claimed) {
            self.election = None;
        }
        let Some(election) = &self.election else {
            self.schedule_election(now, primary, chosen);
            return Err(Unfit::Waiting);
        };
        let age = now.instant.saturating_duration_since(election.starts);
        if age > wait * RETRY_AFTER {
            self.schedule_election(now, primary, chosen);
            return Err(Unfit::Waiting);
        }
        if election.asked.is_none() && !chosen {
            self.fall_back_in_rank(primary);
        }
        let Some(election) = &mut self.election else { return Ok(()) };
        if now.instant < election.starts {
            return Err(Unfit::Waiting);
        }
        if age > wait {
            return Err(Unfit::Expired);
        }
        match &election.asked {
            None => {
                let epoch = self.view.current_epoch.next();
                self.view.current_epoch = epoch;
                self.out.persist = true;
                election.asked = Some((epoch, BTreeSet::new()));
                tracing::info!("Starting a failover election for epoch {epoch}.");
                self.ask_for_votes(manual);
                Err(Unfit::WaitingForVotes)
            }
            Some((epoch, votes)) if votes.len() >= quorum => {
                let epoch = *epoch;
                tracing::info!("Failover election won: I'm the new master.");
                self.take_over(now, primary, epoch);
                Ok(())
            }
            Some(_) => {
                if let Some((_, pause)) = election.tied.take_if(|(at, _)| now.instant >= *at) {
                    tracing::info!("The votes of this epoch are split: asking again in another.");
                    election.asked = None;
                    election.starts = now.instant + pause;
                }
                Err(Unfit::WaitingForVotes)
            }
        }
    }

    /// Somebody else asks for votes. Every voter has one in an epoch: where two shards lost their
    /// primaries at once and both ask in the same, neither may get enough, and the next try would be
    /// many seconds away. So both ask again, in epochs of their own, and in an order.
    pub(super) fn notice_rival(&mut self, now: Now, rival: NodeKey, header: &Header) {
        let Some(own) = self.view.myself().primary else { return };
        let Some(theirs) = self.view.node(rival).primary.filter(|theirs| *theirs != own) else {
            return;
        };
        let goes_first = self.view.node(own).id < self.view.node(theirs).id;
        let pause = if goes_first { Duration::ZERO } else { SHARD_DELAY };
        let Some(election) = &mut self.election else { return };
        if election.asked.as_ref().is_some_and(|(epoch, _)| *epoch == header.current_epoch) {
            election.tied.get_or_insert((now.instant + TIE_AFTER, pause));
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
        self.election = Some(Election { starts, rank, shard_rank, asked: None, tied: None });
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

    fn ask_for_votes(&mut self, manual: bool) {
        let header = Header { force_ack: manual, ..self.header() };
        for link in self.links_to_known() {
            let header = Box::new(header.clone());
            self.send(link, Packet::Full { header, body: Body::VoteRequest });
        }
    }

    /// Somebody voted for us.
    pub(super) fn handle_vote(&mut self, voter: NodeKey, header: &Header) {
        let is_voter = self.view.node(voter).is_voter();
        let Some(election) = &mut self.election else { return };
        // An answer to an earlier request counts for nothing.
        if let Some((epoch, votes)) = &mut election.asked
            && is_voter
            && header.current_epoch >= *epoch
        {
            votes.insert(voter);
        }
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
