//! A field with its value in one allocation: what the table of a large hash holds.

use crate::store::table::Keyed;
use crate::store::thin::Thin;

/// A field and its value: the field's length (1 byte, or 5 from 255 on), the field, the value.
#[derive(Debug)]
pub(crate) struct Pair(Thin);

impl Pair {
    pub(crate) fn new(field: &[u8], value: &[u8]) -> Self {
        let mut prefix = [0xff; 5];
        let prefix = if field.len() < 0xff {
            prefix[0] = field.len() as u8;
            &prefix[..1]
        } else {
            prefix[1..].copy_from_slice(&(field.len() as u32).to_ne_bytes());
            &prefix[..]
        };
        Self(Thin::concat(&[prefix, field, value]))
    }

    #[inline]
    fn field_span(&self) -> (usize, usize) {
        let bytes = self.0.bytes();
        match bytes[0] {
            0xff => {
                let len = bytes[1..].first_chunk().expect("a long field has its length");
                (5, 5 + u32::from_ne_bytes(*len) as usize)
            }
            len => (1, 1 + usize::from(len)),
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        &self.0.bytes()[self.field_span().1..]
    }

    pub(crate) fn set_value(&mut self, value: &[u8]) {
        let (_, end) = self.field_span();
        if self.0.bytes().len() != end + value.len() {
            self.0.resize(end + value.len());
        }
        self.0.bytes_mut()[end..].copy_from_slice(value);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        Self(Thin::concat(&[self.0.bytes()]))
    }
}

impl Keyed for Pair {
    #[inline]
    fn key(&self) -> &[u8] {
        let (start, end) = self.field_span();
        &self.0.bytes()[start..end]
    }
}
