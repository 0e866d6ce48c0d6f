//! Data on disk: saved, found again at the next start, and exchanged with the stock servers.

use crate::rdb::{describe, fill, keys};
use crate::support::{Client, Kind, Server, eventually, tool};
use keyway::resp::Reply;
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);

/// All of a server's data.
fn contents(client: &mut Client) -> Vec<(Vec<u8>, Vec<Reply>)> {
    let keys = keys(client);
    keys.into_iter().map(|key| (key.clone(), describe(client, &key))).collect()
}

fn wait_for_save(client: &mut Client) {
    let saved = eventually(WITHIN, || {
        let info = client.text(&["INFO", "persistence"]);
        info.contains("rdb_bgsave_in_progress:0").then_some(info)
    });
    let info = saved.expect("the save ends");
    assert!(info.contains("rdb_last_bgsave_status:ok"), "{info}");
}

#[test]
fn data_is_there_again_after_every_kind_of_save() {
    for how in ["SAVE", "BGSAVE", "SHUTDOWN SAVE", "SHUTDOWN", "SIGTERM"] {
        let directives = ["--enable-debug-command", "yes", "--save", "3600 1"];
        let mut server = Server::keyway_node(&directives);
        let mut client = server.client();
        fill(&mut client);
        client.ok(&["SELECT", "5"]);
        client.ok(&["SET", "elsewhere", "1"]);
        client.ok(&["SELECT", "0"]);
        let before = contents(&mut client);
        match how {
            "SAVE" => {
                client.ok(&["SAVE"]);
                assert_eq!(server.info("rdb_changes_since_last_save"), "0");
                server.kill();
            }
            "BGSAVE" => {
                let started = client.text(&["BGSAVE"]);
                assert_eq!(started, "Background saving started");
                wait_for_save(&mut client);
                server.kill();
            }
            "SIGTERM" => assert!(server.terminate(WITHIN).is_some_and(|status| status.success())),
            shutdown => {
                let words: Vec<&str> = shutdown.split(' ').collect();
                let _ = client.try_call(&words);
                eventually(WITHIN, || (!server.process().is_alive()).then_some(())).expect(how);
            }
        }
        server.restart();
        let mut client = server.client();
        assert_eq!(contents(&mut client), before, "{how}");
        client.ok(&["SELECT", "5"]);
        assert_eq!(client.text(&["GET", "elsewhere"]), "1", "{how}");
        assert_eq!(server.info("rdb_last_load_keys_loaded"), (before.len() + 1).to_string());
    }
}

#[test]
fn what_is_not_to_be_saved_is_not() {
    let mut server = Server::keyway_node(&["--save", "3600 1"]);
    let mut client = server.client();
    client.ok(&["SET", "k", "v"]);
    let _ = client.try_call(&["SHUTDOWN", "NOSAVE"]);
    eventually(WITHIN, || (!server.process().is_alive()).then_some(())).expect("it ends");
    server.restart();
    assert_eq!(server.client().integer(&["DBSIZE"]), 0);
}

/// Whoever asks: it serves on, until there is room again or it is told not to save.
#[test]
fn a_server_that_cannot_save_does_not_end() {
    const CANNOT: &str = "Error trying to save the DB, can't exit.";
    for kind in [Kind::Keyway, Kind::Redis, Kind::Valkey] {
        let Some(mut server) = Server::node(kind, &["--save", "3600 1"]) else { continue };
        let mut client = server.client();
        client.ok(&["SET", "k", "1"]);
        let in_the_way = server.folder().join("dump.rdb");
        std::fs::create_dir(&in_the_way).expect("a folder where the file should be");
        let refusals = |server: &Server| server.log().matches(CANNOT).count();
        let refused = client.call(&["SHUTDOWN"]);
        assert_eq!(refused, Reply::error("ERR Errors trying to SHUTDOWN. Check logs."), "{kind:?}");
        assert_eq!(refusals(&server), 1, "{kind:?}:\n{}", server.log());
        for asked in [2, 3] {
            server.process().signal(Signal::TERM);
            let refused = eventually(WITHIN, || (refusals(&server) == asked).then_some(()));
            assert!(refused.is_some(), "{kind:?}:\n{}", server.log());
            assert_eq!(client.integer(&["INCR", "k"]), asked as i64, "{kind:?}: writes go on");
        }
        std::fs::remove_dir(&in_the_way).expect("it is empty");
        assert!(server.terminate(WITHIN).is_some_and(|status| status.success()), "{kind:?}");
        server.restart();
        assert_eq!(server.client().text(&["GET", "k"]), "3", "{kind:?}");
    }
}

