//! Who listens to what through this proxy, over all its workers: what PUBSUB and PUBLISH count.
//!
//! A node sees one connection per worker where a single server would see every client, so its own
//! counts are wrong by exactly what is counted here. Touched when a subscription begins or ends,
//! and when somebody asks; never on the way of a message.

use super::topics::TopicKind;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The count of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Clients of this proxy that listen.
    pub clients: i64,
    /// Subscriber connections on which nodes have confirmed it.
    pub links: i64,
}

/// The topics of all workers.
#[derive(Debug, Default)]
pub struct Listeners {
    kinds: Mutex<[BTreeMap<Box<[u8]>, Count>; 3]>,
}

impl Listeners {
    /// A client has begun (1) or stopped (-1) to listen.
    pub(super) fn add_client(&self, kind: TopicKind, name: &[u8], change: i64) {
        self.change(kind, name, |count| count.clients += change);
    }

    /// A node has confirmed a topic on one connection (1), or does not carry it there any more (-1).
    pub(super) fn add_link(&self, kind: TopicKind, name: &[u8], change: i64) {
        self.change(kind, name, |count| count.links += change);
    }

    fn change(&self, kind: TopicKind, name: &[u8], change: impl FnOnce(&mut Count)) {
        let names = &mut self.lock()[kind as usize];
        match names.get_mut(name) {
            Some(count) => {
                change(count);
                if *count == Count::default() {
                    names.remove(name);
                }
            }
            None => change(names.entry(name.into()).or_default()),
        }
    }

    /// The counts of one topic.
    pub(super) fn count(&self, kind: TopicKind, name: &[u8]) -> Count {
        self.lock()[kind as usize].get(name).copied().unwrap_or_default()
    }

    /// The topics of one kind that clients listen to.
    pub(super) fn names(&self, kind: TopicKind) -> Vec<Box<[u8]>> {
        let names = &self.lock()[kind as usize];
        names.iter().filter(|(_, count)| count.clients > 0).map(|(name, _)| name.clone()).collect()
    }

    /// How many topics of one kind clients listen to.
    pub(super) fn topics(&self, kind: TopicKind) -> usize {
        self.lock()[kind as usize].values().filter(|count| count.clients > 0).count()
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, [BTreeMap<Box<[u8]>, Count>; 3]> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
