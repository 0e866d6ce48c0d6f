//! A snapshot on its way, on disk: in the node's directory, and gone when it is not needed.

use crate::clock::Now;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// The file.
pub(super) struct Spool {
    pub(super) file: File,
    path: PathBuf,
}

thread_local! {
    /// Tells the files of one process apart.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

impl Spool {
    /// An empty file of its own.
    pub(super) fn create() -> io::Result<Self> {
        let number = NUMBER.replace(NUMBER.get() + 1);
        let seconds = Now::read().unix_ms / 1000;
        let name = format!("temp-{seconds}.{}.{number}.rdb", std::process::id());
        let path = PathBuf::from(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Self { file, path })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a spooled snapshot");
        }
    }
}
