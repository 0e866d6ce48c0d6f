//! Which of a node's connections a client's requests travel on.
//!
//! What is said on a connection once and holds for everything after it (protocol, database) keeps
//! connections apart: that is a lane. The two lanes without anything special are always there and
//! are the only ones that most proxies ever use; the others come and go with the clients that need
//! them.

use super::handshake::Further;
use super::link::Owner;
use crate::resp::Protocol;
use std::collections::BTreeMap;

/// A lane of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId(u32);

impl LaneId {
    /// The lane of clients that have nothing special.
    #[inline]
    pub(crate) fn plain(protocol: Protocol) -> Self {
        Self(u32::from(protocol == Protocol::Resp3))
    }
}

/// Which of the connections of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    /// The lane.
    pub id: LaneId,
    /// Large requests and replies have a connection of their own.
    pub large: bool,
}

impl Lane {
    /// How many connections the two plain lanes have together.
    pub(super) const PLAIN: usize = 4;

    /// Its place among the connections of a node: below [`Lane::PLAIN`] for a plain one.
    #[inline]
    pub(super) fn index(self) -> usize {
        self.id.0 as usize * 2 + usize::from(self.large)
    }
}

/// What is said on every connection of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// The protocol of its clients.
    pub protocol: Protocol,
    /// Their database.
    pub database: u32,
    /// Whether replicas answer reads on it.
    pub read_only: bool,
    /// Whether what they read does not count as used.
    pub no_touch: bool,
    /// One client has it to itself, and is told when keys change that it has read.
    pub tracking: Option<Box<TrackingLane>>,
}

/// A lane of a client that tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrackingLane {
    /// The client.
    pub owner: Owner,
    /// Nodes only say on it what changes: the client's other connections redirect to it.
    pub hears: bool,
    /// How it tracks.
    pub words: Vec<Vec<u8>>,
    /// The lane on which nodes say what changes, where that is not this one.
    pub sink: Option<LaneId>,
}

impl Setup {
    /// Nothing but a protocol.
    pub(super) fn plain(protocol: Protocol) -> Self {
        Self { protocol, database: 0, read_only: false, no_touch: false, tracking: None }
    }

    /// The steps of its handshake behind the usual ones. `sink` is what the node calls the
    /// connection on which it says what changes.
    pub(super) fn further(&self, sink: Option<i64>) -> Vec<Further> {
        let mut further = Vec::new();
        if self.database > 0 {
            further.push(Further::Select(self.database));
        }
        if self.read_only {
            further.push(Further::ReadOnly);
        }
        if self.no_touch {
            further.push(Further::NoTouch);
        }
        match &self.tracking {
            Some(of) if of.hears => further.push(Further::ClientId),
            Some(of) => further.push(Further::Tracking { words: of.words.clone(), sink }),
            None => {}
        }
        further
    }
}

/// The lanes of one worker.
#[derive(Debug)]
pub(super) struct Lanes {
    setups: BTreeMap<LaneId, Setup>,
    /// The next one's number.
    next: u32,
    /// What is left of a lane that was ended while its connections close.
    plain: Setup,
}

impl Lanes {
    /// The two plain ones.
    pub(super) fn new() -> Self {
        let plain = |protocol| (LaneId::plain(protocol), Setup::plain(protocol));
        let setups = BTreeMap::from([plain(Protocol::Resp2), plain(Protocol::Resp3)]);
        let next = setups.len() as u32;
        Self { setups, next, plain: Setup::plain(Protocol::Resp2) }
    }

    /// What is said on the connections of a lane.
    pub(super) fn setup(&self, lane: LaneId) -> &Setup {
        self.setups.get(&lane).unwrap_or(&self.plain)
    }

    /// The lane beside this one on which replicas answer reads.
    pub(super) fn for_reads(&mut self, lane: LaneId) -> LaneId {
        let wanted = Setup { read_only: true, ..self.setup(lane).clone() };
        self.of(wanted)
    }

    /// The lane of clients for which this is to be said.
    pub(super) fn of(&mut self, wanted: Setup) -> LaneId {
        if let Some((id, _)) = self.setups.iter().find(|(_, setup)| **setup == wanted) {
            return *id;
        }
        // As many as there are databases, four times, are never taken away; those of clients that
        // track go with them.
        let id = LaneId(self.next);
        self.next += 1;
        self.setups.insert(id, wanted);
        id
    }

    /// Ends a lane that one client had to itself.
    pub(super) fn remove(&mut self, lane: LaneId) {
        self.setups.remove(&lane);
    }
}
