//! Bytes of a server → where its next reply ends, or the reply as a tree.
//!
//! The scanner is what the proxy's data path uses: it builds nothing, resumes where it stopped,
//! and uses a few bytes of state however deep or long the reply is.

use super::number::short_header;
use super::reply::Reply;
use super::{Limits, ProtocolError};
use crate::value::parse_i64;
use bytes::Bytes;
use memchr::memchr;

/// Finds the end of one reply at a time.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Bytes of the current reply that need no second look. May be past the end of the buffer,
    /// inside a bulk string that has not arrived yet.
    scanned: usize,
    /// Elements still to come, per open array, innermost last. Empty at a reply's start.
    open: Vec<u64>,
    midway: bool,
    /// A bulk string's bytes end at `scanned`, with a line end that was not looked at yet.
    closing: bool,
}

/// What one header line announces.
enum Item {
    /// A whole value that ends with its line.
    Line,
    /// A value whose bytes follow, with the line end that closes it.
    Bulk(usize),
    /// So many values follow as its elements.
    Aggregate(u64),
    /// So many values follow, and then the value they describe.
    Attribute(u64),
}

impl ReplyScanner {
    /// The length of the reply that `buffer` starts with, once it is there as a whole.
    ///
    /// Pass all bytes from the reply's first on; drop the reply's bytes when its length was given.
    ///
    /// # Errors
    /// Bytes that are not RESP, a reply deeper than `limits.reply_depth` or longer than
    /// `limits.request_bytes`. The connection cannot be understood any further.
    #[inline]
    pub fn scan(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if self.scanned == 0
            && let Some(len) = short_reply(buffer)
        {
            return Ok(Some(len));
        }
        self.scan_carefully(buffer, limits)
    }

    fn scan_carefully(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        loop {
            if self.scanned > limits.request_bytes {
                return Err(ProtocolError::ReplyTooLarge);
            }
            if self.closing {
                let Some(text) = buffer.get(..self.scanned) else { return Ok(None) };
                // A length that lies would shift every reply after it.
                if !text.ends_with(b"\r\n") {
                    return Err(ProtocolError::MalformedReply);
                }
                self.closing = false;
            }
            if self.midway && self.open.is_empty() {
                // Only the bytes of a bulk string were missing.
                if buffer.len() < self.scanned {
                    return Ok(None);
                }
                self.midway = false;
                return Ok(Some(std::mem::take(&mut self.scanned)));
            }
            if buffer.len() <= self.scanned {
                return Ok(None);
            }
            let rest = &buffer[self.scanned..];
            if rest[0] == b'$'
                && let Some((len, used)) = short_header(rest)
            {
                self.scanned += used + len as usize + 2;
                self.closing = true;
                self.close_one();
                self.midway = true;
                continue;
            }
            let Some(line_end) = memchr(b'\n', rest) else {
                if rest.len() > limits.inline_bytes && !matches!(rest[0], b'+' | b'-') {
                    return Err(ProtocolError::MalformedReply);
                }
                if rest.len() > limits.request_bytes {
                    return Err(ProtocolError::ReplyTooLarge);
                }
                return Ok(None);
            };
            if line_end < 2 || rest[line_end - 1] != b'\r' {
                return Err(ProtocolError::MalformedReply);
            }
            self.scanned += line_end + 1;
            match item(rest[0], &rest[1..line_end - 1])? {
                Item::Line => {}
                Item::Bulk(len) => {
                    self.scanned += len + 2;
                    self.closing = true;
                }
                Item::Aggregate(0) => {}
                Item::Aggregate(count) => {
                    if self.open.len() >= limits.reply_depth {
                        return Err(ProtocolError::ReplyTooDeep);
                    }
                    self.open.push(count);
                    continue;
                }
                Item::Attribute(count) => {
                    if self.open.len() >= limits.reply_depth {
                        return Err(ProtocolError::ReplyTooDeep);
                    }
                    // The described value itself is one more, in the attribute's own place.
                    self.open.push(count + 1);
                    // Its last element closes both, so the enclosing count is not touched here.
                    continue;
                }
            }
            self.close_one();
            self.midway = true;
        }
    }

    /// One value has ended: so have the arrays of which it was the last element.
    fn close_one(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
    }

    /// How many bytes the buffer must hold before the scan can get any further; 0 if unknown.
    pub fn bytes_wanted(&self) -> usize {
        if self.midway { self.scanned } else { 0 }
    }
}

