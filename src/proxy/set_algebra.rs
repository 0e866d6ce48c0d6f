//! SUNION, SINTER, SDIFF, SINTERCARD, PFCOUNT and the commands of [`SortedAlgebra`] over several
//! slots: each key is fetched whole from its owner, and the answer is worked out here.
//!
//! No node may run such a command, since a node refuses two slots in one. What is fetched is bounded
//! by `gather_bytes`. Each key is read at its own moment, as with MGET over several slots.

use super::elements::{Malformed, array, bulk_text, element_len};
use super::sorted_algebra::{self, SortedAlgebra};
use crate::command::Spec;
use crate::resp::{Encoder, Request, encode_request, parse_i64};
use crate::value::hyperloglog::{self, Registers};
use std::collections::BTreeSet;

/// What is made of the sets.
#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Union,
    Intersection,
    Difference,
    /// The size of the intersection, counted no further than this (0: to its end).
    Cardinality(usize),
    /// About how many elements were added to any of the HyperLogLogs.
    Estimate,
    /// ZUNION and kin.
    Sorted(SortedAlgebra),
    /// ZUNION and kin with wrong options: Redis looks at the keys first, and says this if all are
    /// sorted sets.
    Refused(&'static str),
}

/// One command over sets of several slots.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SetAlgebra {
    operation: Operation,
    /// What each key holds as it came, in the order of the keys; nothing for one that is not there.
    sets: Vec<Option<Vec<u8>>>,
    /// Where the keys are among the arguments.
    keys: Vec<u32>,
}

impl SetAlgebra {
    /// The command, if it is one of these; `keys` are the places of its keys.
    ///
    /// # Errors
    /// What is wrong with its arguments, in Redis's words.
    pub(super) fn new(
        spec: &Spec,
        request: &Request<'_>,
        keys: Vec<u32>,
    ) -> Option<Result<Self, &'static str>> {
        let operation = match spec.name {
            "sunion" => Operation::Union,
            "sinter" => Operation::Intersection,
            "sdiff" => Operation::Difference,
            "sintercard" => match limit(request, keys.len()) {
                Ok(limit) => Operation::Cardinality(limit),
                Err(line) => return Some(Err(line)),
            },
            "pfcount" => Operation::Estimate,
            _ => match SortedAlgebra::new(spec, request, keys.len())? {
                Ok(sorted) => Operation::Sorted(sorted),
                Err(line) => Operation::Refused(line),
            },
        };
        Some(Ok(Self { operation, sets: vec![None; keys.len()], keys }))
    }

    /// Where the keys are among the arguments: a part each.
    pub(super) fn keys(&self) -> &[u32] {
        &self.keys
    }

    /// Writes the command that fetches a key.
    pub(super) fn write_fetch(&self, key: &[u8], out: &mut Vec<u8>) {
        match self.operation {
            Operation::Estimate => encode_request(out, &[b"GET", key]),
            Operation::Sorted(_) | Operation::Refused(_) => {
                encode_request(out, &[b"ZUNION", &b"1"[..], key, b"WITHSCORES"]);
            }
            _ => encode_request(out, &[b"SMEMBERS", key]),
        }
    }

    /// One key has come: what is kept of it.
    ///
    /// # Errors
    /// It is not what fetching a key answers.
    pub(super) fn add(&mut self, part: usize, reply: &[u8]) -> Result<usize, Malformed> {
        let kept = match self.operation {
            Operation::Estimate if matches!(reply, b"$-1\r\n" | b"_\r\n") => return Ok(0),
            Operation::Refused(_) => return Ok(0),
            Operation::Estimate => bulk_text(reply).ok_or(Malformed)?,
            Operation::Sorted(_) => sorted_algebra::body(reply)?,
            _ => array(reply)?.1,
        };
        self.sets[part] = Some(kept.to_vec());
        Ok(kept.len())
    }

    /// Writes the answer, once every set is there.
    pub(super) fn write(&self, reply: &mut Encoder<'_>) {
        if self.operation == Operation::Estimate {
            return match estimate(&self.sets) {
                Ok(count) => reply.integer(count as i64),
                Err(line) => reply.error(line),
            };
        }
        if let Operation::Refused(line) = self.operation {
            return reply.error(line);
        }
        if let Operation::Sorted(sorted) = &self.operation {
            return sorted.write(&self.sets, reply);
        }
        let mut sets = self
            .sets
            .iter()
            .map(|set| members(set.as_deref().unwrap_or_default()).collect::<BTreeSet<&[u8]>>());
        let mut result = sets.next().unwrap_or_default();
        for set in sets {
            match self.operation {
                Operation::Union => result.extend(set),
                Operation::Difference => result.retain(|member| !set.contains(member)),
                _ => {
                    result.retain(|member| set.contains(member));
                }
            }
        }
        if let Operation::Cardinality(limit) = self.operation {
            let count = if limit == 0 { result.len() } else { result.len().min(limit) };
            return reply.integer(count as i64);
        }
        reply.set(result.len());
        for member in result {
            reply.bulk(member);
        }
    }
}

