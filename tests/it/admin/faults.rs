//! Nodes that die while slots move, and nodes that cannot be in one cluster: a clear line, exit 1, and
//! a cluster in which nothing is lost.

use super::moves::{bad, fill, good, keys_of, slots_of, start_reshard, tool};
use crate::support::{Cluster, Fault, Kind, Relay, Server, eventually, wait_for};
use std::collections::BTreeSet;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

/// What the tool, elections and copies may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// Runs a reshard of 3,000 slots from all to the last primary; in the middle of it `harm` is done. The
/// tool must end with 1 and say who is to blame and what to do.
fn reshard_that_breaks(cluster: &mut Cluster, blamed: &[usize], harm: impl FnOnce(&mut Cluster)) {
    let to = cluster.primaries() - 1;
    let at_start = slots_of(cluster, to);
    let mut reshard = start_reshard(cluster, to, "3000", Stdio::piped());
    let mut output = reshard.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = output.read_to_string(&mut text);
        text
    });
    wait_for("slots move", WITHIN, || slots_of(cluster, to) > at_start);
    harm(cluster);
    let status = eventually(WITHIN, || reshard.try_wait().expect("it is ours"));
    let _ = reshard.kill();
    let text = reader.join().expect("it reads");
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{text}");
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    let names_one = blamed.iter().any(|node| last[1].contains(&cluster.seeds()[*node]));
    assert!(last[1].starts_with("[ERR] Node 127.0.0.1:") && names_one, "{last:?}");
    assert!(last[0].starts_with("    fix: keyway cluster fix 127.0.0.1:"), "{last:?}");
}

/// `fix` as soon as the cluster can be fixed; then nothing is wrong, and every key is there once.
fn mend(cluster: &Cluster, entry: &str, primaries: &[usize], before: &BTreeSet<String>) {
    let mut text = String::new();
    let mended = eventually(WITHIN, || {
        let output = tool(&["fix", entry]);
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_whole = text.ends_with("[OK] All 16384 slots covered.\n");
        (is_whole && !text.contains("[ERR]") && !text.contains("slots are open")).then_some(())
    });
    assert!(mended.is_some(), "it can be mended:\n{text}");
    wait_for("nothing is wrong", WITHIN, || {
        let check = tool(&["check", entry]).stdout;
        let check = String::from_utf8_lossy(&check).into_owned();
        check.contains("[OK] All nodes agree")
            && check.contains("[OK] All 16384 slots covered.")
            && !check.contains("slots are open")
    });
    assert_eq!(keys_of(cluster, primaries), *before);
}

/// Every case on one kind of nodes, and with KEYWAY_ROUNDS on both.
fn on_nodes_of(first: Kind, case: impl Fn(Kind)) {
    case(first);
    if std::env::var_os("KEYWAY_ROUNDS").is_some() {
        case(if first == Kind::Keyway { Kind::Redis } else { Kind::Keyway });
    }
}

/// Killed in the middle, started again with what its append-only file holds.
fn a_node_that_dies_and_comes_back(kind: Kind, victim: usize) {
    let directives = ["--appendonly", "yes"];
    let Some(mut cluster) = Cluster::of(&[kind; 3], 0, &directives) else { return };
    fill(&cluster);
    let all = [0, 1, 2];
    let before = keys_of(&cluster, &all);
    // Either the node itself is missed, or its partner says that it cannot be reached.
    reshard_that_breaks(&mut cluster, &all, |cluster| cluster.node_mut(victim).kill());
    cluster.node_mut(victim).restart();
    let entry = cluster.seeds()[1].clone();
    mend(&cluster, &entry, &all, &before);
    good(&["check", &entry]);
}

#[test]
fn a_destination_that_dies_in_the_middle_is_gone_on_with_when_it_is_back() {
    on_nodes_of(Kind::Keyway, |kind| a_node_that_dies_and_comes_back(kind, 2));
}

#[test]
fn a_source_that_dies_in_the_middle_is_gone_on_with_when_it_is_back() {
    on_nodes_of(Kind::Keyway, |kind| a_node_that_dies_and_comes_back(kind, 0));
}

/// It goes down in order, so that its replica has all it had; the replica takes its place and knows
/// nothing of the slots that were on their way.
fn a_destination_that_is_replaced(kind: Kind) {
    let Some(mut cluster) = Cluster::of(&[kind; 3], 1, &[]) else { return };
    fill(&cluster);
    let before = keys_of(&cluster, &[0, 1, 2]);
    reshard_that_breaks(&mut cluster, &[0, 1, 2], |cluster| {
        let ended = cluster.node_mut(2).terminate(WITHIN);
        assert!(ended.is_some(), "it goes down");
    });
    // Its replica is the last node.
    let heir = cluster.nodes().len() - 1;
    wait_for("the replica is a primary", WITHIN, || cluster.nodes()[heir].info("role") == "master");
    let entry = cluster.seeds()[0].clone();
    mend(&cluster, &entry, &[0, 1, heir], &before);
}

#[test]
fn a_destination_that_is_replaced_in_the_middle_has_its_heir_finish() {
    on_nodes_of(Kind::Redis, a_destination_that_is_replaced);
}

/// A server before Redis 4.0 prints no bus port, and its bus is another. There is none to be had: what
/// it says of itself is put into the mouth of a later one.
#[test]
fn a_node_with_the_bus_of_redis_3_is_refused_where_others_have_a_later_one() {
    let fresh = || Server::node(Kind::Redis, &["--cluster-enabled", "yes"]);
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let (Some(old), Some(other), Some(third)) = (fresh(), fresh(), fresh()) else { return };
    let relay = Relay::to(old.port());
    let nodes = old.client().text(&["CLUSTER", "NODES"]);
    let id = old.client().text(&["CLUSTER", "MYID"]);
    let said = format!("{id} :{} myself,master - 0 0 0 connected\n", old.port());
    let with = format!("${}\r\n{said}\r\n", said.len()).into_bytes();
    relay.set(Fault::Replace { value: nodes.into_bytes(), with });
    let old_address = format!("127.0.0.1:{}", relay.port());

    let entry = cluster.seeds()[0].clone();
    let text = bad(&["add-node", &old_address, &entry]);
    let told = format!(
        "[ERR] Node {old_address} is a server before Redis 4.0 (version 0 of the cluster bus), {entry} \
         is not (version 1): they can't be in one cluster.\n"
    );
    assert!(text.ends_with(&told), "{text}");
    let text = bad(&["create", "--yes", &other.address(), &old_address, &third.address()]);
    assert!(text.contains("(version 0 of the cluster bus)"), "{text}");
    for node in [&old, &other, &third] {
        let info = node.client().text(&["CLUSTER", "INFO"]);
        assert!(
            info.contains("cluster_known_nodes:1") && info.contains("cluster_slots_assigned:0")
        );
    }
    good(&["check", &entry]);
}
