//! Transcripts of subscriptions. Worker 0's channels come in from node A.

use super::world::{A, B};
use super::*;
use crate::cluster::View;
use crate::resp::encode_request;

impl World {
    /// What a node has been sent on its subscriber connection.
    fn heard_by(&mut self, port: u16) -> String {
        match self.feed(port) {
            Some(id) => self.asked_on(id),
            None => String::new(),
        }
    }

    /// A node pushes these words on its subscriber connection; a number is sent as one.
    fn push(&mut self, port: u16, words: &[&str]) {
        let id = self.feed(port).expect("a subscriber connection to this node");
        let mut frame = format!(">{}\r\n", words.len());
        for word in words {
            frame.push_str(&match word.parse::<i64>() {
                Ok(number) => format!(":{number}\r\n"),
                Err(_) => format!("${}\r\n{word}\r\n", word.len()),
            });
        }
        self.say_on(id, &frame);
    }

    fn tell(&mut self, port: u16, line: &str) {
        let id = self.feed(port).expect("a subscriber connection to this node");
        self.say_on(id, line);
    }

    fn lose_feed(&mut self, port: u16) {
        let id = self.feed(port).expect("a subscriber connection to this node");
        self.core.link_lost(id, LinkEnd::Lost, "connection reset", self.now);
        self.core.link_freed(id, true);
    }

    /// A client that listens to these channels, at node A.
    pub(super) fn listener(&mut self, channels: &str) -> SessionId {
        let client = self.client();
        self.send(client, &format!("SUBSCRIBE {channels}"));
        for command in self.heard_by(NODE_A).split(" | ") {
            if let Some(channel) = command.strip_prefix("subscribe ") {
                self.push(NODE_A, &["subscribe", channel, "1"]);
            }
        }
        self.told(client);
        client
    }
}

const HELLO_3: &str = "HELLO 3";

#[test]
fn clients_of_a_worker_share_one_subscription_at_one_node() {
    let mut world = World::new();
    let (first, second) = (world.client(), world.client());
    world.send(second, HELLO_3);
    world.told(second);
    world.send(first, "SUBSCRIBE news");
    world.send(second, "SUBSCRIBE news");
    assert_eq!(world.heard_by(NODE_A), "SUBSCRIBE news".to_lowercase());
    assert_eq!(world.heard_by(NODE_B), "", "one node carries what every node is told");
    assert_eq!(world.told(first), "", "nothing is confirmed that a node has not confirmed");
    world.push(NODE_A, &["subscribe", "news", "1"]);
    assert_eq!(world.told(first), "*3|$9|subscribe|$4|news|:1|");
    assert_eq!(world.told(second), ">3|$9|subscribe|$4|news|:1|");
    world.push(NODE_A, &["message", "news", "hello"]);
    assert_eq!(world.told(first), "*3|$7|message|$4|news|$5|hello|");
    assert_eq!(world.told(second), ">3|$7|message|$4|news|$5|hello|");

    let third = world.client();
    world.send(third, "SUBSCRIBE news other news");
    assert_eq!(world.heard_by(NODE_A), "subscribe other", "the rest is there already");
    world.push(NODE_A, &["subscribe", "other", "2"]);
    assert_eq!(
        world.told(third),
        "*3|$9|subscribe|$4|news|:1|*3|$9|subscribe|$5|other|:2|*3|$9|subscribe|$4|news|:2|"
    );
}

