//! What goes on to replicas for each command, by the measure of Redis 7.0.15 (asked with a raw
//! `PSYNC` on a live server).

use crate::clock::Now;
use crate::node::tests::{Client, Node};
use crate::resp::{Limits, RequestDecoder};
use std::time::Duration;

/// A node with a listener on the stream of its replicas.
struct Tapped {
    node: Node,
    client: Client,
    /// How much of the stream was looked at.
    heard: u64,
}

impl Tapped {
    fn new(directives: &[(&str, &str)]) -> Self {
        let mut node = Node::new(directives);
        node.core.server.keep_backlog();
        node.core.server.listen(&mut node.core.keyspace);
        let client = node.client();
        Self { node, client, heard: 0 }
    }

    /// Runs a line, and tells what went on: a command per part, separated by `; `. Times that are
    /// that of the node are shown as what is added to it.
    fn run(&mut self, line: &str) -> String {
        self.node.replies(&mut self.client, line);
        self.heard()
    }

    fn heard(&mut self) -> String {
        let backlog = self.node.core.server.replication.backlog().expect("it is kept");
        let text = lines(backlog.read(self.heard), self.node.now);
        self.heard = backlog.end();
        text
    }

    fn check(&mut self, steps: &[(&str, &str)]) {
        for (line, expected) in steps {
            assert_eq!(self.run(line), *expected, "{line}");
        }
    }
}

