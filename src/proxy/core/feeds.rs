//! Where a worker's topics come in: which node each is asked for at, on one connection per node,
//! and again after a failover, a migration or a loss, without a client noticing.
//!
//! A message that is published anywhere reaches every node, so all channels and patterns come in
//! from one *home* node, and in the order in which that node saw them. A shard channel comes in
//! from its slot's owner, and what a node says of its own keys from every primary. A topic that
//! moves is taken from its old place until the new one has confirmed it.
//!
//! While a shard channel's slot goes from one shard to another, a message is published in one of them
//! and in no other, so it is taken from either: from the old owner until that has answered the end of
//! the subscription, since it may have sent more before, and from the new one as soon as it has
//! confirmed. None comes twice, and what a node has sent is not lost. Within a shard, on a failover,
//! both nodes send the same messages, and one connection counts, as with channels: what the old primary
//! sent last may then be missed.
//!
//! What is published at the new owner before it has confirmed comes to nobody. Those who publish
//! through this proxy wait for that (see [`super::publishing`]); who publishes at the node itself is
//! told by its answer that nobody listened.

use super::Core;
use crate::clock::Backoff;
use crate::cluster::Endpoint;
use crate::proxy::error::Failure;
use crate::proxy::feed::{Awaited, Feed, Frame};
use crate::proxy::link::LinkId;
use crate::proxy::metrics::{LinkEnd, Outcome};
use crate::proxy::retry::{self, Asked, Loss, Verdict};
use crate::proxy::topics::{Place, PlaceState, Topic, TopicId, TopicKind, Topics};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The subscriptions of one worker.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub topics: Topics,
    feeds: BTreeMap<LinkId, Feed>,
    /// Where channels and patterns come in.
    home: Option<Endpoint>,
    /// Topics that are not everywhere where they should be.
    unsettled: BTreeSet<TopicId>,
    /// The primaries, as of `generation` of the map.
    primaries: Vec<Endpoint>,
    generation: u64,
    /// A connection was lost, or the home has changed: every topic is to be looked at.
    stale: bool,
}

/// Waits between tries after a node refused for a passing reason.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(200));

/// A connection on which nothing came for so long is asked whether it still stands.
const PROBE: Duration = Duration::from_secs(1);

impl Core {
    /// Takes what a node has sent on its subscriber connection.
    pub(super) fn subscriber_frames(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.backends.link(id) else { return };
        link.heard(now);
        let was_ready = link.is_ready();
        loop {
            let Some(link) = self.backends.link(id) else { return };
            if link.is_closed() {
                return;
            }
            let at = match link.next_frame() {
                Ok(Some(at)) => at,
                Ok(None) => break,
                Err(error) => {
                    let end = match error {
                        crate::proxy::link::LinkError::Handshake(_) => LinkEnd::Handshake,
                        _ => LinkEnd::Desync,
                    };
                    tracing::warn!(node = %link.endpoint, %error, "subscriptions are cut off");
                    return self.lose(id, Loss::Broken, end, &error.to_string(), now);
                }
            };
            let frame = Frame::parse(link.frame(at.clone()));
            if let Some(Frame::Message { .. }) = frame {
                self.deliver_message(id, at, now);
                continue;
            }
            let feed = self.subscriptions.feeds.entry(id).or_default();
            let Some((frame, Ok(answered))) = frame.map(|frame| (frame, feed.answered(&frame)))
            else {
                tracing::warn!(node = %link.endpoint, "subscriptions are cut off: an answer that \
                     nobody expects");
                return self.lose(id, Loss::Broken, LinkEnd::Desync, "unexpected", now);
            };
            if let Some((kind, name, change)) = feed.change(&frame) {
                self.shared.listeners.add_link(kind, name, &link.endpoint, self.worker, change);
            }
            match (frame, answered) {
                (Frame::Unsubscribed(TopicKind::Shard, name), _) => {
                    let topic = self.subscriptions.topics.find(TopicKind::Shard, name);
                    self.gone_from(topic, id, now);
                }
                (Frame::Error(line), Some(Awaited::Subscribed(topic, serial))) => {
                    let line = line.to_vec();
                    self.topic_refused(topic, serial, id, &line, now);
                }
                (_, Some(Awaited::Subscribed(topic, serial))) => {
                    self.topic_confirmed(topic, serial, id, now);
                }
                (_, Some(Awaited::Fence(topic, serial))) => {
                    if let Some(topic) = self.subscriptions.topics.same(topic, serial) {
                        topic.left(id);
                    }
                }
                _ => {}
            }
        }
        let Some(link) = self.backends.link(id) else { return };
        if !was_ready && link.is_ready() {
            self.backends.ready(id);
            self.backends.served(id);
        }
        if self.backends.link(id).is_some_and(|link| link.wants_write()) {
            self.backends.list_dirty(id);
        }
    }

