//! What other proxies were reported to suffer from, in front of real nodes: the contract's scars
//! that no other file is about.

use super::kinds::{clusters, with_proxy};
use super::transactions::{finish_move, open_slot};
use super::{calls, reach_all};
use crate::support::{Client, Cluster, Fault, Keyway, Kind, Relay, Server, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// Scar 2: "no server" until a restart, once the nodes have other addresses. Every node gets one,
/// and nobody listens at the old ones any more.
#[test]
fn scar_02_nodes_that_change_their_addresses_are_found() {
    for cluster in clusters(Kind::Keyway, 3, 0) {
        let before = cluster.behind_relays();
        let proxy = Keyway::proxy(&[format!("127.0.0.1:{}", before[0].port())], &[]);
        reach_all(&cluster, &proxy);
        let mut client = proxy.client();
        // One after the other, as in a rolling move to other machines.
        let after: Vec<Relay> = (0..3)
            .map(|number| {
                let relay = Relay::to(cluster.nodes()[number].port());
                let mut node = cluster.nodes()[number].client();
                node.ok(&["CONFIG", "SET", "cluster-announce-port", &relay.port().to_string()]);
                wait_for("the others hear of it", Duration::from_secs(30), || {
                    cluster.nodes().iter().all(|node| {
                        let text = node.client().text(&["CLUSTER", "NODES"]);
                        text.contains(&format!(":{}@", relay.port()))
                    })
                });
                before[number].set(Fault::Refuse);
                before[number].reset_all();
                for number in 0..3 {
                    client.ok(&["SET", &cluster.key_of(number, "moved"), "1"]);
                }
                relay
            })
            .collect();
        drop(before);
        for (number, relay) in after.iter().enumerate() {
            assert!(relay.accepted() > 0, "nobody came to the new address of node {number}");
            assert_eq!(client.call(&["GET", &cluster.key_of(number, "moved")]), Reply::bulk("1"));
        }
    }
}

/// Scar 3: the seed is a single point of failure. It dies, and what the others do is still learnt.
#[test]
fn scar_03_the_seed_may_die() {
    for mut cluster in clusters(Kind::Keyway, 3, 0) {
        let proxy = Keyway::proxy(&[cluster.nodes()[0].address()], &[]);
        reach_all(&cluster, &proxy);
        let mut client = proxy.client();
        cluster.node_mut(0).kill();
        let key = cluster.key_of(1, "seed");
        client.ok(&["SET", &key, "1"]);
        open_slot(&cluster, &key, 1, 2);
        finish_move(&cluster, &key, 1, 2);
        assert_eq!(client.call(&["INCR", &key]), Reply::Integer(2));
        let slot = i64::from(Slot::of(key.as_bytes()).number());
        let owner = cluster.nodes()[2].address();
        wait_for("the map is read from the others", Duration::from_secs(30), || {
            let text = client.text(&["PROXY", "SHOW", "SLOTS"]);
            text.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
                let range = number(0).zip(number(1));
                range.is_some_and(|(first, last)| first <= slot && slot <= last)
                    && words.contains(&owner.as_str())
            })
        });
        client.ok(&["SET", &cluster.key_of(2, "seed"), "2"]);
    }
}

/// Scar 5: ASK followed without ASKING. A key that is not there yet is made at the importing node,
/// which refuses whoever does not say ASKING.
#[test]
fn scar_05_asking_goes_before_what_ask_sent_elsewhere() {
    for cluster in clusters(Kind::Valkey, 3, 0) {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let key = cluster.key_of(0, "ask");
        open_slot(&cluster, &key, 0, 1);
        let mut client = proxy.client();
        let mut target = cluster.nodes()[1].client();
        client.ok(&["SET", &key, "1"]);
        let without = target.call(&["GET", &key]);
        assert!(without.as_error().is_some_and(|line| line.starts_with(b"MOVED")), "{without:?}");
        target.ok(&["ASKING"]);
        assert_eq!(target.call(&["GET", &key]), Reply::bulk("1"));
        // Many at once, with others between them.
        let other = cluster.key_of(1, "ask");
        let commands: Vec<Vec<&str>> =
            (0..200).map(|at| vec!["INCR", if at % 3 == 0 { &other } else { &key }]).collect();
        let mut expected = [0, 1];
        for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
            let of = &mut expected[usize::from(command[1] == key)];
            *of += 1;
            assert_eq!(reply, Reply::Integer(*of), "{command:?}");
        }
    }
}

