//! Keys that clients have made expire on a writable replica. Its primary knows nothing of them, so
//! nobody would ever say that they are to go: the replica looks after these itself, and after no
//! others.

use crate::clock::Now;
use crate::command::{self, Spec};
use crate::node::call::Ctx;
use crate::node::core::Core;
use crate::node::session::Role;
use crate::resp::Request;
use crate::store::{Entry, Expired};
use std::collections::BTreeSet;

/// When such keys expire: first come those that go first. A key may be in it several times.
#[derive(Debug, Default)]
pub(in crate::node) struct OwnKeys(BTreeSet<(u64, usize, Box<[u8]>)>);

impl OwnKeys {
    /// How many there are (`slave_expires_tracked_keys`).
    pub(in crate::node) fn len(&self) -> usize {
        self.0.len()
    }

    /// The data is another, or the primary's word holds for all of it.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first that has expired.
    fn pop_past(&mut self, now_ms: u64) -> Option<(u64, usize, Box<[u8]>)> {
        let first = self.0.first().is_some_and(|(at, ..)| *at <= now_ms);
        first.then(|| self.0.pop_first()).flatten()
    }
}

impl Ctx<'_> {
    /// A client has changed something on a replica.
    #[cold]
    pub(in crate::node) fn note_own_keys(&mut self, spec: &Spec, request: &Request<'_>) {
        if self.session.role != Role::Client {
            return;
        }
        let index = self.session.db;
        for key in command::keys(spec, request).into_iter().flatten() {
            let key = request.arg(key.index);
            let at = self.db().peek(key).and_then(Entry::expires_at);
            if let Some(at) = at {
                self.server.replication.own_keys.0.insert((at, index, key.into()));
            }
        }
    }
}

impl Core {
    /// Removes some of them whose time has come.
    pub(in crate::node) fn expire_own_keys(&mut self, now: Now) {
        /// So many at a time: no command waits for more.
        const AT_ONCE: usize = 64;
        for _ in 0..AT_ONCE {
            let own_keys = &mut self.server.replication.own_keys;
            let Some((at, index, key)) = own_keys.pop_past(now.unix_ms) else { break };
            let was = self.keyspace.on_expired();
            self.keyspace.set_on_expired(Expired::Keep);
            let mut db = self.keyspace.db(index, now.unix_ms);
            // It may have been written since, or be the primary's by this time.
            let still = db.peek(&key).and_then(Entry::expires_at) == Some(at);
            self.keyspace.set_on_expired(if still { Expired::Remove } else { was });
            self.keyspace.db(index, now.unix_ms).contains(&key);
            self.keyspace.set_on_expired(was);
        }
        self.server.note_told(&mut self.keyspace, None);
    }
}
