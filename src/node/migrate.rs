//! MIGRATE as steps: keys on their way to another server, and what must not happen meanwhile.
//!
//! ```text
//!   handler     copies the keys as payloads, holds them, blocks its client ─▶ Output::Migrate
//!   shell       Core::next_migration ─▶ connects, writes the greeting, then the RESTOREs, and has
//!               [`Answers`] read what comes back
//!               ─▶ Core::migration_ended: what the target has is removed here, the client answered
//! ```
//! A key that is on its way is as it was until the target has it: it can be read, and whoever would
//! write it is held back until the end ([`Ctx::waits_for_migration`]). So what the target got is
//! what the key holds at the moment when it is removed here, and no write is lost in between. A key
//! is removed only for an `+OK` of the target; in every other case it stays, and stays this node's.
//! Commands that change keys without naming them wait for all migrations. A key's name counts
//! whatever the database: what moves or copies between databases names keys of one only.

use super::call::Ctx;
use super::core::Core;
use super::error::CommandError;
use super::events::Class;
use super::output::Output;
use super::propagate::removal;
use super::pubsub::Post;
use super::serve;
use super::server::Server;
use super::session::{ClientId, Role, Session};
use crate::clock::Now;
use crate::command::{self, Flags, Spec};
use crate::resp::{Limits, ProtocolError, ReplyScanner, Request, encode_args, encode_request};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// The number of a migration.
pub type MigrationId = u64;

/// Keys that are to be brought to another server.
#[derive(Debug)]
pub struct Migration {
    /// Its number.
    pub id: MigrationId,
    /// Where to, and as whom.
    pub target: Target,
    /// The database there.
    pub db: i64,
    /// How long the target may be silent.
    pub timeout: Duration,
    /// How many keys there are.
    pub keys: usize,
    /// A RESTORE for each of them.
    pub restores: Vec<u8>,
}

/// A server and how to authenticate there. Connections are used again for the same one only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The arguments of AUTH, if it is to be called.
    pub auth: Option<Vec<Box<[u8]>>>,
}

impl Migration {
    /// What comes before the keys, and how many replies that has. `selected` is the database of a
    /// connection that has been used before.
    ///
    /// Its replies are waited for before any key is sent, so that no key gets into a database that
    /// was not meant.
    pub fn greeting(&self, selected: Option<i64>) -> (Vec<u8>, usize) {
        let (mut bytes, mut replies) = (Vec::new(), 0);
        // Also where the connection is one that was let in before: the password may be another.
        if let Some(auth) = &self.target.auth {
            let words = std::iter::once(&b"AUTH"[..]).chain(auth.iter().map(|word| &**word));
            encode_request(&mut bytes, &words.collect::<Vec<_>>());
            replies += 1;
        }
        if self.db != selected.unwrap_or(0) {
            encode_args(&mut bytes, [&b"SELECT"[..], self.db.to_string().as_bytes()].into_iter());
            replies += 1;
        }
        (bytes, replies)
    }
}

/// What was answered to some requests so far.
#[derive(Debug, Default)]
pub struct Answers {
    scanner: ReplyScanner,
    /// For each reply, whether it was `+OK`.
    pub accepted: Vec<bool>,
    /// The first reply that was not, as text.
    pub refused: Option<String>,
}

impl Answers {
    /// Reads the replies that `input` holds as a whole, and drops them from it.
    ///
    /// # Errors
    /// This is no server of the family.
    pub fn read(&mut self, input: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let mut used = 0;
        while let Some(length) = self.scanner.scan(&input[used..], &Limits::default())? {
            let reply = &input[used..used + length];
            let accepted = reply == b"+OK\r\n";
            if !accepted && self.refused.is_none() {
                let text = reply.strip_prefix(b"-").unwrap_or(reply);
                self.refused = Some(String::from_utf8_lossy(text).trim_end().to_owned());
            }
            self.accepted.push(accepted);
            used += length;
        }
        input.drain(..used);
        Ok(())
    }
}

/// How a migration ended.
#[derive(Debug, Default)]
pub struct MigrationEnd {
    /// For the keys so far, whether the target has taken them.
    pub taken: Vec<bool>,
    /// What went wrong first.
    pub failure: Option<MigrationFailure>,
}

/// Why not all keys are where they should be. The text is what the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationFailure {
    /// The target has said no.
    #[error("ERR Target instance replied with error: {0}")]
    Refused(String),
    /// Its address cannot be found.
    #[error("ERR Can't connect to target node: {0}")]
    Unreachable(String),
    /// It did not answer in time when it was called.
    #[error("IOERR error or timeout connecting to the client")]
    Connecting,
    /// The connection broke, or took nothing for too long, while keys were sent.
    #[error("IOERR error or timeout writing to target instance")]
    Writing,
    /// The same while answers were waited for.
    #[error("IOERR error or timeout reading to target instance")]
    Reading,
}

