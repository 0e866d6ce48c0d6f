//! Who is in a cluster: node ids, addresses and roles.

use std::fmt;

/// A node's name: 40 lowercase hex digits, kept for life in nodes.conf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NodeId::LEN]);

/// Text that is not a node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 40 lowercase hex digits")]
pub struct InvalidNodeId;

impl NodeId {
    /// Digits of an id.
    pub const LEN: usize = 40;

    /// Reads an id.
    ///
    /// # Errors
    /// Anything but 40 lowercase hex digits is refused.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidNodeId> {
        let digits: [u8; Self::LEN] = text.try_into().map_err(|_| InvalidNodeId)?;
        let valid = digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(digits)) } else { Err(InvalidNodeId) }
    }

    /// An id from 20 random bytes.
    pub fn from_random(bytes: [u8; Self::LEN / 2]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; Self::LEN];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(digits)
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The digits, as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }

    /// The first eight digits: enough for people to tell nodes apart.
    pub fn short(&self) -> &str {
        &self.as_str()[..8]
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Where a server listens for clients: a host name or address, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// An IPv4 or IPv6 address without brackets, or a host name. Never empty.
    pub host: String,
    /// The client port.
    pub port: u16,
}

/// Text that is not `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not HOST:PORT")]
pub struct InvalidEndpoint(pub String);

impl Endpoint {
    /// An endpoint from its parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host:port`. The last colon divides, so IPv6 works with and without brackets.
    ///
    /// # Errors
    /// No colon, an empty host, or a port that is not 1 to 65535.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port: u16 = port.parse().map_err(|_| invalid())?;
        if host.is_empty() || port == 0 {
            return Err(invalid());
        }
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_divides_host_and_port() {
        for (text, host, port) in [
            ("127.0.0.1:7000", "127.0.0.1", 7000),
            ("[::1]:7000", "::1", 7000),
            ("fe80::1:7000", "fe80::1", 7000),
            ("node-1.example:6379", "node-1.example", 6379),
        ] {
            assert_eq!(Endpoint::parse(text), Ok(Endpoint::new(host, port)), "{text}");
        }
        for text in ["", "7000", ":7000", "host:", "host:0", "host:65536", "host:x"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_is_40_lowercase_hex_digits() {
        let id = NodeId::from_random(*b"\x00\x0f\xf0abcdefghijklmnopq");
        assert_eq!(NodeId::parse(id.as_bytes()), Ok(id));
        assert_eq!(id.short(), "000ff061");
        assert!(NodeId::parse(b"abc").is_err());
        assert!(NodeId::parse(&[b'A'; 40]).is_err());
    }
}
