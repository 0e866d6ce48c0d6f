//! Every size that a peer can choose has its maximum here, under the name the configuration uses.

/// What one connection may ask a decoder to hold. Checked before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request, its name included.
    pub arguments_max: usize,
    /// Bytes of one argument.
    pub bulk_bytes: usize,
    /// Bytes of an inline command, or of a header line, before its line ends.
    pub inline_bytes: usize,
    /// Bytes of one whole request, headers included. Below 4 GiB.
    pub request_bytes: usize,
    /// How deep a reply's arrays may nest.
    pub reply_depth: usize,
}

impl Limits {
    /// For a client that has not authenticated yet: enough for `HELLO`, `AUTH` and little else.
    /// The numbers are Redis's own since 6.2.6 (10 arguments, 16 KiB a bulk).
    pub const UNAUTHENTICATED: Self = Self {
        arguments_max: 10,
        bulk_bytes: 16 * 1024,
        inline_bytes: 64 * 1024,
        request_bytes: 64 * 1024,
        reply_depth: 128,
    };
}

impl Limits {
    /// Redis's own defaults.
    pub const DEFAULT: Self = Self {
        arguments_max: 1024 * 1024,
        bulk_bytes: 512 * 1024 * 1024,
        inline_bytes: 64 * 1024,
        request_bytes: 512 * 1024 * 1024 + 64 * 1024,
        reply_depth: 128,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
