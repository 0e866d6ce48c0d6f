//! Writes that wait for the disk: not for what they write themselves, but for what makes this node the
//! one that may take them, or for the file that they go to. A loss of power would undo that, and with it
//! what their clients were told.

/// What has to be on disk first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaved {
    /// The note that this node runs: without it the next start would take older data for all there was.
    Note,
    /// That this node is the primary of its slots.
    Role,
    /// The append-only file, at the start: its first base, or a further increment.
    Log,
}

/// Which of them writes wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WritesWait {
    note: bool,
    role: bool,
    log: bool,
}

impl WritesWait {
    pub(super) fn set(&mut self, what: Unsaved, waits: bool) {
        match what {
            Unsaved::Note => self.note = waits,
            Unsaved::Role => self.role = waits,
            Unsaved::Log => self.log = waits,
        }
    }

    pub(super) fn has(self, what: Unsaved) -> bool {
        match what {
            Unsaved::Note => self.note,
            Unsaved::Role => self.role,
            Unsaved::Log => self.log,
        }
    }

    pub(super) fn any(self) -> bool {
        self.note || self.role || self.log
    }
}
