//! What a session has connections of its own for, and how far each of these things has come. What
//! is decided about them is in `core`: `pins`, `transactions`, `blocking`.

use super::link::LinkId;
use super::pipeline::{Retry, Target};
use crate::cluster::Slot;
use crate::command::Spec;
use crate::resp::{Limits, Protocol, ReplyScanner};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Everything that a session has connections of its own for. Nearly no session has any.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// WATCH, or MULTI.
    pub transaction: Option<Transaction>,
    /// A command that waits at its node.
    pub blocked: Option<Blocked>,
    /// WAIT or WAITAOF.
    pub waits: Option<Waits>,
}

impl Pins {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.transaction.is_none() && self.blocked.is_none() && self.waits.is_none()
    }

    /// Whether a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.transaction.as_ref().is_some_and(|of| of.multi.is_some())
    }

    /// Whether a transaction is open, and this command is no end of everything.
    pub(super) fn queues(&self, spec: &Spec) -> bool {
        self.is_open() && !matches!(spec.name, "quit" | "reset")
    }

    /// The tries of one of them.
    pub(super) fn tries(&mut self, pin: Pin) -> Option<&mut Tries> {
        match pin {
            Pin::Transaction => self.transaction.as_mut().map(|of| &mut of.tries),
            Pin::Blocked => self.blocked.as_mut().map(|of| &mut of.tries),
            Pin::Waits => self.waits.as_mut().map(|of| &mut of.tries),
        }
    }
}

/// One of the things that a session may have a connection of its own for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// [`Pins::transaction`].
    Transaction,
    /// [`Pins::blocked`].
    Blocked,
    /// [`Pins::waits`].
    Waits,
}

impl Pin {
    /// Each of them.
    pub(super) const ALL: [Self; 3] = [Self::Transaction, Self::Blocked, Self::Waits];
}

/// How often something was sent that has not run, and when it goes out again.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Redirects followed in a row.
    pub hops: u8,
    /// It waits to be sent (again).
    pub waiting: bool,
    /// When, and where to.
    pub retry: Retry,
}

/// A transaction, from the first WATCH or from MULTI on.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The connection of its slot's owner, as soon as a key is known.
    pub link: LinkId,
    /// The slot of its keys.
    pub slot: Option<Slot>,
    /// Whether keys are watched.
    pub watching: bool,
    /// Which, by a digest of each: how many there are is shown to others.
    pub watched: BTreeSet<u64>,
    /// What was watched cannot be told any more: EXEC answers as if it had changed.
    pub void: bool,
    /// The WATCH under way.
    pub watch: Option<u64>,
    /// What is queued, after MULTI.
    pub multi: Option<Multi>,
    /// Its tries.
    pub tries: Tries,
}

impl Default for Transaction {
    fn default() -> Self {
        Self {
            link: LinkId::NONE,
            slot: None,
            watching: false,
            watched: BTreeSet::new(),
            void: false,
            watch: None,
            multi: None,
            tries: Tries::default(),
        }
    }
}

/// What a node said instead of queueing or running something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotRun {
    /// Another node would.
    Elsewhere {
        /// Which.
        target: Target,
        /// Whether the slot belongs there for good.
        learn: bool,
        /// What it said.
        line: String,
    },
    /// It may, later.
    Later {
        /// Whether the topology is to be read again.
        refresh: bool,
        /// What it said.
        line: String,
    },
}

/// What is queued since MULTI. A copy is kept until EXEC is answered: whatever has not run is sent
/// again as a whole.
#[derive(Debug, Default)]
pub(super) struct Multi {
    bytes: Vec<u8>,
    queued: Vec<Queued>,
    /// A command was refused: EXEC answers EXECABORT.
    pub dirty: bool,
    /// MULTI, and everything queued so far, was sent on the connection.
    pub opened: bool,
    /// The EXEC under way.
    pub exec: Option<u64>,
    /// It was sent on the connection.
    pub exec_sent: bool,
    /// CLIENT CACHING goes before MULTI.
    pub caching: Option<bool>,
    /// Why the node will not run what was sent on the connection, once that is known.
    pub not_run: Option<NotRun>,
}

/// One command of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    at: Range<usize>,
    /// The request that awaits QUEUED; it may have it already.
    pub seq: u64,
    /// What it is.
    pub spec: &'static Spec,
    /// Whether the proxy answers it itself, when the transaction has run.
    pub local: bool,
}

impl Multi {
    /// Bytes kept.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Keeps a command: its number.
    pub(super) fn push(
        &mut self,
        frame: &[u8],
        seq: u64,
        spec: &'static Spec,
        local: bool,
    ) -> usize {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.queued.push(Queued { at: from..self.bytes.len(), seq, spec, local });
        self.queued.len() - 1
    }

    /// The commands, in order.
    pub(super) fn queued(&self) -> &[Queued] {
        &self.queued
    }

    /// The frame of a command.
    pub(super) fn frame(&self, number: usize) -> &[u8] {
        &self.bytes[self.queued[number].at.clone()]
    }

