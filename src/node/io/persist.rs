//! nodes.conf on disk: the old content or the new, never half of one, and one node per file.
//!
//! ```text
//!   nodes.conf.tmp ──▶ nodes.conf.next ──────▶ nodes.conf.sync ──────▶ nodes.conf
//!           written, renamed          renamed          synced, renamed
//!                 a kill leaves these                  a loss of power this
//! ```
//! A file is safe when it is synced, and when one of the names under which a start looks for it is: both at
//! the same time. The last rename is not waited for.
//!
//! The disk may take its time, and the engine does not wait for it: a thread syncs what a [`Sync`] has
//! taken over. What may not be heard of before is the bus's to know ([`Promises`](crate::bus::Promises)). Saves that
//! promise nothing are synced by the tick, all of them at once: a slot that moves changes every node's
//! file several times, and the disk would be all that a reshard waits for.
//!
//! Of the three, the leftmost is the newest. One that does not read was cut off with the power, and
//! the next one is whole.
//!
//! A lock (`flock`, as Redis takes it) belongs to a file, not to its name, so each new file is locked
//! before it gets the name: there is no moment at which a second node could have it.

use crate::cluster::{CorruptNodesConf, Durable};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// A node's file, locked for as long as this lives.
#[derive(Debug)]
pub struct NodesConf {
    path: PathBuf,
    lock: File,
    /// Saves so far.
    saves: u64,
    /// What a loss of power leaves, and the number of that save.
    synced: Option<Durable>,
    synced_number: u64,
    /// What is in `nodes.conf.next`.
    pending: Option<(File, Durable)>,
    /// What is in `nodes.conf.sync`.
    syncing: Option<Syncing>,
}

/// What a thread gives to the disk.
#[derive(Debug)]
struct Syncing {
    number: u64,
    durable: Durable,
    /// Where it is told that it has the proper name.
    done: Receiver<io::Result<File>>,
}

/// Work for a thread that may wait for the disk.
#[derive(Debug)]
pub struct Sync {
    from: PathBuf,
    path: PathBuf,
    file: File,
    done: SyncSender<io::Result<File>>,
}

impl Sync {
    /// Does it, however long that takes. [`NodesConf::poll_sync`] tells how it went.
    pub fn run(self) {
        let adopted = adopt(&self.from, self.file, &self.path);
        // Nobody to tell: the node has ended.
        let _ = self.done.send(adopted);
    }
}

/// Syncs a file, and the name under which a start finds it, both at the same time; and gives it the proper
/// name. It is locked from before it has that.
fn adopt(from: &Path, file: File, path: &Path) -> io::Result<File> {
    std::thread::scope(|scope| {
        let folder = || super::new_file::sync_folder_of(path);
        let other = std::thread::Builder::new().name("sync".into()).spawn_scoped(scope, folder);
        file.sync_all()?;
        match other {
            Ok(other) => other.join().unwrap_or_else(|_| Err(the_thread_ended())),
            Err(_) => folder(),
        }
    })?;
    file.try_lock()?;
    // Should the power undo this, the name before is there.
    std::fs::rename(from, path)?;
    Ok(file)
}

/// Why a node cannot start with its file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it. The text is Redis's.
    #[error(
        "Sorry, the cluster configuration file {0} is already used by a different Cluster node. \
         Please make sure that different nodes use different cluster configuration files."
    )]
    InUse(String),
    /// Its content is no nodes.conf.
    #[error(transparent)]
    Corrupt(#[from] CorruptNodesConf),
    /// It cannot be opened, locked or read.
    #[error("cannot use the cluster configuration file {path}: {error}")]
    Io {
        /// Its name.
        path: String,
        /// Why.
        error: io::Error,
    },
}

