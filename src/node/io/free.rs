//! Frees what is big on a thread of its own, so that no command waits for it.

use crate::store::Garbage;
use std::sync::mpsc::{Sender, channel};

/// The nice value of the thread, which counts for each thread on its own in Linux.
const LEAST_URGENT: i32 = 19;

/// Where garbage goes. The thread starts with the first of it and ends with this.
///
/// What waits has no limit of its own: it is memory that was taken under other limits, and freeing
/// it here because much of it waits would hold up commands just then.
#[derive(Debug, Default)]
pub(super) struct Freer {
    thread: Option<Sender<Garbage>>,
}

impl Freer {
    /// Lets another thread drop this; drops it here if there is none to be had.
    pub(super) fn free(&mut self, garbage: Garbage) {
        let thread = self.thread.get_or_insert_with(|| {
            let (sender, receiver) = channel::<Garbage>();
            let name = std::thread::Builder::new().name("free".into());
            let run = move || {
                yield_to_commands();
                receiver.into_iter().for_each(drop);
            };
            if let Err(error) = name.spawn(run) {
                tracing::warn!(%error, "no thread to free memory on: commands will wait for it");
            }
            sender
        });
        // Without the thread, what comes back is dropped here.
        drop(thread.send(garbage));
    }
}

/// Where there is one processor for all threads, the one that runs commands goes first.
fn yield_to_commands() {
    if let Err(error) = rustix::process::nice(LEAST_URGENT) {
        tracing::debug!(%error, "memory is freed as urgently as commands run");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expiry, Keyspace, KeyspaceOptions};
    use std::time::{Duration, Instant};

    fn millions_of_nodes(keys: usize) -> Garbage {
        let options = KeyspaceOptions { by_slot: true, databases: 1, seed: (1, 2) };
        let mut keyspace = Keyspace::new(options);
        for n in 0..keys {
            keyspace.db(0, 0).set_string(format!("key:{n}").as_bytes(), b"value", Expiry::Clear);
        }
        keyspace.flush(0);
        keyspace.take_garbage()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test is about time")]
    fn handing_over_takes_less_time_than_dropping() {
        let (dropped, handed) = (millions_of_nodes(300_000), millions_of_nodes(300_000));
        assert_eq!(handed.keys(), 300_000);
        let mut freer = Freer::default();
        freer.free(Garbage::default());

        let started = Instant::now();
        freer.free(handed);
        let handing = started.elapsed();
        let started = Instant::now();
        drop(dropped);
        let dropping = started.elapsed();
        assert!(dropping > Duration::from_millis(1), "{dropping:?}");
        assert!(handing < dropping, "{handing:?} against {dropping:?}");
    }
}
