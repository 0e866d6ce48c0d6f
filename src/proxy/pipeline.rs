//! One client's requests under way, and its replies in their order.
//!
//! Requests leave for many nodes and replies come back in any order; the client sees the order in
//! which it asked. A reply that is not next is held in an arena beside the entries, so that holding
//! it allocates nothing.

use super::buffer::{BufferPool, Output};
use super::core::{Asking, Subscribing};
use super::gather::Gather;
use super::input::Input;
use super::link::LinkId;
use crate::cluster::{Endpoint, Slot};
use crate::command::Spec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// One request under way.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its bytes lie in the session's input, unless `work` has them.
    pub frame_at: u64,
    /// How many bytes of the input it used.
    pub frame_len: u32,
    /// The slot that it is routed by; none for a request in parts.
    pub slot: Option<Slot>,
    /// Whether that is the slot of its keys: without keys, any shard's will do.
    pub keyed: bool,
    /// The connection it waits on, while it is in flight.
    pub link: LinkId,
    /// What it is.
    pub spec: &'static Spec,
    /// Where it stands.
    pub state: State,
    /// Redirects it has followed in a row.
    pub hops: u8,
    /// How often it was lost to a silent node.
    pub silences: u8,
    /// A node has said that it was not run, and no other answer has come since.
    pub unsettled: bool,
    /// CLIENT REPLY: the client does not want the answer.
    pub unanswered: bool,
    /// The map's generation when it was sent.
    pub generation: u64,
    /// When its last byte was read.
    pub received: Instant,
    /// What only some requests need.
    pub work: Option<Box<Work>>,
}

impl Entry {
    /// A request of `frame_len` bytes that lies at `frame_at` of the session's input and is on its
    /// way to no node yet.
    pub(super) fn new(frame_at: u64, frame_len: usize, spec: &'static Spec, now: Instant) -> Self {
        Self {
            frame_at,
            frame_len: frame_len as u32,
            slot: None,
            keyed: false,
            link: LinkId::NONE,
            spec,
            state: State::InFlight,
            hops: 0,
            silences: 0,
            unsettled: false,
            unanswered: false,
            generation: 0,
            received: now,
            work: None,
        }
    }

    /// Its bytes, as a multibulk.
    pub(super) fn frame<'a>(&'a self, input: &'a Input) -> &'a [u8] {
        match self.work.as_ref().and_then(|work| work.frame.as_ref()) {
            Some(frame) => frame,
            None => input.slice(self.frame_at, self.frame_len),
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Sent; its reply is expected on a link.
    InFlight,
    /// Not run; it is sent (again) when its time comes.
    Waiting,
    /// Its parts are under way.
    Gathering,
    /// It begins or ends subscriptions, and waits for nodes or for those before it.
    Subscribing,
    /// Other workers are asked.
    Asking,
    /// Its reply is in the arena.
    Held {
        /// First byte.
        at: u32,
        /// Bytes.
        len: u32,
    },
    /// Its reply is in `work`.
    HeldApart,
}

/// What a request needs once it is not one frame for one node, or did not run at once.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Its frame, where the input does not hold it (inline commands, rewritten ones).
    pub frame: Option<Box<[u8]>>,
    /// Its tries.
    pub retry: Retry,
    /// The script that it names by its digest, and that goes before it from now on.
    pub script: Option<Arc<[u8]>>,
    /// A reply too large for the arena, or one that waits to be confirmed.
    pub reply: Vec<u8>,
    /// Its parts.
    pub gather: Option<Gather>,
    /// The subscriptions that it begins or ends.
    pub subscribing: Option<Box<Subscribing>>,
    /// CLIENT CACHING goes before it.
    pub caching: Option<bool>,
    /// What is said out of turn, but not before its parts have made its reply.
    pub pushes: Vec<u8>,
    /// The question that other workers are asked.
    pub asking: Option<Box<Asking>>,
}

/// The tries of a request, or of a part of one, that has not run.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// When it was first known not to have run.
    pub since: Option<Instant>,
    /// When it may go out again.
    pub due: Option<Instant>,
    /// How often it was tried.
    pub failures: u32,
    /// The node that a redirect named, for the next try alone.
    pub target: Option<Target>,
    /// What was last heard of it.
    pub last: String,
    /// It is a script whose redirect the node has still to confirm.
    pub confirming: Option<Box<Confirming>>,
}

/// Who is asked whether it has redirected a script.
#[derive(Debug)]
pub(super) struct Confirming {
    /// The connection on which the redirect came.
    pub link: LinkId,
    /// The node at its other end.
    pub node: Endpoint,
    /// It could not tell when it was asked first.
    pub again: bool,
}

/// The node that a redirect named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whether ASKING goes before the command.
    pub asking: bool,
}

/// Replies above this many bytes are held on their own, not in the arena.
const ARENA_REPLY_MAX: usize = 32 * 1024;

/// The requests under way of one client, in order.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    entries: VecDeque<Entry>,
    /// The sequence number of the first entry.
    head: u64,
    arena: Vec<u8>,
    /// Bytes of the arena that are still needed.
    arena_live: usize,
    /// Bytes of all held replies.
    held_bytes: usize,
}

impl Pipeline {
    /// How many requests are under way.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of replies that wait for an earlier one.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The sequence number of the oldest request, or of the next one if there is none.
    #[inline]
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The sequence number that [`Pipeline::push`] gives next.
    #[inline]
    pub(super) fn next_seq(&self) -> u64 {
        self.head + self.entries.len() as u64
    }

