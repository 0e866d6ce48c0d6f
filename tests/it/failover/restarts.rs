//! A primary that is killed and is back before anybody has missed it, with less than its replica has:
//! that one takes its place, and nothing that it had is lost.

use super::{SOON, assert_has, await_copied, is_primary, write};
use crate::support::{Cluster, Kind, wait_for};

/// Whether the primary of such nodes, once it has this on disk, leaves its place.
fn comes_back(directives: &[&str], saves: bool, guard: Option<&str>) {
    let all = Cluster::mixed_with(&[Kind::Keyway; 3], &[Kind::Keyway], directives);
    let Some(mut cluster) = all else { return };
    let early = write(&cluster, 0, 0, "early", 20);
    if saves {
        cluster.nodes()[0].client().ok(&["SAVE"]);
    }
    let late = write(&cluster, 0, 0, "late", 20);
    await_copied(&cluster, 0, 3);
    cluster.node_mut(0).kill();
    // While it keeps silent it answers LOADING, and so this takes as long as its silence.
    cluster.node_mut(0).restart();
    let silence = "waiting up to 9s for it to take over";
    let said = cluster.nodes()[0].log();
    match guard {
        Some(directive) => {
            assert!(said.contains(&format!("{silence} ({directive})")), "{said}");
            wait_for("a promotion", SOON, || is_primary(&cluster, 3));
        }
        None => assert!(!said.contains(silence), "{said}"),
    }
    cluster.await_agreement();
    cluster.await_replicas_online();
    assert_eq!(is_primary(&cluster, 3), guard.is_some(), "{directives:?}");
    for node in [0, 3] {
        wait_for("all of it on both", SOON, || {
            let mut client = cluster.nodes()[node].client();
            client.ok(&["READONLY"]);
            let there = |key: &String| {
                client.call(&["GET", key]).as_str() == Some(&*format!("value of {key}"))
            };
            early.iter().chain(&late).all(there)
        });
    }
}

#[test]
fn a_primary_that_is_back_with_older_data_leaves_its_place_to_its_replica() {
    comes_back(&["--save", ""], true, Some("cluster-stale-restart-guard"));
}

#[test]
fn a_primary_that_is_back_without_data_leaves_its_place_to_its_replica() {
    comes_back(&["--save", ""], false, Some("cluster-empty-restart-guard"));
}

/// A kill loses nothing that was written: what is in the append-only file is all there was.
#[test]
fn a_primary_that_is_back_with_all_of_its_data_keeps_its_place() {
    comes_back(&["--appendonly", "yes"], false, None);
}

/// Nor does an orderly end that has saved.
#[test]
fn a_primary_that_ended_in_order_keeps_its_place() {
    let all = Cluster::mixed_with(&[Kind::Keyway; 3], &[Kind::Keyway], &["--save", "3600 100000"]);
    let Some(mut cluster) = all else { return };
    let keys = write(&cluster, 0, 0, "kept", 20);
    await_copied(&cluster, 0, 3);
    let note = cluster.nodes()[0].folder().join("nodes.conf.running");
    assert!(note.exists(), "it runs");
    let ended = cluster.node_mut(0).terminate(SOON).expect("it ends");
    assert!(ended.success() && !note.exists(), "{ended}");
    cluster.node_mut(0).restart();
    assert!(!cluster.nodes()[0].log().contains("for it to take over"));
    cluster.await_agreement();
    let holder = if is_primary(&cluster, 0) { 0 } else { 3 };
    assert_has(&cluster, holder, &keys);
}
