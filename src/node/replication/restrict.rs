//! What replication keeps clients from doing: writes on a replica, reads of stale or half loaded
//! data, writes without enough replicas to hold them.

use super::Replication;
use super::upstream::Phase;
use crate::command::{Flags, Spec};
use crate::node::call::Ctx;
use crate::node::error::CommandError;
use crate::node::persistence::LOADING;
use crate::node::server::Server;
use crate::node::session::Role;
use crate::node::writes_wait::Unsaved;

/// The data may be old, and is not to be served then.
pub(in crate::node) const MASTER_DOWN: CommandError = CommandError::line(
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
);

impl Replication {
    /// Whether the data set is being replaced at this moment.
    pub(in crate::node) fn is_loading(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.is_loading())
    }

    /// Whether other data is being gathered that is to take the place of what there is.
    pub(in crate::node) fn is_loading_beside(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.is_loading_beside())
    }

    /// Whether the primary's stream is being followed.
    pub(in crate::node) fn link_is_up(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.phase == Phase::Online)
    }
}

impl Server {
    /// Whether [`Ctx::check_restrictions`] may have anything to say.
    #[inline]
    pub(in crate::node) fn is_restricted(&self) -> bool {
        self.replication.is_replica() || self.settings.replication.replicas_min > 0
    }
}

impl Ctx<'_> {
    /// Whether a command may run, as far as replication goes. In Redis's order.
    ///
    /// # Errors
    /// It may not.
    #[cold]
    pub(in crate::node) fn check_restrictions(
        &self,
        spec: &'static Spec,
    ) -> Result<(), CommandError> {
        let replication = &self.server.replication;
        let settings = &self.server.settings.replication;
        let writes = self.flags_of(spec).contains(Flags::WRITE);
        if writes
            && !replication.is_replica()
            && settings.replicas_min > 0
            && replication.good_replicas(self.now, settings.lag_max) < settings.replicas_min
        {
            return Err(CommandError::line("NOREPLICAS Not enough good replicas to write."));
        }
        // One that was elected takes them as soon as that is on disk.
        let will_lead = self.server.writes_wait.has(Unsaved::Role);
        if writes && replication.is_replica() && settings.read_only && !will_lead {
            return Err(CommandError::line(
                "READONLY You can't write against a read only replica.",
            ));
        }
        if self.is_stale() && self.lacks(spec, Flags::STALE) {
            return Err(MASTER_DOWN);
        }
        if replication.is_loading() && self.lacks(spec, Flags::LOADING) {
            return Err(LOADING);
        }
        if replication.is_loading_beside() && self.has(spec, Flags::NO_ASYNC_LOADING) {
            return Err(LOADING);
        }
        let touches_data = Flags::WRITE.union(Flags::READONLY).union(Flags::MAY_REPLICATE);
        if self.session.role == Role::Replica && spec.flags.intersects(touches_data) {
            return Err(CommandError::line("ERR Replica can't interact with the keyspace"));
        }
        Ok(())
    }

    /// Whether the data may be old, and is not to be served then.
    pub(in crate::node) fn is_stale(&self) -> bool {
        let replication = &self.server.replication;
        let serves_stale = self.server.settings.replication.serve_stale;
        replication.is_replica() && !replication.link_is_up() && !serves_stale
    }

    /// Whether a command has a flag; for EXEC, whether any of what is queued does.
    fn has(&self, spec: &Spec, flag: Flags) -> bool {
        let is_queued = self.session.transaction.as_ref().is_some_and(|transaction| {
            spec.name == "exec"
                && transaction.queue().iter().any(|queued| queued.spec.flags.contains(flag))
        });
        is_queued || spec.flags.contains(flag)
    }

    /// Whether a command lacks a flag; for EXEC, whether any of what is queued does.
    fn lacks(&self, spec: &Spec, flag: Flags) -> bool {
        match &self.session.transaction {
            Some(transaction) if spec.name == "exec" => {
                transaction.queue().iter().any(|queued| !queued.spec.flags.contains(flag))
            }
            _ => !self.flags_of(spec).contains(flag),
        }
    }
}
