//! What the node knows of its data on disk: when it was last saved, whether that went well, when
//! it is to be saved next, and whether it is being loaded.

use super::call::Ctx;
use super::error::CommandError;
use super::loading::LoadPace;
use super::server::Server;
use super::session::ClientId;
use super::snapshots::{Running, SnapshotFor};
use crate::clock::Now;
use crate::command::{Flags, Spec};
use crate::store::Keyspace;
use std::time::{Duration, Instant};

/// How long the next try of a save waits after one that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// See above.
#[derive(Debug, Default)]
pub(super) struct Persistence {
    /// When the data was last saved, in seconds since the Unix epoch; when the node started, before.
    pub(super) last_save: u64,
    /// Saves that went well since the start.
    pub(super) saves: u64,
    /// Whether the last background save failed.
    pub(super) save_failed: bool,
    /// How long the last background save took.
    pub(super) last_took: Option<Duration>,
    last_tried: Option<Instant>,
    /// [`Stats::dirty`](super::Stats) when what was last saved was current.
    pub(super) saved_dirty: u64,
    /// The snapshot that is being taken.
    pub(super) running: Option<Running>,
    /// Snapshots whose turn comes when that one is done.
    pub(super) waiting: Vec<SnapshotFor>,
    /// Clients that wait until a large value is in the snapshot.
    pub(super) held: Vec<ClientId>,
    /// The data set that is being loaded.
    pub(super) loading: Option<LoadProgress>,
    /// What the last load found.
    pub(super) loaded: LoadFigures,
    /// The pauses that what was loaded is to cost.
    pub(super) load_pace: LoadPace,
    /// The save that SHUTDOWN asked for is done, or was not wanted.
    pub(super) ready_to_end: bool,
}

/// How a load is getting on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadProgress {
    /// When it began.
    pub(super) since: Now,
    /// Bytes that there are; 0 if nobody knows.
    pub(super) bytes_total: u64,
    /// Bytes that are loaded.
    pub(super) bytes_done: u64,
}

/// What a load found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadFigures {
    /// Keys that are there now.
    pub keys: u64,
    /// Keys that had expired, and were left out.
    pub expired: u64,
    /// Collections without elements, which were left out.
    pub empty: u64,
    /// `repl-id`: the history that the data belongs to, if the file says so.
    pub replication_id: Option<String>,
    /// `repl-offset`: up to where, if the file says so.
    pub replication_offset: Option<u64>,
    /// `repl-stream-db`: the database that the stream had selected, if the file says so.
    pub stream_database: Option<usize>,
}

const MISCONF: CommandError = CommandError::line(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to \
     disk. Commands that may modify the data set are disabled, because this instance is configured \
     to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error \
     option). Please check the Redis logs for details about the RDB error.",
);
/// What cannot be done while data is being loaded.
pub(super) const LOADING: CommandError =
    CommandError::line("LOADING Redis is loading the dataset in memory");

impl Persistence {
    pub(super) fn new(now: Now) -> Self {
        Self { last_save: now.unix_ms / 1000, ..Self::default() }
    }

    /// Whether a snapshot into the file is being taken.
    pub(super) fn is_saving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.purpose == SnapshotFor::File)
    }

    /// The same, or whether one is to begin when the snapshot before it has ended.
    pub(super) fn will_have_saved(&self) -> bool {
        self.is_saving() || self.waiting.contains(&SnapshotFor::File)
    }

    /// A save is over.
    pub(super) fn saved(&mut self, now: Now, dirty: u64) {
        self.saves += 1;
        self.save_failed = false;
        self.last_save = now.unix_ms / 1000;
        self.saved_dirty = dirty;
    }
}

impl Server {
    /// Changes since the data was last saved.
    pub(super) fn unsaved_changes(&self) -> u64 {
        self.stats.dirty - self.persistence.saved_dirty
    }

    /// Begins a save if it is time for one.
    pub(super) fn save_if_due(&mut self, keyspace: &mut Keyspace, now: Now) {
        let persistence = &self.persistence;
        if persistence.running.is_some() || persistence.loading.is_some() {
            return;
        }
        let since = (now.unix_ms / 1000).saturating_sub(persistence.last_save);
        let waits = persistence.save_failed
            && persistence.last_tried.is_some_and(|tried| now.instant - tried <= RETRY_AFTER);
        let changes = self.unsaved_changes();
        let is_due = |rule: &&(u64, u64)| changes >= rule.1 && changes > 0 && since > rule.0;
        let Some(&(seconds, at_least)) = self.settings.save_rules.iter().find(is_due) else {
            return;
        };
        if !waits {
            tracing::info!("{at_least} changes in {seconds} seconds. Saving...");
            self.save_in_background(keyspace, now);
        }
    }

    /// Begins a save in the background, or puts it behind the snapshot that is being taken.
    pub(super) fn save_in_background(&mut self, keyspace: &mut Keyspace, now: Now) {
        self.persistence.last_tried = Some(now.instant);
        self.ask_for_snapshot(keyspace, now, SnapshotFor::File);
    }
}

impl Ctx<'_> {
    /// What keeps a command from running while data is loaded, or cannot be saved.
    #[inline]
    pub(super) fn check_persistence(&self, spec: &Spec) -> Result<(), CommandError> {
        let persistence = &self.server.persistence;
        let log_failed = self.server.log.write_error.is_some();
        if persistence.save_failed || log_failed || persistence.loading.is_some() {
            return self.check_trouble(spec);
        }
        Ok(())
    }

    #[cold]
    fn check_trouble(&self, spec: &Spec) -> Result<(), CommandError> {
        let persistence = &self.server.persistence;
        let settings = &self.server.settings;
        let is_write = self.flags_of(spec).contains(Flags::WRITE) || spec.name == "ping";
        if let Some(error) = self.server.log.write_error.as_ref().filter(|_| is_write) {
            let line = format!("MISCONF Errors writing to the AOF file: {error}");
            return Err(CommandError::Other(line.into()));
        }
        let refuses = persistence.save_failed
            && settings.stop_writes_on_save_error
            && !settings.save_rules.is_empty();
        if refuses && is_write {
            return Err(MISCONF);
        }
        if persistence.loading.is_some() && !spec.flags.contains(Flags::LOADING) {
            return Err(LOADING);
        }
        Ok(())
    }
}
