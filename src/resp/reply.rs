//! A reply as a tree: for what is gathered, administered or tested. Replies that are only passed
//! on are never made into one.

use bytes::Bytes;

/// A reply of a server: everything RESP3 has, RESP2's two nulls included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(Bytes),
    /// `-ERR …`, without the `-`.
    Error(Bytes),
    /// `:1`
    Integer(i64),
    /// `$3 foo`
    Bulk(Bytes),
    /// `$-1`, or RESP3's `_`
    Null,
    /// `*-1`
    NullArray,
    /// `#t`, `#f`
    Boolean(bool),
    /// `,1.5`: the text, as the server wrote it.
    Double(Bytes),
    /// `(349…`
    BigNumber(Bytes),
    /// `=15 txt:…`
    Verbatim {
        /// Three letters: `txt` or `mkd`.
        format: [u8; 3],
        /// The text without the format.
        text: Bytes,
    },
    /// `*2 …`
    Array(Vec<Reply>),
    /// `~2 …`
    Set(Vec<Reply>),
    /// `>2 …`
    Push(Vec<Reply>),
    /// `%2 …`
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// A status.
    pub fn simple(text: &'static str) -> Self {
        Self::Simple(Bytes::from_static(text.as_bytes()))
    }

    /// An error.
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(Bytes::from(text.into()))
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// The error's text, if it is one.
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a string of any kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::Verbatim { text: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The text of a string of any kind, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The number of an integer.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }
}
