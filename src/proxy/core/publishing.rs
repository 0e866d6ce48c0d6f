//! PUBLISH and SPUBLISH while somebody listens through this proxy: one request to one node, whose
//! count is made that of a single server.
//!
//! Where a shard channel's slot has moved and a worker with clients that listen has not been confirmed
//! at its new owner, SPUBLISH waits for that, as a command waits for its slot. In a transaction it does
//! not: that would have to wait as a whole, and its count tells who got it.

use super::requests::Dispatched;
use super::{Core, SessionId};
use crate::cluster::{Endpoint, Slot};
use crate::command::{Class, Spec};
use crate::proxy::elements::integer;
use crate::proxy::gather::{Gather, Kind};
use crate::proxy::pinned::Multi;
use crate::proxy::publication::Publication;
use crate::proxy::route::{self, Route};
use crate::proxy::topics::TopicKind;
use crate::resp::{Request, RequestDecoder};
use std::time::Instant;

impl Core {
    pub(super) fn publish(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let topology = self.backends.topology();
        let slot = match route::slot_of(spec, &request) {
            Ok(Route::Keyed(slot)) => slot,
            _ => route::publishing_shard(topology).unwrap_or(Slot::of(b"")),
        };
        let nobody = Endpoint::new("", 0);
        let node = topology.owner(slot).map_or(&nobody, |node| &topology.node(node).endpoint);
        let publication = self.publication(spec, &request, node);
        let kind = Kind::Publication(Box::new(publication));
        let mut gather = Gather::new(kind, spec.is_write(), self.options.gather_bytes);
        gather.add_shard(slot);
        self.send_parts(id, spec, gather, now)
    }

    /// Whether what this publishes must wait until those who listen have come to where it would go.
    pub(super) fn waits_for_listeners(
        &self,
        gather: &mut Gather,
        node: Option<&Endpoint>,
        now: Instant,
    ) -> bool {
        let slot = gather.parts[0].slot;
        let Some(publication) = gather.publication() else { return false };
        let topology = self.backends.topology();
        let owner = || topology.owner(slot).map(|node| &topology.node(node).endpoint);
        let Some(node) = node.or_else(owner) else { return false };
        !self.options.ride_out.is_zero() && publication.must_wait(node, &self.shared.listeners, now)
    }

    fn publication(&self, spec: &Spec, request: &Request<'_>, node: &Endpoint) -> Publication {
        let kind = match spec.name {
            "spublish" => TopicKind::Shard,
            _ => TopicKind::Channel,
        };
        Publication::new(kind, request.arg(1), node, &self.shared.listeners)
    }

    /// Makes of what a node has counted for a PUBLISH in a transaction what one server would.
    pub(super) fn receivers_in_exec(
        &self,
        multi: &Multi,
        number: usize,
        counted: &[u8],
        node: &Endpoint,
    ) -> Option<i64> {
        let counted = integer(counted).ok()?;
        let frame = multi.frame(number);
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten()?;
        let request = decoder.request(frame, used)?;
        let spec = multi.queued()[number].spec;
        Some(self.publication(spec, &request, node).receivers(counted))
    }
}

/// Whether any command of a transaction is answered with a count of connections.
pub(super) fn publishes(multi: &Multi) -> bool {
    multi.queued().iter().any(|queued| queued.spec.class == Class::Publish)
}
