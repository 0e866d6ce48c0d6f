//! A single value as DUMP gives it and RESTORE takes it: with its version and checksum behind.

use super::builder::{Builder, Loaded, ValueLimits};
use super::crc64::Crc64;
use super::input::{Input, Stop};
use super::write_value::{ValueProgress, ValueWriter};
use super::{RDB_VERSION, READ_MAX, RdbError, VALKEY};
use crate::store::entry::Entry;

/// Bytes that a payload has at least: a version and a checksum. What is shorter cannot be
/// one of any version.
pub const PAYLOAD_MIN: usize = FOOTER;

/// Version and checksum.
const FOOTER: usize = 2 + 8;

/// Appends what DUMP says of a key's value.
pub fn dump(out: &mut Vec<u8>, entry: &Entry, compress: bool) {
    let start = out.len();
    let values = ValueWriter { compress };
    let mut progress = ValueProgress::default();
    out.push(ValueWriter::kind(entry.value()));
    while !values.some(out, entry.value(), &mut progress, usize::MAX) {}
    out.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let sum = Crc64::of(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// How many bytes a file has of a key's value, without its type: DUMP's payload without its frame.
pub fn serialized_bytes(entry: &Entry, compress: bool) -> usize {
    /// As much of it as is in memory at once.
    const PART: usize = 64 << 10;
    let values = ValueWriter { compress };
    let mut progress = ValueProgress::default();
    let (mut part, mut total) = (Vec::new(), 0);
    loop {
        let is_whole = values.some(&mut part, entry.value(), &mut progress, PART);
        total += part.len();
        if is_whole {
            return total;
        }
        part.clear();
    }
}

/// The value of a payload.
///
/// # Errors
/// [`RdbError::Version`] or [`RdbError::Checksum`] if that is what is wrong with it; otherwise its
/// content is.
pub fn restore(payload: &[u8], limits: ValueLimits) -> Result<Loaded, RdbError> {
    let body = payload.len().checked_sub(FOOTER).ok_or(RdbError::Short)?;
    let (body, footer) = payload.split_at(body);
    let version = u32::from(u16::from_le_bytes([footer[0], footer[1]]));
    if version > READ_MAX && version != VALKEY {
        return Err(RdbError::Version(version));
    }
    let found = footer.last_chunk().map_or(0, |sum| u64::from_le_bytes(*sum));
    let expected = Crc64::of(&payload[..payload.len() - 8]);
    if found != expected {
        return Err(RdbError::Checksum { expected, found });
    }
    let mut input = Input::new(body);
    let loaded = input.byte().and_then(|kind| Builder::new(kind, limits)?.step(&mut input));
    match loaded {
        Ok(Some(loaded)) if input.rest().is_empty() => Ok(loaded),
        Ok(Some(_)) => Err(RdbError::Corrupt("bytes behind the value")),
        Ok(None) => Err(RdbError::Corrupt("an empty collection")),
        Err(Stop::More(_)) => Err(RdbError::Short),
        Err(Stop::Bad(error)) => Err(error),
    }
}
