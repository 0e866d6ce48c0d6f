//! Nodes that tell wrong stories about slots, in front of real ones: each other's, and everybody's.

use super::{calls, reach_all};
use crate::support::{Cluster, Keyway, Server, number_from_env, wait_for};
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