fn lines(mut bytes: &[u8], now: Now) -> String {
    let mut decoder = RequestDecoder::default();
    let mut lines = Vec::new();
    while let Ok(Some(length)) = decoder.decode(bytes, &Limits::default()) {
        let request = decoder.request(bytes, length).expect("a command");
        let words = request.args_from(0).map(|arg| {
            let text = String::from_utf8_lossy(arg).into_owned();
            let time = text.parse::<u64>().ok().filter(|time| time.abs_diff(now.unix_ms) < 1 << 30);
            time.map_or(text, |time| format!("now+{}", time - now.unix_ms))
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "the stream holds whole commands");
    lines.join("; ")
}

#[test]
fn what_changes_something_goes_on_as_it_came_and_what_does_not_stays() {
    Tapped::new(&[]).check(&[
        ("SET a 1", "SELECT 0; SET a 1"),
        ("set b 1", "set b 1"),
        ("SET a 2 NX", ""),
        ("GET a", ""),
        ("DEL a nope", "DEL a nope"),
        ("DEL a nope", ""),
        ("HSET h f 1", "HSET h f 1"),
        ("HDEL h g", ""),
        ("SADD s 1", "SADD s 1"),
        ("SADD s 1", ""),
        ("NOSUCH x", ""),
        ("LPUSH h x", ""),
        ("RENAME b c", "RENAME b c"),
        ("PERSIST c", ""),
        ("FLUSHDB", "FLUSHDB"),
        ("FLUSHDB", "FLUSHDB"),
        ("FLUSHALL ASYNC", "FLUSHALL ASYNC"),
        ("SWAPDB 0 0", "SWAPDB 0 0"),
    ]);
}

/// As Valkey 9.1.2 sends it: 7.0.15 tells how far a group has read only where nothing else does.
#[test]
fn what_a_stream_chose_goes_on_as_what_it_chose() {
    Tapped::new(&[("stream-node-max-entries", "1")]).check(&[
        ("XADD t 5-* a 1", "SELECT 0; XADD t 5-0 a 1"),
        ("XADD t MAXLEN ~ 1 7-* a 1", "XADD t MAXLEN = 1 7-0 a 1"),
        ("XADD t MINID ~ 3 7-* a 1", "XADD t MINID = 7-0 7-1 a 1"),
        ("XADD t MAXLEN 2 8-1 a 1", "XADD t MAXLEN 2 8-1 a 1"),
        ("XADD t MAXLEN ~ 0 LIMIT 50 9-1 a 1", "XADD t MAXLEN = 0 LIMIT 50 9-1 a 1"),
        ("XTRIM t MAXLEN ~ 0", ""),
        ("XADD u 1-1 a 1", "XADD u 1-1 a 1"),
        ("XADD u 2-1 a 1", "XADD u 2-1 a 1"),
        ("XADD u 3-1 a 1", "XADD u 3-1 a 1"),
        ("XADD u 4-1 a 1", "XADD u 4-1 a 1"),
        ("XTRIM u MAXLEN ~ 3", "XTRIM u MAXLEN = 3"),
        ("XGROUP CREATE u g $", "XGROUP CREATE u g $"),
        ("XGROUP SETID u g 0", "XGROUP SETID u g 0"),
        (
            "XREADGROUP GROUP g c1 COUNT 1 STREAMS u >",
            "MULTI; XCLAIM u g c1 0 2-1 TIME now+0 RETRYCOUNT 1 FORCE JUSTID LASTID 2-1; \
             XGROUP SETID u g 2-1 ENTRIESREAD 2; EXEC",
        ),
        (
            "XREADGROUP GROUP g c2 NOACK COUNT 1 STREAMS u >",
            "MULTI; XGROUP CREATECONSUMER u g c2; XGROUP SETID u g 3-1 ENTRIESREAD 3; EXEC",
        ),
        ("XREADGROUP GROUP g c1 STREAMS u 0", ""),
        ("XREADGROUP GROUP g c3 STREAMS u 0", ""),
        (
            "XCLAIM u g c6 0 2-1",
            "XCLAIM u g c6 0 2-1 TIME now+0 RETRYCOUNT 3 FORCE JUSTID LASTID 3-1",
        ),
        ("XCLAIM u g c9 0 9-9 LASTID 10-1", "XGROUP SETID u g 10-1 ENTRIESREAD 3"),
        ("XCLAIM u g c9 100000 2-1", ""),
        ("XDEL u 2-1", "XDEL u 2-1"),
        (
            "XAUTOCLAIM u g c10 0 0",
            "XCLAIM u g c6 0 2-1 TIME now+0 RETRYCOUNT 3 FORCE JUSTID LASTID 10-1",
        ),
        ("XACK u g 2-1", ""),
        ("XSETID u 99-1", "XSETID u 99-1"),
        ("XGROUP CREATECONSUMER u g c1", ""),
        ("XGROUP DELCONSUMER u g c1", "XGROUP DELCONSUMER u g c1"),
        ("XGROUP DESTROY u g", "XGROUP DESTROY u g"),
        ("XGROUP DESTROY u g", ""),
    ]);
}

#[test]
fn times_to_live_go_on_as_the_moment_of_their_end() {
    Tapped::new(&[]).check(&[
        ("SET a 1 EX 100", "SELECT 0; SET a 1 PXAT now+100000"),
        ("SET a 1 PX 7", "SET a 1 PXAT now+7"),
        ("SET a 1 EXAT 99999999999", "SET a 1 PXAT 99999999999000"),
        ("set a 1 pxat 99999999999000", "SET a 1 PXAT 99999999999000"),
        ("SET a 1 KEEPTTL", "SET a 1 KEEPTTL"),
        ("SET a 3 XX GET EX 10", "SET a 3 PXAT now+10000"),
        ("SETEX a 10 v", "SET a v PXAT now+10000"),
        ("PSETEX a 10 v", "SET a v PXAT now+10"),
        ("EXPIRE a 100", "PEXPIREAT a now+100000"),
        ("EXPIRE a 100 NX", ""),
        ("EXPIRE a 10 LT", "PEXPIREAT a now+10000 LT"),
        ("PEXPIRE a 5", "PEXPIREAT a now+5"),
        ("EXPIREAT a 99999999999", "PEXPIREAT a 99999999999000"),
        ("GETEX a", ""),
        ("GETEX a EX 9", "PEXPIREAT a now+9000"),
        ("GETEX a PERSIST", "PERSIST a"),
        ("GETEX a PERSIST", ""),
        ("EXPIREAT a 1", "DEL a"),
        ("SET a 1", "SET a 1"),
        ("GETEX a EXAT 1", "DEL a"),
    ]);
}

#[test]
fn what_luck_or_arithmetic_decides_goes_on_as_its_outcome() {
    Tapped::new(&[]).check(&[
        ("INCRBYFLOAT f 1.5", "SELECT 0; SET f 1.5 KEEPTTL"),
        ("HINCRBYFLOAT h f 1.5", "HSET h f 1.5"),
        ("GETSET f 2", "SET f 2"),
        ("SET f 3 GET", "SET f 3"),
        ("GETDEL f", "DEL f"),
        ("SADD s only", "SADD s only"),
        ("SPOP s", "SREM s only"),
        ("SADD s a b", "SADD s a b"),
        ("SPOP s 5", "DEL s"),
        ("SPOP s 5", ""),
        ("RPUSH l 1 2 3", "RPUSH l 1 2 3"),
        ("LMPOP 2 none l RIGHT COUNT 2", "RPOP l 2"),
        ("LMPOP 1 l LEFT", "LPOP l 1"),
        ("ZADD z 1 a 2 b", "ZADD z 1 a 2 b"),
        ("ZMPOP 2 none z MAX", "ZPOPMAX z 1"),
    ]);
    let mut tapped = Tapped::new(&[]);
    tapped.run("SADD s x x1 x2 x3");
    let several = tapped.run("SPOP s 3");
    let parts: Vec<&str> = several.split("; ").collect();
    assert_eq!((parts.len(), parts[0], parts[4]), (5, "MULTI", "EXEC"), "{several}");
    assert!(parts[1..4].iter().all(|part| part.starts_with("SREM s x")), "{several}");
}

#[test]
fn what_ran_at_once_is_to_run_at_once() {
    Tapped::new(&[]).check(&[
        ("MULTI\r\nSET a 1\r\nEXEC", "SELECT 0; SET a 1"),
        ("MULTI\r\nSET a 1\r\nGET a\r\nINCR a\r\nEXEC", "MULTI; SET a 1; INCR a; EXEC"),
        ("MULTI\r\nGET a\r\nEXEC", ""),
        ("MULTI\r\nEXEC", ""),
        ("MULTI\r\nSET a 1\r\nDISCARD", ""),
        (
            "MULTI\r\nSELECT 2\r\nSET a 1\r\nSELECT 0\r\nSET a 2\r\nEXEC",
            "SELECT 2; MULTI; SET a 1; SELECT 0; SET a 2; EXEC",
        ),
        (
            "MULTI\r\nSADD s 1\r\nSPOP s 1\r\nEXPIRE a 1\r\nEXEC",
            "MULTI; SADD s 1; DEL s; PEXPIREAT a now+1000; EXEC",
        ),
    ]);
}

#[test]
fn a_key_that_expired_is_removed_before_what_found_it() {
    let mut tapped = Tapped::new(&[]);
    tapped.run("MSET a 1 b 2 c 3 d 4");
    for key in ["a", "b", "c", "d"] {
        tapped.run(&format!("PEXPIRE {key} 5"));
    }
    tapped.node.now = tapped.node.now.after(Duration::from_millis(6));
    tapped.check(&[("INCR a", "MULTI; DEL a; INCR a; EXEC"), ("GET b", "DEL b"), ("DEL nope", "")]);
    tapped.node.core.handle_tick(tapped.node.now);
    assert_eq!(tapped.heard(), "DEL c; DEL d", "each by itself, where nobody asked");
}

#[test]
fn removals_are_unlinks_where_they_are_to_be_lazy() {
    let mut tapped = Tapped::new(&[
        ("lazyfree-lazy-expire", "yes"),
        ("lazyfree-lazy-user-del", "yes"),
        ("lazyfree-lazy-server-del", "yes"),
    ]);
    tapped.check(&[
        ("SET a 1", "SELECT 0; SET a 1"),
        ("EXPIRE a -1", "UNLINK a"),
        ("SET a 1", "SET a 1"),
        ("GETDEL a", "UNLINK a"),
        ("SADD s 1", "SADD s 1"),
        ("SPOP s 1", "UNLINK s"),
        ("SET a 1 PX 1", "SET a 1 PXAT now+1"),
    ]);
    tapped.node.now = tapped.node.now.after(Duration::from_millis(2));
    tapped.check(&[("GET a", "UNLINK a")]);
}

#[test]
fn a_value_restored_for_a_time_goes_on_with_the_moment_of_its_end() {
    let mut tapped = Tapped::new(&[]);
    let payload = r#""\x00\x01\x76\x0a\x00\x91\x08\xce\xb2\x19\x38\x8a\xce""#;
    let mut check = |options: &str, expected: &str| {
        let told = tapped.run(&format!("restore k {options}").replace("PAYLOAD", payload));
        let words: Vec<&str> = told.trim_start_matches("SELECT 0; ").split(' ').collect();
        // The payload itself may hold what looks like the end of a word.
        let told = [&words[..3], &words[words.len() - expected.split(' ').count() + 3..]].concat();
        assert_eq!(told.join(" "), expected, "{options}");
    };
    check("1000 PAYLOAD replace", "RESTORE k now+1000 replace ABSTTL");
    check("99999999999000 PAYLOAD absttl replace", "restore k 99999999999000 absttl replace");
    check("0 PAYLOAD replace", "restore k 0 replace");
}

/// What a client comes across by chance has nothing to do with one another.
#[test]
fn keys_that_a_walk_finds_expired_go_one_by_one() {
    for walk in ["SCAN 0 COUNT 100", "RANDOMKEY"] {
        let mut tapped = Tapped::new(&[]);
        tapped.run("MSET x 1 y 1");
        tapped.run("PEXPIRE x 1");
        tapped.run("PEXPIRE y 1");
        tapped.node.now = tapped.node.now.after(Duration::from_millis(2));
        let told = tapped.run(walk);
        assert!(["DEL x; DEL y", "DEL y; DEL x"].contains(&told.as_str()), "{walk}: {told}");
        // Their neighbours in a transaction do not: all of it is one step.
        tapped.run("SET x 1 PX 1");
        tapped.node.now = tapped.node.now.after(Duration::from_millis(2));
        tapped.node.replies(&mut tapped.client, "MULTI");
        tapped.node.replies(&mut tapped.client, walk);
        tapped.node.replies(&mut tapped.client, "SET z 1");
        assert_eq!(tapped.run("EXEC"), "MULTI; DEL x; SET z 1; EXEC", "{walk}");
    }
}

/// The key goes behind the command that would have woken a client, and so on its own.
#[test]
fn a_key_that_expired_before_it_could_wake_a_client_is_removed_for_everyone() {
    let mut tapped = Tapped::new(&[("enable-debug-command", "yes")]);
    let mut elsewhere = tapped.node.client();
    tapped.node.send(&mut elsewhere, b"SELECT 9\r\nBRPOP k 0\r\n");
    tapped.run("SELECT 1\r\nRPUSH k hello\r\nPEXPIRE k 100");
    tapped.node.now = tapped.node.now.after(Duration::from_millis(101));
    assert_eq!(tapped.run("SWAPDB 1 9"), "SWAPDB 1 9; SELECT 9; DEL k");
    tapped.run("SELECT 0");
    let mut here = tapped.node.waiting("BRPOP k 0");
    assert_eq!(
        tapped.run("MULTI\r\nRPUSH k hello\r\nPEXPIRE k 100\r\nDEBUG SLEEP 0.2\r\nEXEC"),
        "SELECT 0; MULTI; RPUSH k hello; PEXPIREAT k now+100; EXEC; DEL k"
    );
    for client in [&mut elsewhere, &mut here] {
        assert_eq!(tapped.node.arrived(client), "", "it waits on");
    }
}

#[test]
fn each_listener_is_told_the_database_it_is_to_be_in() {
    let mut tapped = Tapped::new(&[]);
    tapped.check(&[
        ("SELECT 3\r\nSET a 1", "SELECT 3; SET a 1"),
        ("SET b 1", "SET b 1"),
        ("SELECT 0", ""),
        ("SET a 1", "SELECT 0; SET a 1"),
    ]);
    tapped.node.core.server.propagation.set_log(true);
    tapped.check(&[("SET a 2", "SET a 2")]);
    let now = tapped.node.now;
    let log = tapped.node.core.server.propagation.log();
    assert_eq!(lines(log.bytes(), now), "SELECT 0; SET a 2");
    log.clear();
    tapped.node.core.server.propagation.stream().select_anew();
    tapped.check(&[("SET a 3", "SELECT 0; SET a 3")]);
    let log = tapped.node.core.server.propagation.log();
    assert_eq!(lines(log.bytes(), now), "SET a 3");
}

#[test]
fn nothing_is_gathered_while_nobody_listens() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.replies(&mut client, "MULTI\r\nSET a 1\r\nINCRBYFLOAT a 1\r\nEXEC");
    let propagation = &mut node.core.server.propagation;
    assert!(!propagation.is_wanted());
    assert!(propagation.stream().is_empty() && propagation.log().is_empty());
}
