//! Commands over keys of several slots that the proxy puts together, held against one server.

use super::redis_and_proxy;
use crate::support::Server;
use keyway::resp::Reply;

/// A reply whose members are in order, as sets have none.
fn sorted(reply: Reply) -> Reply {
    let in_order = |mut items: Vec<Reply>| {
        items.sort_by_key(|item| format!("{item:?}"));
        items
    };
    match reply {
        Reply::Array(items) => Reply::Array(in_order(items)),
        Reply::Set(items) => Reply::Set(in_order(items)),
        other => other,
    }
}

#[test]
fn sets_and_estimates_of_several_slots_are_those_of_one_server() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 1\n") else { return };
    let Some(alone) = Server::redis(&[]) else { return };
    let keys: Vec<String> = (0..3).map(|n| cluster.key_of(n, "set")).collect();
    let logs: Vec<String> = (0..3).map(|n| cluster.key_of(n, "log")).collect();
    let (x, y, z) = (&keys[0], &keys[1], &keys[2]);
    let (p, q, r) = (&logs[0], &logs[1], &logs[2]);
    let many: Vec<String> = (0..5_000).map(|number| format!("element:{number}")).collect();
    let mut setup: Vec<Vec<&str>> = vec![
        vec!["SADD", x, "a", "b", "c", "1", ""],
        vec!["SADD", y, "b", "c", "d", "1"],
        vec!["PFADD", p, "one", "two", "three"],
        vec!["SET", "text", "hello"],
        vec!["SET", "empty", ""],
        vec!["LPUSH", "list", "x"],
    ];
    let mut add = vec!["PFADD", q.as_str()];
    add.extend(many.iter().map(String::as_str));
    setup.push(add);
    let asked: Vec<Vec<&str>> = vec![
        vec!["SUNION", x, y, z],
        vec!["SINTER", x, y],
        vec!["SINTER", x, y, z],
        vec!["SDIFF", x, y, z],
        vec!["SDIFF", z, x],
        vec!["SINTERCARD", "2", x, y],
        vec!["SINTERCARD", "2", x, y, "LIMIT", "2"],
        vec!["SINTERCARD", "2", x, y, "LIMIT", "-1"],
        vec!["SINTERCARD", "2", x, y, "FOO"],
        vec!["SUNION", x, "list"],
        vec!["SINTER", "text", y],
        vec!["PFCOUNT", p, q, r],
        vec!["PFCOUNT", r, "missing"],
        vec!["PFCOUNT", p, "text"],
        vec!["PFCOUNT", p, "empty"],
        vec!["PFCOUNT", p, "list"],
    ];
    for resp3 in [false, true] {
        let (mut ours, mut theirs) = match resp3 {
            false => (proxy.client(), alone.client()),
            true => (proxy.client_resp3(), alone.client_resp3()),
        };
        for command in &setup {
            assert_eq!(ours.call(command), theirs.call(command), "{command:?}");
        }
        for command in &asked {
            let (ours, theirs) = (sorted(ours.call(command)), sorted(theirs.call(command)));
            assert_eq!(ours, theirs, "{command:?}, RESP3: {resp3}");
        }
        // What stores its result is all or nothing.
        let stored = ours.call(&["SUNIONSTORE", x, y, z]);
        assert!(stored.as_error().is_some_and(|line| line.starts_with(b"CROSSSLOT")), "{stored:?}");
        for client in [&mut ours, &mut theirs] {
            client.call(&["DEL", x, y, p, q]);
        }
    }
}
