//! Every port that `up` needs, checked before anything starts: half a cluster helps nobody.

use super::Options;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// A node's cluster bus is this far above its port.
const BUS_OFFSET: u16 = 10_000;

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Proxy,
    Http,
    Node(usize),
    Bus(usize),
}

impl Use {
    /// The option that moves it.
    fn option(self) -> &'static str {
        match self {
            Self::Proxy => "--port",
            Self::Http => "--http",
            Self::Node(_) | Self::Bus(_) => "--base-port",
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy => f.write_str("the proxy"),
            Self::Http => f.write_str("metrics"),
            Self::Node(number) => write!(f, "node {number}"),
            Self::Bus(number) => write!(f, "the cluster bus of node {number}"),
        }
    }
}

/// Why a port cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortError {
    /// Another program has it.
    #[error("port {port} ({for_what}) is taken by another program; {option} moves it")]
    Taken { port: u16, for_what: String, option: &'static str },
    /// We need it twice.
    #[error("port {port} is wanted for {first} and for {second}; {option} moves the latter")]
    Twice { port: u16, first: String, second: String, option: &'static str },
    /// There is no such port.
    #[error(
        "{nodes} nodes from port {base} on need ports up to {last} (each also its port plus \
         {BUS_OFFSET}), and ports end at 65535; --base-port moves them"
    )]
    Beyond { nodes: usize, base: u16, last: u32 },
    /// The system refuses it.
    #[error("cannot listen on {address} ({for_what}): {source}; {option} moves it")]
    Refused { address: SocketAddr, for_what: String, option: &'static str, source: io::Error },
}

/// Checks that every port is free, and that none is wanted twice.
///
/// # Errors
/// The first that is not.
pub(super) fn check(options: &Options) -> Result<(), PortError> {
    let nodes = options.size().nodes();
    let last = u32::from(options.base_port) + nodes as u32 - 1 + u32::from(BUS_OFFSET);
    if last > u32::from(u16::MAX) {
        return Err(PortError::Beyond { nodes, base: options.base_port, last });
    }
    let at = |port: u16| SocketAddr::new(options.bind, port);
    let mut wanted = vec![(at(options.port), Use::Proxy), (options.http, Use::Http)];
    for (index, port) in options.node_ports().enumerate() {
        wanted.push((at(port), Use::Node(index + 1)));
        wanted.push((at(port + BUS_OFFSET), Use::Bus(index + 1)));
    }
    let mut seen: BTreeMap<u16, (IpAddr, Use)> = BTreeMap::new();
    for (address, purpose) in &wanted {
        let clash = |ip: &IpAddr| {
            *ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified()
        };
        // Port 0 is any free one, for metrics alone: it clashes with nothing.
        if let Some((_, first)) = seen.get(&address.port()).filter(|(ip, _)| clash(ip))
            && address.port() != 0
        {
            return Err(PortError::Twice {
                port: address.port(),
                first: first.to_string(),
                second: purpose.to_string(),
                option: purpose.option(),
            });
        }
        seen.insert(address.port(), (address.ip(), *purpose));
    }
    wanted.into_iter().try_for_each(|(address, purpose)| free(address, purpose))
}

fn free(address: SocketAddr, purpose: Use) -> Result<(), PortError> {
    let Err(source) = TcpListener::bind(address) else { return Ok(()) };
    let (for_what, option) = (purpose.to_string(), purpose.option());
    Err(match source.kind() {
        io::ErrorKind::AddrInUse => PortError::Taken { port: address.port(), for_what, option },
        io::ErrorKind::AddrNotAvailable if purpose != Use::Http => {
            PortError::Refused { address, for_what, option: "--bind", source }
        }
        _ => PortError::Refused { address, for_what, option, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(port: u16, http: u16, base_port: u16) -> Options {
        let http = SocketAddr::from(([127, 0, 0, 1], http));
        Options { port, http, base_port, replicas: 0, ..Options::default() }
    }

    #[test]
    fn a_taken_port_names_itself_and_the_option_that_moves_it() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = taken.local_addr().expect("it is bound").port();
        let error = check(&options(port, 0, 24_000)).expect_err("it is taken").to_string();
        let expected =
            format!("port {port} (the proxy) is taken by another program; --port moves it");
        assert_eq!(error, expected);
    }

    #[test]
    fn a_port_wanted_twice_is_told_before_anything_is_tried() {
        for (port, http, base, words) in [
            (24_001, 0, 24_000, "port 24001 is wanted for the proxy and for node 2; --base-port"),
            (24_500, 24_500, 24_000, "port 24500 is wanted for the proxy and for metrics; --http"),
            (34_002, 0, 24_000, "for the proxy and for the cluster bus of node 3; --base-port"),
        ] {
            let error = check(&options(port, http, base)).expect_err("it is twice").to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn ports_end_somewhere() {
        let error = check(&options(24_000, 0, 55_534)).expect_err("too high").to_string();
        assert!(error.contains("3 nodes from port 55534 on need ports up to 65536"), "{error}");
    }
}
