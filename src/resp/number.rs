//! Decimal numbers exactly as Redis reads them.

/// Reads a signed decimal number strictly, as Redis's `string2ll` does: an optional `-`, then
/// digits without leading zeros; nothing else, no `+`, no spaces, no `-0`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits fit: 9,999,999,999,999,999,999 is below 2^64.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// A header line with a short number, which nearly all are: `text` is what follows its first byte, and the
/// answer is the number and how many bytes it and its line end take. None says nothing: the line may be
/// longer, not whole, or wrong, and has to be looked at with care.
#[inline]
pub(super) fn short_line(text: &[u8]) -> Option<(u32, usize)> {
    let (digits, end) = match text {
        [a, b'\r', b'\n', ..] => ([0, 0, *a], 3),
        [a @ b'1'..=b'9', b, b'\r', b'\n', ..] => ([0, *a - b'0', *b], 4),
        [a @ b'1'..=b'9', b, c, b'\r', b'\n', ..] if b.is_ascii_digit() => {
            ([*a - b'0', *b - b'0', *c], 5)
        }
        _ => return None,
    };
    let last = digits[2].wrapping_sub(b'0');
    (last < 10)
        .then(|| (u32::from(digits[0]) * 100 + u32::from(digits[1]) * 10 + u32::from(last), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_is_read_as_a_long_one_is() {
        let mut texts: Vec<String> = (0..=1100).map(|number| number.to_string()).collect();
        for odd in
            ["", "00", "01", "0x", "x", "1x", "x1", "-1", "1-1", "12x", "1:1", "1 1", "999a", "+1"]
        {
            texts.push(odd.to_owned());
        }
        for text in texts {
            for end in ["\r\n", "\r\nx", "\r", "\n", "\rx", "", "\r\r\n"] {
                let line = format!("{text}{end}");
                let careful = line
                    .find("\r\n")
                    .filter(|_| text.len() < 4)
                    .and_then(|at| Some((parse_i64(&line.as_bytes()[..at])?, at + 2)))
                    .filter(|(number, _)| *number >= 0);
                let short =
                    short_line(line.as_bytes()).map(|(number, used)| (i64::from(number), used));
                assert_eq!(short, careful, "{line:?}");
            }
        }
    }

    #[test]
    fn numbers_are_read_as_strictly_as_redis_reads_them() {
        for (text, number) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), number, "{text:?}");
        }
    }
}
