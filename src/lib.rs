//! Keyway: one plain Redis endpoint in front of a cluster.
//!
//! `ARCHITECTURE.md` has the picture, who may import whom, and the life of a command.

pub mod admin;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod net;
pub mod node;
pub mod proxy;
pub mod resp;
pub mod secret;
