//! Heartbeats: whom to ping, what to tell of others, and what to believe of what is told.

use super::{
    Address, Body, Extension, Gossip, GossipEntry, Header, Kind, LinkId, Member, Node, NodeKey,
    Output, Packet,
};
use crate::clock::Now;
use crate::cluster::{Epoch, NodeFlags, NodeId};
use rand::RngExt;
use std::net::IpAddr;
use std::time::Duration;

/// The least number of nodes that a heartbeat tells of; else a tenth of them.
const TOLD_MIN: usize = 3;
/// Of how many nodes drawn at random the one that was silent longest is pinged each second.
const DRAWN: usize = 5;
/// Ticks in a second.
const TICKS_PER_DRAW: u64 = 10;
/// How far ahead of our clock the time of a PONG may be that gossip tells of.
const CLOCK_SKEW_MAX_MS: u64 = 500;
/// For how long a node that was forgotten stays forgotten, unless it is said otherwise.
pub(super) const FORGET_FOR: Duration = Duration::from_secs(60);

impl Member {
    /// Pings whoever was silent for half the node timeout (or `cluster-ping-interval`), and each second
    /// one more.
    pub(super) fn ping_by_the_clock(&mut self, now: Now) {
        if self.ticks.is_multiple_of(TICKS_PER_DRAW)
            && let Some(link) = self.draw_link_to_ping()
        {
            self.send_heartbeat(now, link, Body::Ping);
        }
        let limit = self.options.ping_interval.unwrap_or(self.options.node_timeout / 2);
        let due = |node: &Node| {
            let silent_since = node.pong_received.map(|pong| pong.instant);
            let silent =
                silent_since.is_none_or(|at| now.instant.saturating_duration_since(at) > limit);
            (node.ping_sent.is_none() && silent).then_some(node.outbound).flatten()
        };
        let links: Vec<LinkId> = self.view.others().filter_map(|(_, node)| due(node)).collect();
        for link in links {
            self.send_heartbeat(now, link, Body::Ping);
        }
    }

    fn draw_link_to_ping(&mut self) -> Option<LinkId> {
        let keys = self.view.other_keys();
        let mut chosen: Option<&Node> = None;
        for _ in 0..DRAWN.min(keys.len()) {
            let node = self.view.node(keys[self.rng.random_range(0..keys.len())]);
            if node.outbound.is_none() || node.ping_sent.is_some() || node.in_handshake() {
                continue;
            }
            let silent_since = |node: &Node| node.pong_received.map(|pong| pong.instant);
            if chosen.is_none_or(|best| silent_since(node) < silent_since(best)) {
                chosen = Some(node);
            }
        }
        chosen.and_then(|node| node.outbound)
    }

    /// Sends a PING, PONG or MEET with what we know of others.
    pub(super) fn send_heartbeat(&mut self, now: Now, link: LinkId, body: fn(Gossip) -> Body) {
        let to = self.links.get(&link).and_then(|link| link.node);
        let understood = to.is_some_and(|key| self.view.node(key).extensions);
        self.send_heartbeat_with(now, link, body, understood);
    }

    /// Answers a heartbeat. Whoever says in it that extensions are understood gets them, whether we know who
    /// it is or not: so a handshake ends with both ends knowing the other's host name, and not a PING later.
    fn answer(&mut self, now: Now, link: LinkId, header: &Header) {
        self.send_heartbeat_with(now, link, Body::Pong, header.extensions);
    }

    fn send_heartbeat_with(
        &mut self,
        now: Now,
        link: LinkId,
        body: fn(Gossip) -> Body,
        understood: bool,
    ) {
        let Some(known) = self.links.get(&link) else { return };
        let to = known.node;
        let (outbound, open) = (known.outbound, known.open);
        let extensions = if understood { self.extensions(now) } else { self.own_hostname() };
        let body = body(Gossip { entries: self.gossip_for(to), extensions });
        if let (Kind::Ping, true, Some(key)) = (body.kind(), outbound, to) {
            self.view.node_mut(key).ping_sent = Some(now);
        }
        if open {
            let header = Box::new(self.header());
            self.send(link, Packet::Full { header, body });
        }
    }

