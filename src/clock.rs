//! The time every machine is handed: no machine reads a clock of its own.
//!
//! Two clocks travel together because they answer different questions. [`Now::instant`] never
//! jumps, so every timeout, backoff and age is measured with it. [`Now::unix_ms`] is what the
//! wire and the data know (expiry, TIME, LASTSAVE), and it may jump when an operator sets it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks, taken by a shell at the start of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The clock that never jumps: for timeouts and ages.
    pub instant: Instant,
    /// Milliseconds since the Unix epoch: for expiry and whatever goes over the wire.
    pub unix_ms: u64,
    /// Microseconds past [`Now::unix_ms`], 0 to 999: for what is told that finely (TIME).
    pub micros: u16,
}

impl Now {
    /// Reads both clocks. Only shells (and tests) may call this.
    #[allow(clippy::disallowed_methods, reason = "the one place where the clocks are read")]
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            instant: Instant::now(),
            unix_ms: unix.as_millis() as u64,
            micros: (unix.subsec_micros() % 1000) as u16,
        }
    }

    /// Microseconds since the Unix epoch.
    pub fn unix_us(self) -> u64 {
        self.unix_ms * 1000 + u64::from(self.micros)
    }

    /// The same reading, `by` later on both clocks: how tests and simulations let time pass.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let micros = u64::from(self.micros) + u64::from(by.subsec_micros() % 1000);
        Self {
            instant: self.instant + by,
            unix_ms: self.unix_ms + by.as_millis() as u64 + micros / 1000,
            micros: (micros % 1000) as u16,
        }
    }
}

/// A wait that doubles from `first` up to `max`: for whatever is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// `first` is the wait after the first failure; no wait is longer than `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The wait after `failures` failures in a row (the first failure is number 0).
    pub fn wait(self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).map_or(self.max, |wait| wait.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_maximum() {
        let backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(200));
        let waits: Vec<u128> = (0..9).map(|n| backoff.wait(n).as_millis()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 200, 200]);
        assert_eq!(backoff.wait(u32::MAX), Duration::from_millis(200));
    }
}
