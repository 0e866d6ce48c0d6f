//! One call of a command: what a handler is, and all that it may touch.

use super::error::CommandError;
use super::server::Server;
use super::session::Session;
use crate::clock::Now;
use crate::command::{Flags, Spec};
use crate::resp::{Encoder, Protocol, Request};
use crate::store::{Db, Expired, Keyspace};
use std::time::Duration;

/// What a command does. The arity of `request` is checked before; the reply goes straight into
/// [`Ctx::out`], exactly one. A handler that returns an error has written nothing.
pub(super) type Handler = fn(&mut Ctx<'_>, &Request<'_>) -> Result<(), CommandError>;

/// The commands of one group, by name; a subcommand's name is `container|sub`.
pub(super) type Handlers = &'static [(&'static str, Handler)];

/// All that a handler may touch during one call.
pub(super) struct Ctx<'a> {
    /// The time of this turn: the same for every command of a batch, as in Redis.
    pub(super) now: Now,
    /// Where the reply goes, in the client's protocol.
    pub(super) out: Encoder<'a>,
    /// The client that calls.
    pub(super) session: &'a mut Session,
    /// The data.
    pub(super) keyspace: &'a mut Keyspace,
    /// The rest of the node: settings, figures, other sessions, watched keys.
    pub(super) server: &'a mut Server,
    /// The host's stopwatch when the last call ended: where the next one begins.
    pub(super) clock: Duration,
    /// The same when the turn began: what has passed since then is to be added to `now` where it
    /// matters.
    started: Duration,
    /// EXEC runs its queue: no command may block.
    pub(super) in_transaction: bool,
    /// A command that blocked its client runs again.
    pub(super) runs_again: bool,
    /// And blocks again.
    pub(super) blocks_again: bool,
    /// The key that has come, if that is why it runs again.
    pub(super) ready: Option<&'a [u8]>,
    /// A script calls.
    pub(super) in_script: bool,
    /// What the script that runs, or is about to, makes of the flags of its command.
    pub(super) script_flags: Flags,
}

impl<'a> Ctx<'a> {
    /// A turn of a client, in which nothing has run so far.
    pub(super) fn new(
        now: Now,
        out: Encoder<'a>,
        session: &'a mut Session,
        keyspace: &'a mut Keyspace,
        server: &'a mut Server,
    ) -> Self {
        let clock = server.host.elapsed();
        Self {
            now,
            out,
            session,
            keyspace,
            server,
            clock,
            started: clock,
            in_transaction: false,
            runs_again: false,
            blocks_again: false,
            ready: None,
            in_script: false,
            script_flags: Flags::NONE,
        }
    }

    /// A call within this one, by a script: its reply goes elsewhere.
    pub(super) fn nested<'b>(&'b mut self, out: Encoder<'b>) -> Ctx<'b> {
        Ctx {
            now: self.now,
            out,
            session: self.session,
            keyspace: self.keyspace,
            server: self.server,
            clock: self.clock,
            started: self.started,
            in_transaction: true,
            runs_again: false,
            blocks_again: false,
            ready: None,
            in_script: true,
            script_flags: Flags::NONE,
        }
    }

    /// The time, where `now` may be too old: behind a command that took long.
    pub(super) fn present(&self) -> Now {
        self.now.after(self.server.host.elapsed().saturating_sub(self.started))
    }

    /// Tells everyone whom it concerns that the value or the expiry of `key` in this client's
    /// database has changed, or that the key has gone. Called once per change, after it.
    #[inline]
    pub(super) fn modified(&mut self, key: &[u8]) {
        self.server.stats.dirty += 1;
        self.touched(self.session.db, key);
    }

    /// The same for a key of any database, and without counting it as a change.
    #[inline]
    pub(super) fn touched(&mut self, db: usize, key: &[u8]) {
        self.server.watched.touch(db, key);
        if self.server.waiters.await_keys() {
            self.touch_awaited(db, key);
        }
    }

    /// The same for those alone who wait for the key.
    #[cold]
    pub(super) fn touch_awaited(&mut self, db: usize, key: &[u8]) {
        if self.server.waiters.await_key(db, key) {
            // A key past its expiry is removed when its waiters are looked after: behind the command
            // that runs, as what it leads to.
            let holds = self.keyspace.db(db, self.now.unix_ms).raw_type_of(key);
            self.server.waiters.touch(db, key, holds);
        }
    }

