//! Where the originals are careless: what is refused, and how the tool ends.

use super::moves::{bad, good, slots_of};
use crate::support::{Cluster, Kind, Server, free_port, temporary_folder};
use keyway::resp::Reply;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the tool with these answers: what it printed, and its exit code.
fn answered(answers: &str, args: &[&str]) -> (String, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyway"))
        .arg("cluster")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    child.stdin.take().expect("it is piped").write_all(answers.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

fn fresh() -> Option<Server> {
    Server::node(Kind::Redis, &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])
}

#[test]
fn a_node_can_be_removed_the_moment_it_was_added_and_stays_away() {
    let Some(cluster) = Cluster::redis(3, 1) else { return };
    let Some(newcomer) = fresh() else { return };
    let (entry, address) = (cluster.seeds()[0].clone(), newcomer.address());
    let id = newcomer.client().text(&["CLUSTER", "MYID"]);
    good(&["add-node", &address, &entry]);
    for node in cluster.nodes() {
        let known = node.client().text(&["CLUSTER", "NODES"]);
        assert!(known.contains(&id), "{} knows the newcomer:\n{known}", node.port());
    }
    // Of two that have forgotten it already: that is what is wanted of them.
    for node in &cluster.nodes()[1..3] {
        node.client().ok(&["CLUSTER", "FORGET", &id]);
    }
    // Left running, it is the kind that could come back.
    good(&["del-node", "--reset", &entry, &id]);
    for node in cluster.nodes() {
        let known = node.client().text(&["CLUSTER", "NODES"]);
        assert!(!known.contains(&id), "{} forgot the newcomer:\n{known}", node.port());
    }
    good(&["check", &entry]);
}

#[test]
fn what_cannot_be_done_is_said_in_a_line_and_changes_nothing() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let Some(mut outsider) = fresh() else { return };
    let entry = cluster.seeds()[0].clone();
    let before = cluster.nodes()[0].client().text(&["CLUSTER", "INFO"]);
    let id = cluster.id(1);

    let text = bad(&["del-node", &entry, &id]);
    let told = format!(
        "[ERR] Node {} is not empty! Reshard data away and try again.\n",
        cluster.seeds()[1]
    );
    assert!(text.contains(&told), "{text}");
    let text = bad(&["del-node", &entry, &id[..12]]);
    assert!(text.contains(&format!("[ERR] No such node ID {}\n", &id[..12])), "{text}");
    assert!(text.contains(&format!("fix: give the whole id: {id}\n")), "{text}");
    let text = bad(&["add-node", "--slave", "--master-id", "abc", &outsider.address(), &entry]);
    assert!(text.ends_with("[ERR] No such master ID abc\n"), "{text}");
    let text = bad(&["add-node", &cluster.seeds()[1], &entry]);
    assert!(text.contains("is a member of this cluster already."), "{text}");
    let text =
        bad(&["reshard", "--to", "nobody", "--from", "all", "--slots", "1", "--yes", &entry]);
    assert!(text.ends_with("*** The specified node is not known or not a master, please retry.\n"));
    let text = bad(&["reshard", "--to", &id, "--from", &id, "--slots", "1", "--yes", &entry]);
    assert!(text.ends_with("*** Target node is also listed among the source nodes!\n"), "{text}");
    let text = bad(&["reshard", &entry]);
    assert!(text.ends_with("aborted, nothing was changed.\n"), "the end of input: {text}");
    let nobody = format!("127.0.0.1:{}", free_port());
    let text = bad(&["check", &nobody]);
    assert_eq!(text, format!("[ERR] Sorry, can't connect to node {nobody}\n"));
    let text = bad(&["check", "nowhere"]);
    assert_eq!(text, "Invalid IP or Port (given as nowhere) - use IP:Port format\n");

    let text = bad(&["check", "--tls", "--cacert", "ca.crt", &entry]);
    assert!(text.starts_with("[ERR] Option '--tls': this tool does not speak TLS."), "{text}");
    let text = bad(&["reshard", "--to", &id, "--from", "abc", "--slots", "1", "--yes", &entry]);
    let told = "*** The specified node is not known or is not a master, please retry.\n";
    assert!(text.ends_with(told), "{text}");

    // A node of another cluster, and one with keys.
    outsider.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let text = bad(&["add-node", &outsider.address(), &entry]);
    let told =
        format!("[ERR] Node {} is not empty. Either the node already knows", outsider.address());
    assert!(text.contains(&told), "{text}");
    outsider.kill();
    let Some(standalone) = Server::redis(&[]) else { return };
    let text = bad(&["add-node", &standalone.address(), &entry]);
    let told =
        format!("[ERR] Node {} is not configured as a cluster node.\n", standalone.address());
    assert!(text.ends_with(&told), "{text}");

    let strip = |info: &str| info.lines().take(7).collect::<Vec<_>>().join("\n");
    let after = cluster.nodes()[0].client().text(&["CLUSTER", "INFO"]);
    assert_eq!(strip(&after), strip(&before));
    good(&["check", &entry]);
}

