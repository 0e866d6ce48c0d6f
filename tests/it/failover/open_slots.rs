//! Slots on their way when their primary dies: SETSLOT goes to replicas first, so whoever takes over
//! goes on with them. Valkey does the same since 8.0, and both understand each other.

use super::{SOON, assert_has, is_primary, write};
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

/// Where no replica is linked SETSLOT waits for nobody, and is told to nobody later: Valkey's way.
#[test]
fn a_slot_that_changes_while_no_replica_is_linked_is_answered_at_once() {
    for primary in [Kind::Valkey, Kind::Keyway] {
        let kinds = [primary, Kind::Keyway, Kind::Keyway];
        let Some(mut cluster) = Cluster::mixed(&kinds, &[Kind::Keyway]) else { return };
        let second = cluster.id(1);
        cluster.node_mut(3).pause();
        cluster.nodes()[0].client().integer(&["CLIENT", "KILL", "TYPE", "replica"]);
        let alone = || cluster.nodes()[0].info("connected_slaves") == "0";
        wait_for("the link to be gone", SOON, alone);
        let words = ["7", "MIGRATING", &second, "TIMEOUT", "1"];
        assert_eq!(set_slot(&cluster, 0, &words), Reply::simple("OK"), "{primary:?}");
        cluster.node_mut(3).resume();
        cluster.await_replicas_online();
        let keys = write(&cluster, 0, 0, "behind", 1);
        wait_for("the replica to go on", SOON, || {
            let mut client = cluster.nodes()[3].client();
            client.ok(&["READONLY"]);
            client.call(&["EXISTS", &keys[0]]) == Reply::Integer(1)
        });
        assert_eq!(cluster.nodes()[0].info("sync_full"), "1", "it went on in the stream");
        assert!(own_line(&cluster, 0).contains("[7->-"), "{primary:?}");
        assert!(!own_line(&cluster, 3).contains('['), "{primary:?}");
    }
}

