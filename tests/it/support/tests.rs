//! The harness's own promises, kept on stock servers.

use super::{Client, Cluster, Process, Server, wait_for};
use keyway::resp::Reply;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_server_answers_and_is_gone_when_dropped() {
    let Some(server) = Server::redis(&[]) else { return };
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    assert_eq!(client.call(&["GET", "key"]), Reply::bulk("value"));
    let (pid, port) = (server.pid(), server.port());
    drop(server);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(Client::try_connect(port).is_err());
}

#[test]
fn a_killed_server_starts_again_where_it_was() {
    let Some(mut server) = Server::redis(&[]) else { return };
    let (port, pid) = (server.port(), server.pid());
    server.kill();
    server.restart();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    server.assert_well("its restart");
}

#[test]
fn servers_that_start_at_once_get_ports_of_their_own() {
    let starts: Vec<_> = (0..4).map(|_| std::thread::spawn(|| Server::redis(&[]))).collect();
    let servers: Vec<Option<Server>> =
        starts.into_iter().map(|start| start.join().expect("it starts")).collect();
    for (number, server) in servers.iter().flatten().enumerate() {
        server.client().ok(&["SET", "number", &number.to_string()]);
    }
    for (number, server) in servers.iter().flatten().enumerate() {
        assert_eq!(server.client().text(&["GET", "number"]), number.to_string());
    }
}

#[test]
fn a_child_does_not_outlive_the_thread_that_asked_for_it_only_its_handle() {
    let mut command = Command::new("sleep");
    command.arg("60");
    let mut child = std::thread::spawn(move || Process::start(command))
        .join()
        .expect("the thread ends")
        .expect("sleep starts");
    assert!(child.is_alive(), "a child is tied to the process, not to a test's thread");
    let pid = child.pid();
    drop(child);
    wait_for("it is gone", Duration::from_secs(5), || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

#[test]
fn a_cluster_is_handed_out_when_all_its_nodes_agree() {
    let Some(cluster) = Cluster::redis(3, 1) else { return };
    for primary in 0..cluster.primaries() {
        let key = cluster.key_of(primary, "key");
        cluster.nodes()[primary].client().ok(&["SET", &key, "value"]);
        let other = cluster.nodes()[(primary + 1) % 3].client().call(&["GET", &key]);
        let moved = String::from_utf8_lossy(other.as_error().expect("MOVED")).into_owned();
        assert!(moved.ends_with(&cluster.nodes()[primary].address()), "{moved}");
    }
}

#[test]
fn a_valkey_cluster_forms_too() {
    let Some(cluster) = Cluster::valkey(3, 0) else { return };
    let info = cluster.nodes()[2].client().text(&["CLUSTER", "INFO"]);
    assert!(info.contains("cluster_slots_assigned:16384"), "{info}");
}
