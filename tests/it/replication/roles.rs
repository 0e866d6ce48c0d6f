//! What a role forbids and promises: reads and writes on a replica, WAIT, a minimum of replicas,
//! the hand-over of the primary's role, expiry by the primary alone.

use super::{assert_same_data, await_catch_up, await_link, fill, follow, server};
use crate::support::{Client, Fault, Kind, Relay, Server, wait_for};
use keyway::resp::Reply;

fn error(client: &mut Client, command: &[&str]) -> String {
    match client.call(command) {
        Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{command:?} was answered by {other:?}"),
    }
}

#[test]
fn a_replica_reads_and_does_not_write() {
    let Some(primary) = server(Kind::Keyway, &[]) else { return };
    let Some(replica) = server(Kind::Keyway, &[]) else { return };
    fill(&primary, 0, 10);
    follow(&replica, primary.port());
    await_catch_up(&primary, &replica);
    let mut client = replica.client();
    assert_eq!(client.text(&["GET", "string:1"]), "value-1");
    let readonly = "READONLY You can't write against a read only replica.";
    assert_eq!(error(&mut client, &["SET", "k", "v"]), readonly);
    client.ok(&["MULTI"]);
    assert_eq!(error(&mut client, &["SET", "k", "v"]), readonly);
    assert!(error(&mut client, &["EXEC"]).starts_with("EXECABORT"));
    client.ok(&["CONFIG", "SET", "replica-read-only", "no"]);
    client.ok(&["SET", "own", "v"]);
    assert_eq!(primary.client().call(&["GET", "own"]), Reply::Null);
    assert!(error(&mut client, &["WAIT", "1", "1"]).starts_with("ERR WAIT cannot be used"));
    let role = client.call(&["ROLE"]);
    let role = role.as_array().expect("an array").to_vec();
    assert_eq!(role[0].as_str(), Some("slave"));
    assert_eq!(role[2], Reply::Integer(i64::from(primary.port())));
    assert_eq!(role[3].as_str(), Some("connected"));
}

#[test]
fn stale_data_is_served_only_where_that_is_allowed() {
    let Some(mut primary) = server(Kind::Keyway, &[]) else { return };
    let Some(replica) = server(Kind::Keyway, &["--replica-serve-stale-data", "no"]) else { return };
    fill(&primary, 0, 10);
    follow(&replica, primary.port());
    await_catch_up(&primary, &replica);
    primary.kill();
    wait_for("the link is down", super::SOON, || replica.info("master_link_status") == "down");
    let mut client = replica.client();
    assert_eq!(
        error(&mut client, &["GET", "string:1"]),
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    );
    client.ok(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]);
    assert_eq!(client.text(&["GET", "string:1"]), "value-1");
}

/// A key that has expired is hidden on a replica, and gone when the primary says so.
#[test]
fn only_the_primary_lets_keys_expire() {
    for kind in [Kind::Keyway, Kind::Redis] {
        let Some(primary) = server(kind, &[]) else { return };
        let Some(replica) = server(Kind::Keyway, &[]) else { return };
        follow(&replica, primary.port());
        await_link(&replica);
        let mut client = primary.client();
        client.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        client.ok(&["SET", "k", "v", "PX", "30"]);
        await_catch_up(&primary, &replica);
        let mut reader = replica.client();
        wait_for("it is hidden", super::SOON, || reader.call(&["GET", "k"]) == Reply::Null);
        assert_eq!(reader.integer(&["DBSIZE"]), 1, "a replica removed a key on its own");
        assert_eq!(client.call(&["GET", "k"]), Reply::Null);
        wait_for("the primary's DEL came", super::SOON, || reader.integer(&["DBSIZE"]) == 0);
    }
}

#[test]
fn wait_tells_how_many_replicas_have_a_write() {
    let Some(primary) = server(Kind::Keyway, &[]) else { return };
    let mut client = primary.client();
    client.ok(&["SET", "a", "1"]);
    assert_eq!(client.integer(&["WAIT", "0", "0"]), 0);
    assert_eq!(client.integer(&["WAIT", "1", "10"]), 0);
    let Some(ours) = server(Kind::Keyway, &[]) else { return };
    let Some(theirs) = server(Kind::Redis, &[]) else { return };
    let relay = Relay::to(primary.port());
    follow(&ours, primary.port());
    follow(&theirs, relay.port());
    await_catch_up(&primary, &ours);
    await_catch_up(&primary, &theirs);
    client.ok(&["SET", "a", "2"]);
    assert_eq!(client.integer(&["WAIT", "2", "30000"]), 2);
    relay.set(Fault::Silence);
    client.ok(&["SET", "a", "3"]);
    assert_eq!(client.integer(&["WAIT", "2", "300"]), 1);
    assert_eq!(
        client.call(&["WAITAOF", "0", "1", "50"]),
        Reply::Array(vec![Reply::Integer(0), Reply::Integer(0)])
    );
}

