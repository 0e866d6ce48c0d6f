//! Random pipelines of commands of all classes over random slots: through the proxy, on three nodes,
//! they are answered as one `redis-server` 7.0.15 answers them.
//!
//! `KEYWAY_ROUNDS=1000` runs longer; `KEYWAY_SEED=…` draws others.

use super::redis_and_proxy;
use crate::support::{Client, Server, number_from_env, seed, shown};
use keyway::resp::Reply;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Pipelines of an ordinary run.
const ROUNDS: u64 = 150;
/// Commands of one pipeline.
const LENGTH_MAX: usize = 60;
/// Tags of keys: slots all over the nodes.
const TAGS: usize = 9;

/// How a reply is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As it is.
    Exact,
    /// The elements in any order.
    Any,
}

/// One command of a pipeline. Words in small letters before a digit name what is drawn:
/// `s l h e z x p` are keys of strings, lists, hashes, sets, sorted sets, streams and HyperLogLogs,
/// `k` any of them, all with a tag drawn at random; `S L H E Z X P` have the tag of the command,
/// and `m n v i d` are members, numbers, values, ids and destinations.
const LINES: &[&str] = &[
    // One slot.
    "SET s v",
    "SET s n",
    "GET s",
    "GET k",
    "INCR s",
    "APPEND s v",
    "STRLEN s",
    "GETRANGE s 0 3",
    "SETRANGE s 2 v",
    "GETDEL s",
    "SETNX s v",
    "TYPE k",
    "OBJECT ENCODING s",
    "PERSIST s",
    "EXPIRE s 1000",
    "GETEX s",
    "SETBIT s 7 1",
    "BITCOUNT s",
    "INCRBYFLOAT s n",
    "LPUSH l v v",
    "RPUSH l v",
    "LRANGE l 0 -1",
    "RPOP l",
    "LPOP l 2",
    "LLEN l",
    "LINDEX l 0",
    "LINSERT l BEFORE v v",
    "LREM l 1 v",
    "LTRIM l 0 5",
    "LPOS l v",
    "HSET h m v",
    "HSET h m v m v",
    "~HGETALL h",
    "HDEL h m",
    "HINCRBY h m n",
    "HMGET h m m",
    "HLEN h",
    "HSTRLEN h m",
    "~HKEYS h",
    "SADD e m m m",
    "SREM e m",
    "SISMEMBER e m",
    "SMISMEMBER e m m",
    "SCARD e",
    "~SMEMBERS e",
    "ZADD z n m",
    "ZADD z n m n m",
    "ZINCRBY z n m",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZSCORE z m",
    "ZRANK z m",
    "ZREM z m",
    "ZPOPMIN z",
    "ZRANGEBYSCORE z 0 5 WITHSCORES",
    "ZCOUNT z 0 5",
    "ZMSCORE z m m",
    "XADD x i m v",
    "XRANGE x - +",
    "XLEN x",
    "XREVRANGE x + - COUNT 2",
    "XTRIM x MAXLEN 5",
    "XGROUP CREATE x g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
    "XPENDING x g",
    "PFADD p m m",
    "GETSET s v",
    "SETEX s 1000 v",
    "PSETEX s 100000 v",
    "DECRBY s n",
    "SUBSTR s 0 2",
    "GETBIT s 9",
    "BITPOS s 1",
    "BITFIELD s INCRBY u8 0 n GET i5 3",
    "BITFIELD_RO s GET u8 0",
    "LPUSHX l v",
    "LSET l 0 v",
    "RPOPLPUSH L L",
    "SORT l ALPHA LIMIT 0 2",
    "SORT_RO l ALPHA DESC",
    "HSETNX h m v",
    "HEXISTS h m",
    "~HVALS h",
    "HINCRBYFLOAT h m n",
    "SMISMEMBER s m",
    "ZREVRANGE z 0 1",
    "ZRANGE z (0 5 BYSCORE LIMIT 0 2",
    "ZRANGEBYLEX z - + LIMIT 0 2",
    "ZLEXCOUNT z - +",
    "ZREMRANGEBYRANK z 0 0",
    "ZPOPMAX z 2",
    "ZADD z GT CH n m",
    "ZADD z NX INCR n m",
    "GEOADD z 13.5 38.1 m 2.3 48.8 m",
    "GEODIST z m m km",
    "GEOSEARCH z FROMLONLAT 10 40 BYRADIUS 5000 km ASC",
    "XDEL x 1-1",
    "XACK x g 1-1",
    "XCLAIM x g c 0 1-1",
    "XAUTOCLAIM x g c 0 0",
    "XINFO GROUPS x",
    "XSETID x 99999-1",
    "XGROUP DELCONSUMER x g c",
    "PFMERGE P P",
    "EXPIREAT s 1",
    "EXPIRE s 1000 XX",
    "OBJECT REFCOUNT l",
    "DUMP S",
    "RESTORE s 0 v",
    // Split.
    "MGET s s s s",
    "MGET k k k",
    "MSET s v s v s v",
    "DEL k k k",
    "UNLINK k k",
    "EXISTS k k k k",
    "TOUCH k k",
    "MSET s v s",
    "DEL s s s",
    "EXISTS k s k s",
    // All or nothing.
    "RENAME S S",
    "RENAMENX S S",
    "COPY L L",
    "COPY S S REPLACE",
    "SMOVE E E m",
    "LMOVE L L LEFT RIGHT",
    "SINTERSTORE E E E",
    "SUNIONSTORE E E E",
    "ZUNIONSTORE Z 2 Z Z",
    "ZRANGESTORE Z Z 0 2",
    "MSETNX S v S v",
    "BITOP XOR S S S",
    "PFMERGE P P P",
    "SORT L ALPHA",
    "LMPOP 2 L L LEFT",
    "ZMPOP 2 Z Z MIN",
    "LCS S S",
    // Put together by the proxy.
    "~SUNION e e e",
    "~SINTER e e",
    "~SDIFF e e e",
    "SINTERCARD 2 e e",
    "SINTERCARD 2 e e LIMIT 1",
    "SINTERCARD 2 e e LIMIT x",
    "ZUNION 2 z z WITHSCORES",
    "ZINTER 2 z z",
    "ZDIFF 2 z z WITHSCORES",
    "ZINTERCARD 2 z z",
    "ZUNION 2 z z FOO",
    "ZUNION 2 z s FOO",
    "PFCOUNT p p p",
    "~SUNION e s",
    "XREAD STREAMS x x 0 0",
    "XREAD COUNT 1 STREAMS x x x 0 1 0",
    "SINTERCARD 2 e s LIMIT x",
    "SINTERCARD 2 e e LIMIT 1 LIMIT 2",
    "SINTERCARD 2 e e LIMIT",
    "SINTERCARD 3 e e",
    "SINTERCARD 0 e e",
    "SINTERCARD x e e",
    "~SDIFF e k",
    "~SINTER e s",
    "ZUNION 2 z e AGGREGATE MAX",
    "ZUNION 2 z z WEIGHTS 1 x",
    "ZUNION 2 z k WEIGHTS 1 x",
    "ZUNION 3 z z",
    "ZUNION 0 z z",
    "ZUNION x z z",
    "ZDIFF 1 k WEIGHTS 1",
    "ZINTERCARD 2 z k LIMIT x",
    "ZINTERCARD 2 z k LIMIT 1 LIMIT 2",
    "PFCOUNT k k",
    "PFCOUNT p s k",
    "XREAD STREAMS x k 0 0",
    "XREAD STREAMS k k 0 y",
    "XREAD STREAMS k k y 0",
    "XREAD STREAMS x k $ y",
    "XREAD STREAMS k k $ $",
    "XREAD STREAMS x x 0",
    "XREAD COUNT x STREAMS x x 0 0",
    "XREAD COUNT -1 STREAMS x x 0 0",
    "XREAD FOO STREAMS x x 0 0",
    "XREAD STREAMS x x > 0",
    "XREAD STREAMS x x 0 + 0 0",
    // Every shard.
    "DBSIZE",
    "~KEYS *",
    "~KEYS s*",
    "SCRIPT EXISTS 0123456789012345678901234567890123456789",
    "SCRIPT LOAD return(7)",
    "SCRIPT NOSUCH",
    "FUNCTION LIST",
    "FUNCTION DELETE nosuch",
    "FCALL nosuch 1 s",
    "SCAN x",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT x",
    "SCAN 0 MATCH",
    "SCAN 0 FOO 1",
    "KEYS",
    "RANDOMKEY s",
    // Scripts.
    "EVAL return{KEYS[1],ARGV[1]} 1 s v",
    "EVAL return(redis.call('incr',KEYS[1])) 1 s",
    "EVAL return(redis.call('mget',KEYS[1],KEYS[2])) 2 S S",
    "EVAL return(1) 0",
    "EVALSHA 0123456789012345678901234567890123456789 1 s",
    "EVAL_RO return(redis.call('get',KEYS[1])) 1 s",
    // Waiting, which ends at once or soon.
    "BLPOP L L 0.01",
    "BRPOP l 0.01",
    "BLMOVE L L LEFT LEFT 0.01",
    "BZPOPMIN Z Z 0.01",
    "BLMPOP 0.01 2 L L LEFT",
    "XREAD BLOCK 5 STREAMS X X 0 0",
    // Transactions.
    "MULTI | SET S v | GET S | INCR S | EXEC",
    "MULTI | LPUSH L v | LRANGE L 0 -1 | EXEC",
    "MULTI | SET S v | DISCARD",
    "WATCH S | MULTI | GET S | EXEC",
    "MULTI | NOSUCH | EXEC",
    "EXEC",
    "WATCH S | SET S v | MULTI | GET S | EXEC",
    "MULTI | EXEC",
    "MULTI | PING | ECHO v | EXEC",
    "MULTI | MULTI | EXEC",
    "WATCH S | UNWATCH",
    "MULTI | BLPOP L 0 | EXEC",
    "MULTI | GET | SET S v | EXEC",
    "MULTI | SET S v | LPUSH S v | GET S | EXEC",
    "MULTI | WATCH S | EXEC",
    "MULTI | EVAL return(redis.call('incr',KEYS[1])) 1 S | GET S | EXEC",
    "MULTI | PUBLISH m v | SET S v | EXEC",
    "MULTI | CLIENT GETNAME | GET S | EXEC",
    "MULTI | MGET S S | MSET S v S v | DEL S S | EXEC",
    "MULTI | RENAME S S | COPY S S | EXISTS S S | EXEC",
    "MULTI | XADD X 0-0 m v | EXEC",
    "MULTI | EXPIREAT S 99999999999 | EXPIRETIME S | EXEC",
    "WATCH S S | MULTI | PING | EXEC",
    "WATCH",
    "UNWATCH x",
    "EXEC x",
    "DISCARD",
    // The proxy's own.
    "PING",
    "PING v",
    "ECHO v",
    "CLIENT GETNAME",
    "CLIENT SETNAME m",
    "SELECT 0",
    "COMMAND COUNT x",
    "CLIENT NO-EVICT ON",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "LASTSAVE x",
    "ACL WHOAMI",
    "PUBLISH m v",
    "SUBSCRIBE channel | UNSUBSCRIBE channel",
    "SUBSCRIBE channel | EXEC | UNSUBSCRIBE channel",
    "UNSUBSCRIBE nothing",
    "READONLY x",
    // What is wrong.
    "NOSUCH a b",
    "GET",
    "GET s s",
    "SET s",
    "INCR l",
    "LPUSH s v",
    "HGET h",
    "MGET",
    "DEL",
    "EVAL",
    "ZADD z m m",
    "OBJECT NOSUCH s",
    "CLIENT NOSUCH",
    "XADD x 0-0 m v",
    "SET s v NX XX",
    "BLPOP l x",
    "BLPOP l -1",
    "BLMPOP x 1 l LEFT",
    "BLMPOP 1 0 l LEFT",
    "XREAD BLOCK x STREAMS x 0",
    "XREAD BLOCK -1 STREAMS x 0",
    "XREADGROUP GROUP nosuch c STREAMS x >",
    "XREADGROUP GROUP g c STREAMS x $",
    "EVAL return(1) x",
    "EVAL return(1) -1",
    "EVAL return(1) 2 s",
    "EVAL return( 0",
    "EVALSHA x 0",
    "LMPOP 0 l LEFT",
    "SORT s BY",
    "OBJECT",
    "CLIENT",
    "CLIENT KILL ID x",
    "CLIENT REPLY FOO",
    "CLIENT TRACKING FOO",
    "CLIENT UNBLOCK x",
    "CLIENT CACHING YES",
    "CLIENT SETNAME v",
    "HELLO 9",
    "HELLO x",
    "SELECT x",
    "AUTH v",
    "AUTH a b c",
    "SUBSCRIBE",
    "SPUBLISH",
    "PUBSUB NOSUCH",
    "WAIT 0",
    "WAIT 0 x",
    "WAIT 0 -1",
    "COMMAND GETKEYS GET a b",
    "COMMAND GETKEYS ZUNION 2 a b",
    "COMMAND NOSUCH",
    "COPY S S DB x",
    "RESET x",
];

