//! What clients listen to: SUBSCRIBE and its kin, the messages that reach each of them, and what
//! a RESP2 client may do meanwhile.
//!
//! A subscription takes effect, and is confirmed, once a node has confirmed it to the worker:
//! from then on nothing published is missed. Those of one client take effect in the order in which
//! it asked, and nothing that it sends later overtakes them.

use super::{Core, Dispatched, SessionId};
use crate::command::{Flags, Spec};
use crate::proxy::census::Census;
use crate::proxy::feed::Frame;
use crate::proxy::gather::Kind;
use crate::proxy::link::LinkId;
use crate::proxy::local;
use crate::proxy::metrics::{ClientEnd, Outcome};
use crate::proxy::pipeline::{Entry, State, Work};
use crate::proxy::route;
use crate::proxy::session::Session;
use crate::proxy::topics::{Listener, TopicId, TopicKind, is_of_nodes};
use crate::resp::{Encoder, Protocol};
use std::ops::Range;
use std::time::Instant;

/// What a client listens to. Absent in clients that listen to nothing.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Listening {
    /// By kind, sorted.
    topics: [Vec<TopicId>; 3],
    /// Since when more is unread than may be for long.
    pub over_soft: Option<Instant>,
}

impl Listening {
    /// How many topics of these kinds there are.
    pub(in crate::proxy) fn count(&self, kinds: &[TopicKind]) -> usize {
        kinds.iter().map(|&kind| self.topics[kind as usize].len()).sum()
    }

    /// What a confirmation counts: channels and patterns together, shard channels apart.
    fn counted(&self, kind: TopicKind) -> i64 {
        let kinds: &[TopicKind] = match kind {
            TopicKind::Shard => &[TopicKind::Shard],
            _ => &[TopicKind::Channel, TopicKind::Pattern],
        };
        self.count(kinds) as i64
    }

    fn is_empty(&self) -> bool {
        self.count(&TopicKind::ALL) == 0
    }
}

/// A request that begins or ends subscriptions and has not taken effect.
#[derive(Debug)]
pub(in crate::proxy) struct Subscribing {
    kind: TopicKind,
    change: Change,
    /// Topics that no node has confirmed yet.
    waiting: usize,
    /// A node's refusal.
    failed: Option<(Vec<u8>, Outcome)>,
}

#[derive(Debug)]
enum Change {
    Begin(Vec<TopicId>),
    End(Vec<Box<[u8]>>),
    EndAll,
}

/// Topics that one client may listen to.
const TOPICS_MAX: usize = 1 << 20;

