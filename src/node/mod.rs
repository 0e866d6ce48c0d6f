//! A whole cluster node, without I/O: the data, the sessions, and what they may do with it.
//!
//! A shell feeds [`Core`] the bytes of its clients and the time, and carries out its [`Output`]s.

mod append;
mod args;
mod blocking;
mod call;
mod clients;
mod cluster;
mod commands;
mod core;
mod directive_table;
mod directive_values;
mod directives;
mod error;
mod events;
mod execute;
mod farewell;
mod geo;
mod host;
mod info;
pub mod io;
mod latency;
mod latency_events;
mod loading;
mod migrate;
mod monitor;
mod output;
mod overdue;
mod ownership;
mod persistence;
mod propagate;
mod pubsub;
mod renames;
mod replication;
mod rewrite;
mod scripts;
mod serve;
mod server;
mod session;
mod settings;
mod slowlog;
mod snapshots;
mod stats;
mod transaction;
mod watch;
mod writes_wait;

pub use self::core::{Core, CoreOptions, Progress, Refusal};
pub use commands::runs;
pub use error::CommandError;
pub use host::{Host, ProcessFigures};
pub use loading::LoadError;
pub use migrate::{
    Answers, Migration, MigrationEnd, MigrationFailure, MigrationId, Target as MigrationTarget,
};
pub use output::Output;
pub use persistence::LoadFigures;
pub use replication::{CopyKind, CopyStep, LinkTarget, LinkTask, ReplicaOutput};
pub use session::{Addresses, ClientId};
pub use snapshots::{SnapshotFor, SnapshotSlice};
pub use stats::Stats;
pub use writes_wait::Unsaved;

#[cfg(test)]
mod tests;