#[test]
fn the_last_to_leave_ends_the_subscription() {
    let mut world = World::new();
    let (first, second) = (world.listener("x"), world.client());
    world.send(second, "SUBSCRIBE x|PSUBSCRIBE x*");
    assert_eq!(world.heard_by(NODE_A), "psubscribe x*");
    world.push(NODE_A, &["psubscribe", "x*", "2"]);
    world.told(second);
    world.send(first, "UNSUBSCRIBE|UNSUBSCRIBE|PING");
    assert_eq!(world.told(first), "*3|$11|unsubscribe|$1|x|:0|*3|$11|unsubscribe|$-1|:0|+PONG|");
    assert_eq!(world.heard_by(NODE_A), "", "the second still listens");
    world.send(second, "UNSUBSCRIBE y x|PUNSUBSCRIBE");
    assert_eq!(
        world.told(second),
        "*3|$11|unsubscribe|$1|y|:2|*3|$11|unsubscribe|$1|x|:1|*3|$12|punsubscribe|$2|x*|:0|"
    );
    assert_eq!(world.heard_by(NODE_A), "unsubscribe x | punsubscribe x*");
    world.push(NODE_A, &["unsubscribe", "x", "1"]);
    world.push(NODE_A, &["punsubscribe", "x*", "0"]);
    let third = world.listener("z");
    world.core.forget(third, world.now);
    assert!(world.core.subscriptions.topics.is_empty());
}

#[test]
fn a_confirmation_of_an_ended_subscription_confirms_no_later_one() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SUBSCRIBE x");
    world.core.forget(client, world.now);
    let next = world.client();
    world.send(next, "SUBSCRIBE x");
    assert_eq!(world.heard_by(NODE_A), "subscribe x | unsubscribe x | subscribe x");
    world.push(NODE_A, &["subscribe", "x", "1"]);
    world.push(NODE_A, &["unsubscribe", "x", "0"]);
    assert_eq!(world.told(next), "");
    world.push(NODE_A, &["subscribe", "x", "1"]);
    assert_eq!(world.told(next), "*3|$9|subscribe|$1|x|:1|");
}

#[test]
fn a_resp2_client_that_listens_may_do_little_else() {
    let mut world = World::new();
    let client = world.listener("x");
    world.send(client, "GET a|CLIENT LIST|PING|PING hi|NOSUCH|PUBLISH x y");
    let no = |name: &str| {
        format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context|"
        )
    };
    let (get, list, publish) = (no("get"), no("client|list"), no("publish"));
    let unknown = "-ERR unknown command 'NOSUCH', with args beginning with: |";
    assert_eq!(
        world.told(client),
        format!("{get}{list}*2|$4|pong|$0||*2|$4|pong|$2|hi|{unknown}{publish}")
    );
    world.send(client, "RESET|GET b");
    assert_eq!(world.told(client), "+RESET|");
    assert_eq!(world.asked(NODE_A), "GET b");
    world.push(NODE_A, &["message", "x", "late"]);
    world.say(NODE_A, "$1\r\nB\r\n");
    assert_eq!(world.told(client), "$1|B|");
}

#[test]
fn a_resp3_client_that_listens_goes_on_as_before() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, HELLO_3);
    world.told(client);
    world.send(client, "SUBSCRIBE x|PING|PUBLISH x hi");
    assert_eq!(world.heard_by(NODE_A), "subscribe x");
    assert_eq!(world.told(client), "", "what comes later waits for the subscription");
    world.push(NODE_A, &["subscribe", "x", "1"]);
    assert_eq!(world.told(client), ">3|$9|subscribe|$1|x|:1|+PONG|");
    world.push(NODE_A, &["message", "x", "hi"]);
    assert_eq!(world.told(client), ">3|$7|message|$1|x|$2|hi|");
    assert_eq!(world.asked(NODE_A), "PUBLISH x hi");
    world.say(NODE_A, ":1\r\n");
    assert_eq!(world.told(client), ":1|");
    world.send(client, "HELLO 2|PING");
    assert!(world.told(client).ends_with("*2|$4|pong|$0||"));
}

