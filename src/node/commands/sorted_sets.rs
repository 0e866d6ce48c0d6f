//! Sorted sets: members one by one. Their ranges and what several of them make together have
//! files of their own.

use crate::node::args::{draws, integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Encoder, Protocol, Request};
use crate::store::{Item, Random, SortedSet};
use crate::value::{DoubleText, parse_double};
use std::collections::BTreeSet;

pub(super) const HANDLERS: Handlers = &[
    ("zadd", zadd),
    ("zcard", zcard),
    ("zincrby", zincrby),
    ("zmscore", zmscore),
    ("zrandmember", zrandmember),
    ("zrank", zrank),
    ("zrem", zrem),
    ("zrevrank", zrevrank),
    ("zscore", zscore),
];

type Done = Result<(), CommandError>;

pub(super) fn write_score(out: &mut Encoder<'_>, score: f64) {
    out.double_text(DoubleText::reply(score).as_str());
}

pub(super) fn write_member(out: &mut Encoder<'_>, member: Item<'_>) {
    out.bulk(member.bytes(&mut itoa::Buffer::new()));
}

/// Writes members, with their scores or without: as pairs in RESP3, flat in RESP2.
pub(super) struct Members<'o, 'e> {
    pub(super) out: &'o mut Encoder<'e>,
    pub(super) with_scores: bool,
}

impl Members<'_, '_> {
    fn nests(&self) -> bool {
        self.with_scores && self.out.protocol() == Protocol::Resp3
    }

    pub(super) fn head(&mut self, len: usize) {
        let flat = self.with_scores && !self.nests();
        self.out.array(if flat { len * 2 } else { len });
    }

