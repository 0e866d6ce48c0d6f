//! Scores: floating-point numbers as clients write them and as Redis 7.2 shows them.
//!
//! What is read is what C's `strtod` reads, hexadecimal digits included. What is shown is the
//! shortest text that reads back as the same number, in the layout of Redis's `fpconv`; where
//! Redis prints by `%.17g` (ZSCAN of a large sorted set), so does [`Scientific17`].

use std::fmt::{self, Write};

/// Reads a whole argument as Redis reads a score: no space in front, nothing behind, a number, and
/// within the range of a double.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    if (1..=15).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        // The common case: every integer of 15 digits is a double.
        let number = text.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        return Some(number as f64);
    }
    if text.first().is_none_or(|&first| is_space(first)) {
        return None;
    }
    let read = strtod(text);
    (read.len == text.len() && !read.out_of_range && !read.number.is_nan()).then_some(read.number)
}

/// Reads an end of a range of scores, as leniently as Redis does: spaces in front, nothing at all
/// and numbers out of range are taken for what `strtod` makes of them.
pub fn parse_double_bound(text: &[u8]) -> Option<f64> {
    // C's string ends at the first zero byte.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let read = strtod(text);
    let all = read.len == text.len();
    (all && !read.number.is_nan()).then_some(read.number)
}

/// Reads what SORT compares by: as lenient as [`parse_double_bound`], but within the range of a
/// double. For C, a number so small that digits of it are lost is out of range as well.
pub fn parse_weight(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let read = strtod(text);
    let out_of_range = read.out_of_range || read.number.is_subnormal();
    (read.len == text.len() && !out_of_range && !read.number.is_nan()).then_some(read.number)
}

/// Reads the number that a text starts with, as `strtod` does, and how many bytes it takes: none if
/// there is no number.
pub fn parse_double_prefix(text: &[u8]) -> (f64, usize) {
    let read = strtod(text);
    (read.number, read.len)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

struct Read {
    number: f64,
    /// Bytes that belong to it; 0 if there is no number.
    len: usize,
    /// It overflows, or underflows to zero.
    out_of_range: bool,
}

/// The number that a text starts with.
fn strtod(text: &[u8]) -> Read {
    let mut at = text.iter().take_while(|byte| is_space(**byte)).count();
    let negative = text.get(at) == Some(&b'-');
    at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
    let rest = &text[at..];
    let starts =
        |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    let (magnitude, len, out_of_range) = if starts(b"infinity") {
        (f64::INFINITY, 8, false)
    } else if starts(b"inf") {
        (f64::INFINITY, 3, false)
    } else if starts(b"nan") {
        (f64::NAN, 3, false)
    } else if let Some((number, len)) = starts(b"0x").then(|| hexadecimal(rest)).flatten() {
        number_in_range(number, len, &rest[2..len])
    } else {
        let len = decimal_len(rest);
        let digits = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        let number = digits.parse().unwrap_or(0.0);
        let mantissa = rest[..len].split(|byte| matches!(byte, b'e' | b'E')).next();
        number_in_range(number, len, mantissa.unwrap_or_default())
    };
    let len = if len == 0 { 0 } else { at + len };
    Read { number: if negative { -magnitude } else { magnitude }, len, out_of_range }
}

/// Out of range if it is infinite, or zero although a digit of it is not.
fn number_in_range(number: f64, len: usize, mantissa: &[u8]) -> (f64, usize, bool) {
    let mut digits = mantissa.iter().take_while(|byte| !matches!(byte, b'p' | b'P'));
    let is_zero = digits.all(|byte| matches!(byte, b'0' | b'.'));
    (number, len, number.is_infinite() || (number == 0.0 && !is_zero))
}

/// How many bytes `digits[.digits][e[±]digits]` takes; 0 if there is no digit.
fn decimal_len(text: &[u8]) -> usize {
    let digits = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    let mut any = whole > 0;
    if text.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        any |= fraction > 0;
        end += 1 + fraction;
    }
    if !any {
        return 0;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = text.get(end + 1 + sign..).map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// `0x` and digits, a point, an exponent of two; none if no digit follows.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let mut mantissa = 0u64;
    let mut exponent = 0i64;
    let (mut any, mut point) = (false, false);
    let mut at = 2;
    while let Some(&byte) = text.get(at) {
        if byte == b'.' && !point {
            point = true;
        } else if let Some(digit) = (byte as char).to_digit(16) {
            any = true;
            if mantissa >> 58 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
                exponent -= if point { 4 } else { 0 };
            } else {
                // What no longer fits only matters for the rounding.
                mantissa |= u64::from(digit != 0);
                exponent += if point { 0 } else { 4 };
            }
        } else {
            break;
        }
        at += 1;
    }
    if !any {
        return None;
    }
    if let Some(b'p' | b'P') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let digits = text.get(at + 1 + sign..).unwrap_or_default();
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len > 0 {
            let magnitude = digits[..len]
                .iter()
                .fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1 << 40));
            exponent += if text[at + 1] == b'-' { -magnitude } else { magnitude };
            at += 1 + sign + len;
        }
    }
    // In steps, so that neither factor leaves the range of a double before the product does.
    let mut number = mantissa as f64;
    let mut left = exponent.clamp(-2200, 2200) as i32;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        number *= 2f64.powi(step);
        left -= step;
    }
    Some((number, at))
}

