//! The networks that this machine is in, as the kernel's tables of routes have them: nodes there
//! are believed to be neighbours, unless `cluster-allow-from` says who is.
//!
//! A route without a gateway leads to a network that an interface of ours is in. Where there is no
//! `/proc` (outside of Linux), none is known, and nodes elsewhere have to be allowed by name.

use crate::bus::IpRange;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks of this machine's interfaces.
pub(super) fn local_subnets() -> Vec<IpRange> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (read("/proc/net/route"), read("/proc/net/ipv6_route"));
    v4.lines().filter_map(v4_route).chain(v6.lines().filter_map(v6_route)).collect()
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, in hexadecimal of this machine's
/// byte order.
fn v4_route(line: &str) -> Option<IpRange> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
    let (destination, gateway, mask) = (number(1)?, number(2)?, number(7)?);
    let bits = mask.count_ones();
    if gateway != 0 || bits == 0 {
        return None;
    }
    let ip = Ipv4Addr::from(destination.to_ne_bytes());
    IpRange::new(IpAddr::V4(ip), bits)
}

/// `destination bits source bits next-hop metric …`, in hexadecimal.
fn v6_route(line: &str) -> Option<IpRange> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = |at: usize| u128::from_str_radix(words.get(at)?, 16).ok();
    let bits = u32::from_str_radix(words.get(1)?, 16).ok()?;
    let (destination, next_hop) = (Ipv6Addr::from(address(0)?), address(4)?);
    if next_hop != 0 || bits == 0 || destination.is_multicast() {
        return None;
    }
    IpRange::new(IpAddr::V6(destination), bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_without_a_gateway_is_ours() {
        // As on a machine with one interface, 192.0.2.2/24, and a default route.
        for (line, range) in [
            ("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU", None),
            ("eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0", None),
            ("eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0", Some("192.0.2.0/24")),
            ("tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0", None),
            ("", None),
        ] {
            let range: Option<IpRange> = range.map(|range| range.parse().expect("a range"));
            // The table is in the order of bytes of a little-endian machine.
            if cfg!(target_endian = "little") {
                assert_eq!(v4_route(line), range, "{line}");
            }
        }
        let zero = "0".repeat(32);
        let rest = "00000100 00000001 00000000 00000001 eth0";
        let one = format!("fd{} 40 {zero} 00 {zero} {rest}", "0".repeat(30));
        assert_eq!(v6_route(&one), "fd00::/64".parse().ok());
        let default = format!("{zero} 00 {zero} 00 {zero} {rest}");
        assert_eq!(v6_route(&default), None);
        let multicast = format!("ff{} 08 {zero} 00 {zero} {rest}", "0".repeat(30));
        assert_eq!(v6_route(&multicast), None);
    }
}
