//! CLIENT TRACKING: a client is told when keys that it has read change.
//!
//! A node remembers what a *connection* has read, so a client that tracks has connections of its
//! own, one to each primary, on a lane that is its alone: CLIENT TRACKING is said in their handshake,
//! and what a node says on one of them is that client's. Whatever makes a node forget (a lost
//! connection) or another node responsible (a slot that moved, a failover) is told to the client as
//! "everything may have changed", so that it keeps nothing that nobody watches any more.
//!
//! A client that speaks RESP2 has another connection told (REDIRECT). Its lane speaks RESP2 too and
//! redirects, at each node, to a connection in RESP3 beside it, the lane's *sink*.
//!
//! A push must not overtake the reply that had the older value: see [`Session::tell_in_order`].

use super::requests::Dispatched;
use super::road::{Finish, Query};
use super::{Core, SessionId};
use crate::cluster::Endpoint;
use crate::command::{Class, Spec};
use crate::proxy::buffer::BufferPool;
use crate::proxy::lanes::{Lane, LaneId, Setup, TrackingLane};
use crate::proxy::link::{Answer, Expect, ExpectKind, LinkId, Owner};
use crate::proxy::metrics::{LinkEnd, Outcome};
use crate::proxy::retry::Loss;
use crate::proxy::route::{self, Route};
use crate::proxy::session::Session;
use crate::proxy::topics::Listener;
use crate::proxy::tracking::{
    ALL_CHANGED, Change, NO_SUCH_CLIENT, Tracking, as_message, changed_keys,
};
use crate::resp::{Encoder, Protocol, encode_request};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The clients of one worker that track.
#[derive(Debug, Default)]
pub(super) struct Trackers {
    clients: BTreeMap<SessionId, Tracker>,
    /// Something is to be looked at: a connection came or went, or one begins.
    stale: bool,
    /// Not every client had all of its connections at the last look.
    incomplete: bool,
    /// The map's generation at the last look.
    generation: u64,
}

impl Trackers {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[derive(Debug)]
struct Tracker {
    lane: LaneId,
    sink: Option<LaneId>,
    /// CLIENT TRACKING waits for the connections: which request.
    opening: Option<u64>,
    /// The client could not be told something, and is told that everything may have changed.
    owes_all: bool,
}

/// Keys have changed that one client has read, and another is told.
#[derive(Clone, Debug)]
pub(super) struct Invalidated {
    /// Who tracks.
    tracker: Listener,
    /// The worker of that client.
    from: usize,
    /// Who is told.
    redirect: u64,
    /// What the node said.
    push: Arc<[u8]>,
}

impl Core {
    /// CLIENT TRACKING.
    pub(super) fn track(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() {
            return Dispatched::WaitForAll;
        }
        let request = session.at_hand();
        let change = Tracking::read(&request, session.client.tracking.as_deref());
        match change {
            Err(line) => self.refuse(id, Some(spec), line.as_bytes(), now),
            Ok(Change::Off) => {
                self.set_tracking(id, None, now);
                return self.say(id, spec, |_, reply| reply.ok(), now);
            }
            Ok(Change::On(tracking)) => {
                let redirect = tracking.redirect;
                session.wait_for_all = true;
                if redirect > 0 {
                    session.wanted_tracking = Some(Box::new(tracking));
                    return self.ask_workers(
                        id,
                        spec,
                        Query::Find(redirect),
                        Finish::Redirect,
                        now,
                    );
                }
                let seq = self.push_pinned(id, spec, now);
                self.begin_tracking(id, seq, tracking, now);
            }
        }
        Dispatched::Yes
    }

    /// The worker of the client that is to be told instead is known, or there is none.
    pub(super) fn redirect_found(
        &mut self,
        id: SessionId,
        seq: u64,
        worker: Option<usize>,
        now: Instant,
    ) {
        let wanted = self.sessions[id.index()].wanted_tracking.take();
        match (wanted, worker) {
            (Some(mut tracking), Some(worker)) => {
                tracking.redirect_worker = worker;
                self.begin_tracking(id, seq, *tracking, now);
            }
            _ => self.end_request(id, seq, NO_SUCH_CLIENT, now),
        }
    }

