//! The listpack: Redis's compact list of strings and integers, byte for byte.
//!
//! ```text
//! total bytes: u32 | elements: u16, 65535 if unknown | element … | 0xff
//! element: encoding and data | their length, to be read backwards
//! ```
//! Small hashes, lists, sorted sets and the nodes of streams are listpacks, and DUMP, RDB and
//! replication send them as they are, so the format is not ours to choose (its specification:
//! antirez/listpack). All integers are little-endian.

mod check;
mod packer;

pub(in crate::store) use packer::Packer;

use crate::store::thin::{Compact, Thin};
use crate::value::parse_i64;

const HEADER: usize = 6;
/// Bytes of the header that say how many bytes there are. [`Thin`] writes them, and its content is
/// what follows.
const TOTAL: usize = 4;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Redis keeps every listpack below this, and so do we.
const BYTES_MAX: usize = 1 << 30;

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A string that is a canonical integer is stored as one.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    /// Its bytes; a number is written into `buffer`.
    pub fn bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(number) => buffer.format(number).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Whether it is this string.
    #[inline]
    pub(super) fn is(&self, wanted: &[u8], wanted_int: Option<i64>) -> bool {
        match *self {
            Self::Int(number) => Some(number) == wanted_int,
            Self::Bytes(bytes) => bytes == wanted,
        }
    }
}

/// What the first byte of an element says: where its content starts, and how long it is.
enum Encoding {
    /// A number of this many bytes is in front of us, or the number itself.
    Int {
        number: i64,
        len: usize,
    },
    Bytes {
        start: usize,
        len: usize,
    },
}

/// A list of strings and integers in one run of bytes, behind one pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Listpack(Thin);

// SAFETY: it is transparent, and every access is checked against the length.
#[allow(unsafe_code, reason = "a promise about the layout: see the trait")]
unsafe impl Compact for Listpack {}

impl From<Listpack> for Thin {
    fn from(this: Listpack) -> Self {
        this.0
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    /// An empty list.
    pub fn new() -> Self {
        Self(Thin::concat(&[&[0, 0, END]]))
    }

    /// The bytes, as DUMP sends them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.whole()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.is_end(HEADER)
    }

