//! CLIENT TRACKING through the proxy: the same pushes as one server's, from every primary, and
//! "everything may have changed" whenever a node may have forgotten what was read.

use super::transactions::{finish_move, open_slot};
use super::{calls, reach_all, redis_and_proxy};
use crate::support::{Client, Cluster, Keyway, Server, wait_for};
use keyway::resp::Reply;
use std::time::Duration;

fn push(keys: Option<&[&str]>) -> Reply {
    let keys = keys.map_or(Reply::Null, |keys| {
        Reply::Array(keys.iter().map(|key| Reply::bulk(*key)).collect())
    });
    Reply::Push(vec![Reply::bulk("invalidate"), keys])
}

/// What comes before the answer to PING, which nothing may overtake that was there before it.
fn heard(client: &mut Client) -> Vec<Reply> {
    client.try_send(&["PING", "here"]).expect("it is connected");
    let mut heard = Vec::new();
    loop {
        match client.reply() {
            Reply::Bulk(text) if text == "here" => return heard,
            other => heard.push(other),
        }
    }
}

/// What a command is answered, without what is said out of turn.
fn answer(client: &mut Client, command: &[&str]) -> Reply {
    let mut reply = client.call(command);
    while matches!(reply, Reply::Push(_)) {
        reply = client.reply();
    }
    reply
}

/// Waits for one push.
fn next(client: &mut Client) -> Reply {
    client.set_timeout(Duration::from_secs(30));
    client.reply()
}

/// What several clients of one server see of each other's changes.
fn transcript(server: &Server, keys: [&str; 3]) -> Vec<String> {
    let [a, b, c] = keys;
    let mut told = Vec::new();
    let mut other = server.client();
    other.ok(&["MSET", a, "1", b, "1", c, "1"]);
    let mut note = |what: &str, reply: Reply| told.push(format!("{what}: {reply:?}"));
    // What was read once is told once; what was not read is not.
    let mut client = server.client_resp3();
    note("on", client.call(&["CLIENT", "TRACKING", "ON"]));
    for key in keys {
        client.call(&["GET", key]);
    }
    for key in [a, b] {
        other.ok(&["SET", key, "2"]);
        note("changed", next(&mut client));
        other.ok(&["SET", key, "3"]);
    }
    // Through a transaction, a read of several keys, and one's own write.
    client.call(&["MGET", a, b, c]);
    note("own", client.call(&["SET", a, "4"]));
    note("own", next(&mut client));
    note("off", client.call(&["CLIENT", "TRACKING", "OFF"]));
    other.ok(&["SET", b, "5"]);
    note("nothing", Reply::Array(heard(&mut client)));
    // Prefixes, without one's own.
    let bcast = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", a, "PREFIX", c, "NOLOOP"];
    note("bcast", client.call(&bcast));
    client.ok(&["SET", a, "6"]);
    other.ok(&["SET", b, "6"]);
    other.ok(&["SET", c, "6"]);
    note("prefix", next(&mut client));
    note("info", client.call(&["CLIENT", "TRACKINGINFO"]));
    note("redirect", client.call(&["CLIENT", "GETREDIR"]));
    note("switch", client.call(&["CLIENT", "TRACKING", "ON"]));
    note("overlap", client.call(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", a]));
    note("reset", client.call(&["RESET"]));
    // Only what is asked for.
    let mut client = server.client_resp3();
    note("optin", client.call(&["CLIENT", "TRACKING", "ON", "OPTIN"]));
    client.call(&["GET", b]);
    note("yes", client.call(&["CLIENT", "CACHING", "YES"]));
    note("info", client.call(&["CLIENT", "TRACKINGINFO"]));
    client.call(&["GET", a]);
    note("yes", client.call(&["CLIENT", "CACHING", "YES"]));
    note("ping", client.call(&["PING"]));
    client.call(&["GET", c]);
    for key in [c, b, a] {
        other.ok(&["SET", key, "7"]);
    }
    note("only a", next(&mut client));
    client.call(&["CLIENT", "CACHING", "YES"]);
    client.call(&["MULTI"]);
    client.call(&["GET", c]);
    client.call(&["EXEC"]);
    other.ok(&["SET", c, "8"]);
    note("in a transaction", next(&mut client));
    note("no", client.call(&["CLIENT", "CACHING", "NO"]));
    // All but what is not.
    let mut client = server.client_resp3();
    client.ok(&["CLIENT", "TRACKING", "ON", "OPTOUT"]);
    client.ok(&["CLIENT", "CACHING", "NO"]);
    client.call(&["GET", a]);
    client.call(&["GET", b]);
    other.ok(&["SET", a, "9"]);
    other.ok(&["SET", b, "9"]);
    note("only b", next(&mut client));
    note("nothing", Reply::Array(heard(&mut client)));
    // In RESP2, over another connection.
    let mut ears = server.client();
    let id = ears.integer(&["CLIENT", "ID"]).to_string();
    ears.call(&["SUBSCRIBE", "__redis__:invalidate"]);
    let mut client = server.client();
    note("redirected", client.call(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id]));
    let redirect = client.integer(&["CLIENT", "GETREDIR"]).to_string();
    assert_eq!(redirect, id);
    for key in keys {
        client.call(&["GET", key]);
    }
    for key in keys {
        other.ok(&["SET", key, "10"]);
        note("message", next(&mut ears));
    }
    client.call(&["GET", a]);
    other.ok(&["FLUSHALL"]);
    note("all", next(&mut ears));
    note("nobody", client.call(&["CLIENT", "TRACKING", "ON", "REDIRECT", "1000000"]));
    told.extend(without_its_own(server, b));
    let mut note = |what: &str, reply: Reply| told.push(format!("{what}: {reply:?}"));
    // Whom it redirects to leaves.
    let mut client = server.client_resp3();
    let mut ears = server.client_resp3();
    let id = ears.integer(&["CLIENT", "ID"]).to_string();
    client.ok(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id]);
    client.call(&["GET", a]);
    other.ok(&["SET", a, "11"]);
    note("push elsewhere", next(&mut ears));
    client.call(&["GET", a]);
    drop(ears);
    wait_for("it is gone", Duration::from_secs(10), || {
        !other.text(&["CLIENT", "LIST"]).lines().any(|line| line.starts_with(&format!("id={id} ")))
    });
    other.ok(&["SET", a, "12"]);
    let broken = format!("{:?}", next(&mut client)).replace(&id, "ID");
    told.push(format!("broken: {broken}"));
    told
}

