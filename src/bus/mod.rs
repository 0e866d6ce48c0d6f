//! Node to node: the cluster bus as a machine without I/O.
//!
//! ```text
//!   packets, links, time ──handle_input──▶ Member ──poll_output──▶ Persist, Connect, Send, …
//!   CLUSTER commands     ────────apply───▶ (View)  ──poll_timeout─▶ when to come back
//! ```
//! Every output in order, and `Persist` comes before whatever follows from what it saves: who carries it
//! out before the next output lets others hear only of what is on disk. Disks take their time:
//! [`Promises`] says what waits for them, and what goes on meanwhile.
//!
//! What a stranger sends changes nothing, but for a MEET from where one is allowed: everything
//! else is believed only from nodes that are in the view.

mod admin;
mod ballot;
mod claims;
mod codec;
mod election;
mod failure;
mod gossip;
mod guard;
mod handshake;
mod info;
mod link;
mod manual;
mod options;
mod output;
mod packet;
mod promises;
mod replica_migration;
mod role;
mod tamper;
mod view;
mod vote;

pub use admin::{Applied, Change, Refusal};
pub use codec::{
    HEADER_LEN, LIGHT_HEADER_LEN, PACKET_MAX, PacketError, STRANGER_PACKET_MAX, decode, encode,
    next_frame,
};
pub use guard::DataAtStart;
pub use info::{LinkInfo, Stats};
pub use manual::FailoverMode;
pub use options::{BUS_PORT_OFFSET, InvalidIpRange, IpRange, LINK_BUFFER_MAX, Options};
pub use output::{Input, LinkId, Output};
pub use packet::{Body, Broadcast, Extension, Gossip, GossipEntry, Header, Kind, Packet, Update};
pub use promises::{Promises, Step};
pub use role::{Replication, Source};
pub use tamper::{Drops, Ends};
pub use view::{Address, Node, NodeKey, View};
pub use vote::VoteRefusal;

use crate::clock::Now;
use crate::cluster::{Durable, Epoch, NodeFlags, NodeId};
use ballot::SavedEpochs;
use election::{Election, Unfit};
use link::Link;
use manual::ManualFailover;
use output::Outputs;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use vote::Denial;

/// How often a member looks at its timers.
const TICK: Duration = Duration::from_millis(100);
/// A current epoch that jumps by more than this is a forgery or a fault, and is not believed.
const EPOCH_JUMP_MAX: u64 = 1 << 20;

/// This node's part in its cluster.
#[derive(Debug)]
pub struct Member {
    options: Options,
    view: View,
    rng: SmallRng,
    links: BTreeMap<LinkId, Link>,
    last_link: u64,
    /// Nodes that were forgotten, and until when gossip must not bring them back.
    forgotten: BTreeMap<NodeId, Instant>,
    stats: Stats,
    out: Outputs,
    /// How far our data is.
    replication: Replication,
    /// Whom replication was told to copy.
    following: Option<Source>,
    /// The election that we stand for.
    election: Option<Election>,
    /// Why we do not, as the log was told.
    unfit: Option<Unfit>,
    /// What is on disk of the epochs, if somebody tells.
    saved: Option<SavedEpochs>,
    /// To whom our last vote went, and in which epoch: lost in a restart, unlike the epoch.
    last_vote: Option<(Epoch, NodeId)>,
    /// What the log was last told about a vote that was not given.
    denied: Option<Denial>,
    /// CLUSTER FAILOVER, at either end.
    manual: Option<ManualFailover>,
    /// Silent: our data is lost, or some of it, and a replica may have it.
    guard: Option<guard::Guard>,
    /// Everyone is to hear at once of what we own, and since when: once for all that changed in this turn.
    announce_since: Option<Now>,
    /// What DEBUG has thrown away.
    drops: Drops,
    /// Something changed that the cluster's state may depend on.
    recheck_state: bool,
    started: Instant,
    /// When most primaries were last out of reach.
    in_minority_at: Option<Instant>,
    next_tick: Instant,
    last_tick: Instant,
    ticks: u64,
}

impl Member {
    /// A member with what it saved, or with a name of its own making. `seed` must differ from
    /// node to node: names are drawn from it.
    pub fn new(options: Options, saved: Option<&Durable>, seed: [u8; 32], now: Now) -> Self {
        let mut rng = SmallRng::from_seed(seed);
        let mut out = Outputs::default();
        let view = match saved {
            Some(durable) => View::restore(durable, now),
            None => {
                out.persist = true;
                let id = NodeId::from_random(rng.random());
                let flags = NodeFlags::MYSELF.with(NodeFlags::PRIMARY);
                View::new(Node::new(id, Address::default(), flags, now))
            }
        };
        let mut member = Self {
            options: options.clone(),
            view,
            rng,
            links: BTreeMap::new(),
            last_link: 0,
            forgotten: BTreeMap::new(),
            stats: Stats::default(),
            out,
            replication: Replication::default(),
            following: None,
            election: None,
            unfit: None,
            saved: None,
            last_vote: None,
            denied: None,
            manual: None,
            guard: None,
            announce_since: None,
            drops: Drops::default(),
            recheck_state: true,
            started: now.instant,
            in_minority_at: None,
            next_tick: now.instant,
            last_tick: now.instant,
            ticks: 0,
        };
        if member.view.myself().shard_id.is_none() {
            let shard_id = NodeId::from_random(member.rng.random());
            member.view.myself_mut().shard_id = Some(shard_id);
            member.out.persist = true;
        }
        member.set_options(options);
        member.settle_role();
        member
    }

