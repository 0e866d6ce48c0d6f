//! LZF, the compression of strings in files: runs of literals, and references back into what was
//! written, up to 8 KiB back and 264 bytes long.
//!
//! ```text
//! 000lllll                         l + 1 literal bytes follow
//! lllddddd dddddddd                l + 2 bytes from d + 1 back, l from 1 to 6
//! 111ddddd llllllll dddddddd       l + 9 bytes from d + 1 back
//! ```

const LITERALS_MAX: usize = 32;
const DISTANCE_MAX: usize = 8192;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;
/// Bits of a hash at least and at most: a table of places is about as large as what is compressed, since a
/// short string must not pay for the clearing of a long one's.
const HASH_BITS: std::ops::RangeInclusive<u32> = 6..=14;

/// Appends the compressed form of `bytes`, if that has at most `max` bytes; else leaves `out` as
/// it was and says no.
pub(super) fn compress(bytes: &[u8], max: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    // The last place of each hash, plus one: zero is none.
    let bits = bytes.len().max(1).ilog2().clamp(*HASH_BITS.start(), *HASH_BITS.end());
    let mut places = vec![0u32; 1 << bits];
    let mut literals = 0;
    let mut at = 0;
    while at + MATCH_MIN <= bytes.len() {
        let word =
            u32::from(bytes[at]) << 16 | u32::from(bytes[at + 1]) << 8 | u32::from(bytes[at + 2]);
        let hash = (word.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize;
        let before = places[hash] as usize;
        places[hash] = at as u32 + 1;
        let found = before
            .checked_sub(1)
            .filter(|&place| at - place <= DISTANCE_MAX)
            .filter(|&place| bytes[place..place + MATCH_MIN] == bytes[at..at + MATCH_MIN]);
        let Some(place) = found else {
            at += 1;
            continue;
        };
        let longest = MATCH_MAX.min(bytes.len() - at);
        let len = common_prefix(&bytes[at..at + longest], &bytes[place..place + longest]);
        put_literals(&bytes[literals..at], out);
        let distance = at - place - 1;
        let code = len - 2;
        if code < 7 {
            out.push((code << 5 | distance >> 8) as u8);
        } else {
            out.extend_from_slice(&[(7 << 5 | distance >> 8) as u8, (code - 7) as u8]);
        }
        out.push(distance as u8);
        at += len;
        literals = at;
        if out.len() - start > max {
            break;
        }
    }
    put_literals(&bytes[literals..], out);
    let fits = out.len() - start <= max;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// How many bytes two slices of one length begin with alike.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let (a_words, a_rest) = a.as_chunks::<WORD>();
    let (b_words, b_rest) = b.as_chunks::<WORD>();
    for (n, (a, b)) in a_words.iter().zip(b_words).enumerate() {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return n * WORD + differ.trailing_zeros() as usize / 8;
        }
    }
    let same = a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b).count();
    a.len() - a_rest.len() + same
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// The most bytes that so many compressed ones can stand for.
pub(super) fn expands_to_at_most(compressed: usize) -> usize {
    compressed.saturating_mul(MATCH_MAX).div_ceil(MATCH_MIN)
}

/// What `bytes` stand for, which must be `len` bytes: none if they do not.
pub(super) fn decompress(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > expands_to_at_most(bytes.len()) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = bytes;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        if usize::from(control) < LITERALS_MAX {
            let (run, after) = rest.split_at_checked(usize::from(control) + 1)?;
            rest = after;
            out.extend_from_slice(run);
        } else {
            let mut count = usize::from(control >> 5);
            if count == 7 {
                let (&more, after) = rest.split_first()?;
                rest = after;
                count += usize::from(more);
            }
            let (&low, after) = rest.split_first()?;
            rest = after;
            let distance = (usize::from(control & 0x1f) << 8 | usize::from(low)) + 1;
            let from = out.len().checked_sub(distance)?;
            let count = count + 2;
            if out.len() + count > len {
                return None;
            }
            // Where it overlaps what it makes, that repeats: each step copies all there is of it so far.
            let mut left = count;
            while left > 0 {
                let step = left.min(out.len() - from);
                out.extend_from_within(from..from + step);
                left -= step;
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = b"before".to_vec();
        assert!(!compress(&bytes, bytes.len() - 4, &mut out));
        assert_eq!(out, b"before");
    }

    /// A hundred times `a`, as Redis 7.0.15 compresses it in a DUMP.
    #[test]
    fn redis_own_bytes_are_read() {
        assert_eq!(decompress(b"\x01aa\xe0\x57\x00\x01aa", 100), Some(vec![b'a'; 100]));
    }

    #[test]
    fn references_before_the_start_and_lengths_that_lie_are_refused() {
        assert_eq!(decompress(b"\x20\x00", 3), None);
        assert_eq!(decompress(b"\x00a\xe0\xff\x00", 10), None);
        assert_eq!(decompress(b"\x05abc", 6), None);
        assert_eq!(decompress(b"\x00a", 2), None);
        assert_eq!(decompress(b"\x00a", usize::MAX), None);
    }

    #[test]
    fn a_prefix_ends_with_the_first_byte_that_differs() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).collect();
            assert_eq!(common_prefix(&bytes, &bytes), bytes.len());
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert_eq!(common_prefix(&bytes, &other), at, "of {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_gives_back_what_it_took(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..600),
                proptest::collection::vec(0u8..3, 0..20_000),
            ],
        ) {
            let mut out = Vec::new();
            prop_assert!(compress(&bytes, usize::MAX, &mut out));
            prop_assert_eq!(decompress(&out, bytes.len()), Some(bytes));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, len in 0usize..1000) {
            if let Some(out) = decompress(&bytes, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
