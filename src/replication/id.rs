//! What a history of data is called, and a place in it.

use std::fmt;

/// How many bytes of a history's stream there were before. A request for what follows names the
/// next byte, counted from 1 (`PSYNC id offset+1`).
pub type Offset = u64;

/// The name of a history: 40 hex digits, drawn at random when it begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicationId([u8; Self::LEN]);

impl ReplicationId {
    /// Bytes of its text.
    pub const LEN: usize = 40;

    /// A name made of 20 random bytes.
    pub fn from_random(bytes: [u8; 20]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; Self::LEN];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// A name as it came over the wire. Other servers may use any printable bytes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let name: [u8; Self::LEN] = text.try_into().ok()?;
        name.iter().all(u8::is_ascii_graphic).then_some(Self(name))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it is made of ASCII alone")
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_forty_printable_bytes() {
        let id = ReplicationId::from_random([0xa5; 20]);
        assert_eq!(id.to_string(), "a5".repeat(20));
        assert_eq!(ReplicationId::parse(id.as_str().as_bytes()), Some(id));
        assert_eq!(ReplicationId::parse(b"?"), None);
        assert_eq!(ReplicationId::parse(&[b'\n'; 40]), None);
    }
}
