//! Where servers that tests start keep their files: in memory, if the machine has room there.
//!
//! A shared disk may let a sync wait for seconds. What that does to a node has tests of its own; all others
//! would only fail now and then.

use std::path::Path;
use tempfile::TempDir;

/// A file system in memory on every Linux.
const IN_MEMORY: &str = "/dev/shm";
/// Free bytes there that are room enough for all tests of a run.
const ENOUGH_BYTES: u64 = 4 << 30;

/// A folder that goes when it is dropped. `TMPDIR`, if set, says where.
///
/// # Panics
/// When it cannot be made.
pub(crate) fn temporary_folder() -> TempDir {
    let has_room = || {
        rustix::fs::statvfs(IN_MEMORY)
            .is_ok_and(|there| there.f_bavail.saturating_mul(there.f_frsize) >= ENOUGH_BYTES)
    };
    let folder = match std::env::var_os("TMPDIR") {
        None if has_room() => tempfile::tempdir_in(Path::new(IN_MEMORY)),
        _ => tempfile::tempdir(),
    };
    folder.expect("a temporary folder")
}
