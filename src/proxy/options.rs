//! What a proxy can be told: every limit and time of the contract's §7, with its default.

use super::replicas::ReadFrom;
use crate::cluster::Endpoint;
use crate::resp::Limits;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::time::Duration;

/// More requests than this are not kept for SLOWLOG: each may be noted with some 4 KiB of its arguments.
pub const SLOW_KEPT_MAX: usize = 100_000;

/// How one proxy behaves. The configuration file and the command line become this.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes to learn the topology from; any one that answers is enough.
    pub seeds: Vec<Endpoint>,
    /// What clients must give to AUTH or HELLO; nothing lets everyone in.
    pub password: Option<Secret>,
    /// Whether clients of other hosts are turned away while there is no password.
    pub protected_mode: bool,
    /// The user that the proxy is towards the nodes; `default` when absent.
    pub backend_user: Option<String>,
    /// The password of that user.
    pub backend_password: Option<Secret>,
    /// Announced address → the address to connect to instead (NAT, containers, VPNs).
    pub address_map: BTreeMap<Endpoint, Endpoint>,
    /// What CLUSTER SLOTS tells clients to connect to; the address that a client is connected to
    /// when absent.
    pub announce: Option<Endpoint>,
    /// Sizes of a client's requests, and the depth and length of replies.
    pub limits: Limits,
    /// Clients at a time.
    pub clients_max: usize,
    /// Requests of one client under way at a time.
    pub client_inflight_max: usize,
    /// Bytes of unread replies, those expected included, above which a client's requests wait.
    pub client_output_soft: usize,
    /// Bytes of unread replies above which a client is closed.
    pub client_output_hard: usize,
    /// Bytes of messages that a subscriber may leave unread.
    pub subscriber_output: usize,
    /// Bytes of messages that a subscriber may leave unread for long.
    pub subscriber_output_soft: usize,
    /// How long that is.
    pub subscriber_output_time: Duration,
    /// Bytes of waiting requests above which a client is not read from.
    pub client_input_bytes: usize,
    /// Bytes that the parts of one gathered reply may have together.
    pub gather_bytes: usize,
    /// Requests above this many bytes travel on a connection of their own, so that small ones do
    /// not wait behind them.
    pub large_bytes: usize,
    /// Connections to one node that sessions of one worker may have to themselves at a time.
    pub pinned_max: usize,
    /// Bytes of scripts that are remembered, to be loaded where a node does not have them.
    pub script_bytes: usize,
    /// Bytes of requests that one client may have queued since MULTI.
    pub transaction_bytes: usize,
    /// A client that says nothing for so long is closed; zero never closes it.
    pub idle_timeout: Duration,
    /// How long a client may take until it has authenticated, where it must.
    pub handshake_timeout: Duration,
    /// How long a request may be under way without 16 KiB of progress.
    pub request_timeout: Duration,
    /// How long connecting to a node may take, its handshake included.
    pub connect_timeout: Duration,
    /// A node silent for so long with a request waiting gets no more of them for now.
    pub suspect_after: Duration,
    /// A node silent for so long with a request waiting has its connection closed.
    pub backend_timeout: Duration,
    /// A request that takes at least so long is noted for SLOWLOG; zero notes none.
    pub slow_after: Duration,
    /// So many of these requests are kept, the latest of all clients.
    pub slow_kept: usize,
    /// How long a request that has not run is tried again; zero never tries again.
    pub ride_out: Duration,
    /// Bytes of requests that may wait in this way, over all clients.
    pub ride_out_bytes: usize,
    /// How long a worker that serves many clients at a time sleeps at least; zero wakes it for the first.
    pub wake_pause: Duration,
    /// How often the topology is read again.
    pub refresh: Duration,
    /// The shortest time between two readings.
    pub refresh_min: Duration,
    /// Redirects in a row after which a request waits instead of following the next.
    pub redirects_max: u8,
    /// Where commands that only read are sent.
    pub read_from: ReadFrom,
    /// A replica that is further behind its primary is not read from.
    pub max_lag: Duration,
    /// Whether PROXY REFRESH, PAUSE and RESUME are taken from clients.
    pub admin_commands: bool,
    /// How long clients have to finish when the proxy stops.
    pub drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        const MB: usize = 1024 * 1024;
        Self {
            seeds: Vec::new(),
            password: None,
            protected_mode: true,
            backend_user: None,
            backend_password: None,
            address_map: BTreeMap::new(),
            announce: None,
            limits: Limits::default(),
            clients_max: 10_000,
            client_inflight_max: 1024,
            client_output_soft: 16 * MB,
            client_output_hard: 256 * MB,
            subscriber_output: 32 * MB,
            subscriber_output_soft: 8 * MB,
            subscriber_output_time: Duration::from_secs(60),
            client_input_bytes: 64 * MB,
            gather_bytes: 512 * MB,
            large_bytes: MB,
            pinned_max: 1000,
            script_bytes: 16 * MB,
            transaction_bytes: 16 * MB,
            idle_timeout: Duration::ZERO,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            suspect_after: Duration::from_millis(500),
            backend_timeout: Duration::from_secs(10),
            slow_after: Duration::from_millis(10),
            slow_kept: 128,
            ride_out: Duration::from_secs(30),
            ride_out_bytes: 64 * MB,
            wake_pause: Duration::from_micros(60),
            refresh: Duration::from_secs(15),
            refresh_min: Duration::from_millis(100),
            redirects_max: 5,
            read_from: ReadFrom::Primary,
            max_lag: Duration::from_secs(10),
            admin_commands: false,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// Where to connect for an announced address.
    pub fn mapped(&self, announced: Endpoint) -> Endpoint {
        match self.address_map.get(&announced) {
            Some(mapped) => mapped.clone(),
            None => announced,
        }
    }
}
