//! Nodes on a disk that takes its time: whoever asked for the disk waits for it, and nobody else.

use crate::support::{Client, Cluster, Server, SlowDisk, eventually, wait_for};
use keyway::resp::Reply;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How long a sync lasts.
const SYNC: Duration = Duration::from_millis(800);
/// Whoever waits for a sync waits longer than this; a busy machine does not.
const PAUSE_MAX: Duration = Duration::from_millis(700);
const WITHIN: Duration = Duration::from_secs(60);
const LOGS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// Sends a command again and again until `stop`, and finds out the longest that an answer took.
fn watch<'s>(
    scope: &'s Scope<'s, '_>,
    server: &Server,
    command: &'static [&'static str],
    stop: &'s AtomicBool,
) -> ScopedJoinHandle<'s, Duration> {
    let mut client = server.client();
    client.set_timeout(WITHIN);
    scope.spawn(move || {
        let mut longest = Duration::ZERO;
        wait_for("the watch to end", WITHIN * 2, || {
            let asked = Instant::now();
            client.call(command);
            longest = longest.max(asked.elapsed());
            stop.load(Ordering::Relaxed)
        });
        longest
    })
}

/// Tells the watchers to stop, however the test goes on.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn info(client: &mut Client, field: &str) -> String {
    let text = client.text(&["INFO", "persistence"]);
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field}")).to_owned()
}

