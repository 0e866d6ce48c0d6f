//! Transcripts of sessions with connections of their own: transactions and blocking commands.

use super::*;
use crate::proxy::link::{Link, Role};

const QUEUED: &str = "+QUEUED\r\n";
const DOWN: &str = "-CLUSTERDOWN Hash slot not served\r\n";

impl World {
    /// The connections to a node that sessions have, or may have, to themselves.
    pub(super) fn owned(&mut self, port: u16) -> Vec<LinkId> {
        self.connect();
        let is_own = |(_, link): &(LinkId, &Link)| {
            link.endpoint == at(port) && !link.is_closed() && link.role != Role::Shared
        };
        self.core.backends.links().filter(is_own).map(|(id, _)| id).collect()
    }

    /// The one of them.
    pub(super) fn own(&mut self, port: u16) -> LinkId {
        let owned = self.owned(port);
        assert_eq!(owned.len(), 1, "one connection of its own");
        owned[0]
    }

    fn role(&mut self, id: LinkId) -> Role {
        self.core.link(id).role
    }

    fn lose_link(&mut self, id: LinkId) {
        self.core.link_lost(id, LinkEnd::Lost, "connection reset", self.now);
        self.core.link_freed(id, true);
    }

    /// The node's other connections are not broken, and show it.
    fn others_are_well(&mut self, port: u16) {
        assert_eq!(self.asked(port), "PING");
        self.say(port, "+PONG\r\n");
    }
}

#[test]
fn a_transaction_runs_on_a_connection_of_its_own_that_is_given_back() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|PING hello|PUBLISH c m|SET b 1|GET b|EXEC|GET b");
    assert_eq!(world.told(client), "+OK|+QUEUED|+QUEUED|");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "MULTI | PUBLISH c m | SET b 1 | GET b | EXEC");
    assert!(world.owned(NODE_B).is_empty());
    world.say_on(own, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!(world.told(client), "+QUEUED|+QUEUED|");
    world.say_on(own, "*3\r\n:0\r\n+OK\r\n$1\r\n1\r\n");
    assert_eq!(world.told(client), "*4|$5|hello|:0|+OK|$1|1|", "PING is the proxy's to answer");
    assert!(matches!(world.role(own), Role::Idle(_)));
    assert_eq!(world.asked(NODE_A), "GET b", "what follows goes the shared way, and not before");

    let other = world.client();
    world.send(other, "MULTI|SET b 2|EXEC");
    assert_eq!(world.asked_on(own), "MULTI | SET b 2 | EXEC", "the next has the same connection");
}

#[test]
fn what_is_in_flight_is_waited_for_before_a_transaction() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 0|MULTI|SET b 1");
    assert_eq!(world.asked(NODE_A), "SET b 0");
    assert!(world.owned(NODE_A).is_empty());
    world.say(NODE_A, "+OK\r\n");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "MULTI | SET b 1");
}

#[test]
fn errors_while_queueing_are_those_of_a_single_server() {
    let mut world = World::new();
    // What the client sends, and what it is told: Redis 7.0.15 has the same, but for the last two.
    let table = [
        ("MULTI|MULTI|EXEC", "+OK|-ERR MULTI calls can not be nested|*0|"),
        ("MULTI|WATCH b|EXEC", "+OK|-ERR WATCH inside MULTI is not allowed|*0|"),
        (
            "MULTI|GET|PING|EXEC",
            "+OK|-ERR wrong number of arguments for 'get' command|+QUEUED|\
             -EXECABORT Transaction discarded because of previous errors.|",
        ),
        (
            "MULTI|NOSUCH x|EXEC|EXEC",
            "+OK|-ERR unknown command 'NOSUCH', with args beginning with: 'x' |\
             -EXECABORT Transaction discarded because of previous errors.|\
             -ERR EXEC without MULTI|",
        ),
        (
            "MULTI|EXEC x|EXEC",
            "+OK|-EXECABORT Transaction discarded because of: wrong number of arguments for \
             'exec' command|-ERR EXEC without MULTI|",
        ),
        (
            "EXEC x",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
             command|",
        ),
        ("DISCARD", "-ERR DISCARD without MULTI|"),
        ("MULTI|PING|DISCARD|EXEC", "+OK|+QUEUED|+OK|-ERR EXEC without MULTI|"),
        ("MULTI|RESET|EXEC", "+OK|+RESET|-ERR EXEC without MULTI|"),
        ("UNWATCH|MULTI|EXEC", "+OK|+OK|*0|"),
        (
            "MULTI|KEYS *|EXEC",
            "+OK|-ERR KEYS is not available inside MULTI through the proxy|\
             -EXECABORT Transaction discarded because of previous errors.|",
        ),
        (
            "MULTI|RENAME a b|EXEC",
            "+OK|-CROSSSLOT Keys in request don't hash to the same slot|\
             -EXECABORT Transaction discarded because of previous errors.|",
        ),
    ];
    for (sent, told) in table {
        let client = world.client();
        world.send(client, sent);
        assert_eq!(world.told(client), told, "{sent}");
        assert!(world.core.sessions[client.index()].pins.is_none(), "{sent}");
    }
    assert!(world.owned(NODE_A).is_empty(), "no node was asked");
}

