//! A proxy in this process, with what stands around it: its threads, its figures, its health.
//!
//! `keyway proxy` and `keyway up` both run one; they differ only in what it is told.

use crate::net::Shutdown;
use crate::proxy::Options;
use crate::proxy::io::ShellOptions;
use crate::telemetry::{Health, Metrics};
use anyhow::{Context, Result};
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Serving {
    /// What it shows on /metrics; more may be registered.
    pub(crate) metrics: Arc<Metrics>,
    stop: Shutdown,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Serving {
    /// Starts one that drains when `stop` is requested.
    pub(crate) fn start(options: Options, shell: ShellOptions, stop: &Shutdown) -> Result<Self> {
        let (tell, ended) = oneshot::channel();
        let token = stop.token();
        std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || {
                // Nobody listens when the process is about to end anyway.
                let _ = tell.send(crate::proxy::io::run(options, shell, token));
            })
            .context("cannot start a thread")?;
        Ok(Self { metrics: Arc::new(Metrics::new()), stop: stop.clone(), ended })
    }

    /// What /readyz answers from.
    pub(crate) fn health(&self) -> Arc<dyn Health> {
        Arc::new(ProxyHealth { stop: self.stop.clone() })
    }

    /// Waits until it has ended, or until somebody does not want to wait any longer.
    ///
    /// # Errors
    /// What ended it, if it was not `stop`.
    pub(crate) async fn ended(&mut self, stop: &Shutdown) -> Result<()> {
        tokio::select! {
            ended = &mut self.ended => {
                ended.context("the proxy's thread panicked")?.context("the proxy cannot go on")
            }
            () = stop.at_once() => Ok(()),
        }
    }
}

struct ProxyHealth {
    stop: Shutdown,
}

impl Health for ProxyHealth {
    fn ready(&self) -> Result<(), String> {
        if self.stop.is_requested() { Err("draining".to_owned()) } else { Ok(()) }
    }
}
