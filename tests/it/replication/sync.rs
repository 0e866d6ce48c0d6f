//! Copies of all data, and going on after a link was cut.

use super::{assert_same_data, await_catch_up, await_link, digest, fill, follow, server};
use crate::differential::random_commands;
use crate::support::{Kind, Relay, Server, wait_for};
use keyway::resp::Reply;

const STARTS: [&[&str]; 2] = [&[], &["--repl-diskless-sync", "no"]];

/// A first copy, writes after it, a cut link, and writes meanwhile: no second copy.
fn copies_and_goes_on(primary: Kind, replica: Kind, directives: &[&str]) {
    let Some(primary) = server(primary, directives) else { return };
    let Some(replica) = server(replica, directives) else { return };
    fill(&primary, 0, 500);
    fill(&replica, 9_000, 10);
    let relay = Relay::to(primary.port());
    follow(&replica, relay.port());
    await_link(&replica);
    fill(&primary, 500, 100);
    assert_same_data(&primary, &replica);

    relay.reset_all();
    fill(&primary, 600, 100);
    assert_same_data(&primary, &replica);
    assert_eq!(primary.info("sync_full"), "1", "the cut link cost a second copy");
    assert_eq!(primary.info("sync_partial_ok"), "1");
}

#[test]
fn our_replicas_copy_ours_and_go_on() {
    for directives in STARTS {
        copies_and_goes_on(Kind::Keyway, Kind::Keyway, directives);
    }
    copies_and_goes_on(Kind::Keyway, Kind::Keyway, &["--repl-diskless-load", "swapdb"]);
}

#[test]
fn our_replicas_copy_redis_and_go_on() {
    STARTS.iter().for_each(|start| copies_and_goes_on(Kind::Redis, Kind::Keyway, start));
}

#[test]
fn our_replicas_copy_valkey_and_go_on() {
    STARTS.iter().for_each(|start| copies_and_goes_on(Kind::Valkey, Kind::Keyway, start));
}

#[test]
fn redis_copies_our_primary_and_goes_on() {
    STARTS.iter().for_each(|start| copies_and_goes_on(Kind::Keyway, Kind::Redis, start));
}

#[test]
fn valkey_copies_our_primary_and_goes_on() {
    STARTS.iter().for_each(|start| copies_and_goes_on(Kind::Keyway, Kind::Valkey, start));
}

/// What falls out of the backlog costs a copy of everything, and nothing else.
#[test]
fn who_was_away_for_too_long_is_sent_everything_again() {
    let small = ["--repl-backlog-size", "16384"];
    let Some(primary) = server(Kind::Keyway, &small) else { return };
    let Some(replica) = server(Kind::Keyway, &[]) else { return };
    let relay = Relay::to(primary.port());
    fill(&primary, 0, 10);
    follow(&replica, relay.port());
    await_link(&replica);
    relay.set(crate::support::Fault::Refuse);
    relay.reset_all();
    wait_for("the link is down", super::SOON, || replica.info("master_link_status") == "down");
    fill(&primary, 10, 1000);
    relay.set(crate::support::Fault::None);
    assert_same_data(&primary, &replica);
    assert_eq!(
        (primary.info("sync_full"), primary.info("sync_partial_err")),
        ("2".into(), "1".into())
    );
}

/// Writes that come while the snapshot is made and sent are neither lost nor doubled.
#[test]
fn writes_during_a_copy_arrive_once() {
    for (primary, replica) in
        [(Kind::Keyway, Kind::Keyway), (Kind::Keyway, Kind::Redis), (Kind::Redis, Kind::Keyway)]
    {
        let Some(primary) = server(primary, &[]) else { return };
        let Some(replica) = server(replica, &[]) else { return };
        primary.client().call(&["DEBUG", "POPULATE", "50000"]);
        follow(&replica, primary.port());
        let mut client = primary.client();
        let mut writes = 0;
        wait_for("the link is up", super::SOON, || {
            for n in 0..200 {
                client.call(&["INCR", &format!("key:{}:count", n * 7 % 500)]);
                client.call(&["APPEND", &format!("key:{}", n * 131 % 50_000), "+"]);
                writes += 2;
            }
            replica.info("master_link_status") == "up"
        });
        assert!(writes > 0);
        assert_same_data(&primary, &replica);
    }
}

