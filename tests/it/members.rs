//! Who is let into a cluster, and what a node tells the others of itself.

use crate::support::{Kind, Server, wait_for};
use keyway::resp::Reply;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);

fn node(kind: Kind, directives: &[&str]) -> Option<Server> {
    let mut all = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    all.extend(directives);
    Server::node(kind, &all)
}

fn meet(server: &Server, other: &Server) {
    server.client().ok(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
}

/// Whether each knows the other by name, and is connected to it.
fn know_each_other(one: &Server, other: &Server) -> bool {
    [one, other].iter().all(|server| {
        let text = server.client().text(&["CLUSTER", "NODES"]);
        text.lines().count() == 2
            && text.matches(" connected").count() == 2
            && !text.contains("handshake")
    })
}

/// A line of CLUSTER INFO that is there only when there is something to tell.
fn counted(server: &Server, name: &str) -> u64 {
    let text = server.client().text(&["CLUSTER", "INFO"]);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[test]
fn a_node_from_elsewhere_is_refused_counted_and_told_of_until_it_is_allowed() {
    let ours = node(Kind::Keyway, &["--cluster-allow-from", "192.0.2.0/24"]).expect("our own");
    let refused = || counted(&ours, "cluster_refused_links");
    let mut raw = TcpStream::connect(("127.0.0.1", ours.port() + 10_000)).expect("it listens");
    raw.set_read_timeout(Some(WITHIN)).expect("a time");
    assert_eq!(raw.read(&mut [0; 16]).expect("an end"), 0, "something was said to a stranger");
    assert_eq!(refused(), 1);
    let log = ours.log();
    let line = log.lines().find(|line| line.contains("refused a connection to the cluster bus"));
    let line = line.unwrap_or_else(|| panic!("nothing is said:\n{log}"));
    assert!(line.contains("cluster-allow-from") && line.contains("127.0.0.1"), "{line}");

    for kind in [Kind::Keyway, Kind::Redis] {
        ours.client().ok(&["CONFIG", "SET", "cluster-allow-from", "192.0.2.0/24 2001:db8::/32"]);
        let Some(mut other) = node(kind, &[]) else { continue };
        let before = refused();
        meet(&other, &ours);
        wait_for("it is refused", WITHIN, || refused() > before);
        assert_eq!(ours.client().text(&["CLUSTER", "NODES"]).lines().count(), 1);

        ours.client().ok(&["CONFIG", "SET", "cluster-allow-from", "127.0.0.0/8"]);
        wait_for("it is taken in", WITHIN, || {
            // The handshake was given up meanwhile, or Redis holds it for done: it says MEET once.
            let knows_nobody =
                |server: &Server| server.client().text(&["CLUSTER", "NODES"]).lines().count() == 1;
            if knows_nobody(&other) || knows_nobody(&ours) {
                meet(&other, &ours);
            }
            know_each_other(&ours, &other)
        });
        // Who is known may come back, whatever is said of strangers.
        ours.client().ok(&["CONFIG", "SET", "cluster-allow-from", "192.0.2.0/24"]);
        other.restart();
        wait_for("it is back", WITHIN, || know_each_other(&ours, &other));
        let id = other.client().text(&["CLUSTER", "MYID"]);
        other.kill();
        ours.client().ok(&["CLUSTER", "FORGET", &id]);
    }
    for (value, word) in [("10.0.0.0/33", "10.0.0.0/33"), ("10.0.0.0/8 localhost", "localhost")] {
        let reply = ours.client().call(&["CONFIG", "SET", "cluster-allow-from", value]);
        let text = String::from_utf8_lossy(reply.as_error().expect("refused")).into_owned();
        let reason = format!("`{word}` is neither an address nor ADDRESS/BITS");
        assert!(text.ends_with(&reason), "{text}");
    }
}

/// The maps of CLUSTER SHARDS for its nodes, in the order of their ports.
fn nodes_of_shards(server: &Server) -> Vec<Reply> {
    let shards = server.client().call(&["CLUSTER", "SHARDS"]);
    let field = |words: &[Reply], name: &str| -> Option<Reply> {
        let mut pairs = words.chunks_exact(2);
        pairs.find(|pair| pair[0] == Reply::bulk(name)).map(|pair| pair[1].clone())
    };
    let shards = shards.as_array().expect("shards").iter();
    let mut nodes: Vec<Reply> = shards
        .flat_map(|shard| {
            let nodes = field(shard.as_array().expect("a shard"), "nodes").expect("its nodes");
            nodes.as_array().expect("nodes").to_vec()
        })
        .collect();
    nodes.sort_by_key(|node| match field(node.as_array().expect("a node"), "port") {
        Some(Reply::Integer(port)) => port,
        other => panic!("{other:?} is no port"),
    });
    nodes
}

/// A host name, a port for TLS and a name for people: what ours announces, others show as their own, and ours
/// shows theirs.
#[test]
fn what_nodes_announce_is_shown_alike_by_ours_and_theirs() {
    const OURS: &str = "one.example";
    const THEIRS: &str = "two.example";
    for kind in [Kind::Keyway, Kind::Valkey, Kind::Redis] {
        // Names as Valkey takes them.
        let ours = [
            "--cluster-announce-hostname",
            OURS,
            "--cluster-announce-tls-port",
            "7101",
            "--cluster-announce-human-nodename",
            "rack:1/one",
        ];
        let theirs = ["--cluster-announce-hostname", THEIRS, "--cluster-announce-tls-port", "7102"];
        let name = ["--cluster-announce-human-nodename", "rack:2/two"];
        let has_names = kind != Kind::Redis;
        let theirs = if has_names { [&theirs[..], &name].concat() } else { theirs.to_vec() };
        let ours = node(Kind::Keyway, &ours).expect("our own binary is there");
        let Some(mut other) = node(kind, &theirs) else { continue };
        ours.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        meet(&ours, &other);
        wait_for("they know each other", WITHIN, || {
            for (server, hostname) in [(&ours, THEIRS), (&other, OURS)] {
                let text = server.client().text(&["CLUSTER", "NODES"]);
                let mut known = text.lines().filter(|line| !line.contains("myself"));
                // Theirs may say or learn it only with the next PING.
                if kind == Kind::Keyway {
                    let at_once =
                        |line: &str| line.contains("handshake") || line.contains(hostname);
                    assert!(known.all(at_once), "{kind:?}: {text}");
                }
            }
            know_each_other(&ours, &other)
        });
        let knows = |server: &Server, name: &str| {
            server.client().text(&["CLUSTER", "NODES"]).contains(&format!(",{name} "))
        };
        wait_for("they know each other's host names", WITHIN, || {
            knows(&ours, THEIRS) && knows(&other, OURS)
        });
        let slots = |server: &Server| server.client().call(&["CLUSTER", "SLOTS"]);
        assert_eq!(slots(&ours), slots(&other), "{kind:?}");
        if kind != Kind::Redis {
            assert_eq!(nodes_of_shards(&ours), nodes_of_shards(&other), "{kind:?}");
            let text = format!("{:?}", nodes_of_shards(&ours));
            assert!(text.contains("7101") && text.contains("7102"), "{text}");
        }
        if kind == Kind::Valkey {
            wait_for("theirs has written our name down", WITHIN, || {
                let conf = other.folder().join("nodes.conf");
                std::fs::read_to_string(conf).is_ok_and(|text| {
                    text.contains("tls-port=7101") && text.contains("nodename=rack:1/one")
                })
            });
        }
        if has_names {
            ours.client().ok(&["CONFIG", "SET", "cluster-node-timeout", "500"]);
            other.kill();
            let line = "Marking node as failing (quorum reached).";
            wait_for("the log says it with its name", WITHIN, || {
                let log = ours.log();
                let mut lines = log.lines().filter(|told| told.contains(line));
                lines.any(|told| told.contains("(rack:2/two)"))
            });
        }
    }
}

#[test]
fn names_are_refused_in_the_words_of_redis_and_valkey() {
    let ours = node(Kind::Keyway, &[]).expect("our own binary is there");
    for (kind, directive) in [
        (Kind::Redis, "cluster-announce-hostname"),
        (Kind::Valkey, "cluster-announce-hostname"),
        (Kind::Valkey, "cluster-announce-human-nodename"),
    ] {
        let Some(stock) = node(kind, &[]) else { continue };
        for name in [
            "",
            "a",
            "A-9.z",
            "a_b",
            "a b",
            "a@b",
            "a:b",
            "a/b",
            "a,b",
            "a=b",
            "?.com",
            "a\tb",
            "ü",
            "[a]",
            "a`b",
            "a'b",
            "a\"b",
            "a\\b",
            "a~b",
            "a+b",
            "{a}",
            "a|b",
            "a<b",
            "a^b",
            "a;b",
            "a#b",
            "a!b",
            "-",
            ".",
            &"x".repeat(255),
            &"x".repeat(256),
        ] {
            let set = |server: &Server| server.client().call(&["CONFIG", "SET", directive, name]);
            assert_eq!(set(&ours), set(&stock), "{kind:?} {directive} {name:?}");
        }
    }
}
