//! The proxy's shell: tokio, sockets, threads. It carries out what the machines decide.
//!
//! N workers, one current-thread runtime each, with connections to the nodes of their own. All
//! that they share is the map and a few counters; nothing of that is locked on the way of a
//! request. One acceptor gives each client to the least loaded worker, where it stays.

mod acceptor;
mod backend;
mod client;
mod figures;
mod metrics;
mod refresher;
mod replica_watch;
mod worker;

use super::Options;
use super::core::Shared;
use super::metrics::WorkerMetrics;
use crate::net::Shutdown;
use acceptor::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use worker::WorkerHandle;

pub use metrics::ProxySource;

/// What the shell needs beside the machines' options.
#[derive(Clone, Debug)]
pub struct ShellOptions {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve clients, at least 1.
    pub workers: usize,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// A proxy that listens, and serves as soon as it is run.
#[derive(Debug)]
pub struct Proxy {
    options: Arc<Options>,
    shared: Arc<Shared>,
    metrics: Arc<Vec<Arc<WorkerMetrics>>>,
    acceptors: Vec<Acceptor>,
    workers: Vec<WorkerHandle>,
}

impl Proxy {
    /// Takes the addresses and starts the workers. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub fn bind(options: Options, shell: &ShellOptions) -> Result<Self, ListenError> {
        let acceptors = shell
            .listen
            .iter()
            .map(|&address| {
                Acceptor::bind(address).map_err(|source| ListenError { address, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = Arc::new(options);
        let shared = Arc::new(Shared::default());
        let metrics: Arc<Vec<Arc<WorkerMetrics>>> =
            Arc::new((0..shell.workers.max(1)).map(|_| Arc::default()).collect());
        let workers = WorkerHandle::spawn_all(&options, &shared, &metrics);
        Ok(Self { options, shared, metrics, acceptors, workers })
    }

    /// Where it listens: the ports that were taken, where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.acceptors.iter().map(Acceptor::address).collect()
    }

    /// What its workers share.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// What each worker counts.
    pub fn metrics(&self) -> Arc<Vec<Arc<WorkerMetrics>>> {
        self.metrics.clone()
    }

    /// Serves until `stop` is requested, and then until the clients have what they are owed or
    /// `drain_timeout` is over.
    pub async fn run(self, stop: Shutdown) {
        let Self { options, shared, metrics: _, acceptors, workers } = self;
        let workers = Arc::new(workers);
        let refresher = tokio::spawn(refresher::run(options.clone(), shared.clone()));
        let watching = tokio::spawn(replica_watch::run(options.clone(), shared.clone()));
        let accepting: Vec<_> = acceptors
            .into_iter()
            .map(|acceptor| {
                tokio::spawn(acceptor.run(options.clone(), shared.clone(), workers.clone()))
            })
            .collect();
        stop.requested().await;
        for task in accepting {
            task.abort();
        }
        for worker in workers.iter() {
            worker.drain();
        }
        let drained = async {
            while shared.clients.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = tokio::time::sleep(options.drain_timeout) => {
                let left = shared.clients.load(Ordering::Relaxed);
                tracing::warn!(clients = left, "the time to drain is over: clients are closed");
            }
            () = stop.at_once() => {}
        }
        refresher.abort();
        watching.abort();
        for worker in workers.iter() {
            worker.stop();
        }
    }
}
