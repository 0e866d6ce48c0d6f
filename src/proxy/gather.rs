//! One request as several: its parts, and the one reply that theirs become.
//!
//! A split command has a part per slot, since a node refuses two slots in one command even when it
//! owns both; a fan-out has a part per shard. Each part is tried, redirected and lost on its own,
//! and all of them together are one request to the client.

use super::census::Census;
use super::cursor;
use super::elements::{Malformed, array, bulk_text, element_len, integer};
use super::keyspaces::sum_of_keyspaces;
use super::link::LinkId;
use super::pipeline::Retry;
use super::set_algebra::SetAlgebra;
use crate::cluster::Slot;
use crate::resp::{Encoder, Protocol, Request, encode_request, parse_reply};
use bytes::Bytes;
use std::ops::Range;

/// A request that is carried out in parts.
#[derive(Debug)]
pub(super) struct Gather {
    kind: Kind,
    /// The parts, in the order in which they were made.
    pub parts: Vec<Part>,
    /// Parts without an outcome.
    pub pending: usize,
    /// Places of keys among the arguments, part after part.
    keys: Vec<u32>,
    /// Replies of parts, as far as they are needed for the whole.
    bytes: Vec<u8>,
    /// Where each argument's value lies in `bytes` (MGET).
    values: Vec<Range<u32>>,
    sum: i64,
    /// Bytes of replies that `kind` keeps itself.
    held: usize,
    flags: Vec<bool>,
    outcome: PartsOutcome,
    /// The most that `bytes` may hold.
    bytes_max: usize,
}

/// What is known of the parts together.
#[derive(Debug, Default)]
struct PartsOutcome {
    ran: bool,
    in_doubt: Option<String>,
    error: Option<Vec<u8>>,
    write: bool,
}

/// One part.
#[derive(Debug)]
pub(super) struct Part {
    /// The slot that decides where it goes. A fan-out's is the lowest of its shard.
    pub slot: Slot,
    /// Where its keys are in the request's list.
    keys: Range<u32>,
    /// Where it stands.
    pub state: PartState,
    /// The connection it waits on, while it is in flight.
    pub link: LinkId,
    /// Redirects it has followed in a row.
    pub hops: u8,
    /// How often it was lost to a silent node.
    pub silences: u8,
    /// Its tries.
    pub retry: Retry,
}

/// Where a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartState {
    /// Not run; it is sent when its time comes.
    Waiting,
    /// Its reply is expected on a link.
    InFlight,
    /// It has an outcome.
    Done,
}

/// How the parts are made and put together.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// MGET: values by the position of their keys.
    Values,
    /// DEL, EXISTS, …: keys in, a number each, added up.
    SumOfKeys,
    /// MSET: pairs in, OK when all are.
    Pairs,
    /// The command to every shard: numbers, added up.
    Sum,
    /// The command to every shard: the first reply, when all succeed.
    AllSucceeded,
    /// The command to every shard: the first that succeeds.
    OneSucceeded,
    /// The command to every shard: arrays, put together.
    Concat,
    /// The command to every shard: arrays of 0 and 1; 1 where all say 1.
    LogicalAnd,
    /// The smallest of the numbers.
    Min,
    /// The largest of the numbers.
    Max,
    /// RANDOMKEY: one of the keys.
    OneOf {
        /// Which, modulo their number.
        choice: usize,
    },
    /// SCAN: one shard's page, its cursor made ours.
    Scan(cursor::Position),
    /// SINTER, PFCOUNT, …: every key as a whole, and what is made of them here.
    Sets(SetAlgebra),
    /// PUBSUB: what each node counts, and what is known here.
    Census(Census),
    /// INFO: the proxy's sections, with the shards' keyspaces added up.
    Info {
        /// The text before the keyspace section.
        before: String,
    },
}

impl Gather {
    /// A request without parts yet.
    pub(super) fn new(kind: Kind, write: bool, bytes_max: usize) -> Self {
        Self {
            kind,
            parts: Vec::new(),
            pending: 0,
            keys: Vec::new(),
            bytes: Vec::new(),
            values: Vec::new(),
            sum: 0,
            held: 0,
            flags: Vec::new(),
            outcome: PartsOutcome { write, ..PartsOutcome::default() },
            bytes_max,
        }
    }