/// NOLOOP, whatever way a client writes on; and CACHING before each kind of command that reads.
fn without_its_own(server: &Server, tag: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut note = |what: &str, replies: Vec<Reply>| told.push(format!("{what}: {replies:?}"));
    let [key, list, stream, large] =
        ["key", "list", "stream", "large"].map(|name| format!("{{{tag}}}{name}"));
    let mut other = server.client();
    other.call(&["DEL", &key, &list, &stream, &large]);
    for options in [&[][..], &["BCAST", "PREFIX", &key, "PREFIX", &list, "PREFIX", &large]] {
        let mut client = server.client_resp3();
        let mut on = vec!["CLIENT", "TRACKING", "ON", "NOLOOP"];
        on.extend(options);
        assert_eq!(answer(&mut client, &on), Reply::simple("OK"));
        let read = |client: &mut Client| {
            answer(client, &["EXISTS", &key, &list, &large]);
        };
        read(&mut client);
        answer(&mut client, &["MULTI"]);
        answer(&mut client, &["SET", &key, "1"]);
        answer(&mut client, &["INCR", &key]);
        answer(&mut client, &["RPUSH", &list, "1", "2", "3", "4", "5"]);
        note("in a transaction", vec![answer(&mut client, &["EXEC"])]);
        note("nothing", heard(&mut client));
        read(&mut client);
        answer(&mut client, &["WATCH", &key]);
        answer(&mut client, &["GET", &key]);
        answer(&mut client, &["MULTI"]);
        answer(&mut client, &["INCR", &key]);
        note("watched", vec![answer(&mut client, &["EXEC"])]);
        note("nothing", heard(&mut client));
        for end in ["UNWATCH", "DISCARD"] {
            answer(&mut client, &["WATCH", &key]);
            if end == "DISCARD" {
                answer(&mut client, &["MULTI"]);
                answer(&mut client, &["INCR", &key]);
            }
            assert_eq!(answer(&mut client, &[end]), Reply::simple("OK"));
            read(&mut client);
            answer(&mut client, &["MULTI"]);
            answer(&mut client, &["INCR", &key]);
            note(end, vec![answer(&mut client, &["EXEC"])]);
            note("nothing", heard(&mut client));
        }
        read(&mut client);
        note("popped", vec![answer(&mut client, &["BLPOP", &list, "1"])]);
        note("nothing", heard(&mut client));
        // What a wait takes while keys are watched; of those it changes one itself at last.
        for watched in [&large, &list] {
            read(&mut client);
            answer(&mut client, &["WATCH", watched]);
            note("popped", vec![answer(&mut client, &["BLPOP", &list, "1"])]);
            answer(&mut client, &["MULTI"]);
            answer(&mut client, &["INCR", &key]);
            note(watched, vec![answer(&mut client, &["EXEC"])]);
            note("nothing", heard(&mut client));
        }
        read(&mut client);
        let value = "x".repeat(1 << 20);
        assert_eq!(answer(&mut client, &["SET", &large, &value]), Reply::simple("OK"));
        note("nothing", heard(&mut client));
        // What others write is told all the same.
        read(&mut client);
        other.ok(&["SET", &key, "9"]);
        note("of another", vec![next(&mut client)]);
        read(&mut client);
        other.call(&["MULTI"]);
        other.call(&["DEL", &list]);
        other.call(&["EXEC"]);
        note("of another's transaction", vec![next(&mut client)]);
        other.call(&["DEL", &key, &large]);
        heard(&mut client);
    }
    let mut client = server.client_resp3();
    assert_eq!(answer(&mut client, &["CLIENT", "TRACKING", "ON", "OPTIN"]), Reply::simple("OK"));
    for number in ["1-1", "2-1", "3-1"] {
        other.call(&["XADD", &stream, number, "f", "v"]);
        assert_eq!(answer(&mut client, &["CLIENT", "CACHING", "YES"]), Reply::simple("OK"));
        match number {
            "1-1" => answer(&mut client, &["XREAD", "BLOCK", "10", "STREAMS", &stream, "0"]),
            "2-1" => answer(&mut client, &["XREAD", "BLOCK", "1", "STREAMS", &stream, "$"]),
            // It is used up by what reads nothing, too.
            _ => answer(&mut client, &["WATCH", &stream]),
        };
        answer(&mut client, &["XLEN", &stream]);
        other.call(&["XADD", &stream, &number.replace('-', "-2"), "f", "v"]);
        note(number, heard_within(&mut client, number != "3-1"));
    }
    other.call(&["DEL", &stream]);
    told
}

