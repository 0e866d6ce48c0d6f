//! Floating-point numbers of 64 bits of precision: what INCRBYFLOAT and HINCRBYFLOAT count with.
//!
//! Redis adds them as C's `long double`, which on x86-64 is this format, and prints them with 17
//! digits after the point. An `f64` would answer 0.30000000000000004 where Redis answers 0.3, so
//! reading, adding and printing are done here with integers: exactly, then rounded as the
//! processor does, to the nearest, ties to even.

use super::decimal::Decimal;

/// Digits after the point, before trailing zeros are cut.
const PLACES: u32 = 17;
/// The longest number that is read, in bytes.
const TEXT_MAX: usize = 5 * 1024;
/// Values are below two to this power.
const EXPONENT_MAX: i32 = 16_384;
/// The smallest that is not zero is two to this power.
const EXPONENT_MIN: i32 = -16_445;

/// A number: `mantissa * 2^exponent`, infinite, or zero (a mantissa of zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    /// The top bit is set unless the number is zero.
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

impl Extended {
    const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0, infinite: false };

    /// Reads a number as `strtold` does, with nothing before or after it: decimal or hexadecimal
    /// (`0x1.8p3`), `inf` and `infinity`. `None` for anything else, `nan`, and what is too large
    /// or too small to be held.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_MAX {
            return None;
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let number = match digits {
            [b'i' | b'I', ..] => {
                let known = [&b"inf"[..], b"infinity"];
                known.iter().any(|word| digits.eq_ignore_ascii_case(word)).then_some(())?;
                Self { infinite: true, ..Self::ZERO }
            }
            [b'0', b'x' | b'X', hex @ ..] => parse_hex(hex)?,
            _ => parse_decimal(digits)?,
        };
        Some(Self { negative, ..number })
    }

    /// Whether it is finite.
    pub fn is_finite(self) -> bool {
        !self.infinite
    }

    /// Whether it is below zero, or the zero below zero.
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// The smallest integer that is no less than `factor` times this; `None` if 64 bits do not
    /// hold it.
    pub fn times_rounded_up(self, factor: u32) -> Option<i64> {
        if self.infinite {
            return None;
        }
        // Rounded as the processor rounds a product, or 0.1 times 1000 would be 101.
        let product = u128::from(self.mantissa) * u128::from(factor);
        let Self { mantissa, exponent, .. } = Self::round(product, self.exponent, false)?;
        let magnitude = match u32::try_from(-exponent) {
            _ if mantissa == 0 => 0,
            Ok(places) => {
                let whole = mantissa.checked_shr(places).unwrap_or(0);
                let cut = places > mantissa.trailing_zeros();
                whole + u64::from(cut && !self.negative)
            }
            // The top bit of a mantissa is set.
            Err(_) => return None,
        };
        let magnitude = i64::try_from(magnitude).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The sum; `None` if it is not a finite number.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.infinite || other.infinite {
            return None;
        }
        if self.mantissa == 0 {
            return Some(other);
        }
        if other.mantissa == 0 {
            return Some(self);
        }
        let (big, small) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 62 bits below the larger one's last: more than rounding can see. What the smaller one
        // has beneath them is kept as one bit that says that there is something.
        const GUARD: u32 = 62;
        let shift = (big.exponent - small.exponent) as u32;
        let a = u128::from(big.mantissa) << GUARD;
        let wide = u128::from(small.mantissa) << GUARD;
        let b = match shift {
            0..126 => wide >> shift | u128::from(wide & ((1 << shift) - 1) != 0),
            _ => 1,
        };
        let (negative, sum) = if big.negative == small.negative {
            (big.negative, a + b)
        } else if a >= b {
            (big.negative, a - b)
        } else {
            (small.negative, b - a)
        };
        let sum = Self::round(sum, big.exponent - GUARD as i32, false)?;
        Some(if sum.mantissa == 0 { Self::ZERO } else { Self { negative, ..sum } })
    }

    /// The nearest number to `value * 2^exponent`; `rest` says that a little more is meant.
    /// `None` if it is too large. What is too small becomes zero.
    fn round(value: u128, exponent: i32, rest: bool) -> Option<Self> {
        if value == 0 {
            return Some(Self::ZERO);
        }
        let bits = 128 - value.leading_zeros();
        let (mut mantissa, mut exponent) = if bits <= 64 {
            ((value << (64 - bits)) as u64, exponent - (64 - bits) as i32)
        } else {
            let drop = bits - 64;
            let half = 1u128 << (drop - 1);
            let below = value & ((1 << drop) - 1);
            let mantissa = (value >> drop) as u64;
            let up = below > half || below == half && (rest || mantissa & 1 == 1);
            match mantissa.checked_add(u64::from(up)) {
                Some(mantissa) => (mantissa, exponent + drop as i32),
                None => (1 << 63, exponent + drop as i32 + 1),
            }
        };
        if exponent + 64 > EXPONENT_MAX {
            return None;
        }
        if exponent < EXPONENT_MIN {
            // Among the smallest numbers the last bits do not exist.
            let drop = EXPONENT_MIN - exponent;
            if drop > 64 {
                return Some(Self::ZERO);
            }
            let wide = u128::from(mantissa);
            let half = 1u128 << (drop - 1);
            let below = wide & ((1 << drop) - 1);
            let kept = wide >> drop;
            let kept = kept + u128::from(below > half || below == half && kept & 1 == 1);
            if kept == 0 {
                return Some(Self::ZERO);
            }
            let shift = kept.leading_zeros() as i32 - 64;
            mantissa = (kept << shift) as u64;
            exponent = EXPONENT_MIN - shift;
        }
        Some(Self { negative: false, mantissa, exponent, infinite: false })
    }
}

