//! What replication acts on, read from the directives.

use super::upstream::DisklessLoad;
use crate::node::directives::Directives;
use crate::replication::StreamLimit;
use crate::secret::Secret;
use std::time::Duration;

/// The settings of replication in force.
#[derive(Clone, Debug)]
pub(in crate::node) struct ReplicationSettings {
    /// Bytes of the stream that are kept for those who come back.
    pub(in crate::node) backlog_bytes: usize,
    /// How long they are kept when nobody follows; for ever if zero.
    pub(in crate::node) backlog_ttl: Duration,
    /// How long the other side may be silent.
    pub(in crate::node) timeout: Duration,
    /// How often followers are sent a PING.
    pub(in crate::node) ping_every: Duration,
    /// Snapshots go to replicas as they are made, and not through a file.
    pub(in crate::node) diskless: bool,
    /// How long such a snapshot waits for more replicas.
    pub(in crate::node) diskless_delay: Duration,
    /// When so many wait, it waits no longer; no such number if zero.
    pub(in crate::node) diskless_replicas_max: usize,
    /// When a primary's snapshot is loaded as it comes.
    pub(in crate::node) diskless_load: DisklessLoad,
    /// `masteruser`.
    pub(in crate::node) primary_user: Option<String>,
    /// `masterauth`.
    pub(in crate::node) primary_password: Option<Secret>,
    /// The port that a primary is told.
    pub(in crate::node) announced_port: u16,
    /// The address that a primary is told, if it is to be another than that of the connection.
    pub(in crate::node) announced_ip: Option<String>,
    /// How much of the stream may wait for one replica.
    pub(in crate::node) stream_limit: StreamLimit,
    /// A replica's clients may not write.
    pub(in crate::node) read_only: bool,
    /// A replica answers while its link is down.
    pub(in crate::node) serve_stale: bool,
    /// How readily this node is promoted, as a sentinel reads it.
    pub(in crate::node) priority: i64,
    /// Whether a sentinel may know of this node.
    pub(in crate::node) announced: bool,
    /// Writes need so many replicas that are not behind.
    pub(in crate::node) replicas_min: usize,
    /// How many seconds a replica may have been silent and still count.
    pub(in crate::node) lag_max: u64,
}

impl ReplicationSettings {
    pub(in crate::node) fn read(directives: &Directives) -> Self {
        let text = |name: &str| Some(directives.text(name)).filter(|text| !text.is_empty());
        let seconds = |name: &str| Duration::from_secs(directives.number(name) as u64);
        let port = |name: &str| u16::try_from(directives.number(name)).unwrap_or_default();
        Self {
            backlog_bytes: directives.size("repl-backlog-size"),
            backlog_ttl: seconds("repl-backlog-ttl"),
            timeout: seconds("repl-timeout"),
            ping_every: seconds("repl-ping-replica-period"),
            diskless: directives.is("repl-diskless-sync"),
            diskless_delay: seconds("repl-diskless-sync-delay"),
            diskless_replicas_max: directives.size("repl-diskless-sync-max-replicas"),
            diskless_load: match directives.text("repl-diskless-load") {
                "on-empty-db" => DisklessLoad::OnEmptyDb,
                "swapdb" => DisklessLoad::Swap,
                _ => DisklessLoad::Disabled,
            },
            primary_user: text("masteruser").map(str::to_owned),
            primary_password: text("masterauth").map(Secret::new),
            announced_port: match port("replica-announce-port") {
                0 => port("port"),
                announced => announced,
            },
            announced_ip: text("replica-announce-ip").map(str::to_owned),
            stream_limit: stream_limit(directives.text("client-output-buffer-limit")),
            read_only: directives.is("replica-read-only"),
            serve_stale: directives.is("replica-serve-stale-data"),
            priority: directives.number("replica-priority"),
            announced: directives.is("replica-announced"),
            replicas_min: directives.size("min-replicas-to-write"),
            lag_max: directives.number("min-replicas-max-lag") as u64,
        }
    }
}

/// The limit of the class of replicas.
fn stream_limit(text: &str) -> StreamLimit {
    let words: Vec<&str> = text.split(' ').collect();
    let class = words.chunks(4).find(|class| class[0] == "slave");
    let class = class.expect("the directive names every class");
    let number = |at: usize| class[at].parse::<u64>().expect("the directive holds numbers");
    StreamLimit { hard: number(1), soft: number(2), soft_for: Duration::from_secs(number(3)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_replicas() {
        let limit = stream_limit("normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6");
        let expected =
            StreamLimit { hard: 256 << 20, soft: 64 << 20, soft_for: Duration::from_secs(60) };
        assert_eq!(limit, expected);
    }
}
