//! Requests that have not run: when they go out again, in which order, and when it is too late.
//!
//! Two rules keep a client's commands on one slot in order. While any of its requests is
//! *unsettled* (a node has said "not run", and no other answer has come since), nothing that came
//! later is dispatched. And of those that wait, only one per slot is under way at a time, oldest
//! first.

use super::pins::Lost;
use super::{Core, SessionId};
use crate::clock::Backoff;
use crate::cluster::{Endpoint, Slot};
use crate::proxy::backends::NoRoute;
use crate::proxy::error::Failure;
use crate::proxy::gather::{Gather, PartState};
use crate::proxy::lanes::Lane;
use crate::proxy::link::{Expect, ExpectKind, Link, LinkId, Role};
use crate::proxy::metrics::{LinkEnd, Outcome};
use crate::proxy::pipeline::{Entry, Retry, State};
use crate::proxy::retry::{self, AfterLoss, Loss, Progress};
use crate::resp::{Encoder, RequestDecoder, encode_request};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits between tries of a request that a node would not run.
pub(super) const AGAIN: Backoff =
    Backoff::new(Duration::from_millis(2), Duration::from_millis(200));

/// Requests that a node gets at a time of those that waited: one that comes back is not hit by all
/// of them at once.
const RETRIES_PER_LINK: usize = 64;

/// How soon a request looks again whether its node has room for it.
const SHORTLY: Duration = Duration::from_millis(5);

impl Core {
    /// A request, or a part of one, was not run: it is tried again after a growing wait.
    pub(super) fn later(&mut self, id: SessionId, seq: u64, part: u32, last: &str, now: Instant) {
        let ride_out = self.options.ride_out;
        let Some(retry) = self.not_run(id, seq, part) else { return };
        let since = *retry.since.get_or_insert(now);
        last.clone_into(&mut retry.last);
        // The last try is when its time is over, and no later.
        let due = (now + AGAIN.wait(retry.failures)).min((since + ride_out).max(now));
        retry.failures += 1;
        retry.due = Some(due);
        if ride_out.is_zero() {
            return self.give_up(id, seq, part, now);
        }
        self.set_timer(id, due);
    }

    /// A request, or a part of one, was not run, and it is known where it would be.
    pub(super) fn at_once(&mut self, id: SessionId, seq: u64, part: u32, last: &str, now: Instant) {
        let Some(retry) = self.not_run(id, seq, part) else { return };
        retry.since.get_or_insert(now);
        last.clone_into(&mut retry.last);
        retry.due = None;
        self.list_to_advance(id);
    }

    /// A read was lost with its connection: it goes out again at once the first time, and after a
    /// growing wait from then on. A node that breaks every connection must not be hit the faster.
    fn resend_read(&mut self, id: SessionId, seq: u64, part: u32, last: &str, now: Instant) {
        let Some(retry) = self.not_run(id, seq, part) else { return };
        if retry.failures == 0 {
            retry.failures = 1;
            self.at_once(id, seq, part, last, now);
        } else {
            self.later(id, seq, part, last, now);
        }
    }

    /// Marks a request, or a part of one, as waiting.
    pub(super) fn not_run(&mut self, id: SessionId, seq: u64, part: u32) -> Option<&mut Retry> {
        let session = self.sessions.get_mut(id.index())?;
        let entry = session.pipeline.get_mut(seq)?;
        if !std::mem::replace(&mut entry.unsettled, true) {
            session.unsettled += 1;
            self.metrics.rideout_commands.add(1);
        }
        if part == Expect::WHOLE {
            entry.state = State::Waiting;
            entry.link = LinkId::NONE;
            return Some(&mut entry.work.get_or_insert_default().retry);
        }
        let gather = entry.work.as_mut()?.gather.as_mut()?;
        let part = &mut gather.parts[part as usize];
        part.state = PartState::Waiting;
        part.link = LinkId::NONE;
        Some(&mut part.retry)
    }

