//! How many entries a group has read, and how far it lags behind.
//!
//! Counting would take a walk over the stream. What is known without one: how many entries were
//! ever added, how many are there, which are the first and the last. As long as nothing in the
//! middle was deleted ahead of a group, its count follows; else it is unknown for a while.

use super::group::Group;
use super::id::StreamId;
use super::log::Log;

impl Log {
    /// Whether an entry from this id on may have been deleted from the middle. What was deleted
    /// before the first entry of now leaves no gap.
    fn has_gaps_from(&self, id: StreamId) -> bool {
        let figures = self.figures();
        let deleted = figures.max_deleted_id;
        figures.len > 0 && deleted != StreamId::MIN && figures.first_id <= deleted && id <= deleted
    }

    /// How many entries were added up to this id, itself included, where that is known.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        let figures = self.figures();
        if figures.entries_added == 0 {
            return Some(0);
        }
        if figures.len == 0 && id <= figures.last_id || id == figures.last_id {
            return Some(figures.entries_added);
        }
        if id > figures.last_id {
            return None;
        }
        if figures.max_deleted_id == StreamId::MIN || figures.max_deleted_id < figures.first_id {
            let gone = figures.entries_added.wrapping_sub(figures.len as u64);
            if id < figures.first_id {
                return Some(gone);
            }
            if id == figures.first_id {
                return Some(gone.wrapping_add(1));
            }
        }
        None
    }
}

impl Group {
    /// An entry is delivered: if it is the first time, the group has read up to there.
    pub fn advance(&mut self, log: &Log, id: StreamId) {
        if id <= self.last_id {
            return;
        }
        match self.entries_read {
            Some(read) if !log.has_gaps_from(id) => self.entries_read = Some(read.wrapping_add(1)),
            _ if log.figures().entries_added > 0 => self.entries_read = log.entries_up_to(id),
            _ => {}
        }
        self.last_id = id;
    }

    /// How many entries of the stream it has not read, where that is known. Below zero if it was
    /// told that it has read more than there were.
    pub fn lag(&self, log: &Log) -> Option<i64> {
        let added = log.figures().entries_added;
        if added == 0 {
            return Some(0);
        }
        let read = match self.entries_read {
            Some(read) if !log.has_gaps_from(self.last_id) => read,
            _ => log.entries_up_to(self.last_id)?,
        };
        Some(added.wrapping_sub(read) as i64)
    }
}
