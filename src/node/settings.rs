//! What the node acts on, as values that cannot be wrong: read from the directives after each
//! change of them, and looked at on hot paths without a search.

use super::directives::Directives;
use super::events::Events;
use super::replication::ReplicationSettings;
use super::session::Session;
use crate::secret::Secret;
use crate::store::{Intset, ListLimit, SetLimits, StreamLimits, TypeLimits, UsagePolicy};
use std::time::Duration;

/// The settings in force.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The password of the default user, if one is needed.
    pub(super) password: Option<Secret>,
    /// How many clients may be connected.
    pub(super) clients_max: usize,
    /// How long a client may be idle; forever if none.
    pub(super) idle_max: Option<Duration>,
    /// Databases, 1 in a cluster.
    pub(super) databases: usize,
    /// Whether the node is part of a cluster.
    pub(super) cluster_enabled: bool,
    /// How often a second the node looks after itself.
    pub(super) hz: u32,
    /// How much of its time expiry may use, 1 to 10.
    pub(super) expire_effort: u32,
    /// `lazyfree-lazy-expire`: what expires goes on as UNLINK, and not as DEL.
    pub(super) lazy_expire: bool,
    /// `lazyfree-lazy-user-del`: the same for what GETDEL removes.
    pub(super) lazy_user_del: bool,
    /// `lazyfree-lazy-server-del`: the same for what SPOP empties.
    pub(super) lazy_server_del: bool,
    /// Bytes of one argument, and of a string.
    pub(super) bulk_bytes_max: usize,
    /// Bytes of one request and of what waits behind it.
    pub(super) query_bytes_max: usize,
    /// How much output may wait for a client.
    pub(super) output_limits: OutputLimits,
    /// Which keyspace events are published.
    pub(super) events: Events,
    /// Whether shard channels are served while the cluster is down.
    pub(super) channels_when_down: bool,
    /// What keys remember of their use.
    pub(super) usage: UsagePolicy,
    /// Bytes of data that the node may hold; no limit if zero.
    pub(super) memory_max: u64,
    /// Commands that took longer are logged; none if absent.
    pub(super) slowlog_slower_than: Option<Duration>,
    /// How many slow commands are kept.
    pub(super) slowlog_entries_max: usize,
    /// Whether latencies are kept per command.
    pub(super) latency_tracking: bool,
    /// Which percentiles INFO shows.
    pub(super) latency_percentiles: Vec<f64>,
    /// Events that took at least so long are kept for LATENCY; none if zero.
    pub(super) latency_threshold: Duration,
    /// How long a script runs before others are let in beside it; forever if none.
    pub(super) busy_after: Option<Duration>,
    /// Entries that a hash in compact form may have.
    pub(super) hash_compact_entries: usize,
    /// Bytes of a field or value of a hash in compact form.
    pub(super) hash_compact_value: usize,
    /// Bytes of a HyperLogLog that is not dense.
    pub(super) hyperloglog_sparse_max: usize,
    /// How large a node of a list may become.
    pub(super) list_limit: ListLimit,
    /// Up to which size a set stays compact.
    pub(super) set_limits: SetLimits,
    /// Members that a sorted set in compact form may have.
    pub(super) sorted_set_compact_entries: usize,
    /// Bytes of a member of a sorted set in compact form.
    pub(super) sorted_set_compact_value: usize,
    /// Up to which size a node of a stream is filled.
    pub(super) stream_limits: StreamLimits,
    /// Who may use DEBUG.
    pub(super) debug_allowed: Allowed,
    /// Who may change protected parameters.
    pub(super) protected_config_allowed: Allowed,
    /// By how many percent the append-only file has to grow to be rewritten; never if 0.
    pub(super) log_rewrite_percentage: u64,
    /// It is not rewritten while it is smaller than this.
    pub(super) log_rewrite_min_bytes: u64,
    /// Pairs of seconds and changes after which the data is saved.
    pub(super) save_rules: Vec<(u64, u64)>,
    /// Whether writes are refused while saving fails.
    pub(super) stop_writes_on_save_error: bool,
    /// The file of the data.
    pub(super) rdb_file: String,
    /// Whether files have a checksum.
    pub(super) rdb_checksum: bool,
    /// Whether files keep the use of keys: where a policy of eviction looks at it.
    pub(super) rdb_with_use: bool,
    /// A pause after each key of a snapshot: for tests.
    pub(super) rdb_key_save_delay: Duration,
    /// The same for each key that is loaded, in microseconds; if it is negative, one for so many keys.
    pub(super) key_load_delay: i64,
    /// Whether DUMP and files compress strings.
    pub(super) rdb_compression: bool,
    /// Refuse clients from elsewhere while there is no password.
    pub(super) protected_mode: bool,
    /// What replication acts on.
    pub(super) replication: ReplicationSettings,
}

