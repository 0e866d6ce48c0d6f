//! Transcripts of clients that are told when keys change, and of monitors.

use super::*;
use crate::proxy::link::Link;

impl World {
    /// The connections to a node that one client has on a lane of its own, the oldest first.
    fn tracked(&mut self, port: u16) -> Vec<LinkId> {
        let is_own =
            |(_, link): &(LinkId, &Link)| link.endpoint == at(port) && link.tracker.is_some();
        let open = |(_, link): &(LinkId, &Link)| !link.is_closed();
        let found = self.core.backends.links().filter(is_own).filter(open);
        found.map(|(id, _)| id).collect()
    }

    /// Connects what is to be connected; nodes take everything.
    fn connect_all(&mut self) {
        while let Some(id) = self.core.next_open() {
            if self.core.link(id).is_closed() {
                self.core.link_freed(id, false);
                continue;
            }
            self.core.link_connected(id, self.now);
            let mut answer = "%0\r\n";
            if !self.core.link(id).writable().starts_with(b"*2\r\n$5\r\nHELLO") {
                answer = "+PONG\r\n";
            }
            while !self.core.link(id).is_ready() {
                let said = self.core.link(id).writable().len();
                assert!(said > 0, "a step of the handshake");
                let is_id = self.core.link(id).writable().ends_with(b"$2\r\nID\r\n");
                self.core.link(id).wrote(said);
                self.say_on(id, if is_id { ":77\r\n" } else { answer });
                answer = "+OK\r\n";
            }
        }
    }

    fn tracker(&mut self) -> SessionId {
        let client = self.client();
        self.send(client, "HELLO 3");
        self.send(client, "CLIENT TRACKING ON");
        self.told(client);
        self.connect_all();
        assert_eq!(self.told(client), "+OK|");
        client
    }
}

const CHANGED_B: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nb\r\n";
const TOLD_B: &str = ">2|$10|invalidate|*1|$1|b|";
const TOLD_ALL: &str = ">2|$10|invalidate|_|";

#[test]
fn news_waits_for_the_replies_that_came_before_it() {
    let mut world = World::new();
    let client = world.tracker();
    let (a, b) = (world.tracked(NODE_A)[0], world.tracked(NODE_B)[0]);
    world.send(client, "GET a|GET b|GET c");
    // The old value of b is there, but has to wait for a's: so has the news that it is old.
    world.say_on(a, &format!("$3\r\nold\r\n{CHANGED_B}"));
    assert_eq!(world.told(client), "");
    world.say_on(b, "$1\r\nA\r\n");
    assert_eq!(world.told(client), format!("$1|A|$3|old|{TOLD_B}"));
    // What has not been answered yet will be answered with what is new: no news waits for it.
    world.say_on(a, CHANGED_B);
    assert_eq!(world.told(client), TOLD_B);
    world.say_on(a, "$1\r\nC\r\n");
    assert_eq!(world.told(client), "$1|C|");
    // The same with a reply that is being put together.
    world.send(client, "MGET b a");
    world.say_on(a, &format!("*1\r\n$3\r\nold\r\n{CHANGED_B}"));
    assert_eq!(world.told(client), "");
    world.say_on(b, "*1\r\n$1\r\nA\r\n");
    assert_eq!(world.told(client), format!("*2|$3|old|$1|A|{TOLD_B}"));
}

#[test]
fn what_one_client_tracks_is_on_connections_of_its_own() {
    let mut world = World::new();
    let (client, other) = (world.tracker(), world.client());
    let own = world.tracked(NODE_A)[0];
    world.send(other, "GET b");
    world.send(client, "GET b");
    assert_eq!(world.asked(NODE_A), "GET b");
    assert_eq!(world.asked_on(own), "GET b");
    world.say_on(own, &format!("$1\r\n1\r\n{CHANGED_B}"));
    world.say(NODE_A, "$1\r\n2\r\n");
    assert_eq!(world.told(other), "$1|2|");
    assert_eq!(world.told(client), format!("$1|1|{TOLD_B}"));
    world.send(client, "CLIENT TRACKING OFF|GET b");
    assert_eq!(world.told(client), "+OK|");
    assert!(world.tracked(NODE_A).is_empty() && world.tracked(NODE_B).is_empty());
    assert!(world.core.trackers.is_empty());
}

