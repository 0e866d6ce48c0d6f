//! A node of ours alone, as its process shows itself to whoever runs it.

use crate::support::{Client, Server, free_port, temporary_folder, wait_for};
use keyway::resp::Reply;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
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

#[test]
fn the_place_where_clients_connect_can_be_changed() {
    let node = Server::keyway_node(&[]);
    let other = Server::keyway_node(&[]);
    let mut client = node.client();
    let taken = other.port().to_string();
    let refused = "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen \
                   on this port. Check server logs.";
    let timeout = || node.client().call(&["CONFIG", "GET", "timeout"]);
    let before = timeout();
    let reply = client.call(&["CONFIG", "SET", "timeout", "77", "port", &taken]);
    assert_eq!(reply, Reply::Error(refused.into()));
    assert_eq!(timeout(), before, "nothing has changed");
    // The same port, on another address: its own socket is in the way, and goes.
    client.ok(&["CONFIG", "SET", "bind", "* -::*"]);
    assert_eq!(node.client().text(&["PING"]), "PONG");
    let port = free_port();
    client.ok(&["CONFIG", "SET", "port", &port.to_string()]);
    assert_eq!(Client::connect(port).text(&["PING"]), "PONG");
    assert!(Client::try_connect(node.port()).is_err(), "it does not listen there any more");
    assert_eq!(client.text(&["PING"]), "PONG", "who is connected stays");
}

#[test]
fn clients_of_the_machine_may_come_by_a_file() {
    let mut node = Server::keyway_node(&["--unixsocket", "node.sock", "--unixsocketperm", "700"]);
    let path = node.folder().join("node.sock");
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(b"PING\r\n").expect("sent");
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).expect("answered");
    assert_eq!(&reply, b"+PONG\r\n");
    let list = node.client().text(&["CLIENT", "LIST"]);
    assert!(list.lines().any(|line| line.contains(" flags=U ")), "{list}");
    node.terminate(SOON);
    assert!(!path.exists(), "the file goes with the node");
}

#[test]
fn files_go_where_dir_says_from_the_moment_it_is_changed() {
    let node = Server::keyway_node(&["--enable-protected-configs", "yes"]);
    let elsewhere = temporary_folder();
    let mut client = node.client();
    let missing = elsewhere.path().join("nope");
    let refused = "ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or \
                   directory";
    let reply = client.call(&["CONFIG", "SET", "dir", missing.to_str().expect("text")]);
    assert_eq!(reply, Reply::Error(refused.into()));
    let folder = elsewhere.path().to_str().expect("text");
    client.ok(&["CONFIG", "SET", "dir", folder, "dbfilename", "other.rdb"]);
    client.ok(&["SET", "k", "v"]);
    client.ok(&["SAVE"]);
    assert!(elsewhere.path().join("other.rdb").exists());
    assert!(!node.folder().join("other.rdb").exists());
}
