//! Transcripts of scripts: the ones that a node does not have, and the words they put into its
//! mouth.

use super::*;

const BODY: &str = "return(1)";
/// Of `return(1)`.
const NAME: &str = "cb9fc2de0c2c1b6a4ab2d0f5b6dcb1f8b8e0a1fd";

fn name() -> String {
    let digest = crate::value::sha1(BODY.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_script_that_was_sent_before_is_loaded_where_it_is_missing() {
    for missing in
        ["-NOSCRIPT No matching script. Please use EVAL.\r\n", "-NOSCRIPT No matching script.\r\n"]
    {
        let mut world = World::new();
        let client = world.client();
        world.send(client, &format!("EVAL {BODY} 1 a"));
        world.asked(NODE_B);
        world.say(NODE_B, ":1\r\n");
        world.send(client, &format!("EVALSHA {} 1 b", name().to_uppercase()));
        world.asked(NODE_A);
        world.say(NODE_A, missing);
        let load = format!("SCRIPT LOAD {BODY} | EVALSHA {} 1 b", name().to_uppercase());
        assert_eq!(world.asked(NODE_A), load, "adjacent, on one connection");
        world.say(NODE_A, "$40\r\n0123456789012345678901234567890123456789\r\n:1\r\n");
        assert_eq!(world.told(client), ":1|:1|");
    }
}

#[test]
fn a_script_that_nobody_has_sent_is_the_clients_to_send() {
    let mut world = World::new();
    let client = world.client();
    let missing = "-NOSCRIPT No matching script. Please use EVAL.";
    for flushed in [false, true] {
        if flushed {
            world.send(client, &format!("EVAL {BODY} 1 b|SCRIPT FLUSH"));
            world.asked(NODE_A);
            world.say(NODE_A, ":1\r\n+OK\r\n");
            world.asked(NODE_B);
            world.say(NODE_B, "+OK\r\n");
            world.told(client);
        }
        world.send(client, &format!("EVALSHA {} 1 b", name()));
        world.asked(NODE_A);
        world.say(NODE_A, &format!("{missing}\r\n"));
        assert_eq!(world.told(client), format!("{missing}|"));
    }
}

#[test]
fn a_script_that_does_not_load_is_tried_once() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, &format!("EVAL {BODY} 1 b"));
    world.asked(NODE_A);
    world.say(NODE_A, ":1\r\n");
    world.told(client);
    world.send(client, &format!("EVALSHA {} 1 b", name()));
    world.asked(NODE_A);
    let missing = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    world.say(NODE_A, missing);
    assert!(world.asked(NODE_A).starts_with("SCRIPT LOAD"));
    world.say(NODE_A, &format!("-NOPERM no\r\n{missing}"));
    assert_eq!(world.told(client), missing.replace("\r\n", "|"));
}

#[test]
fn what_a_script_says_of_other_scripts_is_its_own() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, &format!("EVAL {BODY} 1 b"));
    world.asked(NODE_A);
    world.say(NODE_A, "-NOSCRIPT said a script, after it had written\r\n");
    assert_eq!(world.told(client), "-NOSCRIPT said a script, after it had written|");
}

#[test]
fn a_named_script_goes_whole_into_a_transaction() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, &format!("EVAL {BODY} 1 a"));
    world.asked(NODE_B);
    world.say(NODE_B, ":1\r\n");
    world.send(client, &format!("MULTI|EVALSHA {} 1 b x|EVALSHA {} 1 b|EXEC", name(), NAME));
    world.connect();
    let own = world.core.backends.links().find(|(_, link)| link.role.owner().is_some());
    let own = own.expect("a connection of its own").0;
    let asked = format!("MULTI | EVAL {BODY} 1 b x | EVALSHA {NAME} 1 b | EXEC");
    assert_eq!(world.asked_on(own), asked);
}

/// A script on node A, answered with a redirect to B.
fn redirected(world: &mut World, client: SessionId, commands: &str, redirect: &str) {
    world.send(client, commands);
    world.asked(NODE_A);
    world.say(NODE_A, &format!("-{redirect}\r\n"));
    assert_eq!(world.told(client), "", "only the node knows whose words these are");
    assert_eq!(world.asked(NODE_A), "EXISTS b");
}