    fn topic_confirmed(&mut self, id: TopicId, serial: u64, link: LinkId, now: Instant) {
        let Some(topic) = self.subscriptions.topics.same(id, serial) else { return };
        topic.failures = 0;
        if let Some(place) = topic.place_mut(link) {
            place.state = PlaceState::Active;
            // The map may name another node again, by one that has not heard of the move yet. A shard's messages
            // come from wherever it is taken.
            if topic.kind == TopicKind::Shard && topic.source == LinkId::NONE {
                topic.source = link;
            }
        }
        self.place_topic(id, now);
    }

    /// A node has said that a shard channel has left it.
    fn gone_from(&mut self, id: Option<TopicId>, link: LinkId, now: Instant) {
        let Some(id) = id else { return };
        let Some(topic) = self.subscriptions.topics.get_mut(id) else { return };
        // While a SSUBSCRIBE is on its way there, its own answer tells.
        if !topic.is_active_at(link) {
            return;
        }
        self.unplace(id, link);
        self.shared.map.want_refresh();
        self.place_topic(id, now);
    }

    /// A node does not take a subscription.
    fn topic_refused(&mut self, id: TopicId, serial: u64, link: LinkId, line: &[u8], now: Instant) {
        let Some(topic) = self.subscriptions.topics.same(id, serial) else { return };
        let slot = (topic.kind == TopicKind::Shard).then(|| topic.slot());
        let asked = Asked {
            slot,
            hops: topic.failures.min(u32::from(u8::MAX)) as u8,
            hops_max: self.options.redirects_max,
            write: false,
            script: false,
        };
        topic.failures += 1;
        topic.last = String::from_utf8_lossy(line).into_owned();
        let wait = AGAIN.wait(topic.failures);
        let verdict = retry::judge(line, &asked);
        let Some(sender) = self.backends.link(link).map(|link| link.endpoint.host.clone()) else {
            return;
        };
        self.unplace(id, link);
        match verdict {
            Verdict::Resend { to, learn: true, .. } => {
                let endpoint = self.options.mapped(to.endpoint(&sender));
                if let Some(slot) = slot {
                    self.shared.map.learn(slot, &endpoint, now);
                    self.backends.sync();
                }
                self.shared.map.want_refresh();
            }
            Verdict::Deliver => {
                let topic = self.subscriptions.topics.get_mut(id).expect("it is the same");
                if !topic.listeners.is_empty() {
                    tracing::warn!(error = %topic.last, "a node refuses a subscription");
                }
                topic.retry_at = Some(now + wait);
                let waiting = std::mem::take(&mut topic.waiting);
                for (listener, seq) in waiting {
                    self.stop_waiting(listener, seq, Some((line, Outcome::ServerError)), now);
                }
                if self.subscriptions.topics.same(id, serial).is_none() {
                    return;
                }
            }
            Verdict::Resend { .. } | Verdict::Later { .. } | Verdict::Confirm { .. } => {
                let topic = self.subscriptions.topics.get_mut(id).expect("it is the same");
                topic.retry_at = Some(now + wait);
                self.shared.map.want_refresh();
            }
        }
        self.place_topic(id, now);
    }

