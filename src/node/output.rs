//! What the node asks its shell to do, in order.

use super::session::ClientId;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something has happened to this client: look after it again.
    Wake(ClientId),
    /// The stream has grown, and this replica has been sent all of it so far: it is sent the rest before
    /// any reply leaves.
    Feed(ClientId),
    /// The cluster bus has something to do, and it is to be done before any reply leaves: see
    /// [`Mesh::pump`](super::io::Mesh::pump).
    Bus,
    /// A snapshot for replicas is due, or goes on: see [`Core::begin_copy`](super::Core::begin_copy).
    Snapshot,
    /// Keys are to be brought to another server: see
    /// [`Core::next_migration`](super::Core::next_migration).
    Migrate,
    /// The node follows another primary than before, or none any more.
    Link,
    /// Parameters have changed: `hz`, `loglevel` and the like may be others.
    Reconfigured,
    /// A snapshot has begun, or one that nobody wants has to be brought to its end: see
    /// [`Core::snapshot_slice`](super::Core::snapshot_slice).
    Save,
    /// A base of the append-only file is made from here on: what follows goes into a further file.
    NewIncrement,
    /// DEBUG LOADAOF: what is written into the append-only file is all that is to remain. It is read
    /// before any reply leaves.
    LoadLog,
    /// A script has run for long, and others are let in beside it: see
    /// [`Core::go_on_with_script`](super::Core::go_on_with_script).
    Script,
    /// SHUTDOWN was called: end in an orderly way, and with NOW without waiting for replicas.
    Shutdown {
        /// NOW.
        at_once: bool,
    },
}
