//! What the clients of one worker listen to: each channel, pattern and shard channel once, with
//! who listens and on which connections it comes in.
//!
//! A topic is asked for at a node once per worker, however many clients listen. Where it is taken
//! from is exact: of two connections on which the same message arrives, only one counts.

use super::core::SessionId;
use super::link::LinkId;
use crate::cluster::Slot;
use slab::Slab;
use std::collections::HashMap;
use std::time::Instant;

/// What is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TopicKind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl TopicKind {
    /// Every one, in order.
    pub(super) const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    /// As a metric's label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Pattern => "pattern",
            Self::Shard => "shard",
        }
    }

    /// The command that begins to listen, which is also the word of its confirmation.
    pub(super) fn subscribe(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::Shard => "ssubscribe",
        }
    }

    /// The command that stops to listen, which is also the word of its confirmation.
    pub(super) fn unsubscribe(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::Shard => "sunsubscribe",
        }
    }
}

/// A topic of one worker. Reused after the topic is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TopicId(pub u32);

/// A client, and which client of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// Its place.
    pub session: SessionId,
    /// Which one of its place.
    pub incarnation: u32,
}

/// A connection that a topic was asked for on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The connection.
    pub link: LinkId,
    /// How far it is.
    pub state: PlaceState,
}

/// How far a topic is on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceState {
    /// The node has not confirmed it.
    Asked,
    /// The node sends what comes to it.
    Active,
    /// The node was asked to stop and has not answered: it may have sent more before.
    Leaving,
}

/// Something that clients listen to.
#[derive(Debug)]
pub(super) struct Topic {
    /// What it is.
    pub kind: TopicKind,
    /// Its name, or the pattern.
    pub name: Box<[u8]>,
    /// Which topic of its place: a confirmation must not reach a later one.
    pub serial: u64,
    /// Whether messages of nodes' own (keyspace notifications) may come to it: those are published
    /// on the node where they happen, and nowhere else.
    pub everywhere: bool,
    /// Who listens.
    pub listeners: Vec<Listener>,
    /// Whose SUBSCRIBE waits for it, and as which request.
    pub waiting: Vec<(Listener, u64)>,
    /// Requests that name it and have not taken effect yet.
    pub pending: usize,
    /// Whether nodes have confirmed it wherever it must be.
    pub settled: bool,
    /// Where it was asked for.
    pub places: Vec<Place>,
    /// The connection whose messages count, of those on which the same ones may come.
    pub source: LinkId,
    /// When it may be asked for again after a node refused.
    pub retry_at: Option<Instant>,
    /// How often nodes refused in a row.
    pub failures: u32,
    /// What was last heard of it.
    pub last: String,
}

impl Topic {
    /// The slot of a shard channel.
    pub(super) fn slot(&self) -> Slot {
        Slot::of(&self.name)
    }

    /// Its place on this connection.
    pub(super) fn place_mut(&mut self, link: LinkId) -> Option<&mut Place> {
        self.places
            .iter_mut()
            .find(|place| place.link == link && place.state != PlaceState::Leaving)
    }

    /// Whether it was asked for on this connection, and not left since.
    pub(super) fn is_at(&self, link: LinkId) -> bool {
        let is_here = |place: &Place| place.link == link && place.state != PlaceState::Leaving;
        self.places.iter().any(is_here)
    }

    /// Whether a node may have sent messages of it on this connection.
    pub(super) fn is_sent_by(&self, link: LinkId) -> bool {
        self.places.iter().any(|place| place.link == link && place.state != PlaceState::Asked)
    }

    /// A node has answered that it does not send it on this connection any more.
    pub(super) fn left(&mut self, link: LinkId) {
        let leaving = |place: &Place| place.link == link && place.state == PlaceState::Leaving;
        if let Some(at) = self.places.iter().position(leaving) {
            self.places.remove(at);
        }
    }

    /// Whether a node has confirmed it on this connection.
    pub(super) fn is_active_at(&self, link: LinkId) -> bool {
        self.places.iter().any(|place| place.link == link && place.state == PlaceState::Active)
    }
}

