//! A whole cluster node, without I/O: the data, the sessions, and what they may do with it.

#![allow(dead_code, reason = "the handlers that use these come with their groups")]

mod args;
mod call;
mod commands;
mod error;
mod server;
mod session;
mod watch;

pub use error::CommandError;
