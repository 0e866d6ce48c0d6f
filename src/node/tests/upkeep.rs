//! What the node does by itself: reading its log, saving, and removing what has expired.

use super::*;
use crate::node::{SnapshotFor, SnapshotSlice};
use crate::resp::encode_request;

fn log_of(commands: &[&[&str]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        encode_request(&mut bytes, command);
    }
    bytes
}

/// The list is one list in the log, and so it is when the log is read.
#[test]
fn an_expiry_in_the_past_does_not_split_a_key_while_the_log_is_read() {
    let mut node = Node::new(&[]);
    let log = log_of(&[&["RPUSH", "l", "a"], &["PEXPIREAT", "l", "1000"], &["RPUSH", "l", "b"]]);
    node.core.begin_log(node.now, false);
    node.core.read_log(node.now, &log).expect("commands");
    assert_eq!(node.core.end_log(), log.len() as u64);
    let mut client = node.client();
    assert_eq!(node.replies(&mut client, "LLEN l"), ":0|");
}

#[test]
fn a_log_with_a_command_that_is_not_there_is_not_read_past_it() {
    for name in ["bla", "CONFIG NOPE", "FCALL"] {
        let mut node = Node::new(&[]);
        let words: Vec<&str> = name.split(' ').chain(["return 1", "0"]).collect();
        let log = log_of(&[&["SET", "a", "1"], &words, &["SET", "b", "2"]]);
        node.core.begin_log(node.now, false);
        let error = node.core.read_log(node.now, &log).expect_err(name).to_string();
        let shown = words[0];
        assert_eq!(error, format!("Unknown command '{shown}' reading the append only file"));
    }
}

/// Brings what has begun to its end.
fn walk(node: &mut Node) -> SnapshotSlice {
    let mut last = SnapshotSlice::Nothing;
    for _ in 0..10_000 {
        match node.core.snapshot_slice(node.now, &mut Vec::new()) {
            SnapshotSlice::Nothing => break,
            slice => last = slice,
        }
        if last == SnapshotSlice::Last {
            node.core.snapshot_kept(node.now, Ok(()));
        }
    }
    last
}

#[test]
fn a_save_that_was_given_up_does_not_keep_the_next_one_from_its_end() {
    // With the pause a slice is one step: this host's clock stands still.
    let directives =
        [("save", ""), ("enable-debug-command", "yes"), ("rdb-key-save-delay", "1000")];
    let mut node = Node::new(&directives);
    let mut client = node.client();
    node.replies(&mut client, "DEBUG POPULATE 1000");
    node.replies(&mut client, "BGSAVE");
    assert_eq!(node.core.snapshot_begun(node.now), Some(SnapshotFor::File));
    let slice = node.core.snapshot_slice(node.now, &mut Vec::new());
    assert!(matches!(slice, SnapshotSlice::More(_)));
    node.replies(&mut client, "FLUSHALL");
    assert_eq!(walk(&mut node), SnapshotSlice::GivenUp);
    node.replies(&mut client, "BGSAVE");
    assert_eq!(node.core.snapshot_begun(node.now), Some(SnapshotFor::File));
    assert_eq!(walk(&mut node), SnapshotSlice::Last);
}

#[test]
fn a_writable_replica_looks_after_what_its_own_clients_have_written() {
    let mut node = Node::new(&[("replica-read-only", "no")]);
    let mut client = node.client();
    node.replies(&mut client, "SET the-primarys v PX 10");
    node.replies(&mut client, "REPLICAOF 127.0.0.1 1");
    node.replies(&mut client, "MSET a 1 b 2 c 3");
    node.replies(&mut client, "PEXPIRE a 10");
    node.replies(&mut client, "SET b 2 PX 10");
    node.replies(&mut client, "PEXPIRE c 10");
    node.replies(&mut client, "PEXPIRE c 1000");
    node.now = node.now.after(Duration::from_millis(11));
    node.core.handle_tick(node.now);
    assert_eq!(node.replies(&mut client, "DBSIZE"), ":2|", "c, and what the primary decides about");
    node.now = node.now.after(Duration::from_secs(1));
    node.core.handle_tick(node.now);
    assert_eq!(node.replies(&mut client, "DBSIZE"), ":1|");
    assert_eq!(node.core.server.replication.own_keys.len(), 0);
}

#[test]
fn whom_a_node_follows_is_a_parameter_that_it_keeps() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    let shown = |text: &str| format!("*2|$9|replicaof|${}|{text}|", text.len());
    assert_eq!(node.replies(&mut client, "CONFIG GET replicaof"), shown(""));
    node.replies(&mut client, "REPLICAOF 127.0.0.1 7001");
    assert_eq!(node.replies(&mut client, "CONFIG GET replicaof"), shown("127.0.0.1 7001"));
    node.replies(&mut client, "REPLICAOF NO ONE");
    assert_eq!(node.replies(&mut client, "CONFIG GET replicaof"), shown(""));
}

/// It is there until the primary says that it goes; but a client that writes it does not see it.
#[test]
fn a_key_that_a_replica_hides_can_be_written_anew() {
    let mut node = Node::new(&[("replica-read-only", "no")]);
    let mut client = node.client();
    for command in ["INCR k", "SET k v", "APPEND k v", "LPUSH k v", "MOVE other 1", "COPY o k"] {
        node.replies(&mut client, "FLUSHALL");
        node.replies(&mut client, "MSET o v other v");
        node.replies(&mut client, "SET k old PX 10");
        node.replies(&mut client, "SELECT 1\r\nSET other old PX 10\r\nSELECT 0");
        node.replies(&mut client, "REPLICAOF 127.0.0.1 1");
        node.now = node.now.after(Duration::from_millis(11));
        let reply = node.replies(&mut client, command);
        assert!(reply == ":1|" || reply == "+OK|", "{command}: {reply}");
        assert_eq!(
            node.replies(&mut client, "TTL k"),
            if command.contains('k') { ":-1|" } else { ":-2|" }
        );
        node.replies(&mut client, "REPLICAOF NO ONE");
    }
}
