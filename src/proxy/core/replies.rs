//! A node's bytes → answers: delivered as they are, judged if they are errors, gathered if they
//! are parts.

use super::{Core, SessionId};
use crate::cluster::Endpoint;
use crate::proxy::gather::{PartState, Verdict as GatherVerdict};
use crate::proxy::link::{Answer, Expect, ExpectKind, Link, LinkId};
use crate::proxy::metrics::{LinkEnd, Outcome, Redirect, RideOut, Took, WorkerMetrics};
use crate::proxy::pipeline::{State, Target};
use crate::proxy::retry::{self, Asked, Loss, Verdict};
use crate::proxy::scripts::{Scripts, is_missing};
use crate::resp::{Limits, RequestDecoder};
use std::sync::Arc;
use std::time::Instant;

impl Core {
    /// Takes every whole reply that a node has sent.
    #[inline]
    pub(super) fn answers(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.backends.link(id) else { return };
        link.heard(now);
        let was_ready = link.is_ready();
        loop {
            let Some(link) = self.backends.link(id) else { return };
            if link.is_closed() {
                return;
            }
            match link.next_answer() {
                Ok(Some(answer)) => {
                    if !link.has_served {
                        self.backends.served(id);
                    }
                    self.answer(id, &answer, now);
                }
                Ok(None) => break,
                Err(error) => {
                    let end = match error {
                        crate::proxy::link::LinkError::Handshake(_) => LinkEnd::Handshake,
                        _ => LinkEnd::Desync,
                    };
                    let endpoint = link.endpoint.clone();
                    tracing::warn!(node = %endpoint, %error, "a connection to a node is closed");
                    self.lose(id, Loss::Broken, end, &error.to_string(), now);
                    return;
                }
            }
        }
        let Some(link) = self.backends.link(id) else { return };
        if !was_ready && link.is_ready() {
            self.backends.ready(id);
            if link_tracks(self.backends.link(id)) {
                self.tracker_ready(id, now);
            }
        }
        // The handshake's next step, the requests that waited for it, or its retirement.
        let Some(link) = self.backends.link(id) else { return };
        if (link.wants_write() || link.retiring) && !std::mem::replace(&mut link.listed, true) {
            self.backends.dirty.push(id);
        }
    }

    #[inline]
    fn answer(&mut self, id: LinkId, answer: &Answer, now: Instant) {
        let expect = answer.expect;
        match expect.kind {
            ExpectKind::Request | ExpectKind::Retry => {}
            ExpectKind::Asking | ExpectKind::Probe => return,
            ExpectKind::Push => return self.pushed(id, answer, now),
            ExpectKind::Confirm => return self.redirect_confirmed(id, answer, now),
            ExpectKind::Pinned | ExpectKind::Clean | ExpectKind::Unblock => {
                return self.pinned_answer(id, answer, now);
            }
        }
        self.metrics.backend_duration.observe(self.span.between(expect.queued, now));
        let Some(session) = self.sessions.get_mut(expect.session as usize) else { return };
        if session.incarnation != expect.incarnation {
            return; // The client has left, and another has its place.
        }
        let link = self.backends.link(id).expect("its answer is being read");
        let reply = link.bytes(answer);
        session.saw_reply(reply.len());
        if expect.part != Expect::WHOLE {
            return self.part_answer(id, answer, now);
        }
        if reply[0] == b'-' {
            return self.error_answer(id, answer, now);
        }
        let session_id = SessionId(expect.session);
        // The common case, without a copy of the reply: `complete` with the link's own bytes.
        let Some(entry) = session.pipeline.get(expect.seq) else { return };
        if entry.unsettled {
            let reply = reply.to_vec();
            return self.complete(session_id, expect.seq, &reply, Outcome::Ok, now);
        }
        let spec = entry.spec;
        let took = self.span.between(entry.received, now);
        if took.micros() >= self.slow.from_us {
            let reply = reply.to_vec();
            return self.complete(session_id, expect.seq, &reply, Outcome::Ok, now);
        }
        let released =
            session.pipeline.deliver(expect.seq, reply, &mut session.output, &mut self.buffers);
        self.metrics.command(spec, Outcome::Ok, took);
        self.after_delivery(session_id, released, false);
    }

