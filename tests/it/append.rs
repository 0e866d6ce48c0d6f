//! The append-only file: nothing that was acknowledged is lost, and the stock tools can read it.

use crate::rdb::{describe, fill, keys};
use crate::support::{Client, Kind, Server, eventually, tool};
use keyway::resp::Reply;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
const ALWAYS: [&str; 6] =
    ["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes"];

fn contents(client: &mut Client) -> Vec<(Vec<u8>, Vec<Reply>)> {
    let keys = keys(client);
    keys.into_iter().map(|key| (key.clone(), describe(client, &key))).collect()
}

fn wait_for_rewrite(server: &Server) {
    let ended = eventually(WITHIN, || {
        let mut client = server.client();
        let info = client.text(&["INFO", "persistence"]);
        let idle = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        idle.iter().all(|field| info.contains(field)).then_some(info)
    });
    let info = ended.expect("the rewrite ends");
    assert!(info.contains("aof_last_bgrewrite_status:ok"), "{info}");
}

fn manifest(server: &Server) -> String {
    let path = server.folder().join("appendonlydir/appendonly.aof.manifest");
    fs::read_to_string(path).expect("a manifest")
}

/// What Redis's checker says of a server's files.
fn check(server: &Server) {
    let Some(check) = tool("redis-check-aof") else { return };
    let path = server.folder().join("appendonlydir/appendonly.aof.manifest");
    let output = Command::new(check).arg(path).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("All AOF files and manifest are valid"),
        "{text}"
    );
}

fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("it is readable");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// A key that was to expire, and then was not to, is there when the file is read after that time.
#[test]
fn a_key_that_was_persisted_in_time_is_there_after_a_restart() {
    let mut server = Server::keyway_node(&ALWAYS);
    let mut client = server.client();
    let words = |text: &'static str| -> Vec<&str> { text.split(' ').collect() };
    let replies = client.pipeline(&[
        words("SET kept value"),
        words("PEXPIRE kept 500"),
        words("PERSIST kept"),
        words("SET gone value"),
        words("PEXPIRE gone 500"),
    ]);
    assert!(replies.iter().all(|reply| reply.as_error().is_none()), "{replies:?}");
    let passed = || (client.integer(&["EXISTS", "gone"]) == 0).then_some(());
    eventually(WITHIN, passed).expect("the time passes");
    server.kill();
    server.restart();
    assert_eq!(server.client().call(&["GET", "kept"]), Reply::bulk("value"));
    assert_eq!(server.client().integer(&["EXISTS", "gone"]), 0);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut server = Server::keyway_node(&ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    client.ok(&["SELECT", "7"]);
    client.ok(&["SET", "elsewhere", "1"]);
    client.ok(&["MULTI"]);
    for command in [&["INCR", "n"][..], &["INCR", "n"], &["SPOP", "none"]] {
        assert_eq!(client.text(command), "QUEUED");
    }
    client.call(&["EXEC"]);
    client.ok(&["SELECT", "0"]);
    client.integer(&["DEL", "empty"]);
    client.ok(&["SET", "gone soon", "1", "PX", "1"]);
    let before = contents(&mut client);
    server.kill();
    check(&server);
    server.restart();
    let mut client = server.client();
    let mut after = contents(&mut client);
    after.retain(|(key, _)| key != b"gone soon");
    let before: Vec<_> = before.into_iter().filter(|(key, _)| key != b"gone soon").collect();
    assert_eq!(after, before);
    client.ok(&["SELECT", "7"]);
    assert_eq!(client.text(&["GET", "n"]), "2");
    assert_eq!(client.integer(&["DBSIZE"]), 2);
}

/// DEBUG LOADAOF: the data is what the files say, and is written on from there.
#[test]
fn it_can_be_read_again_while_the_node_runs() {
    let mut server = Server::keyway_node(&ALWAYS);
    let mut client = server.client();
    fill(&mut client);
    client.ok(&["SET", "n", "1", "EX", "1000"]);
    let before = contents(&mut client);
    client.ok(&["DEBUG", "LOADAOF"]);
    assert_eq!(contents(&mut client), before);
    // Its own words do not come back to it.
    let size = |client: &mut Client| {
        let info = client.text(&["INFO", "persistence"]);
        let line = info.lines().find(|line| line.starts_with("aof_current_size:"));
        line.expect("a size").to_owned()
    };
    let grown = size(&mut client);
    client.ok(&["DEBUG", "LOADAOF"]);
    assert_eq!(size(&mut client), grown);
    client.integer(&["INCR", "n"]);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.text(&["GET", "n"]), "2");

    // What the files do not say is gone: they were written before it.
    client.ok(&["CONFIG", "SET", "appendonly", "no"]);
    client.text(&["BGREWRITEAOF"]);
    wait_for_rewrite(&server);
    client.ok(&["SET", "later", "1"]);
    client.ok(&["DEBUG", "LOADAOF"]);
    assert_eq!(client.text(&["GET", "n"]), "2");
    assert_eq!(client.integer(&["EXISTS", "later"]), 0);
}

