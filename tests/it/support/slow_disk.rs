//! A disk that takes its time: a small library that is preloaded into our servers, and a file that says
//! how long each `fsync` lasts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// The library, built once.
static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

/// The disk of all servers that are started on it.
#[derive(Debug)]
pub(crate) struct SlowDisk {
    folder: TempDir,
}

impl SlowDisk {
    /// One that is as fast as the machine's, for now.
    pub(crate) fn new() -> Self {
        let disk = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        disk.set(Duration::ZERO);
        disk
    }

    /// From here on each sync takes so much longer, those that are under way included.
    pub(crate) fn set(&self, sync: Duration) {
        // Whoever reads it meanwhile finds the old text or the new one.
        let beside = self.folder.path().join("next");
        fs::write(&beside, sync.as_millis().to_string()).expect("our own folder can be written");
        fs::rename(beside, self.control()).expect("our own folder can be written");
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("millis")
    }

    /// What a process on this disk is started with.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let library = LIBRARY.get_or_init(build).clone();
        [("LD_PRELOAD", library), ("SLOW_DISK", self.control())]
    }
}

fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/slow_disk.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("slow_disk.so");
    // Another run of the tests may build it at the same time.
    let beside = library.with_extension(format!("{}.so", std::process::id()));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&beside)
        .arg(source)
        .status()
        .expect("cc is there: it links what cargo builds");
    assert!(built.success(), "cc builds the slow disk");
    fs::rename(&beside, &library).expect("our own folder can be written");
    library
}
