//! Commands that wait at their node until there is something for them: BLPOP and its kin, XREAD
//! and XREADGROUP with BLOCK.
//!
//! Each has a connection of its own, which is silent by design. What ends the wait before its time
//! without having taken anything (a slot that moves, a primary that becomes a replica) is followed
//! by a wait on the slot's owner for the time that is left. A connection that is lost under a
//! command that takes something leaves it in doubt; XREAD takes nothing, and goes on where it was,
//! because `$` was asked for and replaced by an id before it began to wait.

use super::pins::Lost;
use super::requests::Dispatched;
use super::trackers::write_caching;
use super::{Core, SessionId};
use crate::cluster::Slot;
use crate::command::Spec;
use crate::proxy::backends::NoRoute;
use crate::proxy::elements::{array, bulk_text, element_len};
use crate::proxy::error::Failure;
use crate::proxy::lanes::{Lane, LaneId};
use crate::proxy::link::{Expect, ExpectKind, LinkId, Role};
use crate::proxy::metrics::{LinkEnd, Outcome, RideOut};
use crate::proxy::pinned::{
    Blocked, NotRun, Pin, Pins, Resolving, SHORTEST, Timeout, Tries, Unblock, deadline,
};
use crate::proxy::retry::{self, AfterLoss, Asked, Loss};
use crate::proxy::route::{self, Route};
use crate::proxy::session::Session;
use crate::resp::{Encoder, Protocol, Request, RequestDecoder, encode_request, parse_i64};
use std::time::{Duration, Instant};

use super::pins::Leaves;

/// What a client is told whose wait was ended by CLIENT UNBLOCK ERROR, in Redis's words.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

impl Session {
    fn blocked(&mut self) -> Option<&mut Blocked> {
        self.pins.as_mut()?.blocked.as_mut()
    }

    /// Whether it waits in a blocking command.
    pub(super) fn is_blocked(&self) -> bool {
        let waits = |pins: &Pins| pins.blocked.is_some() || pins.waits.is_some();
        self.pins.as_ref().is_some_and(|pins| waits(pins))
    }
}

