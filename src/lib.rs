//! Keyway: one plain Redis endpoint in front of a cluster.
//!
//! `ARCHITECTURE.md` has the picture, who may import whom, and the life of a command.

pub mod admin;
pub mod alloc;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod config;
pub mod net;
pub mod node;
pub mod proxy;
pub mod replication;
pub mod resp;
pub mod script;
pub mod secret;
mod serve;
pub mod store;
pub mod telemetry;
pub mod up;
pub mod value;

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this was built from: `unknown` where git could not say, `development` in
/// builds that are not releases.
pub const COMMIT: &str = env!("KEYWAY_COMMIT");

/// The version of Redis whose behaviour a node's is: clients and scripts choose what they use by it.
pub const REDIS_VERSION: &str = "7.2.4";
