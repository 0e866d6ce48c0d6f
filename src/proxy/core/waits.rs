//! WAIT and WAITAOF: they count for everything that the client has written before.
//!
//! A node counts from the last write of the connection that asks, and what a client has written
//! went over shared connections, where WAIT would block everyone. So each primary that the client
//! has written to is asked on a connection of the client's own, behind a write of the proxy's to a
//! private key that leaves nothing: whatever the client wrote came before it. The smallest answer
//! counts. Asking twice is harmless, so whatever goes wrong starts it anew; but once a connection to
//! a primary has broken that took some of it, the answer is 0: its heir may not have it.

use super::pins::Leaves;
use super::requests::Dispatched;
use super::{Core, SessionId};
use crate::cluster::Slot;
use crate::command::Spec;
use crate::proxy::elements::{array, element_len, integer};
use crate::proxy::error::Failure;
use crate::proxy::link::{Expect, LinkId, Role};
use crate::proxy::losses::Written;
use crate::proxy::metrics::{LinkEnd, Outcome};
use crate::proxy::pinned::{Pin, Tries, Waits, deadline};
use crate::proxy::retry::Loss;
use crate::proxy::route;
use crate::proxy::session::Session;
use crate::resp::{Encoder, RequestDecoder, encode_request, parse_i64};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The answer to something that goes before WAIT.
const BEFORE: u32 = 0;

impl Session {
    fn waits(&mut self) -> Option<&mut Waits> {
        self.pins.as_mut()?.waits.as_mut()
    }
}

