//! The intset: Redis's sorted run of integers.
//!
//! ```text
//! in DUMP:   width of an integer: u32, 2, 4 or 8 | how many: u32 | integer, in ascending order …
//! in memory: total bytes: u32 | width: u8 | 0 | 0xf5 | 0         | integer …
//! ```
//! All are little-endian. The width is that of the widest integer it ever held. In memory it begins
//! with how many bytes it has, which is how many integers too; where a listpack has its first
//! element it has a byte that no element starts with, so that a set can tell its two compact forms
//! from their bytes.

use crate::store::thin::{Compact, Thin};

/// Bytes before the first integer, in both forms.
const HEADER: usize = 8;
/// Where the width is in the content.
const WIDTH: usize = 0;
/// Where the integers start in the content, behind the total.
const NUMBERS: usize = 4;
/// No element of a listpack starts with this byte, nor is it its end.
const NO_LISTPACK: u8 = 0xf5;

/// Different integers in ascending order, behind one pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Intset(Thin);

// SAFETY: it is transparent, and every access is checked against the length.
#[allow(unsafe_code, reason = "a promise about the layout: see the trait")]
unsafe impl Compact for Intset {}

impl From<Intset> for Thin {
    fn from(this: Intset) -> Self {
        this.0
    }
}

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

fn width_of(number: i64) -> usize {
    match number {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

impl Intset {
    /// The most integers that a set may be let grow to: 2 GiB of them.
    pub const ENTRIES_MAX: usize = 1 << 28;

    /// A set without integers.
    pub fn new() -> Self {
        Self::of_numbers(2, &[])
    }

    fn of_numbers(width: u8, numbers: &[u8]) -> Self {
        Self(Thin::concat(&[&[width, 0, NO_LISTPACK, 0], numbers]))
    }

    /// Whether bytes that are an intset or a listpack are an intset.
    #[inline]
    pub(super) fn is_one(thin: &Thin) -> bool {
        thin.bytes()[2] == NO_LISTPACK
    }

    /// A set from bytes that somebody else wrote: none if they are not one, whole and in order.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (width, rest) = bytes.split_first_chunk::<4>()?;
        let (count, numbers) = rest.split_first_chunk::<4>()?;
        let (width, count) = (u32::from_le_bytes(*width), u32::from_le_bytes(*count));
        let whole = matches!(width, 2 | 4 | 8)
            && numbers.len() as u64 == u64::from(width) * u64::from(count)
            && numbers.len() <= Thin::CONTENT_MAX - NUMBERS;
        let set = whole.then(|| Self::of_numbers(width as u8, numbers))?;
        set.iter().is_sorted_by(|a, b| a < b).then_some(set)
    }

    /// The bytes, as DUMP sends them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.numbers().len());
        bytes.extend_from_slice(&(self.width() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.numbers());
        bytes
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    #[inline]
    fn width(&self) -> usize {
        usize::from(self.0.bytes()[WIDTH])
    }

    #[inline]
    fn numbers(&self) -> &[u8] {
        &self.0.bytes()[NUMBERS..]
    }

    /// How many integers it has.
    #[inline]
    pub fn len(&self) -> usize {
        // A width is a power of two.
        self.numbers().len() >> self.width().trailing_zeros()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer at an index, in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let bytes = self.numbers().get(index.checked_mul(width)?..)?.get(..width)?;
        Some(match *bytes {
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => i64::from_le_bytes(*bytes.first_chunk()?),
        })
    }

    /// All integers, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// The index of an integer, or where it would have to be.
    fn search(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Numbers often come in order: beyond the last one there is nothing to search.
        if high > 0 && self.get(high - 1).is_some_and(|last| last < number) {
            return Err(high);
        }
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).expect("it is below the length").cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether it has this integer.
    pub fn contains(&self, number: i64) -> bool {
        self.search(number).is_ok()
    }

    /// Adds an integer; false if it was there.
    pub fn add(&mut self, number: i64) -> bool {
        let Err(index) = self.search(number) else { return false };
        if width_of(number) > self.width() {
            self.widen(width_of(number));
        }
        let width = self.width();
        let at = NUMBERS + index * width;
        self.0.splice(at, at, width).copy_from_slice(&number.to_le_bytes()[..width]);
        true
    }

    fn widen(&mut self, width: usize) {
        let mut numbers = Vec::with_capacity(self.len() * width);
        for number in self.iter() {
            numbers.extend_from_slice(&number.to_le_bytes()[..width]);
        }
        *self = Self::of_numbers(width as u8, &numbers);
    }

    /// Removes an integer; false if it was not there.
    pub fn remove(&mut self, number: i64) -> bool {
        let Ok(index) = self.search(number) else { return false };
        let width = self.width();
        let at = NUMBERS + index * width;
        self.0.splice(at, at + width, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The bytes inside DUMP's answers of Redis 7.0.15.
    #[test]
    fn the_widest_integer_decides_the_width() {
        let mut set = Intset::new();
        assert!(set.add(5) && set.add(-1) && !set.add(5));
        assert_eq!(set.to_bytes(), [2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 5, 0]);
        assert!(set.add(65_536));
        assert_eq!(set.to_bytes()[..HEADER], [4, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(set.to_bytes()[HEADER..], [255, 255, 255, 255, 5, 0, 0, 0, 0, 0, 1, 0]);
        assert!(set.remove(65_536));
        assert_eq!(set.to_bytes()[..HEADER], [4, 0, 0, 0, 2, 0, 0, 0], "it never narrows");
        assert!(set.add(i64::MIN));
        assert_eq!(set.iter().collect::<Vec<_>>(), [i64::MIN, -1, 5]);
    }

    #[test]
    fn bytes_that_are_no_intset_are_refused() {
        let good = [2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 5, 0];
        assert_eq!(
            Intset::parse(&good).map(|set| set.iter().collect::<Vec<_>>()),
            Some(vec![-1, 5])
        );
        for (at, byte, what) in [
            (0, 3, "no such width"),
            (0, 4, "half a number"),
            (4, 3, "more than there are"),
            (4, 1, "fewer than there are"),
            (8, 6, "out of order"),
            (10, 0xff, "a negative number after a larger one"),
        ] {
            let mut bad = good;
            bad[at] = byte;
            if at == 8 {
                bad[9] = 0;
            }
            if at == 10 {
                bad[11] = 0xff;
            }
            assert_eq!(Intset::parse(&bad), None, "{what}");
        }
        assert_eq!(Intset::parse(&good[..7]), None);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_of_integers_holds(ops in proptest::collection::vec(
            (any::<bool>(), prop_oneof![
                8 => -50i64..50,
                2 => -40_000i64..40_000,
                1 => any::<i64>(),
                1 => prop_oneof![
                    Just(-0x8001i64), Just(0x8000), Just(0x8000_0000), Just(-0x8000_0001),
                ],
            ]),
            0..200,
        )) {
            let mut set = Intset::new();
            let mut model = BTreeSet::new();
            for (add, number) in ops {
                if add {
                    prop_assert_eq!(set.add(number), model.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), model.remove(&number));
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert_eq!(set.contains(number), add);
            }
        }
    }
}
