//! What commands about streams are told: ids, ends of ranges, and how to trim.

use crate::node::args::{integer, is};
use crate::node::error::CommandError;
use crate::resp::{Request, parse_i64};
use crate::store::{Log, StreamId, StreamLimits, Trim, Trimmed};
use std::borrow::Cow;

/// Bytes of the longest text that is looked at as an id.
const ID_TEXT_MAX: usize = 127;

const INVALID_ID: CommandError =
    CommandError::line("ERR Invalid stream ID specified as stream command argument");

/// Ids are read as texts of C, which end at a NUL.
pub(super) fn text(arg: &[u8]) -> &[u8] {
    arg.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// An argument that an error repeats: up to a NUL, as Redis does it.
pub(super) fn shown(arg: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text(arg))
}

/// A number of an id: a canonical one, or whatever C's `strtoull` makes of it, which takes spaces
/// in front, a sign and leading zeros, and wraps what is negative.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let text = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// The id that XADD is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`: the server's choice.
    Auto,
    /// `ms-*`: the next of that millisecond.
    At(u64),
    /// Just this one.
    Given(StreamId),
}

/// An id whose second part is `missing` where it is left out; `-` and `+` are none.
pub(super) fn strict_id(arg: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match new_id(arg, missing)? {
        NewId::Given(id) => Ok(id),
        NewId::Auto | NewId::At(_) => Err(INVALID_ID),
    }
}

/// The same, and `-` and `+` are the first id and the last.
pub(super) fn id(arg: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match text(arg) {
        b"-" if arg.len() <= ID_TEXT_MAX => Ok(StreamId::MIN),
        b"+" if arg.len() <= ID_TEXT_MAX => Ok(StreamId::MAX),
        _ => strict_id(arg, missing),
    }
}

fn new_id(arg: &[u8], missing: u64) -> Result<NewId, CommandError> {
    let parse = || {
        let text = text(arg);
        let mut parts = text.splitn(2, |&byte| byte == b'-');
        let ms = number(parts.next()?)?;
        Some(match parts.next() {
            Some(b"*") => NewId::At(ms),
            Some(seq) => NewId::Given(StreamId::new(ms, number(seq)?)),
            None => NewId::Given(StreamId::new(ms, missing)),
        })
    };
    if arg.len() > ID_TEXT_MAX {
        return Err(INVALID_ID);
    }
    parse().ok_or(INVALID_ID)
}

/// An end of a range, and whether it is outside of it: `(id`.
fn end_of_range(arg: &[u8], missing: u64) -> Result<(StreamId, bool), CommandError> {
    match arg {
        [b'(', rest @ ..] if !rest.is_empty() => Ok((strict_id(rest, missing)?, true)),
        _ => Ok((id(arg, missing)?, false)),
    }
}

/// The first id of a range.
pub(super) fn range_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    let (id, outside) = end_of_range(arg, 0)?;
    let first = if outside { id.next() } else { Some(id) };
    first.ok_or(CommandError::line("ERR invalid start ID for the interval"))
}

/// The last id of a range.
pub(super) fn range_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    let (id, outside) = end_of_range(arg, u64::MAX)?;
    let last = if outside { id.previous() } else { Some(id) };
    last.ok_or(CommandError::line("ERR invalid end ID for the interval"))
}

/// How XADD and XTRIM trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrimOptions {
    /// What is to stay.
    pub(super) trim: Trim,
    /// `~`: only nodes that go as a whole.
    pub(super) approximately: bool,
    /// The most entries that go at once; 0 is no limit.
    pub(super) limit: usize,
    /// Where the threshold stands; the operator, if there is one, is before it.
    pub(super) threshold_at: usize,
}

impl TrimOptions {
    pub(super) fn apply(&self, log: &mut Log) -> Trimmed {
        log.trim(self.trim, !self.approximately, self.limit)
    }
}

/// The options of XADD in front of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddOptions {
    /// NOMKSTREAM: only to a stream that is there.
    pub(super) only_existing: bool,
    pub(super) trim: Option<TrimOptions>,
    pub(super) id: NewId,
    /// Where the id stands.
    pub(super) id_at: usize,
}

const LIMIT_WITHOUT_TILDE: CommandError =
    CommandError::line("ERR syntax error, LIMIT cannot be used without the special ~ option");

/// Trimming as it is read, word by word.
#[derive(Default)]
struct Words {
    /// The trim, whether it is approximate, and where its threshold stands.
    trim: Option<(Trim, bool, usize)>,
    limit: Option<usize>,
}

