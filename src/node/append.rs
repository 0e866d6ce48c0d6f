//! The append-only file as the machine sees it: what is to be written, when it is to be rewritten,
//! and how it is read back.
//!
//! What goes into it is the log of [`propagate`](super::propagate): the shell takes
//! [`Core::log_bytes`] before the replies of a turn leave. A rewrite is a snapshot
//! ([`SnapshotFor::Rewrite`]): at the moment that it is of, the shell begins a further file, so
//! that base and increments together are always all of the data.

use super::call::Ctx;
use super::core::Core;
use super::loading::{LoadError, Loader};
use super::output::Output;
use super::server::Server;
use super::session::{Addresses, Role, Session};
use super::snapshots::SnapshotFor;
use crate::clock::Now;
use crate::replication::Offset;
use crate::resp::{Encoder, Limits, Protocol, RequestDecoder};
use crate::store::Expired;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// See above.
#[derive(Debug, Default)]
pub(super) struct AppendLog {
    /// Bytes of all its files.
    pub(super) size: u64,
    /// The same after the last rewrite, or at the start.
    pub(super) base_size: u64,
    /// Why the last write failed.
    pub(super) write_error: Option<String>,
    /// Whether the last rewrite failed.
    pub(super) rewrite_failed: bool,
    /// How long the last rewrite took.
    pub(super) rewrite_took: Option<Duration>,
    /// Rewrites that were begun, and those of them that failed in a row.
    pub(super) rewrites: u64,
    pub(super) failures: u64,
    /// The increment that a rewrite begins with is there.
    pub(super) increment_is_there: bool,
    /// What the shell says of the disk.
    pub(super) disk: LogDisk,
    /// The data is being replaced by a primary's: what is in the file is of another time.
    suspended: bool,
    /// What is being read back.
    reading: Option<Reading>,
}

/// How the append-only file and the disk are getting on, as INFO tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogDisk {
    /// Bytes that could not be written yet.
    pub buffered: u64,
    /// A sync is under way.
    pub is_syncing: bool,
}

/// A file of the log on its way in.
#[derive(Debug)]
struct Reading {
    /// The snapshot at its start, if it has one.
    snapshot: Option<Loader>,
    session: Box<Session>,
    decoder: RequestDecoder,
    unread: Vec<u8>,
    /// Bytes of `unread` that have run, but belong to a transaction that has not ended.
    run: usize,
    /// Bytes of the file after which a whole command, or transaction, ended.
    valid: u64,
}

/// Why a file of the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The snapshot at its start.
    #[error(transparent)]
    Snapshot(#[from] LoadError),
    /// Something that is no command.
    #[error("Bad file format reading the append only file at byte {0}")]
    Format(u64),
    /// A command that this node does not run. The text is Redis's.
    #[error("Unknown command '{0}' reading the append only file")]
    Unknown(String),
}

const LIMITS: Limits = Limits {
    arguments_max: 1 << 30,
    bulk_bytes: 1 << 30,
    inline_bytes: 64 * 1024,
    request_bytes: u32::MAX as usize,
    reply_depth: 8,
};

impl Server {
    /// Whether the append-only file is being written.
    pub(super) fn logs(&mut self) -> bool {
        self.propagation.log().is_on()
    }

    /// Begins a rewrite of the append-only file, as soon as no other snapshot is being taken.
    /// It begins between two turns, so that no transaction is on both sides of it.
    pub(super) fn rewrite_log(&mut self) {
        // The shell makes the increment ready first, which may take the disk its time.
        self.log.increment_is_there = false;
        let persistence = &mut self.persistence;
        if !persistence.waiting.contains(&SnapshotFor::Rewrite) {
            persistence.waiting.push(SnapshotFor::Rewrite);
        }
        self.outputs.push_back(Output::Save);
    }

    /// The data is about to be replaced by a primary's. The file ends here, as a state of the data
    /// that there was: the commands that follow must not be added to it.
    pub(super) fn suspend_log(&mut self) {
        self.log.suspended = true;
        self.outputs.push_back(Output::Reconfigured);
    }

    /// The data is whole again: the file begins anew with all of it.
    pub(super) fn resume_log(&mut self) {
        if std::mem::take(&mut self.log.suspended) {
            self.outputs.push_back(Output::Reconfigured);
        }
    }

