//! Who listens to what through this proxy, over all its workers: what PUBSUB and PUBLISH count.
//!
//! A node sees one connection per worker where a single server would see every client, so its own
//! counts are wrong by exactly what is counted here. Touched when a subscription begins or ends,
//! and when somebody publishes or asks; never on the way of a message.

use super::topics::TopicKind;
use crate::cluster::Endpoint;
use crate::value::{Case, glob_match};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Clients of this proxy that listen.
    pub clients: i64,
    /// Subscriber connections of this proxy on which nodes send it.
    pub links: i64,
}

/// What is known of one topic.
#[derive(Debug, Default)]
struct Heard {
    clients: i64,
    /// By the node at the other end.
    links: Vec<(Endpoint, i64)>,
}

impl Heard {
    fn add_link(&mut self, node: &Endpoint, change: i64) {
        match self.links.iter_mut().find(|(endpoint, _)| endpoint == node) {
            Some((_, count)) => *count += change,
            None => self.links.push((node.clone(), change)),
        }
        self.links.retain(|(_, count)| *count != 0);
    }

    fn links_at(&self, node: &Endpoint) -> i64 {
        self.links.iter().find(|(endpoint, _)| endpoint == node).map_or(0, |(_, count)| *count)
    }
}

type Kinds = [BTreeMap<Box<[u8]>, Heard>; 3];

/// The topics of all workers.
#[derive(Debug, Default)]
pub struct Listeners {
    kinds: Mutex<Kinds>,
    /// Topics with anything to count.
    topics: AtomicUsize,
}

impl Listeners {
    /// A client has begun (1) or stopped (-1) to listen.
    pub(super) fn add_client(&self, kind: TopicKind, name: &[u8], change: i64) {
        self.change(kind, name, |heard| heard.clients += change);
    }

    /// A node has begun (1) or stopped (-1) to send a topic on one connection, or that is lost (-1).
    pub(super) fn add_link(&self, kind: TopicKind, name: &[u8], node: &Endpoint, change: i64) {
        self.change(kind, name, |heard| heard.add_link(node, change));
    }

    fn change(&self, kind: TopicKind, name: &[u8], change: impl FnOnce(&mut Heard)) {
        let names = &mut self.lock()[kind as usize];
        match names.get_mut(name) {
            Some(heard) => {
                change(heard);
                if heard.clients == 0 && heard.links.is_empty() {
                    names.remove(name);
                    self.topics.fetch_sub(1, Ordering::Release);
                }
            }
            None => {
                change(names.entry(name.into()).or_default());
                self.topics.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Whether nobody listens to anything, and nodes know it. Takes no lock.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.load(Ordering::Acquire) == 0
    }

    /// The counts of one topic, over all nodes.
    pub(super) fn count(&self, kind: TopicKind, name: &[u8]) -> Count {
        let count = |heard: &Heard| Count {
            clients: heard.clients,
            links: heard.links.iter().map(|(_, count)| count).sum(),
        };
        self.lock()[kind as usize].get(name).map(count).unwrap_or_default()
    }

    /// How often what is published to a channel at `node` comes to somebody: to those who listen
    /// to the channel, and once more for each pattern of theirs that it matches.
    pub(super) fn audience(&self, kind: TopicKind, channel: &[u8], node: &Endpoint) -> Count {
        if self.is_empty() {
            return Count::default();
        }
        let kinds = self.lock();
        let of_patterns = kinds[TopicKind::Pattern as usize]
            .iter()
            .filter(|_| kind == TopicKind::Channel)
            .filter(|(pattern, _)| glob_match(pattern, channel, Case::Sensitive))
            .map(|(_, heard)| heard);
        let mut count = Count::default();
        for heard in kinds[kind as usize].get(channel).into_iter().chain(of_patterns) {
            count.clients += heard.clients;
            count.links += heard.links_at(node);
        }
        count
    }

    /// The topics of one kind that clients listen to.
    pub(super) fn names(&self, kind: TopicKind) -> Vec<Box<[u8]>> {
        let names = &self.lock()[kind as usize];
        names.iter().filter(|(_, heard)| heard.clients > 0).map(|(name, _)| name.clone()).collect()
    }

    /// How many topics of one kind clients listen to.
    pub(super) fn topics(&self, kind: TopicKind) -> usize {
        self.lock()[kind as usize].values().filter(|heard| heard.clients > 0).count()
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
