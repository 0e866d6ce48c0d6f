//! Blocked clients: how a command blocks its client, and what ends that. It ends when what it
//! waits for came (the command runs again), in time, by CLIENT UNBLOCK, when the slot of its keys
//! went elsewhere, or when the node ceased to be a primary.
//!
//! The reply goes into the client's inbox, and its shell is told to look.

use super::args::integer;
use super::blocking::{Blocked, Ready, Subject};
use super::call::Ctx;
use super::core::Core;
use super::error::CommandError;
use super::output::Output;
use super::ownership::{self, Access};
use super::server::Server;
use super::session::{ClientId, Close, Replies, Session};
use crate::bus::Refusal;
use crate::clock::Now;
use crate::cluster::{Slot, SlotSet};
use crate::command::Flags;
use crate::resp::{Encoder, OwnedRequest};
use crate::store::{Keyspace, Type};
use crate::value::Extended;
use std::time::{Duration, Instant};

/// How a command blocks.
pub(super) struct Wait {
    /// The command as it is to be run again: as it came, or with what it meant by it when it came
    /// (`$` of XREAD).
    pub(super) request: OwnedRequest,
    /// Until when; forever if none.
    pub(super) until: Option<Instant>,
    /// Writes the reply for when that time is over.
    pub(super) timed_out: fn(&mut Ctx<'_>),
}

/// The reply of most commands whose time is over.
pub(super) fn no_array(ctx: &mut Ctx<'_>) {
    ctx.out.null_array();
}

/// The reply of those that give one value.
pub(super) fn no_value(ctx: &mut Ctx<'_>) {
    ctx.out.null();
}

impl Ctx<'_> {
    /// Whether a command may block: not within EXEC. One that may not answers what it would
    /// answer at the end of its time.
    pub(super) fn may_block(&self) -> bool {
        !self.in_transaction
    }

    /// The key that has come, while a command that waited runs again. It serves itself from this
    /// key alone, or blocks again.
    pub(super) fn ready_key(&self) -> Option<&[u8]> {
        self.ready
    }

    /// Whether a command is to look at this key: any key, or the one that has come.
    pub(super) fn is_candidate(&self, key: &[u8]) -> bool {
        self.ready.is_none_or(|ready| ready == key)
    }