/// Counters that go on while the file is rewritten are neither lost nor counted twice.
#[test]
fn a_rewrite_loses_and_doubles_nothing() {
    let mut server = Server::keyway_node(&ALWAYS);
    let mut client = server.client();
    let round = |client: &mut Client| {
        let mut commands: Vec<Vec<String>> = vec![vec!["MULTI".into()]];
        commands.extend((0..50).map(|n| vec!["INCR".into(), format!("{{x}}{n}")]));
        commands.push(vec!["RPUSH".into(), "list".into(), "a".into()]);
        commands.push(vec!["EXEC".into()]);
        client.pipeline(&commands);
    };
    for _ in 0..20 {
        round(&mut client);
    }
    let size = fs::read_dir(server.folder().join("appendonlydir")).expect("a folder").count();
    assert_eq!(size, 3, "a base, an increment, a manifest");
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]);
    let started = client.text(&["BGREWRITEAOF"]);
    assert_eq!(started, "Background append only file rewriting started");
    for _ in 0..20 {
        round(&mut client);
    }
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    wait_for_rewrite(&server);
    assert_eq!(
        manifest(&server),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    let size = fs::read_dir(server.folder().join("appendonlydir")).expect("a folder").count();
    assert_eq!(size, 3, "what nobody needs is gone");
    for _ in 0..10 {
        round(&mut client);
    }
    server.kill();
    check(&server);
    server.restart();
    let mut client = server.client();
    for n in 0..50 {
        assert_eq!(client.text(&["GET", &format!("{{x}}{n}")]), "50");
    }
    assert_eq!(client.integer(&["LLEN", "list"]), 50);
}

/// A kill while a rewrite goes on leaves the files before, and what came since.
#[test]
fn a_rewrite_that_does_not_end_loses_nothing() {
    let mut server = Server::keyway_node(&ALWAYS);
    let mut client = server.client();
    for n in 0..200 {
        client.ok(&["SET", &format!("k{n}"), "old"]);
    }
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
    client.text(&["BGREWRITEAOF"]);
    let begun = || (server.info("aof_rewrite_in_progress") == "1").then_some(());
    eventually(WITHIN, begun).expect("it begins");
    client.ok(&["SET", "k0", "new"]);
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.integer(&["DBSIZE"]), 200);
    assert_eq!(client.text(&["GET", "k0"]), "new");
}

