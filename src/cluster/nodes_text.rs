//! The lines of CLUSTER NODES: how every node tells what it believes of every other.
//!
//! Read leniently where versions differ (`@cport`, host names, shard ids, slot words) and
//! strictly where a wrong reading would move data: ids, slots, epochs.

use super::{Endpoint, Epoch, NodeId, Slot, SlotSet};
use std::collections::BTreeMap;

/// One node, as one line describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Its id.
    pub id: NodeId,
    /// Where its clients connect; `None` while nobody knows (`:0`, or `:port` of a node that
    /// does not know its own address yet).
    pub endpoint: Option<Endpoint>,
    /// The port at which clients connect, also where only the host is missing.
    pub port: Option<u16>,
    /// The port of its bus, where the line tells.
    pub bus_port: Option<u16>,
    /// The words of the flags field, in order: `myself`, `master`, `fail?`, …
    pub flags: Vec<String>,
    /// The primary that a replica follows.
    pub primary: Option<NodeId>,
    /// The epoch of its claim.
    pub config_epoch: Epoch,
    /// Whether the bus link to it stands.
    pub connected: bool,
    /// The slots it claims.
    pub slots: SlotSet,
    /// Open slots that leave it, and for where. Only in a node's own line.
    pub migrating: BTreeMap<Slot, NodeId>,
    /// Open slots that come to it, and from where. Only in a node's own line.
    pub importing: BTreeMap<Slot, NodeId>,
}

/// What is shown of a line that does not read: characters.
const LINE_SHOWN: usize = 200;

/// A text that is not CLUSTER NODES'; the line that does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of CLUSTER NODES: `{0}`")]
pub struct InvalidLine(pub String);

impl NodeLine {
    /// Whether a flag is set, by its word.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|word| word == flag)
    }

    /// Whether it says it is a primary.
    pub fn is_primary(&self) -> bool {
        self.has("master") || self.has("primary")
    }

    /// Whether it says it is a replica.
    pub fn is_replica(&self) -> bool {
        self.has("slave")
    }

    /// Whether it is worth a connection: it has an address and nobody holds it for dead. A bus
    /// link that is down says nothing about the client port, so it is tried.
    pub fn is_reachable(&self) -> bool {
        self.endpoint.is_some()
            && !["fail", "noaddr", "handshake"].iter().any(|flag| self.has(flag))
    }
}

/// Reads a whole answer.
///
/// # Errors
/// The first line that does not read.
pub fn parse_nodes(text: &str) -> Result<Vec<NodeLine>, InvalidLine> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            parse_line(line).ok_or_else(|| InvalidLine(line.chars().take(LINE_SHOWN).collect()))
        })
        .collect()
}

fn parse_line(line: &str) -> Option<NodeLine> {
    let mut fields = line.split_ascii_whitespace();
    let id = NodeId::parse(fields.next()?.as_bytes()).ok()?;
    let (endpoint, port, bus_port) = parse_address(fields.next()?);
    let flags: Vec<String> = fields.next()?.split(',').map(str::to_owned).collect();
    let primary = match fields.next()? {
        "-" => None,
        id => Some(NodeId::parse(id.as_bytes()).ok()?),
    };
    let (_ping_sent, _pong_received) = (fields.next()?, fields.next()?);
    let config_epoch = Epoch(fields.next()?.parse().ok()?);
    let connected = match fields.next()? {
        "connected" => true,
        "disconnected" => false,
        _ => return None,
    };
    let mut node = NodeLine {
        id,
        endpoint,
        port,
        bus_port,
        flags,
        primary,
        config_epoch,
        connected,
        slots: SlotSet::new(),
        migrating: BTreeMap::new(),
        importing: BTreeMap::new(),
    };
    for word in fields {
        parse_slots(word, &mut node)?;
    }
    Some(node)
}

/// `host:port@cport,hostname,key=value…`: later versions append, earlier ones lack the tail.
fn parse_address(text: &str) -> (Option<Endpoint>, Option<u16>, Option<u16>) {
    let address = text.split(',').next().unwrap_or(text);
    let (address, bus_port) = match address.split_once('@') {
        Some((address, bus_port)) => (address, bus_port.parse().ok()),
        None => (address, None),
    };
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    (Endpoint::parse(address).ok(), port.filter(|port| *port != 0), bus_port)
}