/// One class of `client-output-buffer-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutputLimit {
    /// A client is closed at once when so many bytes wait for it; no limit if zero.
    pub(super) hard: usize,
    /// The same when so many wait for longer than `soft_for`; no limit if zero.
    pub(super) soft: usize,
    /// See `soft`.
    pub(super) soft_for: Duration,
}

/// `client-output-buffer-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutputLimits {
    /// For a client that is neither a replica nor a subscriber.
    pub(super) normal: OutputLimit,
    /// For a replica.
    #[allow(dead_code, reason = "replicas are served by the replication machine")]
    pub(super) replica: OutputLimit,
    /// For a client that listens to channels.
    pub(super) subscriber: OutputLimit,
}

impl OutputLimits {
    /// The classes stand in one order, each with its name and three numbers.
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut class = || {
            words.next().expect("three classes");
            let mut number = || {
                let word = words.next().expect("each class has three numbers");
                word.parse::<u64>().expect("the directive holds numbers")
            };
            let (hard, soft, seconds) = (number(), number(), number());
            let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
            OutputLimit {
                hard: size(hard),
                soft: size(soft),
                soft_for: Duration::from_secs(seconds),
            }
        };
        Self { normal: class(), replica: class(), subscriber: class() }
    }

    /// What holds for a client.
    pub(super) fn of(&self, session: &Session) -> OutputLimit {
        let listens = session.subscriptions.is_some() || session.monitors;
        if listens { self.subscriber } else { self.normal }
    }
}

/// Who may use a command that can do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Nobody.
    No,
    /// Everybody.
    Yes,
    /// Clients on this machine.
    Local,
}

impl Allowed {
    fn parse(text: &str) -> Self {
        match text {
            "yes" => Self::Yes,
            "local" => Self::Local,
            _ => Self::No,
        }
    }
}

impl Settings {
    /// Up to which size collections stay compact.
    pub(super) fn type_limits(&self) -> TypeLimits {
        let mut limits = TypeLimits::default();
        limits.hash.entries = self.hash_compact_entries;
        limits.hash.value = self.hash_compact_value;
        limits.list = self.list_limit;
        limits.set = self.set_limits;
        limits.sorted_set.entries = self.sorted_set_compact_entries;
        limits.sorted_set.value = self.sorted_set_compact_value;
        limits.stream = self.stream_limits;
        limits
    }

