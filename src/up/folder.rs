//! The folder of a bundled cluster: who may use it, and what it holds from last time.
//!
//! ```text
//! keyway-data/
//!   lock            held while an `up` runs here
//!   cluster         written when the cluster has been formed: how many primaries and replicas it has
//!   node-1/         nodes.conf (who the node is, and who its peers are), node.log
//!   node-2/ …
//! ```
//! A folder without `cluster` was left in the middle of forming: what its nodes know of each
//! other is worth nothing, and is taken away before they start.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// What a node keeps its identity in.
pub(super) const NODES_CONF: &str = "nodes.conf";
/// What a node logs to.
pub(super) const NODE_LOG: &str = "node.log";
const LOCK: &str = "lock";
const CLUSTER: &str = "cluster";

/// How large a bundled cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) primaries: u16,
    /// Of each primary.
    pub(super) replicas: u16,
}

impl Size {
    /// How many nodes that makes.
    pub(super) fn nodes(self) -> usize {
        usize::from(self.primaries) * (1 + usize::from(self.replicas))
    }

    /// What the file `cluster` holds.
    fn to_text(self) -> String {
        format!("primaries {}\nreplicas {}\n", self.primaries, self.replicas)
    }

    /// Reads it; a file without replicas is of a cluster that has none.
    fn parse(text: &str) -> Option<Self> {
        let number = |word: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
            rest.map(|number| number.parse().ok())
        };
        Some(Self {
            primaries: number("primaries")??,
            replicas: number("replicas").unwrap_or(Some(0))?,
        })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} primaries with {} replicas each", self.primaries, self.replicas)
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("another `keyway up` runs in {}; --dir takes another folder", .0.display())]
    InUse(PathBuf),
    #[error(
        "{} holds a cluster of {found}, and one of {wanted} is asked for: use --primaries {} \
         --replicas {}, another folder (--dir), or remove that folder to begin anew",
        path.display(), found.primaries, found.replicas
    )]
    OtherCluster { path: PathBuf, found: Size, wanted: Size },
    #[error(
        "{}: expected lines `primaries N` and `replicas N`; remove the folder to begin anew", .0.display()
    )]
    Unreadable(PathBuf),
    #[error("cannot use {}: {source}; --dir takes another folder", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A folder that is ours as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Whether the cluster in it has been formed before.
    pub(super) formed: bool,
    /// Unlocked by the system when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and keeps everybody else out.
    ///
    /// # Errors
    /// Another `up` in it, a cluster of another size, or a file system that refuses.
    pub(super) fn open(path: &Path, size: Size) -> Result<Self, FolderError> {
        let io_error = |at: &Path, source| FolderError::Io { path: at.to_owned(), source };
        fs::create_dir_all(path).map_err(|error| io_error(path, error))?;
        // Nodes are told where their folders are, and must not depend on where we stand.
        let path = path.canonicalize().map_err(|error| io_error(path, error))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(|error| io_error(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(path)),
            Err(TryLockError::Error(error)) => return Err(io_error(&lock_path, error)),
        }
        let formed = match Self::read_size(&path.join(CLUSTER))? {
            Some(found) if found != size => {
                return Err(FolderError::OtherCluster { path, found, wanted: size });
            }
            found => found.is_some(),
        };
        let folder = Self { path, formed, _lock: lock };
        for number in 1..=size.nodes() {
            folder.prepare_node(number)?;
        }
        Ok(folder)
    }

    fn read_size(path: &Path) -> Result<Option<Size>, FolderError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FolderError::Io { path: path.to_owned(), source }),
        };
        Size::parse(&text).map(Some).ok_or_else(|| FolderError::Unreadable(path.to_owned()))
    }

    fn prepare_node(&self, number: usize) -> Result<(), FolderError> {
        let path = self.node(number);
        let io_error = |source| FolderError::Io { path: path.clone(), source };
        fs::create_dir_all(&path).map_err(io_error)?;
        if !self.formed {
            match fs::remove_file(path.join(NODES_CONF)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes that the cluster has been formed, so that the next start finds it.
    ///
    /// # Errors
    /// A file system that refuses.
    pub(super) fn set_formed(&mut self, size: Size) -> Result<(), FolderError> {
        let path = self.path.join(CLUSTER);
        fs::write(&path, size.to_text()).map_err(|source| FolderError::Io { path, source })?;
        self.formed = true;
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of node `number`, counted from 1.
    pub(super) fn node(&self, number: usize) -> PathBuf {
        self.path.join(format!("node-{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Size = Size { primaries: 1, replicas: 0 };
    const THREE: Size = Size { primaries: 3, replicas: 1 };

    #[test]
    fn a_folder_belongs_to_one_up_at_a_time() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let first = Folder::open(place.path(), THREE).expect("it is free");
        let error = Folder::open(place.path(), THREE).expect_err("it is taken").to_string();
        assert!(error.contains("another `keyway up` runs in"), "{error}");
        drop(first);
        Folder::open(place.path(), THREE).expect("it is free again");
    }

    #[test]
    fn identities_are_kept_once_the_cluster_has_been_formed() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let conf = place.path().join("node-1").join(NODES_CONF);
        let mut folder = Folder::open(place.path(), ONE).expect("it is free");
        fs::write(&conf, "half of a cluster").expect("it is writable");
        drop(folder);

        folder = Folder::open(place.path(), ONE).expect("it is free");
        assert!(!folder.formed && !conf.exists(), "what was never formed is taken away");
        fs::write(&conf, "an identity").expect("it is writable");
        folder.set_formed(ONE).expect("it is writable");
        drop(folder);

        let folder = Folder::open(place.path(), ONE).expect("it is free");
        assert!(folder.formed && conf.exists(), "what was formed is kept");
    }

    #[test]
    fn a_cluster_of_another_size_is_not_touched() {
        let place = tempfile::tempdir().expect("a temporary folder");
        Folder::open(place.path(), THREE)
            .expect("it is free")
            .set_formed(THREE)
            .expect("it is writable");
        let error = Folder::open(place.path(), ONE).expect_err("it is of six").to_string();
        assert!(error.contains("3 primaries with 1 replicas each"), "{error}");
        assert!(error.contains("use --primaries 3 --replicas 1"), "{error}");
        let text = "primaries 4\n";
        assert_eq!(Size::parse(text), Some(Size { primaries: 4, replicas: 0 }), "an older folder");
        assert_eq!(Size::parse(&THREE.to_text()), Some(THREE));
        assert_eq!(Size::parse("replicas 1\n"), None);
    }
}
