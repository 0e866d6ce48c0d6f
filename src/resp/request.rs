//! A request: one frame of bytes and where its arguments lie. Nothing is copied to look at it.

/// Where one argument lies in its frame: start and end, in bytes. Frames are below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A request that borrows the frame it arrived in. The frame is always a whole, well-formed
/// multibulk (inline commands are rewritten as one), so it can be forwarded byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    frame: &'a [u8],
    args: &'a [Span],
}

impl<'a> Request<'a> {
    /// A request from a frame and the places of its arguments; at least its name.
    pub fn new(frame: &'a [u8], args: &'a [Span]) -> Self {
        debug_assert!(!args.is_empty(), "a request has a name");
        Self { frame, args }
    }

    /// The bytes as they arrived (or, for an inline command, as a multibulk).
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The command's name as it was written.
    pub fn name(&self) -> &'a [u8] {
        self.arg(0)
    }

    /// How many arguments there are, the name included. Never zero. (Redis's `argc`.)
    #[allow(clippy::len_without_is_empty, reason = "a request is never empty")]
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Argument `index`, where 0 is the name.
    ///
    /// # Panics
    /// When there is no such argument: handlers check arity first.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        let span = self.args[index];
        &self.frame[span.start as usize..span.end as usize]
    }

    /// Argument `index`, where there is one.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.args.len()).then(|| self.arg(index))
    }

    /// The arguments from `from` on.
    pub fn args_from(&self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + '_ {
        let from = from.min(self.args.len());
        self.args[from..].iter().map(|span| &self.frame[span.start as usize..span.end as usize])
    }

    /// The places of the arguments in the frame.
    pub fn spans(&self) -> &'a [Span] {
        self.args
    }

    /// A copy that outlives the buffer: for MULTI's queue, blocked commands, logs.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest { frame: self.frame.into(), args: self.args.into() }
    }
}

/// A request that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRequest {
    frame: Box<[u8]>,
    args: Box<[Span]>,
}

impl OwnedRequest {
    /// A request from its arguments, name first.
    pub fn from_args<A: AsRef<[u8]>>(args: &[A]) -> Self {
        let mut frame = Vec::new();
        super::encode::encode_request(&mut frame, args);
        let mut spans = Vec::with_capacity(args.len());
        // Walk the headers just written: `*n\r\n`, then `$len\r\n` before each argument.
        let mut at = header_len(args.len());
        for arg in args {
            let len = arg.as_ref().len();
            at += header_len(len);
            spans.push(Span { start: at as u32, end: (at + len) as u32 });
            at += len + 2;
        }
        Self { frame: frame.into(), args: spans.into() }
    }

    /// The request, borrowed.
    pub fn as_request(&self) -> Request<'_> {
        Request { frame: &self.frame, args: &self.args }
    }
}

/// Bytes of `*n\r\n` or `$n\r\n`.
fn header_len(number: usize) -> usize {
    3 + itoa::Buffer::new().format(number).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_request_finds_its_arguments_again() {
        let request = OwnedRequest::from_args(&["SET", "", "a value of 12", "x"]);
        let args: Vec<&[u8]> = request.as_request().args_from(0).collect();
        assert_eq!(args, [b"SET".as_slice(), b"", b"a value of 12", b"x"]);
    }
}
