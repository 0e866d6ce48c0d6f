//! ZUNION, ZINTER, ZDIFF and ZINTERCARD over several slots: each key is fetched whole from its
//! owner, and the answer is worked out here.
//!
//! A key may hold a set as well, whose members have the score 1. The one command that reads both,
//! and refuses everything else in the right words, is ZUNION of one key.

use super::elements::{Malformed, array, bulk_text, element_len};
use crate::command::Spec;
use crate::resp::{Encoder, Protocol, Request, parse_i64};
use crate::value::{DoubleText, parse_double};
use std::cmp::Ordering;
use std::collections::HashMap;

/// What is made of the sorted sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
    /// The size of the intersection, counted no further than this (0: to its end).
    Cardinality(usize),
}

/// What becomes of the scores of a member that is in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// One command over sorted sets of several slots.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SortedAlgebra {
    operation: Operation,
    aggregate: Aggregate,
    with_scores: bool,
    /// One for each key.
    weights: Vec<f64>,
}

/// Members with their scores, as a node has sent them.
type Scored<'a> = Vec<(&'a [u8], f64)>;

impl SortedAlgebra {
    /// The command, if it is one of these, over so many keys.
    ///
    /// # Errors
    /// What is wrong with its arguments, in Redis's words.
    pub(super) fn new(
        spec: &Spec,
        request: &Request<'_>,
        keys: usize,
    ) -> Option<Result<Self, &'static str>> {
        let operation = match spec.name {
            "zunion" => Operation::Union,
            "zinter" => Operation::Intersection,
            "zdiff" => Operation::Difference,
            "zintercard" => Operation::Cardinality(0),
            _ => return None,
        };
        let mut algebra = Self {
            operation,
            aggregate: Aggregate::Sum,
            with_scores: false,
            weights: vec![1.0; keys],
        };
        Some(algebra.read_options(request).map(|()| algebra))
    }

    fn read_options(&mut self, request: &Request<'_>) -> Result<(), &'static str> {
        let keys = self.weights.len();
        let weighs = matches!(self.operation, Operation::Union | Operation::Intersection);
        let counts = matches!(self.operation, Operation::Cardinality(_));
        let mut at = 2 + keys;
        while let Some(word) = request.get(at) {
            let behind = request.len() - at - 1;
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if weighs && behind >= keys && is("weights") {
                for weight in &mut self.weights {
                    at += 1;
                    *weight =
                        parse_double(request.arg(at)).ok_or("ERR weight value is not a float")?;
                }
            } else if weighs && behind >= 1 && is("aggregate") {
                at += 1;
                self.aggregate = match request.arg(at).to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err("ERR syntax error"),
                };
            } else if !counts && is("withscores") {
                self.with_scores = true;
            } else if counts && behind >= 1 && is("limit") {
                at += 1;
                let limit = parse_i64(request.arg(at)).and_then(|n| usize::try_from(n).ok());
                self.operation =
                    Operation::Cardinality(limit.ok_or("ERR LIMIT can't be negative")?);
            } else {
                return Err("ERR syntax error");
            }
            at += 1;
        }
        Ok(())
    }

    /// Writes the answer. `fetched` is what [`body`] kept of each key, in their order.
    pub(super) fn write(&self, fetched: &[Option<Vec<u8>>], reply: &mut Encoder<'_>) {
        let mut sources = Vec::with_capacity(fetched.len());
        for (body, &weight) in fetched.iter().zip(&self.weights) {
            match scored(body.as_deref().unwrap_or_default()) {
                Ok(members) => sources.push((members, weight)),
                Err(Malformed) => {
                    return reply.error("ERR a node answered ZUNION with something else");
                }
            }
        }
        if self.operation != Operation::Difference {
            // In the order in which Redis adds them up: sums of doubles depend on it.
            sources.sort_by_key(|(members, _)| members.len());
        }
        let found = self.combine(sources);
        if let Operation::Cardinality(limit) = self.operation {
            let count = if limit == 0 { found.len() } else { found.len().min(limit) };
            return reply.integer(count as i64);
        }
        self.write_members(found, reply);
    }

    fn combine<'a>(&self, sources: Vec<(Scored<'a>, f64)>) -> Scored<'a> {
        let mut sources = sources.into_iter();
        let Some((first, weight)) = sources.next() else { return Vec::new() };
        let is_difference = self.operation == Operation::Difference;
        let weighed = |score: f64| if is_difference { score } else { number(score * weight) };
        let mut found: HashMap<&[u8], f64> =
            first.into_iter().map(|(member, score)| (member, weighed(score))).collect();
        for (members, weight) in sources {
            match self.operation {
                Operation::Union => {
                    for (member, score) in members {
                        let score = number(score * weight);
                        found
                            .entry(member)
                            .and_modify(|sum| *sum = self.aggregate.of(*sum, score))
                            .or_insert(score);
                    }
                }
                Operation::Difference => {
                    for (member, _) in members {
                        found.remove(member);
                    }
                }
                Operation::Intersection | Operation::Cardinality(_) => {
                    let these: HashMap<&[u8], f64> = members.into_iter().collect();
                    found.retain(|member, sum| match these.get(member) {
                        Some(score) => {
                            *sum = self.aggregate.of(*sum, score * weight);
                            true
                        }
                        None => false,
                    });
                }
            }
        }
        found.into_iter().collect()
    }

    fn write_members(&self, mut found: Scored<'_>, reply: &mut Encoder<'_>) {
        found.sort_unstable_by(|a, b| {
            a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal).then_with(|| a.0.cmp(b.0))
        });
        let pairs = self.with_scores && reply.protocol() == Protocol::Resp3;
        let flat = self.with_scores && !pairs;
        reply.array(if flat { found.len() * 2 } else { found.len() });
        for (member, score) in found {
            if pairs {
                reply.array(2);
            }
            reply.bulk(member);
            if self.with_scores {
                reply.double_text(DoubleText::reply(score).as_str());
            }
        }
    }
}

impl Aggregate {
    fn of(self, sum: f64, score: f64) -> f64 {
        match self {
            Self::Sum => number(sum + score),
            Self::Min if score < sum => score,
            Self::Max if score > sum => score,
            Self::Min | Self::Max => sum,
        }
    }
}

/// Where infinities cancel each other out, or are taken times nothing, Redis takes 0.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What is kept of a key's reply: its elements.
///
/// # Errors
/// It is no list of members with scores.
pub(super) fn body(reply: &[u8]) -> Result<&[u8], Malformed> {
    let (_, body) = array(reply)?;
    scored(body).map(|_| body)
}

/// Members and scores: flat in RESP2, pairs in RESP3.
fn scored(mut rest: &[u8]) -> Result<Scored<'_>, Malformed> {
    let mut members = Vec::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b"*2\r\n").unwrap_or(rest);
        let (member, behind) = element(rest)?;
        let (score, behind) = element(behind)?;
        members.push((member, parse_double(score).ok_or(Malformed)?));
        rest = behind;
    }
    Ok(members)
}

/// The text of the element at the beginning, and what is behind it.
fn element(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    if bytes.is_empty() {
        return Err(Malformed);
    }
    if bytes[0] == b',' {
        let end = memchr::memchr(b'\r', bytes).ok_or(Malformed)?;
        return Ok((&bytes[1..end], bytes.get(end + 2..).ok_or(Malformed)?));
    }
    let (element, behind) = bytes.split_at(element_len(bytes).ok_or(Malformed)?);
    Ok((bulk_text(element).ok_or(Malformed)?, behind))
}