#[test]
fn a_scripts_redirect_is_followed_if_the_node_redirects_a_read_too() {
    for (redirect, sent) in [
        ("MOVED 3300 127.0.0.1:7001", "EVAL x 1 b"),
        ("ASK 3300 127.0.0.1:7001", "ASKING | EVAL x 1 b"),
    ] {
        let mut world = World::new();
        let client = world.client();
        redirected(&mut world, client, "EVAL x 1 b", redirect);
        world.say(NODE_A, &format!("-{redirect}\r\n"));
        assert_eq!(world.asked(NODE_B), sent, "it did not run");
        let ok = if redirect.starts_with("ASK") { "+OK\r\n:7\r\n" } else { ":7\r\n" };
        world.say(NODE_B, ok);
        assert_eq!(world.told(client), ":7|");
    }
}

#[test]
fn a_script_that_forges_a_redirect_ran_and_this_is_its_reply() {
    let mut world = World::new();
    let client = world.client();
    redirected(&mut world, client, "EVAL x 1 b", "MOVED 3300 127.0.0.1:7001");
    world.say(NODE_A, ":1\r\n");
    assert_eq!(world.told(client), "-MOVED 3300 127.0.0.1:7001|");
    world.pass(Duration::from_millis(500));
    assert!(world.find_link(NODE_B, false).is_none(), "and it does not run again");
}

#[test]
fn a_topology_that_has_not_heard_of_a_failover_changes_nothing() {
    let mut world = World::new();
    let client = world.client();
    redirected(&mut world, client, "EVAL x 1 b", "MOVED 3300 127.0.0.1:7001");
    world.now += Duration::from_millis(1);
    let same = view("0-8191", "8192-16383", 1);
    world.core.shared.map.publish(&same, &at(NODE_A), world.now, world.now);
    world.pass(Duration::from_millis(300));
    assert_eq!(world.told(client), "", "the node that was asked has not answered yet");
    world.say(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked(NODE_B), "EVAL x 1 b");
}

#[test]
fn a_script_whose_redirect_is_never_confirmed_is_in_doubt() {
    let mut world = World::new();
    let client = world.client();
    redirected(&mut world, client, "EVAL x 1 b", "MOVED 3300 127.0.0.1:7001");
    world.lose(NODE_A);
    assert!(world.told(client).starts_with("-INDOUBT "));
    world.pass(Duration::from_millis(500));
    assert!(world.find_link(NODE_B, false).is_none(), "it is not sent anywhere else");
}

#[test]
fn a_node_that_cannot_tell_whose_redirect_it_was_is_asked_again() {
    let moved = "-MOVED 3300 127.0.0.1:7001\r\n";
    for (answer, then) in [(moved, "run"), (":1\r\n", "in doubt"), ("", "in doubt")] {
        let mut world = World::new();
        let client = world.client();
        redirected(&mut world, client, "EVAL x 1 b", "MOVED 3300 127.0.0.1:7001");
        for line in ["CLUSTERDOWN The cluster is down", "LOADING Redis is loading"] {
            world.say(NODE_A, &format!("-{line}\r\n"));
            assert_eq!(world.told(client), "", "after {line}");
            world.pass(Duration::from_secs(1));
            assert_eq!(world.asked(NODE_A), "EXISTS b", "after {line}");
        }
        match answer {
            "" => world.lose(NODE_A),
            // It has the slot again: an answer proves nothing any more.
            _ => world.say(NODE_A, answer),
        }
        if then == "run" {
            assert_eq!(world.asked(NODE_B), "EVAL x 1 b");
            continue;
        }
        assert!(world.told(client).starts_with("-INDOUBT "), "{answer}");
        world.pass(Duration::from_millis(500));
        assert!(world.find_link(NODE_B, false).is_none(), "it is not sent anywhere else");
    }
}

#[test]
fn what_follows_a_script_whose_redirect_is_unconfirmed_keeps_behind_it() {
    let mut world = World::new();
    let client = world.client();
    redirected(&mut world, client, "EVAL x 1 b|SET b 2", "MOVED 3300 127.0.0.1:7001");
    world.say(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n");
    world.send(client, "SET b 3");
    assert!(world.find_link(NODE_B, false).is_none(), "neither the script has gone, nor the rest");
    world.say(NODE_A, "-MOVED 3300 127.0.0.1:7001\r\n");
    assert_eq!(world.asked(NODE_B), "EVAL x 1 b");
    world.say(NODE_B, ":1\r\n");
    assert_eq!(world.asked(NODE_B), "SET b 2");
    world.say(NODE_B, "+OK\r\n");
    assert_eq!(world.asked(NODE_B), "SET b 3");
    world.say(NODE_B, "+OK\r\n");
    assert_eq!(world.told(client), ":1|+OK|+OK|");
}
