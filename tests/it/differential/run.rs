//! Draws commands, sends them to both servers, compares, and says what differed.

use super::compare::{Rule, parse, same_numbers};
use super::exceptions;
use super::grammar::Line;
use super::groups::Group;
use crate::support::{Client, Kind, Loss, Server, shown};
use keyway::resp::{Reply, encode_request};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

/// Commands that are on the wire at once.
const BATCH_MAX: usize = 50;
/// How often the two data sets are compared.
const CHECK_EVERY: usize = 1_000;
/// Differences after which there is nothing more to learn.
const DIFFERENCES_MAX: usize = 25;
/// How long one reply may take.
const REPLY_WITHIN: Duration = Duration::from_secs(8);
/// Databases that a group may have touched.
const DATABASES: usize = 4;

/// Two servers that get the same commands.
pub(super) struct Pair<'a> {
    reference: &'a Server,
    subject: &'a Server,
    clients: Vec<[Client; 2]>,
    lines: Vec<Line>,
    rng: SmallRng,
    seed: u64,
    resp3: bool,
    /// Which lines were once answered without an error.
    fine: BTreeSet<&'static str>,
    /// The last commands, for the report.
    recent: Vec<String>,
    differences: Vec<String>,
}

/// What a run found.
pub(super) struct Report {
    pub(super) differences: Vec<String>,
    /// Lines of the grammar that only ever got errors.
    pub(super) never_fine: Vec<&'static str>,
}

struct Drawn {
    index: usize,
    line: usize,
    command: Vec<Vec<u8>>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(
        reference: &'a Server,
        subject: &'a Server,
        group: &Group,
        seed: u64,
    ) -> Self {
        let mut pair = Self {
            reference,
            subject,
            clients: Vec::new(),
            lines: group.lines.iter().map(|line| Line::parse(line)).collect(),
            rng: SmallRng::seed_from_u64(seed),
            seed,
            resp3: false,
            fine: BTreeSet::new(),
            recent: Vec::new(),
            differences: Vec::new(),
        };
        for _ in 0..group.clients {
            let clients = pair.connect();
            pair.clients.push(clients);
        }
        pair
    }

    fn connect(&self) -> [Client; 2] {
        [self.reference, self.subject].map(|server| {
            let mut client = if self.resp3 { server.client_resp3() } else { server.client() };
            client.set_timeout(REPLY_WITHIN);
            client
        })
    }

    /// The first half of the commands in RESP2, the second in RESP3.
    pub(super) fn run(mut self, commands: usize) -> Report {
        let mut index = 0;
        while index < commands && self.differences.len() < DIFFERENCES_MAX {
            if !self.resp3 && index >= commands / 2 {
                self.resp3 = true;
                self.start_over();
            }
            let batch = self.rng.random_range(1..=BATCH_MAX).min(commands - index);
            index = self.batch(index, batch);
            if index % CHECK_EVERY < batch || index >= commands {
                self.compare_data(index);
            }
        }
        let meant_to_be_fine = self.lines.iter().filter(|line| line.rule != Rule::Refused);
        let never_fine = meant_to_be_fine.map(|line| line.text);
        let never_fine = never_fine.filter(|text| !self.fine.contains(text)).collect();
        Report { never_fine, differences: self.differences }
    }

    /// Empty servers and connections in their first state.
    fn start_over(&mut self) {
        for client in 0..self.clients.len() {
            self.clients[client] = self.connect();
        }
        for client in &mut self.clients[0] {
            client.ok(&["FLUSHALL"]);
        }
    }

    /// Draws up to `count` commands for one connection, and compares what they are answered.
    fn batch(&mut self, first: usize, count: usize) -> usize {
        let client = self.rng.random_range(0..self.clients.len());
        let mut drawn = Vec::new();
        for index in first..first + count {
            let line = self.rng.random_range(0..self.lines.len());
            let command = self.lines[line].command(&mut self.rng);
            if asks_for_too_much(&command) {
                continue;
            }
            drawn.push(Drawn { index, line, command });
            if self.lines[line].rule == Rule::Walk {
                break;
            }
        }
        let next = drawn.last().map_or(first + 1, |last| last.index + 1);
        let walk = drawn.pop_if(|last| self.lines[last.line].rule == Rule::Walk);
        let mut bytes = Vec::new();
        for drawn in &drawn {
            encode_request(&mut bytes, &drawn.command);
        }
        let mut sent = [true; 2];
        for (server, sent) in sent.iter_mut().enumerate() {
            *sent = self.clients[client][server].try_send_raw(&bytes).is_ok();
        }
        for drawn in &drawn {
            let replies = [0, 1].map(|server| self.clients[client][server].try_reply_bytes());
            if !self.judge(drawn, &replies) {
                self.start_over();
                return next;
            }
        }
        if let Some(walk) = walk {
            let rule = self.lines[walk.line].rule;
            assert_eq!(rule, Rule::Walk);
            let replies = [0, 1].map(|server| follow(&mut self.clients[client][server], &walk));
            if !self.judge(&walk, &replies) {
                self.start_over();
            }
        }
        next
    }

