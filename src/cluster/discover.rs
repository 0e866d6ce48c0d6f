//! What nodes say of the cluster → one view of it.
//!
//! CLUSTER NODES is the one reply of every version that names each owner's config epoch, so it
//! decides who owns what. CLUSTER SLOTS, asked in the same round trip, adds the endpoints that
//! nodes prefer: host names, or none at all ("where you are connected").

use super::nodes_text::{InvalidLine, NodeLine, parse_nodes};
use super::{Endpoint, Epoch, NodeId, Slot, SlotSet};
use crate::resp::Reply;
use std::collections::BTreeMap;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Every node it knows, itself included.
    pub nodes: Vec<ViewNode>,
}

/// One line of CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewNode {
    /// Its id.
    pub id: NodeId,
    /// Where clients connect.
    pub endpoint: Endpoint,
    /// The node that answered.
    pub myself: bool,
    /// The primary it replicates; none for a primary.
    pub replica_of: Option<NodeId>,
    /// Whether it is a primary (a replica may not know its primary yet).
    pub primary: bool,
    /// Agreed by a majority to have failed.
    pub failed: bool,
    /// Suspected to have failed by the node that answered.
    pub suspected: bool,
    /// Not a member yet, or without a known address: nothing to connect to.
    pub unusable: bool,
    /// The version of its claim to slots.
    pub config_epoch: Epoch,
    /// Whether the node that answered has a connection to it.
    pub connected: bool,
    /// The slots it owns.
    pub slots: SlotSet,
    /// Slots it is giving away, and to whom.
    pub migrating: Vec<(Slot, NodeId)>,
    /// Slots it is taking over, and from whom.
    pub importing: Vec<(Slot, NodeId)>,
}

/// Why an answer could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A line of CLUSTER NODES that is none.
    #[error("{0}")]
    Line(#[from] InvalidLine),
    /// A node of the cluster is named without a port.
    #[error("CLUSTER NODES has no address of {0}")]
    Address(NodeId),
    /// No line is flagged `myself`, or several are.
    #[error("CLUSTER NODES has {0} lines flagged `myself`, not one")]
    Myself(usize),
    /// CLUSTER SLOTS did not answer a list of ranges.
    #[error("CLUSTER SLOTS is malformed")]
    Slots,
}

impl View {
    /// Reads CLUSTER NODES. `connected_to` is the host that was asked: what an empty host means.
    ///
    /// # Errors
    /// A line that cannot be read, or not exactly one `myself`.
    pub fn parse(text: &str, connected_to: &str) -> Result<Self, ViewError> {
        let nodes = parse_nodes(text)?
            .into_iter()
            .map(|line| ViewNode::of(line, connected_to))
            .collect::<Result<Vec<_>, _>>()?;
        match nodes.iter().filter(|node| node.myself).count() {
            1 => Ok(Self { nodes }),
            n => Err(ViewError::Myself(n)),
        }
    }

