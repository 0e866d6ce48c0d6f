//! Slots: what keys hash to.

use crc16::{State, XMODEM};
use memchr::memchr;

/// One of the 16,384 slots that keys hash to. Always in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// A number that is not a slot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot {0} is out of range: slots are 0 to 16383")]
pub struct OutOfRange(pub u16);

impl Slot {
    /// How many slots there are.
    pub const COUNT: usize = 16_384;

    /// The slot of a key: its hash tag's, where it has a non-empty one.
    pub fn of(key: &[u8]) -> Self {
        let hashed = hash_tag(key).unwrap_or(key);
        Self(crc16(hashed) % Self::COUNT as u16)
    }

    /// The slot with this number.
    ///
    /// # Errors
    /// Numbers above 16383 are none.
    pub const fn new(number: u16) -> Result<Self, OutOfRange> {
        if (number as usize) < Self::COUNT { Ok(Self(number)) } else { Err(OutOfRange(number)) }
    }

    /// Its number, 0 to 16383.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index into a table of [`Slot::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every slot, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..Self::COUNT as u16).map(Self)
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// CRC16/XMODEM, as the cluster specification asks.
///
/// The crate's loop waits for a table once per byte. Its tables by eight bytes at a time are what the parts
/// of eight give when each is followed by so many zeros: looked up side by side, then added.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let (head, blocks) = bytes.split_at(bytes.len() % 8);
    let mut crc = if head.is_empty() { 0 } else { State::<XMODEM>::calculate(head) };
    for block in blocks.chunks_exact(8) {
        let [high, low] = crc.to_be_bytes();
        crc = FOLLOWED[7][usize::from(block[0] ^ high)]
            ^ FOLLOWED[6][usize::from(block[1] ^ low)]
            ^ FOLLOWED[5][usize::from(block[2])]
            ^ FOLLOWED[4][usize::from(block[3])]
            ^ FOLLOWED[3][usize::from(block[4])]
            ^ FOLLOWED[2][usize::from(block[5])]
            ^ FOLLOWED[1][usize::from(block[6])]
            ^ FOLLOWED[0][usize::from(block[7])];
    }
    crc
}

/// `FOLLOWED[n][byte]` is the CRC of that byte and `n` zero bytes behind it.
static FOLLOWED: [[u16; 256]; 8] = followed();

const fn followed() -> [[u16; 256]; 8] {
    /// x^16 + x^12 + x^5 + 1, without its highest term.
    const POLYNOMIAL: u16 = 0x1021;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < 8 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

/// The bytes between the first `{` and the first `}` after it, unless there are none.
#[inline]
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    if key.len() <= SHORT_KEY && !has_brace(key) {
        return None;
    }
    let open = memchr(b'{', key)?;
    let rest = &key[open + 1..];
    let close = memchr(b'}', rest)?;
    (close > 0).then(|| &rest[..close])
}

/// Up to so many bytes, calling for a search costs more than the search.
const SHORT_KEY: usize = 40;

/// Whether there is a `{`, eight bytes at a time.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (blocks, rest) = key.as_chunks::<8>();
    // A byte that is zero is the only one that a borrow can reach first.
    let in_block = |block: &[u8; 8]| {
        let zero_where_equal = u64::from_le_bytes(*block) ^ (EACH * u64::from(b'{'));
        zero_where_equal.wrapping_sub(EACH) & !zero_where_equal & (EACH * 0x80) != 0
    };
    blocks.iter().any(in_block) || rest.contains(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_eight_bytes_give_what_single_bytes_give() {
        let bytes: Vec<u8> = (0..300u32).map(|n| (n * 167 + n / 7) as u8).collect();
        for start in 0..16 {
            for end in start..bytes.len() {
                let part = &bytes[start..end];
                assert_eq!(crc16(part), State::<XMODEM>::calculate(part), "{start}..{end}");
            }
        }
    }

    /// The vectors of the Redis Cluster specification, and what CLUSTER KEYSLOT of 7.0.15 says.
    #[test]
    fn known_keys_have_known_slots() {
        let table: &[(&[u8], u16)] = &[
            (b"123456789", 0x31c3),
            (b"", 0),
            (b"age", 741),
            (b"name", 5798),
            (b"xx", 15983),
            (b"xxx", 4038),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
        ];
        for (key, slot) in table {
            assert_eq!(Slot::of(key).number(), *slot, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_tag_is_found_wherever_it_is() {
        for len in 0..60 {
            let plain: Vec<u8> = (0..len).map(|n| [b'z', b'|', 0, 0xff, 0xfb][n % 5]).collect();
            assert_eq!(hash_tag(&plain), None);
            for open in 0..len.saturating_sub(2) {
                let mut tagged = plain.clone();
                (tagged[open], tagged[open + 2]) = (b'{', b'}');
                assert_eq!(hash_tag(&tagged), Some(&plain[open + 1..open + 2]), "{tagged:?}");
            }
        }
    }

    #[test]
    fn numbers_above_16383_are_no_slots() {
        assert_eq!(Slot::new(16_383).map(Slot::number), Ok(16_383));
        assert_eq!(Slot::new(16_384), Err(OutOfRange(16_384)));
    }
}