impl Core {
    /// What keeps a request from being looked at as any other: the client has not authenticated,
    /// has to wait for a pause to end, listens in RESP2, or has subscriptions on their way.
    #[cold]
    pub(super) fn gate(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Option<Dispatched> {
        let session = &self.sessions[id.index()];
        if !session.client.authenticated && !spec.flags.contains(Flags::NO_AUTH) {
            self.refuse(id, Some(spec), local::NOAUTH.as_bytes(), now);
            return Some(Dispatched::Yes);
        }
        if session.client.paused && self.is_paused(spec) {
            return Some(Dispatched::Held);
        }
        if session.is_subscribing() && verb(spec).is_none() {
            return Some(Dispatched::WaitForAll);
        }
        if let Some(line) = self.only_monitors(id, spec) {
            self.refuse(id, Some(spec), line.as_bytes(), now);
            return Some(Dispatched::Yes);
        }
        let session = &self.sessions[id.index()];
        let monitored = session.client.monitored;
        if session.pins.as_ref().is_some_and(|pins| pins.queues(spec)) {
            if monitored && ends_or_breaks_multi(spec) {
                self.show_to_monitors(id, spec);
            }
            return Some(self.dispatch_in_multi(id, spec, now));
        }
        let listens = session.client.protocol == Protocol::Resp2 && session.listening.is_some();
        let allowed = verb(spec).is_some() || matches!(spec.name, "ping" | "quit" | "reset");
        if listens && !allowed {
            let line = in_subscribed_mode(spec.name);
            // An EXEC that is refused says so for its transaction, even where there is none.
            let line = match line.strip_prefix("ERR ") {
                Some(why) if spec.name == "exec" => format!("{EXEC_REFUSED}{why}"),
                _ => line,
            };
            self.refuse(id, Some(spec), line.as_bytes(), now);
            return Some(Dispatched::Yes);
        }
        if monitored {
            self.show_to_monitors(id, spec);
        }
        None
    }

    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their opposites.
    pub(super) fn subscribe(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let Some((kind, begins)) = verb(spec) else { return self.count_listeners(id, spec, now) };
        let session = &mut self.sessions[id.index()];
        if !session.pipeline.is_empty() && !session.is_subscribing() {
            return Dispatched::WaitForAll;
        }
        let used = session.undispatched;
        let request = session.at_hand();
        let held = session.listening.as_ref().map_or(0, |all| all.count(&TopicKind::ALL));
        if begins && held + request.len() > TOPICS_MAX {
            let line = format!("ERR a client may have {TOPICS_MAX} subscriptions");
            self.refuse(id, Some(spec), line.as_bytes(), now);
            return Dispatched::Yes;
        }
        let mut waited: Vec<TopicId> = Vec::new();
        let change = if begins {
            let topics = &mut self.subscriptions.topics;
            let mut named = Vec::with_capacity(request.len() - 1);
            for name in request.args_from(1) {
                let topic_id = topics.find_or_add(kind, name);
                let topic = topics.get_mut(topic_id).expect("just made sure");
                topic.pending += 1;
                if !topic.settled {
                    waited.push(topic_id);
                }
                named.push(topic_id);
            }
            Change::Begin(named)
        } else if request.len() > 1 {
            Change::End(request.args_from(1).map(Into::into).collect())
        } else {
            Change::EndAll
        };
        let subscribing = Subscribing { kind, change, waiting: waited.len(), failed: None };
        // Confirmations come even to a client that wants no replies, as messages do.
        session.client.take_unanswered();
        let seq = session.pipeline.push(Entry {
            state: State::Subscribing,
            generation: self.backends.topology().generation(),
            work: Some(Box::new(Work {
                subscribing: Some(Box::new(subscribing)),
                ..Work::default()
            })),
            ..Entry::new(session.input.position(), used, spec, now)
        });
        session.undispatched = 0;
        session.input.advance(used);
        session.regate();
        self.metrics.inflight.add(1);
        let listener = Listener { session: id, incarnation: session.incarnation };
        for &topic_id in &waited {
            if let Some(topic) = self.subscriptions.topics.get_mut(topic_id) {
                topic.waiting.push((listener, seq));
            }
        }
        for topic_id in waited {
            self.place_topic(topic_id, now);
        }
        self.take_effect(id, now);
        Dispatched::Yes
    }

    /// PUBSUB: nodes are asked, and what they count is corrected by what is known here.
    fn count_listeners(&mut self, id: SessionId, spec: &'static Spec, now: Instant) -> Dispatched {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let gather = Census::new(spec, &request, &self.shared.listeners)
            .ok_or_else(|| route::refusal(spec))
            .and_then(|census| {
                let bytes_max = self.options.gather_bytes;
                let kind = Kind::Census(census);
                route::to_every_shard(kind, false, self.backends.topology(), bytes_max)
            });
        match gather {
            Ok(gather) => self.send_parts(id, spec, gather, now),
            Err(refusal) => {
                self.refuse(id, Some(spec), refusal.to_string().as_bytes(), now);
                Dispatched::Yes
            }
        }
    }

    /// A topic that a request waited for is there, or a node refused it.
    pub(super) fn stop_waiting(
        &mut self,
        listener: Listener,
        seq: u64,
        refusal: Option<(&[u8], Outcome)>,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get_mut(listener.session.index()) else { return };
        if session.incarnation != listener.incarnation {
            return;
        }
        let Some(entry) = session.pipeline.get_mut(seq) else { return };
        let Some(work) = entry.work.as_mut() else { return };
        let Some(subscribing) = work.subscribing.as_mut() else { return };
        subscribing.waiting = subscribing.waiting.saturating_sub(1);
        if let Some((line, outcome)) = refusal {
            subscribing.failed = Some((line.to_vec(), outcome));
        }
        self.take_effect(listener.session, now);
    }

    /// Lets a client's oldest subscription requests take effect, as far as nodes have confirmed
    /// what they name.
    fn take_effect(&mut self, id: SessionId, now: Instant) {
        loop {
            let session = &mut self.sessions[id.index()];
            let seq = session.pipeline.head();
            let Some(entry) = session.pipeline.get_mut(seq) else { break };
            let Some(work) = entry.work.as_mut() else { break };
            let is_done = |s: &Subscribing| s.waiting == 0 || s.failed.is_some();
            if !work.subscribing.as_deref().is_some_and(is_done) {
                break;
            }
            let subscribing = work.subscribing.take().expect("it was just looked at");
            let mut reply = std::mem::take(&mut self.scratch.reply);
            reply.clear();
            let mut outcome = Outcome::Ok;
            let kind = subscribing.kind;
            match (subscribing.change, subscribing.failed) {
                (Change::Begin(topics), Some((line, how))) => {
                    outcome = how;
                    Encoder::new(&mut reply, session.client.protocol).error(line);
                    for topic in topics {
                        self.give_up_pending(topic);
                    }
                }
                (Change::Begin(topics), None) => {
                    for topic in topics {
                        self.listen(id, topic, &mut reply);
                    }
                }
                (Change::End(names), _) => {
                    for name in names {
                        self.stop_listening(id, kind, &name, &mut reply);
                    }
                }
                (Change::EndAll, _) => self.stop_listening_to_all(id, kind, &mut reply),
            }
            self.complete(id, seq, &reply, outcome, now);
            self.scratch.reply = reply;
        }
        self.sessions[id.index()].regate();
    }

    /// A client listens to a topic from here on.
    fn listen(&mut self, id: SessionId, topic_id: TopicId, reply: &mut Vec<u8>) {
        let session = &mut self.sessions[id.index()];
        let topic = self.subscriptions.topics.get_mut(topic_id).expect("it is pending");
        topic.pending -= 1;
        let kind = topic.kind;
        let listening = session.listening.get_or_insert_default();
        let mine = &mut listening.topics[kind as usize];
        if let Err(at) = mine.binary_search(&topic_id) {
            mine.insert(at, topic_id);
            topic.listeners.push(Listener { session: id, incarnation: session.incarnation });
            self.shared.listeners.add_client(kind, &topic.name, self.worker, 1);
        }
        let count = listening.counted(kind);
        let mut reply = Encoder::new(reply, session.client.protocol);
        confirm(&mut reply, kind.subscribe(), Some(&topic.name), count);
    }

    fn stop_listening(&mut self, id: SessionId, kind: TopicKind, name: &[u8], out: &mut Vec<u8>) {
        if let Some(topic_id) = self.subscriptions.topics.find(kind, name) {
            let session = &mut self.sessions[id.index()];
            let mine = session.listening.as_mut().map(|all| &mut all.topics[kind as usize]);
            if let Some(mine) = mine
                && let Ok(at) = mine.binary_search(&topic_id)
            {
                mine.remove(at);
                self.leave(id, topic_id);
            }
        }
        let session = &mut self.sessions[id.index()];
        let count = session.listening.as_ref().map_or(0, |all| all.counted(kind));
        let mut reply = Encoder::new(out, session.client.protocol);
        confirm(&mut reply, kind.unsubscribe(), Some(name), count);
        session.forget_if_deaf();
    }

    fn stop_listening_to_all(&mut self, id: SessionId, kind: TopicKind, out: &mut Vec<u8>) {
        let session = &mut self.sessions[id.index()];
        let mine = session.listening.as_mut().map(|all| &mut all.topics[kind as usize]);
        let mine = mine.map(std::mem::take).unwrap_or_default();
        let rest = session.listening.as_ref().map_or(0, |all| all.counted(kind));
        let protocol = session.client.protocol;
        if mine.is_empty() {
            confirm(&mut Encoder::new(out, protocol), kind.unsubscribe(), None, rest);
        }
        for (left, topic_id) in (0..mine.len()).rev().zip(mine) {
            let topic = self.subscriptions.topics.get(topic_id).expect("it has a listener");
            let mut reply = Encoder::new(out, protocol);
            let count = rest + left as i64;
            confirm(&mut reply, kind.unsubscribe(), Some(&topic.name), count);
            self.leave(id, topic_id);
        }
        self.sessions[id.index()].forget_if_deaf();
    }

    /// A client does not listen to a topic any more; its own list knows already.
    fn leave(&mut self, id: SessionId, topic_id: TopicId) {
        let topic = self.subscriptions.topics.get_mut(topic_id).expect("it has a listener");
        let at = topic.listeners.iter().position(|listener| listener.session == id);
        topic.listeners.swap_remove(at.expect("both sides know of each other"));
        self.shared.listeners.add_client(topic.kind, &topic.name, self.worker, -1);
        self.drop_topic_if_unused(topic_id);
    }

    fn give_up_pending(&mut self, topic_id: TopicId) {
        let topic = self.subscriptions.topics.get_mut(topic_id).expect("it is pending");
        topic.pending -= 1;
        self.drop_topic_if_unused(topic_id);
    }

    /// RESET, or the client is gone: it listens to nothing any more, and nobody is told.
    pub(super) fn forget_subscriptions(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index()];
        let listening = session.listening.take().unwrap_or_default();
        let pending: Vec<TopicId> = session
            .pipeline
            .iter()
            .filter_map(|entry| entry.work.as_ref()?.subscribing.as_ref())
            .filter_map(|subscribing| match &subscribing.change {
                Change::Begin(topics) => Some(topics.iter().copied()),
                Change::End(_) | Change::EndAll => None,
            })
            .flatten()
            .collect();
        session.regate();
        for topic_id in listening.topics.into_iter().flatten() {
            self.leave(id, topic_id);
        }
        for topic_id in pending {
            self.give_up_pending(topic_id);
        }
    }

