//! Streams: a log of entries by id, and groups of consumers that read it together.
//!
//! ```text
//! Stream ─┬─ Log ──── nodes by master id: listpacks of entries    stream/{log, node}
//!         └─ groups ─ Group: last id, pending entries, consumers  stream/group
//! ```
//! The two halves are apart, since reading for a group walks the one and changes the other.

mod group;
mod id;
mod lag;
mod log;
mod node;
mod radix;

pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{StreamId, StreamIdBuffer};
pub use log::{Log, LogFigures, StreamRange, Trim, Trimmed};
pub use node::StreamEntry;

use node::Fields;
use std::collections::BTreeMap;

/// Up to which size a node of a stream is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// `stream-node-max-bytes`; 0 is no limit.
    pub node_bytes: usize,
    /// `stream-node-max-entries`; 0 is no limit.
    pub node_entries: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { node_bytes: 4096, node_entries: 100 }
    }
}

/// A stream. It stays when its last entry goes.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Its entries.
    pub log: Log,
    /// Its groups by name.
    pub groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    /// A stream without entries.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A stream of nothing but a group, which was removed: for whoever frees it.
    pub fn of_group(name: Box<[u8]>, group: Group) -> Self {
        Self { log: Log::default(), groups: BTreeMap::from([(name, group)]) }
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// How many nodes the radix tree of Redis would have for these entries: XINFO shows it.
    pub fn radix_nodes(&self) -> usize {
        radix::nodes(self.log.nodes().map(|(master, _)| master))
    }

    /// How many allocations freeing it gives back.
    pub fn free_effort(&self) -> usize {
        self.log.node_count() + self.groups.values().map(Group::free_effort).sum::<usize>()
    }

    /// Bytes on the heap; of a long stream, an estimate from some of its nodes.
    pub fn heap_bytes(&self) -> usize {
        let place = size_of::<(Box<[u8]>, Group)>();
        let groups =
            self.groups.iter().map(|(name, group)| name.len() + place + group.heap_bytes());
        size_of::<Self>() + self.log.heap_bytes() + groups.sum::<usize>()
    }
}

/// A stream that a command changes, with the limits of its database.
#[derive(Debug)]
pub struct StreamMut<'a> {
    stream: &'a mut Stream,
    limits: StreamLimits,
}

impl<'a> StreamMut<'a> {
    pub(crate) fn new(stream: &'a mut Stream, limits: StreamLimits) -> Self {
        Self { stream, limits }
    }

    /// Adds an entry: names and values in turn. Its id is above all others', and it has no more
    /// bytes than [`Log::ENTRY_BYTES_MAX`].
    pub fn append<'f>(&mut self, id: StreamId, len: usize, content: impl Fn(usize) -> &'f [u8]) {
        self.stream.log.append(id, &Fields { len, content }, self.limits);
    }

    /// The limits that hold for it.
    pub fn limits(&self) -> StreamLimits {
        self.limits
    }
}

impl std::ops::Deref for StreamMut<'_> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        self.stream
    }
}

impl std::ops::DerefMut for StreamMut<'_> {
    fn deref_mut(&mut self) -> &mut Stream {
        self.stream
    }
}

#[cfg(test)]
mod tests;
