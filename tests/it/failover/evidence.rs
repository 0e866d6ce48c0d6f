//! What the nodes say of an election that took long: an outlier is seen once in many hours, and has to explain
//! itself.

use crate::support::Cluster;
use std::time::Duration;

/// A promotion that takes longer is told of: most take two thirds of that.
pub(super) const TELL_AFTER: Duration = Duration::from_secs(5);

/// Words of the lines, of our nodes and stock ones, that tell of failures, elections and links.
const WORDS: [&str; 13] = [
    "vot",
    "elect",
    "failover",
    "fail",
    "epoch",
    "rank",
    "the link",
    "i/o error reading from node",
    "connecting with node",
    "reachable",
    "online",
    "cluster state",
    "reconfiguring",
];

/// How far every node's log was when a trouble began.
pub(super) struct Evidence(Vec<usize>);

impl Evidence {
    pub(super) fn since_now(cluster: &Cluster) -> Self {
        Self(cluster.nodes().iter().map(|node| node.log().len()).collect())
    }

    /// What all nodes have logged of it since.
    pub(super) fn tell(&self, cluster: &Cluster) -> String {
        let mut text = String::new();
        for (index, (node, from)) in cluster.nodes().iter().zip(&self.0).enumerate() {
            let log = node.log();
            let since = log.get(*from..).unwrap_or_default();
            text += &format!("--- node {index}, {:?} on port {}\n", node.kind(), node.port());
            for line in since.lines().filter(|line| tells(line)) {
                text += &format!("    {line}\n");
            }
        }
        text
    }
}

fn tells(line: &str) -> bool {
    let line = line.to_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}