impl Core {
    /// A command that may wait.
    pub(super) fn dispatch_blocking(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() {
            return Dispatched::WaitForAll;
        }
        let used = session.undispatched;
        let Session { input, decoder, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let (slot, keyed) = match route::slot_of_keys(spec, &request) {
            Ok(Route::Keyed(slot)) => (slot, true),
            Ok(Route::Anywhere) => {
                // Its arguments are wrong: any node says best how.
                let any = route::any_shard(self.backends.topology(), client.id);
                (any.unwrap_or(Slot::of(b"")), false)
            }
            Err(refusal) => {
                let line = refusal.to_string();
                self.refuse(id, Some(spec), line.as_bytes(), now);
                return Dispatched::Yes;
            }
        };
        let timeout = timeout_of(spec, &request);
        let wait = timeout.and_then(|timeout| duration(request.arg(timeout.arg), timeout.millis));
        let ends = ends_of_streams(spec, &request);
        // Whoever has said that nothing more comes, and may be gone, must not be left waiting.
        let gone = session.ended;
        let seq = self.push_pinned(id, spec, now);
        let session = &mut self.sessions[id.index()];
        session.wait_for_all = true;
        session.written.note(slot, spec.is_write(), self.losses.count());
        let caching = session.caching;
        let resolving = (!ends.is_empty())
            .then(|| Resolving { ids: ends.into_iter().map(|arg| (arg, None)).collect() });
        session.pins_mut().blocked = Some(Blocked {
            seq,
            spec,
            link: LinkId::NONE,
            slot,
            keyed,
            deadline: deadline(wait, gone, now),
            timeout,
            frame: None,
            resolving,
            unblock: None,
            caching,
            sent_before: gone,
            tries: Tries::default(),
        });
        self.metrics.blocked.add(1);
        self.start_blocked(id, now);
        Dispatched::Yes
    }

    /// Sends a command that waits, with the time that is left.
    pub(super) fn start_blocked(&mut self, id: SessionId, now: Instant) {
        let owner = self.owner(id);
        let session = &mut self.sessions[id.index()];
        let lane = session.lane;
        let Some(blocked) = session.blocked() else { return };
        let target = blocked.tries.retry.target.take();
        let endpoint = match &target {
            Some(target) => Ok(target.endpoint.clone()),
            None => self.backends.owner_of(blocked.slot),
        };
        let link = endpoint.and_then(|node| self.backends.pin_own(&node, lane, owner, now));
        let link = match link {
            Ok(link) => link,
            Err(no_route) => {
                if !matches!(no_route, NoRoute::Full(_)) {
                    self.shared.map.want_refresh();
                }
                return self.pin_later(id, Pin::Blocked, no_route.to_string(), now);
            }
        };
        blocked.link = link;
        if target.is_some_and(|target| target.asking) {
            let expect = Expect { kind: ExpectKind::Asking, ..Expect::probe(now) };
            self.backends
                .send(link, expect, |out| out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n"));
        }
        if self.sessions[id.index()].blocked().is_some_and(|of| of.resolving.is_some()) {
            self.ask_for_ends(id, link, now);
        } else {
            self.send_blocked(id, link, now);
        }
    }

    fn send_blocked(&mut self, id: SessionId, link: LinkId, now: Instant) {
        let owner = self.owner(id);
        let expect = self.pinned_expect(id, 0, Expect::WHOLE, now);
        let session = &mut self.sessions[id.index()];
        let Session { pins, pipeline, input, .. } = &mut *session;
        let Some(blocked) = pins.as_mut().and_then(|pins| pins.blocked.as_mut()) else { return };
        let Some(entry) = pipeline.get(blocked.seq) else { return };
        let expect = Expect { seq: blocked.seq, ..expect };
        let frame = match &blocked.frame {
            Some(frame) => frame,
            None => entry.frame(input),
        };
        let rewritten = match (blocked.sent_before, blocked.deadline, blocked.timeout) {
            (true, Some(deadline), Some(timeout)) => {
                let left = deadline.saturating_duration_since(now).max(SHORTEST);
                with_arguments(frame, &self.options.limits, &[(timeout.arg, text(left, timeout))])
            }
            _ => None,
        };
        blocked.sent_before = true;
        let frame = rewritten.as_deref().unwrap_or(frame);
        if let Some(yes) = blocked.caching {
            let expect = Expect { kind: ExpectKind::Asking, ..Expect::probe(now) };
            self.backends.send(link, expect, |out| write_caching(yes, out));
        }
        self.backends.send(link, expect, |out| out.extend_from_slice(frame));
        if let Some(of) = self.backends.link(link) {
            of.role = Role::Blocked(owner);
            let endpoint = of.endpoint.clone();
            self.backends.watch_over(&endpoint, now);
        }
    }

    /// Asks for the last id of each stream that is waited on from its end.
    fn ask_for_ends(&mut self, id: SessionId, link: LinkId, now: Instant) {
        let expect = self.pinned_expect(id, 0, 0, now);
        let session = &mut self.sessions[id.index()];
        let Session { pins, pipeline, input, .. } = &mut *session;
        let Some(blocked) = pins.as_mut().and_then(|pins| pins.blocked.as_mut()) else { return };
        let Some(entry) = pipeline.get(blocked.seq) else { return };
        let frame = entry.frame(input);
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten().unwrap_or(0);
        let request = decoder.request(frame, used).expect("it was decoded before");
        let resolving = blocked.resolving.as_mut().expect("it is asked for");
        let streams = streams_of(blocked.spec, &request).unwrap_or(request.len());
        let count = (request.len() - streams) / 2;
        for (number, (arg, found)) in resolving.ids.iter_mut().enumerate() {
            *found = None;
            let expect = Expect { seq: blocked.seq, part: number as u32, ..expect };
            let key = request.arg(*arg - count);
            self.backends.send(link, expect, |out| {
                encode_request(out, &[b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1"]);
            });
        }
    }

    pub(super) fn blocked_answer(
        &mut self,
        id: SessionId,
        expect: &Expect,
        reply: &[u8],
        now: Instant,
    ) {
        let Some(blocked) = self.sessions[id.index()].blocked() else { return };
        let (link, seq, spec) = (blocked.link, blocked.seq, blocked.spec);
        let asked = Asked {
            slot: Some(blocked.slot).filter(|_| blocked.keyed),
            hops: blocked.tries.hops,
            hops_max: self.options.redirects_max,
            write: spec.is_write(),
            script: false,
        };
        let own_unblock = blocked.unblock.is_some();
        if let Some(line) = super::replies::error_line(reply) {
            let not_run = if line.starts_with(b"UNBLOCKED") && !own_unblock {
                // The node's role changes, or somebody else's CLIENT UNBLOCK.
                let line = String::from_utf8_lossy(line).into_owned();
                Some(NotRun::Later { refresh: true, line })
            } else {
                self.not_run_line(link, line, &asked)
            };
            if let Some(not_run) = not_run {
                let Some(blocked) = self.sessions[id.index()].blocked() else { return };
                blocked.link = LinkId::NONE;
                self.waits_no_more_on(id, link, now);
                return self.pin_not_run(id, Pin::Blocked, not_run, now);
            }
        }
        if expect.part != Expect::WHOLE {
            return self.end_found(id, expect.part as usize, reply, now);
        }
        let outcome = if reply.starts_with(b"-") { Outcome::ServerError } else { Outcome::Ok };
        self.pin_rode_out(id, Pin::Blocked, RideOut::Drained);
        self.take_blocked(id);
        self.waits_no_more_on(id, link, now);
        self.complete(id, seq, reply, outcome, now);
    }

    /// A session waits no more on a connection, which may be the one that its keys are watched on.
    fn waits_no_more_on(&mut self, id: SessionId, link: LinkId, now: Instant) {
        let owner = self.owner(id);
        let watches = self.sessions[id.index()].transaction().is_some_and(|of| of.link == link);
        match self.backends.link(link).filter(|_| watches) {
            Some(of) => of.role = Role::Held(owner),
            None => self.let_go(link, Leaves::Nothing, now),
        }
    }

    /// The last entry of a stream, or an error, which the command itself will be answered with.
    fn end_found(&mut self, id: SessionId, number: usize, reply: &[u8], now: Instant) {
        let session = &mut self.sessions[id.index()];
        let Session { pins, pipeline, input, .. } = &mut *session;
        let Some(blocked) = pins.as_mut().and_then(|pins| pins.blocked.as_mut()) else { return };
        let link = blocked.link;
        let Some(resolving) = blocked.resolving.as_mut() else { return };
        let Some((_, found)) = resolving.ids.get_mut(number) else { return };
        *found = Some(last_id(reply));
        if resolving.ids.iter().any(|(_, found)| found.is_none()) {
            return;
        }
        let resolved = blocked.resolving.take().map(|resolving| resolving.ids).unwrap_or_default();
        let ids: Vec<(usize, Vec<u8>)> =
            resolved.into_iter().filter_map(|(arg, found)| Some((arg, found?))).collect();
        let Some(entry) = pipeline.get(blocked.seq) else { return };
        let rewritten = with_arguments(entry.frame(input), &self.options.limits, &ids);
        blocked.frame = rewritten.map(Into::into);
        self.send_blocked(id, link, now);
    }

    pub(super) fn blocked_lost(
        &mut self,
        id: SessionId,
        expected: &[(Expect, retry::Progress)],
        lost: &Lost<'_>,
        now: Instant,
    ) {
        let Some(blocked) = self.sessions[id.index()].blocked() else { return };
        blocked.link = LinkId::NONE;
        let (seq, spec) = (blocked.seq, blocked.spec);
        let progress = expected
            .iter()
            .find(|(expect, _)| expect.part == Expect::WHOLE)
            .map_or(retry::Progress::Unsent, |(_, progress)| *progress);
        match retry::after_loss(progress, lost.loss, spec, 0) {
            AfterLoss::InDoubt => {
                self.take_blocked(id);
                self.fail_pinned(id, seq, &lost.in_doubt(), now);
            }
            AfterLoss::Later | AfterLoss::Resend | AfterLoss::GiveUp => {
                self.pin_later(id, Pin::Blocked, lost.line(), now);
            }
        }
    }

    /// The time that the client would wait is over while no node has the command.
    pub(super) fn blocked_is_over(&mut self, id: SessionId, now: Instant) {
        let Some(seq) = self.sessions[id.index()].blocked().map(|blocked| blocked.seq) else {
            return;
        };
        self.pin_rode_out(id, Pin::Blocked, RideOut::Timeout);
        self.take_blocked(id);
        self.complete_null(id, seq, now);
    }

    pub(super) fn give_up_blocked(&mut self, id: SessionId, failure: &Failure, now: Instant) {
        let Some(seq) = self.sessions[id.index()].blocked().map(|blocked| blocked.seq) else {
            return;
        };
        self.take_blocked(id);
        self.fail_pinned(id, seq, failure, now);
    }

    /// The session does not wait any more.
    fn take_blocked(&mut self, id: SessionId) {
        self.pin_goes(id, Pin::Blocked);
        let session = &mut self.sessions[id.index()];
        if let Some(pins) = &mut session.pins
            && pins.blocked.take().is_some()
        {
            self.metrics.blocked.sub(1);
        }
        self.drop_empty_pins(id);
    }

    /// The client is gone: its wait is ended at the node, which takes nothing for it any more.
    pub(super) fn end_blocked(&mut self, id: SessionId, now: Instant) {
        let Some(link) = self.sessions[id.index()].blocked().map(|blocked| blocked.link) else {
            return;
        };
        self.take_blocked(id);
        if link != LinkId::NONE {
            self.lose(link, Loss::Broken, LinkEnd::Retired, "its client has left", now);
        }
    }

    // ---- CLIENT UNBLOCK ------------------------------------------------------------------

    /// CLIENT UNBLOCK: ends the wait of the client with this number; false if it does not wait, or
    /// is not here.
    pub(super) fn unblock(&mut self, client: u64, error: bool, now: Instant) -> bool {
        let waits = |session: &Session| session.client.id == client && session.is_blocked();
        let found = self.sessions.iter().find(|(_, session)| waits(session));
        let Some(id) = found.map(|(index, _)| SessionId(index as u32)) else { return false };
        if self.sessions[id.index()].blocked().is_none() {
            self.waits_are_over(id, now);
            return true;
        }
        self.end_wait(id, if error { Unblock::Error } else { Unblock::Timeout }, now);
        true
    }

    /// Ends a session's wait. Only its own answer says whether it got something before.
    pub(super) fn end_wait(&mut self, id: SessionId, unblock: Unblock, now: Instant) {
        let Some(blocked) = self.sessions[id.index()].blocked() else { return };
        blocked.unblock.get_or_insert(unblock);
        let (link, seq) = (blocked.link, blocked.seq);
        let sent = self.backends.link(link).filter(|of| of.is_ready() && of.out_is_empty());
        let Some((node_client, endpoint)) = sent.map(|of| (of.node_client, of.endpoint.clone()))
        else {
            // No node has it: it cannot have got anything.
            self.take_blocked(id);
            if link != LinkId::NONE {
                self.lose(link, Loss::Broken, LinkEnd::Retired, "its wait was ended", now);
            }
            if unblock == Unblock::Timeout {
                return self.complete_null(id, seq, now);
            }
            let mut reply = Vec::new();
            let protocol = self.sessions[id.index()].client.protocol;
            Encoder::new(&mut reply, protocol).error(UNBLOCKED);
            return self.complete(id, seq, &reply, Outcome::ServerError, now);
        };
        let Some(node_client) = node_client else { return };
        let lane = Lane { id: LaneId::plain(Protocol::Resp2), large: false };
        // A node that cannot be reached will not answer the blocked command either: its loss ends
        // the wait.
        let Ok(shared) = self.backends.route_to(&endpoint, lane, now) else { return };
        let expect = Expect { kind: ExpectKind::Unblock, ..self.pinned_expect(id, seq, 0, now) };
        let how: &[u8] = match unblock {
            Unblock::Timeout => b"TIMEOUT",
            Unblock::Error => b"ERROR",
        };
        self.backends.send(shared, expect, |out| {
            encode_request(
                out,
                &[&b"CLIENT"[..], b"UNBLOCK", node_client.to_string().as_bytes(), how],
            );
        });
    }

    /// The node has answered CLIENT UNBLOCK.
    pub(super) fn unblock_answered(&mut self, id: SessionId, seq: u64, reply: &[u8], now: Instant) {
        let Some(blocked) = self.sessions[id.index()].blocked() else { return };
        let Some(unblock) = blocked.unblock.filter(|_| blocked.seq == seq) else { return };
        // The command itself was still on its way: it travels on another connection.
        if reply == b":0\r\n" {
            self.end_wait(id, unblock, now);
        }
    }

    /// The proxy stops: whoever waits is told so, unless it gets what it waits for first.
    pub(super) fn unblock_all(&mut self, now: Instant) {
        let blocked: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.is_blocked())
            .map(|(index, _)| SessionId(index as u32))
            .collect();
        for id in blocked {
            self.waits_are_over(id, now);
            self.end_wait(id, Unblock::Error, now);
        }
    }
}

/// Where a command says how long it waits, if its arguments have that place.
fn timeout_of(spec: &Spec, request: &Request<'_>) -> Option<Timeout> {
    let seconds = |arg| Some(Timeout { arg, millis: false });
    match spec.name {
        "blmpop" | "bzmpop" => seconds(1),
        "xread" | "xreadgroup" => {
            let streams = streams_of(spec, request)?;
            let is_block = |&arg: &usize| request.arg(arg).eq_ignore_ascii_case(b"block");
            let from = if spec.name == "xread" { 1 } else { 4 };
            let arg = (from..streams).find(is_block)? + 1;
            (arg + 1 < streams).then_some(Timeout { arg, millis: true })
        }
        _ => seconds(request.len() - 1),
    }
}

/// The first argument after STREAMS.
fn streams_of(spec: &Spec, request: &Request<'_>) -> Option<usize> {
    let from = if spec.name == "xread" { 1 } else { 4 };
    (from..request.len())
        .find(|&arg| request.arg(arg).eq_ignore_ascii_case(b"streams"))
        .map(|arg| arg + 1)
}

/// The arguments of XREAD that say "from its end on".
fn ends_of_streams(spec: &Spec, request: &Request<'_>) -> Vec<usize> {
    if spec.name != "xread" {
        return Vec::new();
    }
    let Some(streams) = streams_of(spec, request) else { return Vec::new() };
    let left = request.len() - streams;
    if !left.is_multiple_of(2) {
        return Vec::new();
    }
    (streams + left / 2..request.len()).filter(|&arg| request.arg(arg) == b"$").collect()
}

/// How long an argument says to wait; zero is for ever. `None` for what the node will refuse.
fn duration(argument: &[u8], millis: bool) -> Option<Duration> {
    if millis {
        return u64::try_from(parse_i64(argument)?).ok().map(Duration::from_millis);
    }
    let seconds: f64 = std::str::from_utf8(argument).ok()?.parse().ok()?;
    // Below a millisecond there is no time, and none would be for ever.
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if wait.is_zero() { wait } else { wait.max(SHORTEST) })
}

fn text(left: Duration, timeout: Timeout) -> Vec<u8> {
    if timeout.millis {
        left.as_millis().max(1).to_string().into_bytes()
    } else {
        format!("{:.3}", left.as_secs_f64()).into_bytes()
    }
}

/// The id of the one entry that XREVRANGE has answered with; `0-0` of a stream that is not there.
fn last_id(reply: &[u8]) -> Vec<u8> {
    let id = || {
        let (_, entries) = array(reply).ok().filter(|(count, _)| *count > 0)?;
        let (_, entry) = array(entries).ok()?;
        let len = element_len(entry)?;
        bulk_text(&entry[..len]).map(<[u8]>::to_vec)
    };
    id().unwrap_or_else(|| b"0-0".to_vec())
}

/// A frame with some of its arguments replaced.
fn with_arguments(
    frame: &[u8],
    limits: &crate::resp::Limits,
    replaced: &[(usize, Vec<u8>)],
) -> Option<Vec<u8>> {
    let mut decoder = RequestDecoder::default();
    let used = decoder.decode(frame, limits).ok().flatten()?;
    let request = decoder.request(frame, used)?;
    let args: Vec<&[u8]> = (0..request.len())
        .map(|at| match replaced.iter().find(|(arg, _)| *arg == at) {
            Some((_, with)) => with,
            None => request.arg(at),
        })
        .collect();
    let mut out = Vec::with_capacity(frame.len() + 16);
    encode_request(&mut out, &args);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup_request;
    use crate::resp::{Limits, OwnedRequest};

    fn parts(line: &str) -> (Option<usize>, Vec<usize>) {
        let args: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&args);
        let request = request.as_request();
        let spec = lookup_request(&request).expect("in the table");
        (timeout_of(spec, &request).map(|of| of.arg), ends_of_streams(spec, &request))
    }

    #[test]
    fn where_a_command_says_how_long_and_from_where() {
        let table: &[(&str, Option<usize>, &[usize])] = &[
            ("BLPOP a b 5", Some(3), &[]),
            ("BLMOVE a b LEFT LEFT 5", Some(5), &[]),
            ("BRPOPLPUSH a b 5", Some(3), &[]),
            ("BLMPOP 5 1 a LEFT", Some(1), &[]),
            ("BZMPOP 5 1 a MIN", Some(1), &[]),
            ("XREAD COUNT 2 BLOCK 5 STREAMS a b $ 0-1", Some(4), &[8]),
            ("XREAD BLOCK 5 STREAMS $ $", Some(2), &[5]),
            ("XREAD BLOCK STREAMS a $", None, &[4]),
            ("XREADGROUP GROUP block c BLOCK 5 STREAMS a >", Some(5), &[]),
        ];
        for (line, timeout, ends) in table {
            assert_eq!(parts(line), (*timeout, ends.to_vec()), "{line}");
        }
    }

    #[test]
    fn what_is_left_of_a_wait_is_never_for_ever() {
        let seconds = Timeout { arg: 0, millis: false };
        let millis = Timeout { arg: 0, millis: true };
        let left = Duration::from_micros(1_500_400);
        assert_eq!((text(left, seconds), text(left, millis)), (b"1.500".into(), b"1500".into()));
        assert_eq!(text(SHORTEST, seconds), b"0.001");
        assert_eq!(duration(b"0", false), Some(Duration::ZERO));
        assert_eq!(duration(b"0.0001", false), Some(SHORTEST));
        for wrong in [&b"-1"[..], b"x", b"inf", b"nan"] {
            assert_eq!(duration(wrong, false), None);
        }
    }

    #[test]
    fn the_end_of_a_stream_becomes_an_id() {
        assert_eq!(last_id(b"*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"), b"5-1");
        assert_eq!(last_id(b"*0\r\n"), b"0-0");
        let mut frame = Vec::new();
        encode_request(&mut frame, &["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
        let replaced = [(5, b"5-1".to_vec())];
        let with = with_arguments(&frame, &Limits::default(), &replaced).expect("valid");
        assert!(with.ends_with(b"$1\r\ns\r\n$3\r\n5-1\r\n"));
    }
}