#[test]
fn confirmations_come_in_the_order_of_the_requests() {
    let mut world = World::new();
    let client = world.client();
    // Slots of both nodes in one request, as no node alone would take it.
    world.send(client, "SSUBSCRIBE a b|SSUBSCRIBE c|UNSUBSCRIBE");
    assert_eq!(world.heard_by(NODE_A), "ssubscribe b | ssubscribe c");
    assert_eq!(world.heard_by(NODE_B), "ssubscribe a");
    world.push(NODE_A, &["ssubscribe", "b", "1"]);
    world.push(NODE_A, &["ssubscribe", "c", "2"]);
    world.push(NODE_A, &["smessage", "c", "early"]);
    assert_eq!(world.told(client), "", "no message before its confirmation");
    world.push(NODE_B, &["ssubscribe", "a", "1"]);
    assert_eq!(
        world.told(client),
        "*3|$10|ssubscribe|$1|a|:1|*3|$10|ssubscribe|$1|b|:2|*3|$10|ssubscribe|$1|c|:3|\
         *3|$11|unsubscribe|$-1|:0|"
    );
    world.push(NODE_A, &["smessage", "c", "hi"]);
    assert_eq!(world.told(client), "*3|$8|smessage|$1|c|$2|hi|");
}

#[test]
fn what_nodes_say_of_their_own_keys_comes_from_each_and_all_else_once() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "PSUBSCRIBE *");
    assert_eq!(
        (world.heard_by(NODE_A), world.heard_by(NODE_B)),
        ("psubscribe *".into(), "psubscribe *".into())
    );
    world.push(NODE_B, &["psubscribe", "*", "1"]);
    assert_eq!(world.told(client), "", "every primary must have confirmed it");
    world.push(NODE_A, &["psubscribe", "*", "1"]);
    assert_eq!(world.told(client), "*3|$10|psubscribe|$1|*|:1|");
    for port in [NODE_A, NODE_B] {
        world.push(port, &["pmessage", "*", "__keyevent@0__:del", "key"]);
        world.push(port, &["pmessage", "*", "news", "hello"]);
    }
    let event = "*4|$8|pmessage|$1|*|$18|__keyevent@0__:del|$3|key|";
    let news = "*4|$8|pmessage|$1|*|$4|news|$5|hello|";
    assert_eq!(world.told(client), format!("{event}{news}{event}"));
}

#[test]
fn a_lost_connection_is_made_up_for_elsewhere_and_no_client_is_told() {
    let mut world = World::new();
    let client = world.listener("x y");
    world.lose_feed(NODE_A);
    assert_eq!(world.heard_by(NODE_A), "subscribe x | subscribe y", "it may be back at once");
    world.push(NODE_A, &["subscribe", "x", "1"]);
    world.push(NODE_A, &["subscribe", "y", "2"]);
    // Then it cannot be reached: the other node tells the same.
    let id = world.feed(NODE_A).expect("it is there");
    world.core.link_lost(id, LinkEnd::Connect, "connection refused", world.now);
    world.core.link_freed(id, true);
    assert_eq!(world.heard_by(NODE_B), "subscribe x | subscribe y");
    world.push(NODE_B, &["subscribe", "x", "1"]);
    world.push(NODE_B, &["message", "x", "hi"]);
    assert_eq!(world.told(client), "*3|$7|message|$1|x|$2|hi|");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.feed(NODE_A), None, "it stays where it is");
}

#[test]
fn a_shard_channel_follows_its_slot() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SSUBSCRIBE b");
    assert_eq!(world.heard_by(NODE_A), "ssubscribe b");
    world.tell(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.heard_by(NODE_B), "ssubscribe b");
    world.push(NODE_B, &["ssubscribe", "b", "1"]);
    assert_eq!(world.told(client), "*3|$10|ssubscribe|$1|b|:1|");
    // The slot goes back: the node says so unasked, before the map knows.
    world.push(NODE_B, &["sunsubscribe", "b", "0"]);
    assert_eq!(world.heard_by(NODE_B), "ssubscribe b", "as far as the map knows");
    world.tell(NODE_B, "-MOVED 3300 127.0.0.1:7000\r\n");
    assert_eq!(world.heard_by(NODE_A), "ssubscribe b");
    world.push(NODE_A, &["ssubscribe", "b", "1"]);
    assert_eq!(world.told(client), "", "the client does not notice");
    world.push(NODE_A, &["smessage", "b", "hi"]);
    assert_eq!(world.told(client), "*3|$8|smessage|$1|b|$2|hi|");
}

