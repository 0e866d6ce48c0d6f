//! RDB: the bytes of values as files, full synchronisations, DUMP and MIGRATE carry them.
//!
//! ```text
//!  file     magic and version │ aux … │ (select db │ sizes │ (expiry │ use │ type │ key │ value) …) … │ end │ CRC64
//!  payload  type │ value │ version: u16 │ CRC64                                  (DUMP, RESTORE, MIGRATE)
//! ```
//! Version 10 is written: every server from Redis 7.0 on reads it. Versions 1 to 11 and Valkey's
//! 80 are read, with every encoding that they ever had.
//!
//! [`RdbWriter`] appends a file's pieces to a buffer; [`RdbReader`] takes a file in chunks of any
//! size and gives [`RdbEvent`]s; [`dump`] and [`restore`] are for single values. Nothing here does
//! I/O, and nothing is believed that was read: each listpack, intset and ziplist is walked before
//! it becomes a value, and no length takes memory before the bytes are there.

mod builder;
mod crc64;
mod error;
mod input;
mod length;
mod lzf;
mod payload;
mod read;
mod streams;
mod write;
mod write_value;
mod ziplist;

pub use builder::{Loaded, ValueLimits};
pub use crc64::Crc64;
pub use error::RdbError;
pub use payload::{PAYLOAD_MIN, dump, restore, serialized_bytes};
pub use read::{RdbEvent, RdbReader};
pub use write::{KeyUse, RdbWriter};
pub use write_value::ValueProgress;

/// The version that is written.
pub const RDB_VERSION: u16 = 10;
/// The latest version of Redis's own numbering that is read: 7.2's.
const READ_MAX: u32 = 11;
/// What Valkey 9 writes, under a magic of its own.
const VALKEY: u32 = 80;

/// What stands for the length of a string, 1 GiB at most: above Redis's 512 MB, below what a
/// listpack can hold.
const STRING_BYTES_MAX: u64 = 1 << 30;

/// The bytes between keys that are not types.
mod opcode {
    pub(super) const SLOT_IMPORT: u8 = 243;
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const FUNCTION: u8 = 245;
    pub(super) const FUNCTION_EARLY: u8 = 246;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQ: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const RESIZE_DB: u8 = 251;
    pub(super) const EXPIRE_MS: u8 = 252;
    pub(super) const EXPIRE_SECONDS: u8 = 253;
    pub(super) const SELECT_DB: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// The types of values, by encoding.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const SORTED_SET_TEXT: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const SORTED_SET: u8 = 5;
    pub(super) const MODULE_EARLY: u8 = 6;
    pub(super) const MODULE: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const SORTED_SET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const QUICKLIST_ZIPLISTS: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const SORTED_SET_LISTPACK: u8 = 17;
    pub(super) const QUICKLIST: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    pub(super) const HASH_EXPIRING: u8 = 22;

    /// How a node of a quicklist is kept: one element by itself, or a listpack of several.
    pub(super) const NODE_PLAIN: u64 = 1;
    pub(super) const NODE_PACKED: u64 = 2;
}

#[cfg(test)]
mod tests;
