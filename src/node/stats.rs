//! What the node counts: what INFO tells, and what telemetry reads.

use super::error::CommandError;
use super::latency::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// The figures of the whole node. Counters run until `CONFIG RESETSTAT`.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Changes to the data set since it was last saved.
    pub dirty: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused because there were too many.
    pub rejected_connections: u64,
    /// Commands run.
    pub commands: u64,
    /// Bytes read from clients.
    pub input_bytes: u64,
    /// Bytes written to clients.
    pub output_bytes: u64,
    /// Bytes of the stream of a primary, and of its snapshots.
    pub replica_input_bytes: u64,
    /// Bytes written to replicas.
    pub replica_output_bytes: u64,
    /// Reads from clients.
    pub reads: u64,
    /// Writes to clients.
    pub writes: u64,
    /// Keys that were evicted.
    pub evicted_keys: u64,
    /// Error replies.
    pub errors: u64,
    /// Error replies by their first word. At most [`ERROR_KINDS_MAX`] words.
    pub errors_by_code: BTreeMap<Box<str>, u64>,
    /// Connections closed because too much input waited.
    pub closed_for_input: u64,
    /// Connections closed because too much output waited.
    pub closed_for_output: u64,
    /// Time that expiry took.
    pub expire_time: Duration,
    /// Times that expiry ran out of time.
    pub expire_cut_short: u64,
    /// Wrong passwords.
    pub denied_auth: u64,
    /// Writes of the append-only file during a sync that had lasted for two seconds.
    pub delayed_syncs: u64,
}

/// How many first words of errors are told apart: a script may make up its own.
const ERROR_KINDS_MAX: usize = 128;

impl Stats {
    /// Counts an error reply.
    pub(super) fn count_error(&mut self, line: &str) {
        self.errors += 1;
        let code = line.split(' ').next().unwrap_or(line);
        if let Some(count) = self.errors_by_code.get_mut(code) {
            *count += 1;
        } else if self.errors_by_code.len() < ERROR_KINDS_MAX {
            self.errors_by_code.insert(code.into(), 1);
        }
        if *line == *CommandError::WRONG_PASSWORD {
            self.denied_auth += 1;
        }
    }
}

/// What is counted for one command.
#[derive(Debug, Default)]
pub(super) struct CallStats {
    /// How often it ran.
    pub(super) calls: u64,
    /// For how long, in all.
    pub(super) nanos: u64,
    /// How often it was refused before it ran.
    pub(super) rejected: u64,
    /// How often it ran and failed.
    pub(super) failed: u64,
    /// How long its calls took, while that is tracked.
    pub(super) latency: Option<Box<Histogram>>,
}

/// A figure per second, averaged over the last 16 samples.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: [u64; 16],
    next: usize,
    last: u64,
}

impl Rate {
    /// Takes the counter's value, `elapsed` after the last time.
    pub(super) fn sample(&mut self, counter: u64, elapsed: Duration) {
        let micros = elapsed.as_micros().max(1) as u64;
        let grown = counter.saturating_sub(self.last);
        self.last = counter;
        self.samples[self.next] = grown.saturating_mul(1_000_000) / micros;
        self.next = (self.next + 1) % self.samples.len();
    }

    /// The average.
    pub(super) fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }
}

/// What is sampled every 100 ms.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) commands: Rate,
    pub(super) input: Rate,
    pub(super) output: Rate,
    pub(super) replica_input: Rate,
    pub(super) replica_output: Rate,
}
