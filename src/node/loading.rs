//! A data set on its way in: from a file at the start, for DEBUG RELOAD, or from a primary.

use super::core::Core;
use super::output::Output;
use super::persistence::{LoadFigures, LoadProgress};
use crate::clock::Now;
use crate::store::rdb::{RdbError, RdbEvent, RdbReader};
use crate::store::{Keyed, Keyspace};
use std::time::Duration;

/// Puts what a file says into a keyspace.
#[derive(Debug)]
pub(super) struct Loader {
    reader: RdbReader,
    db: usize,
    /// Whether keys past their expiry are left out: on a primary.
    drops_expired: bool,
    figures: LoadFigures,
    /// Those of them that nobody has been told of yet.
    dropped: Vec<(usize, Box<[u8]>)>,
    /// It has been looked at whose state the data is.
    placed: bool,
}

/// Why a data set cannot be loaded. The lines are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file itself.
    #[error(transparent)]
    Rdb(#[from] RdbError),
    /// A key is there twice.
    #[error("RDB has duplicated key '{0}' in DB {1}")]
    Doubled(String, usize),
    /// A database that this node does not have.
    #[error(
        "FATAL: Data file was created with a Redis server configured to handle more than {0} \
         databases. Exiting"
    )]
    Databases(usize),
}

/// The longest pause at a time: the delay may be changed meanwhile, and a primary wants to hear something.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// `key-load-delay`: how long a load is to take at least. Files are read in pieces of many keys, so the pauses
/// come behind the pieces.
#[derive(Debug, Default)]
pub(in crate::node) struct LoadPace {
    keys: u64,
    paused: Duration,
}

impl LoadPace {
    /// So many keys more are there.
    pub(in crate::node) fn loaded(&mut self, keys: u64) {
        self.keys += keys;
    }

    /// The next pause; none if they have taken as long as they are to.
    pub(in crate::node) fn next(&mut self, delay: i64) -> Option<Duration> {
        let micros = match u64::try_from(delay) {
            Ok(delay) => self.keys.saturating_mul(delay),
            Err(_) => self.keys / delay.unsigned_abs(),
        };
        let left = Duration::from_micros(micros).saturating_sub(self.paused);
        if left.is_zero() {
            *self = Self::default();
            return None;
        }
        let pause = left.min(PAUSE_MAX);
        self.paused += pause;
        Some(pause)
    }
}

impl Loader {
    pub(super) fn new(keyspace: &Keyspace, drops_expired: bool) -> Self {
        let reader = RdbReader::new(keyspace.value_limits());
        let figures = LoadFigures::default();
        Self { reader, db: 0, drops_expired, figures, dropped: Vec::new(), placed: false }
    }

    /// Takes the next bytes.
    pub(super) fn feed(
        &mut self,
        keyspace: &mut Keyspace,
        now_ms: u64,
        bytes: &[u8],
    ) -> Result<(), LoadError> {
        self.reader.feed(bytes);
        while let Some(event) = self.reader.next()? {
            match event {
                RdbEvent::Aux { name, value } => self.note(&name, &value),
                RdbEvent::Database(number) => {
                    let databases = keyspace.databases();
                    let known = usize::try_from(number).ok().filter(|&db| db < databases);
                    self.db = known.ok_or(LoadError::Databases(databases))?;
                }
                RdbEvent::Key { entry, used } => {
                    if self.drops_expired && entry.is_expired(now_ms) {
                        self.figures.expired += 1;
                        self.dropped.push((self.db, entry.key().into()));
                        continue;
                    }
                    let mut db = keyspace.db(self.db, now_ms);
                    db.restore_new(entry, used).map_err(|entry| {
                        let key = String::from_utf8_lossy(entry.key()).into_owned();
                        LoadError::Doubled(key, self.db)
                    })?;
                    self.figures.keys += 1;
                }
                RdbEvent::Empty { .. } => self.figures.empty += 1,
                RdbEvent::Function(_) => {
                    tracing::warn!("the file has a library of functions, which is left out");
                }
                RdbEvent::Sizes { .. } | RdbEvent::End => {}
            }
        }
        Ok(())
    }

