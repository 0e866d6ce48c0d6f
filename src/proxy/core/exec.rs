//! EXEC: what it is answered with, and what that means.
//!
//! It goes out behind the queued commands at once. A node that has refused any of them answers
//! EXECABORT, and that answer is the proof that nothing has run: only then is the whole run again
//! elsewhere. What the proxy answers itself (PING, CLIENT ID, …) is put into the node's array.

use super::pins::Leaves;
use super::publishing::publishes;
use super::requests::Dispatched;
use super::transactions::{BECAUSE, EXEC};
use super::{Core, SessionId};
use crate::cluster::Endpoint;
use crate::command::{Class, Spec};
use crate::proxy::link::LinkId;
use crate::proxy::local::After;
use crate::proxy::metrics::{Outcome, RideOut};
use crate::proxy::pinned::Pin;
use crate::proxy::route::Refusal;
use crate::resp::{Encoder, RequestDecoder};
use std::time::Instant;

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

impl Core {
    pub(super) fn exec(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        let pipeline_is_empty = session.pipeline.is_empty();
        let Some(transaction) = session.transaction() else { return Dispatched::Yes };
        let (void, watching) = (transaction.void, transaction.watching);
        let Some(multi) = transaction.multi.as_mut() else { return Dispatched::Yes };
        let (dirty, opened) = (multi.dirty, multi.opened);
        let by_proxy = dirty || void || (!watching && !multi.needs_node());
        if by_proxy {
            if !pipeline_is_empty {
                return Dispatched::WaitForAll;
            }
            let seq = self.push_pinned(id, spec, now);
            if dirty {
                self.abort(id, seq, now);
            } else if void {
                self.complete_null(id, seq, now);
            } else {
                self.complete_exec(id, seq, b"*0\r\n", None, now);
            }
            self.end_transaction(id, now);
            return Dispatched::Yes;
        }
        let seq = self.push_pinned(id, spec, now);
        let session = &mut self.sessions[id.index()];
        // What comes next goes another way, and must not overtake it.
        session.wait_for_all = true;
        if let Some(multi) = session.multi() {
            multi.exec = Some(seq);
        }
        if opened {
            self.send_exec(id, seq, now);
        } else {
            self.start_transaction(id, now);
        }
        Dispatched::Yes
    }

