//! Consumer groups: how far a group has read, and what it was given and has not acknowledged.
//!
//! What is pending is held once, by id, with the number of the consumer that has it; each consumer
//! keeps the ids of its own. Consumers are numbered, so that what is pending does not repeat their
//! names.

use super::id::StreamId;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The number of a consumer in its group: valid until that consumer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Who has it.
    pub consumer: ConsumerId,
    /// When it was last delivered, in milliseconds since the Unix epoch.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for anything, in milliseconds since the Unix epoch.
    pub seen_ms: i64,
    /// When it last got anything, if it ever did.
    pub active_ms: Option<i64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// What it is called.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The ids that it was given and has not acknowledged, in order.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last id that was delivered to anyone in it.
    pub last_id: StreamId,
    /// How many entries were read up to there, where that is known.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: Slab<Consumer>,
    /// The consumers in the order of their names.
    by_name: Vec<ConsumerId>,
}

impl Group {
    /// A group without consumers.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            pending: BTreeMap::new(),
            consumers: Slab::new(),
            by_name: Vec::new(),
        }
    }

    /// How many consumers it has.
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// Its consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.iter().map(|&id| self.consumer(id))
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&id| (*self.consumer(id).name).cmp(name))
    }

    /// The consumer of this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.place(name).ok().map(|place| self.by_name[place])
    }

    /// A consumer.
    ///
    /// # Panics
    /// It has been removed.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        &self.consumers[id.0 as usize]
    }

    /// A consumer, to be changed.
    ///
    /// # Panics
    /// It has been removed.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        &mut self.consumers[id.0 as usize]
    }

    /// Adds a consumer, seen at this time; none if there is one of this name.
    pub fn add_consumer(&mut self, name: &[u8], seen_ms: i64) -> Option<ConsumerId> {
        let place = self.place(name).err()?;
        let consumer =
            Consumer { name: name.into(), seen_ms, active_ms: None, pending: BTreeSet::new() };
        let id = u32::try_from(self.consumers.insert(consumer));
        let id = ConsumerId(id.expect("a group's consumers, with names, fill memory before that"));
        self.by_name.insert(place, id);
        Some(id)
    }

    /// Removes a consumer and what is pending for it: how much that was, and a group that holds
    /// what takes long to free.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<(usize, Self)> {
        let place = self.place(name).ok()?;
        let id = self.by_name.remove(place);
        let consumer = self.consumers.remove(id.0 as usize);
        let pending = consumer.pending.len();
        let mut gone = Self::new(self.last_id, None);
        if pending == self.pending.len() {
            gone.pending = std::mem::take(&mut self.pending);
        } else {
            for id in &consumer.pending {
                self.pending.remove(id);
            }
        }
        gone.consumers.insert(consumer);
        Some((pending, gone))
    }

    /// How many entries are pending.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// What is pending from one id to another, both included.
    pub fn pending_range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Pending)> {
        // A tree refuses a range whose end is before its start.
        let end = if from <= to { Bound::Included(to) } else { Bound::Excluded(from) };
        let range = self.pending.range((Bound::Included(from), end));
        range.map(|(id, pending)| (*id, pending))
    }

    /// The same of one consumer.
    pub fn pending_of(
        &self,
        consumer: ConsumerId,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = (StreamId, &Pending)> {
        let end = if from <= to { Bound::Included(to) } else { Bound::Excluded(from) };
        let ids = self.consumer(consumer).pending.range((Bound::Included(from), end));
        ids.filter_map(|&id| Some((id, self.pending.get(&id)?)))
    }

    /// What is pending of this id.
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// The first pending entry after an id.
    pub fn pending_after(&self, id: StreamId) -> Option<StreamId> {
        let after = (Bound::Excluded(id), Bound::Unbounded);
        self.pending.range(after).next().map(|(id, _)| *id)
    }

    /// Makes an entry pending, whoever had it before.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        let old = self.pending.insert(id, pending);
        if old.is_some_and(|old| old.consumer == pending.consumer) {
            return;
        }
        if let Some(old) = old {
            self.consumer_mut(old.consumer).pending.remove(&id);
        }
        self.consumer_mut(pending.consumer).pending.insert(id);
    }

    /// One more delivery to the consumer that has it.
    pub fn deliver_again(&mut self, id: StreamId, now_ms: i64) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.delivered_ms = now_ms;
            pending.deliveries = pending.deliveries.wrapping_add(1);
        }
    }

    /// An entry is no longer pending: what it was, if it was.
    pub fn acknowledge(&mut self, id: StreamId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.consumer_mut(pending.consumer).pending.remove(&id);
        Some(pending)
    }

    /// About how many allocations freeing it gives back.
    pub(super) fn free_effort(&self) -> usize {
        const A_NODE_OF_A_TREE: usize = 8;
        1 + self.pending.len() / A_NODE_OF_A_TREE * 2 + self.consumers.len()
    }

    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        let tree = |entries: usize, bytes: usize| entries * (bytes + bytes / 2);
        let id = size_of::<StreamId>();
        let consumers: usize = self.consumers.iter().map(|(_, consumer)| consumer.name.len()).sum();
        tree(self.pending.len(), id + size_of::<Pending>())
            + tree(self.pending.len(), id)
            + self.consumers.capacity() * (size_of::<Consumer>() + size_of::<usize>())
            + self.by_name.capacity() * size_of::<ConsumerId>()
            + consumers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> StreamId {
        StreamId::new(number, 0)
    }

    fn pending(consumer: ConsumerId) -> Pending {
        Pending { consumer, delivered_ms: 7, deliveries: 1 }
    }

    #[test]
    fn a_pending_entry_has_one_owner() {
        let mut group = Group::new(StreamId::MIN, Some(0));
        let (b, a) = (group.add_consumer(b"b", 1).unwrap(), group.add_consumer(b"a", 1).unwrap());
        assert_eq!(group.add_consumer(b"a", 1), None);
        assert_eq!(group.consumers().map(Consumer::name).collect::<Vec<_>>(), [b"a", b"b"]);
        (1..=3).for_each(|number| group.set_pending(id(number), pending(a)));
        group.set_pending(id(2), pending(b));
        group.set_pending(id(2), pending(b));
        assert_eq!(Vec::from_iter(group.consumer(a).pending()), [&id(1), &id(3)]);
        assert_eq!(Vec::from_iter(group.consumer(b).pending()), [&id(2)]);
        assert_eq!(group.acknowledge(id(3)).map(|pending| pending.consumer), Some(a));
        assert_eq!(group.acknowledge(id(3)), None);
        assert_eq!(group.remove_consumer(b"a").map(|(pending, _)| pending), Some(1));
        assert!(group.remove_consumer(b"a").is_none());
        assert_eq!(group.pending_count(), 1);
        assert_eq!(group.pending_after(StreamId::MIN), Some(id(2)));
        let again = group.add_consumer(b"c", 1).unwrap();
        assert_eq!(group.find_consumer(b"c"), Some(again));
        assert_eq!(group.find_consumer(b"b"), Some(b));
    }

    #[test]
    fn the_only_one_with_pending_entries_leaves_with_all_of_them() {
        let mut group = Group::new(StreamId::MIN, Some(0));
        let (a, _) = (group.add_consumer(b"a", 1).unwrap(), group.add_consumer(b"b", 1).unwrap());
        (1..=1000).for_each(|number| group.set_pending(id(number), pending(a)));
        let (removed, gone) = group.remove_consumer(b"a").expect("it was there");
        assert_eq!((removed, group.pending_count(), group.consumer_count()), (1000, 0, 1));
        assert!(gone.free_effort() > crate::store::garbage::FREE_INLINE_MAX);
    }
}