    /// A node has sent a message: every client that listens gets it in its own protocol.
    pub(super) fn deliver_message(&mut self, link: LinkId, at: Range<usize>, now: Instant) {
        let frame = self.backends.peek(link).expect("its frame is being read").frame(at);
        let Some(Frame::Message { kind, topic, channel }) = Frame::parse(frame) else { return };
        let Some(topic) = self
            .subscriptions
            .topics
            .find(kind, topic)
            .and_then(|topic| self.subscriptions.topics.get(topic))
        else {
            return;
        };
        // What a node says of its own keys comes from that node alone, and what was published in a
        // shard from its nodes; everything else comes from every node that was asked for it, and
        // counts once.
        let counts = if topic.everywhere && is_of_nodes(channel) {
            topic.is_at(link)
        } else {
            topic.source == link || topic.is_sent_by(link) && self.is_of_another_shard(topic, link)
        };
        if !counts {
            return;
        }
        self.metrics.messages.add(topic.listeners.len() as u64);
        for listener in &topic.listeners {
            let session = &mut self.sessions[listener.session.index()];
            if session.dead.is_some() {
                continue;
            }
            match session.client.protocol {
                Protocol::Resp3 => session.output.append(frame, &mut self.buffers),
                Protocol::Resp2 => {
                    session.output.append(b"*", &mut self.buffers);
                    session.output.append(&frame[1..], &mut self.buffers);
                }
            }
            session.watch_unread(&self.options, now);
            if !std::mem::replace(&mut session.listed_for_write, true) {
                self.writable.push(listener.session);
            }
        }
    }
}

