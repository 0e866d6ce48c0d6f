//! What a connection can be told once and for all: one client's is never another's.

use super::kinds::{kinds, knows};
use super::reach_all;
use crate::support::{Client, Cluster, Keyway, Kind, eventually};
use keyway::resp::Reply;
use std::time::Duration;

/// Everything that RESET takes back, names, and waiting. (Which user a client is concerns the proxy
/// alone: no node is told.)
const STATES: &[(&str, &[&str])] = &[
    ("an open transaction", &["MULTI"]),
    ("a transaction at a node", &["MULTI", "SET {s}a 1"]),
    ("watched keys", &["WATCH {s}a"]),
    ("a transaction behind watched keys", &["WATCH {s}a", "MULTI", "SET {s}a 2"]),
    ("tracking", &["HELLO 3", "CLIENT TRACKING ON", "GET {s}b"]),
    ("tracking by prefixes", &["HELLO 3", "CLIENT TRACKING ON BCAST PREFIX {s}"]),
    ("tracking on demand", &["HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"]),
    ("reads from replicas", &["READONLY"]),
    ("a redirect to be followed", &["ASKING"]),
    ("no replies", &["CLIENT REPLY OFF"]),
    ("no next reply", &["CLIENT REPLY SKIP"]),
    ("the protocol", &["HELLO 3"]),
    ("the database", &["SELECT 1", "SET {s}b other", "GET {s}b"]),
    ("being shown everything", &["MONITOR"]),
    ("channels", &["SUBSCRIBE {s}channel"]),
    ("patterns", &["PSUBSCRIBE {s}*"]),
    ("shard channels", &["SSUBSCRIBE {s}channel"]),
    ("who it is", &["AUTH default wrong", "AUTH nobody wrong"]),
    ("never to be evicted", &["CLIENT NO-EVICT ON"]),
    ("not to count as use", &["CLIENT NO-TOUCH ON", "GET {s}b"]),
    ("its name", &["CLIENT SETNAME somebody", "GET {s}b"]),
    ("its library", &["CLIENT SETINFO LIB-NAME some", "CLIENT SETINFO LIB-VER 1", "GET {s}b"]),
    ("waiting for a list", &["BLPOP {s}list 0"]),
    ("waiting for a stream", &["XREAD BLOCK 0 STREAMS {s}stream $"]),
    ("waiting for replicas", &["SET {s}c 1", "WAIT 1 0"]),
    ("half of a request", &[]),
];

/// MULTI, WATCH, SUBSCRIBE, HELLO or BLPOP let onto a shared connection (shotover, aster): one
/// client sets a state, twenty others see nothing of it; it leaves without a word, and nothing of it
/// is left at any node.
#[test]
fn scar_07_the_state_of_one_client_is_never_anothers() {
    for kind in kinds(Kind::Valkey) {
        // The others have one database in a cluster.
        let databases = ["--cluster-databases", "4"];
        let directives = if kind == Kind::Valkey { &databases[..] } else { &[] };
        let Some(cluster) = Cluster::of(&[kind; 3], 0, directives) else { continue };
        println!("on nodes of {kind:?}:");
        let tracks = knows(kind, "tracking");
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
        reach_all(&cluster, &proxy);
        let known = STATES.iter().filter(|(name, _)| tracks || !name.starts_with("tracking"));
        for (name, state) in known {
            let mut holder = proxy.client();
            for line in *state {
                let words: Vec<&str> = line.split(' ').collect();
                holder.try_send(&words).expect("it is connected");
            }
            if *name == "the database" {
                // Where there is one database only, its SET is one of everybody's key, and comes first.
                state.iter().for_each(|_| drop(holder.reply()));
            }
            if state.is_empty() {
                holder.send_raw(b"*3\r\n$3\r\nSET\r\n$4\r\n{s}b\r\n$100\r\nhalf");
            }
            let mut others: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
            others.iter_mut().for_each(|other| sees_nothing(other, name));
            holder.reset();
            sees_nothing(&mut others[0], name);
            nothing_is_left(&cluster, name);
        }
    }
}

fn sees_nothing(other: &mut Client, of: &str) {
    assert_eq!(other.call(&["PING"]), Reply::simple("PONG"), "{of}");
    other.ok(&["SET", "{s}b", "1"]);
    assert_eq!(other.call(&["GET", "{s}b"]), Reply::bulk("1"), "{of}");
    let exec = other.call(&["EXEC"]);
    assert_eq!(exec.as_error(), Some(&b"ERR EXEC without MULTI"[..]), "{of}");
    other.ok(&["MULTI"]);
    assert_eq!(other.call(&["INCR", "{s}n"]), Reply::simple("QUEUED"), "{of}");
    let ran = other.call(&["EXEC"]);
    assert!(matches!(&ran, Reply::Array(of) if of.len() == 1), "{of}: {ran:?}");
    assert_eq!(other.call(&["CLIENT", "GETNAME"]), Reply::Null, "{of}");
    let all = other.call(&["HGETALL", "{s}nothing"]);
    assert_eq!(all, Reply::Array(Vec::new()), "{of}: not a RESP3 map");
    let info = other.text(&["CLIENT", "INFO"]);
    for part in [" flags=N ", " db=0 ", " sub=0 ", " name= ", " redir=-1 ", " resp=2 lib-name= "] {
        assert!(info.contains(part), "{of}: {info}");
    }
}

