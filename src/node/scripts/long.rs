//! A script that has run for longer than `busy-reply-threshold`: others are let in between two of
//! its steps, to be told that the node is busy, and to end it.

use super::super::blocking::Subject;
use super::super::call::Ctx;
use super::super::core::Core;
use super::super::error::CommandError;
use super::super::output::Output;
use super::super::serve::{self, Wait};
use super::super::server::Server;
use super::super::session::{ClientId, Role};
use super::Scripts;
use super::run::Running;
use crate::clock::Now;
use crate::command::{Flags, Spec};
use crate::resp::Request;
use std::time::Duration;

/// A script that waits for its next turn.
pub(super) struct LeftAlone {
    running: Running,
    client: ClientId,
    /// Its client has gone: its place is kept until the script has ended.
    orphaned: bool,
    /// What it has done goes to nobody: the process ends before the script would.
    abandoned: bool,
}

/// How long the script runs between two looks at everything else.
const TURN: Duration = Duration::from_millis(1);

impl Scripts {
    /// SCRIPT KILL: the script that is left alone ends with its next step.
    ///
    /// # Errors
    /// There is none, or it has changed something already.
    pub(in crate::node) fn kill(&mut self) -> Result<(), CommandError> {
        let Some(left_alone) = &mut self.left_alone else {
            return Err(CommandError::line("NOTBUSY No scripts in execution right now."));
        };
        if left_alone.running.wrote {
            return Err(CommandError::line(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. \
                 You can either wait the script termination or kill the server in a hard way using \
                 the SHUTDOWN NOSAVE command.",
            ));
        }
        left_alone.running.killed = true;
        Ok(())
    }

    /// A client has gone. True if its script is still running: then its place is to be kept.
    pub(in crate::node) fn orphan(&mut self, client: ClientId) -> bool {
        match &mut self.left_alone {
            Some(left_alone) if left_alone.client == client => {
                left_alone.orphaned = true;
                true
            }
            _ => false,
        }
    }
}

impl Server {
    /// The script that is left alone ends, whatever it has done: nothing of that is kept.
    pub(in crate::node) fn abandon_script(&mut self) {
        if let Some(left_alone) = &mut self.scripts.left_alone {
            left_alone.running.killed = true;
            left_alone.abandoned = true;
        }
    }
}

impl Ctx<'_> {
    /// Whether a script may be left alone: not within EXEC, and not where what comes next has to find
    /// it done (the stream of a primary, the append-only file).
    pub(super) fn may_leave_scripts_alone(&self) -> bool {
        self.may_block() && self.session.role == Role::Client
    }

    /// Lets others in beside a script: its client waits for the end.
    pub(super) fn leave_script_alone(&mut self, running: Running, request: &Request<'_>) {
        tracing::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing \
             the script using the SCRIPT KILL command. Script name is: {}.",
            self.server.host.elapsed().saturating_sub(running.started).as_millis(),
            running.name
        );
        let client = self.session.id;
        // Its time is never over.
        let wait = Wait { request: request.to_owned(), until: None, timed_out: |_| () };
        self.block_on(Subject::Script, wait);
        let left_alone = LeftAlone { running, client, orphaned: false, abandoned: false };
        self.server.scripts.left_alone = Some(Box::new(left_alone));
        self.server.outputs.push_back(Output::Script);
    }

    /// Refuses what must not run beside a script.
    ///
    /// # Errors
    /// It must not.
    #[cold]
    pub(in crate::node) fn check_busy(
        &self,
        spec: &Spec,
        request: &Request<'_>,
    ) -> Result<(), CommandError> {
        const BUSY: CommandError = CommandError::line(
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        );
        let ends_all = spec.name != "shutdown"
            || request.args_from(1).any(|word| super::super::args::is(word, "nosave"));
        match spec.flags.contains(Flags::ALLOW_BUSY) && ends_all {
            true => Ok(()),
            false => Err(BUSY),
        }
    }
}

impl Core {
    /// The node is to end: a script that others were let in beside ends before, if it has changed nothing.
    ///
    /// # Errors
    /// It has: what it leaves now would be half of what it means to do.
    pub(in crate::node) fn end_script(&mut self, now: Now) -> std::io::Result<()> {
        if !self.server.scripts.is_busy() {
            return Ok(());
        }
        if self.server.scripts.kill().is_err() {
            tracing::warn!(
                "A script is running that has changed the data already: the node goes on. Ask again \
                 when it has ended, or use SHUTDOWN NOSAVE."
            );
            return Err(std::io::Error::other("a script is running"));
        }
        while self.go_on_with_script(now) {}
        Ok(())
    }

    /// Lets the script that is left alone run for a moment. False if there is none, or it has ended.
    pub fn go_on_with_script(&mut self, now: Now) -> bool {
        let scripts = &mut self.server.scripts;
        let Some(mut left_alone) = scripts.left_alone.take() else { return false };
        let mut interpreter = scripts.interpreter.take().expect("it holds the script");
        self.turn = now.instant;
        let (client, sees) = (left_alone.client, left_alone.running.now);
        let done = serve::with_client(sees, &mut self.keyspace, &mut self.server, client, |ctx| {
            let until = ctx.clock + TURN;
            let done = left_alone.running.drive(ctx, &mut interpreter, Some(until))?;
            Some(done)
        });
        self.server.scripts.interpreter = Some(interpreter);
        let Some(done) = done.flatten() else {
            self.server.scripts.left_alone = Some(left_alone);
            return true;
        };
        let LeftAlone { running, orphaned, abandoned, .. } = *left_alone;
        if abandoned {
            self.server.propagation.discard_batch();
        }
        serve::with_client(now, &mut self.keyspace, &mut self.server, client, |ctx| {
            ctx.end_script_wait(|ctx| running.finish(ctx, done));
            ctx.close_batch();
        });
        if orphaned {
            self.disconnect(client);
        }
        // Whatever had to wait.
        self.serve_ready(now);
        self.begin_waiting(now);
        self.server.outputs.extend([Output::Snapshot, Output::Link]);
        false
    }
}
