//! Redirects that a script may have written itself.
//!
//! What EVAL and its kin answer may be any text, a redirect of their own slot included. Whether the
//! node has said it is asked of the node: a read of the script's first key, on the same connection,
//! is redirected as well if the slot has left, and answered if the script ran. No other node can
//! tell: just after a failover, most have not heard of it. While the node cannot tell either (its
//! cluster is down, it is loading), it is asked again, until the ride-out is over.

use super::retries::AGAIN;
use super::{Core, SessionId};
use crate::cluster::Endpoint;
use crate::command::first_key;
use crate::proxy::error::Failure;
use crate::proxy::link::{Answer, Expect, ExpectKind, LinkId};
use crate::proxy::metrics::Outcome;
use crate::proxy::pipeline::{Confirming, State};
use crate::proxy::retry::{self, Asked, Verdict};
use crate::resp::{RequestDecoder, encode_request};
use std::time::Instant;

impl Core {
    /// A script was answered with a redirect. It waits until the node has said whose it was.
    pub(super) fn confirm_redirect(
        &mut self,
        link: LinkId,
        id: SessionId,
        seq: u64,
        reply: &[u8],
        now: Instant,
    ) {
        let last = String::from_utf8_lossy(super::replies::line_of(reply)).into_owned();
        let node = self.backends.link(link).expect("its answer is being read").endpoint.clone();
        let Some(retry) = self.not_run(id, seq, Expect::WHOLE) else { return };
        retry.since.get_or_insert(now);
        retry.last = last;
        retry.confirming = Some(Box::new(Confirming { link, node, again: false }));
        retry.due = None;
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        entry.work.get_or_insert_default().reply = reply.to_vec();
        self.ask_for_first_key(link, id, seq, now);
    }

    /// Reads a script's first key on the connection that has redirected the script.
    fn ask_for_first_key(&mut self, link: LinkId, id: SessionId, seq: u64, now: Instant) {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        let frame = entry.frame(&session.input);
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten().unwrap_or(0);
        let request = decoder.request(frame, used).expect("it was decoded before");
        let key = first_key(entry.spec, &request).ok().flatten().map(|at| request.arg(at));
        let expect = Expect {
            session: id.0,
            incarnation: session.incarnation,
            seq,
            part: Expect::WHOLE,
            kind: ExpectKind::Confirm,
            end: 0,
            queued: now,
        };
        let key = key.expect("a redirect counts only for a command with keys");
        self.backends.send(link, expect, |out| encode_request(out, &[b"EXISTS", key]));
    }

    /// The node could not tell, and its time to be asked again has come.
    pub(super) fn confirm_again(&mut self, id: SessionId, seq: u64, now: Instant) {
        let Some(entry) = self.sessions[id.index()].pipeline.get_mut(seq) else { return };
        let Some(retry) = entry.work.as_mut().map(|work| &mut work.retry) else { return };
        let Some(confirming) = &retry.confirming else { return };
        let (link, node) = (confirming.link, confirming.node.clone());
        retry.due = None;
        let since = retry.since.unwrap_or(now);
        let is_over = now.saturating_duration_since(since) >= self.options.ride_out;
        match self.backends.link(link) {
            Some(of) if of.is_ready() && !is_over => self.ask_for_first_key(link, id, seq, now),
            _ => self.fail(id, seq, Expect::WHOLE, &Failure::Unconfirmed { node }, now),
        }
    }

    /// The node has answered the read of a script's first key.
    pub(super) fn redirect_confirmed(&mut self, link: LinkId, answer: &Answer, now: Instant) {
        let expect = answer.expect;
        let id = SessionId(expect.session);
        let of = self.backends.link(link).expect("its answer is being read");
        let reply = of.bytes(answer).to_vec();
        let sender = of.endpoint.clone();
        if !self.is_confirming(&expect) {
            return;
        }
        let entry = self.sessions[id.index()].pipeline.get_mut(expect.seq).expect("just seen");
        let asked = Asked {
            slot: entry.slot,
            hops: entry.hops,
            hops_max: self.options.redirects_max,
            write: false,
            script: false,
        };
        let work = entry.work.as_mut().expect("it waits");
        let confirming = work.retry.confirming.take().expect("it was looked at");
        let line = super::replies::error_line(&reply).unwrap_or_default();
        match retry::judge(line, &asked) {
            // The slot may have come back since the node was asked first.
            Verdict::Deliver | Verdict::Confirm if confirming.again => {
                let failure = Failure::Unconfirmed { node: sender };
                self.fail(id, expect.seq, Expect::WHOLE, &failure, now);
            }
            Verdict::Deliver | Verdict::Confirm => {
                let own = std::mem::take(&mut work.reply);
                self.complete(id, expect.seq, &own, Outcome::ServerError, now);
            }
            Verdict::Resend { to, asking, learn } => {
                let endpoint = self.options.mapped(to.endpoint(&sender.host));
                self.follow(id, expect.seq, endpoint, (asking, learn), line, now);
            }
            // Too many redirects in a row: only time helps.
            Verdict::Later { .. } if line.starts_with(b"MOVED ") || line.starts_with(b"ASK ") => {
                entry.hops = 0;
                self.shared.map.want_refresh();
                let last = String::from_utf8_lossy(line).into_owned();
                self.later(id, expect.seq, Expect::WHOLE, &last, now);
            }
            // It cannot tell yet.
            Verdict::Later { .. } => {
                let retry = &mut work.retry;
                let over = retry.since.unwrap_or(now) + self.options.ride_out;
                let due = (now + AGAIN.wait(retry.failures)).min(over.max(now));
                retry.failures += 1;
                retry.due = Some(due);
                retry.confirming = Some(Box::new(Confirming { again: true, ..*confirming }));
                self.set_timer(id, due);
            }
        }
    }

    /// The node is gone before it has said whose redirect it was: the script may have run.
    pub(super) fn never_confirmed(&mut self, expect: &Expect, node: &Endpoint, now: Instant) {
        if self.is_confirming(expect) {
            let failure = Failure::Lost { node: node.clone() };
            self.fail(SessionId(expect.session), expect.seq, Expect::WHOLE, &failure, now);
        }
    }

    fn is_confirming(&self, expect: &Expect) -> bool {
        let session = self.sessions.get(expect.session as usize);
        let session = session.filter(|session| session.incarnation == expect.incarnation);
        let entry = session.and_then(|session| session.pipeline.get(expect.seq));
        entry.is_some_and(|entry| {
            entry.state == State::Waiting
                && entry.work.as_ref().is_some_and(|work| work.retry.confirming.is_some())
        })
    }
}
