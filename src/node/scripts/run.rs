//! One run of a script, from its call to its reply or until it is left alone.

use super::super::call::Ctx;
use super::super::error::CommandError;
use super::super::replication::MASTER_DOWN;
use super::super::session::Role;
use super::rights::Rights;
use crate::clock::Now;
use crate::command::Spec;
use crate::resp::Request;
use crate::script::{Answer, Done, Failure, Interpreter, LogLevel, Run, ScriptName, Step};
use std::time::Duration;

/// A script that is running.
pub(super) struct Running {
    pub(super) name: ScriptName,
    /// The command that runs it.
    pub(super) spec: &'static Spec,
    pub(super) rights: Rights,
    /// When it began, by the host's stopwatch.
    pub(super) started: Duration,
    /// The time that it sees: it stands still, so that nothing expires under its hands.
    pub(super) now: Now,
    /// The database that it has selected.
    pub(super) db: usize,
    /// The slot of the keys that it has used, where those may be in one only.
    pub(super) slot: Option<crate::cluster::Slot>,
    /// It has run a command that writes.
    pub(super) wrote: bool,
    /// It is to end: SCRIPT KILL.
    pub(super) killed: bool,
    /// What it waits for was answered so.
    said: Said,
    /// The reply to its latest call.
    reply: Vec<u8>,
}

/// What a script is to be told next.
#[derive(Clone, Copy)]
enum Said {
    Go,
    Reply,
    Known(bool),
}

/// A buffer for replies that grew beyond this is given back.
const REPLY_KEPT_BYTES: usize = 64 * 1024;

impl Ctx<'_> {
    /// Runs a script that is known. `request` is that of the command, `keys` the number of keys in it.
    ///
    /// # Errors
    /// It may not run.
    pub(in crate::node) fn run_script(
        &mut self,
        name: ScriptName,
        keys: usize,
        request: &Request<'_>,
    ) -> Result<(), CommandError> {
        /// Where the keys begin.
        const FIRST_KEY: usize = 3;
        let spec = self.session.last_command.expect("a command is running");
        let declared = self.server.scripts.declared(&name).expect("it is known");
        if !declared.says && self.session.role != Role::Primary && self.is_stale() {
            // One that does not say what it does may read anything.
            return Err(MASTER_DOWN);
        }
        let rights = Rights::of(declared, spec, self.server.cluster.is_some())?;
        if !self.server.monitors.is_empty() {
            // Before what it calls.
            self.show_script_to_monitors(spec, request);
        }

        let words: Vec<&[u8]> = request.args_from(FIRST_KEY).collect();
        let (keys, args) = words.split_at(keys);
        let mut interpreter = self.server.scripts.interpreter.take().expect("it knows scripts");
        interpreter.begin(&Run { name, keys, args, protocol: self.out.protocol() });
        let mut running = Running {
            name,
            spec,
            rights,
            started: self.clock,
            now: self.now,
            db: self.session.db,
            slot: None,
            wrote: false,
            killed: false,
            said: Said::Go,
            reply: std::mem::take(&mut self.server.scripts.reply),
        };
        let threshold = self.server.settings.busy_after;
        let until = threshold.map(|threshold| running.started + threshold);
        let mut done = running.drive(self, &mut interpreter, until);
        if done.is_none() && !self.may_leave_scripts_alone() {
            // Nobody could be let in to end it. What it has written has to be whole.
            running.killed = !running.wrote;
            done = running.drive(self, &mut interpreter, None);
        }
        self.server.scripts.interpreter = Some(interpreter);
        match done {
            Some(done) => running.finish(self, done),
            None => self.leave_script_alone(running, request),
        }
        Ok(())
    }
}

impl Running {
    /// Lets the script run until it ends, or at least until the host's stopwatch shows this.
    pub(super) fn drive(
        &mut self,
        ctx: &mut Ctx<'_>,
        interpreter: &mut Interpreter,
        until: Option<Duration>,
    ) -> Option<Done> {
        let own_db = std::mem::replace(&mut ctx.session.db, self.db);
        let done = loop {
            let answer = match self.said {
                _ if self.killed => Answer::Kill,
                Said::Go => Answer::Go,
                Said::Reply => Answer::Reply(&self.reply),
                Said::Known(known) => Answer::Known(known),
            };
            match interpreter.step(answer) {
                Step::Call(call) => {
                    self.reply.clear();
                    let mut reply = std::mem::take(&mut self.reply);
                    ctx.call_for_script(&call, self, &mut reply);
                    self.reply = reply;
                    self.said = Said::Reply;
                }
                Step::Knows(request) => {
                    self.said = Said::Known(ctx.knows(&request.as_request()));
                }
                Step::Log(level, text) => {
                    log(level, &text);
                    self.said = Said::Go;
                }
                Step::Pause => {
                    ctx.clock = ctx.server.host.elapsed();
                    self.said = Said::Go;
                }
                Step::Done(done) => break Some(done),
            }
            if until.is_some_and(|until| ctx.clock >= until) {
                break None;
            }
        };
        self.db = std::mem::replace(&mut ctx.session.db, own_db);
        ctx.session.last_command = Some(self.spec);
        done
    }

    /// Gives the client the reply, and counts it if it is an error.
    pub(super) fn finish(mut self, ctx: &mut Ctx<'_>, done: Done) {
        if let Some(failure) = done.failure {
            ctx.server.calls[self.spec.id()].failed += 1;
            if failure == Failure::OfScript {
                let line = done.reply.split(|&byte| byte == b'\r').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line);
                ctx.server.stats.count_error(line.strip_prefix('-').unwrap_or(&line));
            }
        }
        ctx.out.buffer().extend_from_slice(&done.reply);
        if self.reply.capacity() <= REPLY_KEPT_BYTES {
            ctx.server.scripts.reply = std::mem::take(&mut self.reply);
        }
    }
}

/// `redis.log`, with the log's own levels.
fn log(level: LogLevel, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match level {
        LogLevel::Debug => tracing::trace!("{text}"),
        LogLevel::Verbose => tracing::debug!("{text}"),
        LogLevel::Notice => tracing::info!("{text}"),
        LogLevel::Warning => tracing::warn!("{text}"),
    }
}
