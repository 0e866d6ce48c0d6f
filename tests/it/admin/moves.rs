//! Slots on the move between real nodes: nothing lost, nothing doubled, whatever happens.

use crate::support::{Cluster, Kind, eventually, temporary_folder, wait_for};
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Keys of a test: some slots have several, some none.
const KEYS: usize = 20_000;

/// Where runs of the tool leave word of what they began: not in the home of who runs the tests. Each test has
/// its own, which goes with the test's thread.
pub(super) fn state() -> PathBuf {
    thread_local!(static STATE: tempfile::TempDir = temporary_folder());
    STATE.with(|folder| folder.path().to_owned())
}

pub(super) fn tool(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyway"))
        .arg("cluster")
        .env("XDG_STATE_HOME", state())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the tool runs")
}

/// Runs the tool, which must end well; what it printed.
pub(super) fn good(args: &[&str]) -> String {
    let output = tool(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}:\n{text}");
    text
}

/// Runs the tool, which must end with 1; what it printed.
pub(super) fn bad(args: &[&str]) -> String {
    let output = tool(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}:\n{text}");
    text
}

fn key(n: usize) -> String {
    format!("key:{n}")
}

pub(super) fn fill(cluster: &Cluster) {
    let mut commands: Vec<Vec<Vec<String>>> = vec![Vec::new(); cluster.primaries()];
    for n in 0..KEYS {
        let owner = Slot::of(key(n).as_bytes()).index() * cluster.primaries() / Slot::COUNT;
        commands[owner].push(vec!["SET".into(), key(n), format!("value {n}")]);
    }
    for (node, commands) in cluster.nodes().iter().zip(commands) {
        for reply in node.client().pipeline(&commands) {
            // The arithmetic above may be off by one slot at a border.
            assert!(reply == Reply::simple("OK") || is_moved(&reply), "{reply:?}");
        }
    }
}

fn is_moved(reply: &Reply) -> bool {
    reply.as_error().is_some_and(|text| text.starts_with(b"MOVED"))
}

/// Every key of these primaries, each with its value, and none on two of them.
pub(super) fn keys_of(cluster: &Cluster, primaries: &[usize]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for primary in primaries {
        let mut client = cluster.nodes()[*primary].client();
        let reply = client.call(&["KEYS", "*"]);
        let keys: Vec<String> = reply
            .as_array()
            .expect("an array")
            .iter()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect();
        let gets: Vec<Vec<String>> = keys.iter().map(|k| vec!["GET".into(), k.clone()]).collect();
        for (key, value) in keys.iter().zip(client.pipeline(&gets)) {
            let number = key.strip_prefix("key:").expect("a key of ours");
            assert_eq!(value.as_str(), Some(format!("value {number}").as_str()), "{key}");
            assert!(all.insert(key.clone()), "{key} is on two nodes");
        }
    }
    all
}

pub(super) fn slots_of(cluster: &Cluster, node: usize) -> usize {
    let id = cluster.id(node);
    let text = cluster.nodes()[node].client().text(&["CLUSTER", "NODES"]);
    let line = text.lines().find(|line| line.starts_with(&id)).expect("its own line");
    line.split_whitespace()
        .skip(8)
        .filter(|word| !word.starts_with('['))
        .map(|word| match word.split_once('-') {
            Some((a, b)) => {
                b.parse::<usize>().expect("a slot") - a.parse::<usize>().expect("a slot") + 1
            }
            None => 1,
        })
        .sum()
}

