//! The one table of metric names.
//!
//! Labels are closed sets: classes, outcomes, kinds, the nodes of the cluster. A key, a client's
//! address or anything else that a client chooses is never one.

use std::fmt::Write;

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by bucket.
    Histogram,
}

impl Kind {
    /// As the docs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    pub(super) fn prometheus(self) -> prometheus::proto::MetricType {
        match self {
            Self::Counter => prometheus::proto::MetricType::COUNTER,
            Self::Gauge => prometheus::proto::MetricType::GAUGE,
            Self::Histogram => prometheus::proto::MetricType::HISTOGRAM,
        }
    }
}

/// Who shows a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Every process.
    Always,
    /// `keyway proxy` and `keyway up`.
    Proxy,
    /// `keyway up`, for each of its nodes.
    Node,
}

/// One metric: a name, what it means, and its labels.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
    /// Who shows it.
    pub shown: Shown,
}

macro_rules! families {
    ($($const_name:ident = $shown:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $const_name: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
                shown: Shown::$shown,
            };
        )*

        /// Every family, in the order of the docs.
        pub const ALL: &[&Family] = &[$(&$const_name),*];
    };
}

families! {
    BUILD_INFO = Always Gauge "keyway_build_info" ["version", "commit"]
        "Always 1; the labels say what is running.";
    START_TIME = Always Gauge "keyway_start_time_seconds" []
        "When the process started, as Unix time.";
    PANICS = Always Counter "keyway_panics_total" []
        "Panics since the start. Anything but 0 is a mistake of ours: please report it.";
    PROCESS_CPU = Always Counter "process_cpu_seconds_total" []
        "CPU time used, user and system.";
    PROCESS_RESIDENT = Always Gauge "process_resident_memory_bytes" []
        "Memory in RAM.";
    PROCESS_VIRTUAL = Always Gauge "process_virtual_memory_bytes" []
        "Address space.";
    PROCESS_OPEN_FDS = Always Gauge "process_open_fds" []
        "Open files and sockets.";
    PROCESS_MAX_FDS = Always Gauge "process_max_fds" []
        "How many files and sockets may be open.";
    PROCESS_THREADS = Always Gauge "process_threads" []
        "Threads.";

    READY = Proxy Gauge "keyway_ready" []
        "1 while /readyz says yes: a topology is known, and the proxy is not draining.";
    WORKERS = Proxy Gauge "keyway_workers" []
        "Worker threads.";
    CLIENTS = Proxy Gauge "keyway_client_connections" []
        "Connected clients.";
    CLIENTS_LIMIT = Proxy Gauge "keyway_client_connections_limit" []
        "How many clients may be connected: clients_max.";
    WORKER_CLIENTS = Proxy Gauge "keyway_worker_clients" ["worker"]
        "Connected clients of each worker.";
    CLIENTS_TOTAL = Proxy Counter "keyway_client_connections_total" []
        "Clients accepted since the start.";
    CLIENTS_CLOSED = Proxy Counter "keyway_client_connections_closed_total" ["reason"]
        "Clients gone since the start, by why.";
    CLIENT_BYTES = Proxy Counter "keyway_client_bytes_total" ["direction"]
        "Bytes read from (in) and written to (out) clients.";
    COMMANDS = Proxy Counter "keyway_commands_total" ["class", "outcome"]
        "Commands answered, by what the proxy does with such a command and how it ended.";
    INFLIGHT = Proxy Gauge "keyway_commands_inflight" []
        "Commands read and not yet answered.";
    UNSUPPORTED = Proxy Counter "keyway_unsupported_commands_total" []
        "Commands that are unknown, or not available through the proxy.";
    AUTH_FAILURES = Proxy Counter "keyway_auth_failures_total" []
        "AUTH and HELLO with a wrong password.";
    COMMAND_DURATION = Proxy Histogram "keyway_command_duration_seconds" ["class"]
        "From a command's last byte read to its reply handed to the client's socket.";
    BACKEND_DURATION = Proxy Histogram "keyway_backend_duration_seconds" []
        "From a request handed to a backend connection to the end of its reply: the share of the \
         command's duration that is not the proxy's own.";
    BLOCKED = Proxy Gauge "keyway_blocked_clients" []
        "Clients that wait in a blocking command.";
    PINNED = Proxy Gauge "keyway_pinned_connections" []
        "Connections to nodes that one client has, or may have, to itself.";
    TOPICS = Proxy Gauge "keyway_subscribed_topics" ["kind"]
        "Channels, patterns and shard channels that clients listen to.";
    MESSAGES = Proxy Counter "keyway_messages_total" []
        "Messages delivered to subscribers.";
    REDIRECTS = Proxy Counter "keyway_redirects_total" ["kind"]
        "Answers by which a node said that it did not run a command.";
    RETRIES = Proxy Counter "keyway_retries_total" []
        "Requests sent again. None of them had run, or running twice is harmless.";
    INDOUBT = Proxy Counter "keyway_indoubt_total" []
        "Requests answered INDOUBT: written to a node whose answer never came.";
    RIDEOUT_COMMANDS = Proxy Gauge "keyway_rideout_commands" []
        "Requests that wait for a failover, a reshard or a restart to pass.";
    RIDEOUT_BYTES = Proxy Gauge "keyway_rideout_bytes" []
        "Bytes of those requests.";
    RIDEOUTS = Proxy Counter "keyway_rideout_events_total" ["result"]
        "Requests whose wait ended: drained (it ran after all) or timeout.";
    BACKEND_UP = Proxy Gauge "keyway_backend_up" ["node"]
        "1 while a node can be connected to; 0 when the last attempt failed.";
    BACKEND_CONNECTIONS = Proxy Gauge "keyway_backend_connections" ["node"]
        "Open connections to a node, of all workers.";
    BACKEND_INFLIGHT = Proxy Gauge "keyway_backend_inflight" ["node"]
        "Requests written to a node, or queued for it, whose answer is awaited.";
    QUEUE_OLDEST = Proxy Gauge "keyway_queue_oldest_seconds" ["node"]
        "How long the oldest request to a node has been waiting for its answer.";
    BACKEND_CLOSED = Proxy Counter "keyway_backend_connections_closed_total" ["node", "reason"]
        "Connections to a node that ended, or could not be made, by why.";
    BACKEND_BYTES = Proxy Counter "keyway_backend_bytes_total" ["node", "direction"]
        "Bytes read from (in) and written to (out) a node.";
    TOPOLOGY_AGE = Proxy Gauge "keyway_topology_age_seconds" []
        "Since the topology was last read from a node.";
    TOPOLOGY_REFRESHES = Proxy Counter "keyway_topology_refresh_total" ["result"]
        "Readings of the topology, by how they ended.";
    TOPOLOGY_CHANGES = Proxy Counter "keyway_topology_changes_total" []
        "Changes of the slot map since the start.";
    SLOTS_COVERED = Proxy Gauge "keyway_slots_covered" []
        "How many of the 16384 slots have a primary.";
    SLOTS_MIGRATING = Proxy Gauge "keyway_slots_migrating" []
        "Slots on their way from one node to another, as the last reading saw it.";
    CLUSTER_EPOCH = Proxy Gauge "keyway_cluster_epoch" []
        "The highest config epoch of any node: a step is a failover or the end of a slot's move.";
    TOPOLOGY_NODES = Proxy Gauge "keyway_topology_nodes" ["role"]
        "Nodes of the topology.";

    NODE_UP = Node Gauge "redis_up" ["node"]
        "1 while the node answers.";
    NODE_UPTIME = Node Gauge "redis_uptime_in_seconds" ["node"]
        "Since the node was started.";
    NODE_CLIENTS = Node Gauge "redis_connected_clients" ["node"]
        "Clients of the node, the proxy's connections included.";
    NODE_BLOCKED_CLIENTS = Node Gauge "redis_blocked_clients" ["node"]
        "Clients that wait in a blocking command.";
    NODE_MEMORY_USED = Node Gauge "redis_memory_used_bytes" ["node"]
        "Memory that the node has asked for.";
    NODE_MEMORY_RSS = Node Gauge "redis_memory_used_rss_bytes" ["node"]
        "Memory of the node in RAM.";
    NODE_MEMORY_PEAK = Node Gauge "redis_memory_used_peak_bytes" ["node"]
        "The most memory that the node has ever asked for.";
    NODE_MEMORY_MAX = Node Gauge "redis_memory_max_bytes" ["node"]
        "How much it may use: maxmemory; 0 is no limit.";
    NODE_CONNECTIONS = Node Counter "redis_connections_received_total" ["node"]
        "Clients accepted.";
    NODE_REJECTED = Node Counter "redis_rejected_connections_total" ["node"]
        "Clients turned away because of maxclients.";
    NODE_COMMANDS_PROCESSED = Node Counter "redis_commands_processed_total" ["node"]
        "Commands run.";
    NODE_COMMANDS = Node Counter "redis_commands_total" ["node", "cmd"]
        "Calls of each command.";
    NODE_COMMAND_SECONDS = Node Counter "redis_commands_duration_seconds_total" ["node", "cmd"]
        "Time spent in each command.";
    NODE_INPUT = Node Counter "redis_net_input_bytes_total" ["node"]
        "Bytes read from clients.";
    NODE_OUTPUT = Node Counter "redis_net_output_bytes_total" ["node"]
        "Bytes written to clients.";
    NODE_HITS = Node Counter "redis_keyspace_hits_total" ["node"]
        "Lookups that found their key.";
    NODE_MISSES = Node Counter "redis_keyspace_misses_total" ["node"]
        "Lookups that did not.";
    NODE_EXPIRED = Node Counter "redis_expired_keys_total" ["node"]
        "Keys whose time was up.";
    NODE_EVICTED = Node Counter "redis_evicted_keys_total" ["node"]
        "Keys removed to stay below maxmemory.";
    NODE_KEYS = Node Gauge "redis_db_keys" ["node", "db"]
        "Keys.";
    NODE_EXPIRING = Node Gauge "redis_db_keys_expiring" ["node", "db"]
        "Keys with a time to live.";
    NODE_REPLICAS = Node Gauge "redis_connected_slaves" ["node"]
        "Replicas that follow the node.";
    NODE_CLUSTER_STATE = Node Gauge "redis_cluster_state" ["node"]
        "1 while the node says that the cluster is ok.";
    NODE_SLOTS_ASSIGNED = Node Gauge "redis_cluster_slots_assigned" ["node"]
        "Slots that have an owner, as the node sees it.";
    NODE_SLOTS_OK = Node Gauge "redis_cluster_slots_ok" ["node"]
        "Slots whose owner is well.";
    NODE_SLOTS_PFAIL = Node Gauge "redis_cluster_slots_pfail" ["node"]
        "Slots whose owner does not answer this node.";
    NODE_SLOTS_FAIL = Node Gauge "redis_cluster_slots_fail" ["node"]
        "Slots whose owner has failed, as a majority says.";
    NODE_KNOWN_NODES = Node Gauge "redis_cluster_known_nodes" ["node"]
        "Nodes that the node knows, itself included.";
    NODE_MESSAGES_SENT = Node Counter "redis_cluster_messages_sent_total" ["node"]
        "Messages sent over the cluster bus.";
    NODE_MESSAGES_RECEIVED = Node Counter "redis_cluster_messages_received_total" ["node"]
        "Messages received over the cluster bus.";
}

