//! FAILOVER: a primary hands its role to one of its replicas, without a loss.
//!
//! ```text
//!  FAILOVER ▶ writes wait ▶ a replica has everything ▶ follow it, and ask it to take over
//!               │ time over: FORCE goes on, otherwise back      │ it refuses: back
//! ```

use super::{follow, lead};
use crate::clock::Now;
use crate::node::call::Ctx;
use crate::node::core::Core;
use crate::node::error::CommandError;
use crate::node::server::Server;
use crate::replication::Stage;
use crate::store::Expired;
use std::time::{Duration, Instant};

/// A failover that is going on.
#[derive(Debug)]
pub(super) struct Failover {
    /// The replica that is to take over; the first that can, if none.
    target: Option<(String, u16)>,
    /// It is to take over even if it does not have everything when the time is over.
    force: bool,
    until: Option<Instant>,
    /// It has been asked to take over.
    asked: bool,
}

/// Writes wait for the end of a failover, however long that takes.
const PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);

impl super::Replication {
    /// Whether the role is being handed over.
    pub(in crate::node) fn is_failing_over(&self) -> bool {
        self.failover.is_some()
    }

    /// Whether the replica that is followed is being asked to take over.
    pub(super) fn asks_to_take_over(&self) -> bool {
        self.failover.as_ref().is_some_and(|failover| failover.asked)
    }

    /// INFO's word for it.
    pub(super) fn failover_state(&self) -> &'static str {
        match &self.failover {
            None => "no-failover",
            Some(failover) if failover.asked => "failover-in-progress",
            Some(_) => "waiting-for-sync",
        }
    }
}

impl Ctx<'_> {
    /// FAILOVER.
    ///
    /// # Errors
    /// There is nobody to hand over to, or it is going on already.
    pub(in crate::node) fn start_failover(
        &mut self,
        target: Option<(String, u16)>,
        force: bool,
        timeout_ms: Option<u64>,
    ) -> Result<(), CommandError> {
        let replication = &self.server.replication;
        let line = CommandError::line;
        if replication.failover.is_some() {
            return Err(line("ERR FAILOVER already in progress."));
        }
        if replication.is_replica() {
            return Err(line("ERR FAILOVER is not valid when server is a replica."));
        }
        if replication.replicas().next().is_none() {
            return Err(line("ERR FAILOVER requires connected replicas."));
        }
        if force && (target.is_none() || timeout_ms.is_none()) {
            return Err(line(
                "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
            ));
        }
        if let Some((host, port)) = &target {
            let named = |ip: &str, of: u16| ip.eq_ignore_ascii_case(host) && of == *port;
            let replica = replication
                .replicas()
                .find(|replica| named(&replica.ip(), replica.introduction.port))
                .ok_or(line("ERR FAILOVER target HOST and PORT is not a replica."))?;
            if replica.stage != Stage::Online {
                return Err(line("ERR FAILOVER target replica is not online."));
            }
        }
        tracing::info!("FAILOVER requested{}.", if force { " with FORCE" } else { "" });
        let now = self.now.instant;
        let until = timeout_ms.map(|millis| now + Duration::from_millis(millis));
        self.server.failover_pause = Some(now + PAUSE);
        self.keyspace.set_on_expired(Expired::Hide);
        self.server.replication.failover = Some(Failover { target, force, until, asked: false });
        self.server.ask_replicas_for_acks();
        Ok(())
    }

    /// FAILOVER ABORT.
    ///
    /// # Errors
    /// There is nothing to end.
    pub(in crate::node) fn abort_failover(&mut self, why: &str) -> Result<(), CommandError> {
        if self.server.replication.failover.is_none() {
            return Err(CommandError::line("ERR No failover in progress."));
        }
        tracing::info!("Aborting failover: {why}");
        if self.server.replication.asks_to_take_over() {
            lead(self.server, self.keyspace);
        }
        self.server.end_failover();
        Ok(())
    }

    /// `PSYNC … FAILOVER`: our primary wants this node to take over from it.
    ///
    /// # Errors
    /// It is not our primary.
    pub(in crate::node) fn take_over(&mut self, history: &[u8]) -> Result<(), CommandError> {
        let replication = &self.server.replication;
        if !replication.is_replica() {
            return Err(CommandError::line("ERR PSYNC FAILOVER can't be sent to a master."));
        }
        if history != replication.history().id().as_str().as_bytes() {
            return Err(CommandError::line("ERR PSYNC FAILOVER replid must match my replid."));
        }
        tracing::info!("Failover request received from replica {}.", self.session.addresses.peer);
        lead(self.server, self.keyspace);
        Ok(())
    }
}

impl Server {
    /// Nothing is handed over any longer: the writes that waited go on.
    pub(super) fn end_failover(&mut self) {
        self.replication.failover = None;
        self.end_failover_pause();
    }
}

impl Core {
    /// Goes on with a failover: at each tick.
    pub(in crate::node) fn tend_failover(&mut self, now: Now) {
        let Some(failover) = &self.server.replication.failover else { return };
        let late = failover.until.is_some_and(|until| now.instant >= until);
        if failover.asked {
            if late && !failover.force {
                tracing::info!("Aborting failover: timed out");
                lead(&mut self.server, &mut self.keyspace);
                self.server.end_failover();
            }
            return;
        }
        let end = self.server.replication.history.offset();
        let wanted = &failover.target;
        let address = self
            .server
            .replication
            .replicas()
            .filter(|replica| replica.stage == Stage::Online && replica.acked == end)
            .map(|replica| (replica.ip(), replica.introduction.port))
            .find(|address| wanted.as_ref().is_none_or(|wanted| wanted == address));
        let address = match address {
            None if late && failover.force => {
                if let Some((host, port)) = &failover.target {
                    tracing::info!("Failover to {host}:{port} time out exceeded, failing over.");
                }
                failover.target.clone()
            }
            None if late => {
                tracing::info!("Aborting failover: Replica never caught up before timeout");
                self.server.end_failover();
                return;
            }
            found => found,
        };
        let Some((host, port)) = address else { return };
        tracing::info!("Failover target is {host}:{port}.");
        if let Some(failover) = &mut self.server.replication.failover {
            failover.asked = true;
        }
        follow(&mut self.server, &mut self.keyspace, now, &host, port);
    }

    /// What the replica that was asked to take over said.
    pub(super) fn failover_answered(&mut self, accepted: bool) {
        if !self.server.replication.asks_to_take_over() {
            return;
        }
        if !accepted {
            tracing::info!("Aborting failover: Failover target rejected psync request");
            lead(&mut self.server, &mut self.keyspace);
        }
        self.server.end_failover();
    }
}
