//! Ranges of sorted sets, by rank, by score and by the members' bytes: to show, to count, to
//! remove, to keep under another key. All of them become ranks before anything is done.

use super::sorted_sets::Members;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::Request;
use crate::store::{SortedSet, Value};
use crate::value::parse_double_bound;
use std::ops::Range as Ranks;

pub(super) const HANDLERS: Handlers = &[
    ("zcount", zcount),
    ("zlexcount", zlexcount),
    ("zrange", zrange),
    ("zrangebylex", zrangebylex),
    ("zrangebyscore", zrangebyscore),
    ("zrangestore", zrangestore),
    ("zremrangebylex", zremrangebylex),
    ("zremrangebyrank", zremrangebyrank),
    ("zremrangebyscore", zremrangebyscore),
    ("zrevrange", zrevrange),
    ("zrevrangebylex", zrevrangebylex),
    ("zrevrangebyscore", zrevrangebyscore),
];

type Done = Result<(), CommandError>;

/// What a range is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A score at an end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ScoreEnd {
    score: f64,
    excluded: bool,
}

impl ScoreEnd {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (excluded, text) = match arg {
            [b'(', text @ ..] => (true, text),
            text => (false, text),
        };
        let score = parse_double_bound(text);
        let score = score.ok_or(CommandError::line("ERR min or max is not a float"))?;
        Ok(Self { score, excluded })
    }
}

/// A member at an end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LexEnd<'a> {
    Lowest,
    Highest,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
}

impl<'a> LexEnd<'a> {
    fn parse(arg: &'a [u8]) -> Result<Self, CommandError> {
        match arg {
            b"-" => Ok(Self::Lowest),
            b"+" => Ok(Self::Highest),
            [b'[', member @ ..] => Ok(Self::Included(member)),
            [b'(', member @ ..] => Ok(Self::Excluded(member)),
            _ => Err(CommandError::line("ERR min or max not valid string range item")),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Range<'a> {
    /// Both included; negative ones count from the end.
    Rank(i64, i64),
    Score(ScoreEnd, ScoreEnd),
    Lex(LexEnd<'a>, LexEnd<'a>),
}

impl<'a> Range<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Rank(integer(min)?, integer(max)?),
            By::Score => Self::Score(ScoreEnd::parse(min)?, ScoreEnd::parse(max)?),
            By::Lex => Self::Lex(LexEnd::parse(min)?, LexEnd::parse(max)?),
        })
    }

    /// The ranks it stands for, in a set that is not empty. Ranks given from the end are those
    /// of the set read downwards if `reverse`.
    fn ranks(self, set: &SortedSet, reverse: bool) -> Ranks<usize> {
        let (start, end) =
            match self {
                Self::Rank(start, end) => {
                    let len = set.len() as i64;
                    let from_end = |n: i64| if n < 0 { n.saturating_add(len).max(0) } else { n };
                    let end = if end < 0 { end.saturating_add(len) } else { end }.min(len - 1);
                    let start = from_end(start);
                    if start > end {
                        return 0..0;
                    }
                    let (start, end) = (start as usize, end as usize + 1);
                    if reverse { (set.len() - end, set.len() - start) } else { (start, end) }
                }
                Self::Score(min, max) => (
                    set.count_before(|score, _| {
                        if min.excluded { score <= min.score } else { score < min.score }
                    }),
                    set.count_before(|score, _| {
                        if max.excluded { score < max.score } else { score <= max.score }
                    }),
                ),
                Self::Lex(min, max) => (
                    set.count_before(|_, member| match min {
                        LexEnd::Lowest => false,
                        LexEnd::Highest => true,
                        LexEnd::Included(min) => member < min,
                        LexEnd::Excluded(min) => member <= min,
                    }),
                    set.count_before(|_, member| match max {
                        LexEnd::Lowest => false,
                        LexEnd::Highest => true,
                        LexEnd::Included(max) => member <= max,
                        LexEnd::Excluded(max) => member < max,
                    }),
                ),
            };
        start..end.max(start)
    }
}

/// A range as a command asks for it.
struct Query<'a> {
    range: Range<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Members at most; no limit if negative.
    limit: i64,
}

/// What the name of a command already says; what it does not say its options do.
#[derive(Clone, Copy)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    stores: bool,
}

impl<'a> Query<'a> {
    /// Reads `min max [options]` from `at` on.
    fn parse(request: &Request<'a>, at: usize, fixed: Fixed) -> Result<Self, CommandError> {
        let Fixed { mut by, mut reverse, stores } = fixed;
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut next = at + 2;
        while let Some(word) = request.get(next) {
            if !stores && is(word, "withscores") {
                with_scores = true;
            } else if is(word, "limit") && request.len() - next > 2 {
                offset = integer(request.arg(next + 1))?;
                limit = integer(request.arg(next + 2))?;
                next += 2;
            } else if reverse.is_none() && is(word, "rev") {
                reverse = Some(true);
            } else if by.is_none() && is(word, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            next += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::line(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::line(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (first, second) = (request.arg(at), request.arg(at + 1));
        // Downwards, scores and members are given from the highest to the lowest.
        let swapped = reverse && by != By::Rank;
        let (min, max) = if swapped { (second, first) } else { (first, second) };
        Ok(Self { range: Range::parse(by, min, max)?, reverse, with_scores, offset, limit })
    }

    /// The ranks it asks for, and the one to begin with.
    fn ranks(&self, set: &SortedSet) -> (Ranks<usize>, usize) {
        let mut ranks = self.range.ranks(set, self.reverse);
        let len = ranks.len();
        if let Range::Rank(..) = self.range {
            // A LIMIT of -1 is let through there, and its offset has no effect.
            let first = if self.reverse { ranks.end.saturating_sub(1) } else { ranks.start };
            return (ranks, first);
        }
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX).min(len);
        let take = usize::try_from(self.limit).unwrap_or(usize::MAX).min(len - skip);
        if self.reverse {
            ranks.end -= skip;
            ranks.start = ranks.end - take;
        } else {
            ranks.start += skip;
            ranks.end = ranks.start + take;
        }
        let first = if self.reverse { ranks.end.saturating_sub(1) } else { ranks.start };
        (ranks, first)
    }
}

fn zrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, None, None)
}

fn zrevrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Some(By::Rank), Some(true))
}