/// Scar 10: empty strings refused; a long key that comes in two reads hashed wrongly; memory taken
/// for what a header claims.
#[test]
fn scar_10_any_string_is_a_key_and_no_header_is_believed() {
    for (cluster, mut proxy) in with_proxy(Kind::Keyway, "") {
        let mut client = proxy.client();
        client.ok(&["SET", "", ""]);
        assert_eq!(client.call(&["GET", ""]), Reply::bulk(""));
        assert_eq!(
            client.call(&["MGET", "", "none"]),
            Reply::Array(vec![Reply::bulk(""), Reply::Null])
        );
        for (number, length) in [511, 512, 513, 600, 5_000, 70_000].into_iter().enumerate() {
            let key = format!("{}{number}", "k".repeat(length));
            let frame = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\nv\r\n", key.len());
            let frame = frame.as_bytes();
            for cut in [1, 20, 30, length / 2, length + 20, frame.len() - 1] {
                client.send_raw(&frame[..cut]);
                // The first half is read before the second is sent.
                assert_eq!(proxy.client().call(&["PING"]), Reply::simple("PONG"));
                client.send_raw(&frame[cut..]);
                assert_eq!(client.reply(), Reply::simple("OK"), "{length}, cut at {cut}");
            }
            // The node that owns it has it, and says so without a redirect.
            let mut node = cluster.nodes()[cluster.owner(&key)].client();
            assert_eq!(node.call(&["GET", &key]), Reply::bulk("v"), "{length}");
        }
        let before = proxy.process().rss();
        let mut claims: Vec<Client> = Vec::new();
        for claim in
            ["*1048576\r\n", "*2\r\n$3\r\nGET\r\n$536870912\r\n", "*1048576\r\n$536870912\r\n"]
        {
            for _ in 0..20 {
                let mut client = proxy.client();
                client.send_raw(claim.as_bytes());
                claims.push(client);
            }
        }
        for (refused, line) in [
            ("*2\r\n$3\r\nGET\r\n$536870913\r\n", "invalid bulk length"),
            ("*2147483648\r\n", "invalid multibulk length"),
            ("*1\r\n*1\r\n", "expected '$', got '*'"),
        ] {
            let mut client = proxy.client();
            client.send_raw(refused.as_bytes());
            let reply = client.reply();
            let text = reply.as_error().map(|line| String::from_utf8_lossy(line).into_owned());
            assert_eq!(text, Some(format!("ERR Protocol error: {line}")), "{refused:?}");
        }
        let grown = proxy.process().rss().saturating_sub(before);
        assert!(grown < 16 * MIB, "60 claims cost {} KiB", grown / 1024);
        proxy.assert_well("claims");
    }
}

/// Scar 15: the answer to AUTH swallowed, or given to another, while others are pending.
#[test]
fn scar_15_every_answer_to_auth_has_its_place() {
    for cluster in clusters(Kind::Keyway, 3, 0) {
        let proxy = Keyway::proxy_with(&cluster.seeds(), "password: right\n");
        let keys = [0, 1, 2].map(|node| cluster.key_of(node, "auth"));
        let mut client = proxy.client();
        client.ok(&["AUTH", "right"]);
        wait_for("every primary is reached", Duration::from_secs(30), || {
            keys.iter().all(|key| client.call(&["SET", key, "v"]) == Reply::simple("OK"))
        });
        for _ in 0..50 {
            let mut commands: Vec<Vec<&str>> = Vec::new();
            for key in &keys {
                commands.extend([
                    vec!["GET", key.as_str()],
                    vec!["AUTH", "wrong"],
                    vec!["GET", key.as_str()],
                    vec!["AUTH", "nobody", "right"],
                    vec!["AUTH", "right"],
                ]);
            }
            let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
            for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
                match command[..] {
                    ["GET", _] => assert_eq!(reply, Reply::bulk("v")),
                    ["AUTH", "right"] => assert_eq!(reply, Reply::simple("OK")),
                    _ => assert_eq!(reply.as_error(), Some(wrong.as_bytes()), "{command:?}"),
                }
            }
        }
    }
}

