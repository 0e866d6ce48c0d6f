//! Transcripts of one worker's machine: what clients and nodes say, and what goes out to each. The
//! nodes' lines are those of Redis 7.0.15.

use super::*;
use crate::proxy::metrics::Outcome;
use std::time::Duration;

mod clients;
mod pinned;
mod scripts;
mod slow;
mod subscriptions;
mod surveys;
mod tracking;
mod waits;
mod world;

use world::{NODE_A, NODE_B, World, at, view};

const CLUSTERDOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";

#[test]
fn replies_come_in_the_order_of_the_requests_whatever_node_is_first() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET a|GET b|PING|GET c");
    assert_eq!(world.asked(NODE_A), "GET b | GET c");
    assert_eq!(world.asked(NODE_B), "GET a");
    world.say(NODE_A, "$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(world.told(client), "");
    world.say(NODE_B, "$1\r\nA\r\n");
    assert_eq!(world.told(client), "$1|A|$1|B|+PONG|$1|C|");
    assert_eq!(world.count(Outcome::Ok), 4);
}

#[test]
fn a_reply_never_reaches_another_client() {
    let mut world = World::new();
    let (first, second) = (world.client(), world.client());
    world.send(first, "GET b");
    world.send(second, "GET c");
    assert_eq!(world.asked(NODE_A), "GET b | GET c");
    // The first leaves with its reply under way, and a third takes its place.
    world.core.forget(first, world.now);
    let third = world.client();
    assert_eq!(third, first, "the place is used again");
    world.send(third, "GET b");
    world.say(NODE_A, "$6\r\nfirst!\r\n$7\r\nsecond!\r\n");
    assert_eq!((world.told(second), world.told(third)), ("$7|second!|".into(), String::new()));
    world.say(NODE_A, "$6\r\nthird!\r\n");
    assert_eq!(world.told(third), "$6|third!|");
}

#[test]
fn moved_is_followed_and_learned() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 1");
    world.asked(NODE_A);
    world.say(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked(NODE_B), "SET b 1");
    world.say(NODE_B, "+OK\r\n");
    assert_eq!(world.told(client), "+OK|");
    world.send(client, "GET b");
    assert_eq!(world.asked(NODE_B), "GET b", "the next goes there at once");
    assert!(world.core.shared.map.take_refresh_wanted());
}

#[test]
fn ask_is_followed_with_asking_and_not_learned() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    world.asked(NODE_A);
    world.say(NODE_A, "-ASK 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked(NODE_B), "ASKING | GET b");
    world.say(NODE_B, "+OK\r\n$1\r\n1\r\n");
    assert_eq!(world.told(client), "$1|1|", "the OK of ASKING is nobody's reply");
    world.send(client, "GET b");
    assert_eq!(world.asked(NODE_A), "GET b");
}

#[test]
fn what_comes_after_a_command_that_did_not_run_stays_behind_it() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "RPUSH b 1|RPUSH b 2");
    assert_eq!(world.asked(NODE_A), "RPUSH b 1 | RPUSH b 2");
    world.say(NODE_A, CLUSTERDOWN);
    world.send(client, "RPUSH b 3|RPUSH a 4");
    world.pass(Duration::from_millis(10));
    assert_eq!(world.asked(NODE_A), "", "the first waits for the second, which is still out");
    world.say(NODE_A, CLUSTERDOWN);
    world.pass(Duration::from_millis(10));
    assert_eq!(world.asked(NODE_A), "RPUSH b 1", "the head goes first, alone");
    world.say(NODE_A, ":1\r\n");
    assert_eq!(world.asked(NODE_A), "RPUSH b 2");
    world.say(NODE_A, ":2\r\n");
    assert_eq!(world.asked(NODE_A), "RPUSH b 3");
    assert_eq!(world.asked(NODE_B), "RPUSH a 4");
    world.say(NODE_A, ":3\r\n");
    world.say(NODE_B, ":1\r\n");
    assert_eq!(world.told(client), ":1|:2|:3|:1|");
}

