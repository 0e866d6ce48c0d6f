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

/// Whether the argument is this word, whatever its case.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}
