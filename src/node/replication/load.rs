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
    place: Place,
}

/// Where the keys go.
#[derive(Debug)]
enum Place {
    /// Into the keyspace, which is empty. With what was there before, where it is to be there again if
    /// this fails.
    Keyspace(Option<Aside>),
    /// Beside it: what is there serves until all of the new is.
    Beside(Aside),
}

impl Load {
    /// Into an empty keyspace; `before` is what was in it.
    pub(super) fn new(keyspace: &Keyspace, before: Option<Aside>) -> Self {
        Self::into_place(keyspace, Place::Keyspace(before))
    }

    /// Beside what the keyspace has.
    pub(super) fn beside(keyspace: &Keyspace) -> Self {
        Self::into_place(keyspace, Place::Beside(keyspace.room_aside()))
    }

    fn into_place(keyspace: &Keyspace, place: Place) -> Self {
        let reader = RdbReader::new(keyspace.value_limits());
        Self { reader, db: 0, keys: 0, stream_db: None, open_slots: Some(Vec::new()), place }
    }

    /// Whether what was there before serves meanwhile.
    pub(super) fn is_beside(&self) -> bool {
        matches!(self.place, Place::Beside(_))
    }

    /// All of it is there: what was before is not needed any more.
    pub(super) fn complete(self, keyspace: &mut Keyspace) {
        match self.place {
            Place::Keyspace(Some(before)) => keyspace.forget_aside(before),
            Place::Keyspace(None) => {}
            Place::Beside(new) => keyspace.put_back(new),
        }
    }

    /// It does not get to its end. What was before is there again; or nothing, where that was not kept.
    pub(super) fn give_up(self, keyspace: &mut Keyspace) {
        match self.place {
            Place::Keyspace(Some(before)) => {
                tracing::info!("MASTER <-> REPLICA sync: Restoring old data");
                keyspace.put_back(before);
            }
            Place::Beside(new) => {
                tracing::info!("MASTER <-> REPLICA sync: Discarding temporary DB in background");
                keyspace.forget_aside(new);
            }
            Place::Keyspace(None) => {
                for db in 0..keyspace.databases() {
                    keyspace.flush(db);
                }
            }
        }
    }

    /// How many bytes have been read as far as they make sense.
    pub(super) fn position(&self) -> u64 {
        self.reader.position()
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
        let mut place = std::mem::replace(&mut self.place, Place::Keyspace(None));
        let outcome = match &mut place {
            Place::Keyspace(_) => self.take(keyspace, now, bytes),
            Place::Beside(new) => {
                keyspace.with_aside(new, |keyspace| self.take(keyspace, now, bytes))
            }
        };
        self.place = place;
        outcome
    }

    fn take(&mut self, keyspace: &mut Keyspace, now: Now, bytes: &[u8]) -> Result<(), RdbError> {
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
