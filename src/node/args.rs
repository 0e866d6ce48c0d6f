//! Reading one argument as what a handler needs it to be.

use super::error::CommandError;
use crate::resp::parse_i64;

/// A 64-bit integer, as strictly as Redis reads one.
pub(super) fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NotInteger)
}

/// An integer that must not be negative. What is no integer at all gets the same error.
pub(super) fn unsigned(arg: &[u8]) -> Result<u64, CommandError> {
    let number = parse_i64(arg).and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::NotPositive)
}

/// An integer whose negation is one, too: a count that may be negative.
pub(super) fn negatable(arg: &[u8]) -> Result<i64, CommandError> {
    let number = integer(arg)?;
    if number == i64::MIN {
        return Err(CommandError::err(format_args!(
            "value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    Ok(number)
}

/// An integer that is no less than `min`. Anything else gets `error`, its code first.
pub(super) fn at_least(min: usize, arg: &[u8], error: &'static str) -> Result<usize, CommandError> {
    let number = parse_i64(arg).and_then(|number| usize::try_from(number).ok());
    number.filter(|&number| number >= min).ok_or(CommandError::line(error))
}

/// Whether the argument is this word, whatever its case.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}
