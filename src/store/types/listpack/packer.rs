//! A listpack that is filled from the front and in one go: what becomes of an older compact form.

use super::{END, HEADER, Listpack, TOTAL, back_length, encode};
use crate::store::thin::Thin;

/// Takes elements; its memory grows by doubling, so that a large one is not copied for each.
#[derive(Debug)]
pub(in crate::store) struct Packer {
    bytes: Vec<u8>,
    count: usize,
}

impl Packer {
    /// A packer with room for so many bytes.
    pub(in crate::store) fn with_capacity(bytes: usize) -> Self {
        let mut packer = Self { bytes: Vec::with_capacity(bytes + HEADER + 1), count: 0 };
        packer.bytes.extend_from_slice(&[0; HEADER - TOTAL]);
        packer
    }

    /// Adds an element.
    pub(in crate::store) fn push(&mut self, element: &[u8]) {
        let mut head = [0; 9];
        let (head, body) = encode(&mut head, element);
        let mut back = [0; 5];
        let back = back_length(&mut back, head.len() + body.len());
        for part in [head, body, back] {
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }

    /// The listpack of all of them.
    pub(in crate::store) fn finish(mut self) -> Listpack {
        self.bytes.push(END);
        let mut list = Listpack(Thin::concat(&[&self.bytes]));
        list.set_count(self.count);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_makes_what_pushing_makes() {
        let (mut packer, mut list) = (Packer::with_capacity(0), Listpack::new());
        for element in [&b"a"[..], b"1", b"", &[b'x'; 300], b"-77777"] {
            packer.push(element);
            list.push(element);
        }
        assert_eq!(packer.finish(), list);
        assert_eq!(Packer::with_capacity(9).finish(), Listpack::new());
    }
}
