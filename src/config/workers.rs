//! How many threads serve clients: a number, or one per core.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::num::NonZeroUsize;

/// How many threads serve clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One per core.
    #[default]
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

/// More workers than this are a mistake of typing.
const WORKERS_MAX: usize = 1024;

impl Workers {
    /// How many that are on this machine.
    pub fn resolve(self) -> NonZeroUsize {
        match self {
            Self::Auto => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Self::Count(count) => count,
        }
    }
}

/// Neither `auto` nor a number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `auto` or a number from 1 to {WORKERS_MAX}")]
pub struct InvalidWorkers;

impl std::str::FromStr for Workers {
    type Err = InvalidWorkers;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let count: NonZeroUsize = text.parse().map_err(|_| InvalidWorkers)?;
        if count.get() <= WORKERS_MAX { Ok(Self::Count(count)) } else { Err(InvalidWorkers) }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(count) => count.fmt(f),
        }
    }
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => count.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Workers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`auto` or a number from 1 to {WORKERS_MAX}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Workers, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                text.parse().map_err(invalid)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Workers, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                number.to_string().parse().map_err(invalid)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
