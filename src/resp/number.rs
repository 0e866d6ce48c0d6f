//! The numbers of headers.

/// A header with a short number, which nearly all are: `line` begins with its first byte (`$`, `*`), whatever
/// that is, and the answer is the number and how many bytes the header takes, its line end included. None says
/// nothing: the line may be longer, not whole, at the end of what has come, or wrong, and has to be looked at
/// with care.
#[inline(always)]
pub(super) fn short_header(line: &[u8]) -> Option<(u32, usize)> {
    // One load instead of a look at each byte: this runs for every argument of every request.
    let word = u64::from_le_bytes(*line.first_chunk::<8>()?);
    let digit = |place: u32| ((word >> (8 * place)) as u8).wrapping_sub(b'0');
    let ends_at = |place: u32| (word >> (8 * place)) as u16 == u16::from_le_bytes(*b"\r\n");
    let (one, two) = (u32::from(digit(1)), u32::from(digit(2)));
    if ends_at(2) {
        return (one < 10).then_some((one, 4));
    }
    if ends_at(3) {
        return (one.wrapping_sub(1) < 9 && two < 10).then_some((one * 10 + two, 5));
    }
    let three = u32::from(digit(3));
    let all_are_digits = one.wrapping_sub(1) < 9 && two < 10 && three < 10;
    (ends_at(4) && all_are_digits).then_some((one * 100 + two * 10 + three, 6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse_i64;

    #[test]
    fn a_short_header_is_read_as_a_long_one_is() {
        let mut texts: Vec<String> = (0..=1100).map(|number| number.to_string()).collect();
        for odd in
            ["", "00", "01", "0x", "x", "1x", "x1", "-1", "1-1", "12x", "1:1", "1 1", "999a", "+1"]
        {
            texts.push(odd.to_owned());
        }
        for text in texts {
            for end in ["\r\n", "\r", "\n", "\rx", "", "\r\r\n"] {
                let line = format!("${text}{end}whatever follows");
                let careful = line
                    .find("\r\n")
                    .filter(|_| text.len() < 4)
                    .and_then(|at| Some((parse_i64(&line.as_bytes()[1..at])?, at + 2)))
                    .filter(|(number, _)| *number >= 0);
                let short = short_header(line.as_bytes()).map(|(n, used)| (i64::from(n), used));
                assert_eq!(short, careful, "{line:?}");
            }
            assert_eq!(short_header(&format!("${text}\r\n").as_bytes()[..3.min(text.len())]), None);
        }
    }
}
