//! MULTI, EXEC, DISCARD, WATCH and UNWATCH: a transaction as one Redis server would run it.
//!
//! MULTI is answered by the proxy. What has no key is queued here, until the first key names a
//! slot; from then on everything goes to a connection of the session's own, to that slot's owner,
//! and the node says QUEUED. EXEC goes out behind it at once: a node that has refused any of the
//! queued commands answers EXECABORT, so nothing runs that was not queued whole. A copy of all is
//! kept, and what a node would not run is run again from MULTI on, on the right node. With WATCH
//! that cannot be: what was watched is known to one node alone, so EXEC answers nil then, as it
//! does when a watched key has changed.

use super::pins::{Leaves, Lost};
use super::requests::Dispatched;
use super::trackers::write_caching;
use super::{Core, SessionId};
use crate::cluster::Slot;
use crate::command::Spec;
use crate::proxy::error::Failure;
use crate::proxy::link::{Expect, ExpectKind, LinkId};
use crate::proxy::local;
use crate::proxy::metrics::{LinkEnd, Outcome};
use crate::proxy::pinned::{Multi, NotRun, Pin, Transaction};
use crate::proxy::pipeline::State;
use crate::proxy::retry::{Asked, Loss, Progress};
use crate::proxy::route::{self, Place, Refusal};
use crate::proxy::session::Session;
use crate::resp::{Encoder, encode_request};
use std::time::Instant;

/// The answer to the MULTI that the proxy sends.
const OPEN: u32 = u32::MAX - 1;
/// The answer to EXEC.
pub(super) const EXEC: u32 = u32::MAX - 2;

const QUEUED: &[u8] = b"+QUEUED\r\n";
const EXEC_ARITY: &[u8] = b"ERR wrong number of arguments for 'exec' command";
/// What a node puts before the error for which it does not run a transaction.
pub(super) const BECAUSE: &[u8] = b"EXECABORT Transaction discarded because of: ";

impl Session {
    pub(super) fn transaction(&mut self) -> Option<&mut Transaction> {
        self.pins.as_mut()?.transaction.as_mut()
    }

    pub(super) fn multi(&mut self) -> Option<&mut Multi> {
        self.transaction()?.multi.as_mut()
    }
}

impl Core {
    /// MULTI, EXEC, DISCARD, WATCH or UNWATCH while no transaction is open.
    pub(super) fn dispatch_transaction(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() {
            return Dispatched::WaitForAll;
        }
        match spec.name {
            "multi" => {
                let transaction = session.pins_mut().transaction.get_or_insert_default();
                transaction.multi = Some(Multi::default());
                session.regate();
                self.answer_ok(id, spec, b"+OK\r\n", now);
            }
            "unwatch" => {
                self.end_transaction(id, now);
                self.answer_ok(id, spec, b"+OK\r\n", now);
            }
            "watch" => return self.watch(id, spec, now),
            name => {
                let line = format!("ERR {} without MULTI", name.to_ascii_uppercase());
                self.refuse(id, Some(spec), line.as_bytes(), now);
            }
        }
        Dispatched::Yes
    }

    /// A request after MULTI.
    #[cold]
    pub(super) fn dispatch_in_multi(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        match spec.name {
            "exec" => return self.exec(id, spec, now),
            "discard" => {
                if !self.sessions[id.index()].pipeline.is_empty() {
                    return Dispatched::WaitForAll;
                }
                self.end_transaction(id, now);
                self.answer_ok(id, spec, b"+OK\r\n", now);
            }
            "multi" => {
                self.refuse(id, Some(spec), b"ERR MULTI calls can not be nested", now);
            }
            "watch" => {
                self.refuse(id, Some(spec), b"ERR WATCH inside MULTI is not allowed", now);
            }
            _ => self.queue(id, spec, now),
        }
        Dispatched::Yes
    }

    /// A request was refused before it was known what it is: what the client is told instead.
    pub(super) fn refused_in_multi(
        &mut self,
        id: SessionId,
        error: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let queues = match self.sessions[id.index()].multi() {
            Some(multi) => {
                multi.dirty = true;
                true
            }
            None => false,
        };
        // EXEC itself, with arguments: a transaction is over, and where there is none it is said too.
        if error != EXEC_ARITY {
            return None;
        }
        let mut line = BECAUSE.to_vec();
        line.extend_from_slice(error.strip_prefix(b"ERR ").unwrap_or(error));
        if queues {
            self.settle_queue(id, now);
            self.end_transaction(id, now);
        }
        Some(line)
    }

    // ---- queueing ------------------------------------------------------------------------