    /// What follows once a request has its answer.
    #[inline]
    pub(super) fn after_delivery(&mut self, id: SessionId, released: Option<u64>, unsettled: bool) {
        self.metrics.inflight.sub(1);
        let session = &mut self.sessions[id.index()];
        let was_held_back = session.is_held_back();
        if unsettled {
            session.unsettled -= 1;
        }
        if let Some(at) = released {
            if session.pipeline.is_empty() {
                session.input.release_decoded(&mut self.buffers);
            } else {
                session.input.release(at);
            }
            if !std::mem::replace(&mut session.listed_for_write, true) {
                self.writable.push(id);
            }
            let hard = if session.client.authenticated {
                self.options.client_output_hard
            } else {
                UNAUTHENTICATED_OUTPUT
            };
            if session.output.len() > hard {
                session.overflow();
            }
        }
        if was_held_back && !std::mem::replace(&mut session.listed_to_advance, true) {
            self.ready.push(id);
        }
    }

    /// Answers a request: with the proxy's own bytes, or a copy of a node's.
    pub(super) fn complete(
        &mut self,
        id: SessionId,
        seq: u64,
        reply: &[u8],
        outcome: Outcome,
        now: Instant,
    ) {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get(seq) else { return };
        let (spec, received, unsettled) = (entry.spec, entry.received, entry.unsettled);
        if unsettled {
            let since = entry.work.as_ref().and_then(|work| work.retry.since);
            if since.is_some() {
                let timed_out = matches!(outcome, Outcome::ProxyError);
                let event = if timed_out { RideOut::Timeout } else { RideOut::Drained };
                self.metrics.rideout_events[event as usize].add(1);
            }
        }
        let took = Took::from(now.saturating_duration_since(received));
        if took.micros() >= self.slow.from_us {
            self.note_slow(id, seq, took.micros());
        }
        let session = &mut self.sessions[id.index()];
        let released = session.pipeline.deliver(seq, reply, &mut session.output, &mut self.buffers);
        if outcome != Outcome::Ok {
            self.metrics.error(reply);
        }
        self.metrics.command(spec, outcome, took);
        self.after_delivery(id, released, unsettled);
    }

    /// A whole request was answered with an error.
    #[cold]
    fn error_answer(&mut self, id: LinkId, answer: &Answer, now: Instant) {
        let expect = answer.expect;
        let session_id = SessionId(expect.session);
        let link = self.backends.link(id).expect("its answer is being read");
        let reply = link.bytes(answer).to_vec();
        let sender = link.endpoint.host.clone();
        let session = &mut self.sessions[session_id.index()];
        let Some(entry) = session.pipeline.get_mut(expect.seq) else { return };
        let asked = Asked {
            slot: entry.slot.filter(|_| entry.keyed),
            hops: entry.hops,
            hops_max: self.options.redirects_max,
            write: entry.spec.is_write(),
            script: entry.spec.runs_script(),
        };
        let line = line_of(&reply);
        let verdict = retry::judge(line, &asked);
        if !matches!(verdict, Verdict::Deliver) {
            count_redirect(&self.metrics, line);
        }
        match verdict {
            Verdict::Deliver if asked.script && is_missing(line) => {
                let frame = entry.frame(&session.input);
                let body = script_named_in(frame, &self.shared.scripts, &self.options.limits);
                let entry = self.sessions[session_id.index()].pipeline.get_mut(expect.seq);
                let work = entry.expect("it was just there").work.get_or_insert_default();
                match body.filter(|_| work.script.is_none()) {
                    Some(body) => {
                        work.script = Some(body);
                        self.at_once(session_id, expect.seq, Expect::WHOLE, &text(line), now);
                    }
                    None => {
                        self.complete(session_id, expect.seq, &reply, Outcome::ServerError, now);
                    }
                }
            }
            Verdict::Deliver => {
                self.complete(session_id, expect.seq, &reply, Outcome::ServerError, now);
            }
            Verdict::Confirm => self.confirm_redirect(id, session_id, expect.seq, &reply, now),
            Verdict::Resend { to, asking, learn } => {
                let endpoint = self.options.mapped(to.endpoint(&sender));
                self.follow(session_id, expect.seq, endpoint, (asking, learn), line, now);
            }
            Verdict::Later { refresh } => {
                entry.hops = 0;
                let slot = entry.slot;
                if refresh {
                    self.shared.map.want_refresh();
                }
                if let (true, Some(slot)) = (line.starts_with(b"TRYAGAIN"), slot) {
                    self.sessions[session_id.index()].be_careful(slot, now);
                }
                self.later(session_id, expect.seq, Expect::WHOLE, &text(line), now);
                self.avoid_for_reads(id, now);
            }
        }
    }