    pub(super) fn member(&mut self, (member, score): (Item<'_>, f64)) {
        if self.nests() {
            self.out.array(2);
        }
        write_member(self.out, member);
        if self.with_scores {
            write_score(self.out, score);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct AddOptions {
    /// Only members that are not there, that are there.
    missing: bool,
    present: bool,
    /// Only to a higher, a lower score.
    greater: bool,
    less: bool,
    /// The reply counts changes too.
    changes: bool,
    increment: bool,
}

impl AddOptions {
    /// The options, and where the first score is.
    fn parse(request: &Request<'_>, increment: bool) -> Result<(Self, usize), CommandError> {
        let mut options = Self { increment, ..Self::default() };
        let mut at = 2;
        while let Some(word) = request.get(at) {
            let option = match word {
                _ if is(word, "nx") => &mut options.missing,
                _ if is(word, "xx") => &mut options.present,
                _ if is(word, "gt") => &mut options.greater,
                _ if is(word, "lt") => &mut options.less,
                _ if is(word, "ch") => &mut options.changes,
                _ if is(word, "incr") => &mut options.increment,
                _ => break,
            };
            *option = true;
            at += 1;
        }
        let rest = request.len() - at;
        if rest == 0 || !rest.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        let Self { missing, present, greater, less, .. } = options;
        if missing && present {
            return Err(CommandError::line(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (missing && (greater || less)) || (greater && less) {
            return Err(CommandError::line(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if options.increment && rest > 2 {
            return Err(CommandError::line(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok((options, at))
    }

    fn is_plain(self) -> bool {
        let Self { missing, present, greater, less, increment, .. } = self;
        !(missing || present || greater || less || increment)
    }

    /// The score that a member gets, or why it gets none.
    fn score(self, old: Option<f64>, operand: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.present).then_some(operand)) };
        if self.missing {
            return Ok(None);
        }
        let new = if self.increment { old + operand } else { operand };
        if new.is_nan() {
            return Err(CommandError::line("ERR resulting score is not a number (NaN)"));
        }
        let refused = (self.greater && new <= old) || (self.less && new >= old);
        Ok((!refused).then_some(new))
    }
}

pub(super) fn zadd(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    add(ctx, request, false)
}

fn zincrby(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    add(ctx, request, true)
}

fn score(arg: &[u8]) -> Result<f64, CommandError> {
    parse_double(arg).ok_or(CommandError::NotFloat)
}

fn add(ctx: &mut Ctx<'_>, request: &Request<'_>, increment: bool) -> Done {
    let (options, first) = AddOptions::parse(request, increment)?;
    let key = request.arg(1);
    // One wrong score, and nothing is added.
    let only = score(request.arg(first))?;
    for at in (first + 2..request.len()).step_by(2) {
        score(request.arg(at))?;
    }
    let mut db = ctx.db();
    if options.present && db.sorted_set_mut(key)?.is_none() {
        if options.increment {
            ctx.out.null()
        } else {
            ctx.out.integer(0)
        }
        return Ok(());
    }
    let mut set = db.sorted_set_or_new(key)?;
    set.make_room_for((request.len() - first) / 2, 0);
    let (mut added, mut changed) = (0, 0);
    let mut result = None;
    for at in (first..request.len()).step_by(2) {
        let operand = if at == first { only } else { score(request.arg(at))? };
        let member = request.arg(at + 1);
        let (old, new) = if options.is_plain() {
            (set.set(member, operand), operand)
        } else {
            let old = set.score(member);
            let Some(new) = options.score(old, operand)? else { continue };
            set.set(member, new);
            (old, new)
        };
        added += i64::from(old.is_none());
        changed += i64::from(old.is_some_and(|old| old != new));
        result = Some(new);
    }
    if added + changed > 0 {
        ctx.modified(key);
        ctx.notify(Class::SortedSet, if options.increment { "zincr" } else { "zadd" }, key);
    }
    match (options.increment, result) {
        (true, Some(score)) => write_score(&mut ctx.out, score),
        (true, None) => ctx.out.null(),
        (false, _) => ctx.out.integer(if options.changes { added + changed } else { added }),
    }
    Ok(())
}

fn zrem(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let mut db = ctx.db();
    let mut removed = 0;
    if let Some(mut set) = db.sorted_set_mut(key)? {
        for member in request.args_from(2) {
            removed += i64::from(set.remove(member).is_some());
        }
        if set.is_empty() {
            db.remove(key);
        }
    }
    if removed > 0 {
        ctx.modified(key);
        ctx.notify(Class::SortedSet, "zrem", key);
        ctx.notify_if_gone(key);
    }
    ctx.out.integer(removed);
    Ok(())
}

fn zcard(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    out.integer(db.sorted_set(request.arg(1))?.map_or(0, SortedSet::len) as i64);
    Ok(())
}

fn zscore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    match db.sorted_set(request.arg(1))?.and_then(|set| set.score(request.arg(2))) {
        Some(score) => write_score(out, score),
        None => out.null(),
    }
    Ok(())
}

fn zmscore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(1))?;
    out.array(request.len() - 2);
    for member in request.args_from(2) {
        match set.and_then(|set| set.score(member)) {
            Some(score) => write_score(out, score),
            None => out.null(),
        }
    }
    Ok(())
}

fn zrank(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    rank(ctx, request, "zrank", |_, rank| rank)
}

fn zrevrank(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    rank(ctx, request, "zrevrank", |len, rank| len - 1 - rank)
}

fn rank(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    command: &'static str,
    counted: fn(usize, usize) -> usize,
) -> Done {
    let with_score = match request.get(3) {
        None => false,
        Some(_) if request.len() > 4 => return Err(CommandError::Arity(command)),
        Some(word) if is(word, "withscore") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(1))?;
    let found = set.and_then(|set| Some((set.len(), set.rank(request.arg(2))?)));
    match found {
        Some((len, (rank, score))) => {
            if with_score {
                out.array(2);
            }
            out.integer(counted(len, rank) as i64);
            if with_score {
                write_score(out, score);
            }
        }
        None if with_score => out.null_array(),
        None => out.null(),
    }
    Ok(())
}

fn zrandmember(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    let mut random = Random::new(db.random());
    let Some(count) = request.get(2) else {
        let set = db.sorted_set(key)?;
        match set.and_then(|set| set.iter_from(random.below(set.len()), false).next()) {
            Some((member, _)) => write_member(out, member),
            None => out.null(),
        }
        return Ok(());
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(CommandError::err(format_args!(
            "value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_scores = match request.get(3) {
        None => false,
        Some(word) if request.len() == 4 && is(word, "withscores") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::line("ERR value is out of range"));
    }
    let Some(set) = db.sorted_set(key)? else {
        out.array(0);
        return Ok(());
    };
    let mut members = Members { out, with_scores };
    let (wanted, len) = (count.unsigned_abs() as usize, set.len());
    if count < 0 {
        // Each one drawn on its own: a member may come again.
        let draws = draws(count, len, set.heap_bytes())?;
        members.head(draws);
        for _ in 0..draws {
            set.iter_from(random.below(len), false).take(1).for_each(|pair| members.member(pair));
        }
    } else if wanted >= len {
        members.head(len);
        set.iter().for_each(|pair| members.member(pair));
    } else {
        members.head(wanted);
        distinct(set, wanted, &mut random, |pair| members.member(pair));
    }
    Ok(())
}

/// `wanted` different members, fewer than there are, each set of them as likely as any other.
fn distinct<'s>(
    set: &'s SortedSet,
    wanted: usize,
    random: &mut Random,
    mut each: impl FnMut((Item<'s>, f64)),
) {
    let len = set.len();
    if wanted > len / 3 {
        // Many of them: one walk, in which each member is taken with the chance that is left.
        let mut left = wanted;
        for (seen, pair) in set.iter().enumerate() {
            if random.below(len - seen) < left {
                left -= 1;
                each(pair);
            }
        }
        return;
    }
    let mut taken = BTreeSet::new();
    while taken.len() < wanted {
        let rank = random.below(len);
        if taken.insert(rank) {
            set.iter_from(rank, false).take(1).for_each(&mut each);
        }
    }
}
