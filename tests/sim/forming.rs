//! How a cluster comes about: as operators form one.

use crate::world::{BUS_PORT, World, ip};
use keyway::bus::Change;
use keyway::cluster::{Slot, SlotSet};
use std::time::Duration;

impl World {
    pub(crate) fn meet(&mut self, host: usize, other: usize) {
        let change = Change::Meet { ip: ip(other), port: 7000, bus_port: BUS_PORT };
        self.apply(host, change).expect("MEET is always taken");
    }

    /// Everyone meets the first, and the slots are shared out evenly among the first `primaries`.
    pub(crate) fn form(&mut self, primaries: usize) {
        for host in 0..self.hosts.len() {
            if host < primaries {
                let bound = |n: usize| n * Slot::COUNT / primaries;
                let slots: SlotSet =
                    Slot::all().skip(bound(host)).take(bound(host + 1) - bound(host)).collect();
                self.apply(host, Change::AddSlots(slots)).expect("free slots");
            }
            if host > 0 {
                self.meet(host, 0);
            }
        }
        // All begin in one epoch, and primaries that do are told apart heartbeat by heartbeat: the more there
        // are, and the longer the node timeout, the later the last two.
        let within = Duration::from_secs(120) + self.node_timeout * 10;
        self.run_until("a cluster", within, |world| world.agrees_and_is_ok());
    }

    /// A cluster whose first `primaries` hosts have `each` replicas: the hosts after them, in turn.
    pub(crate) fn form_with_replicas(&mut self, primaries: usize) {
        self.form(primaries);
        for host in primaries..self.hosts.len() {
            let node = self.id((host - primaries) % primaries).to_string();
            let change = Change::Replicate { node, has_keys: false };
            self.apply(host, change).expect("an empty node");
        }
        self.run_until("replicas", Duration::from_secs(20), |world| {
            let linked = |host: usize| world.hosts[host].data.is_linked();
            world.agrees_and_is_ok() && (primaries..world.hosts.len()).all(linked)
        });
    }
}
