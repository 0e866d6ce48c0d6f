//! What of a member's wishes waits for the disk, and what goes on meanwhile.
//!
//! ```text
//!   Persist ─▶ a promise (an epoch, a vote, a role) or not ([`HoldsBack`])
//!     what follows in the same turn    waits until it would survive a loss of power
//!     what comes later                 a vote, a change of whom to copy: behind what waits
//!                                      a heartbeat, a failure: at once, as of what is on disk
//! ```
//! A disk may take seconds. A node that said nothing for so long would be missed by the others, and one
//! slow disk under a whole cluster would make all of them miss each other just when a primary has to
//! be replaced. So a heartbeat that leaves meanwhile says what the node was before: older than what it
//! is, and nothing that a crash would undo.

use super::packet::{Body, Header, Packet};
use super::{Member, Output};
use crate::cluster::{Durable, HoldsBack, NodeFlags};
use std::collections::VecDeque;

/// See above. Saves are numbered in the order in which they are written.
#[derive(Debug, Default)]
pub struct Promises {
    /// What a loss of power leaves, and its number.
    synced: Option<Durable>,
    synced_number: u64,
    /// The last promise that it would undo.
    made: Option<Promise>,
    /// What waits, and for which save.
    held: VecDeque<(u64, Output)>,
    /// What the rest of this turn waits for.
    turn: Option<u64>,
}

#[derive(Debug)]
struct Promise {
    number: u64,
    durable: Durable,
    /// The node itself is another from there on.
    of_node: bool,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Save this: [`Promises::written`] is to hear of it.
    Save(Durable),
    /// Do this.
    Do(Output),
}

impl Promises {
    /// For a member that was started with what is on disk.
    pub fn new(synced: Option<Durable>) -> Self {
        Self { synced, ..Self::default() }
    }

    /// What is to be done next, or nothing for now. A turn ends with nothing.
    pub fn next(&mut self, member: &mut Member) -> Option<Step> {
        member.note_saved(self.synced.as_ref());
        if let Some((_, output)) = self.held.pop_front_if(|held| held.0 <= self.synced_number) {
            return Some(Step::Do(output));
        }
        while let Some(output) = member.poll_output() {
            if let Output::Persist(durable) = output {
                return Some(Step::Save(durable));
            }
            let waits = match (self.turn, &self.made) {
                (Some(number), _) => Err((number, output)),
                (None, None) => Ok(output),
                (None, Some(promise)) => self.meanwhile(promise, output),
            };
            match waits {
                Ok(output) => return Some(Step::Do(output)),
                Err(held) => self.held.push_back(held),
            }
        }
        self.turn = None;
        None
    }

    /// What does not wait for a promise that was made in an earlier turn, or what does.
    fn meanwhile(&self, promise: &Promise, output: Output) -> Result<Output, (u64, Output)> {
        let synced = self.synced.as_ref();
        match output {
            Output::Send { link, packet: Packet::Full { mut header, body } } => {
                let goes_on = match body {
                    Body::Ping(_) | Body::Pong(_) | Body::Meet(_) => true,
                    Body::Fail(_) | Body::Broadcast(_) => true,
                    // It may be about this very node.
                    Body::Update(_) => !promise.of_node,
                    Body::VoteRequest | Body::VoteGranted | Body::ManualFailoverStart => false,
                };
                match synced.filter(|_| goes_on) {
                    Some(synced) => {
                        say_as_saved(&mut header, synced, promise.of_node);
                        Ok(Output::Send { link, packet: Packet::Full { header, body } })
                    }
                    None => {
                        let packet = Packet::Full { header, body };
                        Err((promise.number, Output::Send { link, packet }))
                    }
                }
            }
            Output::Replicate(_) | Output::PauseWrites(_) => Err((promise.number, output)),
            output => Ok(output),
        }
    }

    /// This was written as the save of that number, and a kill does not undo it. What has to wait until a
    /// loss of power does not either.
    pub fn written(&mut self, number: u64, durable: Durable) -> HoldsBack {
        let before = self.made.as_ref().map(|promise| &promise.durable).or(self.synced.as_ref());
        let holds_back = before.map_or(HoldsBack::TheNode, |before| durable.holds_back(before));
        if holds_back != HoldsBack::Nothing {
            let was_another = self.made.as_ref().is_some_and(|promise| promise.of_node);
            let of_node = was_another || holds_back == HoldsBack::TheNode;
            self.made = Some(Promise { number, durable, of_node });
            self.turn = Some(number);
        }
        holds_back
    }

