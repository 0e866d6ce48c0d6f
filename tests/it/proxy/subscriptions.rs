//! Publish and subscribe through the proxy, as one server would do it.

use super::{kinds, reach_all, redis_and_proxy};
use crate::support::{Client, Cluster, Keyway, Kind, Server, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::time::{Duration, Instant};

fn message(channel: &str, text: &str) -> Reply {
    Reply::Array(vec![Reply::bulk("message"), Reply::bulk(channel), Reply::bulk(text)])
}

fn subscribed(word: &str, channel: &str, count: i64) -> Reply {
    Reply::Array(vec![Reply::bulk(word), Reply::bulk(channel), Reply::Integer(count)])
}

/// A client that listens to a channel.
fn listener(proxy: &Server, channel: &str) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.call(&["SUBSCRIBE", channel]), subscribed("subscribe", channel, 1));
    client
}

#[test]
fn what_anyone_publishes_reaches_every_listener_of_every_worker_once_and_in_order() {
    for cluster in [Cluster::redis(3, 0), Cluster::valkey(3, 0)].into_iter().flatten() {
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
        reach_all(&cluster, &proxy);
        let mut listeners: Vec<Client> = (0..6).map(|_| listener(&proxy, "news")).collect();
        let mut patterns = proxy.client_resp3();
        let confirmed = patterns.call(&["PSUBSCRIBE", "n*", "x*"]);
        assert!(matches!(confirmed, Reply::Push(_)), "{confirmed:?}");
        patterns.reply();

        let mut publisher = proxy.client();
        for number in 0..200 {
            publisher.integer(&["PUBLISH", "news", &number.to_string()]);
        }
        // Nodes are told by others: what is published at any of them arrives, too.
        for node in cluster.nodes() {
            node.client().integer(&["PUBLISH", "news", "direct"]);
        }
        for listener in &mut listeners {
            // Two publishers have no order between them.
            let mut heard: Vec<Reply> = (0..203).map(|_| listener.reply()).collect();
            heard.retain(|reply| *reply != message("news", "direct"));
            let numbers = (0..200).map(|number| message("news", &number.to_string()));
            assert_eq!(heard, numbers.collect::<Vec<_>>());
            assert_eq!(
                listener.call(&["UNSUBSCRIBE", "news"]),
                subscribed("unsubscribe", "news", 0),
                "nothing came twice"
            );
        }
        let first = patterns.reply();
        let expected = ["pmessage", "n*", "news", "0"].map(Reply::bulk);
        assert_eq!(first, Reply::Push(expected.to_vec()));
    }
}

#[test]
fn pubsub_counts_clients_and_not_the_connections_of_the_proxy() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
    reach_all(&cluster, &proxy);
    let listeners: Vec<Client> = (0..5).map(|_| listener(&proxy, "news")).collect();
    let mut direct = cluster.nodes()[1].client();
    direct.call(&["SUBSCRIBE", "news", "other"]);
    direct.reply();
    let mut client = proxy.client();
    let counts = |news: i64, other: i64| {
        Reply::Array(vec![
            Reply::bulk("news"),
            Reply::Integer(news),
            Reply::bulk("other"),
            Reply::Integer(other),
        ])
    };
    assert_eq!(client.call(&["PUBSUB", "NUMSUB", "news", "other"]), counts(6, 1));
    let channels = client.call(&["PUBSUB", "CHANNELS"]);
    assert_eq!(channels, Reply::Array(vec![Reply::bulk("news"), Reply::bulk("other")]));
    drop(listeners);
    wait_for("the clients are gone", Duration::from_secs(10), || {
        client.call(&["PUBSUB", "NUMSUB", "news", "other"]) == counts(1, 1)
    });
    // The nodes have been told, too: nothing of the proxy is left on them.
    drop(direct);
    wait_for("no node has a listener", Duration::from_secs(10), || {
        cluster
            .nodes()
            .iter()
            .all(|node| node.client().call(&["PUBSUB", "CHANNELS"]) == Reply::Array(Vec::new()))
    });
}

