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

/// The most elements that a command draws one by one, each perhaps again and again: nothing else
/// bounds such a reply, and the node serves nobody else meanwhile.
const DRAWS_MAX: u64 = 1 << 24;
/// About the most bytes that they may have together.
const DRAWN_BYTES_MAX: u64 = 1 << 30;

/// How many draws a negative count asks for, of `len` elements that take so many bytes.
///
/// # Errors
/// It is more than [`DRAWS_MAX`] or [`DRAWN_BYTES_MAX`] allow, in the words for a number beyond
/// all bounds.
pub(super) fn draws(count: i64, len: usize, bytes: usize) -> Result<usize, CommandError> {
    let draws = count.unsigned_abs();
    let each = (bytes / len.max(1)) as u64;
    if draws > DRAWS_MAX || draws.saturating_mul(each) > DRAWN_BYTES_MAX {
        return Err(CommandError::line("ERR value is out of range"));
    }
    Ok(draws as usize)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_makes_a_command_draw_without_end() {
        for (count, bytes, allowed) in [
            (-1, 1, true),
            (-(1 << 24), 64, true),
            (-(1 << 24) - 1, 1, false),
            (-(1 << 24), 65, false),
            (-1000, 1 << 20, true),
            (-2000, 1 << 20, false),
            (i64::MIN, 1, false),
            (-i64::MAX, usize::MAX, false),
        ] {
            let draws = draws(count, 1, bytes).ok();
            assert_eq!(draws, allowed.then_some(count.unsigned_abs() as usize), "{count} {bytes}");
        }
        assert_eq!(draws(-5, 0, 0).ok(), Some(5));
    }
}