    /// This, which was written as the save of that number, survives a loss of power.
    pub fn synced(&mut self, number: u64, durable: &Durable) {
        self.synced_number = number;
        self.made.take_if(|promise| promise.number <= number);
        self.turn.take_if(|waits| *waits <= number);
        if let Some(promise) = &mut self.made {
            promise.of_node = promise.durable.holds_back(durable) == HoldsBack::TheNode;
        }
        self.synced = Some(durable.clone());
    }

    /// Whether a promise is not on disk yet.
    pub fn are_open(&self) -> bool {
        self.made.is_some()
    }

    /// Whether the writes of clients have to wait: the role in which the node would take them is not on
    /// disk.
    pub fn hold_writes(&self) -> bool {
        self.made.as_ref().is_some_and(|promise| promise.of_node)
    }
}

/// Makes a header say what is on disk, of what others build upon.
fn say_as_saved(header: &mut Header, synced: &Durable, role: bool) {
    header.current_epoch = header.current_epoch.min(synced.current_epoch);
    if !role {
        return;
    }
    let myself = synced.myself();
    let roles = NodeFlags::PRIMARY.with(NodeFlags::REPLICA);
    header.flags = header.flags.without(roles).with(myself.flags.only(roles));
    header.replica_of = myself.primary;
    let primary = synced.nodes.iter().find(|node| Some(node.id) == myself.primary);
    // A replica tells of its primary's claim.
    let shard = primary.unwrap_or(myself);
    header.config_epoch = shard.config_epoch;
    header.slots = shard.slots.clone();
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::*;
    use crate::clock::Now;

    const PRIMARY: &str = "2222222222222222222222222222222222222222 10.0.0.2:7000@17000 master";
    const OWN: &str = "1111111111111111111111111111111111111111 10.0.0.1:7000@17000 myself";

    fn durable(text: &str) -> Durable {
        Durable::parse(text).expect("a good text")
    }

    fn replica() -> Durable {
        let of = "2222222222222222222222222222222222222222";
        durable(&format!(
            "{PRIMARY} - 0 0 3 connected 5-9\n{OWN},slave {of} 0 0 3 connected\n\
             vars currentEpoch 3 lastVoteEpoch 0\n"
        ))
    }

    fn elected() -> Durable {
        durable(&format!(
            "{PRIMARY} - 0 0 3 connected\n{OWN},master - 0 0 4 connected 5-9\n\
             vars currentEpoch 4 lastVoteEpoch 0\n"
        ))
    }

    #[test]
    fn a_heartbeat_of_an_elected_node_is_a_replicas_until_its_role_is_on_disk() {
        let now = Now::read();
        let header = |durable: &Durable| View::restore(durable, now).header();
        let mut said = header(&elected());
        assert_ne!(said, header(&replica()));
        say_as_saved(&mut said, &replica(), true);
        assert_eq!(said, header(&replica()));
        let mut said = header(&elected());
        say_as_saved(&mut said, &replica(), false);
        assert_eq!((said.current_epoch.0, said.config_epoch.0), (3, 4), "only what was seen");
    }

    #[test]
    fn writes_wait_for_a_role_and_not_for_what_promises_nothing() {
        let mut promises = Promises::new(Some(replica()));
        assert_eq!(promises.written(1, replica()), HoldsBack::Nothing);
        assert!(!promises.are_open());
        let seen = durable(&replica().to_text().replace("lastVoteEpoch 0", "lastVoteEpoch 3"));
        assert_eq!(promises.written(2, seen.clone()), HoldsBack::TheBus);
        assert!(promises.are_open() && !promises.hold_writes());
        assert_eq!(promises.written(3, elected()), HoldsBack::TheNode);
        assert_eq!(promises.written(4, elected()), HoldsBack::Nothing, "it is promised already");
        promises.synced(2, &seen);
        assert!(promises.are_open() && promises.hold_writes(), "the role is not there yet");
        promises.synced(4, &elected());
        assert!(!promises.are_open() && !promises.hold_writes());
    }
}
