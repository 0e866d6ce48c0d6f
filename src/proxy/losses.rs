//! What a client has written, and whether a primary that took some of it was lost since: then
//! nobody can say any more on how many replicas it is.

use crate::cluster::Slot;

/// Slots are told apart by 256.
const REGIONS: usize = 64;

/// The region of a slot, as a bit.
fn bit(slot: Slot) -> u64 {
    1 << (slot.number() >> 8)
}

/// The connections to nodes that broke, by the regions that those nodes owned.
#[derive(Debug)]
pub(super) struct Losses {
    count: u64,
    last: [u64; REGIONS],
}

impl Default for Losses {
    fn default() -> Self {
        Self { count: 0, last: [0; REGIONS] }
    }
}

impl Losses {
    /// A connection to the owner of these slots broke.
    pub(super) fn note(&mut self, slots: impl Iterator<Item = Slot>) {
        self.count += 1;
        for slot in slots {
            self.last[usize::from(slot.number() >> 8)] = self.count;
        }
    }

    /// How many there were.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// Where a client has written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// A bit for each region.
    regions: u64,
    /// Those of them of which no replica is known to have everything.
    uncopied: u64,
    /// How many losses there were before the first write to any of these.
    since: u64,
    /// What was written before was lost with its primary, or may be.
    lost: bool,
}

impl Written {
    /// A command goes to this slot.
    #[inline]
    pub(super) fn note(&mut self, slot: Slot, is_write: bool, losses: u64) {
        if is_write {
            self.note_regions(bit(slot), losses);
        }
    }

    /// A write goes to every shard.
    pub(super) fn note_all(&mut self, losses: u64) {
        self.note_regions(u64::MAX, losses);
    }

    #[inline]
    fn note_regions(&mut self, regions: u64, losses: u64) {
        if self.uncopied == 0 {
            self.since = losses;
            self.lost = false;
        }
        self.uncopied |= regions;
        self.regions |= regions;
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.regions == 0
    }

    /// Whether something was written to this slot's region.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.regions & bit(slot) != 0
    }

    /// Whether a primary that took some of it was lost since. If so it is forgotten: what is
    /// written from now on can be counted again.
    pub(super) fn take_lost(&mut self, losses: &Losses) -> bool {
        let lost =
            |region: usize| self.uncopied >> region & 1 == 1 && losses.last[region] > self.since;
        if (0..REGIONS).any(lost) {
            self.regions = 0;
            self.uncopied = 0;
            self.lost = true;
        }
        self.lost
    }

    /// All of it is on a replica at least: it outlives its primaries of now.
    pub(super) fn is_copied(&mut self) {
        self.uncopied = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("in range")
    }

    #[test]
    fn what_was_written_before_a_loss_is_lost_until_more_is_written() {
        let (mut losses, mut written) = (Losses::default(), Written::default());
        written.note(slot(300), true, losses.count());
        losses.note([slot(9000)].into_iter());
        assert!(!written.take_lost(&losses), "another node's");
        losses.note([slot(300)].into_iter());
        assert!(written.take_lost(&losses));
        assert!(written.take_lost(&losses), "and it stays so");
        written.note(slot(300), false, losses.count());
        assert!(written.take_lost(&losses), "a read changes nothing");
        written.note(slot(301), true, losses.count());
        assert!(!written.take_lost(&losses), "what was written since is not lost");
    }

    #[test]
    fn what_is_on_a_replica_outlives_its_primary() {
        let (mut losses, mut written) = (Losses::default(), Written::default());
        written.note_all(losses.count());
        written.is_copied();
        losses.note([slot(1)].into_iter());
        assert!(!written.take_lost(&losses));
        assert!(written.has(slot(1)), "and is asked for again");
        written.note(slot(700), true, losses.count());
        losses.note([slot(1)].into_iter());
        assert!(!written.take_lost(&losses), "what was written since is elsewhere");
        losses.note([slot(700)].into_iter());
        assert!(written.take_lost(&losses));
    }
}
