//! The error replies by which a node says that a command belongs elsewhere, or has to wait.
//!
//! All of them mean that the command **was not run** (cluster specification, *Redirection and
//! resharding*), which is what makes sending it again safe.

use super::{Endpoint, Slot};
use memchr::memrchr;

/// Where a redirect points. Servers may leave the host out ("where you are connected") when
/// `cluster-preferred-endpoint-type unknown-endpoint` is set, and write `?` for a host they do
/// not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectTarget<'a> {
    /// The host; empty for the one that sent the redirect.
    pub host: &'a str,
    /// The client port.
    pub port: u16,
}

impl RedirectTarget<'_> {
    /// The endpoint meant, where `sender` is the host that sent the redirect.
    pub fn endpoint(&self, sender: &str) -> Endpoint {
        let host = if self.host.is_empty() || self.host == "?" { sender } else { self.host };
        Endpoint::new(host, self.port)
    }
}

/// An error reply that speaks of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterError<'a> {
    /// `MOVED slot host:port`: the slot belongs to that node.
    Moved {
        /// The slot.
        slot: Slot,
        /// Its owner.
        to: RedirectTarget<'a>,
    },
    /// `ASK slot host:port`: this key has left already; the slot has not.
    Ask {
        /// The slot.
        slot: Slot,
        /// Where the key may be.
        to: RedirectTarget<'a>,
    },
    /// `TRYAGAIN …`: some keys of the command have left, and some have not.
    TryAgain,
    /// `CLUSTERDOWN …`: the slot has no owner, or the cluster is down.
    ClusterDown,
    /// `LOADING …`: the node reads its data set.
    Loading,
    /// `MASTERDOWN …`: a replica without its primary that must not serve stale data.
    MasterDown,
    /// `READONLY …`: a write reached a replica.
    ReadOnly,
    /// `CROSSSLOT …`: the keys of the command are in several slots.
    CrossSlot,
}

impl<'a> ClusterError<'a> {
    /// Reads an error line without its `-` and line end; `None` for any other error.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (word, rest) = match memchr::memchr(b' ', line) {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &line[line.len()..]),
        };
        Some(match word {
            b"MOVED" => {
                let (slot, to) = redirect(rest)?;
                Self::Moved { slot, to }
            }
            b"ASK" => {
                let (slot, to) = redirect(rest)?;
                Self::Ask { slot, to }
            }
            b"TRYAGAIN" => Self::TryAgain,
            b"CLUSTERDOWN" => Self::ClusterDown,
            b"LOADING" => Self::Loading,
            b"MASTERDOWN" => Self::MasterDown,
            b"READONLY" => Self::ReadOnly,
            b"CROSSSLOT" => Self::CrossSlot,
            _ => return None,
        })
    }
}

/// `slot host:port`. The last colon divides, as IPv6 addresses are written without brackets.
fn redirect(text: &[u8]) -> Option<(Slot, RedirectTarget<'_>)> {
    let space = memchr::memchr(b' ', text)?;
    let slot = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let address = &text[space + 1..];
    let colon = memrchr(b':', address)?;
    let host = std::str::from_utf8(&address[..colon]).ok()?;
    let port = std::str::from_utf8(&address[colon + 1..]).ok()?.parse().ok()?;
    (port != 0).then_some((Slot::new(slot).ok()?, RedirectTarget { host, port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read_with_every_kind_of_host() {
        for (line, host, port) in [
            ("MOVED 3999 127.0.0.1:6381", "127.0.0.1", 6381),
            ("MOVED 3999 ::1:6381", "::1", 6381),
            ("MOVED 3999 :6381", "", 6381),
            ("MOVED 3999 node.example:6381", "node.example", 6381),
        ] {
            let slot = Slot::new(3999).expect("in range");
            let to = RedirectTarget { host, port };
            assert_eq!(
                ClusterError::parse(line.as_bytes()),
                Some(ClusterError::Moved { slot, to }),
                "{line}"
            );
        }
        assert_eq!(
            RedirectTarget { host: "", port: 1 }.endpoint("10.0.0.1"),
            Endpoint::new("10.0.0.1", 1)
        );
    }

    #[test]
    fn half_a_redirect_is_an_ordinary_error() {
        for line in
            ["MOVED", "MOVED 1", "MOVED x a:1", "MOVED 16384 a:1", "ASK 1 a:", "ASK 1 a:0", "ERR x"]
        {
            assert_eq!(ClusterError::parse(line.as_bytes()), None, "{line}");
        }
    }
}
