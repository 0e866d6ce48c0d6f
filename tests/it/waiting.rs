//! Clients of a node that wait for keys or listen to channels, on real sockets and in clusters:
//! what a stock server does for them, ours does.

use crate::support::{Client, Cluster, Kind, Server, wait_for};
use keyway::resp::Reply;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

/// Waits until a server has so many clients that wait.
fn await_blocked(server: &Server, count: usize) {
    let count = count.to_string();
    wait_for("the clients to wait", SOON, || server.info("blocked_clients") == count);
}

fn slot_of(client: &mut Client, key: &str) -> String {
    client.integer(&["CLUSTER", "KEYSLOT", key]).to_string()
}

/// The words of a push, or of an array.
fn words(reply: &Reply) -> Vec<String> {
    let (Reply::Array(parts) | Reply::Push(parts)) = reply else {
        panic!("no message: {reply:?}");
    };
    let word = |part: &Reply| match part {
        Reply::Integer(number) => number.to_string(),
        part => part.as_str().expect("text").to_owned(),
    };
    parts.iter().map(word).collect()
}

#[test]
fn a_wait_on_a_socket_ends_in_time() {
    let node = Server::keyway_node(&[]);
    let mut client = node.client();
    for (timeout, millis) in [("0.05", 50), ("0.3", 300)] {
        let started = Instant::now();
        assert!(matches!(client.call(&["BLPOP", "k", timeout]), Reply::Null | Reply::NullArray));
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(millis), "{took:?}");
        assert!(took < Duration::from_millis(millis) + Duration::from_secs(2), "{took:?}");
    }
    assert_eq!(client.call(&["PING"]), Reply::simple("PONG"));
}

#[test]
fn whoever_hung_up_takes_nothing() {
    let node = Server::keyway_node(&[]);
    let mut waiting = node.client();
    waiting.try_send(&["BLPOP", "k", "0"]).expect("sent");
    // What it sent behind its wait does not hide that it leaves.
    waiting.send_raw(&b"PING\r\n".repeat(100));
    await_blocked(&node, 1);
    drop(waiting);
    await_blocked(&node, 0);
    let mut client = node.client();
    assert_eq!(client.integer(&["RPUSH", "k", "v"]), 1);
    assert_eq!(client.integer(&["LLEN", "k"]), 1);
}

#[test]
fn many_clients_that_wait_are_served_in_order() {
    let node = Server::keyway_node(&[]);
    let mut waiting: Vec<Client> = (1..=50)
        .map(|count| {
            let mut client = node.client();
            client.try_send(&["BLPOP", "k", "0"]).expect("sent");
            await_blocked(&node, count);
            client
        })
        .collect();
    let elements: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let mut command = vec!["RPUSH", "k"];
    command.extend(elements.iter().map(String::as_str));
    assert_eq!(node.client().integer(&command), 50);
    for (client, element) in waiting.iter_mut().zip(&elements) {
        assert_eq!(words(&client.reply()), ["k", element]);
    }
}

/// The slot goes to the other node by the hands of an operator.
#[test]
fn whoever_waits_in_a_slot_that_goes_is_sent_after_it() {
    for kind in [Kind::Redis, Kind::Valkey, Kind::Keyway] {
        // With two primaries, one that is late by the node timeout stops both: a busy machine is to
        // be no reason.
        let patient = ["--cluster-node-timeout", "30000"];
        let Some(cluster) = Cluster::of(&[kind, kind], 0, &patient) else { continue };
        let [from, to] = [0, 1].map(|node| &cluster.nodes()[node]);
        let key = cluster.key_of(0, "moving");
        let mut control = from.client();
        let slot = slot_of(&mut control, &key);
        let mut waiting = from.client();
        waiting.try_send(&["BLPOP", &key, "0"]).expect("sent");
        let mut listening = from.client_resp3();
        let confirmed = words(&listening.call(&["SSUBSCRIBE", &key]));
        assert_eq!(confirmed, ["ssubscribe", &key, "1"], "{kind:?}");
        await_blocked(from, 1);
        let target = cluster.id(1);
        for node in [to, from] {
            node.client().ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        }
        let moved = format!("MOVED {slot} {}", to.address());
        assert_eq!(waiting.reply(), Reply::error(&moved), "{kind:?}");
        assert_eq!(words(&listening.reply()), ["sunsubscribe", &key, "0"], "{kind:?}");
        for command in ["SSUBSCRIBE", "SUNSUBSCRIBE"] {
            let refused = from.client().call(&[command, &key]);
            assert_eq!(refused, Reply::error(&moved), "{kind:?} {command}");
        }
        let refused = from.client().call(&["SPUBLISH", &key, "m"]);
        assert_eq!(refused, Reply::error(&moved), "{kind:?}");
        assert_eq!(control.call(&["PUBLISH", &key, "m"]), Reply::Integer(0), "{kind:?}");
        assert_eq!(from.info("blocked_clients"), "0", "{kind:?}");
    }
}