    /// A whole request goes where a redirect says.
    pub(super) fn follow(
        &mut self,
        id: SessionId,
        seq: u64,
        endpoint: Endpoint,
        (asking, learn): (bool, bool),
        line: &[u8],
        now: Instant,
    ) {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        entry.hops += 1;
        let slot = entry.slot;
        let work = entry.work.get_or_insert_default();
        work.retry.target = Some(Target { endpoint: endpoint.clone(), asking });
        if let (true, Some(slot)) = (learn, slot) {
            self.shared.map.learn(slot, &endpoint, now);
            self.shared.map.want_refresh();
            self.backends.sync();
        }
        if let (true, Some(slot)) = (asking, slot) {
            self.sessions[id.index()].be_careful(slot, now);
        }
        self.at_once(id, seq, Expect::WHOLE, &text(line), now);
    }

    /// A part of a request was answered.
    fn part_answer(&mut self, id: LinkId, answer: &Answer, now: Instant) {
        let expect = answer.expect;
        let session_id = SessionId(expect.session);
        let part = expect.part as usize;
        let link = self.backends.peek(id).expect("its answer is being read");
        let reply = link.bytes(answer);
        let session = &mut self.sessions[session_id.index()];
        let Some(entry) = session.pipeline.get_mut(expect.seq) else { return };
        let Some(gather) = entry.work.as_mut().and_then(|work| work.gather.as_mut()) else {
            return;
        };
        if reply[0] == b'-' {
            // A fan-out's part has no slot of its own that a redirect could name.
            let keyed = gather.is_by_key();
            let asked = Asked {
                slot: Some(gather.parts[part].slot).filter(|_| keyed),
                hops: gather.parts[part].hops,
                hops_max: self.options.redirects_max,
                write: entry.spec.is_write(),
                script: entry.spec.runs_script(),
            };
            let verdict = retry::judge(line_of(reply), &asked);
            if !matches!(verdict, Verdict::Deliver) {
                let (sender, line) = (link.endpoint.host.clone(), line_of(reply).to_vec());
                self.part_not_run(session_id, &expect, &sender, &line, &asked, now);
                return self.avoid_for_reads(id, now);
            }
        }
        if let Some(publication) = gather.publication() {
            publication.answered_by(&link.endpoint, &self.shared.listeners);
        }
        if let Some(position) = gather.scan_position().filter(|position| position.is_page(part)) {
            // Where a slot has changed while the page was under way, the nodes have other places.
            let changes = &*self.shared.map.changes();
            if changes.changed_since(position.began) {
                position.visits_then(&changes.stops(self.backends.topology(), position.began));
            }
        }
        match gather.answered(part, reply) {
            Ok(true) => self.finish_gather(session_id, expect.seq, now),
            Ok(false) => {}
            Err(crate::proxy::elements::Malformed) => {
                let line = format!(
                    "INDOUBT {} answered {} with something else",
                    link.endpoint, entry.spec.name
                );
                let last = gather.failed(part, entry.spec.is_write(), line.clone());
                if last {
                    self.finish_gather(session_id, expect.seq, now);
                }
                self.lose(id, Loss::Broken, LinkEnd::Desync, &line, now);
            }
        }
    }

    #[cold]
    fn part_not_run(
        &mut self,
        id: SessionId,
        expect: &Expect,
        sender: &str,
        line: &[u8],
        asked: &Asked,
        now: Instant,
    ) {
        count_redirect(&self.metrics, line);
        let session = &mut self.sessions[id.index()];
        let entry = session.pipeline.get_mut(expect.seq).expect("its part was just answered");
        let work = entry.work.as_mut().expect("it has parts");
        let part = &mut work.gather.as_mut().expect("it has parts").parts[expect.part as usize];
        let slot = part.slot;
        match retry::judge(line, asked) {
            Verdict::Resend { to, asking, learn } => {
                let endpoint = self.options.mapped(to.endpoint(sender));
                part.hops += 1;
                part.retry.target = Some(Target { endpoint: endpoint.clone(), asking });
                if learn {
                    self.shared.map.learn(slot, &endpoint, now);
                    self.shared.map.want_refresh();
                    self.backends.sync();
                } else {
                    session.be_careful(slot, now);
                }
                self.at_once(id, expect.seq, expect.part, &text(line), now);
            }
            Verdict::Later { refresh } => {
                part.hops = 0;
                if refresh {
                    self.shared.map.want_refresh();
                }
                if line.starts_with(b"TRYAGAIN") {
                    session.be_careful(slot, now);
                }
                self.later(id, expect.seq, expect.part, &text(line), now);
            }
            // No script is split, and what is delivered does not come here.
            Verdict::Confirm { .. } | Verdict::Deliver => {
                self.later(id, expect.seq, expect.part, &text(line), now);
            }
        }
    }

