//! The smart proxy's decisions: a cluster, seen as one Redis server.

mod options;

pub mod io;

pub use options::Options;