/// The families that show the proxy's figures, less [`READY`].
pub const PROXY: &[&Family] = &[
    &WORKERS,
    &CLIENTS,
    &CLIENTS_LIMIT,
    &WORKER_CLIENTS,
    &CLIENTS_TOTAL,
    &CLIENTS_CLOSED,
    &BLOCKED,
    &PINNED,
    &TOPICS,
    &MESSAGES,
    &CLIENT_BYTES,
    &COMMANDS,
    &INFLIGHT,
    &UNSUPPORTED,
    &AUTH_FAILURES,
    &COMMAND_DURATION,
    &BACKEND_DURATION,
    &REDIRECTS,
    &RETRIES,
    &INDOUBT,
    &RIDEOUT_COMMANDS,
    &RIDEOUT_BYTES,
    &RIDEOUTS,
    &BACKEND_UP,
    &BACKEND_CONNECTIONS,
    &BACKEND_INFLIGHT,
    &QUEUE_OLDEST,
    &BACKEND_CLOSED,
    &BACKEND_BYTES,
    &TOPOLOGY_AGE,
    &TOPOLOGY_REFRESHES,
    &TOPOLOGY_CHANGES,
    &SLOTS_COVERED,
    &SLOTS_MIGRATING,
    &CLUSTER_EPOCH,
    &TOPOLOGY_NODES,
];

