//! A file that replaces another: written beside it, synced, renamed. A crash leaves the old one or
//! the new one, and never half of either.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes after which what was written is given to the disk, so that the end does not have to wait
/// for all of it at once.
const SYNC_EVERY: usize = 4 * 1024 * 1024;

/// See above. Dropped before [`NewFile::keep`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    beside: PathBuf,
    file: File,
    unsynced: usize,
    kept: bool,
}

impl NewFile {
    /// Begins to write what shall become the file of this name.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        // The name that Redis gives it: whoever cleans up after a crash knows it.
        let beside = path.with_file_name(format!("temp-{}.rdb", std::process::id()));
        let file = File::create(&beside)?;
        Ok(Self { path: path.to_owned(), beside, file, unsynced: 0, kept: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len();
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Gives it its name. When this returns, a crash of the machine does not undo it.
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.path)?;
        self.kept = true;
        sync_folder_of(&self.path)
    }
}

/// What happened to the names in the folder of `path` survives a crash of the machine.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // What could not be written must not stay behind and fill the disk further.
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dump.rdb");
        std::fs::write(&path, "old").expect("a file");
        let mut file = NewFile::create(&path).expect("a new file");
        file.write(b"ne").expect("room");
        assert_eq!(std::fs::read(&path).expect("the file"), b"old");
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
        let mut file = NewFile::create(&path).expect("a new file");
        file.write(b"new").expect("room");
        file.keep().expect("a rename");
        assert_eq!(std::fs::read(&path).expect("the file"), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