#[test]
fn keys_of_another_slot_abort_a_transaction() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|SET b 1|SET a 1|SET b 2|EXEC|PING");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "MULTI | SET b 1");
    world.say_on(own, "+OK\r\n+QUEUED\r\n");
    assert_eq!(
        world.told(client),
        "+OK|+QUEUED|-CROSSSLOT Keys in request don't hash to the same slot|+QUEUED|\
         -EXECABORT Transaction discarded because of previous errors.|+PONG|"
    );
    assert_eq!(world.asked_on(own), "DISCARD");
    world.say_on(own, "+OK\r\n");
    assert!(matches!(world.role(own), Role::Idle(_)));
}

#[test]
fn an_error_of_the_node_while_queueing_aborts() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|SET b 1|EXEC");
    let own = world.own(NODE_A);
    world.asked_on(own);
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    world.say_on(own, &format!("+OK\r\n{oom}{aborted}"));
    let told = format!("+OK\r\n{oom}{aborted}").replace("\r\n", "|");
    assert_eq!(world.told(client), told);
    assert!(matches!(world.role(own), Role::Idle(_)));
}

#[test]
fn a_transaction_that_was_moved_while_queueing_runs_whole_on_the_right_node() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|SET b 1");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "+OK\r\n-MOVED 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked_on(own), "DISCARD", "what is left behind is taken back");
    let there = world.own(NODE_B);
    assert_eq!(world.asked_on(there), "MULTI | SET b 1");
    world.say_on(there, &format!("+OK\r\n{QUEUED}"));
    assert_eq!(world.told(client), "+OK|+QUEUED|");
    world.send(client, "GET b|EXEC");
    assert_eq!(world.asked_on(there), "GET b | EXEC");
    world.say_on(there, "+QUEUED\r\n*2\r\n+OK\r\n$1\r\n1\r\n");
    assert_eq!(world.told(client), "+QUEUED|*2|+OK|$1|1|");
    world.say_on(own, "+OK\r\n");
    assert!(matches!(world.role(own), Role::Idle(_)));
}

#[test]
fn a_transaction_is_asked_for_with_asking_before_multi() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|SET b 1|SET b 2|EXEC");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "+OK\r\n+QUEUED\r\n-ASK 3300 127.0.0.1:7001\r\n");
    assert!(world.owned(NODE_B).is_empty(), "EXEC's answer is waited for: it proves the abort");
    world.say_on(own, "-EXECABORT Transaction discarded because of previous errors.\r\n");
    assert!(matches!(world.role(own), Role::Idle(_)), "EXEC has closed it");
    let there = world.own(NODE_B);
    assert_eq!(world.asked_on(there), "ASKING | MULTI | SET b 1 | SET b 2 | EXEC");
    world.say_on(there, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(world.told(client), "+OK|+QUEUED|+QUEUED|*2|+OK|+OK|");
    world.send(client, "GET b");
    assert_eq!(world.asked(NODE_A), "GET b", "nothing was learned");
}

#[test]
fn moved_at_exec_runs_it_whole_elsewhere() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|INCR b");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "+OK\r\n+QUEUED\r\n");
    world.send(client, "EXEC|GET b");
    assert_eq!(world.asked_on(own), "EXEC");
    world.say_on(own, "-MOVED 3300 127.0.0.1:7001\r\n");
    let there = world.own(NODE_B);
    assert_eq!(world.asked_on(there), "MULTI | INCR b | EXEC");
    world.say_on(there, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    assert_eq!(world.told(client), "+OK|+QUEUED|*1|:1|");
    assert_eq!(world.asked(NODE_B), "GET b");
}

