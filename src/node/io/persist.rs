//! nodes.conf on disk: the old content or the new, never half of one, and one node per file.
//!
//! A save writes a file beside it, syncs it, renames it, and syncs the folder. A lock (`flock`, as
//! Redis takes it) belongs to a file, not to its name, so each new file is locked before it gets
//! the name: there is no moment at which a second node could have it.

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
        let conf = Self { path: path.to_owned(), lock };
        let text = String::from_utf8_lossy(&text);
        if text.trim().is_empty() {
            return Ok((conf, None));
        }
        Ok((conf, Some(Durable::parse(&text)?)))
    }

    /// Replaces the file's content. When this returns, a crash of the machine does not undo it.
    ///
    /// # Errors
    /// The content before is still there.
    pub fn save(&mut self, durable: &Durable) -> io::Result<()> {
        let beside = self.path.with_added_extension("tmp");
        let mut file = File::create(&beside)?;
        let written = file
            .write_all(durable.to_text().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| file.try_lock().map_err(io::Error::from))
            .and_then(|()| std::fs::rename(&beside, &self.path));
        if let Err(error) = written {
            // What could not be written must not stay behind and fill the disk further.
            let _ = std::fs::remove_file(&beside);
            return Err(error);
        }
        self.lock = file;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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
