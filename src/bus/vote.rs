//! The voter's half of an election: one vote per epoch, and never for a replica that is behind.
//!
//! Every primary with slots has one vote in each epoch. The vote is part of what must survive a
//! restart, and whatever must is saved before anything is sent ([`Member::poll_output`]): a voter
//! that forgot its vote in a crash could give it away twice, and two replicas could win the same
//! slots under one epoch.
//!
//! A candidate that has not heard our vote asks again. It is told the same again, as long as we know that
//! it was the one: after a restart we know the epoch alone.

use super::{Body, Gossip, Header, LinkId, Member, Node, NodeKey, Packet};
use crate::clock::Now;
use crate::cluster::{Epoch, NodeFlags, NodeId, Slot};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

/// After a vote, the other replicas of that primary get none for so many node timeouts: the one that
/// was voted for needs time to tell everybody. If it asks again itself, it has not won.
const VOTE_AGAIN_TIMEOUTS: u32 = 2;

/// Why a replica does not get our vote. The texts are those of Redis's log, where operators look
/// for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteRefusal {
    /// We have none to give.
    #[error("I'm not a master with slots")]
    NotAVoter,
    /// An older election.
    #[error("reqEpoch ({asked}) < curEpoch({current})")]
    StaleEpoch {
        /// Of the request.
        asked: Epoch,
        /// The highest that we have seen.
        current: Epoch,
    },
    /// The vote of this epoch is given.
    #[error("already voted for epoch {0}")]
    AlreadyVoted(Epoch),
    /// There is nothing that it could take over.
    #[error("it is a master node")]
    IsPrimary,
    /// There is nothing known that it could take over.
    #[error("I don't know its master")]
    UnknownPrimary,
    /// Nobody asked it to take over.
    #[error("its master is up")]
    PrimaryIsUp,
    /// Another replica of that primary was voted for a moment ago.
    #[error("can't vote about this master before {} milliseconds", .0.as_millis())]
    VotedLately(Duration),
    /// It does not know who owns what by now.
    #[error("slot {slot} epoch ({claimed}) > reqEpoch ({asked})")]
    StaleSlots {
        /// A slot that it would take.
        slot: Slot,
        /// Under which epoch its owner has it.
        claimed: Epoch,
        /// Under which epoch the candidate believes that its primary has it.
        asked: Epoch,
    },
}

/// A vote that was not given: to whom, in which epoch, and why.
pub(super) type Denial = (NodeId, Epoch, Discriminant<VoteRefusal>);

impl Member {
    /// A replica asks for our vote. Its epoch has been taken over as the current one by now, if
    /// it was a higher one.
    pub(super) fn handle_vote_request(
        &mut self,
        now: Now,
        link: LinkId,
        candidate: NodeKey,
        header: &Header,
    ) {
        self.notice_rival(now, candidate, header);
        let epoch = header.current_epoch;
        if self.last_vote == Some((epoch, header.sender)) {
            // By the link that it asks on: the other one may hang, or it would not ask again. What still
            // waits for the disk is sent then.
            if self.vote_is_saved(epoch) {
                self.send_vote(link, epoch);
            }
            return;
        }
        let name = self.view.node(candidate).label();
        let primary = match self.judge_vote_request(now, candidate, header) {
            Ok(primary) => primary,
            // Most nodes that are asked are no voters: that is no news.
            Err(VoteRefusal::NotAVoter) => return,
            Err(refusal) => {
                let denial = (header.sender, epoch, discriminant(&refusal));
                if self.denied.replace(denial) != Some(denial) {
                    tracing::warn!("Failover auth denied to {name}: {refusal}");
                }
                self.help_after_refusal(now, link, candidate, &refusal);
                return;
            }
        };
        self.view.last_vote_epoch = epoch;
        self.last_vote = Some((epoch, header.sender));
        let voted = self.view.node_mut(primary);
        voted.voted_at = Some(now.instant);
        voted.voted_for = Some(candidate);
        self.out.persist = true;
        tracing::info!("Failover auth granted to {name} for epoch {epoch}");
        let outbound = self.view.node(candidate).outbound;
        let is_open = |id: &LinkId| self.links.get(id).is_some_and(|known| known.open);
        self.send_vote(outbound.filter(is_open).unwrap_or(link), epoch);
    }

    fn send_vote(&mut self, link: LinkId, epoch: Epoch) {
        // A vote is of the epoch in which it was given, whatever has been heard of since.
        let header = Box::new(Header { current_epoch: epoch, ..self.header() });
        self.send(link, Packet::Full { header, body: Body::VoteGranted });
    }

    /// Tells a candidate what it did not know, so that it can ask in a way in which it may be elected.
    fn help_after_refusal(
        &mut self,
        now: Now,
        link: LinkId,
        candidate: NodeKey,
        refusal: &VoteRefusal,
    ) {
        match refusal {
            // A heartbeat says the current epoch.
            VoteRefusal::StaleEpoch { .. } => {
                self.send_heartbeat(now, link, Body::Pong as fn(Gossip) -> Body);
            }
            VoteRefusal::StaleSlots { slot, .. } => {
                if let Some(owner) = self.view.owner(*slot) {
                    self.send_update(candidate, owner);
                }
            }
            _ => {}
        }
    }

    /// The primary that is to be replaced, if the candidate may.
    fn judge_vote_request(
        &self,
        now: Now,
        candidate: NodeKey,
        header: &Header,
    ) -> Result<NodeKey, VoteRefusal> {
        let view = &self.view;
        if !view.myself().is_voter() || self.is_guarded() {
            return Err(VoteRefusal::NotAVoter);
        }
        let (asked, current) = (header.current_epoch, view.current_epoch);
        if asked < current {
            return Err(VoteRefusal::StaleEpoch { asked, current });
        }
        if view.last_vote_epoch >= current {
            return Err(VoteRefusal::AlreadyVoted(view.last_vote_epoch));
        }
        let node = view.node(candidate);
        if !node.is_replica() {
            return Err(VoteRefusal::IsPrimary);
        }
        let primary = node.primary.ok_or(VoteRefusal::UnknownPrimary)?;
        let replaced = view.node(primary);
        if !replaced.flags.any(NodeFlags::FAIL) && !header.force_ack {
            return Err(VoteRefusal::PrimaryIsUp);
        }
        if replaced.voted_for != Some(candidate)
            && let Some(left) = self.rest_after_vote(now, replaced)
        {
            return Err(VoteRefusal::VotedLately(left));
        }
        let asked = header.config_epoch;
        for slot in header.slots.iter() {
            let owner = view.owner(slot).map(|owner| view.node(owner).config_epoch);
            if let Some(claimed) = owner.filter(|claimed| *claimed > asked) {
                return Err(VoteRefusal::StaleSlots { slot, claimed, asked });
            }
        }
        Ok(primary)
    }

    /// How long the replicas of a primary have to wait for another vote, if they have to.
    fn rest_after_vote(&self, now: Now, primary: &Node) -> Option<Duration> {
        let rest = self.options.node_timeout * VOTE_AGAIN_TIMEOUTS;
        let passed = now.instant.saturating_duration_since(primary.voted_at?);
        rest.checked_sub(passed).filter(|left| !left.is_zero())
    }
}
