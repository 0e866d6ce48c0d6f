//! What a member is told by its configuration.

use crate::cluster::describe::EndpointKind;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// A member's settings. All of them may change while it runs
/// ([`Member::set_options`](super::Member::set_options)).
#[derive(Clone, Debug)]
pub struct Options {
    /// The port for clients that others are told of.
    pub port: u16,
    /// The port for nodes that others are told of.
    pub bus_port: u16,
    /// The port for clients with TLS that others are told of (`cluster-announce-tls-port`); 0 for none.
    pub tls_port: u16,
    /// The address that others are told of (`cluster-announce-ip`). Without one it is learned
    /// from the first node that reaches us.
    pub announce_ip: Option<IpAddr>,
    /// The host name that others are told of (`cluster-announce-hostname`).
    pub announce_hostname: Option<String>,
    /// How long a node may be silent before it counts as unreachable (`cluster-node-timeout`).
    pub node_timeout: Duration,
    /// A node that was not heard of for so long is pinged (`cluster-ping-interval`); half the node
    /// timeout if none.
    pub ping_interval: Option<Duration>,
    /// Most bytes that may wait to be sent on one link; a peer that lets more pile up is cut off
    /// (`cluster-link-sendbuf-limit`).
    pub link_buffer_max: usize,
    /// Whether one slot without an owner stops all of them (`cluster-require-full-coverage`).
    pub require_full_coverage: bool,
    /// Whether reads go on while the cluster is down (`cluster-allow-reads-when-down`).
    pub allow_reads_when_down: bool,
    /// What clients are sent to (`cluster-preferred-endpoint-type`).
    pub preferred_endpoint: EndpointKind,
    /// How many working replicas a primary keeps when one of them moves to a primary that has none
    /// (`cluster-migration-barrier`).
    pub migration_barrier: usize,
    /// Whether a replica may move to another shard, and a primary that lost its last slot become
    /// a replica of its new owner (`cluster-allow-replica-migration`).
    pub allow_replica_migration: bool,
    /// Whether this node never stands for election by itself (`cluster-replica-no-failover`).
    pub no_failover: bool,
    /// A replica whose data is older than so many node timeouts (and one ping period) does not
    /// stand for election (`cluster-replica-validity-factor`); 0 allows any age.
    pub replica_validity_factor: u32,
    /// How often a primary says something to its replicas (`repl-ping-replica-period`).
    pub replication_ping_period: Duration,
    /// Whether a primary that has lost its data lets a replica take over
    /// (`cluster-empty-restart-guard`).
    pub empty_restart_guard: bool,
    /// The same for one whose last writes may not have been on disk when it ended
    /// (`cluster-stale-restart-guard`).
    pub stale_restart_guard: bool,
    /// For how long a node that was forgotten stays forgotten (`cluster-blacklist-ttl`).
    pub forget_for: Duration,
    /// How long CLUSTER FAILOVER may take.
    pub manual_failover_timeout: Duration,
    /// The name that people gave this node (`cluster-announce-human-nodename`).
    pub human_name: Option<String>,
    /// From where nodes may connect (`cluster-allow-from`), beside the addresses of nodes that are known.
    pub allow_from: Vec<IpRange>,
    /// Whether nodes may connect from this host itself: by loopback, or from the address that they reach.
    pub allow_this_host: bool,
}

impl Options {
    /// The defaults of Redis for a node that listens on `port`.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            bus_port: port.saturating_add(BUS_PORT_OFFSET),
            tls_port: 0,
            announce_ip: None,
            announce_hostname: None,
            node_timeout: Duration::from_secs(15),
            ping_interval: None,
            link_buffer_max: LINK_BUFFER_MAX,
            require_full_coverage: true,
            allow_reads_when_down: false,
            preferred_endpoint: EndpointKind::Ip,
            migration_barrier: 1,
            allow_replica_migration: true,
            no_failover: false,
            replica_validity_factor: 10,
            replication_ping_period: Duration::from_secs(10),
            empty_restart_guard: true,
            stale_restart_guard: true,
            forget_for: super::gossip::FORGET_FOR,
            manual_failover_timeout: super::manual::TIMEOUT,
            human_name: None,
            allow_from: Vec::new(),
            allow_this_host: true,
        }
    }
}

/// Bytes that may wait on one link where no limit is set: a peer must not take all memory.
pub const LINK_BUFFER_MAX: usize = 64 * 1024 * 1024;

/// How far the bus port lies above the client port, unless `cluster-port` says otherwise.
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    first: u128,
    last: u128,
    v4: bool,
}

/// Text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor ADDRESS/BITS")]
pub struct InvalidIpRange(pub String);

impl IpRange {
    /// Whether an address is in the range. An IPv4 address counts as itself where a socket
    /// reports it as mapped into IPv6.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (number, v4) = number(ip.to_canonical());
        v4 == self.v4 && (self.first..=self.last).contains(&number)
    }
}

fn number(ip: IpAddr) -> (u128, bool) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), true),
        IpAddr::V6(ip) => (ip.to_bits(), false),
    }
}

impl IpRange {
    /// The addresses that share their first `bits` bits with this one; `None` if it has fewer.
    pub fn new(ip: IpAddr, bits: u32) -> Option<Self> {
        let (number, v4) = number(ip);
        let width: u32 = if v4 { 32 } else { 128 };
        let free = width.checked_sub(bits)?;
        let mask = u128::MAX.checked_shr(128 - free).unwrap_or(0);
        Some(Self { first: number & !mask, last: number | mask, v4 })
    }
}

impl FromStr for IpRange {
    type Err = InvalidIpRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidIpRange(text.to_owned());
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse::<u32>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
        let all = if ip.is_ipv4() { 32 } else { 128 };
        Self::new(ip, bits.unwrap_or(all)).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_its_bits_say() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.7.9/16", "192.168.0.0", "192.169.0.0"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ] {
            let range: IpRange = range.parse().expect("a range");
            assert!(range.contains(inside.parse().expect("an address")), "{range:?} {inside}");
            assert!(!range.contains(outside.parse().expect("an address")), "{range:?} {outside}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "host", "::/129", "1.2.3.4/x"] {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
    }
}
