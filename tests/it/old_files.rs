//! Files of every version of RDB from 1 to 10, built byte by byte with the types that its version brought,
//! loaded by our node and by Redis 7.0.15: the data is the same.

use crate::support::Server;

/// What follows the key of an entry: its type, and the key in between.
struct File {
    bytes: Vec<u8>,
    version: u8,
    keys: usize,
}

impl File {
    fn new(version: u8) -> Self {
        let bytes = format!("REDIS{version:04}").into_bytes();
        let mut file = Self { bytes, version, keys: 0 };
        if version >= 7 {
            file.bytes.push(250);
            file.string(b"redis-ver");
            file.string(b"0.0.0");
        }
        file.bytes.extend([254, 0]);
        if version >= 7 {
            // How many keys there are, and how many of them expire: only a hint.
            file.bytes.extend([251, 1, 1]);
        }
        file
    }

    fn string(&mut self, text: &[u8]) {
        self.bytes.extend(string(text));
    }

    fn key(&mut self, kind: u8, key: &str, value: &[u8]) {
        self.bytes.push(kind);
        self.string(key.as_bytes());
        self.bytes.extend(value);
        self.keys += 1;
    }

    /// With its end; a checksum of zero is not looked at.
    fn finish(mut self) -> Vec<u8> {
        self.bytes.push(255);
        if self.version >= 5 {
            self.bytes.extend([0; 8]);
        }
        self.bytes
    }
}