    /// The names of all parameters that the node acts on. What a configuration sets beside these
    /// loads, but has no effect, and the log says so.
    pub(super) const HONOURED: &[&str] = &[
        "active-expire-effort",
        "aof-load-truncated",
        "appenddirname",
        "appendfilename",
        "appendfsync",
        "appendonly",
        "auto-aof-rewrite-min-size",
        "auto-aof-rewrite-percentage",
        "bind",
        "busy-reply-threshold",
        "client-output-buffer-limit",
        "client-query-buffer-limit",
        "cluster-allow-from",
        "cluster-allow-pubsubshard-when-down",
        "cluster-allow-reads-when-down",
        "cluster-allow-replica-migration",
        "cluster-announce-bus-port",
        "cluster-announce-hostname",
        "cluster-announce-human-nodename",
        "cluster-announce-ip",
        "cluster-announce-port",
        "cluster-announce-tls-port",
        "cluster-blacklist-ttl",
        "cluster-config-file",
        "cluster-config-save-behavior",
        "cluster-databases",
        "cluster-empty-restart-guard",
        "cluster-enabled",
        "cluster-link-sendbuf-limit",
        "cluster-manual-failover-timeout",
        "cluster-migration-barrier",
        "cluster-node-timeout",
        "cluster-ping-interval",
        "cluster-port",
        "cluster-preferred-endpoint-type",
        "cluster-replica-no-failover",
        "cluster-replica-validity-factor",
        "cluster-require-full-coverage",
        "cluster-slot-stats-enabled",
        "cluster-stale-restart-guard",
        "databases",
        "dbfilename",
        "dir",
        "enable-debug-command",
        "enable-protected-configs",
        "hash-max-listpack-entries",
        "hash-max-listpack-value",
        "hll-sparse-max-bytes",
        "hz",
        "key-load-delay",
        "latency-monitor-threshold",
        "latency-tracking",
        "latency-tracking-info-percentiles",
        "lazyfree-lazy-expire",
        "lazyfree-lazy-server-del",
        "lazyfree-lazy-user-del",
        "lfu-decay-time",
        "lfu-log-factor",
        "list-max-listpack-size",
        "logfile",
        "loglevel",
        "masterauth",
        "masteruser",
        "maxclients",
        "maxmemory",
        "min-replicas-max-lag",
        "min-replicas-to-write",
        "notify-keyspace-events",
        "pidfile",
        "port",
        "proc-title-template",
        "protected-mode",
        "proto-max-bulk-len",
        "rdb-key-save-delay",
        "rdbchecksum",
        "rdbcompression",
        "repl-backlog-size",
        "repl-backlog-ttl",
        "repl-diskless-load",
        "repl-diskless-sync",
        "repl-diskless-sync-delay",
        "repl-diskless-sync-max-replicas",
        "repl-ping-replica-period",
        "repl-timeout",
        "replica-announce-ip",
        "replica-announce-port",
        "replica-announced",
        "replica-priority",
        "replica-read-only",
        "replica-serve-stale-data",
        "replicaof",
        "requirepass",
        "save",
        "set-max-intset-entries",
        "set-max-listpack-entries",
        "set-max-listpack-value",
        "set-proc-title",
        "shutdown-timeout",
        "slowlog-log-slower-than",
        "slowlog-max-len",
        "stop-writes-on-bgsave-error",
        "stream-node-max-bytes",
        "stream-node-max-entries",
        "tcp-backlog",
        "tcp-keepalive",
        "timeout",
        "unixsocket",
        "unixsocketperm",
        "zset-max-listpack-entries",
        "zset-max-listpack-value",
    ];

