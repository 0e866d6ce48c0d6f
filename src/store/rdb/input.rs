//! A reader's hands: tokens from the bytes that are there, or word that more are needed.

use super::STRING_BYTES_MAX;
use super::error::RdbError;
use super::length::{self, Length};
use super::lzf;
use std::borrow::Cow;

/// Why a token could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is not there as a whole: at least so many bytes are missing.
    More(usize),
    /// It cannot be.
    Bad(RdbError),
}

impl From<RdbError> for Stop {
    fn from(error: RdbError) -> Self {
        Self::Bad(error)
    }
}

pub(super) type Read<T> = Result<T, Stop>;

/// A string as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Int(i64),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Text<'a> {
    /// Its bytes.
    pub(super) fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Self::Int(number) => itoa::Buffer::new().format(number).as_bytes().to_vec().into(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Bytes that have come, and how far they are read.
#[derive(Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a place where it was, because what follows is not there as a whole.
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let rest = self.rest();
        let Some(taken) = rest.get(..len) else { return Err(Stop::More(len - rest.len())) };
        self.at += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        Ok(*self.take(N)?.first_chunk().expect("so many were taken"))
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn any_length(&mut self) -> Read<Length> {
        match length::length(self.rest()) {
            Ok(Some((length, taken))) => {
                self.at += taken;
                Ok(length)
            }
            Ok(None) => Err(Stop::More(1)),
            Err(()) => Err(RdbError::Corrupt("a length that means nothing").into()),
        }
    }

    /// A count, or another number that is written as one.
    pub(super) fn length(&mut self) -> Read<u64> {
        match self.any_length()? {
            Length::Plain(length) => Ok(length),
            Length::Int(_) | Length::Compressed => {
                Err(RdbError::Corrupt("a string where a length belongs").into())
            }
        }
    }

    /// The length of bytes, or of compressed ones.
    fn bytes_length(&mut self) -> Read<usize> {
        let length = self.length()?;
        checked(length)
    }

    /// A string in any form.
    pub(super) fn text(&mut self) -> Read<Text<'a>> {
        Ok(match self.any_length()? {
            Length::Plain(length) => Text::Bytes(self.take(checked(length)?)?.into()),
            Length::Int(1) => Text::Int(i64::from(i8::from_le_bytes(self.array()?))),
            Length::Int(2) => Text::Int(i64::from(i16::from_le_bytes(self.array()?))),
            Length::Int(_) => Text::Int(i64::from(i32::from_le_bytes(self.array()?))),
            Length::Compressed => {
                let (compressed, length) = (self.bytes_length()?, self.bytes_length()?);
                if length == 0 || length > lzf::expands_to_at_most(compressed) {
                    return Err(RdbError::Corrupt("Invalid LZF compressed string").into());
                }
                let bytes = lzf::decompress(self.take(compressed)?, length);
                Text::Bytes(bytes.ok_or(RdbError::Corrupt("Invalid LZF compressed string"))?.into())
            }
        })
    }

    /// The bytes of a string in any form.
    pub(super) fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        Ok(self.text()?.into_bytes())
    }

    /// A score as early versions wrote it: a text with its length in one byte, or one of three
    /// bytes that stand for what has no digits.
    pub(super) fn double_text(&mut self) -> Read<f64> {
        match self.byte()? {
            253 => Ok(f64::NAN),
            254 => Ok(f64::INFINITY),
            255 => Ok(f64::NEG_INFINITY),
            len => {
                let text = self.take(usize::from(len))?;
                let number = crate::value::parse_double(text);
                number.ok_or(RdbError::Corrupt("a score that is no number").into())
            }
        }
    }

    pub(super) fn double(&mut self) -> Read<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A part of a module's own data, which only the module could read, is passed over by the mark
    /// before it. False if it was the mark of the end.
    pub(super) fn skip_module_part(&mut self) -> Read<bool> {
        match self.length()? {
            0 => return Ok(false),
            1 | 2 => {
                self.length()?;
            }
            3 => {
                self.take(4)?;
            }
            4 => {
                self.take(8)?;
            }
            5 => {
                self.text()?;
            }
            _ => {
                return Err(RdbError::Corrupt("a part of a module's data that cannot be").into());
            }
        }
        Ok(true)
    }
}

/// A length of bytes, if it is one that can be.
fn checked(length: u64) -> Read<usize> {
    if length > STRING_BYTES_MAX {
        return Err(RdbError::Corrupt("a string that is longer than any can be").into());
    }
    Ok(length as usize)
}