    /// A topic is not on this connection any more.
    fn unplace(&mut self, id: TopicId, link: LinkId) {
        let Some(topic) = self.subscriptions.topics.get_mut(id) else { return };
        topic.places.retain(|place| place.link != link);
        topic.settled = false;
        if topic.source == link {
            topic.source = LinkId::NONE;
        }
        if let Some(feed) = self.subscriptions.feeds.get_mut(&link) {
            feed.topics = feed.topics.saturating_sub(1);
        }
    }

    /// Asks for a topic wherever it should be and is not, and gives up where it need not be once
    /// all of that is confirmed.
    pub(super) fn place_topic(&mut self, id: TopicId, now: Instant) {
        let Some(topic) = self.subscriptions.topics.get_mut(id) else { return };
        if topic.retry_at.is_some_and(|at| at > now) {
            self.subscriptions.unsettled.insert(id);
            return;
        }
        topic.retry_at = None;
        let (kind, everywhere) = (topic.kind, topic.everywhere);
        let slot = (kind == TopicKind::Shard).then(|| topic.slot());
        // The connection that it must be on; a keyspace topic should be on others as well.
        let main = match slot {
            Some(slot) => match self.backends.topology().owner(slot) {
                Some(owner) => {
                    let endpoint = self.backends.topology().node(owner).endpoint.clone();
                    self.backends.subscriber(&endpoint, now)
                }
                None => Err(crate::proxy::backends::NoRoute::Uncovered),
            },
            None => self.home(now),
        };
        let mut others = Vec::new();
        let mut all = main.is_ok();
        if everywhere {
            for at in 0..self.subscriptions.primaries.len() {
                let endpoint = &self.subscriptions.primaries[at];
                match self.backends.subscriber(endpoint, now) {
                    Ok(link) => others.push(link),
                    Err(_) => all = false,
                }
            }
        }
        let topic = self.subscriptions.topics.get_mut(id).expect("it is there");
        for &link in main.iter().chain(&others) {
            if topic.is_at(link) {
                continue;
            }
            topic.places.push(Place { link, state: PlaceState::Asked });
            let feed = self.subscriptions.feeds.entry(link).or_default();
            let idle = feed.is_idle();
            if let Some(link) = self.backends.link(link) {
                if idle {
                    link.silent_since = now;
                }
                link.queue(|out| feed.subscribe(kind, &topic.name, id, topic.serial, out));
            }
            self.backends.list_dirty(link);
        }
        match &main {
            Ok(link) if topic.is_active_at(*link) => topic.source = *link,
            Ok(_) => all = false,
            Err(no_route) => topic.last = no_route.to_string(),
        }
        let confirmed = others.iter().all(|link| topic.is_active_at(*link));
        // A primary that cannot be reached keeps nobody from listening to the others.
        let enough = main.as_ref().is_ok_and(|link| topic.is_active_at(*link)) && confirmed;
        topic.settled = enough;
        if !enough {
            self.subscriptions.unsettled.insert(id);
            return;
        }
        if all {
            self.subscriptions.unsettled.remove(&id);
        } else {
            self.subscriptions.unsettled.insert(id);
        }
        let waiting = std::mem::take(&mut topic.waiting);
        let needless: Vec<LinkId> = topic
            .places
            .iter()
            .filter(|place| place.state != PlaceState::Leaving)
            .map(|place| place.link)
            .filter(|link| !main.iter().chain(&others).any(|wanted| wanted == link))
            .collect();
        for link in needless {
            self.ask_to_stop(id, link);
        }
        for (listener, seq) in waiting {
            self.stop_waiting(listener, seq, None, now);
        }
    }

