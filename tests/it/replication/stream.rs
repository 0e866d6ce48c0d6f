//! The stream to replicas, command by command: ours next to that of Redis 7.0.15, as a raw replica
//! hears them.

use super::server;
use crate::support::{Client, Kind, Server, wait_for};
use keyway::resp::{Limits, RequestDecoder};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Whoever says PSYNC and listens.
struct Tap {
    stream: TcpStream,
    unread: Vec<u8>,
    decoder: RequestDecoder,
    marks: usize,
    client: Client,
    marker: Client,
}

impl Tap {
    fn on(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        // Without `capa eof` the snapshot comes with its length.
        stream.write_all(b"PSYNC ? -1\r\n").expect("it takes bytes");
        let line = Self::line(&mut stream);
        assert!(line.starts_with("+FULLRESYNC "), "{line}");
        let head = Self::line(&mut stream);
        let length = head.strip_prefix('$').and_then(|number| number.parse().ok());
        let mut snapshot = vec![0; length.unwrap_or_else(|| panic!("{head}"))];
        stream.read_exact(&mut snapshot).expect("the snapshot");
        assert!(snapshot.starts_with(b"REDIS00"), "a snapshot");
        Self {
            stream,
            unread: Vec::new(),
            decoder: RequestDecoder::default(),
            marks: 0,
            client: server.client(),
            marker: server.client(),
        }
    }

    /// One line; those that only show that the primary lives are left out.
    fn line(stream: &mut TcpStream) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte).expect("a line");
            match byte[0] {
                b'\n' if line.is_empty() => {}
                b'\n' => break,
                other => line.push(other),
            }
        }
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// Runs lines on one connection, and gives what was heard because of them.
    fn run(&mut self, lines: &str) -> Vec<String> {
        for line in lines.split("; ") {
            let words: Vec<&str> = line.split(' ').collect();
            self.client.call(&words);
        }
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        self.marker.call(&["PUBLISH", "marks", &mark]);
        let mut heard = Vec::new();
        loop {
            let used = self.decoder.decode(&self.unread, &Limits::default()).expect("RESP");
            let Some(used) = used else {
                let mut chunk = [0; 4096];
                let read = self.stream.read(&mut chunk).expect("the stream goes on");
                assert!(read > 0, "the stream ended");
                self.unread.extend_from_slice(&chunk[..read]);
                continue;
            };
            let request = self.decoder.request(&self.unread, used).expect("a command");
            let words: Vec<_> = request.args_from(0).map(String::from_utf8_lossy).collect();
            let text = words.join(" ");
            self.unread.drain(..used);
            if text == format!("PUBLISH marks {mark}") {
                return heard;
            }
            if text != "PING" && !text.starts_with("REPLCONF GETACK") {
                heard.push(text);
            }
        }
    }
}

/// Moments differ by how long it took to ask the two servers: those near to each other are alike.
fn alike(one: &[String], other: &[String]) -> bool {
    const NEAR_MS: u64 = 20_000;
    let words = |line: &String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let same = |a: &String, b: &String| {
        let number = |text: &str| text.split('-').next().and_then(|text| text.parse::<u64>().ok());
        let near = match (number(a), number(b)) {
            (Some(a), Some(b)) => a > 1_000_000_000_000 && a.abs_diff(b) < NEAR_MS,
            _ => false,
        };
        // Databases are selected when the other server was in another one.
        a.eq_ignore_ascii_case(b) || near
    };
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| {
            let (a, b) = (words(a), words(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b))
        })
}