    /// Whether a node has to run any of it.
    pub(super) fn needs_node(&self) -> bool {
        self.queued.iter().any(|queued| !queued.local)
    }

    /// EXEC's reply of the node, `array`, with the replies of the commands that the proxy answers
    /// itself put in between. `write` writes each: it is given its number, and what the node has
    /// answered, if it was asked. `None` if it is not such a reply.
    pub(super) fn splice(
        &self,
        array: &[u8],
        limits: &Limits,
        protocol: Protocol,
        mut write: impl FnMut(usize, Option<&[u8]>, &mut Vec<u8>),
    ) -> Option<Vec<u8>> {
        let (count, mut elements) = super::elements::array(array).ok()?;
        let of_node = self.queued.iter().filter(|queued| !queued.local).count();
        if usize::try_from(count) != Ok(of_node) {
            return None;
        }
        let mut whole = Vec::with_capacity(array.len() + 64);
        crate::resp::Encoder::new(&mut whole, protocol).array(self.queued.len());
        for (number, queued) in self.queued.iter().enumerate() {
            if queued.local {
                write(number, None, &mut whole);
                continue;
            }
            let len = ReplyScanner::default().scan(elements, limits).ok()??;
            write(number, Some(&elements[..len]), &mut whole);
            elements = &elements[len..];
        }
        elements.is_empty().then_some(whole)
    }
}

/// A command that waits at its node until there is something for it.
#[derive(Debug)]
pub(super) struct Blocked {
    /// The request.
    pub seq: u64,
    /// What it is.
    pub spec: &'static Spec,
    /// The connection it waits on.
    pub link: LinkId,
    /// The slot that it is routed by.
    pub slot: Slot,
    /// Whether that is the slot of its keys.
    pub keyed: bool,
    /// When its wait is over; never, if there is none.
    pub deadline: Option<Instant>,
    /// The argument that says how long it waits.
    pub timeout: Option<Timeout>,
    /// Its frame, where that is not what the client has sent.
    pub frame: Option<Box<[u8]>>,
    /// What `$` of XREAD stands for, while that is asked.
    pub resolving: Option<Resolving>,
    /// CLIENT CACHING goes before it.
    pub caching: Option<bool>,
    /// It is to end without having got anything.
    pub unblock: Option<Unblock>,
    /// It was sent before, so what is left of its time is not what its frame says.
    pub sent_before: bool,
    /// Its tries.
    pub tries: Tries,
}

/// Where a command says how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout {
    /// The argument.
    pub arg: usize,
    /// Whether it counts milliseconds, not seconds.
    pub millis: bool,
}

/// The last ids of the streams that XREAD waits on from their ends.
#[derive(Debug)]
pub(super) struct Resolving {
    /// The arguments that say `$`, with what was found for each.
    pub ids: Vec<(usize, Option<Vec<u8>>)>,
}

/// WAIT or WAITAOF: a connection to each primary that the session has written to.
#[derive(Debug)]
pub(super) struct Waits {
    /// The request.
    pub seq: u64,
    /// The connections, and what each primary has answered.
    pub parts: Vec<(LinkId, Option<Vec<i64>>)>,
    /// When its wait is over; never, if there is none.
    pub deadline: Option<Instant>,
    /// It was sent before, so what is left of its time is not what its frame says.
    pub sent_before: bool,
    /// Its tries.
    pub tries: Tries,
}

/// When a wait that begins now is over: never, where it is zero or none. Whoever has closed its end
/// may be gone, and waits no longer than it must.
pub(super) fn deadline(wait: Option<Duration>, ended: bool, now: Instant) -> Option<Instant> {
    match wait {
        _ if ended => Some(now + SHORTEST),
        Some(wait) if !wait.is_zero() => now.checked_add(wait),
        _ => None,
    }
}

/// The shortest wait that a node is asked for: zero would be for ever.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// How a blocked command is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    #[test]
    fn answers_of_the_proxy_are_put_between_those_of_the_node() {
        let mut multi = Multi::default();
        for (name, local) in [("ping", true), ("get", false), ("hgetall", false), ("echo", true)] {
            multi.push(name.as_bytes(), 0, lookup(name.as_bytes()).expect("in the table"), local);
        }
        let splice = |array: &[u8]| {
            let whole =
                multi.splice(array, &Limits::default(), Protocol::Resp2, |number, of_node, out| {
                    let local = format!("+{number}\r\n");
                    out.extend_from_slice(of_node.unwrap_or(local.as_bytes()));
                });
            whole.map(|whole| String::from_utf8(whole).expect("text"))
        };
        let nested = b"*2\r\n$1\r\nx\r\n*2\r\n$1\r\na\r\n$-1\r\n";
        assert_eq!(
            splice(nested).as_deref(),
            Some("*4\r\n+0\r\n$1\r\nx\r\n*2\r\n$1\r\na\r\n$-1\r\n+3\r\n")
        );
        assert_eq!(splice(b"*1\r\n$1\r\nx\r\n"), None, "a reply is missing");
        assert_eq!(splice(b"+OK\r\n"), None);
    }
}
