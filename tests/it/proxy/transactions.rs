//! MULTI, WATCH and EXEC through the proxy, on real nodes: what moves or dies in between, and who
//! sees what of whom.

use super::{kinds, reach_all};
use crate::support::{Client, Cluster, Keyway, Kind, Server, stock, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Three primaries of each kind of server that there is.
pub(super) fn clusters() -> Vec<Cluster> {
    [Cluster::redis(3, 0), Cluster::valkey(3, 0)].into_iter().flatten().collect()
}

/// Opens a key's slot from one primary to another, as the beginning of a move.
pub(super) fn open_slot(cluster: &Cluster, key: &str, from: usize, to: usize) {
    let slot = Slot::of(key.as_bytes()).number().to_string();
    let (mut source, mut target) = (cluster.nodes()[from].client(), cluster.nodes()[to].client());
    target.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &cluster.id(from)]);
    source.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &cluster.id(to)]);
}

/// Moves the keys of a key's slot, and the slot.
pub(super) fn finish_move(cluster: &Cluster, key: &str, from: usize, to: usize) {
    let slot = Slot::of(key.as_bytes()).number().to_string();
    let (mut source, mut target) = (cluster.nodes()[from].client(), cluster.nodes()[to].client());
    let port = cluster.nodes()[to].port().to_string();
    while let Reply::Array(keys) = source.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"])
        && !keys.is_empty()
    {
        for key in keys {
            let key = key.as_str().expect("a key").to_owned();
            source.ok(&["MIGRATE", "127.0.0.1", &port, &key, "0", "1000"]);
        }
    }
    for node in [&mut target, &mut source] {
        node.ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &cluster.id(to)]);
    }
}

fn queued() -> Reply {
    Reply::simple("QUEUED")
}

#[test]
fn a_transaction_is_that_of_a_single_server() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let mut client = proxy.client();
        client.ok(&["MULTI"]);
        assert_eq!(client.call(&["ECHO", "hello"]), queued());
        assert_eq!(client.call(&["SET", "{t}a", "1"]), queued());
        assert_eq!(client.call(&["INCR", "{t}a"]), queued());
        assert_eq!(client.call(&["MGET", "{t}a", "{t}b"]), queued());
        assert_eq!(client.call(&["LPUSH", "{t}a", "x"]), queued());
        let Reply::Array(replies) = client.call(&["EXEC"]) else { panic!("EXEC answers") };
        assert_eq!(replies[0], Reply::bulk("hello"));
        assert_eq!(replies[1], Reply::simple("OK"));
        assert_eq!(replies[2], Reply::Integer(2));
        assert_eq!(replies[3], Reply::Array(vec![Reply::bulk("2"), Reply::Null]));
        assert!(replies[4].as_error().is_some_and(|line| line.starts_with(b"WRONGTYPE")));
        assert_eq!(client.call(&["GET", "{t}a"]), Reply::bulk("2"));

        // In RESP3, and with the whole of it sent at once.
        let mut client = proxy.client_resp3();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all: Vec<Vec<String>> =
            ["MULTI", "HSET {t}h f 1", "HGETALL {t}h", "EXEC", "GET {t}a"].map(words).into();
        let replies = client.pipeline(&all);
        let map = Reply::Map(vec![(Reply::bulk("f"), Reply::bulk("1"))]);
        assert_eq!(replies[3], Reply::Array(vec![Reply::Integer(1), map]));
        assert_eq!(replies[4], Reply::bulk("2"));
    }
}

#[test]
fn a_watched_key_that_another_client_changes_fails_the_transaction() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let (mut client, mut other) = (proxy.client(), proxy.client());
        for changed in [false, true] {
            client.ok(&["SET", "w", "1"]);
            client.ok(&["WATCH", "w"]);
            assert_eq!(client.call(&["GET", "w"]), Reply::bulk("1"));
            if changed {
                other.ok(&["SET", "w", "2"]);
            }
            client.ok(&["MULTI"]);
            assert_eq!(client.call(&["SET", "w", "3"]), queued());
            let ran = Reply::Array(vec![Reply::simple("OK")]);
            assert_eq!(client.call(&["EXEC"]), if changed { Reply::NullArray } else { ran });
        }
        assert_eq!(client.call(&["GET", "w"]), Reply::bulk("2"));
        client.ok(&["WATCH", "w"]);
        other.ok(&["SET", "w", "4"]);
        client.ok(&["UNWATCH"]);
        client.ok(&["MULTI"]);
        assert_eq!(client.call(&["INCR", "w"]), queued());
        assert_eq!(client.call(&["EXEC"]), Reply::Array(vec![Reply::Integer(5)]));
    }
}

