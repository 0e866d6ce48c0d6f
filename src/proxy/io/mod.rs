//! The proxy's shell: tokio, sockets, threads. It carries out what the machines decide.

use super::Options;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// What the shell needs beside the machines' options.
#[derive(Clone, Debug)]
pub struct ShellOptions {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve clients, at least 1.
    pub workers: usize,
}

/// Runs a proxy until `stop` is cancelled and its clients are drained.
///
/// # Errors
/// An address of `listen` that cannot be bound.
pub fn run(options: Options, shell: ShellOptions, stop: CancellationToken) -> std::io::Result<()> {
    let _ = (options, shell, stop);
    Err(std::io::Error::other("the proxy is not built yet"))
}