/// A replica's own followers count its primary's stream, and outlive both.
#[test]
fn a_chain_of_replicas_goes_on_when_its_head_is_gone() {
    for (head, tail) in [(Kind::Redis, Kind::Redis), (Kind::Keyway, Kind::Valkey)] {
        let Some(mut head) = server(head, &[]) else { return };
        let Some(middle) = server(Kind::Keyway, &[]) else { return };
        let Some(tail) = server(tail, &[]) else { return };
        fill(&head, 0, 200);
        follow(&middle, head.port());
        await_link(&middle);
        follow(&tail, middle.port());
        await_link(&tail);
        fill(&head, 200, 50);
        assert_same_data(&head, &middle);
        assert_same_data(&middle, &tail);
        let before = middle.info("sync_full");

        head.kill();
        middle.client().ok(&["REPLICAOF", "NO", "ONE"]);
        fill(&middle, 250, 50);
        assert_same_data(&middle, &tail);
        assert_eq!(middle.info("sync_full"), before, "the new name cost a copy");
        assert_ne!(middle.info("master_replid2"), "0".repeat(40));
    }
}

/// The siblings of a promoted replica go on with it: what they have is the beginning of its history.
#[test]
fn the_siblings_of_a_promoted_replica_go_on_with_it() {
    let Some(mut head) = server(Kind::Keyway, &[]) else { return };
    let Some(first) = server(Kind::Keyway, &[]) else { return };
    let Some(second) = server(Kind::Redis, &[]) else { return };
    fill(&head, 0, 100);
    follow(&first, head.port());
    follow(&second, head.port());
    await_catch_up(&head, &first);
    await_catch_up(&head, &second);
    // No PING of the old primary may come between.
    wait_for("both have the same", super::SOON, || {
        first.info("slave_repl_offset") == second.info("slave_repl_offset")
    });
    head.kill();
    first.client().ok(&["REPLICAOF", "NO", "ONE"]);
    follow(&second, first.port());
    fill(&first, 100, 20);
    assert_same_data(&first, &second);
    assert_eq!((first.info("sync_full"), first.info("sync_partial_ok")), ("0".into(), "1".into()));
}

/// A key that was to expire, and then was not to: a replica that hears of both after the time has
/// passed keeps it.
#[test]
fn a_key_that_was_persisted_in_time_is_kept_by_a_replica_that_is_late() {
    for (primary, replica) in
        [(Kind::Keyway, Kind::Keyway), (Kind::Redis, Kind::Keyway), (Kind::Keyway, Kind::Redis)]
    {
        let Some(primary) = server(primary, &[]) else { return };
        let Some(replica) = server(replica, &[]) else { return };
        let relay = Relay::to(primary.port());
        follow(&replica, relay.port());
        await_link(&replica);
        relay.set(crate::support::Fault::Refuse);
        relay.reset_all();
        wait_for("the link is down", super::SOON, || replica.info("master_link_status") == "down");
        let mut client = primary.client();
        client.ok(&["SET", "source", "value"]);
        let payload = client.call(&["DUMP", "source"]);
        let payload = payload.as_bytes().expect("a payload");
        let words = |text: &str| -> Vec<Vec<u8>> {
            text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
        };
        // In one go: it must not expire on the primary in between.
        let replies = client.pipeline(&[
            words("SET expire value"),
            words("PEXPIRE expire 700"),
            words("PERSIST expire"),
            words("SET getex value"),
            words("GETEX getex PX 700"),
            words("GETEX getex PERSIST"),
            vec![b"RESTORE".to_vec(), b"restore".to_vec(), b"700".to_vec(), payload.to_vec()],
            words("PERSIST restore"),
            words("SET set value PX 700"),
            words("PERSIST set"),
            words("PEXPIRE source 700"),
        ]);
        assert!(replies.iter().all(|reply| reply.as_error().is_none()), "{replies:?}");
        wait_for("the time to pass", super::SOON, || client.integer(&["EXISTS", "source"]) == 0);
        relay.set(crate::support::Fault::None);
        assert_same_data(&primary, &replica);
        for key in ["expire", "getex", "restore", "set"] {
            let mut client = replica.client();
            assert_eq!(client.integer(&["EXISTS", key]), 1, "{key} at {:?}", replica.kind());
        }
    }
}

