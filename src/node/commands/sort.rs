//! SORT: the elements of a list, set or sorted set by their own value or by that of other keys.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::Request;
use crate::store::{Db, End, Entry, Item, ValueRef};
use crate::value::parse_weight;
use std::cmp::Ordering;

pub(super) const HANDLERS: Handlers = &[
    ("sort", |ctx, request| sort(ctx, request, true)),
    ("sort_ro", |ctx, request| sort(ctx, request, false)),
];

type Done = Result<(), CommandError>;
type Element = Box<[u8]>;

#[derive(Default)]
struct Options<'a> {
    /// Names of keys to compare by, with a `*` for the element. One without a `*` keeps the order.
    by: Option<&'a [u8]>,
    gets: Vec<&'a [u8]>,
    /// How many are skipped, and how many shown at most; all if negative.
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(request: &Request<'a>, stores: bool, in_cluster: bool) -> Result<Self, CommandError> {
        let denied = |option: &str| {
            CommandError::err(format_args!("{option} option of SORT denied in cluster mode."))
        };
        let mut options = Self::default();
        let mut at = 2;
        while let Some(word) = request.get(at) {
            let behind = request.len() - at - 1;
            match word {
                _ if is(word, "asc") => options.descending = false,
                _ if is(word, "desc") => options.descending = true,
                _ if is(word, "alpha") => options.alpha = true,
                _ if is(word, "limit") && behind >= 2 => {
                    let skip = integer(request.arg(at + 1))?;
                    options.limit = Some((skip, integer(request.arg(at + 2))?));
                    at += 2;
                }
                _ if is(word, "store") && behind >= 1 && stores => {
                    options.store = Some(request.arg(at + 1));
                    at += 1;
                }
                _ if is(word, "by") && behind >= 1 => {
                    let pattern = request.arg(at + 1);
                    // The keys that it names are of other slots.
                    if in_cluster && pattern.contains(&b'*') {
                        return Err(denied("BY"));
                    }
                    options.by = Some(pattern);
                    at += 1;
                }
                _ if is(word, "get") && behind >= 1 => {
                    if in_cluster {
                        return Err(denied("GET"));
                    }
                    options.gets.push(request.arg(at + 1));
                    at += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }

    /// The elements to show of so many.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let (skip, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(skip).unwrap_or(0).min(len);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

/// What an element is compared by.
enum Weight {
    Number(f64),
    /// None for a key that is not there: it comes before all others.
    Text(Option<Element>),
    /// The element itself.
    Own,
}

struct Sorted {
    element: Element,
    weight: Weight,
}

/// The value of the key that a pattern names for an element: a string, or with `->` a hash's field.
/// `#` names the element itself.
fn look_up(db: &mut Db<'_>, pattern: &[u8], element: &[u8]) -> Option<Element> {
    if pattern == b"#" {
        return Some(element.into());
    }
    let star = pattern.iter().position(|&byte| byte == b'*')?;
    let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = behind.windows(2).position(|two| two == b"->");
    let (behind, field) = match arrow {
        Some(at) if at + 2 < behind.len() => (&behind[..at], Some(&behind[at + 2..])),
        _ => (behind, None),
    };
    let key = [before, element, behind].concat();
    let entry = db.read(&key)?;
    let mut buffer = itoa::Buffer::new();
    match (field, entry.value()) {
        (Some(field), ValueRef::Hash(hash)) => {
            hash.get(field).map(|value| value.bytes(&mut buffer).into())
        }
        (Some(_), _) => None,
        (None, _) => entry.text().ok().map(|text| text.bytes(&mut buffer).into()),
    }
}

/// The elements of a key, and whether they have no order of their own.
fn elements(entry: Option<&Entry>) -> Result<(Vec<Element>, bool), CommandError> {
    let mut buffer = itoa::Buffer::new();
    let mut copy = |element: Item<'_>| Box::from(element.bytes(&mut buffer));
    match entry.map(Entry::value) {
        None => Ok((Vec::new(), false)),
        Some(ValueRef::List(list)) => Ok((list.iter().map(copy).collect(), false)),
        Some(ValueRef::Set(set)) => Ok((set.iter().map(copy).collect(), true)),
        Some(ValueRef::SortedSet(set)) => {
            Ok((set.iter().map(|(member, _)| copy(member)).collect(), false))
        }
        Some(_) => Err(CommandError::WrongType),
    }
}

/// The elements in the order that is asked for; those outside of the range may be in any. With
/// `repeatable` a set is in the same order wherever it is: stored unsorted it would be another list on
/// a replica.
fn in_order(
    db: &mut Db<'_>,
    options: &Options<'_>,
    elements: Vec<Element>,
    unordered: bool,
    repeatable: bool,
) -> Result<Vec<Element>, CommandError> {
    let by = options.by.filter(|pattern| pattern.contains(&b'*'));
    let keeps_order = options.by.is_some() && by.is_none();
    let by_bytes = keeps_order && unordered && repeatable;
    if keeps_order && !by_bytes {
        let mut elements = elements;
        if options.descending && !unordered {
            elements.reverse();
        }
        return Ok(elements);
    }
    let mut sorted = Vec::with_capacity(elements.len());
    for element in elements {
        let value = by.map(|pattern| look_up(db, pattern, &element));
        let weight = if options.alpha || by_bytes {
            value.map_or(Weight::Own, Weight::Text)
        } else {
            let text = match &value {
                Some(found) => found.as_deref(),
                None => Some(&*element),
            };
            let number = text.map_or(Some(0.0), parse_weight);
            Weight::Number(number.ok_or(CommandError::line(
                "ERR One or more scores can't be converted into double",
            ))?)
        };
        sorted.push(Sorted { element, weight });
    }
    sorted.sort_by(|a, b| {
        let order = compare(a, b);
        if options.descending { order.reverse() } else { order }
    });
    Ok(sorted.into_iter().map(|sorted| sorted.element).collect())
}

/// Equal numbers are told apart by the elements, so that the outcome is always the same.
fn compare(a: &Sorted, b: &Sorted) -> Ordering {
    match (&a.weight, &b.weight) {
        (Weight::Number(x), Weight::Number(y)) => {
            let order = x.partial_cmp(y).unwrap_or(Ordering::Equal);
            order.then_with(|| a.element.cmp(&b.element))
        }
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => a.element.cmp(&b.element),
    }
}

fn sort(ctx: &mut Ctx<'_>, request: &Request<'_>, stores: bool) -> Done {
    let key = request.arg(1);
    let options = Options::parse(request, stores, ctx.server.settings.cluster_enabled)?;
    let repeatable = options.store.is_some() || ctx.in_script;
    let (mut db, out) = ctx.data();
    let (elements, unordered) = elements(db.read(key))?;
    if let Ok(Some(mut set)) = db.sorted_set_mut(key) {
        // Nobody needs it, but OBJECT ENCODING shows it.
        set.become_large();
    }
    let len = elements.len();
    let sorted = in_order(&mut db, &options, elements, unordered, repeatable)?;
    let shown = &sorted[options.range(len)];
    let Some(target) = options.store else {
        out.array(shown.len() * options.gets.len().max(1));
        for element in shown {
            if options.gets.is_empty() {
                out.bulk(element);
            }
            for pattern in &options.gets {
                match look_up(&mut db, pattern, element) {
                    Some(value) => out.bulk(value),
                    None => out.null(),
                }
            }
        }
        return Ok(());
    };
    let mut kept: Vec<Element> = Vec::new();
    for element in shown {
        if options.gets.is_empty() {
            kept.push(element.clone());
        }
        for pattern in &options.gets {
            kept.push(look_up(&mut db, pattern, element).unwrap_or_default());
        }
    }
    let existed = db.remove(target);
    if !kept.is_empty() {
        let mut list = db.list_or_new(target)?;
        list.make_room_for(kept.iter().map(|element| &**element));
        kept.iter().for_each(|element| list.push(End::Tail, element));
    }
    out.integer(kept.len() as i64);
    if existed || !kept.is_empty() {
        ctx.modified(target);
    }
    if !kept.is_empty() {
        if existed {
            ctx.keyspace.was_replaced(ctx.session.db, target);
        }
        ctx.notify(Class::List, "sortstore", target);
    } else if existed {
        ctx.notify(Class::Generic, "del", target);
    }
    Ok(())
}