    /// Any key of a database, of all if `None`, may have come, gone or changed. Watchers are told
    /// by whoever knows which.
    pub(super) fn touch_all_awaited(&mut self, db: Option<usize>) {
        for (db, key) in self.server.waiters.awaited(db) {
            self.touch_awaited(db, &key);
        }
    }

    /// Whether a key is there and not past its expiry. Does not count as a use of it.
    pub(super) fn exists(&mut self, db: usize, key: &[u8]) -> bool {
        self.keyspace.db(db, self.now.unix_ms).contains(key)
    }

    /// Whether commands are run that have been run elsewhere, or before: a primary's stream, the
    /// append-only file. What has expired meanwhile had not when they were.
    pub(super) fn runs_late(&self) -> bool {
        self.keyspace.on_expired() == Expired::Keep
    }

    /// Whether a key that expires then is to go at once, and not to be kept until it does: it has gone
    /// by now, and nothing that is still to be run could have saved it.
    pub(super) fn has_passed(&self, at_ms: u64) -> bool {
        at_ms <= self.now.unix_ms && !self.runs_late()
    }

    /// The database that the client has selected, and where the reply goes.
    #[inline]
    pub(super) fn data(&mut self) -> (Db<'_>, &mut Encoder<'a>) {
        (self.keyspace.db(self.session.db, self.now.unix_ms), &mut self.out)
    }

    /// The database that the client has selected.
    #[inline]
    pub(super) fn db(&mut self) -> Db<'_> {
        self.keyspace.db(self.session.db, self.now.unix_ms)
    }

    /// Replies are in this protocol from here on (HELLO, RESET).
    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        self.session.protocol = protocol;
        self.out.set_protocol(protocol);
    }

    /// Writes an error reply, and counts it.
    #[cold]
    pub(super) fn fail(&mut self, error: &CommandError) {
        self.fail_line(error.to_string());
    }

    /// The same with the line itself, its code first.
    #[cold]
    pub(super) fn fail_line(&mut self, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        self.server.stats.count_error(&String::from_utf8_lossy(line));
        self.out.error(line);
    }

    /// Runs a command that nothing stands in the way of: its reply, its figures.
    #[inline]
    pub(super) fn call(&mut self, spec: &'static Spec, handler: Handler, request: &Request<'_>) {
        let started = self.clock;
        let changes = self.changes_before();
        self.session.last_command = Some(spec);
        let outcome = handler(self, request);
        self.note_told();
        self.clock = self.server.host.elapsed();
        let took = self.clock.saturating_sub(started);

        // A command that blocked was counted when it came.
        let again = u64::from(self.runs_again);
        self.server.stats.commands += 1 - again;
        let tracking = self.server.settings.latency_tracking;
        let calls = &mut self.server.calls[spec.id()];
        calls.calls += 1 - again;
        let nanos = took.as_nanos() as u64;
        calls.nanos += nanos;
        if tracking {
            calls.latency.get_or_insert_default().record(nanos);
        }
        if let Err(error) = outcome {
            calls.failed += 1;
            self.fail(&error);
        }
        if !self.server.monitors.is_empty() {
            self.show_to_monitors(spec, request);
        }
        if self.server.propagation.is_wanted() {
            self.propagate(spec, request, changes);
        }
        if self.server.replication.is_replica() && self.server.stats.dirty != changes {
            self.note_own_keys(spec, request);
        }
        let threshold = self.server.settings.latency_threshold;
        if !threshold.is_zero() && took >= threshold {
            let fast = spec.flags.contains(Flags::FAST);
            let event = if fast { "fast-command" } else { "command" };
            self.server.latency_events.add(event, self.now.unix_ms / 1000, took);
        }
        if self.server.settings.slowlog_slower_than.is_some_and(|limit| took >= limit) {
            self.log_slow(spec, request, took);
        }
    }

    #[cold]
    fn log_slow(&mut self, spec: &'static Spec, request: &Request<'_>, took: Duration) {
        if spec.flags.contains(Flags::SKIP_SLOWLOG) {
            return;
        }
        // Whoever runs the script is no client of what it calls, as in Redis.
        let client = match self.in_script {
            true => ("?:0".to_owned(), "".into()),
            false => (self.session.addresses.peer.to_string(), self.session.name.clone()),
        };
        let entries_max = self.server.settings.slowlog_entries_max;
        let seconds = self.now.unix_ms / 1000;
        self.server.slowlog.push((spec, request), seconds, took, client, entries_max);
    }
}
