//! What clients were told while a cluster was in trouble, to be held against what it has then.
//!
//! Each writer appends ever larger numbers to a list of its own, one after the other, and notes
//! which were acknowledged. A list that is still in order and has all of them has lost nothing, ran
//! nothing twice, and took nothing back from before.

use crate::support::Client;
use keyway::resp::Reply;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A node that is silent for so long is asked no more.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long WAIT may take, in milliseconds.
const WAIT_MS: &str = "300";
/// Before a writer that was refused tries again: a cluster that elects must not be busy refusing.
const REST: Duration = Duration::from_millis(10);

/// What one writer was told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The list it wrote to.
    pub(super) key: String,
    /// Every number up to this was sent.
    attempted: u64,
    acknowledged: BTreeSet<u64>,
    /// Those of which a replica was said to have a copy.
    copied: BTreeSet<u64>,
    /// The longest time between two acknowledgements.
    pub(super) pause: Duration,
}

/// What became of what was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: usize,
    pub(super) lost: usize,
    pub(super) copied: usize,
    pub(super) pause: Duration,
}

impl Outcome {
    /// Both.
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.copied += other.copied;
        self.pause = self.pause.max(other.pause);
    }
}

/// Appends to `key` until told to stop. `stable` are ports of nodes that stay: they know where the
/// key is by now. With `waits`, each write is followed by WAIT 1.
pub(super) fn write(
    key: &str,
    stable: u16,
    waits: bool,
    stop: &AtomicBool,
    count: &AtomicUsize,
) -> Ledger {
    let mut ledger = Ledger { key: key.to_owned(), ..Ledger::default() };
    let mut client: Option<Client> = None;
    let mut port = stable;
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let Some(connected) = connect(&mut client, port) else {
            port = stable;
            std::thread::sleep(REST);
            continue;
        };
        ledger.attempted += 1;
        let number = ledger.attempted;
        match connected.try_call(&["RPUSH", key, &number.to_string()]) {
            Ok(Reply::Integer(_)) => {
                ledger.acknowledged.insert(number);
                ledger.pause = ledger.pause.max(last.elapsed());
                last = Instant::now();
                count.fetch_add(1, Ordering::Relaxed);
                if waits {
                    match connected.try_call(&["WAIT", "1", WAIT_MS]) {
                        Ok(Reply::Integer(copies)) if copies > 0 => {
                            ledger.copied.insert(number);
                        }
                        Ok(_) => {}
                        Err(_) => client = None,
                    }
                }
            }
            Ok(reply) => {
                let error = reply.as_error().map(String::from_utf8_lossy).unwrap_or_default();
                client = None;
                match moved_to(&error) {
                    Some(there) => port = there,
                    None => {
                        let refused = ["CLUSTERDOWN ", "LOADING ", "READONLY ", "UNBLOCKED "];
                        assert!(refused.iter().any(|word| error.starts_with(word)), "{reply:?}");
                        port = stable;
                        std::thread::sleep(REST);
                    }
                }
            }
            Err(_) => {
                client = None;
                port = stable;
            }
        }
    }
    ledger
}

fn connect(client: &mut Option<Client>, port: u16) -> Option<&mut Client> {
    if client.is_none() {
        let mut connected = Client::try_connect(port).ok()?;
        connected.set_timeout(PATIENCE);
        *client = Some(connected);
    }
    client.as_mut()
}

/// The port of `MOVED slot host:port`.
fn moved_to(error: &str) -> Option<u16> {
    error.strip_prefix("MOVED ")?.rsplit_once(':')?.1.parse().ok()
}

impl Ledger {
    /// Holds what was told against what there is.
    ///
    /// # Panics
    /// What a replica had is lost, something ran twice or out of order, or was never sent.
    pub(super) fn check(&self, list: &[u64], fault: &str) -> Outcome {
        let key = &self.key;
        let ascends = list.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(ascends, "{fault}: {key} has something twice, or from before: {list:?}");
        assert!(
            list.last().is_none_or(|last| *last <= self.attempted),
            "{fault}: {key}: from nowhere"
        );
        let there: BTreeSet<u64> = list.iter().copied().collect();
        let lost: Vec<_> = self.copied.difference(&there).collect();
        assert!(lost.is_empty(), "{fault}: {key}: a replica had {lost:?}, and they are lost");
        Outcome {
            acknowledged: self.acknowledged.len(),
            lost: self.acknowledged.difference(&there).count(),
            copied: self.copied.len(),
            pause: self.pause,
        }
    }
}
