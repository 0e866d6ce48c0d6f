//! How long calls take: a histogram of fixed size, exact to two digits at every scale.

/// Counts of durations, in nanoseconds, from 1 ns to about a second. Each power of two is cut
/// into 128 equal parts, so that a value read back is off by less than 1%.
pub(super) struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
}

/// Values below this have a bucket of their own.
const LINEAR: u64 = 256;
/// Parts of each power of two above that.
const PARTS: u64 = 128;
/// Longest duration that is told apart.
const NANOS_MAX: u64 = 1 << 30;
const BUCKETS: usize = (LINEAR + (30 - 8) * PARTS) as usize;

impl Default for Histogram {
    fn default() -> Self {
        let counts = vec![0; BUCKETS].into_boxed_slice();
        Self { counts: counts.try_into().expect("of that length"), total: 0 }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram").field("total", &self.total).finish_non_exhaustive()
    }
}

/// The bucket of a duration.
#[inline]
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(NANOS_MAX - 1);
    if nanos < LINEAR {
        return nanos as usize;
    }
    let scale = u64::from(nanos.ilog2()) - 8;
    (LINEAR + scale * PARTS + (nanos >> (scale + 1)) - PARTS) as usize
}

/// The longest duration that falls into a bucket.
fn longest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < LINEAR {
        return bucket;
    }
    let scale = (bucket - LINEAR) / PARTS;
    let part = (bucket - LINEAR) % PARTS + PARTS;
    ((part + 1) << (scale + 1)) - 1
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub(super) fn record(&mut self, nanos: u64) {
        let count = &mut self.counts[bucket(nanos)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// How many durations were counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The duration that `percentile` percent of all do not exceed, in nanoseconds.
    pub(super) fn at_percentile(&self, percentile: f64) -> u64 {
        let wanted = ((percentile / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return longest(bucket);
            }
        }
        0
    }

    /// For each doubling from 1,024 ns on, in microseconds: how many did not exceed it. Doublings
    /// that add nothing are left out.
    pub(super) fn doublings(&self) -> Vec<(u64, u64)> {
        let mut rows = Vec::new();
        let (mut from, mut seen) = (0, 0);
        for power in 10..=30 {
            let to = bucket(1 << power);
            let more: u64 = self.counts[from..=to].iter().map(|count| u64::from(*count)).sum();
            if more > 0 {
                seen += more;
                // The bucket that begins at the doubling counts as well, as in Redis.
                rows.push((longest(to) / 1000, seen));
            }
            from = to + 1;
            if from == BUCKETS {
                break;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_back_within_one_percent() {
        for nanos in (1..300).chain((300..NANOS_MAX).step_by(9_999_991)) {
            let read = longest(bucket(nanos));
            assert!(read >= nanos && (read - nanos) * 100 <= nanos, "{nanos} → {read}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_taken_from_the_counts() {
        let mut histogram = Histogram::default();
        for nanos in 1..=100 {
            histogram.record(nanos);
        }
        assert_eq!(histogram.at_percentile(50.0), 50);
        assert_eq!(histogram.at_percentile(99.0), 99);
        assert_eq!(histogram.at_percentile(100.0), 100);
        histogram.record(194_000);
        // What Redis 7.0.15 shows for such a duration.
        assert_eq!(histogram.at_percentile(100.0), 194_559);
        assert_eq!(histogram.doublings(), [(1, 100), (264, 101)]);
    }
}