#[test]
fn a_lost_connection_or_a_moved_slot_makes_everything_old() {
    let mut world = World::new();
    let client = world.tracker();
    let own = world.tracked(NODE_A)[0];
    world.core.link_lost(own, LinkEnd::Lost, "connection reset", world.now);
    world.core.link_freed(own, true);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.told(client), TOLD_ALL);
    world.connect_all();
    assert_eq!(world.told(client), "", "once is enough");
    let moved = view("0-100", "101-16383", 3);
    world.core.shared.map.publish(&moved, &at(NODE_A), world.now, world.now);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.told(client), TOLD_ALL);
    world.core.forget(client, world.now);
    assert!(world.core.trackers.is_empty() && world.tracked(NODE_A).is_empty());
}

/// Another connection would tell the client of its own writes (NOLOOP), and make it forget all when it is
/// closed some day.
#[test]
fn a_transaction_waits_until_nothing_of_the_one_before_is_on_its_way_back() {
    let mut world = World::new();
    let client = world.tracker();
    let own = world.tracked(NODE_A)[0];
    world.send(client, "MULTI|SET b 1|EXEC x|MULTI|SET b 2|EXEC");
    assert_eq!(world.asked_on(own), "MULTI | SET b 1 | DISCARD");
    world.pass(Duration::from_millis(50));
    world.connect_all();
    assert_eq!((world.tracked(NODE_A), world.asked_on(own)), (vec![own], String::new()));
    world.say_on(own, "+OK\r\n+QUEUED\r\n+OK\r\n");
    world.pass(Duration::from_millis(200));
    assert_eq!(world.asked_on(own), "MULTI | SET b 2 | EXEC");
    world.say_on(own, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    let told = world.told(client);
    assert!(told.starts_with("+OK|+QUEUED|-EXECABORT ") && told.ends_with("|+OK|+QUEUED|*1|+OK|"));
    assert_eq!(world.tracked(NODE_A), [own]);
}

/// What a client takes itself would be told to it on any other connection.
#[test]
fn a_wait_while_keys_are_watched_is_on_the_connection_that_watches_them() {
    let mut world = World::new();
    let client = world.tracker();
    let (own, other) = (world.tracked(NODE_A)[0], world.tracked(NODE_B)[0]);
    let watch = |world: &mut World, own: LinkId| {
        world.send(client, "WATCH b");
        assert_eq!(world.asked_on(own), "WATCH b");
        world.say_on(own, "+OK\r\n");
        world.send(client, "BLPOP b 0");
        assert_eq!((world.tracked(NODE_A), world.asked_on(own)), (vec![own], "BLPOP b 0".into()));
        assert_eq!(world.told(client), "+OK|");
    };
    watch(&mut world, own);
    world.say_on(own, "*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    assert_eq!(world.told(client), "*2|$1|b|$1|x|");
    world.send(client, "MULTI|SET b 1|EXEC");
    assert_eq!(world.asked_on(own), "MULTI | SET b 1 | EXEC");
    world.say_on(own, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(world.told(client), "+OK|+QUEUED|*1|+OK|");
    // It may go on elsewhere; what is watched stays where it was.
    watch(&mut world, own);
    world.say_on(own, "-ASK 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked_on(other), "ASKING | BLPOP b 0");
    world.say_on(other, "+OK\r\n*2\r\n$1\r\nb\r\n$1\r\ny\r\n");
    assert_eq!(world.told(client), "*2|$1|b|$1|y|");
    world.send(client, "UNWATCH");
    assert_eq!(world.asked_on(own), "UNWATCH");
    world.say_on(own, "+OK\r\n");
    assert_eq!(world.told(client), "+OK|");
    // Lost under both: what it took is in doubt, and what was watched cannot be told.
    watch(&mut world, own);
    world.core.link_lost(own, LinkEnd::Lost, "connection reset", world.now);
    world.core.link_freed(own, true);
    assert!(world.told(client).starts_with("-INDOUBT "));
    world.pass(Duration::from_millis(200));
    world.connect_all();
    world.send(client, "MULTI|SET b 1|EXEC");
    let again = world.tracked(NODE_A)[0];
    assert_eq!(world.asked_on(again), "MULTI | SET b 1");
    world.say_on(again, "+OK\r\n+QUEUED\r\n");
    assert_eq!(world.told(client), "+OK|+QUEUED|_|", "as if it had changed");
    assert_eq!(world.asked_on(again), "DISCARD");
    world.core.forget(client, world.now);
    assert!(world.tracked(NODE_A).is_empty() && world.core.trackers.is_empty());
}

#[test]
fn a_node_that_cannot_track_is_named() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "HELLO 3");
    world.told(client);
    world.send(client, "CLIENT TRACKING ON|GET b");
    while let Some(id) = world.core.next_open() {
        if world.core.link(id).is_closed() {
            world.core.link_freed(id, false);
            continue;
        }
        world.core.link_connected(id, world.now);
        for answer in ["%0\r\n", "-ERR unknown subcommand 'TRACKING'\r\n", ":7\r\n"] {
            if world.core.link(id).is_closed() {
                break;
            }
            let said = world.core.link(id).writable().len();
            world.core.link(id).wrote(said);
            world.say_on(id, answer);
        }
        if world.told(client).starts_with("-ERR CLIENT TRACKING is not available: 127.0.0.1:70") {
            return;
        }
    }
    panic!("it was not told");
}

#[test]
fn in_resp2_another_connection_is_told() {
    let mut world = World::new();
    let (ears, client) = (world.listener("x"), world.client());
    let id = world.core.sessions[ears.index()].client.id;
    world.send(client, &format!("CLIENT TRACKING ON REDIRECT {id}"));
    world.connect_all();
    world.pass(Duration::from_millis(200));
    world.connect_all();
    assert_eq!(world.told(client), "+OK|");
    let of_a = world.tracked(NODE_A);
    assert_eq!(of_a.len(), 2, "one that hears, and one that asks");
    world.send(client, "GET b");
    let asks = *of_a.iter().find(|&&id| world.asked_on(id) == "GET b").expect("one asks");
    let hears = *of_a.iter().find(|&&id| id != asks).expect("the other");
    world.say_on(asks, "$1\r\n1\r\n");
    world.say_on(hears, CHANGED_B);
    assert_eq!(world.told(client), "$1|1|");
    assert_eq!(world.told(ears), "*3|$7|message|$20|__redis__:invalidate|*1|$1|b|");
    world.core.forget(ears, world.now);
    world.say_on(hears, CHANGED_B);
    world.send(client, "CLIENT TRACKINGINFO");
    assert!(world.told(client).contains("broken_redirect"));
}

#[test]
fn caching_goes_right_before_what_it_is_about() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "HELLO 3");
    world.send(client, "CLIENT TRACKING ON OPTIN");
    world.connect_all();
    world.told(client);
    let (a, b) = (world.tracked(NODE_A)[0], world.tracked(NODE_B)[0]);
    world.send(client, "CLIENT CACHING YES|GET b|GET c");
    assert_eq!(world.asked_on(a), "CLIENT CACHING YES | GET b | GET c");
    world.say_on(a, "+OK\r\n$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(world.told(client), "+OK|$1|B|$1|C|");
    world.send(client, "CLIENT CACHING YES|MGET a b");
    assert_eq!(world.asked_on(a), "CLIENT CACHING YES | MGET b");
    assert_eq!(world.asked_on(b), "CLIENT CACHING YES | MGET a");
    world.say_on(a, "+OK\r\n*1\r\n$1\r\nB\r\n");
    world.say_on(b, "+OK\r\n*1\r\n$1\r\nA\r\n");
    assert_eq!(world.told(client), "+OK|*2|$1|A|$1|B|");
    // A redirect takes it along.
    world.send(client, "CLIENT CACHING YES|GET b");
    world.asked_on(a);
    world.say_on(a, "+OK\r\n-ASK 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked_on(b), "ASKING | CLIENT CACHING YES | GET b");
}

#[test]
fn a_monitor_is_shown_requests_once_and_in_their_order() {
    let mut world = World::new();
    let (monitor, client) = (world.client(), world.client());
    world.send(monitor, "MONITOR");
    assert_eq!(world.told(monitor), "+OK|");
    world.send(client, "GET a|MULTI|SET b 1|EXEC|AUTH x|PING");
    let text = world.told(monitor);
    let shown: Vec<&str> =
        text.split('|').filter_map(|line| Some(line.split_once("] ")?.1)).collect();
    let expected =
        [r#""GET" "a""#, r#""MULTI""#, r#""SET" "b" "1""#, r#""EXEC""#, r#""AUTH" "(redacted)""#];
    // EXEC waits for what is under way; the rest is behind it.
    assert_eq!(shown[..2], expected[..2]);
    assert!(text.starts_with("+1700000000.123456 [0 127.0.0.1:50000] "), "{text}");
    world.say(NODE_B, "$1\r\nA\r\n");
    let own = world.own(NODE_A);
    world.say_on(own, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    let text = text + &world.told(monitor);
    let shown: Vec<&str> =
        text.split('|').filter_map(|line| Some(line.split_once("] ")?.1)).collect();
    assert_eq!(shown[..5], expected);
    assert_eq!(shown[5..], [r#""PING""#]);
    world.send(monitor, "RESET");
    world.told(monitor);
    world.send(client, "PING");
    assert_eq!(world.told(monitor), "");
}