fn await_rewrites(server: &Server, count: u64) {
    let mut client = server.client();
    wait_for("the rewrite to end", WITHIN, || {
        info(&mut client, "aof_rewrites").parse::<u64>().expect("a number") >= count
            && info(&mut client, "aof_rewrite_in_progress") == "0"
            && info(&mut client, "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "ok");
}

/// A rewrite of the append-only file, one that is turned on, and a replica that copies everything.
#[test]
fn nobody_waits_for_the_disk_under_the_append_only_file() {
    let disk = SlowDisk::new();
    let primary = Server::keyway_node_on(&disk, &LOGS);
    let mut replica = Server::keyway_node_on(&disk, &LOGS);
    let other = Server::keyway_node_on(&disk, &[]);
    primary.client().ok(&["SET", "key", "value"]);
    other.client().ok(&["SET", "key", "value"]);
    disk.set(SYNC);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let watched = [
            watch(scope, &primary, &["INCR", "n"], &stop),
            watch(scope, &replica, &["PING"], &stop),
            watch(scope, &other, &["INCR", "n"], &stop),
        ];
        primary.client().text(&["BGREWRITEAOF"]);
        let port = primary.port().to_string();
        replica.client().ok(&["REPLICAOF", "127.0.0.1", &port]);
        other.client().ok(&["CONFIG", "SET", "appendonly", "yes"]);
        wait_for("the sync is told of", WITHIN, || {
            info(&mut primary.client(), "aof_pending_bio_fsync") == "1"
        });
        for server in [&primary, &replica, &other] {
            await_rewrites(server, 1);
        }
        other.client().ok(&["CONFIG", "SET", "appendonly", "no"]);
        wait_for("the replica to have caught up", WITHIN, || {
            replica.info("master_link_status") == "up"
        });
        stop.store(true, Ordering::Relaxed);
        let longest = watched.map(|watch| watch.join().expect("it ends"));
        assert!(longest.iter().all(|pause| *pause < PAUSE_MAX), "{longest:?}");
    });
    let count = |server: &Server| server.client().integer(&["INCRBY", "n", "0"]);
    let written = count(&primary);
    wait_for("the replica to have everything", WITHIN, || {
        replica.client().call(&["GET", "n"]) == Reply::bulk(written.to_string())
    });
    drop(primary);
    replica.kill();
    let since = Instant::now();
    replica.restart();
    assert!(since.elapsed() < WITHIN);
    assert_eq!(replica.client().text(&["GET", "n"]), written.to_string());
}

/// Its first base, increment and manifest are what the start waits for, and only writes need them.
#[test]
fn a_node_without_data_serves_before_its_first_files_are_there() {
    let disk = SlowDisk::new();
    disk.set(WITHIN * 60);
    let mut server = Server::keyway_node_on(&disk, &LOGS);
    let [mut reader, mut writer] = [server.client(), server.client()];
    assert_eq!(reader.integer(&["DBSIZE"]), 0);
    assert_eq!(info(&mut reader, "loading"), "0");
    writer.send_raw(b"PING\r\nSET key value\r\n");
    assert_eq!(writer.reply(), Reply::simple("PONG"));
    assert_eq!(reader.call(&["GET", "key"]), Reply::Null);
    disk.set(Duration::ZERO);
    assert_eq!(writer.reply(), Reply::simple("OK"));
    server.kill();
    server.restart();
    assert_eq!(server.client().text(&["GET", "key"]), "value");
}

/// As in Redis, a sync that has lasted for two seconds is counted when something is written.
#[test]
fn a_sync_that_lasts_too_long_is_counted() {
    let disk = SlowDisk::new();
    let server = Server::keyway_node_on(&disk, &LOGS);
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    disk.set(Duration::from_millis(2500));
    let counted = eventually(WITHIN, || {
        let asked = Instant::now();
        client.ok(&["SET", "key", "value"]);
        assert!(asked.elapsed() < PAUSE_MAX);
        (info(&mut client, "aof_delayed_fsync") != "0").then_some(())
    });
    assert!(counted.is_some(), "{}", server.log());
    assert!(server.log().contains("Asynchronous AOF fsync is taking too long (disk is busy?)."));
    client.ok(&["CONFIG", "RESETSTAT"]);
    assert_eq!(info(&mut client, "aof_delayed_fsync"), "0");
}

/// Whoever votes, is elected, or hears of it has to save that first, and is served and heard of all the
/// while.
#[test]
fn a_primary_is_replaced_on_slow_disks_and_nobody_else_is_missed() {
    a_primary_is_replaced_where_a_sync_takes(SYNC);
}

/// Each of the votes takes longer than Redis would wait for them from when it asked.
#[test]
fn a_primary_is_replaced_on_disks_that_take_seconds() {
    // Half a minute: a part of the long runs.
    if std::env::var_os("KEYWAY_ROUNDS").is_some() {
        a_primary_is_replaced_where_a_sync_takes(Duration::from_secs(3));
    }
}

fn a_primary_is_replaced_where_a_sync_takes(sync: Duration) {
    const NODE_TIMEOUT: Duration = Duration::from_secs(2);
    // What is saved of the failure, the epoch of the election, the votes, and the new primary's role, one after
    // the other.
    let bound = NODE_TIMEOUT * 2 + Duration::from_secs(2) + sync * 4;
    let disk = SlowDisk::new();
    let mut cluster = Cluster::keyway_on(&disk, &LOGS);
    let key = cluster.key_of(0, "key");
    cluster.nodes()[0].client().ok(&["SET", &key, "before"]);
    wait_for("the replica to have it", WITHIN, || {
        cluster.nodes()[3].client().call(&["DBSIZE"]) == Reply::Integer(1)
    });
    disk.set(sync);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let watched: Vec<_> =
            (1..6).map(|n| watch(scope, &cluster.nodes()[n], &["PING"], &stop)).collect();
        cluster.node_mut(0).kill();
        let killed = Instant::now();
        wait_for("the replica to take writes", WITHIN, || {
            let mut client = cluster.nodes()[3].client();
            client.set_timeout(WITHIN);
            client.call(&["SET", &key, "after"]) == Reply::simple("OK")
        });
        let took = killed.elapsed();
        assert!(took < bound, "replaced after {took:?}");
        cluster.node_mut(0).restart();
        wait_for("the old one to be a replica", WITHIN, || {
            let text = cluster.nodes()[0].client().text(&["INFO", "replication"]);
            text.contains("master_link_status:up")
        });
        println!("replaced after {took:?}, a replica again {:?} after the kill", killed.elapsed());
        stop.store(true, Ordering::Relaxed);
        let longest: Vec<Duration> =
            watched.into_iter().map(|watch| watch.join().expect("it ends")).collect();
        assert!(longest.iter().all(|pause| *pause < PAUSE_MAX), "{longest:?}");
    });
    let killed = cluster.id(0);
    for node in &cluster.nodes()[1..] {
        let log = node.log();
        let others = log.lines().filter(|line| line.contains("as failing"));
        let others: Vec<&str> = others.filter(|line| !line.contains(&killed)).collect();
        assert!(others.is_empty(), "{others:?}");
    }
    disk.set(Duration::ZERO);
    cluster.await_agreement();
    assert_eq!(cluster.nodes()[3].client().text(&["GET", &key]), "after");
}