#[test]
fn keyspace_events_of_every_primary_come_once() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 1\n") else { return };
    for node in cluster.nodes() {
        node.client().ok(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    }
    let mut listener = proxy.client();
    listener.call(&["PSUBSCRIBE", "*"]);
    let mut client = proxy.client();
    for primary in 0..3 {
        let key = cluster.key_of(primary, "event");
        client.ok(&["SET", &key, "1"]);
        let event = |channel: String, text: &str| {
            Reply::Array(vec![
                Reply::bulk("pmessage"),
                Reply::bulk("*"),
                Reply::bulk(channel),
                Reply::bulk(text),
            ])
        };
        assert_eq!(listener.reply(), event(format!("__keyspace@0__:{key}"), "set"));
        assert_eq!(listener.reply(), event("__keyevent@0__:set".to_owned(), &key));
        client.integer(&["PUBLISH", "news", "hello"]);
        assert_eq!(listener.reply(), event("news".to_owned(), "hello"));
    }
}

/// A slot leaves, its node says `sunsubscribe` unasked, and neither the client
/// that listens nor anybody whose commands are under way notices.
#[test]
fn scar_14_a_shard_channel_follows_its_slot_to_another_node() {
    for cluster in kinds::clusters(Kind::Valkey, 3, 0) {
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
        reach_all(&cluster, &proxy);
        let channels: Vec<String> = (0..3).map(|n| cluster.key_of(n, "shard")).collect();
        let mut listener = proxy.client();
        // All in one request, as no node would take it.
        let mut command = vec!["SSUBSCRIBE"];
        command.extend(channels.iter().map(String::as_str));
        listener.try_send(&command).expect("it is sent");
        for (number, channel) in channels.iter().enumerate() {
            assert_eq!(listener.reply(), subscribed("ssubscribe", channel, number as i64 + 1));
        }
        let moving = &channels[0];
        let slot = Slot::of(moving.as_bytes()).number().to_string();
        for node in [1, 0, 2] {
            cluster.nodes()[node].client().ok(&[
                "CLUSTER",
                "SETSLOT",
                &slot,
                "NODE",
                &cluster.id(1),
            ]);
        }
        cluster.await_agreement();
        let mut other = proxy.client();
        wait_for("the channel is heard again", Duration::from_secs(10), || {
            for number in 0..50 {
                let text = number.to_string();
                assert_eq!(other.call(&["SET", &text, &text]), Reply::simple("OK"));
                assert_eq!(other.call(&["GET", &text]), Reply::bulk(text));
            }
            other.integer(&["SPUBLISH", moving, "moved"]) > 0
        });
        let expected = |channel: &str, text: &str| {
            Reply::Array(["smessage", channel, text].map(Reply::bulk).to_vec())
        };
        assert_eq!(listener.reply(), expected(moving, "moved"));
        for channel in &channels {
            other.integer(&["SPUBLISH", channel, "hello"]);
            assert_eq!(listener.reply(), expected(channel, "hello"));
        }
    }
}

