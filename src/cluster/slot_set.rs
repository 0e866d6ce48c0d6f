//! A set of slots: the 2,048-byte bitmap of the bus, and the ranges that people read.

use super::slot::Slot;
use std::ops::RangeInclusive;

/// A set of slots, as the bus sends it: slot `s` is bit `s & 7` of byte `s / 8`.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    bits: Box<[u8; SlotSet::BYTES]>,
}

impl SlotSet {
    /// Bytes of the bitmap.
    pub const BYTES: usize = Slot::COUNT / 8;

    /// No slots.
    pub fn new() -> Self {
        Self { bits: Box::new([0; Self::BYTES]) }
    }

    /// Every slot.
    pub fn full() -> Self {
        Self { bits: Box::new([0xff; Self::BYTES]) }
    }

    /// The set that a bus message carries.
    pub fn from_bits(bits: &[u8; Self::BYTES]) -> Self {
        Self { bits: Box::new(*bits) }
    }

    /// The bitmap, as the bus sends it.
    pub fn as_bits(&self) -> &[u8; Self::BYTES] {
        &self.bits
    }

    /// Adds a slot; true if it was not there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let (byte, bit) = place(slot);
        let was = self.bits[byte] & bit != 0;
        self.bits[byte] |= bit;
        !was
    }

    /// Takes a slot out; true if it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let (byte, bit) = place(slot);
        let was = self.bits[byte] & bit != 0;
        self.bits[byte] &= !bit;
        was
    }

    /// Whether the slot is in the set.
    pub fn contains(&self, slot: Slot) -> bool {
        let (byte, bit) = place(slot);
        self.bits[byte] & bit != 0
    }

    /// How many slots are in the set.
    pub fn len(&self) -> usize {
        self.bits.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether no slot is in the set.
    pub fn is_empty(&self) -> bool {
        *self.bits == [0; Self::BYTES]
    }

    /// The slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words().flat_map(|(first, word)| {
            // Each step takes the lowest bit away.
            std::iter::successors(Some(word), |word| Some(word & (word - 1)).filter(|w| *w != 0))
                .map(move |word| first + word.trailing_zeros() as u16)
                .map(|number| Slot::new(number).expect("a set has a bit per slot"))
        })
    }

    /// The bits in words of 64, with the number of the first slot of each; words without a slot
    /// are left out.
    fn words(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let words = self.bits.chunks_exact(8).enumerate();
        let words = words.map(|(at, bytes)| {
            let bytes: [u8; 8] = bytes.try_into().expect("chunks of eight");
            (at as u16 * 64, u64::from_le_bytes(bytes))
        });
        words.filter(|(_, word)| *word != 0)
    }

    /// The slots as the fewest ranges, in order.
    pub fn ranges(&self) -> Vec<RangeInclusive<u16>> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for (first, mut word) in self.words() {
            // A run of set bits at a time: most sets are a few long ranges.
            let mut at = first;
            while word != 0 {
                let gap = word.trailing_zeros();
                let run = (word >> gap).trailing_ones();
                let start = at + gap as u16;
                let end = start + (run - 1) as u16;
                match ranges.last_mut() {
                    Some(last) if *last.end() + 1 == start => *last = *last.start()..=end,
                    _ => ranges.push(start..=end),
                }
                at += (gap + run) as u16;
                word = word.checked_shr(gap + run).unwrap_or(0);
            }
        }
        ranges
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::new();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

/// The ranges as CLUSTER NODES writes them: `0-5460 7000 9000-9001`.
impl std::fmt::Display for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, range) in self.ranges().iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlotSet[{self}]")
    }
}

fn place(slot: Slot) -> (usize, u8) {
    (slot.index() / 8, 1 << (slot.index() & 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u16]) -> SlotSet {
        numbers.iter().map(|&n| Slot::new(n).expect("a slot of the test")).collect()
    }

    #[test]
    fn ranges_are_the_fewest_and_in_order() {
        assert_eq!(set(&[]).to_string(), "");
        assert_eq!(set(&[9, 1, 2, 3, 16_383]).to_string(), "1-3 9 16383");
        assert_eq!(SlotSet::full().to_string(), "0-16383");
        assert_eq!(SlotSet::full().len(), Slot::COUNT);
    }

    proptest::proptest! {
        /// Ranges and slots tell of the same set, whatever the set.
        #[test]
        fn slots_and_ranges_agree(numbers in proptest::collection::btree_set(0u16..300, 0..200)) {
            let numbers: Vec<u16> = numbers.into_iter().collect();
            let set = set(&numbers);
            proptest::prop_assert_eq!(set.iter().map(Slot::number).collect::<Vec<_>>(), &numbers[..]);
            let ranges = set.ranges();
            proptest::prop_assert!(ranges.windows(2).all(|two| two[0].end() + 1 < *two[1].start()));
            proptest::prop_assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), numbers);
        }
    }

    #[test]
    fn a_slot_is_the_bit_that_the_bus_says() {
        let set = set(&[8]);
        assert_eq!(set.as_bits()[1], 1, "slot 8 is the lowest bit of byte 1");
        assert_eq!(SlotSet::from_bits(set.as_bits()), set);
    }
}
