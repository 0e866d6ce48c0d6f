//! One connection to one node: what is expected back, in order, and nothing else.
//!
//! The exact accounting of replies is what keeps clients apart: every frame that goes out has its
//! entry in the queue, every reply takes one off, and a connection on which the two could differ
//! (a time-out, a protocol error, a reply nobody expects) is closed and never used again.

use super::handshake::{Handshake, HandshakeError};
use super::lanes::LaneId;
use super::metrics::NodeMetrics;
use super::retry::Progress;
use crate::cluster::Endpoint;
use crate::resp::{Limits, ProtocolError, ReplyScanner};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// A connection of one worker. Reused after the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

impl LinkId {
    /// No connection.
    pub const NONE: Self = Self(u32::MAX);

    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whose reply is expected.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// The session's place.
    pub session: u32,
    /// Which session of that place: a later one must not get an earlier one's reply.
    pub incarnation: u32,
    /// The request's sequence number in the session.
    pub seq: u64,
    /// Which part of it, or [`Expect::WHOLE`].
    pub part: u32,
    /// What to do with the reply.
    pub kind: ExpectKind,
    /// The place in the outgoing stream of the frame's end.
    pub end: u64,
    /// When it was queued.
    pub queued: Instant,
}

impl Expect {
    /// What is expected of a PING of our own.
    pub(crate) fn probe(now: Instant) -> Self {
        Self {
            session: u32::MAX,
            incarnation: 0,
            seq: 0,
            part: Self::WHOLE,
            kind: ExpectKind::Probe,
            end: 0,
            queued: now,
        }
    }

    /// What a node says unasked, to the client whose connection this is.
    fn pushed_to(owner: Owner, now: Instant) -> Self {
        let Owner { session, incarnation } = owner;
        Self { session, incarnation, kind: ExpectKind::Push, ..Self::probe(now) }
    }

    /// The reply is that of a whole request, not of a part.
    pub const WHOLE: u32 = u32::MAX;
}

/// What a reply is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectKind {
    /// A session's request.
    Request,
    /// A session's request that was not run at first.
    Retry,
    /// `ASKING`: its OK is dropped.
    Asking,
    /// A read of a script's first key, which tells whether its redirect was the node's.
    Confirm,
    /// A PING of our own on an idle connection: its answer only shows that the node is there.
    Probe,
    /// For a session that has this connection to itself: what its `part` says.
    Pinned,
    /// What makes a connection that a session had to itself as good as new.
    Clean,
    /// `CLIENT UNBLOCK` for a session's blocked connection.
    Unblock,
    /// Nothing was asked: the node says of itself that keys have changed.
    Push,
}

/// The session that has a connection to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The session's place.
    pub session: u32,
    /// Which session of that place.
    pub incarnation: u32,
}

/// Who a connection is for, and how its silence is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// For every session of the worker.
    Shared,
    /// For the next session that needs one to itself; since when nobody has.
    Idle(Instant),
    /// For one session, with nothing of it left behind by what it answered so far.
    Held(Owner),
    /// For one session, on a command that answers when it likes.
    Blocked(Owner),
    /// What a session left behind is being taken back.
    Cleaning,
}

impl Role {
    /// The session that has it to itself.
    pub fn owner(self) -> Option<Owner> {
        match self {
            Self::Held(owner) | Self::Blocked(owner) => Some(owner),
            Self::Shared | Self::Idle(_) | Self::Cleaning => None,
        }
    }
}

/// How far a connection has come.
#[derive(Debug)]
enum Phase {
    /// The socket is being connected.
    Connecting,
    /// The handshake is under way.
    Handshaking(Handshake),
    /// Commands go out.
    Ready,
    /// Over.
    Closed,
}

/// Why a link cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// What the node sent is no reply.
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    /// A reply that nobody expects.
    #[error("a reply that nobody expects")]
    Unexpected,
    /// The handshake was refused.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

/// One reply, as it came.
#[derive(Debug)]
pub struct Answer {
    /// Whose it is.
    pub expect: Expect,
    /// Where it begins in the input.
    pub at: usize,
    /// Its bytes.
    pub len: usize,
}