    /// Makes a part per slot of the keys. `keys` are the places of the keys in the request and
    /// their slots; sorted here by slot, each slot's in the order of the request.
    pub(super) fn split(&mut self, keys: &mut [(Slot, u32)], arguments: usize) {
        keys.sort_by_key(|&(slot, place)| (slot, place));
        if self.kind == Kind::Values {
            self.values.resize(arguments, 0..0);
        }
        let mut at = 0;
        while at < keys.len() {
            let slot = keys[at].0;
            let from = self.keys.len() as u32;
            while at < keys.len() && keys[at].0 == slot {
                self.keys.push(keys[at].1);
                at += 1;
            }
            self.add(slot, from..self.keys.len() as u32);
        }
    }

    /// A command over keys that are fetched one by one.
    pub(super) fn of_sets(sets: SetAlgebra, request: &Request<'_>, bytes_max: usize) -> Self {
        let keys = sets.keys().to_vec();
        let mut gather = Self::new(Kind::Sets(sets), false, bytes_max);
        for (at, key) in (0..).zip(&keys) {
            gather.add(Slot::of(request.arg(*key as usize)), at..at + 1);
        }
        gather.keys = keys;
        gather
    }

    /// Whether each part is about keys, whose slot a redirect can name.
    pub(super) fn is_by_key(&self) -> bool {
        matches!(self.kind, Kind::Values | Kind::SumOfKeys | Kind::Pairs | Kind::Sets(_))
    }

    /// Adds a part that goes to the owner of `slot` with the whole command.
    pub(super) fn add_shard(&mut self, slot: Slot) {
        self.add(slot, 0..0);
    }

    fn add(&mut self, slot: Slot, keys: Range<u32>) {
        self.parts.push(Part {
            slot,
            keys,
            state: PartState::Waiting,
            link: LinkId::NONE,
            hops: 0,
            silences: 0,
            retry: Retry::default(),
        });
        self.pending += 1;
    }

    /// Writes the frame of a part.
    pub(super) fn write_part(&self, part: usize, request: &Request<'_>, out: &mut Vec<u8>) {
        let keys = &self.parts[part].keys;
        let keys = &self.keys[keys.start as usize..keys.end as usize];
        match &self.kind {
            Kind::Values | Kind::SumOfKeys => {
                header(out, b'*', keys.len() + 1);
                bulk(out, request.name());
                for &key in keys {
                    bulk(out, request.arg(key as usize));
                }
            }
            Kind::Pairs => {
                header(out, b'*', keys.len() * 2 + 1);
                bulk(out, request.name());
                for &key in keys {
                    bulk(out, request.arg(key as usize));
                    bulk(out, request.arg(key as usize + 1));
                }
            }
            Kind::Scan(position) => {
                let cursor = position.node_cursor().to_string();
                header(out, b'*', request.len());
                bulk(out, request.name());
                bulk(out, cursor.as_bytes());
                for arg in request.args_from(2) {
                    bulk(out, arg);
                }
            }
            Kind::Info { .. } => encode_request(out, &["INFO", "keyspace"]),
            Kind::Sets(sets) => {
                sets.write_fetch(request.arg(keys[0] as usize), out);
            }
            Kind::Sum
            | Kind::AllSucceeded
            | Kind::OneSucceeded
            | Kind::Concat
            | Kind::LogicalAnd
            | Kind::Min
            | Kind::Max
            | Kind::Census(_)
            | Kind::OneOf { .. } => out.extend_from_slice(request.frame()),
        }
    }