/// What every node knows of its connections is what it would know without that client.
fn nothing_is_left(cluster: &Cluster, of: &str) {
    for node in &cluster.nodes()[..cluster.primaries()] {
        let mut client = node.client();
        let mut left = String::new();
        let deadline = Duration::from_secs(20);
        let clean = eventually(deadline, || {
            let text = client.text(&["CLIENT", "LIST"]);
            let is_left = |line: &str| {
                let field = |name: &str| {
                    line.split(' ').find_map(|part| part.strip_prefix(name)).unwrap_or_default()
                };
                // `e` and `T` hold for the lanes of such clients, which others of their kind use.
                let flags = field("flags=").trim_end_matches(['e', 'T']);
                !matches!(flags, "N" | "" | "P" | "r") || !field("name=").is_empty()
            };
            left = text.lines().filter(|line| is_left(line)).collect::<Vec<_>>().join("\n");
            left.is_empty().then_some(())
        });
        assert!(clean.is_some(), "{of}: {left}");
    }
}

/// Whoever uses users of the nodes here is told that they are not known, and is nobody else than
/// before; what the proxy's own user may not do at the nodes, nobody may.
#[test]
fn users_of_the_nodes_are_not_the_proxys_and_that_is_said() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    for node in cluster.nodes() {
        node.client().ok(&["ACL", "SETUSER", "alice", "on", ">secret", "~*", "+@all"]);
        node.client().ok(&["ACL", "SETUSER", "default", "-getdel"]);
    }
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    let mut client = proxy.client();
    let error = |client: &mut Client, command: &[&str]| {
        let reply = client.call(command);
        let line = reply.as_error().map(|line| String::from_utf8_lossy(line).into_owned());
        line.unwrap_or_else(|| panic!("{command:?}: {reply:?}"))
    };
    for command in [&["AUTH", "alice", "secret"][..], &["HELLO", "3", "AUTH", "alice", "secret"]] {
        assert!(error(&mut client, command).starts_with("WRONGPASS"), "{command:?}");
    }
    assert_eq!(client.text(&["ACL", "WHOAMI"]), "default");
    for command in [
        &["ACL", "SETUSER", "bob", "on"][..],
        &["ACL", "DELUSER", "alice"],
        &["ACL", "GETUSER", "alice"],
        &["ACL", "DRYRUN", "alice", "GET", "x"],
        &["ACL", "LIST"],
        &["ACL", "USERS"],
        &["ACL", "LOG"],
    ] {
        let said = error(&mut client, command);
        let name = format!("ERR ACL {} is not available through the proxy", command[1]);
        assert!(said.starts_with(&name) && said.contains("its users are its own"), "{said}");
    }
    for node in 0..3 {
        let key = cluster.key_of(node, "forbidden");
        client.ok(&["SET", &key, "1"]);
        assert!(error(&mut client, &["GETDEL", &key]).starts_with("NOPERM"));
        assert_eq!(client.call(&["GET", &key]), Reply::bulk("1"));
    }
    assert!(cluster.nodes()[0].client().text(&["ACL", "WHOAMI"]) == "default");
    assert_eq!(cluster.nodes()[0].client().call(&["ACL", "GETUSER", "bob"]), Reply::Null);
}

/// Who a client is: one gives the password, and twenty others on the same connections to the nodes are still
/// strangers.
#[test]
fn a_client_that_authenticates_does_so_for_itself_alone() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let proxy = Keyway::proxy_with(&cluster.seeds(), "workers: 1\npassword: right\n");
    let key = cluster.key_of(0, "own");
    let mut others: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    let mut holder = proxy.client();
    holder.ok(&["AUTH", "right"]);
    holder.ok(&["SET", &key, "1"]);
    let strangers = |others: &mut Vec<Client>| {
        for other in others {
            for command in
                [&["GET", &key][..], &["MULTI"], &["SUBSCRIBE", "a"], &["CLIENT", "LIST"]]
            {
                let refused = other.call(command);
                assert_eq!(refused.as_error(), Some(&b"NOAUTH Authentication required."[..]));
            }
        }
    };
    strangers(&mut others);
    assert_eq!(holder.call(&["RESET"]), Reply::simple("RESET"));
    let refused = holder.call(&["GET", &key]);
    assert_eq!(refused.as_error(), Some(&b"NOAUTH Authentication required."[..]));
    holder.reset();
    strangers(&mut others);
}