    /// Compares the two replies to one command; `false` when the two servers have parted.
    fn judge(&mut self, drawn: &Drawn, replies: &[Result<Vec<u8>, Loss>; 2]) -> bool {
        let line = &self.lines[drawn.line];
        self.recent.push(shown(&drawn.command));
        if self.recent.len() > 8 {
            self.recent.remove(0);
        }
        let [reference, subject] = replies;
        match (reference, subject) {
            (Ok(reference), Ok(subject)) => {
                if !reference.starts_with(b"-") {
                    self.fine.insert(line.text);
                }
                let same = |reference: &[u8]| line.rule.same(reference, subject);
                if same(reference) || same(&exceptions::as_text(reference)) {
                    return true;
                }
                if exceptions::parts_by_chance(&drawn.command, reference, subject) {
                    return false;
                }
                let kind = self.reference.kind();
                if exceptions::is_meant(kind, &drawn.command, reference, subject) {
                    // Where only one refuses, the data may have parted.
                    return reference.starts_with(b"-") == subject.starts_with(b"-");
                }
            }
            (Err(Loss::Closed(_)), Err(Loss::Closed(_))) => return false,
            _ => {}
        }
        let text = |reply: &Result<Vec<u8>, Loss>| match reply {
            Ok(bytes) => bytes[..bytes.len().min(400)].escape_ascii().to_string(),
            Err(loss) => format!("({loss})"),
        };
        let protocol = if self.resp3 { 3 } else { 2 };
        self.differences.push(format!(
            "seed {} command {} RESP{protocol}: {}\n  {:?}: {}\n  {:?}: {}\n  before: {}",
            self.seed,
            drawn.index,
            shown(&drawn.command),
            self.reference.kind(),
            text(reference),
            self.subject.kind(),
            text(subject),
            self.recent[..self.recent.len() - 1].join("\n          "),
        ));
        false
    }

    /// For every key its type, encoding, digest and time to live.
    fn compare_data(&mut self, index: usize) {
        let mut clients = [self.reference.client(), self.subject.client()];
        for database in 0..DATABASES {
            for client in &mut clients {
                client.ok(&["SELECT", &database.to_string()]);
            }
            let keys = [0, 1].map(|server| {
                let reply = clients[server].call(&["KEYS", "*"]);
                let keys = reply.as_array().expect("KEYS answers an array");
                let keys = keys.iter().map(|key| key.as_bytes().expect("a name").to_vec());
                keys.collect::<BTreeSet<Vec<u8>>>()
            });
            if keys[0] != keys[1] {
                self.part(index, format!("keys of database {database}: {keys:?}"));
                return;
            }
            for key in &keys[0] {
                let [one, other] = [0, 1].map(|server| describe(&mut clients[server], key));
                let far = match (&one[3], &other[3]) {
                    (Reply::Integer(one), Reply::Integer(other)) if *one > 0 && *other > 0 => {
                        one.abs_diff(*other) > 5_000
                    }
                    (one, other) => one != other,
                };
                let kind = self.reference.kind();
                let same_encoding = exceptions::allow_encodings(kind, &one[1], &other[1]);
                if one[0] != other[0] || !same_encoding || !same_numbers(&one[2], &other[2]) || far
                {
                    self.part(index, format!("{}:\n  {one:?}\n  {other:?}", key.escape_ascii()));
                    return;
                }
                let is_ordered = |is: &[Reply]| has_an_order(&is[1]) && !has_fractions(is);
                // The groups of a stream hold when they delivered what, to the millisecond.
                let has_times = one[0] == Reply::simple("stream")
                    && clients[0].call(&[&b"XINFO"[..], b"GROUPS", key])
                        != Reply::Array(Vec::new());
                if kind == Kind::Redis && is_ordered(&one) && is_ordered(&other) && !has_times {
                    let [one, other] = [0, 1].map(|s| clients[s].call(&[&b"DUMP"[..], key]));
                    if one != other && has_a_node_beyond_the_limit(&other) {
                        self.start_over();
                        return;
                    }
                    if one != other {
                        let key = key.escape_ascii();
                        self.part(index, format!("DUMP {key}:\n  {one:?}\n  {other:?}"));
                        return;
                    }
                }
            }
        }
    }

    fn part(&mut self, index: usize, what: String) {
        let seed = self.seed;
        self.differences.push(format!("seed {seed}, data after command {index}: {what}"));
        self.start_over();
    }
}

/// Whether a value of this encoding is the same bytes wherever it was made.
fn has_an_order(encoding: &Reply) -> bool {
    encoding.as_bytes() != Some(b"hashtable")
}

