//! A node of ours alone, as its process shows itself to whoever runs it.

use crate::support::{Server, wait_for};
use keyway::resp::Reply;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// Writes are held back, so the client that asks may go on.
#[test]
fn a_client_that_leaves_while_it_is_held_back_is_gone() {
    let node = Server::keyway_node(&[]);
    let mut asking = node.client();
    asking.ok(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let mut held = node.client();
    held.send_raw(b"SET k v\r\n");
    let mut clients = || asking.text(&["CLIENT", "LIST"]);
    wait_for("its bytes have been read", SOON, || clients().contains("qbuf=9"));
    drop(held);
    wait_for("one client is left", SOON, || clients().lines().count() == 1);
}

/// What is resident stays: what is used must not.
#[test]
fn deleting_makes_room_below_maxmemory() {
    let node = Server::keyway_node(&["--maxmemory", "64mb"]);
    let mut client = node.client();
    let value = vec![b'v'; 1024 * 1024];
    let mut stored = 0;
    let refusal = loop {
        let key = format!("k{stored}");
        match client.call(&[b"SET", key.as_bytes(), &value[..]]) {
            Reply::Simple(_) => stored += 1,
            other => break format!("{other:?}"),
        }
        assert!(stored < 70, "more than maxmemory is held");
    };
    assert!(refusal.contains("OOM command not allowed when used memory > 'maxmemory'."));
    assert!(stored > 50, "refused after {stored} MiB");
    for n in 0..stored {
        assert_eq!(client.integer(&["DEL", &format!("k{n}")]), 1);
    }
    wait_for("writes are let in again", SOON, || {
        matches!(client.call(&["SET", "k", "v"]), Reply::Simple(_))
    });
}

/// As in the operator's `ps -ef`: by the first address that it is bound to, or `*`.
#[test]
fn ps_shows_which_node_a_process_is() {
    for (bind, shown) in [("127.0.0.1", "127.0.0.1"), ("*", "*")] {
        let node = Server::keyway_node(&["--cluster-enabled", "yes", "--bind", bind]);
        let line = std::fs::read(format!("/proc/{}/cmdline", node.pid())).expect("it runs");
        let title = format!("keyway-node {shown}:{} [cluster]\0node\0", node.port());
        assert!(line.starts_with(title.as_bytes()), "{}", String::from_utf8_lossy(&line));
    }
}

/// It costs the megabyte that may wait and a reply; when it leaves, nothing is left of it.
#[test]
fn a_client_that_never_reads_is_bounded_and_its_end_is_noticed() {
    let mut node = Server::keyway_node(&[]);
    let mut asking = node.client();
    let value = vec![b'v'; 1024 * 1024];
    asking.ok(&[b"SET", &b"k"[..], &value]);
    let before = node.process().rss();
    let mut deaf = node.client();
    deaf.send_raw(&b"GET k\r\n".repeat(300));
    wait_for("replies wait", SOON, || {
        let list = asking.text(&["CLIENT", "LIST"]);
        list.lines().any(|line| !line.contains("omem=0 "))
    });
    let grown = node.process().rss().saturating_sub(before);
    assert!(grown <= 16 * 1024 * 1024, "{grown} bytes for one client that does not read");
    drop(deaf);
    wait_for("one client is left", SOON, || asking.text(&["CLIENT", "LIST"]).lines().count() == 1);
}