fn joins(cluster: &Cluster, node: usize, primary: usize) {
    cluster.replicate(node, primary);
    let is_up = || cluster.nodes()[node].info("master_link_status") == "up";
    wait_for("a newcomer's copy", SOON, is_up);
    // It serves reads once it has heard of all slots and their owners.
    wait_for("a newcomer to know the cluster", SOON, || {
        let info = cluster.nodes()[node].client().text(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384")
    });
    // Valkey tells a replica of slots once it has heard on the bus that it has one.
    let (own, of) = (cluster.id(node), format!(" slave {} ", cluster.id(primary)));
    let mut client = cluster.nodes()[primary].client();
    wait_for("a primary to know its newcomer", SOON, || {
        let nodes = client.text(&["CLUSTER", "NODES"]);
        nodes.lines().any(|line| line.starts_with(&own) && line.contains(&of))
    });
}

/// A copy of all data says which slots are on their way, so that who was not there when it was
/// said can be an heir, too.
fn a_newcomer_knows_them(primary: Kind, newcomer: Kind) {
    let kinds = [primary, Kind::Keyway, Kind::Keyway];
    let Some(mut cluster) = Cluster::mixed(&kinds, &[]) else { return };
    let Some(fourth) = cluster.join(newcomer) else { return };
    let (second, third) = (cluster.id(1), cluster.id(2));
    let ok = Reply::simple("OK");
    for words in [["7", "MIGRATING", &second], ["9", "MIGRATING", &third]] {
        assert_eq!(set_slot(&cluster, 0, &words), ok);
    }
    assert_eq!(set_slot(&cluster, 0, &["16000", "IMPORTING", &third]), ok);
    let keys = write(&cluster, 0, 0, "copied", 3);
    joins(&cluster, fourth, 0);
    let open = format!(" [7->-{second}] [9->-{third}] [16000-<-{third}]");
    let line = own_line(&cluster, fourth);
    assert!(line.ends_with(&open), "{line}");
    assert_has(&cluster, fourth, &keys);

    // What becomes of them it hears as others do.
    assert_eq!(set_slot(&cluster, 0, &["9", "STABLE", "TIMEOUT", "20000"]), ok);
    wait_for("the end of one", SOON, || !own_line(&cluster, fourth).contains("[9"));
    let takes_over = ["CLUSTER", "FAILOVER", "TAKEOVER"];
    cluster.nodes()[fourth].client().ok(&takes_over);
    wait_for("a promotion", SOON, || is_primary(&cluster, fourth));
    let line = own_line(&cluster, fourth);
    assert!(line.ends_with(&format!(" [7->-{second}] [16000-<-{third}]")), "{line}");
}

#[test]
fn our_newcomer_to_our_primary_knows_slots_on_their_way() {
    a_newcomer_knows_them(Kind::Keyway, Kind::Keyway);
}

#[test]
fn our_newcomer_to_a_primary_of_valkey_knows_slots_on_their_way() {
    a_newcomer_knows_them(Kind::Valkey, Kind::Keyway);
}

#[test]
fn valkeys_newcomer_to_our_primary_knows_slots_on_their_way() {
    a_newcomer_knows_them(Kind::Keyway, Kind::Valkey);
}

/// Beside a replica that would not hear of their end nobody is told of their beginning.
#[test]
fn newcomers_of_and_beside_redis_are_not_told_of_slots() {
    let kinds = [Kind::Keyway, Kind::Keyway, Kind::Keyway];
    let Some(mut cluster) = Cluster::mixed(&kinds, &[]) else { return };
    let (Some(redis), Some(ours)) = (cluster.join(Kind::Redis), cluster.join(Kind::Keyway)) else {
        return;
    };
    let second = cluster.id(1);
    assert_eq!(set_slot(&cluster, 0, &["7", "MIGRATING", &second]), Reply::simple("OK"));
    let keys = write(&cluster, 0, 0, "copied", 3);
    for newcomer in [redis, ours] {
        joins(&cluster, newcomer, 0);
        assert_has(&cluster, newcomer, &keys);
        let line = own_line(&cluster, newcomer);
        assert!(!line.contains('['), "{line}");
    }
}

/// SETSLOT is in the stream before the primary itself has done it: a copy that begins between the
/// two has it from neither.
#[test]
fn a_newcomer_is_told_of_a_slot_that_others_were_confirming() {
    let kinds = [Kind::Keyway, Kind::Keyway, Kind::Keyway];
    let Some(mut cluster) = Cluster::mixed(&kinds, &[Kind::Keyway]) else { return };
    let Some(newcomer) = cluster.join(Kind::Keyway) else { return };
    let second = cluster.id(1);
    cluster.node_mut(3).pause();
    let mut client = cluster.nodes()[0].client();
    client.set_timeout(SOON * 2);
    let to = second.clone();
    let told = std::thread::spawn(move || {
        client.call(&["CLUSTER", "SETSLOT", "7", "MIGRATING", &to, "TIMEOUT", "60000"])
    });
    let waits = || cluster.nodes()[0].info("blocked_clients") == "1";
    wait_for("SETSLOT to wait for the replica", SOON, waits);
    joins(&cluster, newcomer, 0);
    assert!(!own_line(&cluster, newcomer).contains('['), "nothing has been done yet");
    cluster.node_mut(3).resume();
    assert_eq!(told.join().expect("an answer"), Reply::simple("OK"));
    let open = format!(" [7->-{second}]");
    wait_for("the newcomer to hear of it", SOON, || own_line(&cluster, newcomer).ends_with(&open));
    assert!(own_line(&cluster, 3).ends_with(&open));
}

/// A primary that has given its last slot away becomes a replica, perhaps while it waits for its own to
/// confirm that: what `redis-cli --cluster rebalance` takes for done is what a replica answers.
#[test]
fn who_changes_a_slot_at_a_primary_that_is_one_no_longer_is_told_so() {
    let Some(mut cluster) = Cluster::mixed(&[Kind::Keyway; 3], &[Kind::Keyway]) else { return };
    let Some(heir) = cluster.join(Kind::Keyway) else { return };
    joins(&cluster, heir, 0);
    let second = cluster.id(1);
    cluster.node_mut(3).pause();
    let mut client = cluster.nodes()[0].client();
    client.set_timeout(SOON * 2);
    let told = std::thread::spawn(move || {
        let words = ["CLUSTER", "SETSLOT", "7", "MIGRATING", &second, "TIMEOUT", "60000"];
        [client.call(&words), client.call(&["CLUSTER", "SETSLOT", "7", "STABLE"])]
    });
    let waits = || cluster.nodes()[0].info("blocked_clients") == "1";
    wait_for("SETSLOT to wait for the replica", SOON, waits);
    cluster.nodes()[heir].client().ok(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let refused = Reply::error("ERR Please use SETSLOT only with masters.");
    assert_eq!(told.join().expect("answers"), [refused.clone(), refused]);
    cluster.node_mut(3).resume();
}
