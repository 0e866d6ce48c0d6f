//! One worker's machine: its clients' sessions, its connections to the nodes, and everything that
//! is decided about a request between the two. No I/O and no clock: the shell hands in bytes,
//! events and the time, and carries out what is listed afterwards.
//!
//! ```text
//!  client bytes ─ received() ─ advance(): decode, route ─▶ Backends ─▶ link bytes
//!  client bytes ◀─ Output ◀─ Pipeline ◀─ answer(): judge, gather ◀─ link_received() ◀─ link bytes
//!                                  ▲                  │
//!                                  └── retry() ◀── later(): wait, re-route
//! ```

mod answers;
mod blocking;
mod clients;
mod configure;
mod confirm;
mod exec;
mod feeds;
mod housekeeping;
mod monitors;
mod order;
mod pins;
mod proxy_commands;
mod publishing;
mod reads;
mod replies;
mod requests;
mod retries;
mod road;
mod slow;
mod subscriptions;
mod surveys;
#[cfg(test)]
mod tests;
mod trackers;
pub(super) mod transactions;
mod waits;
mod watching;

pub use clients::Pause;
pub use housekeeping::TICK;
use requests::Dispatched;
pub(super) use road::Asking;
pub use road::Word;
pub(super) use subscriptions::{Listening, Subscribing};

use super::backends::Backends;
use super::buffer::BufferPool;
use super::link::LinkId;
use super::listeners::Listeners;
use super::losses::Losses;
use super::map::ClusterMap;
use super::metrics::{ClientEnd, LinkEnd, Span, WorkerMetrics};
use super::monitors::Monitors;
use super::options::Options;
use super::replicas::{ReadFrom, ReadTargets};
use super::retry::Loss;
use super::scripts::{Scripts, Shown};
use super::session::Session;
use super::walks;
use crate::cluster::{Endpoint, Slot};
use arc_swap::ArcSwap;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A client of one worker. Reused after the client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

impl SessionId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the workers of a process share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The map.
    pub map: Arc<ClusterMap>,
    /// Clients connected, over all workers.
    pub clients: AtomicUsize,
    /// Clients ever connected: the next one's number.
    pub client_ids: AtomicU64,
    /// Bytes held for clients whose requests wait for a node that would run them.
    pub ride_out_bytes: AtomicUsize,
    /// Scripts that clients have sent.
    pub(super) scripts: Scripts,
    /// Who listens to what.
    pub listeners: Listeners,
    /// Who is shown every command.
    pub monitors: Monitors,
    /// The replicas that may be read from.
    pub reads: ArcSwap<ReadTargets>,
    /// CLIENT PAUSE, while it lasts.
    pub pause: Mutex<Option<Pause>>,
    /// Slow requests so far: the next one's number.
    pub slow_requests: AtomicU64,
}

/// One worker's machine.
#[derive(Debug)]
pub struct Core {
    options: Arc<Options>,
    shared: Arc<Shared>,
    metrics: Arc<WorkerMetrics>,
    all_metrics: Arc<Vec<Arc<WorkerMetrics>>>,
    /// Its number among all workers.
    worker: usize,
    started: Instant,
    sessions: Slab<Session>,
    backends: Backends,
    subscriptions: feeds::Subscriptions,
    /// Clients that are told when keys which they have read change.
    trackers: trackers::Trackers,
    /// Whether any client of the proxy is shown every command.
    monitored: bool,
    /// What is to be shown to them, line by line.
    monitor_lines: Vec<u8>,
    /// What other workers are to be told.
    words: Vec<(usize, Word)>,
    pause: Option<Pause>,
    /// Whether commands that only read may go elsewhere than to the owner of their slot.
    reads_elsewhere: bool,
    /// Replicas that are not asked for now, and until when.
    avoided: BTreeMap<Endpoint, Instant>,
    buffers: BufferPool,
    incarnations: u32,
    /// Sessions with something to write, or to close.
    writable: Vec<SessionId>,
    /// Sessions that may go on with what they have.
    ready: Vec<SessionId>,
    /// When sessions have something to try again.
    timers: BinaryHeap<Reverse<(Instant, SessionId, u32)>>,
    /// Whether the next of them is another since the shell last asked.
    timer_moved: bool,
    /// What this worker has added to [`Shared::ride_out_bytes`].
    ride_out_bytes: usize,
    last_suspicion: Instant,
    losses: Losses,
    draining: bool,
    scratch: Scratch,
    span: Span,
    slow: slow::SlowLog,
    outside: Outside,
}

/// What only a shell can know, and an answer may need.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    /// Microseconds since the Unix epoch.
    pub unix_us: fn() -> u64,
    /// A number that nobody can guess.
    pub random: fn() -> u64,
    /// What the process uses.
    pub figures: fn() -> Figures,
}

/// What the process uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most of it so far, in bytes.
    pub peak: u64,
    /// Processor time in the kernel.
    pub cpu_system: Duration,
    /// Processor time of the program's own.
    pub cpu_user: Duration,
}

