//! What is expected on one subscriber connection, and what comes in on it.
//!
//! Confirmations come in the order of the commands, so the oldest command that waits for one is
//! the one that is confirmed, or refused. A node also says `sunsubscribe` unasked when a slot
//! leaves it, and nothing tells that from the confirmation of a SUNSUBSCRIBE. So nobody waits for
//! that confirmation: a PING behind the SUNSUBSCRIBE is waited for instead, and a `sunsubscribe`
//! never takes anything off the queue.

use super::elements::{bulk_text, element_len};
use super::topics::{TopicId, TopicKind};
use crate::resp::encode_request;
use std::collections::{HashSet, VecDeque};

/// The frames of a node, as far as a subscriber connection can carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A message.
    Message {
        /// To which kind of topic.
        kind: TopicKind,
        /// The topic's name: the channel, or the pattern that matched it.
        topic: &'a [u8],
        /// The channel that it was published on.
        channel: &'a [u8],
    },
    /// The node sends what comes to this topic from here on.
    Subscribed(TopicKind, &'a [u8]),
    /// The node does not send what comes to this topic any more.
    Unsubscribed(TopicKind, &'a [u8]),
    /// PONG.
    Pong,
    /// An error line, without its `-` and line end.
    Error(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// Reads a whole RESP3 frame; `None` for what no subscriber connection can carry.
    pub(super) fn parse(frame: &'a [u8]) -> Option<Self> {
        match frame.first()? {
            b'+' => Some(Self::Pong),
            b'-' => Some(Self::Error(frame[1..].strip_suffix(b"\r\n")?)),
            b'>' => Self::parse_push(frame),
            _ => None,
        }
    }

    fn parse_push(frame: &'a [u8]) -> Option<Self> {
        let mut rest = &frame[memchr::memchr(b'\n', frame)? + 1..];
        let mut next = || {
            let (element, behind) = rest.split_at(element_len(rest)?);
            rest = behind;
            bulk_text(element)
        };
        let word = next()?;
        let topic = next()?;
        let kind = TopicKind::ALL;
        let named = |name: fn(TopicKind) -> &'static str| {
            kind.into_iter().find(|&kind| name(kind).as_bytes() == word)
        };
        Some(match word {
            b"message" => Self::Message { kind: TopicKind::Channel, topic, channel: topic },
            b"smessage" => Self::Message { kind: TopicKind::Shard, topic, channel: topic },
            b"pmessage" => Self::Message { kind: TopicKind::Pattern, topic, channel: next()? },
            _ => match (named(TopicKind::subscribe), named(TopicKind::unsubscribe)) {
                (Some(kind), _) => Self::Subscribed(kind, topic),
                (None, Some(kind)) => Self::Unsubscribed(kind, topic),
                (None, None) => return None,
            },
        })
    }
}

/// What a command of ours waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The confirmation of one topic.
    Subscribed(TopicId, u64),
    /// The confirmation that one topic is over.
    Unsubscribed,
    /// A PONG.
    Pong,
    /// A PONG; whatever the SUNSUBSCRIBE before it is answered with comes first.
    Fence(TopicId, u64),
}

/// The queue of one subscriber connection.
#[derive(Debug, Default)]
pub(super) struct Feed {
    awaited: VecDeque<Awaited>,
    /// Topics asked for on it.
    pub topics: usize,
    /// Topics that the node sends on it, by kind: what it has confirmed and not ended since.
    sent: [HashSet<Box<[u8]>>; 3],
}