#[test]
fn a_command_never_overtakes_one_that_is_on_its_way_to_the_old_owner() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "RPUSH b 1");
    assert_eq!(world.asked(NODE_A), "RPUSH b 1");
    // Another client's redirect teaches the map in between.
    world.core.shared.map.learn(Slot::of(b"b"), &at(NODE_B), world.now);
    world.send(client, "RPUSH b 2");
    world.send(client, "GET a");
    let other = world.client();
    world.send(other, "RPUSH b x");
    assert_eq!(world.asked(NODE_B), "RPUSH b x", "others need not wait");
    world.say(NODE_A, ":1\r\n");
    assert_eq!(world.asked(NODE_B), "RPUSH b 2 | GET a");
}

#[test]
fn a_write_that_may_have_run_is_in_doubt_and_never_sent_again() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "INCR b|GET b");
    assert_eq!(world.asked(NODE_A), "INCR b | GET b");
    world.lose(NODE_A);
    world.send(client, "INCR c");
    world.pass(Duration::from_millis(20));
    assert_eq!(world.asked(NODE_A), "GET b", "a read is harmless twice");
    world.say(NODE_A, "$1\r\n1\r\n");
    assert_eq!(
        world.told(client),
        "-INDOUBT the connection to 127.0.0.1:7000 was lost: the command may or may not have \
         run|$1|1|"
    );
    assert_eq!(world.asked(NODE_A), "INCR c");
    assert_eq!(world.count(Outcome::InDoubt), 1);
}

#[test]
fn a_write_that_was_never_handed_over_is_sent_when_the_node_is_back() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    world.asked(NODE_A);
    world.say(NODE_A, "$1\r\n1\r\n");
    world.send(client, "INCR b");
    world.lose(NODE_A); // before a byte of INCR was written
    world.pass(Duration::from_millis(20));
    assert_eq!(world.asked(NODE_A), "INCR b");
    world.say(NODE_A, ":2\r\n");
    assert_eq!(world.told(client), "$1|1|:2|");
}

#[test]
fn a_ride_out_ends_with_what_was_waited_for() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 1");
    let (mut tries, mut told) = (0, String::new());
    while told.is_empty() {
        if world.asked(NODE_A) == "SET b 1" {
            tries += 1;
            world.say(NODE_A, CLUSTERDOWN);
        }
        world.pass(Duration::from_millis(1));
        told = world.told(client);
    }
    assert_eq!(told, "-CLUSTERDOWN The cluster is down; waited 30s, not run|");
    assert!((100..300).contains(&tries), "{tries} tries in 30 s");
}

#[test]
fn without_a_ride_out_the_error_comes_at_once() {
    let mut world = World::with(Options { ride_out: Duration::ZERO, ..Options::default() });
    let client = world.client();
    world.send(client, "SET b 1");
    world.asked(NODE_A);
    world.say(NODE_A, CLUSTERDOWN);
    assert_eq!(world.told(client), "-CLUSTERDOWN The cluster is down; waited 0ms, not run|");
}

#[test]
fn a_slot_without_an_owner_waits_for_one() {
    let mut world = World::new();
    let none = view("0-100", "8192-16383", 5);
    world.core.shared.map.publish(&none, &at(NODE_A), world.now, world.now);
    let client = world.client();
    world.send(client, "GET b");
    world.pass(Duration::from_secs(1));
    let all = view("0-8191", "8192-16383", 7);
    world.core.shared.map.publish(&all, &at(NODE_A), world.now, world.now);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.asked(NODE_A), "GET b");
}

#[test]
fn a_silent_node_gets_no_more_and_is_judged_when_its_time_is_over() {
    let mut world = World::new();
    let (first, second, other) = (world.client(), world.client(), world.client());
    world.send(first, "INCR b");
    assert_eq!(world.asked(NODE_A), "INCR b");
    world.pass(Duration::from_millis(700));
    world.send(second, "INCR c");
    world.send(other, "INCR a");
    assert_eq!(world.asked(NODE_A), "", "it gets nothing more");
    assert_eq!(world.asked(NODE_B), "INCR a", "others do");
    world.say(NODE_B, ":1\r\n");
    assert_eq!(world.told(other), ":1|");
    world.pass(Duration::from_secs(10));
    assert!(world.told(first).starts_with("-INDOUBT 127.0.0.1:7000 did not answer within 10s"));
}

