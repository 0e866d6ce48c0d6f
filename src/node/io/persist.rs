//! nodes.conf on disk: the old content or the new, never half of one, and one node per file.
//!
//! ```text
//!   nodes.conf.tmp ──written, renamed──▶ nodes.conf.next ──synced, renamed──▶ nodes.conf
//!                                    a kill leaves this                   a loss of power this
//! ```
//! A save that makes a promise ([`Durable::promises_more_than`]) is synced and has the proper name before
//! anybody hears of it. Others are synced by the tick, all of them at once: a slot that moves changes
//! every node's file several times, and the disk would be all that a reshard waits for.
//!
//! `nodes.conf.next`, where there is one, is the newer of the two. One that does not read was cut off
//! with the power, and the older one is whole.
//!
//! A lock (`flock`, as Redis takes it) belongs to a file, not to its name, so each new file is locked
//! before it gets the name: there is no moment at which a second node could have it.

use crate::cluster::{CorruptNodesConf, Durable};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A node's file, locked for as long as this lives.
#[derive(Debug)]
pub struct NodesConf {
    path: PathBuf,
    lock: File,
    /// What a loss of power leaves.
    synced: Option<Durable>,
    /// What is in `nodes.conf.next`.
    pending: Option<(File, Durable)>,
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
        let mut conf = Self { path, lock, synced: None, pending: None };
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
        let next = self.next();
        let text = match std::fs::read(&next) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // The variables are the last line that is written.
        let whole = text.lines().last().is_some_and(|line| line.starts_with("vars "));
        match Durable::parse(&text) {
            Ok(durable) if whole && text.ends_with('\n') => {
                self.pending = Some((File::open(&next)?, durable.clone()));
                self.sync()?;
                Ok(Some(durable))
            }
            _ => {
                tracing::warn!(path = %next.display(), "the power went while this was written: not used");
                std::fs::remove_file(&next)?;
                Ok(None)
            }
        }
    }

    fn next(&self) -> PathBuf {
        self.path.with_added_extension("next")
    }

    /// Replaces the file's content. When this returns, a kill does not undo it, nor a crash of the machine
    /// if it makes a promise; else that is so after the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// The content before is still there.
    pub fn save(&mut self, durable: &Durable) -> io::Result<()> {
        let beside = self.path.with_added_extension("tmp");
        let saved = self.write(&beside, durable);
        if saved.is_err() {
            // What could not be written must not stay behind and fill the disk further.
            let _ = std::fs::remove_file(&beside);
        }
        saved
    }

    fn write(&mut self, beside: &Path, durable: &Durable) -> io::Result<()> {
        let promises = self.synced.as_ref().is_none_or(|saved| durable.promises_more_than(saved));
        let mut file = File::create(beside)?;
        file.write_all(durable.to_text().as_bytes())?;
        if promises {
            file.sync_all()?;
            if self.pending.is_none() {
                return self.adopt(beside, file, durable.clone());
            }
        }
        // In the place of an older one, which must not be taken for the newer after a kill.
        std::fs::rename(beside, self.next())?;
        self.pending = Some((file, durable.clone()));
        if promises { self.sync() } else { Ok(()) }
    }

    /// Makes what was saved last survive a crash of the machine.
    ///
    /// # Errors
    /// It may not.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some((file, durable)) = self.pending.take() else { return Ok(()) };
        file.sync_all()?;
        self.adopt(&self.next(), file, durable)
    }

    /// Gives a file that is on disk the proper name.
    fn adopt(&mut self, from: &Path, file: File, durable: Durable) -> io::Result<()> {
        file.try_lock()?;
        std::fs::rename(from, &self.path)?;
        self.lock = file;
        self.synced = Some(durable);
        super::new_file::sync_folder_of(&self.path)
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "1111111111111111111111111111111111111111 :7000@17000 myself,master - 0 0 0 \
                        connected\nvars currentEpoch 3 lastVoteEpoch 0\n";

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
        conf.save(&durable).expect("another save");
        drop(conf);
        let (_conf, saved) = NodesConf::open(&path).expect("the file that was saved");
        assert_eq!(saved, Some(durable));
        let files = std::fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    #[test]
    fn what_promises_nothing_survives_a_kill_at_once_and_a_loss_of_power_soon() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        let next = path.with_added_extension("next");
        let (mut conf, _) = NodesConf::open(&path).expect("a new file");
        let first = Durable::parse(TEXT).expect("a good text");
        conf.save(&first).expect("a save");
        let on_disk = || std::fs::read_to_string(&path).expect("the file");
        assert_eq!(on_disk(), TEXT, "the first is a promise");

        let other = "2222222222222222222222222222222222222222 10.0.0.2:7000@17000 master - 0 0 3 connected 5";
        let text = format!("{other}\n{TEXT}");
        let second = Durable::parse(&text).expect("a good text");
        conf.save(&second).expect("a save");
        assert_eq!(on_disk(), TEXT);
        drop(conf);
        let (mut conf, saved) = NodesConf::open(&path).expect("after a kill");
        assert_eq!(saved.as_ref(), Some(&second));
        assert_eq!(Durable::parse(&on_disk()).as_ref(), Ok(&second));
        assert!(!next.exists());

        conf.save(&first).expect("a save");
        conf.sync().expect("a sync");
        assert_eq!(on_disk(), TEXT);
        for (place, newer) in [
            ("an epoch", TEXT.replace("currentEpoch 3", "currentEpoch 4")),
            ("a vote", TEXT.replace("lastVoteEpoch 0", "lastVoteEpoch 3")),
            ("a slot", TEXT.replace(" connected\n", " connected 7\n")),
        ] {
            conf.save(&Durable::parse(&newer).expect("a good text")).expect("a save");
            assert_eq!(on_disk(), newer, "{place} is a promise");
            conf.save(&first).expect("a save");
            conf.sync().expect("a sync");
        }

        // The power went: the file has its name and not its content.
        drop(conf);
        for cut in ["", &text[..text.len() - 40], "\0\0\0\0"] {
            std::fs::write(&next, cut).expect("a file");
            let (_conf, saved) = NodesConf::open(&path).expect("the older one is whole");
            assert_eq!(saved.as_ref(), Some(&first), "{cut:?}");
            assert!(!next.exists());
        }
    }

    #[test]
    fn a_save_that_fails_leaves_the_content_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.conf");
        let (mut conf, _) = NodesConf::open(&path).expect("a new file");
        let durable = Durable::parse(TEXT).expect("a good text");
        conf.save(&durable).expect("a save");
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