impl Core {
    /// WAIT or WAITAOF: once everything that the client has sent is answered.
    pub(super) fn dispatch_wait(
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
        let Session { input, decoder, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let timeout =
            parse_i64(request.arg(request.len() - 1)).and_then(|ms| u64::try_from(ms).ok());
        let gone = session.ended;
        let seq = self.push_pinned(id, spec, now);
        let session = &mut self.sessions[id.index()];
        session.wait_for_all = true;
        session.pins_mut().waits = Some(Waits {
            seq,
            parts: Vec::new(),
            deadline: deadline(timeout.map(Duration::from_millis), gone, now),
            sent_before: gone,
            tries: Tries::default(),
        });
        self.metrics.blocked.add(1);
        self.start_waits(id, now);
        Dispatched::Yes
    }

    /// Asks each primary that the session has written to.
    pub(super) fn start_waits(&mut self, id: SessionId, now: Instant) {
        let owner = self.owner(id);
        let session = &mut self.sessions[id.index()];
        let (lane, client) = (session.lane, session.client.id);
        if session.written.take_lost(&self.losses) {
            // The heir of a primary may lack some of it, however many replicas it has.
            return self.waits_are_over(id, now);
        }
        let written = session.written;
        let keys = self.private_keys(written, client);
        let mut links: Vec<(LinkId, Option<String>)> = Vec::new();
        let mut no_route = None;
        for (slot, key) in keys {
            match self.backends.pin(slot, lane, owner, now) {
                Ok(link) => links.push((link, key)),
                Err(error) => no_route = Some(error),
            }
        }
        if let Some(no_route) = no_route {
            for (link, _) in links {
                self.let_go(link, Leaves::Nothing, now);
            }
            self.shared.map.want_refresh();
            return self.pin_later(id, Pin::Waits, no_route.to_string(), now);
        }
        let expect = self.pinned_expect(id, 0, BEFORE, now);
        let session = &mut self.sessions[id.index()];
        let Session { pins, pipeline, input, .. } = &mut *session;
        let Some(waits) = pins.as_mut().and_then(|pins| pins.waits.as_mut()) else { return };
        let Some(entry) = pipeline.get(waits.seq) else { return };
        let frame = match (waits.sent_before, waits.deadline) {
            (true, Some(deadline)) => {
                let left = deadline.saturating_duration_since(now).as_millis().max(1);
                with_timeout(entry.frame(input), &self.options.limits, &left.to_string())
            }
            _ => entry.frame(input).to_vec(),
        };
        waits.sent_before = true;
        waits.parts = links.iter().map(|(link, _)| (*link, None)).collect();
        for (link, key) in links {
            if let Some(key) = key {
                let before: [&[&str]; 4] =
                    [&["MULTI"], &["SET", &key, ""], &["DEL", &key], &["EXEC"]];
                for command in before {
                    self.backends.send(link, expect, |out| encode_request(out, command));
                }
            }
            let expect = Expect { part: Expect::WHOLE, ..expect };
            self.backends.send(link, expect, |out| out.extend_from_slice(&frame));
            if let Some(of) = self.backends.link(link) {
                of.role = Role::Blocked(owner);
                let endpoint = of.endpoint.clone();
                self.backends.watch_over(&endpoint, now);
            }
        }
    }

    /// A slot of each primary that owns any of the slots written to, and a key in it that is
    /// nobody's. Whoever has written nothing asks one primary, and writes nothing there.
    fn private_keys(&self, written: Written, client: u64) -> Vec<(Slot, Option<String>)> {
        let topology = self.backends.topology();
        if written.is_empty() {
            let any = route::any_shard(topology, client).unwrap_or(Slot::of(b""));
            return vec![(any, None)];
        }
        let ours = |slot: &Slot| written.has(*slot);
        let mut owners: BTreeMap<_, Option<(Slot, String)>> = BTreeMap::new();
        for slot in Slot::all().filter(ours) {
            // A slot without an owner is waited for, like every other.
            let Some(owner) = topology.owner(slot) else { return vec![(slot, None)] };
            owners.entry(owner).or_insert(None);
        }
        let mut missing = owners.len();
        for number in 0..KEYS_TRIED {
            if missing == 0 {
                break;
            }
            let key = format!("keyway:wait:{client}:{number}");
            let slot = Slot::of(key.as_bytes());
            if let Some(owner) = topology.owner(slot)
                && let Some(found @ None) = owners.get_mut(&owner)
            {
                *found = Some((slot, key));
                missing -= 1;
            }
        }
        owners.into_values().flatten().map(|(slot, key)| (slot, Some(key))).collect()
    }

    pub(super) fn waits_answer(
        &mut self,
        id: SessionId,
        link: LinkId,
        expect: &Expect,
        reply: &[u8],
        now: Instant,
    ) {
        if expect.part == BEFORE {
            // EXEC says of all of them whether they were run.
            if let Some(line) = super::replies::error_line(reply) {
                let line = String::from_utf8_lossy(line).into_owned();
                self.waits_not_run(id, line, now);
            }
            return;
        }
        let Some(waits) = self.sessions[id.index()].waits() else { return };
        let seq = waits.seq;
        if reply.starts_with(b"-") {
            self.close_waits(id, now);
            return self.complete(id, seq, reply, Outcome::ServerError, now);
        }
        let Some(numbers) = numbers(reply) else {
            return self.lose(link, Loss::Broken, LinkEnd::Desync, "it answers no number", now);
        };
        if let Some((_, answer)) = waits.parts.iter_mut().find(|(of, _)| *of == link) {
            *answer = Some(numbers);
        }
        if waits.parts.iter().any(|(_, answer)| answer.is_none()) {
            return;
        }
        let parts = std::mem::take(&mut waits.parts);
        let mut least: Option<Vec<i64>> = None;
        for (link, answer) in parts {
            self.let_go(link, Leaves::Nothing, now);
            let answer = answer.expect("all have answered");
            least = Some(match least {
                Some(least) => least.iter().zip(&answer).map(|(a, b)| *a.min(b)).collect(),
                None => answer,
            });
        }
        let least = least.unwrap_or_default();
        if least.last().is_some_and(|replicas| *replicas > 0) {
            self.sessions[id.index()].written.is_copied();
        }
        self.answer_waits(id, &least, now);
    }

    /// Something went wrong on one of the connections: all of it is asked again.
    pub(super) fn waits_not_run(&mut self, id: SessionId, line: String, now: Instant) {
        self.shared.map.want_refresh();
        self.close_parts(id, now);
        self.pin_later(id, Pin::Waits, line, now);
    }

    /// The time is over, or somebody ended the wait, before all have answered.
    pub(super) fn waits_are_over(&mut self, id: SessionId, now: Instant) {
        let Some(waits) = self.sessions[id.index()].waits() else { return };
        let seq = waits.seq;
        let entry = self.sessions[id.index()].pipeline.get(seq);
        let count = if entry.is_some_and(|entry| entry.spec.name == "waitaof") { 2 } else { 1 };
        self.close_parts(id, now);
        self.answer_waits(id, &vec![0; count], now);
    }

    pub(super) fn give_up_waits(&mut self, id: SessionId, failure: &Failure, now: Instant) {
        let Some(seq) = self.sessions[id.index()].waits().map(|waits| waits.seq) else { return };
        self.close_waits(id, now);
        self.fail_pinned(id, seq, failure, now);
    }

    fn answer_waits(&mut self, id: SessionId, numbers: &[i64], now: Instant) {
        let Some(seq) = self.sessions[id.index()].waits().map(|waits| waits.seq) else { return };
        let mut reply = Vec::new();
        let mut encoder = Encoder::new(&mut reply, self.sessions[id.index()].client.protocol);
        if numbers.len() > 1 {
            encoder.array(numbers.len());
        }
        numbers.iter().for_each(|number| encoder.integer(*number));
        self.close_waits(id, now);
        self.complete(id, seq, &reply, Outcome::Ok, now);
    }

    /// The client is gone, or has its answer.
    pub(super) fn forget_waits(&mut self, id: SessionId, now: Instant) {
        if self.sessions[id.index()].waits().is_some() {
            self.close_waits(id, now);
        }
    }

    fn close_waits(&mut self, id: SessionId, now: Instant) {
        self.close_parts(id, now);
        self.pin_goes(id, Pin::Waits);
        if let Some(pins) = &mut self.sessions[id.index()].pins
            && pins.waits.take().is_some()
        {
            self.metrics.blocked.sub(1);
        }
        self.drop_empty_pins(id);
    }

    /// Closes the connections: WAIT may still be under way on them.
    fn close_parts(&mut self, id: SessionId, now: Instant) {
        let Some(waits) = self.sessions[id.index()].waits() else { return };
        for (link, _) in std::mem::take(&mut waits.parts) {
            self.lose(link, Loss::Broken, LinkEnd::Retired, "its wait is over", now);
        }
    }
}

/// Keys that are tried to find one of each primary. With 1000 primaries of 16 slots each, the
/// chance that one has none of these is one in 10^28.
const KEYS_TRIED: u32 = 65_536;

/// The number of WAIT, or the two of WAITAOF.
fn numbers(reply: &[u8]) -> Option<Vec<i64>> {
    if let Ok(number) = integer(reply) {
        return Some(vec![number]);
    }
    let (count, mut body) = array(reply).ok()?;
    let mut numbers = Vec::new();
    for _ in 0..count {
        let len = element_len(body)?;
        numbers.push(integer(&body[..len]).ok()?);
        body = &body[len..];
    }
    (numbers.len() == 2).then_some(numbers)
}

/// A frame with another last argument.
fn with_timeout(frame: &[u8], limits: &crate::resp::Limits, timeout: &str) -> Vec<u8> {
    let mut decoder = RequestDecoder::default();
    let used = decoder.decode(frame, limits).ok().flatten().unwrap_or(0);
    let request = decoder.request(frame, used).expect("it was decoded before");
    let mut args: Vec<&[u8]> = (0..request.len() - 1).map(|at| request.arg(at)).collect();
    args.push(timeout.as_bytes());
    let mut out = Vec::new();
    encode_request(&mut out, &args);
    out
}
