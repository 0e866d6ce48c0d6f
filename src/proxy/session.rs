//! One client's connection: what it has sent, what it is owed, and who it is.

use super::buffer::Output;
use super::core::Listening;
use super::input::Input;
use super::lanes::LaneId;
use super::losses::Written;
use super::metrics::ClientEnd;
use super::options::Options;
use super::pinned::Pins;
use super::pipeline::Pipeline;
use super::tracking::Tracking;
use crate::cluster::Slot;
use crate::command::Spec;
use crate::resp::{Limits, Protocol, RequestDecoder};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The machine of one client's connection.
#[derive(Debug)]
pub(super) struct Session {
    /// Which session of its place this is: see [`super::link::Expect`].
    pub incarnation: u32,
    /// What it has sent, as far as it is not answered.
    pub input: Input,
    /// Where its requests begin and end.
    pub decoder: RequestDecoder,
    /// Bytes of a request that is decoded and may not go yet; 0 for none.
    pub undispatched: usize,
    /// Its requests under way.
    pub pipeline: Pipeline,
    /// Replies on their way to it.
    pub output: Output,
    /// Who it is.
    pub client: Client,
    /// What it listens to; absent in nearly all.
    pub listening: Option<Box<Listening>>,
    /// Which connections its requests travel on.
    pub lane: LaneId,
    /// CLIENT CACHING for the request that is being dispatched.
    pub caching: Option<bool>,
    /// How it will be told of changes, once it is known that whom it names is there.
    pub wanted_tracking: Option<Box<Tracking>>,
    /// What it has connections of its own for.
    pub pins: Option<Box<Pins>>,
    /// Where it has written: WAIT must know.
    pub written: Written,
    /// Requests of it that a node has said were not run.
    pub unsettled: usize,
    /// Whether nothing more is dispatched until everything under way is answered.
    pub wait_for_all: bool,
    /// The map's generation when the oldest of its requests under way was sent.
    pub generation: u64,
    /// Slots that answered ASK or TRYAGAIN a moment ago, and until when that is a moment.
    pub careful: Vec<(Slot, Instant)>,
    /// The client has said that nothing more comes.
    pub ended: bool,
    /// It is closed once it has what it is owed.
    pub closing: Option<ClientEnd>,
    /// It is closed at once.
    pub dead: Option<ClientEnd>,
    /// Whether it waits in the worker's list of sessions to write to.
    pub listed_for_write: bool,
    /// Whether it waits in the worker's list of sessions that may go on.
    pub listed_to_advance: bool,
    /// Since when a request has been coming in, and how much of the stream there was at the last
    /// look at its progress.
    pub coming_in: Option<(Instant, u64)>,
    /// The end of the burst of requests that the client has sent and now waits for, as a sequence
    /// number; 0 when it does not wait.
    pub burst_end: u64,
    /// When it is next looked at because something is to be tried again.
    pub timer: Option<Instant>,
    window: Window,
}

/// Who a client is, as far as it has said.
#[derive(Debug)]
pub(super) struct Client {
    /// Its number, unique in the process.
    pub id: u64,
    /// Where it is.
    pub peer: SocketAddr,
    /// What it connected to.
    pub local: SocketAddr,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The database it has selected.
    pub database: u32,
    /// CLIENT NO-TOUCH: what it reads does not count as used.
    pub no_touch: bool,
    /// Whether it may do anything but authenticate.
    pub authenticated: bool,
    /// Whether some requests are not to be looked at as usual: see `Core::gate`.
    pub gated: bool,
    /// Whether CLIENT PAUSE may hold its requests.
    pub paused: bool,
    /// Whether what it sends is shown to others.
    pub monitored: bool,
    /// Whether it is shown what all send.
    pub monitors: bool,
    /// Which of its requests was shown last: one past its place in what the client has sent.
    pub shown_at: u64,
    /// Whether it is told when keys change; absent in nearly all.
    pub tracking: Option<Box<Tracking>>,
    /// Whether it listens to anything.
    pub listens: bool,
    /// Whether it wants replies.
    pub replies: Replies,
    /// What it calls itself; absent in nearly all.
    pub names: Option<Box<Names>>,
    /// When it connected.
    pub connected: Instant,
    /// When it last sent something.
    pub active: Instant,
    /// What it sent last, as far as is known.
    pub last: Option<&'static Spec>,
}

