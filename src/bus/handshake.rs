//! How nodes get to know each other: MEET, and who may say it.
//!
//! ```text
//!   we  ──MEET──▶ them     they make a nameless node of our address, answer, and dial back
//!   we  ◀─PONG──  them     the nameless node that we dialled gets its name: it is known
//! ```

use super::{Address, Body, Header, LinkId, Member, Node, NodeKey};
use crate::clock::Now;
use crate::cluster::{NodeFlags, NodeId};
use rand::RngExt;
use std::time::Duration;

/// The least time that a handshake has.
const HANDSHAKE_MIN: Duration = Duration::from_secs(1);
/// Most handshakes at once: a MEET names an address to dial, and that must not be a flood.
const HANDSHAKES_MAX: usize = 1024;

impl Member {
    /// Begins to get to know whoever listens there. `owed_meet`: we speak first.
    pub(super) fn start_handshake(&mut self, now: Now, address: Address, owed_meet: bool) {
        let same = |node: &Node| {
            (node.address.ip, node.address.bus_port) == (address.ip, address.bus_port)
        };
        let handshakes = || self.view.others().filter(|(_, node)| node.in_handshake());
        if handshakes().any(|(_, node)| same(node)) {
            return;
        }
        if handshakes().count() >= HANDSHAKES_MAX {
            tracing::warn!("too many handshakes at once: one more is not begun");
            return;
        }
        let meet = if owed_meet { NodeFlags::MEET } else { NodeFlags::NONE };
        let id = NodeId::from_random(self.rng.random());
        self.view.insert(Node::new(id, address, NodeFlags::HANDSHAKE.with(meet), now));
    }

    /// A MEET from a node that we do not know. False when it is refused.
    pub(super) fn take_in(&mut self, now: Now, link: LinkId, header: &Header) -> bool {
        let Some(peer) = self.links.get(&link).and_then(|link| link.peer) else { return false };
        let address = Address {
            ip: Some(header.ip.unwrap_or(peer)),
            port: header.port,
            secondary_port: header.secondary_port,
            bus_port: header.bus_port,
        };
        self.start_handshake(now, address, false);
        true
    }

    pub(super) fn handle_opened(&mut self, now: Now, link: LinkId) {
        let Some(opened) = self.links.get_mut(&link) else { return };
        opened.open = true;
        opened.created = now;
        let Some(key) = opened.node else { return };
        tracing::debug!(node = self.view.node(key).label(), "the link to a node is open");
        // The clock of a node that was silent before goes on from where it was.
        let waiting_since = self.view.node(key).ping_sent;
        // A MEET is owed until a PONG ends the handshake, however many links that takes.
        if self.view.node(key).flags.any(NodeFlags::MEET) {
            self.send_heartbeat(now, link, Body::Meet);
        } else {
            self.send_heartbeat(now, link, Body::Ping);
        }
        self.view.node_mut(key).ping_sent = waiting_since.or(self.view.node(key).ping_sent);
        self.ask_on_opened_link(now, link);
    }

    /// The first PONG on a link that we opened to a nameless node. Gives the node, if it is one
    /// that we did not know.
    pub(super) fn end_handshake(
        &mut self,
        link: LinkId,
        nameless: NodeKey,
        known: Option<NodeKey>,
        header: &Header,
    ) -> Option<NodeKey> {
        if let Some(known) = known {
            self.update_address(link, known, header);
            self.close(link);
            self.view.remove(nameless);
            return None;
        }
        self.view.rename(nameless, header.sender);
        let node = self.view.node_mut(nameless);
        node.flags.remove(NodeFlags::HANDSHAKE.with(NodeFlags::MEET));
        node.flags.insert(header.flags.only(NodeFlags::PRIMARY.with(NodeFlags::REPLICA)));
        self.forgotten.remove(&header.sender);
        self.out.persist = true;
        tracing::info!(node = %header.sender, "a node joined");
        Some(nameless)
    }

    /// What we sent came back: somebody told us to meet ourselves.
    pub(super) fn handle_own_echo(&mut self, now: Now, link: LinkId, body: &Body) {
        match body {
            Body::Ping(_) | Body::Meet(_) => self.send_heartbeat(now, link, Body::Pong),
            _ => {
                let node = self.links.get(&link).and_then(|link| link.node);
                let nameless = node.filter(|key| self.view.node(*key).in_handshake());
                self.close(link);
                if let Some(nameless) = nameless {
                    self.view.remove(nameless);
                }
            }
        }
    }

    pub(super) fn drop_stale_handshakes(&mut self, now: Now) {
        let limit = self.options.node_timeout.max(HANDSHAKE_MIN);
        let stale = |node: &Node| {
            let age = now.instant.saturating_duration_since(node.created.instant);
            node.in_handshake() && age > limit
        };
        let others = self.view.others();
        let stale: Vec<NodeKey> =
            others.filter(|(_, node)| stale(node)).map(|(key, _)| key).collect();
        for key in stale {
            self.drop_node(key);
        }
    }

    /// Removes a node and its links.
    pub(super) fn drop_node(&mut self, key: NodeKey) {
        let node = self.view.node(key);
        for link in [node.outbound, node.inbound].into_iter().flatten() {
            self.close(link);
        }
        self.view.remove(key);
    }

    /// Whoever answers at a node's address is another node: the address is not its own any more.
    pub(super) fn is_impostor(&mut self, link: LinkId, header: &Header) -> bool {
        let Some(key) = self.links.get(&link).and_then(|link| link.node) else { return false };
        let outbound = self.links[&link].outbound;
        let node = self.view.node(key);
        if node.in_handshake() || node.id == header.sender {
            return false;
        }
        tracing::info!(expected = %node.id, got = %header.sender, "PONG contains mismatching sender ID");
        if outbound {
            let node = self.view.node_mut(key);
            node.flags.insert(NodeFlags::NOADDR);
            node.address = Address::default();
            self.out.persist = true;
        }
        self.close(link);
        true
    }
}
