//! The smart proxy's decisions: a cluster, seen as one Redis server.
//!
//! [`core::Core`] is one worker's machine; the other modules are what it is made of. Only
//! [`io`] knows sockets, threads and the clock.

mod admission;
mod backends;
mod buffer;
mod census;
mod clients;
pub mod core;
mod cursor;
mod elements;
mod error;
mod explain;
mod feed;
mod gather;
mod handshake;
mod info;
mod input;
mod introspect;
mod keyspaces;
mod lanes;
mod link;
mod listeners;
mod local;
mod losses;
mod map;
pub mod metrics;
mod monitors;
mod options;
mod pinned;
mod pipeline;
mod publication;
mod refresh;
mod replicas;
mod retry;
mod route;
mod scripts;
mod session;
mod set_algebra;
mod show;
mod sorted_algebra;
mod stream_read;
mod topics;
mod tracking;
mod walks;

pub mod io;

pub use map::ClusterMap;
pub use options::{Options, SLOW_KEPT_MAX};
pub use replicas::ReadFrom;
