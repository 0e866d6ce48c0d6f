//! Nodes that tell wrong stories about slots, in front of real ones: each other's, and everybody's.

use super::transactions::{finish_move, open_slot};
use super::{calls, reach_all};
use crate::support::{Cluster, Keyway, Kind, Server, number_from_env, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that are sent round in an ordinary run; `KEYWAY_ROUNDS` (the long form) has a thousand.
const CLIENTS: usize = 150;
/// Questions about the topology that any second may have: one per 100 ms.
const QUESTIONS_PER_SECOND: i64 = 10;

/// Two nodes each say that the other owns a slot. Whoever wants a key of it waits until the ride-out
/// is over and is told why; the nodes are asked little, and everybody else is served. Put right, it
/// is served again.
#[test]
fn a_thousand_clients_sent_round_in_circles_make_no_storm() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let proxy = Keyway::proxy_with(&cluster.seeds(), "workers: 2\ntiming:\n  ride_out: 3s\n");
    reach_all(&cluster, &proxy);
    let key = cluster.key_of(0, "circle");
    let slot = Slot::of(key.as_bytes()).number().to_string();
    let (first, second) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let mut at_first = first.client();
    // The other goes on to believe what the first said before it said this.
    at_first.ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &cluster.id(1)]);
    let moved = |node: &Server| node.client().call(&["GET", &key]).as_error().is_some();
    assert!(moved(first) && moved(second), "they point at each other");
    let questions = || -> i64 { cluster.nodes().iter().map(|n| calls(n, "cluster|nodes")).sum() };
    let (before, started) = (questions(), Instant::now());
    let clients = if number_from_env("KEYWAY_ROUNDS").is_some() { 1_000 } else { CLIENTS };
    let (waiting, served) = (AtomicUsize::new(clients), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let reply = proxy.client().call(&["GET", &key]);
                let line = String::from_utf8_lossy(reply.as_error().unwrap_or_default());
                waiting.fetch_sub(1, Ordering::SeqCst);
                assert!(line.starts_with("CLUSTERDOWN ") && line.contains("not run"), "{reply:?}");
            });
        }
        let mut client = proxy.client();
        while waiting.load(Ordering::SeqCst) > 0 {
            client.ok(&["SET", &cluster.key_of(2, "calm"), "1"]);
            served.store(true, Ordering::SeqCst);
        }
    });
    assert!(served.load(Ordering::SeqCst));
    let asked = questions() - before;
    let most = QUESTIONS_PER_SECOND * (started.elapsed().as_secs() as i64 + 2);
    assert!(asked <= most, "{asked} questions in {:?}", started.elapsed());
    at_first.ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &cluster.id(0)]);
    wait_for("the slot is served", Duration::from_secs(30), || {
        proxy.client().call(&["SET", &key, "1"]) == Reply::simple("OK")
    });
}

/// A node that was reset knows nobody, and claims every slot. It is asked for the topology like
/// every other, and would take writes.
#[test]
fn a_node_that_lies_about_slots_is_not_believed_over_the_others() {
    let Some(cluster) = Cluster::redis(3, 1) else { return };
    let yaml = "workers: 1\ntiming:\n  refresh: 200ms\n";
    let proxy = Keyway::proxy_with(&cluster.seeds(), yaml);
    reach_all(&cluster, &proxy);
    let liar = &cluster.nodes()[3];
    wait_for("it is asked", Duration::from_secs(30), || calls(liar, "cluster|nodes") > 0);
    let mut told = liar.client();
    told.ok(&["CLUSTER", "RESET", "HARD"]);
    told.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let before = calls(liar, "cluster|nodes");
    let mut client = proxy.client();
    let mut number = 0;
    let deadline = Instant::now() + Duration::from_secs(5);
    while calls(liar, "cluster|nodes") < before + 3 && Instant::now() < deadline {
        for primary in 0..3 {
            let key = cluster.key_of(primary, "truth");
            number += 1;
            client.ok(&["SET", &key, &number.to_string()]);
            assert_eq!(cluster.nodes()[primary].client().text(&["GET", &key]), number.to_string());
        }
    }
    assert_eq!(told.integer(&["DBSIZE"]), 0, "nothing was written to it");
}