/// `7`, `0-5460`, `[93->-id]` or `[77-<-id]`.
fn parse_slots(word: &str, node: &mut NodeLine) -> Option<()> {
    let slot = |text: &str| Slot::new(text.parse().ok()?).ok();
    if let Some(open) = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
        if let Some((number, to)) = open.split_once("->-") {
            node.migrating.insert(slot(number)?, NodeId::parse(to.as_bytes()).ok()?);
        } else {
            let (number, from) = open.split_once("-<-")?;
            node.importing.insert(slot(number)?, NodeId::parse(from.as_bytes()).ok()?);
        }
        return Some(());
    }
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (slot(first)?, slot(last)?);
    if first > last {
        return None;
    }
    for number in first.number()..=last.number() {
        node.slots.insert(Slot::new(number).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
    const OTHER: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";

    #[test]
    fn lines_of_every_version_are_read() {
        for (address, endpoint, bus_port) in [
            ("127.0.0.1:30004", Some("127.0.0.1:30004"), None),
            ("127.0.0.1:30004@31004", Some("127.0.0.1:30004"), Some(31004)),
            ("127.0.0.1:30004@31004,host-4", Some("127.0.0.1:30004"), Some(31004)),
            ("10.0.0.1:1@10001,,tls-port=0,shard-id=69b", Some("10.0.0.1:1"), Some(10001)),
            ("::1:7000@17000", Some("[::1]:7000"), Some(17000)),
            (":7000@17000", None, Some(17000)),
            (":0@0", None, Some(0)),
        ] {
            let line = format!("{ID} {address} master - 0 1426238317239 4 connected 0-1 7");
            let nodes = parse_nodes(&line).expect("a line");
            let endpoint = endpoint.map(|e| Endpoint::parse(e).expect("an endpoint of the test"));
            assert_eq!((&nodes[0].endpoint, nodes[0].bus_port), (&endpoint, bus_port), "{address}");
            assert_eq!(nodes[0].slots.to_string(), "0-1 7");
        }
    }

    #[test]
    fn open_slots_tell_where_they_go_and_come_from() {
        let text = format!(
            "{ID} 127.0.0.1:1@10001 myself,master - 0 0 3 connected 5 [5->-{OTHER}] [9-<-{OTHER}]\n"
        );
        let node = parse_nodes(&text).expect("a line").remove(0);
        let other = NodeId::parse(OTHER.as_bytes()).expect("an id");
        let slot = |n| Slot::new(n).expect("in range");
        assert_eq!(node.migrating, BTreeMap::from([(slot(5), other)]));
        assert_eq!(node.importing, BTreeMap::from([(slot(9), other)]));
        assert_eq!(node.slots.len(), 1);
    }

    #[test]
    fn the_dead_and_the_unknown_are_not_worth_a_connection() {
        for (flags, link, reachable) in [
            ("master", "connected", true),
            ("master,fail?", "connected", true),
            ("master,fail", "connected", false),
            ("slave,noaddr", "connected", false),
            ("handshake", "connected", false),
            ("master", "disconnected", true),
        ] {
            let line = format!("{ID} 127.0.0.1:1@10001 {flags} - 0 0 3 {link}");
            let node = parse_nodes(&line).expect("a line").remove(0);
            assert_eq!(node.is_reachable(), reachable, "{flags} {link}");
        }
    }

    #[test]
    fn what_could_move_the_wrong_data_is_refused() {
        for text in [
            "abc 127.0.0.1:1 master - 0 0 3 connected",
            &format!("{ID} 127.0.0.1:1 master - 0 0 3"),
            &format!("{ID} 127.0.0.1:1 master - 0 0 x connected"),
            &format!("{ID} 127.0.0.1:1 master - 0 0 1 connected 16384"),
            &format!("{ID} 127.0.0.1:1 master - 0 0 1 connected 9-5"),
            &format!("{ID} 127.0.0.1:1 master - 0 0 1 maybe 5"),
            &format!("{ID} 127.0.0.1:1 master - 0 0 1 connected [5->-zzz]"),
            &format!("{ID} 127.0.0.1:1 slave zzz 0 0 1 connected"),
        ] {
            assert!(parse_nodes(text).is_err(), "{text}");
        }
    }
}