/// Files are exchanged with both stock servers, and Redis's checker finds nothing.
#[test]
fn files_are_exchanged_with_the_stock_servers() {
    for kind in [Kind::Redis, Kind::Valkey] {
        for compression in ["yes", "no"] {
            let directives = ["--enable-debug-command", "yes", "--rdbcompression", compression];
            let Some(theirs) = Server::node(kind, &directives) else { continue };
            let ours = Server::keyway_node(&directives);
            for (from, to, back) in [(&ours, &theirs, false), (&theirs, &ours, true)] {
                let mut source = from.client();
                source.ok(&["FLUSHALL"]);
                fill(&mut source);
                source.ok(&["SAVE"]);
                let file = from.folder().join("dump.rdb");
                if !back && let Some(check) = tool("redis-check-rdb") {
                    let output = Command::new(check).arg(&file).output().expect("it runs");
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(output.status.success() && text.contains("looks OK!"), "{text}");
                }
                std::fs::copy(&file, to.folder().join("dump.rdb")).expect("a copy");
                let mut target = to.client();
                target.ok(&["DEBUG", "RELOAD", "NOSAVE"]);
                assert_eq!(contents(&mut target), contents(&mut source), "{kind:?} {compression}");
            }
        }
    }
}

/// A snapshot is of one moment: pairs of counters that are always equal are equal in it.
#[test]
fn a_background_save_is_of_one_moment() {
    const PAIRS: usize = 2000;
    let ours = Server::keyway_node(&["--rdb-key-save-delay", "1000"]);
    let mut client = ours.client();
    let mset = |round: usize, pair: usize| {
        let (a, b, value) =
            (format!("a{pair}"), format!("b{pair}"), format!("{round}:{}", "x".repeat(50)));
        vec!["MSET".to_owned(), a, value.clone(), b, value]
    };
    let all = |round| (0..PAIRS).map(|pair| mset(round, pair)).collect::<Vec<_>>();
    client.pipeline(&all(0));
    assert_eq!(client.text(&["BGSAVE"]), "Background saving started");
    assert_eq!(
        client.call(&["BGSAVE"]),
        Reply::Error("ERR Background save already in progress".into())
    );
    client.ok(&["SET", "later", "1"]);
    client.pipeline(&all(1)[PAIRS / 2..]);
    assert_eq!(ours.info("rdb_bgsave_in_progress"), "1", "writes came while it was saved");
    for round in 1..5 {
        client.pipeline(&all(round));
    }
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    wait_for_save(&mut client);
    assert_ne!(ours.info("rdb_changes_since_last_save"), "0");

    let mut copy = Server::keyway_node(&[]);
    copy.kill();
    std::fs::copy(ours.folder().join("dump.rdb"), copy.folder().join("dump.rdb")).expect("a copy");
    copy.restart();
    let mut client = copy.client();
    assert_eq!(client.integer(&["DBSIZE"]), 2 * PAIRS as i64);
    for pair in 0..PAIRS {
        let [a, b] = ["a", "b"].map(|name| client.text(&["GET", &format!("{name}{pair}")]));
        assert!(a == b && a.starts_with("0:"), "{a} {b}");
    }
}

/// Whoever changes a large value that is not saved yet waits, and others do not.
#[test]
fn a_large_value_is_saved_as_it_was_while_others_go_on() {
    let mut ours = Server::keyway_node(&["--enable-debug-command", "yes"]);
    let mut client = ours.client();
    for at in (0..60_000).step_by(1000) {
        let mut words = vec!["HSET".to_owned(), "large".to_owned()];
        words.extend((at..at + 1000).flat_map(|n| [format!("field {n}"), "x".repeat(100)]));
        client.integer(&words);
    }
    let digest = client.call(&["DEBUG", "DIGEST-VALUE", "large"]);
    client.text(&["BGSAVE"]);
    assert_eq!(client.integer(&["HSET", "large", "new", "1"]), 1);
    assert_eq!(client.integer(&["DEL", "large"]), 1);
    wait_for_save(&mut client);
    ours.kill();
    ours.restart();
    assert_eq!(ours.client().call(&["DEBUG", "DIGEST-VALUE", "large"]), digest);
}