    /// Takes the endpoints that CLUSTER SLOTS prefers over the addresses of CLUSTER NODES.
    ///
    /// # Errors
    /// A reply that is no list of ranges; the view is unchanged then.
    pub fn prefer_endpoints(&mut self, slots: &Reply, connected_to: &str) -> Result<(), ViewError> {
        let preferred = preferred_endpoints(slots, connected_to).ok_or(ViewError::Slots)?;
        for node in &mut self.nodes {
            if let Some(endpoint) = preferred.get(&node.id) {
                node.endpoint = endpoint.clone();
                node.unusable = false;
            }
        }
        Ok(())
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&ViewNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The highest config epoch of all.
    pub fn epoch(&self) -> Epoch {
        self.nodes.iter().map(|node| node.config_epoch).max().unwrap_or_default()
    }

    /// How many slots have an owner.
    pub fn slots_covered(&self) -> usize {
        let mut covered = SlotSet::new();
        for slot in self.nodes.iter().flat_map(|node| node.slots.iter()) {
            covered.insert(slot);
        }
        covered.len()
    }

    /// How many slots are being moved, as far as the node that answered knows.
    pub fn slots_open(&self) -> usize {
        self.nodes.iter().map(|node| node.migrating.len() + node.importing.len()).sum()
    }
}

impl ViewNode {
    /// What a line says. An empty host is the one that was asked; who has no port is only heard of.
    fn of(line: NodeLine, connected_to: &str) -> Result<Self, ViewError> {
        let unusable = line.has("handshake") || line.has("noaddr");
        let beside = line.port.map(|port| Endpoint::new(connected_to, port));
        let nowhere = unusable.then(|| Endpoint::new(connected_to, 0));
        let endpoint = line.endpoint.clone().or(beside).or(nowhere);
        Ok(Self {
            id: line.id,
            myself: line.has("myself"),
            replica_of: line.primary,
            primary: line.is_primary(),
            failed: line.has("fail"),
            suspected: line.has("fail?"),
            unusable,
            config_epoch: line.config_epoch,
            connected: line.connected,
            endpoint: endpoint.ok_or(ViewError::Address(line.id))?,
            slots: line.slots,
            migrating: line.migrating.into_iter().collect(),
            importing: line.importing.into_iter().collect(),
        })
    }
}

/// CLUSTER SLOTS: `[[first, last, [endpoint, port, id, [metadata]], …], …]`. A null endpoint is
/// the host that was asked; `?` is a host name that the node does not know: its address stays.
fn preferred_endpoints(slots: &Reply, connected_to: &str) -> Option<BTreeMap<NodeId, Endpoint>> {
    let mut preferred = BTreeMap::new();
    for range in slots.as_array()? {
        for node in range.as_array()?.get(2..)? {
            let [host, port, id, ..] = node.as_array()? else { return None };
            let id = NodeId::parse(id.as_bytes()?).ok()?;
            let port = u16::try_from(port.as_integer()?).ok().filter(|&port| port != 0)?;
            let host = match host {
                Reply::Null => connected_to,
                host => match host.as_str()? {
                    "" => connected_to,
                    "?" => continue,
                    host => host,
                },
            };
            preferred.insert(id, Endpoint::new(host, port));
        }
    }
    Some(preferred)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// The forms that 7.0.15, 7.2 and Valkey 9.1.2 write.
    #[test]
    fn every_form_of_a_line_is_read() {
        let text = format!(
            "{A} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-5460 7000 [19->-{B}]\n\
             {B} :7001@17001,node-b,shard-id=x master,fail? - 1 2 4 disconnected [20-<-{A}]\n\
             cccccccccccccccccccccccccccccccccccccccc ::1:7002@17002 slave,fail {A} 0 0 3 connected\n\
             dddddddddddddddddddddddddddddddddddddddd :0@0 master,noaddr - 0 0 0 disconnected\n"
        );
        let view = View::parse(&text, "10.0.0.9").expect("valid");
        let [a, b, c, d] = &view.nodes[..] else { panic!("four nodes") };
        assert_eq!((a.slots.len(), a.migrating.len(), a.config_epoch), (5462, 1, Epoch(3)));
        assert_eq!(b.endpoint, Endpoint::new("10.0.0.9", 7001));
        assert!(b.suspected && !b.failed && !b.connected && b.importing.len() == 1);
        assert_eq!(c.endpoint, Endpoint::new("::1", 7002));
        assert!(c.failed && !c.primary && c.replica_of == Some(a.id));
        assert!(d.unusable);
        assert_eq!((view.epoch(), view.slots_covered(), view.slots_open()), (Epoch(4), 5462, 2));
    }

    #[test]
    fn half_an_answer_is_none() {
        for text in [
            "",
            "hello",
            &format!("{A} 127.0.0.1:7000@17000 master - 0 0 3 connected 0-5460"),
            &format!("{A} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 5-1"),
            &format!("{A} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 16384"),
            &format!("{A} 127.0.0.1 myself,master - 0 0 3 connected"),
            &format!("{A} 127.0.0.1:7000@17000 myself,master - 0 0"),
        ] {
            assert!(View::parse(text, "h").is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_endpoints_that_nodes_prefer_win() {
        let text = format!("{A} 127.0.0.1:7000@17000,name myself,master - 0 0 3 connected 0-5460");
        let slots = |host: Reply| {
            Reply::Array(vec![Reply::Array(vec![
                Reply::Integer(0),
                Reply::Integer(5460),
                Reply::Array(vec![host, Reply::Integer(7009), Reply::bulk(A)]),
            ])])
        };
        for (host, expected) in [
            (Reply::bulk("name"), Endpoint::new("name", 7009)),
            (Reply::Null, Endpoint::new("asked", 7009)),
            (Reply::bulk("?"), Endpoint::new("127.0.0.1", 7000)),
        ] {
            let mut view = View::parse(&text, "asked").expect("valid");
            view.prefer_endpoints(&slots(host), "asked").expect("valid");
            assert_eq!(view.nodes[0].endpoint, expected);
        }
        let mut view = View::parse(&text, "asked").expect("valid");
        let lie = Reply::Array(vec![Reply::Array(vec![Reply::bulk("notanint")])]);
        assert_eq!(view.prefer_endpoints(&lie, "asked"), Err(ViewError::Slots));
    }
}