    /// A part has its node's answer: true when it was the last.
    ///
    /// # Errors
    /// The answer is not of the command's kind: the node's connection cannot be trusted.
    pub(super) fn answered(&mut self, part: usize, reply: &[u8]) -> Result<bool, Malformed> {
        if let Some(line) = reply.strip_prefix(b"-") {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            if self.outcome.error.is_none() {
                self.outcome.error = Some(line.to_vec());
            }
            return Ok(self.done(part));
        }
        self.outcome.ran = true;
        let held = self.bytes.len() + self.held;
        if held + reply.len() > self.bytes_max {
            self.outcome.error.get_or_insert_with(|| {
                b"ERR the gathered reply exceeds the proxy's gather_bytes".to_vec()
            });
            return Ok(self.done(part));
        }
        match &mut self.kind {
            Kind::Values => self.keep_values(part, reply)?,
            Kind::SumOfKeys | Kind::Sum => self.sum += integer(reply)?,
            Kind::Min => {
                let number = integer(reply)?;
                self.sum = if self.flags.is_empty() { number } else { self.sum.min(number) };
                self.flags.push(true);
            }
            Kind::Max => {
                let number = integer(reply)?;
                self.sum = if self.flags.is_empty() { number } else { self.sum.max(number) };
                self.flags.push(true);
            }
            Kind::Pairs => {}
            Kind::AllSucceeded | Kind::OneSucceeded => {
                if self.bytes.is_empty() {
                    self.bytes.extend_from_slice(reply);
                }
            }
            Kind::Concat => {
                let (count, body) = array(reply)?;
                self.sum += count;
                self.bytes.extend_from_slice(body);
            }
            Kind::LogicalAnd => {
                let reply =
                    parse_reply(&Bytes::copy_from_slice(reply), 2).map_err(|_| Malformed)?;
                let items = reply.as_array().ok_or(Malformed)?;
                self.flags.resize(items.len(), true);
                for (flag, item) in self.flags.iter_mut().zip(items) {
                    *flag &= item.as_integer().ok_or(Malformed)? != 0;
                }
            }
            Kind::OneOf { .. } => {
                if !matches!(reply, b"$-1\r\n" | b"_\r\n") {
                    let at = self.bytes.len() as u32;
                    self.bytes.extend_from_slice(reply);
                    self.values.push(at..self.bytes.len() as u32);
                }
            }
            Kind::Scan(position) => {
                // `*2`, the cursor as a bulk string, then the page, which is passed on as it is.
                let body = reply.strip_prefix(b"*2\r\n").ok_or(Malformed)?;
                let len = element_len(body).ok_or(Malformed)?;
                let cursor = bulk_text(&body[..len]).ok_or(Malformed)?;
                position.answered(cursor).ok_or(Malformed)?;
                self.bytes.extend_from_slice(&body[len..]);
            }
            Kind::Census(census) => census.add(reply)?,
            Kind::Sets(sets) => self.held += sets.add(part, reply)?,
            Kind::Info { .. } => {
                let reply =
                    parse_reply(&Bytes::copy_from_slice(reply), 2).map_err(|_| Malformed)?;
                self.bytes.extend_from_slice(reply.as_bytes().ok_or(Malformed)?);
                self.bytes.push(b'\n');
            }
        }
        Ok(self.done(part))
    }

    /// A part ends without its node's answer: true when it was the last. `in_doubt` when it may
    /// have run; `line` is what the client is told.
    pub(super) fn failed(&mut self, part: usize, in_doubt: bool, line: String) -> bool {
        if in_doubt {
            self.outcome.in_doubt.get_or_insert(line);
        } else {
            self.outcome.error.get_or_insert_with(|| line.into_bytes());
        }
        self.done(part)
    }

    fn done(&mut self, part: usize) -> bool {
        let part = &mut self.parts[part];
        if part.state != PartState::Done {
            part.state = PartState::Done;
            self.pending -= 1;
        }
        self.pending == 0
    }

    fn keep_values(&mut self, part: usize, reply: &[u8]) -> Result<(), Malformed> {
        let keys = self.parts[part].keys.clone();
        let (count, mut body) = array(reply)?;
        if count != i64::from(keys.end - keys.start) {
            return Err(Malformed);
        }
        for at in keys {
            let len = element_len(body).ok_or(Malformed)?;
            let from = self.bytes.len() as u32;
            self.bytes.extend_from_slice(&body[..len]);
            let place = self.keys[at as usize] as usize;
            self.values[place] = from..self.bytes.len() as u32;
            body = &body[len..];
        }
        Ok(())
    }

    /// What kind of answer the whole got.
    pub(super) fn verdict(&self) -> Verdict {
        let partly = self.outcome.write && (self.outcome.ran || self.outcome.in_doubt.is_some());
        match (&self.outcome.in_doubt, &self.outcome.error) {
            (Some(_), _) => Verdict::InDoubt,
            (None, Some(_)) if partly && self.kind != Kind::OneSucceeded => Verdict::InDoubt,
            (None, Some(_)) if self.kind == Kind::OneSucceeded && self.outcome.ran => Verdict::Ok,
            (None, Some(_)) => Verdict::Error,
            (None, None) => Verdict::Ok,
        }
    }

