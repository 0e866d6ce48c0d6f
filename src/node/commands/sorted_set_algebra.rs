//! What several sorted sets make together: their union, intersection and difference.
//!
//! Sources are looked at one after the other, the smallest first: sums of scores round as they do
//! in Redis, which adds them in that order.

use super::sorted_set_ranges::store;
use super::sorted_sets::Members;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::Request;
use crate::store::{Db, Entry, Item, Set, SortedSet, ValueRef, WrongType};
use crate::value::parse_double;
use std::cmp::Ordering;
use std::collections::HashMap;

pub(super) const HANDLERS: Handlers = &[
    ("zdiff", zdiff),
    ("zdiffstore", zdiffstore),
    ("zinter", zinter),
    ("zintercard", zintercard),
    ("zinterstore", zinterstore),
    ("zunion", zunion),
    ("zunionstore", zunionstore),
];

type Done = Result<(), CommandError>;
type Scored = (Box<[u8]>, f64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn add(self, sum: &mut f64, score: f64) {
        *sum = match self {
            // Plus and minus infinity are zero together.
            Self::Sum => number(*sum + score),
            Self::Min if score < *sum => score,
            Self::Max if score > *sum => score,
            Self::Min | Self::Max => *sum,
        };
    }
}

/// A score, or zero for what is no number (infinity times zero).
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What may be a source: a sorted set, a set, whose members all have the score 1, or nothing.
enum Source<'d> {
    Nothing,
    Sorted(&'d SortedSet),
    Plain(&'d Set),
}

impl<'d> Source<'d> {
    fn of(entry: Option<&'d Entry>) -> Result<Self, WrongType> {
        match entry.map(Entry::value) {
            None => Ok(Self::Nothing),
            Some(ValueRef::SortedSet(set)) => Ok(Self::Sorted(set)),
            Some(ValueRef::Set(set)) => Ok(Self::Plain(set)),
            Some(_) => Err(WrongType),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Sorted(set) => set.len(),
            Self::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::Sorted(set) => set.score(member),
            Self::Plain(set) => set.contains(member).then_some(1.0),
        }
    }

    fn each(&self, mut visit: impl FnMut(&[u8], f64)) {
        let mut buffer = itoa::Buffer::new();
        match self {
            Self::Nothing => {}
            Self::Sorted(set) => {
                set.iter().for_each(|(member, score)| visit(member.bytes(&mut buffer), score));
            }
            Self::Plain(set) => {
                set.iter().for_each(|member| visit(member.bytes(&mut buffer), 1.0));
            }
        }
    }
}

struct Input<'a> {
    key: &'a [u8],
    weight: f64,
    len: usize,
}

#[derive(Default)]
struct Options {
    aggregate: Aggregate,
    with_scores: bool,
    /// No limit if zero.
    limit: usize,
}

/// Which options a command takes.
#[derive(Clone, Copy)]
struct Takes {
    weights: bool,
    with_scores: bool,
    limit: bool,
}

/// Reads `numkeys key … [options]` from `at` on, and looks the keys up: in Redis's order, for the
/// sake of what is refused first.
fn parse<'a>(
    db: &mut Db<'_>,
    request: &Request<'a>,
    at: usize,
    command: &'static str,
    takes: Takes,
) -> Result<(Vec<Input<'a>>, Options), CommandError> {
    let count = integer(request.arg(at))?;
    if count < 1 {
        return Err(CommandError::err(format_args!(
            "at least 1 input key is needed for '{command}' command"
        )));
    }
    if count as usize > request.len() - at - 1 {
        return Err(CommandError::Syntax);
    }
    let count = count as usize;
    let mut inputs = Vec::with_capacity(count);
    for key in request.args_from(at + 1).take(count) {
        let len = Source::of(db.read(key))?.len();
        inputs.push(Input { key, weight: 1.0, len });
    }
    let mut options = Options::default();
    let mut next = at + 1 + count;
    while let Some(word) = request.get(next) {
        let behind = request.len() - next - 1;
        if takes.weights && behind >= count && is(word, "weights") {
            for input in &mut inputs {
                next += 1;
                let weight = parse_double(request.arg(next));
                input.weight =
                    weight.ok_or(CommandError::line("ERR weight value is not a float"))?;
            }
        } else if takes.weights && behind >= 1 && is(word, "aggregate") {
            next += 1;
            let how = request.arg(next);
            options.aggregate = match how {
                _ if is(how, "sum") => Aggregate::Sum,
                _ if is(how, "min") => Aggregate::Min,
                _ if is(how, "max") => Aggregate::Max,
                _ => return Err(CommandError::Syntax),
            };
        } else if takes.with_scores && is(word, "withscores") {
            options.with_scores = true;
        } else if takes.limit && behind >= 1 && is(word, "limit") {
            next += 1;
            let limit = integer(request.arg(next)).ok();
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            options.limit = limit.ok_or(CommandError::line("ERR LIMIT can't be negative"))?;
        } else {
            return Err(CommandError::Syntax);
        }
        next += 1;
    }
    Ok((inputs, options))
}

