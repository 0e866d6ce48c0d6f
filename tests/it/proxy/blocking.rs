//! Commands that wait, through the proxy, on real nodes: clients that leave, slots that move,
//! primaries that die.

use super::transactions::{clusters, finish_move, open_slot};
use super::{kinds, reach_all};
use crate::support::{Client, Cluster, Keyway, Kind, Server, stock, wait_for};
use keyway::resp::Reply;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn await_blocked(cluster: &Cluster, count: usize) {
    wait_for("clients wait at the nodes", Duration::from_secs(10), || {
        let blocked = cluster
            .nodes()
            .iter()
            .map(|node| node.info("blocked_clients").parse::<usize>().expect("a number"));
        blocked.sum::<usize>() == count
    });
}

fn pair(key: &str, value: &str) -> Reply {
    Reply::Array(vec![Reply::bulk(key), Reply::bulk(value)])
}

#[test]
fn every_kind_of_wait_ends_with_what_it_waits_for() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let table: &[(&str, &str, Reply)] = &[
            ("BLPOP {k}l 0", "RPUSH {k}l x", pair("{k}l", "x")),
            ("BRPOP {k}l 0", "RPUSH {k}l x", pair("{k}l", "x")),
            ("BLMOVE {k}l {k}m LEFT RIGHT 0", "RPUSH {k}l x", Reply::bulk("x")),
            ("BRPOPLPUSH {k}l {k}m 0", "RPUSH {k}l y", Reply::bulk("y")),
            (
                "BLMPOP 0 1 {k}l LEFT",
                "RPUSH {k}l x",
                Reply::Array(vec![Reply::bulk("{k}l"), Reply::Array(vec![Reply::bulk("x")])]),
            ),
            (
                "BZPOPMIN {k}z 0",
                "ZADD {k}z 1 x",
                Reply::Array(vec![Reply::bulk("{k}z"), Reply::bulk("x"), Reply::bulk("1")]),
            ),
            (
                "XREAD BLOCK 0 STREAMS {k}s $",
                "XADD {k}s 5-1 f v",
                Reply::Array(vec![Reply::Array(vec![
                    Reply::bulk("{k}s"),
                    Reply::Array(vec![Reply::Array(vec![Reply::bulk("5-1"), pair("f", "v")])]),
                ])]),
            ),
        ];
        let (mut waiting, mut other) = (proxy.client(), proxy.client());
        for (wait, push, expected) in table {
            waiting.try_send(&wait.split(' ').collect::<Vec<_>>()).expect("it is connected");
            await_blocked(&cluster, 1);
            other.call(&push.split(' ').collect::<Vec<_>>());
            assert_eq!(waiting.reply(), *expected, "{wait}");
        }
        // Nothing comes: the time is the client's.
        let started = Instant::now();
        assert_eq!(waiting.call(&["BLPOP", "{k}none", "0.2"]), Reply::NullArray);
        assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
        // Inside a transaction nothing waits.
        waiting.ok(&["MULTI"]);
        assert_eq!(waiting.call(&["BLPOP", "{k}none", "0"]), Reply::simple("QUEUED"));
        assert_eq!(waiting.call(&["EXEC"]), Reply::Array(vec![Reply::NullArray]));
    }
}

#[test]
fn client_unblock_reaches_the_clients_of_every_worker() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
        reach_all(&cluster, &proxy);
        let mut other = proxy.client();
        for number in 0..6 {
            let mut waiting = proxy.client();
            let id = waiting.integer(&["CLIENT", "ID"]).to_string();
            assert_eq!(other.integer(&["CLIENT", "UNBLOCK", &id]), 0, "it does not wait");
            waiting.try_send(&["BLPOP", "{u}l", "0"]).expect("it is connected");
            await_blocked(&cluster, 1);
            if number % 2 == 0 {
                assert_eq!(other.integer(&["CLIENT", "UNBLOCK", &id]), 1);
                assert_eq!(waiting.reply(), Reply::NullArray);
            } else {
                assert_eq!(other.integer(&["CLIENT", "UNBLOCK", &id, "ERROR"]), 1);
                let line = waiting.reply();
                let text = &b"UNBLOCKED client unblocked via CLIENT UNBLOCK"[..];
                assert_eq!(line.as_error(), Some(text));
            }
            await_blocked(&cluster, 0);
        }
    }
}

