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
    /// The address that others are told of (`cluster-announce-ip`). Without one it is learned
    /// from the first node that reaches us.
    pub announce_ip: Option<IpAddr>,
    /// The host name that others are told of (`cluster-announce-hostname`).
    pub announce_hostname: Option<String>,
    /// How long a node may be silent before it counts as unreachable (`cluster-node-timeout`).
    pub node_timeout: Duration,
    /// Whether one slot without an owner stops all of them (`cluster-require-full-coverage`).
    pub require_full_coverage: bool,
    /// Whether reads go on while the cluster is down (`cluster-allow-reads-when-down`).
    pub allow_reads_when_down: bool,
    /// What clients are sent to (`cluster-preferred-endpoint-type`).
    pub preferred_endpoint: EndpointKind,
    /// From where a node that we do not know may ask to be taken in (`cluster-allow-from`).
    /// Loopback and the addresses of nodes that we know always may.
    pub allow_from: Vec<IpRange>,
}

impl Options {
    /// The defaults of Redis for a node that listens on `port`.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            bus_port: port.saturating_add(BUS_PORT_OFFSET),
            announce_ip: None,
            announce_hostname: None,
            node_timeout: Duration::from_secs(15),
            require_full_coverage: true,
            allow_reads_when_down: false,
            preferred_endpoint: EndpointKind::Ip,
            allow_from: Vec::new(),
        }
    }
}

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

impl FromStr for IpRange {
    type Err = InvalidIpRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidIpRange(text.to_owned());
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse::<u32>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let (number, v4) = number(ip.parse().map_err(|_| invalid())?);
        let width: u32 = if v4 { 32 } else { 128 };
        let free = width.checked_sub(bits.unwrap_or(width)).ok_or_else(invalid)?;
        let mask = u128::MAX.checked_shr(128 - free).unwrap_or(0);
        Ok(Self { first: number & !mask, last: number | mask, v4 })
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
