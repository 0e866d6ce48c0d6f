//! Transcripts of WAIT, and of sessions whose commands travel on other connections than most.

use super::*;
use crate::proxy::link::{Link, Role};

impl World {
    /// The open connections to a node that these words are asked on.
    fn linked(&mut self, port: u16, is: impl Fn(&Link) -> bool) -> Vec<LinkId> {
        self.connect();
        let wanted = |(_, link): &(LinkId, &Link)| {
            link.endpoint == at(port) && !link.is_closed() && is(link)
        };
        self.core.backends.links().filter(wanted).map(|(id, _)| id).collect()
    }

    fn owned_by_waits(&mut self, port: u16) -> Vec<LinkId> {
        self.linked(port, |link| link.role.owner().is_some())
    }
}

const BEFORE: &str = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n";

#[test]
fn wait_asks_each_primary_that_was_written_to_and_the_smallest_counts() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 1|SET a 1|GET c|WAIT 2 1000|GET b");
    assert_eq!(world.asked(NODE_A), "SET b 1 | GET c");
    assert!(world.owned_by_waits(NODE_A).is_empty(), "what was written is answered first");
    world.say(NODE_A, "+OK\r\n$-1\r\n");
    assert_eq!(world.asked(NODE_B), "SET a 1");
    world.say(NODE_B, "+OK\r\n");
    let mut links = Vec::new();
    for port in [NODE_A, NODE_B] {
        let link = world.owned_by_waits(port)[0];
        let asked = world.asked_on(link);
        let key = asked.split(' ').nth(3).expect("a key").to_owned();
        assert!(key.starts_with("keyway:wait:"), "{asked}");
        // An empty argument has no line of words of its own.
        assert_eq!(asked, format!("MULTI | SET {key} | DEL {key} | EXEC | WAIT 2 1000"));
        links.push(link);
    }
    world.say_on(links[0], &format!("{BEFORE}:2\r\n"));
    assert_eq!(world.told(client), "+OK|+OK|$-1|");
    world.say_on(links[1], &format!("{BEFORE}:1\r\n"));
    assert_eq!(world.told(client), ":1|");
    assert!(matches!(world.core.link(links[0]).role, Role::Idle(_)));
    assert_eq!(world.asked(NODE_A), "GET b");
}

#[test]
fn after_a_primary_was_lost_wait_counts_only_what_was_written_since() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 1|WAIT 1 1000");
    world.asked(NODE_A);
    world.say(NODE_A, "+OK\r\n");
    let link = world.owned_by_waits(NODE_A)[0];
    world.asked_on(link);
    world.say_on(link, BEFORE);
    world.pass(Duration::from_millis(400));
    world.core.link_lost(link, LinkEnd::Lost, "connection reset", world.now);
    world.core.link_freed(link, true);
    let failed_over = view("", "0-16383", 7);
    world.core.shared.map.publish(&failed_over, &at(NODE_B), world.now, world.now);
    world.pass(Duration::from_millis(10));
    assert_eq!(
        world.told(client),
        "+OK|:0|",
        "its heir may lack what was written, whoever copies it"
    );
    world.send(client, "WAIT 1 1000");
    assert_eq!(world.told(client), ":0|");
    world.send(client, "SET b 2|WAIT 1 1000");
    world.asked(NODE_B);
    world.say(NODE_B, "+OK\r\n");
    let link = world.owned_by_waits(NODE_B)[0];
    world.asked_on(link);
    world.say_on(link, &format!("{BEFORE}:1\r\n"));
    assert_eq!(world.told(client), "+OK|:1|");
}

#[test]
fn what_wait_has_seen_copied_outlives_its_primary() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SET b 1|WAIT 1 1000");
    world.asked(NODE_A);
    world.say(NODE_A, "+OK\r\n");
    let link = world.owned_by_waits(NODE_A)[0];
    world.asked_on(link);
    world.say_on(link, &format!("{BEFORE}:1\r\n"));
    assert_eq!(world.told(client), "+OK|:1|");
    world.lose(NODE_A);
    world.pass(Duration::from_millis(400));
    world.send(client, "WAIT 1 1000");
    let link = world.owned_by_waits(NODE_A);
    assert_eq!(link.len(), 1, "it is asked again");
}

#[test]
fn waitaof_of_a_client_that_wrote_nothing_writes_nothing() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "WAITAOF 0 1 0");
    let mut links = world.owned_by_waits(NODE_A);
    links.extend(world.owned_by_waits(NODE_B));
    assert_eq!(links.len(), 1);
    assert_eq!(world.asked_on(links[0]), "WAITAOF 0 1 0");
    world.say_on(links[0], "*2\r\n:0\r\n:1\r\n");
    assert_eq!(world.told(client), "*2|:0|:1|");
}

#[test]
fn a_database_has_connections_of_its_own() {
    let mut world = World::new();
    let (first, second) = (world.client(), world.client());
    world.send(first, "SELECT 1");
    assert!(world.told(first).starts_with("-ERR SELECT is not allowed in cluster mode"));
    world.core.shared.map.set_databases(4);
    world.send(first, "SELECT 4|SELECT -1|SELECT x|SELECT 3|GET b");
    assert_eq!(
        world.told(first),
        "-ERR DB index is out of range|-ERR DB index is out of range|\
         -ERR value is not an integer or out of range|+OK|"
    );
    world.send(second, "GET b");
    let shared = world.linked(NODE_A, |link| link.role == Role::Shared);
    assert_eq!(shared.len(), 2);
    let asked: Vec<String> = shared.iter().map(|link| world.asked_on(*link)).collect();
    assert_eq!(asked, ["GET b", "GET b"], "neither is on the other's connection");
    for (link, text) in shared.iter().zip(["$5\r\nthree\r\n", "$4\r\nnone\r\n"]) {
        world.say_on(*link, text);
    }
    assert_eq!((world.told(first), world.told(second)), ("$5|three|".into(), "$4|none|".into()));
    world.send(first, "MULTI|GET b");
    let own = world.owned_by_waits(NODE_A)[0];
    assert_eq!(world.asked_on(own), "MULTI | GET b");
    world.say_on(own, "+OK\r\n+QUEUED\r\n");
    world.send(first, "RESET|GET b");
    assert_eq!(world.asked_on(shared[1]), "GET b", "back on database 0");
}

#[test]
fn no_touch_has_connections_of_its_own_where_nodes_know_it() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "CLIENT NO-TOUCH ON");
    assert_eq!(world.told(client), "-ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP.|");
    world.core.shared.map.set_version(&at(NODE_A), "7.2.4");
    world.send(client, "CLIENT NO-TOUCH maybe|CLIENT NO-TOUCH ON|GET b|CLIENT NO-TOUCH OFF|GET b");
    assert_eq!(world.told(client), "-ERR syntax error|+OK|");
    let links = world.linked(NODE_A, |link| link.role == Role::Shared);
    assert_eq!(links.len(), 1);
    assert_eq!(world.asked_on(links[0]), "GET b");
    world.say_on(links[0], "$-1\r\n");
    assert_eq!(world.told(client), "$-1|+OK|");
    let links = world.linked(NODE_A, |link| link.role == Role::Shared);
    assert_eq!(links.len(), 2, "the second is on a connection that counts");
}