    fn end_request(&mut self, id: SessionId, seq: u64, line: &str, now: Instant) {
        let mut reply = Vec::new();
        Encoder::new(&mut reply, Protocol::Resp2).error(line);
        self.complete(id, seq, &reply, Outcome::ProxyError, now);
    }

    /// Tracks from here on; OK is said when every primary has been told.
    fn begin_tracking(&mut self, id: SessionId, seq: u64, tracking: Tracking, now: Instant) {
        self.set_tracking(id, Some(tracking), now);
        match self.trackers.clients.get_mut(&id) {
            Some(tracker) => tracker.opening = Some(seq),
            // It could not be told anything: nodes need not know.
            None => return self.complete(id, seq, b"+OK\r\n", Outcome::Ok, now),
        }
        self.open_tracker(id, now);
    }

    fn set_tracking(&mut self, id: SessionId, tracking: Option<Tracking>, now: Instant) {
        self.sessions[id.index()].client.tracking = tracking.map(Box::new);
        self.relane(id, now);
    }

    /// CLIENT CACHING.
    pub(super) fn cache(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        let session = &mut self.sessions[id.index()];
        let request = session.at_hand();
        match Tracking::read_caching(&request, session.client.tracking.as_deref()) {
            Ok(caching) => {
                let tracking = session.client.tracking.as_mut().expect("it was looked at");
                tracking.caching = Some(caching);
                session.regate();
                self.say(id, spec, |_, reply| reply.ok(), now)
            }
            Err(line) => {
                self.refuse(id, Some(spec), line.as_bytes(), now);
                Dispatched::Yes
            }
        }
    }

    /// The request at hand comes behind CLIENT CACHING, which goes before it to whatever node it
    /// goes to. `None` if it may be dispatched as usual.
    pub(super) fn dispatch_caching(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Option<Dispatched> {
        // Those about the client itself do not use it up.
        if spec.name.starts_with("client|") {
            return None;
        }
        let session = &mut self.sessions[id.index()];
        let tracking = session.client.tracking.as_mut()?;
        let caching = tracking.caching?;
        if !session.pipeline.is_empty() {
            return Some(Dispatched::WaitForAll);
        }
        tracking.caching = None;
        session.caching = Some(caching);
        let request = session.at_hand();
        if matches!(spec.class, Class::OneSlot | Class::AllOrNothing)
            && let Ok(Route::Keyed(slot)) = route::slot_of(spec, &request)
        {
            // The same way that the request takes next: nothing comes between the two.
            let large = request.frame().len() > self.options.large_bytes
                || session.largest_reply() > self.options.large_bytes;
            let lane = Lane { id: session.lane, large };
            if let Ok(link) = self.route_to_slot(spec, slot, lane, now) {
                self.send_caching(link, caching, now);
            }
        }
        None
    }

    /// The request at hand was dispatched: what it came behind is used up, but for being sent again.
    pub(super) fn caching_used(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index()];
        let Some(caching) = session.caching.take() else { return };
        let opened =
            session.pins.as_mut().and_then(|pins| pins.transaction.as_mut()?.multi.as_mut());
        if let Some(multi) = opened {
            // It holds for all that the transaction reads.
            multi.caching = Some(caching);
            return;
        }
        if let Some((_, entry)) = session.pipeline.iter_mut().last() {
            entry.work.get_or_insert_default().caching = Some(caching);
        }
    }

    /// CLIENT CACHING, right before what it is about.
    pub(super) fn send_caching(&mut self, link: LinkId, yes: bool, now: Instant) {
        let expect = Expect { kind: ExpectKind::Asking, ..Expect::probe(now) };
        self.backends.send(link, expect, |out| write_caching(yes, out));
    }

    // ---- lanes ---------------------------------------------------------------------------