    /// Blocks the client until one of these keys changes and holds such a value, and then runs its
    /// command again; with `gone_too` also when the key has gone, or holds something else. Nothing is to be written by the caller. A command
    /// that was run again and blocks again waits on in its old place, for as long as it would have.
    pub(super) fn block<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        of: Type,
        gone_too: bool,
        wait: Wait,
    ) {
        let mut keys: Vec<Box<[u8]>> = keys.map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        let db = self.session.db;
        self.block_on(Subject::Keys { db, keys: keys.into(), of, gone_too }, wait);
    }

    /// Lets a command that runs again wait on. False if it runs for the first time.
    pub(super) fn block_again(&mut self) -> bool {
        self.blocks_again = self.runs_again;
        self.runs_again
    }

    /// The same as [`Ctx::block`] for whatever one may wait for.
    pub(super) fn block_on(&mut self, subject: Subject, wait: Wait) {
        debug_assert!(self.may_block(), "a command in a transaction must not block");
        if self.block_again() {
            return;
        }
        let spec = self.session.last_command.expect("a command is running");
        let Wait { request, until, timed_out } = wait;
        let waiters = &mut self.server.waiters;
        let blocked = waiters.add(self.session.id, spec, request, subject, until, timed_out);
        self.session.blocked = Some(blocked);
    }

    /// When a time to wait, given in seconds, is over: never if it is 0.
    pub(super) fn deadline_seconds(&self, arg: &[u8]) -> Result<Option<Instant>, CommandError> {
        const NO_FLOAT: CommandError =
            CommandError::line("ERR timeout is not a float or out of range");
        let seconds = Extended::parse(arg).ok_or(NO_FLOAT)?;
        let negative = seconds.is_negative();
        match seconds.times_rounded_up(1000) {
            Some(millis) => self.deadline(millis),
            None if negative => self.deadline(-1),
            None => self.deadline(i64::MAX),
        }
    }

    /// The same, given in milliseconds.
    pub(super) fn deadline_millis(&self, arg: &[u8]) -> Result<Option<Instant>, CommandError> {
        const NO_INTEGER: CommandError =
            CommandError::line("ERR timeout is not an integer or out of range");
        self.deadline(integer(arg).map_err(|_| NO_INTEGER)?)
    }

    fn deadline(&self, millis: i64) -> Result<Option<Instant>, CommandError> {
        const OUT_OF_RANGE: CommandError = CommandError::line("ERR timeout is out of range");
        let millis =
            u64::try_from(millis).map_err(|_| CommandError::line("ERR timeout is negative"))?;
        if millis == 0 {
            return Ok(None);
        }
        // What is told as a time since the Unix epoch, in milliseconds, has 63 bits.
        let unix = self.now.unix_ms.checked_add(millis).filter(|&at| i64::try_from(at).is_ok());
        let until = self.now.instant.checked_add(Duration::from_millis(millis));
        unix.and(until).ok_or(OUT_OF_RANGE).map(Some)
    }

    /// Serves those who waited for what the last command changed.
    #[cold]
    pub(super) fn serve_ready(&mut self) {
        serve_ready(self.present(), self.keyspace, self.server);
        self.clock = self.server.host.elapsed();
    }

    /// The time of this blocked client is over.
    pub(super) fn time_out(&mut self) {
        if let Some(blocked) = self.server.unblock(self.session) {
            let start = self.out.len();
            (blocked.timed_out)(self);
            self.settle_late_reply(start);
        }
    }

    /// Ends a wait with an error.
    pub(super) fn unblock_with(&mut self, error: &CommandError) {
        if let Some(blocked) = self.server.unblock(self.session) {
            let start = self.out.len();
            // As a call it was counted when it came.
            self.server.calls[blocked.spec.id()].failed += 1;
            self.fail(error);
            self.settle_late_reply(start);
        }
    }

    /// Ends a wait with `OK`, or with an error.
    pub(super) fn end_wait(&mut self, error: Option<&CommandError>) {
        match error {
            Some(error) => self.unblock_with(error),
            None => {
                if self.server.unblock(self.session).is_some() {
                    let start = self.out.len();
                    self.out.ok();
                    self.settle_late_reply(start);
                }
            }
        }
    }

    /// Ends the wait for a script with what `finish` writes.
    pub(super) fn end_script_wait(&mut self, finish: impl FnOnce(&mut Self)) {
        self.server.unblock(self.session);
        let start = self.out.len();
        finish(self);
        self.settle_late_reply(start);
    }

    /// Lets a client's CLIENT REPLY have its way with the reply that its blocked command got.
    fn settle_late_reply(&mut self, start: usize) {
        if self.session.replies != Replies::On {
            self.withhold_reply(start);
        }
    }

    /// Runs a blocked command again.
    fn run_again(&mut self, blocked: Box<Blocked>) {
        let start = self.out.len();
        let handler = self.server.handlers[blocked.spec.id()].expect("it ran before");
        self.runs_again = true;
        self.call(blocked.spec, handler, &blocked.request.as_request());
        self.close_batch();
        if self.blocks_again {
            self.session.blocked = Some(blocked);
            return;
        }
        self.server.waiters.remove(&blocked);
        self.settle_late_reply(start);
    }
}

impl Core {
    /// Serves those who waited for what something else than a command of a client has changed.
    pub(super) fn serve_ready(&mut self, now: Now) {
        if self.server.waiters.has_ready() {
            serve_ready(now, &mut self.keyspace, &mut self.server);
        }
    }

    /// Sends elsewhere those who wait for keys of slots that this node no longer serves, and ends
    /// what is heard on their channels.
    pub(super) fn leave_slots(&mut self, now: Now) {
        let Some(member) = &self.server.cluster else { return };
        let view = member.view();
        let unserved = |slot: &Slot| {
            let owner = view.owner(*slot).map(|owner| view.node(owner));
            owner.is_none_or(|owner| owner.id != view.own_shard().id)
        };
        let lost: SlotSet = self.server.pubsub.slots().iter().filter(unserved).collect();
        if !lost.is_empty() {
            self.server.drop_shard_channels(&lost);
        }
        for client in self.server.waiters.clients() {
            with_client(now, &mut self.keyspace, &mut self.server, client, |ctx| {
                if let Err(error) = ctx.may_wait_on() {
                    ctx.unblock_with(&error);
                }
            });
        }
    }
}

