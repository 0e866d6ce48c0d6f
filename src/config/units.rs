//! Sizes such as `16mb` and times such as `500ms`.
//!
//! Sizes are redis.conf's, so that nobody has to learn two spellings: `kb`, `mb` and `gb` are
//! powers of 1024; `k`, `m` and `g` are powers of 1000.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::Duration;

/// A number of bytes, as an operator writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time, as an operator writes it. Not below a millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

/// Text that is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as 16mb, 64kb, 1gb or 4096")]
pub struct InvalidSize;

/// Text that is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 60us, 500ms, 30s, 5m, 1h, or 0")]
pub struct InvalidTime;

const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
];

const TIME_UNITS_US: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

/// The digits at the start of `text`, and the rest in lower case without spaces around it.
fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

impl ByteSize {
    /// Reads a size.
    ///
    /// # Errors
    /// No number, an unknown unit, or more than a `u64` holds.
    pub fn parse(text: &str) -> Result<Self, InvalidSize> {
        let (number, unit) = number_and_unit(text).ok_or(InvalidSize)?;
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidSize)?.1;
        number.checked_mul(factor).map(Self).ok_or(InvalidSize)
    }

    /// The bytes, for what is held in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TimeSpan {
    /// Reads a length of time.
    ///
    /// # Errors
    /// No number, no unit (but for 0), or an unknown one.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        let (number, unit) = number_and_unit(text).ok_or(InvalidTime)?;
        if number == 0 && unit.is_empty() {
            return Ok(Self(Duration::ZERO));
        }
        let factor = TIME_UNITS_US.iter().find(|(name, _)| *name == unit).ok_or(InvalidTime)?.1;
        number.checked_mul(factor).map(Duration::from_micros).map(Self).ok_or(InvalidTime)
    }
}

/// In the largest unit that leaves no remainder.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("gb", 1u64 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
        match units.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

/// In the largest unit that leaves no remainder.
impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros() as u64;
        let whole = |unit: &&(&str, u64)| us >= unit.1 && us.is_multiple_of(unit.1);
        match TIME_UNITS_US.iter().rev().find(whole) {
            Some((unit, size)) => write!(f, "{}{unit}", us / size),
            None => f.write_str("0"),
        }
    }
}

macro_rules! as_text {
    ($type:ident, $error:ident, $expecting:literal) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                        $type::parse(text).map_err(invalid)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        let invalid = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                        $type::parse(&number.to_string()).map_err(invalid)
                    }
                }

                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

as_text!(ByteSize, InvalidSize, "a size such as 16mb, 64kb, 1gb or 4096");
as_text!(TimeSpan, InvalidTime, "a time such as 60us, 500ms, 30s, 5m, 1h, or 0");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_of_redis_conf() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("12b", 12),
            ("1k", 1000),
            ("1kb", 1024),
            ("16mb", 16 << 20),
            ("16MB", 16 << 20),
            ("2 gb", 2 << 30),
            ("5m", 5_000_000),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "mb", "1tb", "-1", "1.5mb", "18446744073709551615kb"] {
            assert_eq!(ByteSize::parse(text), Err(InvalidSize), "{text}");
        }
    }

    #[test]
    fn times_have_a_unit_unless_they_are_zero() {
        for (text, ms) in [("0", 0), ("0s", 0), ("500ms", 500), ("30s", 30_000), ("2h", 7_200_000)]
        {
            assert_eq!(TimeSpan::parse(text), Ok(TimeSpan(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "30", "s", "1d", "-1s", "1.5s"] {
            assert_eq!(TimeSpan::parse(text), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        for bytes in [0, 1, 1000, 1024, 1536, 1 << 20, (1 << 30) + 1, 512 << 20, u64::MAX] {
            let text = ByteSize(bytes).to_string();
            assert_eq!(ByteSize::parse(&text), Ok(ByteSize(bytes)), "{text}");
        }
        for ms in [0, 1, 999, 1000, 1500, 60_000, 61_000, 3_600_000, 90_000_000] {
            let span = TimeSpan(Duration::from_millis(ms));
            assert_eq!(TimeSpan::parse(&span.to_string()), Ok(span), "{span}");
        }
        assert_eq!(ByteSize(16 << 20).to_string(), "16mb");
        assert_eq!(TimeSpan(Duration::from_millis(500)).to_string(), "500ms");
    }
}
