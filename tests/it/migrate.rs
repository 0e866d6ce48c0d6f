//! MIGRATE between real processes: what travels, what is answered, and what waits meanwhile.

use crate::rdb::{describe, fill, keys};
use crate::support::{Client, Cluster, Kind, Server, eventually, stock, temporary_folder};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];
const SOON: Duration = Duration::from_secs(20);

#[test]
fn keys_of_every_type_travel_between_all_servers() {
    let ours = Server::keyway_node(&DEBUG);
    for kind in [Kind::Redis, Kind::Valkey, Kind::Keyway] {
        let Some(theirs) = Server::node(kind, &DEBUG) else { continue };
        for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
            let (mut source, mut target) = (from.client(), to.client());
            source.ok(&["FLUSHALL"]);
            target.ok(&["FLUSHALL"]);
            fill(&mut source);
            let keys = keys(&mut source);
            let before: Vec<_> = keys.iter().map(|key| describe(&mut source, key)).collect();
            let port = to.port().to_string();
            let head = ["MIGRATE", "127.0.0.1", &port, "", "5", "5000", "KEYS"];
            let mut command: Vec<&[u8]> = head.iter().map(|word| word.as_bytes()).collect();
            command.extend(keys.iter().map(|key| &**key));
            command.push(b"one that is not there");
            source.ok(&command);
            assert_eq!(source.integer(&["DBSIZE"]), 0, "{:?}", from.kind());
            target.ok(&["SELECT", "5"]);
            for (key, before) in keys.iter().zip(before) {
                let what =
                    format!("{} from {:?} to {:?}", key.escape_ascii(), from.kind(), to.kind());
                assert_eq!(describe(&mut target, key), before, "{what}");
            }
            assert_eq!(target.integer(&["DBSIZE"]), keys.len() as i64);
        }
    }
}

/// The same words as 7.0.15, towards a target of 7.0.15 that wants a password.
#[test]
fn the_answers_are_those_of_redis() {
    let Some(redis) = Server::redis(&[]) else { return };
    let ours = Server::keyway_node(&[]);
    let target = Server::redis(&["--requirepass", "pw"]).expect("the other one is there");
    let port = target.port().to_string();
    let (lenient, wrapped) =
        (format!(" +{port}x"), (u32::from(target.port()) + 65_536).to_string());
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = closed.local_addr().expect("it has one").port().to_string();
    drop(closed);
    let lines = [
        "SET a 1",
        "MIGRATE h P a 0 1000",
        "MIGRATE h P a 0 1000 AUTH no",
        "MIGRATE h P a 0 1000 AUTH pw COPY",
        "EXISTS a",
        "MIGRATE h P a 0 1000 AUTH pw",
        "EXISTS a",
        "MIGRATE h P a 0 1000 AUTH2 default pw REPLACE",
        "EXISTS a",
        "MIGRATE h P a 0 1000",
        "SET a 1",
        "MIGRATE h P a 99 1000 AUTH pw",
        "EXISTS a",
        "MIGRATE h P a x 1000",
        "MIGRATE h P a 0 x",
        "MIGRATE h NOBODY a 0 1000",
        "MIGRATE h x a 0 1000",
        "MIGRATE h LENIENT a 0 1000 auth pw replace",
        "SET a 1",
        "MIGRATE h WRAPPED a 0 1000 auth pw replace",
        "SET a 1",
        "MIGRATE h P a 0 1000 KEYS a",
        "MIGRATE h P E 0 1000 KEYS",
        "MIGRATE h P E 0 1000 FOO",
        "MIGRATE h P a 0 1000 AUTH",
        "MIGRATE h P a 0 1000 AUTH2 a",
        "MIGRATE h P a 0 0 AUTH pw REPLACE",
        "EXISTS a",
        "MSET a 1 b 2 c 3",
        "MIGRATE h P E 0 1000 AUTH pw KEYS a b zz c",
        "EXISTS a b c",
        "MIGRATE h P E 0 -5 AUTH pw REPLACE KEYS a a zz",
        "EXISTS a b c",
        "MIGRATE h P E 0 5 KEYS zz",
        "MIGRATE h P",
        "PSETEX e 100000 v",
        "MIGRATE h P e 0 1000 AUTH pw REPLACE",
        "EXISTS e",
    ];
    let mut clients = [redis.client(), ours.client()];
    for line in lines {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| match word {
                "h" => "127.0.0.1",
                "P" => &port,
                "LENIENT" => &lenient,
                "WRAPPED" => &wrapped,
                "NOBODY" => &nobody,
                "E" => "",
                word => word,
            })
            .collect();
        let mut inside = target.client();
        inside.ok(&["AUTH", "pw"]);
        let before = inside.call(&["GET", "a"]);
        let theirs = clients[0].call(&words);
        let after = inside.call(&["GET", "a"]);
        // The target is for our turn as it was for theirs.
        match before.as_str() {
            Some(value) => inside.ok(&["SET", "a", value]),
            None => drop(inside.call(&["DEL", "a"])),
        }
        if line.contains("KEYS a b") {
            inside.call(&["DEL", "b", "c"]);
        }
        assert_eq!(clients[1].call(&words), theirs, "{line}");
        assert_eq!(inside.call(&["GET", "a"]), after, "{line}");
    }
    let ttl = {
        let mut inside = target.client();
        inside.ok(&["AUTH", "pw"]);
        inside.integer(&["PTTL", "e"])
    };
    assert!((1..=100_000).contains(&ttl), "{ttl}");
}