/// Whether it is a list with a node of more than 8 KiB in our DUMP. Redis 7.2 and later, and ours,
/// weigh what one command adds to a listpack without what each element takes besides; 7.0 has no
/// such listpacks, and cuts its nodes elsewhere.
fn has_a_node_beyond_the_limit(dump: &Reply) -> bool {
    const QUICKLIST: u8 = 18;
    const LIMIT: usize = 8192;
    fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
        match bytes {
            [first, rest @ ..] if first >> 6 == 0 => Some((usize::from(*first), rest)),
            [first, second, rest @ ..] if first >> 6 == 1 => {
                Some((usize::from(first & 0x3f) << 8 | usize::from(*second), rest))
            }
            [0x80, a, b, c, d, rest @ ..] => {
                Some((u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest))
            }
            _ => None,
        }
    }
    let Some([QUICKLIST, bytes @ ..]) = dump.as_bytes() else { return false };
    let Some((nodes, mut bytes)) = length(bytes) else { return false };
    for _ in 0..nodes {
        let Some((bytes_of_node, rest)) = bytes.get(1..).and_then(length) else { return false };
        if bytes[0] == 2 && bytes_of_node > LIMIT {
            return true;
        }
        bytes = rest.get(bytes_of_node..).unwrap_or_default();
    }
    false
}

/// Whether it is a small sorted set with scores whose text differs between versions: 17 digits up
/// to Redis 7.0, the shortest since.
fn has_fractions(described: &[Reply]) -> bool {
    let is_small = described[1].as_bytes() == Some(b"listpack");
    let Some(elements) = described[2].as_array().filter(|_| is_small) else { return false };
    let mut scores = elements.iter().skip(1).step_by(2).filter_map(number);
    scores.any(|score| score.fract() != 0.0 || score.abs() > 1e15)
}

/// The score that a reply holds, however it is written.
fn number(reply: &Reply) -> Option<f64> {
    std::str::from_utf8(reply.as_bytes()?).ok()?.parse().ok()
}

/// TYPE, encoding, digest, PTTL. The digest of a sorted set covers the text of its scores, which
/// Redis 7.0 writes with more digits than 7.2: its members and scores stand in for it.
fn describe(client: &mut Client, key: &[u8]) -> Vec<Reply> {
    let kind = client.call(&[&b"TYPE"[..], key]);
    let content: &[&[u8]] = match kind {
        Reply::Simple(kind) if kind == "zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        _ => &[b"DEBUG", b"DIGEST-VALUE", key],
    };
    let commands: [&[&[u8]]; 4] =
        [&[b"TYPE", key], &[b"OBJECT", b"ENCODING", key], content, &[b"PTTL", key]];
    client.pipeline(&commands.map(<[&[u8]]>::to_vec))
}

/// Whether a command draws so many members, each on its own, that no server ends in time.
pub(super) fn asks_for_too_much(command: &[Vec<u8>]) -> bool {
    let draws = ["SRANDMEMBER", "HRANDFIELD"];
    let count = command.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
    draws.iter().any(|name| command[0].eq_ignore_ascii_case(name.as_bytes()))
        && count.is_some_and(|count: i64| count < -100_000 && count != i64::MIN)
}

/// Follows a cursor to its end. An error is the answer; else the elements, sorted, each once, as
/// an array.
fn follow(client: &mut Client, walk: &Drawn) -> Result<Vec<u8>, Loss> {
    let mut command = walk.command.clone();
    let cursor_at = if command[0].eq_ignore_ascii_case(b"SCAN") { 1 } else { 2 };
    let pairs = cursor_at == 2 && !command[0].eq_ignore_ascii_case(b"SSCAN");
    let scores = command[0].eq_ignore_ascii_case(b"ZSCAN");
    let mut elements = BTreeSet::new();
    loop {
        client.try_send(&command)?;
        let bytes = client.try_reply_bytes()?;
        let reply = parse(&bytes).expect("the client found a whole reply");
        let Some([cursor, items]) = reply.as_array() else { return Ok(bytes) };
        let items = items.as_array().expect("the second of two is an array");
        for element in items.chunks(if pairs { 2 } else { 1 }) {
            let text = match element {
                [member, score] if scores => format!("{member:?} {:?}", number(score)),
                element => format!("{element:?}"),
            };
            elements.insert(text);
        }
        let cursor = cursor.as_bytes().expect("a cursor is a string").to_vec();
        if walk.command.get(cursor_at).is_none_or(|word| word != b"0") {
            // A cursor that no server gave: what it means is each server's own affair.
            return Ok(b"+a step\r\n".to_vec());
        }
        if cursor == b"0" {
            let mut out = Vec::new();
            encode_request(&mut out, &elements.into_iter().collect::<Vec<String>>());
            return Ok(out);
        }
        command[cursor_at] = cursor;
    }
}