#[test]
fn a_dry_run_shows_the_plan_as_json_and_changes_nothing() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let (entry, to) = (cluster.seeds()[0].clone(), cluster.id(2));
    let args = ["reshard", "--from", "all", "--to", &to, "--slots", "10", "--dry-run", "--json"];
    let text = good(&[&args[..], &[&entry]].concat());
    let document: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    assert_eq!(document["ok"], true);
    assert_eq!(document["plan"].as_array().map(Vec::len), Some(10));
    assert_eq!(document["plan"][0]["to"], to.as_str());
    let before = 16_384 - 2 * 16_384 / 3;
    assert_eq!(slots_of(&cluster, 2), before);
}

/// Those that change every node at once, too.
#[test]
fn a_dry_run_of_every_command_changes_nothing() {
    let Some(cluster) = Cluster::redis(3, 1) else { return };
    let Some(newcomer) = fresh() else { return };
    let (entry, id) = (cluster.seeds()[0].clone(), cluster.id(3));
    let belief = || {
        let text = cluster.nodes()[0].client().text(&["CLUSTER", "NODES"]);
        let line = |line: &str| {
            line.split(' ')
                .enumerate()
                .filter(|(n, _)| ![4, 5].contains(n))
                .map(|(_, word)| word.to_owned())
                .collect::<Vec<_>>()
        };
        let mut lines: Vec<Vec<String>> = text.lines().map(line).collect();
        lines.sort();
        let timeout = cluster.nodes()[0].client().call(&["CONFIG", "GET", "cluster-node-timeout"]);
        let keys = cluster.nodes()[0].client().integer(&["DBSIZE"]);
        (lines, timeout, keys)
    };
    let key = cluster.key_of(0, "k");
    cluster.nodes()[0].client().ok(&["SET", &key, "v"]);
    let before = belief();
    for (args, told) in [
        (
            vec!["set-timeout", "--dry-run", &entry, "4321"],
            " is sent CONFIG SET cluster-node-timeout 4321\n",
        ),
        (vec!["call", "--dry-run", &entry, "flushall"], " is sent FLUSHALL\n"),
        (vec!["del-node", "--dry-run", &entry, &id], " is shut down\n"),
        (vec!["del-node", "--dry-run", "--reset", &entry, &id], " is reset\n"),
        (vec!["add-node", "--dry-run", &newcomer.address(), &entry], " meets "),
        (
            vec!["rebalance", "--simulate", "--weight", &format!("{}=0", cluster.id(1)), &entry],
            "Moving ",
        ),
    ] {
        let text = good(&args);
        assert!(text.contains(told), "{args:?}:\n{text}");
        assert!(text.ends_with("*** Dry run: nothing was changed.\n"), "{text}");
        assert_eq!(belief(), before, "{args:?}");
    }
    assert!(newcomer.client().text(&["CLUSTER", "INFO"]).contains("cluster_known_nodes:1"));
}

/// Of a cluster to be: nobody answers, or somebody says no.
#[test]
fn a_cluster_that_is_not_accepted_is_not_made() {
    let nodes: Option<Vec<Server>> = (0..3).map(|_| fresh()).collect();
    let Some(nodes) = nodes else { return };
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let create: Vec<&str> =
        ["create"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    let text = bad(&create);
    assert!(text.ends_with("\n*** End of input: aborted, nothing was changed.\n"), "{text}");
    let (text, code) = answered("no\n", &create);
    assert!(text.ends_with("(type 'yes' to accept): *** Aborting...\n"), "{text}");
    assert_eq!(code, Some(1));
    for node in &nodes {
        let info = node.client().text(&["CLUSTER", "INFO"]);
        assert!(
            info.contains("cluster_known_nodes:1") && info.contains("cluster_slots_assigned:0")
        );
    }
    let (text, code) = answered("YES\n", &create);
    assert_eq!(code, Some(0), "{text}");
}

/// The answers that are wrong are asked for again, in redis-trib's words, until the input ends.
#[test]
fn wrong_answers_are_asked_for_again() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let (entry, id, other) = (cluster.seeds()[0].clone(), cluster.id(0), cluster.id(1));
    let start = &id[..10];
    let answers =
        format!("many\n0\n10\nnobody\n{start}\n{id}\nnobody\n{id}\n{other}\n{other}\ndone\nno\n");
    let (text, code) = answered(&answers, &["reshard", &entry]);
    assert_eq!(code, Some(1), "{text}");
    let count = |words: &str| text.matches(words).count();
    assert_eq!(count("How many slots do you want to move (from 1 to 16384)? "), 3, "{text}");
    assert_eq!(count("What is the receiving node ID? "), 3, "{text}");
    let unknown = "*** The specified node is not known or not a master, please retry.\n";
    assert_eq!(count(unknown), 2, "{text}");
    assert_eq!(count(&format!("    fix: give the whole id: {id}\n")), 1, "{text}");
    let unknown = "*** The specified node is not known or is not a master, please retry.\n";
    assert_eq!(count(unknown), 1, "{text}");
    let target = "*** It is not possible to use the target node as source node.\n";
    assert_eq!(count(target), 1, "{text}");
    assert_eq!(count("Source node #1:"), 3, "{text}");
    assert_eq!(count("Source node #2:"), 2, "{text}");
    assert!(text.contains("\nReady to move 10 slots.\n"), "{text}");
    assert_eq!(slots_of(&cluster, 0), 5461, "nothing was accepted");
    good(&["check", &entry]);
}

