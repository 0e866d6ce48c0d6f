//! How a process is asked to stop: once politely, a second time at once.
//!
//! The first SIGTERM or Ctrl-C asks for a drain: no new clients, and those there are may finish.
//! A second one says that somebody is waiting at a terminal: whatever still drains gives up.
//! Everything that runs holds a clone and listens; nobody polls a flag.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request to stop that every part of a process hears. Clones hear the same request.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    at_once: CancellationToken,
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM and SIGINT trigger, the second of them [at once](Self::at_once).
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub fn on_signals() -> io::Result<Self> {
        let (shutdown, signals) = (Self::new(), StopSignals::listen()?);
        tokio::spawn(signals.request(shutdown.clone(), || true));
        Ok(shutdown)
    }

    /// Asks for a drain.
    pub fn request(&self) {
        self.drain.cancel();
    }

    /// Asks to stop without waiting for anything.
    pub fn request_at_once(&self) {
        self.drain.cancel();
        self.at_once.cancel();
    }

    /// Whether anybody has asked.
    pub fn is_requested(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns when somebody has asked.
    pub async fn requested(&self) {
        self.drain.cancelled().await;
    }

    /// What is cancelled when somebody asks, for shells that want nothing else of this.
    pub fn token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Returns when somebody has asked not to wait any longer.
    pub async fn at_once(&self) {
        self.at_once.cancelled().await;
    }
}

/// SIGTERM and SIGINT, once they do not end the process by themselves any more.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on they are heard, and wait until somebody asks.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    /// Has the first of them ask for a drain, and the next ask to stop [at once](Shutdown::at_once).
    /// Before the first, `may_stop` has a word: if it says no, nobody has asked.
    pub async fn request(mut self, shutdown: Shutdown, may_stop: impl Fn() -> bool) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            };
            if shutdown.is_requested() {
                tracing::warn!(signal = name, "asked to stop again: not waiting any longer");
                shutdown.request_at_once();
            } else {
                tracing::info!(signal = name, "asked to stop");
                if may_stop() {
                    shutdown.request();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_a_request() {
        let shutdown = Shutdown::new();
        let part = shutdown.clone();
        assert!(!part.is_requested());
        shutdown.request();
        part.requested().await;
        assert!(part.is_requested());
        assert!(!part.at_once.is_cancelled(), "a drain is asked for, nothing harder");
    }

    #[tokio::test]
    async fn stopping_at_once_is_a_request_too() {
        let shutdown = Shutdown::new();
        let part = shutdown.clone();
        shutdown.request_at_once();
        part.at_once().await;
        part.requested().await;
    }
}