    /// The header of what we send.
    pub(super) fn header(&self) -> Header {
        let paused = self.is_yielding();
        let header = self.view.header();
        let flags = header.flags.with(NodeFlags::LIGHT_PUBLISH);
        Header { ip: self.options.announce_ip, paused, flags, ..header }
    }

    /// Tells everyone at once that something changed.
    pub(super) fn broadcast_pong(&mut self, now: Now) {
        for link in self.links_to_known() {
            self.send_heartbeat(now, link, Body::Pong);
        }
    }

    /// Our links to every node whose name we know.
    pub(super) fn links_to_known(&self) -> Vec<LinkId> {
        let known = self.view.others().filter(|(_, node)| !node.in_handshake());
        known.filter_map(|(_, node)| node.outbound).collect()
    }

    fn gossip_for(&mut self, to: Option<NodeKey>) -> Vec<GossipEntry> {
        let worth_telling = |node: &Node| {
            let nameless = NodeFlags::HANDSHAKE.with(NodeFlags::NOADDR);
            let unreachable_and_idle = node.outbound.is_none() && node.slot_count() == 0;
            !node.flags.any(nameless) && !unreachable_and_idle
        };
        let others =
            self.view.others().filter(|(key, node)| Some(*key) != to && worth_telling(node));
        // Whom we cannot reach is told of always: reports make a failure.
        let (silent, mut rest): (Vec<_>, Vec<_>) =
            others.partition(|(_, node)| node.flags.any(NodeFlags::PFAIL));
        let wanted = TOLD_MIN.max(self.view.len() / 10).min(rest.len());
        for i in 0..wanted {
            let j = self.rng.random_range(i..rest.len());
            rest.swap(i, j);
        }
        let seconds = |time: Option<Now>| time.map_or(0, |time| (time.unix_ms / 1000) as u32);
        let entry = |(_, node): &(NodeKey, &Node)| GossipEntry {
            id: node.id,
            ping_sent: seconds(node.ping_sent),
            pong_received: seconds(node.pong_received),
            ip: node.address.ip,
            port: node.address.port,
            bus_port: node.address.bus_port,
            flags: node.flags.without(NodeFlags::MEET.with(NodeFlags::LIGHT_PUBLISH)),
            secondary_port: node.address.secondary_port,
        };
        rest[..wanted].iter().chain(&silent).map(entry).collect()
    }

    /// What whoever is met is told, as Redis 7.0 does: who announces a host name wants to be known by it from
    /// the first word on. Nodes older than that cannot be in a cluster with one.
    fn own_hostname(&self) -> Vec<Extension> {
        self.view.myself().hostname.clone().map(Extension::Hostname).into_iter().collect()
    }

    fn extensions(&self, now: Now) -> Vec<Extension> {
        let myself = self.view.myself();
        let mut extensions = self.own_hostname();
        extensions.extend(self.options.human_name.clone().map(Extension::HumanName));
        extensions.extend(self.forgotten.iter().filter_map(|(node, until)| {
            let left = until.checked_duration_since(now.instant)?;
            let ttl_secs = left.as_secs();
            (ttl_secs > 0).then_some(Extension::ForgottenNode { node: *node, ttl_secs })
        }));
        extensions.extend(myself.shard_id.map(Extension::ShardId));
        extensions
    }

