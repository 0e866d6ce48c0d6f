//! A command that a script calls: whether it may run, and its run.

use super::super::call::Ctx;
use super::super::error::CommandError;
use super::super::ownership::{self, Access};
use super::super::propagate::Audience;
use super::super::session::Role;
use super::run::Running;
use crate::cluster::Slot;
use crate::command::{self, Flags, Spec, UnknownCommand};
use crate::resp::{Encoder, OwnedRequest, Request};
use crate::script::Call;

/// Why a call is refused: the error, and the command in whose figures it counts.
struct Refused(Option<&'static Spec>, CommandError);

impl Ctx<'_> {
    /// Runs a command for a script: one whole reply either way.
    pub(super) fn call_for_script(
        &mut self,
        call: &Call,
        running: &mut Running,
        reply: &mut Vec<u8>,
    ) {
        let renamed = self.as_scripts_mean(&call.request);
        let request = renamed.as_ref().unwrap_or(&call.request).as_request();
        match self.check_call(&request, running) {
            Ok(spec) => {
                running.wrote |= spec.flags.contains(Flags::WRITE);
                let handler = self.server.handlers[spec.id()].expect("checked");
                let Call { feeds, protocol, .. } = call;
                let audience = Audience { log: feeds.log, replicas: feeds.replicas };
                self.server.propagation.limit_to(audience);
                let mut nested = self.nested(Encoder::new(reply, *protocol));
                nested.call(spec, handler, &request);
                self.clock = nested.clock;
                self.server.propagation.limit_to(Audience::ALL);
            }
            Err(Refused(spec, error)) => {
                if let Some(spec) = spec {
                    self.server.calls[spec.id()].rejected += 1;
                }
                let line = error.to_string();
                self.server.stats.count_error(&line);
                Encoder::new(reply, call.protocol).error(line);
            }
        }
    }

    /// A request that `rename-command` gives another name than its own: scripts use the names that
    /// clients do.
    fn as_scripts_mean(&self, request: &OwnedRequest) -> Option<OwnedRequest> {
        if self.server.renames.is_empty() {
            return None;
        }
        let request = request.as_request();
        let mut args: Vec<&[u8]> = request.args_from(0).collect();
        args[0] = self.server.renames.meant(args[0]);
        Some(OwnedRequest::from_args(&args))
    }

    /// Whether a script may run this. In Redis's order, which decides what is said of several
    /// reasons.
    fn check_call(
        &mut self,
        request: &Request<'_>,
        running: &mut Running,
    ) -> Result<&'static Spec, Refused> {
        const UNKNOWN: CommandError =
            CommandError::line("ERR Unknown Redis command called from script");
        const ARITY: CommandError =
            CommandError::line("ERR Wrong number of args calling Redis command from script");
        let spec = match command::lookup_request(request) {
            Ok(spec) if self.server.handlers[spec.id()].is_some() => spec,
            Err(UnknownCommand::Arity { spec }) if self.runs(spec) => {
                return Err(Refused(Some(spec), ARITY));
            }
            _ => return Err(Refused(None, UNKNOWN)),
        };
        let refused = |error: CommandError| Refused(Some(spec), error);
        if spec.flags.contains(Flags::NOSCRIPT) && !self.server.scripts.deny_none {
            return Err(refused(CommandError::line(
                "ERR This Redis command is not allowed from script",
            )));
        }
        let obeys = self.session.role == Role::Primary;
        let writes = spec.flags.contains(Flags::WRITE);
        if !obeys && self.is_stale() && !spec.flags.contains(Flags::STALE) {
            return Err(refused(CommandError::line(
                "ERR Can not execute the command on a stale replica",
            )));
        }
        let tells_others = spec.flags.contains(Flags::MAY_REPLICATE);
        if (writes || tells_others) && running.rights.reads_only {
            return Err(refused(CommandError::line(
                "ERR Write commands are not allowed from read-only scripts.",
            )));
        }
        if !obeys {
            // One that has written is not to end half way for what has come over the node since, but
            // a role.
            if writes && (!running.wrote || self.server.replication.is_replica()) {
                self.check_restrictions(spec).map_err(refused)?;
                self.check_persistence(spec).map_err(refused)?;
            }
            if spec.flags.contains(Flags::DENYOOM)
                && !running.wrote
                && !running.rights.beyond_memory
            {
                self.server.check_memory();
                if self.server.over_memory {
                    return Err(refused(CommandError::OutOfMemory));
                }
            }
            self.check_slots(spec, request, running).map_err(refused)?;
        }
        Ok(spec)
    }

    /// Whether the keys of a call are this node's, and in the slot of those before where they have
    /// to be.
    fn check_slots(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
        running: &mut Running,
    ) -> Result<(), CommandError> {
        let Some(member) = &self.server.cluster else { return Ok(()) };
        let Ok(keys) = command::keys(spec, request) else { return Ok(()) };
        let access = Access {
            writes: spec.flags.contains(Flags::WRITE),
            readonly: self.session.readonly,
            asking: self.session.asking,
            ..self.access_of(spec)
        };
        let mut db = self.keyspace.db(0, self.now.unix_ms);
        let keys = keys.map(|key| request.arg(key.index));
        let served = ownership::check(member, access, keys.clone(), |key| db.contains(key));
        served.map_err(|error| {
            CommandError::line(match error {
                CommandError::ClusterDown => {
                    "ERR Script attempted to execute a command while the cluster is down"
                }
                CommandError::ClusterDownForWrites => {
                    "ERR Script attempted to execute a write command while the cluster is down and \
                     readonly"
                }
                _ => "ERR Script attempted to access a non local key in a cluster node",
            })
        })?;
        let slot = keys.map(Slot::of).next();
        if !running.rights.many_slots && slot.is_some() {
            if running.slot.is_some() && running.slot != slot {
                return Err(CommandError::line(
                    "ERR Script attempted to access keys that do not hash to the same slot",
                ));
            }
            running.slot = slot;
        }
        Ok(())
    }
}
