//! SLOWLOG: the requests that took long, as this proxy saw them: from their last byte to the first
//! of their answer, with everything that a client waits for in between (its node, the way there,
//! a failover that was ridden out).
//!
//! Each worker keeps as many of its own as are kept in all; SLOWLOG GET puts them together by their
//! numbers, which all workers share, and shows the latest of all.

use super::road::{Answer, Finish, Query};
use super::{Core, Dispatched, SessionId};
use crate::command::{Flags, Spec, shortened};
use crate::proxy::link::LinkId;
use crate::resp::{Encoder, RequestDecoder, parse_i64};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What SLOWLOG GET shows when it is not told how many.
const SHOWN: usize = 10;

/// The latest slow requests of one worker.
#[derive(Debug)]
pub(super) struct SlowLog {
    /// From how many microseconds on a request is slow.
    pub(super) from_us: u64,
    latest: VecDeque<SlowRequest>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct SlowRequest {
    pub(super) number: u64,
    unix_seconds: u64,
    took_us: u64,
    args: Vec<Vec<u8>>,
    peer: String,
    name: Vec<u8>,
}

impl SlowLog {
    /// An empty one; zero notes nothing.
    pub(super) fn new(from: Duration) -> Self {
        let from_us = if from.is_zero() { u64::MAX } else { from.as_micros() as u64 };
        Self { from_us, latest: VecDeque::new() }
    }
}

impl SlowRequest {
    /// As SLOWLOG GET shows it.
    pub(super) fn write(&self, reply: &mut Encoder<'_>) {
        reply.array(6);
        reply.integer(self.number as i64);
        reply.integer(self.unix_seconds as i64);
        reply.integer(self.took_us as i64);
        reply.array(self.args.len());
        for arg in &self.args {
            reply.bulk(arg);
        }
        reply.bulk(&self.peer);
        reply.bulk(&self.name);
    }
}

impl Core {
    /// A request took long: it is noted while its bytes are still there.
    #[cold]
    pub(super) fn note_slow(&mut self, id: SessionId, seq: u64, took_us: u64) {
        let session = &self.sessions[id.index()];
        let Some(entry) = session.pipeline.get(seq) else { return };
        // Who waits on a connection of its own for something to happen is not slow.
        let waits = entry.spec.flags.contains(Flags::BLOCKING) && entry.link == LinkId::NONE;
        if waits {
            return;
        }
        let frame = entry.frame(&session.input);
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten().unwrap_or(0);
        let Some(request) = decoder.request(frame, used) else { return };
        let noted = SlowRequest {
            number: self.shared.slow_requests.fetch_add(1, Ordering::Relaxed),
            unix_seconds: (self.outside.unix_us)() / 1_000_000,
            took_us,
            args: shortened(entry.spec, &request),
            peer: session.client.peer.to_string(),
            name: session.client.names.as_ref().map_or_else(Vec::new, |names| names.name.clone()),
        };
        self.slow.latest.push_front(noted);
        self.slow.latest.truncate(self.options.slow_kept);
    }

    /// SLOWLOG …; `None` for any other command.
    pub(super) fn about_slow(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Option<Dispatched> {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let (query, finish) = match spec.name {
            "slowlog|len" => (Query::SlowCount, Finish::CountTo(self.options.slow_kept)),
            "slowlog|reset" => (Query::ForgetSlow, Finish::Done),
            "slowlog|get" => match request.get(2).map_or(Some(SHOWN), most) {
                Some(most) => {
                    let most = most.min(self.options.slow_kept);
                    (Query::Slow, Finish::Slow { most })
                }
                None => {
                    let line = b"ERR count should be greater than or equal to -1";
                    self.refuse(id, Some(spec), line, now);
                    return Some(Dispatched::Yes);
                }
            },
            _ => return None,
        };
        Some(self.ask_workers(id, spec, query, finish, now))
    }

    pub(super) fn list_slow(&self) -> Answer {
        Answer { slow: self.slow.latest.iter().cloned().collect(), ..Answer::default() }
    }

    pub(super) fn count_slow(&self) -> Answer {
        Answer { count: self.slow.latest.len() as i64, ..Answer::default() }
    }

    /// Keeps no more than this from here on.
    pub(super) fn keep_slow(&mut self, most: usize) {
        self.slow.latest.truncate(most);
        self.slow.latest.shrink_to_fit();
    }

    pub(super) fn forget_slow(&mut self) -> Answer {
        self.slow.latest.clear();
        Answer::default()
    }
}

/// How many SLOWLOG GET is to show: -1 for all.
fn most(word: &[u8]) -> Option<usize> {
    match parse_i64(word)? {
        -1 => Some(usize::MAX),
        count => usize::try_from(count).ok(),
    }
}