/// The migrations that are under way.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    last_id: MigrationId,
    under_way: BTreeMap<MigrationId, UnderWay>,
    /// How often a key is under way.
    keys: HashMap<Box<[u8]>, usize>,
    /// Those that the shell has not taken yet.
    due: VecDeque<Migration>,
    /// Clients that are held back.
    held: Vec<ClientId>,
    /// Connections that the shell keeps for further ones.
    connections: usize,
}

#[derive(Debug)]
struct UnderWay {
    client: ClientId,
    db: usize,
    keys: Vec<Box<[u8]>>,
    /// COPY: the keys stay here as well.
    copies: bool,
    /// Whose data it was: [`Replication::term`](super::replication::Replication::term).
    term: u64,
}

/// What a handler wants to be carried out.
pub(super) struct Move {
    pub(super) target: Target,
    pub(super) target_db: i64,
    pub(super) timeout: Duration,
    pub(super) keys: Vec<Box<[u8]>>,
    pub(super) restores: Vec<u8>,
    pub(super) copies: bool,
}

impl Migrations {
    /// Whether any key is on its way.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Connections that are kept for further migrations.
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// Whether a request would change a key that is on its way.
    fn hold(&self, spec: &'static Spec, request: &Request<'_>) -> bool {
        let may_write = match spec.runs_script() {
            true => !spec.flags.contains(Flags::READONLY),
            false => spec.flags.contains(Flags::WRITE),
        };
        if !may_write {
            return false;
        }
        if spec.keys.is_empty() && spec.name != "exec" {
            return true;
        }
        let mut keys = command::keys(spec, request).into_iter().flatten();
        keys.any(|key| self.keys.contains_key(request.arg(key.index)))
    }

    fn end(&mut self, id: MigrationId) -> Option<UnderWay> {
        let ended = self.under_way.remove(&id)?;
        for key in &ended.keys {
            if let Some(count) = self.keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(key);
                }
            }
        }
        Some(ended)
    }
}

impl Ctx<'_> {
    /// Sends keys of this client's database on their way. The client has to be blocked on it.
    pub(super) fn begin_migration(&mut self, wanted: Move) -> MigrationId {
        let term = self.server.replication.term();
        let migrations = &mut self.server.migrations;
        migrations.last_id += 1;
        let id = migrations.last_id;
        for key in &wanted.keys {
            *migrations.keys.entry(key.clone()).or_default() += 1;
        }
        let Move { target, target_db, timeout, keys, restores, copies } = wanted;
        let count = keys.len();
        migrations.due.push_back(Migration {
            id,
            target,
            db: target_db,
            timeout,
            keys: count,
            restores,
        });
        let (client, db) = (self.session.id, self.session.db);
        migrations.under_way.insert(id, UnderWay { client, db, keys, copies, term });
        self.server.outputs.push_back(Output::Migrate);
        id
    }

    /// Whether a command has to wait because a key that it changes is on its way to another
    /// server. It is tried again when a migration has ended.
    #[cold]
    pub(super) fn waits_for_migration(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
    ) -> bool {
        if self.session.role == Role::Primary {
            return false;
        }
        let migrations = &self.server.migrations;
        let waits = match &self.session.transaction {
            Some(transaction) if spec.name == "exec" => {
                let mut queue = transaction.queue().iter();
                queue.any(|queued| migrations.hold(queued.spec, &queued.request.as_request()))
            }
            // It is only queued.
            Some(_) => false,
            None => migrations.hold(spec, request),
        };
        if waits {
            self.session.paused = true;
            self.server.migrations.held.push(self.session.id);
        }
        waits
    }

    /// The same for a command that waited for something else and would run again: it waits on.
    #[cold]
    pub(super) fn wait_is_held(&self) -> bool {
        let blocked = self.session.blocked.as_ref();
        blocked.is_some_and(|blocked| {
            self.server.migrations.hold(blocked.spec, &blocked.request.as_request())
        })
    }
}

impl Core {
    /// The next migration that is to be carried out.
    pub fn next_migration(&mut self) -> Option<Migration> {
        self.server.migrations.due.pop_front()
    }

    /// So many connections are kept for further migrations.
    pub fn note_migration_connections(&mut self, count: usize) {
        self.server.migrations.connections = count;
    }

