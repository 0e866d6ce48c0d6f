//! Lengths, and strings that are numbers: the first two bits of a byte say which.

/// A length, or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many.
    Plain(u64),
    /// An integer of so many bytes follows, in place of a string.
    Int(usize),
    /// A compressed string follows.
    Compressed,
}

const BITS_14: u8 = 0x40;
const BITS_32: u8 = 0x80;
const BITS_64: u8 = 0x81;
const SPECIAL: u8 = 0xc0;
/// The marker of a compressed string.
pub(super) const COMPRESSED: u8 = SPECIAL | 3;

/// Writes a length in the fewest bytes.
pub(super) fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..64 => out.push(length as u8),
        64..16_384 => out.extend_from_slice(&[BITS_14 | (length >> 8) as u8, length as u8]),
        16_384..=0xffff_ffff => {
            out.push(BITS_32);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(BITS_64);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Writes a number of at most 32 bits in place of a string; false if it is larger.
pub(super) fn put_int(out: &mut Vec<u8>, number: i64) -> bool {
    let (code, bytes) = match number {
        -0x80..=0x7f => (0, 1),
        -0x8000..=0x7fff => (1, 2),
        -0x8000_0000..=0x7fff_ffff => (2, 4),
        _ => return false,
    };
    out.push(SPECIAL | code);
    out.extend_from_slice(&number.to_le_bytes()[..bytes]);
    true
}

/// What the start of `bytes` says, and how many of them that takes: `Ok(None)` if more are needed.
///
/// # Errors
/// A first byte that means nothing.
pub(super) fn length(bytes: &[u8]) -> Result<Option<(Length, usize)>, ()> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let plain = |taken: usize, value: Option<u64>| value.map(|n| (Length::Plain(n), taken));
    Ok(match first {
        0..BITS_14 => plain(1, Some(u64::from(first))),
        BITS_14..BITS_32 => {
            plain(2, bytes.get(1).map(|low| u64::from(first & 0x3f) << 8 | u64::from(*low)))
        }
        BITS_32 => {
            plain(5, bytes[1..].first_chunk().map(|wide| u64::from(u32::from_be_bytes(*wide))))
        }
        BITS_64 => plain(9, bytes[1..].first_chunk().map(|wide| u64::from_be_bytes(*wide))),
        0xc0 => Some((Length::Int(1), 1)),
        0xc1 => Some((Length::Int(2), 1)),
        0xc2 => Some((Length::Int(4), 1)),
        COMPRESSED => Some((Length::Compressed, 1)),
        _ => return Err(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_reads_back_as_it_was_written() {
        for (number, bytes) in [
            (0u64, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 5),
            (u64::from(u32::MAX), 5),
            (1 << 32, 9),
            (u64::MAX, 9),
        ] {
            let mut out = Vec::new();
            put_length(&mut out, number);
            assert_eq!(out.len(), bytes, "{number}");
            assert_eq!(length(&out), Ok(Some((Length::Plain(number), bytes))));
            assert_eq!(length(&out[..bytes - 1]), Ok(None), "{number}, cut");
        }
        assert_eq!(length(&[0x82]), Err(()));
        assert_eq!(length(&[0xc4]), Err(()));
    }
}