struct Drawn {
    order: Order,
    command: Vec<String>,
}

fn draw(rng: &mut SmallRng, pipeline: &mut Vec<Drawn>) {
    let line = LINES.choose(rng).expect("there are some");
    let (order, line) = match line.strip_prefix('~') {
        Some(line) => (Order::Any, line),
        None => (Order::Exact, *line),
    };
    let tag = rng.random_range(0..TAGS);
    for command in line.split(" | ") {
        let mut words = command.split(' ');
        let name = words.next().expect("a name").to_owned();
        let drawn = words.map(|word| argument(word, tag, rng));
        let command = std::iter::once(name).chain(drawn).collect();
        pipeline.push(Drawn { order, command });
    }
}

fn argument(word: &str, tag: usize, rng: &mut SmallRng) -> String {
    let mut kinds = ["s", "l", "h", "e", "z", "x", "p"];
    let key = |kind: &str, tag: usize, rng: &mut SmallRng| {
        format!("{kind}{}:{{{tag}}}", rng.random_range(0..2))
    };
    let lower = word.to_ascii_lowercase();
    match word {
        "k" => {
            kinds.rotate_left(rng.random_range(0..7));
            key(kinds[0], rng.random_range(0..TAGS), rng)
        }
        _ if kinds.contains(&word) => {
            // Now and then a key of another kind.
            let kind = if rng.random_ratio(1, 20) { kinds[rng.random_range(0..7)] } else { word };
            key(kind, rng.random_range(0..TAGS), rng)
        }
        _ if word.len() == 1 && kinds.contains(&lower.as_str()) => key(&lower, tag, rng),
        "m" => format!("m{}", rng.random_range(0..6)),
        "n" => rng.random_range(0..9).to_string(),
        "v" => match rng.random_range(0..6) {
            0 => String::new(),
            1 => "\r\n$5\r\n".to_owned(),
            2 => "v".repeat(rng.random_range(1..3_000)),
            number => format!("v{number}"),
        },
        "i" => "*".to_owned(),
        literal => literal.to_owned(),
    }
}

