//! Keyway: one plain Redis endpoint in front of a cluster.
//!
//! `ARCHITECTURE.md` has the picture, who may import whom, and the life of a command.

pub mod clock;
pub mod cluster;
pub mod command;
pub mod node;
pub mod proxy;
pub mod resp;
pub mod secret;
