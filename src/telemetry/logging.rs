//! Logs: text for people or JSON for machines, one line per event, on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format};

/// How a line of the log looks.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// Levels by module: `info`, `warn,keyway::proxy=debug`, … (the syntax of `RUST_LOG`).
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("`{filter}` is not a log filter: {why}; examples: info, warn,keyway::proxy=debug")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// The process logs already.
    #[error("logging has already started")]
    AlreadyStarted,
}

/// Checks a filter without starting anything.
///
/// # Errors
/// When it is not one.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse_filter(filter).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogError::Filter { filter: filter.to_owned(), why: error.to_string() })
}

/// Starts logging for the whole process.
///
/// # Errors
/// A filter that is not one; a second start.
pub fn start(options: &LogOptions) -> Result<(), LogError> {
    let filter = parse_filter(&options.filter)?;
    let builder: SubscriberBuilder<DefaultFields, Format, EnvFilter, fn() -> std::io::Stderr> =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that nobody reads any more is no reason to end, nor to say so where nobody reads.
    let builder = builder.log_internal_errors(false);
    let started = match options.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| LogError::AlreadyStarted)
}

/// Lets one line through per interval, and counts what it held back.
///
/// For events that a peer can cause at will: a flood of them must not become a flood of lines.
#[derive(Clone, Copy, Debug)]
pub struct LogGate {
    every: Duration,
    open_at: Option<Instant>,
    held_back: u64,
}

impl LogGate {
    /// Lets one line through in each `every`.
    pub const fn new(every: Duration) -> Self {
        Self { every, open_at: None, held_back: 0 }
    }

    /// Whether to log this one: how many were held back since the last, or `None` to say nothing.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.open_at.is_some_and(|open_at| now < open_at) {
            self.held_back += 1;
            return None;
        }
        self.open_at = Some(now + self.every);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    #[test]
    fn a_flood_becomes_a_line_per_interval_that_counts_the_rest() {
        let start = Now::read().instant;
        let mut gate = LogGate::new(Duration::from_secs(1));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(gate.admit(at(0)), Some(0));
        for ms in 1..1000 {
            assert_eq!(gate.admit(at(ms)), None);
        }
        assert_eq!(gate.admit(at(1000)), Some(999));
        assert_eq!(gate.admit(at(2500)), Some(0));
    }

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert!(check_filter("warn,keyway::proxy=debug").is_ok());
        let error = check_filter("keyway=loud").expect_err("there is no such level").to_string();
        assert!(error.starts_with("`keyway=loud` is not a log filter"), "{error}");
    }
}
