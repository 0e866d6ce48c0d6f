//! What the whole node shares beside its data: settings, figures, watched keys, other sessions.

use super::watch::WatchTable;

/// The shared part of a node.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// What INFO tells.
    pub(super) stats: Stats,
    /// The keys that anyone watches.
    pub(super) watched: WatchTable,
}

/// What the node counts.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Changes to the data set since it was last saved.
    pub(super) dirty: u64,
}