/// Waits until the proxy has nobody but `other`, and the node no connection that a wait is on, or could still
/// come on: what is pushed before the end of a connection has been read goes to it, at any server.
fn await_end_of_wait(cluster: &Cluster, other: &mut Client) {
    wait_for("its leaving is noticed", Duration::from_secs(10), || {
        other.text(&["CLIENT", "LIST"]).lines().count() == 1
    });
    let mut node = cluster.nodes()[0].client();
    wait_for("its wait is over at the node", Duration::from_secs(10), || {
        let waits = |line: &str| line.contains(" cmd=blpop") || line.contains(" cmd=client|id");
        !node.text(&["CLIENT", "LIST"]).lines().any(waits)
    });
}

/// A blocked client that left still takes an element (redis#949 #2379; Envoy#21783).
#[test]
fn scar_13_a_client_that_left_takes_nothing() {
    for cluster in kinds::clusters(Kind::Keyway, 1, 0) {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let mut other = proxy.client();
        for round in 0..1_000 {
            let mut waiting = proxy.client();
            waiting.try_send(&["BLPOP", "queue", "0"]).expect("it is connected");
            if round % 2 == 0 {
                await_blocked(&cluster, 1);
            }
            if round % 4 < 2 {
                waiting.reset();
            } else {
                drop(waiting);
            }
            await_end_of_wait(&cluster, &mut other);
            assert_eq!(other.integer(&["RPUSH", "queue", "x"]), 1, "round {round}");
            assert_eq!(other.call(&["LPOP", "queue"]), Reply::bulk("x"), "round {round}");
        }
    }
}

/// A blocked client that hangs after the slot moved (redis#949 #2379; Envoy#21783).
#[test]
fn scar_13_a_wait_follows_its_slot() {
    for cluster in kinds::clusters(Kind::Valkey, 3, 0) {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let key = "{moves}queue";
        let from = cluster.owner(key);
        let to = (from + 1) % 3;
        let mut waiting: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
        let mut other = proxy.client();
        for client in &mut waiting {
            client.try_send(&["BLPOP", key, "0"]).expect("it is connected");
        }
        await_blocked(&cluster, 3);
        open_slot(&cluster, key, from, to);
        finish_move(&cluster, key, from, to);
        wait_for("they wait at the new owner", Duration::from_secs(10), || {
            cluster.nodes()[to].info("blocked_clients") == "3"
        });
        other.call(&["RPUSH", key, "a", "b", "c"]);
        let mut got: Vec<Reply> = waiting.iter_mut().map(Client::reply).collect();
        got.sort_by_key(|reply| format!("{reply:?}"));
        assert_eq!(got, [pair(key, "a"), pair(key, "b"), pair(key, "c")]);
    }
}

/// Takes from the queues until told to stop: what it got, and what went wrong.
fn consume(proxy: &Server, number: usize, stop: &AtomicBool) -> (Vec<String>, usize, Vec<String>) {
    let mut client = proxy.client();
    let (mut got, mut in_doubt, mut errors) = (Vec::new(), 0, Vec::new());
    let key = format!("{{queue-{number}}}");
    while errors.len() < 5 {
        match client.try_call(&["BLPOP", &key, "0.5"]) {
            Ok(Reply::Array(both)) => got.push(both[1].as_str().expect("an element").to_owned()),
            Ok(Reply::NullArray) if stop.load(Ordering::SeqCst) => break,
            Ok(Reply::NullArray) => {}
            Ok(Reply::Error(line)) if line.starts_with(b"INDOUBT ") => in_doubt += 1,
            other => errors.push(format!("BLPOP {key}: {other:?}")),
        }
    }
    (got, in_doubt, errors)
}

