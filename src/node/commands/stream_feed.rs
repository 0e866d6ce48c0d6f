//! What reading and claiming for a group is to replicas and to the append-only file.
//!
//! Whoever repeats them must give the same entries to the same consumers, at the same time and
//! count: so each goes on as an XCLAIM that says all of it, and how far the group has read as an
//! XGROUP SETID.

use crate::node::call::Ctx;
use crate::store::{Group, Pending, StreamId, StreamIdBuffer};

/// What stands for one command about groups, in order.
pub(super) struct Feed<'a> {
    wanted: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    /// An entry is pending, or no longer: the receiver drops what is not in the stream.
    Claim {
        key: &'a [u8],
        consumer: Box<[u8]>,
        id: StreamId,
        delivered_ms: i64,
        deliveries: u64,
        last_id: StreamId,
    },
    /// How far the group has read.
    Read { key: &'a [u8], last_id: StreamId, entries_read: Option<u64> },
    /// A consumer that nothing else tells of.
    Consumer { key: &'a [u8], name: &'a [u8] },
}

impl<'a> Feed<'a> {
    /// Nothing yet. It stays so while nobody listens.
    pub(super) fn new(ctx: &Ctx<'_>) -> Self {
        Self { wanted: ctx.propagates(), steps: Vec::new() }
    }

    /// An entry is pending for whom `pending` says, or was until it was found deleted.
    pub(super) fn claim(&mut self, key: &'a [u8], group: &Group, id: StreamId, pending: Pending) {
        if self.wanted {
            self.steps.push(Step::Claim {
                key,
                consumer: group.consumer(pending.consumer).name().into(),
                id,
                delivered_ms: pending.delivered_ms,
                deliveries: pending.deliveries,
                last_id: group.last_id,
            });
        }
    }

    /// The group has read further.
    pub(super) fn read(&mut self, key: &'a [u8], group: &Group) {
        if self.wanted {
            let Group { last_id, entries_read, .. } = *group;
            self.steps.push(Step::Read { key, last_id, entries_read });
        }
    }

    /// There is one more consumer.
    pub(super) fn consumer(&mut self, key: &'a [u8], name: &'a [u8]) {
        if self.wanted {
            self.steps.push(Step::Consumer { key, name });
        }
    }

    /// It stands for the command that is running.
    pub(super) fn send(self, ctx: &mut Ctx<'_>, group: &[u8]) {
        ctx.propagate_nothing();
        for step in &self.steps {
            step.send(ctx, group);
        }
    }
}

impl Step<'_> {
    fn send(&self, ctx: &mut Ctx<'_>, group: &[u8]) {
        let (mut id_buffer, mut last_buffer) = <(StreamIdBuffer, StreamIdBuffer)>::default();
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        match self {
            Self::Claim { key, consumer, id, delivered_ms, deliveries, last_id } => {
                ctx.propagate_as(&[
                    b"XCLAIM",
                    key,
                    group,
                    consumer,
                    b"0",
                    id.text(&mut id_buffer),
                    b"TIME",
                    time.format(*delivered_ms).as_bytes(),
                    b"RETRYCOUNT",
                    count.format(*deliveries).as_bytes(),
                    b"FORCE",
                    b"JUSTID",
                    b"LASTID",
                    last_id.text(&mut last_buffer),
                ]);
            }
            Self::Read { key, last_id, entries_read } => {
                let read = entries_read.map_or(-1, |read| read as i64);
                ctx.propagate_as(&[
                    b"XGROUP",
                    b"SETID",
                    key,
                    group,
                    last_id.text(&mut last_buffer),
                    b"ENTRIESREAD",
                    count.format(read).as_bytes(),
                ]);
            }
            Self::Consumer { key, name } => {
                ctx.propagate_as(&[b"XGROUP", b"CREATECONSUMER", key, group, name]);
            }
        }
    }
}
