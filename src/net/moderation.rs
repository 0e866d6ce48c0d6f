//! When a busy worker should sleep a moment longer than it must, to wake for many clients at once.
//!
//! A worker that keeps up with its clients wakes for a few of them at a time: then the switch to it, the
//! switch away, the waking of whoever waits for what it sends, and a write to a node are paid for by two or
//! three requests. Network cards know the problem and its cure as interrupt moderation. Many clients at a
//! time are the condition: a few would wait for nothing, and one alone must never wait.

/// Clients read from per turn, on average, from which on it is worth while to pause.
const ENTER: u32 = 2;
/// Clients read from per turn below which pausing ends. Pauses make turns larger, so that it is above
/// [`ENTER`]: with four clients, each of which waits for its reply, turns of four would never end it.
const LEAVE: u32 = 6;
/// Turns over which the average goes, about; a power of two.
const MEMORY: u32 = 16;
/// The average is kept in this fraction of a client.
const ONE: u32 = 256;

/// How many clients a worker's turns serve. A turn is what happens between two sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moderation {
    clients: u32,
    average: u32,
    pausing: bool,
}

impl Moderation {
    /// Nobody served yet.
    pub(super) const fn new() -> Self {
        Self { clients: 0, average: 0, pausing: false }
    }

    /// A client was read from, and had something to say.
    #[inline]
    pub(super) fn client_was_read(&mut self) {
        self.clients = self.clients.saturating_add(1);
    }

    /// The worker has nothing left to do. True: it should pause before it looks again.
    pub(super) fn turn_ended(&mut self) -> bool {
        let clients = std::mem::take(&mut self.clients).min(10_000);
        self.average = self.average - self.average / MEMORY + clients * ONE / MEMORY;
        let limit = if self.pausing { LEAVE } else { ENTER };
        self.pausing = self.average >= limit * ONE;
        self.pausing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the last hundred turns end in a pause.
    fn pauses(moderation: &mut Moderation, clients_per_turn: &[u32]) -> usize {
        let turns = clients_per_turn.iter().cycle().take(400).map(|&clients| {
            (0..clients).for_each(|_| moderation.client_was_read());
            moderation.turn_ended()
        });
        turns.skip(300).filter(|&pause| pause).count()
    }

    #[test]
    fn clients_that_are_few_never_wait_for_each_other() {
        for turns in [&[0][..], &[1], &[1, 0], &[1, 1, 1, 4], &[2, 1]] {
            assert_eq!(pauses(&mut Moderation::new(), turns), 0, "{turns:?}");
        }
    }

    #[test]
    fn a_worker_that_wakes_for_a_few_of_many_clients_pauses() {
        for turns in [&[3][..], &[5, 0], &[12], &[20_000], &[10, 0, 0]] {
            assert!(pauses(&mut Moderation::new(), turns) >= 50, "{turns:?}");
        }
    }

    #[test]
    fn pauses_end_when_the_clients_have_become_few() {
        let mut moderation = Moderation::new();
        assert_eq!(pauses(&mut moderation, &[20]), 100);
        assert_eq!(pauses(&mut moderation, &[1]), 0);
        assert_eq!(pauses(&mut moderation, &[20]), 100);
        // Each of four clients is read from in every turn, because the pause gathers them.
        assert!(pauses(&mut moderation, &[4]) <= 50);
    }
}
