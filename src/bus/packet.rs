//! What nodes say to each other: bus protocol version 1, as types.

use crate::cluster::{Epoch, NodeFlags, NodeId, SlotSet};
use bytes::Bytes;
use std::net::IpAddr;

/// A message of the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// With the sender's header: everything but what light headers carry.
    Full {
        /// Who sends, and what it claims.
        header: Box<Header>,
        /// What it says.
        body: Body,
    },
    /// Valkey's sixteen-byte header: the sender is whoever the link belongs to.
    Light(Broadcast),
}

/// What every full message tells of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub sender: NodeId,
    /// The highest epoch it has seen.
    pub current_epoch: Epoch,
    /// The epoch of the claim in `slots`.
    pub config_epoch: Epoch,
    /// Its replication offset.
    pub offset: u64,
    /// What it owns; what its primary owns, if it is a replica.
    pub slots: SlotSet,
    /// Whom it copies; none for a primary.
    pub replica_of: Option<NodeId>,
    /// The address it announces; none means the one the message came from.
    pub ip: Option<IpAddr>,
    /// The port for clients.
    pub port: u16,
    /// The other port for clients, where TLS and plain ones are both open; else 0.
    pub secondary_port: u16,
    /// The port for nodes.
    pub bus_port: u16,
    /// Role and abilities.
    pub flags: NodeFlags,
    /// Whether the cluster is up, as it sees it.
    pub state_ok: bool,
    /// It holds clients back for a manual failover.
    pub paused: bool,
    /// Voters may grant this request though its primary is alive.
    pub force_ack: bool,
    /// It understands ping extensions.
    pub extensions: bool,
}

/// What a full message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Are you there?
    Ping(Gossip),
    /// I am here; also sent unasked, when something changed.
    Pong(Gossip),
    /// Take me in.
    Meet(Gossip),
    /// The majority cannot reach that node.
    Fail(NodeId),
    /// A message for subscribers.
    Broadcast(Broadcast),
    /// Vote for me.
    VoteRequest,
    /// You have my vote.
    VoteGranted,
    /// A slot that you claim belongs to somebody else.
    Update(Update),
    /// Stop accepting writes: I take over.
    ManualFailoverStart,
}

impl Body {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
            Self::Meet(_) => Kind::Meet,
            Self::Fail(_) => Kind::Fail,
            Self::Broadcast(broadcast) => broadcast.kind(),
            Self::VoteRequest => Kind::VoteRequest,
            Self::VoteGranted => Kind::VoteGranted,
            Self::Update(_) => Kind::Update,
            Self::ManualFailoverStart => Kind::ManualFailoverStart,
        }
    }
}

impl Packet {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Full { body, .. } => body.kind(),
            Self::Light(broadcast) => broadcast.kind(),
        }
    }
}

/// What is passed on to clients or modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// PUBLISH.
    Publish {
        /// The channel.
        channel: Bytes,
        /// The message.
        message: Bytes,
    },
    /// SPUBLISH.
    PublishShard {
        /// The channel.
        channel: Bytes,
        /// The message.
        message: Bytes,
    },
    /// A module's own message.
    Module {
        /// Which module.
        module: u64,
        /// Which of its messages.
        kind: u8,
        /// The message.
        payload: Bytes,
    },
}

impl Broadcast {
    fn kind(&self) -> Kind {
        match self {
            Self::Publish { .. } => Kind::Publish,
            Self::PublishShard { .. } => Kind::PublishShard,
            Self::Module { .. } => Kind::Module,
        }
    }
}

/// Who owns slots under which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The owner.
    pub node: NodeId,
    /// The epoch of its claim.
    pub config_epoch: Epoch,
    /// Everything it owns.
    pub slots: SlotSet,
}

/// What PING, PONG and MEET tell of others and of the sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossip {
    /// Some other nodes.
    pub entries: Vec<GossipEntry>,
    /// More about the sender.
    pub extensions: Vec<Extension>,
}

/// What the sender knows of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    /// The node.
    pub id: NodeId,
    /// When the sender's PING to it that waits for an answer left, in Unix seconds; 0 for none.
    pub ping_sent: u32,
    /// When it last answered the sender, in Unix seconds; 0 for never.
    pub pong_received: u32,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its port for clients.
    pub port: u16,
    /// Its port for nodes.
    pub bus_port: u16,
    /// Role and state, as the sender sees it.
    pub flags: NodeFlags,
    /// Its other port for clients.
    pub secondary_port: u16,
}

/// What follows the gossip. Kinds that are not known are skipped when read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// The sender's host name; empty when it has none any more.
    Hostname(String),
    /// The name that people gave the sender.
    HumanName(String),
    /// The sender forgot that node, and so should others for as many seconds.
    ForgottenNode {
        /// The node.
        node: NodeId,
        /// For how long it must not be learned again, in seconds.
        ttl_secs: u64,
    },
    /// The sender's shard.
    ShardId(NodeId),
}

/// The kinds of messages, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
#[allow(missing_docs, reason = "each is described where it is a Body or a Broadcast")]
pub enum Kind {
    Ping = 0,
    Pong = 1,
    Meet = 2,
    Fail = 3,
    Publish = 4,
    VoteRequest = 5,
    VoteGranted = 6,
    Update = 7,
    ManualFailoverStart = 8,
    Module = 9,
    PublishShard = 10,
}

impl Kind {
    /// Every kind, in order of its number.
    pub const ALL: [Self; 11] = [
        Self::Ping,
        Self::Pong,
        Self::Meet,
        Self::Fail,
        Self::Publish,
        Self::VoteRequest,
        Self::VoteGranted,
        Self::Update,
        Self::ManualFailoverStart,
        Self::Module,
        Self::PublishShard,
    ];

    /// The name in the `cluster_stats_messages_…` lines of CLUSTER INFO.
    pub fn stat_name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Meet => "meet",
            Self::Fail => "fail",
            Self::Publish => "publish",
            Self::VoteRequest => "auth-req",
            Self::VoteGranted => "auth-ack",
            Self::Update => "update",
            Self::ManualFailoverStart => "mfstart",
            Self::Module => "module",
            Self::PublishShard => "publishshard",
        }
    }
}
