//! Nodes of ours on the cluster bus: among themselves, and with stock Redis and Valkey nodes.

use crate::support::{Kind, Server, eventually, tool, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

const DIRECTIVES: &[&str] = &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
const WITHIN: Duration = Duration::from_secs(60);

fn node(kind: Kind) -> Option<Server> {
    Server::node(kind, DIRECTIVES)
}

fn id(server: &Server) -> String {
    server.client().text(&["CLUSTER", "MYID"])
}

/// What a node believes of everyone, without what differs from moment to moment.
fn belief(server: &Server) -> Vec<String> {
    let text = server.client().text(&["CLUSTER", "NODES"]);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let flags = words[2].trim_start_matches("myself,");
            let address = words[1].split(',').next().unwrap_or_default();
            let slots = words[8..].join(" ");
            format!("{} {address} {flags} {} {} {slots}", words[0], words[3], words[6])
        })
        .collect();
    lines.sort();
    lines
}

fn await_agreement(servers: &[&Server]) {
    let agreed = eventually(WITHIN, || {
        let first = belief(servers[0]);
        let whole = first.len() == servers.len() && !first.iter().any(|l| l.contains("handshake"));
        let ok = |server: &&Server| {
            server.client().text(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        };
        (whole && servers.iter().all(|s| belief(s) == first) && servers.iter().all(ok))
            .then_some(())
    });
    let beliefs: Vec<Vec<String>> = servers.iter().map(|server| belief(server)).collect();
    assert!(agreed.is_some(), "they do not agree: {beliefs:#?}");
}

fn add_slots(server: &Server, first: usize, last: usize) {
    let (first, last) = (first.to_string(), last.to_string());
    server.client().ok(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
}

fn meet(server: &Server, other: &Server) {
    server.client().ok(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
}

/// A cluster of one kind takes a node of ours in, which then gets slots from it.
fn joins_a_cluster_of(kinds: &[Kind], we_ask: bool) {
    let Some(stock) = kinds.iter().map(|kind| node(*kind)).collect::<Option<Vec<_>>>() else {
        return;
    };
    let ours = node(Kind::Keyway).expect("our own binary is there");
    let share = Slot::COUNT / stock.len();
    for (index, server) in stock.iter().enumerate() {
        let last = if index + 1 == stock.len() { Slot::COUNT } else { (index + 1) * share };
        add_slots(server, index * share, last - 1);
        if index > 0 {
            meet(&stock[0], server);
        }
    }
    if we_ask {
        meet(&ours, &stock[0]);
    } else {
        meet(&stock[0], &ours);
    }
    let all: Vec<&Server> = stock.iter().chain([&ours]).collect();
    await_agreement(&all);

    // A slot is handed over, as redis-cli does it.
    let (from, to) = (id(&stock[0]), id(&ours));
    ours.client().ok(&["CLUSTER", "SETSLOT", "0", "IMPORTING", &from]);
    stock[0].client().ok(&["CLUSTER", "SETSLOT", "0", "MIGRATING", &to]);
    ours.client().ok(&["CLUSTER", "SETSLOT", "0", "NODE", &to]);
    stock[0].client().ok(&["CLUSTER", "SETSLOT", "0", "NODE", &to]);
    await_agreement(&all);
    let moved = format!("MOVED 0 127.0.0.1:{}", ours.port());
    // A key of slot 0, as CLUSTER KEYSLOT says.
    let key = (0..).map(|n| format!("k{n}")).find(|key| Slot::of(key.as_bytes()).number() == 0);
    let key = key.expect("keys have no end");
    for server in &stock {
        assert_eq!(server.client().call(&["GET", &key]), Reply::error(moved.as_str()));
    }
    assert_eq!(ours.client().call(&["GET", &key]), Reply::Null);
}

/// Half of the slots have no owner: nothing is served, but for what an operator allows.
#[test]
fn a_cluster_that_is_down_serves_what_it_may() {
    const DOWN: &str = "CLUSTERDOWN The cluster is down";
    const READS: &str = "CLUSTERDOWN The cluster is down and only accepts read commands";
    const NOBODYS: &str = "CLUSTERDOWN Hash slot not served";
    for kind in [Kind::Keyway, Kind::Redis, Kind::Valkey] {
        let Some(server) = node(kind) else { continue };
        // `a` and `{a}` are of slot 15495, `b` of slot 3300.
        add_slots(&server, 8192, 16_383);
        let mut client = server.client();
        let mut check = |asked: &[&str], expected: Reply| {
            assert_eq!(client.call(asked), expected, "{kind:?} {asked:?}");
        };
        let allow = |what: &str, allowed: &str| {
            server.client().ok(&["CONFIG", "SET", &format!("cluster-allow-{what}"), allowed]);
        };
        check(&["GET", "a"], Reply::error(DOWN));
        check(&["SET", "a", "1"], Reply::error(DOWN));
        check(&["SPUBLISH", "a", "m"], Reply::Integer(0));
        allow("reads-when-down", "yes");
        check(&["GET", "a"], Reply::Null);
        check(&["EXISTS", "a", "{a}"], Reply::Integer(0));
        check(&["SET", "a", "1"], Reply::error(READS));
        check(&["GET", "b"], Reply::error(NOBODYS));
        allow("pubsubshard-when-down", "no");
        check(&["SPUBLISH", "a", "m"], Reply::error(DOWN));
        check(&["SSUBSCRIBE", "a"], Reply::error(DOWN));
        allow("reads-when-down", "no");
        check(&["GET", "a"], Reply::error(DOWN));
    }
}

#[test]
fn a_node_joins_a_cluster_of_redis() {
    joins_a_cluster_of(&[Kind::Redis, Kind::Redis, Kind::Redis], true);
}

#[test]
fn a_node_is_taken_into_a_cluster_of_valkey() {
    joins_a_cluster_of(&[Kind::Valkey, Kind::Valkey, Kind::Valkey], false);
}

#[test]
fn a_node_joins_redis_and_valkey_together() {
    joins_a_cluster_of(&[Kind::Redis, Kind::Valkey], true);
}

/// What redis-cli says; its exit code must be 0. Some questions it asks in spite of `--cluster-yes`.
fn redis_cli(args: &[&str]) -> Option<String> {
    let program = tool("redis-cli")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    // It may end without asking anything.
    let _ = child.stdin.take().expect("it is piped").write_all(b"yes\n");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "redis-cli {args:?}\n{text}\n{error}");
    Some(text)
}

#[test]
fn redis_cli_creates_checks_and_reshards_a_cluster_of_ours() {
    let nodes: Vec<Server> = (0..3).filter_map(|_| node(Kind::Keyway)).collect();
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let (a, b, c) = (&addresses[0], &addresses[1], &addresses[2]);
    let Some(text) = redis_cli(&["--cluster", "create", a, b, c, "--cluster-yes"]) else { return };
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    await_agreement(&nodes.iter().collect::<Vec<_>>());
    wait_for("two links to each of the others", WITHIN, || {
        nodes[0].info("cluster_connections") == "4"
    });

    let (from, to) = (id(&nodes[0]), id(&nodes[2]));
    let reshard = ["--cluster", "reshard", b, "--cluster-from", &from, "--cluster-to", &to];
    redis_cli(&[&reshard[..], &["--cluster-slots", "25", "--cluster-yes"]].concat());
    let text = redis_cli(&["--cluster", "check", b]).expect("it is there");
    assert!(text.contains("[OK] All nodes agree about slots configuration."), "{text}");
    assert!(text.contains("slots:[0-24],[10923-16383] (5486 slots) master"), "{text}");

    let port = nodes[1].port().to_string();
    for n in 0..20 {
        let (key, value) = (format!("key:{n}"), format!("value:{n}"));
        redis_cli(&["-c", "-p", &port, "SET", &key, &value]);
        let text = redis_cli(&["-c", "-p", &port, "GET", &key]).expect("it is there");
        assert_eq!(text.trim(), value);
    }
}

#[test]
fn redis_cli_gives_every_primary_of_ours_a_replica() {
    let nodes: Vec<Server> = (0..7).filter_map(|_| node(Kind::Keyway)).collect();
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let mut create: Vec<&str> = vec!["--cluster", "create"];
    create.extend(addresses[..6].iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let Some(text) = redis_cli(&create) else { return };
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    await_agreement(&nodes[..6].iter().collect::<Vec<_>>());
    let replicas = |server: &Server| {
        let text = server.client().text(&["CLUSTER", "NODES"]);
        text.lines().filter(|line| line.contains("slave")).count()
    };
    assert_eq!(replicas(&nodes[0]), 3);

    let (first, seventh) = (&addresses[0], &addresses[6]);
    let of = id(&nodes[0]);
    let add = ["--cluster", "add-node", seventh, first, "--cluster-slave", "--cluster-master-id"];
    redis_cli(&[&add[..], &[&of]].concat());
    await_agreement(&nodes.iter().collect::<Vec<_>>());
    assert_eq!(replicas(&nodes[0]), 4);
    wait_for("the new replica has its data", WITHIN, || {
        nodes[6].info("master_link_status") == "up"
    });
    let added = id(&nodes[6]);
    redis_cli(&["--cluster", "del-node", first, &added]);
    await_agreement(&nodes[..6].iter().collect::<Vec<_>>());
    assert_eq!(replicas(&nodes[0]), 3);
    // What was taken out knows nobody any more, and may go elsewhere.
    assert_eq!(nodes[6].client().text(&["CLUSTER", "NODES"]).lines().count(), 1);

    // A slot that nobody serves is given to somebody.
    let owner = nodes.iter().find(|server| {
        server.client().text(&["CLUSTER", "NODES"]).contains("myself,master - 0 0 1 connected 0-")
    });
    let owner = owner.expect("someone owns the first slots");
    for server in &nodes[..6] {
        let reply = server.client().call(&["CLUSTER", "DELSLOTS", "7"]);
        assert!(reply.as_error().is_none() || server.info("role") == "slave", "{reply:?}");
    }
    redis_cli(&["--cluster", "fix", &owner.address(), "--cluster-yes"]);
    await_agreement(&nodes[..6].iter().collect::<Vec<_>>());
    let text = redis_cli(&["--cluster", "check", first]).expect("it is there");
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
}

#[test]
fn a_node_that_was_killed_comes_back_as_who_it_was() {
    let mut nodes: Vec<Server> = (0..3).filter_map(|_| node(Kind::Keyway)).collect();
    for (index, (first, last)) in [(0, 5460), (5461, 10_922), (10_923, 16_383)].iter().enumerate() {
        add_slots(&nodes[index], *first, *last);
        if index > 0 {
            meet(&nodes[0], &nodes[index]);
        }
    }
    await_agreement(&nodes.iter().collect::<Vec<_>>());
    let before = (id(&nodes[1]), nodes[1].client().text(&["CLUSTER", "MYSHARDID"]));
    nodes[1].kill();
    wait_for("the others notice", WITHIN, || {
        nodes[0].client().text(&["CLUSTER", "INFO"]).contains("cluster_state:fail")
    });
    let refused = nodes[0].client().call(&["GET", "{key-of-any-slot}"]);
    assert!(refused.as_error().is_some(), "{refused:?}");
    nodes[1].restart();
    await_agreement(&nodes.iter().collect::<Vec<_>>());
    assert_eq!((id(&nodes[1]), nodes[1].client().text(&["CLUSTER", "MYSHARDID"])), before);
}

/// What 7.0.15 refuses, ours refuses, in the same words.
#[test]
fn cluster_commands_are_refused_in_the_words_of_redis() {
    let Some(redis) = node(Kind::Redis) else { return };
    let ours = node(Kind::Keyway).expect("our own binary is there");
    let (mut redis, mut ours) = (redis.client(), ours.client());
    let stranger = "a".repeat(40);
    for line in [
        "CLUSTER",
        "CLUSTER FOO",
        "CLUSTER MEET 127.0.0.1",
        "CLUSTER MEET 127.0.0.1 abc",
        "CLUSTER MEET 127.0.0.1 0",
        "CLUSTER MEET 127.0.0.1 70000",
        "CLUSTER MEET nohost 7000",
        "CLUSTER MEET 127.0.0.1 7000 abc",
        "CLUSTER MEET 127.0.0.1 60000",
        "CLUSTER MEET 127.0.0.1 7000 1 2",
        "CLUSTER NODES x",
        "CLUSTER FORGET abc",
        "CLUSTER FORGET STRANGER",
        "CLUSTER FORGET MYSELF",
        "CLUSTER ADDSLOTS",
        "CLUSTER ADDSLOTS abc",
        "CLUSTER ADDSLOTS 16384",
        "CLUSTER ADDSLOTS -1",
        "CLUSTER ADDSLOTS 1 1",
        "CLUSTER ADDSLOTS 1 2 3",
        "CLUSTER ADDSLOTS 3 4",
        "CLUSTER DELSLOTS 4",
        "CLUSTER DELSLOTS 1 1",
        "CLUSTER ADDSLOTSRANGE 5",
        "CLUSTER ADDSLOTSRANGE 5 6 7",
        "CLUSTER ADDSLOTSRANGE 10 5",
        "CLUSTER ADDSLOTSRANGE 5 20000",
        "CLUSTER ADDSLOTSRANGE 5 7 6 8",
        "CLUSTER ADDSLOTSRANGE 3 8",
        "CLUSTER ADDSLOTSRANGE 5 7",
        "CLUSTER DELSLOTSRANGE 8 5",
        "CLUSTER DELSLOTSRANGE 5",
        "CLUSTER DELSLOTSRANGE 5 7 8 9",
        "CLUSTER SETSLOT 1",
        "CLUSTER SETSLOT 1 FOO",
        "CLUSTER SETSLOT abc STABLE",
        "CLUSTER SETSLOT 99999 STABLE",
        "CLUSTER SETSLOT 1 STABLE",
        "CLUSTER SETSLOT 1 STABLE x",
        "CLUSTER SETSLOT 1 MIGRATING",
        "CLUSTER SETSLOT 1 MIGRATING abc",
        "CLUSTER SETSLOT 9 MIGRATING abc",
        "CLUSTER SETSLOT 1 MIGRATING STRANGER",
        "CLUSTER SETSLOT 1 IMPORTING abc",
        "CLUSTER SETSLOT 9 IMPORTING abc",
        "CLUSTER SETSLOT 1 NODE abc",
        "CLUSTER SETSLOT 1 NODE MYSELF",
        "CLUSTER SET-CONFIG-EPOCH abc",
        "CLUSTER SET-CONFIG-EPOCH -1",
        "CLUSTER SET-CONFIG-EPOCH 5",
        "CLUSTER SET-CONFIG-EPOCH 6",
        "CLUSTER BUMPEPOCH",
        "CLUSTER RESET FOO",
        "CLUSTER RESET SOFT HARD",
        "CLUSTER SAVECONFIG",
        "CLUSTER SAVECONFIG 1",
        "CLUSTER KEYSLOT foo",
        "CLUSTER KEYSLOT",
        "CLUSTER COUNTKEYSINSLOT 99999",
        "CLUSTER COUNTKEYSINSLOT -1",
        "CLUSTER COUNTKEYSINSLOT abc",
        "CLUSTER COUNTKEYSINSLOT 1",
        "CLUSTER GETKEYSINSLOT 1 -1",
        "CLUSTER GETKEYSINSLOT abc 1",
        "CLUSTER GETKEYSINSLOT 99999 1",
        "CLUSTER GETKEYSINSLOT 1 abc",
        "CLUSTER GETKEYSINSLOT 1 10",
        "CLUSTER REPLICAS abc",
        "CLUSTER SLAVES MYSELF",
        "CLUSTER REPLICAS",
        "CLUSTER COUNT-FAILURE-REPORTS abc",
        "CLUSTER COUNT-FAILURE-REPORTS MYSELF",
        "CLUSTER REPLICATE abc",
        "CLUSTER REPLICATE MYSELF",
        "CLUSTER FAILOVER",
        "CLUSTER FAILOVER FOO",
        "CLUSTER FAILOVER FORCE",
        "CLUSTER LINKS",
        "CLUSTER SLOTS",
        "READONLY",
        "READONLY x",
        "READWRITE",
        "ASKING",
        "ASKING x",
        "GET foo",
        "MGET foo bar",
        "MULTI",
        "CLUSTER FLUSHSLOTS",
        "CLUSTER FLUSHSLOTS x",
        "CLUSTER SLOTS",
        "CLUSTER RESET",
        "CLUSTER RESET HARD",
    ] {
        let ask = |client: &mut crate::support::Client| {
            let myself = client.text(&["CLUSTER", "MYID"]);
            let line = line.replace("MYSELF", &myself).replace("STRANGER", &stranger);
            let words: Vec<&str> = line.split(' ').collect();
            let port = client.stream().peer_addr().expect("connected").port().to_string();
            format!("{:?}", client.call(&words)).replace(&myself, "MYSELF").replace(&port, "PORT")
        };
        if line == "MULTI" {
            assert_eq!(ours.call(&["MULTI"]), redis.call(&["MULTI"]));
            assert_eq!(ours.call(&["GET", "foo"]), redis.call(&["GET", "foo"]), "in MULTI");
            assert_eq!(ours.call(&["EXEC"]), redis.call(&["EXEC"]), "EXEC after it");
            continue;
        }
        assert_eq!(ask(&mut ours), ask(&mut redis), "{line}");
    }
}
