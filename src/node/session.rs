//! One client of the node: who it is, what it said of itself, and what it is in the middle of.

use crate::resp::Protocol;

/// One client's state. It holds no buffer: an idle client costs little more than this.
#[derive(Debug)]
pub(super) struct Session {
    /// Its id: never used twice while the node runs.
    pub(super) id: u64,
    /// The database it has selected.
    pub(super) db: usize,
    /// The protocol it has chosen with HELLO.
    pub(super) protocol: Protocol,
    /// Whether it may run commands without AUTH, or has passed it.
    pub(super) authenticated: bool,
    /// ASKING was its last command: the next one may use a slot that is being imported.
    pub(super) asking: bool,
    /// READONLY: it accepts reads from a replica.
    pub(super) readonly: bool,
}
