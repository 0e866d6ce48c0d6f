//! What one worker counts. Only that worker writes these cells, so counting is a load and a store;
//! whoever is asked for the figures sums them over the workers.

use crate::cluster::Endpoint;
use crate::command::{Class, Spec, all};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Cell64(AtomicU64);

impl Cell64 {
    /// One.
    fn one() -> Self {
        Self(AtomicU64::new(1))
    }

    /// Adds. Only the writer may call this: it is no locked instruction.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes away. Only the writer may call this.
    #[inline]
    pub fn sub(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    /// Replaces it. Only the writer may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$v_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$v_doc])* $variant,)* }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As a label's value.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

labels! {
    /// How a request ended.
    Outcome {
        /// With a reply.
        Ok = "ok",
        /// With an error of a node.
        ServerError = "server_error",
        /// With an error of the proxy.
        ProxyError = "proxy_error",
        /// Without anyone knowing whether it ran.
        InDoubt = "indoubt",
    }
}

labels! {
    /// What a node said instead of running a command.
    Redirect {
        /// MOVED.
        Moved = "moved",
        /// ASK.
        Ask = "ask",
        /// TRYAGAIN.
        TryAgain = "tryagain",
        /// CLUSTERDOWN.
        ClusterDown = "clusterdown",
        /// LOADING.
        Loading = "loading",
        /// MASTERDOWN.
        MasterDown = "masterdown",
        /// READONLY.
        ReadOnly = "readonly",
    }
}

labels! {
    /// Why a client's connection ended.
    ClientEnd {
        /// The client closed it, or said QUIT.
        Client = "client",
        /// It breached the protocol.
        Protocol = "protocol",
        /// It did not read its replies.
        OutputLimit = "output-limit",
        /// It was idle.
        Idle = "idle",
        /// It did not authenticate, or did not finish a request, in time.
        Timeout = "timeout",
        /// CLIENT KILL.
        Killed = "killed",
        /// The proxy stopped.
        Drain = "drain",
        /// There were too many.
        MaxClients = "max-clients",
    }
}

labels! {
    /// Why a connection to a node ended.
    LinkEnd {
        /// It could not be made.
        Connect = "connect",
        /// The node closed it, or it broke.
        Lost = "lost",
        /// The node was silent for too long.
        Timeout = "timeout",
        /// The node sent what it should not.
        Desync = "desync",
        /// The handshake was refused.
        Handshake = "handshake",
        /// It was not needed any more.
        Retired = "retired",
    }
}

labels! {
    /// How a wait for a node that would run a command ended.
    RideOut {
        /// The command was run.
        Drained = "drained",
        /// The time was over.
        Timeout = "timeout",
    }
}

/// The upper bounds of the latency histograms, in microseconds.
pub const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Cell64; BOUNDS_US.len() + 1],
    sum_us: Cell64,
}

/// How long something took, and the bucket that it belongs in.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    us: u64,
    bucket: usize,
}

impl Took {
    /// In microseconds.
    #[inline]
    pub(super) fn micros(self) -> u64 {
        self.us
    }
}

impl From<Duration> for Took {
    #[inline]
    fn from(took: Duration) -> Self {
        let us = took.as_micros() as u64;
        // Nearly all are in the first few buckets.
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && us > BOUNDS_US[bucket] {
            bucket += 1;
        }
        Self { us, bucket }
    }
}

/// Times between a moment and now. The requests of a batch came at one moment and are answered at one
/// moment, and the difference is worked out once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    from: Instant,
    to: Instant,
    took: Took,
}

impl Span {
    /// No time at all.
    pub(super) fn at(now: Instant) -> Self {
        Self { from: now, to: now, took: Duration::ZERO.into() }
    }

    /// The time between the two.
    #[inline]
    pub(super) fn between(&mut self, from: Instant, to: Instant) -> Took {
        if from != self.from || to != self.to {
            *self = Self { from, to, took: to.saturating_duration_since(from).into() };
        }
        self.took
    }
}

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn observe(&self, took: impl Into<Took>) {
        let took = took.into();
        self.buckets[took.bucket].add(1);
        self.sum_us.add(took.us);
    }

    /// How many were in each bucket; the last has no upper bound.
    pub fn buckets(&self) -> [u64; BOUNDS_US.len() + 1] {
        std::array::from_fn(|i| self.buckets[i].get())
    }

    /// Their sum, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// Durations of several workers together.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    buckets: [u64; BOUNDS_US.len() + 1],
    /// Their sum, in microseconds.
    pub sum_us: u64,
}