#[test]
fn a_torn_tail_is_cut_off_and_said() {
    let mut server = Server::keyway_node(&ALWAYS);
    let mut client = server.client();
    client.ok(&["SET", "k", "v"]);
    client.ok(&["SET", "other", "v"]);
    server.kill();
    let path = server.folder().join("appendonlydir/appendonly.aof.1.incr.aof");
    let good = fs::read(&path).expect("a file");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("a file");
    file.write_all(
        b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\ntorn\r\n*1\r\n$4\r\nEX",
    )
    .expect("room");
    drop(file);
    server.restart();
    let mut client = server.client();
    assert_eq!(client.text(&["GET", "k"]), "v");
    let log = server.log();
    assert!(log.contains("short read while loading the AOF file"), "{log}");
    assert!(log.contains(&format!("at offset {}", good.len())), "{log}");
    assert!(fs::read(&path).expect("a file").starts_with(&good));
    client.ok(&["SET", "k", "w"]);
    server.kill();
    check(&server);

    // The same, where it is not allowed; and damage in the middle, which is no torn tail.
    let torn = [&good[..], b"*3\r\n$3\r\nSE"].concat();
    let damaged = [&good[..], b"garbage\r\n", &good[..]].concat();
    for (bytes, allowed, text) in [
        (&torn, "no", "Unexpected end of file reading the append only file"),
        (&damaged, "yes", "Bad file format reading the append only file"),
    ] {
        fs::write(&path, bytes).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_keyway"))
            .args(["node", "--port", "0", "--bind", "127.0.0.1", "--appendonly", "yes"])
            .args(["--aof-load-truncated", allowed, "--dir"])
            .arg(server.folder())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains(text), "{said}");
        assert_eq!(&fs::read(&path).expect("a file"), bytes, "it is left alone");
    }
}

/// Redis 7.0.15 starts on our files, and we on theirs and Valkey's.
#[test]
fn files_are_exchanged_with_the_stock_servers() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let Some(mut theirs) = Server::node(kind, &ALWAYS) else { continue };
        let mut ours = Server::keyway_node(&ALWAYS);
        for turn in ["ours to theirs", "theirs to ours"] {
            let (from, to) = match turn {
                "ours to theirs" => (&mut ours, &mut theirs),
                _ => (&mut theirs, &mut ours),
            };
            let mut source = from.client();
            source.ok(&["FLUSHALL"]);
            fill(&mut source);
            source.text(&["BGREWRITEAOF"]);
            wait_for_rewrite(from);
            source.ok(&["SET", "since", "then"]);
            source.integer(&["RPUSH", "list", "more"]);
            let before = contents(&mut source);
            to.kill();
            copy_folder(&from.folder().join("appendonlydir"), &to.folder().join("appendonlydir"));
            to.restart();
            assert_eq!(contents(&mut to.client()), before, "{kind:?}, {turn}");
        }
    }
}

#[test]
fn it_can_begin_and_end_while_the_node_runs() {
    let mut server = Server::keyway_node(&["--appendfsync", "always"]);
    let mut client = server.client();
    client.ok(&["SET", "before", "1"]);
    client.ok(&["CONFIG", "SET", "appendonly", "yes"]);
    let on = || (server.info("aof_enabled") == "1").then_some(());
    eventually(WITHIN, on).expect("it begins");
    wait_for_rewrite(&server);
    client.ok(&["SET", "since", "2"]);
    check(&server);
    client.ok(&["CONFIG", "SET", "appendonly", "no"]);
    client.ok(&["SET", "after", "3"]);
    assert_eq!(server.info("aof_enabled"), "0");
    server.kill();
    let saved = server.folder().join("appendonlydir");
    let mut copy = Server::keyway_node(&ALWAYS);
    copy.kill();
    copy_folder(&saved, &copy.folder().join("appendonlydir"));
    copy.restart();
    let mut client = copy.client();
    assert_eq!(keys(&mut client), [b"before".to_vec(), b"since".to_vec()]);
}

#[test]
fn it_is_rewritten_by_itself_when_it_has_grown() {
    let server = Server::keyway_node(&[
        "--appendonly",
        "yes",
        "--auto-aof-rewrite-min-size",
        "10kb",
        "--auto-aof-rewrite-percentage",
        "50",
    ]);
    let mut client = server.client();
    for n in 0..1000 {
        client.ok(&["SET", "k", &format!("{n} {}", "x".repeat(100))]);
    }
    let grown = || (server.info("aof_rewrites") != "0").then_some(());
    eventually(WITHIN, grown).expect("it is rewritten");
    wait_for_rewrite(&server);
    assert!(server.log().contains("Starting automatic rewriting of AOF on "));
    let size: u64 = server.info("aof_current_size").parse().expect("a number");
    assert!(size < 100_000, "{size}");
}
