//! Numbers that one thread counts and another reads when Prometheus asks.
//!
//! Every worker has its own: a counter that all workers share is a contended cache line on every
//! request, which no benchmark of one worker shows. With one writer, an addition is a plain load
//! and a plain store; no locked instruction is needed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Cell64(AtomicU64);

impl Cell64 {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds. Only the one writer may call this: with two, additions get lost.
    #[inline]
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Subtracts, for gauges. Only the one writer may call this.
    #[inline]
    pub fn sub(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(by), Relaxed);
    }

    /// Replaces.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Reads, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of a latency histogram's buckets in microseconds, from 50 µs to 10 s, at most
/// a factor of 2.5 apart. What is longer falls into the bucket without a bound.
pub const LATENCY_BOUNDS_US: [u64; 17] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// A histogram of durations with one writer.
#[derive(Debug, Default)]
pub struct LatencyCells {
    buckets: [Cell64; LATENCY_BOUNDS_US.len() + 1],
    sum_ns: Cell64,
}

impl LatencyCells {
    /// Counts one duration. Only the one writer may call this.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let us = duration.as_micros() as u64;
        self.buckets[LATENCY_BOUNDS_US.partition_point(|&bound| bound < us)].add(1);
        self.sum_ns.add(duration.as_nanos() as u64);
    }

    /// Adds what was counted so far to a sum over several workers.
    pub fn add_to(&self, sum: &mut Latencies) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        sum.sum_seconds += self.sum_ns.get() as f64 / 1e9;
    }
}

/// What several [`LatencyCells`] counted together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// How many fell into each bucket, not cumulated; the last has no upper bound.
    pub buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// The sum of all durations, in seconds.
    pub sum_seconds: f64,
}

impl Latencies {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        for (us, bucket) in [
            (0, 0),
            (50, 0),
            (51, 1),
            (100, 1),
            (10_000_000, LATENCY_BOUNDS_US.len() - 1),
            (10_000_001, LATENCY_BOUNDS_US.len()),
        ] {
            let cells = LatencyCells::default();
            cells.observe(Duration::from_micros(us));
            let mut sum = Latencies::default();
            cells.add_to(&mut sum);
            assert_eq!(sum.buckets[bucket], 1, "{us} µs");
            assert_eq!(sum.count(), 1, "{us} µs");
        }
    }

    #[test]
    fn several_workers_add_up() {
        let workers = [LatencyCells::default(), LatencyCells::default()];
        workers[0].observe(Duration::from_millis(1));
        workers[1].observe(Duration::from_millis(3));
        let mut sum = Latencies::default();
        workers.iter().for_each(|worker| worker.add_to(&mut sum));
        assert_eq!(sum.count(), 2);
        assert!((sum.sum_seconds - 0.004).abs() < 1e-9);
    }
}