/// A target that says what the test has it say.
struct Puppet(TcpListener);

impl Puppet {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn port(&self) -> String {
        self.0.local_addr().expect("it has one").port().to_string()
    }

    /// The next connection, when a request has come on it.
    fn asked(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut bytes = [0; 4096];
        assert!(stream.read(&mut bytes).expect("a request") > 0);
        stream
    }
}

#[test]
fn a_key_on_its_way_can_be_read_and_waits_to_be_written() {
    let node = Server::keyway_node(&[]);
    let puppet = Puppet::new();
    let [mut mover, mut reader, mut writer, mut popper] = [(); 4].map(|()| node.client());
    mover.ok(&["SET", "k", "old"]);
    mover.try_send(&["MIGRATE", "127.0.0.1", &puppet.port(), "k", "0", "20000"]).expect("sent");
    let mut target = puppet.asked();

    assert_eq!(reader.text(&["GET", "k"]), "old");
    reader.ok(&["SET", "other", "1"]);
    let waiting = ["APPEND", "k", "!"];
    writer.try_send(&waiting).expect("sent");
    popper.try_send(&["BLMOVE", "source", "k", "LEFT", "RIGHT", "0"]).expect("sent");
    let blocked = |client: &mut Client| {
        let text = client.text(&["CLIENT", "LIST"]);
        text.lines().filter(|line| line.contains(" flags=b ")).count()
    };
    eventually(SOON, || (blocked(&mut reader) == 3).then_some(())).expect("all three wait");
    let mut transaction = node.client();
    transaction.ok(&["MULTI"]);
    assert_eq!(transaction.text(&["DEL", "k"]), "QUEUED");
    transaction.try_send(&["EXEC"]).expect("sent");
    eventually(SOON, || (blocked(&mut reader) == 3).then_some(())).expect("and are not served");
    let id = reader.text(&["CLIENT", "LIST"]);
    let line = id.lines().find(|line| line.contains("cmd=migrate")).expect("it is there");
    let id = line.split([' ', '=']).nth(1).expect("an id").to_owned();
    assert_eq!(reader.integer(&["CLIENT", "UNBLOCK", &id]), 0, "it cannot be called back");
    assert_eq!(reader.text(&["GET", "k"]), "old");

    target.write_all(b"+OK\r\n").expect("it listens");
    assert_eq!(mover.reply(), Reply::simple("OK"));
    // Both ran after the key had gone, in whichever order.
    assert_eq!(writer.reply(), Reply::Integer(1));
    let deleted = transaction.reply();
    assert!(matches!(deleted.as_array(), Some([Reply::Integer(0 | 1)])), "{deleted:?}");
}

#[test]
fn a_key_is_removed_only_when_the_target_has_it() {
    let node = Server::keyway_node(&[]);
    let puppet = Puppet::new();
    let mut client = node.client();
    client.ok(&["MSET", "a", "1", "b", "2", "c", "3"]);
    let port = puppet.port();
    let command = ["MIGRATE", "127.0.0.1", &port, "", "0", "300", "KEYS", "a", "b", "c"];
    for (said, reply, left) in [
        (&b""[..], "IOERR error or timeout reading to target instance", 3),
        (b"+OK\r\n-ERR no\r\n", "IOERR error or timeout reading to target instance", 2),
        (b"+OK\r\n-ERR no\r\n", "ERR Target instance replied with error: ERR no", 1),
    ] {
        client.try_send(&command).expect("sent");
        let mut target = puppet.asked();
        target.write_all(said).expect("it listens");
        assert_eq!(client.reply().as_error(), Some(reply.as_bytes()));
        assert_eq!(client.integer(&["EXISTS", "a", "b", "c"]), left, "{said:?}");
    }
}