/// What a client calls itself.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    /// Every command is answered.
    #[default]
    On,
    /// None is.
    Off,
    /// The next one is not.
    SkipNext,
}

impl Client {
    /// Whether the command at hand is not to be answered. SKIP is used up by it.
    #[inline]
    pub(super) fn take_unanswered(&mut self) -> bool {
        match self.replies {
            Replies::On => false,
            Replies::Off => true,
            Replies::SkipNext => {
                self.replies = Replies::On;
                true
            }
        }
    }
}

/// How many of a client's requests may be under way, so that their replies fit into what it may
/// leave unread. Nobody knows the size of a reply before it is there, so the window opens as
/// replies show theirs, and closes as soon as one is large.
#[derive(Debug)]
struct Window {
    size: usize,
    /// The largest reply of the last and of this generation.
    largest: [usize; 2],
    seen: u32,
}

/// The first requests of a burst always go.
const BURST: usize = 8;
/// What a burst of a client with small replies may begin with.
const BURST_PROVEN: usize = 64;
/// Replies up to this size count as small.
const SMALL: usize = 64 * 1024;
/// How many replies a generation has.
const GENERATION: u32 = 64;

impl Session {
    /// A client that has just connected.
    pub(super) fn new(
        incarnation: u32,
        id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        needs_auth: bool,
        now: Instant,
    ) -> Self {
        Self {
            incarnation,
            input: Input::default(),
            decoder: RequestDecoder::default(),
            undispatched: 0,
            pipeline: Pipeline::default(),
            output: Output::default(),
            client: Client {
                id,
                peer,
                local,
                protocol: Protocol::Resp2,
                database: 0,
                no_touch: false,
                authenticated: !needs_auth,
                gated: needs_auth,
                paused: false,
                monitored: false,
                monitors: false,
                shown_at: 0,
                tracking: None,
                listens: false,
                replies: Replies::On,
                names: None,
                connected: now,
                active: now,
                last: None,
            },
            listening: None,
            lane: LaneId::plain(Protocol::Resp2),
            caching: None,
            wanted_tracking: None,
            pins: None,
            written: Written::default(),
            unsettled: 0,
            wait_for_all: false,
            generation: 0,
            careful: Vec::new(),
            ended: false,
            closing: None,
            dead: None,
            listed_for_write: false,
            listed_to_advance: false,
            coming_in: None,
            burst_end: 0,
            timer: None,
            window: Window { size: BURST, largest: [0; 2], seen: 0 },
        }
    }