/// The topics of one worker.
#[derive(Debug, Default)]
pub(super) struct Topics {
    all: Slab<Topic>,
    names: [HashMap<Box<[u8]>, TopicId>; 3],
    serials: u64,
}

impl Topics {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The topic of this name.
    pub(super) fn find(&self, kind: TopicKind, name: &[u8]) -> Option<TopicId> {
        self.names[kind as usize].get(name).copied()
    }

    /// The topic of this name, made if there is none.
    pub(super) fn find_or_add(&mut self, kind: TopicKind, name: &[u8]) -> TopicId {
        if let Some(id) = self.find(kind, name) {
            return id;
        }
        self.serials += 1;
        let id = TopicId(self.all.insert(Topic {
            kind,
            name: name.into(),
            serial: self.serials,
            everywhere: match kind {
                TopicKind::Channel => is_of_nodes(name),
                TopicKind::Pattern => may_match_those_of_nodes(name),
                TopicKind::Shard => false,
            },
            listeners: Vec::new(),
            waiting: Vec::new(),
            pending: 0,
            settled: false,
            places: Vec::new(),
            source: LinkId::NONE,
            retry_at: None,
            failures: 0,
            last: String::new(),
        }) as u32);
        self.names[kind as usize].insert(name.into(), id);
        id
    }

    /// A topic, if it is there.
    pub(super) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.all.get(id.0 as usize)
    }

    /// A topic, if it is there.
    pub(super) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.all.get_mut(id.0 as usize)
    }

    /// The topic that was asked for under this number, if it is still the same.
    pub(super) fn same(&mut self, id: TopicId, serial: u64) -> Option<&mut Topic> {
        self.get_mut(id).filter(|topic| topic.serial == serial)
    }

    /// Forgets a topic.
    pub(super) fn remove(&mut self, id: TopicId) -> Topic {
        let topic = self.all.remove(id.0 as usize);
        self.names[topic.kind as usize].remove(&topic.name);
        topic
    }

    /// Every topic.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        self.all.iter().map(|(index, topic)| (TopicId(index as u32), topic))
    }
}

/// The prefixes of channels on which a node publishes what happens to its own keys.
const OF_NODES: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Whether a node publishes on this channel what happens to its own keys, without telling others.
pub(super) fn is_of_nodes(channel: &[u8]) -> bool {
    OF_NODES.iter().any(|prefix| channel.starts_with(prefix))
}

/// Whether a pattern can match such a channel.
fn may_match_those_of_nodes(pattern: &[u8]) -> bool {
    OF_NODES.iter().any(|prefix| may_match_prefix(pattern, prefix))
}

/// Whether a pattern can match anything that starts with `prefix`. Errs on the side of yes.
fn may_match_prefix(pattern: &[u8], prefix: &[u8]) -> bool {
    let mut at = 0;
    for &wanted in prefix {
        match pattern.get(at) {
            None => return false,
            Some(b'?') => at += 1,
            // A class is not looked into: to be subscribed in vain costs nothing but that.
            Some(b'*' | b'[') => return true,
            Some(b'\\') if at + 1 < pattern.len() => {
                if pattern[at + 1] != wanted {
                    return false;
                }
                at += 2;
            }
            Some(&byte) => {
                if byte != wanted {
                    return false;
                }
                at += 1;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_can_match_what_nodes_say_of_their_own_keys_are_known() {
        for (pattern, expected) in [
            ("*", true),
            ("__key*", true),
            ("__keyspace@0__:*", true),
            ("__keyevent@*__:expired", true),
            ("_?keyspace@*", true),
            ("[_x]_keyevent@0__:del", true),
            ("\\__keyspace@0__:a", true),
            ("_[\\]_]key*", true),
            ("news.*", false),
            ("__keyboard*", false),
            ("__keyspace", false),
            ("", false),
        ] {
            assert_eq!(may_match_those_of_nodes(pattern.as_bytes()), expected, "{pattern}");
        }
        assert!(is_of_nodes(b"__keyspace@0__:a") && !is_of_nodes(b"__keys"));
    }
}
