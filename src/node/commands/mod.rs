//! What the commands do: a file per group, as in the command table, each with its own list.

use super::call::Handlers;

/// Every command that the node runs.
pub(super) const GROUPS: &[Handlers] = &[];
