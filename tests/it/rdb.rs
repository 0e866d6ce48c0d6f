//! Values on their way between servers: DUMP here, RESTORE there, for every type and encoding.

use crate::support::{Client, Kind, Server};
use keyway::resp::Reply;

/// Creates a key of every type and encoding.
pub(crate) fn fill(client: &mut Client) {
    let texts = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let mut commands = vec![
        texts(&["SET", "string", "hello"]),
        texts(&["SET", "empty", ""]),
        texts(&["SET", "int 8", "-12"]),
        texts(&["SET", "int 16", "30000"]),
        texts(&["SET", "int 32", "-2000000000"]),
        texts(&["SET", "int 64", "9223372036854775807"]),
        texts(&["APPEND", "raw number", "12"]),
        texts(&["SET", "long", &"abcdefgh".repeat(2000)]),
        texts(&["PSETEX", "expiring", "100000000", "soon"]),
    ];
    let mut collection =
        |name: &str, command: &str, count: usize, pair: fn(usize) -> [String; 2]| {
            for at in (0..count).step_by(100) {
                let mut words = texts(&[command, name]);
                for n in at..count.min(at + 100) {
                    words.extend(pair(n).into_iter().filter(|word| !word.is_empty()));
                }
                commands.push(words);
            }
        };
    fn nothing() -> String {
        String::new()
    }
    collection("list", "RPUSH", 20, |n| [format!("element {n}"), nothing()]);
    collection("quicklist", "RPUSH", 3000, |n| {
        [format!("element {n} of a longer list"), nothing()]
    });
    collection("list of long ones", "LPUSH", 3, |n| [n.to_string().repeat(9000), nothing()]);
    collection("intset", "SADD", 20, |n| [(n * 5).to_string(), nothing()]);
    collection("wide intset", "SADD", 20, |n| [(n << 40).to_string(), nothing()]);
    collection("set", "SADD", 20, |n| [format!("member {n}"), nothing()]);
    collection("large set", "SADD", 1000, |n| [format!("member {n}"), nothing()]);
    collection("set of numbers", "SADD", 1000, |n| [n.to_string(), nothing()]);
    collection("hash", "HSET", 20, |n| [format!("field {n}"), n.to_string()]);
    collection("large hash", "HSET", 1000, |n| [format!("field {n}"), format!("value {n}")]);
    collection("zset", "ZADD", 20, |n| [format!("{}.5", n % 3), format!("member {n}")]);
    collection("large zset", "ZADD", 1000, |n| [format!("{}e-3", n % 77), format!("member {n}")]);
    commands.push(texts(&["ZADD", "infinite", "+inf", "a", "-inf", "b", "0", "c"]));
    commands.push(texts(&["PFADD", "registers", "a", "b", "c"]));
    commands.push(texts(&["SETBIT", "bits", "1000", "1"]));
    commands.push(texts(&["GEOADD", "places", "13.361389", "38.115556", "Palermo"]));
    for n in 0..500 {
        let (id, value) = (format!("{}-{}", n / 3 + 1, n % 3 + 1), n.to_string());
        let mut words = texts(&["XADD", "stream", &id, "n", &value]);
        if n % 7 == 0 {
            words.extend(texts(&["other", "field"]));
        }
        commands.push(words);
    }
    for words in [
        &["XDEL", "stream", "2-1", "9-3"][..],
        &["XGROUP", "CREATE", "stream", "readers", "0"],
        &["XGROUP", "CREATE", "stream", "late", "$", "ENTRIESREAD", "500"],
        &["XREADGROUP", "GROUP", "readers", "one", "COUNT", "20", "STREAMS", "stream", ">"],
        &["XREADGROUP", "GROUP", "readers", "two", "COUNT", "5", "STREAMS", "stream", ">"],
        &["XACK", "stream", "readers", "1-1", "3-2"],
        &["XADD", "emptied", "5-5", "a", "b"],
        &["XDEL", "emptied", "5-5"],
    ] {
        commands.push(texts(words));
    }
    for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
        assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
    }
}

