//! Transcripts of what took long.

use super::*;

#[test]
fn a_request_that_took_long_is_noted_with_its_client_and_its_time() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "CLIENT SETNAME me|GET b|PING|GET a");
    assert_eq!((world.asked(NODE_A), world.asked(NODE_B)), ("GET b".into(), "GET a".into()));
    world.pass(Duration::from_millis(5));
    world.say(NODE_B, "$1\r\nA\r\n");
    world.pass(Duration::from_millis(20));
    world.say(NODE_A, "-ERR no\r\n");
    assert_eq!(world.told(client), "+OK|-ERR no|+PONG|$1|A|");
    world.send(client, "SLOWLOG LEN|SLOWLOG GET");
    let told = world.told(client);
    let noted = told.strip_prefix(":1|*1|*6|:0|:1700000000|");
    let noted = noted.expect("its number and when it ended");
    assert!(noted.starts_with(":25000|*2|$3|GET|$1|b|$"), "only what took 10 ms: {told}");
    assert!(noted.ends_with("|$2|me|"), "{told}");
    world.send(client, "SLOWLOG RESET|SLOWLOG LEN|SLOWLOG GET -2|SLOWLOG GET x");
    let bad = "-ERR count should be greater than or equal to -1|";
    assert_eq!(world.told(client), format!("+OK|:0|{bad}{bad}"));
}

#[test]
fn the_latest_are_kept_and_shown_first() {
    let mut world = World::new();
    let client = world.client();
    for _ in 0..200 {
        world.send(client, "INCR b");
        world.asked(NODE_A);
        world.pass(Duration::from_millis(11));
        world.say(NODE_A, ":1\r\n");
    }
    world.told(client);
    world.send(client, "SLOWLOG LEN|SLOWLOG GET 1");
    let told = world.told(client);
    assert!(told.starts_with(":128|*1|*6|:199|"), "{told}");
    world.send(client, "SLOWLOG GET");
    assert!(world.told(client).starts_with("*10|"), "ten unless asked for more");
    world.send(client, "SLOWLOG GET -1");
    assert!(world.told(client).starts_with("*128|"));
}

#[test]
fn who_waits_for_an_element_is_not_slow_and_a_split_request_may_be() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "MGET a b");
    assert_eq!((world.asked(NODE_A), world.asked(NODE_B)), ("MGET b".into(), "MGET a".into()));
    world.pass(Duration::from_millis(30));
    world.say(NODE_A, "*1\r\n$-1\r\n");
    world.say(NODE_B, "*1\r\n$-1\r\n");
    let waiting = world.client();
    world.send(waiting, "BLPOP b 0.1");
    assert_eq!(world.core.metrics.blocked.get(), 1);
    world.send(client, "INFO clients");
    let told = world.told(client);
    assert!(told.contains("blocked_clients:1|"), "{told}");
    world.pass(Duration::from_millis(200));
    world.send(client, "SLOWLOG GET");
    let told = world.told(client);
    assert!(told.starts_with("*1|") && told.contains("$4|MGET|"), "{told}");
}

#[test]
fn nothing_is_noted_where_nothing_is_slow() {
    let mut world = World::with(Options { slow_after: Duration::ZERO, ..Options::default() });
    let client = world.client();
    world.send(client, "GET b");
    world.asked(NODE_A);
    world.pass(Duration::from_millis(100));
    world.say(NODE_A, "$-1\r\n");
    world.send(client, "SLOWLOG LEN|CONFIG GET slowlog-log-slower-than");
    assert_eq!(world.told(client), "$-1|:0|*2|$23|slowlog-log-slower-than|$2|-1|");
}

#[test]
fn keys_that_are_watched_are_counted_once_each() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, "WATCH b b");
    let own = world.own(NODE_A);
    assert_eq!(world.asked_on(own), "WATCH b b");
    world.say_on(own, "+OK\r\n");
    let other = world.client();
    world.send(other, "CLIENT LIST ID 1");
    let told = world.told(other);
    assert!(told.contains(" watch=1 "), "{told}");
}
