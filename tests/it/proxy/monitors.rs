//! MONITOR through the proxy: what the clients of all workers send, as one server would show it.

use super::redis_and_proxy;
use crate::support::{Client, Server};
use keyway::resp::Reply;

/// A line without its time: `[database address] "…" …`, the address of `client` as `<client>`.
fn line(monitor: &mut Client, address: &str) -> String {
    let reply = monitor.reply();
    let text = reply.as_str().unwrap_or_else(|| panic!("no line: {reply:?}"));
    let (time, rest) = text.split_once(' ').expect("a time first");
    let (seconds, micros) = time.split_once('.').expect("seconds and their fraction");
    assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6, "{time}");
    rest.replace(address, "client")
}

/// What a monitor of this server is shown of a client's commands.
fn shown(server: &Server, keys: [&str; 3]) -> Vec<String> {
    let mut monitor = server.client();
    monitor.ok(&["MONITOR"]);
    let mut client = server.client();
    let address = client.stream().local_addr().expect("it is connected").to_string();
    let [a, b, c] = keys;
    client.ok(&["SET", a, "\0\u{e9}\"\\\n"]);
    client.call(&["get", b]);
    client.call(&["GET"]);
    client.call(&["NOSUCH"]);
    client.call(&["MGET", a, b, c]);
    client.call(&["MULTI"]);
    client.call(&["SET", a, "1"]);
    client.call(&["GET", a]);
    client.call(&["EXEC"]);
    client.call(&["MULTI"]);
    client.call(&["SET", a, "2"]);
    client.call(&["DISCARD"]);
    client.call(&["AUTH", "secret"]);
    client.call(&["HELLO", "3", "AUTH", "nobody", "secret"]);
    client.call(&["CONFIG", "GET", "port"]);
    client.call(&["CLIENT", "LIST"]);
    client.call(&["LPUSH", "{q}q", "x"]);
    client.call(&["BLPOP", "{q}q", "1"]);
    client.call(&["EVAL", "return 1", "0"]);
    client.pipeline(&[vec!["INCR", b], vec!["INCR", c], vec!["INCR", a]]);
    client.call(&["ECHO", "the end"]);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|last: &String| !last.contains("the end")) {
        lines.push(line(&mut monitor, &address));
    }
    lines
}

#[test]
fn a_monitor_is_shown_what_one_server_would_show() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let Some(alone) = Server::redis(&[]) else { return };
    let keys = [0, 1, 2].map(|node| cluster.key_of(node, "shown"));
    let keys = keys.each_ref().map(String::as_str);
    let mut expected = shown(&alone, keys);
    // What a script does is known to its node alone.
    expected.retain(|line| !line.contains("lua]"));
    assert_eq!(shown(&proxy, keys), expected);
}

/// What a monitor is answered, without what it is shown.
fn answer(monitor: &mut Client, command: &[&str]) -> Reply {
    let mut reply = monitor.call(command);
    while matches!(&reply, Reply::Simple(text) if text.ends_with(b"\"")) {
        reply = monitor.reply();
    }
    reply
}

#[test]
fn monitors_see_the_clients_of_every_worker_until_they_say_reset() {
    let Some((_cluster, mut proxy)) = redis_and_proxy("workers: 4\n") else { return };
    let mut monitor = proxy.client();
    monitor.ok(&["MONITOR"]);
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.call(&["ECHO", &format!("from {number}")]);
        let text = monitor.reply();
        let expected = format!("\"ECHO\" \"from {number}\"");
        assert!(text.as_str().is_some_and(|text| text.ends_with(&expected)), "{text:?}");
    }
    // To a server a monitor is a kind of replica. It is shown its own commands, too.
    let refused = answer(&mut monitor, &["GET", "k"]);
    assert_eq!(refused.as_error(), Some(&b"ERR Replica can't interact with the keyspace"[..]));
    let info = answer(&mut monitor, &["CLIENT", "INFO"]);
    assert!(info.as_str().is_some_and(|text| text.contains("flags=O")), "{info:?}");
    assert_eq!(answer(&mut monitor, &["RESET"]), Reply::simple("RESET"));
    clients[0].call(&["ECHO", "unseen"]);
    assert_eq!(answer(&mut monitor, &["PING"]), Reply::simple("PONG"));
    clients[0].call(&["ECHO", "unseen"]);
    assert_eq!(monitor.call(&["PING"]), Reply::simple("PONG"));
    assert_eq!(monitor.call(&["GET", "k"]), Reply::Null);
    // Nobody watches any more: the next MONITOR begins anew, also in RESP3.
    let mut third = proxy.client_resp3();
    third.ok(&["MONITOR"]);
    clients[3].call(&["ECHO", "seen"]);
    assert!(third.reply().as_str().is_some_and(|text| text.ends_with("\"seen\"")));
    proxy.assert_well("monitors");
}

/// A monitor that does not read is closed at its limit, alone.
#[test]
fn a_monitor_that_reads_nothing_is_closed_alone() {
    let Some((_cluster, mut proxy)) =
        redis_and_proxy("workers: 2\nlimits:\n  subscriber_output: 1mb\n")
    else {
        return;
    };
    let mut monitor = proxy.client();
    monitor.ok(&["MONITOR"]);
    let text = "x".repeat(16 * 1024);
    let mut clients: Vec<Client> = (0..2).map(|_| proxy.client()).collect();
    let mut ids = clients[0].text(&["CLIENT", "LIST"]).lines().count();
    for round in 0..2_000 {
        for client in &mut clients {
            assert_eq!(client.text(&["ECHO", &text]).len(), text.len());
        }
        if round % 50 == 0 {
            ids = clients[0].text(&["CLIENT", "LIST"]).lines().count();
            if ids == 2 {
                break;
            }
        }
    }
    assert_eq!(ids, 2, "the monitor is still there");
    proxy.assert_well("a monitor that does not read");
}
