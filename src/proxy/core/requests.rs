//! A client's bytes → requests on their way: decode, look up, route, send.

use super::proxy_commands::is_proxy_command;
use super::subscriptions::in_subscribed_mode;
use super::trackers::write_caching;
use super::{Core, SessionId};
use crate::cluster::Slot;
use crate::command::{Class, Flags, Group, Spec, lookup_request};
use crate::proxy::backends::NoRoute;
use crate::proxy::gather::Gather;
use crate::proxy::lanes::Lane;
use crate::proxy::link::{Expect, ExpectKind, LinkId};
use crate::proxy::local;
use crate::proxy::metrics::{ClientEnd, Outcome};
use crate::proxy::pipeline::{Entry, State, Work};
use crate::proxy::route::{self, Route};
use crate::proxy::session::Session;
use crate::proxy::walks;
use crate::resp::{Encoder, Protocol, Request};
use std::time::Instant;

/// What became of a request that was decoded.
pub(super) enum Dispatched {
    /// It is on its way, or answered.
    Yes,
    /// It may not go before everything under way is answered.
    WaitForAll,
    /// It may not go yet, and whoever lets it go says so.
    Held,
}

/// Bytes of replies that a client may leave unread before it has authenticated.
const UNAUTHENTICATED_OUTPUT: usize = 16 * 1024;

impl Core {
    /// Lets a session go on: first what waits to be tried again, then what it has sent since.
    pub(super) fn advance(&mut self, id: SessionId, now: Instant) {
        if self.sessions[id.index()].unsettled > 0 {
            self.retry(id, now);
        }
        loop {
            let session = &mut self.sessions[id.index()];
            if session.closing.is_some() || session.dead.is_some() {
                break;
            }
            // Who has not authenticated gets short answers, and reads them, or is gone.
            if !session.client.authenticated && session.output.len() > UNAUTHENTICATED_OUTPUT {
                session.overflow();
                break;
            }
            // An answer that says "not run" holds everything back that came after it.
            if session.unsettled > 0 {
                break;
            }
            if session.wait_for_all {
                if !session.pipeline.is_empty() {
                    break;
                }
                session.wait_for_all = false;
            }
            if session.undispatched == 0 {
                let limits = session.limits(&self.options);
                match session.decoder.decode(session.input.undecoded(), limits) {
                    Ok(Some(used)) => session.undispatched = used,
                    Ok(None) => break,
                    Err(error) => {
                        self.breach(id, &format!("ERR {error}"), now);
                        break;
                    }
                }
            }
            if !session.window_is_open(&self.options) {
                break;
            }
            match self.dispatch(id, now) {
                Dispatched::Yes => {}
                Dispatched::Held => break,
                Dispatched::WaitForAll => {
                    self.sessions[id.index()].wait_for_all = true;
                    break;
                }
            }
        }
        let session = &mut self.sessions[id.index()];
        session.coming_in = match (session.decoder.is_midway(), session.coming_in) {
            (false, _) => None,
            (true, None) => Some((now, session.input.position() + session.input.len() as u64)),
            (true, coming_in) => coming_in,
        };
    }

