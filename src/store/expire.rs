//! Which keys expire next: an exact, ordered index of expiries.
//!
//! Sampling (Redis's way) leaves a share of dead keys in memory, and its cost depends on luck. An
//! ordered index knows the next key to expire: active expiry costs what it frees, and nothing when
//! nothing is due. It names a key by its slot and hash, not by its bytes, which keeps it at 16
//! bytes an element; so what it names must be looked at before it is believed, and it may name
//! keys that have gone.

use std::collections::BTreeSet;

/// Bits of the first word that hold the slot; the rest is the time.
const SLOT_BITS: u32 = 14;
/// The last time that fits: some 35,000 years.
const TIME_MAX: u64 = u64::MAX >> SLOT_BITS;

/// One key that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// Which table the key is in.
    pub(super) slot: u16,
    /// The hash of the key in that table.
    pub(super) hash: u64,
}

/// The expiries of one database, in order of time.
#[derive(Debug, Default)]
pub(super) struct ExpiryIndex {
    due: BTreeSet<(u64, u64)>,
}

impl ExpiryIndex {
    pub(super) fn insert(&mut self, due: Due) {
        self.due.insert(pack(due));
    }

    pub(super) fn remove(&mut self, due: Due) {
        self.due.remove(&pack(due));
    }

    /// The time of the first one.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.first().map(|&due| unpack(due).at)
    }

    /// Takes out the first one if its time has passed.
    pub(super) fn pop_past(&mut self, now_ms: u64) -> Option<Due> {
        let first = unpack(*self.due.first()?);
        if now_ms <= first.at {
            return None;
        }
        self.due.pop_first().map(unpack)
    }

    /// The mean time to live of what it names, in milliseconds, from the first thousand.
    pub(super) fn mean_ttl(&self, now_ms: u64) -> u64 {
        let sample = self.due.iter().take(1000).map(|&due| unpack(due).at.saturating_sub(now_ms));
        let (count, sum) =
            sample.fold((0u64, 0u64), |(n, sum), ttl| (n + 1, sum.saturating_add(ttl)));
        sum.checked_div(count).unwrap_or(0)
    }
}

fn pack(due: Due) -> (u64, u64) {
    (due.at.min(TIME_MAX) << SLOT_BITS | u64::from(due.slot), due.hash)
}

fn unpack((word, hash): (u64, u64)) -> Due {
    Due { at: word >> SLOT_BITS, slot: (word & ((1 << SLOT_BITS) - 1)) as u16, hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_in_the_order_of_their_expiry_and_not_before() {
        let mut index = ExpiryIndex::default();
        for (at, slot) in [(30, 16_383), (10, 7), (u64::MAX, 1), (20, 0)] {
            index.insert(Due { at, slot, hash: at ^ 99 });
        }
        assert_eq!(index.next(), Some(10));
        assert_eq!(index.pop_past(10), None, "a key lives through its last millisecond");
        assert_eq!(index.pop_past(11), Some(Due { at: 10, slot: 7, hash: 10 ^ 99 }));
        index.remove(Due { at: 20, slot: 0, hash: 20 ^ 99 });
        assert_eq!(index.pop_past(31), Some(Due { at: 30, slot: 16_383, hash: 30 ^ 99 }));
        assert_eq!(index.pop_past(1 << 40), None);
        assert_eq!(index.due.len(), 1);
    }
}