    /// Whether so many bytes more would still fit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.as_bytes().len() + bytes < BYTES_MAX
    }

    fn count(&self) -> u16 {
        let bytes = self.as_bytes();
        u16::from_le_bytes([bytes[TOTAL], bytes[TOTAL + 1]])
    }

    fn set_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.0.bytes_mut()[..HEADER - TOTAL].copy_from_slice(&count.to_le_bytes());
    }

    /// The position of the first element, if there is one.
    pub fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(HEADER)
    }

    /// The position of the last element, if there is one.
    pub fn last(&self) -> Option<usize> {
        self.before(self.as_bytes().len() - 1)
    }

    /// The position of the element after this one.
    pub fn after(&self, at: usize) -> Option<usize> {
        let next = self.end_of(at);
        (!self.is_end(next)).then_some(next)
    }

    /// The position of the element before this one (or before the end).
    pub fn before(&self, at: usize) -> Option<usize> {
        if at <= HEADER {
            return None;
        }
        // The length of what precedes, seven bits a byte, lowest first when read backwards.
        let mut len = 0;
        let mut shift = 0;
        let mut back = at;
        let bytes = self.as_bytes();
        loop {
            back -= 1;
            let byte = bytes[back];
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(back - len);
            }
            shift += 7;
        }
    }

    /// The position of element `index`, counted from the end if negative.
    pub fn seek(&self, index: i64) -> Option<usize> {
        let count = usize::from(self.count());
        let known = self.count() != COUNT_UNKNOWN;
        if index < 0 {
            let from_end = index.unsigned_abs() as usize - 1;
            if known && from_end >= count {
                return None;
            }
            if known && from_end > count / 2 {
                return self.walk(self.first()?, count - 1 - from_end);
            }
            return self.walk_back(self.last()?, from_end);
        }
        let index = index as usize;
        if known && index >= count {
            return None;
        }
        if known && index > count / 2 {
            return self.walk_back(self.last()?, count - 1 - index);
        }
        self.walk(self.first()?, index)
    }

    fn walk(&self, mut at: usize, steps: usize) -> Option<usize> {
        for _ in 0..steps {
            at = self.after(at)?;
        }
        Some(at)
    }

    fn walk_back(&self, mut at: usize, steps: usize) -> Option<usize> {
        for _ in 0..steps {
            at = self.before(at)?;
        }
        Some(at)
    }

    #[inline]
    fn decode(&self, at: usize) -> Encoding {
        let bytes = self.as_bytes();
        let int = |len: usize| {
            let mut wide = [0; 8];
            wide[8 - len..].copy_from_slice(&bytes[at + 1..at + 1 + len]);
            Encoding::Int { number: i64::from_le_bytes(wide) >> (64 - 8 * len), len: 1 + len }
        };
        let first = bytes[at];
        match first {
            0x00..=0x7f => Encoding::Int { number: i64::from(first), len: 1 },
            0x80..=0xbf => Encoding::Bytes { start: 1, len: usize::from(first & 0x3f) },
            0xc0..=0xdf => {
                let number = i64::from(first & 0x1f) << 8 | i64::from(bytes[at + 1]);
                Encoding::Int { number: number << 51 >> 51, len: 2 }
            }
            0xe0..=0xef => {
                let len = usize::from(first & 0x0f) << 8 | usize::from(bytes[at + 1]);
                Encoding::Bytes { start: 2, len }
            }
            0xf0 => {
                let len = bytes[at + 1..].first_chunk().expect("a long string has its length");
                Encoding::Bytes { start: 5, len: u32::from_le_bytes(*len) as usize }
            }
            0xf1 => int(2),
            0xf2 => int(3),
            0xf3 => int(4),
            0xf4 => int(8),
            0xf5..=0xff => unreachable!("no element starts with {first:#x}"),
        }
    }

    /// The element at a position.
    #[inline]
    pub fn get(&self, at: usize) -> Item<'_> {
        match self.decode(at) {
            Encoding::Int { number, .. } => Item::Int(number),
            Encoding::Bytes { start, len } => {
                Item::Bytes(&self.as_bytes()[at + start..at + start + len])
            }
        }
    }

    /// The element at a position, and where the next one starts: [`Listpack::is_end`] tells
    /// whether there is one.
    #[inline]
    pub fn read(&self, at: usize) -> (Item<'_>, usize) {
        let (item, len) = match self.decode(at) {
            Encoding::Int { number, len } => (Item::Int(number), len),
            Encoding::Bytes { start, len } => {
                (Item::Bytes(&self.as_bytes()[at + start..at + start + len]), start + len)
            }
        };
        (item, at + len + back_length_bytes(len))
    }

    /// Whether a position is behind the last element.
    #[inline]
    pub fn is_end(&self, at: usize) -> bool {
        self.as_bytes()[at] == END
    }

    /// One past the last byte of the element at a position.
    #[inline]
    pub fn end_of(&self, at: usize) -> usize {
        let len = match self.decode(at) {
            Encoding::Int { len, .. } => len,
            Encoding::Bytes { start, len } => start + len,
        };
        at + len + back_length_bytes(len)
    }

    /// All elements from the first on.
    pub fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            if self.is_end(at) {
                return None;
            }
            let (item, next) = self.read(at);
            at = next;
            Some(item)
        })
    }

    /// The position of the first element that equals `wanted`, looking at one element of every
    /// `1 + skip`, the first one included.
    pub fn find(&self, wanted: &[u8], skip: usize) -> Option<usize> {
        let wanted_int = parse_i64(wanted);
        let mut at = self.first()?;
        loop {
            if self.get(at).is(wanted, wanted_int) {
                return Some(at);
            }
            for _ in 0..=skip {
                at = self.after(at)?;
            }
        }
    }

    /// Adds an element at the end.
    pub fn push(&mut self, element: &[u8]) {
        self.insert(self.as_bytes().len() - 1, element);
    }

    /// Adds an element at the front.
    pub fn push_front(&mut self, element: &[u8]) {
        self.insert(HEADER, element);
    }

    /// Adds an element before the one at a position.
    pub fn insert(&mut self, at: usize, element: &[u8]) {
        self.splice(at, at, element);
        self.count_changed(1);
    }

    /// Puts an element in place of the one at a position.
    pub fn replace(&mut self, at: usize, element: &[u8]) {
        self.splice(at, self.end_of(at), element);
    }

    /// Takes out up to `count` elements from a position on.
    pub fn remove(&mut self, at: usize, count: usize) {
        let mut end = at;
        let mut removed = 0;
        while removed < count && !self.is_end(end) {
            end = self.end_of(end);
            removed += 1;
        }
        self.0.splice(at - TOTAL, end - TOTAL, 0);
        self.count_changed(-(removed as isize));
    }

    /// Adds several elements at the end, with one change of the header for all of them.
    pub(super) fn extend(&mut self, add: impl FnOnce(&mut Appender<'_>)) {
        self.0.resize(self.0.len() - 1);
        let mut appender = Appender { bytes: &mut self.0, added: 0 };
        add(&mut appender);
        let added = appender.added;
        self.0.extend(&[&[END]]);
        self.count_changed(added as isize);
    }

    /// Puts a number in place of the element at a position.
    pub(super) fn replace_int(&mut self, at: usize, number: i64) {
        let end = self.end_of(at);
        let mut head = [0; 9];
        let element = encode_int(&mut head, number);
        if element.len() + 1 == end - at {
            self.0.bytes_mut()[at - TOTAL..end - 1 - TOTAL].copy_from_slice(element);
        } else {
            self.splice(at, end, itoa::Buffer::new().format(number).as_bytes());
        }
    }

    /// Adds all elements of another list at the end.
    pub fn append(&mut self, other: &Self) {
        let count = self.len() + other.len();
        self.0.resize(self.0.len() - 1);
        self.0.extend(&[&other.as_bytes()[HEADER..]]);
        self.set_count(count);
    }

    /// Takes out the elements from a position on: the other half.
    pub fn split_off(&mut self, at: usize) -> Self {
        let count = self.len();
        let mut tail = Self(Thin::concat(&[&[0; HEADER - TOTAL], &self.as_bytes()[at..]]));
        let moved = tail.iter().count();
        tail.set_count(moved);
        self.0.resize(at - TOTAL);
        self.0.extend(&[&[END]]);
        self.set_count(count - moved);
        tail
    }

    fn splice(&mut self, start: usize, end: usize, element: &[u8]) {
        let mut head = [0; 9];
        let (head, body) = encode(&mut head, element);
        let len = head.len() + body.len();
        let mut back = [0; 5];
        let back = back_length(&mut back, len);
        let place = self.0.splice(start - TOTAL, end - TOTAL, len + back.len());
        place[..head.len()].copy_from_slice(head);
        place[head.len()..len].copy_from_slice(body);
        place[len..].copy_from_slice(back);
    }

    fn count_changed(&mut self, by: isize) {
        let count = match self.count() {
            COUNT_UNKNOWN => usize::from(COUNT_UNKNOWN),
            count => usize::from(count).wrapping_add_signed(by),
        };
        self.set_count(count);
    }
}

