//! What keeps a client's commands on one slot in their order when they change connections: a
//! command that could overtake another waits until everything under way is answered.

use crate::cluster::Slot;
use crate::proxy::gather::PartState;
use crate::proxy::link::LinkId;
use crate::proxy::pipeline::State;
use crate::proxy::session::Session;
use std::time::Instant;

impl Session {
    /// Whether a command on `slot` that would take `link` stays behind those that it must not
    /// overtake. One comparison, unless the map has changed since the oldest of them was sent.
    #[inline]
    pub(super) fn keeps_order(
        &mut self,
        slot: Slot,
        link: LinkId,
        generation: u64,
        now: Instant,
    ) -> bool {
        if self.generation == generation && self.careful.is_empty() {
            return true;
        }
        self.keeps_order_slow(slot, link, generation, now)
    }

    #[cold]
    fn keeps_order_slow(
        &mut self,
        slot: Slot,
        link: LinkId,
        generation: u64,
        now: Instant,
    ) -> bool {
        let one_at_a_time = self.is_careful(slot, now);
        let mut oldest_is_current = true;
        for (at, entry) in self.pipeline.iter().enumerate() {
            if at == 0 {
                oldest_is_current = entry.generation == generation;
            }
            let overtakes = match (entry.state, &entry.work) {
                (State::InFlight, _) => {
                    entry.slot == Some(slot) && (one_at_a_time || entry.link != link)
                }
                (State::Waiting, _) => entry.slot == Some(slot),
                (State::Gathering, Some(work)) => work.gather.as_ref().is_some_and(|gather| {
                    gather.parts.iter().any(|part| {
                        part.slot == slot
                            && part.state != PartState::Done
                            && (one_at_a_time || part.link != link)
                    })
                }),
                (State::Gathering, None)
                | (State::Held { .. } | State::HeldApart | State::Subscribing | State::Asking, _) => {
                    false
                }
            };
            if overtakes {
                return false;
            }
        }
        if oldest_is_current && self.generation != u64::MAX {
            self.generation = generation;
        }
        true
    }
}