#[test]
fn a_late_reply_reaches_nobody() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    let old = world.link(NODE_A);
    assert_eq!(world.asked(NODE_A), "GET b");
    world.pass(Duration::from_millis(10_200));
    assert!(world.core.link(old).is_closed());
    world.core.link_freed(old, true);
    world.pass(Duration::from_millis(600));
    assert_eq!(world.asked(NODE_A), "GET b", "a read is sent once more, on another connection");
    world.say(NODE_A, "$3\r\nnew\r\n");
    assert_eq!(world.told(client), "$3|new|");
}

#[test]
fn what_waits_for_a_silent_node_goes_to_its_successor() {
    let mut world = World::new();
    let (first, second) = (world.client(), world.client());
    world.send(first, "INCR b");
    world.asked(NODE_A);
    world.pass(Duration::from_millis(700));
    world.send(second, "INCR c");
    let failed_over = view("", "0-16383", 7);
    world.core.shared.map.publish(&failed_over, &at(NODE_B), world.now, world.now);
    world.pass(Duration::from_millis(400));
    assert_eq!(world.asked(NODE_B), "INCR c");
    assert!(world.told(first).starts_with("-INDOUBT"), "what was written is judged as lost");
}

#[test]
fn two_nodes_that_point_at_each_other_are_waited_for() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    let mut asked = 0;
    for _ in 0..6 {
        for (port, other) in [(NODE_A, NODE_B), (NODE_B, NODE_A)] {
            if world.asked(port) == "GET b" {
                asked += 1;
                world.say(port, &format!("-MOVED 3300 127.0.0.1:{other}\r\n"));
            }
        }
    }
    assert_eq!(asked, 6, "five redirects are followed, then it waits");
    assert!(world.core.next_timer().is_some());
    assert_eq!(world.told(client), "");
}

#[test]
fn parts_are_redirected_and_tried_on_their_own() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MGET a b c");
    assert_eq!(world.asked(NODE_A), "MGET b | MGET c");
    assert_eq!(world.asked(NODE_B), "MGET a");
    world.say(NODE_A, "-ASK 3300 127.0.0.1:7001\r\n*1\r\n$1\r\nC\r\n");
    world.say(NODE_B, "*1\r\n$1\r\nA\r\n");
    assert_eq!(world.asked(NODE_B), "ASKING | MGET b");
    world.say(NODE_B, "+OK\r\n*1\r\n$1\r\nB\r\n");
    assert_eq!(world.told(client), "*3|$1|A|$1|B|$1|C|");
}

#[test]
fn a_write_of_which_part_ran_says_so() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MSET a 1 b 2");
    world.asked(NODE_A);
    world.asked(NODE_B);
    world.say(NODE_B, "+OK\r\n");
    world.lose(NODE_A);
    assert_eq!(
        world.told(client),
        "-INDOUBT part of this command ran, part did not: the connection to 127.0.0.1:7000 was \
         lost: the command may or may not have run|"
    );
}

#[test]
fn a_reply_that_nobody_expects_closes_the_connection() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    world.asked(NODE_A);
    let link = world.link(NODE_A);
    world.say_on(link, "$1\r\n1\r\n+extra\r\n");
    assert!(world.core.link(link).is_closed());
    assert_eq!(world.told(client), "$1|1|");
}

#[test]
fn nothing_goes_out_before_the_handshake_is_answered() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    let link = world.core.next_open().expect("a connection is asked for");
    assert!(!world.core.link(link).wants_write());
    world.core.link_connected(link, world.now);
    assert_eq!(world.core.link(link).writable(), b"*1\r\n$4\r\nPING\r\n");
    world.core.link(link).wrote(14);
    assert!(!world.core.link(link).wants_write());
    world.say_on(link, "+PONG\r\n");
    assert_eq!(world.asked(NODE_A), "GET b");
}

