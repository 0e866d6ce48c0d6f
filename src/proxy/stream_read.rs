//! XREAD over several slots: each slot's streams are read by their owner, and the answers are put
//! into the order of the arguments.
//!
//! Only without BLOCK: a wait would have to end at several nodes at once, and what the others find
//! at the same moment would be read twice or not at all. XREADGROUP takes what it reads, so it needs
//! one slot even without BLOCK. Each slot is read at its own moment, as with MGET.

use super::elements::bulk_text;
use crate::command::{Spec, may_block};
use crate::resp::{Encoder, Limits, Protocol, ReplyScanner, Request, encode_args};

/// An XREAD whose streams are in several slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamRead {
    /// The argument that is the first key.
    first: usize,
}

impl StreamRead {
    /// The command, if it is one; `keys` are the places of its keys.
    pub(super) fn new(spec: &Spec, request: &Request<'_>, keys: &[u32]) -> Option<Self> {
        let first = *keys.first()? as usize;
        let is_whole = request.len() == first + 2 * keys.len();
        (spec.name == "xread" && is_whole && !may_block(spec, request)).then_some(Self { first })
    }

    /// Writes the command that reads the streams at these places.
    pub(super) fn write_part(self, keys: &[u32], request: &Request<'_>, out: &mut Vec<u8>) {
        let count = (request.len() - self.first) / 2;
        let before = (0..self.first).map(|at| request.arg(at));
        let names = keys.iter().map(|&key| request.arg(key as usize));
        let ids = keys.iter().map(|&key| request.arg(key as usize + count));
        let args: Vec<&[u8]> = before.chain(names).chain(ids).collect();
        encode_args(out, args.into_iter());
    }

    /// Writes the answer, of what each part has read and its keys.
    pub(super) fn write<'a>(
        self,
        parts: impl Iterator<Item = (&'a [u32], &'a [u8])>,
        request: &Request<'_>,
        reply: &mut Encoder<'_>,
    ) {
        let mut streams: Vec<(u32, &[u8])> = Vec::new();
        for (keys, answer) in parts {
            let mut keys = keys.iter();
            for (name, bytes) in Streams::of(answer) {
                // In the order of its keys, without those that had nothing.
                let place = keys.by_ref().find(|&&key| request.arg(key as usize) == name);
                streams.extend(place.map(|&place| (place, bytes)));
            }
        }
        streams.sort_by_key(|(place, _)| *place);
        match (streams.len(), reply.protocol()) {
            (0, _) => reply.null_array(),
            (count, Protocol::Resp2) => reply.array(count),
            (count, Protocol::Resp3) => reply.map(count),
        }
        for (_, bytes) in streams {
            reply.buffer().extend_from_slice(bytes);
        }
    }
}

/// The streams of one answer: the name of each, and its bytes, whole.
struct Streams<'a> {
    rest: &'a [u8],
    as_map: bool,
}

impl<'a> Streams<'a> {
    fn of(answer: &'a [u8]) -> Self {
        let none = matches!(answer, b"*-1\r\n" | b"_\r\n" | b"");
        let header = if none { 0 } else { memchr::memchr(b'\n', answer).map_or(0, |at| at + 1) };
        let rest = if none { b"" } else { &answer[header..] };
        Self { rest, as_map: answer.first() == Some(&b'%') }
    }
}

impl<'a> Iterator for Streams<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // A pair of a map: the name and the entries; in RESP2 an array of these two.
        let name_at = if self.as_map { 0 } else { memchr::memchr(b'\n', self.rest)? + 1 };
        let element =
            |bytes: &[u8]| ReplyScanner::default().scan(bytes, &Limits::default()).ok().flatten();
        let name_len = element(self.rest.get(name_at..)?)?;
        let name = bulk_text(&self.rest[name_at..name_at + name_len])?;
        let entries_at = name_at + name_len;
        let len = entries_at + element(self.rest.get(entries_at..)?)?;
        let (stream, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some((name, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup_request;
    use crate::resp::OwnedRequest;

    fn read(line: &str, keys: &[u32]) -> Option<(StreamRead, OwnedRequest)> {
        let args: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&args);
        let read = {
            let request = request.as_request();
            StreamRead::new(lookup_request(&request).expect("in the table"), &request, keys)
        };
        read.map(|read| (read, request))
    }

    #[test]
    fn streams_come_in_the_order_of_the_arguments() {
        let line = "XREAD COUNT 2 STREAMS a b a c 0 1 2 3";
        let (read, request) = read(line, &[4, 5, 6, 7]).expect("it is one");
        let request = request.as_request();
        let mut part = Vec::new();
        read.write_part(&[4, 6], &request, &mut part);
        let part = String::from_utf8(part).expect("text").replace("\r\n", " ");
        assert_eq!(part, "*8 $5 XREAD $5 COUNT $1 2 $7 STREAMS $1 a $1 a $1 0 $1 2 ");
        let answers: [(&[u32], &[u8]); 3] = [
            (&[5], b"*1\r\n*2\r\n$1\r\nb\r\n*1\r\n:1\r\n"),
            (&[4, 6], b"*2\r\n*2\r\n$1\r\na\r\n*0\r\n*2\r\n$1\r\na\r\n*1\r\n:2\r\n"),
            (&[7], b"*-1\r\n"),
        ];
        let mut out = Vec::new();
        let mut reply = Encoder::new(&mut out, Protocol::Resp2);
        read.write(answers.into_iter(), &request, &mut reply);
        let text = String::from_utf8(out).expect("text").replace("\r\n", " ");
        assert_eq!(text, "*3 *2 $1 a *0 *2 $1 b *1 :1 *2 $1 a *1 :2 ");

        let answers: [(&[u32], &[u8]); 2] =
            [(&[5], b"%1\r\n$1\r\nb\r\n*0\r\n"), (&[4, 6], b"%1\r\n$1\r\na\r\n*1\r\n:1\r\n")];
        let mut out = Vec::new();
        let mut reply = Encoder::new(&mut out, Protocol::Resp3);
        read.write(answers.into_iter(), &request, &mut reply);
        let text = String::from_utf8(out).expect("text").replace("\r\n", " ");
        assert_eq!(text, "%2 $1 a *1 :1 $1 b *0 ");
    }

    #[test]
    fn what_waits_or_takes_is_not_split() {
        assert!(read("XREAD BLOCK 0 STREAMS a b 0 0", &[4, 5]).is_none());
        assert!(read("XREADGROUP GROUP g c STREAMS a b > >", &[5, 6]).is_none());
    }
}