impl NodesConf {
    /// Locks and reads the file; one that is not there, or empty, is a node's that never ran.
    ///
    /// # Errors
    /// An [`OpenError`]: the node must not start.
    pub fn open(path: &Path) -> Result<(Self, Option<Durable>), OpenError> {
        let name = path.display().to_string();
        let io = |error| OpenError::Io { path: name.clone(), error };
        let mut lock = loop {
            let options = OpenOptions::new().read(true).write(true).create(true).clone();
            let file = options.clone().truncate(false).open(path).map_err(io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(name)),
                Err(TryLockError::Error(error)) => return Err(io(error)),
            }
            // Whoever had the name a moment ago may have given it to a newer file.
            let same = std::fs::metadata(path).is_ok_and(|named| {
                file.metadata()
                    .is_ok_and(|ours| (named.dev(), named.ino()) == (ours.dev(), ours.ino()))
            });
            if same {
                break file;
            }
        };
        let mut text = Vec::new();
        lock.seek(SeekFrom::Start(0)).and_then(|_| lock.read_to_end(&mut text)).map_err(io)?;
        // CONFIG SET dir does not move it.
        let path = std::path::absolute(path).map_err(io)?;
        let mut conf = Self {
            path,
            lock,
            saves: 0,
            synced: None,
            synced_number: 0,
            pending: None,
            syncing: None,
        };
        if let Some(newer) = conf.take_next().map_err(io)? {
            return Ok((conf, Some(newer)));
        }
        let text = String::from_utf8_lossy(&text);
        if !text.trim().is_empty() {
            conf.synced = Some(Durable::parse(&text)?);
        }
        let saved = conf.synced.clone();
        Ok((conf, saved))
    }

    /// What a kill left, now under its proper name.
    fn take_next(&mut self) -> io::Result<Option<Durable>> {
        let (next, syncing) = (self.beside("next"), self.beside("sync"));
        for left in [&next, &syncing] {
            let text = match std::fs::read(left) {
                Ok(text) => String::from_utf8_lossy(&text).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // The variables are the last line that is written.
            let whole = text.lines().last().is_some_and(|line| line.starts_with("vars "));
            match Durable::parse(&text) {
                Ok(durable) if whole && text.ends_with('\n') => {
                    let file = File::open(left)?;
                    file.sync_all()?;
                    // An older one must not be left when this one has the name.
                    if *left == next && syncing.exists() {
                        std::fs::remove_file(&syncing)?;
                    }
                    self.lock = adopt(left, file, &self.path)?;
                    self.synced = Some(durable.clone());
                    return Ok(Some(durable));
                }
                _ => {
                    tracing::warn!(path = %left.display(), "the power went while this was written: not used");
                    std::fs::remove_file(left)?;
                }
            }
        }
        Ok(None)
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.path.with_added_extension(extension)
    }

    /// Replaces the file's content. When this returns, a kill does not undo it; nor does a crash of
    /// the machine after the next sync. Returns the number of this save.
    ///
    /// # Errors
    /// The content before is still there.
    pub fn save(&mut self, durable: &Durable) -> io::Result<u64> {
        let written = self.beside("tmp");
        let saved = self.write(&written, durable);
        if saved.is_err() {
            // What could not be written must not stay behind and fill the disk further.
            let _ = std::fs::remove_file(&written);
        }
        saved.map(|()| self.saves)
    }

    fn write(&mut self, written: &Path, durable: &Durable) -> io::Result<()> {
        let mut file = File::create(written)?;
        file.write_all(durable.to_text().as_bytes())?;
        std::fs::rename(written, self.beside("next"))?;
        self.saves += 1;
        self.pending = Some((file, durable.clone()));
        Ok(())
    }

    /// What survives a crash of the machine, and the number of that save; 0 is what was opened.
    pub fn synced(&self) -> Option<(u64, &Durable)> {
        self.synced.as_ref().map(|durable| (self.synced_number, durable))
    }

    /// Makes what was saved last survive a crash of the machine, and waits for it.
    ///
    /// # Errors
    /// It may not.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(Syncing { number, durable, done }) = self.syncing.take() {
            self.lock = done.recv().unwrap_or_else(|_| Err(the_thread_ended()))?;
            (self.synced, self.synced_number) = (Some(durable), number);
        }
        let Some((file, durable)) = self.pending.take() else { return Ok(()) };
        self.lock = adopt(&self.beside("next"), file, &self.path)?;
        (self.synced, self.synced_number) = (Some(durable), self.saves);
        Ok(())
    }

    /// The same without waiting: the work, to be done elsewhere. None while such work is under way, and
    /// where there is nothing to do.
    ///
    /// # Errors
    /// It cannot be begun.
    pub fn begin_sync(&mut self) -> io::Result<Option<Sync>> {
        if self.syncing.is_some() {
            return Ok(None);
        }
        let Some((file, durable)) = self.pending.take() else { return Ok(None) };
        let from = self.beside("sync");
        std::fs::rename(self.beside("next"), &from)?;
        let (done, told) = sync_channel(1);
        self.syncing = Some(Syncing { number: self.saves, durable, done: told });
        Ok(Some(Sync { from, path: self.path.clone(), file, done }))
    }

    /// Takes note of work that has been done elsewhere.
    ///
    /// # Errors
    /// It failed: what was saved may not survive a crash of the machine.
    pub fn poll_sync(&mut self) -> io::Result<()> {
        let Some(Syncing { number, durable, done }) = self.syncing.take() else { return Ok(()) };
        match done.try_recv() {
            Ok(adopted) => {
                self.lock = adopted?;
                (self.synced, self.synced_number) = (Some(durable), number);
                Ok(())
            }
            Err(TryRecvError::Empty) => {
                self.syncing = Some(Syncing { number, durable, done });
                Ok(())
            }
            Err(TryRecvError::Disconnected) => Err(the_thread_ended()),
        }
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn the_thread_ended() -> io::Error {
    io::Error::other("the thread that synced it has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "1111111111111111111111111111111111111111 :7000@17000 myself,master - 0 0 0 \
                        connected\nvars currentEpoch 3 lastVoteEpoch 0\n";

    const OTHER: &str =
        "2222222222222222222222222222222222222222 10.0.0.2:7000@17000 master - 0 0 3 connected 5";

    fn text_of(path: &Path) -> String {
        std::fs::read_to_string(path).expect("the file")
    }

    fn files_of(folder: &tempfile::TempDir) -> usize {
        std::fs::read_dir(folder.path()).expect("the folder").count()
    }

    #[test]
    fn what_was_saved_is_there_again_and_locked_all_the_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        let (mut conf, saved) = NodesConf::open(&path).expect("a new file");
        assert_eq!(saved, None);
        let in_use = |when: &str| {
            let error = NodesConf::open(&path).expect_err(when);
            assert!(matches!(error, OpenError::InUse(_)), "{when}: {error}");
            assert!(error.to_string().starts_with("Sorry, the cluster configuration file "));
        };
        in_use("after it was opened");
        let durable = Durable::parse(TEXT).expect("a good text");
        conf.save(&durable).expect("a save");
        in_use("after it was saved");
        conf.sync().expect("a sync");
        in_use("after it was synced");
        conf.save(&durable).expect("another save");
        let work = conf.begin_sync().expect("a rename").expect("something to do");
        in_use("before the thread has begun");
        work.run();
        in_use("when the thread has done it");
        conf.poll_sync().expect("a sync");
        in_use("when that is known");
        assert_eq!(text_of(&path), TEXT);
        conf.save(&durable).expect("a save");
        drop(conf);
        let (_conf, saved) = NodesConf::open(&path).expect("the file that was saved");
        assert_eq!(saved, Some(durable));
        assert_eq!(files_of(&folder), 1, "nothing is left beside it");
    }

    /// Every moment at which a kill may come, and at which the power may go.
    #[test]
    fn a_kill_loses_nothing_and_a_loss_of_power_nothing_that_was_synced() {
        let step = |n: u64| {
            Durable::parse(&TEXT.replace("currentEpoch 3", &format!("currentEpoch {n}")))
                .expect("good")
        };
        type Act = fn(&mut NodesConf, &mut Vec<Sync>, &Durable);
        let save: Act = |conf, _, durable| {
            conf.save(durable).expect("a save");
        };
        let begin: Act = |conf, works, _| works.extend(conf.begin_sync().expect("a rename"));
        let run: Act = |_, works, _| works.pop().expect("work").run();
        let look: Act = |conf, _, _| conf.poll_sync().expect("a sync");
        let wait: Act = |conf, _, _| conf.sync().expect("a sync");
        // After each of them: what a kill leaves, and what a loss of power leaves.
        let script: [(&str, Act, u64, u64, u64); 13] = [
            ("saved", save, 10, 10, 0),
            ("and waited for", wait, 0, 10, 10),
            ("saved", save, 11, 11, 10),
            ("a thread begins", begin, 0, 11, 10),
            ("another save meanwhile", save, 12, 12, 10),
            ("which another thread may not take", begin, 0, 12, 10),
            ("the thread has done it", run, 0, 12, 11),
            ("which is seen", look, 0, 12, 11),
            ("the next thread", begin, 0, 12, 11),
            ("a further save", save, 13, 13, 11),
            ("it has done it", run, 0, 13, 12),
            ("everything is waited for", wait, 0, 13, 13),
            ("there is nothing to do", begin, 0, 13, 13),
        ];
        for last in 0..script.len() {
            for power_goes in [false, true] {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("nodes.conf");
                let (mut conf, _) = NodesConf::open(&path).expect("a new file");
                let mut works = Vec::new();
                for (_, act, number, _, _) in &script[..=last] {
                    act(&mut conf, &mut works, &step(*number));
                }
                drop((conf, works));
                if power_goes {
                    // Names are kept, and of what was not synced no content.
                    for unsynced in ["next", "sync"] {
                        let left = path.with_added_extension(unsynced);
                        if left.exists() {
                            std::fs::write(left, "").expect("a file");
                        }
                    }
                }
                let (what, _, _, killed, without_power) = script[last];
                let expected = if power_goes { without_power } else { killed };
                let (_conf, saved) = NodesConf::open(&path).expect("it starts");
                let epoch = saved.map_or(0, |saved| saved.current_epoch.0);
                assert_eq!(epoch, expected, "{what}, power goes: {power_goes}");
                assert_eq!(files_of(&folder), 1, "{what}: nothing is left beside it");
            }
        }
    }

    #[test]
    fn what_was_cut_off_with_the_power_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        let (mut conf, _) = NodesConf::open(&path).expect("a new file");
        let first = Durable::parse(TEXT).expect("a good text");
        conf.save(&first).and_then(|_| conf.sync()).expect("a save");
        drop(conf);
        let text = format!("{OTHER}\n{TEXT}");
        for cut in ["", &text[..text.len() - 40], "\0\0\0\0"] {
            let next = path.with_added_extension("next");
            std::fs::write(&next, cut).expect("a file");
            let (_conf, saved) = NodesConf::open(&path).expect("the older one is whole");
            assert_eq!(saved.as_ref(), Some(&first), "{cut:?}");
            assert!(!next.exists());
        }
    }

    #[test]
    fn a_thread_that_cannot_sync_it_is_heard_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        let (mut conf, _) = NodesConf::open(&path).expect("a new file");
        let durable = Durable::parse(TEXT).expect("a good text");
        conf.save(&durable).expect("a save");
        let work = conf.begin_sync().expect("a rename").expect("work");
        std::fs::remove_file(path.with_added_extension("sync")).expect("somebody cleans up");
        work.run();
        assert!(conf.poll_sync().is_err());
        conf.save(&durable).expect("a save");
        drop(conf.begin_sync().expect("a rename").expect("work that nobody does"));
        assert!(conf.sync().is_err());
    }

    #[test]
    fn a_save_that_fails_leaves_the_content_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        let (mut conf, _) = NodesConf::open(&path).expect("a new file");
        let durable = Durable::parse(TEXT).expect("a good text");
        conf.save(&durable).and_then(|_| conf.sync()).expect("a save");
        std::fs::create_dir(path.with_added_extension("tmp")).expect("something in the way");
        assert!(conf.save(&durable).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), TEXT);
    }

    #[test]
    fn a_corrupt_file_is_not_started_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        std::fs::write(&path, "va").expect("a file");
        let error = NodesConf::open(&path).expect_err("no nodes.conf");
        assert_eq!(error.to_string(), "Unrecoverable error: corrupted cluster config file \"va\".");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "va", "it is left alone");
    }
}