/// Takes elements for the end of a list: see [`Listpack::extend`].
pub(super) struct Appender<'a> {
    bytes: &'a mut Thin,
    added: usize,
}

impl Appender<'_> {
    /// Adds a string, as a number if it is a canonical one.
    pub(super) fn push(&mut self, element: &[u8]) {
        let mut head = [0; 9];
        let (head, body) = encode(&mut head, element);
        let mut back = [0; 5];
        let back = back_length(&mut back, head.len() + body.len());
        self.bytes.extend(&[head, body, back]);
        self.added += 1;
    }

    /// Adds a number.
    pub(super) fn push_int(&mut self, number: i64) {
        let mut head = [0; 9];
        let element = encode_int(&mut head, number);
        // A number takes 9 bytes at most, whose length takes one.
        self.bytes.extend(&[element, &[element.len() as u8]]);
        self.added += 1;
    }
}

/// The bytes in front of the content, and the content: none if the element is a number.
fn encode<'a>(head: &'a mut [u8; 9], element: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    if let Some(number) = parse_i64(element) {
        return (encode_int(head, number), &[]);
    }
    let len = element.len();
    let used = match len {
        0..64 => {
            head[0] = 0x80 | len as u8;
            1
        }
        64..4096 => {
            head[0] = 0xe0 | (len >> 8) as u8;
            head[1] = len as u8;
            2
        }
        _ => {
            head[0] = 0xf0;
            head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
            5
        }
    };
    (&head[..used], element)
}

fn encode_int(head: &mut [u8; 9], number: i64) -> &[u8] {
    let bytes = number.to_le_bytes();
    let (code, len) = match number {
        0..=127 => {
            head[0] = number as u8;
            return &head[..1];
        }
        -4096..=4095 => {
            head[0] = 0xc0 | (number >> 8) as u8 & 0x1f;
            head[1] = number as u8;
            return &head[..2];
        }
        -0x8000..=0x7fff => (0xf1, 2),
        -0x80_0000..=0x7f_ffff => (0xf2, 3),
        -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
        _ => (0xf4, 8),
    };
    head[0] = code;
    head[1..=len].copy_from_slice(&bytes[..len]);
    &head[..=len]
}

/// How many bytes hold the length of an element's encoding and data, behind it. The limits are
/// Redis's, which leave the last value of each width to the next one.
fn back_length_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn back_length(buffer: &mut [u8; 5], len: usize) -> &[u8] {
    let bytes = back_length_bytes(len);
    for (i, byte) in buffer[..bytes].iter_mut().enumerate() {
        let bits = (len >> (7 * (bytes - 1 - i))) as u8 & 0x7f;
        *byte = if i == 0 { bits } else { bits | 0x80 };
    }
    &buffer[..bytes]
}

#[cfg(test)]
mod tests;
