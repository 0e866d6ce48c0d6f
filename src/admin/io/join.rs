//! Waiting until facts are true on *every* node. Gossip spreads in its own time; a command that
//! is sent before a node has heard of its subject fails there, and half of it has happened.

use super::failure::Failure;
use super::nodes::Cluster;
use super::report::Report;
use crate::admin::snapshot::Snapshot;
use crate::clock::Now;
use crate::cluster::{Endpoint, NodeId};
use std::time::Duration;

/// How often nodes are asked.
const POLL: Duration = Duration::from_millis(50);
/// How often a dot says that we still wait.
const DOT: Duration = Duration::from_secs(1);
/// How often MEET is repeated: a node forgets a handshake that was not answered.
const MEET_AGAIN: Duration = Duration::from_secs(3);

/// Reads all views until `fact` holds for them, and returns what kept it from holding otherwise.
pub(super) async fn until(
    cluster: &mut Cluster,
    within: Duration,
    report: &mut dyn Report,
    fact: impl Fn(&Snapshot) -> Result<(), String>,
) -> Result<(), Failure> {
    let start = Now::read().instant;
    let mut dots = 0;
    loop {
        cluster.refresh().await?;
        let Err(missing) = fact(&cluster.snapshot) else { return Ok(()) };
        let waited = Now::read().instant.duration_since(start);
        if waited > within {
            return Err(Failure::error(format!("After {} s {missing}", within.as_secs())));
        }
        if waited >= DOT * (dots + 1) {
            dots += 1;
            report.part(".");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Asks every primary until all say `cluster_state:ok`: one that joined a moment ago does not.
pub(super) async fn until_up(cluster: &mut Cluster, within: Duration) -> Result<(), Failure> {
    let deadline = Now::read().instant + within;
    let ids: Vec<NodeId> = cluster.snapshot.primaries().map(|node| node.id()).collect();
    for id in ids {
        loop {
            let node = cluster.node(id);
            let info = node.text(&["CLUSTER", "INFO"]).await?;
            if info.lines().any(|line| line == "cluster_state:ok") {
                break;
            }
            if Now::read().instant >= deadline {
                let waited = within.as_secs();
                let endpoint = node.endpoint.clone();
                return Err(Failure::at(
                    &endpoint,
                    format!("the cluster is not up after {waited} s"),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// Every node knows every other by name and gives every slot to the same owner.
pub(super) fn all_agree(snapshot: &Snapshot) -> Result<(), String> {
    for node in &snapshot.nodes {
        if let Some(other) = snapshot.nodes.iter().find(|other| !node.knows(other.id())) {
            return Err(format!(
                "{} still does not know {}; is the port of its cluster bus ({}) open to it?",
                node.endpoint,
                other.endpoint,
                other.own.bus_port.unwrap_or_default(),
            ));
        }
    }
    if snapshot.agrees() { Ok(()) } else { Err("the nodes still don't agree".to_owned()) }
}

/// Every node sees `replica` follow `primary`.
pub(super) fn all_see_replica(
    snapshot: &Snapshot,
    replica: NodeId,
    primary: NodeId,
) -> Result<(), String> {
    let sees = |node: &&crate::admin::snapshot::NodeView| {
        let mut lines = node.others.iter().chain([&node.own]);
        lines.any(|line| line.id == replica && line.primary == Some(primary))
    };
    match snapshot.nodes.iter().find(|node| !sees(node)) {
        Some(node) => Err(format!("{} still does not see {replica} as a replica", node.endpoint)),
        None => Ok(()),
    }
}

/// Introduces nodes to one that is in the cluster, and waits until all know all.
pub(super) async fn meet(
    cluster: &mut Cluster,
    newcomers: &[NodeId],
    host: NodeId,
    within: Duration,
    report: &mut dyn Report,
) -> Result<(), Failure> {
    send_meet(cluster, newcomers, host).await?;
    report.part("Waiting for the cluster to join.");
    let deadline = Now::read().instant + within;
    loop {
        let left = deadline.saturating_duration_since(Now::read().instant);
        match until(cluster, left.min(MEET_AGAIN), report, all_agree).await {
            Ok(()) => break,
            Err(failure) if left <= MEET_AGAIN => {
                report.line("");
                return Err(failure);
            }
            Err(_) => {
                let strangers: Vec<NodeId> = newcomers
                    .iter()
                    .copied()
                    .filter(|&id| cluster.snapshot.node(id).is_some_and(|node| !node.knows(host)))
                    .collect();
                send_meet(cluster, &strangers, host).await?;
            }
        }
    }
    report.line("");
    Ok(())
}

async fn send_meet(
    cluster: &mut Cluster,
    newcomers: &[NodeId],
    host: NodeId,
) -> Result<(), Failure> {
    let address = cluster.node(host).address();
    let view = cluster.snapshot.node(host).expect("the host is of the snapshot");
    let args = meet_args(&address, &view.endpoint, view.own.bus_port);
    for &newcomer in newcomers {
        cluster.node(newcomer).call(&args).await?;
    }
    Ok(())
}

/// The bus port is named only where it is not the usual one: servers before 4.0 take no third
/// argument.
fn meet_args(address: &str, endpoint: &Endpoint, bus_port: Option<u16>) -> Vec<String> {
    let mut args = vec![
        "CLUSTER".to_owned(),
        "MEET".to_owned(),
        address.to_owned(),
        endpoint.port.to_string(),
    ];
    if let Some(bus_port) = bus_port
        && u32::from(bus_port) != u32::from(endpoint.port) + 10_000
        && bus_port != 0
    {
        args.push(bus_port.to_string());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unusual_bus_port_is_named() {
        let endpoint = Endpoint::new("n1", 7000);
        assert_eq!(meet_args("10.0.0.1", &endpoint, Some(17_000)).len(), 4);
        assert_eq!(meet_args("10.0.0.1", &endpoint, None).len(), 4);
        assert_eq!(meet_args("10.0.0.1", &endpoint, Some(7_001)).last(), Some(&"7001".to_owned()));
    }
}