/// Scar 17: MSETNX half applied; PFCOUNT over several slots added up.
#[test]
fn scar_17_nothing_is_half_applied_or_added_up() {
    for (cluster, proxy) in with_proxy(Kind::Keyway, "") {
        let [a, b, c] = [0, 1, 2].map(|node| cluster.key_of(node, "half"));
        let mut client = proxy.client();
        let crossed = &b"CROSSSLOT Keys in request don't hash to the same slot"[..];
        for command in [
            vec!["MSETNX", &a, "1", &b, "1"],
            vec!["RENAME", &a, &b],
            vec!["SUNIONSTORE", &a, &b, &c],
            vec!["PFMERGE", &a, &b],
            vec!["BITOP", "OR", &a, &b, &c],
        ] {
            assert_eq!(client.call(&command).as_error(), Some(crossed), "{command:?}");
        }
        assert_eq!(client.integer(&["EXISTS", &a, &b, &c]), 0);
        for key in [&a, &b, &c] {
            for number in 0..100 {
                client.call(&["PFADD", key, &format!("the same {number}")]);
            }
        }
        let one = client.integer(&["PFCOUNT", &a]);
        assert_eq!(client.integer(&["PFCOUNT", &a, &b, &c]), one);
    }
}

/// Scar 19: a storm of questions for the topology during an outage. However many clients want a
/// slot that nobody serves, the nodes are asked ten times a second at most.
#[test]
fn scar_19_an_outage_makes_no_storm_of_questions() {
    for mut cluster in clusters(Kind::Valkey, 3, 0) {
        let proxy = Keyway::proxy_with(&cluster.seeds(), "workers: 2\ntiming:\n  ride_out: 3s\n");
        reach_all(&cluster, &proxy);
        cluster.node_mut(0).kill();
        let asked = |cluster: &Cluster| -> i64 {
            let nodes = &cluster.nodes()[1..];
            nodes.iter().map(|node| calls(node, "cluster|nodes")).sum()
        };
        let (before, started) = (asked(&cluster), Instant::now());
        let stop = AtomicBool::new(false);
        let key = cluster.key_of(0, "storm");
        let errors: usize = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..50)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = proxy.client();
                        let mut errors = 0;
                        while !stop.load(Ordering::SeqCst) {
                            errors += usize::from(client.call(&["GET", &key]).as_error().is_some());
                        }
                        errors
                    })
                })
                .collect();
            // Those of the other nodes are served all the while.
            let mut client = proxy.client();
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                client.ok(&["SET", &cluster.key_of(1, "calm"), "1"]);
            }
            stop.store(true, Ordering::SeqCst);
            clients.into_iter().map(|client| client.join().expect("it ends")).sum()
        });
        let questions = asked(&cluster) - before;
        let most = 10 * (started.elapsed().as_secs() as i64 + 2);
        assert!(questions <= most, "{questions} questions in {:?}", started.elapsed());
        assert!(errors > 0, "the ride-out came to its end");
    }
}

