//! What workers ask and tell each other. Each owns its clients and its connections, so a question
//! about all of them goes to every worker, and the answers make one reply.
//!
//! None of this is on the way of a request. A client has at most as many questions under way as it
//! has requests, so the queues between workers are bounded by the limits of clients.

use super::configure::Setting;
use super::proxy_commands::Rows;
use super::slow::SlowRequest;
use super::trackers::Invalidated;
use super::{Core, Dispatched, SessionId};
use crate::command::Spec;
use crate::proxy::clients::ClientFilter;
use crate::proxy::metrics::Outcome;
use crate::proxy::pipeline::{Entry, State, Work};
use crate::proxy::show::{Cell, Table};
use crate::proxy::topics::Listener;
use crate::resp::{Encoder, Protocol};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

/// What one worker sends to another.
#[derive(Debug)]
pub struct Word(Kind);

#[derive(Debug)]
enum Kind {
    /// A question, and who waits for its answer.
    Ask { from: usize, asker: Asker, query: Query },
    /// An answer.
    Answer { asker: Asker, answer: Answer },
    /// The pause has begun, changed or ended.
    Paused,
    /// There are monitors where there were none, or the other way round.
    Monitored,
    /// What the sender's clients have sent, for monitors; nothing where it was too much.
    Shown(Option<Arc<[u8]>>),
    /// Keys have changed that a client of the sender has read, and another client is told.
    Invalidated(Invalidated),
    /// That other client is not there any more.
    NobodyThere {
        /// Who tracks.
        tracker: Listener,
        /// Who was to be told.
        redirect: u64,
    },
}

/// Whose request waits for answers.
#[derive(Clone, Copy, Debug)]
struct Asker {
    listener: Listener,
    seq: u64,
}

/// What is asked of every worker.
#[derive(Clone, Debug)]
pub(super) enum Query {
    /// The clients that the filter takes, a line each.
    List(ClientFilter),
    /// The clients that the filter takes are closed, and counted.
    Kill(ClientFilter),
    /// The client with this number stops waiting: 1 where it did.
    Unblock {
        /// Its number.
        client: u64,
        /// With an error instead of a time-out.
        error: bool,
    },
    /// What PROXY SHOW wants of each.
    Rows(Rows),
    /// The requests that took long.
    Slow,
    /// How many of them are kept.
    SlowCount,
    /// They are forgotten.
    ForgetSlow,
    /// From here on what its clients send is shown to monitors.
    Monitored,
    /// From here on it goes by these.
    Configure(Vec<Setting>),
    /// What it has counted is forgotten.
    ResetStats,
    /// Whether the client with this number is one of its: its own number plus one if so.
    Find(u64),
}

/// What a worker answers: its part of a sum, and of a list that is sorted in the end.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Answer {
    pub count: i64,
    pub lines: Vec<(u64, String)>,
    pub rows: Vec<Vec<Cell>>,
    pub(super) slow: Vec<SlowRequest>,
}

/// How the reply is made of all answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The lines, one after the other.
    Text,
    /// The sum.
    Count,
    /// The sum, or this where it is more.
    CountTo(usize),
    /// OK.
    Done,
    /// The latest slow requests.
    Slow {
        /// So many of them.
        most: usize,
    },
    /// OK if anybody was found; an error otherwise.
    Found,
    /// The rows, under these columns.
    Table(&'static [&'static str]),
    /// No reply yet: whoever is to be told of changes was looked for.
    Redirect,
}

/// A request that waits for other workers.
#[derive(Debug)]
pub(in crate::proxy) struct Asking {
    waiting: usize,
    answer: Answer,
    finish: Finish,
}

impl Core {
    /// The next word for another worker, and that worker's number.
    #[inline]
    pub fn next_word(&mut self) -> Option<(usize, Word)> {
        self.words.pop()
    }

    /// Another worker has sent a word.
    pub fn told(&mut self, word: Word, now: Instant) {
        match word.0 {
            Kind::Ask { from, asker, query } => {
                let answer = self.answer_query(&query, now);
                self.words.push((from, Word(Kind::Answer { asker, answer })));
            }
            Kind::Answer { asker, answer } => self.heard_answer(asker, answer, now),
            Kind::Paused => self.take_pause(now),
            Kind::Monitored => self.take_monitoring(),
            Kind::Shown(lines) => self.heard_for_monitors(lines),
            Kind::Invalidated(of) => self.tell_redirected(of, now),
            Kind::NobodyThere { tracker, redirect } => self.redirect_is_broken(tracker, redirect),
        }
        self.go_on(now);
    }

    /// Tells every other worker that the pause is another now.
    pub(super) fn tell_of_pause(&mut self) {
        for worker in self.other_workers() {
            self.words.push((worker, Word(Kind::Paused)));
        }
    }

    /// Tells every other worker that there are monitors, or none any more.
    pub(super) fn tell_of_monitors(&mut self) {
        for worker in self.other_workers() {
            self.words.push((worker, Word(Kind::Monitored)));
        }
    }

    /// Tells the monitors of another worker.
    pub(super) fn tell_monitors(&mut self, worker: usize, lines: Option<Arc<[u8]>>) {
        self.words.push((worker, Word(Kind::Shown(lines))));
    }

