//! Listpacks that somebody else wrote: walked from end to end before they are believed.

use super::{BYTES_MAX, END, HEADER, Item, Listpack, TOTAL, back_length};
use crate::store::hasher::Hasher;
use crate::store::thin::Thin;

/// Up to so many elements each is looked for among those before it; beyond, hashes are compared.
const FEW: usize = 16;

impl Listpack {
    /// A listpack from bytes: none if they are not one. Every element lies inside, is followed by
    /// its own length, and the header tells the truth.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let total = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        if total != bytes.len() || total <= HEADER || total > BYTES_MAX {
            return None;
        }
        let count = u16::from_le_bytes([bytes[4], bytes[5]]);
        let mut at = HEADER;
        let mut seen = 0usize;
        while *bytes.get(at)? != END {
            let len = element_len(&bytes[at..])?;
            let mut back = [0; 5];
            let back = back_length(&mut back, len);
            let behind = at.checked_add(len)?;
            if bytes.get(behind..behind + back.len())? != back {
                return None;
            }
            at = behind + back.len();
            seen += 1;
        }
        let told = count == u16::MAX || usize::from(count) == seen;
        (told && at + 1 == total).then(|| Self(Thin::concat(&[&bytes[TOTAL..]])))
    }

    /// Whether no two of its elements are alike, looking at one of every `step` from the first on.
    pub(in crate::store) fn is_unique(&self, step: usize, hasher: Hasher) -> bool {
        let first_of_its_kind = |at: usize, item: Item<'_>| {
            let mut buffer = itoa::Buffer::new();
            self.find(item.bytes(&mut buffer), step - 1) == Some(at)
        };
        let places = || {
            let mut at = self.first();
            std::iter::from_fn(move || {
                let here = at?;
                at = (0..step).try_fold(here, |at, _| self.after(at));
                Some(here)
            })
        };
        if self.len() <= FEW * step {
            return places().all(|at| first_of_its_kind(at, self.get(at)));
        }
        let mut buffer = itoa::Buffer::new();
        let hash = |at| hasher.hash(self.get(at).bytes(&mut buffer));
        let mut hashes: Vec<u64> = places().map(hash).collect();
        hashes.sort_unstable();
        // Two different elements may have one hash.
        hashes.is_sorted_by(|a, b| a < b) || places().all(|at| first_of_its_kind(at, self.get(at)))
    }
}

/// Bytes of the encoding and data of the element at the start, without its length behind it; none
/// if that cannot be told, or there is no such element. The bytes themselves may end before it.
fn element_len(bytes: &[u8]) -> Option<usize> {
    Some(match *bytes.first()? {
        0x00..=0x7f => 1,
        first @ 0x80..=0xbf => 1 + usize::from(first & 0x3f),
        0xc0..=0xdf => 2,
        first @ 0xe0..=0xef => 2 + (usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        0xf0 => 5 + u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?) as usize,
        0xf1 => 3,
        0xf2 => 4,
        0xf3 => 5,
        0xf4 => 9,
        0xf5..=0xff => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(elements: &[&[u8]]) -> Listpack {
        let mut list = Listpack::new();
        elements.iter().for_each(|element| list.push(element));
        list
    }

    #[test]
    fn what_we_write_is_read() {
        let long = vec![b'x'; 5000];
        let list =
            list(&[b"", b"a", b"12", b"-1", b"-4000", b"70000", b"9223372036854775807", &long]);
        assert_eq!(Listpack::parse(list.as_bytes()), Some(list));
    }

    /// A header that lies, an element that leaves the list, a length behind that is not its own.
    #[test]
    fn every_single_lie_is_found() {
        let good = list(&[b"abc", b"1", b"500"]).as_bytes().to_vec();
        for (at, byte, what) in [
            (0, 0, "shorter than it is"),
            (3, 1, "longer than it is"),
            (4, 2, "fewer elements"),
            (4, 4, "more elements"),
            (6, 0xbf, "an element that leaves the list"),
            (6, 0xf0, "a long string whose length is in the data"),
            (6, 0xf5, "an encoding that is none"),
            (10, 3, "a length behind that is not its own"),
            (good.len() - 1, 0, "no end"),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Listpack::parse(&bad), None, "{what}");
        }
        for len in 0..good.len() {
            assert_eq!(Listpack::parse(&good[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn doubles_are_found_at_every_step() {
        let hasher = Hasher::new(3, 4);
        assert!(!list(&[b"a", b"b", b"a"]).is_unique(1, hasher));
        assert!(!list(&[b"a", b"1", b"a", b"2"]).is_unique(2, hasher));
        assert!(list(&[b"a", b"1", b"b", b"1"]).is_unique(2, hasher));
        let mut many = Listpack::new();
        (0..100).for_each(|n| many.push(n.to_string().as_bytes()));
        assert!(many.is_unique(1, hasher));
        many.push(b"77");
        assert!(!many.is_unique(1, hasher));
    }

    proptest! {
        /// Whatever is accepted can be walked both ways without a panic.
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 7..60),
            count: Option<u8>,
        ) {
            let total = bytes.len() as u32;
            bytes[..4].copy_from_slice(&total.to_le_bytes());
            let count = count.map_or(u16::MAX, u16::from);
            bytes[4..6].copy_from_slice(&count.to_le_bytes());
            *bytes.last_mut().unwrap() = END;
            if let Some(list) = Listpack::parse(&bytes) {
                let there = list.iter().count();
                let mut back = list.last();
                let mut behind = 0;
                while let Some(at) = back {
                    behind += 1;
                    back = list.before(at);
                }
                prop_assert_eq!(there, behind);
                prop_assert_eq!(there, list.len());
            }
        }
    }
}
