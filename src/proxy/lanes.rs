//! Which of a node's connections a client's requests travel on.
//!
//! What is said on a connection once and holds for everything after it (protocol, database) keeps
//! connections apart: that is a lane. The two lanes without anything special are always there and
//! are the only ones that most proxies ever use; the others come and go with the clients that need
//! them.

use super::handshake::Further;
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
}

impl Setup {
    /// Nothing but a protocol.
    pub(super) fn plain(protocol: Protocol) -> Self {
        Self { protocol, database: 0, read_only: false, no_touch: false }
    }

    /// The steps of its handshake behind the usual ones.
    pub(super) fn further(&self) -> Vec<Further> {
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
        further
    }
}

/// The lanes of one worker.
#[derive(Debug)]
pub(super) struct Lanes {
    setups: BTreeMap<LaneId, Setup>,
}

impl Lanes {
    /// The two plain ones.
    pub(super) fn new() -> Self {
        let plain = |protocol| (LaneId::plain(protocol), Setup::plain(protocol));
        Self { setups: BTreeMap::from([plain(Protocol::Resp2), plain(Protocol::Resp3)]) }
    }

    /// What is said on the connections of a lane.
    pub(super) fn setup(&self, lane: LaneId) -> &Setup {
        self.setups.get(&lane).expect("a lane lives as long as it has sessions or connections")
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
        // As many as there are databases, four times: none is ever taken away.
        let id = LaneId(self.setups.len() as u32);
        self.setups.insert(id, wanted);
        id
    }
}
