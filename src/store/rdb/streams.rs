//! Streams: their nodes as they are, what is remembered of entries that have gone, and the groups.
//!
//! ```text
//! nodes │ (master id: 16 bytes as a string │ listpack) … │ entries │ last id
//!       │ first id │ largest deleted id │ entries ever added                     type 19 on
//! groups │ (name │ last id │ entries read (type 19 on)
//!         │ pending │ (id │ time: 8 │ deliveries) …
//!         │ consumers │ (name │ seen: 8 │ active: 8 (type 21) │ pending │ id …) …) …
//! ```
//! Type 19, that of version 10, is written; 15 and 21 are read, too.

use super::error::RdbError;
use super::input::{Input, Read};
use super::kind;
use super::length::put_length;
use super::write_value::ValueWriter;
use crate::store::types::{ConsumerId, Group, Listpack, LogFigures, Pending, Stream, StreamId};
use std::collections::BTreeMap;

/// How far a stream has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamProgress {
    /// Nodes that are done; then one for what is between nodes and groups, then groups.
    parts: usize,
    /// The master id of the last node that is done.
    node: StreamId,
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

impl ValueWriter {
    /// Writes nodes and groups until `out` is `end` bytes long, or all of them. True at the end.
    pub(super) fn stream(
        self,
        out: &mut Vec<u8>,
        stream: &Stream,
        progress: &mut StreamProgress,
        end: usize,
    ) -> bool {
        let (log, nodes) = (&stream.log, stream.log.node_count());
        if progress.parts == 0 {
            put_length(out, nodes as u64);
        }
        if progress.parts < nodes {
            let first = progress.parts == 0;
            let after = (!first).then_some(progress.node);
            for (master, list) in log.nodes_after(after) {
                if out.len() >= end {
                    return false;
                }
                self.string(out, &master.to_bytes());
                self.string(out, list.as_bytes());
                progress.parts += 1;
                progress.node = master;
            }
        }
        if progress.parts == nodes {
            let figures = log.figures();
            put_length(out, figures.len as u64);
            put_id(out, figures.last_id);
            put_id(out, figures.first_id);
            put_id(out, figures.max_deleted_id);
            put_length(out, figures.entries_added);
            put_length(out, stream.groups.len() as u64);
            progress.parts += 1;
        }
        for (name, group) in stream.groups.iter().skip(progress.parts - nodes - 1) {
            if out.len() >= end {
                return false;
            }
            self.group(out, name, group);
            progress.parts += 1;
        }
        true
    }

    fn group(self, out: &mut Vec<u8>, name: &[u8], group: &Group) {
        self.string(out, name);
        put_id(out, group.last_id);
        put_length(out, group.entries_read.unwrap_or(UNKNOWN));
        put_length(out, group.pending_count() as u64);
        for (id, pending) in group.pending_range(StreamId::MIN, StreamId::MAX) {
            out.extend_from_slice(&id.to_bytes());
            out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
            put_length(out, pending.deliveries);
        }
        put_length(out, group.consumer_count() as u64);
        for consumer in group.consumers() {
            self.string(out, consumer.name());
            out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
            put_length(out, consumer.pending().len() as u64);
            consumer.pending().iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
        }
    }
}

/// What stands for a number of read entries that is not known.
const UNKNOWN: u64 = u64::MAX;

/// What comes next.
#[derive(Debug)]
enum Next {
    Count,
    Node { left: u64 },
    Figures,
    Group { left: u64 },
    Pending { left: u64 },
    Consumers,
    Consumer { left: u64 },
    ConsumerPending { left: u64, consumer: ConsumerId, consumers: u64 },
}

/// A stream that is being read.
#[derive(Debug)]
pub(super) struct StreamBuilder {
    kind: u8,
    next: Next,
    stream: Stream,
    groups_left: u64,
    group: Option<(Box<[u8]>, Group)>,
    /// What is pending in the group, and for whom is not known yet: when and how often.
    unclaimed: BTreeMap<StreamId, (i64, u64)>,
}

const CORRUPT: RdbError = RdbError::Corrupt("Stream listpacks integrity check failed.");

fn id(input: &mut Input<'_>) -> Read<StreamId> {
    let (ms, seq) = (input.length()?, input.length()?);
    Ok(StreamId::new(ms, seq))
}

fn check(holds: bool) -> Read<()> {
    if holds { Ok(()) } else { Err(CORRUPT.into()) }
}

