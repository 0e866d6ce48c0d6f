//! When, or how often, a key was used: 24 bits in each entry, read by OBJECT IDLETIME and FREQ
//! and by eviction.
//!
//! Under an LRU policy they are the second of the last use. Under an LFU policy, as Redis packs
//! them: 16 bits of the minute at which the counter last decayed, and an 8-bit counter that grows
//! logarithmically: the more uses it stands for, the less likely it is to count one more.

use super::rdb::KeyUse;

/// Which of the two the 24 bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsagePolicy {
    /// The last use.
    Recency,
    /// How often, with `lfu-log-factor` and `lfu-decay-time` (minutes; 0 never decays).
    Frequency {
        /// How many uses saturate the counter: the larger, the more.
        log_factor: u32,
        /// Minutes after which the counter loses one.
        decay_minutes: u32,
    },
}

/// A new key's counter: not the first to be evicted.
const FREQUENCY_NEW: u32 = 5;
const BITS: u32 = 0x00ff_ffff;

impl UsagePolicy {
    /// The bits of a key that has just been created.
    pub fn fresh(self, now_ms: u64) -> u32 {
        match self {
            Self::Recency => seconds(now_ms),
            Self::Frequency { .. } => minutes(now_ms) << 8 | FREQUENCY_NEW,
        }
    }

    /// The bits after one more use. `random` is 32 random bits.
    pub fn used(self, usage: u32, now_ms: u64, random: impl FnOnce() -> u32) -> u32 {
        let Self::Frequency { log_factor, .. } = self else { return seconds(now_ms) };
        let counter = self.frequency(usage, now_ms);
        let above = counter.saturating_sub(FREQUENCY_NEW);
        // One in `above * log_factor + 1`.
        let odds = u64::from(above) * u64::from(log_factor) + 1;
        let wins = (u64::from(random()) * odds) >> 32 == 0;
        minutes(now_ms) << 8 | if wins && counter < 255 { counter + 1 } else { counter }
    }

    /// What OBJECT FREQ says under [`UsagePolicy::Frequency`]: the counter as it has decayed.
    pub fn frequency(self, usage: u32, now_ms: u64) -> u32 {
        let Self::Frequency { decay_minutes, .. } = self else { return 0 };
        let elapsed = minutes(now_ms).wrapping_sub(usage >> 8) & 0xffff;
        let periods = elapsed.checked_div(decay_minutes).unwrap_or(0);
        (usage & 0xff).saturating_sub(periods)
    }

    /// The bits of a key that comes from elsewhere with what is known of its use there. What
    /// belongs to the other policy says nothing.
    pub fn restored(self, used: Option<KeyUse>, now_ms: u64) -> u32 {
        match (self, used) {
            (Self::Recency, Some(KeyUse::Idle(idle))) => {
                seconds(now_ms).wrapping_sub(idle.min(u64::from(BITS)) as u32) & BITS
            }
            (Self::Frequency { .. }, Some(KeyUse::Frequency(count))) => {
                minutes(now_ms) << 8 | u32::from(count)
            }
            _ => self.fresh(now_ms),
        }
    }

    /// What a file says of a key's use, under the policy that keeps it.
    pub fn saved(self, usage: u32, now_ms: u64) -> KeyUse {
        match self {
            Self::Recency => KeyUse::Idle(self.idle_seconds(usage, now_ms)),
            Self::Frequency { .. } => KeyUse::Frequency(self.frequency(usage, now_ms) as u8),
        }
    }

    /// Seconds since the last use, under [`UsagePolicy::Recency`].
    pub fn idle_seconds(self, usage: u32, now_ms: u64) -> u64 {
        u64::from(seconds(now_ms).wrapping_sub(usage) & BITS)
    }
}

fn seconds(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & BITS
}

fn minutes(now_ms: u64) -> u32 {
    (now_ms / 60_000) as u32 & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const LFU: UsagePolicy = UsagePolicy::Frequency { log_factor: 10, decay_minutes: 1 };

    #[test]
    fn idle_time_counts_over_the_end_of_its_24_bits() {
        let before = (u64::from(BITS) - 1) * 1000;
        let usage = UsagePolicy::Recency.fresh(before);
        assert_eq!(UsagePolicy::Recency.idle_seconds(usage, before + 5000), 5);
    }

    #[test]
    fn the_counter_grows_with_luck_and_decays_with_time() {
        let fresh = LFU.fresh(0);
        assert_eq!(LFU.frequency(fresh, 0), 5);
        let used = LFU.used(fresh, 0, || u32::MAX);
        assert_eq!(LFU.frequency(used, 0), 6, "up to its first value it always grows");
        let used = LFU.used(used, 0, || u32::MAX);
        assert_eq!(LFU.frequency(used, 0), 6);
        let used = LFU.used(used, 0, || 0);
        assert_eq!(LFU.frequency(used, 0), 7);
        assert_eq!(LFU.frequency(used, 3 * 60_000), 4);
        assert_eq!(LFU.frequency(used, 300 * 60_000), 0);
    }
}