/// A client that listens to the shard channel `b`, which is at node A and goes to node B.
fn moving(world: &mut World) -> SessionId {
    let client = world.client();
    world.send(client, "SSUBSCRIBE b");
    world.heard_by(NODE_A);
    world.push(NODE_A, &["ssubscribe", "b", "1"]);
    world.told(client);
    world.core.shared.map.learn(Slot::of(b"b"), &at(NODE_B), world.now);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.heard_by(NODE_B), "ssubscribe b");
    client
}

fn message(text: &str) -> String {
    format!("*3|$8|smessage|$1|b|${}|{text}|", text.len())
}

/// Each message is published in one of the two shards: none is lost, whichever connection is read first.
#[test]
fn while_a_shard_channel_moves_what_either_owner_has_sent_comes() {
    let mut world = World::new();
    let client = moving(&mut world);
    world.push(NODE_A, &["smessage", "b", "one"]);
    world.push(NODE_B, &["ssubscribe", "b", "1"]);
    assert_eq!(world.heard_by(NODE_A), "sunsubscribe b | PING", "only after the other has it");
    world.push(NODE_B, &["smessage", "b", "three"]);
    world.push(NODE_A, &["smessage", "b", "two"]);
    world.push(NODE_A, &["sunsubscribe", "b", "0"]);
    world.tell(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n+PONG\r\n");
    world.push(NODE_A, &["smessage", "b", "it has said that there is no more"]);
    world.push(NODE_B, &["smessage", "b", "four"]);
    let all: String = ["one", "three", "two", "four"].map(message).concat();
    assert_eq!(world.told(client), all);
}

/// The map goes back to the old owner for a moment, by a node that has not heard of the move.
#[test]
fn a_map_that_goes_to_and_fro_loses_no_message_of_a_shard() {
    let mut world = World::new();
    let client = moving(&mut world);
    world.push(NODE_B, &["ssubscribe", "b", "1"]);
    assert_eq!(world.heard_by(NODE_A), "sunsubscribe b | PING");
    world.core.shared.map.learn(Slot::of(b"b"), &at(NODE_A), world.now);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.heard_by(NODE_A), "ssubscribe b");
    world.push(NODE_B, &["smessage", "b", "one"]);
    world.push(NODE_A, &["sunsubscribe", "b", "0"]);
    world.tell(NODE_A, "+PONG\r\n-MOVED 3300 127.0.0.1:7001\r\n");
    world.push(NODE_B, &["smessage", "b", "two"]);
    assert_eq!(world.told(client), ["one", "two"].map(message).concat());
    assert_eq!(world.heard_by(NODE_B), "", "it is still there");
}

