//! Who may connect at all, before a byte is read: not too many, and while there is no password, nobody
//! from another host.
//!
//! An address beyond loopback that asks for no password is how data stores are emptied by strangers.
//! Redis's protected mode has made that rare, and a proxy in front of a cluster is as open as what it
//! stands in front of. A client is of this host if it comes from a loopback address or, which Redis does
//! not look at, from the very address that it connects to: no packet from elsewhere can have that.

use super::Options;
use std::net::IpAddr;

/// Why a client was turned away: the line that it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// `clients_max` are connected.
    #[error("ERR max number of clients reached")]
    TooManyClients,
    /// It comes from another host, and there is no password.
    #[error(
        "DENIED Keyway is running in protected mode because protected mode is enabled and no password \
         is set. In this mode connections are only accepted from this host. To take clients of other \
         hosts: 1) Set a password: `password` in the proxy's configuration file, \
         `--requirepass` or KEYWAY_REQUIREPASS. 2) Or, where no stranger can reach this address, turn \
         protected mode off: `protected_mode: false` in the file, or `--protected-mode no`."
    )]
    Protected,
}

impl Options {
    /// Whether one more client is taken in, which comes from `peer` to `local`, beside so many that are
    /// there.
    pub(super) fn admit(&self, peer: IpAddr, local: IpAddr, clients: usize) -> Result<(), Refusal> {
        if clients >= self.clients_max {
            return Err(Refusal::TooManyClients);
        }
        let open = self.protected_mode && self.password.is_none();
        let of_this_host = peer.to_canonical().is_loopback() || peer == local;
        if open && !of_this_host {
            return Err(Refusal::Protected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const LOCAL: &str = "10.0.0.9";

    #[test]
    fn strangers_are_refused_while_there_is_no_password() {
        let open = Options { clients_max: 2, ..Options::default() };
        let locked = Options { password: Some(Secret::new("p")), ..open.clone() };
        let trusting = Options { protected_mode: false, ..open.clone() };
        let full = Err(Refusal::TooManyClients);
        let protected = Err(Refusal::Protected);
        for (options, peer, clients, expected) in [
            (&open, "127.0.0.1", 0, Ok(())),
            (&open, "127.8.9.10", 0, Ok(())),
            (&open, "::1", 0, Ok(())),
            (&open, "::ffff:127.0.0.1", 0, Ok(())),
            (&open, "10.0.0.1", 0, protected),
            (&open, LOCAL, 0, Ok(())),
            (&open, "::ffff:10.0.0.1", 0, protected),
            (&open, "fe80::1", 0, protected),
            (&open, "10.0.0.1", 2, full),
            (&locked, "10.0.0.1", 0, Ok(())),
            (&trusting, "10.0.0.1", 0, Ok(())),
            (&trusting, "10.0.0.1", 2, full),
        ] {
            let peer: IpAddr = peer.parse().expect("an address");
            assert_eq!(
                options.admit(peer, LOCAL.parse().expect("another"), clients),
                expected,
                "{peer} beside {clients}"
            );
        }
    }
}