    /// Sends the request that is decoded, or answers it.
    #[inline]
    fn dispatch(&mut self, id: SessionId, now: Instant) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let Session { input, decoder, client, .. } = &mut *session;
        let Some(request) = decoder.request(input.undecoded(), used) else {
            // An empty line, or `*0`: Redis says nothing to it.
            session.finish_decoding(used, &mut self.buffers);
            return Dispatched::Yes;
        };
        let spec = match lookup_request(&request) {
            Ok(spec) => spec,
            Err(unknown) => {
                if is_http(&request) {
                    tracing::warn!(peer = %client.peer, "HTTP was sent to the Redis port: closed");
                    session.dead = Some(ClientEnd::Protocol);
                    self.list_writable(id);
                    return Dispatched::Yes;
                }
                if client.authenticated && is_proxy_command(&request) {
                    return self.dispatch_proxy_command(id, now);
                }
                self.metrics.unsupported.add(1);
                let mut line = Vec::new();
                if client.authenticated {
                    unknown.write(&mut line);
                    if let Some(aborted) = self.refused_in_multi(id, &line, now) {
                        line = aborted;
                    }
                } else {
                    line.extend_from_slice(local::NOAUTH.as_bytes());
                }
                self.refuse(id, None, &line, now);
                return Dispatched::Yes;
            }
        };
        if client.gated {
            return self.dispatch_gated(id, spec, now);
        }
        // The one-slot path: nothing is allocated and nothing locked from here to the link.
        let route = match spec.class {
            Class::OneSlot | Class::AllOrNothing => match route::slot_of(spec, &request) {
                Ok(route) if spec.runs_script() => {
                    if matches!(spec.name, "eval" | "eval_ro") {
                        let most = self.options.script_bytes;
                        self.shared.scripts.show(request.arg(1), most, &mut self.scratch.shown);
                    }
                    Ok(route)
                }
                Err(route::Refusal::Blocks) => return self.dispatch_blocking(id, spec, now),
                route => route,
            },
            // Where nobody listens here, the node's count is right as it is.
            Class::Publish if self.shared.listeners.is_empty() => route::slot_of(spec, &request),
            _ => return self.dispatch_other(id, spec, now),
        };
        let (slot, keyed) = match route {
            Ok(Route::Keyed(slot)) => (slot, true),
            Ok(Route::Anywhere) => {
                let topology = self.backends.topology();
                let slot = match spec.class {
                    Class::Publish => route::publishing_shard(topology),
                    _ => route::any_shard(topology, client.id),
                };
                (slot.unwrap_or(Slot::of(b"")), false)
            }
            Err(refusal) => return self.dispatch_refused(id, spec, &refusal, now),
        };
        let large = request.frame().len() > self.options.large_bytes
            || session.largest_reply() > self.options.large_bytes;
        let lane = Lane { id: session.lane, large };
        let generation = self.backends.topology().generation();
        let link = self.route_to_slot(spec, slot, lane, now);

        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() {
            let target = link.as_ref().copied().unwrap_or(LinkId::NONE);
            if !session.keeps_order(slot, target, generation, now) {
                return Dispatched::WaitForAll;
            }
        } else {
            session.generation = if large { u64::MAX } else { generation };
        }
        if large || self.reads_elsewhere {
            // What follows must look whether it would overtake this one.
            session.generation = u64::MAX;
        }
        session.written.note(slot, spec.is_write(), self.losses.count());
        let incarnation = session.incarnation;
        let Session { input, decoder, pipeline, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let work = decoder
            .was_inline()
            .then(|| Box::new(Work { frame: Some(request.frame().into()), ..Work::default() }));
        let seq = pipeline.push(Entry {
            frame_at: input.position(),
            frame_len: used as u32,
            slot: Some(slot),
            keyed,
            link: LinkId::NONE,
            spec,
            state: State::InFlight,
            hops: 0,
            silences: 0,
            unsettled: false,
            unanswered: client.take_unanswered(),
            generation,
            received: now,
            work,
        });
        self.metrics.inflight.add(1);
        match link {
            Ok(link) => {
                pipeline.get_mut(seq).expect("just pushed").link = link;
                let expect = Expect {
                    session: id.0,
                    incarnation,
                    seq,
                    part: Expect::WHOLE,
                    kind: ExpectKind::Request,
                    end: 0,
                    queued: now,
                };
                self.backends.send(link, expect, |out| out.extend_from_slice(request.frame()));
                session.finish_decoding(used, &mut self.buffers);
            }
            Err(no_route) => {
                session.finish_decoding(used, &mut self.buffers);
                self.shared.map.want_refresh();
                self.later(id, seq, Expect::WHOLE, &no_route.to_string(), now);
            }
        }
        Dispatched::Yes
    }

    /// A command that no node would run as it is: refused, unless it can be put together here.
    #[cold]
    fn dispatch_refused(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        refusal: &route::Refusal,
        now: Instant,
    ) -> Dispatched {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let gather = match refusal {
            route::Refusal::CrossSlot => route::gathered(spec, &request, self.options.gather_bytes),
            _ => None,
        };
        match gather {
            Some(Ok(gather)) => self.send_parts(id, spec, gather, now),
            Some(Err(line)) => {
                self.refuse(id, Some(spec), line.as_bytes(), now);
                Dispatched::Yes
            }
            None => {
                self.refuse(id, Some(spec), refusal.to_string().as_bytes(), now);
                Dispatched::Yes
            }
        }
    }

    /// PROXY …, unless the client listens in RESP2 and may do little else.
    #[cold]
    fn dispatch_proxy_command(&mut self, id: SessionId, now: Instant) -> Dispatched {
        let client = &self.sessions[id.index()].client;
        if client.listens && client.protocol == Protocol::Resp2 {
            self.refuse(id, None, in_subscribed_mode("proxy").as_bytes(), now);
            return Dispatched::Yes;
        }
        self.proxy_command(id, now)
    }

    /// A request of a client that may not do everything now.
    #[cold]
    fn dispatch_gated(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        if let Some(dispatched) = self.gate(id, spec, now) {
            return dispatched;
        }
        if let Some(dispatched) = self.dispatch_caching(id, spec, now) {
            self.sessions[id.index()].regate();
            return dispatched;
        }
        self.sessions[id.index()].client.gated = false;
        let dispatched = self.dispatch(id, now);
        self.caching_used(id);
        self.sessions[id.index()].regate();
        dispatched
    }

