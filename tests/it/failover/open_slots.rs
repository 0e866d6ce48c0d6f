//! Slots on their way when their primary dies: SETSLOT goes to replicas first, so whoever takes over
//! goes on with them. Valkey does the same since 8.0, and both understand each other.

use super::{SOON, is_primary};
use crate::support::{Client, Cluster, Kind, wait_for};
use keyway::resp::Reply;

/// What a node says of itself in CLUSTER NODES.
fn own_line(cluster: &Cluster, node: usize) -> String {
    let text = cluster.nodes()[node].client().text(&["CLUSTER", "NODES"]);
    let own = text.lines().find(|line| line.contains("myself"));
    own.expect("a node knows itself").to_owned()
}

fn set_slot(cluster: &Cluster, node: usize, words: &[&str]) -> Reply {
    let mut client: Client = cluster.nodes()[node].client();
    client.call(&[&["CLUSTER", "SETSLOT"], words].concat())
}

fn an_heir_knows_them(primary: Kind, replica: Kind) {
    let kinds = [primary, Kind::Keyway, Kind::Keyway];
    let Some(mut cluster) = Cluster::mixed(&kinds, &[replica]) else { return };
    let (second, third) = (cluster.id(1), cluster.id(2));
    let ok = Reply::simple("OK");
    assert_eq!(set_slot(&cluster, 0, &["7", "MIGRATING", &second]), ok);
    assert_eq!(set_slot(&cluster, 0, &["16000", "IMPORTING", &third, "TIMEOUT", "20000"]), ok);
    assert_eq!(set_slot(&cluster, 0, &["8", "MIGRATING", &second]), ok);
    assert_eq!(set_slot(&cluster, 0, &["8", "STABLE"]), ok);
    // Confirmed means that the replica has it.
    let (leaves, comes) = (format!("[7->-{second}]"), format!("[16000-<-{third}]"));
    let knows = |cluster: &Cluster, node: usize| {
        let line = own_line(cluster, node);
        assert!(line.contains(&leaves) && line.contains(&comes), "{line}");
        assert!(!line.contains("[8"), "{line}");
    };
    knows(&cluster, 3);

    cluster.node_mut(3).pause();
    let refused = set_slot(&cluster, 0, &["9", "MIGRATING", &second, "TIMEOUT", "100"]);
    let expected = Reply::error("NOREPLICAS Not enough good replicas to write.");
    assert_eq!(refused, expected);
    assert!(!own_line(&cluster, 0).contains("[9"), "what was refused is not done");
    cluster.node_mut(3).resume();
    let settled = || set_slot(&cluster, 0, &["9", "STABLE", "TIMEOUT", "20000"]) == ok;
    wait_for("the replica to confirm again", SOON, settled);
    cluster.await_replicas_online();

    cluster.node_mut(0).kill();
    wait_for("a promotion", SOON, || is_primary(&cluster, 3));
    knows(&cluster, 3);
}

#[test]
fn our_heir_of_our_primary_knows_slots_on_their_way() {
    an_heir_knows_them(Kind::Keyway, Kind::Keyway);
}

#[test]
fn our_heir_of_a_primary_of_valkey_knows_slots_on_their_way() {
    an_heir_knows_them(Kind::Valkey, Kind::Keyway);
}

#[test]
fn valkeys_heir_of_our_primary_knows_slots_on_their_way() {
    an_heir_knows_them(Kind::Keyway, Kind::Valkey);
}

/// Redis 7.0 does not know this form: its replicas are not told, and confirm nothing.
#[test]
fn a_replica_of_redis_is_not_told_of_slots() {
    let kinds = [Kind::Keyway, Kind::Keyway, Kind::Keyway];
    let Some(cluster) = Cluster::mixed(&kinds, &[Kind::Redis]) else { return };
    let second = cluster.id(1);
    assert_eq!(set_slot(&cluster, 0, &["7", "MIGRATING", &second]), Reply::simple("OK"));
    assert!(own_line(&cluster, 0).contains("[7->-"));
    let mut client = cluster.nodes()[0].client();
    let key = cluster.key_of(0, "later");
    client.ok(&["SET", &key, "x"]);
    assert_eq!(client.integer(&["WAIT", "1", "20000"]), 1);
    assert!(!own_line(&cluster, 3).contains('['), "{}", own_line(&cluster, 3));
    assert!(!cluster.nodes()[3].log().contains("sending an error to its"), "it was told");
}
