//! One request as several: its parts, and the one reply that theirs become.
//!
//! A split command has a part per slot, since a node refuses two slots in one command even when it
//! owns both; a fan-out has a part per shard. Each part is tried, redirected and lost on its own,
//! and all of them together are one request to the client.

mod answers;
mod frames;
mod whole;

use super::census::Census;
use super::cursor;
use super::link::LinkId;
use super::pipeline::Retry;
use super::publication::Publication;
use super::set_algebra::SetAlgebra;
use super::stream_read::StreamRead;
use crate::cluster::Slot;
use crate::command::Spec;
use crate::resp::Request;
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
    /// The error of the part whose keys come first, as one server would find it first.
    error: Option<(u32, Vec<u8>)>,
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

impl Part {
    fn new(slot: Slot) -> Self {
        Self {
            slot,
            keys: 0..0,
            state: PartState::Waiting,
            link: LinkId::NONE,
            hops: 0,
            silences: 0,
            retry: Retry::default(),
        }
    }
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
    /// SCAN: one node's page, its cursor made ours; at the end of a round, what every node knows.
    Scan(Box<cursor::Position>),
    /// SINTER, PFCOUNT, …: every key as a whole, and what is made of them here.
    Sets(SetAlgebra),
    /// XREAD: the streams of each slot, put back into the order of the arguments.
    Streams(StreamRead),
    /// PUBSUB: what each node counts, and what is known here.
    Census(Census),
    /// PUBLISH, SPUBLISH: to one node, whose count is put right.
    Publication(Box<Publication>),
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

    /// XREAD of streams in several slots, if that is what it is; `keys` are the places of its keys.
    pub(super) fn of_streams(
        spec: &Spec,
        request: &Request<'_>,
        keys: &[u32],
        bytes_max: usize,
    ) -> Option<Self> {
        let streams = StreamRead::new(spec, request, keys)?;
        let mut gather = Self::new(Kind::Streams(streams), false, bytes_max);
        let slot = |key: u32| Slot::of(request.arg(key as usize));
        let mut keys: Vec<(Slot, u32)> = keys.iter().map(|&key| (slot(key), key)).collect();
        gather.split(&mut keys, request.len());
        Some(gather)
    }

    /// Whether each part is about keys, whose slot a redirect can name.
    pub(super) fn is_by_key(&self) -> bool {
        match &self.kind {
            Kind::Values | Kind::SumOfKeys | Kind::Pairs | Kind::Sets(_) | Kind::Streams(_) => true,
            Kind::Publication(publication) => publication.has_slot(),
            _ => false,
        }
    }

    /// Adds a part that goes to the owner of `slot` with the whole command.
    pub(super) fn add_shard(&mut self, slot: Slot) {
        self.add(slot, 0..0);
    }

    fn add(&mut self, slot: Slot, keys: Range<u32>) {
        self.parts.push(Part { keys, ..Part::new(slot) });
        self.pending += 1;
    }

    /// A part ends without its node's answer: true when it was the last. `in_doubt` when it may
    /// have run; `line` is what the client is told.
    pub(super) fn failed(&mut self, part: usize, in_doubt: bool, line: String) -> bool {
        if in_doubt {
            self.outcome.in_doubt.get_or_insert(line);
        } else {
            self.note_error(part, line.into_bytes());
        }
        self.done(part)
    }

    fn note_error(&mut self, part: usize, line: Vec<u8>) {
        let keys = &self.parts[part].keys;
        let first = self.keys.get(keys.start as usize).copied().unwrap_or(part as u32);
        if self.outcome.error.as_ref().is_none_or(|(of, _)| first < *of) {
            self.outcome.error = Some((first, line));
        }
    }

    fn done(&mut self, part: usize) -> bool {
        let part = &mut self.parts[part];
        if part.state != PartState::Done {
            part.state = PartState::Done;
            self.pending -= 1;
        }
        self.pending == 0
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

    /// The node that a SCAN's page goes on with, where the one before had too few keys: it is
    /// asked as the same part.
    pub(super) fn next_page(&mut self) -> Option<Slot> {
        let (given, verdict) = (self.sum, self.verdict());
        if verdict != Verdict::Ok || self.parts.len() != 1 {
            return None;
        }
        let slot = self.scan_position()?.goes_to(given.unsigned_abs())?;
        let part = &mut self.parts[0];
        *part = Part::new(slot);
        self.pending = 1;
        Some(slot)
    }

    /// Whether a SCAN's round is over and its nodes have not been asked yet what has changed.
    pub(super) fn wants_survey(&self) -> bool {
        let Kind::Scan(position) = &self.kind else { return false };
        self.verdict() == Verdict::Ok
            && position.is_round_over()
            && (0..self.parts.len()).all(|part| position.is_page(part))
    }

    /// Whether any shard's node will do for its part.
    pub(super) fn goes_anywhere(&self) -> bool {
        matches!(&self.kind, Kind::Publication(publication) if !publication.has_slot())
    }

    /// The message that it publishes.
    pub(super) fn publication(&mut self) -> Option<&mut Publication> {
        match &mut self.kind {
            Kind::Publication(publication) => Some(publication),
            _ => None,
        }
    }

    /// The position of a SCAN.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::elements::Malformed;
    use crate::resp::{OwnedRequest, Protocol};

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