/// What comes, when something has to.
fn heard_within(client: &mut Client, something: bool) -> Vec<Reply> {
    match something {
        true => vec![next(client)],
        false => heard(client),
    }
}

#[test]
fn changes_are_told_as_one_server_tells_them() {
    let Some(alone) = Server::redis(&[]) else { return };
    for cluster in [Cluster::redis(3, 0), Cluster::valkey(3, 0)] {
        let Some(cluster) = cluster else { continue };
        // A busy machine may hold a node up for longer than a connection's silence is borne.
        let patient = "workers: 2\ntiming:\n  suspect_after: 20s\n  backend_timeout: 60s\n";
        let proxy = Keyway::proxy_with(&cluster.seeds(), patient);
        reach_all(&cluster, &proxy);
        // None is the beginning of another.
        let keys = [0, 1, 2].map(|node| cluster.key_of(node, &format!("track{node}")));
        let keys = keys.each_ref().map(String::as_str);
        assert_eq!(transcript(&proxy, keys), transcript(&alone, keys));
        let mut client = proxy.client();
        wait_for(
            "the connections of clients that left are closed",
            Duration::from_secs(10),
            || client.text(&["INFO", "clients"]).contains("tracking_clients:0"),
        );
    }
}

/// The map is read again all the time, each time from another node, and each lists the nodes in an order of
/// its own. Where no slot has moved nobody has to forget anything.
#[test]
fn the_same_map_told_by_another_node_is_no_news() {
    let Some(cluster) = Cluster::redis(4, 0) else { return };
    let timing = "refresh: 100ms\n  suspect_after: 20s\n  backend_timeout: 60s\n";
    let proxy = Keyway::proxy_with(&cluster.seeds(), &format!("workers: 1\ntiming:\n  {timing}"));
    reach_all(&cluster, &proxy);
    cluster.await_claims();
    let mut client = proxy.client_resp3();
    client.ok(&["CLIENT", "TRACKING", "ON"]);
    heard(&mut client);
    let asked = || -> Vec<i64> {
        cluster.nodes().iter().map(|node| calls(node, "cluster|nodes")).collect()
    };
    let before = asked();
    wait_for("every node has told its map twice", Duration::from_secs(30), || {
        assert_eq!(heard(&mut client), []);
        asked().iter().zip(&before).all(|(now, before)| *now >= before + 2)
    });
    let key = cluster.key_of(3, "told");
    client.call(&["GET", &key]);
    proxy.client().ok(&["SET", &key, "1"]);
    assert_eq!(next(&mut client), push(Some(&[&key])));
}

