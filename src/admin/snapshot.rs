//! Every node's own view of the cluster, in one value: what all plans start from.
//!
//! A node is believed about itself only (its slots, its role, its open slots); what it says of
//! others serves to find them and to see whether all agree.

use crate::cluster::{Endpoint, NodeId, NodeLine, Slot, SlotSet};
use std::collections::BTreeMap;

/// What one node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// The address by which we reached it.
    pub endpoint: Endpoint,
    /// Its line about itself.
    pub own: NodeLine,
    /// Its lines about others.
    pub others: Vec<NodeLine>,
}

impl NodeView {
    /// Its id.
    pub fn id(&self) -> NodeId {
        self.own.id
    }

    /// Whether it is a server before Redis 4.0, which prints no bus port and speaks version 0 of the
    /// bus's protocol: nodes of version 1 drop what it says.
    pub fn has_old_bus(&self) -> bool {
        self.own.bus_port.is_none()
    }

    /// Who owns which slots in this node's eyes, primaries without slots left out.
    pub fn slot_owners(&self) -> BTreeMap<NodeId, &SlotSet> {
        let lines = self.others.iter().chain([&self.own]);
        lines.filter(|line| !line.slots.is_empty()).map(|line| (line.id, &line.slots)).collect()
    }

    /// Whether it has heard of a node, and no longer just shakes hands with it.
    pub fn knows(&self, id: NodeId) -> bool {
        id == self.own.id || self.others.iter().any(|line| line.id == id && !line.has("handshake"))
    }
}

/// Two nodes that would wait for each other for ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Node {old} is a server before Redis 4.0 (version 0 of the cluster bus), {other} is not (version \
     1): they can't be in one cluster."
)]
pub struct MixedBuses {
    old: Endpoint,
    other: Endpoint,
}

/// Makes sure that nodes which are to be in one cluster can talk to each other.
///
/// # Errors
/// Some of them speak another version of the bus.
pub fn assert_one_bus<'a>(
    nodes: impl Iterator<Item = &'a NodeView> + Clone,
) -> Result<(), MixedBuses> {
    let old = nodes.clone().find(|node| node.has_old_bus());
    let other = nodes.clone().find(|node| !node.has_old_bus());
    match (old, other) {
        (Some(old), Some(other)) => {
            Err(MixedBuses { old: old.endpoint.clone(), other: other.endpoint.clone() })
        }
        _ => Ok(()),
    }
}

/// Every node that answered, the one that was named first at the front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The views.
    pub nodes: Vec<NodeView>,
    /// Nodes that others know and that did not answer.
    pub unreachable: Vec<NodeLine>,
}

impl Snapshot {
    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.id() == id)
    }

    /// The nodes that say they are primaries, with or without slots.
    pub fn primaries(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.own.is_primary())
    }

    /// The primary with this id.
    pub fn primary(&self, id: NodeId) -> Option<&NodeView> {
        self.primaries().find(|node| node.id() == id)
    }

    /// The nodes that say they follow this one.
    pub fn replicas_of(&self, id: NodeId) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(move |node| node.own.primary == Some(id))
    }

    /// The primaries that claim a slot: one, in a cluster that is well.
    pub fn claimants(&self, slot: Slot) -> Vec<&NodeView> {
        self.primaries().filter(|node| node.own.slots.contains(slot)).collect()
    }

    /// The slots that somebody claims.
    pub fn covered(&self) -> SlotSet {
        let mut covered = SlotSet::new();
        for node in self.primaries() {
            for slot in node.own.slots.iter() {
                covered.insert(slot);
            }
        }
        covered
    }

    /// Whether all nodes give every slot to the same owner.
    pub fn agrees(&self) -> bool {
        let mut views = self.nodes.iter().map(NodeView::slot_owners);
        let Some(first) = views.next() else { return true };
        views.all(|view| view == first)
    }

    /// Whether all nodes know each other by name, handshakes done.
    pub fn all_know_each_other(&self) -> bool {
        self.nodes.iter().all(|node| self.nodes.iter().all(|other| node.knows(other.id())))
    }

    /// The hash by which two runs of the tool recognise the same cluster: its smallest id.
    pub fn smallest_id(&self) -> Option<NodeId> {
        self.nodes.iter().map(NodeView::id).min()
    }

    /// A node as the tool prints it:
    ///
    /// ```text
    /// M: 2a86… 127.0.0.1:8000
    ///    slots:0-5460,9000 (5462 slots) master
    ///    1 additional replica(s)
    /// ```
    pub fn describe(&self, node: &NodeView) -> String {
        let role = if node.own.is_replica() { 'S' } else { 'M' };
        let words: Vec<&str> =
            node.own.flags.iter().map(String::as_str).filter(|flag| *flag != "myself").collect();
        let mut text = format!(
            "{role}: {} {}\n   slots:{} ({} slots) {}",
            node.id(),
            node.endpoint,
            slots_text(&node.own.slots),
            node.own.slots.len(),
            words.join(",")
        );
        if let Some(primary) = node.own.primary {
            text.push_str(&format!("\n   replicates {primary}"));
        } else if node.own.is_primary() {
            let replicas = self.replicas_of(node.id()).count();
            text.push_str(&format!("\n   {replicas} additional replica(s)"));
        }
        text
    }
}