    /// Ends a topic on one connection. What the node has sent before it answers still counts.
    fn ask_to_stop(&mut self, id: TopicId, link_id: LinkId) {
        let Some(topic) = self.subscriptions.topics.get_mut(id) else { return };
        let shard = topic.kind == TopicKind::Shard;
        match topic.place_mut(link_id) {
            Some(place) if shard && place.state == PlaceState::Active => {
                place.state = PlaceState::Leaving;
            }
            _ => topic
                .places
                .retain(|place| place.link != link_id || place.state == PlaceState::Leaving),
        }
        let Some(feed) = self.subscriptions.feeds.get_mut(&link_id) else { return };
        if let Some(link) = self.backends.link(link_id).filter(|link| !link.is_closed()) {
            link.queue(|out| feed.unsubscribe(topic.kind, &topic.name, id, topic.serial, out));
            self.backends.list_dirty(link_id);
        }
    }

    /// Whether a message that comes in on this connection cannot have been sent by the node that the
    /// topic is taken from: that is one of another shard.
    pub(super) fn is_of_another_shard(&self, topic: &Topic, link: LinkId) -> bool {
        if topic.kind != TopicKind::Shard {
            return false;
        }
        let topology = self.backends.topology();
        let node = |link| topology.find(&self.backends.peek(link)?.endpoint);
        let Some(source) = self.backends.peek(topic.source) else { return true };
        match (node(link), topology.find(&source.endpoint)) {
            // Whoever has slots of its own replicates nobody. A replica that took over has them
            // before the map knows that it is none any more.
            (Some(one), Some(other)) if one != other => {
                let is_primary = |node| {
                    let known = topology.node(node);
                    let owns = || topology.shards().iter().any(|(_, owner)| *owner == node);
                    known.primary && known.id.is_some() && owns()
                };
                is_primary(one) && is_primary(other)
            }
            _ => false,
        }
    }

    /// Forgets a topic that nobody listens to, or waits for.
    pub(super) fn drop_topic_if_unused(&mut self, id: TopicId) {
        let Some(topic) = self.subscriptions.topics.get(id) else { return };
        if !topic.listeners.is_empty() || topic.pending > 0 {
            return;
        }
        let here = topic.places.iter().filter(|place| place.state != PlaceState::Leaving);
        let links: Vec<LinkId> = here.map(|place| place.link).collect();
        for link in links {
            self.ask_to_stop(id, link);
        }
        self.subscriptions.topics.remove(id);
        self.subscriptions.unsettled.remove(&id);
    }

    /// The connection on which channels and patterns come in. The same node for as long as it is a
    /// member of the cluster and can be reached: a change of home may lose or double a message.
    fn home(&mut self, now: Instant) -> Result<LinkId, crate::proxy::backends::NoRoute> {
        let current = self.subscriptions.home.clone();
        let current = current.filter(|home| self.backends.topology().find(home).is_some());
        let mut error = match &current {
            Some(home) => match self.backends.subscriber(home, now) {
                Ok(link) => return Ok(link),
                Err(error) => error,
            },
            None => crate::proxy::backends::NoRoute::Uncovered,
        };
        let count = self.subscriptions.primaries.len();
        // Workers begin at different nodes, so that these share the work.
        for offset in 0..count {
            let candidate = self.subscriptions.primaries[(self.worker + offset) % count].clone();
            if current.as_ref() == Some(&candidate) {
                continue;
            }
            match self.backends.subscriber(&candidate, now) {
                Ok(link) => {
                    self.subscriptions.home = Some(candidate);
                    self.subscriptions.stale = true;
                    return Ok(link);
                }
                Err(no_route) => error = no_route,
            }
        }
        Err(error)
    }

    /// Puts topics where they belong if the map has changed, or a connection was lost.
    pub(super) fn keep_subscriptions(&mut self, now: Instant) {
        let generation = self.backends.topology().generation();
        if self.subscriptions.generation != generation {
            let topology = self.backends.topology();
            let primaries = topology.shards();
            let primaries =
                primaries.iter().map(|(_, node)| topology.node(*node).endpoint.clone()).collect();
            self.subscriptions.primaries = primaries;
            self.subscriptions.generation = generation;
            self.subscriptions.stale = true;
        }
        if !std::mem::take(&mut self.subscriptions.stale) {
            return;
        }
        let all: Vec<TopicId> = self.subscriptions.topics.iter().map(|(id, _)| id).collect();
        for id in all {
            self.place_topic(id, now);
        }
    }

