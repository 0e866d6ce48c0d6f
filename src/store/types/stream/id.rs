//! The id of an entry: when it was added, and a number among those of that millisecond.

use std::fmt;

/// An entry's id. Ids order entries: each is larger than all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch, where the server chose it.
    pub ms: u64,
    /// Its number in that millisecond.
    pub seq: u64,
}

/// Bytes of the longest id as text.
const TEXT_MAX: usize = 41;

/// Room for the text of an id.
#[derive(Debug)]
pub struct StreamIdBuffer([u8; TEXT_MAX]);

impl Default for StreamIdBuffer {
    fn default() -> Self {
        Self([0; TEXT_MAX])
    }
}

impl StreamId {
    /// Below every id: no entry has it.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The last one.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An id.
    pub fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id after this one; none after the last.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id before this one; none before `0-0`.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// The 16 bytes that name a node of entries in DUMP: their order is that of the ids.
    pub fn to_bytes(self) -> [u8; 16] {
        self.as_u128().to_be_bytes()
    }

    /// The id that these bytes stand for.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let wide = u128::from_be_bytes(bytes);
        Self { ms: (wide >> 64) as u64, seq: wide as u64 }
    }

    pub(super) fn as_u128(self) -> u128 {
        u128::from(self.ms) << 64 | u128::from(self.seq)
    }

    /// Its text, `ms-seq`.
    #[inline]
    pub fn text(self, buffer: &mut StreamIdBuffer) -> &[u8] {
        self.joined(b'-', buffer)
    }

    /// Both numbers with this byte between them.
    pub(in crate::store) fn joined(self, between: u8, buffer: &mut StreamIdBuffer) -> &[u8] {
        let mut number = itoa::Buffer::new();
        let ms = number.format(self.ms).as_bytes();
        let mut len = ms.len();
        buffer.0[..len].copy_from_slice(ms);
        buffer.0[len] = between;
        len += 1;
        let seq = number.format(self.seq).as_bytes();
        buffer.0[len..len + seq.len()].copy_from_slice(seq);
        &buffer.0[..len + seq.len()]
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_each_other_across_milliseconds() {
        let last_of_five = StreamId::new(5, u64::MAX);
        assert_eq!(last_of_five.next(), Some(StreamId::new(6, 0)));
        assert_eq!(StreamId::new(6, 0).previous(), Some(last_of_five));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }

    #[test]
    fn text_and_bytes_are_those_of_redis() {
        for id in [StreamId::MIN, StreamId::new(1_526_919_030_474, 55), StreamId::MAX] {
            assert_eq!(id.text(&mut StreamIdBuffer::default()), id.to_string().as_bytes());
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        }
        assert_eq!(
            StreamId::new(1, 2).to_bytes(),
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
        );
    }
}
