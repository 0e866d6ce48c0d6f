//! What a command that ran is to others: to replicas, and to the append-only file.
//!
//! A command that changed something goes on as it came, unless its effect depends on when or by
//! whose luck it ran: then its handler says with [`Ctx::propagate_as`] what stands for it (`SET k v
//! PXAT at` for `SET k v EX 10`). What one call of a client leads to is one [`Batch`]: more than
//! one command in it go between MULTI and EXEC, so that whoever receives it runs all or nothing.
//! A key that a look-up found past its expiry goes first, as a DEL of its own.
//!
//! While nobody listens, a command pays one comparison.

use super::call::Ctx;
use super::server::Server;
use crate::command::Spec;
use crate::resp::{Request, encode_args, encode_request};

/// Whom a propagated command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Audience {
    /// The append-only file.
    pub(super) log: bool,
    /// Replicas.
    pub(super) replicas: bool,
}

impl Audience {
    /// Replicas and the append-only file.
    pub(super) const ALL: Self = Self { log: true, replicas: true };
    /// Replicas: what is no change of the data (PUBLISH).
    pub(super) const REPLICAS: Self = Self { log: false, replicas: true };

    fn and(self, other: Self) -> Self {
        Self { log: self.log && other.log, replicas: self.replicas && other.replicas }
    }
}

impl Default for Audience {
    fn default() -> Self {
        Self::ALL
    }
}

/// What becomes of the command that is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    /// It goes on as it came, if it has changed something.
    #[default]
    IfChanged,
    /// It goes on as it came, whatever it did.
    Always(Audience),
    /// Something else stands for it, or nothing does.
    Never,
}

/// The commands of one client's call, in the order in which they are to be run.
#[derive(Debug, Default)]
struct Batch {
    /// Whole requests, one after the other.
    bytes: Vec<u8>,
    commands: Vec<Mark>,
    /// Each of them may be run without the others.
    apart: bool,
    /// Who hears of commands at most: a script may leave some out.
    limit: Audience,
}

/// One command of a batch.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The database that it is to run in.
    db: usize,
    /// Where its bytes end.
    end: usize,
    audience: Audience,
}

/// By which command a removal goes on. Receivers that free what is big as they meet it are told
/// with UNLINK to do that on another thread.
pub(super) const fn removal(lazy: bool) -> &'static [u8] {
    if lazy { b"UNLINK" } else { b"DEL" }
}

/// A batch whose buffer grew beyond this gives it back.
const BATCH_KEPT_BYTES: usize = 64 * 1024;

impl Batch {
    fn push<A: AsRef<[u8]>>(&mut self, db: usize, audience: Audience, args: &[A]) {
        encode_request(&mut self.bytes, args);
        self.mark(db, audience);
    }

    fn push_request(&mut self, db: usize, audience: Audience, request: &Request<'_>) {
        // The frame of a client may spell its numbers in odd ways: what is sent on never does.
        encode_args(&mut self.bytes, request.args_from(0));
        self.mark(db, audience);
    }

    fn mark(&mut self, db: usize, audience: Audience) {
        let audience = audience.and(self.limit);
        self.commands.push(Mark { db, end: self.bytes.len(), audience });
    }

    fn clear(&mut self) {
        self.commands.clear();
        self.bytes.clear();
        self.apart = false;
        if self.bytes.capacity() > BATCH_KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// A stream of commands for one kind of listener: what has been propagated, and in which database
/// whoever follows it is.
#[derive(Debug, Default)]
pub(super) struct Feed {
    on: bool,
    selected: Option<usize>,
    bytes: Vec<u8>,
}

impl Feed {
    /// Whether anyone listens.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// The next command is preceded by SELECT, whatever came before: somebody joins who has not
    /// heard it.
    pub(super) fn select_anew(&mut self) {
        self.selected = None;
    }

    /// Whether [`Feed::bytes`] has something to give.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What has been propagated and not cleared: whole commands. A batch is never cut.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What [`Feed::bytes`] gave is with the listener.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > BATCH_KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// A command of the node's own, such as the PING of a quiet stream.
    pub(super) fn push<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        encode_request(&mut self.bytes, args);
    }

    fn select(&mut self, db: usize) {
        if self.selected.replace(db) != Some(db) {
            encode_request(
                &mut self.bytes,
                &[&b"SELECT"[..], itoa::Buffer::new().format(db).as_bytes()],
            );
        }
    }

    fn append(&mut self, batch: &Batch, includes: impl Fn(Audience) -> bool) {
        let mut included = batch.commands.iter().filter(|mark| includes(mark.audience));
        let Some(first) = included.next() else { return };
        let several = included.next().is_some() && !batch.apart;
        if several {
            // As Redis does it: the database of the first command, and only then MULTI.
            self.select(first.db);
            self.push(&["MULTI"]);
        }
        let mut start = 0;
        for mark in &batch.commands {
            if includes(mark.audience) {
                self.select(mark.db);
                self.bytes.extend_from_slice(&batch.bytes[start..mark.end]);
            }
            start = mark.end;
        }
        if several {
            self.push(&["EXEC"]);
        }
    }
}

/// What is being propagated.
#[derive(Debug, Default)]
pub(super) struct Propagation {
    /// Whether any feed is on.
    wanted: bool,
    verdict: Verdict,
    batch: Batch,
    /// To replicas. Off on a replica, which passes on what its own primary sends, byte for byte.
    stream: Feed,
    /// To the append-only file.
    log: Feed,
}

impl Propagation {
    /// Whether anyone listens.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// What goes to replicas.
    pub(super) fn stream(&mut self) -> &mut Feed {
        &mut self.stream
    }

