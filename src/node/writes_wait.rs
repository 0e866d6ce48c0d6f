//! Writes that wait for the disk: not for what they write themselves, but for what makes this node the
//! one that may take them. A loss of power would undo that, and with it what their clients were told.

/// What a loss of power would undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaved {
    /// The note that this node runs: without it the next start would take older data for all there was.
    Note,
    /// That this node is the primary of its slots.
    Role,
}

/// Which of them writes wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WritesWait {
    note: bool,
    role: bool,
}

impl WritesWait {
    pub(super) fn set(&mut self, what: Unsaved, waits: bool) {
        match what {
            Unsaved::Note => self.note = waits,
            Unsaved::Role => self.role = waits,
        }
    }

    pub(super) fn has(self, what: Unsaved) -> bool {
        match what {
            Unsaved::Note => self.note,
            Unsaved::Role => self.role,
        }
    }

    pub(super) fn any(self) -> bool {
        self.note || self.role
    }
}