    /// A named fact.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"repl-id" => self.figures.replication_id = Some(text()),
            b"repl-offset" => self.figures.replication_offset = text().parse().ok(),
            b"repl-stream-db" => self.figures.stream_database = text().parse().ok(),
            b"redis-ver" | b"valkey-ver" => {
                tracing::info!("Loading RDB produced by version {}", text());
            }
            _ => tracing::debug!(
                name = %String::from_utf8_lossy(name),
                value = %text(),
                "a fact of the file"
            ),
        }
    }

    /// How many keys are there.
    pub(in crate::node) fn keys(&self) -> u64 {
        self.figures.keys
    }

    /// Whether all of it is there.
    pub(super) fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// How many bytes are read.
    pub(super) fn position(&self) -> u64 {
        self.reader.position()
    }

    /// What came behind the end.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }

    /// What was found.
    pub(super) fn finish(self) -> Result<LoadFigures, LoadError> {
        if !self.reader.is_done() {
            return Err(RdbError::Short.into());
        }
        let LoadFigures { keys, expired, empty, .. } = &self.figures;
        tracing::info!(
            "Done loading RDB, keys loaded: {keys}, keys expired: {expired}, empty keys skipped: \
             {empty}."
        );
        Ok(self.figures)
    }
}

impl Core {
    /// Clients are told to wait from here on, until [`Core::end_loading`].
    pub fn begin_loading(&mut self, now: Now, bytes_total: u64) {
        let progress = LoadProgress { since: now, bytes_total, bytes_done: 0 };
        self.server.persistence.loading = Some(progress);
    }

    /// So many bytes more are loaded.
    pub(super) fn note_loaded(&mut self, bytes: usize) {
        if let Some(progress) = &mut self.server.persistence.loading {
            progress.bytes_done += bytes as u64;
        }
    }

    /// Everything is loaded.
    pub fn end_loading(&mut self, now: Now) {
        if let Some(progress) = self.server.persistence.loading.take() {
            let took = now.instant - progress.since.instant;
            tracing::info!("DB loaded from disk: {:.3} seconds", took.as_secs_f64());
            self.server.outputs.push_back(Output::Link);
        }
        self.server.persistence.saved_dirty = self.server.stats.dirty;
    }

    /// Begins to load a file of so many bytes (0: nobody knows). Until [`Core::end_file_load`] clients
    /// are told to wait.
    pub fn begin_file_load(&mut self, now: Now, bytes_total: u64) {
        self.begin_loading(now, bytes_total);
        self.loader = Some(Loader::new(&self.keyspace, true));
    }

    /// Loads the next bytes.
    ///
    /// # Errors
    /// The file cannot be loaded; what came before is there.
    pub fn load_file(&mut self, now: Now, bytes: &[u8]) -> Result<(), LoadError> {
        let Some(loader) = &mut self.loader else { return Ok(()) };
        // A replica waits until its primary says so.
        loader.drops_expired = !self.server.replication.is_replica();
        let before = loader.keys();
        loader.feed(&mut self.keyspace, now.unix_ms, bytes)?;
        self.server.persistence.load_pace.loaded(loader.keys() - before);
        let dropped = std::mem::take(&mut loader.dropped);
        let figures = &loader.figures;
        let known = figures.replication_id.is_some() && figures.replication_offset.is_some();
        // These facts stand before the first key, within the first bytes.
        if known && !std::mem::replace(&mut loader.placed, true) {
            let figures = figures.clone();
            self.resume_history(now, &figures);
        }
        self.tell_dropped(dropped);
        self.note_loaded(bytes.len());
        Ok(())
    }

    /// How long whoever loads is to pause before it goes on; to be asked again after that.
    pub fn load_pause(&mut self) -> Option<Duration> {
        let delay = self.server.settings.key_load_delay;
        self.server.persistence.load_pace.next(delay)
    }

    /// The file has ended: what was loaded.
    ///
    /// # Errors
    /// It ended too early.
    pub fn end_file_load(&mut self, now: Now) -> Result<LoadFigures, LoadError> {
        let Some(loader) = self.loader.take() else { return Ok(LoadFigures::default()) };
        let figures = loader.finish()?;
        self.server.persistence.loaded = figures.clone();
        self.end_loading(now);
        Ok(figures)
    }
}
