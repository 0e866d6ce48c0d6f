//! MONITOR: clients that are shown every command that clients of this proxy send, as one server
//! would show it: whole, in the words of whoever sent it, with that client's address.
//!
//! While nobody watches, this costs a request nothing: whether somebody does is one of the reasons
//! for which a client is *gated*. What a transaction queues is shown with its EXEC, as Redis does.

use super::requests::Dispatched;
use super::road::{Finish, Query};
use super::{Core, SessionId};
use crate::command::{Flags, Spec, is_monitored, write_monitored};
use crate::proxy::metrics::Outcome;
use crate::resp::RequestDecoder;
use std::sync::Arc;
use std::time::Instant;

/// What a client that is shown everything is told of a command that reads or writes keys, in
/// Redis's words: to Redis it is a kind of replica.
const NOT_A_REPLICA: &str = "ERR Replica can't interact with the keyspace";

impl Core {
    /// MONITOR. It is answered when every worker shows what its clients send.
    pub(super) fn monitor(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() {
            return Dispatched::WaitForAll;
        }
        if std::mem::replace(&mut session.client.monitors, true) {
            // Redis says nothing to it either.
            self.answer_now(id, Some(spec), b"", true, Outcome::Ok, now);
            return Dispatched::Yes;
        }
        session.regate();
        self.shared.monitors.add(self.worker);
        self.ask_workers(id, spec, Query::Monitored, Finish::Done, now)
    }

    /// A client is shown nothing any more: RESET, or it is gone.
    pub(super) fn stop_monitoring(&mut self, id: SessionId) {
        if std::mem::take(&mut self.sessions[id.index()].client.monitors) {
            self.shared.monitors.remove(self.worker);
            self.take_monitoring();
            self.tell_of_monitors();
        }
    }

    /// Whether anybody watches may be another now: every client is gated, or let go.
    pub(super) fn take_monitoring(&mut self) {
        let monitored = !self.shared.monitors.workers().is_empty();
        if std::mem::replace(&mut self.monitored, monitored) == monitored {
            return;
        }
        for (_, session) in &mut self.sessions {
            session.client.monitored = monitored;
            session.regate();
        }
    }

    /// Whether a client may not send this because it is shown everything.
    pub(super) fn only_monitors(&self, id: SessionId, spec: &Spec) -> Option<&'static str> {
        let keyspace = Flags::READONLY.union(Flags::WRITE).union(Flags::MAY_REPLICATE);
        let refused = self.sessions[id.index()].client.monitors && spec.flags.intersects(keyspace);
        refused.then_some(NOT_A_REPLICA)
    }

    /// Shows the request at hand, once, to whoever watches.
    pub(super) fn show_to_monitors(&mut self, id: SessionId, spec: &'static Spec) {
        let session = &mut self.sessions[id.index()];
        let at = session.input.position() + 1;
        if std::mem::replace(&mut session.client.shown_at, at) == at {
            return; // It had to wait, and was shown when it came.
        }
        let client = &session.client;
        let (database, peer) = (client.database, client.peer);
        let unix_us = (self.outside.unix_us)();
        let lines = &mut self.monitor_lines;
        let mut show = |spec: &'static Spec, request: &crate::resp::Request<'_>| {
            if is_monitored(spec) {
                lines.push(b'+');
                write_monitored(lines, spec, request, unix_us, database, &peer);
                lines.extend_from_slice(b"\r\n");
            }
        };
        let multi =
            session.pins.as_ref().and_then(|pins| pins.transaction.as_ref()?.multi.as_ref());
        if let Some(multi) = multi.filter(|multi| spec.name == "exec" && !multi.dirty) {
            let mut decoder = RequestDecoder::default();
            for (number, queued) in multi.queued().iter().enumerate() {
                let frame = multi.frame(number);
                let used = decoder.decode(frame, &self.options.limits).ok().flatten();
                if let Some(request) = used.and_then(|used| decoder.request(frame, used)) {
                    show(queued.spec, &request);
                }
            }
        }
        show(spec, &session.at_hand());
    }

    /// Hands what was noted to whoever watches, here and on other workers.
    #[cold]
    pub(super) fn pass_on_to_monitors(&mut self) {
        let lines: Arc<[u8]> = std::mem::take(&mut self.monitor_lines).into();
        for worker in self.shared.monitors.workers() {
            if worker == self.worker {
                self.deliver_to_monitors(&lines);
            } else {
                let room =
                    self.shared.monitors.reserve(lines.len(), self.options.subscriber_output);
                self.tell_monitors(worker, room.then(|| lines.clone()));
            }
        }
    }

    /// What another worker's clients have sent; nothing where that was too much.
    pub(super) fn heard_for_monitors(&mut self, lines: Option<Arc<[u8]>>) {
        match lines {
            Some(lines) => {
                self.shared.monitors.release(lines.len());
                self.deliver_to_monitors(&lines);
            }
            // A line that is left out unsaid would be a lie: they are closed instead.
            None => self.each_monitor(|session| session.overflow()),
        }
    }

    fn deliver_to_monitors(&mut self, lines: &[u8]) {
        let most = self.options.subscriber_output;
        let buffers = &mut self.buffers;
        let mut written = Vec::new();
        for (index, session) in &mut self.sessions {
            // What was sent before MONITOR is answered is not for it.
            let begins = session.pipeline.iter().any(|entry| entry.spec.name == "monitor");
            if !session.client.monitors || begins || session.dead.is_some() {
                continue;
            }
            session.output.append(lines, buffers);
            if session.output.len() > most {
                session.overflow();
            }
            written.push(SessionId(index as u32));
        }
        written.into_iter().for_each(|id| self.list_writable(id));
    }

    fn each_monitor(&mut self, act: impl Fn(&mut crate::proxy::session::Session)) {
        let mut met = Vec::new();
        for (index, session) in &mut self.sessions {
            if session.client.monitors && session.dead.is_none() {
                act(session);
                met.push(SessionId(index as u32));
            }
        }
        met.into_iter().for_each(|id| self.list_writable(id));
    }
}
