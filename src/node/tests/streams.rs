//! Clients that wait for streams. The replies are those of Valkey 9.1.2 (measured), whose waits
//! end as those of Redis 7.2 do.

use super::*;

const NO_GROUP: &str =
    "-NOGROUP No such key 'a' or consumer group 'g' in XREADGROUP with GROUP option|";
const ENTRY: &str = "*2|$3|2-1|*2|$1|f|$1|v|";

/// What a client is answered that waits with `line` after `before`, when others do `then`.
fn outcome(before: &[&str], line: &str, then: &[&str]) -> String {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut run = |node: &mut Node, lines: &[&str]| {
        for line in lines {
            let reply = node.replies(&mut other, line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
    };
    run(&mut node, before);
    let mut waiting = node.waiting(line);
    run(&mut node, then);
    node.arrived(&mut waiting)
}

#[test]
fn a_reader_gets_what_comes() {
    let one = format!("*1|*2|$1|a|*1|{ENTRY}");
    let read = "XREAD BLOCK 0 STREAMS a $";
    for (before, line, then, reply) in [
        (&["XADD a 1-1 x y"][..], read, &["XADD a 2-1 f v"][..], &*one),
        (&[], "XREAD BLOCK 0 STREAMS a +", &["XADD a 2-1 f v"], &one),
        (&[], "XREAD BLOCK 0 STREAMS a 0", &["XADD b 2-1 f v", "RENAME b a"], &one),
        (&[], read, &["LPUSH a x", "SET a x"], ""),
        (&[], read, &["LPUSH a x", "DEL a", "XADD a 2-1 f v"], &one),
        (&["XADD a 1-1 f v"], read, &["DEL a"], ""),
        (&[], read, &["MULTI", "XADD a 2-1 f v", "XDEL a 2-1", "EXEC"], ""),
    ] {
        assert_eq!(outcome(before, line, then), reply, "{line}, then {then:?}");
    }
    let both = ["MULTI", "XADD b 2-1 f v", "XADD a 2-1 f v", "EXEC"];
    let reply = format!("*2|*2|$1|a|*1|{ENTRY}*2|$1|b|*1|{ENTRY}");
    assert_eq!(outcome(&[], "XREAD BLOCK 0 STREAMS a b 0 0", &both), reply);
}

#[test]
fn who_reads_for_a_group_hears_of_its_end() {
    let group = ["XGROUP CREATE a g $ MKSTREAM", "XGROUP CREATE a g2 $"];
    let line = "XREADGROUP GROUP g c BLOCK 0 STREAMS a >";
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value|";
    let one = format!("*1|*2|$1|a|*1|{ENTRY}");
    for (then, reply) in [
        (&["DEL a"][..], NO_GROUP),
        (&["FLUSHALL"], NO_GROUP),
        (&["RENAME a b"], NO_GROUP),
        (&["XGROUP DESTROY a g"], NO_GROUP),
        (&["XGROUP DESTROY a g2"], ""),
        (&["SET a x"], wrong_type),
        (&["MULTI", "DEL a", "LPUSH a x", "EXEC"], wrong_type),
        (&["XADD a 2-1 f v"], &one),
    ] {
        assert_eq!(outcome(&group, line, then), reply, "{then:?}");
    }
}

#[test]
fn a_reader_that_waits_counts_as_seen_and_not_as_active() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    node.replies(&mut other, "XGROUP CREATE a g $ MKSTREAM");
    let mut waiting = node.waiting("XREADGROUP GROUP g c BLOCK 0 STREAMS a >");
    let consumers = |node: &mut Node, other: &mut Client, pending, inactive| {
        let reply = node.replies(other, "XINFO CONSUMERS a g");
        let expected =
            format!("*1|*8|$4|name|$1|c|$7|pending|:{pending}|$4|idle|:0|$8|inactive|:{inactive}|");
        assert_eq!(reply, expected);
    };
    consumers(&mut node, &mut other, 0, -1);
    node.replies(&mut other, "XADD a 2-1 f v");
    assert_eq!(node.arrived(&mut waiting), format!("*1|*2|$1|a|*1|{ENTRY}"));
    consumers(&mut node, &mut other, 1, 0);
}
