//! What a member tells of itself: CLUSTER INFO, CLUSTER LINKS, and counters.

use super::packet::Kind;
use super::{Member, NodeKey};
use crate::cluster::NodeId;
use crate::cluster::describe::SlotCounts;
use std::fmt::Write as _;

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    sent: [u64; Kind::ALL.len()],
    received: [u64; Kind::ALL.len()],
    /// Packets that were none.
    pub malformed: u64,
    /// Connections from where none is allowed.
    pub refused_links: u64,
    /// Packets of nodes that are not known, of a kind that only known nodes may send.
    pub strange: u64,
    /// Links that were closed because their peer did not read.
    pub links_overflowed: u64,
}

impl Stats {
    pub(super) fn count_sent(&mut self, kind: Kind) {
        self.sent[kind as usize] += 1;
    }

    pub(super) fn count_received(&mut self, kind: Kind) {
        self.received[kind as usize] += 1;
    }

    /// Packets of a kind that were sent and received.
    pub fn of(&self, kind: Kind) -> (u64, u64) {
        (self.sent[kind as usize], self.received[kind as usize])
    }
}

/// One line of CLUSTER LINKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Whether we opened it.
    pub outbound: bool,
    /// The node at its other end.
    pub node: NodeId,
    /// When it was opened, in Unix milliseconds.
    pub created_ms: u64,
    /// Bytes taken for what waits to be sent.
    pub send_buffer_allocated: usize,
    /// Bytes that wait to be sent.
    pub send_buffer_used: usize,
}

impl Member {
    /// What was counted since the start.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The open links to nodes that are known, in the order in which they were opened.
    pub fn links(&self) -> Vec<LinkInfo> {
        let info = |link: &super::link::Link| {
            let node = self.view.get(link.node?)?;
            Some(LinkInfo {
                outbound: link.outbound,
                node: node.id,
                created_ms: link.created.unix_ms,
                send_buffer_allocated: link.send_buffer.0,
                send_buffer_used: link.send_buffer.1,
            })
        };
        self.links.values().filter(|link| link.open).filter_map(info).collect()
    }

    /// The text of CLUSTER INFO.
    pub fn info(&self) -> String {
        let view = &self.view;
        let owners = view.nodes().filter(|(_, node)| node.is_primary());
        let counts = SlotCounts::of(owners.map(|(_, node)| (node.flags, node.slots())));
        let mut text = String::with_capacity(1024);
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = write!(text, "{name}:{value}\r\n");
        };
        line("cluster_state", &if view.state_ok { "ok" } else { "fail" });
        line("cluster_slots_assigned", &counts.assigned);
        line("cluster_slots_ok", &counts.ok);
        line("cluster_slots_pfail", &counts.pfail);
        line("cluster_slots_fail", &counts.fail);
        line("cluster_known_nodes", &view.len());
        line("cluster_size", &counts.size);
        line("cluster_current_epoch", &view.current_epoch);
        line("cluster_my_epoch", &view.own_shard().config_epoch);
        for (word, counted) in [("sent", &self.stats.sent), ("received", &self.stats.received)] {
            for (kind, &count) in Kind::ALL.iter().zip(counted).filter(|(_, count)| **count > 0) {
                let name = format!("cluster_stats_messages_{}_{word}", kind.stat_name());
                line(&name, &count);
            }
            let sum: u64 = counted.iter().sum();
            line(&format!("cluster_stats_messages_{word}"), &sum);
        }
        line("total_cluster_links_buffer_limit_exceeded", &self.stats.links_overflowed);
        // Ours, and only when there is something to tell.
        let suspicious = [
            ("cluster_refused_links", self.stats.refused_links),
            ("cluster_refused_packets", self.stats.strange),
            ("cluster_malformed_packets", self.stats.malformed),
        ];
        for (name, count) in suspicious.iter().filter(|(_, count)| *count > 0) {
            line(name, count);
        }
        text
    }

    /// The name of this node's shard.
    pub fn shard_id(&self) -> NodeId {
        let shard = self.view.own_shard().shard_id;
        shard.or(self.view.node(NodeKey::MYSELF).shard_id).expect("drawn when the member was made")
    }
}
