//! CLIENT … about other clients: who is there, who is closed, and who has to wait.

use super::road::{Answer, Finish, Query};
use super::{Core, Dispatched, SessionId};
use crate::command::{Flags, Spec};
use crate::proxy::clients::{self, ClientFilter};
use crate::proxy::metrics::{ClientEnd, Outcome};
use crate::resp::{Encoder, parse_i64};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// CLIENT PAUSE, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself.
    until: Instant,
    /// Whether reads go on.
    writes_only: bool,
}

impl Pause {
    /// Until then.
    pub(super) fn new(until: Instant, writes_only: bool) -> Self {
        Self { until, writes_only }
    }

    /// Whether a command has to wait. CLIENT UNPAUSE never does.
    fn holds(&self, spec: &Spec) -> bool {
        let may_write = spec.flags.intersects(Flags::WRITE.union(Flags::MAY_REPLICATE))
            || spec.runs_script() && !spec.flags.contains(Flags::READONLY);
        (!self.writes_only || may_write) && spec.name != "client|unpause"
    }
}

impl Core {
    /// The CLIENT commands that concern more than the client that sent them; `None` for any other.
    pub(super) fn about_clients(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Option<Dispatched> {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let own = session.client.id;
        let query = match spec.name {
            "client|info" => {
                let line = clients::line(session, Some(spec), now);
                return Some(self.say(id, spec, |_, reply| reply.verbatim(line), now));
            }
            "client|list" => {
                ClientFilter::of_list(&request).map(|filter| (Query::List(filter), Finish::Text))
            }
            "client|kill" => ClientFilter::of_kill(&request, own).map(|(filter, old)| {
                let finish = if old { Finish::Found } else { Finish::Count };
                (Query::Kill(filter), finish)
            }),
            "client|unblock" => {
                unblock(request.arg(2), request.get(3)).map(|query| (query, Finish::Count))
            }
            "client|pause" | "client|unpause" => {
                let pause = match spec.name {
                    "client|pause" => pause(request.arg(2), request.get(3), now).map(Some),
                    _ => Ok(None),
                };
                return Some(self.say(
                    id,
                    spec,
                    |core, reply| match pause {
                        Ok(pause) => {
                            core.pause_clients(pause, now);
                            reply.ok();
                        }
                        Err(line) => reply.error(line),
                    },
                    now,
                ));
            }
            _ => return None,
        };
        Some(match query {
            Ok((query, finish)) => self.ask_workers(id, spec, query, finish, now),
            Err(line) => {
                self.refuse(id, Some(spec), line.as_bytes(), now);
                Dispatched::Yes
            }
        })
    }

    /// Answers the request at hand.
    pub(super) fn say(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        write: impl FnOnce(&mut Self, &mut Encoder<'_>),
        now: Instant,
    ) -> Dispatched {
        let protocol = self.sessions[id.index()].client.protocol;
        let mut reply = Vec::new();
        write(self, &mut Encoder::new(&mut reply, protocol));
        let unanswered = self.sessions[id.index()].client.take_unanswered();
        let outcome = if reply.starts_with(b"-") { Outcome::ProxyError } else { Outcome::Ok };
        self.answer_now(id, Some(spec), &reply, unanswered, outcome, now);
        Dispatched::Yes
    }

    pub(super) fn list_clients(&self, filter: &ClientFilter, now: Instant) -> Answer {
        let taken = self.sessions.iter().filter(|(_, session)| filter.takes(session, now));
        let lines =
            taken.map(|(_, s)| (s.client.id, clients::line(s, s.pipeline.newest(), now))).collect();
        Answer { lines, ..Answer::default() }
    }

    /// Closes clients. One that closes itself gets its answer first.
    pub(super) fn kill_clients(&mut self, filter: &ClientFilter, now: Instant) -> Answer {
        let mut ended = Vec::new();
        for (index, session) in &mut self.sessions {
            if !filter.takes(session, now) || session.dead.is_some() || session.closing.is_some() {
                continue;
            }
            let asks = session.pipeline.iter().any(|entry| entry.spec.name == "client|kill");
            if asks {
                session.closing = Some(ClientEnd::Killed);
            } else {
                session.dead = Some(ClientEnd::Killed);
            }
            ended.push(SessionId(index as u32));
        }
        for &id in &ended {
            self.list_writable(id);
        }
        Answer { count: ended.len() as i64, ..Answer::default() }
    }

    /// CLIENT PAUSE and CLIENT UNPAUSE.
    pub(super) fn pause_clients(&mut self, pause: Option<Pause>, now: Instant) {
        {
            let shared = &mut *self.shared.pause.lock().unwrap_or_else(PoisonError::into_inner);
            *shared = match (pause, *shared) {
                // A pause that is shorter, or holds less, does not end one that is there.
                (Some(new), Some(old)) if old.until > now => Some(Pause {
                    until: new.until.max(old.until),
                    writes_only: new.writes_only && old.writes_only,
                }),
                (pause, _) => pause,
            };
        }
        self.take_pause(now);
        self.tell_of_pause();
    }

    /// The pause is another now: every client is told apart, or let go.
    pub(super) fn take_pause(&mut self, now: Instant) {
        let pause = *self.shared.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = pause.filter(|pause| pause.until > now);
        if pause == self.pause {
            return;
        }
        self.pause = pause;
        self.timer_moved = true;
        let ids: Vec<SessionId> =
            self.sessions.iter().map(|(index, _)| SessionId(index as u32)).collect();
        for id in ids {
            let session = &mut self.sessions[id.index()];
            session.client.paused = pause.is_some();
            session.regate();
            if session.undispatched > 0 {
                self.list_to_advance(id);
            }
        }
    }

    /// When the pause ends by itself.
    pub(super) fn pause_ends(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.until)
    }

    /// Whether a command has to wait for a pause to end.
    pub(super) fn is_paused(&self, spec: &Spec) -> bool {
        self.pause.is_some_and(|pause| pause.holds(spec))
    }
}

fn unblock(id: &[u8], reason: Option<&[u8]>) -> Result<Query, String> {
    let error = match reason {
        None => false,
        Some(reason) if reason.eq_ignore_ascii_case(b"timeout") => false,
        Some(reason) if reason.eq_ignore_ascii_case(b"error") => true,
        Some(_) => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".to_owned()),
    };
    let client = parse_i64(id).ok_or("ERR value is not an integer or out of range")?;
    Ok(Query::Unblock { client: u64::try_from(client).unwrap_or(0), error })
}

fn pause(timeout: &[u8], mode: Option<&[u8]>, now: Instant) -> Result<Pause, String> {
    let writes_only = match mode {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"all") => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"write") => true,
        Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".to_owned()),
    };
    let ms = parse_i64(timeout).ok_or("ERR timeout is not an integer or out of range")?;
    let ms = u64::try_from(ms).map_err(|_| "ERR timeout is negative")?;
    let until = now.checked_add(Duration::from_millis(ms)).ok_or("ERR timeout is out of range")?;
    Ok(Pause { until, writes_only })
}
