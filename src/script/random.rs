//! The generator behind `math.random`: the same numbers on every machine, for every script that
//! asks in the same order.

/// POSIX's `lrand48`: 48 bits, of which the highest 31 are shown.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The state before anyone seeds it.
    pub(super) fn new() -> Self {
        Self(0x1234_abcd_330e)
    }

    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = u64::from(seed as u32) << 16 | 0x330e;
    }

    /// The next number: below 2³¹.
    pub(super) fn next(&mut self) -> u32 {
        self.0 = (self.0.wrapping_mul(0x5_deec_e66d) + 0xb) & 0xffff_ffff_ffff;
        (self.0 >> 17) as u32
    }

    /// The next number as `math.random()` shows it: from 0, below 1.
    pub(super) fn next_fraction(&mut self) -> f64 {
        const MAX: u32 = i32::MAX as u32;
        f64::from(self.next() % MAX) / f64::from(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_that_redis_gives() {
        let mut random = Random::new();
        random.seed(5);
        assert_eq!(format!("{:.14}", random.next_fraction()), "0.52483957937213");
        assert_eq!(format!("{:.14}", random.next_fraction()), "0.27285430173988");
    }
}