    /// Puts a session on the lane that fits what it has said, and closes the lane that was its
    /// alone.
    pub(super) fn relane(&mut self, id: SessionId, now: Instant) {
        let owner = self.owner(id);
        let session = &self.sessions[id.index()];
        let client = &session.client;
        let setup = Setup {
            protocol: client.protocol,
            database: client.database,
            no_touch: client.no_touch,
            read_only: false,
            tracking: None,
        };
        let tracking = client.tracking.as_ref().filter(|of| of.is_told(client.protocol));
        let mut tracker = None;
        let lane = match tracking {
            None => self.backends.lanes.of(setup),
            Some(tracking) => {
                let of_client =
                    TrackingLane { owner, hears: false, words: tracking.words(), sink: None };
                let sink = (client.protocol == Protocol::Resp2).then(|| {
                    let sink = TrackingLane { hears: true, words: Vec::new(), ..of_client.clone() };
                    let plain = Setup::plain(Protocol::Resp3);
                    self.backends.lanes.of(Setup { tracking: Some(Box::new(sink)), ..plain })
                });
                let of_client = TrackingLane { sink, ..of_client };
                let setup = Setup { tracking: Some(Box::new(of_client)), ..setup };
                let lane = self.backends.lanes.of(setup);
                tracker = Some(Tracker { lane, sink, opening: None, owes_all: false });
                lane
            }
        };
        let session = &mut self.sessions[id.index()];
        if std::mem::replace(&mut session.lane, lane) == lane {
            return;
        }
        let before = self.trackers.clients.remove(&id);
        if let Some(tracker) = tracker {
            self.trackers.stale = true;
            self.trackers.clients.insert(id, tracker);
        }
        self.metrics.tracking.set(self.trackers.clients.len() as u64);
        self.change_lane_of_transaction(id, now);
        if let Some(before) = before {
            self.close_lanes(&before, now);
            // Nobody remembers any more what it had read there.
            self.tell_all_changed(id, now);
        }
    }

    fn close_lanes(&mut self, tracker: &Tracker, now: Instant) {
        for lane in [Some(tracker.lane), tracker.sink].into_iter().flatten() {
            let kept = self.trackers.clients.values();
            if kept.into_iter().any(|of| of.lane == lane || of.sink == Some(lane)) {
                continue;
            }
            let links: Vec<LinkId> = self
                .backends
                .links()
                .filter(|(_, link)| link.lane == lane && !link.is_closed())
                .map(|(id, _)| id)
                .collect();
            for id in links {
                let why = "its client does not track keys any more";
                self.lose(id, Loss::Broken, LinkEnd::Retired, why, now);
            }
            self.backends.lanes.remove(lane);
        }
    }

    /// A client that is gone tracks nothing.
    pub(super) fn end_tracker(&mut self, id: SessionId, now: Instant) {
        if let Some(tracker) = self.trackers.clients.remove(&id) {
            self.close_lanes(&tracker, now);
            self.metrics.tracking.set(self.trackers.clients.len() as u64);
        }
    }

    // ---- connections ---------------------------------------------------------------------

    /// Sees to it that each client that tracks has its connections, and tells those that must
    /// forget.
    pub(super) fn keep_trackers(&mut self, now: Instant) {
        let generation = self.backends.topology().generation();
        let moved = std::mem::replace(&mut self.trackers.generation, generation) != generation;
        if !moved && !std::mem::take(&mut self.trackers.stale) {
            return;
        }
        self.trackers.incomplete = false;
        let ids: Vec<SessionId> = self.trackers.clients.keys().copied().collect();
        for id in ids {
            let Some(tracker) = self.trackers.clients.get_mut(&id) else { continue };
            let owes = std::mem::take(&mut tracker.owes_all);
            // Slots have other owners, who know nothing of what was read from the old ones.
            if (moved || owes) && tracker.opening.is_none() {
                self.tell_all_changed(id, now);
            }
            self.open_tracker(id, now);
        }
    }

    /// Time has passed: connections that could not be had are asked for again.
    pub(super) fn look_at_trackers(&mut self, now: Instant) {
        if self.trackers.incomplete {
            self.trackers.stale = true;
            self.keep_trackers(now);
        }
    }