/// Scar 18: memory that grows with what is said about the cluster. The proxy's own long answers
/// are bounded as a node's are: 2,000 of them, asked for at once and never read.
#[test]
fn scar_18_long_answers_of_the_proxy_itself_wait_for_their_reader() {
    for (cluster, mut proxy) in with_proxy(Kind::Redis, "workers: 1\n") {
        const TIMES: usize = 2_000;
        let asked: [&[&str]; 2] = [&["COMMAND"], &["CLUSTER", "SLOTS"]];
        let mut client = proxy.client();
        // What one answer of each costs is not the slow reader's.
        asked.iter().for_each(|command| drop(client.call(command)));
        let before = proxy.process().rss();
        let mut slow = proxy.client();
        let mut bytes = Vec::new();
        for command in asked.iter().cycle().take(TIMES) {
            keyway::resp::encode_request(&mut bytes, command);
        }
        slow.send_raw(&bytes);
        let mut most = 0;
        for number in 0..2_000 {
            client.ok(&["SET", &cluster.key_of(number % 3, "small"), "v"]);
            most = most.max(proxy.process().rss().saturating_sub(before));
        }
        assert!(most <= 32 * MIB, "one client that does not read costs {} KiB", most / 1024);

        let (mut longest, mut slots) = (0, 0);
        for number in 0..TIMES {
            match slow.reply() {
                Reply::Array(rows) if number % 2 == 0 => longest = longest.max(rows.len()),
                Reply::Array(_) => slots += 1,
                other => panic!("answer {number} is {other:?}"),
            }
        }
        assert!(longest > 200 && slots == TIMES / 2, "{longest} commands, {slots} maps");
        proxy.assert_well("a client that asks for long answers");
    }
}

/// How many clients each worker has.
fn by_worker(operator: &mut Client) -> BTreeMap<i64, Vec<i64>> {
    let Reply::Array(rows) = operator.call(&["PROXY", "SHOW", "CLIENTS"]) else {
        panic!("no rows")
    };
    let mut workers = BTreeMap::<i64, Vec<i64>>::new();
    for row in rows {
        let Reply::Map(row) = row else { panic!("no map: {row:?}") };
        let number = |name: &str| {
            let cell = row.iter().find(|(key, _)| *key == Reply::bulk(name));
            cell.and_then(|(_, value)| value.as_integer()).unwrap_or_else(|| panic!("{row:?}"))
        };
        workers.entry(number("worker")).or_default().push(number("id"));
    }
    workers
}

fn connect(proxy: &Server, count: usize) -> BTreeMap<i64, Client> {
    let one = || {
        let mut client = proxy.client();
        let id = client.call(&["CLIENT", "ID"]).as_integer().expect("a number");
        (id, client)
    };
    (0..count).map(|_| one()).collect()
}

/// Scar 21: clients piled on one worker. Each goes to the worker with the fewest, also after those
/// of one worker have left.
#[test]
fn scar_21_clients_are_spread_over_the_workers() {
    for (_cluster, proxy) in with_proxy(Kind::Valkey, "workers: 4\n") {
        let mut operator = proxy.client_resp3();
        wait_for("nobody else is there", Duration::from_secs(10), || {
            by_worker(&mut operator).values().map(Vec::len).sum::<usize>() == 1
        });
        let mut clients = connect(&proxy, 40);
        let spread = by_worker(&mut operator);
        assert_spread(&spread, &mut operator);

        let own = operator.call(&["CLIENT", "ID"]).as_integer().expect("a number");
        let (&left, leaving) =
            spread.iter().find(|(_, ids)| !ids.contains(&own)).expect("the operator is on one");
        // Ten or eleven, as the one that is over fell.
        let leaving = leaving.clone();
        leaving.iter().for_each(|id| drop(clients.remove(id)));
        wait_for("they are gone", Duration::from_secs(10), || {
            !by_worker(&mut operator).contains_key(&left)
        });
        clients.extend(connect(&proxy, leaving.len()));
        assert_spread(&by_worker(&mut operator), &mut operator);
        assert_eq!(clients.len(), 40);
    }
}

/// 41 clients over four workers: ten each, and one more somewhere.
fn assert_spread(spread: &BTreeMap<i64, Vec<i64>>, operator: &mut Client) {
    let counts: Vec<usize> = spread.values().map(Vec::len).collect();
    assert!(
        counts.len() == 4 && counts.iter().all(|count| (10..=11).contains(count)),
        "{counts:?}; there are\n{}",
        operator.text(&["CLIENT", "LIST"])
    );
}
