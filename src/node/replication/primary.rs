//! The primary as a client of this node: in its name the commands of its stream run.

use super::Replication;
use super::upstream::{Phase, Upstream};
use crate::clock::Now;
use crate::node::session::{Addresses, Role, Session};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

impl Replication {
    /// The primary as a client, while its stream is followed.
    pub(in crate::node) fn primary_session(&self) -> Option<&Session> {
        let upstream = self.upstream.as_ref()?;
        upstream.session.as_deref().filter(|_| upstream.phase == Phase::Online)
    }
}

/// The session in whose name the stream's commands run.
pub(super) fn primary_session(now: Now, upstream: &Upstream) -> Box<Session> {
    let unspecified = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let ip = upstream.host.parse().unwrap_or(unspecified);
    let peer = SocketAddr::from((ip, upstream.port));
    let local = SocketAddr::from((unspecified, 0));
    let addresses = Addresses { peer, local, descriptor: -1 };
    let mut session = Session::new(0, addresses, now, true);
    session.role = Role::Primary;
    Box::new(session)
}