/// Type, content and whether it expires.
pub(crate) fn describe(client: &mut Client, key: &[u8]) -> Vec<Reply> {
    let kind = client.call(&[&b"TYPE"[..], key]);
    // The digest of a sorted set is of the text of its scores, which differs between versions.
    let content: &[&[u8]] = match kind.as_bytes() {
        Some(b"zset") => &[b"ZRANGE", key, b"0", b"-1"],
        _ => &[b"DEBUG", b"DIGEST-VALUE", key],
    };
    let content = client.call(content);
    let ttl = client.integer(&[&b"TTL"[..], key]);
    let mut all = vec![kind, content, Reply::Integer(ttl.signum())];
    if all[0].as_bytes() == Some(b"stream") {
        // The digest is of the entries alone. Of a group, what no version counts in its own way.
        let pending: &[&[u8]] = &[b"XPENDING", key, b"readers"];
        all.extend([client.call(&[&b"XREVRANGE"[..], key, b"+", b"-"]), client.call(pending)]);
        let groups = client.call(&[&b"XINFO"[..], b"GROUPS", key]);
        for group in groups.as_array().expect("XINFO answers an array") {
            all.extend(group.as_array().into_iter().flatten().take(8).cloned());
        }
    }
    all
}

/// All keys of the selected database, in order.
pub(crate) fn keys(client: &mut Client) -> Vec<Vec<u8>> {
    let reply = client.call(&["KEYS", "*"]);
    let keys = reply.as_array().expect("KEYS answers an array");
    let mut keys: Vec<_> =
        keys.iter().map(|key| key.as_bytes().expect("a name").to_vec()).collect();
    keys.sort();
    keys
}

fn encoding(client: &mut Client, key: &[u8]) -> Reply {
    client.call(&[&b"OBJECT"[..], b"ENCODING", key])
}

fn payload(client: &mut Client, key: &[u8]) -> Vec<u8> {
    client.call(&[&b"DUMP"[..], key]).as_bytes().expect("a payload").to_vec()
}

/// Keyway's payloads are read by both, and theirs by Keyway.
#[test]
fn payloads_travel_between_all_servers() {
    for compression in ["no", "yes"] {
        let directives = ["--enable-debug-command", "yes", "--rdbcompression", compression];
        let ours = Server::keyway_node(&directives);
        for kind in [Kind::Redis, Kind::Valkey, Kind::Keyway] {
            let Some(theirs) = Server::node(kind, &directives) else { continue };
            for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
                let (mut source, mut target) = (from.client(), to.client());
                source.ok(&["FLUSHALL"]);
                target.ok(&["FLUSHALL"]);
                fill(&mut source);
                for key in keys(&mut source) {
                    let what =
                        format!("{} from {:?} to {:?}", key.escape_ascii(), from.kind(), to.kind());
                    let payload = payload(&mut source, &key);
                    let ttl = source.integer(&[&b"PTTL"[..], &key]).max(0).to_string();
                    target.ok(&[&b"RESTORE"[..], &key, ttl.as_bytes(), &payload]);
                    let there = describe(&mut target, &key);
                    assert_eq!(there, describe(&mut source, &key), "{what}");
                    if to.kind() == Kind::Keyway && from.kind() != Kind::Redis {
                        let (is, was) = (encoding(&mut target, &key), encoding(&mut source, &key));
                        // Strings in one allocation or in two are no matter of the payload.
                        let string = there[0].as_bytes() == Some(b"string");
                        assert!(string || is == was, "{what}: {is:?} was {was:?}");
                    }
                }
            }
        }
    }
}

