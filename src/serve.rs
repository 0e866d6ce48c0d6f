//! A proxy in this process, with what stands around it: its threads, its figures, its health.
//!
//! `keyway proxy` and `keyway up` both run one; they differ only in what it is told.

use crate::net::Shutdown;
use crate::proxy::Options;
use crate::proxy::core::Shared;
use crate::proxy::io::{Proxy, ProxySource, ShellOptions};
use crate::telemetry::{Family, Health, Metrics, Sink, Source, families};
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
        let clients_max = options.clients_max;
        let proxy = Proxy::bind(options, &shell)?;
        tracing::info!(addresses = ?proxy.addresses(), "the proxy listens");
        let shared = proxy.shared();
        let metrics = Arc::new(Metrics::new());
        metrics.register(ProxySource::new(proxy.metrics(), shared.clone(), clients_max));
        let health = ProxyHealth { shared: shared.clone(), stop: stop.clone() };
        metrics.register(health);
        let running = tokio::spawn(proxy.run(stop.clone()));
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
        if self.shared.map.readings() == 0 {
            return Err("no topology is known yet: no node has answered".to_owned());
        }
        // Slots without a primary are an alert of their own: other slots are served.
        match self.shared.map.current().load().slots_covered() {
            0 => Err("no slot has a primary".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Source for ProxyHealth {
    fn families(&self) -> &'static [&'static Family] {
        &[&families::READY]
    }

    fn collect(&self, sink: &mut Sink) {
        sink.count(&families::READY, &[], u64::from(self.ready().is_ok()));
    }
}