/// The length of the reply at the start of `buffer`, where it is a short string or OK and there as a whole, as
/// most are. None says nothing.
#[inline(always)]
fn short_reply(buffer: &[u8]) -> Option<usize> {
    const OK: &[u8] = b"+OK\r\n";
    if buffer.first() == Some(&b'$') {
        let (len, used) = short_header(buffer)?;
        let end = used + len as usize;
        return (buffer.get(end..end + 2)? == b"\r\n").then_some(end + 2);
    }
    buffer.starts_with(OK).then_some(OK.len())
}

/// Longest count that is believed: no server sends so many elements.
const COUNT_MAX: i64 = u32::MAX as i64;

fn item(kind: u8, text: &[u8]) -> Result<Item, ProtocolError> {
    let count = || match parse_i64(text) {
        Some(count @ -1..=COUNT_MAX) => Ok(count),
        _ => Err(ProtocolError::MalformedReply),
    };
    Ok(match kind {
        b'+' | b'-' | b',' | b'(' | b'_' | b'#' => Item::Line,
        b':' if parse_i64(text.strip_prefix(b"+").unwrap_or(text)).is_some() => Item::Line,
        b'$' | b'=' | b'!' => match count()? {
            -1 => Item::Line,
            len => Item::Bulk(len as usize),
        },
        b'*' | b'~' | b'>' => match count()? {
            -1 => Item::Line,
            len => Item::Aggregate(len as u64),
        },
        b'%' => Item::Aggregate(count()?.max(0) as u64 * 2),
        b'|' => Item::Attribute(count()?.max(0) as u64 * 2),
        _ => return Err(ProtocolError::MalformedReply),
    })
}

/// Reads one whole reply (the bytes that [`ReplyScanner`] found) as a tree. Attributes are
/// dropped. Strings share `bytes`; nothing is copied.
///
/// # Errors
/// Bytes that are not one reply, or one that nests deeper than `depth`.
pub fn parse_reply(bytes: &Bytes, depth: usize) -> Result<Reply, ProtocolError> {
    let mut parser = Parser { bytes, at: 0 };
    let reply = parser.value(depth)?;
    if parser.at == bytes.len() { Ok(reply) } else { Err(ProtocolError::MalformedReply) }
}

