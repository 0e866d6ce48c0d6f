//! What the proxy answers itself, and what follows for the session that asked.

use super::requests::Dispatched;
use super::{Core, SessionId};
use crate::command::Spec;
use crate::proxy::local::{self, After, Env};
use crate::proxy::metrics::{ClientEnd, Outcome};
use crate::proxy::session::{Replies, Session};
use crate::resp::Request;
use std::time::Instant;

impl Core {
    /// Answers what the proxy answers itself.
    pub(super) fn answer_locally(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() && local::changes_session(spec) {
            return Dispatched::WaitForAll;
        }
        if spec.name.starts_with("client|")
            && let Some(dispatched) = self.about_clients(id, spec, now)
        {
            return dispatched;
        }
        if spec.name.starts_with("slowlog|")
            && let Some(dispatched) = self.about_slow(id, spec, now)
        {
            return dispatched;
        }
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let Session { input, decoder, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let silent_before = client.replies != Replies::On;
        let env = Env {
            options: &self.options,
            map: &self.shared.map,
            topology: self.backends.topology(),
            listeners: &self.shared.listeners,
            port: client.local.port(),
            clients: self.shared.clients.load(std::sync::atomic::Ordering::Relaxed),
            all_metrics: &self.all_metrics,
            started: self.started,
            now,
            outside: &self.outside,
        };
        let mut reply = std::mem::take(&mut self.scratch.reply);
        reply.clear();
        let after = local::answer(client, &request, spec, &env, &mut reply);
        let outcome = if reply.starts_with(b"-") { Outcome::ProxyError } else { Outcome::Ok };
        let dispatched = match after {
            After::Gather(gather) => {
                self.scratch.reply = reply;
                return self.send_parts(id, spec, *gather, now);
            }
            After::Nothing => Dispatched::Yes,
            After::AuthFailed => {
                self.metrics.auth_failures.add(1);
                Dispatched::Yes
            }
            After::Close => {
                self.sessions[id.index()].closing = Some(ClientEnd::Client);
                Dispatched::Yes
            }
        };
        if local::changes_session(spec) {
            self.session_changed(id, spec, now);
        }
        let unanswered = silent_before && self.sessions[id.index()].client.take_unanswered();
        self.answer_now(id, Some(spec), &reply, unanswered || reply.is_empty(), outcome, now);
        self.scratch.reply = reply;
        dispatched
    }

    /// What the proxy answers to a command that it answers itself, with nothing else done.
    pub(super) fn ask_locally(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        spec: &'static Spec,
        reply: &mut Vec<u8>,
        now: Instant,
    ) -> After {
        let env = Env {
            options: &self.options,
            map: &self.shared.map,
            topology: self.backends.topology(),
            listeners: &self.shared.listeners,
            port: self.sessions[id.index()].client.local.port(),
            clients: self.shared.clients.load(std::sync::atomic::Ordering::Relaxed),
            all_metrics: &self.all_metrics,
            started: self.started,
            now,
            outside: &self.outside,
        };
        local::answer(&mut self.sessions[id.index()].client, request, spec, &env, reply)
    }

    /// CLIENT NO-TOUCH, where the nodes know it.
    pub(super) fn no_touch(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let version = self.shared.map.lowest_version();
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() {
            return Dispatched::WaitForAll;
        }
        let used = session.undispatched;
        let Session { input, decoder, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let mode = request.arg(2);
        let on = match () {
            () if !version.is_some_and(|version| is_at_least_7_2(&version)) => {
                Err("ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP.")
            }
            () if mode.eq_ignore_ascii_case(b"on") => Ok(true),
            () if mode.eq_ignore_ascii_case(b"off") => Ok(false),
            () => Err("ERR syntax error"),
        };
        match on {
            Ok(on) => {
                client.no_touch = on;
                let unanswered = client.take_unanswered();
                self.session_changed(id, spec, now);
                self.answer_now(id, Some(spec), b"+OK\r\n", unanswered, Outcome::Ok, now);
            }
            Err(line) => self.refuse(id, Some(spec), line.as_bytes(), now),
        }
        Dispatched::Yes
    }

    /// A command was answered that changes how those behind it are understood.
    pub(super) fn session_changed(&mut self, id: SessionId, spec: &'static Spec, now: Instant) {
        if spec.name == "reset" {
            self.stop_monitoring(id);
            self.forget_subscriptions(id);
            self.end_pins(id, now);
        }
        self.sessions[id.index()].regate();
        self.relane(id, now);
    }
}

/// Whether the nodes know what Redis 7.2 brought.
fn is_at_least_7_2(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (7, 2)
}
