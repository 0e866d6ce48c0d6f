//! Links: one TCP connection each way between two nodes. We speak first on those that we opened,
//! and answer on those that were opened to us.

use super::{LinkId, Member, NodeKey, Output, Packet, PacketError};
use crate::clock::Now;
use std::net::{IpAddr, SocketAddr};

/// Packets that are none, after which a link is closed.
const FAULTS_MAX: u8 = 10;
/// Most connections from nodes that we do not know: a flood of them must not take every file.
const STRANGERS_MAX: usize = 256;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Whose it is; none while a connection to us has not said so.
    pub(super) node: Option<NodeKey>,
    pub(super) outbound: bool,
    /// Packets can be sent.
    pub(super) open: bool,
    pub(super) peer: Option<IpAddr>,
    /// The address of ours that the peer reached.
    pub(super) local: Option<IpAddr>,
    pub(super) created: Now,
    pub(super) faults: u8,
    pub(super) send_buffer: (usize, usize),
}

impl Member {
    /// A name for a connection that was just accepted: for
    /// [`Input::Accepted`](super::Input::Accepted). `None` when it is from where none is allowed,
    /// or too many strangers are connected already: close it. `local` is the address of ours that
    /// the peer reached.
    pub fn new_link(&mut self, peer: IpAddr, local: IpAddr) -> Option<LinkId> {
        let strangers = || self.links.values().filter(|link| link.node.is_none()).count();
        let why = if !self.may_connect(peer.to_canonical(), local.to_canonical()) {
            "to allow nodes from there, add the address to cluster-allow-from"
        } else if strangers() >= STRANGERS_MAX {
            "too many connections have not said yet whose they are"
        } else {
            return Some(self.next_link());
        };
        self.stats.refused_links += 1;
        let refused = self.stats.refused_links;
        // Not a line for each: whoever tries may try often.
        if refused.is_power_of_two() {
            tracing::warn!(%peer, refused, "refused a connection to the cluster bus: {why}");
        }
        None
    }

    /// Whether nodes may connect from there.
    fn may_connect(&self, peer: IpAddr, local: IpAddr) -> bool {
        (self.options.allow_this_host && (peer.is_loopback() || peer == local))
            || self.options.allow_from.iter().any(|range| range.contains(peer))
            || self.view.others().any(|(_, node)| node.address.ip == Some(peer))
    }

    fn next_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    /// Most bytes that one packet on this link may have.
    pub fn packet_max(&self, link: LinkId) -> usize {
        match self.links.get(&link).and_then(|link| link.node) {
            Some(_) => super::PACKET_MAX,
            None => super::STRANGER_PACKET_MAX,
        }
    }

    /// What the shell holds back for a link: bytes allocated and used (CLUSTER LINKS).
    pub fn set_send_buffer(&mut self, link: LinkId, allocated: usize, used: usize) {
        if let Some(link) = self.links.get_mut(&link) {
            link.send_buffer = (allocated, used);
        }
    }

    /// A link was closed because its peer did not read: for the count in CLUSTER INFO. The shell
    /// says [`Input::Closed`](super::Input::Closed) besides.
    pub fn count_overflow(&mut self) {
        self.stats.links_overflowed += 1;
    }

    pub(super) fn dial_missing_links(&mut self, now: Now) {
        for key in self.view.other_keys() {
            let node = self.view.node(key);
            let Some(ip) = node.address.ip else { continue };
            if node.outbound.is_some() || node.address.bus_port == 0 {
                continue;
            }
            let to = SocketAddr::new(ip, node.address.bus_port);
            let link = self.next_link();
            let node = self.view.node_mut(key);
            node.outbound = Some(link);
            // Silence counts from the first attempt, whether or not a connection comes about.
            node.ping_sent.get_or_insert(now);
            self.links.insert(
                link,
                Link {
                    node: Some(key),
                    outbound: true,
                    open: false,
                    peer: Some(ip),
                    local: None,
                    created: now,
                    faults: 0,
                    send_buffer: (0, 0),
                },
            );
            self.out.push(Output::Connect { link, to });
        }
    }

    pub(super) fn handle_accepted(&mut self, now: Now, link: LinkId, peer: IpAddr, local: IpAddr) {
        let (peer, local) = (Some(peer.to_canonical()), Some(local.to_canonical()));
        self.links.insert(
            link,
            Link {
                node: None,
                outbound: false,
                open: true,
                peer,
                local,
                created: now,
                faults: 0,
                send_buffer: (0, 0),
            },
        );
    }

    /// A connection is gone.
    pub(super) fn handle_closed(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else { return };
        if let Some(key) = gone.node.filter(|key| self.view.get(*key).is_some()) {
            if gone.open {
                let (node, outbound) = (self.view.node(key).label(), gone.outbound);
                tracing::debug!(node, outbound, "the link with a node is closed");
            }
            let node = self.view.node_mut(key);
            for end in [&mut node.outbound, &mut node.inbound] {
                end.take_if(|known| *known == link);
            }
        }
    }

    /// Closes a link of ours.
    pub(super) fn close(&mut self, link: LinkId) {
        if self.links.contains_key(&link) {
            self.handle_closed(link);
            self.out.push(Output::Close(link));
        }
    }

    /// Sends on a link that is open; on any other the packet is lost, as on a network.
    pub(super) fn send(&mut self, link: LinkId, packet: Packet) {
        if !self.is_guarded() && self.links.get(&link).is_some_and(|link| link.open) {
            self.stats.count_sent(packet.kind());
            self.out.push(Output::Send { link, packet });
        }
    }

    pub(super) fn handle_fault(&mut self, link: LinkId, error: &PacketError) {
        let Some(known) = self.links.get_mut(&link) else { return };
        known.faults = known.faults.saturating_add(1);
        let last = known.faults >= FAULTS_MAX || !error.is_recoverable();
        let peer = known.peer;
        self.stats.malformed += 1;
        // One line per link at most, whatever is thrown at it.
        if last {
            tracing::warn!(?peer, %error, "closing a link of the cluster bus");
            self.close(link);
        } else {
            tracing::debug!(?peer, %error, "ignored a packet of the cluster bus");
        }
    }
}
