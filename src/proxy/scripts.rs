//! The scripts that clients have sent, so that EVALSHA works on every shard, and after a failover,
//! as it does on one server.
//!
//! A worker remembers by a hash of its own which scripts it has shown to the others already: only
//! one that is new to it costs a SHA-1 and a lock.

use crate::value::sha1;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A script's name: its SHA-1 in lower-case hexadecimal digits.
type Name = [u8; 40];

/// The scripts of all workers, the oldest first to be forgotten.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    known: Mutex<Known>,
    /// Changes when any is forgotten: what workers remember is worth nothing then.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    bodies: HashMap<Name, Arc<[u8]>>,
    order: VecDeque<Name>,
    bytes: usize,
}

/// What one worker remembers of having shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    hasher: RandomState,
    hashes: HashSet<u64>,
    generation: u64,
}

/// How many scripts a worker remembers to have shown, before it begins anew.
const SHOWN_MAX: usize = 8192;

impl Scripts {
    /// A client has sent this script.
    pub(super) fn show(&self, body: &[u8], bytes_max: usize, shown: &mut Shown) {
        let generation = self.generation.load(Ordering::Relaxed);
        if shown.generation != generation || shown.hashes.len() >= SHOWN_MAX {
            shown.hashes.clear();
            shown.generation = generation;
        }
        if shown.hashes.insert(shown.hasher.hash_one(body)) {
            self.insert(body, bytes_max);
        }
    }

    #[cold]
    fn insert(&self, body: &[u8], bytes_max: usize) {
        if body.len() > bytes_max {
            return;
        }
        let name = name_of(body);
        let known = &mut *self.lock();
        if known.bodies.contains_key(&name) {
            return;
        }
        known.bytes += body.len();
        known.bodies.insert(name, body.into());
        known.order.push_back(name);
        while known.bytes > bytes_max
            && let Some(oldest) = known.order.pop_front()
        {
            if let Some(body) = known.bodies.remove(&oldest) {
                known.bytes -= body.len();
            }
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The script of this name, in any letter case.
    pub(super) fn get(&self, name: &[u8]) -> Option<Arc<[u8]>> {
        let name: Name = name.to_ascii_lowercase().try_into().ok()?;
        self.lock().bodies.get(&name).cloned()
    }

    /// SCRIPT FLUSH.
    pub(super) fn forget_all(&self) {
        *self.lock() = Known::default();
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(body: &[u8]) -> Name {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [0; 40];
    for (at, byte) in sha1(body).into_iter().enumerate() {
        name[at * 2] = DIGITS[usize::from(byte >> 4)];
        name[at * 2 + 1] = DIGITS[usize::from(byte & 15)];
    }
    name
}

/// Whether an error line is the node's own word that it does not have a script (measured on Redis
/// 7.0.15 and Valkey 9.1.2).
pub(super) fn is_missing(line: &[u8]) -> bool {
    line == b"NOSCRIPT No matching script. Please use EVAL."
        || line == b"NOSCRIPT No matching script."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_known_by_their_digests_until_there_is_no_room() {
        let scripts = Scripts::default();
        let mut shown = Shown::default();
        scripts.show(b"return 1", 20, &mut shown);
        let name = b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB";
        assert_eq!(scripts.get(name).as_deref(), Some(&b"return 1"[..]));
        scripts.show(b"return 'longer'", 20, &mut shown);
        assert_eq!(scripts.get(name), None, "the oldest makes room");
        scripts.show(b"return 1", 20, &mut shown);
        assert!(scripts.get(name).is_some(), "a worker does not think that it is still known");
        scripts.forget_all();
        assert_eq!(scripts.get(name), None);
        scripts.show(&[b'x'; 21], 20, &mut shown);
        assert_eq!(scripts.lock().bytes, 0);
    }
}