    /// Takes over other settings.
    pub fn set_options(&mut self, options: Options) {
        let myself = self.view.myself_mut();
        let before = (myself.address, myself.hostname.clone(), myself.flags);
        myself.flags.remove(NodeFlags::NOFAILOVER);
        if options.no_failover {
            myself.flags.insert(NodeFlags::NOFAILOVER);
        }
        myself.address.port = options.port;
        myself.address.bus_port = options.bus_port;
        myself.address.secondary_port = options.tls_port;
        myself.address.ip = options.announce_ip.or(myself.address.ip);
        myself.hostname.clone_from(&options.announce_hostname);
        self.out.persist |= before != (myself.address, myself.hostname.clone(), myself.flags);
        self.recheck_state = true;
        self.options = options;
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The cluster as it believes it.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Takes one event. [`Member::poll_output`] tells what follows.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Timeout => self.tick(now),
            Input::Opened(link) => self.handle_opened(now, link),
            Input::Accepted { link, peer, local } => self.handle_accepted(now, link, peer, local),
            Input::Closed(link) => self.handle_closed(link),
            Input::Received { link, packet: Ok(packet) } => self.handle_packet(now, link, packet),
            Input::Received { link, packet: Err(error) } => self.handle_fault(link, &error),
        }
        self.settle(now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        if std::mem::take(&mut self.out.persist) {
            return Some(Output::Persist(self.view.durable()));
        }
        if let Some(now) = self.announce_since.take() {
            self.broadcast_pong(now);
        }
        self.out.pop()
    }

    /// Whether [`Member::poll_output`] has something.
    pub fn has_output(&self) -> bool {
        self.out.persist || self.announce_since.is_some() || !self.out.is_empty()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next_tick)
    }

    fn tick(&mut self, now: Now) {
        if now.instant < self.next_tick {
            return;
        }
        self.next_tick = now.instant + TICK;
        let asleep = now.instant.saturating_duration_since(self.last_tick);
        self.last_tick = now.instant;
        self.ticks += 1;
        self.forgive_silence_while_asleep(now, asleep);
        self.forgotten.retain(|_, until| *until > now.instant);
        self.look_after_guard(now);
        if self.is_guarded() {
            return;
        }
        self.drop_stale_handshakes(now);
        self.dial_missing_links(now);
        self.ping_by_the_clock(now);
        self.look_for_silent_nodes(now);
        self.look_after_manual_failover(now);
        self.look_for_orphans(now);
        // A cluster that is down may have come back by the mere passing of time.
        self.recheck_state |= !self.view.state_ok;
    }

    /// What follows from an input once all of it was looked at.
    fn settle(&mut self, now: Now) {
        // Whatever was heard may be what a replica waits for: its primary has failed, a vote came.
        self.look_after_election(now);
        if std::mem::take(&mut self.recheck_state) {
            self.update_state(now);
        }
        self.settle_role();
    }

    fn handle_packet(&mut self, now: Now, link: LinkId, packet: Packet) {
        let Some(known) = self.links.get(&link) else { return };
        self.stats.count_received(packet.kind());
        if self.is_dropped(packet.kind()) {
            return;
        }
        let (header, body) = match packet {
            Packet::Full { header, body } => (header, body),
            Packet::Light(broadcast) => {
                // Nobody is named in it: it means something only on a link that is somebody's.
                match known.node.and_then(|key| self.view.get(key)) {
                    Some(node) if !node.in_handshake() => {
                        self.out.push(Output::Deliver(broadcast));
                    }
                    _ => self.close(link),
                }
                return;
            }
        };
        if self.is_impostor(link, &header) {
            return;
        }
        let sender = self.view.key(&header.sender);
        let sender = sender.filter(|key| !self.view.node(*key).in_handshake());
        if sender == Some(NodeKey::MYSELF) {
            self.handle_own_echo(now, link, &body);
            return;
        }
        if let Some(key) = sender
            && !self.hear(now, link, key, &header)
        {
            return;
        }
        match (body, sender) {
            (body @ (Body::Ping(_) | Body::Pong(_) | Body::Meet(_)), sender) => {
                self.handle_heartbeat(now, link, sender, &header, &body);
            }
            (body, None) => {
                self.stats.strange += 1;
                if self.stats.strange.is_power_of_two() {
                    let (sender, kind) = (header.sender, body.kind());
                    let refused = self.stats.strange;
                    tracing::warn!(%sender, ?kind, refused, "refused a packet of an unknown node");
                }
            }
            (Body::Fail(id), Some(key)) => self.handle_fail(now, key, &id),
            (Body::Update(update), Some(_)) => self.handle_update(&update),
            (Body::Broadcast(broadcast), Some(_)) => self.out.push(Output::Deliver(broadcast)),
            (Body::VoteRequest, Some(key)) => self.handle_vote_request(now, link, key, &header),
            (Body::VoteGranted, Some(key)) => self.handle_vote(key, &header),
            (Body::ManualFailoverStart, Some(key)) => self.handle_manual_failover_start(now, key),
        }
    }
}

#[cfg(test)]
mod tests;
