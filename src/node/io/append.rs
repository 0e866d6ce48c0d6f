//! The append-only file as it is written: the increment that is open, what could not be written yet, and
//! what the disk has. What it decides is only how bytes get to the disk, and in what order.
//!
//! Bytes are written before the replies of their turn leave, whatever the disk does: a kill loses
//! nothing. (Redis holds them back for up to two seconds while a sync is under way, and a kill loses
//! these.) What waits for the disk is done by other threads, but for `appendfsync always`.

use super::log_folder::{Folder, follows};
use super::new_file::NewFile;
use super::syncer::Syncer;
use crate::clock::Now;
use crate::node::Core;
use crate::node::append::LogDisk;
use crate::replication::Offset;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sync that lasts longer than this is late, as in Redis.
const SYNC_IS_LATE: Duration = Duration::from_secs(2);

/// See above.
#[derive(Debug)]
pub(super) struct Append {
    folder: Folder,
    /// The increment that is being written.
    file: Option<Arc<File>>,
    /// Bytes of it.
    length: u64,
    /// The increment that the next rewrite begins with.
    prepared: Option<File>,
    /// Bytes of all files of the manifest.
    size: u64,
    /// What could not be written yet.
    unwritten: Vec<u8>,
    /// Written, and not given to the disk.
    unsynced: bool,
    /// Increments of before that the disk does not have, and up to where in the stream they go.
    owed: Vec<(Arc<File>, Offset)>,
    /// So many of them are being given to the disk.
    handed: usize,
    /// The place in the stream up to which everything is written.
    written: Offset,
    /// The same when something was written the last time; what came since is in no need of a file.
    last_write: Offset,
    /// Up to where this thread has waited for the disk.
    synced: Offset,
    /// What the core was last told.
    told: Option<Offset>,
    told_disk: LogDisk,
    syncer: Option<Syncer>,
    /// When the sync that is under way was begun, or was last said to be late.
    sync_began: Option<Instant>,
}

impl Append {
    /// The log of the node whose parameters these are, as its manifest says; empty if there is none.
    pub(super) fn open(core: &Core) -> io::Result<Self> {
        Ok(Self::of(Folder::open(core)?))
    }

    fn of(folder: Folder) -> Self {
        Self {
            folder,
            file: None,
            length: 0,
            prepared: None,
            size: 0,
            unwritten: Vec::new(),
            unsynced: false,
            owed: Vec::new(),
            handed: 0,
            written: 0,
            last_write: 0,
            synced: 0,
            told: None,
            told_disk: LogDisk::default(),
            syncer: None,
            sync_began: None,
        }
    }

    /// The files to be read, in order.
    pub(super) fn parts(&self) -> Vec<PathBuf> {
        self.folder.parts()
    }

    /// Looks for a gap that a loss of power has left, and puts aside what comes after it, if it may: the
    /// names of these files. May wait for the disk.
    pub(super) fn close_gap(&mut self, may: bool) -> io::Result<Vec<String>> {
        let Some(first) = self.folder.first_after_gap()? else { return Ok(Vec::new()) };
        self.folder.set_aside(first, may)
    }

    /// The work that makes it ready to be written, at the start, when all of it has been read: it waits
    /// for the disk.
    pub(super) fn resumption(&self) -> impl FnOnce() -> io::Result<Resumed> + Send + use<> {
        let folder = self.folder.clone();
        move || Resumed::of(folder)
    }

    /// It has been done. Returns the size of all files.
    pub(super) fn resumed(&mut self, resumed: Resumed) -> u64 {
        let Resumed { folder, file, length, size, head } = resumed;
        self.folder = folder;
        self.file = Some(Arc::new(file));
        (self.length, self.size) = (length, size);
        // What has come meanwhile stands behind it.
        self.unwritten.splice(0..0, head);
        size
    }

    /// Whether the increment is there that the next rewrite begins with.
    pub(super) fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// The work that prepares it: it waits for the disk.
    pub(super) fn preparation(&self) -> impl FnOnce() -> io::Result<(Folder, File)> + Send + use<> {
        let mut folder = self.folder.clone();
        move || folder.next_increment().map(|file| (folder, file))
    }