/// FLUSHALL, a slot that moves, a connection that is lost, and a failover: whoever keeps values is
/// told to forget all of them.
#[test]
fn whoever_keeps_values_forgets_them_when_nobody_watches_them_any_more() {
    let Some(mut cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    cluster.await_replicas_online();
    let keys = [0, 1, 2].map(|node| cluster.key_of(node, "forget"));
    let mut other = proxy.client();
    let mut client = proxy.client_resp3();
    client.ok(&["CLIENT", "TRACKING", "ON"]);
    let read_all = |client: &mut Client| {
        for key in &keys {
            answer(client, &["GET", key]);
        }
    };
    read_all(&mut client);
    other.ok(&["FLUSHALL"]);
    for _ in 0..3 {
        assert_eq!(next(&mut client), push(None), "each primary says so");
    }
    // A slot moves whose key is not there: its new owner knows nothing of who has read it.
    read_all(&mut client);
    open_slot(&cluster, &keys[0], 0, 1);
    finish_move(&cluster, &keys[0], 0, 1);
    other.ok(&["SET", &keys[0], "moved"]);
    assert_eq!(next(&mut client), push(None));
    // A connection is lost.
    assert_eq!(answer(&mut client, &["GET", &keys[1]]), Reply::Null);
    let mut node = cluster.nodes()[1].client();
    node.call(&["CLIENT", "KILL", "TYPE", "normal"]);
    wait_for("it is told to forget", Duration::from_secs(10), || {
        heard(&mut client).contains(&push(None))
    });
    // It goes on as before.
    answer(&mut client, &["GET", &keys[1]]);
    other.ok(&["SET", &keys[1], "new"]);
    wait_for("it is told of one key", Duration::from_secs(30), || {
        heard(&mut client).contains(&push(Some(&[&keys[1]])))
    });
    // A primary dies.
    heard(&mut client);
    assert_eq!(answer(&mut client, &["GET", &keys[2]]), Reply::Null);
    cluster.node_mut(2).kill();
    assert_eq!(next(&mut client), push(None));
    other.ok(&["SET", &keys[2], "after"]);
    wait_for("the failover is noticed", Duration::from_secs(30), || {
        answer(&mut client, &["GET", &keys[2]]) == Reply::bulk("after")
    });
    heard(&mut client);
    other.ok(&["SET", &keys[2], "later"]);
    wait_for("its replica tells", Duration::from_secs(30), || {
        heard(&mut client).contains(&push(Some(&[&keys[2]])))
    });
}

/// A value never outlives the news that it is old, however replies and news come in.
#[test]
fn news_never_overtakes_the_reply_that_it_is_about() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let keys: Vec<String> = (0..3).map(|node| cluster.key_of(node, "race")).collect();
    let writer_keys = keys.clone();
    let port = proxy.port();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut client = Client::connect(port);
        let mut number = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            number += 1;
            for key in &writer_keys {
                client.ok(&["SET", key, &number.to_string()]);
            }
        }
        number
    });
    let mut client = proxy.client_resp3();
    client.ok(&["CLIENT", "TRACKING", "ON"]);
    let mut cache: Vec<Option<u64>> = vec![None; 3];
    let number = |reply: &Reply| reply.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    for round in 0..2_000 {
        let mget: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let mut frames = Vec::new();
        keyway::resp::encode_request(&mut frames, &["GET", &keys[round % 3]]);
        keyway::resp::encode_request(&mut frames, &mget);
        client.send_raw(&frames);
        let mut replies = 0;
        while replies < 2 {
            match client.reply() {
                Reply::Push(news) => match news.get(1) {
                    Some(Reply::Array(changed)) => {
                        for (at, key) in keys.iter().enumerate() {
                            if changed.contains(&Reply::bulk(key.as_str())) {
                                cache[at] = None;
                            }
                        }
                    }
                    _ => cache.fill(None),
                },
                Reply::Array(values) => {
                    replies += 1;
                    values.iter().enumerate().for_each(|(at, v)| cache[at] = Some(number(v)));
                }
                value => {
                    replies += 1;
                    cache[round % 3] = Some(number(&value));
                }
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let last = writer.join().expect("the writer ends");
    // What is kept now must be what is there, once all news has come.
    wait_for("no old value is kept", Duration::from_secs(10), || {
        for news in heard(&mut client) {
            if let Reply::Push(news) = news
                && let Some(Reply::Array(changed)) = news.get(1)
            {
                for (at, key) in keys.iter().enumerate() {
                    if changed.contains(&Reply::bulk(key.as_str())) {
                        cache[at] = None;
                    }
                }
            }
        }
        cache.iter().flatten().all(|value| *value == last)
    });
}

#[test]
fn nodes_that_cannot_track_are_named_in_the_error() {
    let cluster = Cluster::keyway(2);
    let mut proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    let mut client = proxy.client_resp3();
    let refused = client.call(&["CLIENT", "TRACKING", "ON"]);
    let text = refused.as_error().map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(
        text.as_ref().is_some_and(|text| text.starts_with("ERR CLIENT TRACKING is not available")),
        "{text:?}"
    );
    client.ok(&["SET", &cluster.key_of(0, "x"), "goes on"]);
    assert_eq!(client.integer(&["CLIENT", "GETREDIR"]), -1);
    proxy.assert_well("a command that its nodes do not know");
}
