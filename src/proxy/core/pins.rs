//! Connections that a session has to itself: taken when a command needs one, given back when the
//! session has left nothing behind on it, closed where that cannot be proven.
//!
//! Whatever is sent on such a connection is accounted for like everything else. A session that
//! lets go of a connection with answers still to come does not take them any more (they are known
//! by the connection they come on); the next session gets the connection only after the answer to
//! what made it clean, which is the last.

use super::{Core, SessionId};
use crate::clock::Backoff;
use crate::cluster::Endpoint;
use crate::command::Spec;
use crate::proxy::error::Failure;
use crate::proxy::link::{Answer, Expect, ExpectKind, LinkId, Owner, Role};
use crate::proxy::metrics::{LinkEnd, Outcome, RideOut};
use crate::proxy::pinned::{NotRun, Pin, Pins, Tries};
use crate::proxy::pipeline::{Entry, Target, Work};
use crate::proxy::retry::{self, Asked, Loss, Progress, Verdict};
use crate::proxy::session::Session;
use crate::resp::Encoder;
use std::time::{Duration, Instant};

/// Waits between tries of what a node would not run.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(200));

/// What a session leaves behind on a connection that it had to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Nothing.
    Nothing,
    /// Watched keys, or answers that are still to come.
    Watch,
    /// A transaction that was not run.
    Multi,
}

impl Session {
    /// Its connections of its own, to add to.
    pub(super) fn pins_mut(&mut self) -> &mut Pins {
        self.pins.get_or_insert_default()
    }
}

impl Core {
    /// The session as the owner of a connection.
    pub(super) fn owner(&self, id: SessionId) -> Owner {
        Owner { session: id.0, incarnation: self.sessions[id.index()].incarnation }
    }

    /// What is expected for a request of a session on a connection of its own. `part` says which
    /// of the several answers it is.
    pub(super) fn pinned_expect(&self, id: SessionId, seq: u64, part: u32, now: Instant) -> Expect {
        Expect {
            session: id.0,
            incarnation: self.sessions[id.index()].incarnation,
            seq,
            part,
            kind: ExpectKind::Pinned,
            end: 0,
            queued: now,
        }
    }