    /// It has been done.
    pub(super) fn prepared(&mut self, (folder, file): (Folder, File)) {
        self.folder = folder;
        self.prepared = Some(file);
    }

    /// A rewrite begins: what is written from here on is not in the base that is being made.
    ///
    /// # Errors
    /// Everything is as before.
    pub(super) fn begin_increment(&mut self) -> io::Result<()> {
        if self.prepared.is_none() {
            return Err(io::Error::other("the increment that it begins with is not there"));
        }
        if let Some(before) = self.file.clone() {
            self.flush(&before)?;
            if self.unsynced {
                self.owed.push((before, self.written));
            }
            self.unwritten = follows(self.length).into_bytes();
        }
        self.file = self.prepared.take().map(Arc::new);
        self.length = 0;
        self.unsynced = false;
        self.sync_behind(false);
        Ok(())
    }

    /// The file that the next base is to be written to.
    pub(super) fn new_base(&self) -> io::Result<NewFile> {
        self.folder.new_base()
    }

    /// The work that makes the next base, which is complete, stand for all that was written before: it
    /// waits for the disk.
    pub(super) fn keeping(&self) -> impl FnOnce() -> io::Result<(Folder, u64)> + Send + use<> {
        let mut folder = self.folder.clone();
        let goes_on = self.file.is_some();
        move || folder.keep_base(goes_on).map(|size| (folder, size))
    }

    /// It has been done. Returns the size of all files.
    pub(super) fn base_is_kept(&mut self, (folder, base_size): (Folder, u64)) -> u64 {
        self.folder = folder;
        self.size = base_size + self.length;
        self.size
    }

