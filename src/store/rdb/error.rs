//! Why a file or a payload is not read.

/// What is wrong with it. Nothing of the value at fault has been kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// It does not begin as a file does. The text is Redis's.
    #[error("Wrong signature trying to load DB from file")]
    Signature,
    /// A version that this node does not read. The text is Redis's.
    #[error("Can't handle RDB format version {0}")]
    Version(u32),
    /// The checksum at the end is another. The text is that of Redis's two lines.
    #[error(
        "Wrong RDB checksum expected: ({expected:x}) but got ({found:x}). Aborting now. RDB CRC error"
    )]
    Checksum {
        /// What the bytes add up to.
        expected: u64,
        /// What the file says.
        found: u64,
    },
    /// A value, a length or an opcode that cannot be.
    #[error("{0}")]
    Corrupt(&'static str),
    /// A type that exists, but not on this node.
    #[error("{0} cannot be loaded by this node")]
    Unsupported(&'static str),
    /// It ended too early.
    #[error("Unexpected end of RDB data")]
    Short,
}
