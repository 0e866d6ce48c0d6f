//! The tool as a person sees it, on a terminal; and under the names that people know.

use super::moves::{state, tool};
use crate::support::{Cluster, Kind, Server, Terminal, temporary_folder};
use std::process::{Command, Stdio};

fn cluster_tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway"));
    command.arg("cluster").args(args).env("XDG_STATE_HOME", state()).env_remove("REDISCLI_AUTH");
    command
}

/// What a terminal shows of a text that writes over its last line.
fn lines(screen: &str) -> Vec<&str> {
    screen.split("\r\n").collect()
}

#[test]
fn on_a_terminal_a_move_is_one_line_that_is_written_over() {
    let cluster = Cluster::of(&[Kind::Keyway; 3], 0, &[]).expect("our own binary is there");
    let (entry, to) = (cluster.seeds()[0].clone(), cluster.id(2));
    let args = ["reshard", "--from", "all", "--to", &to, "--slots", "200", &entry];
    let mut terminal = Terminal::start(cluster_tool(&args));
    terminal.await_text("(yes/no)? ");
    terminal.type_line("yes");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("\x1b[29;1m>>> Performing Cluster Check"), "{screen}");
    assert!(screen.contains("\x1b[32m[OK] All 16384 slots covered.\x1b[0m\r\n"), "{screen}");
    let lines = lines(&screen);
    let bar = lines.iter().rev().find(|line| line.contains(" slots, ")).expect("a line of figures");
    let last = bar.rsplit('\r').next().unwrap_or_default();
    assert!(last.contains("200/200 slots, 0 keys, "), "{last:?}");
    assert!(last.contains("##] ") && last.contains(" 0 s left"), "{last:?}");
    for written in bar.split('\r') {
        assert!(written.trim_end_matches("\x1b[K").len() < 80, "it would wrap: {written:?}");
    }
    let logged = |line: &&&str| line.starts_with("Moving slot ") && line.contains(" to ");
    assert_eq!(lines.iter().filter(logged).count(), 0, "no line per slot");

    // The same run again with nobody watching: a line per slot, and no colours.
    let log =
        tool(&["reshard", "--from", &to, "--to", &cluster.id(0), "--slots", "9", "--yes", &entry]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert_eq!(log.lines().filter(|line| line.starts_with("Moving slot ")).count(), 9, "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}

#[test]
fn colours_are_not_for_those_who_decline_them() {
    let cluster = Cluster::keyway(3);
    let mut terminal = Terminal::start(cluster_tool(&["check", &cluster.seeds()[0]]));
    assert!(terminal.end().1.contains("\x1b[32m[OK]"));
    // The harness takes NO_COLOR out of the environment: `env` puts it back.
    let mut command = Command::new("env");
    command.args(["NO_COLOR=1", env!("CARGO_BIN_EXE_keyway"), "cluster", "check"]);
    command.arg(&cluster.seeds()[0]);
    let (code, screen) = Terminal::start(command).end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("\x1b[3"), "{screen}");
}

#[test]
fn a_password_that_is_asked_for_is_not_shown() {
    let node = Server::keyway_node(&["--cluster-enabled", "yes"]);
    node.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    node.client().ok(&["CONFIG", "SET", "requirepass", "s3cret"]);
    for (typed, code) in [("s3cret", 0), ("wrong", 1)] {
        let mut terminal = Terminal::start(cluster_tool(&["check", "--askpass", &node.address()]));
        terminal.await_text("Please input a password: ");
        assert!(!terminal.echoes(), "what is typed from here on is hidden");
        terminal.type_line(typed);
        let (ended, screen) = terminal.end();
        assert_eq!(ended, Some(code), "{screen}");
        assert!(!screen.contains(typed), "{screen}");
        assert!(terminal.echoes(), "the terminal is as it was");
        let refused = screen.contains("WRONGPASS");
        assert_eq!(refused, code == 1, "{screen}");
    }
    // The question is not part of a document, and an answer may come through a pipe.
    let mut command = cluster_tool(&["check", "--askpass", "--json", &node.address()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool starts");
    let mut input = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut input, b"s3cret\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["ok"], true);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "Please input a password: ");
}

#[test]
fn a_link_with_redis_tribs_name_is_the_tool() {
    let node = Server::keyway_node(&["--cluster-enabled", "yes"]);
    node.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let folder = temporary_folder();
    for name in ["redis-trib", "redis-trib.rb"] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_keyway"), &link).expect("a link");
        let run = |args: &[&str]| {
            let output = Command::new(&link).args(args).stdin(Stdio::null()).output();
            let output = output.expect("it starts");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, text) = run(&["check", &node.address()]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with(">>> Performing Cluster Check (using node "), "{text}");
        let (code, text) = run(&["create", "--replicas", "1", &node.address()]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("is not empty. Either the node already knows"), "{text}");
        assert_eq!(run(&["help"]).0, Some(0));
        let (code, text) = run(&[]);
        assert_eq!(code, Some(1));
        assert!(text.starts_with("Usage: "), "{text}");
        let (code, text) = run(&["foo"]);
        assert_eq!((code, text.as_str()), (Some(1), "Unknown redis-trib subcommand 'foo'\n"));
    }
}