    /// Every class but the one-slot path.
    fn dispatch_other(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let Session { input, decoder, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let topology = self.backends.topology();
        let gather = match spec.class {
            Class::Split => {
                let write = spec.is_write();
                route::split(
                    spec,
                    &request,
                    write,
                    self.options.gather_bytes,
                    &mut self.scratch.keys,
                )
            }
            Class::FanOut if spec.name == "script|flush" => {
                self.shared.scripts.forget_all();
                route::fan_out(spec, topology, client.id, self.options.gather_bytes)
            }
            Class::FanOut if spec.name == "script|load" => {
                let most = self.options.script_bytes;
                self.shared.scripts.show(request.arg(2), most, &mut self.scratch.shown);
                route::fan_out(spec, topology, client.id, self.options.gather_bytes)
            }
            Class::FanOut => route::fan_out(spec, topology, client.id, self.options.gather_bytes),
            Class::Cursor => {
                let unit = walks::unit((self.outside.unix_us)());
                let changes = &mut *self.shared.map.changes();
                // What has changed by then is in the map, and a round that begins must visit it.
                self.backends.sync();
                let topology = self.backends.topology();
                route::scan(&request, topology, changes, unit, self.options.gather_bytes)
            }
            Class::Local => return self.answer_locally(id, spec, now),
            Class::Publish => return self.publish(id, spec, now),
            Class::Subscription => return self.subscribe(id, spec, now),
            Class::Pinned if spec.group == Group::Transactions => {
                return self.dispatch_transaction(id, spec, now);
            }
            Class::Pinned if spec.flags.contains(Flags::BLOCKING) && !spec.keys.is_empty() => {
                return self.dispatch_blocking(id, spec, now);
            }
            Class::Pinned if matches!(spec.name, "wait" | "waitaof") => {
                return self.dispatch_wait(id, spec, now);
            }
            Class::Pinned if spec.name == "client|no-touch" => {
                return self.no_touch(id, spec, now);
            }
            Class::Pinned if spec.name == "monitor" => return self.monitor(id, spec, now),
            Class::Pinned if spec.name == "client|tracking" => return self.track(id, spec, now),
            Class::Pinned if spec.name == "client|caching" => return self.cache(id, spec, now),
            Class::Refused
                if self.options.admin_commands
                    && matches!(spec.name, "config|set" | "config|resetstat") =>
            {
                return self.configure(id, spec, now);
            }
            Class::Pinned | Class::Refused => Err(route::refusal(spec)),
            Class::OneSlot | Class::AllOrNothing => unreachable!("routed before"),
        };
        match gather {
            Ok(gather) => self.send_parts(id, spec, gather, now),
            Err(refusal) => {
                self.metrics.unsupported.add(u64::from(spec.class != Class::Split));
                let line = refusal.to_string();
                self.refuse(id, Some(spec), line.as_bytes(), now);
                Dispatched::Yes
            }
        }
    }

    /// Sends a request's parts.
    pub(super) fn send_parts(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        mut gather: Gather,
        now: Instant,
    ) -> Dispatched {
        let generation = self.backends.topology().generation();
        let elsewhere = self.may_read_elsewhere(spec);
        let session = &mut self.sessions[id.index()];
        if session.pipeline.is_empty() {
            session.generation = generation;
        } else if session.generation != generation || !session.careful.is_empty() {
            return Dispatched::WaitForAll;
        }
        let unheard = self.waits_for_listeners(&mut gather, None, now);
        let session = &mut self.sessions[id.index()];
        let used = session.undispatched;
        let incarnation = session.incarnation;
        let large = used > self.options.large_bytes;
        if large || elsewhere {
            session.generation = u64::MAX;
        }
        if spec.is_write() {
            // A part without keys stands for a whole shard.
            let all = spec.class == Class::FanOut;
            let slots = gather.parts.iter().map(|part| part.slot);
            let losses = self.losses.count();
            slots.for_each(|slot| session.written.note(slot, true, losses));
            if all {
                session.written.note_all(losses);
            }
        }
        let lane = Lane { id: session.lane, large };
        let mut routes: Vec<_> = match elsewhere {
            true => gather.parts.iter().map(|part| self.route_read(part.slot, lane, now)).collect(),
            false => Vec::new(),
        };
        let guest = self.guest_of(&mut gather, 0);
        let session = &mut self.sessions[id.index()];
        let caching = session.caching;
        let Session { input, decoder, pipeline, client, .. } = &mut *session;
        let request = decoder.request(input.undecoded(), used).expect("it was there");
        let frame = decoder.was_inline().then(|| request.frame().into());
        let seq = pipeline.push(Entry {
            frame_at: input.position(),
            frame_len: used as u32,
            slot: None,
            keyed: true,
            link: LinkId::NONE,
            spec,
            state: State::Gathering,
            hops: 0,
            silences: 0,
            unsettled: false,
            unanswered: client.take_unanswered(),
            generation,
            received: now,
            work: Some(Box::new(Work { frame, gather: Some(gather), ..Work::default() })),
        });
        self.metrics.inflight.add(1);
        let entry = pipeline.get_mut(seq).expect("just pushed");
        let work = entry.work.as_mut().expect("just made");
        let gather = work.gather.as_mut().expect("just made");
        let mut not_sent = Vec::new();
        let sent = if unheard { 0 } else { gather.parts.len() };
        for part in 0..sent {
            let route = match (routes.get_mut(part), &guest) {
                // A walk's page: it has one part.
                (_, Some(guest)) => self.backends.route_to(guest, lane, now),
                (Some(route), None) => std::mem::replace(route, Err(NoRoute::Uncovered)),
                (None, None) => self.backends.route(gather.parts[part].slot, lane, now),
            };
            match route {
                Ok(link) => {
                    gather.parts[part].link = link;
                    gather.parts[part].state = crate::proxy::gather::PartState::InFlight;
                    let expect = Expect {
                        session: id.0,
                        incarnation,
                        seq,
                        part: part as u32,
                        kind: ExpectKind::Request,
                        end: 0,
                        queued: now,
                    };
                    if let Some(yes) = caching {
                        let expect = Expect { kind: ExpectKind::Asking, ..expect };
                        self.backends.send(link, expect, |out| write_caching(yes, out));
                    }
                    let gather = &*gather;
                    self.backends.send(link, expect, |out| gather.write_part(part, &request, out));
                }
                Err(no_route) => not_sent.push((part, no_route)),
            }
        }
        session.finish_decoding(used, &mut self.buffers);
        if unheard {
            self.wait_for_listeners(id, seq, now);
        }
        for (part, no_route) in not_sent {
            self.shared.map.want_refresh();
            self.later(id, seq, part as u32, &no_route.to_string(), now);
        }
        Dispatched::Yes
    }

    /// Answers a request with an error of the proxy.
    pub(super) fn refuse(
        &mut self,
        id: SessionId,
        spec: Option<&'static Spec>,
        line: &[u8],
        now: Instant,
    ) {
        let mut reply = std::mem::take(&mut self.scratch.reply);
        reply.clear();
        let client = &mut self.sessions[id.index()].client;
        Encoder::new(&mut reply, client.protocol).error(line);
        let unanswered = client.take_unanswered();
        self.answer_now(id, spec, &reply, unanswered, Outcome::ProxyError, now);
        self.scratch.reply = reply;
    }

    /// Gives the request that is decoded its answer, in its turn.
    pub(super) fn answer_now(
        &mut self,
        id: SessionId,
        spec: Option<&'static Spec>,
        reply: &[u8],
        unanswered: bool,
        outcome: Outcome,
        now: Instant,
    ) {
        let session = &mut self.sessions[id.index()];
        let used = std::mem::take(&mut session.undispatched);
        let counted = spec.unwrap_or(local::unknown_spec());
        let entry = Entry::new(session.input.position(), used, counted, now);
        let generation = self.backends.topology().generation();
        let seq = session.pipeline.push(Entry { unanswered, generation, ..entry });
        session.input.advance(used);
        session.client.last = spec.or(session.client.last);
        self.metrics.inflight.add(1);
        self.complete(id, seq, reply, outcome, now);
    }

    /// The client's bytes cannot be understood any further: it is told, after everything that it
    /// is owed, and closed.
    fn breach(&mut self, id: SessionId, line: &str, now: Instant) {
        tracing::debug!(peer = %self.sessions[id.index()].client.peer, error = line, "protocol error");
        self.refuse(id, None, line.as_bytes(), now);
        self.sessions[id.index()].closing = Some(ClientEnd::Protocol);
        self.list_writable(id);
    }
}

impl Session {
    /// The request that is decoded and is to be dispatched.
    pub(super) fn at_hand(&self) -> Request<'_> {
        let request = self.decoder.request(self.input.undecoded(), self.undispatched);
        request.expect("it was decoded")
    }

    /// The request that was decoded is on its way.
    #[inline]
    pub(super) fn finish_decoding(
        &mut self,
        used: usize,
        buffers: &mut crate::proxy::buffer::BufferPool,
    ) {
        self.undispatched = 0;
        self.input.advance(used);
        if self.pipeline.is_empty() {
            self.input.release_decoded(buffers);
        }
    }
}

/// What a browser, or a page in one, sends: the line that a forged request begins with.
fn is_http(request: &Request<'_>) -> bool {
    request.name().eq_ignore_ascii_case(b"post") || request.name().eq_ignore_ascii_case(b"host:")
}
