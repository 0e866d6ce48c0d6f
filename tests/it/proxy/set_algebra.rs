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
        vec!["PFCOUNT", "text", "list"],
        vec!["PFCOUNT", "list", "text"],
        vec!["PFCOUNT", p, "text", "list"],
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

#[test]
fn sorted_sets_of_several_slots_are_those_of_one_server() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 1\n") else { return };
    let Some(alone) = Server::redis(&[]) else { return };
    let keys: Vec<String> = (0..3).map(|n| cluster.key_of(n, "sorted")).collect();
    let (x, y, z) = (&keys[0], &keys[1], &keys[2]);
    let plain = &cluster.key_of(1, "plain");
    let setup: Vec<Vec<&str>> = vec![
        vec!["ZADD", x, "1", "a", "2", "b", "3.5", "c", "inf", "e", "7", ""],
        vec!["ZADD", y, "10", "b", "-2.25", "c", "1048576.5", "d", "-inf", "e"],
        vec!["ZADD", z, "4", "c", "5", "b", "inf", "e", "5", "f", "0", "g"],
        vec!["SADD", plain, "a", "b", "z"],
        vec!["SET", "text", "hello"],
    ];
    let mut asked: Vec<Vec<&str>> = vec![
        vec!["ZUNION", "3", x, y, z],
        vec!["ZUNION", "3", x, y, "missing", "WITHSCORES"],
        vec!["ZUNION", "2", "missing", "gone", "WITHSCORES"],
        vec!["ZDIFF", "2", x, plain, "WITHSCORES"],
        vec!["ZDIFF", "2", plain, x, "WITHSCORES"],
        vec!["ZDIFF", "3", x, y, z],
        vec!["ZDIFF", "2", x, y, "WEIGHTS", "1", "2"],
        vec!["ZINTERCARD", "2", x, y],
        vec!["ZINTERCARD", "3", x, y, plain, "LIMIT", "1"],
        vec!["ZINTERCARD", "2", x, y, "LIMIT", "0"],
        vec!["ZINTERCARD", "2", x, y, "LIMIT", "-1"],
        vec!["ZINTERCARD", "2", x, y, "LIMIT", "x"],
        vec!["ZINTERCARD", "2", x, y, "WITHSCORES"],
        vec!["ZUNION", "2", x, y, "WEIGHTS", "1"],
        vec!["ZUNION", "2", x, y, "WEIGHTS", "1", "x"],
        vec!["ZUNION", "2", x, y, "AGGREGATE", "AVG"],
        vec!["ZUNION", "2", x, y, "LIMIT", "1"],
        vec!["ZUNION", "2", x, "text"],
        vec!["ZINTER", "2", "text", y, "WITHSCORES"],
        vec!["ZINTERCARD", "2", "text", y],
    ];
    for command in ["ZUNION", "ZINTER"] {
        for aggregate in ["SUM", "min", "MAX"] {
            for weights in [["1", "1", "1"], ["2", "-0.5", "0"], ["inf", "0", "4096"]] {
                let mut line = vec![command, "3", x, y, z, "AGGREGATE", aggregate, "WEIGHTS"];
                line.extend(weights);
                line.push("WITHSCORES");
                asked.push(line);
            }
        }
    }
    for resp3 in [false, true] {
        let (mut ours, mut theirs) = match resp3 {
            false => (proxy.client(), alone.client()),
            true => (proxy.client_resp3(), alone.client_resp3()),
        };
        for command in &setup {
            assert_eq!(ours.call(command), theirs.call(command), "{command:?}");
        }
        for command in &asked {
            let (ours, theirs) = (ours.call(command), theirs.call(command));
            assert_eq!(ours, theirs, "{command:?}, RESP3: {resp3}");
        }
        let stored = ours.call(&["ZUNIONSTORE", x, "2", y, z]);
        assert!(stored.as_error().is_some_and(|line| line.starts_with(b"CROSSSLOT")), "{stored:?}");
        for client in [&mut ours, &mut theirs] {
            client.call(&["DEL", x, y, z, plain]);
        }
    }
}

#[test]
fn what_is_gathered_of_sorted_sets_is_bounded() {
    let yaml = "workers: 1\nlimits:\n  gather_bytes: 64kb\n";
    let Some((cluster, proxy)) = redis_and_proxy(yaml) else { return };
    let mut client = proxy.client();
    let keys: Vec<String> = (0..2).map(|n| cluster.key_of(n, "large")).collect();
    let members: Vec<String> = (0..3_000).map(|n| format!("member:{n:08}")).collect();
    for key in &keys {
        let mut add = vec!["ZADD", key.as_str()];
        members.iter().for_each(|member| add.extend(["1", member.as_str()]));
        client.call(&add);
    }
    let refused = client.call(&["ZUNION", "2", &keys[0], &keys[1]]);
    let line = refused.as_error().unwrap_or_else(|| panic!("{refused:?}"));
    assert!(String::from_utf8_lossy(line).contains("gather_bytes"), "{refused:?}");
    let one = client.call(&["ZCARD", &keys[0]]);
    assert_eq!(one, Reply::Integer(3_000), "who asks for less is served");
}