#[test]
fn a_save_that_fails_stops_writes_until_one_goes_well() {
    let mut ours = Server::keyway_node(&["--save", "3600 100000"]);
    let mut client = ours.client();
    client.ok(&["SET", "k", "v"]);
    client.ok(&["SAVE"]);
    let good = std::fs::read(ours.folder().join("dump.rdb")).expect("a file");
    let in_the_way = ours.folder().join(format!("temp-{}.rdb", ours.pid()));
    std::fs::create_dir(&in_the_way).expect("a folder in the way");
    client.text(&["BGSAVE"]);
    let failed =
        eventually(WITHIN, || (ours.info("rdb_last_bgsave_status") == "err").then_some(()));
    failed.expect("the save fails");
    let refused = client.call(&["SET", "k", "w"]);
    let Reply::Error(text) = &refused else { panic!("{refused:?}") };
    assert!(
        text.starts_with(b"MISCONF Redis is configured to save RDB snapshots, but"),
        "{text:?}"
    );
    assert!(matches!(client.call(&["PING"]), Reply::Error(_)));
    assert_eq!(client.text(&["GET", "k"]), "v");
    assert!(matches!(client.call(&["SAVE"]), Reply::Error(_)));
    client.ok(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    client.ok(&["SET", "k", "w"]);
    client.ok(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]);
    assert_eq!(std::fs::read(ours.folder().join("dump.rdb")).expect("a file"), good);
    std::fs::remove_dir(&in_the_way).expect("out of the way");
    client.ok(&["SAVE"]);
    client.ok(&["SET", "k", "x"]);
    ours.assert_well("a save that failed");
}

/// Save points: so many changes in so many seconds.
#[test]
fn data_is_saved_by_itself_after_enough_changes() {
    let ours = Server::keyway_node(&["--save", "1 10"]);
    let mut client = ours.client();
    for n in 0..10 {
        client.ok(&["SET", &n.to_string(), "v"]);
    }
    eventually(WITHIN, || (ours.info("rdb_saves") == "1").then_some(())).expect("a save");
    assert!(ours.log().contains("10 changes in 1 seconds. Saving..."));
    assert!(ours.folder().join("dump.rdb").exists());
}

/// A file that is cut or damaged is not started with, and stays as it is.
#[test]
fn a_damaged_file_is_not_started_with() {
    let mut ours = Server::keyway_node(&[]);
    ours.client().ok(&["SET", "k", "some text or other"]);
    ours.client().ok(&["SAVE"]);
    let path = ours.folder().join("dump.rdb");
    let good = std::fs::read(&path).expect("a file");
    ours.kill();
    let mut damaged = good.clone();
    let middle = good.len() - 15;
    damaged[middle] ^= 1;
    for bad in [&good[..good.len() - 12], &damaged, b"REDIS0099"] {
        std::fs::write(&path, bad).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_keyway"))
            .args(["node", "--port", "0", "--bind", "127.0.0.1", "--dir"])
            .arg(ours.folder())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("Fatal error loading the DB"), "{text}");
        assert_eq!(std::fs::read(&path).expect("the file"), bad);
    }
}

/// What a fork would have copied is written out first, and then overwritten.
#[test]
fn a_snapshot_under_full_write_load_takes_hardly_any_memory() {
    const KEYS: usize = 200_000;
    let ours = Server::keyway_node(&["--enable-debug-command", "yes", "--save", ""]);
    let mut client = ours.client();
    client.ok(&["DEBUG", "POPULATE", &KEYS.to_string(), "key", "64"]);
    let value = "w".repeat(64);
    let mut written = 0;
    // Overwrites all over the keys, as fast as they are answered, and says what memory there is in use.
    let mut overwrite = || -> u64 {
        let batch: Vec<Vec<String>> = (written..written + 1000)
            .map(|n| vec!["SET".to_owned(), format!("key:{}", n * 7919 % KEYS), value.clone()])
            .collect();
        written += batch.len();
        client.pipeline(&batch);
        ours.info("used_memory").parse().expect("a number of bytes")
    };
    let before = (0..KEYS / 1000).map(|_| overwrite()).max().expect("batches");
    assert_eq!(ours.client().text(&["BGSAVE"]), "Background saving started");
    let (mut during, mut batches) = (0, 0);
    while ours.info("rdb_bgsave_in_progress") == "1" {
        during = overwrite().max(during);
        batches += 1;
    }
    println!("{before} bytes; {during} in a snapshot with {batches},000 writes");
    assert!(batches > 10, "{batches},000 writes came while it was made");
    assert!(during * 10 < before * 11, "{before} bytes became {during}");
    assert_eq!(ours.info("rdb_last_bgsave_status"), "ok");
}