/// Puts numbered elements into a queue until told to stop: those acknowledged, and in doubt.
fn produce(
    proxy: &Server,
    number: usize,
    stop: &AtomicBool,
) -> (BTreeSet<String>, BTreeSet<String>, Vec<String>) {
    let mut client = proxy.client();
    let (mut sent, mut in_doubt, mut errors) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let key = format!("{{queue-{number}}}");
    for element in 0.. {
        if stop.load(Ordering::SeqCst) || errors.len() >= 5 {
            break;
        }
        let element = format!("{number}-{element}");
        match client.try_call(&["RPUSH", &key, &element]) {
            Ok(Reply::Integer(_)) => _ = sent.insert(element),
            Ok(Reply::Error(line)) if line.starts_with(b"INDOUBT ") => {
                in_doubt.insert(element);
            }
            other => errors.push(format!("RPUSH {key}: {other:?}")),
        }
    }
    (sent, in_doubt, errors)
}

const QUEUES: usize = 4;

/// Runs producers and consumers while `event` happens, and checks that nobody saw an error but
/// INDOUBT. Where no connection was lost, every element came exactly once, in its order.
fn queues_through(proxy: &Server, event: impl FnOnce(), connections_are_lost: bool) {
    let (stop_producing, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let consumers: Vec<_> = (0..QUEUES)
            .map(|number| {
                let stop = &stop;
                scope.spawn(move || consume(proxy, number, stop))
            })
            .collect();
        let producers: Vec<_> = (0..QUEUES)
            .map(|number| {
                let stop = &stop_producing;
                scope.spawn(move || produce(proxy, number, stop))
            })
            .collect();
        event();
        stop_producing.store(true, Ordering::SeqCst);
        let produced: Vec<_> =
            producers.into_iter().map(|of| of.join().expect("no client panics")).collect();
        stop.store(true, Ordering::SeqCst);
        for (consumer, (sent, in_doubt, errors)) in consumers.into_iter().zip(produced) {
            let (got, doubts, failed) = consumer.join().expect("no client panics");
            assert_eq!((errors, failed), (Vec::new(), Vec::new()));
            let unique: BTreeSet<String> = got.iter().cloned().collect();
            assert!(unique.is_subset(&sent.union(&in_doubt).cloned().collect()));
            let missing = sent.difference(&unique).count();
            if connections_are_lost {
                // Replication is asynchronous: an element or its removal may die with a primary.
                assert!(doubts <= 2 && missing <= 2 + doubts, "{missing} missing, {doubts} doubts");
                continue;
            }
            assert_eq!((missing, doubts, got.len()), (0, 0, unique.len()), "each exactly once");
            let numbers: Vec<usize> = got
                .iter()
                .map(|element| element.split('-').nth(1).expect("ours").parse().expect("a number"))
                .collect();
            assert!(numbers.is_sorted(), "in their order");
            assert!(numbers.len() > 100, "the queues went on: {}", numbers.len());
        }
    });
}

#[test]
fn queues_go_on_through_a_reshard() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let Some(cli) = stock::tool("redis-cli") else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    let reshard = || {
        let output = Command::new(&cli)
            .args(["--cluster", "reshard", &cluster.nodes()[0].address()])
            .args(["--cluster-from", "all", "--cluster-to", &cluster.id(1)])
            .args(["--cluster-slots", "6000", "--cluster-yes"])
            .output();
        assert!(output.expect("redis-cli starts").status.success());
    };
    queues_through(&proxy, reshard, false);
}

#[test]
fn queues_go_on_through_a_failover() {
    let Some(mut cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    cluster.await_replicas_online();
    let victim = cluster.owner("{queue-0}");
    let failover = || {
        cluster.node_mut(victim).kill();
        wait_for("its replica is promoted", Duration::from_secs(60), || {
            cluster.nodes()[3 + victim].info("role") == "master"
        });
        wait_for("the queue goes on", Duration::from_secs(30), || {
            matches!(proxy.client().call(&["RPUSH", "{queue-0}after", "x"]), Reply::Integer(_))
        });
    };
    queues_through(&proxy, failover, true);
}