/// A message is heard at every node, whoever's it is; that of a shard channel in its shard.
#[test]
fn messages_travel_between_nodes_of_all_kinds() {
    let kinds = [Kind::Redis, Kind::Keyway, Kind::Valkey];
    let Some(cluster) = Cluster::of(&kinds, 0, &[]) else { return };
    let nodes = cluster.nodes();
    let mut listeners: Vec<Client> = nodes
        .iter()
        .map(|node| {
            let mut client = node.client();
            client.call(&["SUBSCRIBE", "news"]);
            client.call(&["PSUBSCRIBE", "n*"]);
            client
        })
        .collect();
    for (sender, node) in nodes.iter().enumerate() {
        let message = format!("from {sender}");
        assert_eq!(node.client().integer(&["PUBLISH", "news", &message]), 2);
        for listener in &mut listeners {
            assert_eq!(words(&listener.reply()), ["message", "news", &message]);
            assert_eq!(words(&listener.reply()), ["pmessage", "n*", "news", &message]);
        }
    }
    let channel = cluster.key_of(1, "shard");
    let mut listener = nodes[1].client();
    listener.call(&["SSUBSCRIBE", &channel]);
    assert_eq!(nodes[1].client().integer(&["SPUBLISH", &channel, "m"]), 1);
    assert_eq!(words(&listener.reply()), ["smessage", &channel, "m"]);
    let moved =
        format!("MOVED {} {}", slot_of(&mut nodes[0].client(), &channel), nodes[1].address());
    assert_eq!(nodes[0].client().call(&["SPUBLISH", &channel, "m"]), Reply::error(&moved));
}

#[test]
fn a_listener_that_never_reads_is_closed_and_nobody_waits_for_it() {
    let directives = ["--client-output-buffer-limit", "pubsub 4mb 0 0"];
    let mut node = Server::keyway_node(&directives);
    let [mut deaf, mut good] = [0; 2].map(|_| node.client());
    deaf.call(&["SUBSCRIBE", "x"]);
    good.call(&["SUBSCRIBE", "x"]);
    let before = node.process().rss();
    let mut sender = node.client();
    let message = "m".repeat(64 * 1024);
    let mut told = 2;
    for _ in 0..500 {
        told = sender.integer(&["PUBLISH", "x", &message]);
        assert_eq!(words(&good.reply())[2].len(), message.len());
        if told == 1 {
            break;
        }
    }
    assert_eq!(told, 1, "32 MiB wait for a client");
    assert_eq!(node.info("client_output_buffer_limit_disconnections"), "1");
    let grown = node.process().rss().saturating_sub(before);
    assert!(grown < 24 * 1024 * 1024, "{grown} bytes more are resident");
    let (_, closed) = deaf.read_to_end(SOON);
    assert!(closed);
}

/// What MONITOR shows is what Redis shows, but for the times and the ports.
#[test]
fn monitors_see_what_redis_would_show_them() {
    let mut seen = Vec::new();
    for kind in [Kind::Redis, Kind::Keyway] {
        let Some(server) = Server::node(kind, &["--enable-debug-command", "yes"]) else { return };
        let (mut monitor, mut client) = (server.client(), server.client());
        monitor.ok(&["MONITOR"]);
        for command in [
            &["GET", "k"][..],
            &["SET", "k", "a b\"c\u{1}\n\\\t\u{e9}"],
            &["SELECT", "3"],
            &["MULTI"],
            &["GET", "1"],
            &["BLPOP", "w", "1"],
            &["CONFIG", "GET", "port"],
            &["EXEC"],
            &["AUTH", "secret"],
            &["AUTH", "me", "secret"],
            &["HELLO", "2", "AUTH", "me", "secret", "SETNAME", "x"],
            &["CONFIG", "SET", "requirepass", ""],
            &["DEBUG", "SLEEP", "0"],
            &["nope"],
            &["GET"],
            &["SUBSCRIBE", "q"],
            &["UNSUBSCRIBE"],
            &["PING", "end"],
        ] {
            client.try_send(command).expect("sent");
            client.try_reply_bytes().expect("a reply");
        }
        monitor.try_send(&["GET", "x"]).expect("sent");
        monitor.try_send(&["RESET"]).expect("sent");
        let mut lines = Vec::new();
        loop {
            let line = monitor.try_reply_bytes().expect("a line").escape_ascii().to_string();
            // `+1795406724.384124 [0 127.0.0.1:54752] "GET"…`: the time and the port are their own.
            let shown = match line.split_once(" [").and_then(|(_, rest)| rest.split_once("] ")) {
                Some((from, command)) => {
                    let db = from.split(' ').next().expect("a database");
                    format!("{db} {command}")
                }
                None => line,
            };
            let last = shown.starts_with("+RESET");
            lines.push(shown);
            if last {
                break;
            }
        }
        seen.push(lines);
    }
    assert_eq!(seen[0], seen[1]);
}
