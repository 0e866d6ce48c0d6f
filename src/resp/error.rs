//! What a peer did that its protocol does not allow.

/// A breach of the protocol. The connection it came from cannot be understood any further, so it
/// is answered with the text (in Redis's words) and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*<count>` is not a number, or above `arguments_max`.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The same, before AUTH, where the maximum is 10.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// `$<length>` is not a number, negative, or above `bulk_bytes`.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// The same, before AUTH, where the maximum is 16 KiB.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An argument did not start with `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*.got))]
    ExpectedDollar {
        /// The byte that stood there.
        got: u8,
    },
    /// A line of an inline command without its end.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// A `*` header without the end of its line.
    #[error("Protocol error: too big mbulk count string")]
    TooBigCount,
    /// A `$` header without the end of its line.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// Quotes of an inline command that do not match.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// One request is longer than `request_bytes`.
    #[error("Protocol error: request exceeds the maximum size")]
    RequestTooLarge,
    /// A reply of a server that is not RESP.
    #[error("Protocol error: malformed reply")]
    MalformedReply,
    /// A reply nests deeper than `reply_depth`.
    #[error("Protocol error: reply nested too deeply")]
    ReplyTooDeep,
    /// A reply of a server is longer than allowed.
    #[error("Protocol error: reply exceeds the maximum size")]
    ReplyTooLarge,
}

/// A byte as it may stand in an error line: line ends become spaces, as in Redis, and what else
/// does not print becomes `?`.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        b'\t' | b' ' => byte as char,
        byte if byte.is_ascii_graphic() => byte as char,
        _ => '?',
    }
}