impl Latency {
    /// With those of one more histogram.
    #[must_use]
    pub fn with(mut self, histogram: &Histogram) -> Self {
        for (sum, count) in self.buckets.iter_mut().zip(histogram.buckets()) {
            *sum += count;
        }
        self.sum_us += histogram.sum_us();
        self
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The bound, in microseconds, that `percentile` percent of all do not exceed.
    pub fn at_percentile(&self, percentile: f64) -> u64 {
        let wanted = ((self.count() as f64 * percentile / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        for (count, bound) in self.buckets.iter().zip(BOUNDS_US) {
            seen += count;
            if seen >= wanted {
                return bound;
            }
        }
        BOUNDS_US[BOUNDS_US.len() - 1]
    }

    /// For each bound that adds something, in microseconds: how many did not exceed it.
    pub fn steps(&self) -> Vec<(u64, u64)> {
        let mut seen = 0;
        let bounds = BOUNDS_US.into_iter().chain([u64::from(u32::MAX)]);
        let steps = self.buckets.iter().zip(bounds).filter(|(count, _)| **count > 0);
        steps
            .map(|(count, bound)| {
                seen += count;
                (bound, seen)
            })
            .collect()
    }
}

/// What one worker counts of one command.
#[derive(Debug, Default)]
pub struct CommandMetrics {
    /// Requests by [`Outcome`].
    pub outcomes: [Cell64; Outcome::ALL.len()],
    /// From the last byte of a request read to its reply in the client's output.
    pub duration: Histogram,
}

#[derive(Debug)]
struct PerCommand(Box<[CommandMetrics]>);

impl Default for PerCommand {
    fn default() -> Self {
        Self(all().iter().map(|_| CommandMetrics::default()).collect())
    }
}

/// How many error codes are told apart.
const ERROR_CODES_MAX: usize = 128;

/// The cells of one worker.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Clients connected.
    pub clients: Cell64,
    /// Clients accepted.
    pub clients_total: Cell64,
    /// Clients gone, by [`ClientEnd`].
    pub clients_ended: [Cell64; ClientEnd::ALL.len()],
    /// What is counted of each command, by its place in the table.
    commands: PerCommand,
    /// Error replies by their code, of at most [`ERROR_CODES_MAX`] codes.
    errors: Mutex<BTreeMap<Box<str>, u64>>,
    /// From a request's frame queued for a node to its reply read.
    pub backend_duration: Histogram,
    /// Commands that are not known or not available.
    pub unsupported: Cell64,
    /// Messages delivered to subscribers.
    pub messages: Cell64,
    /// AUTH and HELLO refused.
    pub auth_failures: Cell64,
    /// Bytes read from clients.
    pub client_read_bytes: Cell64,
    /// Bytes written to clients.
    pub client_written_bytes: Cell64,
    /// Requests under way.
    pub inflight: Cell64,
    /// Connections to nodes that sessions have, or may have, to themselves.
    pub pinned: Cell64,
    /// Clients that wait in a blocking command.
    pub blocked: Cell64,
    /// Clients that are told when keys change.
    pub tracking: Cell64,
    /// By [`Redirect`].
    pub redirects: [Cell64; Redirect::ALL.len()],
    /// Frames sent again.
    pub retries: Cell64,
    /// Requests that wait because no node would run them.
    pub rideout_commands: Cell64,
    /// Bytes of the clients that have such requests.
    pub rideout_bytes: Cell64,
    /// Waits ended, by [`RideOut`].
    pub rideout_events: [Cell64; RideOut::ALL.len()],
    /// The cells of each node that this worker has ever connected to.
    nodes: Mutex<Vec<Arc<NodeMetrics>>>,
}

/// What one worker counts of one node.
#[derive(Debug)]
pub struct NodeMetrics {
    /// The node.
    pub endpoint: Endpoint,
    /// Connections open.
    pub connections: Cell64,
    /// 1 unless the last attempt to connect failed.
    pub up: Cell64,
    /// Replies expected.
    pub inflight: Cell64,
    /// How long the oldest of them has been expected, in microseconds.
    pub oldest_us: Cell64,
    /// Bytes read.
    pub read_bytes: Cell64,
    /// Bytes written.
    pub written_bytes: Cell64,
    /// Connections ended, by [`LinkEnd`].
    pub ended: [Cell64; LinkEnd::ALL.len()],
}

impl WorkerMetrics {
    /// Counts a finished request.
    #[inline]
    pub fn command(&self, spec: &Spec, outcome: Outcome, took: impl Into<Took>) {
        let command = &self.commands.0[spec.id()];
        command.outcomes[outcome as usize].add(1);
        command.duration.observe(took);
    }

    /// What is counted of one command.
    pub fn of_command(&self, spec: &Spec) -> &CommandMetrics {
        &self.commands.0[spec.id()]
    }

    /// Requests of one class that ended in this way.
    pub fn count(&self, class: Class, outcome: Outcome) -> u64 {
        self.of_class(class).map(|command| command.outcomes[outcome as usize].get()).sum()
    }

    /// Requests that ended in this way.
    pub fn count_all(&self, outcome: Outcome) -> u64 {
        self.commands.0.iter().map(|command| command.outcomes[outcome as usize].get()).sum()
    }

    /// What is counted of the commands of one class.
    pub fn of_class(&self, class: Class) -> impl Iterator<Item = &CommandMetrics> {
        let specs = all().iter().zip(&self.commands.0);
        specs.filter(move |(spec, _)| spec.class == class).map(|(_, command)| command)
    }

    /// Counts an error reply.
    #[cold]
    pub fn error(&self, reply: &[u8]) {
        let line = reply.strip_prefix(b"-").unwrap_or(reply);
        let code = line.split(|byte| b" \r".contains(byte)).next().unwrap_or_default();
        let Ok(code) = std::str::from_utf8(code) else { return };
        let errors = &mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < ERROR_CODES_MAX {
            // A script chooses its own codes.
            errors.insert(code.into(), 1);
        }
    }

    /// Error replies by their code.
    pub fn errors(&self) -> Vec<(String, u64)> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().map(|(code, count)| (code.to_string(), *count)).collect()
    }

    /// Forgets what was counted; what is there now (clients, connections, what waits) stays. Only the writer
    /// may call this.
    pub(super) fn reset(&self) {
        let durations = self.commands.0.iter().map(|command| &command.duration);
        let durations = durations.chain([&self.backend_duration]);
        let buckets = durations.flat_map(|of| of.buckets.iter().chain([&of.sum_us]));
        let cells = [
            &self.clients_total,
            &self.unsupported,
            &self.messages,
            &self.auth_failures,
            &self.client_read_bytes,
            &self.client_written_bytes,
            &self.retries,
        ];
        let cells = cells.into_iter().chain(buckets);
        let cells = cells.chain(self.commands.0.iter().flat_map(|command| &command.outcomes));
        let cells = cells.chain(&self.clients_ended).chain(&self.redirects);
        cells.chain(&self.rideout_events).for_each(|cell| cell.set(0));
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The cells of a node, made when they are first asked for.
    pub fn node(&self, endpoint: &Endpoint) -> Arc<NodeMetrics> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.iter().find(|node| node.endpoint == *endpoint) {
            return node.clone();
        }
        let node = Arc::new(NodeMetrics {
            endpoint: endpoint.clone(),
            connections: Cell64::default(),
            up: Cell64::one(),
            inflight: Cell64::default(),
            oldest_us: Cell64::default(),
            read_bytes: Cell64::default(),
            written_bytes: Cell64::default(),
            ended: Default::default(),
        });
        nodes.push(node.clone());
        node
    }

    /// The cells of every node.
    pub fn nodes(&self) -> Vec<Arc<NodeMetrics>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the cells of nodes that are not in the topology any more, so that the series of a
    /// cluster that keeps changing its addresses stay bounded.
    pub fn retain_nodes(&self, keep: impl Fn(&Endpoint) -> bool) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|node| node.connections.get() > 0 || keep(&node.endpoint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 50, 51, 1_000, 20_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[4], buckets[17]), (2, 1, 1, 1));
        assert_eq!(histogram.sum_us(), 20_001_101);
    }
}
