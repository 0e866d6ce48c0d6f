//! The cluster tool: what `redis-trib.rb` and `redis-cli --cluster` do, with plans.
//!
//! Everything that decides is a pure function of a [`Snapshot`], every node's own view of the
//! cluster in one value: [`check()`] finds what is wrong, [`place`] lays out a cluster,
//! [`plan_reshard`] and [`plan_rebalance`] choose slots, [`mend`] decides about a slot that is
//! not well, and [`SlotMove`] is one slot's way from a node to another. `io` is the shell: it
//! reads snapshots, asks, prints, and carries plans out.

mod check;
mod create;
mod fix;
pub mod io;
mod options;
mod pace;
mod plan;
mod rebalance;
mod reshard;
mod slot_move;
mod snapshot;

pub use check::{Checkup, Finding, check};
pub use create::{PRIMARIES_MIN, Placement, TooFewNodes, place};
pub use fix::{Holder, Mending, SlotFacts, mend};
pub use options::{Invocation, Subcommand, UsageError};
pub use pace::Pace;
pub use plan::{Move, Plan, Step};
pub use rebalance::{Transfer, Weighted, plan_rebalance};
pub use reshard::{NotEnoughSlots, left_of, plan_reshard};
pub use slot_move::{Order, Party, Route, SlotMove, Stuck};
pub use snapshot::{MixedBuses, NodeView, Snapshot, assert_one_bus, slots_text};