struct Parser<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Parser<'_> {
    fn line(&mut self) -> Result<(u8, Bytes), ProtocolError> {
        let rest = &self.bytes[self.at..];
        let end = memchr(b'\n', rest).ok_or(ProtocolError::MalformedReply)?;
        if end < 2 || rest[end - 1] != b'\r' {
            return Err(ProtocolError::MalformedReply);
        }
        let line = self.bytes.slice(self.at + 1..self.at + end - 1);
        let kind = rest[0];
        self.at += end + 1;
        Ok((kind, line))
    }

    fn value(&mut self, depth: usize) -> Result<Reply, ProtocolError> {
        if depth == 0 {
            return Err(ProtocolError::ReplyTooDeep);
        }
        let (kind, line) = self.line()?;
        let count = match item(kind, &line)? {
            Item::Line => 0,
            Item::Bulk(len) => len,
            Item::Aggregate(count) | Item::Attribute(count) => count as usize,
        };
        Ok(match kind {
            b'+' => Reply::Simple(line),
            b'-' => Reply::Error(line),
            b':' => {
                let digits = line.strip_prefix(b"+").unwrap_or(&line);
                Reply::Integer(parse_i64(digits).ok_or(ProtocolError::MalformedReply)?)
            }
            b'_' => Reply::Null,
            b'#' => Reply::Boolean(line.as_ref() == b"t"),
            b',' => Reply::Double(line),
            b'(' => Reply::BigNumber(line),
            b'$' if line.as_ref() == b"-1" => Reply::Null,
            b'*' if line.as_ref() == b"-1" => Reply::NullArray,
            b'$' => Reply::Bulk(self.bulk(count)?),
            b'!' => Reply::Error(self.bulk(count)?),
            b'=' => {
                let text = self.bulk(count)?;
                if text.len() < 4 {
                    return Err(ProtocolError::MalformedReply);
                }
                Reply::Verbatim { format: [text[0], text[1], text[2]], text: text.slice(4..) }
            }
            b'*' => Reply::Array(self.values(count, depth)?),
            b'~' => Reply::Set(self.values(count, depth)?),
            b'>' => Reply::Push(self.values(count, depth)?),
            b'%' => {
                let mut pairs = Vec::new();
                for _ in 0..count / 2 {
                    pairs.push((self.value(depth - 1)?, self.value(depth - 1)?));
                }
                Reply::Map(pairs)
            }
            b'|' => {
                self.values(count, depth)?;
                self.value(depth)?
            }
            _ => return Err(ProtocolError::MalformedReply),
        })
    }

    /// The elements are not allocated ahead: a count is only a claim until they are there.
    fn values(&mut self, count: usize, depth: usize) -> Result<Vec<Reply>, ProtocolError> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth - 1)?);
        }
        Ok(values)
    }

    fn bulk(&mut self, len: usize) -> Result<Bytes, ProtocolError> {
        let end = self.at.checked_add(len).ok_or(ProtocolError::MalformedReply)?;
        if self.bytes.len() < end + 2 {
            return Err(ProtocolError::MalformedReply);
        }
        let bulk = self.bytes.slice(self.at..end);
        self.at = end + 2;
        Ok(bulk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&str] = &[
        "+OK\r\n",
        "-ERR no\r\n",
        ":-12\r\n",
        "$0\r\n\r\n",
        "$5\r\na\r\nbc\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n$-1\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n,1.5\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n",
        "*2\r\n|1\r\n+k\r\n:1\r\n:7\r\n:8\r\n",
        ">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n",
        "=6\r\ntxt:hi\r\n",
        "_\r\n",
        "#t\r\n",
        "(12345678901234567890\r\n",
        "!5\r\nERR x\r\n",
    ];

    fn scan_all(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut scanner = ReplyScanner::default();
        let (mut buffer, mut replies) = (Vec::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(len) = scanner.scan(&buffer, &Limits::default()).expect("valid") {
                replies.push(buffer.drain(..len).collect());
            }
        }
        assert!(buffer.is_empty());
        replies
    }

    #[test]
    fn every_split_finds_the_same_replies() {
        let stream: Vec<u8> = REPLIES.concat().into_bytes();
        let expected: Vec<Vec<u8>> = REPLIES.iter().map(|r| r.as_bytes().to_vec()).collect();
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(scan_all(&[head, tail]), expected, "cut at byte {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(scan_all(&bytes), expected, "byte by byte");
    }

    #[test]
    fn a_parsed_reply_is_written_as_it_came() {
        for text in REPLIES.iter().filter(|r| !r.contains('|') && !r.starts_with('!')) {
            let reply = parse_reply(&Bytes::from_static(text.as_bytes()), 128).expect("valid");
            let mut out = Vec::new();
            let protocol = if text.contains("-1\r\n") {
                crate::resp::Protocol::Resp2
            } else {
                crate::resp::Protocol::Resp3
            };
            crate::resp::Encoder::new(&mut out, protocol).reply(&reply);
            assert_eq!(String::from_utf8(out).expect("text"), *text);
        }
    }

    #[test]
    fn what_is_not_a_reply_is_refused() {
        for bytes in [
            "hello\r\n",
            "$x\r\n",
            "$-2\r\n",
            "*99999999999\r\n",
            ":1a\r\n",
            "+a\n",
            "\r\n",
            "*1\r\n?\r\n",
            "$3\r\nabcde",
            "*2\r\n$3\r\nabcdefgh",
        ] {
            let got = ReplyScanner::default().scan(bytes.as_bytes(), &Limits::default());
            assert_eq!(got, Err(ProtocolError::MalformedReply), "{bytes:?}");
        }
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let limits = Limits::default();
        let deep = "*1\r\n".repeat(limits.reply_depth) + ":1\r\n";
        assert_eq!(ReplyScanner::default().scan(deep.as_bytes(), &limits), Ok(Some(deep.len())));
        let deeper = "*1\r\n".repeat(100_000);
        assert_eq!(
            ReplyScanner::default().scan(deeper.as_bytes(), &limits),
            Err(ProtocolError::ReplyTooDeep)
        );
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut scanner = ReplyScanner::default();
        assert_eq!(scanner.scan(b"*1000000000\r\n", &Limits::default()), Ok(None));
        let text = Bytes::from_static(b"*1000000000\r\n:1\r\n");
        assert_eq!(parse_reply(&text, 8), Err(ProtocolError::MalformedReply));
    }
}