    /// Writes the reply of the whole, once no part is pending.
    pub(super) fn finish(&self, request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
        let mut reply = Encoder::new(out, protocol);
        match self.verdict() {
            Verdict::InDoubt => {
                let why = match (&self.outcome.in_doubt, &self.outcome.error) {
                    (Some(line), _) => line.strip_prefix("INDOUBT ").unwrap_or(line).to_owned(),
                    (None, Some(error)) => String::from_utf8_lossy(error).into_owned(),
                    (None, None) => String::new(),
                };
                return if self.outcome.ran {
                    reply.error(format!("INDOUBT part of this command ran, part did not: {why}"));
                } else {
                    reply.error(format!("INDOUBT {why}"));
                };
            }
            Verdict::Error => {
                return reply.error(self.outcome.error.as_deref().unwrap_or(b"ERR no reply"));
            }
            Verdict::Ok => {}
        }
        match &self.kind {
            Kind::Values => {
                reply.array(request.len() - 1);
                for value in &self.values[1..] {
                    let value = &self.bytes[value.start as usize..value.end as usize];
                    reply.buffer().extend_from_slice(value);
                }
            }
            Kind::SumOfKeys | Kind::Sum | Kind::Min | Kind::Max => reply.integer(self.sum),
            Kind::Pairs => reply.ok(),
            Kind::AllSucceeded | Kind::OneSucceeded => {
                reply.buffer().extend_from_slice(&self.bytes);
            }
            Kind::Concat => {
                reply.array(self.sum as usize);
                reply.buffer().extend_from_slice(&self.bytes);
            }
            Kind::LogicalAnd => {
                reply.array(self.flags.len());
                for &flag in &self.flags {
                    reply.integer(i64::from(flag));
                }
            }
            Kind::OneOf { .. } if self.values.is_empty() => reply.null(),
            Kind::OneOf { choice } => {
                let value = &self.values[choice % self.values.len()];
                let value = &self.bytes[value.start as usize..value.end as usize];
                reply.buffer().extend_from_slice(value);
            }
            Kind::Scan(position) => {
                reply.array(2);
                reply.bulk(position.client_cursor().to_string());
                reply.buffer().extend_from_slice(&self.bytes);
            }
            Kind::Census(census) => census.write(request, &mut reply),
            Kind::Sets(sets) => sets.write(&mut reply),
            Kind::Info { before } => {
                let keyspace = sum_of_keyspaces(&String::from_utf8_lossy(&self.bytes));
                reply.verbatim(format!("{before}# Keyspace\r\n{keyspace}"));
            }
        }
    }

    /// The position of a SCAN.
    #[cfg(test)]
    pub(super) fn scan_position(&mut self) -> Option<&mut cursor::Position> {
        match &mut self.kind {
            Kind::Scan(position) => Some(position),
            _ => None,
        }
    }
}

/// What became of all parts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well.
    Ok,
    /// An error; nothing ran, or it was a read.
    Error,
    /// A write of which part ran, or may have.
    InDoubt,
}