/// What has an order is the same bytes on Redis 7.0.15.
#[test]
fn payloads_are_those_of_redis() {
    let directives = ["--enable-debug-command", "yes", "--rdbcompression", "no"];
    let Some(redis) = Server::redis(&directives) else { return };
    let ours = Server::keyway_node(&directives);
    let (mut theirs, mut ours) = (redis.client(), ours.client());
    for client in [&mut theirs, &mut ours] {
        fill(client);
        // What was delivered has the moment of that.
        client.integer(&["XGROUP", "DESTROY", "stream", "readers"]);
    }
    let mut compared = 0;
    for key in keys(&mut theirs) {
        let tables = [&mut theirs, &mut ours].map(|client| encoding(client, &key));
        if tables.iter().any(|encoding| encoding.as_bytes() == Some(b"hashtable")) {
            continue;
        }
        let (one, other) = (payload(&mut theirs, &key), payload(&mut ours, &key));
        assert!(one == other, "{}", key.escape_ascii());
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

/// The text of scores in small sorted sets is that of 7.2 and Valkey.
#[test]
fn payloads_of_small_sorted_sets_are_those_of_valkey() {
    let directives = ["--rdbcompression", "no"];
    let Some(valkey) = Server::valkey(&directives) else { return };
    let ours = Server::keyway_node(&directives);
    let mut clients = [valkey.client(), ours.client()];
    let [theirs, ours] = clients.each_mut().map(|client| {
        let scores = ["0.1", "1e-17", "-974.907", "1.7976931348623157e308", "1e20", "-0", "3"];
        for (n, score) in scores.into_iter().enumerate() {
            client.integer(&["ZADD", "k", score, &format!("member {n}")]);
        }
        payload(client, b"k")
    });
    const FOOTER: usize = 10;
    let body = |payload: &[u8]| payload[..payload.len() - FOOTER].escape_ascii().to_string();
    assert_eq!(body(&ours), body(&theirs));
}

/// Refusals are Redis's, word for word, and change nothing.
#[test]
fn restore_refuses_in_redis_words() {
    let Some(redis) = Server::redis(&["--sanitize-dump-payload", "yes"]) else { return };
    let ours = Server::keyway_node(&[]);
    let mut clients = [redis.client(), ours.client()];
    let [good, list] = {
        clients[0].ok(&["SET", "source", "hello"]);
        clients[0].integer(&["RPUSH", "list", "a", "b"]);
        [payload(&mut clients[0], b"source"), payload(&mut clients[0], b"list")]
    };
    let mut damaged = good.clone();
    damaged[3] ^= 1;
    let versioned = |version: u16, body: &[u8]| {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&version.to_le_bytes());
        payload.extend_from_slice(&keyway::store::rdb::Crc64::of(&payload).to_le_bytes());
        payload
    };
    let later = versioned(100, b"\x00\x05hello");
    let unknown = versioned(10, b"\x63\x05hello");
    let cut = versioned(10, b"\x00\x29hello");
    let empty = versioned(10, b"\x02\x00");
    let doubled = versioned(10, b"\x04\x02\x01a\x01b\x01a\x01b");
    let cases: &[&[&[u8]]] = &[
        &[b"RESTORE", b"k", b"0", &good],
        &[b"RESTORE", b"k", b"0", &good],
        &[b"RESTORE", b"k", b"0", &damaged],
        &[b"RESTORE", b"k", b"0", &list, b"REPLACE"],
        &[b"TYPE", b"k"],
        &[b"RESTORE", b"k", b"x", &good, b"REPLACE"],
        &[b"RESTORE", b"k", b"-1", &good, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &damaged, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &later, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", b"", b"REPLACE"],
        &[b"RESTORE", b"k", b"0", b"123456789", b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &unknown, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &cut, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &empty, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &doubled, b"REPLACE"],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE", b"FREQ", b"256"],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE", b"FREQ", b"-1"],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE", b"FREQ", b"x"],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE", b"IDLETIME", b"-1"],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE", b"IDLETIME"],
        &[b"RESTORE", b"k", b"0", &good, b"REPLACE", b"IDLETIME", b"5", b"FREQ", b"5"],
        &[b"RESTORE", b"k", b"0", &good, b"NONSENSE"],
        &[b"RESTORE", b"k", b"0"],
        &[b"TYPE", b"k"],
        &[b"RESTORE", b"k", b"1", &good, b"REPLACE", b"ABSTTL"],
        &[b"EXISTS", b"k"],
        &[b"RESTORE", b"k", b"1000000", &good, b"idletime", b"100"],
        &[b"OBJECT", b"IDLETIME", b"k"],
        &[b"RESTORE", b"k", b"99999999999999", &good, b"REPLACE", b"absttl"],
        &[b"PEXPIRETIME", b"k"],
        &[b"DUMP", b"none"],
        &[b"DUMP"],
        &[b"GET", b"k"],
    ];
    for case in cases {
        let [theirs, ours] = &mut clients;
        let words: Vec<_> = case.iter().map(|word| word.escape_ascii().to_string()).collect();
        assert_eq!(ours.call(case), theirs.call(case), "{}", words.join(" "));
    }
}