    /// PING, PONG or MEET.
    pub(super) fn handle_heartbeat(
        &mut self,
        now: Now,
        link: LinkId,
        sender: Option<NodeKey>,
        header: &Header,
        body: &Body,
    ) {
        let (Body::Ping(gossip) | Body::Pong(gossip) | Body::Meet(gossip)) = body else { return };
        let kind = body.kind();
        let mut sender = sender;
        if kind != Kind::Pong {
            if kind == Kind::Meet && sender.is_none() && !self.take_in(now, link, header) {
                self.close(link);
                return;
            }
            if kind == Kind::Meet || sender.is_some() {
                self.learn_own_ip(kind, link);
            }
            self.answer(now, link, header);
        }
        let outbound = self.links.get(&link).filter(|link| link.outbound);
        let dialled = outbound.and_then(|link| link.node);
        match dialled {
            Some(nameless) if self.view.node(nameless).in_handshake() => {
                sender = self.end_handshake(link, nameless, sender, header);
                if let Some(key) = sender {
                    if !self.hear(now, link, key, header) {
                        return;
                    }
                    self.handle_answer(now, key);
                }
            }
            Some(key) if kind == Kind::Pong => self.handle_answer(now, key),
            Some(_) | None => {}
        }
        let Some(key) = sender else { return };
        if kind == Kind::Ping {
            self.update_address(link, key, header);
        }
        self.learn_role(key, header);
        self.handle_claims(key, header);
        self.handle_gossip(now, key, gossip);
        self.handle_extensions(now, key, header, &gossip.extensions);
    }

