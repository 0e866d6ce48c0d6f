//! Why a command is refused or fails: one variant per text that clients may depend on, in Redis's
//! words. [`crate::node`] writes it as the reply and counts it under its first word.

use crate::cluster::{Endpoint, Slot};
use crate::store::WrongType;
use std::borrow::Cow;

/// The error reply of a command. Its `Display` is the whole line, code first, without the `-`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The key holds a value of another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Options that do not fit the grammar of the command, or each other.
    #[error("ERR syntax error")]
    Syntax,
    /// An argument, or the value to count with, is not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// An argument must not be negative.
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    /// An argument is not a floating-point number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// The command needs a key that exists.
    #[error("ERR no such key")]
    NoSuchKey,
    /// An index beyond the ends of a value.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// An offset below zero.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// A sum beyond 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// A sum that is no number.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// A value would grow beyond `proto-max-bulk-len`.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A time to live that is not positive, or beyond what 64 bits of milliseconds hold. The
    /// command's name in lower case.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// A cursor that is not a number.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// A database that is not there.
    #[error("ERR DB index is out of range")]
    DbOutOfRange,
    /// The number of arguments is wrong. The command's name as the table writes it.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// The keys of the command are in several slots.
    #[error("CROSSSLOT Keys in request don't hash to the same slot")]
    CrossSlot,
    /// The slot belongs to another node.
    #[error("MOVED {slot} {to}", slot = .0, to = Address(.1))]
    Moved(Slot, Endpoint),
    /// The key has left already; the slot has not.
    #[error("ASK {slot} {to}", slot = .0, to = Address(.1))]
    Ask(Slot, Endpoint),
    /// Some keys of the command have left, and some have not.
    #[error("TRYAGAIN Multiple keys request during rehashing of slot")]
    TryAgain,
    /// No node serves the slot.
    #[error("CLUSTERDOWN Hash slot not served")]
    SlotNotServed,
    /// The cluster does not serve at all.
    #[error("CLUSTERDOWN The cluster is down")]
    ClusterDown,
    /// The cluster is down, and only reads are allowed meanwhile.
    #[error("CLUSTERDOWN The cluster is down and only accepts read commands")]
    ClusterDownForWrites,
    /// The connection has to authenticate first.
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    /// Memory is at its maximum and nothing may be evicted.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// The transaction was refused while it was queued.
    #[error("EXECABORT Transaction discarded because of previous errors.")]
    ExecAbort,
    /// Any other line, its code first.
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}

impl CommandError {
    /// What a wrong password, or an unknown user, is told.
    pub(super) const WRONG_PASSWORD: &'static str =
        "WRONGPASS invalid username-password pair or user is disabled.";

    /// A line of its own: `ERR`, a space and `text`.
    pub fn err(text: impl std::fmt::Display) -> Self {
        Self::Other(Cow::Owned(format!("ERR {text}")))
    }

    /// A container's subcommand that is not there, or does not have so many arguments.
    pub fn subcommand(container: &str, name: &[u8]) -> Self {
        /// Bytes of the name that are repeated.
        const NAME_MAX: usize = 128;
        let name = String::from_utf8_lossy(&name[..name.len().min(NAME_MAX)]);
        Self::err(format_args!(
            "unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
        ))
    }

    /// A line of its own that is a constant, its code first.
    pub const fn line(text: &'static str) -> Self {
        Self::Other(Cow::Borrowed(text))
    }
}

/// An endpoint as redirects write it: an IPv6 address has no brackets there.
struct Address<'a>(&'a Endpoint);

impl std::fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.host, self.0.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_written_as_redis_writes_them() {
        let slot = Slot::new(3999).expect("in range");
        let error = CommandError::Moved(slot, Endpoint::new("::1", 6381));
        assert_eq!(error.to_string(), "MOVED 3999 ::1:6381");
        let error = CommandError::Ask(slot, Endpoint::new("", 6381));
        assert_eq!(error.to_string(), "ASK 3999 :6381");
    }
}