    /// Sizes of its requests.
    #[inline]
    pub(super) fn limits<'a>(&self, options: &'a Options) -> &'a Limits {
        if self.client.authenticated { &options.limits } else { &Limits::UNAUTHENTICATED }
    }

    /// Bytes of replies that it has not read.
    #[inline]
    pub(super) fn unread(&self) -> usize {
        self.output.len() + self.pipeline.held_bytes()
    }

    /// Whether another request may go out.
    #[inline]
    pub(super) fn window_is_open(&self, options: &Options) -> bool {
        let under_way = self.pipeline.len();
        if under_way == 0 && self.output.is_empty() {
            return true;
        }
        let unread = self.unread();
        if unread == 0 && under_way < BURST {
            return true;
        }
        let expected = (under_way + 1) * self.window.largest[0].max(self.window.largest[1]);
        under_way < self.window.size.min(options.client_inflight_max)
            // Less than half: a buffer that grows is there twice while its bytes move, and the nodes'
            // connections hold a reply or two besides.
            && unread + expected <= options.client_output_soft / 8 * 3
            && self.input.len() - self.input.undecoded().len() <= options.client_input_bytes
    }

    /// A reply of `len` bytes has come: the window learns.
    #[inline]
    pub(super) fn saw_reply(&mut self, len: usize) {
        let window = &mut self.window;
        window.largest[0] = window.largest[0].max(len);
        window.seen += 1;
        if window.seen == GENERATION {
            window.seen = 0;
            window.largest = [0, window.largest[0]];
        }
        if len > SMALL {
            window.size = BURST;
        } else {
            window.size += 1;
        }
        if self.pipeline.is_empty() {
            window.size = window.size.min(BURST_PROVEN);
        }
    }

    /// The largest reply lately.
    #[inline]
    pub(super) fn largest_reply(&self) -> usize {
        self.window.largest[0].max(self.window.largest[1])
    }

    /// Whether reading from it makes sense now.
    #[inline]
    pub(super) fn wants_read(&self, options: &Options) -> bool {
        if self.ended || self.closing.is_some() || self.dead.is_some() {
            return false;
        }
        // What is held back is bounded; what is merely incomplete must be read to its end.
        !self.is_held_back() || self.input.len() < options.client_input_bytes
    }

    /// Whether a request is there that may not go yet.
    #[inline]
    pub(super) fn is_held_back(&self) -> bool {
        self.undispatched > 0 || self.unsettled > 0 || self.wait_for_all
    }

    /// Whether what is there for it can wait for the rest of what it has asked for: it has sent
    /// several requests at once and nothing since, so it is likely to wait for all of them.
    #[inline]
    pub(super) fn can_wait_for_more(&self) -> bool {
        self.pipeline.head() < self.burst_end && self.output.len() < WORTH_A_WRITE
    }

    /// Whether it can be closed: it has all that it is owed.
    pub(super) fn is_finished(&self) -> bool {
        if self.dead.is_some() {
            return true;
        }
        let owed = !self.pipeline.is_empty() || !self.output.is_empty();
        (self.closing.is_some() || (self.ended && self.undispatched == 0)) && !owed
    }

    /// It has left more unread than it may: it is closed, alone.
    #[cold]
    pub(super) fn overflow(&mut self) {
        tracing::warn!(
            peer = %self.client.peer,
            unread = self.output.len(),
            "a client that does not read its replies is closed"
        );
        self.dead = Some(ClientEnd::OutputLimit);
    }

    /// A slot answered ASK or TRYAGAIN: for a second its commands go one at a time.
    pub(super) fn be_careful(&mut self, slot: Slot, now: Instant) {
        let until = now + CAREFUL;
        match self.careful.iter_mut().find(|(s, _)| *s == slot) {
            Some(entry) => entry.1 = until,
            None => self.careful.push((slot, until)),
        }
    }

    /// Whether a command on this slot must wait for the others. Forgets what is over.
    pub(super) fn is_careful(&mut self, slot: Slot, now: Instant) -> bool {
        self.careful.retain(|(_, until)| *until > now);
        self.careful.iter().any(|(s, _)| *s == slot)
    }
}

/// Bytes of replies that are written at once, whatever else is coming.
const WORTH_A_WRITE: usize = 8 * 1024;

/// How long a slot's commands go one at a time after it answered ASK or TRYAGAIN.
const CAREFUL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::buffer::BufferPool;

    #[allow(clippy::disallowed_methods, reason = "tests need some start")]
    fn session() -> Session {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Session::new(1, 1, address, address, false, Instant::now())
    }

    #[test]
    fn unread_replies_and_those_expected_stay_under_the_soft_limit() {
        let (options, mut pool) = (Options::default(), BufferPool::default());
        let mut session = session();
        // Small replies that are read open the window.
        for _ in 0..100 {
            session.saw_reply(5);
        }
        assert!(session.window_is_open(&options));
        // Large ones that are not read close it, however few are under way.
        let reply = vec![0; 1 << 20];
        let mut sent = 0;
        while session.window_is_open(&options) {
            session.output.append(&reply, &mut pool);
            session.saw_reply(reply.len());
            sent += 1;
        }
        assert!((4..=8).contains(&sent), "{sent} replies of 1 MiB");
    }

    #[test]
    fn a_client_that_has_read_everything_may_always_ask() {
        let options = Options { client_output_soft: 1, ..Options::default() };
        let mut session = session();
        session.saw_reply(1 << 20);
        assert!(session.window_is_open(&options));
    }
}
