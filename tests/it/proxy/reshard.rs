//! Slots move under load, and no client notices.

use super::kinds::clusters;
use super::{fill, reach_all};
use crate::support::{Cluster, Keyway, Kind, Loss, Server, stock};
use keyway::resp::Reply;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
/// Counters and lists of each client, over all slots.
const KEYS_EACH: usize = 150;

/// What one client did: how often it went over its keys.
struct Done {
    rounds: usize,
    errors: Vec<String>,
}

/// INCR and RPUSH over a client's own keys, one at a time or pipelined, until told to stop.
fn work(proxy: &Server, client_number: usize, stop: &AtomicBool) -> Done {
    let mut client = proxy.client();
    let mut done = Done { rounds: 0, errors: Vec::new() };
    while !stop.load(Ordering::SeqCst) {
        let round = done.rounds.to_string();
        let commands: Vec<Vec<String>> = (0..KEYS_EACH)
            .flat_map(|key| {
                let name = format!("{client_number}:{key}");
                [
                    vec!["INCR".to_owned(), format!("counter:{name}")],
                    vec!["RPUSH".to_owned(), format!("list:{name}"), round.clone()],
                ]
            })
            .collect();
        let expected = Reply::Integer(done.rounds as i64 + 1);
        let mut note = |command: &[String], reply: Result<Reply, Loss>| match reply {
            Ok(reply) if reply == expected => {}
            other => done.errors.push(format!("{command:?}: {other:?}")),
        };
        if client_number.is_multiple_of(2) {
            for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
                note(command, Ok(reply));
            }
        } else {
            for command in &commands {
                note(command, client.try_call(command));
            }
        }
        done.rounds += 1;
        if done.errors.len() > 10 {
            break;
        }
    }
    done
}

#[test]
fn a_reshard_under_load_loses_nothing() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let Some(cli) = stock::tool("redis-cli") else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    fill(&mut proxy.client(), 10_000);

    let stop = AtomicBool::new(false);
    let done: Vec<Done> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let (proxy, stop) = (&proxy, &stop);
                    move || work(proxy, number, stop)
                })
            })
            .collect();
        let output = Command::new(cli)
            .args(["--cluster", "reshard", &cluster.nodes()[0].address()])
            .args(["--cluster-from", &cluster.id(0), "--cluster-to", &cluster.id(1)])
            .args(["--cluster-slots", "2000", "--cluster-yes"])
            .output();
        stop.store(true, Ordering::SeqCst);
        let output = output.expect("redis-cli starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let tail: Vec<&str> = text.lines().rev().take(5).collect();
        assert!(output.status.success(), "the reshard went well: {tail:?}");
        workers.into_iter().map(|worker| worker.join().expect("no client panics")).collect()
    });

    for done in &done {
        assert_eq!(done.errors, Vec::<String>::new());
        assert!(done.rounds > 1, "the load went on during the reshard");
    }
    // Told by the nodes themselves, not through the proxy.
    let moved = cluster.nodes()[1].client().text(&["CLUSTER", "INFO"]);
    assert!(moved.contains("cluster_state:ok"), "{moved}");
    let mut client = proxy.client();
    for (number, done) in done.iter().enumerate() {
        let rounds: Vec<Reply> = (0..done.rounds).map(|n| Reply::bulk(n.to_string())).collect();
        for key in 0..KEYS_EACH {
            let name = format!("{number}:{key}");
            let counter = client.call(&["GET", &format!("counter:{name}")]);
            assert_eq!(counter, Reply::bulk(done.rounds.to_string()), "counter:{name}");
            let list = client.call(&["LRANGE", &format!("list:{name}"), "0", "-1"]);
            assert_eq!(list, Reply::Array(rounds.clone()), "list:{name}");
        }
    }
    assert_eq!(client.call(&["GET", "key:9999"]), Reply::bulk("value-9999"));
}

/// A slot that is half way moved: both its keys that stay and those that have left are served,
/// and nothing of ASK or TRYAGAIN reaches a client.
#[test]
fn scar_04_a_slot_half_way_moved_is_served_whole() {
    for cluster in clusters(Kind::Keyway, 2, 0) {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        let mut client = proxy.client();
        for number in 0..20 {
            client.ok(&["SET", &format!("{{t}}:{number}"), &number.to_string()]);
        }
        let slot = keyway::cluster::Slot::of(b"{t}").number().to_string();
        let (from, to) = (cluster.owner("{t}"), 1 - cluster.owner("{t}"));
        let (mut source, mut target) =
            (cluster.nodes()[from].client(), cluster.nodes()[to].client());
        target.ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &cluster.id(from)]);
        source.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &cluster.id(to)]);
        let port = cluster.nodes()[to].port().to_string();
        for number in 0..10 {
            source.ok(&["MIGRATE", "127.0.0.1", &port, &format!("{{t}}:{number}"), "0", "1000"]);
        }

        for number in 0..20 {
            let value = client.call(&["GET", &format!("{{t}}:{number}")]);
            assert_eq!(value, Reply::bulk(number.to_string()), "{{t}}:{number}");
        }
        client.ok(&["SET", "{t}:new", "1"]);
        assert_eq!(target.call(&["ASKING"]), Reply::simple("OK"));
        assert_eq!(
            target.call(&["GET", "{t}:new"]),
            Reply::bulk("1"),
            "a new key is made over there"
        );

        // Keys on both sides in one command: nobody can answer it until the move is done.
        let started = Instant::now();
        let waiting = std::thread::spawn({
            let mut client = proxy.client();
            move || client.call(&["MGET", "{t}:1", "{t}:15"])
        });
        for number in 10..20 {
            source.ok(&["MIGRATE", "127.0.0.1", &port, &format!("{{t}}:{number}"), "0", "1000"]);
        }
        for node in [&mut target, &mut source] {
            node.ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &cluster.id(to)]);
        }
        let both = waiting.join().expect("it is answered");
        assert_eq!(both, Reply::Array(vec![Reply::bulk("1"), Reply::bulk("15")]));
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