/// The machine of one connection.
#[derive(Debug)]
pub struct Link {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// What was said on it before any command: which sessions it is fit for.
    pub(crate) lane: LaneId,
    /// Who it is for.
    pub role: Role,
    /// What the node calls it (CLIENT ID), where that was asked.
    pub node_client: Option<i64>,
    /// The client whose lane it is on, where that tracks what it reads: what the node says unasked
    /// is that client's.
    pub tracker: Option<Owner>,
    /// What the node said to CLIENT TRACKING, where that was an error.
    pub refused_further: Option<String>,
    /// When it was asked for.
    pub opened: Instant,
    /// Since when the node has been silent with something expected of it.
    pub silent_since: Instant,
    /// Whether it has been silent for too long to be given more.
    pub suspect: bool,
    /// Whether it is closed as soon as nothing is expected on it.
    pub retiring: bool,
    /// Whether it is its client's lane, and held for as long as its role says.
    pub lent: bool,
    /// Whether it carries subscriptions, and no command of a client.
    pub subscriber: bool,
    /// Whether it has answered a command.
    pub has_served: bool,
    /// Requests on it that were not run at first.
    pub retrying: usize,
    /// Whether it waits in the worker's list of connections to write to.
    pub listed: bool,
    /// The cells of its node.
    pub metrics: Arc<NodeMetrics>,
    phase: Phase,
    out: Vec<u8>,
    out_at: usize,
    /// The place in the outgoing stream of `out[0]`.
    out_base: u64,
    expected: VecDeque<Expect>,
    input: Vec<u8>,
    input_at: usize,
    scanner: ReplyScanner,
    limits: Limits,
    handshake_out: Vec<u8>,
    handshake: Option<Handshake>,
}

impl Link {
    /// A connection that is to be made.
    pub(crate) fn new(
        endpoint: Endpoint,
        lane: LaneId,
        role: Role,
        handshake: Handshake,
        limits: Limits,
        metrics: Arc<NodeMetrics>,
        now: Instant,
    ) -> Self {
        Self {
            endpoint,
            lane,
            role,
            node_client: None,
            tracker: None,
            refused_further: None,
            opened: now,
            silent_since: now,
            suspect: false,
            retiring: false,
            lent: false,
            subscriber: false,
            has_served: false,
            retrying: 0,
            listed: false,
            metrics,
            phase: Phase::Connecting,
            out: Vec::new(),
            out_at: 0,
            out_base: 0,
            expected: VecDeque::new(),
            input: Vec::new(),
            input_at: 0,
            scanner: ReplyScanner::default(),
            limits,
            handshake_out: Vec::new(),
            handshake: Some(handshake),
        }
    }

    /// Whether commands go out.
    #[inline]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// How many replies are expected.
    pub fn in_flight(&self) -> usize {
        self.expected.len()
    }

    /// Whether all that is expected is the answer to a PING of our own.
    pub(crate) fn is_only_probed(&self) -> bool {
        self.expected.iter().all(|expect| expect.kind == ExpectKind::Probe)
    }

    /// When the oldest request on it was queued.
    pub fn oldest(&self) -> Option<Instant> {
        self.expected.front().map(|expect| expect.queued)
    }

    /// Queues a frame. `write` appends it.
    #[inline]
    pub fn send(&mut self, mut expect: Expect, write: impl FnOnce(&mut Vec<u8>)) {
        if self.expected.is_empty() {
            self.silent_since = expect.queued;
        }
        write(&mut self.out);
        expect.end = self.out_base + self.out.len() as u64;
        self.expected.push_back(expect);
    }

    /// Whether there is something to write.
    #[inline]
    pub fn wants_write(&self) -> bool {
        !self.writable().is_empty()
    }

    /// Whether everything queued was handed over.
    pub(crate) fn out_is_empty(&self) -> bool {
        self.out_at == self.out.len()
    }

    /// What to write next.
    #[inline]
    pub fn writable(&self) -> &[u8] {
        match self.phase {
            Phase::Ready => &self.out[self.out_at..],
            Phase::Handshaking(_) => &self.handshake_out,
            Phase::Connecting | Phase::Closed => &[],
        }
    }

    /// `count` bytes of [`Link::writable`] were handed over.
    #[inline]
    pub fn wrote(&mut self, count: usize) {
        if let Phase::Handshaking(_) = self.phase {
            self.handshake_out.drain(..count);
            return;
        }
        self.out_at += count;
        if self.out_at == self.out.len() {
            self.out_base += self.out.len() as u64;
            self.out_at = 0;
            if self.out.capacity() > OUT_KEPT {
                self.out = Vec::new();
            } else {
                self.out.clear();
            }
        }
    }

    /// The socket is connected: the handshake begins.
    pub fn connected(&mut self, now: Instant) {
        if let Some(mut handshake) = self.handshake.take() {
            handshake.begin(&mut self.handshake_out);
            self.silent_since = now;
            self.phase = Phase::Handshaking(handshake);
        }
    }