    pub(super) fn list_to_advance(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index()];
        if !std::mem::replace(&mut session.listed_to_advance, true) {
            self.ready.push(id);
        }
    }

    pub(super) fn set_timer(&mut self, id: SessionId, due: Instant) {
        let session = &mut self.sessions[id.index()];
        if session.timer.is_some_and(|set| set <= due) {
            return;
        }
        session.timer = Some(due);
        self.timer_moved |= self.next_timer().is_none_or(|next| due < next);
        let incarnation = self.sessions[id.index()].incarnation;
        self.timers.push(Reverse((due, id, incarnation)));
    }

    /// Sends what of a session's waiting requests may go now.
    pub(super) fn retry(&mut self, id: SessionId, now: Instant) {
        if self.sessions[id.index()].pins.is_some() {
            self.retry_pins(id, now);
        }
        let session = &mut self.sessions[id.index()];
        // A slot is taken while anything on it is in flight, then by the oldest that waits.
        let mut taken: BTreeSet<Slot> = BTreeSet::new();
        let mut waiting: Vec<(Slot, Option<Instant>, u64, u32)> = Vec::new();
        let mut unconfirmed: Vec<(Option<Instant>, u64)> = Vec::new();
        for (seq, entry) in session.pipeline.iter_mut() {
            match (entry.state, entry.slot, &entry.work) {
                (State::InFlight, Some(slot), _) => _ = taken.insert(slot),
                (State::Waiting, Some(slot), Some(work)) if work.retry.confirming.is_some() => {
                    taken.insert(slot);
                    unconfirmed.push((work.retry.due, seq));
                }
                (State::Waiting, Some(slot), work) => {
                    let due = work.as_ref().and_then(|work| work.retry.due);
                    waiting.push((slot, due, seq, Expect::WHOLE));
                }
                (State::Gathering, _, Some(work)) => {
                    let parts = work.gather.iter().flat_map(|gather| gather.parts.iter());
                    for (number, part) in parts.enumerate() {
                        match part.state {
                            PartState::InFlight => _ = taken.insert(part.slot),
                            PartState::Waiting => {
                                waiting.push((part.slot, part.retry.due, seq, number as u32));
                            }
                            PartState::Done => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let mut tries: Vec<(u64, u32)> = Vec::new();
        let mut next_due: Option<Instant> = None;
        for (slot, due, seq, part) in waiting {
            if !taken.insert(slot) {
                continue;
            }
            match due {
                Some(due) if due > now => {
                    next_due = Some(next_due.map_or(due, |next| next.min(due)));
                }
                _ => tries.push((seq, part)),
            }
        }
        for (due, seq) in unconfirmed {
            match due {
                Some(due) if due <= now => self.confirm_again(id, seq, now),
                Some(due) => next_due = Some(next_due.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        if let Some(due) = next_due {
            self.set_timer(id, due);
        }
        for (seq, part) in tries {
            self.try_again(id, seq, part, now);
        }
    }

    /// What a request publishes waits for those who listen.
    pub(super) fn wait_for_listeners(&mut self, id: SessionId, seq: u64, now: Instant) {
        let Some(retry) = self.not_run(id, seq, 0) else { return };
        retry.since.get_or_insert(now);
        if retry.last.is_empty() {
            "CLUSTERDOWN those who listen are still at another node".clone_into(&mut retry.last);
        }
        retry.due = Some(now + SHORTLY);
        self.set_timer(id, now + SHORTLY);
    }

    /// Sends one waiting request, or part of one, unless its time is over.
    fn try_again(&mut self, id: SessionId, seq: u64, part: u32, now: Instant) {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        let keyed = entry.keyed && !goes_anywhere(entry);
        let Some((slot, retry)) = waiting(entry, part) else { return };
        let since = retry.since.unwrap_or(now);
        if now.saturating_duration_since(since) >= self.options.ride_out
            && !self.options.ride_out.is_zero()
        {
            return self.give_up(id, seq, part, now);
        }
        let target = retry.target.take();
        if entry.spec.name == "spublish"
            && let Some(mut gather) = entry.work.as_mut().and_then(|work| work.gather.take())
        {
            let node = target.as_ref().map(|target| &target.endpoint);
            let unheard = self.waits_for_listeners(&mut gather, node, now);
            let session = &mut self.sessions[id.index()];
            let entry = session.pipeline.get_mut(seq).expect("it waits");
            let work = entry.work.as_mut().expect("it has parts");
            if unheard {
                gather.parts[part as usize].retry.target = target;
                work.gather = Some(gather);
                return self.wait_for_listeners(id, seq, now);
            }
            work.gather = Some(gather);
        }
        let session = &mut self.sessions[id.index()];
        let entry = session.pipeline.get_mut(seq).expect("it waits");
        let large = entry.frame_len as usize > self.options.large_bytes;
        let lane = Lane { id: session.lane, large };
        let spec = entry.spec;
        if !keyed && self.backends.topology().owner(slot).is_none() {
            // Without keys any shard will do, and this one is gone.
            let other = crate::proxy::route::publishing_shard(self.backends.topology());
            entry.slot = other.or(entry.slot);
            if let Some(gather) = entry.work.as_mut().and_then(|work| work.gather.as_mut()) {
                gather.parts[part as usize].slot = other.unwrap_or(slot);
            }
        }
        let guest = self.guest_at(id, seq, part);
        let route = match target.as_ref().map(|target| &target.endpoint).or(guest.as_ref()) {
            Some(endpoint) => self.backends.route_to(endpoint, lane, now),
            None => self.route_to_slot(spec, slot, lane, now),
        };
        let session = &mut self.sessions[id.index()];
        match route {
            Ok(link) if self.backends.link(link).is_some_and(|l| l.retrying < RETRIES_PER_LINK) => {
                let asking = target.is_some_and(|target| target.asking);
                self.resend(id, seq, part, link, asking, now);
            }
            Ok(_) => {
                let entry = session.pipeline.get_mut(seq).expect("it waits");
                if let Some((_, retry)) = waiting(entry, part) {
                    retry.target = target;
                    retry.due = Some(now + SHORTLY);
                }
                self.set_timer(id, now + SHORTLY);
            }
            Err(no_route) => {
                if no_route != NoRoute::Uncovered || part == Expect::WHOLE {
                    self.shared.map.want_refresh();
                }
                self.later(id, seq, part, &no_route.to_string(), now);
            }
        }
    }

    /// Writes a request's frame, or a part's, to a connection once more.
    fn resend(
        &mut self,
        id: SessionId,
        seq: u64,
        part: u32,
        link: LinkId,
        asking: bool,
        now: Instant,
    ) {
        self.metrics.retries.add(1);
        let generation = self.backends.topology().generation();
        let session = &mut self.sessions[id.index()];
        let mut expect = Expect {
            session: id.0,
            incarnation: session.incarnation,
            seq,
            part,
            kind: ExpectKind::Asking,
            end: 0,
            queued: now,
        };
        let caching = session.pipeline.get(seq).and_then(|entry| entry.work.as_ref()?.caching);
        let script =
            session.pipeline.get(seq).and_then(|entry| entry.work.as_ref()?.script.clone());
        if let Some(body) = script {
            self.backends.send(link, expect, |out| {
                encode_request(out, &[&b"SCRIPT"[..], b"LOAD", &body]);
            });
        }
        if asking {
            // Adjacent on one connection: nothing can come between the two.
            self.backends
                .send(link, expect, |out| out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n"));
        }
        if let Some(caching) = caching {
            self.send_caching(link, caching, now);
        }
        let session = &mut self.sessions[id.index()];
        expect.kind = ExpectKind::Retry;
        if let Some(link) = self.backends.link(link) {
            link.retrying += 1;
        }
        let entry = session.pipeline.get_mut(seq).expect("it waits");
        entry.generation = generation;
        entry.link = link;
        let frame = match entry.work.as_ref().and_then(|work| work.frame.as_ref()) {
            Some(frame) => frame,
            None => session.input.slice(entry.frame_at, entry.frame_len),
        };
        if part == Expect::WHOLE {
            self.backends.send(link, expect, |out| out.extend_from_slice(frame));
            entry.state = State::InFlight;
            return;
        }
        let mut decoder = RequestDecoder::default();
        let decoded = decoder.decode(frame, &self.options.limits).ok().flatten();
        let request = decoder
            .request(frame, decoded.unwrap_or(0))
            .expect("what was decoded once can be decoded again");
        let gather = entry.work.as_ref().and_then(|work| work.gather.as_ref());
        let written = gather.expect("it has parts");
        self.backends.send(link, expect, |out| written.write_part(part as usize, &request, out));
        let gather = entry.work.as_mut().and_then(|work| work.gather.as_mut());
        let gather = gather.expect("it has parts");
        gather.parts[part as usize].state = PartState::InFlight;
        gather.parts[part as usize].link = link;
    }

    /// A request's time is over, and it has not run.
    fn give_up(&mut self, id: SessionId, seq: u64, part: u32, now: Instant) {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        let Some((_, retry)) = waiting(entry, part) else { return };
        let failure = Failure::NotRun {
            last: std::mem::take(&mut retry.last),
            waited: retry.since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
        };
        self.fail(id, seq, part, &failure, now);
    }

    /// A request, or a part of one, ends with an error of the proxy.
    pub(super) fn fail(
        &mut self,
        id: SessionId,
        seq: u64,
        part: u32,
        failure: &Failure,
        now: Instant,
    ) {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        if part != Expect::WHOLE {
            let gather = entry.work.as_mut().and_then(|work| work.gather.as_mut());
            let Some(gather) = gather else { return };
            if gather.failed(part as usize, failure.is_in_doubt(), failure.to_string()) {
                self.finish_gather(id, seq, now);
            }
            return;
        }
        let mut reply = Vec::new();
        Encoder::new(&mut reply, session.client.protocol).error(failure.to_string());
        let outcome = if failure.is_in_doubt() { Outcome::InDoubt } else { Outcome::ProxyError };
        self.complete(id, seq, &reply, outcome, now);
    }

    /// A connection to a node broke. What was written there may be lost with it; and its other
    /// connections may be broken as well, so nothing more goes out on them before they have shown
    /// that they are not: else a client could be left in doubt about more than it had under way.
    fn note_loss(&mut self, endpoint: &Endpoint, now: Instant) {
        let topology = Arc::clone(self.backends.topology());
        let node = topology.find(endpoint);
        let serves =
            node.is_some() && topology.shards().iter().any(|(_, owner)| Some(*owner) == node);
        // Whoever owns nothing any more may have owned anything.
        self.losses.note(Slot::all().filter(|slot| !serves || topology.owner(*slot) == node));
        let others = |(_, link): &(LinkId, &Link)| {
            link.endpoint == *endpoint && !link.is_closed() && link.is_ready() && !link.subscriber
        };
        let others: Vec<(LinkId, Role)> =
            self.backends.links().filter(others).map(|(id, link)| (id, link.role)).collect();
        for (id, role) in others {
            match role {
                Role::Idle(_) => {
                    self.lose(id, Loss::Broken, LinkEnd::Retired, "another broke", now);
                }
                Role::Shared => {
                    let Some(link) = self.backends.link(id) else { continue };
                    if !std::mem::replace(&mut link.suspect, true) {
                        self.backends.send(id, Expect::probe(now), |out| {
                            out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
                        });
                    }
                }
                Role::Held(_) | Role::Blocked(_) | Role::Cleaning => {}
            }
        }
    }

    /// A connection is over: everything that waited on it is judged, in order.
    pub(super) fn lose(&mut self, id: LinkId, loss: Loss, end: LinkEnd, why: &str, now: Instant) {
        let Some(link) = self.backends.link(id).filter(|link| !link.is_closed()) else { return };
        let endpoint = link.endpoint.clone();
        let subscriber = link.subscriber;
        let owner = link.role.owner();
        let (tracker, lane) = (link.tracker, link.lane);
        let expected = link.close();
        self.backends.detach(id, end, why, now);
        if end != LinkEnd::Retired {
            if !subscriber {
                self.shared.map.count_loss(&endpoint);
                self.note_loss(&endpoint, now);
            }
            self.shared.map.want_refresh();
        }
        if subscriber {
            self.subscriber_lost(id, &endpoint);
        }
        if let Some(tracker) = tracker {
            self.tracker_lost(tracker, lane, &endpoint);
        }
        if let Some(owner) = owner {
            let waited = self.options.backend_timeout;
            let lost = Lost { endpoint: &endpoint, loss, why, waited };
            self.pin_lost(owner, id, &expected, &lost, now);
        }
        // On a lane that is lent, there may be requests beside a WATCH.
        for (expect, progress) in expected {
            let session_id = SessionId(expect.session);
            let Some(session) = self.sessions.get_mut(session_id.index()) else { continue };
            if expect.kind == ExpectKind::Confirm {
                self.never_confirmed(&expect, &endpoint, now);
                continue;
            }
            let own = !matches!(expect.kind, ExpectKind::Request | ExpectKind::Retry);
            if session.incarnation != expect.incarnation || own {
                continue;
            }
            let Some(entry) = session.pipeline.get_mut(expect.seq) else { continue };
            let spec = entry.spec;
            let silences = match silences(entry, expect.part) {
                Some(silences) => silences,
                None => continue,
            };
            let after = retry::after_loss(progress, loss, spec, *silences);
            if loss == Loss::Silent && progress == Progress::Sent {
                *silences = silences.saturating_add(1);
            }
            let waited = self.options.backend_timeout;
            let node = endpoint.clone();
            let (seq, part) = (expect.seq, expect.part);
            match after {
                AfterLoss::Later => {
                    let last = format!("CLUSTERDOWN cannot reach {endpoint}: {why}");
                    self.later(session_id, seq, part, &last, now);
                }
                AfterLoss::Resend => {
                    let last = format!("CLUSTERDOWN the connection to {endpoint} was lost");
                    self.resend_read(session_id, seq, part, &last, now);
                }
                AfterLoss::InDoubt if loss == Loss::Silent => {
                    self.fail(session_id, seq, part, &Failure::Silent { node, waited }, now);
                }
                AfterLoss::InDoubt => {
                    self.fail(session_id, seq, part, &Failure::Lost { node }, now);
                }
                AfterLoss::GiveUp => {
                    let failure = Failure::ReadTimedOut { node, waited };
                    self.fail(session_id, seq, part, &failure, now);
                }
            }
        }
    }
}

/// The slot and the tries of a request, or of a part of one, that waits.
fn waiting(entry: &mut Entry, part: u32) -> Option<(Slot, &mut Retry)> {
    if part == Expect::WHOLE {
        if entry.state != State::Waiting {
            return None;
        }
        let slot = entry.slot?;
        return Some((slot, &mut entry.work.as_mut()?.retry));
    }
    let gather = entry.work.as_mut()?.gather.as_mut()?;
    let part = &mut gather.parts[part as usize];
    (part.state == PartState::Waiting).then_some((part.slot, &mut part.retry))
}

/// Whether it is in one part, which any shard's node will do for.
fn goes_anywhere(entry: &Entry) -> bool {
    let gather = entry.work.as_ref().and_then(|work| work.gather.as_ref());
    gather.is_some_and(Gather::goes_anywhere)
}

/// How often a request that is in flight, or a part of one, was lost to silence.
fn silences(entry: &mut Entry, part: u32) -> Option<&mut u8> {
    if part == Expect::WHOLE {
        return (entry.state == State::InFlight).then_some(&mut entry.silences);
    }
    let gather = entry.work.as_mut()?.gather.as_mut()?;
    let part = &mut gather.parts[part as usize];
    (part.state == PartState::InFlight).then_some(&mut part.silences)
}
