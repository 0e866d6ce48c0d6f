//! The proxy as a client sees it that knows nothing of clusters.
//!
//! Each test is in front of real nodes: three `redis-server` primaries, or the bundled cluster.

mod backend_faults;
mod blocking;
mod clients;
mod data;
mod introspection;
pub(crate) mod kinds;
mod ledger;
mod limits;
mod monitors;
mod pauses;
mod pipelines;
mod refused;
mod replica_reads;
mod reshard;
mod scars;
mod scripts;
mod set_algebra;
mod states;
mod strangers;
mod streams;
mod subscriptions;
mod topology_faults;
mod tracking;
mod transactions;
mod volume;
mod waits;
mod walks;

use crate::support::{Client, Cluster, Keyway, Server, wait_for};
use keyway::resp::Reply;
use std::time::Duration;

/// Three Redis primaries and a proxy that has reached all of them.
fn redis_and_proxy(yaml: &str) -> Option<(Cluster, Server)> {
    let cluster = Cluster::redis(3, 0)?;
    let proxy = Keyway::proxy_with(&cluster.seeds(), yaml);
    reach_all(&cluster, &proxy);
    Some((cluster, proxy))
}

/// Asks the proxy for a key of every primary: from then on it has the topology and connections.
pub(super) fn reach_all(cluster: &Cluster, proxy: &Server) {
    let mut client = proxy.client();
    for primary in 0..cluster.primaries() {
        // The topology may still be one that was read before the nodes had heard of each other.
        wait_for("every primary is reached", Duration::from_secs(30), || {
            client.call(&["SET", &cluster.key_of(primary, "reach"), "value"]) == Reply::simple("OK")
        });
    }
}

/// Sets `count` keys `key:0`…, pipelined, and checks that every one was taken.
fn fill(client: &mut Client, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(1_000) {
        let commands: Vec<Vec<String>> = numbers
            .iter()
            .map(|number| vec!["SET".into(), format!("key:{number}"), format!("value-{number}")])
            .collect();
        for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
            assert_eq!(reply.as_str(), Some("OK"), "{command:?}");
        }
    }
}

/// How often a node has run a command.
fn calls(node: &Server, command: &str) -> i64 {
    let text = node.client().text(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let calls = text.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}