#[test]
fn subscriptions_survive_the_loss_of_the_node_that_carries_them() {
    let Some(mut cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
    reach_all(&cluster, &proxy);
    let mut listener = listener(&proxy, "news");
    let shard = cluster.key_of(0, "shard");
    assert_eq!(listener.call(&["SSUBSCRIBE", &shard]), subscribed("ssubscribe", &shard, 1));
    let carries = |cluster: &Cluster, node: usize| {
        let channels = cluster.nodes()[node].client().call(&["PUBSUB", "CHANNELS"]);
        channels == Reply::Array(vec![Reply::bulk("news")])
    };
    assert!(carries(&cluster, 0), "the first worker's home is the first shard");
    cluster.node_mut(0).kill();
    wait_for("another node carries the channel", Duration::from_secs(30), || {
        carries(&cluster, 1) || carries(&cluster, 2)
    });
    let mut client = proxy.client();
    client.integer(&["PUBLISH", "news", "after"]);
    assert_eq!(listener.reply(), message("news", "after"));
    wait_for("the replica carries the shard channel", Duration::from_secs(30), || {
        client.integer(&["SPUBLISH", &shard, "after"]) > 0
    });
    let expected = ["smessage", &shard, "after"].map(Reply::bulk).to_vec();
    assert_eq!(listener.reply(), Reply::Array(expected));
}

/// A subscriber that reads nothing is closed at its limit, and nobody else is.
#[test]
fn a_subscriber_that_reads_nothing_is_closed_alone() {
    let yaml = "workers: 1\nlimits:\n  subscriber_output: 4mb\n  subscriber_output_soft: 1mb\n";
    let Some((_cluster, mut proxy)) = redis_and_proxy(yaml) else { return };
    let mut slow = listener(&proxy, "news");
    let mut quick = listener(&proxy, "news");
    let mut publisher = proxy.client();
    let text = "x".repeat(100_000);
    let before = proxy.process().rss();
    for _ in 0..400 {
        publisher.integer(&["PUBLISH", "news", &text]);
        assert_eq!(quick.reply(), message("news", &text));
    }
    let grown = proxy.process().rss().saturating_sub(before);
    assert!(grown < 24 << 20, "grown by {grown} bytes");
    let (_, closed) = slow.read_to_end(Duration::from_secs(20));
    assert!(closed, "the slow one was closed");
    assert_eq!(quick.call(&["PING"]), Reply::Array(vec![Reply::bulk("pong"), Reply::bulk("")]));
}

#[test]
fn thousands_of_channels_are_confirmed_and_left_again() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 1\n") else { return };
    let mut client = proxy.client();
    let started = Instant::now();
    let mut command = vec!["SUBSCRIBE".to_owned()];
    command.extend((0..10_000).map(|number| format!("channel:{number}")));
    client.try_send(&command).expect("it is sent");
    for number in 0..10_000 {
        let channel = format!("channel:{number}");
        assert_eq!(client.reply(), subscribed("subscribe", &channel, number + 1));
    }
    drop(client);
    wait_for("no node has a listener", Duration::from_secs(20), || {
        cluster
            .nodes()
            .iter()
            .all(|node| node.client().call(&["PUBSUB", "CHANNELS"]) == Reply::Array(Vec::new()))
    });
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_proxy_that_stops_does_not_wait_for_listeners() {
    let Some((_cluster, mut proxy)) = redis_and_proxy("workers: 1\n") else { return };
    let mut listener = listener(&proxy, "news");
    let status = proxy.terminate(Duration::from_secs(10)).expect("it ends in time");
    assert!(status.success(), "{status:?}");
    assert!(listener.read_to_end(Duration::from_secs(5)).1);
}

/// What PUBLISH is answered, and what the same clients get of a single server.
fn receivers(server: &Server) -> Vec<String> {
    let mut told = Vec::new();
    let mut publisher = server.client();
    let mut note = |publisher: &mut Client, what: &str, command: &[&str]| {
        told.push(format!("{what}: {:?}", publisher.call(command)));
    };
    note(&mut publisher, "nobody", &["PUBLISH", "news", "1"]);
    let mut listeners: Vec<Client> = (0..5).map(|_| listener(server, "news")).collect();
    note(&mut publisher, "five", &["PUBLISH", "news", "2"]);
    // Two of them by patterns as well, one of which does not match.
    for listener in &mut listeners[..2] {
        listener.call(&["PSUBSCRIBE", "n*", "*s", "__key*"]);
        listener.reply();
        listener.reply();
        while !matches!(listener.call(&["PING"]).as_array(), Some([_, _])) {}
    }
    note(&mut publisher, "and two of two patterns", &["PUBLISH", "news", "3"]);
    note(&mut publisher, "the patterns alone", &["PUBLISH", "nothing else", "4"]);
    note(&mut publisher, "keyspace", &["PUBLISH", "__keyspace@0__:x", "5"]);
    // Whoever publishes counts, too.
    let mut both = server.client_resp3();
    both.call(&["SUBSCRIBE", "news"]);
    both.try_send(&["PUBLISH", "news", "6"]).expect("it is connected");
    let counted = std::iter::repeat_with(|| both.reply());
    let counted = counted.into_iter().find(|reply| !matches!(reply, Reply::Push(_)));
    assert_eq!(counted, Some(Reply::Integer(10)));
    // In a pipeline, and in transactions with and without a key.
    for command in [&["MULTI"][..], &["INCR", "counter"], &["PUBLISH", "news", "7"], &["PING"]] {
        publisher.call(command);
    }
    note(&mut publisher, "in a transaction", &["EXEC"]);
    publisher.call(&["MULTI"]);
    publisher.call(&["PUBLISH", "news", "8"]);
    note(&mut publisher, "alone in one", &["EXEC"]);
    publisher.call(&["DEL", "counter"]);
    // Who has said so, or is gone, counts no more from then on.
    for (left, mut listener) in listeners.drain(..).enumerate() {
        if left % 2 == 0 {
            listener.call(&["RESET"]);
            while listener.call(&["PING"]) != Reply::simple("PONG") {}
        } else {
            listener.try_send(&["UNSUBSCRIBE", "news"]).expect("it is connected");
            listener.try_send(&["PUNSUBSCRIBE"]).expect("it is connected");
            while !matches!(listener.call(&["PING", "over"]), Reply::Bulk(text) if text == "over") {
            }
        }
        note(&mut publisher, "one less", &["PUBLISH", "news", "9"]);
    }
    drop(both);
    // It is gone once the server has seen that: the next who counts begins with nobody.
    wait_for("nobody is left", Duration::from_secs(30), || {
        publisher.integer(&["PUBLISH", "news", "10"]) == 0
    });
    told
}

#[test]
fn publish_answers_how_many_clients_got_it() {
    let Some(single) = Server::redis(&[]) else { return };
    let expected = receivers(&single);
    for cluster in [Cluster::redis(3, 0), Cluster::valkey(3, 0)].into_iter().flatten() {
        for workers in ["1", "3"] {
            let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", workers]);
            reach_all(&cluster, &proxy);
            // From wherever a client publishes.
            for _ in 0..4 {
                assert_eq!(receivers(&proxy), expected, "{workers} workers");
            }
        }
    }
}

/// Shard channels, clients of the nodes' own, and another proxy, whose connections are its clients
/// to this one.
#[test]
fn publish_counts_others_as_their_node_does() {
    let Some(cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
    let other = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
    reach_all(&cluster, &proxy);
    reach_all(&cluster, &other);
    let mut publisher = proxy.client();
    let shard = cluster.key_of(0, "shard");
    assert_eq!(publisher.integer(&["SPUBLISH", &shard, "x"]), 0);
    let shard_listener = |server: &Server| {
        let mut client = server.client();
        assert_eq!(client.call(&["SSUBSCRIBE", &shard]), subscribed("ssubscribe", &shard, 1));
        client
    };
    let mine: Vec<Client> = (0..4).map(|_| shard_listener(&proxy)).collect();
    assert_eq!(publisher.integer(&["SPUBLISH", &shard, "x"]), 4);
    let direct = shard_listener(&cluster.nodes()[0]);
    let of_other: Vec<Client> = (0..3).map(|_| shard_listener(&other)).collect();
    assert_eq!(publisher.integer(&["SPUBLISH", &shard, "x"]), 4 + 1 + 1);
    drop((direct, of_other));
    wait_for("those of others are gone", Duration::from_secs(10), || {
        publisher.integer(&["SPUBLISH", &shard, "x"]) == 4
    });
    // A failover by hand: all are subscribed again at the next owner, and count as before.
    let news: Vec<Client> = (0..4).map(|_| listener(&proxy, "news")).collect();
    assert_eq!(publisher.integer(&["PUBLISH", "news", "x"]), 4);
    cluster.nodes()[3].client().ok(&["CLUSTER", "FAILOVER"]);
    wait_for("the replica has taken over", Duration::from_secs(30), || {
        cluster.nodes()[3].client().text(&["CLUSTER", "NODES"]).contains("myself,master")
    });
    for _ in 0..20 {
        assert_eq!(publisher.integer(&["PUBLISH", "news", "x"]), 4);
    }
    wait_for("the shard channel has followed", Duration::from_secs(30), || {
        publisher.integer(&["SPUBLISH", &shard, "x"]) == 4
    });
    drop((mine, news));
    wait_for("nobody is left", Duration::from_secs(10), || {
        publisher.integer(&["SPUBLISH", &shard, "x"]) == 0
            && publisher.integer(&["PUBLISH", "news", "x"]) == 0
    });
}

#[test]
fn messages_come_in_the_order_in_which_anyone_published_them() {
    for cluster in [Cluster::redis(3, 0), Cluster::valkey(3, 0)].into_iter().flatten() {
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "3"]);
        reach_all(&cluster, &proxy);
        let mut listeners: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
        for listener in &mut listeners {
            listener.call(&["PSUBSCRIBE", "order:*"]);
        }
        // Each has its answer before the next publishes, on another channel.
        let mut publishers: Vec<Client> = (0..7).map(|_| proxy.client()).collect();
        let count = publishers.len();
        for number in 0..700 {
            let channel = format!("order:{}", number % 5);
            let publisher = &mut publishers[number % count];
            assert_eq!(publisher.integer(&["PUBLISH", &channel, &number.to_string()]), 3);
        }
        for listener in &mut listeners {
            for number in 0..700 {
                let message = listener.reply();
                let text = message.as_array().and_then(|message| message[3].as_str());
                assert_eq!(text, Some(number.to_string().as_str()));
            }
        }
    }
}
