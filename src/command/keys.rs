//! Which arguments of a request are keys: what a cluster routes by, and what COMMAND GETKEYS says.
//!
//! The table's key specs decide, as they do in a node; three commands whose keys no spec describes
//! (SORT, SORT_RO, MIGRATE) are read here. Nothing is allocated, and no number a client sends can
//! make an index that is out of range.

use super::flags::Flags;
use super::key_spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use super::spec::Spec;
use crate::resp::{Request, parse_i64};

/// One key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAt {
    /// Which argument it is (0 is the command's name).
    pub index: usize,
    /// What the command does with it, as its spec says. With [`KeyFlags::NOT_KEY`] it is no key,
    /// though it is routed like one (shard channels).
    pub flags: KeyFlags,
}

/// The arguments are such that the keys cannot be told: a number of keys that is none or does not
/// fit, a key that is missing. Whoever runs the command refuses it with a text of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERR Invalid arguments specified for command")]
pub struct KeysError;

/// The keys of a request, in the order of the key specs; that is the order of COMMAND GETKEYS.
#[derive(Clone, Debug)]
pub struct Keys {
    ranges: [KeyRange; RANGES_MAX],
    range: usize,
}

/// No command has more key specs than this (GEORADIUS: source, STORE, STOREDIST).
const RANGES_MAX: usize = 3;

/// `count` keys from `first` on, every `step`-th.
#[derive(Clone, Copy, Debug, Default)]
struct KeyRange {
    first: usize,
    count: usize,
    step: usize,
    flags: KeyFlags,
}

impl KeyRange {
    fn one(first: usize, flags: KeyFlags) -> Self {
        Self { first, count: 1, step: 1, flags }
    }
}

impl Iterator for Keys {
    type Item = KeyAt;

    #[inline]
    fn next(&mut self) -> Option<KeyAt> {
        while let Some(range) = self.ranges.get_mut(self.range) {
            if range.count > 0 {
                let key = KeyAt { index: range.first, flags: range.flags };
                range.first += range.step;
                range.count -= 1;
                return Some(key);
            }
            self.range += 1;
        }
        None
    }
}

/// The first argument that is a key (or a shard channel); none if the command has none.
///
/// # Errors
/// See [`KeysError`].
#[inline]
pub fn first_key(spec: &Spec, request: &Request<'_>) -> Result<Option<usize>, KeysError> {
    match spec.keys {
        [] => Ok(None),
        // Nearly every request: a key at a fixed place, and no other spec that may overrule it.
        [
            KeySpec { begin: BeginSearch::Index(index), find: FindKeys::Range { .. }, .. },
            rest @ ..,
        ] if !rest.iter().any(|key| key.flags.contains(KeyFlags::INCOMPLETE)) => {
            Ok((*index < request.len()).then_some(*index))
        }
        _ => Ok(keys(spec, request)?.next().map(|key| key.index)),
    }
}

/// Calls `visit` with each key of the request.
///
/// # Errors
/// See [`KeysError`]; `visit` was not called then.
#[inline]
pub fn for_each_key(
    spec: &Spec,
    request: &Request<'_>,
    visit: impl FnMut(KeyAt),
) -> Result<(), KeysError> {
    keys(spec, request)?.for_each(visit);
    Ok(())
}

/// The keys of the request.
///
/// # Errors
/// See [`KeysError`].
#[inline]
pub fn keys(spec: &Spec, request: &Request<'_>) -> Result<Keys, KeysError> {
    let mut ranges = [KeyRange::default(); RANGES_MAX];
    for (range, key_spec) in ranges.iter_mut().zip(spec.keys) {
        match by_spec(key_spec, request) {
            Ok(Some(found)) => *range = found,
            Ok(None) => {}
            Err(Undecided) => return by_command(spec, request),
        }
    }
    Ok(Keys { ranges, range: 0 })
}

/// A key spec does not say where the keys of this request are.
struct Undecided;

/// Where one key spec finds keys; nowhere, if its word is absent.
#[inline]
fn by_spec(spec: &KeySpec, request: &Request<'_>) -> Result<Option<KeyRange>, Undecided> {
    let begin = match spec.begin {
        BeginSearch::Index(index) => index,
        BeginSearch::Keyword { word, start_from } => {
            match find_word(request, word.as_bytes(), start_from) {
                Some(at) => at + 1,
                None => return Ok(None),
            }
        }
        BeginSearch::Unknown => return Err(Undecided),
    };
    // It found some keys; there may be others.
    if spec.flags.contains(KeyFlags::INCOMPLETE) {
        return Err(Undecided);
    }
    let (first, count, step) = match spec.find {
        // Keys that may be left out: PFMERGE without sources, SUNSUBSCRIBE from all channels.
        FindKeys::Range { last: -1, limit: 0, .. } if begin == request.len() => {
            return Ok(None);
        }
        FindKeys::Range { last, step, limit } => {
            let left = request.len().checked_sub(begin).ok_or(Undecided)?;
            let span = match (usize::try_from(last), limit) {
                (Ok(last), _) => last + 1,
                (Err(_), 0 | 1) => left.saturating_sub(last.unsigned_abs() as usize - 1),
                (Err(_), limit) => (left / limit).saturating_sub(last.unsigned_abs() as usize - 1),
            };
            if span > left {
                return Err(Undecided);
            }
            (begin, span.div_ceil(step), step)
        }
        FindKeys::KeyNum { count_at, first, step } => {
            let number = request.get(begin + count_at).and_then(parse_i64).ok_or(Undecided)?;
            let count = usize::try_from(number).map_err(|_| Undecided)?;
            let first = begin + first;
            let left = request.len().checked_sub(first).ok_or(Undecided)?;
            // The last key must be there; what follows it need not.
            if count > left.div_ceil(step) {
                return Err(Undecided);
            }
            (first, count, step)
        }
        FindKeys::Unknown => return Err(Undecided),
    };
    if count == 0 {
        return Err(Undecided);
    }
    Ok(Some(KeyRange { first, count, step, flags: spec.flags }))
}