#[test]
fn what_passes_is_waited_for() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|INCR b|EXEC");
    let own = world.own(NODE_A);
    world.asked_on(own);
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    for _ in 0..3 {
        world.say_on(own, &format!("+OK\r\n{DOWN}{aborted}"));
        world.pass(Duration::from_millis(20));
        assert_eq!(world.asked_on(own), "MULTI | INCR b | EXEC");
    }
    let masterdown = "-EXECABORT Transaction discarded because of: READONLY You can't write \
                      against a read only replica.\r\n";
    world.say_on(own, &format!("+OK\r\n{QUEUED}{masterdown}"));
    world.pass(Duration::from_millis(20));
    assert_eq!(world.asked_on(own), "MULTI | INCR b | EXEC");
    world.say_on(own, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    assert_eq!(world.told(client), "+OK|+QUEUED|*1|:1|");
}

#[test]
fn a_transaction_that_nobody_runs_ends_as_the_ride_out_does() {
    let mut world =
        World::with(Options { ride_out: Duration::from_millis(100), ..Options::default() });
    let client = world.client();
    world.send(client, "MULTI|INCR b|EXEC|PING");
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    for _ in 0..200 {
        for own in world.owned(NODE_A) {
            if world.asked_on(own).starts_with("MULTI") {
                world.say_on(own, &format!("+OK\r\n{DOWN}{aborted}"));
            }
        }
        world.pass(Duration::from_millis(1));
    }
    assert_eq!(
        world.told(client),
        "+OK|-CLUSTERDOWN Hash slot not served; waited 100ms, not run|\
         -EXECABORT Transaction discarded because of previous errors.|+PONG|"
    );
}

#[test]
fn a_connection_lost_before_exec_is_made_again_and_after_it_leaves_doubt() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MULTI|INCR b");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "+OK\r\n+QUEUED\r\n");
    world.lose_link(own);
    world.pass(Duration::from_millis(20));
    let again = world.own(NODE_A);
    assert_eq!(world.asked_on(again), "MULTI | INCR b");
    world.send(client, "INCR b|EXEC|GET b");
    assert_eq!(world.asked_on(again), "INCR b | EXEC");
    world.lose_link(again);
    assert_eq!(
        world.told(client),
        "+OK|+QUEUED|+QUEUED|-INDOUBT the connection to 127.0.0.1:7000 was lost: the command may \
         or may not have run|"
    );
    world.pass(Duration::from_millis(20));
    assert_eq!(world.asked(NODE_A), "GET b");
}

#[test]
fn watched_keys_are_told_by_one_node_alone() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "GET c");
    world.asked(NODE_A);
    world.say(NODE_A, "$1\r\n0\r\n");
    world.send(client, "WATCH b|GET b");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "WATCH b");
    assert_eq!(world.asked(NODE_A), "", "what is read must be read after it is watched");
    world.say_on(own, "+OK\r\n");
    assert_eq!(world.asked(NODE_A), "GET b");
    world.say(NODE_A, "$1\r\n1\r\n");
    world.send(client, "MULTI|SET b 2|EXEC");
    assert_eq!(world.asked_on(own), "MULTI | SET b 2 | EXEC");
    world.say_on(own, "+OK\r\n+QUEUED\r\n*-1\r\n");
    assert_eq!(world.told(client), "$1|0|+OK|$1|1|+OK|+QUEUED|*-1|");
    assert!(matches!(world.role(own), Role::Idle(_)));
}

#[test]
fn a_watch_that_cannot_be_told_fails_as_a_changed_one_and_is_never_run_again() {
    type Change = fn(&mut World, LinkId);
    let moved: Change = |world, own| world.say_on(own, "+OK\r\n-MOVED 3300 127.0.0.1:7001\r\n");
    let lost: Change = |world, own| world.lose_link(own);
    let at_exec: Change = |world, own| {
        world.say_on(own, "+OK\r\n+QUEUED\r\n-CLUSTERDOWN Hash slot not served\r\n");
    };
    for (change, exec_first) in [(moved, false), (lost, false), (at_exec, true)] {
        let mut world = World::new();
        let client = world.client();
        world.send(client, "WATCH b");
        let own = world.own(NODE_A);
        world.asked_on(own);
        world.say_on(own, "+OK\r\n");
        world.send(client, "MULTI|SET b 2");
        if exec_first {
            world.send(client, "EXEC");
        }
        world.asked_on(own);
        change(&mut world, own);
        if !exec_first {
            world.send(client, "EXEC");
        }
        assert_eq!(world.told(client), "+OK|+OK|+QUEUED|*-1|");
        world.pass(Duration::from_secs(1));
        assert!(world.owned(NODE_B).is_empty(), "it is not run elsewhere");
        assert!(world.core.sessions[client.index()].pins.is_none());
    }
}

