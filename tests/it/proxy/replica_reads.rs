//! Reads from replicas: who answers them, and what happens when a replica will not do.

use super::reach_all;
use crate::support::{Client, Cluster, Keyway, Kind, Server, wait_for};
use keyway::resp::Reply;
use std::time::{Duration, Instant};

/// How often a node has run GET.
fn gets(node: &Server) -> u64 {
    let text = node.client().text(&["INFO", "commandstats"]);
    let calls = text.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    calls.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn reads_go_to_replicas_and_writes_do_not() {
    let Some(mut cluster) = Cluster::redis(2, 1) else { return };
    let proxy = Keyway::proxy_with(&cluster.seeds(), "workers: 1\nread_from: replica\n");
    reach_all(&cluster, &proxy);
    let mut client = proxy.client();
    let keys: Vec<String> = (0..2).map(|n| cluster.key_of(n, "read")).collect();
    for key in &keys {
        client.ok(&["SET", key, "1"]);
    }
    // A read waits until a replica will do: no sooner is this answered.
    for key in &keys {
        wait_for("the replica has it", Duration::from_secs(10), || {
            client.call(&["GET", key]) == Reply::bulk("1")
        });
    }
    let mut command = vec!["MGET"];
    command.extend(keys.iter().map(String::as_str));
    let both = Reply::Array(vec![Reply::bulk("1"), Reply::bulk("1")]);
    assert_eq!(client.call(&command), both);
    for number in 0..100 {
        let key = &keys[number % 2];
        assert_eq!(client.call(&["GET", key]), Reply::bulk("1"));
    }
    for node in &cluster.nodes()[..2] {
        assert_eq!(gets(node), 0, "no primary was read from");
    }
    for node in &cluster.nodes()[2..] {
        assert!(gets(node) >= 50, "{}", gets(node));
    }

    // A command behind a write on its slot does not overtake it, though it goes elsewhere.
    let pipeline: Vec<Vec<&str>> = vec![vec!["SET", &keys[0], "2"], vec!["GET", &keys[0]]];
    let replies = client.pipeline(&pipeline);
    assert_eq!(replies[0], Reply::simple("OK"));
    wait_for("the write reaches the replica", Duration::from_secs(10), || {
        client.call(&["GET", &keys[0]]) == Reply::bulk("2")
    });

    // Another proxy prefers replicas: when one falls silent, its primary is read from.
    let other = Keyway::proxy_with(&cluster.seeds(), "workers: 1\nread_from: prefer_replica\n");
    reach_all(&cluster, &other);
    let mut client = other.client();
    let before = gets(&cluster.nodes()[2]);
    wait_for("the replica is preferred", Duration::from_secs(10), || {
        client.call(&["GET", &keys[0]]) == Reply::bulk("2") && gets(&cluster.nodes()[2]) > before
    });
    cluster.node_mut(2).pause();
    for _ in 0..20 {
        assert_eq!(client.call(&["GET", &keys[0]]), Reply::bulk("2"));
    }
    assert!(gets(&cluster.nodes()[0]) > 0, "the primary answers");
    cluster.node_mut(2).resume();
}

#[test]
fn the_nearest_node_answers_and_a_failover_is_no_error() {
    let Some(mut cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy_with(&cluster.seeds(), "workers: 1\nread_from: nearest\n");
    reach_all(&cluster, &proxy);
    cluster.await_replicas_online();
    let mut client = proxy.client();
    let key = cluster.key_of(0, "read");
    client.ok(&["SET", &key, "1"]);
    wait_for("it is read from wherever", Duration::from_secs(10), || {
        client.call(&["GET", &key]) == Reply::bulk("1")
    });
    cluster.node_mut(0).kill();
    wait_for("the replica is promoted", Duration::from_secs(60), || {
        let reply = client.call(&["GET", &key]);
        assert!(matches!(reply, Reply::Bulk(_) | Reply::Null), "{reply:?}");
        cluster.nodes()[3].info("role") == "master"
    });
    assert_eq!(client.call(&["SET", &key, "2"]), Reply::simple("OK"));
    assert_eq!(client.call(&["GET", &key]), Reply::bulk("2"));
}

/// Waits until reads of a key have not come to a replica for a while, none of which may fail; how
/// long that took.
fn left_out(what: &str, client: &mut Client, key: &str, replica: &Server) -> Duration {
    let since = Instant::now();
    let mut last = gets(replica);
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(300) {
        assert!(since.elapsed() < Duration::from_secs(20), "still read from a replica: {what}");
        for _ in 0..5 {
            assert_eq!(client.call(&["GET", key]), Reply::bulk("1"), "{what}");
        }
        if gets(replica) != last {
            last = gets(replica);
            quiet = Instant::now();
        }
    }
    let took = since.elapsed();
    println!("{what}: left out within {took:?}");
    took
}

/// A replica that loads what its primary has sent, one that has lost its primary and answers as if
/// nothing were, and one that is linked and takes nothing in: all answer, none is read from, and all
/// are again when they are well.
#[test]
fn a_replica_that_loads_lags_or_has_lost_its_primary_is_not_read_from() {
    let directives = [
        ["--loading-process-events-interval-bytes", "1024"],
        ["--enable-debug-command", "yes"],
        ["--repl-diskless-sync-delay", "0"],
    ];
    let Some(cluster) = Cluster::of(&[Kind::Redis, Kind::Redis], 1, &directives.concat()) else {
        return;
    };
    let yaml = "workers: 1\nread_from: prefer_replica\ntiming:\n  max_lag: 2s\n";
    let proxy = Keyway::proxy_with(&cluster.seeds(), yaml);
    reach_all(&cluster, &proxy);
    cluster.await_replicas_online();
    let mut client = proxy.client();
    let key = cluster.key_of(0, "read");
    client.ok(&["SET", &key, "1"]);
    let (primary, replica) = (&cluster.nodes()[0], &cluster.nodes()[2]);
    let is_read_from = |client: &mut Client| {
        let before = gets(replica);
        wait_for("the replica is read from", Duration::from_secs(20), || {
            assert_eq!(client.call(&["GET", &key]), Reply::bulk("1"));
            gets(replica) > before
        });
    };
    wait_for("the replica has it", Duration::from_secs(10), || {
        replica.client().integer(&["DBSIZE"]) > 0
    });
    is_read_from(&mut client);

    // It may not have its primary's changes any more, and says so to nobody who reads.
    primary.client().ok(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    primary.client().call(&["CLIENT", "KILL", "TYPE", "replica"]);
    wait_for("the link is down", Duration::from_secs(10), || {
        replica.info("master_link_status") == "down"
    });
    left_out("link down", &mut client, &key, replica);
    primary.client().ok(&["ACL", "SETUSER", "default", "+psync", "+sync"]);
    is_read_from(&mut client);

    // It begins anew, and takes a while to load what it gets.
    for number in 0..300 {
        primary.client().ok(&["SET", &cluster.key_of(0, &number.to_string()), &"x".repeat(2_000)]);
    }
    replica.client().ok(&["CONFIG", "SET", "key-load-delay", "10000"]);
    primary.client().ok(&["DEBUG", "CHANGE-REPL-ID"]);
    primary.client().call(&["CLIENT", "KILL", "TYPE", "replica"]);
    wait_for("it loads", Duration::from_secs(20), || replica.info("loading") == "1");
    left_out("loading", &mut client, &key, replica);
    replica.client().call(&["CONFIG", "SET", "key-load-delay", "0"]);
    wait_for("it has loaded", Duration::from_secs(30), || replica.info("loading") == "0");
    is_read_from(&mut client);

    // It holds back what changes anything, what its primary sends included.
    replica.client().ok(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    primary.client().ok(&["SET", &cluster.key_of(0, "later"), "1"]);
    left_out("lagging", &mut client, &key, replica);
    assert_eq!(replica.info("master_link_status"), "up");
    assert_ne!(replica.info("slave_repl_offset"), primary.info("master_repl_offset"));
    replica.client().ok(&["CLIENT", "UNPAUSE"]);
    is_read_from(&mut client);
}