    /// Begins a rewrite if the file has grown by so much.
    pub(super) fn rewrite_log_if_due(&mut self) {
        let log = &self.log;
        let percentage = self.settings.log_rewrite_percentage;
        let busy = self.persistence.running.is_some() || !self.persistence.waiting.is_empty();
        if percentage == 0 || busy || log.size <= self.settings.log_rewrite_min_bytes {
            return;
        }
        let base = log.base_size.max(1);
        let growth = (log.size * 100 / base).saturating_sub(100);
        if growth >= percentage && self.logs() {
            tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
            self.rewrite_log();
        }
    }
}

impl Core {
    /// What is to be written into the append-only file.
    pub fn log_bytes(&mut self) -> &[u8] {
        self.server.propagation.log().bytes()
    }

    /// The shell has what [`Core::log_bytes`] gave.
    pub fn log_taken(&mut self) {
        self.server.propagation.log().clear();
    }

    /// How large the append-only file is, and whether it could be written.
    pub fn log_written(&mut self, size: u64, error: Option<String>) {
        if let Some(error) = error.as_ref().filter(|_| self.server.log.write_error.is_none()) {
            tracing::error!("Error writing to the AOF file: {error}");
        }
        self.server.log.size = size;
        self.server.log.write_error = error;
    }

    /// How the disk is getting on with it.
    pub fn log_disk_is(&mut self, disk: LogDisk) {
        self.server.log.disk = disk;
    }

    /// Something was written though a sync has lasted for so long that it should have waited.
    pub fn log_sync_is_late(&mut self) {
        tracing::warn!(
            "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer \
             without waiting for fsync to complete, this may slow down Redis."
        );
        self.server.stats.delayed_syncs += 1;
    }

    /// Whether a rewrite waits for the increment that it begins with.
    pub fn rewrite_waits(&self) -> bool {
        let waiting = &self.server.persistence.waiting;
        waiting.contains(&SnapshotFor::Rewrite) && !self.server.log.increment_is_there
    }

    /// It is there, or none is needed.
    pub fn rewrite_may_begin(&mut self) {
        self.server.log.increment_is_there = true;
    }

    /// The append-only file is on disk up to this place in the stream: WAITAOF waits for it. None
    /// while it is not all of the data yet.
    pub fn log_on_disk(&mut self, now: Now, offset: Option<Offset>) {
        self.server.note_on_disk(offset);
        self.serve_ready(now);
    }

    /// The append-only file begins to be written, or ends.
    pub fn set_log(&mut self, on: bool) {
        self.server.propagation.set_log(on);
        self.server.listen(&mut self.keyspace);
    }

    /// Whether it is being written.
    pub fn logs(&mut self) -> bool {
        self.server.logs()
    }

    /// Whether there is to be one at this moment.
    pub fn wants_log(&self) -> bool {
        self.parameter("appendonly") == "yes" && !self.server.log.suspended
    }

    /// Asks for a rewrite: the append-only file is new, or what it holds is of another time.
    pub fn rewrite_log(&mut self) {
        self.server.rewrite_log();
    }

    /// The size that the next automatic rewrite is measured against.
    pub fn set_log_base(&mut self, size: u64) {
        (self.server.log.size, self.server.log.base_size) = (size, size);
    }

    /// Begins to read a file of the append-only file back, which starts with a snapshot or not.
    pub fn begin_log(&mut self, now: Now, with_snapshot: bool) {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let addresses = Addresses { peer: nowhere, local: nowhere, descriptor: -1 };
        let mut session = Session::new(0, addresses, now, true);
        // It is obeyed as a primary is: nothing is asked of it.
        session.role = Role::Primary;
        self.server.log.reading = Some(Reading {
            snapshot: with_snapshot.then(|| Loader::new(&self.keyspace, false)),
            session: Box::new(session),
            decoder: RequestDecoder::default(),
            unread: Vec::new(),
            run: 0,
            valid: 0,
        });
    }

    /// Reads the next bytes of the file, and runs what they say.
    ///
    /// # Errors
    /// It cannot be read on.
    pub fn read_log(&mut self, now: Now, bytes: &[u8]) -> Result<(), LogError> {
        let Some(mut reading) = self.server.log.reading.take() else { return Ok(()) };
        self.note_loaded(bytes.len());
        let outcome = self.read_log_into(now, bytes, &mut reading);
        self.server.log.reading = Some(reading);
        outcome
    }