/// MOVED inside MULTI, or at EXEC (redis#2515 #11946; redis-cluster-proxy#31).
#[test]
fn scar_09_a_slot_that_moves_inside_a_transaction_is_no_error() {
    for cluster in kinds::clusters(Kind::Redis, 3, 0) {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        // At which step the slot moves, and whether it is only half way moved by then.
        for (round, (step, half)) in
            [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)].iter().enumerate()
        {
            let key = format!("{{scar-{round}}}n");
            let from = cluster.owner(&key);
            let to = (from + 1) % 3;
            let mut client = proxy.client();
            let turn = |at: usize| {
                if at == *step {
                    open_slot(&cluster, &key, from, to);
                    if !half {
                        finish_move(&cluster, &key, from, to);
                    }
                }
            };
            client.ok(&["MULTI"]);
            turn(1);
            assert_eq!(client.call(&["INCR", &key]), queued(), "round {round}");
            turn(2);
            assert_eq!(client.call(&["INCR", &key]), queued(), "round {round}");
            turn(3);
            let ran = Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)]);
            assert_eq!(client.call(&["EXEC"]), ran, "round {round}: once, and whole");
            assert_eq!(client.call(&["GET", &key]), Reply::bulk("2"));
            if *half {
                finish_move(&cluster, &key, from, to);
            }

            // With WATCH it fails as a changed key does, and the next try succeeds.
            cluster.await_claims();
            client.ok(&["WATCH", &key]);
            open_slot(&cluster, &key, to, from);
            finish_move(&cluster, &key, to, from);
            client.ok(&["MULTI"]);
            assert_eq!(client.call(&["INCR", &key]), queued());
            assert_eq!(client.call(&["EXEC"]), Reply::NullArray, "round {round}");
            client.ok(&["WATCH", &key]);
            client.ok(&["MULTI"]);
            assert_eq!(client.call(&["INCR", &key]), queued());
            assert_eq!(client.call(&["EXEC"]), Reply::Array(vec![Reply::Integer(3)]));
        }
    }
}

/// Crash in MULTI/EXEC, or when a client leaves half way (Envoy#23651 #26342 #38585 #45870;
/// redis-cluster-proxy#61 #118).
#[test]
fn scar_08_clients_that_leave_half_way_leave_nothing_behind() {
    for cluster in kinds::clusters(Kind::Keyway, 3, 0) {
        let mut proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let ways: &[&[&str]] = &[
            &["MULTI"],
            &["MULTI", "SET {h}a 1"],
            &["MULTI", "SET {h}a 1", "EXEC"],
            &["WATCH {h}a"],
            &["WATCH {h}a", "MULTI", "SET {h}a 1", "DISCARD"],
            &["BLPOP {h}list 0"],
            &["MULTI", "SET {h}a 1", "SET {other}a 1", "EXEC", "BLPOP {h}list 0", "PING"],
        ];
        for round in 0..20 {
            for way in ways {
                let mut client = proxy.client();
                for line in &way[..way.len() - round % 2 * (way.len() / 2)] {
                    let words: Vec<&str> = line.split(' ').collect();
                    client.try_send(&words).expect("it is connected");
                }
                if round % 3 == 0 {
                    client.reset();
                }
            }
        }
        proxy.assert_well("clients left half way");
        for node in cluster.nodes() {
            wait_for("no client is left waiting", Duration::from_secs(10), || {
                node.info("blocked_clients") == "0"
            });
            wait_for("no transaction is left open", Duration::from_secs(10), || {
                let left = node.client().text(&["CLIENT", "LIST"]);
                left.lines().all(|line| !line.contains(" flags=x"))
            });
        }
        // What was left behind on a connection would be the next one's.
        let mut client = proxy.client();
        for _ in 0..50 {
            client.ok(&["MULTI"]);
            assert_eq!(client.call(&["INCR", "{h}n"]), queued());
            assert!(matches!(client.call(&["EXEC"]), Reply::Array(of) if of.len() == 1));
        }
        assert_eq!(client.call(&["GET", "{h}n"]), Reply::bulk("50"));
    }
}

const CLIENTS: usize = 6;