/// The members of the outcome, in no order.
fn combine(
    db: &mut Db<'_>,
    operation: Operation,
    mut inputs: Vec<Input<'_>>,
    aggregate: Aggregate,
) -> Result<Vec<Scored>, WrongType> {
    if operation != Operation::Difference {
        inputs.sort_by_key(|input| input.len);
    }
    if operation == Operation::Union {
        let mut all: HashMap<Box<[u8]>, f64> = HashMap::new();
        for input in &inputs {
            Source::of(db.peek(input.key))?.each(|member, score| {
                let score = number(score * input.weight);
                match all.get_mut(member) {
                    Some(sum) => aggregate.add(sum, score),
                    None => {
                        all.insert(member.into(), score);
                    }
                }
            });
        }
        return Ok(all.into_iter().collect());
    }
    let mut left: Vec<Scored> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let source = Source::of(db.peek(input.key))?;
        if index == 0 {
            left.reserve_exact(source.len());
            source.each(|member, score| {
                let score = match operation {
                    Operation::Difference => score,
                    _ => number(score * input.weight),
                };
                left.push((member.into(), score));
            });
            continue;
        }
        left.retain_mut(|(member, sum)| match (source.score(member), operation) {
            (found, Operation::Difference) => found.is_none(),
            (Some(score), _) => {
                aggregate.add(sum, score * input.weight);
                true
            }
            (None, _) => false,
        });
        if left.is_empty() {
            break;
        }
    }
    Ok(left)
}

fn show(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    operation: Operation,
    command: &'static str,
) -> Done {
    let weights = operation != Operation::Difference;
    let (mut db, out) = ctx.data();
    let takes = Takes { weights, with_scores: true, limit: false };
    let (inputs, options) = parse(&mut db, request, 1, command, takes)?;
    let mut found = combine(&mut db, operation, inputs, options.aggregate)?;
    found.sort_unstable_by(|a, b| {
        a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal).then_with(|| a.0.cmp(&b.0))
    });
    let mut members = Members { out, with_scores: options.with_scores };
    members.head(found.len());
    found.iter().for_each(|(member, score)| members.member((Item::Bytes(member), *score)));
    Ok(())
}

fn put(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    operation: Operation,
    command: &'static str,
) -> Done {
    let weights = operation != Operation::Difference;
    let mut db = ctx.db();
    let takes = Takes { weights, with_scores: false, limit: false };
    let (inputs, options) = parse(&mut db, request, 2, command, takes)?;
    let found = combine(&mut db, operation, inputs, options.aggregate)?;
    let longest = found.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
    store(ctx, request.arg(1), &found, longest, command)
}

fn zunion(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Operation::Union, "zunion")
}

fn zinter(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Operation::Intersection, "zinter")
}

fn zdiff(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Operation::Difference, "zdiff")
}

fn zunionstore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    put(ctx, request, Operation::Union, "zunionstore")
}

fn zinterstore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    put(ctx, request, Operation::Intersection, "zinterstore")
}

fn zdiffstore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    put(ctx, request, Operation::Difference, "zdiffstore")
}

fn zintercard(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let takes = Takes { weights: false, with_scores: false, limit: true };
    let (inputs, options) = parse(&mut db, request, 1, "zintercard", takes)?;
    let found = combine(&mut db, Operation::Intersection, inputs, Aggregate::Sum)?.len();
    out.integer(if options.limit == 0 { found } else { found.min(options.limit) } as i64);
    Ok(())
}