    /// What goes into the append-only file.
    pub(super) fn log(&mut self) -> &mut Feed {
        &mut self.log
    }

    /// Whether some of what has changed the data is not told yet.
    pub(super) fn has_open_batch(&self) -> bool {
        !self.batch.commands.is_empty() || !self.stream.bytes.is_empty()
    }

    /// The database that those who follow are in.
    pub(super) fn stream_db(&self) -> usize {
        self.stream.selected.unwrap_or(0)
    }

    /// Starts or ends the feed of replicas. [`Server::listen`] has to follow.
    pub(super) fn set_stream(&mut self, on: bool) {
        Self::switch(&mut self.stream, on);
        self.wanted = self.stream.on || self.log.on;
    }

    /// Starts or ends the feed of the append-only file. [`Server::listen`] has to follow.
    pub(super) fn set_log(&mut self, on: bool) {
        Self::switch(&mut self.log, on);
        self.wanted = self.stream.on || self.log.on;
    }

    fn switch(feed: &mut Feed, on: bool) {
        if feed.on != on {
            *feed = Feed { on, ..Feed::default() };
        }
    }

    /// While the append-only file is read again, nobody hears of what it says. [`Server::listen`]
    /// has to follow.
    pub(super) fn mute(&mut self, muted: bool) {
        self.wanted = !muted && (self.stream.on || self.log.on);
    }

    /// A command of the node's own joins what the command that runs leads to.
    pub(super) fn push(&mut self, db: usize, args: &[&[u8]]) {
        self.batch.push(db, Audience::ALL, args);
    }

    /// What was gathered goes to nobody.
    pub(super) fn discard_batch(&mut self) {
        self.batch.clear();
    }

    /// Who hears of the commands that follow at most: all, unless a script says otherwise.
    pub(super) fn limit_to(&mut self, audience: Audience) {
        self.batch.limit = audience;
    }

    /// What was gathered is a whole: it goes to those who listen. False if there is nothing.
    fn close_batch(&mut self) -> bool {
        if self.batch.commands.is_empty() {
            self.batch.apart = false;
            return false;
        }
        if self.stream.on {
            self.stream.append(&self.batch, |audience| audience.replicas);
        }
        if self.log.on {
            self.log.append(&self.batch, |audience| audience.log);
        }
        self.batch.clear();
        true
    }
}

impl Server {
    /// A client's call is over: what it led to goes to those who listen. False if it led to
    /// nothing.
    pub(super) fn close_batch(&mut self) -> bool {
        if self.scripts.is_busy() {
            // It closes when the script ends that others were let in beside.
            return false;
        }
        let logged = self.propagation.log.bytes.len();
        let closed = self.propagation.close_batch();
        if !self.propagation.stream.on && self.propagation.log.on {
            // Nobody counts the stream; WAITAOF does.
            self.replication.note_logged(self.propagation.log.bytes.len() - logged);
        }
        self.flush_stream();
        closed
    }
}

impl Ctx<'_> {
    /// This client's call is over: what it led to goes to those who listen, and WAIT waits for it.
    #[inline]
    pub(super) fn close_batch(&mut self) {
        if self.server.propagation.wanted && self.server.close_batch() {
            self.session.write_offset = self.server.replication.history().offset();
        }
    }

    /// Whether anyone listens: for handlers to whom it is work to say what stands for a command.
    pub(super) fn propagates(&self) -> bool {
        self.server.propagation.wanted
    }

    /// The command that is running goes on as this, and not as it came; in this client's database.
    /// Called several times, it stands for several commands, in that order.
    #[inline]
    pub(super) fn propagate_as(&mut self, args: &[&[u8]]) {
        if self.server.propagation.wanted {
            self.propagate_args(args);
        }
    }

    fn propagate_args(&mut self, args: &[&[u8]]) {
        self.note_told();
        let propagation = &mut self.server.propagation;
        propagation.verdict = Verdict::Never;
        propagation.batch.push(self.session.db, Audience::ALL, args);
    }

    /// The command that is running goes on as it came, even if it has changed nothing.
    pub(super) fn propagate_always(&mut self, audience: Audience) {
        self.server.propagation.verdict = Verdict::Always(audience);
    }

    /// What the command that is running leads to are removals of keys that it met by chance: they
    /// go on one by one, unless they are part of a transaction.
    pub(super) fn propagate_apart(&mut self) {
        if self.server.propagation.wanted && !self.in_transaction {
            self.server.propagation.batch.apart = true;
        }
    }

    /// The command that is running does not go on, whatever it has changed.
    pub(super) fn propagate_nothing(&mut self) {
        self.server.propagation.verdict = Verdict::Never;
    }

    /// How many changes there were so far; and the command that runs next is judged by itself.
    #[inline]
    pub(super) fn changes_before(&mut self) -> u64 {
        self.server.propagation.verdict = Verdict::default();
        self.server.stats.dirty
    }

    /// A command has run: it goes on, or it does not. `before` is what
    /// [`Ctx::changes_before`] gave.
    pub(super) fn propagate(&mut self, spec: &'static Spec, request: &Request<'_>, before: u64) {
        // The commands of a transaction or a script have spoken for themselves.
        if spec.name == "exec" || spec.runs_script() {
            return;
        }
        self.note_told();
        let changed = self.server.stats.dirty != before;
        let propagation = &mut self.server.propagation;
        let audience = match propagation.verdict {
            Verdict::IfChanged if changed => Audience::ALL,
            Verdict::Always(audience) => audience,
            Verdict::IfChanged | Verdict::Never => return,
        };
        propagation.batch.push_request(self.session.db, audience, request);
    }
}

#[cfg(test)]
mod tests;
