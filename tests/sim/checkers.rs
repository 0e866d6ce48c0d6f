//! What must hold at every moment, whatever happens: told of every output of every member.

use keyway::bus::{Body, Output, Packet};
use keyway::cluster::{Durable, Epoch, NodeFlags, NodeId, SlotSet};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Checkers {
    /// To whom each vote went, by voter and epoch.
    votes: BTreeMap<(NodeId, Epoch), NodeId>,
    /// Votes that were sent again.
    pub(crate) repeated_votes: u64,
    /// What is on each node's disk of the epoch it voted in.
    saved_votes: BTreeMap<NodeId, Epoch>,
    /// What is there of the epochs it has seen, and of its claim's.
    saved_epochs: BTreeMap<NodeId, (Epoch, Epoch)>,
    /// Who claimed which slots under which epoch.
    claims: BTreeMap<Epoch, BTreeMap<NodeId, SlotSet>>,
    /// Operators who take epochs without asking (reshards, TAKEOVER) can give two nodes one.
    pub(crate) operators_are_at_work: bool,
    /// Packets and bytes that were sent.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    written: BTreeMap<u64, Option<NodeId>>,
    /// Writes of which a client was told that a replica has them.
    confirmed: BTreeSet<u64>,
}

impl Checkers {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    pub(crate) fn written(&mut self, shard: Option<NodeId>, what: u64) {
        self.written.insert(what, shard);
    }

    /// A client was told that a replica has its write.
    pub(crate) fn confirm(&mut self, what: u64) {
        self.confirmed.insert(what);
    }

    /// Those writes, with their shards.
    pub(crate) fn confirmed(&self) -> impl Iterator<Item = (Option<NodeId>, u64)> {
        self.confirmed.iter().map(|what| (self.written[what], *what))
    }

    /// Everything that was written so far.
    pub(crate) fn writes(&self) -> impl Iterator<Item = u64> {
        self.written.keys().copied()
    }

    /// It is on disk.
    pub(crate) fn saved(&mut self, durable: &Durable) {
        let myself = durable.myself();
        self.saved_votes.insert(myself.id, durable.last_vote_epoch);
        self.saved_epochs.insert(myself.id, (durable.current_epoch, myself.config_epoch));
    }

    /// A member's wish, and who it is for, if it goes to anybody.
    pub(crate) fn output(&mut self, output: &Output, to: Option<NodeId>) {
        if let Output::Send { packet: Packet::Full { header, body }, .. } = output {
            let id = header.sender;
            let (seen, own) = self.saved_epochs.get(&id).copied().expect("it has saved something");
            let asks = *body == Body::VoteRequest;
            assert!(!asks || header.current_epoch <= seen, "{id} asks in an epoch not on disk");
            let claims = header.flags.any(NodeFlags::PRIMARY) && !header.slots.is_empty();
            assert!(!claims || header.config_epoch <= own, "{id} claims what is not on disk");
        }
        match output {
            Output::Send { packet: Packet::Full { header, body: Body::VoteGranted }, .. } => {
                let (id, epoch) = (header.sender, header.current_epoch);
                if let Some(to) = to {
                    let before = self.votes.insert((id, epoch), to);
                    assert!(before.is_none_or(|it| it == to), "{id} voted twice in epoch {epoch}");
                    self.repeated_votes += u64::from(before.is_some());
                }
                let saved = self.saved_votes.get(&id).copied();
                assert!(saved >= Some(epoch), "a vote was sent that is not on disk");
            }
            Output::Send { packet: Packet::Full { header, body }, .. } => {
                let claims = matches!(body, Body::Ping(_) | Body::Pong(_))
                    && header.flags.any(NodeFlags::PRIMARY)
                    && !header.slots.is_empty()
                    && header.config_epoch > Epoch::ZERO;
                if claims && !self.operators_are_at_work {
                    self.claim(header.sender, header.config_epoch, &header.slots);
                }
            }
            _ => {}
        }
    }

    fn claim(&mut self, id: NodeId, epoch: Epoch, slots: &SlotSet) {
        let of_epoch = self.claims.entry(epoch).or_default();
        if of_epoch.get(&id) == Some(slots) {
            return;
        }
        for (other, theirs) in of_epoch.iter().filter(|(other, _)| **other != id) {
            let both = theirs.iter().find(|slot| slots.contains(*slot));
            assert_eq!(both, None, "{id} and {other} claim a slot under epoch {epoch}");
        }
        of_epoch.insert(id, slots.clone());
    }
}
