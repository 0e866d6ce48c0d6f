//! When two replies are the same.

use bytes::Bytes;
use keyway::resp::{Reply, parse_reply};

/// What is free in a command's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing: byte for byte.
    Exact,
    /// Nothing, and it is always an error.
    Refused,
    /// The digits of doubles: those that are the same number are the same.
    Scores,
    /// The order of the elements.
    Set,
    /// The order of the pairs.
    Pairs,
    /// The values: only types and lengths count.
    Shape,
    /// When entries of streams were delivered and consumers seen: a few moments.
    Delivery,
    /// How many consumers a group has: 7.2 makes them also where there is nothing to read.
    Lag,
    /// A few moments, in whatever unit.
    Time,
    /// Which server it is: the values of a map.
    Hello,
    /// Where a value is in memory and when it was used; its encoding, and its length in bytes where
    /// that is the same.
    Object,
    /// The steps: a cursor is followed to its end, and the elements are compared.
    Walk,
}

/// How far apart two answers about a time may be, in milliseconds (or seconds).
const MOMENT: i64 = 5_000;

impl Rule {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "refused" => Self::Refused,
            "scores" => Self::Scores,
            "set" => Self::Set,
            "pairs" => Self::Pairs,
            "shape" => Self::Shape,
            "time" => Self::Time,
            "delivery" => Self::Delivery,
            "lag" => Self::Lag,
            "hello" => Self::Hello,
            "object" => Self::Object,
            "walk" => Self::Walk,
            other => panic!("no rule is named `{other}`"),
        }
    }

    /// Whether two replies, as they came, are the same under this rule.
    pub(super) fn same(self, one: &[u8], other: &[u8]) -> bool {
        if one == other {
            return true;
        }
        if matches!(self, Self::Exact | Self::Refused | Self::Walk) {
            return false;
        }
        match (parse(one), parse(other)) {
            (Some(one), Some(other)) => self.same_replies(&one, &other),
            _ => false,
        }
    }

    fn same_replies(self, one: &Reply, other: &Reply) -> bool {
        match self {
            Self::Exact | Self::Refused | Self::Walk => one == other,
            Self::Scores => same_numbers(one, other),
            Self::Set => sorted(one, 1) == sorted(other, 1),
            Self::Pairs => sorted(one, 2) == sorted(other, 2),
            Self::Shape => shape(one, false) == shape(other, false),
            Self::Hello => {
                shape(&without_modules(one), true) == shape(&without_modules(other), true)
            }
            Self::Delivery => same_shown(one, other, TIMES, &[b"lag", b"entries-read"]),
            Self::Object => same_object(one, other),
            Self::Lag => same_shown(one, other, &[], &[b"consumers"]),
            Self::Time => match (one, other) {
                (Reply::Integer(one), Reply::Integer(other)) if *one >= 0 && *other >= 0 => {
                    one.abs_diff(*other) <= MOMENT.unsigned_abs()
                }
                _ => one == other,
            },
        }
    }
}

/// Reads one whole reply.
pub(super) fn parse(bytes: &[u8]) -> Option<Reply> {
    parse_reply(&Bytes::copy_from_slice(bytes), 128).ok()
}

/// Whether two replies are the same but for how they write a double.
pub(super) fn same_numbers(one: &Reply, other: &Reply) -> bool {
    match (one, other) {
        (Reply::Array(one), Reply::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| same_numbers(one, other))
        }
        (Reply::Bulk(one), Reply::Bulk(other)) | (Reply::Double(one), Reply::Double(other)) => {
            one == other || number(one).is_some_and(|one| Some(one) == number(other))
        }
        _ => one == other,
    }
}

/// Whether DEBUG OBJECT says the same of two values: how long they are in a file.
fn same_object(one: &Reply, other: &Reply) -> bool {
    let (Reply::Simple(one), Reply::Simple(other)) = (one, other) else { return one == other };
    let [one, other] = [one, other].map(|text| String::from_utf8_lossy(text).into_owned());
    let field = |text: &str, name: &str| {
        let mut words = text.split(' ').filter_map(|word| word.strip_prefix(name));
        words.next().map(str::to_owned)
    };
    let same = |name: &str| {
        let value = field(&one, name);
        value.is_some() && value == field(&other, name)
    };
    !same("encoding:") || same("serializedlength:")
}

