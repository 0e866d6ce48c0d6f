//! WATCH: keys that one node watches for one session.
//!
//! What was watched is known to that node's connection alone. Where it cannot be told any more
//! (the slot has moved, the connection is lost, the session has changed its protocol), EXEC answers
//! nil, as it does when a watched key has changed: the client reads again and tries again.

use super::pins::Leaves;
use super::requests::Dispatched;
use super::{Core, SessionId};
use crate::cluster::Slot;
use crate::command::{Spec, for_each_key};
use crate::proxy::link::LinkId;
use crate::proxy::metrics::{Outcome, RideOut};
use crate::proxy::pinned::{NotRun, Pin};
use crate::proxy::route::Refusal;
use crate::proxy::session::Session;
use crate::resp::RequestDecoder;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

impl Core {
    pub(super) fn watch(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let Session { input, decoder, pins, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let mut slot = pins.as_ref().and_then(|pins| pins.transaction.as_ref()?.slot);
        let mut crossed = false;
        let keys = for_each_key(spec, &request, |key| {
            let this = Slot::of(request.arg(key.index));
            crossed |= slot.replace(this).is_some_and(|other| other != this);
        });
        if keys.is_err() || crossed {
            let line = Refusal::CrossSlot.to_string();
            self.refuse(id, Some(spec), line.as_bytes(), now);
            return Dispatched::Yes;
        }
        let seq = self.push_pinned(id, spec, now);
        let session = &mut self.sessions[id.index()];
        session.wait_for_all = true;
        let transaction = session.pins_mut().transaction.get_or_insert_default();
        transaction.slot = slot;
        if transaction.void {
            // EXEC will answer nil whatever is watched beside.
            self.note_watched(id, seq);
            self.complete(id, seq, b"+OK\r\n", Outcome::Ok, now);
        } else {
            transaction.watch = Some(seq);
            self.start_transaction(id, now);
        }
        Dispatched::Yes
    }

    pub(super) fn watch_answer(&mut self, id: SessionId, seq: u64, reply: &[u8], now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        let link = transaction.link;
        transaction.watch = None;
        if let Some(line) = super::replies::error_line(reply) {
            let asked = self.asked(id, true);
            if let Some(not_run) = self.not_run_line(link, line, &asked) {
                return self.watch_not_run(id, seq, Some(not_run), now);
            }
            self.complete(id, seq, reply, Outcome::ServerError, now);
            if !self.sessions[id.index()].transaction().is_some_and(|of| of.watching) {
                self.end_transaction(id, now);
            }
            return;
        }
        transaction.watching = true;
        self.note_watched(id, seq);
        self.pin_rode_out(id, Pin::Transaction, RideOut::Drained);
        self.complete(id, seq, reply, Outcome::Ok, now);
    }

    /// A WATCH was not run, by its node's word or (`None`) because the connection is gone.
    pub(super) fn watch_not_run(
        &mut self,
        id: SessionId,
        seq: u64,
        not_run: Option<NotRun>,
        now: Instant,
    ) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        if transaction.watching {
            // What was watched before was watched on a node that has not got the slot any more.
            self.make_void(id, now);
            self.note_watched(id, seq);
            return self.complete(id, seq, b"+OK\r\n", Outcome::Ok, now);
        }
        transaction.watch = Some(seq);
        let link = std::mem::replace(&mut transaction.link, LinkId::NONE);
        if let Some(not_run) = not_run {
            self.let_go(link, Leaves::Nothing, now);
            self.pin_not_run(id, Pin::Transaction, not_run, now);
        }
    }

    /// The keys of a WATCH that is about to be answered with OK are watched.
    fn note_watched(&mut self, id: SessionId, seq: u64) {
        let Session { input, pipeline, pins, .. } = &mut self.sessions[id.index()];
        let Some(entry) = pipeline.get(seq) else { return };
        let frame = entry.frame(input);
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten().unwrap_or(0);
        let transaction = pins.as_mut().and_then(|pins| pins.transaction.as_mut());
        if let (Some(request), Some(transaction)) = (decoder.request(frame, used), transaction) {
            let digest = |key: &[u8]| {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                hasher.finish()
            };
            transaction.watched.extend(request.args_from(1).map(digest));
        }
    }

    /// What was watched cannot be told any more.
    pub(super) fn make_void(&mut self, id: SessionId, now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        transaction.void = true;
        let link = std::mem::replace(&mut transaction.link, LinkId::NONE);
        let opened = transaction.multi.as_mut().is_some_and(|multi| {
            multi.exec_sent = false;
            std::mem::replace(&mut multi.opened, false)
        });
        self.let_go(link, if opened { Leaves::Multi } else { Leaves::Watch }, now);
    }

    /// What was watched is void, in the middle of a transaction.
    pub(super) fn fail_watched(&mut self, id: SessionId, now: Instant) {
        let Some(multi) = self.sessions[id.index()].multi() else { return };
        if multi.exec_sent {
            // Whatever its answer is, nothing has run: a queued command was refused.
            multi.not_run.get_or_insert(NotRun::Later { refresh: true, line: String::new() });
            return;
        }
        self.make_void(id, now);
        self.settle_queue(id, now);
    }

    /// What a session does next is not for the connection that its keys are watched on: another
    /// protocol, another database.
    pub(super) fn change_lane_of_transaction(&mut self, id: SessionId, now: Instant) {
        if self.sessions[id.index()].transaction().is_some_and(|of| of.watching) {
            self.make_void(id, now);
        }
    }
}