impl Feed {
    /// A topic that the node sends from this frame on (1), or does not send any more (-1).
    pub(super) fn change<'a>(&mut self, frame: &Frame<'a>) -> Option<(TopicKind, &'a [u8], i64)> {
        match *frame {
            Frame::Subscribed(kind, name) => {
                self.sent[kind as usize].insert(name.into()).then_some((kind, name, 1))
            }
            Frame::Unsubscribed(kind, name) => {
                self.sent[kind as usize].remove(name).then_some((kind, name, -1))
            }
            Frame::Message { .. } | Frame::Pong | Frame::Error(_) => None,
        }
    }

    /// Every topic that the node sends on it.
    pub(super) fn sent(&self) -> impl Iterator<Item = (TopicKind, &[u8])> {
        let of_kind = |kind: TopicKind| self.sent[kind as usize].iter().map(move |n| (kind, &**n));
        TopicKind::ALL.into_iter().flat_map(of_kind)
    }

    /// Whether anything is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Writes the command that begins to listen.
    pub(super) fn subscribe(
        &mut self,
        kind: TopicKind,
        name: &[u8],
        id: TopicId,
        serial: u64,
        out: &mut Vec<u8>,
    ) {
        encode_request(out, &[kind.subscribe().as_bytes(), name]);
        self.awaited.push_back(Awaited::Subscribed(id, serial));
        self.topics += 1;
    }

    /// Writes the command that stops to listen.
    pub(super) fn unsubscribe(
        &mut self,
        kind: TopicKind,
        name: &[u8],
        id: TopicId,
        serial: u64,
        out: &mut Vec<u8>,
    ) {
        encode_request(out, &[kind.unsubscribe().as_bytes(), name]);
        if kind == TopicKind::Shard {
            encode_request(out, &["PING"]);
            self.awaited.push_back(Awaited::Fence(id, serial));
        } else {
            self.awaited.push_back(Awaited::Unsubscribed);
        }
        self.topics -= 1;
    }

    /// Writes a PING.
    pub(super) fn ping(&mut self, out: &mut Vec<u8>) {
        encode_request(out, &["PING"]);
        self.awaited.push_back(Awaited::Pong);
    }

    /// What the oldest command waited for, now that this has come; `Ok(None)` when the frame
    /// answers no command.
    ///
    /// # Errors
    /// What came cannot be the answer to the oldest command: the connection must be closed.
    pub(super) fn answered(&mut self, frame: &Frame<'_>) -> Result<Option<Awaited>, Unexpected> {
        let oldest = self.awaited.front().copied();
        match (frame, oldest) {
            (Frame::Message { .. } | Frame::Unsubscribed(TopicKind::Shard, _), _) => Ok(None),
            // A SUNSUBSCRIBE of a slot that has left the node is refused.
            (Frame::Error(_), Some(Awaited::Fence(..))) => Ok(None),
            (Frame::Subscribed(..) | Frame::Error(_), Some(Awaited::Subscribed(..)))
            | (Frame::Unsubscribed(..), Some(Awaited::Unsubscribed))
            | (Frame::Pong, Some(Awaited::Pong | Awaited::Fence(..))) => {
                Ok(self.awaited.pop_front())
            }
            _ => Err(Unexpected),
        }
    }
}

/// An answer that the oldest command cannot have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_a_subscriber_connection_is_known() {
        let channel = TopicKind::Channel;
        for (text, expected) in [
            (
                ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
                Some(Frame::Message { kind: channel, topic: b"c", channel: b"c" }),
            ),
            (
                ">4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nc1\r\n$0\r\n\r\n",
                Some(Frame::Message { kind: TopicKind::Pattern, topic: b"c*", channel: b"c1" }),
            ),
            (
                ">3\r\n$12\r\nsunsubscribe\r\n$1\r\nx\r\n:0\r\n",
                Some(Frame::Unsubscribed(TopicKind::Shard, b"x")),
            ),
            (">3\r\n$9\r\nsubscribe\r\n$0\r\n\r\n:1\r\n", Some(Frame::Subscribed(channel, b""))),
            ("+PONG\r\n", Some(Frame::Pong)),
            ("-MOVED 1 a:1\r\n", Some(Frame::Error(b"MOVED 1 a:1"))),
            (">2\r\n$10\r\ninvalidate\r\n_\r\n", None),
            ("$1\r\na\r\n", None),
        ] {
            assert_eq!(Frame::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_sunsubscribe_that_nobody_asked_for_shifts_nothing() {
        let mut feed = Feed::default();
        let mut out = Vec::new();
        let shard = TopicKind::Shard;
        feed.subscribe(shard, b"x", TopicId(0), 1, &mut out);
        feed.subscribe(shard, b"y", TopicId(1), 2, &mut out);
        let gone = Frame::Unsubscribed(shard, b"x");
        assert_eq!(feed.answered(&gone), Ok(None));
        let moved = Frame::Error(b"MOVED 1 a:1");
        assert_eq!(feed.answered(&moved), Ok(Some(Awaited::Subscribed(TopicId(0), 1))));
        feed.unsubscribe(shard, b"x", TopicId(0), 1, &mut out);
        let confirmed = Frame::Subscribed(shard, b"y");
        assert_eq!(feed.answered(&confirmed), Ok(Some(Awaited::Subscribed(TopicId(1), 2))));
        // Unasked and refused, or confirmed: either way only the PONG settles it.
        for frame in [gone, moved] {
            assert_eq!(feed.answered(&frame), Ok(None));
        }
        assert_eq!(feed.answered(&Frame::Pong), Ok(Some(Awaited::Fence(TopicId(0), 1))));
        assert!(feed.is_idle());
        assert_eq!(feed.answered(&Frame::Pong), Err(Unexpected));
        assert_eq!(feed.answered(&moved), Err(Unexpected));
    }
}