    /// Every part has its outcome: the whole is answered.
    pub(super) fn finish_gather(&mut self, id: SessionId, seq: u64, now: Instant) {
        if self.round_goes_on(id, seq, now) {
            return;
        }
        let session = &mut self.sessions[id.index()];
        let protocol = session.client.protocol;
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        let work = entry.work.as_mut().expect("it has parts");
        let frame = match &work.frame {
            Some(frame) => frame,
            None => session.input.slice(entry.frame_at, entry.frame_len),
        };
        let mut decoder = RequestDecoder::default();
        let limits = self.options.limits;
        let used = decoder.decode(frame, &limits).ok().flatten().unwrap_or(0);
        let gather = work.gather.take().expect("it has parts");
        let mut reply = std::mem::take(&mut self.scratch.reply);
        reply.clear();
        if let Some(request) = decoder.request(frame, used) {
            gather.finish(&request, protocol, &mut reply);
        }
        reply.append(&mut work.pushes);
        entry.state = State::InFlight;
        let outcome = match gather.verdict() {
            GatherVerdict::Ok => Outcome::Ok,
            GatherVerdict::Error => Outcome::ServerError,
            GatherVerdict::InDoubt => Outcome::InDoubt,
        };
        debug_assert!(gather.parts.iter().all(|part| part.state == PartState::Done));
        self.complete(id, seq, &reply, outcome, now);
        if reply.capacity() > SCRATCH_KEPT {
            reply = Vec::new();
        }
        self.scratch.reply = reply;
    }
}

fn link_tracks(link: Option<&mut Link>) -> bool {
    link.is_some_and(|link| link.tracker.is_some())
}

pub(super) fn count_redirect(metrics: &WorkerMetrics, line: &[u8]) {
    let kinds: [(&[u8], Redirect); 7] = [
        (b"MOVED", Redirect::Moved),
        (b"ASK", Redirect::Ask),
        (b"TRYAGAIN", Redirect::TryAgain),
        (b"CLUSTERDOWN", Redirect::ClusterDown),
        (b"LOADING", Redirect::Loading),
        (b"MASTERDOWN", Redirect::MasterDown),
        (b"READONLY", Redirect::ReadOnly),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(word, _)| line.starts_with(word)) {
        metrics.redirects[*kind as usize].add(1);
    }
}

/// The script that a frame of EVALSHA names, if a client has sent it before.
fn script_named_in(frame: &[u8], scripts: &Scripts, limits: &Limits) -> Option<Arc<[u8]>> {
    let mut decoder = RequestDecoder::default();
    let used = decoder.decode(frame, limits).ok().flatten()?;
    let request = decoder.request(frame, used)?;
    let by_name = request.name().eq_ignore_ascii_case(b"evalsha")
        || request.name().eq_ignore_ascii_case(b"evalsha_ro");
    by_name.then(|| scripts.get(request.get(1)?)).flatten()
}

/// Bytes of replies that a client may leave unread before it has authenticated.
const UNAUTHENTICATED_OUTPUT: usize = 16 * 1024;

/// What is kept of a buffer that a gathered reply was built in.
const SCRATCH_KEPT: usize = 256 * 1024;

/// An error reply without its `-` and line end; `None` for another reply.
pub(super) fn error_line(reply: &[u8]) -> Option<&[u8]> {
    reply.starts_with(b"-").then(|| line_of(reply))
}

/// An error reply without its `-` and line end.
pub(super) fn line_of(reply: &[u8]) -> &[u8] {
    let line = reply.strip_prefix(b"-").unwrap_or(reply);
    line.strip_suffix(b"\r\n").unwrap_or(line)
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