/// As Redis prints it for people: 17 digits after the point, without the zeros at the end.
impl std::fmt::Display for Extended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.infinite {
            return f.write_str(if self.negative { "-inf" } else { "inf" });
        }
        if self.mantissa == 0 {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        if self.exponent >= 0 {
            let whole = Decimal::from(self.mantissa).shifted_left(self.exponent as u32);
            return write!(f, "{sign}{whole}");
        }
        // 64 bits times 10^17 is below 2^121. Behind that many bits there is only zero.
        let scaled = u128::from(self.mantissa) * 10u128.pow(PLACES);
        let drop = self.exponent.unsigned_abs();
        let rounded = if drop > 126 {
            0
        } else {
            let half = 1u128 << (drop - 1);
            let below = scaled & ((1 << drop) - 1);
            let kept = scaled >> drop;
            kept + u128::from(below > half || below == half && kept & 1 == 1)
        };
        if rounded == 0 {
            return f.write_str("0");
        }
        let (whole, fraction) = (rounded / 10u128.pow(PLACES), rounded % 10u128.pow(PLACES));
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:017}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Splits digits from an exponent behind one of two letters. An exponent must have digits.
fn split_exponent(text: &[u8], letter: u8) -> Option<(&[u8], i64)> {
    let Some(at) = text.iter().position(|byte| byte.eq_ignore_ascii_case(&letter)) else {
        return Some((text, 0));
    };
    let (negative, digits) = match &text[at + 1..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond this every exponent is the same: too large, or too small.
    const MAX: i64 = 1_000_000;
    let size = digits.iter().fold(0, |n, d| (n * 10 + i64::from(d - b'0')).min(MAX));
    Some((&text[..at], if negative { -size } else { size }))
}

fn parse_decimal(text: &[u8]) -> Option<Extended> {
    let (digits, mut power) = split_exponent(text, b'e')?;
    let mut number = Decimal::default();
    let (mut seen, mut point) = (false, false);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                number.push_digit(byte - b'0');
                seen = true;
                power -= i64::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if !seen {
        return None;
    }
    if number.is_zero() {
        return Some(Extended::ZERO);
    }
    // Larger than any, or smaller than any, whatever the digits: they are at most TEXT_MAX.
    if power > 5_000 || power < -5_000 - 2 * TEXT_MAX as i64 {
        return None;
    }
    let (value, exponent, rest) = number.scaled(power as i32);
    let result = Extended::round(value, exponent, rest)?;
    (result.mantissa != 0).then_some(result)
}

fn parse_hex(text: &[u8]) -> Option<Extended> {
    let (digits, power) = split_exponent(text, b'p')?;
    let (mut value, mut exponent, mut rest) = (0u128, power, false);
    let (mut seen, mut point) = (false, false);
    for &byte in digits {
        if byte == b'.' && !point {
            point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        seen = true;
        if value >> 120 == 0 {
            value = value << 4 | u128::from(digit);
            exponent -= if point { 4 } else { 0 };
        } else {
            rest |= digit != 0;
            exponent += if point { 0 } else { 4 };
        }
    }
    if !seen {
        return None;
    }
    let zero = value == 0;
    let result = Extended::round(value, i32::try_from(exponent).ok()?, rest)?;
    (zero || result.mantissa != 0).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let parse = |text: &str| Extended::parse(text.as_bytes()).expect(text);
        parse(a).checked_add(parse(b)).map_or("none".into(), |sum| sum.to_string())
    }

    #[test]
    fn products_are_rounded_as_redis_reads_timeouts() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.1", Some(100)),
            ("0.001", Some(1)),
            ("0.007", Some(7)),
            ("1.0001", Some(1001)),
            ("0.0001", Some(1)),
            ("-0.0001", Some(0)),
            // The nearest number to -0.001 times 1000 is above -1: so says the processor, too.
            ("-0.001", Some(0)),
            ("-0.002", Some(-1)),
            ("1e-400", Some(1)),
            ("0x10", Some(16_000)),
            ("9223372036854775", Some(9_223_372_036_854_775_000)),
            ("9223372036854776", None),
            ("-9223372036854776", None),
            ("1e400", None),
            ("inf", None),
        ] {
            let number = Extended::parse(text.as_bytes()).expect(text);
            assert_eq!(number.times_rounded_up(1000), expected, "{text}");
        }
    }

    /// What INCRBYFLOAT of Redis 7.0.15 on x86-64 answers.
    #[test]
    fn sums_are_those_of_a_long_double() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "200", "5200"),
            ("0", "3.0", "3"),
            ("1", "-1", "0"),
            ("-0", "-0", "0"),
            ("0x10", "0x1.8p1", "19"),
            ("1e20", "1", "100000000000000000000"),
            ("1e-17", "0", "0.00000000000000001"),
            ("4e-18", "0", "0"),
            ("-4e-18", "0", "0"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "2", "18446744073709551618"),
            ("3.14159265358979323846", "0", "3.14159265358979324"),
            ("inf", "1", "none"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn the_largest_number_prints_in_full_and_the_next_is_none() {
        let text =
            Extended::parse(b"1.18973149535723176502e+4932").expect("the largest").to_string();
        assert_eq!(text.len(), 4933);
        assert!(
            text.starts_with("118973149535723176502126385303097020516906332229462420044032373389")
        );
        assert_eq!(Extended::parse(b"1.2e4932"), None);
        assert_eq!(sum("1.18e4932", "1.18e4932"), "none");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "abc", "1a", ".", "e5", "1e", "1e+", "--1", "nan", "1..2", "0x",
            "1e-5000", "1e5000", "infin",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in ["1.", ".5", "+1", "1E5", "0e999999999999", "-inf", "Infinity"] {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text:?}");
        }
    }
}