#[test]
fn a_connection_lost_between_watch_and_multi_is_a_changed_key() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "WATCH b");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "+OK\r\n");
    world.lose_link(own);
    world.send(client, "WATCH b|MULTI|EXEC|MULTI|EXEC");
    assert_eq!(world.told(client), "+OK|+OK|+OK|*-1|+OK|*0|", "and only once");
}

#[test]
fn keys_are_watched_where_they_are() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "WATCH b");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "-MOVED 3300 127.0.0.1:7001\r\n");
    let there = world.own(NODE_B);
    assert_eq!(world.asked_on(there), "WATCH b");
    world.say_on(there, "+OK\r\n");
    world.send(client, "WATCH a|UNWATCH");
    assert_eq!(world.asked_on(there), "UNWATCH");
    world.say_on(there, "+OK\r\n");
    world.send(client, "MULTI|SET a 1");
    assert_eq!(world.asked_on(there), "MULTI | SET a 1");
    assert_eq!(
        world.told(client),
        "+OK|-CROSSSLOT Keys in request don't hash to the same slot|+OK|+OK|"
    );
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "WATCH b");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.say_on(own, "+OK\r\n");
    world.core.forget(client, world.now);
    assert_eq!(world.asked_on(own), "UNWATCH");
    let next = world.client();
    world.send(next, "MULTI|SET b 1");
    let owned = world.owned(NODE_A);
    assert_eq!(owned.len(), 2, "nobody gets it before it is clean");
    world.say_on(own, "-ERR what?\r\n");
    assert!(world.core.link(own).is_closed(), "what cannot be made clean is closed");
}

#[test]
fn no_more_connections_than_allowed_are_made() {
    let mut world = World::with(Options { pinned_max: 1, ..Options::default() });
    let (first, second) = (world.client(), world.client());
    world.send(first, "MULTI|SET b 1");
    world.send(second, "MULTI|SET b 2|EXEC");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "MULTI | SET b 1");
    world.say_on(own, "+OK\r\n+QUEUED\r\n");
    world.send(first, "EXEC");
    world.asked_on(own);
    world.say_on(own, "*1\r\n+OK\r\n");
    world.pass(Duration::from_millis(300));
    assert_eq!(world.asked_on(own), "MULTI | SET b 2 | EXEC");
}

#[test]
fn a_transaction_is_bounded() {
    let mut world = World::with(Options { transaction_bytes: 64, ..Options::default() });
    let client = world.client();
    world.send(client, "MULTI|PUBLISH c 1|PUBLISH c 22222222222222222222222222222222|EXEC");
    assert_eq!(
        world.told(client),
        "+OK|+QUEUED|-ERR the transaction exceeds the proxy's transaction_bytes|\
         -EXECABORT Transaction discarded because of previous errors.|"
    );
}

// ---- blocking commands -------------------------------------------------------------------

#[test]
fn a_client_that_waits_has_a_connection_of_its_own() {
    let mut world = World::new();
    let (waiting, other) = (world.client(), world.client());
    world.send(waiting, "BLPOP b 0|GET b");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "BLPOP b 0");
    world.send(other, "RPUSH b x");
    assert_eq!(world.asked(NODE_A), "RPUSH b x", "GET waits behind BLPOP, others do not");
    world.say(NODE_A, ":1\r\n");
    world.say_on(own, "*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    assert_eq!(world.told(waiting), "*2|$1|b|$1|x|");
    assert!(matches!(world.role(own), Role::Idle(_)));
    assert_eq!(world.asked(NODE_A), "GET b");
}

#[test]
fn a_client_that_left_takes_nothing() {
    for half_closed in [false, true] {
        let mut world = World::new();
        let client = world.client();
        world.send(client, "BLPOP b 0");
        let own = world.own(NODE_A);
        world.asked_on(own);
        if half_closed {
            world.core.ended(client);
            assert!(world.core.is_finished(client));
        }
        world.core.forget(client, world.now);
        assert!(world.core.link(own).is_closed(), "the node sees that it left");
        assert_eq!(world.core.metrics.blocked.get(), 0);
    }
}

#[test]
fn a_wait_goes_on_at_the_new_owner_for_the_time_that_is_left() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "BLPOP b 5");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "BLPOP b 5");
    world.pass(Duration::from_millis(1_500));
    world.say_on(own, "-MOVED 3300 127.0.0.1:7001\r\n");
    let there = world.own(NODE_B);
    assert_eq!(world.asked_on(there), "BLPOP b 3.500");
    world.pass(Duration::from_millis(500));
    let demoted = "-UNBLOCKED force unblock from blocking operation, instance state changed \
                   (master -> replica?)\r\n";
    world.say_on(there, demoted);
    world.pass(Duration::from_millis(10));
    let again = world.own(NODE_B);
    assert!(world.asked_on(again).starts_with("BLPOP b 2.99"));
    world.say_on(again, "*-1\r\n");
    assert_eq!(world.told(client), "*-1|");
}

