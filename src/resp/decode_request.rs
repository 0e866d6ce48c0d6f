//! Bytes of a client → requests. Resumes where it stopped, so that no byte is scanned twice
//! however the network cuts the stream, and keeps nothing but where the arguments lie.

use super::inline::{self, Inline};
use super::number::short_header;
use super::request::{Request, Span};
use super::{Limits, ProtocolError};
use crate::value::parse_i64;
use memchr::memchr;

/// Reads the requests of one connection.
///
/// The caller keeps the bytes: it passes all that it holds from the first byte of the current
/// request on, and drops what [`RequestDecoder::decode`] says was used.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    state: State,
    /// Bytes of the current frame that need no second look.
    scanned: usize,
    spans: Vec<Span>,
    /// An inline command, rewritten as a multibulk.
    rewritten: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the first byte of a request.
    #[default]
    Start,
    /// `left` arguments are still to come, the next one's header first.
    Arguments { left: usize },
    /// The argument of `len` bytes has begun at `scanned`; `left` includes it.
    Bulk { left: usize, len: usize },
}

/// How many argument places are kept from one request to the next.
const SPANS_KEPT: usize = 64;

impl RequestDecoder {
    /// Looks for one whole request at the start of `buffer`.
    ///
    /// `Ok(Some(used))` when the first `used` bytes are one: [`RequestDecoder::request`] gives it
    /// while those bytes are still at hand. `used` bytes may also hold no request at all (an empty
    /// line, `*0`): then `request` gives none. `Ok(None)` when more bytes are needed.
    ///
    /// # Errors
    /// What the protocol does not allow, in Redis's words. The decoder must not be used again.
    pub fn decode(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        if self.state == State::Start {
            self.spans.clear();
            self.spans.shrink_to(SPANS_KEPT);
            self.rewritten.clear();
            match buffer.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(buffer, limits),
            }
            let Some((count, next)) = header(buffer, 0, limits, Header::Count)? else {
                return Ok(None);
            };
            if count <= 0 {
                self.scanned = 0;
                return Ok(Some(next));
            }
            // The places grow as arguments arrive: a huge count alone costs nothing.
            self.state = State::Arguments { left: count as usize };
            self.scanned = next;
        }
        self.decode_arguments(buffer, limits)
    }

    /// Goes on where it stopped. The place is kept in `self` only when bytes are missing: a request that
    /// is there as a whole, as nearly all are, is read without a store for each argument but its own.
    fn decode_arguments(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let mut at = self.scanned;
        let (mut left, mut len) = match self.state {
            State::Start => (0, None),
            State::Arguments { left } => (left, None),
            State::Bulk { left, len } => (left, Some(len)),
        };
        while left > 0 {
            let size = match len.take() {
                Some(size) => size,
                None => {
                    let Some((size, next)) = header(buffer, at, limits, Header::Bulk)? else {
                        self.state = State::Arguments { left };
                        self.scanned = at;
                        return Ok(None);
                    };
                    let size = size as usize;
                    if next + size + 2 > limits.request_bytes {
                        return Err(ProtocolError::RequestTooLarge);
                    }
                    at = next;
                    size
                }
            };
            let end = at + size;
            // Like Redis, the two bytes after an argument are passed over unseen.
            if buffer.len() < end + 2 {
                self.state = State::Bulk { left, len: size };
                self.scanned = at;
                return Ok(None);
            }
            self.spans.push(Span { start: at as u32, end: end as u32 });
            at = end + 2;
            left -= 1;
        }
        self.state = State::Start;
        self.scanned = 0;
        Ok(Some(at))
    }

    fn decode_inline(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let from = self.scanned.min(buffer.len());
        let Some(end) = memchr(b'\n', &buffer[from..]).map(|at| from + at) else {
            if buffer.len() > limits.inline_bytes {
                return Err(ProtocolError::TooBigInline);
            }
            self.scanned = buffer.len();
            return Ok(None);
        };
        self.scanned = 0;
        if end > limits.inline_bytes {
            return Err(ProtocolError::TooBigInline);
        }
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        match inline::split(line, &mut self.rewritten, &mut self.spans) {
            Inline::Arguments => Ok(Some(end + 1)),
            Inline::UnbalancedQuotes => Err(ProtocolError::UnbalancedQuotes),
        }
    }

    /// The request that [`RequestDecoder::decode`] has just found in the first `used` bytes of
    /// `buffer`; none when those bytes held an empty one.
    pub fn request<'a>(&'a self, buffer: &'a [u8], used: usize) -> Option<Request<'a>> {
        if self.spans.is_empty() {
            return None;
        }
        let frame = if self.rewritten.is_empty() { &buffer[..used] } else { &self.rewritten };
        Some(Request::new(frame, &self.spans))
    }

    /// Whether the request just found was an inline command (its frame is ours, not the client's).
    pub fn was_inline(&self) -> bool {
        !self.rewritten.is_empty()
    }

    /// How many bytes the buffer must hold before [`RequestDecoder::decode`] can get any further;
    /// 0 when that is not known. Lets a reader make room for a large argument at once.
    pub fn bytes_wanted(&self) -> usize {
        match self.state {
            State::Bulk { len, .. } => self.scanned + len + 2,
            State::Start | State::Arguments { .. } => 0,
        }
    }

    /// Whether a request has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.state != State::Start || self.scanned > 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Count,
    Bulk,
}

