//! Which history a node's data is a state of, and how far into it.
//!
//! A replica that is promoted begins a history of its own, but everything up to that moment is
//! common to both. So it remembers the old name as a second one, good up to the place where the
//! histories part: its siblings, which know the old name only, can go on without a copy of all
//! data.

use super::backlog::Backlog;
use super::id::{Offset, ReplicationId};

/// The history of a node's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    id: ReplicationId,
    /// What it was called before, and up to which request of PSYNC that name is good.
    former: Option<(ReplicationId, Offset)>,
    offset: Offset,
}

/// What a follower that asks to go on is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It may: the bytes after this offset are at hand.
    From(Offset),
    /// It needs a copy of all data: its history is not ours, or has parted from it.
    OtherHistory,
    /// It needs a copy of all data: what follows is not at hand any more, or not yet there.
    OutOfBacklog,
}

impl History {
    /// A history that begins here.
    pub fn new(id: ReplicationId) -> Self {
        Self { id, former: None, offset: 0 }
    }

    /// A history that another node, or a file, has told of.
    pub fn known(id: ReplicationId, offset: Offset) -> Self {
        Self { id, former: None, offset }
    }

    /// What it is called.
    pub fn id(&self) -> ReplicationId {
        self.id
    }

    /// How far it has come.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What it was called before: the name, and the first offset that a PSYNC may not name with it.
    pub fn former(&self) -> Option<(ReplicationId, Offset)> {
        self.former
    }

    /// So many bytes more.
    pub fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
    }

    /// Goes on under another name, from here on: on promotion.
    pub fn fork(&mut self, id: ReplicationId) {
        self.former = Some((self.id, self.offset + 1));
        self.id = id;
    }

    /// Our primary has forked: what we have is the beginning of its history too.
    pub fn renamed(&mut self, id: ReplicationId) {
        if id != self.id {
            self.fork(id);
        }
    }

    /// Ends whatever was common with others: nobody can go on from before.
    pub fn restart(&mut self, id: ReplicationId) {
        self.id = id;
        self.former = None;
    }

    /// Whether a follower that asks `PSYNC id next` may go on, given what `backlog` holds.
    pub fn resume(&self, backlog: Option<&Backlog>, id: &[u8], next: Offset) -> Resume {
        let ours = id == self.id.as_str().as_bytes();
        let formerly = self
            .former
            .is_some_and(|(former, until)| id == former.as_str().as_bytes() && next <= until);
        if !ours && !formerly {
            return Resume::OtherHistory;
        }
        let Some(offset) = next.checked_sub(1) else { return Resume::OutOfBacklog };
        match backlog {
            Some(backlog) if backlog.reaches(offset) => Resume::From(offset),
            _ => Resume::OutOfBacklog,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ReplicationId {
        ReplicationId::from_random([byte; 20])
    }

    fn ask(history: &History, backlog: &Backlog, id: ReplicationId, next: Offset) -> Resume {
        history.resume(Some(backlog), id.as_str().as_bytes(), next)
    }

    #[test]
    fn a_follower_may_go_on_within_the_backlog_of_its_history() {
        let mut history = History::known(id(1), 1000);
        let mut backlog = Backlog::new(history.offset(), 100);
        backlog.push(&[b'x'; 50]);
        history.advance(50);
        for (next, expected) in [
            (1000, Resume::OutOfBacklog),
            (1001, Resume::From(1000)),
            (1040, Resume::From(1039)),
            (1051, Resume::From(1050)),
            (1052, Resume::OutOfBacklog),
            (0, Resume::OutOfBacklog),
        ] {
            assert_eq!(ask(&history, &backlog, id(1), next), expected, "{next}");
            assert_eq!(ask(&history, &backlog, id(2), next), Resume::OtherHistory);
        }
        assert_eq!(history.resume(None, id(1).as_str().as_bytes(), 1001), Resume::OutOfBacklog);
        assert_eq!(history.resume(Some(&backlog), b"?", 1001), Resume::OtherHistory);
    }

    #[test]
    fn after_a_promotion_the_old_name_is_good_up_to_the_fork() {
        let mut history = History::known(id(1), 10);
        let mut backlog = Backlog::new(0, 100);
        backlog.push(&[b'x'; 10]);
        history.fork(id(2));
        assert_eq!(history.former(), Some((id(1), 11)));
        history.advance(5);
        backlog.push(&[b'y'; 5]);
        assert_eq!(ask(&history, &backlog, id(1), 11), Resume::From(10), "all of the old one");
        assert_eq!(ask(&history, &backlog, id(1), 12), Resume::OtherHistory, "more than we had");
        assert_eq!(ask(&history, &backlog, id(2), 12), Resume::From(11));
        history.renamed(id(2));
        assert_eq!(history.former(), Some((id(1), 11)), "the same name is no news");
        history.restart(id(3));
        assert_eq!(ask(&history, &backlog, id(1), 11), Resume::OtherHistory);
    }
}