#[test]
fn a_cluster_with_a_password_is_resharded_with_it_alone() {
    let nodes: Option<Vec<Server>> = (0..4)
        .map(|_| {
            // The harness itself has no password: it sets one when the server is up.
            let server = fresh()?;
            server.client().ok(&["CONFIG", "SET", "masterauth", "s3cret"]);
            server.client().ok(&["CONFIG", "SET", "requirepass", "s3cret"]);
            Some(server)
        })
        .collect();
    let Some(nodes) = nodes else { return };
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let text = bad(&[&["create", "--yes"], &all[..3]].concat());
    assert!(text.contains("NOAUTH"), "{text}");
    good(&[&["create", "--yes", "--pass", "s3cret"], &all[..3]].concat());
    good(&["add-node", "-a", "s3cret", all[3], all[0]]);
    let mut client = nodes[0].client();
    client.ok(&["AUTH", "s3cret"]);
    for n in 0..2_000 {
        let reply = client.call(&["SET", &format!("k{n}"), "v"]);
        assert!(
            reply == Reply::simple("OK")
                || reply.as_error().is_some_and(|e| e.starts_with(b"MOVED"))
        );
    }
    let keys = client.integer(&["DBSIZE"]);
    let mut target = nodes[3].client();
    target.ok(&["AUTH", "s3cret"]);
    let id = target.text(&["CLUSTER", "MYID"]);
    let args = ["reshard", "--cluster-from", "all", "--cluster-to", &id, "--cluster-slots", "3000"];
    good(
        &[&args[..], &["--cluster-yes", "--user", "default", "--pass", "s3cret", all[0]]].concat(),
    );
    assert!(client.integer(&["DBSIZE"]) < keys);
    assert_eq!(client.integer(&["DBSIZE"]) + target.integer(&["DBSIZE"]), keys);
}

#[test]
fn import_moves_a_servers_keys_and_backup_saves_them() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let Some(source) = Server::redis(&[]) else { return };
    let (entry, from) = (cluster.seeds()[0].clone(), source.address());
    let mut client = source.client();
    for n in 0..500 {
        client.ok(&["SET", &format!("k{n}"), &n.to_string()]);
    }
    let taken = cluster.owner("k7");
    cluster.nodes()[taken].client().ok(&["SET", "k7", "the cluster's"]);
    let text = bad(&["import", "--from", &from, &entry]);
    assert_eq!(text.matches(": OK\n").count(), 499);
    assert!(text.ends_with("[ERR] 1 keys were not imported.\n"), "{text}");
    assert_eq!(client.integer(&["DBSIZE"]), 1, "it is still where it was");
    good(&["import", "--from", &from, "--copy", "--replace", &entry]);
    assert_eq!(cluster.nodes()[taken].client().text(&["GET", "k7"]), "7");
    assert_eq!(client.integer(&["DBSIZE"]), 1);

    let folder = temporary_folder();
    let text = good(&["backup", &entry, folder.path().to_str().expect("text")]);
    assert!(text.contains("[OK] Backup created into: "), "{text}");
    let mut keys = 0;
    for file in std::fs::read_dir(folder.path()).expect("the folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|e| e == "rdb") {
            let mut check = Command::new("redis-check-rdb");
            let output = check.arg(&path).stdin(Stdio::null()).output();
            let Ok(output) = output else { return };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let count = text.split("[info] ").find_map(|part| part.split_once(" keys read"));
            keys +=
                count.and_then(|(n, _)| n.parse::<u64>().ok()).unwrap_or_else(|| panic!("{text}"));
        }
    }
    assert_eq!(keys, 500);
}

#[test]
fn the_same_goes_to_every_node() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let entry = cluster.seeds()[0].clone();
    let text = good(&["call", &entry, "ping"]);
    assert!(text.starts_with(">>> Calling PING\n"), "{text}");
    for address in cluster.seeds() {
        assert!(text.contains(&format!("\n{address}: PONG\n")), "{text}");
    }
    let text = bad(&["call", &entry, "nonsense"]);
    assert_eq!(text.matches("ERR unknown command").count(), 3, "{text}");
    let text = good(&["set-timeout", &entry, "4321"]);
    assert!(text.ends_with(">>> New node timeout set. 3 OK, 0 ERR.\n"), "{text}");
    for node in cluster.nodes() {
        let reply = node.client().call(&["CONFIG", "GET", "cluster-node-timeout"]);
        assert_eq!(reply.as_array().and_then(|r| r[1].as_str()), Some("4321"));
    }
    bad(&["set-timeout", &entry, "99"]);
}