/// A replica of A takes over. For a while both nodes send the same.
#[test]
fn while_a_shard_channel_fails_over_each_message_comes_once() {
    let mut world = World::new();
    let text = format!(
        "{A} 127.0.0.1:{NODE_A}@17000 myself,master - 0 0 9 connected 0-16383\n\
         {B} 127.0.0.1:{NODE_B}@17001 slave {A} 0 0 9 connected\n"
    );
    let view = View::parse(&text, "127.0.0.1").expect("valid");
    for port in [NODE_A, NODE_B] {
        world.core.shared.map.publish(&view, &at(port), world.now, world.now);
    }
    let client = moving(&mut world);
    world.push(NODE_A, &["smessage", "b", "one"]);
    world.push(NODE_B, &["ssubscribe", "b", "1"]);
    assert_eq!(world.heard_by(NODE_A), "sunsubscribe b | PING", "only after the other has it");
    world.push(NODE_A, &["smessage", "b", "two"]);
    world.push(NODE_B, &["smessage", "b", "two"]);
    world.tell(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n+PONG\r\n");
    world.push(NODE_B, &["smessage", "b", "three"]);
    let all: String = ["one", "two", "three"].map(message).concat();
    assert_eq!(world.told(client), all);
}

/// A message that a client publishes comes to those who listen, though it finds the slot's new owner first.
#[test]
fn what_is_published_waits_until_those_who_listen_have_followed_the_slot() {
    let mut world = World::new();
    let listener = moving(&mut world);
    let publisher = world.client();
    world.send(publisher, "SPUBLISH b hi|SET b 1");
    assert_eq!(world.find_link(NODE_B, false), None, "nobody listens there yet");
    world.push(NODE_B, &["ssubscribe", "b", "1"]);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.asked(NODE_B), "SPUBLISH b hi");
    world.push(NODE_B, &["smessage", "b", "hi"]);
    world.say(NODE_B, ":1\r\n");
    assert_eq!(world.told(publisher), ":1|");
    assert_eq!(world.asked(NODE_B), "SET b 1", "in its turn");
    assert_eq!(world.told(listener), message("hi"));
}

/// The old owner says MOVED to who publishes before anybody else has heard of the move.
#[test]
fn what_is_published_follows_its_slot_after_those_who_listen() {
    let mut world = World::new();
    let listener = world.client();
    world.send(listener, "SSUBSCRIBE b");
    world.heard_by(NODE_A);
    world.push(NODE_A, &["ssubscribe", "b", "1"]);
    world.told(listener);
    let publisher = world.client();
    world.send(publisher, "SPUBLISH b hi");
    assert_eq!(world.asked(NODE_A), "SPUBLISH b hi");
    world.say(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n");
    world.pass(Duration::from_millis(100));
    assert_eq!(world.heard_by(NODE_B), "ssubscribe b");
    assert_eq!(world.find_link(NODE_B, false), None);
    // It does not answer: who publishes is not held up for ever, and is told the truth.
    world.pass(Duration::from_millis(1_000));
    assert_eq!(world.asked(NODE_B), "SPUBLISH b hi");
    world.say(NODE_B, ":0\r\n");
    assert_eq!(world.told(publisher), ":0|");
}

#[test]
fn a_subscription_that_no_node_takes_ends_with_what_was_waited_for() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SSUBSCRIBE b|SUBSCRIBE x");
    for _ in 0..400 {
        if world.heard_by(NODE_A).contains("ssubscribe b") {
            world.tell(NODE_A, "-CLUSTERDOWN Hash slot not served\r\n");
        }
        world.pass(Duration::from_millis(100));
    }
    let told = world.told(client);
    assert!(told.starts_with("-CLUSTERDOWN Hash slot not served; waited 30"), "{told}");
    assert!(!told.contains("subscribe"), "the second still waits for its node: {told}");
}

#[test]
fn what_a_node_forbids_is_told() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SUBSCRIBE x y");
    world.heard_by(NODE_A);
    let no = "-NOPERM this user has no permissions to access one of the channels used as arguments";
    world.tell(NODE_A, &format!("{no}\r\n"));
    assert_eq!(world.told(client), format!("{no}|"));
    world.push(NODE_A, &["subscribe", "y", "1"]);
    assert_eq!(world.told(client), "");
    world.send(client, "GET b");
    assert_eq!(world.asked(NODE_A), "GET b", "it listens to nothing");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_alone() {
    let options = Options {
        subscriber_output: 2000,
        subscriber_output_soft: 500,
        subscriber_output_time: Duration::from_secs(10),
        ..Options::default()
    };
    let mut world = World::with(options);
    let (slow, slower, quick) = (world.listener("x"), world.listener("x"), world.listener("x"));
    let payload = "p".repeat(300);
    for _ in 0..2 {
        world.push(NODE_A, &["message", "x", &payload]);
        world.told(quick);
        world.told(slow);
    }
    world.pass(Duration::from_secs(11));
    assert!(world.core.is_finished(slower), "too much for long");
    assert!(!world.core.is_finished(slow) && !world.core.is_finished(quick));
    for _ in 0..7 {
        world.push(NODE_A, &["message", "x", &payload]);
        world.told(quick);
    }
    assert!(world.core.is_finished(slow), "too much at once");
    assert!(!world.core.is_finished(quick));
}

