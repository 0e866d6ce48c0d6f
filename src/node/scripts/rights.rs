//! What a script may do, by what it says of itself and by the command that runs it.

use super::super::call::Ctx;
use super::super::error::CommandError;
use crate::command::{Flags, Spec};
use crate::resp::Request;
use crate::script::{Declared, ScriptName, declared};

/// What a script may do.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Rights {
    /// It may not change anything: EVAL_RO, or `no-writes`.
    pub(super) reads_only: bool,
    /// Its keys may be in several slots, as long as this node serves them.
    pub(super) many_slots: bool,
    /// It may use more memory than `maxmemory`.
    pub(super) beyond_memory: bool,
}

impl Rights {
    /// What a script may do that is run by this command.
    ///
    /// # Errors
    /// It may not be run at all by this one, or here.
    pub(super) fn of(
        declared: Declared,
        spec: &Spec,
        in_cluster: bool,
    ) -> Result<Self, CommandError> {
        let by_ro = spec.flags.contains(Flags::READONLY);
        if declared.says && declared.no_cluster && in_cluster {
            return Err(CommandError::line(
                "ERR Can not run script on cluster, 'no-cluster' flag is set.",
            ));
        }
        if declared.says && by_ro && !declared.no_writes {
            return Err(CommandError::line(
                "ERR Can not execute a script with write flag using *_ro command.",
            ));
        }
        Ok(Self {
            reads_only: by_ro || declared.no_writes,
            many_slots: !declared.says || declared.allow_cross_slot_keys,
            beyond_memory: declared.allow_oom,
        })
    }
}

/// The flags of a command that runs a script which says this of itself.
fn flags(spec: &Spec, declared: Declared) -> Flags {
    if !declared.says {
        let may_write = !spec.flags.contains(Flags::READONLY);
        return spec.flags.union(if may_write { Flags::MAY_REPLICATE } else { Flags::NONE });
    }
    let mut flags = spec.flags.without(Flags::STALE.union(Flags::DENYOOM).union(Flags::WRITE));
    if !declared.no_writes {
        flags = flags.union(Flags::WRITE);
        if !declared.allow_oom {
            flags = flags.union(Flags::DENYOOM);
        }
    }
    if declared.allow_stale {
        flags = flags.union(Flags::STALE);
    }
    flags
}

impl Ctx<'_> {
    /// The flags of a request that runs a script: those of its command, and what the script says of
    /// itself.
    #[cold]
    pub(in crate::node) fn script_flags(&self, spec: &Spec, request: &Request<'_>) -> Flags {
        let named = spec.name.starts_with("evalsha");
        let declared = match named {
            true => ScriptName::parse(request.arg(1))
                .and_then(|name| self.server.scripts.declared(&name))
                .unwrap_or_default(),
            // One that is wrong is refused when it is to run.
            false => declared(request.arg(1)).unwrap_or_default(),
        };
        flags(spec, declared)
    }
}