#[test]
fn a_node_that_cannot_be_reached_costs_its_clients_a_wait_and_no_error() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 1");
    for _ in 0..3 {
        let link = world.core.next_open().expect("a connection is tried");
        world.core.link_lost(link, LinkEnd::Connect, "connection refused", world.now);
        world.core.link_freed(link, false);
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(world.asked(NODE_A), "SET b 1");
    world.say(NODE_A, "+OK\r\n");
    assert_eq!(world.told(client), "+OK|");
}

#[test]
fn before_auth_nothing_else_is_answered() {
    let password = Some(crate::secret::Secret::new("pw"));
    let mut world = World::with(Options { password, ..Options::default() });
    let client = world.client();
    world.send(client, "GET b|AUTH no|AUTH pw|GET b");
    assert_eq!(world.asked(NODE_A), "GET b");
    assert_eq!(
        world.told(client),
        "-NOAUTH Authentication required.|\
         -WRONGPASS invalid username-password pair or user is disabled.|+OK|"
    );
}

#[test]
fn client_reply_stays_in_the_proxy() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "CLIENT REPLY SKIP|SET b 1|SET c 2|CLIENT REPLY OFF|SET b 3|PING");
    assert_eq!(world.asked(NODE_A), "SET b 1 | SET c 2 | SET b 3");
    world.say(NODE_A, "+OK\r\n+OK\r\n+OK\r\n");
    world.send(client, "CLIENT REPLY ON");
    assert_eq!(world.told(client), "+OK|+OK|", "one for SET c, one for CLIENT REPLY ON");
}

#[test]
fn clients_are_closed_when_they_have_what_they_are_owed() {
    let mut world = World::new();
    let (busy, idle) = (world.client(), world.client());
    world.send(busy, "GET b");
    world.asked(NODE_A);
    world.core.drain(world.now);
    assert!(world.core.is_finished(idle));
    assert!(!world.core.is_finished(busy));
    world.say(NODE_A, "$1\r\n1\r\n");
    assert_eq!(world.told(busy), "$1|1|");
    world.pass(Duration::from_millis(200));
    assert!(world.core.is_finished(busy));
}

#[test]
fn an_idle_connection_to_a_node_that_vanished_is_noticed_before_a_command_needs_it() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    world.asked(NODE_A);
    world.say(NODE_A, "$1\r\n1\r\n");
    let link = world.link(NODE_A);
    world.pass(Duration::from_millis(1_200));
    assert_eq!(world.asked(NODE_A), "PING");
    world.say(NODE_A, "+PONG\r\n");
    assert_eq!(world.told(client), "$1|1|", "the answer to the PING is nobody's");
    world.pass(Duration::from_millis(2_500));
    assert!(world.core.link(link).is_closed(), "the second PING was not answered");
}

#[test]
fn a_client_that_has_not_authenticated_may_leave_little_unread() {
    let password = Some(crate::secret::Secret::new("pw"));
    let mut world = World::with(Options { password, ..Options::default() });
    let client = world.client();
    for _ in 0..1_000 {
        if world.core.is_finished(client) {
            return;
        }
        world.send(client, "PING");
    }
    panic!("it may leave 1,000 errors unread");
}

/// Whatever a broken node does to its connections, it is not hit the faster for it.
#[test]
fn a_node_that_breaks_every_connection_is_not_stormed() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET b");
    let mut connections = 0;
    for _ in 0..3_000 {
        world.pass(Duration::from_millis(1));
        while let Some(link) = world.core.next_open() {
            connections += 1;
            world.core.link_connected(link, world.now);
            world.core.link(link).wrote(14);
            world.say_on(link, "+PONG\r\n");
            let asked = world.core.link(link).writable().len();
            world.core.link(link).wrote(asked);
            world.say_on(link, "garbage\r\n");
            assert!(world.core.link(link).is_closed());
            world.core.link_freed(link, true);
        }
    }
    assert!((3..40).contains(&connections), "{connections} connections in 3 s");
    assert_eq!(world.told(client), "");
}