impl Ctx<'_> {
    /// Whether the client waits for replicas to confirm CLUSTER SETSLOT.
    fn waits_for_slot_change(&self) -> bool {
        self.session.blocked.as_ref().is_some_and(|blocked| blocked.spec.name == "cluster|setslot")
    }

    /// Whether a script of the client is running.
    fn waits_for_script(&self) -> bool {
        let blocked = self.session.blocked.as_ref();
        blocked.is_some_and(|blocked| blocked.subject == Subject::Script)
    }

    /// Whether this node still serves the keys that the client waits for, or will when they have
    /// come from another.
    fn may_wait_on(&self) -> Result<(), CommandError> {
        let (Some(member), Some(blocked)) = (&self.server.cluster, &self.session.blocked) else {
            return Ok(());
        };
        let Subject::Keys { keys, .. } = &blocked.subject else { return Ok(()) };
        let writes = blocked.spec.flags.contains(Flags::WRITE);
        let access =
            Access { writes, asking: true, readonly: self.session.readonly, ..Access::default() };
        ownership::check(member, access, keys.iter().map(|key| &**key), |_| true)
    }
}

/// Ends the waits of all clients, and then their connections: the node is no primary any longer,
/// and who finds that out by a name must look it up again.
pub(super) fn unblock_all(now: Now, keyspace: &mut Keyspace, server: &mut Server) {
    const ROLE_CHANGED: CommandError = CommandError::line(
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> \
         replica?)",
    );
    for client in server.waiters.clients() {
        with_client(now, keyspace, server, client, |ctx| {
            if ctx.waits_for_slot_change() {
                // A primary that gave its last slot away has become a replica: its tool knows this answer.
                ctx.unblock_with(&CommandError::err(Refusal::NotAPrimary));
                return;
            }
            if ctx.waits_for_script() {
                // It is told itself, with its next write.
                return;
            }
            ctx.unblock_with(&ROLE_CHANGED);
            ctx.session.close(Close::AfterReplies);
        });
    }
}

impl Server {
    /// Takes a client out of the queues, if it is in any. It gets no reply by this.
    pub(super) fn unblock(&mut self, session: &mut Session) -> Option<Box<Blocked>> {
        let blocked = session.blocked.take()?;
        self.waiters.remove(&blocked);
        Some(blocked)
    }
}

/// Serves everyone who waited for what has become ready, in order, and whom that serves in turn.
pub(super) fn serve_ready(now: Now, keyspace: &mut Keyspace, server: &mut Server) {
    if server.scripts.is_busy() {
        return;
    }
    while let Some((ready, last)) = server.waiters.next_ready() {
        let mut after = 0;
        loop {
            let (key, holds) = match &ready {
                Ready::Key(db, key) => {
                    let holds = keyspace.db(*db, now.unix_ms).type_of(key);
                    // It may have expired since the command that made it ready: others hear of that
                    // before whatever comes next.
                    if keyspace.has_told() {
                        server.note_told(keyspace, None);
                    }
                    (Some(&**key), holds)
                }
                Ready::Acknowledgements => (None, None),
            };
            let waiter = server.waiters.waiter(&ready, holds, after, last);
            let Some((ticket, client)) = waiter else { break };
            after = ticket;
            with_client_for(now, keyspace, server, client, key, |ctx| {
                if ctx.session.close == Close::No
                    && !(ctx.server.is_migrating() && ctx.wait_is_held())
                    && let Some(blocked) = ctx.session.blocked.take()
                {
                    ctx.run_again(blocked);
                }
            });
        }
    }
}

/// Lets something be done as a client that is not running a command; what is written goes into
/// its inbox. `None` if there is no such client, or it is running one.
pub(super) fn with_client<R>(
    now: Now,
    keyspace: &mut Keyspace,
    server: &mut Server,
    client: ClientId,
    act: impl FnOnce(&mut Ctx<'_>) -> R,
) -> Option<R> {
    with_client_for(now, keyspace, server, client, None, act)
}

/// The same, because of a key that has come.
fn with_client_for<R>(
    now: Now,
    keyspace: &mut Keyspace,
    server: &mut Server,
    client: ClientId,
    ready: Option<&[u8]>,
    act: impl FnOnce(&mut Ctx<'_>) -> R,
) -> Option<R> {
    let mut session = server.clients.take(client)?;
    let mut inbox = std::mem::take(&mut session.inbox);
    let told = !inbox.is_empty();
    let out = Encoder::new(&mut inbox, session.protocol);
    let was_blocked = session.blocked.is_some();
    let mut ctx = Ctx::new(now, out, &mut session, keyspace, server);
    ctx.ready = ready;
    let outcome = act(&mut ctx);
    let freed = was_blocked && session.blocked.is_none();
    if freed || (!told && !inbox.is_empty()) {
        server.outputs.push_back(Output::Wake(client));
    }
    session.inbox = inbox;
    server.clients.put(session);
    Some(outcome)
}
