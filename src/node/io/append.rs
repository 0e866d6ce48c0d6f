//! The append-only file on disk: a folder with a base, increments, and the manifest that names
//! them. What it decides is only how bytes get to the disk, and in what order.

use super::manifest::{Manifest, Part};
use super::new_file::{NewFile, sync_folder_of};
use crate::clock::Now;
use crate::node::Core;
use crate::replication::Offset;
use crate::store::rdb::RdbWriter;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

/// See above.
#[derive(Debug)]
pub(super) struct Append {
    folder: PathBuf,
    stem: String,
    manifest: Manifest,
    /// Its files are all of the data: what is added to them can be read after a crash.
    complete: bool,
    /// The increment that is being written.
    file: Option<Arc<File>>,
    /// Bytes of all files of the manifest.
    size: u64,
    /// What could not be written yet.
    unwritten: Vec<u8>,
    /// Written, and not given to the disk.
    unsynced: bool,
    /// The place in the stream up to which everything is written.
    written: Offset,
    /// The same when something was written the last time; what came since is in no need of a file.
    last_write: Offset,
    /// Up to where this thread has waited for the disk.
    synced: Offset,
    /// What the core was last told.
    told: Option<Offset>,
    syncer: Option<Syncer>,
}

/// A thread that syncs, so that nobody waits for the disk.
#[derive(Debug)]
struct Syncer {
    files: Sender<(Arc<File>, Offset)>,
    busy: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    /// Up to where the disk has it.
    synced: Arc<AtomicU64>,
}