/// A double that holds an integer which Redis prints as one: up to half of what 64 bits hold.
fn as_integer(number: f64) -> Option<i64> {
    const HALF: f64 = (i64::MAX / 2) as f64;
    let integer = number as i64;
    ((-HALF..=HALF).contains(&number) && integer as f64 == number).then_some(integer)
}

/// The text of a double, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct DoubleText {
    bytes: [u8; 40],
    len: usize,
}

impl DoubleText {
    const EMPTY: Self = Self { bytes: [0; 40], len: 0 };

    /// The text of a score in a reply.
    pub fn reply(number: f64) -> Self {
        match as_integer(number) {
            Some(0) if number.is_sign_negative() => Self::of("-0"),
            Some(integer) => Self::of(itoa::Buffer::new().format(integer)),
            None => Self::shortest(number),
        }
    }

    /// The text of a score in a listpack, where an integer is one, and zero has no sign.
    pub fn stored(number: f64) -> Self {
        match as_integer(number) {
            Some(integer) => Self::of(itoa::Buffer::new().format(integer)),
            None => Self::shortest(number),
        }
    }

    /// The shortest digits that read back as the same number, as DEBUG DIGEST takes them: an
    /// exponent is written where there would be many zeros.
    pub fn shortest(number: f64) -> Self {
        let mut text = Self::EMPTY;
        if let Some(special) = special(number) {
            return Self::of(special);
        }
        // `d.ddd…e±x`: the digits and the place of the point are what is needed of it.
        let mut scientific = Self::EMPTY;
        write!(scientific, "{:e}", number.abs()).expect("17 digits and an exponent fit");
        let (digits, count, exponent) = scientific.digits();
        let digits = &digits[..count];
        let places = exponent - (count as i32 - 1);
        if number < 0.0 {
            text.push(b"-");
        }
        if places >= 0 && exponent < count as i32 + 7 {
            text.push(digits);
            text.push(&b"0000000"[..places as usize]);
        } else if places < 0 && (places > -7 || exponent.abs() < 4) {
            let whole = count as i32 + places;
            if whole <= 0 {
                text.push(b"0.");
                text.push(&b"0000000"[..whole.unsigned_abs() as usize]);
                text.push(digits);
            } else {
                text.push(&digits[..whole as usize]);
                text.push(b".");
                text.push(&digits[whole as usize..]);
            }
        } else {
            text.push(&digits[..1]);
            if count > 1 {
                text.push(b".");
                text.push(&digits[1..]);
            }
            write!(text, "e{exponent:+}").expect("17 digits and an exponent fit");
        }
        text
    }