/// Entries get ids of their own from each server, so they are asked for by number.
fn numbered(command: &mut [String], next_id: &mut u64) {
    if command.first().is_some_and(|name| name == "XADD")
        && command.get(2).is_some_and(|id| id == "*")
    {
        *next_id += 1;
        command[2] = format!("{next_id}-1");
    }
}

/// Whether it is DUMP's of a set or hash in a table, whose order is each server's own: types 2 and 4.
fn dumps_a_hash_table(reply: &Reply) -> bool {
    reply.as_bytes().is_some_and(|payload| {
        let version = payload.len().checked_sub(10).map(|at| &payload[at..at + 2]);
        matches!(payload.first(), Some(2 | 4)) && version == Some(b"\n\0")
    })
}

fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Array(mut items) | Reply::Set(mut items) => {
            items.sort_by_key(|item| format!("{item:?}"));
            Reply::Array(items)
        }
        Reply::Map(pairs) => {
            sorted(Reply::Array(pairs.into_iter().map(|(k, v)| Reply::Array(vec![k, v])).collect()))
        }
        other => other,
    }
}

#[test]
fn random_pipelines_are_answered_as_by_one_server() {
    let Some((_cluster, proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let Some(alone) = Server::redis(&[]) else { return };
    for server in [&alone, &proxy] {
        server.client().ok(&["FLUSHALL"]);
    }
    let seed = seed();
    let rounds = number_from_env("KEYWAY_ROUNDS").map_or(ROUNDS, |rounds| rounds.max(ROUNDS));
    println!("KEYWAY_SEED={seed}, {rounds} pipelines");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut next_id = 0;
    let (mut commands, mut errors) = (0, 0);
    let mut differences: Vec<String> = Vec::new();
    for round in 0..rounds {
        let resp3 = rng.random::<bool>();
        let connect = |server: &Server| if resp3 { server.client_resp3() } else { server.client() };
        let mut clients: [Client; 2] = [connect(&alone), connect(&proxy)];
        let mut pipeline = Vec::new();
        let length = rng.random_range(1..=LENGTH_MAX);
        while pipeline.len() < length {
            draw(&mut rng, &mut pipeline);
        }
        pipeline.iter_mut().for_each(|drawn| numbered(&mut drawn.command, &mut next_id));
        let sent: Vec<Vec<String>> = pipeline.iter().map(|drawn| drawn.command.clone()).collect();
        let [expected, through] = clients.each_mut().map(|client| client.pipeline(&sent));
        commands += sent.len();
        for (at, ((drawn, expected), through)) in
            pipeline.iter().zip(expected).zip(through).enumerate()
        {
            errors += usize::from(expected.as_error().is_some());
            let same = match drawn.order {
                Order::Exact => {
                    expected == through || [&expected, &through].into_iter().all(dumps_a_hash_table)
                }
                Order::Any => sorted(expected.clone()) == sorted(through.clone()),
            };
            if !same {
                let before: Vec<String> =
                    sent[at.saturating_sub(8)..at].iter().map(|command| shown(command)).collect();
                differences.push(format!(
                    "pipeline {round} (RESP3: {resp3}), command {at}: {}\n  one server: \
                     {expected:?}\n  the proxy:  {through:?}\nafter\n{}",
                    shown(&drawn.command),
                    before.join("\n"),
                ));
                // What follows from it would be no other difference.
                for server in [&alone, &proxy] {
                    server.client().ok(&["FLUSHALL"]);
                }
                break;
            }
        }
    }
    let report = differences.join("\n\n");
    let count = differences.len();
    assert!(differences.is_empty(), "KEYWAY_SEED={seed}: {count} differences\n\n{report}");
    let mut ends = [alone.client(), proxy.client()];
    let [expected, through] = ends.each_mut().map(|client| client.integer(&["DBSIZE"]));
    assert_eq!(expected, through);
    assert!(errors * 2 < commands, "{errors} of {commands} commands were errors");
}
