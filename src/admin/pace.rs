//! How many keys one round of `MIGRATE`s takes along.
//!
//! A node serves nobody else while it migrates. So a batch grows while rounds are quick and
//! shrinks when one took long: small keys go by the hundred, large ones a few at a time, and
//! clients do not wait noticeably for either.

use std::time::Duration;

/// Keys per `MIGRATE`, adapted to how long the last round took; or fixed by an operator.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    keys: usize,
    fixed: bool,
}

/// redis-trib's batch, and where we start.
const KEYS_FIRST: usize = 10;
const KEYS_MAX: usize = 400;
/// Rounds under this are cut short for nothing.
const QUICK: Duration = Duration::from_millis(15);
/// Rounds over this are felt by clients.
const SLOW: Duration = Duration::from_millis(60);

impl Pace {
    /// Adapts by itself, or keeps to `pipeline` keys.
    pub fn new(pipeline: Option<usize>) -> Self {
        match pipeline {
            Some(keys) => Self { keys: keys.max(1), fixed: true },
            None => Self { keys: KEYS_FIRST, fixed: false },
        }
    }

    /// Keys for one `MIGRATE`.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Learns from a round that moved keys.
    pub fn took(&mut self, round: Duration) {
        if self.fixed {
            return;
        }
        if round < QUICK {
            self.keys = (self.keys * 2).min(KEYS_MAX);
        } else if round > SLOW {
            self.keys = (self.keys / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_rounds_grow_the_batch_and_slow_ones_shrink_it() {
        let mut pace = Pace::new(None);
        for _ in 0..20 {
            pace.took(Duration::from_millis(1));
        }
        assert_eq!(pace.keys(), KEYS_MAX);
        for _ in 0..20 {
            pace.took(Duration::from_secs(1));
        }
        assert_eq!(pace.keys(), 1);
        let mut fixed = Pace::new(Some(25));
        fixed.took(Duration::from_secs(1));
        assert_eq!(fixed.keys(), 25);
    }
}
