//! What workers ask and tell each other. Each owns its clients and its connections, so a question
//! about all of them goes to every worker, and the answers make one reply.
//!
//! None of this is on the way of a request. A client has at most as many questions under way as it
//! has requests, so the queues between workers are bounded by the limits of clients.

use super::proxy_commands::Rows;
use super::slow::SlowRequest;
use super::{Core, Dispatched, SessionId};
use crate::command::Spec;
use crate::proxy::clients::ClientFilter;
use crate::proxy::link::LinkId;
use crate::proxy::metrics::Outcome;
use crate::proxy::pipeline::{Entry, State, Work};
use crate::proxy::show::{Cell, Table};
use crate::proxy::topics::Listener;
use crate::resp::{Encoder, Protocol};
use std::cmp::Reverse;
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
        }
        self.go_on(now);
    }

    /// Tells every other worker that the pause is another now.
    pub(super) fn tell_of_pause(&mut self) {
        for worker in self.other_workers() {
            self.words.push((worker, Word(Kind::Paused)));
        }
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
            frame_at: session.input.position(),
            frame_len: used as u32,
            slot: None,
            keyed: false,
            link: LinkId::NONE,
            spec,
            state: State::Asking,
            hops: 0,
            silences: 0,
            unsettled: false,
            unanswered,
            generation: self.backends.topology().generation(),
            received: now,
            work: Some(Box::new(Work { asking: Some(Box::new(asking)), ..Work::default() })),
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
            Finish::Done => reply.ok(),
            Finish::Count => reply.integer(self.answer.count),
            Finish::Found if self.answer.count > 0 => reply.ok(),
            Finish::Found => reply.error("ERR No such client"),
        }
    }
}
