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

use crate::value::canonical_i64;

const HEADER: usize = 6;
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

/// A list of strings and integers in one run of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listpack {
    bytes: Vec<u8>,
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    /// An empty list.
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&[(HEADER + 1) as u8, 0, 0, 0, 0, 0, END]);
        Self { bytes }
    }

    /// The bytes, as DUMP sends them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
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
        self.bytes[HEADER] == END
    }

    /// Whether so many bytes more would still fit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes < BYTES_MAX
    }

    fn count(&self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }

    fn set_header(&mut self, count: usize) {
        let total = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// The position of the first element, if there is one.
    pub fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(HEADER)
    }

    /// The position of the last element, if there is one.
    pub fn last(&self) -> Option<usize> {
        self.before(self.bytes.len() - 1)
    }

    /// The position of the element after this one.
    pub fn after(&self, at: usize) -> Option<usize> {
        let next = self.end_of(at);
        (self.bytes[next] != END).then_some(next)
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
        loop {
            back -= 1;
            let byte = self.bytes[back];
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
        let bytes = &self.bytes;
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
                Item::Bytes(&self.bytes[at + start..at + start + len])
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
                (Item::Bytes(&self.bytes[at + start..at + start + len]), start + len)
            }
        };
        (item, at + len + back_length_bytes(len))
    }

    /// Whether a position is behind the last element.
    #[inline]
    pub fn is_end(&self, at: usize) -> bool {
        self.bytes[at] == END
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
        let wanted_int = canonical_i64(wanted);
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
        self.insert(self.bytes.len() - 1, element);
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
        self.count_changed(0);
    }

    /// Takes out up to `count` elements from a position on.
    pub fn remove(&mut self, at: usize, count: usize) {
        let mut end = at;
        let mut removed = 0;
        while removed < count && self.bytes[end] != END {
            end = self.end_of(end);
            removed += 1;
        }
        self.bytes.drain(at..end);
        if self.bytes.capacity() > self.bytes.len() * 2 + 64 {
            self.bytes.shrink_to_fit();
        }
        self.count_changed(-(removed as isize));
    }

    /// Adds several elements at the end, with one change of the header for all of them.
    pub(super) fn extend(&mut self, add: impl FnOnce(&mut Appender<'_>)) {
        self.bytes.pop();
        let mut appender = Appender { bytes: &mut self.bytes, added: 0 };
        add(&mut appender);
        let added = appender.added;
        self.bytes.push(END);
        self.count_changed(added as isize);
    }

    /// Makes room for so many bytes more, so that adding them does not move what is there.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
    }

    /// Gives back the room that elements to come would have had.
    pub(super) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Bytes that can be added before it must move.
    pub(super) fn spare(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Puts a number in place of the element at a position.
    pub(super) fn replace_int(&mut self, at: usize, number: i64) {
        let end = self.end_of(at);
        let mut head = [0; 9];
        let element = encode_int(&mut head, number);
        if element.len() + 1 == end - at {
            self.bytes[at..end - 1].copy_from_slice(element);
        } else {
            self.splice(at, end, itoa::Buffer::new().format(number).as_bytes());
            self.count_changed(0);
        }
    }

    /// Adds all elements of another list at the end.
    pub fn append(&mut self, other: &Self) {
        let count = self.len() + other.len();
        self.bytes.pop();
        self.bytes.reserve_exact(other.bytes.len() - HEADER);
        self.bytes.extend_from_slice(&other.bytes[HEADER..]);
        self.set_header(count);
    }

    /// Takes out the elements from a position on: the other half.
    pub fn split_off(&mut self, at: usize) -> Self {
        let count = self.len();
        let mut tail = Self { bytes: Vec::with_capacity(HEADER + self.bytes.len() - at) };
        tail.bytes.extend_from_slice(&[0; HEADER]);
        tail.bytes.extend_from_slice(&self.bytes[at..]);
        let moved = tail.iter().count();
        tail.set_header(moved);
        self.bytes.truncate(at);
        self.bytes.push(END);
        self.bytes.shrink_to_fit();
        self.set_header(count - moved);
        tail
    }

    fn splice(&mut self, start: usize, end: usize, element: &[u8]) {
        let mut head = [0; 9];
        let (head, body) = encode(&mut head, element);
        let len = head.len() + body.len();
        let mut back = [0; 5];
        let back = back_length(&mut back, len);
        let new = len + back.len();
        let (old, tail) = (end - start, self.bytes.len() - end);
        if new > old {
            // To the byte, as the allocator's size classes already leave room.
            self.bytes.reserve_exact(new - old);
            self.bytes.resize(self.bytes.len() + new - old, 0);
        }
        self.bytes.copy_within(end..end + tail, start + new);
        self.bytes.truncate(start + new + tail);
        let place = &mut self.bytes[start..start + new];
        place[..head.len()].copy_from_slice(head);
        place[head.len()..len].copy_from_slice(body);
        place[len..].copy_from_slice(back);
    }

    fn count_changed(&mut self, by: isize) {
        let count = match self.count() {
            COUNT_UNKNOWN => usize::from(COUNT_UNKNOWN),
            count => usize::from(count).wrapping_add_signed(by),
        };
        self.set_header(count);
    }
}

/// Takes elements for the end of a list: see [`Listpack::extend`].
pub(super) struct Appender<'a> {
    bytes: &'a mut Vec<u8>,
    added: usize,
}

impl Appender<'_> {
    /// Adds a string, as a number if it is a canonical one.
    pub(super) fn push(&mut self, element: &[u8]) {
        let mut head = [0; 9];
        let (head, body) = encode(&mut head, element);
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(body);
        self.finish(head.len() + body.len());
    }

    /// Adds a number.
    pub(super) fn push_int(&mut self, number: i64) {
        let mut head = [0; 9];
        let element = encode_int(&mut head, number);
        self.bytes.extend_from_slice(element);
        self.finish(element.len());
    }

    fn finish(&mut self, len: usize) {
        if len < 128 {
            self.bytes.push(len as u8);
        } else {
            self.bytes.extend_from_slice(back_length(&mut [0; 5], len));
        }
        self.added += 1;
    }
}

/// The bytes in front of the content, and the content: none if the element is a number.
fn encode<'a>(head: &'a mut [u8; 9], element: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    if let Some(number) = canonical_i64(element) {
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