fn random_stream(primary: Kind, replica: Kind, sorted_sets: bool) {
    let seed = crate::support::seed();
    println!("{primary:?} to {replica:?}: seed {seed}");
    let Some(primary) = server(primary, &[]) else { return };
    let Some(replica) = server(replica, &[]) else { return };
    let relay = Relay::to(primary.port());
    follow(&replica, relay.port());
    await_link(&replica);
    let commands = random_commands(seed, 6_000, sorted_sets);
    let mut client = primary.client();
    for (number, batch) in commands.chunks(100).enumerate() {
        client.pipeline(batch);
        if number % 20 == 7 {
            relay.reset_all();
        }
    }
    let mut marks: Server = primary;
    marks.assert_well("random commands");
    assert_eq!(marks.client().text(&["SET", "mark", "x"]), "OK");
    await_catch_up(&marks, &replica);
    wait_for("the data is the same", super::SOON, || digest(&replica) == digest(&marks));
}

#[test]
fn random_commands_leave_the_same_data_on_both_sides() {
    random_stream(Kind::Keyway, Kind::Keyway, true);
    random_stream(Kind::Keyway, Kind::Redis, false);
    random_stream(Kind::Redis, Kind::Keyway, false);
    random_stream(Kind::Keyway, Kind::Valkey, true);
    random_stream(Kind::Valkey, Kind::Keyway, true);
}

/// With `repl-diskless-load swapdb`, a replica that has lost its place in the stream serves the state
/// that it has until a later one of the same history is all there: whether it arrives or not.
#[test]
fn an_older_state_of_the_same_history_serves_until_a_copy_is_there() {
    for kind in [Kind::Keyway, Kind::Redis] {
        let diskless = ["--repl-diskless-sync", "yes", "--save", ""];
        let Some(primary) = server(kind, &diskless) else { return };
        let swaps = ["--repl-diskless-load", "swapdb", "--replica-read-only", "no"];
        let Some(replica) = server(Kind::Keyway, &swaps) else { return };
        let relay = Relay::to(primary.port());
        follow(&replica, relay.port());
        await_link(&replica);
        fill(&primary, 0, 10);
        await_catch_up(&primary, &replica);
        primary.client().ok(&["CONFIG", "SET", "repl-backlog-size", "16384"]);
        let mut client = replica.client();
        client.ok(&["SET", "of its own", "1"]);
        let keys = client.call(&["DBSIZE"]);

        relay.set(crate::support::Fault::Refuse);
        relay.reset_all();
        fill(&primary, 10, 300);
        primary.client().ok(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
        relay.set(crate::support::Fault::None);
        let loads = || replica.info("async_loading") == "1";
        wait_for("the copy is on its way", super::SOON, loads);
        assert_eq!(replica.info("loading"), "0", "{kind:?}");
        assert_eq!(client.text(&["GET", "of its own"]), "1", "{kind:?}");
        assert_eq!(client.call(&["DBSIZE"]), keys, "{kind:?}");
        let refused = client.call(&["REPLICAOF", "NO", "ONE"]);
        let loading = refused.as_error().is_some_and(|error| error.starts_with(b"LOADING"));
        assert!(loading, "{kind:?}: {refused:?}");
        assert!(loads(), "{kind:?}: it was not over meanwhile");

        // It does not arrive; the next one does.
        relay.set(crate::support::Fault::Refuse);
        relay.reset_all();
        wait_for("the copy is given up", super::SOON, || !loads());
        assert_eq!(client.text(&["GET", "of its own"]), "1", "{kind:?}");
        assert_eq!(client.call(&["DBSIZE"]), keys, "{kind:?}");
        primary.client().ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        relay.set(crate::support::Fault::None);
        assert_same_data(&primary, &replica);
        assert_eq!(client.call(&["EXISTS", "of its own"]), Reply::Integer(0), "{kind:?}");
    }
}
