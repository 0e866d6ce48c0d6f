//! What a [`Member`](super::Member) takes in, and what it wants done.

use super::codec::PacketError;
use super::packet::{Broadcast, Packet};
use super::role::Source;
use crate::cluster::{Durable, SlotSet};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// One TCP connection of the bus. Ids are given by the member and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(super) u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// It is time: [`Member::poll_timeout`](super::Member::poll_timeout) has passed.
    Timeout,
    /// A connection that [`Output::Connect`] asked for is open.
    Opened(LinkId),
    /// Another node connected.
    Accepted {
        /// From [`Member::new_link`](super::Member::new_link).
        link: LinkId,
        /// Its address.
        peer: IpAddr,
        /// The address of ours that it reached.
        local: IpAddr,
    },
    /// A connection is gone, or was never made.
    Closed(LinkId),
    /// A packet came, or bytes that are none.
    Received {
        /// On which connection.
        link: LinkId,
        /// What.
        packet: Result<Packet, PacketError>,
    },
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Save this before anything that follows is done. A vote or an epoch that others heard of
    /// and a crash undid would be given twice.
    Persist(Durable),
    /// Open a connection.
    Connect {
        /// Its name from here on.
        link: LinkId,
        /// Where to.
        to: SocketAddr,
    },
    /// Send a packet.
    Send {
        /// On which connection.
        link: LinkId,
        /// What.
        packet: Packet,
    },
    /// Close a connection; nothing more is heard of it.
    Close(LinkId),
    /// These slots went to another node: their keys are not ours any more.
    SlotsLost(SlotSet),
    /// From here on this node copies that primary; if none, it is a primary itself.
    Replicate(Option<Source>),
    /// Hold back every write of clients until then, or (none) no longer: a replica takes over and
    /// must have all that was written.
    PauseWrites(Option<Instant>),
    /// Another node passes this on.
    Deliver(Broadcast),
}

/// The outputs that wait. What must be saved comes first, whatever was decided first: it is the
/// state after the whole input, so saving it early is always safe, and once is enough.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    /// The view changed in a way that must survive a restart.
    pub(super) persist: bool,
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
