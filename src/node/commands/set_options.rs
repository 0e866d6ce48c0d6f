//! The options of SET and GETEX, and times to live as arguments.

use crate::node::args::{integer, is};
use crate::node::error::CommandError;
use crate::resp::Request;

/// The unit of a time to live, and what it counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeUnit {
    seconds: bool,
    /// From the epoch, not from now on.
    absolute: bool,
}

impl TimeUnit {
    pub(super) const EX: Self = Self { seconds: true, absolute: false };
    pub(super) const PX: Self = Self { seconds: false, absolute: false };
    pub(super) const EXAT: Self = Self { seconds: true, absolute: true };
    pub(super) const PXAT: Self = Self { seconds: false, absolute: true };

    /// Milliseconds since the epoch. Zero, negative numbers and what does not fit 64 bits are
    /// invalid for `command`.
    pub(super) fn positive(
        self,
        arg: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        let time = integer(arg)?;
        if time <= 0 {
            return Err(CommandError::InvalidExpire(command));
        }
        let at = self.milliseconds(time, now_ms, command)?;
        Ok(at.unsigned_abs())
    }

    /// Milliseconds since the epoch, negative ones included.
    pub(super) fn milliseconds(
        self,
        time: i64,
        now_ms: u64,
        command: &'static str,
    ) -> Result<i64, CommandError> {
        let base = if self.absolute { 0 } else { now_ms as i64 };
        let time = if self.seconds { time.checked_mul(1000) } else { Some(time) };
        let at = time.and_then(|time| time.checked_add(base));
        at.ok_or(CommandError::InvalidExpire(command))
    }

    pub(super) fn is_absolute(self) -> bool {
        self.absolute
    }
}

/// Whether SET needs the key to be there, or not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `NX`
    Missing,
    /// `XX`
    Present,
}

/// What follows the key and value of SET, or the key of GETEX.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SetOptions<'a> {
    pub(super) condition: Option<Condition>,
    /// `GET`
    pub(super) get: bool,
    /// `KEEPTTL`
    pub(super) keep_ttl: bool,
    /// `PERSIST`
    pub(super) persist: bool,
    /// `EX`, `PX`, `EXAT`, `PXAT` with their argument.
    pub(super) expire: Option<(TimeUnit, &'a [u8])>,
}

/// Which command they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// SET
    Set,
    /// GETEX
    GetEx,
}

impl<'a> SetOptions<'a> {
    /// Reads the options from argument `from` on. One may be repeated; those that contradict each
    /// other are a syntax error.
    pub(super) fn parse(
        request: &Request<'a>,
        from: usize,
        grammar: Grammar,
    ) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let set = grammar == Grammar::Set;
        let mut at = from;
        while let Some(word) = request.get(at) {
            at += 1;
            let unit = time_unit(word);
            if let (Some(unit), Some(time)) = (unit, request.get(at)) {
                let other = options.expire.is_some_and(|(before, _)| before != unit);
                if options.keep_ttl || options.persist || other {
                    return Err(CommandError::Syntax);
                }
                options.expire = Some((unit, time));
                at += 1;
            } else if set && is(word, "nx") && options.condition != Some(Condition::Present) {
                options.condition = Some(Condition::Missing);
            } else if set && is(word, "xx") && options.condition != Some(Condition::Missing) {
                options.condition = Some(Condition::Present);
            } else if set && is(word, "get") {
                options.get = true;
            } else if set && is(word, "keepttl") && options.expire.is_none() {
                options.keep_ttl = true;
            } else if !set && is(word, "persist") && options.expire.is_none() {
                options.persist = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn time_unit(word: &[u8]) -> Option<TimeUnit> {
    let units = [
        ("ex", TimeUnit::EX),
        ("px", TimeUnit::PX),
        ("exat", TimeUnit::EXAT),
        ("pxat", TimeUnit::PXAT),
    ];
    units.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
}