/// A length, in the fewest bytes.
fn length(len: usize) -> Vec<u8> {
    match len {
        0..64 => vec![len as u8],
        64..16_384 => vec![0x40 | (len >> 8) as u8, len as u8],
        _ => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [length(text.len()), text.to_vec()].concat()
}

fn strings(count: usize, words: &[&str]) -> Vec<u8> {
    let words: Vec<u8> = words.iter().flat_map(|word| string(word.as_bytes())).collect();
    [length(count), words].concat()
}

/// An entry of a ziplist or a listpack: text, or its shortest number.
enum Item<'a> {
    Text(&'a str),
    Number(i16),
}

use Item::{Number, Text};

fn ziplist(items: &[Item<'_>]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    let mut last = 0;
    for item in items {
        let entry = match item {
            Text(text) => [&[text.len() as u8][..], text.as_bytes()].concat(),
            Number(number) => [&[0xc0][..], &number.to_le_bytes()].concat(),
        };
        let start = body.len();
        body.push(last as u8);
        body.extend(entry);
        last = body.len() - start;
    }
    let bytes = (10 + body.len() + 1) as u32;
    let tail = (10 + body.len() - last) as u32;
    let count = items.len() as u16;
    let head = [&bytes.to_le_bytes()[..], &tail.to_le_bytes(), &count.to_le_bytes()].concat();
    string(&[head, body, vec![0xff]].concat())
}

fn listpack(items: &[Item<'_>]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    for item in items {
        let entry = match item {
            Text(text) => [&[0x80 | text.len() as u8][..], text.as_bytes()].concat(),
            Number(number @ 0..128) => vec![*number as u8],
            Number(number) => [&[0xf1][..], &number.to_le_bytes()].concat(),
        };
        let len = entry.len() as u8;
        body.extend(entry);
        body.push(len);
    }
    let bytes = (6 + body.len() + 1) as u32;
    let head = [&bytes.to_le_bytes()[..], &(items.len() as u16).to_le_bytes()].concat();
    string(&[head, body, vec![0xff]].concat())
}

/// A stream of two entries with the field `f`, as nodes of 5.0 on have it.
fn stream_nodes() -> Vec<u8> {
    let id = [&7u64.to_be_bytes()[..], &0u64.to_be_bytes()].concat();
    let node = listpack(&[
        // Two entries, none deleted, with one field, which ends there.
        Number(2),
        Number(0),
        Number(1),
        Text("f"),
        Number(0),
        // Of the same fields as the first; 0 ms and 0 on from the node's id; a value; so many before it.
        Number(2),
        Number(0),
        Number(0),
        Text("one"),
        Number(4),
        Number(2),
        Number(5),
        Number(1),
        Text("two"),
        Number(4),
    ]);
    [vec![1], string(&id), node].concat()
}

/// Entries, the last id, and a group with a consumer that has one entry.
fn stream(version: u8) -> Vec<u8> {
    let pending = [7u64.to_be_bytes(), 0u64.to_be_bytes()].concat();
    let seen = 1_700_000_000_000_u64.to_le_bytes();
    let mut out = stream_nodes();
    out.extend([2, 12, 1]);
    if version >= 10 {
        // The first id, the largest that was deleted, and how many were ever added.
        out.extend([7, 0, 0, 0, 2]);
    }
    out.push(1);
    out.extend(string(b"group"));
    out.extend([7, 0]);
    if version >= 10 {
        out.push(1);
    }
    out.push(1);
    out.extend(&pending);
    out.extend(seen);
    out.push(3);
    out.push(1);
    out.extend(string(b"consumer"));
    out.extend(seen);
    out.push(1);
    out.extend(pending);
    out
}

/// Everything that a file of this version may hold.
fn file(version: u8) -> Vec<u8> {
    let mut file = File::new(version);
    file.key(0, "string", &string(b"hello"));
    file.key(0, "long", &string(&vec![b'y'; 20_000]));
    file.key(0, "8 bits", b"\xc0\xf4");
    file.key(0, "16 bits", b"\xc1\x39\x30");
    file.key(0, "32 bits", b"\xc2\x90\xee\xfe\xff");
    // `a` and a run of it: what LZF makes of forty of them.
    file.key(0, "compressed", b"\xc3\x06\x28\x01aa\xe0\x1d\x00");
    file.key(1, "list", &strings(3, &["a", "12", ""]));
    file.key(2, "set", &strings(2, &["x", "y"]));
    file.key(2, "numbers", &strings(3, &["1", "-70000", "5000000000"]));
    file.key(3, "zset", b"\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x04-0.5");
    file.key(4, "hash", &strings(2, &["f", "v", "g", "7"]));
    // In seconds.
    file.bytes.push(253);
    file.bytes.extend(2_000_000_000_u32.to_le_bytes());
    file.key(0, "expires", &string(b"x"));
    if version >= 2 {
        file.key(9, "zipmap", &string(b"\x02\x01f\x03\x00abc\x02gg\x01\x02z\0\0\xff"));
        file.key(10, "ziplist", &ziplist(&[Text("one"), Number(-300), Text("")]));
        file.key(11, "intset", &string(b"\x02\0\0\0\x03\0\0\0\xfe\xff\x05\x00\x00\x10"));
        let scores = [Text("a"), Number(-3), Text("b"), Text("1.25"), Text("c"), Number(9)];
        file.key(12, "zset of a ziplist", &ziplist(&scores));
    }
    if version >= 3 {
        file.bytes.push(252);
        file.bytes.extend(4_000_000_000_123_u64.to_le_bytes());
        file.key(0, "expires by milliseconds", &string(b"x"));
    }
    if version >= 4 {
        let fields = [Text("f"), Text("v"), Text("g"), Number(12)];
        file.key(13, "hash of a ziplist", &ziplist(&fields));
    }
    if version >= 7 {
        let nodes = [ziplist(&[Text("a"), Number(1)]), ziplist(&[Text("b")])].concat();
        file.key(14, "quicklist", &[vec![2], nodes].concat());
    }
    if version >= 8 {
        let scores = [(1.5, "a"), (f64::INFINITY, "b"), (-0.5, "c")];
        let pair = |(score, member): (f64, &str)| {
            [string(member.as_bytes()), score.to_le_bytes().to_vec()].concat()
        };
        file.key(
            5,
            "zset of doubles",
            &[vec![3], scores.into_iter().flat_map(pair).collect()].concat(),
        );
        file.key(0, "a length of 64 bits", b"\x81\0\0\0\0\0\0\0\x03abc");
    }
    if version >= 9 {
        file.bytes.extend([248, 5]);
        file.key(0, "idle", &string(b"x"));
        file.bytes.extend([249, 5]);
        file.key(0, "used", &string(b"x"));
        if version == 9 {
            file.key(15, "stream", &stream(version));
        }
    }
    if version >= 10 {
        file.key(19, "stream", &stream(version));
        file.key(
            16,
            "hash of a listpack",
            &listpack(&[Text("f"), Text("v"), Text("g"), Number(-9)]),
        );
        file.key(
            17,
            "zset of a listpack",
            &listpack(&[Text("a"), Number(-3), Text("b"), Number(2)]),
        );
        let nodes =
            [&[2, 2][..], &listpack(&[Text("a"), Number(1)]), &[1], &string(b"plain")].concat();
        file.key(18, "quicklist of listpacks", &nodes);
    }
    file.finish()
}

/// Puts a file where a server loads from, and has it loaded: the digest, and when each key expires.
fn loaded(server: &Server, bytes: &[u8]) -> (String, Vec<(String, i64)>) {
    std::fs::write(server.folder().join("dump.rdb"), bytes).expect("its folder is there");
    let mut client = server.client();
    client.ok(&["DEBUG", "RELOAD", "NOSAVE"]);
    let keys = client.call(&["KEYS", "*"]);
    let keys = keys.as_array().expect("keys").iter();
    let mut keys: Vec<String> = keys.map(|key| key.as_str().expect("a name").to_owned()).collect();
    keys.sort();
    let expiry = |key: String| {
        let at = client.integer(&["PEXPIRETIME", &key]);
        (key, at)
    };
    let keys = keys.into_iter().map(expiry).collect();
    (server.client().text(&["DEBUG", "DIGEST"]), keys)
}

#[test]
fn files_of_all_versions_hold_for_us_what_they_hold_for_redis() {
    let directives = ["--enable-debug-command", "yes"];
    let Some(redis) = Server::redis(&directives) else { return };
    let ours = Server::keyway_node(&directives);
    for version in 1..=10 {
        let bytes = file(version);
        let (theirs, own) = (loaded(&redis, &bytes), loaded(&ours, &bytes));
        assert_eq!(own, theirs, "version {version}");
        let least = [12, 16, 17, 18, 18, 18, 19, 21, 24, 27][usize::from(version) - 1];
        assert_eq!(own.1.len(), least, "version {version}");
    }
    for command in [
        &["XRANGE", "stream", "-", "+"][..],
        &["XINFO", "STREAM", "stream"],
        &["XINFO", "GROUPS", "stream"],
        &["XPENDING", "stream", "group"],
        &["LRANGE", "quicklist of listpacks", "0", "-1"],
        &["HGETALL", "zipmap"],
    ] {
        assert_eq!(ours.client().call(command), redis.client().call(command), "{command:?}");
    }
}
