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

impl Count {
    /// The larger of both, each.
    pub(super) fn max(self, other: Self) -> Self {
        Self { clients: self.clients.max(other.clients), links: self.links.max(other.links) }
    }
}

/// Who counts: a worker, by its number.
pub(super) type Worker = usize;

/// What is known of one topic.
#[derive(Debug, Default)]
struct Heard {
    /// By the worker that they belong to.
    clients: Vec<(Worker, i64)>,
    /// By the node at the other end, and the worker at ours.
    links: Vec<(Endpoint, Worker, i64)>,
}

impl Heard {
    fn add_client(&mut self, worker: Worker, change: i64) {
        match self.clients.iter_mut().find(|(of, _)| *of == worker) {
            Some((_, count)) => *count += change,
            None => self.clients.push((worker, change)),
        }
        self.clients.retain(|(_, count)| *count != 0);
    }

    fn add_link(&mut self, node: &Endpoint, worker: Worker, change: i64) {
        let same =
            |(endpoint, of, _): &&mut (Endpoint, Worker, i64)| endpoint == node && *of == worker;
        match self.links.iter_mut().find(same) {
            Some((_, _, count)) => *count += change,
            None => self.links.push((node.clone(), worker, change)),
        }
        self.links.retain(|(_, _, count)| *count != 0);
    }

    fn clients(&self) -> i64 {
        self.clients.iter().map(|(_, count)| count).sum()
    }

    fn links_at(&self, node: &Endpoint) -> i64 {
        let at = self.links.iter().filter(|(endpoint, ..)| endpoint == node);
        at.map(|(_, _, count)| count).sum()
    }

    /// Whether the node sends it to this worker.
    fn is_sent(&self, node: &Endpoint, worker: Worker) -> bool {
        self.links.iter().any(|(endpoint, of, _)| endpoint == node && *of == worker)
    }

    /// Clients of the workers that the node sends it to.
    fn clients_at(&self, node: &Endpoint) -> i64 {
        let sent = self.clients.iter().filter(|(worker, _)| self.is_sent(node, *worker));
        sent.map(|(_, count)| count).sum()
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
    /// A client of a worker has begun (1) or stopped (-1) to listen.
    pub(super) fn add_client(&self, kind: TopicKind, name: &[u8], worker: Worker, change: i64) {
        self.change(kind, name, |heard| heard.add_client(worker, change));
    }

    /// A node has begun (1) or stopped (-1) to send a topic on one connection of a worker, or that is
    /// lost (-1).
    pub(super) fn add_link(
        &self,
        kind: TopicKind,
        name: &[u8],
        node: &Endpoint,
        worker: Worker,
        change: i64,
    ) {
        self.change(kind, name, |heard| heard.add_link(node, worker, change));
    }

    fn change(&self, kind: TopicKind, name: &[u8], change: impl FnOnce(&mut Heard)) {
        let names = &mut self.lock()[kind as usize];
        match names.get_mut(name) {
            Some(heard) => {
                change(heard);
                if heard.clients.is_empty() && heard.links.is_empty() {
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
            clients: heard.clients(),
            links: heard.links.iter().map(|(_, _, count)| count).sum(),
        };
        self.lock()[kind as usize].get(name).map(count).unwrap_or_default()
    }

    /// How often what is published to a channel at `node` comes to somebody: to those who listen
    /// to the channel, and once more for each pattern of theirs that it matches. A channel's messages
    /// reach every node; those of a shard's channel only whoever is sent them by this one.
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
            count.clients += match kind {
                TopicKind::Shard => heard.clients_at(node),
                TopicKind::Channel | TopicKind::Pattern => heard.clients(),
            };
            count.links += heard.links_at(node);
        }
        count
    }

    /// Whether clients listen to a shard's channel whose worker is not sent it by this node yet: what
    /// is published there would not come to them.
    pub(super) fn is_unheard(&self, channel: &[u8], node: &Endpoint) -> bool {
        if self.is_empty() {
            return false;
        }
        let kinds = self.lock();
        let Some(heard) = kinds[TopicKind::Shard as usize].get(channel) else { return false };
        heard.clients.iter().any(|(worker, _)| !heard.is_sent(node, *worker))
    }

    /// The topics of one kind that clients listen to.
    pub(super) fn names(&self, kind: TopicKind) -> Vec<Box<[u8]>> {
        let names = &self.lock()[kind as usize];
        names
            .iter()
            .filter(|(_, heard)| !heard.clients.is_empty())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How many topics of one kind clients listen to.
    pub(super) fn topics(&self, kind: TopicKind) -> usize {
        self.lock()[kind as usize].values().filter(|heard| !heard.clients.is_empty()).count()
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