    fn read_log_into(
        &mut self,
        now: Now,
        bytes: &[u8],
        reading: &mut Reading,
    ) -> Result<(), LogError> {
        let mut rest = Vec::new();
        let mut bytes = bytes;
        if let Some(loader) = &mut reading.snapshot {
            let before = loader.keys();
            loader.feed(&mut self.keyspace, now.unix_ms, bytes)?;
            self.server.persistence.load_pace.loaded(loader.keys() - before);
            if !loader.is_done() {
                return Ok(());
            }
            rest = loader.take_rest();
            reading.valid = loader.position();
            if let Some(loader) = reading.snapshot.take() {
                self.server.persistence.loaded = loader.finish()?;
            }
            bytes = &rest;
        }
        let was = self.keyspace.on_expired();
        // What the file says of a key was said while it lived.
        self.keyspace.set_on_expired(Expired::Keep);
        let outcome = self.run_log(now, bytes, reading);
        self.keyspace.set_on_expired(was);
        drop(rest);
        outcome
    }

    fn run_log(&mut self, now: Now, bytes: &[u8], reading: &mut Reading) -> Result<(), LogError> {
        let Reading { session, decoder, unread, run, valid, .. } = reading;
        unread.extend_from_slice(bytes);
        let mut replies = Vec::new();
        let out = Encoder::new(&mut replies, Protocol::Resp2);
        let mut ctx = Ctx::new(now, out, session, &mut self.keyspace, &mut self.server);
        let mut whole = 0;
        let outcome = loop {
            let rest = &unread[*run..];
            let place = *valid + *run as u64;
            let used = match rest.first() {
                None => break Ok(()),
                // A note of the time, which Redis may leave between commands.
                Some(b'#') => match memchr::memchr(b'\n', rest) {
                    Some(end) => end + 1,
                    None => break Ok(()),
                },
                Some(b'*') => match decoder.decode(rest, &LIMITS) {
                    Ok(None) => break Ok(()),
                    Err(_) => break Err(LogError::Format(place)),
                    Ok(Some(used)) => {
                        if let Some(request) = decoder.request(rest, used) {
                            // To go on without it would be to lose what it did.
                            if !ctx.knows(&request) {
                                let name = String::from_utf8_lossy(request.name()).into_owned();
                                break Err(LogError::Unknown(name));
                            }
                            ctx.execute(&request);
                            ctx.server.persistence.load_pace.loaded(1);
                            if ctx.out.buffer().first() == Some(&b'-') {
                                let reply = String::from_utf8_lossy(ctx.out.buffer());
                                tracing::warn!("a command of the append-only file failed: {reply}");
                            }
                            ctx.out.buffer().clear();
                        }
                        used
                    }
                },
                Some(_) => break Err(LogError::Format(place)),
            };
            *run += used;
            if ctx.session.transaction.is_none() {
                whole = *run;
            }
        };
        unread.drain(..whole);
        *run -= whole;
        *valid += whole as u64;
        outcome
    }

    /// The file has ended. Returns up to which byte it was whole.
    pub fn end_log(&mut self) -> u64 {
        let reading = self.server.log.reading.take();
        self.server.persistence.saved_dirty = self.server.stats.dirty;
        reading.map_or(0, |reading| reading.valid)
    }

    /// The append-only file is to be read again, into an emptied node: nobody hears of what it says,
    /// since all have heard it.
    pub fn begin_log_again(&mut self) {
        (0..self.keyspace.databases()).for_each(|db| drop(self.keyspace.flush(db).to_string()));
        self.server.propagation.mute(true);
        self.server.listen(&mut self.keyspace);
    }

    /// All of it was read.
    pub fn end_log_again(&mut self) {
        self.server.propagation.mute(false);
        self.server.listen(&mut self.keyspace);
    }

    /// Whether data is being loaded.
    pub fn is_loading(&self) -> bool {
        self.server.persistence.loading.is_some()
    }

    /// The rewrite that has just begun cannot go on.
    pub fn fail_rewrite(&mut self, why: &str) {
        tracing::error!("Can't rewrite the append only file: {why}");
        self.server.log.rewrite_failed = true;
        self.server.log.failures += 1;
        self.server.give_up_snapshot(&mut self.keyspace, SnapshotFor::Rewrite);
        self.server.outputs.push_back(Output::Save);
    }

    /// The append-only file ends here: `appendonly no`.
    pub fn end_log_for_good(&mut self) {
        self.server.give_up_snapshot(&mut self.keyspace, SnapshotFor::Rewrite);
        self.server.log.write_error = None;
        self.set_log(false);
        // Who waits for it is told that it has gone.
        self.server.note_on_disk(None);
        self.server.outputs.push_back(Output::Save);
    }
}