/// Memory that is used again instead of allocated.
#[derive(Debug, Default)]
struct Scratch {
    shown: Shown,
    keys: Vec<(Slot, u32)>,
    reply: Vec<u8>,
}

impl Core {
    /// A worker without clients. `all_metrics` are those of every worker; `worker` is this one.
    pub fn new(
        options: Arc<Options>,
        shared: Arc<Shared>,
        worker: usize,
        all_metrics: Arc<Vec<Arc<WorkerMetrics>>>,
        outside: Outside,
        now: Instant,
    ) -> Self {
        let metrics = all_metrics[worker].clone();
        let reads_elsewhere = options.read_from != ReadFrom::Primary;
        shared.map.changes().tick(walks::unit((outside.unix_us)()));
        let backends = Backends::new(options.clone(), shared.map.clone(), metrics.clone());
        let slow = slow::SlowLog::new(options.slow_after);
        Self {
            options,
            shared,
            metrics,
            all_metrics,
            worker,
            started: now,
            sessions: Slab::new(),
            backends,
            subscriptions: feeds::Subscriptions::default(),
            trackers: trackers::Trackers::default(),
            monitored: false,
            monitor_lines: Vec::new(),
            words: Vec::new(),
            pause: None,
            reads_elsewhere,
            avoided: BTreeMap::new(),
            buffers: BufferPool::default(),
            incarnations: 0,
            writable: Vec::new(),
            ready: Vec::new(),
            timers: BinaryHeap::new(),
            timer_moved: false,
            ride_out_bytes: 0,
            last_suspicion: now,
            losses: Losses::default(),
            draining: false,
            span: Span::at(now),
            slow,
            scratch: Scratch::default(),
            outside,
        }
    }

    // ---- clients -------------------------------------------------------------------------

    /// A client has connected.
    pub fn accept(&mut self, peer: SocketAddr, local: SocketAddr, now: Instant) -> SessionId {
        self.incarnations = self.incarnations.wrapping_add(1);
        let id = self.shared.client_ids.fetch_add(1, Ordering::Relaxed) + 1;
        let needs_auth = self.options.password.is_some();
        let mut session = Session::new(self.incarnations, id, peer, local, needs_auth, now);
        session.client.paused = self.pause.is_some();
        session.client.monitored = self.monitored;
        session.regate();
        self.metrics.clients.add(1);
        self.metrics.clients_total.add(1);
        SessionId(self.sessions.insert(session) as u32)
    }

    /// A client that was counted as connected was gone before it could be served.
    pub fn never_came(&mut self) {
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Where to read a client's bytes into; none while it is not to be read from.
    #[inline]
    pub fn read_buffer(&mut self, id: SessionId) -> Option<&mut Vec<u8>> {
        let rides_full = self.rides_full();
        let session = &mut self.sessions[id.index()];
        if !session.wants_read(&self.options) || (session.unsettled > 0 && rides_full) {
            return None;
        }
        let wanted = session.decoder.bytes_wanted();
        Some(session.input.buffer(wanted, &mut self.buffers))
    }

    /// Nothing was read: an idle client keeps no buffer.
    #[inline]
    pub fn nothing_read(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index()];
        if session.pipeline.is_empty() && session.undispatched == 0 {
            session.input.release_decoded(&mut self.buffers);
        }
    }

    /// `count` bytes were read from a client.
    #[inline]
    pub fn received(&mut self, id: SessionId, count: usize, now: Instant) {
        self.metrics.client_read_bytes.add(count as u64);
        self.backends.sync();
        let session = &mut self.sessions[id.index()];
        session.client.active = now;
        let had_all = session.pipeline.is_empty();
        self.advance(id, now);
        let session = &mut self.sessions[id.index()];
        let several = had_all && session.pipeline.len() > 1;
        session.burst_end = if several { session.pipeline.next_seq() } else { 0 };
        if let Some(spec) = session.pipeline.newest() {
            session.client.last = Some(spec);
        }
        self.go_on(now);
    }