    /// What C's `%.17g` prints.
    pub fn seventeen_digits(number: f64) -> Self {
        let mut text = Self::EMPTY;
        if let Some(special) = special(number) {
            return Self::of(special);
        }
        let mut scientific = Self::EMPTY;
        write!(scientific, "{:.16e}", number.abs()).expect("17 digits and an exponent fit");
        let (digits, _, exponent) = scientific.digits();
        let count = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
        if number < 0.0 {
            text.push(b"-");
        }
        if (-4..17).contains(&exponent) {
            if exponent < 0 {
                text.push(b"0.");
                text.push(&b"000"[..(-exponent - 1) as usize]);
                text.push(&digits[..count]);
            } else {
                let whole = exponent as usize + 1;
                text.push(&digits[..whole]);
                if count > whole {
                    text.push(b".");
                    text.push(&digits[whole..count]);
                }
            }
        } else {
            text.push(&digits[..1]);
            if count > 1 {
                text.push(b".");
                text.push(&digits[1..count]);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(text, "e{sign}{:02}", exponent.abs()).expect("17 digits and an exponent fit");
        }
        text
    }

    fn of(text: &str) -> Self {
        let mut new = Self::EMPTY;
        new.push(text.as_bytes());
        new
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The digits of `d.ddde±x`, how many there are, zeros behind them, and the exponent.
    fn digits(&self) -> ([u8; 20], usize, i32) {
        let mut digits = [b'0'; 20];
        let mut count = 0;
        let (mantissa, exponent) = self.as_str().split_once('e').expect("it has an exponent");
        for digit in mantissa.bytes().filter(u8::is_ascii_digit) {
            digits[count] = digit;
            count += 1;
        }
        (digits, count, exponent.parse().expect("an exponent is an integer"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only ASCII is written")
    }

    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for DoubleText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.len + text.len() > self.bytes.len() {
            return Err(fmt::Error);
        }
        self.push(text.as_bytes());
        Ok(())
    }
}

fn special(number: f64) -> Option<&'static str> {
    Some(match number {
        _ if number.is_nan() => "nan",
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ if number == 0.0 => {
            if number.is_sign_negative() {
                "-0"
            } else {
                "0"
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `ZADD key <text> member` of Redis 7.0.15 accepts.
    #[test]
    fn scores_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("-1.5", Some(-1.5)),
            ("+3", Some(3.0)),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            ("1e3", Some(1000.0)),
            ("1e", None),
            ("1e+", None),
            (".", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("inf", Some(f64::INFINITY)),
            ("-INFINITY", Some(f64::NEG_INFINITY)),
            ("infinit", None),
            ("nan", None),
            ("0x10", Some(16.0)),
            ("0x1.8p1", Some(3.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0xp1", None),
            ("0x", None),
            ("1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("4.9e-324", Some(5e-324)),
            ("123456789012345678", Some(123456789012345680.0)),
        ] {
            assert_eq!(parse_double(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn ends_of_ranges_are_read_leniently() {
        for (text, expected) in [
            (&b""[..], Some(0.0)),
            (b" 1", Some(1.0)),
            (b"1 ", None),
            (b"1e400", Some(f64::INFINITY)),
            (b"nan", None),
            (b"5\0x", Some(5.0)),
            (b"abc", None),
        ] {
            assert_eq!(parse_double_bound(text), expected, "{text:?}");
        }
    }

    /// What ZSCORE of Valkey 9.1.2 and ZSCAN of a skiplist answer for the same numbers.
    #[test]
    fn scores_are_shown_as_redis_shows_them() {
        for (number, reply, seventeen) in [
            (0.1, "0.1", "0.10000000000000001"),
            (-0.0, "-0", "-0"),
            (1e-7, "1e-7", "9.9999999999999995e-08"),
            (0.00001234, "1.234e-5", "1.234e-05"),
            (3e-5, "0.00003", "3.0000000000000001e-05"),
            (0.0001, "0.0001", "0.0001"),
            (1.5, "1.5", "1.5"),
            (1e17, "100000000000000000", "1e+17"),
            (123456789012345680.0, "123456789012345680", "1.2345678901234568e+17"),
            (4e18, "4000000000000000000", "4e+18"),
            (4.7e18, "4.7e+18", "4.7e+18"),
            (1e20, "1e+20", "1e+20"),
            (12345.678e30, "1.2345678e+34", "1.2345678e+34"),
            (-12.75, "-12.75", "-12.75"),
            (f64::INFINITY, "inf", "inf"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308", "2.2250738585072014e-308"),
        ] {
            assert_eq!(DoubleText::reply(number).as_str(), reply);
            assert_eq!(DoubleText::seventeen_digits(number).as_str(), seventeen);
        }
        assert_eq!(DoubleText::shortest(1e17).as_str(), "1e+17", "what a digest takes");
        assert_eq!(DoubleText::shortest(100.0).as_str(), "100");
        assert_eq!(DoubleText::stored(-0.0).as_str(), "0");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            for text in [
                DoubleText::reply(number),
                DoubleText::shortest(number),
                DoubleText::seventeen_digits(number),
            ] {
                prop_assert_eq!(parse_double(text.as_bytes()), Some(number), "{}", text.as_str());
            }
        }

        #[test]
        fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = (parse_double(&text), parse_double_bound(&text));
        }

        #[test]
        fn any_number_like_text_is_read_without_panic(text in "[ +-]?(0x)?[0-9a-f.]{0,8}([ep][+-]?[0-9]{0,4})?") {
            let _ = (parse_double(text.as_bytes()), parse_double_bound(text.as_bytes()));
        }
    }
}