fn a_reshard_loses_no_key(kind: Kind) {
    let Some(cluster) = Cluster::of(&[kind; 4], 0, &[]) else { return };
    fill(&cluster);
    let before = keys_of(&cluster, &[0, 1, 2, 3]);
    let (entry, to) = (cluster.seeds()[0].clone(), cluster.id(3));
    let args = ["reshard", "--from", "all", "--to", &to, "--slots", "4096", "--yes", &entry];
    let text = good(&args);
    assert_eq!(text.matches("\nMoving slot ").count(), 4096, "a line per slot");
    assert_eq!(slots_of(&cluster, 3), 4096 + 4096);
    assert_eq!(keys_of(&cluster, &[0, 1, 2, 3]), before);
    good(&["check", &entry]);

    // redis-cli's spelling of the way back, and the plan alone first.
    let args = ["rebalance", &entry, "--cluster-simulate"];
    let plan = good(&args);
    assert!(plan.contains(">>> Rebalancing across 4 nodes. Total weight = 4\n"), "{plan}");
    assert_eq!(slots_of(&cluster, 3), 8192, "a simulation changes nothing");
    good(&["rebalance", &entry, "--cluster-threshold", "1"]);
    assert_eq!(slots_of(&cluster, 3), 4096);
    assert_eq!(keys_of(&cluster, &[0, 1, 2, 3]), before);
    let again = good(&["rebalance", &entry]);
    let told = "*** No rebalancing needed! All nodes are within the 2.0% threshold.\n";
    assert!(again.ends_with(told), "{again}");
}

#[test]
fn a_reshard_of_redis_nodes_loses_no_key() {
    a_reshard_loses_no_key(Kind::Redis);
}

#[test]
fn a_reshard_of_valkey_nodes_loses_no_key() {
    a_reshard_loses_no_key(Kind::Valkey);
}

pub(super) fn start_reshard(cluster: &Cluster, to: usize, slots: &str, log: Stdio) -> Child {
    let (entry, to) = (cluster.seeds()[0].clone(), cluster.id(to));
    Command::new(env!("CARGO_BIN_EXE_keyway"))
        .args(["cluster", "reshard", "--from", "all", "--to", &to, "--slots", slots, "--yes"])
        // Small batches: more moments to be killed in.
        .args(["--pipeline", "1", &entry])
        .env("XDG_STATE_HOME", state())
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
        .expect("the tool runs")
}

#[test]
fn a_tool_that_was_killed_in_the_middle_leaves_nothing_that_fix_cannot_finish() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    fill(&cluster);
    let before = keys_of(&cluster, &[0, 1, 2]);
    let entry = cluster.seeds()[1].clone();
    let at_start = slots_of(&cluster, 2);
    for round in 1..=3u64 {
        let moved = slots_of(&cluster, 2);
        let mut reshard = start_reshard(&cluster, 2, "2000", Stdio::null());
        wait_for("slots move", Duration::from_secs(20), || slots_of(&cluster, 2) > moved);
        // A different moment in each round.
        let _ = eventually(Duration::from_millis(17 * round), || None::<()>);
        reshard.kill().expect("it is ours");
        reshard.wait().expect("it ends");
        let text = good(&["fix", &entry]);
        assert!(text.ends_with("[OK] All 16384 slots covered.\n"), "round {round}:\n{text}");
        assert_eq!(keys_of(&cluster, &[0, 1, 2]), before, "round {round}");
        good(&["check", &entry]);
    }
    assert!(slots_of(&cluster, 2) > at_start);
}

#[test]
fn the_same_command_again_finishes_what_a_killed_one_began() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    fill(&cluster);
    let before = keys_of(&cluster, &[0, 1, 2]);
    let (entry, to) = (cluster.seeds()[0].clone(), cluster.id(2));
    let at_start = slots_of(&cluster, 2);
    let mut reshard = start_reshard(&cluster, 2, "3000", Stdio::null());
    wait_for("slots move", Duration::from_secs(20), || slots_of(&cluster, 2) > at_start);
    reshard.kill().expect("it is ours");
    reshard.wait().expect("it ends");
    let args = ["reshard", "--from", "all", "--to", &to, "--slots", "3000", "--yes", &entry];
    // Who owned a slot last may still be news to its source.
    let mut text = String::new();
    let again = eventually(Duration::from_secs(10), || {
        let output = tool(&args);
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(())
    });
    assert!(again.is_some(), "it goes on:\n{text}");
    assert!(text.contains(">>> Going on with a reshard that was stopped: "), "{text}");
    assert_eq!(slots_of(&cluster, 2), at_start + 3000, "as many as asked for, not more");
    good(&["check", &entry]);
    assert_eq!(keys_of(&cluster, &[0, 1, 2]), before);
}