    fn queue(&mut self, id: SessionId, spec: &'static Spec, now: Instant) {
        let bytes_max = self.options.transaction_bytes;
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let Session { input, decoder, pins, pipeline, written, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let transaction = pins.as_mut().and_then(|pins| pins.transaction.as_mut());
        let transaction = transaction.expect("it is open");
        let multi = transaction.multi.as_mut().expect("it is open");
        let place = match route::in_transaction(spec, &request) {
            Ok(Place::Keyed(slot)) if transaction.slot.is_some_and(|own| own != slot) => {
                Err(Refusal::CrossSlot)
            }
            Ok(_) if multi.len() + request.frame().len() > bytes_max => Err(Refusal::TooLarge),
            place => place,
        };
        let place = match place {
            Ok(place) => place,
            Err(refusal) => {
                multi.dirty = true;
                let line = refusal.to_string();
                return self.refuse(id, Some(spec), line.as_bytes(), now);
            }
        };
        if multi.dirty {
            return self.answer_ok(id, spec, QUEUED, now);
        }
        let (local, slot) = match place {
            Place::Local => (true, None),
            Place::Keyless => (false, None),
            Place::Keyed(slot) => (false, Some(slot)),
        };
        // A script that its node does not have would fail when all has run: it goes whole.
        let whole = spec.name.starts_with("evalsha").then(|| {
            let body = self.shared.scripts.get(request.arg(1))?;
            let name = if spec.name == "evalsha" { "EVAL" } else { "EVAL_RO" };
            let mut args: Vec<&[u8]> = vec![name.as_bytes(), &body];
            args.extend(request.args_from(2));
            let mut frame = Vec::new();
            encode_request(&mut frame, &args);
            Some(frame)
        });
        let whole = whole.flatten();
        if matches!(spec.name, "eval" | "eval_ro") {
            let most = self.options.script_bytes;
            self.shared.scripts.show(request.arg(1), most, &mut self.scratch.shown);
        }
        let frame = whole.as_deref().unwrap_or(request.frame());
        let seq = pipeline.next_seq();
        let number = multi.push(frame, seq, spec, local);
        let opened = multi.opened;
        if let Some(slot) = slot {
            transaction.slot = Some(slot);
            written.note(slot, spec.is_write(), self.losses.count());
        }
        if local || (!opened && transaction.slot.is_none()) {
            return self.answer_ok(id, spec, QUEUED, now);
        }
        let pushed = self.push_pinned(id, spec, now);
        debug_assert_eq!(pushed, seq);
        if opened {
            self.send_queued(id, number, now);
        } else {
            self.start_transaction(id, now);
        }
    }

    fn send_queued(&mut self, id: SessionId, number: usize, now: Instant) {
        let session = &mut self.sessions[id.index()];
        let transaction = session.pins.as_ref().and_then(|pins| pins.transaction.as_ref());
        let transaction = transaction.expect("it is open");
        let multi = transaction.multi.as_ref().expect("it is open");
        let expect = Expect {
            session: id.0,
            incarnation: session.incarnation,
            seq: multi.queued()[number].seq,
            part: number as u32,
            kind: ExpectKind::Pinned,
            end: 0,
            queued: now,
        };
        let frame = multi.frame(number);
        self.backends.send(transaction.link, expect, |out| out.extend_from_slice(frame));
    }

    /// Sends a transaction from its beginning, or the WATCH before it.
    pub(super) fn start_transaction(&mut self, id: SessionId, now: Instant) {
        let owner = self.owner(id);
        let session = &mut self.sessions[id.index()];
        let (lane, client) = (session.lane, session.client.id);
        let Some(transaction) = session.transaction() else { return };
        let target = transaction.tries.retry.target.take();
        let (slot, held) = (transaction.slot, transaction.link);
        let link = if held != LinkId::NONE {
            Ok(held)
        } else {
            let slot = slot.or_else(|| route::any_shard(self.backends.topology(), client));
            let endpoint = match &target {
                Some(target) => Ok(target.endpoint.clone()),
                None => self.backends.owner_of(slot.unwrap_or(Slot::of(b""))),
            };
            endpoint.and_then(|endpoint| self.backends.pin_own(&endpoint, lane, owner, now))
        };
        let link = match link {
            Ok(link) => link,
            Err(no_route) => {
                self.shared.map.want_refresh();
                return self.pin_later(id, Pin::Transaction, no_route.to_string(), now);
            }
        };
        if target.is_some_and(|target| target.asking) {
            // It holds until EXEC: a node keeps it as long as a transaction is open.
            let expect = Expect { kind: ExpectKind::Asking, ..Expect::probe(now) };
            self.backends
                .send(link, expect, |out| out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n"));
        }
        let expect = self.pinned_expect(id, 0, OPEN, now);
        let session = &mut self.sessions[id.index()];
        let transaction = session.transaction().expect("it was there");
        transaction.link = link;
        if let Some(seq) = transaction.watch {
            let expect = Expect { seq, part: Expect::WHOLE, ..expect };
            let Some(entry) = session.pipeline.get(seq) else { return };
            let frame = entry.frame(&session.input);
            return self.backends.send(link, expect, |out| out.extend_from_slice(frame));
        }
        let Some(multi) = transaction.multi.as_mut() else { return };
        multi.opened = true;
        multi.not_run = None;
        multi.exec_sent = false;
        let exec = multi.exec;
        if let Some(caching) = multi.caching {
            let expect = Expect { kind: ExpectKind::Asking, ..expect };
            self.backends.send(link, expect, |out| write_caching(caching, out));
        }
        self.backends.send(link, expect, |out| out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n"));
        for number in 0..multi.queued().len() {
            let queued = &multi.queued()[number];
            if queued.local {
                continue;
            }
            let expect = Expect { seq: queued.seq, part: number as u32, ..expect };
            let frame = multi.frame(number);
            self.backends.send(link, expect, |out| out.extend_from_slice(frame));
        }
        if let Some(seq) = exec {
            self.send_exec(id, seq, now);
        }
    }

    // ---- answers -------------------------------------------------------------------------

    pub(super) fn asked(&mut self, id: SessionId, write: bool) -> Asked {
        let transaction = self.sessions[id.index()].transaction();
        Asked {
            slot: transaction.as_ref().and_then(|of| of.slot),
            hops: transaction.map_or(0, |of| of.tries.hops),
            hops_max: self.options.redirects_max,
            write,
            script: false,
        }
    }

    pub(super) fn transaction_answer(
        &mut self,
        id: SessionId,
        expect: &Expect,
        reply: &[u8],
        now: Instant,
    ) {
        match expect.part {
            Expect::WHOLE => self.watch_answer(id, expect.seq, reply, now),
            OPEN if reply == b"+OK\r\n" => {}
            OPEN => self.not_opened(id, reply, now),
            EXEC => self.exec_answer(id, expect.seq, reply, now),
            number => self.queued_answer(id, number as usize, expect.seq, reply, now),
        }
    }

    /// The node refuses MULTI: what was sent behind it may have run.
    fn not_opened(&mut self, id: SessionId, reply: &[u8], now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        let link = std::mem::replace(&mut transaction.link, LinkId::NONE);
        let said = String::from_utf8_lossy(reply).trim_end().to_owned();
        self.lose(link, Loss::Broken, LinkEnd::Desync, "it refuses MULTI", now);
        let line = format!("INDOUBT the node refuses MULTI ({said}): what was queued may have run");
        let protocol = self.sessions[id.index()].client.protocol;
        let mut reply = Vec::new();
        Encoder::new(&mut reply, protocol).error(line);
        let awaiting = self.awaiting(id);
        for seq in awaiting {
            self.complete(id, seq, &reply, Outcome::InDoubt, now);
        }
        let exec = self.sessions[id.index()].multi().and_then(|multi| {
            multi.dirty = true;
            multi.opened = false;
            multi.exec.take()
        });
        if let Some(seq) = exec {
            self.complete(id, seq, &reply, Outcome::InDoubt, now);
            self.end_transaction(id, now);
        }
    }

    fn queued_answer(
        &mut self,
        id: SessionId,
        number: usize,
        seq: u64,
        reply: &[u8],
        now: Instant,
    ) {
        let Some(line) = super::replies::error_line(reply) else {
            if self.is_awaited(id, seq) {
                self.complete(id, seq, reply, Outcome::Ok, now);
            }
            return;
        };
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        let link = transaction.link;
        let Some(multi) = transaction.multi.as_ref() else { return };
        let write = multi.queued().get(number).is_none_or(|queued| queued.spec.is_write());
        let asked = self.asked(id, write);
        if let Some(not_run) = self.not_run_line(link, line, &asked) {
            return self.queue_not_run(id, not_run, now);
        }
        if let Some(multi) = self.sessions[id.index()].multi() {
            multi.dirty = true;
        }
        if self.is_awaited(id, seq) {
            self.complete(id, seq, reply, Outcome::ServerError, now);
        }
    }

    /// A node will not run what was queued.
    fn queue_not_run(&mut self, id: SessionId, not_run: NotRun, now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        if transaction.watching {
            return self.fail_watched(id, now);
        }
        let Some(multi) = transaction.multi.as_mut() else { return };
        if multi.exec_sent {
            // Its answer proves that nothing has run.
            multi.not_run.get_or_insert(not_run);
            return;
        }
        multi.opened = false;
        let link = std::mem::replace(&mut transaction.link, LinkId::NONE);
        self.let_go(link, Leaves::Multi, now);
        self.pin_not_run(id, Pin::Transaction, not_run, now);
    }

    // ---- the end -------------------------------------------------------------------------

    pub(super) fn transaction_lost(
        &mut self,
        id: SessionId,
        expected: &[(Expect, Progress)],
        lost: &Lost<'_>,
        now: Instant,
    ) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        transaction.link = LinkId::NONE;
        let watching = transaction.watching;
        if let Some(seq) = transaction.watch.take() {
            self.watch_not_run(id, seq, None, now);
            let waits =
                self.sessions[id.index()].transaction().is_some_and(|of| of.watch.is_some());
            if waits {
                self.pin_later(id, Pin::Transaction, lost.line(), now);
            }
            return;
        }
        let Some(multi) = transaction.multi.as_mut() else {
            transaction.void = watching;
            return;
        };
        let opened = std::mem::replace(&mut multi.opened, false);
        multi.exec_sent = false;
        let refused = multi.not_run.take();
        let exec = multi.exec;
        let exec_went =
            expected.iter().any(|(expect, at)| expect.part == EXEC && *at == Progress::Sent);
        if let (true, Some(seq), None) = (exec_went, exec, &refused) {
            self.settle_queue(id, now);
            self.fail_pinned(id, seq, &lost.in_doubt(), now);
            return self.end_transaction(id, now);
        }
        if watching {
            let Some(transaction) = self.sessions[id.index()].transaction() else { return };
            transaction.void = true;
            self.settle_queue(id, now);
            if let Some(seq) = exec {
                self.complete_null(id, seq, now);
                self.end_transaction(id, now);
            }
            return;
        }
        if opened {
            match refused {
                Some(not_run) => self.pin_not_run(id, Pin::Transaction, not_run, now),
                None => self.pin_later(id, Pin::Transaction, lost.line(), now),
            }
        }
    }

    /// A transaction could not be run before its time was over.
    pub(super) fn give_up_transaction(&mut self, id: SessionId, failure: &Failure, now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        if let Some(seq) = transaction.watch.take() {
            self.fail_pinned(id, seq, failure, now);
            return self.end_transaction(id, now);
        }
        let Some(multi) = transaction.multi.as_mut() else { return };
        multi.dirty = true;
        let exec = multi.exec;
        let awaiting = self.awaiting(id);
        let told = !awaiting.is_empty();
        for seq in awaiting {
            self.fail_pinned(id, seq, failure, now);
        }
        if let Some(seq) = exec {
            if told {
                self.abort(id, seq, now);
            } else {
                self.fail_pinned(id, seq, failure, now);
            }
            self.end_transaction(id, now);
        }
    }

    /// Whatever of a transaction there is, is over.
    pub(super) fn end_transaction(&mut self, id: SessionId, now: Instant) {
        self.pin_goes(id, Pin::Transaction);
        let session = &mut self.sessions[id.index()];
        let Some(pins) = &mut session.pins else { return };
        if let Some(transaction) = pins.transaction.take() {
            let leaves = match &transaction.multi {
                Some(multi) if multi.opened => Leaves::Multi,
                _ if transaction.watching => Leaves::Watch,
                _ => Leaves::Nothing,
            };
            self.let_go(transaction.link, leaves, now);
        }
        self.sessions[id.index()].regate();
        self.drop_empty_pins(id);
    }

    /// Queued commands whose QUEUED the client does not have yet.
    fn awaiting(&mut self, id: SessionId) -> Vec<u64> {
        let session = &mut self.sessions[id.index()];
        let Some(multi) = session.multi() else { return Vec::new() };
        let all: Vec<u64> = multi.queued().iter().map(|queued| queued.seq).collect();
        all.into_iter().filter(|seq| self.is_awaited(id, *seq)).collect()
    }

    fn is_awaited(&self, id: SessionId, seq: u64) -> bool {
        let entry = self.sessions[id.index()].pipeline.get(seq);
        entry.is_some_and(|entry| entry.state == State::InFlight)
    }

    /// What is decided by EXEC, or was by a watched key, needs no further word on each command.
    pub(super) fn settle_queue(&mut self, id: SessionId, now: Instant) {
        for seq in self.awaiting(id) {
            self.complete(id, seq, QUEUED, Outcome::Ok, now);
        }
    }

    fn answer_ok(&mut self, id: SessionId, spec: &'static Spec, reply: &[u8], now: Instant) {
        let unanswered = self.sessions[id.index()].client.take_unanswered();
        self.answer_now(id, Some(spec), reply, unanswered, Outcome::Ok, now);
    }
}

/// Whether a command of class *local* may be part of a transaction: one that changes how the
/// session's other commands are understood would change it in the middle of a reply.
pub(in crate::proxy) fn may_be_queued(spec: &Spec) -> bool {
    !local::changes_session(spec) && !matches!(spec.name, "info" | "client|reply")
}