/// HELLO's reply, or one with it inside, without the modules that are loaded.
fn without_modules(reply: &Reply) -> Reply {
    match reply {
        Reply::Map(pairs) => {
            let pairs = pairs.iter().filter(|(name, _)| name.as_bytes() != Some(b"modules"));
            Reply::Map(pairs.cloned().collect())
        }
        Reply::Array(items) => {
            let at = items.iter().position(|item| item.as_bytes() == Some(b"modules"));
            let kept = items.iter().enumerate();
            let kept =
                kept.filter(|(index, _)| at.is_none_or(|at| *index != at && *index != at + 1));
            Reply::Array(kept.map(|(_, item)| without_modules(item)).collect())
        }
        other => other.clone(),
    }
}

/// The names of times in XINFO's replies.
const TIMES: &[&[u8]] = &[b"idle", b"inactive", b"seen-time", b"active-time"];

/// Whether two replies are the same but for the times of deliveries (the last but one element where
/// an id comes first and a count comes last), what has one of the names `times`, and what is `free`.
fn same_shown(one: &Reply, other: &Reply, times: &[&[u8]], free: &[&[u8]]) -> bool {
    let near = |one: &Reply, other: &Reply| match (one, other) {
        (Reply::Integer(one), Reply::Integer(other)) if *one >= 0 && *other >= 0 => {
            one.abs_diff(*other) <= MOMENT.unsigned_abs()
        }
        _ => one == other,
    };
    let same = |name: Option<&[u8]>, one: &Reply, other: &Reply| match name {
        Some(name) if free.contains(&name) => true,
        Some(name) if times.contains(&name) => near(one, other),
        _ => same_shown(one, other, times, free),
    };
    match (one, other) {
        (Reply::Array(one), Reply::Array(other)) => {
            let time_at = match &one[..] {
                [Reply::Bulk(_), Reply::Integer(_), Reply::Integer(_)] => 1,
                [Reply::Bulk(_), Reply::Bulk(_), Reply::Integer(_), Reply::Integer(_)] => 2,
                _ => usize::MAX,
            };
            let pairs = one.iter().zip(other).enumerate();
            one.len() == other.len()
                && pairs.into_iter().all(|(at, (value, other))| {
                    let name = at.checked_sub(1).and_then(|at| one[at].as_bytes());
                    at == time_at && near(value, other) || same(name, value, other)
                })
        }
        (Reply::Map(one), Reply::Map(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((name, one), (other_name, other))| {
                    name == other_name && same(name.as_bytes(), one, other)
                })
        }
        _ => one == other,
    }
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The reply's elements in an order of our own, `each` at a time, after what kind it is.
fn sorted(reply: &Reply, each: usize) -> (String, Vec<String>) {
    let (kind, mut items): (&str, Vec<String>) = match reply {
        Reply::Array(items) => ("array", items.chunks(each).map(|c| format!("{c:?}")).collect()),
        Reply::Set(items) => ("set", items.iter().map(|item| format!("{item:?}")).collect()),
        Reply::Map(pairs) => ("map", pairs.iter().map(|pair| format!("{pair:?}")).collect()),
        other => return (format!("{other:?}"), Vec::new()),
    };
    items.sort();
    (kind.to_owned(), items)
}

/// A reply without its values: types and lengths, errors word for word. With `names`, the first
/// of each two strings is kept: that of a map's pair.
fn shape(reply: &Reply, names: bool) -> String {
    let list = |items: &[Reply]| {
        let shapes: Vec<String> = items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Reply::Bulk(name) if names && index % 2 == 0 => name.escape_ascii().to_string(),
                item => shape(item, names),
            })
            .collect();
        shapes.join(",")
    };
    match reply {
        Reply::Error(text) => format!("-{}", text.escape_ascii()),
        Reply::Simple(text) => text.escape_ascii().to_string(),
        Reply::Integer(_) => "integer".into(),
        Reply::Bulk(_) => "bulk".into(),
        Reply::Null => "null".into(),
        Reply::NullArray => "null array".into(),
        Reply::Boolean(_) => "boolean".into(),
        Reply::Double(_) => "double".into(),
        Reply::BigNumber(_) => "big number".into(),
        Reply::Verbatim { .. } => "verbatim".into(),
        Reply::Array(items) => format!("[{}]", list(items)),
        Reply::Set(items) => format!("~[{}]", list(items)),
        Reply::Push(items) => format!(">[{}]", list(items)),
        Reply::Map(pairs) => {
            let pairs: Vec<Reply> =
                pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
            format!("{{{}}}", list(&pairs))
        }
    }
}