impl Session {
    /// Whether a subscription request of it has not taken effect. Only such are under way then.
    pub(super) fn is_subscribing(&self) -> bool {
        self.pipeline.iter().next().is_some_and(|entry| entry.state == State::Subscribing)
    }

    /// Something has changed that [`Core::gate`] looks at.
    pub(super) fn regate(&mut self) {
        let client = &mut self.client;
        client.listens = self.listening.is_some();
        let restricted = client.listens && client.protocol == Protocol::Resp2;
        let queues = self.pins.as_ref().is_some_and(|pins| pins.is_open());
        let watched = client.monitored || client.monitors;
        let caching = client.tracking.as_ref().is_some_and(|of| of.caching.is_some());
        let restricted = restricted || client.paused || queues || watched || caching;
        let gated = !client.authenticated || restricted || self.is_subscribing();
        self.client.gated = gated;
    }

    fn forget_if_deaf(&mut self) {
        if self.listening.as_ref().is_some_and(|all| all.is_empty()) {
            self.listening = None;
        }
    }

    /// More is unread: a subscriber that leaves too much, or much for long, is closed.
    pub(super) fn watch_unread(&mut self, options: &crate::proxy::Options, now: Instant) {
        let Some(listening) = &mut self.listening else { return };
        let unread = self.output.len();
        if unread <= options.subscriber_output_soft {
            listening.over_soft = None;
            return;
        }
        let since = *listening.over_soft.get_or_insert(now);
        let for_long = now.saturating_duration_since(since) > options.subscriber_output_time;
        if (unread > options.subscriber_output || for_long) && self.dead.is_none() {
            self.overflow();
            debug_assert_eq!(self.dead, Some(ClientEnd::OutputLimit));
        }
    }
}

/// What goes before the reason for which an EXEC is refused.
const EXEC_REFUSED: &str = "EXECABORT Transaction discarded because of: ";

/// What a RESP2 client that listens is told of any other command.
pub(super) fn in_subscribed_mode(name: &str) -> String {
    format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
         are allowed in this context"
    )
}

/// One confirmation.
fn confirm(reply: &mut Encoder<'_>, word: &str, name: Option<&[u8]>, count: i64) {
    reply.push(3);
    reply.bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count);
}

/// Whether a command is carried out while a transaction is open, not queued in it.
fn ends_or_breaks_multi(spec: &Spec) -> bool {
    matches!(spec.name, "exec" | "discard" | "multi" | "watch")
}

/// What a command does with subscriptions: of which kind, and whether it begins or ends them.
fn verb(spec: &Spec) -> Option<(TopicKind, bool)> {
    TopicKind::ALL.into_iter().find_map(|kind| {
        if spec.name == kind.subscribe() {
            Some((kind, true))
        } else if spec.name == kind.unsubscribe() {
            Some((kind, false))
        } else {
            None
        }
    })
}