    /// Asks for the connections of a client that tracks, and answers its CLIENT TRACKING once all
    /// are there.
    fn open_tracker(&mut self, id: SessionId, now: Instant) {
        let Some(tracker) = self.trackers.clients.get(&id) else { return };
        let (lane, opening) = (Lane { id: tracker.lane, large: false }, tracker.opening);
        let topology = self.backends.topology();
        let primaries: Vec<Endpoint> =
            topology.shards().iter().map(|(_, at)| topology.node(*at).endpoint.clone()).collect();
        let mut missing = primaries.is_empty().then(|| "no node is known yet".to_owned());
        let mut refused = None;
        for endpoint in primaries {
            match self.backends.route_to(&endpoint, lane, now) {
                Ok(link) => match self.backends.link(link) {
                    Some(link) if link.refused_further.is_some() => {
                        refused = link.refused_further.clone().map(|why| (endpoint, why));
                    }
                    Some(link) if link.is_ready() => {}
                    _ => missing = Some(format!("{endpoint} is being connected")),
                },
                Err(no_route) => missing = Some(no_route.to_string()),
            }
        }
        self.trackers.incomplete |= missing.is_some();
        let Some(seq) = opening else { return };
        let entry = self.sessions[id.index()].pipeline.get(seq);
        let waited = entry.map(|entry| now.saturating_duration_since(entry.received));
        let most = self.options.ride_out.max(self.options.connect_timeout);
        let line = match (refused, missing) {
            (Some((endpoint, why)), _) => {
                format!("ERR CLIENT TRACKING is not available: {endpoint} says {why}")
            }
            (None, Some(last)) if waited.is_some_and(|waited| waited >= most) => {
                format!("CLUSTERDOWN CLIENT TRACKING needs every primary: {last}")
            }
            (None, Some(_)) => return,
            (None, None) => {
                let tracker = self.trackers.clients.get_mut(&id).expect("it was there");
                tracker.opening = None;
                return self.complete(id, seq, b"+OK\r\n", Outcome::Ok, now);
            }
        };
        self.set_tracking(id, None, now);
        self.end_request(id, seq, &line, now);
    }

    /// A connection of a client that tracks has had its handshake.
    pub(super) fn tracker_ready(&mut self, id: LinkId, now: Instant) {
        self.trackers.stale = true;
        let Some(link) = self.backends.link(id) else { return };
        let Some(owner) = link.tracker else { return };
        let opens = self.tracker_of(owner).is_some_and(|tracker| tracker.opening.is_some());
        if link_refuses(self.backends.link(id)) && !opens {
            // What would be read on it nobody would remember.
            let why = "it refuses CLIENT TRACKING";
            self.lose(id, Loss::Broken, LinkEnd::Handshake, why, now);
        }
    }

    fn tracker_of(&mut self, owner: Owner) -> Option<&mut Tracker> {
        let session = self.sessions.get(owner.session as usize)?;
        if session.incarnation != owner.incarnation {
            return None;
        }
        self.trackers.clients.get_mut(&SessionId(owner.session))
    }

    /// A connection of a client that tracks is over: its node has forgotten what was read on it.
    pub(super) fn tracker_lost(&mut self, owner: Owner, lane: LaneId, endpoint: &Endpoint) {
        self.trackers.stale = true;
        let Some(tracker) = self.tracker_of(owner) else { return };
        tracker.owes_all = true;
        if tracker.sink == Some(lane) {
            // Nobody hears any more what that node says of the others: they are made anew.
            let lane = tracker.lane;
            self.backends.retire_lane(lane, endpoint);
            self.sessions[owner.session as usize].generation = u64::MAX;
        }
    }

    // ---- what nodes say ------------------------------------------------------------------

    /// A node has said something on a connection of a client that tracks.
    #[cold]
    pub(super) fn pushed(&mut self, link: LinkId, answer: &Answer, now: Instant) {
        let of = self.backends.link(link).expect("its frame is being read");
        let push: Arc<[u8]> = of.bytes(answer).into();
        let Some(owner) = of.tracker else { return };
        if changed_keys(&push).is_none() {
            return self.lose(link, Loss::Broken, LinkEnd::Desync, "an unknown push", now);
        }
        if self.tracker_of(owner).is_some() {
            self.tell_changed(SessionId(owner.session), push, now);
        }
    }