    pub(super) fn send_exec(&mut self, id: SessionId, seq: u64, now: Instant) {
        let expect = self.pinned_expect(id, seq, EXEC, now);
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        let link = transaction.link;
        if let Some(multi) = &mut transaction.multi {
            multi.exec_sent = true;
        }
        self.backends.send(link, expect, |out| out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n"));
    }

    /// Answers EXEC with what the node has answered, and what the proxy answers itself.
    fn complete_exec(
        &mut self,
        id: SessionId,
        seq: u64,
        reply: &[u8],
        node: Option<&Endpoint>,
        now: Instant,
    ) {
        let session = &mut self.sessions[id.index()];
        let protocol = session.client.protocol;
        let Some(multi) = session.transaction().and_then(|of| of.multi.take()) else { return };
        let is_array = reply.starts_with(b"*") && !reply.starts_with(b"*-1");
        let counts = publishes(&multi) && !self.shared.listeners.is_empty();
        if !is_array || !(counts || multi.queued().iter().any(|queued| queued.local)) {
            return self.complete(id, seq, reply, Outcome::Ok, now);
        }
        let limits = self.options.limits;
        let mut answers: Vec<(usize, Vec<u8>)> = Vec::new();
        for (number, queued) in multi.queued().iter().enumerate().filter(|(_, q)| q.local) {
            answers.push((number, self.local_answer(id, multi.frame(number), queued.spec, now)));
        }
        let mut answers = answers.into_iter();
        let whole = multi.splice(reply, &limits, protocol, |number, of_node, out| {
            let Some(of_node) = of_node else {
                let (_, answer) = answers.next().expect("one for each");
                return out.extend_from_slice(&answer);
            };
            let publishes = multi.queued()[number].spec.class == Class::Publish;
            let receivers = node
                .filter(|_| publishes && counts)
                .and_then(|node| self.receivers_in_exec(&multi, number, of_node, node));
            match receivers {
                Some(count) => Encoder::new(out, protocol).integer(count),
                None => out.extend_from_slice(of_node),
            }
        });
        match whole {
            Some(whole) => self.complete(id, seq, &whole, Outcome::Ok, now),
            None => {
                let line = "INDOUBT the transaction ran, and its answer cannot be understood";
                let mut reply = Vec::new();
                Encoder::new(&mut reply, protocol).error(line);
                self.complete(id, seq, &reply, Outcome::InDoubt, now);
            }
        }
    }

    /// What the proxy answers to a command that was queued.
    fn local_answer(
        &mut self,
        id: SessionId,
        frame: &[u8],
        spec: &'static Spec,
        now: Instant,
    ) -> Vec<u8> {
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten().unwrap_or(0);
        let request = decoder.request(frame, used).expect("it was decoded before");
        let mut reply = Vec::new();
        let after = self.ask_locally(id, &request, spec, &mut reply, now);
        if !matches!(after, After::Nothing) || reply.is_empty() {
            reply.clear();
            let protocol = self.sessions[id.index()].client.protocol;
            let name = spec.name.replace('|', " ").to_ascii_uppercase();
            Encoder::new(&mut reply, protocol).error(Refusal::NotInMulti(name).to_string());
        }
        reply
    }

    pub(super) fn exec_answer(&mut self, id: SessionId, seq: u64, reply: &[u8], now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        let (link, watching) = (transaction.link, transaction.watching);
        let Some(multi) = transaction.multi.as_mut() else { return };
        multi.exec_sent = false;
        let refused = multi.not_run.take();
        let mut not_run = None;
        if let Some(line) = super::replies::error_line(reply) {
            let why = line.strip_prefix(BECAUSE).unwrap_or(line);
            not_run = match refused {
                Some(refused) if line.starts_with(b"EXECABORT") => Some(refused),
                _ => {
                    let asked = self.asked(id, true);
                    self.not_run_line(link, why, &asked)
                }
            };
        }
        let Some(not_run) = not_run else {
            let node = self.backends.link(link).map(|link| link.endpoint.clone());
            self.settle_queue(id, now);
            self.pin_rode_out(id, Pin::Transaction, RideOut::Drained);
            self.transaction_is_over(id, now);
            if reply.starts_with(b"-") {
                self.complete(id, seq, reply, Outcome::ServerError, now);
            } else {
                self.complete_exec(id, seq, reply, node.as_ref(), now);
            }
            return self.end_transaction(id, now);
        };
        // It was not run, and EXEC has closed it: nothing is left behind.
        self.transaction_is_over(id, now);
        if watching {
            self.settle_queue(id, now);
            self.complete_null(id, seq, now);
            return self.end_transaction(id, now);
        }
        self.pin_not_run(id, Pin::Transaction, not_run, now);
    }

    /// EXEC was answered: its connection is as good as new.
    fn transaction_is_over(&mut self, id: SessionId, now: Instant) {
        let Some(transaction) = self.sessions[id.index()].transaction() else { return };
        let link = std::mem::replace(&mut transaction.link, LinkId::NONE);
        if let Some(multi) = &mut transaction.multi {
            multi.opened = false;
        }
        self.let_go(link, Leaves::Nothing, now);
    }

    pub(super) fn abort(&mut self, id: SessionId, seq: u64, now: Instant) {
        let mut reply = Vec::new();
        let protocol = self.sessions[id.index()].client.protocol;
        Encoder::new(&mut reply, protocol).error(ABORTED);
        self.complete(id, seq, &reply, Outcome::ProxyError, now);
    }
}