    /// Reads what is in force from the directives.
    pub(super) fn read(directives: &Directives) -> Self {
        let password = directives.text("requirepass");
        let cluster_enabled = directives.is("cluster-enabled");
        let percentiles = directives.text("latency-tracking-info-percentiles");
        let slower_than = directives.number("slowlog-log-slower-than");
        Self {
            password: (!password.is_empty()).then(|| Secret::new(password)),
            clients_max: directives.size("maxclients"),
            idle_max: match directives.number("timeout") {
                0 => None,
                seconds => Some(Duration::from_secs(seconds as u64)),
            },
            databases: if cluster_enabled { 1 } else { directives.size("databases") },
            cluster_enabled,
            // Redis clamps what it is given.
            hz: directives.number("hz").clamp(1, 500) as u32,
            expire_effort: directives.number("active-expire-effort") as u32,
            lazy_expire: directives.is("lazyfree-lazy-expire"),
            lazy_user_del: directives.is("lazyfree-lazy-user-del"),
            lazy_server_del: directives.is("lazyfree-lazy-server-del"),
            bulk_bytes_max: directives.size("proto-max-bulk-len"),
            query_bytes_max: directives.size("client-query-buffer-limit"),
            output_limits: OutputLimits::parse(directives.text("client-output-buffer-limit")),
            events: Events::parse(directives.text("notify-keyspace-events")),
            channels_when_down: directives.is("cluster-allow-pubsubshard-when-down"),
            usage: if directives.text("maxmemory-policy").ends_with("lfu") {
                UsagePolicy::Frequency {
                    log_factor: directives.number("lfu-log-factor") as u32,
                    decay_minutes: directives.number("lfu-decay-time") as u32,
                }
            } else {
                UsagePolicy::Recency
            },
            memory_max: directives.number("maxmemory") as u64,
            slowlog_slower_than: u64::try_from(slower_than).ok().map(Duration::from_micros),
            slowlog_entries_max: directives.size("slowlog-max-len"),
            latency_tracking: directives.is("latency-tracking"),
            latency_percentiles: percentiles
                .split_ascii_whitespace()
                .map(|number| number.parse().expect("the directive holds numbers"))
                .collect(),
            busy_after: match directives.number("busy-reply-threshold") {
                0 => None,
                millis => Some(Duration::from_millis(millis as u64)),
            },
            latency_threshold: Duration::from_millis(
                directives.number("latency-monitor-threshold") as u64,
            ),
            hash_compact_entries: directives.size("hash-max-listpack-entries"),
            hash_compact_value: directives.size("hash-max-listpack-value"),
            hyperloglog_sparse_max: directives.size("hll-sparse-max-bytes"),
            list_limit: ListLimit::of_directive(directives.number("list-max-listpack-size")),
            set_limits: SetLimits {
                intset_entries: directives.size("set-max-intset-entries").min(Intset::ENTRIES_MAX),
                listpack_entries: directives.size("set-max-listpack-entries"),
                listpack_value: directives.size("set-max-listpack-value"),
            },
            sorted_set_compact_entries: directives.size("zset-max-listpack-entries"),
            sorted_set_compact_value: directives.size("zset-max-listpack-value"),
            stream_limits: StreamLimits {
                node_bytes: directives.size("stream-node-max-bytes"),
                node_entries: directives.size("stream-node-max-entries"),
            },
            debug_allowed: Allowed::parse(directives.text("enable-debug-command")),
            protected_config_allowed: Allowed::parse(directives.text("enable-protected-configs")),
            log_rewrite_percentage: directives.number("auto-aof-rewrite-percentage") as u64,
            log_rewrite_min_bytes: directives.number("auto-aof-rewrite-min-size") as u64,
            save_rules: {
                let words = directives.text("save").split_ascii_whitespace();
                let number = |word: &str| word.parse().expect("the directive holds numbers");
                let numbers: Vec<u64> = words.map(number).collect();
                numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
            },
            stop_writes_on_save_error: directives.is("stop-writes-on-bgsave-error"),
            rdb_file: directives.text("dbfilename").to_owned(),
            rdb_checksum: directives.is("rdbchecksum"),
            rdb_with_use: {
                let policy = directives.text("maxmemory-policy");
                policy.ends_with("lru") || policy.ends_with("lfu")
            },
            rdb_key_save_delay: Duration::from_micros(
                u64::try_from(directives.number("rdb-key-save-delay")).unwrap_or(0),
            ),
            key_load_delay: directives.number("key-load-delay"),
            rdb_compression: directives.is("rdbcompression"),
            protected_mode: directives.is("protected-mode"),
            replication: ReplicationSettings::read(directives),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::directives::directive;

    #[test]
    fn what_is_acted_on_is_in_the_table() {
        assert!(Settings::HONOURED.is_sorted());
        for name in Settings::HONOURED {
            assert!(directive(name).is_some(), "{name}");
        }
        let settings = Settings::read(&Directives::default());
        assert_eq!(settings.latency_percentiles, [50.0, 99.0, 99.9]);
        assert_eq!(settings.slowlog_slower_than, Some(Duration::from_millis(10)));
    }
}