    fn tell_all_changed(&mut self, id: SessionId, now: Instant) {
        self.tell_changed(id, ALL_CHANGED.into(), now);
    }

    /// Tells a client, or whom it has named, that keys have changed.
    fn tell_changed(&mut self, id: SessionId, push: Arc<[u8]>, now: Instant) {
        let session = &mut self.sessions[id.index()];
        let Some(tracking) = session.client.tracking.as_deref() else { return };
        if tracking.redirect == 0 {
            if session.client.protocol == Protocol::Resp3 && session.dead.is_none() {
                session.tell_in_order(&push, &mut self.buffers);
                if session.output.len() > self.options.client_output_hard {
                    session.overflow();
                }
                self.list_writable(id);
            }
            return;
        }
        let worker = tracking.redirect_worker;
        let of = Invalidated {
            tracker: Listener { session: id, incarnation: session.incarnation },
            from: self.worker,
            redirect: tracking.redirect,
            push,
        };
        if worker == self.worker {
            return self.tell_redirected(of, now);
        }
        // What is on its way between workers is bounded; nothing is left out unsaid.
        if self.shared.monitors.reserve(of.push.len(), self.options.subscriber_output) {
            self.pass_on_invalidation(worker, of);
        } else if let Some(tracker) = self.trackers.clients.get_mut(&id) {
            tracker.owes_all = true;
            self.trackers.stale = true;
        }
    }

    /// Keys have changed that another client has read; one of this worker's is told.
    pub(super) fn tell_redirected(&mut self, of: Invalidated, now: Instant) {
        if of.from != self.worker {
            self.shared.monitors.release(of.push.len());
        }
        let found = self.sessions.iter().find(|(_, session)| session.client.id == of.redirect);
        let Some(id) = found.map(|(index, _)| SessionId(index as u32)) else {
            return match of.from == self.worker {
                true => self.redirect_is_broken(of.tracker, of.redirect),
                false => self.deny_redirect(of.from, of.tracker, of.redirect),
            };
        };
        let session = &mut self.sessions[id.index()];
        let keys = changed_keys(&of.push).unwrap_or(b"_\r\n");
        match session.client.protocol {
            Protocol::Resp3 => session.output.append(&of.push, &mut self.buffers),
            Protocol::Resp2 if session.listening.is_some() => {
                session.output.append(&as_message(keys), &mut self.buffers);
            }
            Protocol::Resp2 => return,
        }
        session.watch_unread(&self.options, now);
        self.list_writable(id);
    }

    /// The client that was to be told is gone, and whoever named it is told that.
    pub(super) fn redirect_is_broken(&mut self, tracker: Listener, redirect: u64) {
        let Some(session) = self.sessions.get_mut(tracker.session.index()) else { return };
        let client = &mut session.client;
        let Some(tracking) = client.tracking.as_mut() else { return };
        if session.incarnation != tracker.incarnation || tracking.redirect != redirect {
            return;
        }
        tracking.broken = true;
        if client.protocol == Protocol::Resp3 {
            let mut push = Vec::new();
            let mut reply = Encoder::new(&mut push, Protocol::Resp3);
            reply.push(2);
            reply.bulk("tracking-redir-broken");
            reply.integer(redirect as i64);
            session.tell_in_order(&push, &mut self.buffers);
            self.list_writable(tracker.session);
        }
    }
}

/// CLIENT CACHING.
pub(super) fn write_caching(yes: bool, out: &mut Vec<u8>) {
    encode_request(out, &["CLIENT", "CACHING", if yes { "YES" } else { "NO" }]);
}

fn link_refuses(link: Option<&mut crate::proxy::link::Link>) -> bool {
    link.is_some_and(|link| link.refused_further.is_some())
}

impl Session {
    /// Says something out of turn, but behind every reply that is there already. A reply that
    /// waits for an earlier one may hold the value that has just become old: a client that heard
    /// of the change first would keep it.
    fn tell_in_order(&mut self, push: &[u8], buffers: &mut BufferPool) {
        if !self.pipeline.attach(push) {
            self.output.append(push, buffers);
        }
    }
}