impl Words {
    /// Reads the option at a place, if it is one of trimming: where the next one stands.
    fn read(&mut self, request: &Request<'_>, at: usize) -> Result<Option<usize>, CommandError> {
        let (word, more) = (request.arg(at), request.len() - 1 - at);
        if more == 0 {
            return Ok(None);
        }
        if is(word, "limit") {
            let limit = integer(request.arg(at + 1))?;
            let limit = usize::try_from(limit);
            let refused = CommandError::line("ERR The LIMIT argument must be >= 0.");
            self.limit = Some(limit.map_err(|_| refused)?);
            return Ok(Some(at + 2));
        }
        let by_len = is(word, "maxlen");
        if !by_len && !is(word, "minid") {
            return Ok(None);
        }
        if self.trim.is_some() {
            return Err(CommandError::line(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let operator = if more >= 2 { text(request.arg(at + 1)) } else { b"" };
        let approximately = operator == b"~";
        let threshold_at = at + 1 + usize::from(approximately || operator == b"=");
        let threshold = request.arg(threshold_at);
        let trim = if by_len {
            let refused = CommandError::line("ERR The MAXLEN argument must be >= 0.");
            Trim::MaxLen(usize::try_from(integer(threshold)?).map_err(|_| refused)?)
        } else {
            Trim::MinId(strict_id(threshold, 0)?)
        };
        self.trim = Some((trim, approximately, threshold_at));
        Ok(Some(threshold_at + 1))
    }

    /// What they say as a whole. `unlimited` where whoever sent them has trimmed already.
    fn options(
        self,
        limits: StreamLimits,
        unlimited: bool,
    ) -> Result<Option<TrimOptions>, CommandError> {
        /// Nodes that trimming removes at once, where nothing is said.
        const NODES_MAX: usize = 100;
        /// The same in entries, where a node has no limit of them; and the most.
        const ENTRIES: usize = 10_000;
        const ENTRIES_MAX: usize = 1_000_000;
        let Some((trim, approximately, threshold_at)) = self.trim else {
            return match self.limit {
                None => Ok(None),
                Some(0) if unlimited => Ok(None),
                Some(0) => Err(LIMIT_WITHOUT_TILDE),
                Some(_) => Err(CommandError::line(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
            };
        };
        let limit = match (self.limit, approximately) {
            _ if unlimited => 0,
            (Some(_), false) => return Err(LIMIT_WITHOUT_TILDE),
            (Some(limit), true) => limit,
            (None, false) => 0,
            (None, true) => match limits.node_entries.saturating_mul(NODES_MAX) {
                0 => ENTRIES,
                entries => entries.min(ENTRIES_MAX),
            },
        };
        Ok(Some(TrimOptions { trim, approximately, limit, threshold_at }))
    }
}

/// Reads what stands between XADD's key and its fields.
pub(super) fn add_options(
    request: &Request<'_>,
    limits: StreamLimits,
    unlimited: bool,
) -> Result<AddOptions, CommandError> {
    let mut words = Words::default();
    let (mut at, mut only_existing) = (2, false);
    let id = loop {
        let Some(arg) = request.get(at) else { return Err(CommandError::Arity("xadd")) };
        if text(arg) == b"*" {
            break NewId::Auto;
        }
        if let Some(next) = words.read(request, at)? {
            at = next;
        } else if is(arg, "nomkstream") {
            only_existing = true;
            at += 1;
        } else {
            break new_id(arg, 0)?;
        }
    };
    let trim = words.options(limits, unlimited)?;
    Ok(AddOptions { only_existing, trim, id, id_at: at })
}

const NO_STRATEGY: CommandError =
    CommandError::line("ERR syntax error, XTRIM must be called with a trimming strategy");

/// Reads what stands behind XTRIM's key.
pub(super) fn trim_options(
    request: &Request<'_>,
    limits: StreamLimits,
    unlimited: bool,
) -> Result<TrimOptions, CommandError> {
    let mut words = Words::default();
    let mut at = 2;
    while at < request.len() {
        at = words.read(request, at)?.ok_or(CommandError::Syntax)?;
    }
    if words.trim.is_none() && words.limit.unwrap_or(0) == 0 {
        return Err(NO_STRATEGY);
    }
    words.options(limits, unlimited)?.ok_or(NO_STRATEGY)
}

/// The error of a container's subcommand that does not have these arguments.
pub(super) fn wrong_arguments(request: &Request<'_>, container: &str) -> CommandError {
    /// Bytes of the name that are repeated.
    const NAME_MAX: usize = 128;
    let name = text(request.arg(1));
    let name = shown(&name[..name.len().min(NAME_MAX)]);
    CommandError::err(format_args!(
        "unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Redis 7.0.15 takes for an id.
    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let full = u64::MAX.to_string();
        for (text, expected) in [
            ("1-2", Some((1, 2))),
            ("5", Some((5, 7))),
            (&*format!("{full}-{full}"), Some((u64::MAX, u64::MAX))),
            ("18446744073709551616-0", None),
            ("007-08", Some((7, 8))),
            (" 7-+8", Some((7, 8))),
            ("1--5", None),
            ("1--05", Some((1, u64::MAX - 4))),
            ("1-2\0-3", Some((1, 2))),
            ("-", None),
            ("+", None),
            ("1-", None),
            ("-1", None),
            ("", None),
            ("1-2-3", None),
            ("a", None),
            ("1-*", None),
        ] {
            let expected = expected.map(|(ms, seq)| StreamId::new(ms, seq));
            assert_eq!(strict_id(text.as_bytes(), 7).ok(), expected, "{text:?}");
        }
        assert_eq!(new_id(b"5-*", 0), Ok(NewId::At(5)));
        assert!(strict_id(&[b'1'; 128], 0).is_err());
    }
}
