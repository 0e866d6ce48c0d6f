//! Replies and requests → bytes.

use super::reply::Reply;

/// Which version of RESP a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Writes `<prefix><number>\r\n`.
pub(super) fn bulk_header(out: &mut Vec<u8>, prefix: u8, number: usize) {
    out.push(prefix);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a request as a multibulk.
pub fn encode_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    encode_args(out, args.iter());
}

/// The same for arguments that lie in several places.
pub fn encode_args<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = A>) {
    bulk_header(out, b'*', args.len());
    for arg in args {
        let arg = arg.as_ref();
        bulk_header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Room for the head of an array or a map: see [`Encoder::open`].
#[derive(Debug)]
#[must_use = "the room holds a guess until it is closed"]
pub struct OpenHead {
    start: usize,
    end: usize,
}

/// Writes replies in one connection's protocol. What RESP2 has no type for becomes what Redis
/// makes of it there: a map becomes an array of twice the length, a double a bulk string, …
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// Appends to `out` in `protocol`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol it writes.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes in `protocol` from here on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How many bytes there are so far, what was in the buffer before included.
    #[allow(clippy::len_without_is_empty, reason = "it is a place in the output")]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// The bytes so far, for what is written by hand.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// A status, such as `+OK`. It must not hold CR or LF.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a status is one line");
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error; `text` starts with its code. CR and LF become spaces, so that nothing a client
    /// sent can end the line early; at its end they are left out, as in Redis.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.out.push(b'-');
        let text = text.as_ref();
        let len = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
        let text = &text[..len];
        self.out.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.out.push(b':');
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        bulk_header(self.out, b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A number as a bulk string.
    pub fn bulk_integer(&mut self, number: i64) {
        self.bulk(itoa::Buffer::new().format(number));
    }

    /// Nothing: `$-1`, or RESP3's null.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Nothing, where an array would have stood: `*-1`, or RESP3's null.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `len` elements.
    pub fn array(&mut self, len: usize) {
        bulk_header(self.out, b'*', len);
    }

    /// The head of a map of `len` pairs.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => bulk_header(self.out, b'*', len * 2),
            Protocol::Resp3 => bulk_header(self.out, b'%', len),
        }
    }

    /// Leaves room for the head of an array or a map whose length is known only when its elements
    /// are written: about `expected`.
    pub fn open(&mut self, expected: usize) -> OpenHead {
        let start = self.out.len();
        self.array(expected);
        OpenHead { start, end: self.out.len() }
    }

    /// Writes the head of an array into the room left for it. Where the length has as many digits
    /// as what was expected, nothing moves.
    pub fn close_array(&mut self, open: OpenHead, len: usize) {
        self.close(open, b'*', len);
    }

    /// The same with the head of a set of `len` elements.
    pub fn close_set(&mut self, open: OpenHead, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.close(open, b'*', len),
            Protocol::Resp3 => self.close(open, b'~', len),
        }
    }

    /// The same with the head of a map of `len` pairs.
    pub fn close_map(&mut self, open: OpenHead, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.close(open, b'*', len * 2),
            Protocol::Resp3 => self.close(open, b'%', len),
        }
    }

    fn close(&mut self, open: OpenHead, mark: u8, len: usize) {
        self.out[open.start] = mark;
        let mut number = itoa::Buffer::new();
        let digits = number.format(len).bytes();
        let room = open.start + 1..open.end - 2;
        if digits.len() == room.len() {
            self.out[room].iter_mut().zip(digits).for_each(|(place, digit)| *place = digit);
        } else {
            self.out.splice(room, digits);
        }
    }

    /// The head of a set of `len` elements.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => bulk_header(self.out, b'*', len),
            Protocol::Resp3 => bulk_header(self.out, b'~', len),
        }
    }

    /// The head of an out-of-band message of `len` elements.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => bulk_header(self.out, b'*', len),
            Protocol::Resp3 => bulk_header(self.out, b'>', len),
        }
    }

    /// True or false; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// A floating-point number whose text the caller has formatted.
    pub fn double_text(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.out.push(b',');
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Text for people, such as INFO's: a verbatim string (`txt`) in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                bulk_header(self.out, b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A whole reply.
    pub fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Simple(text) => {
                self.out.push(b'+');
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
            Reply::Error(text) => self.error(text),
            Reply::Integer(number) => self.integer(*number),
            Reply::Bulk(bytes) => self.bulk(bytes),
            Reply::Null => self.null(),
            Reply::NullArray => self.null_array(),
            Reply::Boolean(value) => self.boolean(*value),
            Reply::Double(text) => self.double_text(&String::from_utf8_lossy(text)),
            Reply::BigNumber(digits) => match self.protocol {
                Protocol::Resp2 => self.bulk(digits),
                Protocol::Resp3 => {
                    self.out.push(b'(');
                    self.out.extend_from_slice(digits);
                    self.out.extend_from_slice(b"\r\n");
                }
            },
            Reply::Verbatim { text, .. } => self.verbatim(text),
            Reply::Array(items) => {
                self.array(items.len());
                self.replies(items);
            }
            Reply::Set(items) => {
                self.set(items.len());
                self.replies(items);
            }
            Reply::Push(items) => {
                self.push(items.len());
                self.replies(items);
            }
            Reply::Map(pairs) => {
                self.map(pairs.len());
                for (key, value) in pairs {
                    self.reply(key);
                    self.reply(value);
                }
            }
        }
    }

    fn replies(&mut self, items: &[Reply]) {
        for item in items {
            self.reply(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(protocol: Protocol, write: impl Fn(&mut Encoder<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Encoder::new(&mut out, protocol));
        String::from_utf8(out).expect("the test writes text")
    }

    #[test]
    fn each_type_has_its_form_in_both_protocols() {
        type Write = fn(&mut Encoder<'_>);
        let table: &[(Write, &str, &str)] = &[
            (|e| e.null(), "$-1\r\n", "_\r\n"),
            (|e| e.null_array(), "*-1\r\n", "_\r\n"),
            (|e| e.map(2), "*4\r\n", "%2\r\n"),
            (|e| e.set(2), "*2\r\n", "~2\r\n"),
            (|e| e.push(3), "*3\r\n", ">3\r\n"),
            (|e| e.boolean(true), ":1\r\n", "#t\r\n"),
            (|e| e.double_text("1.5"), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|e| e.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|e| e.integer(-7), ":-7\r\n", ":-7\r\n"),
        ];
        for (write, resp2, resp3) in table {
            assert_eq!(encode(Protocol::Resp2, write), *resp2);
            assert_eq!(encode(Protocol::Resp3, write), *resp3);
        }
    }

    #[test]
    fn nothing_in_an_error_can_end_its_line() {
        let text = encode(Protocol::Resp2, |e| e.error("ERR unknown 'a\r\n+OK'"));
        assert_eq!(text, "-ERR unknown 'a  +OK'\r\n");
        assert_eq!(encode(Protocol::Resp2, |e| e.error("ERR option a\n\r\n")), "-ERR option a\r\n");
    }
}