    /// Puts the request that is decoded into the pipeline; its answer comes on a connection of the
    /// session's own, or is the proxy's.
    pub(super) fn push_pinned(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> u64 {
        let generation = self.backends.topology().generation();
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let Session { input, decoder, pipeline, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let work = decoder
            .was_inline()
            .then(|| Box::new(Work { frame: Some(request.frame().into()), ..Work::default() }));
        let unanswered = client.take_unanswered();
        let entry = Entry::new(input.position(), used, spec, now);
        let seq = pipeline.push(Entry { unanswered, generation, work, ..entry });
        self.metrics.inflight.add(1);
        session.finish_decoding(used, &mut self.buffers);
        seq
    }

    /// Ends a request with an error of the proxy.
    pub(super) fn fail_pinned(&mut self, id: SessionId, seq: u64, failure: &Failure, now: Instant) {
        let mut reply = Vec::new();
        let protocol = self.sessions[id.index()].client.protocol;
        Encoder::new(&mut reply, protocol).error(failure.to_string());
        let outcome = if failure.is_in_doubt() { Outcome::InDoubt } else { Outcome::ProxyError };
        self.complete(id, seq, &reply, outcome, now);
    }

    /// Ends a request with "nothing there": a wait that is over, a watched key that changed.
    pub(super) fn complete_null(&mut self, id: SessionId, seq: u64, now: Instant) {
        let mut reply = Vec::new();
        let protocol = self.sessions[id.index()].client.protocol;
        Encoder::new(&mut reply, protocol).null_array();
        self.complete(id, seq, &reply, Outcome::Ok, now);
    }

    // ---- letting go ----------------------------------------------------------------------

    /// A session has done with a connection of its own.
    pub(super) fn let_go(&mut self, link: LinkId, leaves: Leaves, now: Instant) {
        let Some(of) = self.backends.link(link) else { return };
        if of.is_closed() {
            return;
        }
        if leaves == Leaves::Nothing && of.in_flight() == 0 {
            return self.backends.give_back(link, now);
        }
        // Where nobody else comes, nobody has to wait for it.
        let at_once = of.lent && of.in_flight() == 0;
        let kind = if at_once { ExpectKind::Asking } else { ExpectKind::Clean };
        of.role = Role::Cleaning;
        let expect = Expect { kind, ..Expect::probe(now) };
        let frame: &[u8] = match leaves {
            Leaves::Multi => b"*1\r\n$7\r\nDISCARD\r\n",
            Leaves::Nothing | Leaves::Watch => b"*1\r\n$7\r\nUNWATCH\r\n",
        };
        self.backends.send(link, expect, |out| out.extend_from_slice(frame));
        if at_once {
            self.backends.give_back(link, now);
        }
    }

    /// The last answer on a connection that a session has let go of.
    fn cleaned(&mut self, link: LinkId, reply: &[u8], now: Instant) {
        // EXEC was on its way already: then there is nothing to discard.
        if reply == b"+OK\r\n" || reply == b"-ERR DISCARD without MULTI\r\n" {
            self.backends.give_back(link, now);
        } else {
            self.lose(link, Loss::Broken, LinkEnd::Retired, "it cannot be made clean", now);
        }
    }

    /// A session is over, or starts anew: it has no connection of its own any more.
    pub(super) fn end_pins(&mut self, id: SessionId, now: Instant) {
        if self.sessions[id.index()].pins.is_none() {
            return;
        }
        self.end_transaction(id, now);
        self.end_blocked(id, now);
        self.forget_waits(id, now);
        self.sessions[id.index()].pins = None;
    }

    /// Forgets that a session had connections of its own, once it has none.
    pub(super) fn drop_empty_pins(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index()];
        if session.pins.as_ref().is_some_and(|pins| pins.is_empty()) {
            session.pins = None;
        }
    }

    // ---- answers -------------------------------------------------------------------------

    /// An answer came on a connection that a session has, or had, to itself.
    #[cold]
    pub(super) fn pinned_answer(&mut self, link: LinkId, answer: &Answer, now: Instant) {
        let expect = answer.expect;
        let of = self.backends.link(link).expect("its answer is being read");
        let reply = of.bytes(answer).to_vec();
        if expect.kind == ExpectKind::Clean {
            return self.cleaned(link, &reply, now);
        }
        let id = SessionId(expect.session);
        let Some(session) = self.sessions.get_mut(id.index()) else { return };
        if session.incarnation != expect.incarnation {
            return;
        }
        if expect.kind == ExpectKind::Unblock {
            return self.unblock_answered(id, expect.seq, &reply, now);
        }
        self.metrics.backend_duration.observe(now.saturating_duration_since(expect.queued));
        session.saw_reply(reply.len());
        let Some(pins) = &session.pins else { return };
        // What waits may do so on the connection that keys are watched on: then the answer is its own.
        if pins.blocked.as_ref().is_some_and(|of| of.link == link) {
            self.blocked_answer(id, &expect, &reply, now);
        } else if pins.transaction.as_ref().is_some_and(|of| of.link == link) {
            self.transaction_answer(id, &expect, &reply, now);
        } else if pins.waits.as_ref().is_some_and(|of| of.parts.iter().any(|of| of.0 == link)) {
            self.waits_answer(id, link, &expect, &reply, now);
        }
    }

    /// A connection is over that a session had to itself. `expected` was expected on it.
    pub(super) fn pin_lost(
        &mut self,
        owner: Owner,
        link: LinkId,
        expected: &[(Expect, Progress)],
        lost: &Lost<'_>,
        now: Instant,
    ) {
        let id = SessionId(owner.session);
        let Some(session) = self.sessions.get_mut(id.index()) else { return };
        if session.incarnation != owner.incarnation {
            return;
        }
        let Some(pins) = &session.pins else { return };
        let watches = pins.transaction.as_ref().is_some_and(|of| of.link == link);
        let waits = pins.blocked.as_ref().is_some_and(|of| of.link == link);
        if watches {
            self.transaction_lost(id, expected, lost, now);
        }
        if waits {
            self.blocked_lost(id, expected, lost, now);
        }
        let Some(pins) = &self.sessions[id.index()].pins else { return };
        if pins.waits.as_ref().is_some_and(|of| of.parts.iter().any(|of| of.0 == link)) {
            self.waits_not_run(id, lost.line(), now);
        }
    }

    // ---- trying again --------------------------------------------------------------------

    /// Reads an error line as an answer to something of a session's own connection; `None` when it
    /// is the command's own.
    pub(super) fn not_run_line(
        &mut self,
        link: LinkId,
        line: &[u8],
        asked: &Asked,
    ) -> Option<NotRun> {
        let text = || String::from_utf8_lossy(line).into_owned();
        let not_run = match retry::judge(line, asked) {
            Verdict::Deliver => return None,
            Verdict::Confirm => return None,
            Verdict::Resend { to, asking, learn } => {
                let sender = self.backends.link(link).map(|of| of.endpoint.host.clone());
                let endpoint = self.options.mapped(to.endpoint(&sender.unwrap_or_default()));
                NotRun::Elsewhere { target: Target { endpoint, asking }, learn, line: text() }
            }
            Verdict::Later { refresh } => NotRun::Later { refresh, line: text() },
        };
        super::replies::count_redirect(&self.metrics, line);
        Some(not_run)
    }

    /// Something did not run, and a node has said so.
    pub(super) fn pin_not_run(&mut self, id: SessionId, pin: Pin, not_run: NotRun, now: Instant) {
        match not_run {
            NotRun::Elsewhere { target, learn, line } => {
                let slot = self.pin_slot(id, pin);
                if let (true, Some(slot)) = (learn, slot) {
                    self.shared.map.learn(slot, &target.endpoint, now);
                    self.shared.map.want_refresh();
                    self.backends.sync();
                }
                let Some(tries) = self.tries(id, pin) else { return };
                tries.hops += 1;
                tries.retry.target = Some(target);
                tries.retry.since.get_or_insert(now);
                tries.retry.last = line;
                tries.retry.due = None;
                self.pin_waits(id, pin);
                self.list_to_advance(id);
            }
            NotRun::Later { refresh, line } => {
                if refresh {
                    self.shared.map.want_refresh();
                }
                if let Some(tries) = self.tries(id, pin) {
                    tries.hops = 0;
                }
                self.pin_later(id, pin, line, now);
            }
        }
    }

    /// Something is tried again after a growing wait.
    pub(super) fn pin_later(&mut self, id: SessionId, pin: Pin, last: String, now: Instant) {
        let ride_out = self.options.ride_out;
        let deadline = self.pin_deadline(id, pin);
        let Some(tries) = self.tries(id, pin) else { return };
        let since = *tries.retry.since.get_or_insert(now);
        tries.retry.last = last;
        let mut due = (now + AGAIN.wait(tries.retry.failures)).min((since + ride_out).max(now));
        if let Some(deadline) = deadline {
            due = due.min(deadline.max(now));
        }
        tries.retry.failures += 1;
        tries.retry.due = Some(due);
        self.pin_waits(id, pin);
        if ride_out.is_zero() {
            return self.pin_give_up(id, pin, now);
        }
        self.set_timer(id, due);
    }

    /// Marks something as waiting: nothing later of the session goes out.
    fn pin_waits(&mut self, id: SessionId, pin: Pin) {
        let Some(tries) = self.tries(id, pin) else { return };
        if !std::mem::replace(&mut tries.waiting, true) {
            self.sessions[id.index()].unsettled += 1;
            self.metrics.rideout_commands.add(1);
        }
    }

    /// Something does not wait any more, because it goes out or ends.
    pub(super) fn pin_goes(&mut self, id: SessionId, pin: Pin) {
        let Some(tries) = self.tries(id, pin) else { return };
        if std::mem::replace(&mut tries.waiting, false) {
            self.sessions[id.index()].unsettled -= 1;
            self.list_to_advance(id);
        }
    }

    /// Something that had to wait has its answer.
    pub(super) fn pin_rode_out(&mut self, id: SessionId, pin: Pin, event: RideOut) {
        let Some(tries) = self.tries(id, pin) else { return };
        if tries.retry.since.take().is_some() {
            tries.retry.failures = 0;
            tries.hops = 0;
            self.metrics.rideout_events[event as usize].add(1);
        }
    }

    /// Sends what of a session's own waits and may go now.
    pub(super) fn retry_pins(&mut self, id: SessionId, now: Instant) {
        for pin in Pin::ALL {
            let ride_out = self.options.ride_out;
            let deadline = self.pin_deadline(id, pin);
            let Some(tries) = self.tries(id, pin) else { continue };
            if !tries.waiting {
                continue;
            }
            let since = tries.retry.since.unwrap_or(now);
            if deadline.is_some_and(|deadline| deadline <= now) {
                match pin {
                    Pin::Waits => self.waits_are_over(id, now),
                    Pin::Transaction | Pin::Blocked => self.blocked_is_over(id, now),
                }
            } else if now.saturating_duration_since(since) >= ride_out && !ride_out.is_zero() {
                self.pin_give_up(id, pin, now);
            } else if let Some(due) = tries.retry.due.filter(|due| *due > now) {
                self.set_timer(id, due);
            } else {
                self.pin_goes(id, pin);
                self.metrics.retries.add(1);
                match pin {
                    Pin::Transaction => self.start_transaction(id, now),
                    Pin::Blocked => self.start_blocked(id, now),
                    Pin::Waits => self.start_waits(id, now),
                }
            }
        }
    }

    /// The time of something is over, and it has not run.
    fn pin_give_up(&mut self, id: SessionId, pin: Pin, now: Instant) {
        self.pin_goes(id, pin);
        let Some(tries) = self.tries(id, pin) else { return };
        let failure = Failure::NotRun {
            last: std::mem::take(&mut tries.retry.last),
            waited: tries
                .retry
                .since
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
        };
        self.pin_rode_out(id, pin, RideOut::Timeout);
        match pin {
            Pin::Transaction => self.give_up_transaction(id, &failure, now),
            Pin::Blocked => self.give_up_blocked(id, &failure, now),
            Pin::Waits => self.give_up_waits(id, &failure, now),
        }
    }

    fn tries(&mut self, id: SessionId, pin: Pin) -> Option<&mut Tries> {
        self.sessions[id.index()].pins.as_mut()?.tries(pin)
    }

    fn pin_slot(&self, id: SessionId, pin: Pin) -> Option<crate::cluster::Slot> {
        let pins = self.sessions[id.index()].pins.as_ref()?;
        match pin {
            Pin::Transaction => pins.transaction.as_ref()?.slot,
            Pin::Blocked => pins.blocked.as_ref().filter(|of| of.keyed).map(|of| of.slot),
            Pin::Waits => None,
        }
    }

    fn pin_deadline(&self, id: SessionId, pin: Pin) -> Option<Instant> {
        let pins = self.sessions[id.index()].pins.as_ref()?;
        match pin {
            Pin::Transaction => None,
            Pin::Blocked => pins.blocked.as_ref()?.deadline,
            Pin::Waits => pins.waits.as_ref()?.deadline,
        }
    }
}

/// How a connection of a session's own was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost<'a> {
    /// The node.
    pub endpoint: &'a Endpoint,
    /// Whether it broke or fell silent.
    pub loss: Loss,
    /// For people.
    pub why: &'a str,
    /// How long a silent node was waited for.
    pub waited: Duration,
}

impl Lost<'_> {
    /// What a client is told whose command may have run.
    pub(super) fn in_doubt(&self) -> Failure {
        let node = self.endpoint.clone();
        match self.loss {
            Loss::Silent => Failure::Silent { node, waited: self.waited },
            Loss::Broken => Failure::Lost { node },
        }
    }

    /// What a client is told last whose command has not run.
    pub(super) fn line(&self) -> String {
        format!("CLUSTERDOWN cannot reach {}: {}", self.endpoint, self.why)
    }
}
