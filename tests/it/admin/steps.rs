//! The twelve steps of the operator's handbook on bundled nodes, with `redis-cli --cluster` and with
//! `keyway cluster`, over keys of every type: after each step all of them are there, once, and hold
//! what they held. Clients of the proxy that write meanwhile notice nothing.
//!
//! `KEYWAY_KEYS=100000` is the long form.

use super::traffic::{self, Traffic};
use crate::rdb;
use crate::support::{Client, Kind, Server, eventually, stock, temporary_folder, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DIRECTIVES: &[&str] = &[
    "--cluster-enabled",
    "yes",
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
];

/// What gossip, elections and copies may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// Keys that are asked for in one command.
const DIGESTS_PER_CALL: usize = 500;

#[test]
fn the_twelve_steps_work_with_redis_cli_on_bundled_nodes() {
    if let Some(redis_cli) = stock::tool("redis-cli") {
        the_twelve_steps(&Hand { program: redis_cli, word: "--cluster" });
    }
}

#[test]
fn the_twelve_steps_work_with_keyway_cluster_on_bundled_nodes() {
    the_twelve_steps(&Hand { program: env!("CARGO_BIN_EXE_keyway").into(), word: "cluster" });
}

/// A tool. Both take redis-cli's spelling.
struct Hand {
    program: PathBuf,
    word: &'static str,
}

impl Hand {
    /// Runs a subcommand, which reads these answers. What it printed, and whether it ended well.
    fn run(&self, answers: &str, args: &[&str]) -> (String, bool) {
        let state = temporary_folder();
        let mut command = Command::new(&self.program);
        command
            .arg(self.word)
            .args(args)
            .env("XDG_STATE_HOME", state.path())
            // redis-cli colours what goes into a pipe, too.
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tool starts");
        // It may end without asking anything.
        let _ = child.stdin.take().expect("it is piped").write_all(answers.as_bytes());
        let output = child.wait_with_output().expect("the tool ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text + &String::from_utf8_lossy(&output.stderr), output.status.success())
    }

    fn good(&self, args: &[&str]) -> String {
        self.answered("", args)
    }

    fn answered(&self, answers: &str, args: &[&str]) -> String {
        let start = Instant::now();
        let (text, is_good) = self.run(answers, args);
        assert!(is_good, "{} {args:?}:\n{text}", self.word);
        println!("{} {}: {:.1?}", self.word, args[0], start.elapsed());
        text
    }

    /// Waits until a check by way of this node finds nothing, and so many of each.
    fn await_well(&self, entry: &Server, primaries: usize, replicas: usize) {
        let mut last = String::new();
        let well = eventually(WITHIN, || {
            last = self.run("", &["check", &entry.address()]).0;
            shows(&last, primaries, replicas).then_some(())
        });
        assert!(well.is_some(), "{primaries} primaries and {replicas} replicas:\n{last}");
    }

    fn is_redis_cli(&self) -> bool {
        self.word == "--cluster"
    }
}

/// Whether a check printed so many of each, and nothing that is wrong. (What it ends with also tells
/// whether a node is dead, and that is no fault of the cluster's slots.)
fn shows(check: &str, primaries: usize, replicas: usize) -> bool {
    let count = |letter: &str| check.lines().filter(|line| line.starts_with(letter)).count();
    count("M: ") == primaries
        && count("S: ") == replicas
        && check.contains("[OK] All nodes agree about slots configuration.\n")
        && check.contains("[OK] All 16384 slots covered.\n")
        && !check.contains("[WARNING]")
        && !check.contains("[ERR]")
}

/// A node that is merely starved of its processor or its disk for a while is not failed. redis-cli breaks off
/// at the first `CLUSTERDOWN`, so its nodes have the default.
fn node(hand: &Hand) -> Server {
    let timeout = if hand.is_redis_cli() { "15000" } else { "5000" };
    let directives = [DIRECTIVES, &["--cluster-node-timeout", timeout]].concat();
    Server::node(Kind::Keyway, &directives).expect("our own binary is there")
}

fn id(server: &Server) -> String {
    server.client().text(&["CLUSTER", "MYID"])
}

fn the_twelve_steps(hand: &Hand) {
    let long: Option<usize> =
        std::env::var("KEYWAY_KEYS").ok().map(|n| n.parse().expect("a number"));
    let keys = long.unwrap_or(3_000);
    // redis-cli asks for each slot several times, one after the other, and every answer waits for a disk.
    let share = if hand.is_redis_cli() && long.is_none() { Share::SMALL } else { Share::WHOLE };
    let source = Server::keyway_node(&["--enable-debug-command", "yes"]);
    fill(&mut source.client(), keys);
    let expected = digests(&[&source]);
    assert!(expected.len() >= keys);

    // 2 and 3: six nodes. 4: a cluster of them. 5: any node shows it.
    let mut nodes: Vec<Server> = (0..6).map(|_| node(hand)).collect();
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let mut create = vec!["create"];
    create.extend(addresses.iter().map(String::as_str));
    hand.answered("yes\n", &[&create[..], &["--cluster-replicas", "1"]].concat());
    for node in &nodes {
        hand.await_well(node, 3, 3);
    }

    // 6: it is used, by an import of a server's keys. Nodes that just joined take a while to serve them.
    await_serving(&nodes);
    let from = source.address();
    hand.good(&["import", &addresses[0], "--cluster-from", &from, "--cluster-copy"]);
    assert_same(&nodes, &expected, "after the import");

    let traffic = (!hand.is_redis_cli()).then(|| Traffic::start(&addresses));
    let enter = |step| traffic.iter().for_each(|traffic| traffic.enter(step));

    // 7: a primary goes down, and its replica has all that it had.
    enter(7);
    let _ = nodes[0].client().try_call(&["SHUTDOWN", "NOSAVE"]);
    wait_for("it is down", WITHIN, || !nodes[0].process().is_alive());
    hand.await_well(&nodes[1], 3, 2);
    assert_same(&nodes[1..], &expected, "after the failover");

    // 8: it comes back.
    enter(8);
    nodes[0].restart();
    hand.await_well(&nodes[1], 3, 3);
    await_copies(&nodes);
    assert_same(&nodes, &expected, "after it came back");

    // 9: a replica more.
    enter(9);
    nodes.push(node(hand));
    let (sixth, second) = (nodes[6].address(), nodes[1].address());
    let (replica, primary) = (id(&nodes[6]), id(&nodes[1]));
    let of = ["--cluster-slave", "--cluster-master-id", &primary];
    hand.good(&[&["add-node", &sixth, &second][..], &of].concat());
    for node in &nodes {
        hand.await_well(node, 3, 4);
    }
    await_copies(&nodes);

    // 10: and gone again. redis-cli leaves it running, alone.
    enter(10);
    hand.good(&["del-node", &second, &replica]);
    let mut gone = nodes.pop().expect("it was the last");
    if hand.is_redis_cli() {
        assert_eq!(gone.client().text(&["CLUSTER", "NODES"]).lines().count(), 1);
    } else {
        wait_for("it is shut down", WITHIN, || !gone.process().is_alive());
    }
    for node in &nodes {
        hand.await_well(node, 3, 3);
    }

    // 11: a primary more.
    enter(11);
    nodes.push(node(hand));
    let (eighth, newcomer) = (nodes[6].address(), id(&nodes[6]));
    hand.good(&["add-node", &eighth, &second]);
    for node in &nodes {
        hand.await_well(node, 4, 3);
    }

    // 12: it gets its share, once it serves: redis-cli breaks off where a node is not up yet. (At the questions redis-cli takes all of a pipe for one answer, and then asks
    // for ever: the page of the handbook has them.)
    enter(12);
    await_serving(&nodes);
    let slots = share.slots.to_string();
    let given = ["--cluster-from", "all", "--cluster-to", &newcomer, "--cluster-slots", &slots];
    hand.good(&[&["reshard", &second], &given[..], &["--cluster-yes"]].concat());
    hand.await_well(&nodes[6], 4, 3);
    assert_eq!(slot_count(&nodes[6]), share.slots);
    assert_same(&nodes, &expected, "after the reshard");
    let counters = if traffic.is_some() { traffic::ALL } else { 0 };
    traffic.into_iter().for_each(|traffic| traffic.end(0..=7));

    beyond_the_handbook(hand, &nodes, share, &expected, expected.len() + counters);
}

/// How much of the slots a newcomer gets, and then, by a rebalance, keeps.
struct Share {
    slots: usize,
    /// Of the weight of each of three others, in hundredths.
    weight: usize,
}

impl Share {
    /// As the handbook has it.
    const WHOLE: Self = Self { slots: 4096, weight: 50 };
    const SMALL: Self = Self { slots: 1024, weight: 25 };

    fn balanced(&self) -> usize {
        Slot::COUNT * self.weight / (300 + self.weight)
    }
}

/// What the tools do besides.
fn beyond_the_handbook(
    hand: &Hand,
    nodes: &[Server],
    share: Share,
    expected: &Digests,
    keys: usize,
) {
    let entry = nodes[1].address();
    let newcomer = &nodes[6];
    let weight = format!("{}=0.{}", id(newcomer), share.weight);
    let uneven = ["rebalance", &entry, "--cluster-weight", &weight, "--cluster-threshold", "1"];
    hand.good(&uneven);
    let share = share.balanced();
    assert!(slot_count(newcomer).abs_diff(share) <= 1, "{} of {share}", slot_count(newcomer));
    hand.await_well(newcomer, 4, 3);
    assert_same(nodes, expected, "after the rebalance");

    // Whichever has more of a slot's keys gets it.
    for share in [3, 2] {
        open_half_way(&nodes[1], newcomer, share);
        let (text, is_good) = hand.run("", &["check", &entry]);
        assert!(!is_good && text.contains("are open"), "{text}");
        hand.good(&["fix", &entry]);
        hand.await_well(newcomer, 4, 3);
        assert_same(nodes, expected, "after the fix");
    }

    let text = hand.good(&["call", &entry, "DBSIZE"]);
    assert!(text.contains(">>> Calling DBSIZE"), "{text}");
    let text = hand.good(&["info", &entry]);
    assert!(text.contains(&format!("[OK] {keys} keys in 4 masters.")), "{text}");
    let folder = temporary_folder();
    hand.good(&["backup", &entry, folder.path().to_str().expect("text")]);
    let files = std::fs::read_dir(folder.path()).expect("the folder").flatten();
    let is_rdb = |path: &PathBuf| path.extension().is_some_and(|e| e == "rdb");
    assert_eq!(files.map(|file| file.path()).filter(is_rdb).count(), 4);
    hand.good(&["set-timeout", &entry, "6000"]);
}

/// Begins to move a slot with keys, and stops in the middle.
fn open_half_way(from: &Server, to: &Server, share: usize) {
    let mut source = from.client();
    let keys: Vec<Vec<u8>> = rdb::keys(&mut source);
    let mut by_slot: BTreeMap<Slot, Vec<Vec<u8>>> = BTreeMap::new();
    for key in keys {
        by_slot.entry(Slot::of(&key)).or_default().push(key);
    }
    let (slot, keys) = by_slot.into_iter().max_by_key(|(_, keys)| keys.len()).expect("it has keys");
    let slot = slot.to_string();
    to.client().ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
    source.ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    let port = to.port().to_string();
    for key in &keys[..keys.len().div_ceil(share)] {
        source.ok(&[&b"MIGRATE"[..], b"127.0.0.1", port.as_bytes(), key, b"0", b"5000"]);
    }
}

/// So many keys of every type, over all slots, and some that are large.
fn fill(client: &mut Client, keys: usize) {
    rdb::fill(client);
    let numbers: Vec<usize> = (0..keys).collect();
    for numbers in numbers.chunks(1_000) {
        let commands: Vec<Vec<String>> = numbers.iter().map(|&n| small(n)).collect();
        for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
            assert!(reply.as_error().is_none(), "{command:?}: {reply:?}");
        }
    }
}

/// The command that makes the small key `n`.
fn small(n: usize) -> Vec<String> {
    let line = match n % 9 {
        0 => format!("SET key:{n} value-of-{n}"),
        1 => format!("SET key:{n} {n}"),
        2 => format!("SET key:{n} soon EX 100000"),
        3 => format!("RPUSH key:{n} {n} a b c"),
        4 => format!("SADD key:{n} member-{n} other"),
        5 => format!("SADD key:{n} {n} 7 1000000"),
        6 => format!("HSET key:{n} field {n} other value"),
        7 => format!("ZADD key:{n} {n} one 0.5 two"),
        _ => format!("XADD key:{n} 5-{n} field {n}"),
    };
    line.split(' ').map(str::to_owned).collect()
}

type Digests = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every key of these servers' primaries with the digest of its value and of whether it expires. No
/// key is on two of them.
fn digests(servers: &[&Server]) -> Digests {
    let mut all = Digests::new();
    for server in servers {
        let mut client = server.client();
        if client.text(&["INFO", "replication"]).contains("role:slave") {
            continue;
        }
        let mut keys = rdb::keys(&mut client);
        keys.retain(|key| !key.starts_with(traffic::PREFIX));
        for keys in keys.chunks(DIGESTS_PER_CALL) {
            let head = [b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec()];
            let command: Vec<Vec<u8>> = head.into_iter().chain(keys.iter().cloned()).collect();
            let reply = client.call(&command);
            let digests = reply.as_array().expect("a digest for each key");
            for (key, digest) in keys.iter().zip(digests) {
                let digest = digest.as_bytes().expect("text").to_vec();
                let before = all.insert(key.clone(), digest);
                assert_eq!(before, None, "{} is on two nodes", key.escape_ascii());
            }
        }
    }
    all
}

fn assert_same(nodes: &[Server], expected: &Digests, when: &str) {
    let found = digests(&nodes.iter().collect::<Vec<_>>());
    let missing = expected.keys().filter(|key| !found.contains_key(*key)).count();
    let other = expected.iter().filter(|(key, d)| found.get(*key).is_some_and(|f| f != *d)).count();
    let more = found.len() + missing - expected.len();
    assert_eq!((missing, other, more), (0, 0, 0), "{when}: missing, changed, too many");
}

/// Waits until no node says CLUSTERDOWN.
fn await_serving(nodes: &[Server]) {
    for node in nodes {
        wait_for("it serves", WITHIN, || {
            node.client().text(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
    }
}

/// Waits until every replica has its primary's data.
fn await_copies(nodes: &[Server]) {
    for node in nodes.iter().filter(|node| node.info("role") == "slave") {
        wait_for("its copy is complete", WITHIN, || node.info("master_link_status") == "up");
    }
}

fn slot_count(server: &Server) -> usize {
    let id = id(server);
    let reply = server.client().call(&["CLUSTER", "SLOTS"]);
    let ranges = reply.as_array().expect("ranges").iter().filter_map(Reply::as_array);
    let own = ranges.filter(|range| {
        let owner = range[2].as_array().and_then(|node| node[2].as_str());
        owner == Some(id.as_str())
    });
    let bound = |reply: &Reply| reply.as_integer().expect("a slot") as usize;
    own.map(|range| bound(&range[1]) - bound(&range[0]) + 1).sum()
}
