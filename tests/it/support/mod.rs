//! What the tests stand on: servers as child processes, clusters of them, a RESP client, waiting.
//!
//! Nothing here sleeps for a fixed time and nothing outlives the test process: every server is
//! killed by its own pid when its handle is dropped, and by the kernel if the test process dies.
#![allow(
    dead_code,
    unused_imports,
    reason = "the harness offers more than the tests of one day use"
)]

mod client;
mod cluster;
mod folder;
mod ports;
mod process;
mod relay;
mod seeds;
mod server;
mod slow_disk;
pub(crate) mod stock;
mod terminal;
mod text;
mod wait;

mod tests;

pub(crate) use client::{Client, Loss, shown};
pub(crate) use cluster::Cluster;
pub(crate) use folder::temporary_folder;
pub(crate) use ports::{free_port, free_ports};
pub(crate) use process::Process;
pub(crate) use relay::{Fault, Relay};
pub(crate) use seeds::{number_from_env, seed};
pub(crate) use server::{Keyway, Kind, Server};
pub(crate) use slow_disk::SlowDisk;
pub(crate) use stock::tool;
pub(crate) use terminal::Terminal;
pub(crate) use text::{expand_big, unescape};
pub(crate) use wait::{eventually, wait_for};