#[test]
fn a_migration_goes_on_when_its_client_has_left() {
    let node = Server::keyway_node(&[]);
    let replica = Server::keyway_node(&["--replicaof", &format!("127.0.0.1 {}", node.port())]);
    let puppet = Puppet::new();
    let mut mover = node.client();
    mover.ok(&["MSET", "k", "v", "stays", "v"]);
    let mut there = replica.client();
    let has = |client: &mut Client, count| {
        eventually(SOON, || (client.call(&["DBSIZE"]) == Reply::Integer(count)).then_some(()))
    };
    has(&mut there, 2).expect("the replica has both");
    mover.try_send(&["MIGRATE", "127.0.0.1", &puppet.port(), "k", "0", "20000"]).expect("sent");
    let mut target = puppet.asked();
    drop(mover);
    let mut client = node.client();
    eventually(SOON, || (!client.text(&["CLIENT", "LIST"]).contains("cmd=migrate")).then_some(()))
        .expect("it has left");
    target.write_all(b"+OK\r\n").expect("it listens");
    has(&mut client, 1).expect("what the target has is not here any more");
    has(&mut there, 1).expect("nor on the replica");
    assert_eq!(client.integer(&["EXISTS", "stays"]), 1);
}

/// Every key of a cluster and what it holds; none is on two nodes.
fn content(cluster: &Cluster) -> BTreeMap<Vec<u8>, Vec<Reply>> {
    let mut all = BTreeMap::new();
    for node in cluster.nodes() {
        let mut client = node.client();
        for key in keys(&mut client) {
            let value = describe(&mut client, &key);
            let twice = all.insert(key.clone(), value).is_some();
            assert!(!twice, "{} is on two nodes", key.escape_ascii());
        }
    }
    all
}

/// Slots that are moved: the first of the first node.
const MOVED: usize = 200;

/// Brings keys of every type into slots of the first node; returns how many.
fn fill_cluster(cluster: &Cluster) -> usize {
    let single = Server::keyway_node(&DEBUG);
    let mut source = single.client();
    fill(&mut source);
    source.call(&["XADD", "stream", "5-1", "field", "value"]);
    let tags = (0..).map(|n| format!("{{{n}}}"));
    let tags: Vec<_> =
        tags.filter(|tag| Slot::of(tag.as_bytes()).index() < MOVED).take(10).collect();
    let mut there = cluster.nodes()[0].client();
    let names = keys(&mut source);
    for key in &names {
        let payload = source.call(&[&b"DUMP"[..], key]);
        let ttl = source.integer(&[&b"PTTL"[..], key]).max(0).to_string();
        for n in 0..20 {
            let name = [key, tags[n / 2].as_bytes(), n.to_string().as_bytes()].concat();
            let payload = payload.as_bytes().expect("a payload");
            there.ok(&[&b"RESTORE"[..], &name, ttl.as_bytes(), payload]);
        }
    }
    names.len() * 20
}

#[test]
fn both_tools_reshard_nodes_of_ours_with_every_type() {
    let Some(redis_cli) = stock::tool("redis-cli") else { return };
    // Nobody is to miss a node that a busy machine does not let run.
    let directives = [&DEBUG[..], &["--cluster-node-timeout", "15000"]].concat();
    let cluster = Cluster::of(&[Kind::Keyway; 3], 0, &directives).expect("our own binary is there");
    let filled = fill_cluster(&cluster);
    let before = content(&cluster);
    assert_eq!(before.len(), filled);
    let entry = cluster.seeds()[0].clone();
    let folder = temporary_folder();
    let ids: Vec<String> = (0..3).map(|node| cluster.id(node)).collect();
    let run = |program: &std::path::Path, args: &[&str]| {
        let output = Command::new(program)
            .args(args)
            .env("XDG_STATE_HOME", folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the tool runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}:\n{text}");
    };
    let keyway = std::path::Path::new(env!("CARGO_BIN_EXE_keyway"));
    let slots = MOVED.to_string();
    let moved = ["--slots", &slots, "--yes", &entry];
    run(
        keyway,
        &[&["cluster", "reshard", "--from", &ids[0], "--to", &ids[1]][..], &moved].concat(),
    );
    assert_eq!(content(&cluster), before);
    assert_eq!(cluster.nodes()[0].client().integer(&["DBSIZE"]), 0, "all has gone");
    // The lowest slots go first: those that have just come.
    let back = (MOVED / 2).to_string();
    let from_to = ["--cluster-from", &ids[1], "--cluster-to", &ids[2]];
    let head = ["--cluster", "reshard", &entry, "--cluster-slots", &back, "--cluster-yes"];
    run(&redis_cli, &[&head[..], &from_to].concat());
    assert_eq!(content(&cluster), before);
    let arrived = cluster.nodes()[2].client().integer(&["DBSIZE"]);
    assert!(arrived > 0 && (arrived as usize) < filled, "{arrived} of {filled}");
    run(keyway, &["cluster", "check", &entry]);
}