fn zrangebyscore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Some(By::Score), Some(false))
}

fn zrevrangebyscore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Some(By::Score), Some(true))
}

fn zrangebylex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Some(By::Lex), Some(false))
}

fn zrevrangebylex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    show(ctx, request, Some(By::Lex), Some(true))
}

fn show(ctx: &mut Ctx<'_>, request: &Request<'_>, by: Option<By>, reverse: Option<bool>) -> Done {
    let query = Query::parse(request, 2, Fixed { by, reverse, stores: false })?;
    let (mut db, out) = ctx.data();
    let Some(set) = db.sorted_set(request.arg(1))? else {
        out.array(0);
        return Ok(());
    };
    let (ranks, first) = query.ranks(set);
    let mut members = Members { out, with_scores: query.with_scores };
    members.head(ranks.len());
    let found = set.iter_from(first, query.reverse).take(ranks.len());
    found.for_each(|pair| members.member(pair));
    Ok(())
}

fn zrangestore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let query = Query::parse(request, 3, Fixed { by: None, reverse: None, stores: true })?;
    let target = request.arg(1);
    let mut db = ctx.db();
    let mut found: Vec<(Box<[u8]>, f64)> = Vec::new();
    if let Some(set) = db.sorted_set(request.arg(2))? {
        let (ranks, first) = query.ranks(set);
        let mut buffer = itoa::Buffer::new();
        let members = set.iter_from(first, query.reverse).take(ranks.len());
        found.extend(members.map(|(member, score)| (member.bytes(&mut buffer).into(), score)));
    }
    store(ctx, target, &found, 0, "zrangestore")
}

/// Puts a sorted set of these members in place of whatever a key holds; none removes the key.
///
/// If `longest`, the bytes of the longest one, is too long for a listpack, it never is one: a
/// score of -0 loses its sign there, and in Redis too.
pub(super) fn store(
    ctx: &mut Ctx<'_>,
    target: &[u8],
    members: &[(Box<[u8]>, f64)],
    longest: usize,
    event: &str,
) -> Done {
    let mut db = ctx.db();
    let existed = db.remove(target);
    if !members.is_empty() {
        let mut set = db.sorted_set_or_new(target)?;
        set.make_room_for(members.len(), longest);
        for (member, score) in members {
            set.set(member, *score);
        }
    }
    if existed || !members.is_empty() {
        ctx.modified(target);
        if members.is_empty() {
            ctx.notify(Class::Generic, "del", target);
        } else {
            if existed {
                ctx.keyspace.was_replaced(ctx.session.db, target);
            }
            ctx.notify(Class::SortedSet, event, target);
        }
    }
    ctx.out.integer(members.len() as i64);
    Ok(())
}

fn zcount(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    count(ctx, request, By::Score)
}

fn zlexcount(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    count(ctx, request, By::Lex)
}

fn count(ctx: &mut Ctx<'_>, request: &Request<'_>, by: By) -> Done {
    let range = Range::parse(by, request.arg(2), request.arg(3))?;
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(1))?;
    out.integer(set.map_or(0, |set| range.ranks(set, false).len()) as i64);
    Ok(())
}

fn zremrangebyrank(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    remove(ctx, request, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    remove(ctx, request, By::Score, "zremrangebyscore")
}

fn zremrangebylex(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    remove(ctx, request, By::Lex, "zremrangebylex")
}

fn remove(ctx: &mut Ctx<'_>, request: &Request<'_>, by: By, event: &str) -> Done {
    let range = Range::parse(by, request.arg(2), request.arg(3))?;
    let key = request.arg(1);
    let mut db = ctx.db();
    let mut removed = 0;
    if let Some(mut set) = db.sorted_set_mut(key)? {
        let ranks = range.ranks(&set, false);
        removed = ranks.len();
        // All of it goes with the key, and what is large goes to another thread.
        if removed == set.len() {
            db.remove(key);
        } else {
            let old = set.remove_ranks(ranks.start, removed);
            old.into_iter().for_each(|old| db.discard(Value::SortedSet(old)));
        }
    }
    if removed > 0 {
        ctx.modified(key);
        ctx.notify(Class::SortedSet, event, key);
        ctx.notify_if_gone(key);
    }
    ctx.out.integer(removed as i64);
    Ok(())
}
