//! Replicas that are stopped and started again: what they have on disk is what they had.

use super::{Kind, await_catch_up, await_link, digest, fill, follow, server};
use crate::support::{Fault, Relay, Server, wait_for};

const LOGS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Waits until the append-only file begins with the data that the last copy brought.
fn await_rewrite(replica: &Server) {
    wait_for("the append-only file is rewritten", super::SOON, || {
        replica.info("aof_enabled") == "1"
            && replica.info("aof_rewrite_in_progress") == "0"
            && replica.info("aof_rewrite_scheduled") == "0"
    });
}

/// A copy of all data replaces what the append-only file was a state of. Nobody is there to be
/// copied from when the replica starts again: what it shows is what it has on disk.
#[test]
fn an_append_only_file_follows_a_copy_of_all_data() {
    for kind in [Kind::Keyway, Kind::Redis] {
        for diskless in ["disabled", "swapdb"] {
            let Some(mut primary) = server(kind, &[]) else { return };
            let directives = [&LOGS[..], &["--repl-diskless-load", diskless]].concat();
            let Some(mut replica) = server(Kind::Keyway, &directives) else { return };
            fill(&primary, 0, 200);
            replica.client().ok(&["SET", "of its own", "1"]);
            follow(&replica, primary.port());
            await_link(&replica);
            // During the rewrite and after it.
            fill(&primary, 200, 50);
            await_rewrite(&replica);
            fill(&primary, 250, 50);
            await_catch_up(&primary, &replica);
            let wanted = digest(&primary);
            assert_eq!(digest(&replica), wanted);
            replica.kill();
            primary.kill();
            replica.restart();
            assert_eq!(digest(&replica), wanted, "{kind:?}, {diskless}");
        }
    }
}

/// Where a copy does not arrive, the file stays what it was; a node that is promoted without one
/// keeps what it is written from then on.
#[test]
fn an_append_only_file_outlives_a_copy_that_did_not_arrive() {
    let directives = [&LOGS[..], &["--repl-diskless-load", "swapdb"]].concat();
    let Some(mut replica) = server(Kind::Keyway, &directives) else { return };
    let Some(primary) = server(Kind::Keyway, &["--rdbcompression", "no"]) else { return };
    replica.client().ok(&["SET", "of its own", "1"]);
    primary.client().ok(&["DEBUG", "POPULATE", "20000", "key", "2000"]);
    let relay = Relay::to(primary.port());
    follow(&replica, relay.port());
    wait_for("the copy is on its way", super::SOON, || replica.info("loading") == "1");
    relay.set(Fault::Silence);
    assert_eq!(replica.info("aof_enabled"), "0", "it was half of the data");
    replica.kill();
    replica.restart();
    assert_eq!(replica.client().text(&["GET", "of its own"]), "1");
}

/// What a file says of its place in the history is enough to go on from there, on whichever side,
/// and in the database that the stream was in.
#[test]
fn a_replica_that_was_restarted_needs_no_copy_of_all_data() {
    for kind in [Kind::Keyway, Kind::Redis] {
        let Some(primary) = server(kind, &[]) else { return };
        let of = format!("127.0.0.1 {}", primary.port());
        let Some(mut replica) = server(Kind::Keyway, &["--replicaof", &of]) else { return };
        await_link(&replica);
        fill(&primary, 0, 100);
        let mut writer = primary.client();
        writer.ok(&["SELECT", "3"]);
        writer.ok(&["SET", "a", "1"]);
        await_catch_up(&primary, &replica);
        replica.client().ok(&["SAVE"]);
        replica.kill();
        writer.ok(&["SET", "a", "2"]);
        replica.restart();
        await_catch_up(&primary, &replica);
        assert_eq!(digest(&replica), digest(&primary), "{kind:?}");
        let counts = [primary.info("sync_full"), primary.info("sync_partial_ok")];
        assert_eq!(counts, ["1", "1"], "{kind:?}");
    }
}

#[test]
fn the_replicas_of_a_primary_that_was_restarted_need_none_either() {
    for kind in [Kind::Keyway, Kind::Redis] {
        // A PING would move the replica beyond the file.
        let quiet = ["--repl-ping-replica-period", "3600"];
        let Some(mut primary) = server(Kind::Keyway, &quiet) else { return };
        let of = format!("127.0.0.1 {}", primary.port());
        let Some(replica) = server(kind, &["--replicaof", &of]) else { return };
        await_link(&replica);
        fill(&primary, 0, 100);
        let mut writer = primary.client();
        writer.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        writer.ok(&["SET", "gone at the start", "1", "PX", "1"]);
        await_catch_up(&primary, &replica);
        writer.ok(&["SAVE"]);
        let id = primary.info("master_replid");
        primary.kill();
        primary.restart();
        assert_eq!(primary.info("master_replid2"), id, "{kind:?}");
        fill(&primary, 100, 10);
        await_catch_up(&primary, &replica);
        assert_eq!(digest(&replica), digest(&primary), "{kind:?}");
        let counts = [primary.info("sync_full"), primary.info("sync_partial_ok")];
        assert_eq!(counts, ["0", "1"], "{kind:?}");
    }
}
