//! A primary's snapshot on its way into the keyspace, chunk by chunk.

use super::cluster::SLOT_STATES;
use crate::clock::Now;
use crate::cluster::{OpenSlot, parse_slot_states};
use crate::store::rdb::{RdbError, RdbEvent, RdbReader};
use crate::store::{Aside, Keyspace};

/// A snapshot that is being loaded into an empty keyspace.
#[derive(Debug)]
pub(super) struct Load {
    reader: RdbReader,
    /// The database that the keys belong to.
    db: usize,
    keys: u64,
    /// The database that the stream after the snapshot begins in, if the snapshot says so.
    stream_db: Option<usize>,
    /// The slots that are on their way for the primary. A snapshot that does not say it has none;
    /// none if what it says cannot be read.
    open_slots: Option<Vec<OpenSlot>>,
    /// What was there before, to be there again if this fails.
    before: Option<Aside>,
}

impl Load {
    pub(super) fn new(keyspace: &Keyspace, before: Option<Aside>) -> Self {
        let reader = RdbReader::new(keyspace.value_limits());
        Self { reader, db: 0, keys: 0, stream_db: None, open_slots: Some(Vec::new()), before }
    }

    /// All of it is there: what was before is not needed any more.
    pub(super) fn complete(self, keyspace: &mut Keyspace) {
        if let Some(before) = self.before {
            keyspace.forget_aside(before);
        }
    }

    /// It does not get to its end. What was before is there again; or nothing, where that was not kept.
    pub(super) fn give_up(self, keyspace: &mut Keyspace) {
        match self.before {
            Some(before) => {
                tracing::info!("MASTER <-> REPLICA sync: Restoring old data");
                keyspace.put_back(before);
            }
            None => {
                for db in 0..keyspace.databases() {
                    keyspace.flush(db);
                }
            }
        }
    }

    /// How many keys have come.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// The database that the stream begins in.
    pub(super) fn stream_db(&self) -> Option<usize> {
        self.stream_db
    }

    /// Which slots are on their way for the primary, if that could be read.
    pub(super) fn open_slots(&mut self) -> Option<Vec<OpenSlot>> {
        self.open_slots.take()
    }

    /// Whether all of it has come, its end included.
    pub(super) fn is_whole(&self) -> bool {
        self.reader.is_done()
    }

    /// Takes the next bytes. A key past its expiry is taken as well: the primary will say when it
    /// is gone.
    ///
    /// # Errors
    /// They are no snapshot that this node can have.
    pub(super) fn feed(
        &mut self,
        keyspace: &mut Keyspace,
        now: Now,
        bytes: &[u8],
    ) -> Result<(), RdbError> {
        self.reader.feed(bytes);
        while let Some(event) = self.reader.next()? {
            match event {
                RdbEvent::Database(number) => {
                    let db = usize::try_from(number).ok();
                    self.db = db
                        .filter(|db| *db < keyspace.databases())
                        .ok_or(RdbError::Corrupt("a database that this node does not have"))?;
                }
                RdbEvent::Key { entry, .. } => {
                    keyspace.db(self.db, now.unix_ms).insert(entry);
                    self.keys += 1;
                }
                RdbEvent::Aux { name, value } if name == b"repl-stream-db" => {
                    self.stream_db = std::str::from_utf8(&value).ok().and_then(|n| n.parse().ok());
                }
                RdbEvent::Aux { name, value } if name == SLOT_STATES.as_bytes() => {
                    // Without it the copy is as good: which slots are on their way is for heirs.
                    let read = parse_slot_states(&value);
                    if let Err(error) = &read {
                        tracing::warn!(%error, "the primary's {SLOT_STATES} cannot be read: ignored");
                    }
                    self.open_slots = read.ok();
                }
                RdbEvent::Aux { .. }
                | RdbEvent::Sizes { .. }
                | RdbEvent::Function(_)
                | RdbEvent::Empty { .. }
                | RdbEvent::End => {}
            }
        }
        Ok(())
    }
}
