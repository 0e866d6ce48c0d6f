//! Whoever reads what a process prints may leave: `keyway proxy 2>&1 | head`.

use crate::support::{Client, Process, Server, free_port, wait_for};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// Starts `keyway` with these arguments, waits until it answers, and stops reading what it prints.
fn start_unread(port: u16, words: &[&str]) -> Process {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway"));
    command.args(words).stderr(writer.try_clone().expect("the same pipe")).stdout(writer);
    let process = Process::start(command).expect("it starts");
    wait_for("an answer", SOON, || Client::try_connect(port).is_ok());
    drop(reader);
    process
}

#[test]
fn a_node_whose_log_nobody_reads_any_more_goes_on() {
    let folder = crate::support::temporary_folder();
    let port = free_port();
    let (number, folder) = (port.to_string(), folder.path().display().to_string());
    let mut node = start_unread(port, &["node", "--port", &number, "--dir", &folder, "--save", ""]);
    let mut client = Client::connect(port);
    // It logs that.
    client.call(&["BGSAVE"]);
    client.ok(&["SET", "k", "v"]);
    client.call(&["BGSAVE"]);
    assert_eq!(client.text(&["GET", "k"]), "v");
    assert!(node.is_alive());
}

#[test]
fn a_proxy_whose_log_nobody_reads_any_more_goes_on() {
    let mut server = Server::keyway_node(&["--cluster-enabled", "yes"]);
    server.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    wait_for("the cluster", SOON, || {
        server.client().text(&["CLUSTER", "INFO"]).contains("state:ok")
    });
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let seed = server.address();
    let mut proxy =
        start_unread(port, &["proxy", &seed, "--listen", &listen, "--http", "127.0.0.1:0"]);
    let mut client = Client::connect(port);
    wait_for("a value", SOON, || client.call(&["SET", "k", "v"]).as_error().is_none());
    // It logs that it has lost its node, and that it is back.
    for _ in 0..2 {
        server.kill();
        server.restart();
        wait_for("the node to be back", SOON, || {
            Client::try_connect(port)
                .is_ok_and(|mut client| client.call(&["GET", "k"]).as_error().is_none())
        });
    }
    assert!(proxy.is_alive());
}