/// What one client has done to its pair of counters.
struct Ledger {
    acknowledged: i64,
    in_doubt: i64,
    errors: Vec<String>,
}

/// Adds 1 to both counters of a pair in one transaction, until told to stop.
fn work(proxy: &Server, number: usize, stop: &AtomicBool, total: &AtomicUsize) -> Ledger {
    let mut client = proxy.client();
    let mut ledger = Ledger { acknowledged: 0, in_doubt: 0, errors: Vec::new() };
    let (a, b) = (format!("{{pair-{number}}}a"), format!("{{pair-{number}}}b"));
    while !stop.load(Ordering::SeqCst) && ledger.errors.len() < 5 {
        client.ok(&["MULTI"]);
        for key in [&a, &b] {
            let reply = client.try_call(&["INCR", key]);
            if !reply.as_ref().is_ok_and(|reply| *reply == queued()) {
                ledger.errors.push(format!("INCR {key}: {reply:?}"));
            }
        }
        match client.try_call(&["EXEC"]) {
            Ok(Reply::Array(both)) if both.len() == 2 && both[0] == both[1] => {
                ledger.acknowledged += 1;
            }
            Ok(Reply::Error(line)) if line.starts_with(b"INDOUBT ") => ledger.in_doubt += 1,
            other => ledger.errors.push(format!("EXEC of {a}: {other:?}")),
        }
        total.fetch_add(1, Ordering::SeqCst);
    }
    ledger
}

fn check(proxy: &Server, number: usize, ledger: &Ledger, lost_max: i64) {
    assert_eq!(ledger.errors, Vec::<String>::new());
    let mut client = proxy.client();
    let value = |client: &mut Client, name: &str| -> i64 {
        client.text(&["GET", &format!("{{pair-{number}}}{name}")]).parse().expect("a number")
    };
    let (a, b) = (value(&mut client, "a"), value(&mut client, "b"));
    assert_eq!(a, b, "a transaction runs whole or not at all");
    assert!(a <= ledger.acknowledged + ledger.in_doubt, "{a} of {}", ledger.acknowledged);
    assert!(a >= ledger.acknowledged - lost_max, "{a} of {}", ledger.acknowledged);
}

#[test]
fn transactions_go_on_through_a_reshard() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let Some(cli) = stock::tool("redis-cli") else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    let (stop, total) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (proxy, stop, total) = (&proxy, &stop, &total);
                scope.spawn(move || work(proxy, number, stop, total))
            })
            .collect();
        // Every slot of the first primary leaves it, and with them some client's pair.
        let output = Command::new(cli)
            .args(["--cluster", "reshard", &cluster.nodes()[0].address()])
            .args(["--cluster-from", &cluster.id(0), "--cluster-to", &cluster.id(1)])
            .args(["--cluster-slots", "5461", "--cluster-yes"])
            .output();
        stop.store(true, Ordering::SeqCst);
        assert!(output.expect("redis-cli starts").status.success());
        for (number, worker) in workers.into_iter().enumerate() {
            let ledger = worker.join().expect("no client panics");
            assert_eq!(ledger.in_doubt, 0, "no connection was lost");
            check(&proxy, number, &ledger, 0);
        }
    });
}

#[test]
fn transactions_go_on_through_a_failover() {
    let Some(mut cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    cluster.await_replicas_online();
    let (stop, total) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (proxy, stop, total) = (&proxy, &stop, &total);
                scope.spawn(move || work(proxy, number, stop, total))
            })
            .collect();
        let passed = |count: usize| {
            let from = total.load(Ordering::SeqCst);
            wait_for("the load goes on", Duration::from_secs(60), || {
                total.load(Ordering::SeqCst) >= from + count
            });
        };
        passed(500);
        let victim = cluster.owner("{pair-0}a");
        cluster.node_mut(victim).kill();
        wait_for("its replica is promoted", Duration::from_secs(60), || {
            cluster.nodes()[3 + victim].info("role") == "master"
        });
        passed(1_000);
        stop.store(true, Ordering::SeqCst);
        for (number, worker) in workers.into_iter().enumerate() {
            let ledger = worker.join().expect("no client panics");
            assert!(ledger.in_doubt <= 1, "one was in flight at most: {}", ledger.in_doubt);
            // Replication is asynchronous: the dead primary may have acknowledged one alone.
            check(&proxy, number, &ledger, 1);
        }
    });
}
