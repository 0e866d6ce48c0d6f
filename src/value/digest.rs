//! The digest of DEBUG DIGEST and DEBUG DIGEST-VALUE, as Redis computes it.
//!
//! `redis-cli --cluster fix` compares the copies of a key on two nodes by it, so it is the same in
//! every version: SHA-1 over SHA-1s, mixed where order counts and XORed where it does not.

use super::sha1::sha1;

/// A digest in the making: 20 bytes, zero at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// Adds something whose order among others does not count: set members, whole keys.
    pub fn xor(&mut self, bytes: &[u8]) {
        let hash = sha1(bytes);
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    /// Adds something whose place counts: a name before its value, the elements of a list.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.xor(bytes);
        self.0 = sha1(&self.0);
    }

    /// The 20 bytes.
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

/// 40 hexadecimal digits.
impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