    /// Adds a request at the end.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        let seq = self.next_seq();
        self.entries.push_back(entry);
        seq
    }

    /// What the newest request under way is.
    #[inline]
    pub(super) fn newest(&self) -> Option<&'static Spec> {
        self.entries.back().map(|entry| entry.spec)
    }

    /// The request with this sequence number, if it is still under way.
    #[inline]
    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = seq.checked_sub(self.head)?;
        self.entries.get_mut(index as usize)
    }

    /// The same, to look at.
    pub(super) fn get(&self, seq: u64) -> Option<&Entry> {
        let index = seq.checked_sub(self.head)?;
        self.entries.get(index as usize)
    }

    /// Every request with its sequence number, oldest first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Entry)> {
        let head = self.head;
        self.entries.iter_mut().enumerate().map(move |(i, entry)| (head + i as u64, entry))
    }

    /// Every request, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The answer to request `seq` is there: it goes out if it is next, with whatever was held
    /// behind it, or is held. Gives where the input's bytes are no longer needed, if that moved.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        seq: u64,
        reply: &[u8],
        output: &mut Output,
        pool: &mut BufferPool,
    ) -> Option<u64> {
        if seq == self.head {
            let entry = self.entries.pop_front().expect("the head is under way");
            self.head += 1;
            if !entry.unanswered {
                output.append(reply, pool);
            }
            let mut released = entry.frame_at + u64::from(entry.frame_len);
            if !self.entries.is_empty()
                && let Some(further) = self.deliver_held(output, pool)
            {
                released = further;
            }
            Some(released)
        } else {
            self.hold(seq, reply);
            None
        }
    }

    fn deliver_held(&mut self, output: &mut Output, pool: &mut BufferPool) -> Option<u64> {
        let mut released = None;
        while let Some(entry) = self.entries.front_mut() {
            match entry.state {
                State::Held { at, len } => {
                    let (at, len) = (at as usize, len as usize);
                    if !entry.unanswered {
                        output.append(&self.arena[at..at + len], pool);
                    }
                    self.arena_live -= len;
                    self.held_bytes -= len;
                }
                State::HeldApart => {
                    let work = entry.work.as_mut().expect("a reply held apart is in its work");
                    let reply = std::mem::take(&mut work.reply);
                    self.held_bytes -= reply.len();
                    if !entry.unanswered {
                        output.append_owned(reply, pool);
                    }
                }
                State::InFlight
                | State::Waiting
                | State::Gathering
                | State::Subscribing
                | State::Asking => break,
            }
            released = Some(entry.frame_at + u64::from(entry.frame_len));
            self.entries.pop_front();
            self.head += 1;
        }
        if self.arena_live == 0 {
            self.arena.clear();
            self.arena.shrink_to(ARENA_KEPT);
        }
        released
    }

    /// Puts something that is said out of turn behind the newest reply that is held, or is being
    /// gathered. False if there is none.
    pub(super) fn attach(&mut self, push: &[u8]) -> bool {
        let holds = |entry: &Entry| match (entry.state, &entry.work) {
            (State::Held { .. } | State::HeldApart, _) => !entry.unanswered,
            (State::Gathering, Some(work)) => {
                work.gather.as_ref().is_some_and(|gather| gather.pending < gather.parts.len())
            }
            _ => false,
        };
        let Some(at) = self.entries.iter().rposition(holds) else { return false };
        let entry = &mut self.entries[at];
        let work = entry.work.get_or_insert_default();
        match entry.state {
            State::Gathering => {
                work.pushes.extend_from_slice(push);
                return true;
            }
            State::Held { at, len } => {
                let (at, len) = (at as usize, len as usize);
                work.reply = self.arena[at..at + len].to_vec();
                self.arena_live -= len;
                entry.state = State::HeldApart;
            }
            _ => {}
        }
        work.reply.extend_from_slice(push);
        self.held_bytes += push.len();
        true
    }

    /// Gives back what a burst needed: for a client that has been idle for a while.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.arena = Vec::new();
            self.entries.shrink_to(ENTRIES_KEPT);
        }
    }

    fn hold(&mut self, seq: u64, reply: &[u8]) {
        self.held_bytes += reply.len();
        if reply.len() > ARENA_REPLY_MAX {
            let entry = self.get_mut(seq).expect("an answered request is under way");
            entry.work.get_or_insert_default().reply = reply.to_vec();
            entry.state = State::HeldApart;
            return;
        }
        self.compact_arena();
        let at = self.arena.len() as u32;
        self.arena.extend_from_slice(reply);
        self.arena_live += reply.len();
        let entry = self.get_mut(seq).expect("an answered request is under way");
        entry.state = State::Held { at, len: reply.len() as u32 };
    }

    /// Keeps the arena below twice what is held in it (and 64 KiB), however long the pipeline runs
    /// without ever being empty.
    fn compact_arena(&mut self) {
        if self.arena.len() < 64 * 1024 || self.arena_live * 2 > self.arena.len() {
            return;
        }
        let mut compacted = Vec::with_capacity(self.arena_live * 2);
        for entry in &mut self.entries {
            if let State::Held { at, len } = &mut entry.state {
                let from = *at as usize;
                *at = compacted.len() as u32;
                compacted.extend_from_slice(&self.arena[from..from + *len as usize]);
            }
        }
        self.arena = compacted;
    }
}

/// What an active client keeps of its arena.
const ARENA_KEPT: usize = 16 * 1024;

/// Places for entries that an idle client keeps.
const ENTRIES_KEPT: usize = 4;