    /// Tells a worker what a client of its is to be told.
    pub(super) fn pass_on_invalidation(&mut self, worker: usize, of: Invalidated) {
        self.words.push((worker, Word(Kind::Invalidated(of))));
    }

    /// Tells a worker that whoever its client redirects to is not here.
    pub(super) fn deny_redirect(&mut self, worker: usize, tracker: Listener, redirect: u64) {
        self.words.push((worker, Word(Kind::NobodyThere { tracker, redirect })));
    }

    fn other_workers(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.worker;
        (0..self.all_metrics.len()).filter(move |&worker| worker != own)
    }

    /// Answers the request at hand with what all workers say to `query`.
    pub(super) fn ask_workers(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        query: Query,
        finish: Finish,
        now: Instant,
    ) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        let used = std::mem::take(&mut session.undispatched);
        let listener = Listener { session: id, incarnation: session.incarnation };
        let unanswered = session.client.take_unanswered();
        let asking = Asking { waiting: self.all_metrics.len(), answer: Answer::default(), finish };
        let seq = session.pipeline.push(Entry {
            state: State::Asking,
            unanswered,
            generation: self.backends.topology().generation(),
            work: Some(Box::new(Work { asking: Some(Box::new(asking)), ..Work::default() })),
            ..Entry::new(session.input.position(), used, spec, now)
        });
        session.input.advance(used);
        self.metrics.inflight.add(1);
        let asker = Asker { listener, seq };
        for worker in self.other_workers() {
            let query = query.clone();
            self.words.push((worker, Word(Kind::Ask { from: self.worker, asker, query })));
        }
        let own = self.answer_query(&query, now);
        self.heard_answer(asker, own, now);
        Dispatched::Yes
    }

    fn answer_query(&mut self, query: &Query, now: Instant) -> Answer {
        match query {
            Query::List(filter) => self.list_clients(filter, now),
            Query::Kill(filter) => self.kill_clients(filter, now),
            Query::Rows(rows) => self.answer_rows(*rows, now),
            Query::Slow => self.list_slow(),
            Query::SlowCount => self.count_slow(),
            Query::ForgetSlow => self.forget_slow(),
            Query::Monitored => {
                self.take_monitoring();
                Answer::default()
            }
            Query::Configure(settings) => {
                self.take_settings(settings);
                Answer::default()
            }
            Query::ResetStats => {
                self.metrics.reset();
                Answer::default()
            }
            Query::Find(client) => {
                let here = self.sessions.iter().any(|(_, session)| session.client.id == *client);
                let count = if here { self.worker as i64 + 1 } else { 0 };
                Answer { count, ..Answer::default() }
            }
            Query::Unblock { client, error } => {
                let count = i64::from(self.unblock(*client, *error, now));
                Answer { count, ..Answer::default() }
            }
        }
    }

    fn heard_answer(&mut self, asker: Asker, answer: Answer, now: Instant) {
        let Asker { listener, seq } = asker;
        let Some(session) = self.sessions.get_mut(listener.session.index()) else { return };
        if session.incarnation != listener.incarnation {
            return;
        }
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        let Some(asking) = entry.work.as_mut().and_then(|work| work.asking.as_mut()) else {
            return;
        };
        asking.waiting -= 1;
        asking.answer.count += answer.count;
        asking.answer.lines.extend(answer.lines);
        asking.answer.rows.extend(answer.rows);
        asking.answer.slow.extend(answer.slow);
        if asking.waiting > 0 {
            return;
        }
        if asking.finish == Finish::Redirect {
            let worker = usize::try_from(asking.answer.count - 1).ok();
            return self.redirect_found(listener.session, seq, worker, now);
        }
        let mut reply = Vec::new();
        asking.write(session.client.protocol, &mut reply);
        let outcome = if reply[0] == b'-' { Outcome::ProxyError } else { Outcome::Ok };
        self.complete(listener.session, seq, &reply, outcome, now);
    }
}

impl Asking {
    fn write(&mut self, protocol: Protocol, out: &mut Vec<u8>) {
        let mut reply = Encoder::new(out, protocol);
        match self.finish {
            Finish::Text => {
                self.answer.lines.sort();
                let text: String =
                    self.answer.lines.iter().map(|(_, line)| line.as_str()).collect();
                reply.verbatim(text);
            }
            Finish::Table(columns) => {
                self.answer.rows.sort();
                Table::new(columns, std::mem::take(&mut self.answer.rows)).write(&mut reply);
            }
            Finish::Slow { most } => {
                self.answer.slow.sort_by_key(|request| Reverse(request.number));
                self.answer.slow.truncate(most);
                reply.array(self.answer.slow.len());
                self.answer.slow.iter().for_each(|request| request.write(&mut reply));
            }
            Finish::Done | Finish::Redirect => reply.ok(),
            Finish::Count => reply.integer(self.answer.count),
            Finish::CountTo(most) => reply.integer(self.answer.count.min(most as i64)),
            Finish::Found if self.answer.count > 0 => reply.ok(),
            Finish::Found => reply.error("ERR No such client"),
        }
    }
}