/// Where `word` is, searched from `start_from`: towards the end, or, if negative, from that far
/// before the end backwards. A word with nothing behind it counts for nothing.
fn find_word(request: &Request<'_>, word: &[u8], start_from: i32) -> Option<usize> {
    let distance = start_from.unsigned_abs() as usize;
    let matches = |at: &usize| request.arg(*at).eq_ignore_ascii_case(word);
    let last = request.len() - 1;
    if start_from >= 0 {
        (distance..last).find(matches)
    } else {
        (2..=request.len().checked_sub(distance)?).rev().find(matches)
    }
}

/// What the key specs cannot tell.
#[cold]
fn by_command(spec: &Spec, request: &Request<'_>) -> Result<Keys, KeysError> {
    let mut ranges = [KeyRange::default(); RANGES_MAX];
    match spec.name {
        "sort_ro" => ranges[0] = KeyRange::one(1, spec.keys[0].flags),
        "sort" => {
            ranges[0] = KeyRange::one(1, spec.keys[0].flags);
            if let Some(at) = sort_destination(request) {
                ranges[1] = KeyRange::one(at, KeyFlags::OW.union(KeyFlags::UPDATE));
            }
        }
        "migrate" => ranges[0] = migrate_keys(request).ok_or(KeysError)?,
        // EVAL with no keys, or with a number of keys that it will refuse itself.
        _ if spec.flags.contains(Flags::NO_MANDATORY_KEYS) => {}
        _ => return Err(KeysError),
    }
    let fits = |range: &KeyRange| {
        range.count == 0 || range.first + (range.count - 1) * range.step < request.len()
    };
    if ranges.iter().all(fits) { Ok(Keys { ranges, range: 0 }) } else { Err(KeysError) }
}

/// The argument of SORT's last STORE.
fn sort_destination(request: &Request<'_>) -> Option<usize> {
    let mut found = None;
    let mut at = 2;
    while at < request.len() {
        let word = request.arg(at);
        if word.eq_ignore_ascii_case(b"limit") {
            at += 2;
        } else if word.eq_ignore_ascii_case(b"get") || word.eq_ignore_ascii_case(b"by") {
            at += 1;
        } else if word.eq_ignore_ascii_case(b"store") && at + 1 < request.len() {
            found = Some(at + 1);
        }
        at += 1;
    }
    found
}

/// The one key of MIGRATE, or those after KEYS, which an empty one stands for; none if both are
/// given.
fn migrate_keys(request: &Request<'_>) -> Option<KeyRange> {
    let flags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
    let mut at = 6;
    while at < request.len() {
        let word = request.arg(at);
        if word.eq_ignore_ascii_case(b"auth") {
            at += 1;
        } else if word.eq_ignore_ascii_case(b"auth2") {
            at += 2;
        } else if word.eq_ignore_ascii_case(b"keys") {
            let first = at + 1;
            let count = request.len() - first;
            let is_list = request.arg(3).is_empty() && count > 0;
            return is_list.then_some(KeyRange { first, count, step: 1, flags });
        }
        at += 1;
    }
    Some(KeyRange::one(3, flags))
}

/// What this request does with a key whose spec says that it depends on the other arguments.
pub fn exact_flags(spec: &Spec, request: &Request<'_>, flags: KeyFlags) -> KeyFlags {
    if !flags.contains(KeyFlags::VARIABLE_FLAGS) {
        return flags;
    }
    match spec.name {
        "set" => {
            if request.args_from(3).any(|word| word.eq_ignore_ascii_case(b"get")) {
                KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE)
            } else {
                KeyFlags::OW.union(KeyFlags::UPDATE)
            }
        }
        "bitfield" => {
            if bitfield_only_reads(request) {
                KeyFlags::RO.union(KeyFlags::ACCESS)
            } else {
                KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE)
            }
        }
        _ => flags.without(KeyFlags::VARIABLE_FLAGS),
    }
}

/// Whether a BITFIELD has whole GETs and OVERFLOWs and nothing else: what cannot be read may write.
fn bitfield_only_reads(request: &Request<'_>) -> bool {
    let mut at = 2;
    while let Some(word) = request.get(at) {
        let takes = match word {
            _ if word.eq_ignore_ascii_case(b"get") => 2,
            _ if word.eq_ignore_ascii_case(b"overflow") => 1,
            _ => return false,
        };
        at += 1 + takes;
    }
    at == request.len()
}

/// Whether this request may block its client: XREAD and XREADGROUP only do with BLOCK.
pub fn may_block(spec: &Spec, request: &Request<'_>) -> bool {
    if !spec.flags.contains(Flags::BLOCKING) {
        return false;
    }
    let Some(streams) = spec.keys.iter().find_map(|key| match key.begin {
        BeginSearch::Keyword { word, start_from } => {
            find_word(request, word.as_bytes(), start_from).map(|at| (start_from, at))
        }
        _ => None,
    }) else {
        return true;
    };
    let (from, to) = (streams.0.unsigned_abs() as usize, streams.1);
    request.args_from(from).take(to - from).any(|word| word.eq_ignore_ascii_case(b"block"))
}
