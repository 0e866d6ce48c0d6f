//! Strings as rows of bits, the highest bit of the first byte first.

use std::ops::Range;

/// Makes the string long enough to have this bit; true if it was not.
pub fn reach(bytes: &mut Vec<u8>, bit: usize) -> bool {
    let short = bytes.len() <= bit >> 3;
    if short {
        bytes.resize((bit >> 3) + 1, 0);
    }
    short
}

/// A bit; what is beyond the end is 0.
#[inline]
pub fn get(bytes: &[u8], bit: usize) -> bool {
    bytes.get(bit >> 3).is_some_and(|byte| byte & mask(bit) != 0)
}

/// Sets or clears a bit.
///
/// # Panics
/// If it is beyond the end.
#[inline]
pub fn set(bytes: &mut [u8], bit: usize, on: bool) {
    let byte = &mut bytes[bit >> 3];
    *byte = if on { *byte | mask(bit) } else { *byte & !mask(bit) };
}

fn mask(bit: usize) -> u8 {
    0x80 >> (bit & 7)
}

/// How many bits of a range are 1.
///
/// # Panics
/// If the range ends beyond the end.
pub fn count_ones(bytes: &[u8], range: Range<usize>) -> usize {
    let Some((first, middle, last)) = parts(bytes, &range) else { return 0 };
    let (words, tail) = middle.as_chunks::<8>();
    let words: usize =
        words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as usize).sum();
    let tail: usize = tail.iter().map(|byte| byte.count_ones() as usize).sum();
    first.count_ones() as usize + words + tail + last.count_ones() as usize
}

/// The bytes of a range that is not empty: the first with what is before the range cleared, those
/// that lie in it whole, and the last with what is behind it cleared (0 if it is the first).
fn parts<'a>(bytes: &'a [u8], range: &Range<usize>) -> Option<(u8, &'a [u8], u8)> {
    if range.is_empty() {
        return None;
    }
    let (start, end) = (range.start >> 3, (range.end - 1) >> 3);
    let head = 0xff >> (range.start & 7);
    let tail = 0xff << (7 - ((range.end - 1) & 7));
    Some(if start == end {
        (bytes[start] & head & tail, &[], 0)
    } else {
        (bytes[start] & head, &bytes[start + 1..end], bytes[end] & tail)
    })
}

/// The first bit of a range that is `wanted`.
///
/// # Panics
/// If the range ends beyond the end.
pub fn find(bytes: &[u8], range: Range<usize>, wanted: bool) -> Option<usize> {
    let flip = |byte: u8| if wanted { byte } else { !byte };
    let mut at = range.start;
    while at < range.end {
        // Whole words of what is not wanted go by at once.
        if at & 7 == 0 && range.end - at >= 64 {
            let word = bytes[at >> 3..].first_chunk().map(|word| u64::from_be_bytes(*word));
            let word = word.expect("the range ends inside of the string");
            let word = if wanted { word } else { !word };
            if word != 0 {
                return Some(at + word.leading_zeros() as usize);
            }
            at += 64;
            continue;
        }
        let byte = flip(bytes[at >> 3]) & (0xff >> (at & 7));
        if byte != 0 {
            let found = (at & !7) + byte.leading_zeros() as usize;
            return (found < range.end).then_some(found);
        }
        at = (at & !7) + 8;
    }
    None
}

/// Puts `combine(a, b)` in place of each byte `a`, where `b` is the byte of `other`, 0 beyond its
/// end.
pub fn combine(bytes: &mut [u8], other: &[u8], combine: impl Fn(u8, u8) -> u8) {
    let (head, tail) = bytes.split_at_mut(other.len().min(bytes.len()));
    for (byte, other) in head.iter_mut().zip(other) {
        *byte = combine(*byte, *other);
    }
    for byte in tail {
        *byte = combine(*byte, 0);
    }
}

/// The unsigned integer of `width` bits (1 to 64) from a bit on.
pub fn read(bytes: &[u8], bit: usize, width: u32) -> u64 {
    // Nine bytes hold any 64 bits, wherever in a byte they begin.
    let first = bit >> 3;
    let mut window = [0; 16];
    let available = bytes.get(first..).unwrap_or_default();
    let len = available.len().min(9);
    window[..len].copy_from_slice(&available[..len]);
    let window = u128::from_be_bytes(window) << (bit & 7);
    (window >> (128 - width)) as u64
}

/// Puts an integer of `width` bits (1 to 64) in place of the bits from `bit` on.
///
/// # Panics
/// If the last of them is beyond the end.
pub fn write(bytes: &mut [u8], bit: usize, width: u32, value: u64) {
    for index in 0..width {
        set(bytes, bit + index as usize, value >> (width - 1 - index) & 1 == 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_are_counted_from_the_highest_of_the_first_byte() {
        let mut bytes = Vec::new();
        assert!(reach(&mut bytes, 9));
        assert!(!reach(&mut bytes, 15));
        set(&mut bytes, 0, true);
        set(&mut bytes, 9, true);
        assert_eq!(bytes, [0x80, 0x40]);
        assert!(get(&bytes, 0) && get(&bytes, 9) && !get(&bytes, 8) && !get(&bytes, 1000));
        set(&mut bytes, 0, false);
        assert_eq!(bytes, [0, 0x40]);
    }

    proptest! {
        #[test]
        fn counts_and_searches_agree_with_a_bit_at_a_time(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..60),
            a in 0usize..480,
            b in 0usize..480,
        ) {
            let total = bytes.len() * 8;
            let range = a.min(b).min(total)..a.max(b).min(total);
            let ones = range.clone().filter(|&bit| get(&bytes, bit)).count();
            prop_assert_eq!(count_ones(&bytes, range.clone()), ones);
            for wanted in [false, true] {
                let first = range.clone().find(|&bit| get(&bytes, bit) == wanted);
                prop_assert_eq!(find(&bytes, range.clone(), wanted), first);
            }
        }

        #[test]
        fn an_integer_is_read_back_and_its_neighbours_stay(
            mut bytes in proptest::collection::vec(any::<u8>(), 20),
            bit in 0usize..90,
            width in 1u32..=64,
            value: u64,
        ) {
            let before = bytes.clone();
            let value = value >> (64 - width);
            write(&mut bytes, bit, width, value);
            prop_assert_eq!(read(&bytes, bit, width), value);
            for outside in (0..bit).chain(bit + width as usize..160) {
                prop_assert_eq!(get(&bytes, outside), get(&before, outside));
            }
        }
    }
}