#[test]
fn writes_need_the_replicas_that_they_are_to_have() {
    let directives = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "3"];
    let Some(primary) = server(Kind::Keyway, &directives) else { return };
    let mut client = primary.client();
    let refusal = "NOREPLICAS Not enough good replicas to write.";
    assert_eq!(error(&mut client, &["SET", "a", "1"]), refusal);
    assert_eq!(client.call(&["GET", "a"]), Reply::Null);
    let Some(mut replica) = server(Kind::Keyway, &[]) else { return };
    follow(&replica, primary.port());
    await_link(&replica);
    wait_for("writes are let in", super::SOON, || {
        client.call(&["SET", "a", "1"]) == Reply::simple("OK")
    });
    assert_eq!(primary.info("min_slaves_good_slaves"), "1");
    replica.pause();
    wait_for("the silent replica does not count", super::SOON, || {
        matches!(client.call(&["SET", "a", "1"]), Reply::Error(_))
    });
    replica.resume();
}

fn hand_over(from: Kind, to: Kind) {
    let Some(primary) = server(from, &[]) else { return };
    let Some(replica) = server(to, &[]) else { return };
    fill(&primary, 0, 100);
    follow(&replica, primary.port());
    await_catch_up(&primary, &replica);
    wait_for("the replica is online", super::SOON, || primary.info("slave0").contains("online"));
    primary.client().ok(&["FAILOVER"]);
    wait_for("the roles are exchanged", super::SOON, || {
        replica.info("role") == "master"
            && primary.info("role") == "slave"
            && primary.info("master_link_status") == "up"
    });
    assert_eq!(primary.info("master_failover_state"), "no-failover");
    fill(&replica, 100, 20);
    assert_same_data(&replica, &primary);
    assert_eq!(replica.info("sync_full"), "0", "the hand-over cost a copy");
}

#[test]
fn failover_hands_the_role_over_without_a_copy() {
    hand_over(Kind::Keyway, Kind::Keyway);
    hand_over(Kind::Keyway, Kind::Redis);
    hand_over(Kind::Redis, Kind::Keyway);
}

#[test]
fn a_failover_that_cannot_be_is_refused_or_given_up() {
    let Some(primary) = server(Kind::Keyway, &[]) else { return };
    let mut client = primary.client();
    for (command, expected) in [
        ("FAILOVER", "ERR FAILOVER requires connected replicas."),
        ("FAILOVER ABORT", "ERR No failover in progress."),
        ("FAILOVER TO a", "ERR syntax error"),
        ("FAILOVER TIMEOUT 0", "ERR FAILOVER timeout must be greater than 0"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(error(&mut client, &words), expected, "{command}");
    }
    let Some(mut replica) = server(Kind::Keyway, &[]) else { return };
    follow(&replica, primary.port());
    await_catch_up(&primary, &replica);
    wait_for("the replica is online", super::SOON, || primary.info("slave0").contains("online"));
    replica.pause();
    client.ok(&["SET", "unheard", "1"]);
    client.ok(&["FAILOVER", "TIMEOUT", "300"]);
    assert_eq!(primary.info("master_failover_state"), "waiting-for-sync");
    // The write waits for the end of it.
    client.ok(&["SET", "a", "1"]);
    assert_eq!(primary.info("master_failover_state"), "no-failover");
    assert_eq!(primary.info("role"), "master");
    replica.resume();
}

#[test]
fn a_password_is_given_to_a_primary_that_asks() {
    let secret = ["--requirepass", "hush"];
    let Some(primary) = Server::node(Kind::Redis, &secret) else { return };
    let Some(replica) = server(Kind::Keyway, &["--masterauth", "wrong"]) else { return };
    follow(&replica, primary.port());
    wait_for("the password is refused", super::SOON, || replica.log().contains("WRONGPASS"));
    replica.client().ok(&["CONFIG", "SET", "masterauth", "hush"]);
    await_link(&replica);
}

#[test]
fn the_directive_makes_a_replica_at_start() {
    let Some(primary) = server(Kind::Redis, &[]) else { return };
    fill(&primary, 0, 10);
    let port = primary.port().to_string();
    let Some(replica) = server(Kind::Keyway, &["--replicaof", "127.0.0.1", &port]) else { return };
    await_link(&replica);
    assert_same_data(&primary, &replica);
}