#[test]
fn a_silent_subscriber_connection_is_asked_and_then_given_up() {
    let mut world = World::new();
    let client = world.listener("x");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.heard_by(NODE_A), "PING");
    world.tell(NODE_A, "+PONG\r\n");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.heard_by(NODE_A), "PING");
    let mut tenths = 0;
    while world.heard_by(NODE_B).is_empty() {
        world.pass(Duration::from_millis(100));
        tenths += 1;
    }
    assert!((80..=110).contains(&tenths), "as patient as with a command: {tenths}");
    world.push(NODE_B, &["subscribe", "x", "1"]);
    world.push(NODE_B, &["message", "x", "hi"]);
    assert_eq!(world.told(client), "*3|$7|message|$1|x|$2|hi|");
}

#[test]
fn an_answer_that_nobody_expects_ends_the_connection_and_not_the_subscription() {
    let mut world = World::new();
    let client = world.listener("x");
    let mut frame = Vec::new();
    encode_request(&mut frame, &["what"]);
    world.tell(NODE_A, &String::from_utf8(frame).expect("text"));
    world.pass(Duration::from_millis(500));
    let heard = world.heard_by(NODE_A) + &world.heard_by(NODE_B);
    assert_eq!(heard, "subscribe x");
    assert_eq!(world.told(client), "");
}

#[test]
fn publish_counts_the_clients_and_not_the_connection_that_they_share() {
    let mut world = World::new();
    let listeners = [world.listener("x"), world.client(), world.client()];
    world.send(listeners[1], "SUBSCRIBE x");
    world.send(listeners[2], "PSUBSCRIBE x*");
    assert_eq!(world.heard_by(NODE_A), "psubscribe x*");
    world.push(NODE_A, &["psubscribe", "x*", "2"]);
    // One node gets everything, and so it comes in one order.
    let (at_a, second) = (world.client(), world.client());
    world.send(at_a, "PUBLISH x 3");
    world.send(second, "PUBLISH x 1|PING|PUBLISH y 2");
    assert_eq!(world.asked(NODE_A), "PUBLISH x 3 | PUBLISH x 1 | PUBLISH y 2");
    world.say(NODE_A, ":2\r\n");
    assert_eq!(world.told(at_a), ":3|", "both that the node counts are the worker's connection");
    world.say(NODE_A, ":3\r\n:1\r\n");
    assert_eq!(world.told(second), ":4|+PONG|:1|", "one client of the node's own each time");
    // Who has left is no listener any more, whatever the node still counts.
    world.send(listeners[0], "UNSUBSCRIBE");
    world.send(listeners[1], "RESET");
    assert_eq!(world.heard_by(NODE_A), "unsubscribe x");
    world.send(at_a, "PUBLISH x 4");
    world.push(NODE_A, &["unsubscribe", "x", "1"]);
    world.say(NODE_A, ":2\r\n");
    assert_eq!(world.told(at_a), ":1|", "the connection left while the message was on its way");
    world.send(at_a, "PUBLISH x 5");
    world.say(NODE_A, ":1\r\n");
    // In a transaction, too.
    world.send(at_a, "MULTI|INCR b|PUBLISH x 6|PING|EXEC");
    let id = world.owned(NODE_A)[0];
    assert!(world.asked_on(id).contains("PUBLISH x 6"));
    world.say_on(id, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:7\r\n:1\r\n");
    assert_eq!(world.told(at_a), ":1|+OK|+QUEUED|+QUEUED|+QUEUED|*3|:7|:1|+PONG|");
}