    /// A client has said that nothing more comes.
    pub fn ended(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index()];
        session.ended = true;
        if session.is_blocked() {
            // Who waits for something and has closed its end will not be there to take it.
            session.dead = Some(ClientEnd::Client);
        }
        self.list_writable(id);
    }

    /// What goes out to a client next.
    #[inline]
    pub fn output(&self, id: SessionId) -> &[u8] {
        self.sessions[id.index()].output.next_slice()
    }

    /// `count` bytes of [`Core::output`] were written.
    #[inline]
    pub fn wrote(&mut self, id: SessionId, count: usize, now: Instant) {
        self.metrics.client_written_bytes.add(count as u64);
        let session = &mut self.sessions[id.index()];
        session.output.consume(count, &mut self.buffers);
        if session.is_held_back() && session.output.is_empty() {
            self.advance(id, now);
        }
    }

    /// Whether a client's connection is to be closed now.
    #[inline]
    pub fn is_finished(&self, id: SessionId) -> bool {
        self.sessions[id.index()].is_finished()
    }

    /// A client's connection is gone.
    pub fn forget(&mut self, id: SessionId, now: Instant) {
        self.end_pins(id, now);
        self.forget_subscriptions(id);
        self.stop_monitoring(id);
        let session = self.sessions.remove(id.index());
        self.end_tracker(id, now);
        let end = session.dead.or(session.closing).unwrap_or(ClientEnd::Client);
        self.metrics.clients.sub(1);
        self.metrics.clients_ended[end as usize].add(1);
        self.metrics.inflight.sub(session.pipeline.len() as u64);
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next client that has something to be written, or is to be closed.
    #[inline]
    pub fn next_writable(&mut self) -> Option<SessionId> {
        while let Some(id) = self.writable.pop() {
            // It may be gone: then its place is empty, or another's.
            if let Some(session) = self.sessions.get_mut(id.index())
                && session.listed_for_write
            {
                session.listed_for_write = false;
                return Some(id);
            }
        }
        None
    }

    /// Whether [`Core::next_writable`] has anybody.
    #[inline]
    pub fn has_writable(&self) -> bool {
        !self.writable.is_empty()
    }

    /// Whether what is there for a client can wait a moment for more.
    #[inline]
    pub fn can_wait_for_more(&self, id: SessionId) -> bool {
        self.sessions.get(id.index()).is_some_and(Session::can_wait_for_more)
    }

    /// A client has something to be written, or is to be closed.
    pub fn list_writable(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id.index()) else { return };
        if !std::mem::replace(&mut session.listed_for_write, true) {
            self.writable.push(id);
        }
    }

    // ---- connections to nodes ------------------------------------------------------------

    /// The next connection that the shell must make.
    #[inline]
    pub fn next_open(&mut self) -> Option<LinkId> {
        self.backends.opens.pop()
    }

    /// The next connection that has something to be written, or is over.
    #[inline]
    pub fn next_dirty_link(&mut self) -> Option<LinkId> {
        while let Some(id) = self.backends.dirty.pop() {
            if let Some(link) = self.backends.link(id) {
                link.listed = false;
                return Some(id);
            }
        }
        None
    }

    /// A connection, while the shell has its socket.
    #[inline]
    pub fn link(&mut self, id: LinkId) -> &mut super::link::Link {
        self.backends.link(id).expect("the shell frees a link last")
    }

    /// The socket of a connection is connected.
    pub fn link_connected(&mut self, id: LinkId, now: Instant) {
        let link = self.link(id);
        link.connected(now);
        link.metrics.connections.add(1);
    }

    /// `count` bytes were read from a node.
    #[inline]
    pub fn link_received(&mut self, id: LinkId, now: Instant) {
        self.backends.sync();
        if self.link(id).subscriber {
            self.subscriber_frames(id, now);
        } else {
            self.answers(id, now);
        }
        self.go_on(now);
    }

    /// A connection could not be made, broke or was closed by the node.
    pub fn link_lost(&mut self, id: LinkId, end: LinkEnd, why: &str, now: Instant) {
        if !self.link(id).is_closed() {
            self.backends.sync();
            self.lose(id, Loss::Broken, end, why, now);
            self.go_on(now);
        }
    }

    /// The shell has let go of a connection that is over. `was_connected` as
    /// [`Core::link_connected`] was told.
    pub fn link_freed(&mut self, id: LinkId, was_connected: bool) {
        if was_connected {
            self.link(id).metrics.connections.sub(1);
        }
        self.backends.free(id);
    }

    /// Bytes moved to or from a node.
    #[inline]
    pub fn count_link_bytes(&mut self, id: LinkId, read: usize, written: usize) {
        let Some(link) = self.backends.link(id) else { return };
        link.metrics.read_bytes.add(read as u64);
        link.metrics.written_bytes.add(written as u64);
    }

    // ---- going on ------------------------------------------------------------------------

    /// Lets every session go on that something has happened to.
    fn go_on(&mut self, now: Instant) {
        if !self.subscriptions.topics.is_empty() {
            self.keep_subscriptions(now);
        }
        if !self.trackers.is_empty() {
            self.keep_trackers(now);
        }
        while let Some(id) = self.ready.pop() {
            let Some(session) = self.sessions.get_mut(id.index()) else { continue };
            if std::mem::replace(&mut session.listed_to_advance, false) {
                self.advance(id, now);
            }
        }
        if !self.monitor_lines.is_empty() {
            self.pass_on_to_monitors();
        }
    }

    /// Whether what waits for nodes has reached its limit.
    fn rides_full(&self) -> bool {
        self.shared.ride_out_bytes.load(Ordering::Relaxed) > self.options.ride_out_bytes
    }
}
