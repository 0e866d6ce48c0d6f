//! What PUBLISH and SPUBLISH answer: how often the message comes to a client.
//!
//! A node counts the connections that it sends a message on. Those of this proxy's own are taken
//! off, and the clients behind them, of every worker, are put in their place. What is left of the
//! node's count are clients that use this very node directly, and the connections of other
//! proxies: no node knows of those that listen at another one.

use super::listeners::{Count, Listeners};
use super::topics::TopicKind;
use crate::cluster::Endpoint;
use std::time::{Duration, Instant};

/// A message on its way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publication {
    kind: TopicKind,
    channel: Box<[u8]>,
    /// The node that it was sent to first, and the connections of ours that may have been among
    /// those that it counts.
    node: Endpoint,
    before: Count,
    /// Who listened when the answer came.
    own: Count,
    /// Since when it waits for those who listen.
    unheard_since: Option<Instant>,
}

/// How long a message waits at most until the workers of those who listen have moved to where it is
/// published: a node that does not take them holds up nobody who publishes for longer.
const UNHEARD_MAX: Duration = Duration::from_secs(1);

impl Publication {
    /// A message that goes to `node`. The connections of ours that it sends the channel on are
    /// looked at before and after: where one of them leaves meanwhile, nothing else tells whether
    /// the node has counted it.
    pub(super) fn new(
        kind: TopicKind,
        channel: &[u8],
        node: &Endpoint,
        listeners: &Listeners,
    ) -> Self {
        let own = listeners.audience(kind, channel, node);
        Self {
            kind,
            channel: channel.into(),
            node: node.clone(),
            before: own,
            own,
            unheard_since: None,
        }
    }

    /// Whether its channel has a slot, which a redirect can name.
    pub(super) fn has_slot(&self) -> bool {
        self.kind == TopicKind::Shard
    }

    /// A node has answered.
    pub(super) fn answered_by(&mut self, node: &Endpoint, listeners: &Listeners) {
        self.own = listeners.audience(self.kind, &self.channel, node);
        if self.node == *node {
            self.own.links = self.own.links.max(self.before.links);
            // Those that it has sent it to get it, though it may have said since that the slot has left.
            if self.kind == TopicKind::Shard {
                self.own = self.own.max(self.before);
            }
        }
    }

    /// Whether it is to wait, since clients of this proxy listen that would not get it if it were
    /// published at `node` now.
    pub(super) fn must_wait(
        &mut self,
        node: &Endpoint,
        listeners: &Listeners,
        now: Instant,
    ) -> bool {
        if self.kind != TopicKind::Shard || !listeners.is_unheard(&self.channel, node) {
            return false;
        }
        let since = *self.unheard_since.get_or_insert(now);
        now.saturating_duration_since(since) < UNHEARD_MAX
    }

    /// How often the message came to a client, where the node that answered counted `counted`.
    pub(super) fn receivers(&self, counted: i64) -> i64 {
        if self.kind == TopicKind::Shard && counted == 0 {
            // No other node sends it to anybody.
            return 0;
        }
        self.own.clients + (counted - self.own.links).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "tests need some start")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_client_counts_once_for_its_channel_and_once_for_each_pattern() {
        let listeners = Listeners::default();
        let (here, there) = (Endpoint::new("n", 1), Endpoint::new("n", 2));
        let (channel, pattern, shard) = (TopicKind::Channel, TopicKind::Pattern, TopicKind::Shard);
        for (kind, name, clients) in [
            (channel, &b"news"[..], 3),
            (pattern, b"n*", 2),
            (pattern, b"x*", 5),
            (shard, b"news", 7),
        ] {
            listeners.add_client(kind, name, 0, clients);
            // Two workers, one at each node.
            listeners.add_link(kind, name, &here, 0, 1);
            listeners.add_link(kind, name, &there, 1, 1);
        }
        let receivers = |kind, name: &[u8], counted| {
            let mut publication = Publication::new(kind, name, &here, &listeners);
            publication.answered_by(&here, &listeners);
            publication.receivers(counted)
        };
        assert_eq!(receivers(channel, b"news", 2), 5, "both that it counts are ours");
        assert_eq!(receivers(channel, b"news", 4), 7, "two clients of its own");
        assert_eq!(receivers(channel, b"nobody", 1), 2);
        assert_eq!(receivers(channel, b"else", 0), 0);
        assert_eq!(receivers(shard, b"news", 1), 7, "no pattern matches a shard channel");
    }

    /// A slot has moved, and of two workers with clients that listen only one is at its new owner.
    #[test]
    fn a_shards_message_is_counted_for_those_whom_its_node_sends_it_to() {
        let listeners = Listeners::default();
        let (old, new) = (Endpoint::new("n", 1), Endpoint::new("n", 2));
        let shard = TopicKind::Shard;
        for (worker, clients) in [(0, 3), (1, 4)] {
            listeners.add_client(shard, b"x", worker, clients);
            listeners.add_link(shard, b"x", &old, worker, 1);
        }
        let receivers = |node: &Endpoint, counted| {
            let mut publication = Publication::new(shard, b"x", node, &listeners);
            publication.answered_by(node, &listeners);
            let now = start();
            let waits = publication.must_wait(node, &listeners, now);
            let later = now + UNHEARD_MAX;
            assert!(!publication.must_wait(node, &listeners, later), "not for ever");
            (waits, publication.receivers(counted))
        };
        assert_eq!(receivers(&old, 2), (false, 7));
        assert_eq!(receivers(&new, 0), (true, 0));
        listeners.add_link(shard, b"x", &new, 1, 1);
        assert_eq!(receivers(&new, 1), (true, 4));
        assert_eq!(receivers(&new, 2), (true, 5), "and one who listens at this node itself");
        listeners.add_link(shard, b"x", &new, 0, 1);
        assert_eq!(receivers(&new, 2), (false, 7));
        // The slot goes after the message and before the answer to who published it.
        let mut publication = Publication::new(shard, b"x", &new, &listeners);
        for worker in 0..2 {
            listeners.add_link(shard, b"x", &new, worker, -1);
        }
        publication.answered_by(&new, &listeners);
        assert_eq!((publication.receivers(2), publication.receivers(0)), (7, 0));
    }

    #[test]
    fn a_connection_that_leaves_meanwhile_is_nobody() {
        let listeners = Listeners::default();
        let (here, there) = (Endpoint::new("n", 1), Endpoint::new("n", 2));
        listeners.add_link(TopicKind::Channel, b"x", &here, 0, 1);
        let sent = Publication::new(TopicKind::Channel, b"x", &here, &listeners);
        listeners.add_link(TopicKind::Channel, b"x", &here, 0, -1);
        assert!(listeners.is_empty());
        for (node, counted, expected) in [(&here, 1, 0), (&here, 0, 0), (&there, 1, 1)] {
            let mut publication = sent.clone();
            publication.answered_by(node, &listeners);
            assert_eq!(publication.receivers(counted), expected);
        }
    }
}