    /// The buffer to read into.
    #[inline]
    pub fn read_buffer(&mut self) -> &mut Vec<u8> {
        if self.input_at == self.input.len() {
            self.input.clear();
            self.input_at = 0;
            if self.input.capacity() > INPUT_KEPT {
                self.input = Vec::new();
            }
        } else if self.input_at > 0 && self.input.capacity() - self.input.len() < INPUT_ROOM / 4 {
            self.input.drain(..self.input_at);
            self.input_at = 0;
        }
        // A claimed length is believed as far as bytes have followed it.
        let held = self.input.len() - self.input_at;
        let missing = self.scanner.bytes_wanted().saturating_sub(held);
        let room = missing.min(held.max(INPUT_ROOM)).max(INPUT_ROOM / 4);
        if self.input.capacity() - self.input.len() < room {
            self.input.reserve(room.max(INPUT_ROOM));
        }
        &mut self.input
    }

    /// Nothing is expected: a buffer that grew is given back.
    pub(crate) fn shrink(&mut self) {
        if self.input_at == self.input.len() && self.input.capacity() > INPUT_ROOM * 4 {
            self.input = Vec::new();
            self.input_at = 0;
        }
    }

    /// Bytes have been read: the node is alive.
    #[inline]
    pub fn heard(&mut self, now: Instant) {
        self.silent_since = now;
        self.suspect = false;
    }

    /// The next whole reply. Handshake replies are taken here.
    ///
    /// # Errors
    /// The link must be closed.
    #[inline]
    pub fn next_answer(&mut self) -> Result<Option<Answer>, LinkError> {
        let Some(Range { start: at, end }) = self.next_frame()? else { return Ok(None) };
        let len = end - at;
        // We subscribe to nothing on this connection, so a push is no answer to us.
        if self.input[at] == b'>' {
            let of = self.tracker.ok_or(LinkError::Unexpected)?;
            let expect = Expect::pushed_to(of, self.silent_since);
            return Ok(Some(Answer { expect, at, len }));
        }
        let expect = self.expected.pop_front().ok_or(LinkError::Unexpected)?;
        if expect.kind == ExpectKind::Retry {
            self.retrying -= 1;
        }
        Ok(Some(Answer { expect, at, len }))
    }

    /// Where the next whole reply lies in the input, or frame, if the connection carries subscriptions.
    /// Handshake replies are taken here.
    ///
    /// # Errors
    /// The link must be closed.
    #[inline]
    pub(crate) fn next_frame(&mut self) -> Result<Option<Range<usize>>, LinkError> {
        loop {
            let bytes = &self.input[self.input_at..];
            if bytes.is_empty() {
                return Ok(None);
            }
            let Some(len) = self.scanner.scan(bytes, &self.limits)? else { return Ok(None) };
            let at = self.input_at;
            self.input_at += len;
            match &mut self.phase {
                Phase::Ready => return Ok(Some(at..at + len)),
                Phase::Handshaking(handshake) => {
                    if handshake.answered(&self.input[at..at + len], &mut self.handshake_out)? {
                        self.node_client = handshake.client_id();
                        self.refused_further = handshake.refused();
                        self.phase = Phase::Ready;
                    }
                }
                Phase::Connecting | Phase::Closed => return Err(LinkError::Unexpected),
            }
        }
    }

    /// The bytes of [`Link::next_frame`].
    pub(crate) fn frame(&self, at: Range<usize>) -> &[u8] {
        &self.input[at]
    }

    /// Queues bytes whose answers are accounted for elsewhere.
    pub(crate) fn queue(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
    }

    /// The bytes of an answer.
    #[inline]
    pub fn bytes(&self, answer: &Answer) -> &[u8] {
        &self.input[answer.at..answer.at + answer.len]
    }

    /// The connection is over: whatever was expected on it, in order, and how far each had come.
    pub fn close(&mut self) -> Vec<(Expect, Progress)> {
        let written = self.out_base + self.out_at as u64;
        self.phase = Phase::Closed;
        self.retrying = 0;
        self.out = Vec::new();
        self.out_at = 0;
        self.input = Vec::new();
        self.input_at = 0;
        self.expected
            .drain(..)
            .map(|expect| {
                let sent = expect.end <= written;
                (expect, if sent { Progress::Sent } else { Progress::Unsent })
            })
            .collect()
    }
}

/// What is kept of an outgoing buffer that grew.
const OUT_KEPT: usize = 256 * 1024;
/// What a busy connection keeps of an incoming buffer that grew: making it anew for every large
/// reply would leave the allocator with several times its size.
const INPUT_KEPT: usize = 4 * 1024 * 1024;
/// Room for one read.
const INPUT_ROOM: usize = 64 * 1024;
