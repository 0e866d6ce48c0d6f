//! Votes that are given and do not arrive, on real processes.

use super::{PROMOTION_MAX, SOON, await_promotion, rounds};
use crate::support::{Cluster, Kind, wait_for};
use std::time::{Duration, Instant};

const DEBUG: [&str; 2] = ["--enable-debug-command", "local"];
/// Of VoteGranted on the wire.
const VOTE: &str = "6";
/// What Redis and Valkey wait before they vote again for a replica of one primary.
const REST: Duration = Duration::from_secs(2 * 2);

/// The replica throws its votes away until those who gave them have been asked again.
fn votes_that_were_lost_are_made_good(primaries: &[Kind], within: Duration) {
    let replica = primaries.len();
    let Some(mut cluster) = Cluster::mixed_with(primaries, &[Kind::Keyway], &DEBUG) else { return };
    let mut client = cluster.nodes()[replica].client();
    client.ok(&["DEBUG", "DROP-CLUSTER-PACKET-FILTER", VOTE]);
    let since = Instant::now();
    cluster.node_mut(0).kill();
    let asked_again = |cluster: &Cluster| {
        cluster.nodes()[replica].log().contains("primaries again for a vote in epoch")
    };
    wait_for("voters are asked again", SOON, || asked_again(&cluster));
    for node in &cluster.nodes()[1..replica] {
        let granted = || node.log().contains("Failover auth granted to");
        wait_for("they have voted", SOON, granted);
        if node.kind() != Kind::Keyway {
            let said = || node.log().contains("already voted for epoch");
            wait_for("stock servers ignore who asks again, and say so", SOON, said);
        }
    }
    client.ok(&["DEBUG", "DROP-CLUSTER-PACKET-FILTER", "-1"]);
    let took = await_promotion(&cluster, replica, since);
    println!("{primaries:?}: promoted after {took:?} with all first votes lost");
    assert!(took < within, "{took:?}; {}", cluster.nodes()[replica].log());
    cluster.node_mut(0).restart();
    cluster.await_agreement();
    cluster.await_replicas_online();
}

/// In the same epoch: voters of ours say again what they have said.
#[test]
fn votes_of_ours_that_were_lost_are_given_again() {
    votes_that_were_lost_are_made_good(&[Kind::Keyway; 3], PROMOTION_MAX + PROMOTION_MAX / 2);
}

/// In another: stock servers vote once in an epoch, whether it was heard or not, and the next election
/// begins as soon as the time for votes is over.
#[test]
fn votes_of_stock_servers_that_were_lost_are_given_in_the_next_election() {
    // Some seconds: a part of the long runs.
    if rounds() > 1 {
        let primaries = [Kind::Keyway, Kind::Redis, Kind::Valkey];
        votes_that_were_lost_are_made_good(&primaries, PROMOTION_MAX * 2 + REST);
    }
}
