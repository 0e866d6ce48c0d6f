//! SipHash-1-3 with a key of our own: the hash of every table of the store.
//!
//! Keys come from clients, so the hash must not be predictable: whoever can choose keys that fall
//! into one bucket makes every look-up slow. std has the function but not the key (its
//! `DefaultHasher` cannot be seeded), hence this one. It hashes whole byte strings only.

/// A keyed hash function. Two with the same seeds agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hasher {
    k0: u64,
    k1: u64,
}

impl Hasher {
    /// The function of these two seeds, which should be random and secret.
    pub const fn new(k0: u64, k1: u64) -> Self {
        Self { k0, k1 }
    }

    /// The hash of `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut state = State {
            v0: self.k0 ^ 0x736f_6d65_7073_6575,
            v1: self.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: self.k0 ^ 0x6c79_6765_6e65_7261,
            v3: self.k1 ^ 0x7465_6462_7974_6573,
        };
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            state.absorb(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        last[7] = bytes.len() as u8;
        state.absorb(u64::from_le_bytes(last));
        state.v2 ^= 0xff;
        for _ in 0..3 {
            state.round();
        }
        state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher as _;

    /// std's `DefaultHasher` is SipHash-1-3 with a key of zeros.
    #[test]
    fn it_is_siphash_1_3() {
        let ours = Hasher::new(0, 0);
        let bytes: Vec<u8> = (0..100).collect();
        for len in 0..bytes.len() {
            let mut std = std::hash::DefaultHasher::new();
            std.write(&bytes[..len]);
            assert_eq!(ours.hash(&bytes[..len]), std.finish(), "{len} bytes");
        }
    }

    #[test]
    fn another_seed_is_another_function() {
        let seeds = [(0, 0), (0, 1), (1, 0)];
        let hashes = seeds.map(|(k0, k1)| Hasher::new(k0, k1).hash(b"key"));
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    }
}