    /// What any packet of a known node tells. False when it must not be believed.
    pub(super) fn hear(&mut self, now: Now, link: LinkId, key: NodeKey, header: &Header) -> bool {
        let claimed = header.current_epoch.max(header.config_epoch);
        if !self.is_credible(claimed) {
            tracing::error!(node = %header.sender, epoch = %claimed, "refused a jump of the epoch");
            self.close(link);
            return false;
        }
        self.view.current_epoch = self.view.current_epoch.max(claimed);
        let node = self.view.node_mut(key);
        node.data_received = Some(now);
        node.offset = header.offset;
        node.extensions = header.extensions;
        let told = NodeFlags::NOFAILOVER.with(NodeFlags::LIGHT_PUBLISH);
        node.flags = node.flags.without(told).with(header.flags.only(told));
        // A replica tells its primary's. As its own it would raise what the node claimed as a primary, and
        // that may come in behind this, over the other link.
        if header.replica_of.is_none() && header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.out.persist = true;
            self.recheck_state = true;
        }
        self.hear_of_pause(now, key, header);
        let Some(known) = self.links.get_mut(&link) else { return false };
        if known.node.is_none() {
            known.node = Some(key);
            if let Some(older) = self.view.node_mut(key).inbound.replace(link) {
                self.close(older);
            }
        }
        true
    }

    /// Whether an epoch can be true: the first that a fresh node hears may be any.
    pub(super) fn is_credible(&self, epoch: Epoch) -> bool {
        let seen = self.view.current_epoch.0;
        seen == 0 || epoch.0.saturating_sub(seen) <= super::EPOCH_JUMP_MAX
    }

    /// Our own address is the one that others reach us by, unless one is announced.
    fn learn_own_ip(&mut self, kind: Kind, link: LinkId) {
        if self.options.announce_ip.is_some() {
            return;
        }
        let Some(local) = self.links.get(&link).and_then(|link| link.local) else { return };
        let myself = self.view.myself_mut();
        if (kind == Kind::Meet || myself.address.ip.is_none()) && myself.address.ip != Some(local) {
            myself.address.ip = Some(local);
            self.out.persist = true;
            tracing::info!(ip = %local, "IP address for this node updated");
        }
    }

    /// A node may have moved: it is where its PINGs come from, or where it says.
    pub(super) fn update_address(&mut self, link: LinkId, key: NodeKey, header: &Header) {
        let Some(known) = self.links.get(&link) else { return };
        let node = self.view.node(key);
        if node.outbound == Some(link) {
            return;
        }
        let Some(ip) = header.ip.or(known.peer) else { return };
        let address = Address {
            ip: Some(ip),
            port: header.port,
            secondary_port: header.secondary_port,
            bus_port: header.bus_port,
        };
        if node.address == address {
            return;
        }
        let id = node.id;
        if let Some(stale) = node.outbound {
            self.close(stale);
        }
        let node = self.view.node_mut(key);
        node.address = address;
        node.flags.remove(NodeFlags::NOADDR);
        self.out.persist = true;
        self.recheck_state = true;
        tracing::info!(node = %id, %ip, port = address.port, "Address updated for node");
    }

    fn handle_gossip(&mut self, now: Now, teller: NodeKey, gossip: &Gossip) {
        for entry in &gossip.entries {
            match self.view.key(&entry.id) {
                Some(NodeKey::MYSELF) => {}
                Some(key) => self.hear_of(now, teller, key, entry),
                None => self.learn_of(now, entry),
            }
        }
    }

    /// Gossip about a node that we know.
    fn hear_of(&mut self, now: Now, teller: NodeKey, key: NodeKey, entry: &GossipEntry) {
        let unreachable = NodeFlags::PFAIL.with(NodeFlags::FAIL);
        let said_unreachable = entry.flags.any(unreachable);
        if self.view.node(teller).is_voter() {
            if said_unreachable {
                self.add_report(now, key, teller);
            } else {
                self.remove_report(key, teller);
            }
        }
        let node = self.view.node_mut(key);
        if said_unreachable || entry.flags.any(NodeFlags::NOADDR) {
            return;
        }
        // Others reach it: we need not ask so soon, nor distrust it.
        let pong_ms = u64::from(entry.pong_received) * 1000;
        let newer = node.pong_received.is_none_or(|pong| pong_ms > pong.unix_ms);
        if node.ping_sent.is_none()
            && node.reports.is_empty()
            && newer
            && pong_ms > 0
            && pong_ms <= now.unix_ms + CLOCK_SKEW_MAX_MS
        {
            let age = Duration::from_millis(now.unix_ms.saturating_sub(pong_ms));
            if let Some(instant) = now.instant.checked_sub(age) {
                node.pong_received = Some(Now { instant, unix_ms: pong_ms, micros: 0 });
            }
        }
        // We cannot reach it, others can, and elsewhere: it moved.
        let told = address_of(entry);
        if node.flags.any(unreachable) && node.address != told && told.ip.is_some() {
            node.address = told;
            node.flags.remove(NodeFlags::NOADDR);
            if let Some(stale) = node.outbound {
                self.close(stale);
            }
            self.out.persist = true;
        }
    }

    /// Gossip about a node that we do not know: members introduce each other.
    fn learn_of(&mut self, now: Now, entry: &GossipEntry) {
        let nameless = NodeFlags::NOADDR.with(NodeFlags::HANDSHAKE);
        let reachable = entry.ip.is_some() && entry.bus_port != 0;
        if entry.flags.any(nameless) || !reachable || self.forgotten.contains_key(&entry.id) {
            return;
        }
        // What it is, it says itself; whether it is alive, we find out. Only its role is taken
        // over, so that it can be shown.
        let role = NodeFlags::PRIMARY.with(NodeFlags::REPLICA).with(NodeFlags::NOFAILOVER);
        self.view.insert(Node::new(entry.id, address_of(entry), entry.flags.only(role), now));
        self.out.persist = true;
        tracing::info!(node = %entry.id, "learned of a node");
    }

    fn learn_shard(&mut self, key: NodeKey, id: NodeId) {
        let node = self.view.node_mut(key);
        self.out.persist |= node.shard_id != Some(id);
        node.shard_id = Some(id);
    }

    fn handle_extensions(
        &mut self,
        now: Now,
        key: NodeKey,
        header: &Header,
        extensions: &[Extension],
    ) {
        let (mut hostname, mut human_name) = (None, None);
        for extension in extensions {
            match extension {
                Extension::Hostname(name) => {
                    hostname = Some(name.clone()).filter(|n| !n.is_empty())
                }
                Extension::HumanName(name) => {
                    human_name = Some(name.clone()).filter(|name| !name.is_empty());
                }
                Extension::ShardId(id) => {
                    self.learn_shard(key, *id);
                    // It was followed before it had said so, or has come to another shard.
                    if self.view.myself().primary == Some(key) {
                        self.learn_shard(NodeKey::MYSELF, *id);
                    }
                }
                Extension::ForgottenNode { node, ttl_secs } => {
                    let for_how_long = Duration::from_secs(*ttl_secs).min(self.options.forget_for);
                    match self.view.key(node) {
                        Some(NodeKey::MYSELF) | None => {}
                        Some(forgotten) if self.view.myself().primary == Some(forgotten) => {}
                        Some(forgotten) => {
                            self.forgotten.insert(*node, now.instant + for_how_long);
                            self.forget(forgotten);
                        }
                    }
                }
            }
        }
        // A node that could say more and said nothing has not seen yet that we understand it.
        if header.extensions && extensions.is_empty() {
            return;
        }
        let Some(node) = self.view.get_mut(key) else { return };
        node.human_name = human_name;
        if node.hostname != hostname {
            node.hostname = hostname;
            self.out.persist = true;
        }
    }

    /// Drops a node for good, and notes what that changes.
    pub(super) fn forget(&mut self, key: NodeKey) {
        tracing::info!(node = %self.view.node(key).id, "forgot a node");
        self.drop_node(key);
        self.out.persist = true;
        self.recheck_state = true;
    }

    /// Sends one packet to everyone whose name we know.
    pub(super) fn broadcast(&mut self, body: &Body) {
        let header = Box::new(self.header());
        for link in self.links_to_known() {
            self.send(link, Packet::Full { header: header.clone(), body: body.clone() });
        }
    }

    /// Passes a message on to subscribers at every other node; that of a shard channel at the
    /// other nodes of our shard.
    ///
    /// Always with a full header, which every node reads: a light one says nothing of its sender, and
    /// Valkey closes a link that begins with one before it has learned who is at the other end.
    pub fn publish(&mut self, broadcast: super::Broadcast) {
        let of_shard = matches!(broadcast, super::Broadcast::PublishShard { .. });
        let shard = self.view.own_shard().id;
        let shard_of = |node: &Node| node.primary.map_or(node.id, |key| self.view.node(key).id);
        let listens = |node: &Node| !node.in_handshake() && (!of_shard || shard_of(node) == shard);
        let to = |(_, node): (NodeKey, &Node)| node.outbound.filter(|_| listens(node));
        let links: Vec<LinkId> = self.view.others().filter_map(to).collect();
        let header = Box::new(self.header());
        for link in links {
            let body = Body::Broadcast(broadcast.clone());
            self.send(link, Packet::Full { header: header.clone(), body });
        }
    }

    /// Tells a node who owns what it claims.
    pub(super) fn send_update(&mut self, to: NodeKey, owner: NodeKey) {
        let Some(link) = self.view.node(to).outbound else { return };
        let owner = self.view.node(owner);
        let body = Body::Update(super::Update {
            node: owner.id,
            config_epoch: owner.config_epoch,
            slots: owner.slots().clone(),
        });
        let header = Box::new(self.header());
        self.send(link, Packet::Full { header, body });
    }

    /// Says that the keys of slots are not ours any more.
    pub(super) fn give_up(&mut self, slots: crate::cluster::SlotSet) {
        if !slots.is_empty() {
            self.out.push(Output::SlotsLost(slots));
        }
    }
}

fn address_of(entry: &GossipEntry) -> Address {
    Address {
        ip: entry.ip.map(|ip: IpAddr| ip.to_canonical()),
        port: entry.port,
        secondary_port: entry.secondary_port,
        bus_port: entry.bus_port,
    }
}
