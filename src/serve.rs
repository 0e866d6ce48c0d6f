//! A proxy in this process, with what stands around it: its threads, its figures, its health.
//!
//! `keyway proxy` and `keyway up` both run one; they differ only in what it is told.

use crate::cluster::Slot;
use crate::net::Shutdown;
use crate::proxy::Options;
use crate::proxy::core::Shared;
use crate::proxy::io::{Proxy, ShellOptions};
use crate::telemetry::{Health, Metrics};
use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Serving {
    /// What it shows on /metrics; more may be registered.
    pub(crate) metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    stop: Shutdown,
    running: JoinHandle<()>,
}

impl Serving {
    /// Starts one that drains when `stop` is requested. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub(crate) fn start(options: Options, shell: ShellOptions, stop: &Shutdown) -> Result<Self> {
        let proxy = Proxy::bind(options, &shell)?;
        tracing::info!(addresses = ?proxy.addresses(), "the proxy listens");
        let shared = proxy.shared();
        let running = tokio::spawn(proxy.run(stop.clone()));
        let metrics = Arc::new(Metrics::new());
        Ok(Self { metrics, shared, stop: stop.clone(), running })
    }

    /// What /readyz answers from.
    pub(crate) fn health(&self) -> Arc<dyn Health> {
        Arc::new(ProxyHealth { shared: self.shared.clone(), stop: self.stop.clone() })
    }

    /// Waits until it has ended, or until somebody does not want to wait any longer.
    ///
    /// # Errors
    /// What ended it, if it was not `stop`.
    pub(crate) async fn ended(&mut self, stop: &Shutdown) -> Result<()> {
        tokio::select! {
            ended = &mut self.running => ended.context("the proxy panicked"),
            () = stop.at_once() => Ok(()),
        }
    }
}

struct ProxyHealth {
    shared: Arc<Shared>,
    stop: Shutdown,
}

impl Health for ProxyHealth {
    fn ready(&self) -> Result<(), String> {
        if self.stop.is_requested() {
            return Err("draining".to_owned());
        }
        match self.shared.map.current().load().slots_covered() {
            Slot::COUNT => Ok(()),
            covered => Err(format!("{covered} of {} slots have a known owner", Slot::COUNT)),
        }
    }
}
