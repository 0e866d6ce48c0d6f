//! Registers as runs of equal ones. Where a run is split and which runs are joined again decides
//! the bytes, so both are done as Redis does them.
//!
//! ```text
//!  00llllll            l + 1 registers that are 0
//!  01llllll llllllll   the same, up to 16,384
//!  1vvvvvll            l + 1 registers that are v + 1
//! ```

use super::{Corrupted, HEADER, REGISTERS};
use std::fmt::Write;

/// A longer run of zeros needs two bytes.
const SHORT_ZEROS_MAX: usize = 64;
/// How many registers a run of values spans at most.
const VALUES_MAX: usize = 4;
/// The largest value of a run.
const VALUE_MAX: u8 = 32;
/// How many runs are looked at for some to join, from the one before a change on.
const JOINED_WITHIN: usize = 5;

/// What became of a register that was to be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It holds as much already.
    No,
    Yes,
    /// The value or the bytes are too large for runs. Nothing has changed.
    DoesNotFit,
}

/// Registers that hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    value: u8,
    count: usize,
    /// How many bytes describe it.
    bytes: usize,
}

impl Run {
    /// The run that `bytes` begin with.
    fn read(bytes: &[u8]) -> Result<Self, Corrupted> {
        match *bytes {
            [first @ 0x80..=0xff, ..] => {
                let (value, count) = ((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1);
                Ok(Self { value, count, bytes: 1 })
            }
            [first @ 0x40..=0x7f, second, ..] => {
                let count = usize::from(first & 0x3f) << 8 | usize::from(second);
                Ok(Self { value: 0, count: count + 1, bytes: 2 })
            }
            [first @ 0..=0x3f, ..] => {
                Ok(Self { value: 0, count: usize::from(first) + 1, bytes: 1 })
            }
            _ => Err(Corrupted),
        }
    }
}

pub(super) fn push_zeros(bytes: &mut Vec<u8>, count: usize) {
    let less_one = (count - 1) as u16;
    let [high, low] = less_one.to_be_bytes();
    if count > SHORT_ZEROS_MAX {
        bytes.extend([0x40 | high, low]);
    } else {
        bytes.push(low);
    }
}

fn values(value: u8, count: usize) -> u8 {
    0x80 | (value - 1) << 2 | (count - 1) as u8
}

/// Every register that is not 0, with its value.
pub(super) fn each(mut runs: &[u8], mut visit: impl FnMut(usize, u8)) -> Result<(), Corrupted> {
    let mut index = 0;
    while !runs.is_empty() {
        let run = Run::read(runs)?;
        runs = &runs[run.bytes..];
        if run.count > REGISTERS - index {
            return Err(Corrupted);
        }
        if run.value > 0 {
            (index..index + run.count).for_each(|index| visit(index, run.value));
        }
        index += run.count;
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

pub(super) fn describe(mut runs: &[u8]) -> String {
    let mut text = String::new();
    while let Ok(run) = Run::read(runs) {
        let Run { value, count, bytes } = run;
        let written = match (value, bytes) {
            (0, 1) => write!(text, "z:{count} "),
            (0, _) => write!(text, "Z:{count} "),
            (value, _) => write!(text, "v:{value},{count} "),
        };
        written.expect("a String takes everything");
        runs = &runs[bytes..];
    }
    if let [first @ 0x40..=0x7f] = *runs {
        // Half a run: whatever else is wrong with it, Redis reads a zero behind the end.
        let count = (usize::from(first & 0x3f) << 8) + 1;
        write!(text, "Z:{count}").expect("a String takes everything");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Makes a register hold at least `value`. `bytes` are the whole string, which must not grow beyond
/// `bytes_max`.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    bytes_max: usize,
) -> Result<Raised, Corrupted> {
    if value > VALUE_MAX {
        return Ok(Raised::DoesNotFit);
    }
    let (mut at, mut first, mut before) = (HEADER, 0, None);
    let run = loop {
        let run = Run::read(&bytes[at..])?;
        if index < first + run.count {
            break run;
        }
        before = Some(at);
        at += run.bytes;
        first += run.count;
    };
    if run.value >= value {
        return Ok(Raised::No);
    }
    if run.count == 1 {
        bytes[at] = values(value, 1);
    } else {
        let mut split = Vec::with_capacity(5);
        let push = |split: &mut Vec<u8>, count: usize| match (count, run.value) {
            (0, _) => {}
            (_, 0) => push_zeros(split, count),
            (_, old) => split.push(values(old, count)),
        };
        push(&mut split, index - first);
        split.push(values(value, 1));
        push(&mut split, first + run.count - index - 1);
        if split.len() > run.bytes && bytes.len() + split.len() - run.bytes > bytes_max {
            return Ok(Raised::DoesNotFit);
        }
        bytes.splice(at..at + run.bytes, split);
    }
    join(bytes, before.unwrap_or(HEADER));
    Ok(Raised::Yes)
}

/// Joins neighbours of equal values, as long as a run can span both.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_WITHIN {
        let Some(Ok(run)) = bytes.get(at..).map(Run::read) else { return };
        if run.value > 0
            && let Some(Ok(next)) = bytes.get(at + 1..).map(Run::read)
            && next.value == run.value
            && run.count + next.count <= VALUES_MAX
        {
            bytes[at + 1] = values(run.value, run.count + next.count);
            bytes.remove(at);
        } else {
            at += run.bytes;
        }
    }
}
