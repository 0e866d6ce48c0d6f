//! The end of a round of SCAN, as the nodes are asked about it.

use super::world::{A, B, NODE_A, NODE_B, World};

/// Both are asked at the end of a round, and say that their slots are the ones of its beginning.
fn both_keep_their_slots(world: &mut World) {
    assert_eq!(world.asked(NODE_A), "CLUSTER NODES");
    assert_eq!(world.asked(NODE_B), "CLUSTER NODES");
    world.say(NODE_A, &told(A, 1, "0-8191"));
    world.say(NODE_B, &told(B, 2, "8192-16383"));
}

/// What a node tells of itself.
fn told(id: &str, epoch: u64, slots: &str) -> String {
    let line = format!("{id} 127.0.0.1:7000@17000 myself,master - 0 0 {epoch} connected {slots}\n");
    format!("${}\r\n{line}\r\n", line.len())
}

fn cursor(reply: &str) -> &str {
    reply.split('|').nth(2).expect("a page has a cursor")
}

#[test]
fn the_last_page_waits_for_what_every_node_says() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SCAN 0 COUNT 5");
    assert_eq!(world.asked(NODE_B), "SCAN 0 COUNT 5", "the highest slot is first");
    world.say(NODE_B, "*2\r\n$2\r\n77\r\n*1\r\n$1\r\na\r\n");
    let page = world.told(client);
    assert!(page.ends_with("|*1|$1|a|"), "{page}");
    world.send(client, &format!("SCAN {} COUNT 5", cursor(&page)));
    assert_eq!(world.asked(NODE_B), "SCAN 77 COUNT 5");
    world.say(NODE_B, "*2\r\n$1\r\n0\r\n*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n");
    let page = world.told(client);
    assert!(page.ends_with("|*5|:1|:2|:3|:4|:5|"), "as many as were asked for: {page}");
    world.send(client, &format!("SCAN {} COUNT 5", cursor(&page)));
    assert_eq!(world.asked(NODE_A), "SCAN 0 COUNT 5");
    world.say(NODE_A, "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n");
    assert_eq!(world.told(client), "");
    both_keep_their_slots(&mut world);
    assert_eq!(world.told(client), "*2|$1|0|*1|$1|b|");
}

#[test]
fn a_page_with_few_keys_goes_on_with_the_next_node() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SCAN 0 MATCH x* COUNT 3");
    assert_eq!(world.asked(NODE_B), "SCAN 0 MATCH x* COUNT 3");
    world.say(NODE_B, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(world.told(client), "");
    assert_eq!(world.asked(NODE_A), "SCAN 0 MATCH x* COUNT 3");
    world.say(NODE_A, "*2\r\n$1\r\n9\r\n*1\r\n$1\r\nc\r\n");
    let page = world.told(client);
    assert!(page.ends_with("|*3|$1|a|$1|b|$1|c|"), "{page}");
    world.send(client, &format!("SCAN {} COUNT 3", cursor(&page)));
    assert_eq!(world.asked(NODE_A), "SCAN 9 COUNT 3");
    // A walk that ends at once is one request, as a single server's is.
    let other = world.client();
    world.send(other, "SCAN 0");
    assert_eq!(world.asked(NODE_B), "SCAN 0");
    world.say(NODE_A, "*2\r\n$1\r\n8\r\n*1\r\n$1\r\nd\r\n");
    world.told(client);
    world.say(NODE_B, "*2\r\n$1\r\n0\r\n*0\r\n");
    assert_eq!(world.asked(NODE_A), "SCAN 0");
    world.say(NODE_A, "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nc\r\n");
    both_keep_their_slots(&mut world);
    assert_eq!(world.told(other), "*2|$1|0|*1|$1|c|");
}

#[test]
fn a_slot_that_went_meanwhile_sends_the_walk_to_its_owner_once_more() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "SCAN 0");
    world.asked(NODE_B);
    world.say(NODE_B, "*2\r\n$1\r\n0\r\n*0\r\n");
    world.asked(NODE_A);
    world.say(NODE_A, "*2\r\n$1\r\n0\r\n*0\r\n");
    world.asked(NODE_A);
    world.asked(NODE_B);
    world.say(NODE_A, &told(A, 1, "0-8190"));
    world.say(NODE_B, &told(B, 2, "8191-16383"));
    let page = world.told(client);
    assert_ne!(cursor(&page), "0");
    // A node that answers an error ends the page, and the cursor stays good.
    for _ in 0..2 {
        world.send(client, &format!("SCAN {}", cursor(&page)));
        assert_eq!(world.asked(NODE_B), "SCAN 0", "who has gained the slot, and nobody else");
        world.say(NODE_B, "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nc\r\n");
        assert_eq!(
            (world.asked(NODE_A), world.asked(NODE_B)),
            ("CLUSTER NODES".into(), "CLUSTER NODES".into())
        );
        world.say(NODE_A, "-NOPERM no\r\n");
        world.say(NODE_B, &told(B, 2, "8191-16383"));
        assert_eq!(world.told(client), "-NOPERM no|");
    }
    world.send(client, &format!("SCAN {}", cursor(&page)));
    world.asked(NODE_B);
    world.say(NODE_B, "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nc\r\n");
    world.asked(NODE_A);
    world.asked(NODE_B);
    world.say(NODE_A, &told(A, 1, "0-8190"));
    world.say(NODE_B, &told(B, 2, "8191-16383"));
    assert_eq!(world.told(client), "*2|$1|0|*1|$1|c|");
}