#[test]
fn an_interrupt_finishes_what_was_begun_and_leaves_nothing_open() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    fill(&cluster);
    let before = keys_of(&cluster, &[0, 1, 2]);
    let entry = cluster.seeds()[0].clone();
    let at_start = slots_of(&cluster, 2);
    let mut reshard = start_reshard(&cluster, 2, "8000", Stdio::null());
    wait_for("slots move", Duration::from_secs(20), || slots_of(&cluster, 2) > at_start);
    let pid = rustix::process::Pid::from_child(&reshard);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is ours");
    assert_eq!(reshard.wait().expect("it ends").code(), Some(1));
    let moved = slots_of(&cluster, 2) - at_start;
    assert!(moved > 0 && moved < 8000, "{moved} slots moved");
    wait_for("nothing is open", Duration::from_secs(10), || {
        tool(&["check", &entry]).status.success()
    });
    assert_eq!(keys_of(&cluster, &[0, 1, 2]), before);
}

#[test]
fn fix_covers_slots_and_brings_their_keys_to_one_owner() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    fill(&cluster);
    let before = keys_of(&cluster, &[0, 1, 2]);
    let entry = cluster.seeds()[0].clone();
    // Slot 0 is nobody's, and its keys are still on the first node.
    for node in cluster.nodes() {
        node.client().ok(&["CLUSTER", "DELSLOTS", "0"]);
    }
    let text = bad(&["check", &entry]);
    assert!(text.contains("[ERR] Not all 16384 slots are covered by nodes.\n"), "{text}");
    assert!(text.contains(&format!("\n    fix: keyway cluster fix {entry}\n")), "{text}");
    let asked = bad(&["fix", &entry]);
    assert!(asked.contains("aborted, nothing was changed"), "nobody answered: {asked}");
    good(&["fix", "--yes", &entry]);
    assert_eq!(keys_of(&cluster, &[0, 1, 2]), before);

    // One end of a move only, as after a destination that was reset.
    let (mut source, other) = (cluster.nodes()[0].client(), cluster.id(1));
    source.ok(&["CLUSTER", "SETSLOT", "5", "MIGRATING", &other]);
    let text = bad(&["check", &entry]);
    let told = format!("[WARNING] Node {entry} has slots in migrating state (5).\n");
    assert!(text.contains(&told), "{text}");
    let refused = bad(&["reshard", &entry]);
    assert!(refused.contains("*** Please fix your cluster problems before resharding\n"));
    good(&["fix", &entry]);
    good(&["check", &entry]);
    assert_eq!(keys_of(&cluster, &[0, 1, 2]), before);
}

#[test]
fn slots_of_a_primary_that_does_not_answer_are_not_given_away_unasked() {
    let Some(mut cluster) = Cluster::redis(3, 0) else { return };
    let entry = cluster.seeds()[0].clone();
    cluster.node_mut(2).kill();
    wait_for("the loss is seen", Duration::from_secs(20), || {
        !tool(&["check", &entry]).status.success()
    });
    let text = bad(&["fix", "--yes", &entry]);
    assert!(
        text.contains("which does not answer: its keys are lost if others take them."),
        "{text}"
    );
    let asked = bad(&["fix", "--fix-with-unreachable-masters", &entry]);
    assert!(asked.contains("(type 'yes' to accept): "), "{asked}");
    good(&["fix", "--yes", "--cluster-fix-with-unreachable-masters", &entry]);
    let text = tool(&["check", &entry]).stdout;
    assert!(String::from_utf8_lossy(&text).contains("[OK] All 16384 slots covered.\n"));
}