impl Syncer {
    fn start() -> io::Result<Self> {
        let (files, incoming) = channel::<(Arc<File>, Offset)>();
        let (busy, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let synced = Arc::<AtomicU64>::default();
        let syncer =
            Self { files, busy: busy.clone(), failed: failed.clone(), synced: synced.clone() };
        std::thread::Builder::new().name("sync".into()).spawn(move || {
            for (file, offset) in incoming {
                match file.sync_data() {
                    Ok(()) => synced.store(offset, Ordering::Relaxed),
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                busy.store(false, Ordering::Release);
            }
        })?;
        Ok(syncer)
    }
}

impl Append {
    /// The log of the node whose parameters these are, as its manifest says; empty if there is none.
    pub(super) fn open(core: &Core) -> io::Result<Self> {
        // CONFIG SET dir moves what is begun later, and not what is open.
        let folder = std::path::absolute(core.parameter("appenddirname"))?;
        let stem = core.parameter("appendfilename");
        let mut append = Self {
            folder,
            stem,
            manifest: Manifest::default(),
            complete: false,
            file: None,
            size: 0,
            unwritten: Vec::new(),
            unsynced: false,
            written: 0,
            last_write: 0,
            synced: 0,
            told: None,
            syncer: None,
        };
        match std::fs::read_to_string(append.manifest_path()) {
            Ok(text) => {
                append.manifest = Manifest::parse(&text).map_err(io::Error::other)?;
                append.finish_adoption()?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => append.adopt_single_file()?,
            Err(error) => return Err(error),
        }
        Ok(append)
    }

    /// A file from before there were manifests becomes the base.
    fn adopt_single_file(&mut self) -> io::Result<()> {
        if !Path::new(&self.stem).is_file() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        self.manifest.base = Some(Part { name: self.stem.clone(), seq: 1 });
        // The manifest first: should this end here, the next start goes on with it.
        self.save_manifest()?;
        self.finish_adoption()?;
        tracing::info!("Successfully migrated an old-style AOF");
        Ok(())
    }

    fn finish_adoption(&self) -> io::Result<()> {
        let adopted = self.manifest.base.as_ref().is_some_and(|base| base.name == self.stem);
        let place = self.folder.join(&self.stem);
        if adopted && !place.exists() && Path::new(&self.stem).is_file() {
            std::fs::rename(&self.stem, place)?;
        }
        Ok(())
    }

    fn manifest_path(&self) -> PathBuf {
        self.folder.join(format!("{}.manifest", self.stem))
    }

    fn save_manifest(&self) -> io::Result<()> {
        let path = self.manifest_path();
        let beside = self.folder.join(format!("temp-{}.manifest", self.stem));
        let mut file = File::create(&beside)?;
        file.write_all(self.manifest.to_text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        sync_folder_of(&path)
    }

    /// The files to be read, in order; whether each is the last one.
    pub(super) fn parts(&self) -> Vec<(PathBuf, bool)> {
        let parts: Vec<&Part> =
            self.manifest.base.iter().chain(&self.manifest.increments).collect();
        let last = parts.len();
        let numbered = parts.into_iter().enumerate();
        numbered.map(|(n, part)| (self.folder.join(&part.name), n + 1 == last)).collect()
    }

    /// Whether it holds anything.
    pub(super) fn is_empty(&self) -> bool {
        self.manifest.base.is_none() && self.manifest.increments.is_empty()
    }

    /// The first base, of no keys, and the first increment.
    pub(super) fn begin_empty(&mut self) -> io::Result<u64> {
        let mut bytes = Vec::new();
        let mut writer = RdbWriter::new(false, true);
        writer.begin(&mut bytes);
        writer.aux(&mut bytes, "aof-base", b"1");
        writer.end(&mut bytes);
        let mut file = self.new_base()?;
        file.write(&bytes)?;
        file.keep()?;
        self.base_is_kept()?;
        self.begin_increment()?;
        self.size = bytes.len() as u64;
        Ok(self.size)
    }

    /// Goes on writing the last increment, or a first one, after everything was read.
    pub(super) fn resume(&mut self) -> io::Result<u64> {
        self.size = 0;
        for (path, _) in self.parts() {
            self.size += std::fs::metadata(path)?.len();
        }
        self.complete = true;
        match self.manifest.increments.last() {
            Some(last) => {
                let path = self.folder.join(&last.name);
                self.file = Some(Arc::new(OpenOptions::new().append(true).open(path)?));
            }
            None => self.begin_increment()?,
        }
        Ok(self.size)
    }

    /// A further increment: what is written from here on is not in the base that is being made.
    pub(super) fn begin_increment(&mut self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let part = self.manifest.next_increment(&self.stem);
        let path = self.folder.join(&part.name);
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        if let Some(before) = self.file.take() {
            self.flush(&before)?;
            before.sync_data()?;
            self.synced = self.written;
        }
        self.manifest.increments.push(part);
        // Before the first base is there it would be read as if it were all of the data.
        if self.complete {
            self.save_manifest().inspect_err(|_| drop(self.manifest.increments.pop()))?;
        }
        self.file = Some(Arc::new(file));
        Ok(())
    }

    /// The file that the next base is to be written to.
    pub(super) fn new_base(&self) -> io::Result<NewFile> {
        std::fs::create_dir_all(&self.folder)?;
        NewFile::create(&self.folder.join(self.manifest.next_base(&self.stem).name))
    }

    /// The next base is complete: it stands for all but the latest increment, if one is written.
    pub(super) fn base_is_kept(&mut self) -> io::Result<u64> {
        let base = self.manifest.next_base(&self.stem);
        let latest = self.manifest.increments.pop().filter(|_| self.file.is_some());
        let mut manifest = Manifest { base: Some(base), ..Manifest::default() };
        manifest.increments.extend(latest);
        let before = std::mem::replace(&mut self.manifest, manifest);
        self.save_manifest()?;
        self.complete = true;
        for part in before.base.iter().chain(&before.increments).chain(&before.history) {
            if let Err(error) = std::fs::remove_file(self.folder.join(&part.name)) {
                tracing::warn!(%error, file = part.name, "a file nobody needs stays");
            }
        }
        self.size = 0;
        for (path, _) in self.parts() {
            self.size += std::fs::metadata(path)?.len();
        }
        Ok(self.size)
    }

    fn flush(&mut self, file: &File) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            let count = { file }.write(&self.unwritten)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unwritten.drain(..count);
            self.size += count as u64;
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
        let mut outcome = self.flush(&file);
        if outcome.is_ok() {
            self.written = core.replication_offset();
            self.last_write = self.written;
        }
        if policy == Policy::Always && outcome.is_ok() {
            outcome = file.sync_data();
            self.unsynced = false;
            self.synced = self.written;
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

    /// Once a second: gives to the disk what was written.
    pub(super) fn sync_behind(&mut self) {
        if let Some(syncer) = &self.syncer
            && syncer.failed.swap(false, Ordering::Relaxed)
        {
            tracing::error!("the append-only file could not be given to the disk");
            self.unsynced = true;
        }
        let Some(file) = self.file.clone().filter(|_| self.unsynced) else { return };
        if self.syncer.is_none() {
            self.syncer = Syncer::start().ok();
        }
        let Some(syncer) = &self.syncer else { return };
        if !syncer.busy.swap(true, Ordering::Acquire) {
            self.unsynced = false;
            // The thread lives as long as this does.
            let _ = syncer.files.send((file, self.written));
        }
    }

    /// Up to which place in the stream a restart would find everything. None while these files are
    /// not all of the data yet.
    fn on_disk(&self) -> Option<Offset> {
        let syncer = self.syncer.as_ref();
        let behind = syncer.map_or(0, |syncer| syncer.synced.load(Ordering::Relaxed));
        let synced = self.synced.max(behind);
        // Not all of the stream is for the file.
        let reached = if synced >= self.last_write { self.written } else { synced };
        self.complete.then_some(reached)
    }

    /// Whether these files are all of the data.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Tells the core how far the disk is, if that has changed.
    pub(super) fn tell(&mut self, core: &mut Core) -> bool {
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
        self.unsynced = false;
        file.sync_data()
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