    /// A migration is over. What the target has taken is removed here, unless this was a COPY;
    /// and its client, if it is still there, is answered.
    pub fn migration_ended(&mut self, now: Now, id: MigrationId, end: MigrationEnd) {
        let Some(ended) = self.server.migrations.end(id) else { return };
        let mut error = end.failure.map(|failure| CommandError::Other(failure.to_string().into()));
        let server = &mut self.server;
        if !ended.copies && end.taken.contains(&true) {
            if server.replication.is_replica() || server.replication.term() != ended.term {
                // The data is another node's by now, which knows nothing of this.
                error = error.or(Some(ROLE_CHANGED));
            } else if server.is_write_paused(now) {
                // A replica may be taking over, and would not hear of the removal.
                error = error.or(Some(PAUSED));
            } else {
                let keys = ended.keys.iter().zip(&end.taken).filter(|(_, taken)| **taken);
                let keys: Vec<&[u8]> = keys.map(|(key, _)| &**key).collect();
                self.remove_migrated(now, ended.db, &keys);
            }
        }
        let server = &mut self.server;
        for held in std::mem::take(&mut server.migrations.held) {
            if let Some(session) = server.clients.get_mut(held) {
                session.paused = false;
                server.outputs.push_back(Output::Wake(held));
            }
        }
        let offset = server.replication.history().offset();
        serve::with_client(now, &mut self.keyspace, server, ended.client, |ctx| {
            if ctx.session.blocked.as_ref().is_some_and(|blocked| blocked.is_migration(id)) {
                ctx.session.write_offset = offset;
                ctx.end_wait(error.as_ref());
            }
        });
        self.touch_held(now);
        self.serve_ready(now);
    }

    fn remove_migrated(&mut self, now: Now, db: usize, keys: &[&[u8]]) {
        let mut removal_args = vec![removal(false)];
        for key in keys {
            if !self.keyspace.db(db, now.unix_ms).remove(key) {
                // It has expired, or its slot has gone.
                continue;
            }
            removal_args.push(key);
            self.server.stats.dirty += 1;
            self.server.watched.touch(db, key);
            self.server.waiters.touch(db, key, None);
            let running: Option<&mut Session> = None;
            Post { server: &mut self.server, running }.event(db, Class::Generic, "del", key);
        }
        self.server.note_told(&mut self.keyspace, None);
        if removal_args.len() > 1 && self.server.propagation.is_wanted() {
            self.server.propagation.push(db, &removal_args);
            self.server.close_batch();
        }
    }

    /// Those whose keys have come, but who would have written one that was on its way.
    fn touch_held(&mut self, now: Now) {
        for (db, key) in self.server.waiters.awaited(None) {
            let holds = self.keyspace.db(db, now.unix_ms).type_of(&key);
            if holds.is_some() {
                self.server.waiters.touch(db, &key, holds);
            }
        }
    }
}

const ROLE_CHANGED: CommandError = CommandError::line(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
);
const PAUSED: CommandError = CommandError::line(
    "TRYAGAIN Writes are paused: the target has the keys, and they stay here as well. Use REPLACE \
     to migrate them again",
);

impl Server {
    /// Whether commands may have to wait for a migration.
    #[inline]
    pub(super) fn is_migrating(&self) -> bool {
        !self.migrations.is_idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(db: i64, auth: Option<&[&str]>) -> Migration {
        let auth = auth.map(|words| words.iter().map(|word| word.as_bytes().into()).collect());
        Migration {
            id: 1,
            target: Target { host: "h".into(), port: 1, auth },
            db,
            timeout: Duration::from_secs(1),
            keys: 0,
            restores: Vec::new(),
        }
    }

    #[test]
    fn a_connection_is_greeted_with_what_it_needs() {
        let greet = |migration: &Migration, selected| {
            let (bytes, replies) = migration.greeting(selected);
            (String::from_utf8(bytes).expect("text").replace("\r\n", " "), replies)
        };
        let plain = migration(0, None);
        assert_eq!(greet(&plain, None), (String::new(), 0));
        assert_eq!(greet(&plain, Some(0)), (String::new(), 0));
        assert_eq!(greet(&plain, Some(3)), ("*2 $6 SELECT $1 0 ".into(), 1));
        let other = migration(3, Some(&["u", "pw"]));
        assert_eq!(greet(&other, Some(3)), ("*3 $4 AUTH $1 u $2 pw ".into(), 1));
        let all = "*3 $4 AUTH $1 u $2 pw *2 $6 SELECT $1 3 ";
        assert_eq!(greet(&other, None), (all.into(), 2));
    }

    #[test]
    fn only_ok_is_taken_for_a_yes() {
        let mut answers = Answers::default();
        let mut input = b"+OK\r\n-BUSYKEY no\r\n:1\r\n+OK\r\n+O".to_vec();
        answers.read(&mut input).expect("replies");
        assert_eq!(answers.accepted, [true, false, false, true]);
        assert_eq!(answers.refused.as_deref(), Some("BUSYKEY no"));
        assert_eq!(input, b"+O");
        input.extend(b"K\r\n");
        answers.read(&mut input).expect("replies");
        assert_eq!(answers.accepted.len(), 5);
        assert!(Answers::default().read(&mut b"HTTP/1.1 400\r\n".to_vec()).is_err());
    }
}