    fn flush(&mut self, file: &File) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            let count = { file }.write(&self.unwritten)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unwritten.drain(..count);
            self.size += count as u64;
            self.length += count as u64;
            self.unsynced = true;
        }
        Ok(())
    }

    /// Takes what the core has for it; before the replies of this turn leave.
    pub(super) fn take(&mut self, core: &mut Core, policy: Policy) {
        if self.unwritten.is_empty() && core.log_bytes().is_empty() {
            self.written = core.replication_offset();
            return;
        }
        self.unwritten.extend_from_slice(core.log_bytes());
        core.log_taken();
        let Some(file) = self.file.clone() else { return };
        if policy == Policy::EverySecond && self.sync_is_late() {
            core.log_sync_is_late();
        }
        let mut outcome = self.flush(&file);
        if outcome.is_ok() {
            self.written = core.replication_offset();
            self.last_write = self.written;
        }
        if policy == Policy::Always && outcome.is_ok() {
            outcome = self.sync_all(&file);
        }
        if let (Policy::Always, Err(error)) = (policy, &outcome) {
            // Somebody would be told that it is on disk.
            tracing::error!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always': \
                 {error}. Exiting..."
            );
            std::process::exit(1);
        }
        core.log_written(self.size, outcome.err().map(|error| error.to_string()));
    }

    /// Whether a sync is under way that has lasted too long, said once per so long.
    fn sync_is_late(&mut self) -> bool {
        if !self.syncer.as_ref().is_some_and(Syncer::is_busy) {
            return false;
        }
        let now = Now::read().instant;
        let late = self.sync_began.is_some_and(|began| now - began >= SYNC_IS_LATE);
        if late {
            self.sync_began = Some(now);
        }
        late
    }

    /// Waits for the disk.
    fn sync_all(&mut self, file: &File) -> io::Result<()> {
        // What is read first has to be there first.
        for (before, _) in &self.owed {
            before.sync_data()?;
        }
        file.sync_data()?;
        (self.owed, self.handed) = (Vec::new(), 0);
        self.unsynced = false;
        self.synced = self.written;
        Ok(())
    }

    /// Gives to the disk what was written: increments of before, and `this` one.
    pub(super) fn sync_behind(&mut self, this: bool) {
        if self.syncer.as_ref().is_some_and(Syncer::is_busy) {
            return;
        }
        if self.syncer.as_ref().is_some_and(Syncer::has_failed) {
            tracing::error!("the append-only file could not be given to the disk");
            self.unsynced = true;
        } else {
            self.owed.drain(..self.handed);
        }
        self.handed = 0;
        let this = self.file.clone().filter(|_| this && self.unsynced);
        let behind = self.owed.last().map(|(_, written)| *written);
        let Some(written) = this.as_ref().map(|_| self.written).or(behind) else { return };
        if self.syncer.is_none() {
            self.syncer = Syncer::start().ok();
        }
        let Some(syncer) = &self.syncer else { return };
        self.unsynced &= this.is_none();
        self.handed = self.owed.len();
        let files = self.owed.iter().map(|(file, _)| file.clone()).chain(this).collect();
        self.sync_began = Some(Now::read().instant);
        syncer.sync(files, written);
    }

    /// Up to which place in the stream a restart would find everything. None while these files are
    /// not all of the data yet.
    fn on_disk(&self) -> Option<Offset> {
        let behind = self.syncer.as_ref().map_or(0, Syncer::synced);
        let synced = self.synced.max(behind);
        // Not all of the stream is for the file.
        let reached = if synced >= self.last_write { self.written } else { synced };
        self.folder.is_complete().then_some(reached)
    }

    /// Whether these files are all of the data.
    pub(super) fn is_complete(&self) -> bool {
        self.folder.is_complete()
    }

    /// Tells the core how far the disk is, if that has changed.
    pub(super) fn tell(&mut self, core: &mut Core) -> bool {
        let disk = LogDisk {
            buffered: self.unwritten.len() as u64,
            is_syncing: self.syncer.as_ref().is_some_and(Syncer::is_busy),
        };
        if disk != self.told_disk {
            self.told_disk = disk;
            core.log_disk_is(disk);
        }
        let on_disk = self.on_disk();
        let news = on_disk != self.told;
        if news {
            self.told = on_disk;
            core.log_on_disk(Now::read(), on_disk);
        }
        news
    }

    /// Everything is on disk when this returns.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        self.flush(&file)?;
        self.sync_all(&file)
    }

    /// It ends here: everything is written when this returns, and what it gives back waits for the disk.
    pub(super) fn end(mut self) -> io::Result<impl FnOnce() -> io::Result<()> + Send> {
        let file = self.file.clone();
        if let Some(file) = &file {
            self.flush(file)?;
        }
        let owed = self.owed.into_iter().map(|(file, _)| file);
        let files: Vec<Arc<File>> = owed.chain(file).collect();
        Ok(move || files.iter().try_for_each(|file| file.sync_data()))
    }
}

/// The files of a start, ready to be written on.
pub(super) struct Resumed {
    folder: Folder,
    file: File,
    length: u64,
    size: u64,
    /// What the file is to begin with.
    head: Vec<u8>,
}

impl Resumed {
    /// With a first base, if the folder is empty: there is never an increment without one.
    fn of(mut folder: Folder) -> io::Result<Self> {
        let head = Vec::new();
        if folder.is_empty() {
            let (file, size) = folder.begin_empty()?;
            return Ok(Self { folder, file, length: 0, size, head });
        }
        folder.was_read();
        let (mut before, mut length, mut size) = (0, 0, 0);
        for path in folder.parts() {
            before = length;
            length = std::fs::metadata(path)?.len();
            size += length;
        }
        let Some((file, behind_another)) = folder.last_increment()? else {
            let file = folder.next_increment()?;
            return Ok(Self { folder, file, length: 0, size, head });
        };
        let begins = behind_another && length == 0;
        let head = if begins { follows(before).into_bytes() } else { head };
        Ok(Self { folder, file, length, size, head })
    }
}

/// `appendfsync`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Before every reply.
    Always,
    /// Once a second.
    EverySecond,
    /// When the system likes.
    No,
}

impl Policy {
    /// The policy of a node.
    pub(super) fn of(core: &Core) -> Self {
        match core.parameter("appendfsync").as_str() {
            "always" => Self::Always,
            "no" => Self::No,
            _ => Self::EverySecond,
        }
    }
}