/// The families that show a node's figures.
pub const NODE: &[&Family] = &[
    &NODE_UP,
    &NODE_UPTIME,
    &NODE_CLIENTS,
    &NODE_BLOCKED_CLIENTS,
    &NODE_MEMORY_USED,
    &NODE_MEMORY_RSS,
    &NODE_MEMORY_PEAK,
    &NODE_MEMORY_MAX,
    &NODE_CONNECTIONS,
    &NODE_REJECTED,
    &NODE_COMMANDS_PROCESSED,
    &NODE_COMMANDS,
    &NODE_COMMAND_SECONDS,
    &NODE_INPUT,
    &NODE_OUTPUT,
    &NODE_HITS,
    &NODE_MISSES,
    &NODE_EXPIRED,
    &NODE_EVICTED,
    &NODE_KEYS,
    &NODE_EXPIRING,
    &NODE_REPLICAS,
    &NODE_CLUSTER_STATE,
    &NODE_SLOTS_ASSIGNED,
    &NODE_SLOTS_OK,
    &NODE_SLOTS_PFAIL,
    &NODE_SLOTS_FAIL,
    &NODE_KNOWN_NODES,
    &NODE_MESSAGES_SENT,
    &NODE_MESSAGES_RECEIVED,
];

impl Shown {
    const ALL: [(Self, &str, &str); 3] = [
        (Self::Always, "Every process", "Shown by `keyway up`, `keyway proxy` and by nodes."),
        (Self::Proxy, "The proxy", "Shown by `keyway up` and `keyway proxy`."),
        (
            Self::Node,
            "Nodes",
            "The figures of INFO under the names that `redis_exporter` gives them, so its \
             dashboards work. Shown by `keyway up`, with the label `node`.",
        ),
    ];
}

