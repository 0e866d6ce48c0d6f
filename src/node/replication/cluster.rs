//! Replication as a cluster's bus sees it: the bus decides whom this node copies, and weighs how far
//! the copy is.

use super::upstream::Phase;
use crate::bus::{self, Source};
use crate::clock::Now;
use crate::node::core::Core;
use crate::node::server::Server;
use crate::store::Expired;

impl Server {
    /// Tells the bus how far replication is, before it decides anything.
    pub(in crate::node) fn tell_bus(&mut self) {
        let replication = &self.replication;
        let upstream = replication.upstream.as_ref();
        let state = bus::Replication {
            offset: replication.history.offset(),
            heard: upstream.filter(|upstream| upstream.has_data()).map(|upstream| upstream.heard),
            linked: upstream.is_some_and(|upstream| upstream.phase == Phase::Online),
        };
        if let Some(member) = &mut self.cluster {
            member.set_replication(state);
        }
    }
}

impl Core {
    /// From here on this node copies that primary; if none, it is a primary itself.
    pub fn replicate(&mut self, now: Now, source: Option<Source>) {
        match source {
            Some(source) => {
                let host = source.address.ip().to_string();
                self.follow(now, &host, source.address.port());
            }
            None => self.lead(),
        }
    }

    /// Keys past their expiry are removed by a primary whose writes are not held back, and hidden
    /// otherwise: what is removed has to be told, and only a primary tells.
    pub(in crate::node) fn refresh_expiry(&mut self, now: Now) {
        let removes = !self.server.replication.is_replica() && !self.server.is_write_paused(now);
        self.keyspace.set_on_expired(if removes { Expired::Remove } else { Expired::Hide });
    }
}