impl StreamBuilder {
    pub(super) fn new(kind: u8) -> Self {
        Self {
            kind,
            next: Next::Count,
            stream: Stream::default(),
            groups_left: 0,
            group: None,
            unclaimed: BTreeMap::new(),
        }
    }

    /// Reads on. `whole` is kept at the end of the last part that was taken.
    pub(super) fn read(&mut self, input: &mut Input<'_>, whole: &mut usize) -> Read<Stream> {
        while !self.part(input)? {
            *whole = input.at();
        }
        Ok(std::mem::take(&mut self.stream))
    }

    /// Reads one part. True if it was the last.
    fn part(&mut self, input: &mut Input<'_>) -> Read<bool> {
        self.next = match self.next {
            Next::Count => Next::Node { left: input.length()? },
            Next::Node { left: 0 } => Next::Figures,
            Next::Node { left } => {
                let master = input.string()?;
                let list = input.string()?;
                let master: &[u8; 16] = master[..].try_into().map_err(|_| CORRUPT)?;
                let list = Listpack::parse(&list).ok_or(CORRUPT)?;
                check(self.stream.log.push_node(StreamId::from_bytes(*master), list))?;
                Next::Node { left: left - 1 }
            }
            Next::Figures => {
                let (len, last_id) = (input.length()?, id(input)?);
                let log = &mut self.stream.log;
                let mut figures = LogFigures {
                    len: log.len(),
                    last_id,
                    first_id: log.first_valid_id(),
                    entries_added: len,
                    ..LogFigures::default()
                };
                check(len == log.len() as u64)?;
                if self.kind != kind::STREAM {
                    figures.first_id = id(input)?;
                    figures.max_deleted_id = id(input)?;
                    figures.entries_added = input.length()?;
                }
                self.groups_left = input.length()?;
                check(log.set_figures(figures))?;
                Next::Group { left: self.groups_left }
            }
            Next::Group { left: 0 } => return Ok(true),
            Next::Group { left } => {
                let name = input.string()?.into_owned().into_boxed_slice();
                let last_id = id(input)?;
                let entries_read = match self.kind {
                    kind::STREAM => self.stream.log.entries_up_to(last_id),
                    _ => Some(input.length()?).filter(|read| *read != UNKNOWN),
                };
                let pending = input.length()?;
                check(!self.stream.groups.contains_key(&name))?;
                self.groups_left = left - 1;
                self.group = Some((name, Group::new(last_id, entries_read)));
                Next::Pending { left: pending }
            }
            Next::Pending { left: 0 } => Next::Consumers,
            Next::Pending { left } => {
                let id = StreamId::from_bytes(input.array()?);
                let delivery = (i64::from_le_bytes(input.array()?), input.length()?);
                check(self.unclaimed.insert(id, delivery).is_none())?;
                Next::Pending { left: left - 1 }
            }
            Next::Consumers => Next::Consumer { left: input.length()? },
            Next::Consumer { left: 0 } => {
                // What nobody has would be pending for ever.
                check(self.unclaimed.is_empty())?;
                if let Some((name, group)) = self.group.take() {
                    self.stream.groups.insert(name, group);
                }
                Next::Group { left: self.groups_left }
            }
            Next::Consumer { left } => {
                let name = input.string()?;
                let seen_ms = i64::from_le_bytes(input.array()?);
                let active_ms = match self.kind {
                    kind::STREAM_3 => i64::from_le_bytes(input.array()?),
                    // The best that is known.
                    _ => seen_ms,
                };
                let pending = input.length()?;
                let (_, group) = self.group.as_mut().ok_or(CORRUPT)?;
                let consumer = group.add_consumer(&name, seen_ms).ok_or(CORRUPT)?;
                group.consumer_mut(consumer).active_ms = (active_ms != -1).then_some(active_ms);
                Next::ConsumerPending { left: pending, consumer, consumers: left - 1 }
            }
            Next::ConsumerPending { left: 0, consumers, .. } => Next::Consumer { left: consumers },
            Next::ConsumerPending { left, consumer, consumers } => {
                let id = StreamId::from_bytes(input.array()?);
                let (delivered_ms, deliveries) = self.unclaimed.remove(&id).ok_or(CORRUPT)?;
                let (_, group) = self.group.as_mut().ok_or(CORRUPT)?;
                group.set_pending(id, Pending { consumer, delivered_ms, deliveries });
                Next::ConsumerPending { left: left - 1, consumer, consumers }
            }
        };
        Ok(false)
    }
}