fn header(out: &mut Vec<u8>, prefix: u8, number: usize) {
    out.push(prefix);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("in range")
    }

    fn finish(gather: &Gather, request: &OwnedRequest) -> String {
        let mut out = Vec::new();
        gather.finish(&request.as_request(), Protocol::Resp2, &mut out);
        String::from_utf8(out).expect("text")
    }

    fn mget() -> (Gather, OwnedRequest) {
        let request = OwnedRequest::from_args(&["MGET", "a", "b", "c"]);
        let mut gather = Gather::new(Kind::Values, false, 1000);
        gather.split(&mut [(slot(9), 1), (slot(2), 2), (slot(9), 3)], 4);
        (gather, request)
    }

    #[test]
    fn values_come_back_at_the_places_of_their_keys() {
        let (mut gather, request) = mget();
        assert_eq!(gather.parts.len(), 2, "one per slot");
        let mut out = Vec::new();
        gather.write_part(1, &request.as_request(), &mut out);
        assert_eq!(out, b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nc\r\n");
        assert_eq!(gather.answered(1, b"*2\r\n$1\r\nA\r\n$-1\r\n"), Ok(false));
        assert_eq!(gather.answered(0, b"*1\r\n$2\r\nBB\r\n"), Ok(true));
        assert_eq!(finish(&gather, &request), "*3\r\n$1\r\nA\r\n$2\r\nBB\r\n$-1\r\n");
    }

    #[test]
    fn a_part_with_the_wrong_number_of_values_is_not_believed() {
        let (mut gather, _) = mget();
        assert_eq!(gather.answered(1, b"*1\r\n$1\r\nA\r\n"), Err(Malformed));
        assert_eq!(gather.answered(1, b"+OK\r\n"), Err(Malformed));
    }

    #[test]
    fn a_failed_part_of_a_read_is_the_answer_and_of_a_write_is_in_doubt() {
        let (mut gather, request) = mget();
        assert_eq!(gather.answered(1, b"-ERR no\r\n"), Ok(false));
        assert_eq!(gather.answered(0, b"*1\r\n$2\r\nBB\r\n"), Ok(true));
        assert_eq!(finish(&gather, &request), "-ERR no\r\n");

        // (answers of two parts) → the reply of a write
        let ok = Some(":1\r\n");
        let error = Some("-OOM no\r\n");
        let partly = "-INDOUBT part of this command ran, part did not: OOM no\r\n";
        for (first, second, expected) in [
            (ok, ok, ":2\r\n"),
            (ok, error, partly),
            (error, error, "-OOM no\r\n"),
            (None, error, "-INDOUBT lost\r\n"),
            (None, ok, "-INDOUBT part of this command ran, part did not: lost\r\n"),
        ] {
            let request = OwnedRequest::from_args(&["DEL", "a", "b"]);
            let mut gather = Gather::new(Kind::SumOfKeys, true, 1000);
            gather.split(&mut [(slot(1), 1), (slot(2), 2)], 3);
            for (part, answer) in [first, second].into_iter().enumerate() {
                let last = match answer {
                    Some(reply) => gather.answered(part, reply.as_bytes()).expect("valid"),
                    None => gather.failed(part, true, "INDOUBT lost".to_owned()),
                };
                assert_eq!(last, part == 1);
            }
            assert_eq!(finish(&gather, &request), expected);
        }
    }

    #[test]
    fn fan_outs_are_put_together_as_their_policy_says() {
        let table: &[(Kind, &[&str], &str)] = &[
            (Kind::Sum, &[":2\r\n", ":3\r\n"], ":5\r\n"),
            (Kind::Min, &[":2\r\n", ":3\r\n"], ":2\r\n"),
            (Kind::Max, &[":2\r\n", ":3\r\n"], ":3\r\n"),
            (Kind::AllSucceeded, &["+OK\r\n", "+OK\r\n"], "+OK\r\n"),
            (Kind::AllSucceeded, &["-ERR x\r\n", "-ERR y\r\n"], "-ERR x\r\n"),
            (Kind::OneSucceeded, &["-NOTBUSY x\r\n", "+OK\r\n"], "+OK\r\n"),
            (
                Kind::Concat,
                &["*1\r\n$1\r\na\r\n", "*0\r\n", "*1\r\n$1\r\nb\r\n"],
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (Kind::LogicalAnd, &["*2\r\n:1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"], "*2\r\n:0\r\n:1\r\n"),
            (Kind::OneOf { choice: 3 }, &["$1\r\na\r\n", "$-1\r\n", "$1\r\nb\r\n"], "$1\r\nb\r\n"),
            (Kind::OneOf { choice: 3 }, &["$-1\r\n"], "$-1\r\n"),
        ];
        for (kind, replies, expected) in table {
            let request = OwnedRequest::from_args(&["X"]);
            let mut gather = Gather::new(kind.clone(), false, 1000);
            for number in 0..replies.len() {
                gather.add_shard(slot(number as u16));
            }
            for (part, reply) in replies.iter().enumerate() {
                gather.answered(part, reply.as_bytes()).expect("valid");
            }
            assert_eq!(finish(&gather, &request), *expected, "{kind:?}");
        }
    }

    #[test]
    fn a_gathered_reply_is_bounded() {
        let request = OwnedRequest::from_args(&["KEYS", "*"]);
        let mut gather = Gather::new(Kind::Concat, false, 10);
        gather.add_shard(slot(0));
        assert_eq!(gather.answered(0, b"*1\r\n$10\r\n0123456789\r\n"), Ok(true));
        assert!(finish(&gather, &request).contains("gather_bytes"));
    }
}
