//! The cluster tool: what `redis-trib.rb` and `redis-cli --cluster` do, with plans.
//!
//! Everything that decides is a pure function of a [`Snapshot`], every node's own view of the
//! cluster in one value: [`check()`] finds what is wrong, [`place`] lays out a cluster. `io` is
//! the shell: it reads snapshots, asks, prints, and carries plans out.

mod check;
mod create;
pub mod io;
mod nodes_text;
mod snapshot;

pub use check::{Checkup, Finding, check};
pub use create::{PRIMARIES_MIN, Placement, TooFewNodes, place};
pub use nodes_text::{InvalidLine, NodeLine, parse_nodes};
pub use snapshot::{NodeView, Snapshot, slots_text};
