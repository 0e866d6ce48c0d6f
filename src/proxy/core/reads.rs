//! Reads from replicas: which connection a command takes that only reads.
//!
//! Off by default. A replica is behind its primary, so a client may not see what it has just
//! written; what it may rely on is that its own commands on one slot do not overtake each other.

use super::Core;
use crate::cluster::{Endpoint, Slot};
use crate::command::{Class, Flags, Spec};
use crate::proxy::backends::NoRoute;
use crate::proxy::lanes::Lane;
use crate::proxy::link::LinkId;
use crate::proxy::replicas::ReadFrom;
use std::time::{Duration, Instant};

/// A replica that would not run a read is not asked for so long.
const AVOIDED: Duration = Duration::from_secs(1);

impl Core {
    /// Whether a command may be sent to a replica: by its row of the table alone.
    #[inline]
    pub(super) fn may_read_elsewhere(&self, spec: &Spec) -> bool {
        self.reads_elsewhere
            && spec.flags.contains(Flags::READONLY)
            && matches!(spec.class, Class::OneSlot | Class::AllOrNothing | Class::Split)
    }

    /// The connection for a command on this slot.
    #[inline]
    pub(super) fn route_to_slot(
        &mut self,
        spec: &Spec,
        slot: Slot,
        lane: Lane,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        if self.may_read_elsewhere(spec) {
            return self.route_read(slot, lane, now);
        }
        self.backends.route(slot, lane, now)
    }

    /// The connection for a command on this slot that only reads.
    ///
    /// # Errors
    /// Why there is none now.
    #[cold]
    pub(super) fn route_read(
        &mut self,
        slot: Slot,
        lane: Lane,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        let Some(owner) = self.backends.topology().owner(slot) else {
            return Err(NoRoute::Uncovered);
        };
        if self.backends.lanes.setup(lane.id).tracking.is_some() {
            // What it is told of changes comes from primaries.
            return self.backends.route(slot, lane, now);
        }
        let primary = self.backends.topology().node(owner).endpoint.clone();
        let targets = self.shared.reads.load_full();
        let replicas = targets.replicas(&primary);
        self.avoided.retain(|_, until| *until > now);
        let read_lane = Lane { id: self.backends.lanes.for_reads(lane.id), large: lane.large };
        let nearest = self.options.read_from == ReadFrom::Nearest;
        let primary_latency = targets.latency(&primary).unwrap_or(Duration::MAX);
        // Workers begin at different replicas, so that these share the work; the nearest is the
        // nearest to all of them.
        let first = if nearest { 0 } else { self.worker };
        let mut error = NoRoute::NoReplica(primary.clone());
        for offset in 0..replicas.len() {
            let candidate = &replicas[(first + offset) % replicas.len()];
            if nearest && candidate.latency > primary_latency {
                break;
            }
            if self.avoided.contains_key(&candidate.endpoint) {
                continue;
            }
            match self.backends.route_to(&candidate.endpoint, read_lane, now) {
                Ok(link) => return Ok(link),
                Err(no_route) => error = no_route,
            }
        }
        if self.options.read_from == ReadFrom::Replica {
            return Err(error);
        }
        self.backends.route(slot, lane, now)
    }

    /// A node would not run a command: reads do not go there for a moment.
    pub(super) fn avoid_for_reads(&mut self, link: LinkId, now: Instant) {
        if !self.reads_elsewhere {
            return;
        }
        let Some(link) = self.backends.link(link) else { return };
        let (lane, endpoint): (_, Endpoint) = (link.lane, link.endpoint.clone());
        if self.backends.lanes.setup(lane).read_only {
            self.avoided.insert(endpoint, now + AVOIDED);
        }
    }
}