/// Each line is run on both; several commands are separated by `; `.
const LINES: &[&str] = &[
    "SET a 1",
    "SET a 1 EX 100",
    "SET a 1 PX 100000",
    "SET a 1 EXAT 99999999999",
    "SET a 1 PXAT 99999999999000",
    "SET a 1 KEEPTTL",
    "SET a 2 NX",
    "SET a 2 GET",
    "SET a 3 XX GET EX 100",
    "SET a 3 XX",
    "SETEX a 100 v",
    "PSETEX a 100000 v",
    "SETNX b 1",
    "SETNX b 1",
    "GETSET b 2",
    "GETEX b",
    "GETEX b EX 100",
    "GETEX b PX 100000",
    "GETEX b PERSIST",
    "GETEX b PERSIST",
    "GETEX b EXAT 1",
    "SET b 1",
    "GETDEL b",
    "GETDEL b",
    "INCR n",
    "INCRBYFLOAT n 1.5",
    "EXPIRE n 100",
    "EXPIRE n 100 NX",
    "EXPIRE n 90 LT",
    "EXPIRE n 900 GT",
    "PEXPIRE n 100000",
    "EXPIREAT n 99999999999",
    "PERSIST n",
    "PERSIST n",
    "EXPIREAT n 1",
    "EXPIRE n 1",
    "SET n 1",
    "EXPIRE n -1",
    "SADD s only",
    "SPOP s",
    "SADD s only",
    "SPOP s 1",
    "SADD s a b",
    "SPOP s 5",
    "SPOP s 5",
    "SADD s only",
    "SPOP s 0",
    "SREM s only",
    "HSET h f 1",
    "HSET h f 1",
    "HINCRBYFLOAT h f 1.5",
    "HINCRBY h g 1",
    "HSETNX h f 1",
    "HDEL h nope",
    "HDEL h f nope",
    "APPEND x 1",
    "SETRANGE x 0 a",
    "SETBIT bm 1 1",
    "SETBIT bm 1 1",
    "BITOP NOT bm2 bm",
    "BITFIELD bm SET u8 0 1",
    "BITFIELD bm GET u8 0",
    "DEL x bm nope",
    "DEL nope",
    "UNLINK bm2",
    "LPUSH l 1 2 3",
    "LPUSHX nope 1",
    "LPUSHX l 1",
    "LINSERT l BEFORE nope x",
    "LSET l 0 7",
    "LREM l 0 nope",
    "LTRIM l 0 -1",
    "LMPOP 2 none l LEFT COUNT 2",
    "RPUSH l 1 2 3",
    "LMPOP 1 l RIGHT",
    "RPOPLPUSH l l2",
    "LMOVE l l2 LEFT RIGHT",
    "LPOP l 1",
    "LPOP none 1",
    "RPUSH l 1 2 3 4 5 6",
    "BLPOP none l 0",
    "BRPOP l 0",
    "BLMOVE l l2 LEFT RIGHT 0",
    "BRPOPLPUSH l l2 0",
    "BLMPOP 0 1 l LEFT",
    "ZADD z 1 a 2 b 3 c",
    "ZADD z 1 a",
    "ZADD z INCR 1 a",
    "ZINCRBY z 1 a",
    "ZMPOP 2 none z MAX",
    "ZMPOP 1 z MIN COUNT 10",
    "ZADD z 1 a 2 b 3 c 4 d",
    "BZPOPMIN z 0",
    "BZPOPMAX none z 0",
    "BZMPOP 0 1 z MIN",
    "ZPOPMIN z",
    "ZRANGESTORE z2 z 0 -1",
    "RENAME l l3",
    "RENAMENX l3 l",
    "RENAME l l",
    "COPY l l4",
    "COPY l l4",
    "COPY l l4 REPLACE",
    "MOVE l4 3",
    "SWAPDB 4 5",
    "SELECT 3; SET q 1; SELECT 0",
    "SET a 1",
    "MULTI; SET a 1; SET b 2; EXEC",
    "MULTI; SET a 1; EXEC",
    "MULTI; GET a; EXEC",
    "MULTI; EXEC",
    "MULTI; SELECT 2; SET a 1; SELECT 0; SET a 2; EXEC",
    "MULTI; SADD s only; SPOP s 1; EXPIRE a 100; INCRBYFLOAT a 1; EXEC",
    "MULTI; SET a 1; LPUSH a x; SET b 1; EXEC",
    "MULTI; SET a 1; DISCARD",
    "MULTI; SET a 1; FLUSHDB; EXEC",
    "FLUSHDB",
    "FLUSHDB ASYNC",
    "FLUSHALL",
    "SET a 1",
    "FLUSHALL",
    "MSET a 1 b 2",
    "MSETNX a 1 c 2",
    "MSETNX c 1 d 2",
    "PUBLISH channel message",
    "SPUBLISH channel message",
    "SET k v",
    "OBJECT ENCODING k",
    "TOUCH k",
    "DUMP k",
    "CONFIG SET lazyfree-lazy-expire yes",
    "EXPIRE k -1",
    "CONFIG SET lazyfree-lazy-user-del yes",
    "SET k v",
    "GETDEL k",
    "CONFIG SET lazyfree-lazy-expire no",
];

#[test]
fn every_command_goes_on_as_redis_has_it_go_on() {
    // A file is how a snapshot comes to a replica that does not take marks.
    let directives = ["--repl-ping-replica-period", "3600"];
    let Some(theirs) = server(Kind::Redis, &directives) else { return };
    let Some(ours) = server(Kind::Keyway, &directives) else { return };
    let (mut theirs, mut ours) = (Tap::on(&theirs), Tap::on(&ours));
    let mut different = Vec::new();
    for line in LINES {
        let (expected, found) = (theirs.run(line), ours.run(line));
        if !alike(&expected, &found) {
            different.push(format!("{line}\n  Redis  {expected:?}\n  Keyway {found:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Members leave a set by luck: each goes on by its name.
#[test]
fn members_that_luck_chose_go_on_by_name() {
    let Some(ours) = server(Kind::Keyway, &[]) else { return };
    let mut tap = Tap::on(&ours);
    tap.run("SADD s a b c d e f g h");
    let heard = tap.run("SPOP s 3");
    assert_eq!((heard.len(), &*heard[0], &*heard[4]), (5, "MULTI", "EXEC"), "{heard:?}");
    for line in &heard[1..4] {
        let member = line.strip_prefix("SREM s ").unwrap_or_else(|| panic!("{heard:?}"));
        assert_eq!(tap.client.integer(&["SISMEMBER", "s", member]), 0);
    }
}

/// Expired keys are found by a command or by nobody; either way the DEL comes first.
#[test]
fn expired_keys_go_on_as_removals() {
    for kind in [Kind::Redis, Kind::Keyway] {
        let Some(server) = server(kind, &[]) else { return };
        let mut tap = Tap::on(&server);
        tap.run("DEBUG SET-ACTIVE-EXPIRE 0; SET a 1 PX 1; SET b 1 PX 1; SET c 1 PX 1");
        let mut other = server.client();
        wait_for("they have expired", super::SOON, || other.integer(&["EXISTS", "c"]) == 0);
        assert_eq!(tap.run("INCR a"), ["DEL c", "MULTI", "DEL a", "INCR a", "EXEC"], "{kind:?}");
        assert_eq!(tap.run("MGET b none"), ["DEL b"], "{kind:?}");
        tap.run("SET d 1 PX 1; DEBUG SET-ACTIVE-EXPIRE 1");
        let mut removed = Vec::new();
        wait_for("it is removed by itself", super::SOON, || {
            removed.extend(tap.run("PING"));
            removed == ["DEL d"]
        });
    }
}
