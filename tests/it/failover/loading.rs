//! A replica whose copy is not complete has nothing to offer: it says so, and is not elected.

use super::{SOON, assert_has, await_copied, await_promotion, is_primary, write};
use crate::support::{Cluster, Kind, wait_for};
use keyway::resp::Reply;
use std::time::Instant;

/// What CLUSTER SHARDS of a node says of another: its offset and its health.
fn said_of(cluster: &Cluster, teller: usize, of: &str) -> Option<(i64, String)> {
    fn field<'a>(words: &'a [Reply], name: &str) -> Option<&'a Reply> {
        words.chunks_exact(2).find(|pair| pair[0] == Reply::bulk(name)).map(|pair| &pair[1])
    }
    let id = Reply::bulk(of);
    let shards = cluster.nodes()[teller].client().call(&["CLUSTER", "SHARDS"]);
    let nodes =
        shards.as_array()?.iter().filter_map(|shard| field(shard.as_array()?, "nodes")?.as_array());
    let node =
        nodes.flatten().filter_map(Reply::as_array).find(|node| field(node, "id") == Some(&id))?;
    let Some(Reply::Integer(offset)) = field(node, "replication-offset") else { return None };
    Some((*offset, field(node, "health")?.as_str()?.to_owned()))
}

#[test]
fn a_replica_that_loads_its_copy_says_so_and_another_is_elected() {
    let Some(mut cluster) = Cluster::mixed(&[Kind::Keyway; 3], &[Kind::Keyway]) else { return };
    let keys = write(&cluster, 0, 0, "key", 200);
    await_copied(&cluster, 0, 3);
    let late = cluster.join(Kind::Keyway).expect("our own binary is there");
    let (third, fourth) = (cluster.id(3), cluster.id(late));
    // Minutes.
    cluster.nodes()[late].client().ok(&["CONFIG", "SET", "key-load-delay", "1000000"]);
    cluster.replicate(late, 0);
    wait_for("it loads", SOON, || cluster.nodes()[late].info("loading") == "1");
    for teller in [0, 1, 3] {
        wait_for("all know it", SOON, || {
            said_of(&cluster, teller, &fourth) == Some((0, "loading".to_owned()))
                && said_of(&cluster, teller, &third)
                    .is_some_and(|(offset, health)| offset > 0 && health == "online")
        });
    }
    let since = Instant::now();
    cluster.node_mut(0).kill();
    await_promotion(&cluster, 3, since);
    assert!(!is_primary(&cluster, late));
    assert_has(&cluster, 3, &keys);
    let log = cluster.nodes()[late].log();
    assert!(!log.contains("Starting a failover election"), "{log}");

    cluster.nodes()[late].client().ok(&["CONFIG", "SET", "key-load-delay", "0"]);
    await_copied(&cluster, 3, late);
    assert_has(&cluster, late, &keys);
}
