//! The compact forms of early versions, ziplist and zipmap: read, and made into listpacks.
//!
//! ```text
//! ziplist: bytes: u32 | offset of the last entry: u32 | entries: u16, 65535 if unknown | entry … | 0xff
//! entry:   length of the entry before: 1 byte, or 0xfe and u32 | encoding | data
//! zipmap:  pairs: u8, 254 if unknown | (length | field | length | free: u8 | value | free bytes) … | 0xff
//! ```
//! A ziplist's integers are little-endian, but its 14- and 32-bit string lengths are big-endian.

use crate::store::types::{Listpack, Packer};

const HEADER: usize = 10;
const END: u8 = 0xff;
/// What an element can take more in a listpack than here.
const GROWTH: usize = 2;

/// The elements of a ziplist: none if the bytes are not one.
pub(super) fn ziplist(bytes: &[u8]) -> Option<Listpack> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let (total, tail) = (word(0)?, word(4)?);
    let count = u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    if total != bytes.len() {
        return None;
    }
    let mut list = Packer::with_capacity(bytes.len().min(64 * 1024) * GROWTH);
    let mut at = HEADER;
    let (mut before, mut last, mut seen) = (0, HEADER, 0usize);
    while *bytes.get(at)? != END {
        let start = at;
        let (told, len) = match bytes[at] {
            0xfe => (word(at + 1)?, 5),
            short => (usize::from(short), 1),
        };
        if told != before {
            return None;
        }
        at += len;
        at += entry(bytes.get(at..)?, &mut list)?;
        before = at - start;
        last = start;
        seen += 1;
    }
    let told = count == u16::MAX || usize::from(count) == seen;
    (told && last == tail && at + 1 == total).then(|| list.finish())
}

/// Adds the entry at the start of `bytes`; how many of them it takes.
fn entry(bytes: &[u8], list: &mut Packer) -> Option<usize> {
    let first = *bytes.first()?;
    let text = match first {
        0x00..=0x3f => Some((1, usize::from(first & 0x3f))),
        0x40..=0x7f => Some((2, usize::from(first & 0x3f) << 8 | usize::from(*bytes.get(1)?))),
        0x80 => Some((5, u32::from_be_bytes(*bytes.get(1..)?.first_chunk()?) as usize)),
        _ => None,
    };
    if let Some((head, len)) = text {
        let end = len.checked_add(head)?;
        list.push(bytes.get(head..end)?);
        return Some(end);
    }
    let width = match first {
        0xc0 => 2,
        0xd0 => 4,
        0xe0 => 8,
        0xf0 => 3,
        0xfe => 1,
        0xf1..=0xfd => 0,
        _ => return None,
    };
    let number = if width == 0 {
        i64::from(first & 0x0f) - 1
    } else {
        let mut wide = [0; 8];
        wide[8 - width..].copy_from_slice(bytes.get(1..=width)?);
        i64::from_le_bytes(wide) >> (64 - 8 * width)
    };
    list.push(itoa::Buffer::new().format(number).as_bytes());
    Some(1 + width)
}

/// The fields and values of a zipmap: none if the bytes are not one.
pub(super) fn zipmap(bytes: &[u8]) -> Option<Listpack> {
    const COUNT_UNKNOWN: u8 = 254;
    let count = *bytes.first()?;
    let mut list = Packer::with_capacity(bytes.len().min(64 * 1024) * GROWTH);
    let mut at = 1;
    let mut seen = 0usize;
    while *bytes.get(at)? != END {
        let (field, len) = zipmap_length(&bytes[at..])?;
        at += len;
        let field = bytes.get(at..at.checked_add(field)?)?;
        at += field.len();
        let (value, len) = zipmap_length(bytes.get(at..)?)?;
        at += len;
        let free = usize::from(*bytes.get(at)?);
        at += 1;
        let value = bytes.get(at..at.checked_add(value)?)?;
        at += value.len() + free;
        list.push(field);
        list.push(value);
        seen += 1;
    }
    let told = count >= COUNT_UNKNOWN || usize::from(count) == seen;
    (told && at + 1 == bytes.len()).then(|| list.finish())
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.first()? {
        254 => {
            let wide = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
            Some((wide as usize, 5))
        }
        255 => None,
        short => Some((usize::from(short), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(list: &Listpack) -> Vec<String> {
        let mut buffer = itoa::Buffer::new();
        let text = |item: crate::store::Item<'_>| {
            String::from_utf8_lossy(item.bytes(&mut buffer)).into_owned()
        };
        list.iter().map(text).collect()
    }

    /// Entries of every encoding.
    fn example() -> Vec<u8> {
        let entries: [&[u8]; 8] = [
            b"\x02ab",
            b"\xf1",
            b"\xfd",
            b"\xfe\x80",
            b"\xc0\x00\x80",
            b"\xf0\xff\xff\x7f",
            b"\xd0\x00\x00\x00\x80",
            b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
        ];
        let mut bytes = vec![0; HEADER];
        let mut before = 0;
        let mut last = 0;
        for entry in entries {
            last = bytes.len();
            bytes.push(before);
            bytes.extend_from_slice(entry);
            before = entry.len() as u8 + 1;
        }
        bytes.push(END);
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        bytes[8] = entries.len() as u8;
        bytes
    }

    #[test]
    fn every_encoding_of_a_ziplist_is_read() {
        let list = ziplist(&example()).expect("a ziplist");
        let expected =
            ["ab", "0", "12", "-128", "-32768", "8388607", "-2147483648", "9223372036854775807"];
        assert_eq!(texts(&list), expected);
        assert_eq!(ziplist(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff"), Some(Listpack::new()));
    }

    #[test]
    fn a_ziplist_that_lies_is_refused() {
        let good = example();
        for (at, byte, what) in [
            (0, 9, "its length"),
            (4, 11, "where the last entry is"),
            (8, 3, "how many entries there are"),
            (10, 1, "the length of what is before the first"),
            (11, 0x3f, "an entry that leaves the list"),
            (11, 0x90, "an encoding that is none"),
            (good.len() - 1, 0, "no end"),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(ziplist(&bad), None, "{what}");
        }
        for len in 0..good.len() {
            assert_eq!(ziplist(&good[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn a_zipmap_is_read_with_its_free_bytes() {
        let good = b"\x02\x01a\x02\x01xyZ\x01b\x00\x00\xff";
        assert_eq!(texts(&zipmap(good).expect("a zipmap")), ["a", "xy", "b", ""]);
        for len in 0..good.len() {
            assert_eq!(zipmap(&good[..len]), None, "cut at {len}");
        }
        assert_eq!(zipmap(b"\x01\x01a\xfe\xff\xff\xff\xff\x00x\xff"), None);
        assert_eq!(zipmap(b"\x03\x01a\x00\x00\xff"), None, "fewer than it says");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tail in 10u8..40) {
            let _ = zipmap(&bytes);
            let mut framed = vec![0; HEADER];
            framed.extend_from_slice(&bytes);
            let total = framed.len() as u32;
            framed[..4].copy_from_slice(&total.to_le_bytes());
            framed[4] = tail;
            framed[8..10].copy_from_slice(&[0xff, 0xff]);
            let _ = ziplist(&framed);
        }
    }
}