/// Nodes that prefer host names: the proxy connects to these, shows them, and follows a redirect to one.
#[test]
fn names_of_nodes_are_used_where_nodes_prefer_them() {
    let names = [
        ["--cluster-announce-hostname", "localhost"],
        ["--cluster-preferred-endpoint-type", "hostname"],
    ];
    for kind in [Kind::Redis, Kind::Valkey] {
        let Some(cluster) = Cluster::of(&[kind; 3], 0, &names.concat()) else { continue };
        // Names travel with gossip: until all have come, a node shows `?` for another.
        wait_for("every node knows every name", Duration::from_secs(30), || {
            cluster.nodes().iter().all(|node| {
                node.client().text(&["CLUSTER", "NODES"]).matches(",localhost").count() == 3
            })
        });
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
        reach_all(&cluster, &proxy);
        let mut client = proxy.client();
        let shown = client.text(&["PROXY", "SHOW", "NODES"]);
        for node in cluster.nodes() {
            assert!(shown.contains(&format!("localhost:{}", node.port())), "{shown}");
        }
        let key = cluster.key_of(0, "named");
        client.ok(&["SET", &key, "1"]);
        open_slot(&cluster, &key, 0, 1);
        assert_eq!(client.integer(&["INCR", &key]), 2);
        finish_move(&cluster, &key, 0, 1);
        assert_eq!(client.integer(&["INCR", &key]), 3);
        assert_eq!(cluster.nodes()[1].client().call(&["GET", &key]), Reply::bulk("3"));
    }
}

/// A proxy that is started first waits for its cluster to be formed, and so do its clients.
#[test]
fn a_proxy_may_be_there_before_its_cluster() {
    let directives = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
    let Some(node) = Server::redis(&directives) else { return };
    let proxy = Keyway::proxy(&[node.address()], &["--workers", "1"]);
    let mut client = proxy.client();
    client.try_send(&["INCR", "early"]).expect("it is sent");
    assert_eq!(proxy.client().call(&["PING"]), Reply::simple("PONG"));
    wait_for("the node is asked what it knows", Duration::from_secs(30), || {
        calls(&node, "cluster|nodes") > 1
    });
    node.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    assert_eq!(client.reply(), Reply::Integer(1));
}

/// Two of three primaries are away: the third stops taking writes by itself, its clients are told so when the
/// ride-out is over, and what was not acknowledged is nowhere. When the others are back all goes on.
#[test]
fn the_minority_of_a_cluster_takes_no_writes_and_says_so() {
    let soon = ["--cluster-node-timeout", "1000"];
    let Some(mut cluster) = Cluster::of(&[Kind::Redis; 3], 0, &soon) else { return };
    let yaml = "workers: 1\ntiming:\n  ride_out: 300ms\n";
    let proxy = Keyway::proxy_with(&cluster.seeds(), yaml);
    reach_all(&cluster, &proxy);
    let key = cluster.key_of(2, "minority");
    let mut client = proxy.client();
    let mut acknowledged = client.integer(&["INCR", &key]);
    cluster.node_mut(0).pause();
    cluster.node_mut(1).pause();
    wait_for("writes are refused", Duration::from_secs(30), || {
        match client.call(&["INCR", &key]) {
            Reply::Integer(count) => {
                acknowledged += 1;
                assert_eq!(count, acknowledged);
                false
            }
            Reply::Error(line) => {
                assert!(line.starts_with(b"CLUSTERDOWN "), "{}", String::from_utf8_lossy(&line));
                true
            }
            other => panic!("{other:?}"),
        }
    });
    cluster.node_mut(0).resume();
    cluster.node_mut(1).resume();
    wait_for("writes are taken", Duration::from_secs(30), || {
        let reply = client.call(&["INCR", &key]);
        acknowledged += i64::from(reply.as_integer().is_some());
        reply.as_integer() == Some(acknowledged)
    });
}