/// Ranges as redis-trib prints them: `0-5460,9000`.
pub fn slots_text(slots: &SlotSet) -> String {
    slots.to_string().replace(' ', ",")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::parse_nodes;

    /// The id of the test's node `n`.
    pub(in crate::admin) fn id(n: u8) -> NodeId {
        NodeId::from_random([n; 20])
    }

    /// A snapshot from lines like `1 master 0-5460` or `4 slave:1`, on which all agree: node `n`
    /// listens on port 7000 + n.
    pub(in crate::admin) fn cluster(lines: &[&str]) -> Snapshot {
        let texts: Vec<(u8, String)> = lines
            .iter()
            .map(|line| {
                let mut words = line.split_whitespace();
                let n: u8 = words.next().and_then(|n| n.parse().ok()).expect("a number");
                let role = words.next().expect("a role");
                let (flag, primary) = match role.split_once(':') {
                    Some((flag, of)) => (flag, id(of.parse().expect("a number")).to_string()),
                    None => (role, "-".to_owned()),
                };
                let port = 7000 + u16::from(n);
                let rest: Vec<&str> = words.collect();
                let text = format!(
                    "{} 127.0.0.1:{port}@{} {flag} {primary} 0 0 {n} connected {}",
                    id(n),
                    port + 10_000,
                    rest.join(" ")
                );
                (n, text)
            })
            .collect();
        let view = |n: u8| {
            let mut own = None;
            let mut others = Vec::new();
            for (m, text) in &texts {
                let mut line = parse_nodes(text).expect("a line").remove(0);
                if *m == n {
                    line.flags.insert(0, "myself".to_owned());
                    own = Some(line);
                } else {
                    line.migrating.clear();
                    line.importing.clear();
                    others.push(line);
                }
            }
            NodeView {
                endpoint: Endpoint::new("127.0.0.1", 7000 + u16::from(n)),
                own: own.expect("its own line"),
                others,
            }
        };
        Snapshot { nodes: texts.iter().map(|(n, _)| view(*n)).collect(), unreachable: Vec::new() }
    }

    #[test]
    fn nodes_are_described_in_redis_tribs_lines() {
        let snapshot = cluster(&["1 master 0-5460 9000", "2 master", "3 slave:1"]);
        let describe = |n: usize| snapshot.describe(&snapshot.nodes[n]);
        assert_eq!(
            describe(0),
            format!(
                "M: {} 127.0.0.1:7001\n   slots:0-5460,9000 (5462 slots) master\n   1 additional replica(s)",
                id(1)
            )
        );
        assert_eq!(
            describe(1),
            format!(
                "M: {} 127.0.0.1:7002\n   slots: (0 slots) master\n   0 additional replica(s)",
                id(2)
            )
        );
        assert_eq!(
            describe(2),
            format!(
                "S: {} 127.0.0.1:7003\n   slots: (0 slots) slave\n   replicates {}",
                id(3),
                id(1)
            )
        );
    }

    #[test]
    fn nodes_before_redis_4_do_not_mix_with_later_ones() {
        let mut snapshot = cluster(&["1 master 0-99", "2 master 100-16383", "3 master"]);
        assert_eq!(assert_one_bus(snapshot.nodes.iter()), Ok(()));
        // `id :7003 myself,master - …`, as Redis 3 prints it.
        snapshot.nodes[2].own.bus_port = None;
        let mixed = assert_one_bus(snapshot.nodes.iter()).expect_err("the third is older");
        assert_eq!(
            mixed.to_string(),
            "Node 127.0.0.1:7003 is a server before Redis 4.0 (version 0 of the cluster bus), \
             127.0.0.1:7001 is not (version 1): they can't be in one cluster."
        );
        assert_eq!(
            assert_one_bus(snapshot.nodes[2..].iter()),
            Ok(()),
            "among themselves they are fine"
        );
    }

    #[test]
    fn one_view_that_differs_is_a_disagreement() {
        let mut snapshot = cluster(&["1 master 0-99", "2 master 100-16383"]);
        assert!(snapshot.agrees() && snapshot.all_know_each_other());
        let moved = Slot::new(7).expect("in range");
        snapshot.nodes[1].others[0].slots.remove(moved);
        assert!(!snapshot.agrees());
        snapshot.nodes[0].others[0].flags = vec!["handshake".to_owned()];
        assert!(!snapshot.all_know_each_other());
    }
}