impl SetAlgebra {
    /// The error that one server would find in the sets before `place`, the place of a key among the
    /// arguments whose node answered with an error.
    pub(super) fn error_before(&self, place: u32) -> Option<String> {
        let before = self.keys.iter().take_while(|&&key| key < place).count();
        match self.operation {
            Operation::Estimate => estimate(&self.sets[..before]).err(),
            _ => None,
        }
    }
}

/// PFCOUNT: the registers of all keys together. A key that is not there counts nothing.
fn estimate(keys: &[Option<Vec<u8>>]) -> Result<u64, String> {
    let mut all: Option<Registers> = None;
    for bytes in keys.iter().flatten() {
        if hyperloglog::encoding(bytes).is_none() {
            return Err("WRONGTYPE Key is not a valid HyperLogLog string value.".to_owned());
        }
        let merged = match &mut all {
            Some(all) => all.merge(bytes),
            None => Registers::of(bytes).map(|registers| all = Some(registers)),
        };
        merged.map_err(|corrupted| corrupted.to_string())?;
    }
    Ok(all.map_or(0, |all| all.count()))
}

/// The members of a set's reply, without its header.
fn members(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (element, behind) = rest.split_at(element_len(rest)?);
        rest = behind;
        bulk_text(element)
    })
}

/// What follows the keys of SINTERCARD: a limit, any number of times, of which the last counts.
fn limit(request: &Request<'_>, keys: usize) -> Result<usize, &'static str> {
    let mut rest = request.args_from(2 + keys);
    let mut last = 0;
    while let Some(word) = rest.next() {
        let value = rest.next().filter(|_| word.eq_ignore_ascii_case(b"limit"));
        let number = parse_i64(value.ok_or("ERR syntax error")?);
        let number = number.and_then(|number| usize::try_from(number).ok());
        last = number.ok_or("ERR LIMIT can't be negative")?;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup_request;
    use crate::resp::{OwnedRequest, Protocol};

    /// The answer to a command over these sets.
    fn answer(line: &str, keys: u32, sets: &[&str]) -> String {
        let args: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&args);
        let request = request.as_request();
        let spec = lookup_request(&request).expect("in the table");
        let keys = (1..=keys).collect();
        let mut algebra = match SetAlgebra::new(spec, &request, keys).expect("it is one") {
            Ok(algebra) => algebra,
            Err(line) => return line.to_owned(),
        };
        for (part, set) in sets.iter().enumerate() {
            let mut reply = Vec::new();
            let mut encoder = Encoder::new(&mut reply, Protocol::Resp3);
            let members: Vec<&str> = set.split(' ').filter(|m| !m.is_empty()).collect();
            encoder.set(members.len());
            members.iter().for_each(|member| encoder.bulk(member));
            algebra.add(part, &reply).expect("a set");
        }
        let mut out = Vec::new();
        algebra.write(&mut Encoder::new(&mut out, Protocol::Resp2));
        String::from_utf8(out).expect("text").replace("\r\n", "|")
    }

    #[test]
    fn sets_of_several_slots_are_put_together() {
        let sets = ["a b c", "b c d", ""];
        for (line, count, expected) in [
            ("SUNION x y z", 3, "*4|$1|a|$1|b|$1|c|$1|d|"),
            ("SINTER x y", 2, "*2|$1|b|$1|c|"),
            ("SINTER x y z", 3, "*0|"),
            ("SDIFF x y", 2, "*1|$1|a|"),
            ("SINTERCARD 2 x y", 2, ":2|"),
            ("SINTERCARD 2 x y LIMIT 1", 2, ":1|"),
            ("SINTERCARD 2 x y LIMIT 0", 2, ":2|"),
            ("SINTERCARD 2 x y LIMIT 7 LIMIT 1", 2, ":1|"),
            ("SINTERCARD 2 x y LIMIT -1", 2, "ERR LIMIT can't be negative"),
            ("SINTERCARD 2 x y LIMIT -1 FOO", 2, "ERR LIMIT can't be negative"),
            ("SINTERCARD 2 x y LIMIT 1 FOO", 2, "ERR syntax error"),
            ("SINTERCARD 2 x y LIMIT", 2, "ERR syntax error"),
        ] {
            assert_eq!(answer(line, count, &sets[..count as usize]), expected, "{line}");
        }
    }
}