    /// A subscriber connection is over.
    pub(super) fn subscriber_lost(&mut self, id: LinkId, node: &Endpoint) {
        let feed = self.subscriptions.feeds.remove(&id).unwrap_or_default();
        for (kind, name) in feed.sent() {
            self.shared.listeners.add_link(kind, name, node, self.worker, -1);
        }
        let placed: Vec<TopicId> = self
            .subscriptions
            .topics
            .iter()
            .filter(|(_, topic)| topic.places.iter().any(|place| place.link == id))
            .map(|(topic, _)| topic)
            .collect();
        self.subscriptions.unsettled.extend(placed.iter().copied());
        for topic in placed {
            self.unplace(topic, id);
        }
        self.subscriptions.stale = true;
    }

    /// Tries again what was not confirmed, ends what has waited for too long, and sees to it that
    /// the connections still stand.
    pub(super) fn look_at_subscriptions(&mut self, now: Instant) {
        if self.subscriptions.feeds.is_empty() && self.subscriptions.topics.is_empty() {
            return;
        }
        self.keep_subscriptions(now);
        let unsettled: Vec<TopicId> = self.subscriptions.unsettled.iter().copied().collect();
        for id in unsettled {
            self.place_topic(id, now);
            self.end_waits(id, now);
        }
        self.look_at_feeds(now);
        self.keep_subscriptions(now);
    }

    fn end_waits(&mut self, id: TopicId, now: Instant) {
        let Some(topic) = self.subscriptions.topics.get_mut(id) else { return };
        let ride_out = self.options.ride_out;
        let mut over = Vec::new();
        let sessions = &self.sessions;
        topic.waiting.retain(|&(listener, seq)| {
            let session = sessions.get(listener.session.index());
            let session = session.filter(|s| s.incarnation == listener.incarnation);
            let Some(entry) = session.and_then(|s| s.pipeline.get(seq)) else { return false };
            let waited = now.saturating_duration_since(entry.received);
            if waited >= ride_out {
                over.push((listener, seq, waited));
            }
            waited < ride_out
        });
        let last = match topic.last.is_empty() {
            true => "CLUSTERDOWN no node has confirmed the subscription".to_owned(),
            false => topic.last.clone(),
        };
        for (listener, seq, waited) in over {
            let line = Failure::NotRun { last: last.clone(), waited }.to_string();
            let refusal = (line.as_bytes(), Outcome::ProxyError);
            self.stop_waiting(listener, seq, Some(refusal), now);
        }
    }

    fn look_at_feeds(&mut self, now: Instant) {
        let ids: Vec<LinkId> = self.subscriptions.feeds.keys().copied().collect();
        for id in ids {
            let Some(link) = self.backends.link(id) else { continue };
            if link.is_closed() || !link.is_ready() {
                continue; // Connecting is watched with all others.
            }
            let silent = now.saturating_duration_since(link.silent_since);
            let retiring = link.retiring;
            let feed = self.subscriptions.feeds.get_mut(&id).expect("it is listed");
            if feed.topics == 0 && (retiring || silent > PROBE) && feed.is_idle() {
                self.lose(id, Loss::Broken, LinkEnd::Retired, "not needed", now);
            } else if feed.is_idle() {
                if silent > PROBE {
                    link.silent_since = now;
                    link.queue(|out| feed.ping(out));
                    self.backends.list_dirty(id);
                }
            } else if silent > self.options.backend_timeout {
                // As patient as with a command: what a busy node has published comes later, but
                // what it publishes while nobody listens is gone.
                self.lose(id, Loss::Silent, LinkEnd::Timeout, "it does not answer", now);
            } else if silent > self.options.suspect_after {
                if self.now_serves_nothing(id) {
                    self.lose(id, Loss::Silent, LinkEnd::Timeout, "it was replaced", now);
                } else {
                    self.suspect(now);
                }
            }
        }
    }
}
