//! What one worker counts. Only that worker writes these cells, so counting is a load and a store;
//! whoever is asked for the figures sums them over the workers.

use crate::cluster::Endpoint;
use crate::command::Class;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn observe(&self, took: Duration) {
        let us = took.as_micros() as u64;
        // Nearly all are in the first few buckets.
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && us > BOUNDS_US[bucket] {
            bucket += 1;
        }
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
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

const CLASSES: usize = Class::ALL.len();

/// The cells of one worker.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Clients connected.
    pub clients: Cell64,
    /// Clients accepted.
    pub clients_total: Cell64,
    /// Clients gone, by [`ClientEnd`].
    pub clients_ended: [Cell64; ClientEnd::ALL.len()],
    /// Requests by class and [`Outcome`].
    pub commands: [[Cell64; Outcome::ALL.len()]; CLASSES],
    /// From the last byte of a request read to its reply in the client's output, by class.
    pub command_duration: [Histogram; CLASSES],
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
    pub fn command(&self, class: Class, outcome: Outcome, took: Duration) {
        self.commands[class as usize][outcome as usize].add(1);
        self.command_duration[class as usize].observe(took);
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
