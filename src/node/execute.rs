//! The checklist before a command runs, in Redis's order. The order matters: it decides which of
//! several errors a client sees.

use super::call::Ctx;
use super::error::CommandError;
use super::session::{Close, Replies, Role};
use crate::command::{self, Flags, Spec, UnknownCommand};
use crate::resp::Request;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// It has its reply, or needs none.
    Yes,
    /// CLIENT PAUSE holds it back: it is to be tried again.
    Paused,
}

impl Ctx<'_> {
    /// Runs one request, or refuses it: one reply either way, unless the client wants none.
    #[inline]
    pub(super) fn execute(&mut self, request: &Request<'_>) -> Ran {
        if self.server.renames.is_empty() {
            self.execute_named(request)
        } else {
            self.execute_renamed(request)
        }
    }

    /// The same for a request that says what the command is called.
    pub(super) fn execute_named(&mut self, request: &Request<'_>) -> Ran {
        let reply_start = self.out.len();
        let spec = match self.check(request) {
            Ok(Checked::Run(spec)) => Some(spec),
            Ok(Checked::Answered) => None,
            Ok(Checked::Paused) => return Ran::Paused,
            Err(Refused { spec, line }) => {
                self.refuse(spec, &line);
                None
            }
        };
        if let Some(spec) = spec {
            let handler = self.server.handlers[spec.id()].expect("checked");
            self.call(spec, handler, request);
            self.close_batch();
            // ASKING holds for one command, or for all of one transaction.
            if self.session.asking && self.session.transaction.is_none() && spec.name != "asking" {
                self.session.asking = false;
            }
        }
        if self.session.replies != Replies::On && self.session.blocked.is_none() {
            // What confirms a subscription is a message, not a reply.
            let confirms = spec.is_some_and(|spec| spec.name.ends_with("subscribe"));
            self.withhold_reply(if confirms { self.out.len() } else { reply_start });
        }
        // What the command sent to its own client comes behind its reply, as in Redis 7.2.
        if !self.session.inbox.is_empty() {
            self.out.buffer().append(&mut self.session.inbox);
        }
        Ran::Yes
    }

    /// A command was refused before it ran: nothing that was queued with it may run either.
    ///
    /// An EXEC that is refused itself ends the transaction, and says why.
    #[cold]
    pub(super) fn refuse(&mut self, spec: Option<&'static Spec>, line: &[u8]) {
        if let Some(spec) = spec {
            self.server.calls[spec.id()].rejected += 1;
        }
        if spec.is_some_and(|spec| spec.name == "exec") {
            self.end_transaction();
            self.unwatch();
            let line = line.strip_prefix(b"ERR ").unwrap_or(line);
            const START: &[u8] = b"EXECABORT Transaction discarded because of: ";
            return self.fail_line([START, line].concat());
        }
        if let Some(transaction) = &mut self.session.transaction {
            transaction.broken = true;
        }
        self.fail_line(line);
    }

    /// CLIENT REPLY OFF and SKIP.
    #[cold]
    pub(super) fn withhold_reply(&mut self, reply_start: usize) {
        self.out.buffer().truncate(reply_start);
        self.session.replies = match self.session.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip | Replies::On => Replies::On,
            Replies::Off => Replies::Off,
        };
    }

    fn check(&mut self, request: &Request<'_>) -> Result<Checked, Refused> {
        let spec = match command::lookup_request(request) {
            Ok(spec) if self.server.handlers[spec.id()].is_some() => spec,
            Ok(spec) => return Err(self.unknown(request, spec)),
            Err(UnknownCommand::Arity { spec }) if !self.runs(spec) => {
                return Err(self.unknown(request, spec));
            }
            Err(error) => {
                let spoofed =
                    ["post", "host:"].iter().any(|word| super::args::is(request.name(), word));
                if spoofed {
                    self.abort_cross_protocol();
                    return Ok(Checked::Answered);
                }
                let mut line = Vec::new();
                error.write(&mut line);
                let spec = match error {
                    UnknownCommand::Arity { spec } => Some(spec),
                    _ => None,
                };
                return Err(Refused { spec, line });
            }
        };
        if spec.runs_script() {
            self.script_flags = self.script_flags(spec, request);
        }
        let refuse = |error: CommandError| Refused {
            spec: Some(spec),
            line: error.to_string().into_bytes(),
        };

        if !self.session.authenticated && !spec.flags.contains(Flags::NO_AUTH) {
            return Err(refuse(CommandError::NoAuth));
        }
        if self.session.transaction.is_some() && spec.flags.contains(Flags::NO_MULTI) {
            return Err(refuse(CommandError::line("ERR Command not allowed inside a transaction")));
        }
        let obeys = self.session.role == Role::Primary;
        if let Some(member) = self.server.cluster.as_ref().filter(|_| !obeys) {
            if member.is_guarded() && !spec.flags.contains(Flags::LOADING) {
                return Err(refuse(CommandError::line(
                    "LOADING Redis is loading the dataset in memory",
                )));
            }
            if let Err(error) = self.check_ownership(spec, request) {
                return Err(refuse(error));
            }
        }
        if self.server.settings.memory_max > 0
            && !obeys
            && self.flags_of(spec).contains(Flags::DENYOOM)
        {
            self.server.check_memory();
            if self.server.over_memory {
                return Err(refuse(CommandError::OutOfMemory));
            }
        }
        if (self.server.is_restricted() || self.session.role == Role::Replica)
            && !obeys
            && let Err(error) = self.check_restrictions(spec)
        {
            return Err(refuse(error));
        }
        if self.session.only_listens() && !ALLOWED_TO_LISTENERS.contains(&spec.name) {
            return Err(refuse(CommandError::err(format_args!(
                "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
                 are allowed in this context",
                spec.name
            ))));
        }
        if self.session.monitors {
            let touches = Flags::WRITE.union(Flags::READONLY).union(Flags::MAY_REPLICATE);
            if self.flags_of(spec).intersects(touches) {
                let error = CommandError::line("ERR Replica can't interact with the keyspace");
                return Err(refuse(error));
            }
        }
        if !obeys && let Err(error) = self.check_persistence(spec) {
            return Err(refuse(error));
        }
        if self.server.scripts.is_busy()
            && let Err(error) = self.check_busy(spec, request)
        {
            return Err(refuse(error));
        }
        let paused = self.server.pause.is_some()
            || self.server.failover_pause.is_some()
            || self.server.writes_wait.any();
        if paused && self.is_paused(spec) {
            return Ok(Checked::Paused);
        }
        if self.keyspace.is_snapshotting() && self.waits_for_snapshot(spec, request) {
            return Ok(Checked::Paused);
        }
        if self.server.is_migrating() && self.waits_for_migration(spec, request) {
            return Ok(Checked::Paused);
        }
        if let Some(transaction) = &mut self.session.transaction
            && !ENDS_OR_CONTROLS_MULTI.contains(&spec.name)
        {
            let flags = if spec.runs_script() { self.script_flags } else { spec.flags };
            transaction.push(spec, flags, request);
            self.out.simple("QUEUED");
            return Ok(Checked::Answered);
        }
        Ok(Checked::Run(spec))
    }

    /// The flags of a command; EXEC has those of all that is queued, and what runs a script those
    /// that the script gives it.
    pub(super) fn flags_of(&self, spec: &Spec) -> Flags {
        if spec.runs_script() {
            return self.script_flags;
        }
        match &self.session.transaction {
            Some(transaction) if spec.name == "exec" => spec.flags.union(transaction.flags()),
            _ => spec.flags,
        }
    }

    /// Whether CLIENT PAUSE or a failover holds a command back. Those who are no clients are the
    /// ones it waits for.
    #[cold]
    fn is_paused(&mut self, spec: &Spec) -> bool {
        if self.session.role != Role::Client {
            return false;
        }
        let now = self.now.instant;
        if self.server.pause.is_some_and(|pause| now >= pause.until) {
            self.server.unpause();
        }
        if self.server.failover_pause.is_some_and(|until| now >= until) {
            self.server.end_failover_pause();
        }
        let may_write = self.flags_of(spec).intersects(Flags::WRITE.union(Flags::MAY_REPLICATE));
        let by_client = self.server.pause.is_some_and(|pause| !pause.writes_only || may_write);
        let waits = self.server.failover_pause.is_some() || self.server.writes_wait.any();
        let held = by_client || (may_write && waits);
        self.session.paused = held;
        held
    }

    /// Whether CLIENT PAUSE holds back what a primary says: like a client's, as in Redis. A failover that
    /// holds writes back waits for what the primary still says.
    #[cold]
    pub(super) fn holds_back_primary(&mut self, request: &Request<'_>) -> bool {
        if self.server.pause.is_some_and(|pause| self.now.instant >= pause.until) {
            self.server.unpause();
        }
        let may_write = || {
            let spec = command::lookup_request(request);
            let writes = Flags::WRITE.union(Flags::MAY_REPLICATE);
            spec.is_ok_and(|spec| self.flags_of(spec).intersects(writes))
        };
        self.server.scripts.is_busy()
            || self.server.pause.is_some_and(|pause| !pause.writes_only || may_write())
    }

    /// Whether this request names a command that the node runs.
    pub(super) fn knows(&self, request: &Request<'_>) -> bool {
        match command::lookup_request(request) {
            Ok(spec) | Err(UnknownCommand::Arity { spec }) => self.runs(spec),
            Err(UnknownCommand::Name { .. } | UnknownCommand::Subcommand { .. }) => false,
        }
    }

    /// Whether the node runs a command, or any of its subcommands.
    pub(super) fn runs(&self, spec: &Spec) -> bool {
        self.server.handlers[spec.id()].is_some()
            || spec.subcommands().iter().any(|sub| self.server.handlers[sub.id()].is_some())
    }

    /// A command that the table has and this node does not run is as unknown as any other.
    #[cold]
    fn unknown(&self, request: &Request<'_>, spec: &'static Spec) -> Refused {
        let container = command::lookup(spec.container_name().as_bytes());
        let error = match container {
            Some(container) if spec.is_subcommand() && self.runs(container) => {
                UnknownCommand::Subcommand { container, name: request.arg(1) }
            }
            // A container that is called without a subcommand.
            Some(container) if container.is_container() && self.runs(container) => {
                UnknownCommand::Arity { spec: container }
            }
            _ => UnknownCommand::Name { request: *request },
        };
        let mut line = Vec::new();
        error.write(&mut line);
        Refused { spec: None, line }
    }

    /// A browser was made to talk to us: its headers must not be run as commands.
    #[cold]
    fn abort_cross_protocol(&mut self) {
        self.session.close(Close::Now);
        let peer = self.session.addresses.peer;
        let now = self.now.instant;
        let server = &mut *self.server;
        if server.attack_logged.is_none_or(|last| now - last >= ATTACK_LOG_EVERY) {
            server.attack_logged = Some(now);
            tracing::warn!(
                %peer,
                "Possible SECURITY ATTACK detected: an HTTP header came in as a command, which \
                 is what cross protocol scripting looks like. The connection was aborted."
            );
        }
    }
}

/// How often that attack is logged at most.
const ATTACK_LOG_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// What is not queued between MULTI and EXEC.
const ENDS_OR_CONTROLS_MULTI: [&str; 6] = ["exec", "discard", "multi", "watch", "quit", "reset"];

/// What a client that listens to channels may run in RESP2, where a reply could not be told from a
/// message.
const ALLOWED_TO_LISTENERS: [&str; 9] = [
    "ping",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
];

enum Checked {
    /// Nothing stands in its way.
    Run(&'static Spec),
    /// It was queued, or ended the connection.
    Answered,
    Paused,
}

/// Why a command does not run, as the reply says it; and its entry in the figures, if it has one.
struct Refused {
    spec: Option<&'static Spec>,
    /// The error's text, code first. It may hold bytes of the client's.
    line: Vec<u8>,
}