/// Reads `*<count>\r\n` or `$<length>\r\n` at `at`: the number, and where the next thing starts.
#[inline(always)]
fn header(
    buffer: &[u8],
    at: usize,
    limits: &Limits,
    kind: Header,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    let rest = &buffer[at..];
    if let Some((number, used)) = short_header(rest)
        && (kind == Header::Count || rest[0] == b'$')
        && number as usize <= limits.bulk_bytes.min(limits.arguments_max)
    {
        return Ok(Some((i64::from(number), at + used)));
    }
    careful_header(buffer, at, limits, kind)
}

/// The same for every line: long, not whole, or wrong.
#[cold]
fn careful_header(
    buffer: &[u8],
    at: usize,
    limits: &Limits,
    kind: Header,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    let rest = &buffer[at..];
    let Some(cr) = memchr(b'\r', rest) else {
        if rest.len() > limits.inline_bytes {
            return Err(match kind {
                Header::Count => ProtocolError::TooBigCount,
                Header::Bulk => ProtocolError::TooBigBulkCount,
            });
        }
        return Ok(None);
    };
    if rest.len() < cr + 2 {
        return Ok(None);
    }
    if kind == Header::Bulk && rest[0] != b'$' {
        return Err(ProtocolError::ExpectedDollar { got: rest[0] });
    }
    let number = parse_i64(&rest[1..cr]);
    let strict = limits.arguments_max <= Limits::UNAUTHENTICATED.arguments_max;
    let number = match kind {
        Header::Count => match number {
            Some(n) if n <= limits.arguments_max as i64 => n,
            Some(n) if strict && n <= i64::from(i32::MAX) => {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
            _ => return Err(ProtocolError::InvalidMultibulkLength),
        },
        Header::Bulk => match number {
            Some(n) if (0..=limits.bulk_bytes as i64).contains(&n) => n,
            Some(n) if strict && n > 0 => return Err(ProtocolError::UnauthenticatedBulkLength),
            _ => return Err(ProtocolError::InvalidBulkLength),
        },
    };
    Ok(Some((number, at + cr + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &[u8] =
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nQUIT\r\nset a \"\\x00 b\"\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n";

    /// Feeds the chunks one after the other, as a connection would.
    fn decode_all(chunks: &[&[u8]]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let mut decoder = RequestDecoder::default();
        let mut buffer = Vec::new();
        let mut requests = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(used) = decoder.decode(&buffer, &Limits::default())? {
                if let Some(request) = decoder.request(&buffer, used) {
                    requests.push(request.args_from(0).map(<[u8]>::to_vec).collect());
                }
                buffer.drain(..used);
            }
        }
        Ok(requests)
    }

    #[test]
    fn every_split_decodes_alike() {
        let whole = decode_all(&[PIPELINE]).expect("valid");
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[3], [b"set".to_vec(), b"a".to_vec(), b"\0 b".to_vec()]);
        for cut in 0..=PIPELINE.len() {
            let (head, tail) = PIPELINE.split_at(cut);
            assert_eq!(decode_all(&[head, tail]).as_ref(), Ok(&whole), "cut at byte {cut}");
        }
        let bytes: Vec<&[u8]> = PIPELINE.chunks(1).collect();
        assert_eq!(decode_all(&bytes).as_ref(), Ok(&whole), "byte by byte");
    }

    /// The answers are those of Redis 7.0.15 and Valkey 9.1.2 (measured).
    #[test]
    fn breaches_of_the_protocol_are_named_as_redis_names_them() {
        for (bytes, error) in [
            ("*1000000000\r\n", ProtocolError::InvalidMultibulkLength),
            ("*abc\r\n", ProtocolError::InvalidMultibulkLength),
            ("*1\r\n$536870913\r\n", ProtocolError::InvalidBulkLength),
            ("*1\r\n$-1\r\n", ProtocolError::InvalidBulkLength),
            ("*1\r\n$04\r\nPING\r\n", ProtocolError::InvalidBulkLength),
            ("*1\r\n:1\r\n", ProtocolError::ExpectedDollar { got: b':' }),
            ("set a \"b\r\n", ProtocolError::UnbalancedQuotes),
        ] {
            assert_eq!(decode_all(&[bytes.as_bytes()]), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_the_limit() {
        let limit = Limits::default().inline_bytes;
        let line = vec![b'A'; limit + 1];
        assert_eq!(decode_all(&[&line]), Err(ProtocolError::TooBigInline));
        let mut header = b"*1\r\n$".to_vec();
        header.extend(vec![b'1'; limit + 1]);
        assert_eq!(decode_all(&[&header]), Err(ProtocolError::TooBigBulkCount));
    }

    #[test]
    fn before_auth_a_request_is_small() {
        let limits = Limits::UNAUTHENTICATED;
        let decode = |bytes: &[u8]| RequestDecoder::default().decode(bytes, &limits);
        assert_eq!(decode(b"*11\r\n"), Err(ProtocolError::UnauthenticatedMultibulkLength));
        assert_eq!(decode(b"*1\r\n$16385\r\n"), Err(ProtocolError::UnauthenticatedBulkLength));
        assert_eq!(decode(b"*1\r\n$16384\r\n"), Ok(None));
    }

    #[test]
    fn a_reader_learns_how_much_room_a_large_argument_needs() {
        let mut decoder = RequestDecoder::default();
        let head = b"*2\r\n$4\r\nECHO\r\n$1000\r\nab";
        assert_eq!(decoder.decode(head, &Limits::default()), Ok(None));
        assert_eq!(decoder.bytes_wanted(), head.len() - 2 + 1000 + 2);
        assert!(decoder.is_midway());
    }
}
