//! Transcripts of what clients ask about each other.

use super::*;

#[test]
fn clients_are_listed_chosen_and_closed() {
    let mut world = World::new();
    let (first, second, third) = (world.client(), world.client(), world.client());
    world.send(second, "CLIENT SETNAME two|GET b");
    world.send(first, "CLIENT LIST|CLIENT LIST ID 2|CLIENT LIST TYPE pubsub");
    let told = world.told(first);
    let lines: Vec<&str> = told.split(['|', '\n']).filter(|line| line.starts_with("id=")).collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("id=1 ") && lines[2].starts_with("id=3 "), "in order: {told}");
    assert!(lines[3].contains("name=two ") && lines[3].contains(" cmd=get "), "{told}");
    assert!(told.ends_with("$0||"), "nobody listens: {told}");

    world.send(first, "CLIENT KILL ID 3|CLIENT KILL ID 3|CLIENT KILL 1.2.3.4:5|CLIENT KILL ID 1");
    assert_eq!(world.told(first), ":1|:0|-ERR No such client|:0|", "it is spared itself");
    assert!(world.core.is_finished(third) && !world.core.is_finished(second));
    world.send(first, "CLIENT KILL ID 1 SKIPME no");
    assert_eq!(world.told(first), ":1|", "it has its answer before it is closed");
    assert!(world.core.is_finished(first));
}

#[test]
fn a_pause_holds_writes_or_everything_until_it_ends() {
    let mut world = World::new();
    let (first, second) = (world.client(), world.client());
    world.send(first, "CLIENT PAUSE 1000 WRITE");
    world.send(second, "GET b|SET b 1|PING");
    let late = world.client();
    world.send(late, "INCR b");
    assert_eq!(world.asked(NODE_A), "GET b");
    world.say(NODE_A, "$-1\r\n");
    assert_eq!((world.told(first), world.told(second)), ("+OK|".into(), "$-1|".into()));
    world.pass(Duration::from_millis(999));
    assert_eq!(world.asked(NODE_A), "");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.asked(NODE_A).split(" | ").count(), 2, "both writes go on");
    world.say(NODE_A, "+OK\r\n+OK\r\n");
    assert_eq!(world.told(second), "+OK|+PONG|");

    world.send(first, "CLIENT PAUSE 100000|PING");
    assert_eq!(world.told(first), "+OK|", "who pauses is held as well");
    world.send(second, "CLIENT UNPAUSE|PING");
    assert_eq!((world.told(first), world.told(second)), ("+PONG|".into(), "+OK|+PONG|".into()));
}

#[test]
fn what_is_wrong_with_a_pause_is_told_in_redis_s_words() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "CLIENT PAUSE x|CLIENT PAUSE -1|CLIENT PAUSE 1 FOO|CLIENT UNBLOCK 9 FOO");
    assert_eq!(
        world.told(client),
        "-ERR timeout is not an integer or out of range|-ERR timeout is negative|\
         -ERR CLIENT PAUSE mode must be WRITE or ALL|\
         -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR|"
    );
}