/// `docs/metrics.md`: written by `make docs`, checked by a test.
pub fn document() -> String {
    let mut out = String::from(
        "# Metrics\n\n<!-- Written by `make docs` from src/telemetry/families.rs. -->\n\nAll are on \
         `/metrics` of the HTTP port (`--http`, default 127.0.0.1:9379 in `keyway up`). Labels are \
         closed sets; nothing a client chooses becomes one.\n",
    );
    for (shown, title, intro) in Shown::ALL {
        let families: Vec<_> = ALL.iter().filter(|family| family.shown == shown).collect();
        if families.is_empty() {
            continue;
        }
        let _ = write!(out, "\n## {title}\n\n{intro}\n\n| name | kind | labels | meaning |\n");
        out.push_str("|---|---|---|---|\n");
        for family in families {
            let labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
            let labels = labels.join(", ");
            let (name, kind, help) = (family.name, family.kind.name(), family.help);
            let _ = writeln!(out, "| `{name}` | {kind} | {labels} | {help} |");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut seen = BTreeSet::new();
        for family in ALL {
            let name = family.name;
            assert!(seen.insert(name), "{name} is twice in the table");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let counts = family.kind == Kind::Counter;
            assert_eq!(counts, name.ends_with("_total"), "{name}: counters end in _total");
            assert!(family.help.ends_with('.'), "{name}: the help is a sentence");
            assert!(!family.help.contains('|'), "{name}: the help goes into a table");
        }
    }
}