#[test]
fn a_wait_ends_in_time_though_no_node_has_it() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "BLPOP b 1");
    for _ in 0..1_100 {
        for own in world.owned(NODE_A) {
            if world.asked_on(own).starts_with("BLPOP") {
                world.say_on(own, DOWN);
            }
        }
        world.pass(Duration::from_millis(1));
    }
    assert_eq!(world.told(client), "*-1|");
}

#[test]
fn a_lost_connection_leaves_what_takes_in_doubt_and_what_reads_goes_on() {
    let mut world = World::new();
    let (taker, reader) = (world.client(), world.client());
    world.send(taker, "BLPOP b 0");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.lose_link(own);
    assert!(world.told(taker).starts_with("-INDOUBT"));
    world.others_are_well(NODE_A);

    world.pass(Duration::from_millis(20));
    world.send(reader, "XREAD BLOCK 0 STREAMS b $");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "XREVRANGE b + - COUNT 1");
    world.say_on(own, "*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    assert_eq!(world.asked_on(own), "XREAD BLOCK 0 STREAMS b 5-1");
    world.lose_link(own);
    world.others_are_well(NODE_A);
    world.pass(Duration::from_millis(20));
    let again = world.own(NODE_A);
    assert_eq!(world.asked_on(again), "XREAD BLOCK 0 STREAMS b 5-1", "nothing is missed");
    world.say_on(again, "*-1\r\n");
    assert_eq!(world.told(reader), "*-1|");
}

#[test]
fn a_silent_wait_is_judged_by_the_nodes_other_connections() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "BLPOP b 0");
    let own = world.own(NODE_A);
    world.asked_on(own);
    for _ in 0..30 {
        world.pass(Duration::from_secs(1));
        if world.asked(NODE_A) == "PING" {
            world.say(NODE_A, "+PONG\r\n");
        }
    }
    assert!(!world.core.link(own).is_closed(), "the node answers, however long it waits");
    world.pass(Duration::from_secs(13));
    assert!(world.core.link(own).is_closed());
    assert!(world.told(client).starts_with("-INDOUBT 127.0.0.1:7000 did not answer"));
}

#[test]
fn a_drain_ends_waits_and_loses_nothing() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "BLPOP b 0");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.core.drain(world.now);
    assert_eq!(world.asked(NODE_A), "CLIENT UNBLOCK 77 ERROR");
    // An element was faster.
    world.say_on(own, "*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    world.say(NODE_A, ":0\r\n");
    assert_eq!(world.told(client), "*2|$1|b|$1|x|");
    world.pass(Duration::from_millis(200));
    assert!(world.core.is_finished(client));
}

#[test]
fn client_unblock_ends_a_wait_and_only_its_own_answer_says_how() {
    let mut world = World::new();
    let (waiting, other) = (world.client(), world.client());
    world.send(waiting, "BLPOP b 0");
    let id = world.core.sessions[waiting.index()].client.id;
    // No node has it yet.
    world.send(other, &format!("CLIENT UNBLOCK {id}|CLIENT UNBLOCK {id}"));
    assert_eq!((world.told(other), world.told(waiting)), (":1|:0|".into(), "*-1|".into()));

    world.send(waiting, "BLPOP b 0");
    let own = world.own(NODE_A);
    world.asked_on(own);
    world.send(other, &format!("CLIENT UNBLOCK {id} ERROR"));
    assert_eq!(world.asked(NODE_A), "CLIENT UNBLOCK 77 ERROR");
    world.say(NODE_A, ":0\r\n");
    assert_eq!(world.asked(NODE_A), "CLIENT UNBLOCK 77 ERROR", "it was faster than BLPOP");
    world.say(NODE_A, ":1\r\n");
    world.say_on(own, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert_eq!(world.told(waiting), "-UNBLOCKED client unblocked via CLIENT UNBLOCK|");
}

#[test]
fn keys_that_are_waited_for_are_in_one_slot() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "BLPOP a b 0|BLPOP b x");
    assert_eq!(world.told(client), "-CROSSSLOT Keys in request don't hash to the same slot|");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "BLPOP b x", "the node says what is wrong");
    world.say_on(own, "-ERR timeout is not a float or out of range\r\n");
    assert_eq!(world.told(client), "-ERR timeout is not a float or out of range|");
}
