//! The note beside nodes.conf that a node runs, and what of its writes a restart would find. An orderly
//! end takes it away; a node that finds its own has ended otherwise, and may lack what came last.
//!
//! It is written and renamed first, which a kill cannot undo, and then given to the disk. What a loss of
//! power leaves of it before that promises nothing. All of it is for a thread that may wait.
//!
//! A kill loses nothing that was written to a file, a loss of power what was not synced: the kernel's name
//! for this boot of the machine tells the two apart.

use super::new_file::sync_folder_of;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where the kernel says which boot of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is on disk of what clients were told is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// The last snapshot.
    Snapshots,
    /// All of it, unless the machine stops.
    Written,
    /// All of it.
    Synced,
}

impl Keeps {
    const ALL: [(Self, &str); 3] =
        [(Self::Snapshots, "snapshots"), (Self::Written, "written"), (Self::Synced, "synced")];

    fn word(self) -> &'static str {
        let (_, word) =
            Self::ALL.into_iter().find(|(keeps, _)| *keeps == self).expect("all are there");
        word
    }
}

/// What is there of it.
#[derive(Debug)]
struct NoteFile {
    /// What it says, if it is of this boot of the machine.
    says: Option<Keeps>,
    /// It is gone for good.
    removed: bool,
}

/// See above.
#[derive(Debug)]
pub(super) struct RunningNote {
    path: PathBuf,
    boot: String,
    file: Mutex<NoteFile>,
    /// What the process before has left.
    found: Option<String>,
}

impl RunningNote {
    /// The note beside this nodes.conf.
    ///
    /// # Errors
    /// There is one that cannot be read.
    pub(super) fn beside(nodes_conf: &Path) -> io::Result<Self> {
        // None: nothing that was not synced can be believed to have lasted.
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Self::open(nodes_conf, boot)
    }

    fn open(nodes_conf: &Path, boot: String) -> io::Result<Self> {
        let mut name = std::path::absolute(nodes_conf)?.into_os_string();
        name.push(".running");
        let path = PathBuf::from(name);
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let says = found.as_deref().and_then(|text| {
            let (word, of) = text.trim().split_once(' ')?;
            let (keeps, _) = Keeps::ALL.into_iter().find(|(_, known)| *known == word)?;
            (of == boot).then_some(keeps)
        });
        let file = Mutex::new(NoteFile { says, removed: false });
        Ok(Self { path, boot, file, found })
    }

    /// What it says.
    pub(super) fn says(&self) -> Option<Keeps> {
        self.lock().says
    }

    fn lock(&self) -> MutexGuard<'_, NoteFile> {
        // What it says is told after what can panic.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a start that finds what is there believes more of its data than a node that keeps so much
    /// may promise.
    pub(super) fn promises_more_than(&self, keeps: Keeps) -> bool {
        let Some(found) = &self.found else { return true };
        let synced = found.starts_with(Keeps::Synced.word());
        match keeps {
            Keeps::Synced => false,
            Keeps::Written => synced,
            Keeps::Snapshots => synced || self.says() == Some(Keeps::Written),
        }
    }

    /// Whether what was loaded is all that the process before had told anybody. `logs`: it was loaded from
    /// an append-only file.
    pub(super) fn data_is_whole(&self, logs: bool) -> bool {
        let Some(found) = &self.found else { return true };
        let (kept, boot) = found.trim().split_once(' ').unwrap_or((found.trim(), ""));
        let same_boot = !boot.is_empty() && boot == self.boot;
        logs && (kept == Keeps::Synced.word() || kept == Keeps::Written.word() && same_boot)
    }

    /// The node runs, and keeps so much. Waits for the disk. What cannot be noted is said, and to be tried
    /// again.
    pub(super) fn set(&self, keeps: Keeps) {
        let mut file = self.lock();
        if file.removed {
            return;
        }
        match self.write(keeps) {
            Ok(()) => file.says = Some(keeps),
            Err(error) => tracing::error!(
                path = %self.path.display(),
                %error,
                "cannot note that this node runs: after a crash it may not let its replica take over"
            ),
        }
    }

    fn write(&self, keeps: Keeps) -> io::Result<()> {
        let beside = self.path.with_extension("running.tmp");
        let replace = || {
            let mut file = File::create(&beside)?;
            file.write_all(format!("{} {}\n", keeps.word(), self.boot).as_bytes())?;
            std::fs::rename(&beside, &self.path)?;
            Ok(file)
        };
        let file: io::Result<File> = replace();
        let file = file.inspect_err(|_| {
            // Half of a note must not stay behind and fill the disk further.
            let _ = std::fs::remove_file(&beside);
        })?;
        file.sync_all()?;
        sync_folder_of(&self.path)
    }

    /// The node ends, and everything is on disk. Waits for a note that is being written.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.lock().removed = true;
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_may_have_lost_depends_on_what_was_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = folder.path().join("nodes.conf");
        let note = |boot: &str| RunningNote::open(&conf, boot.to_owned()).expect("it reads");
        assert!(note("one").data_is_whole(false), "it has not run, or ended well");
        for (keeps, logs, after_a_kill, after_a_loss_of_power) in [
            (Keeps::Snapshots, false, false, false),
            (Keeps::Snapshots, true, false, false),
            (Keeps::Written, false, false, false),
            (Keeps::Written, true, true, false),
            (Keeps::Synced, true, true, true),
            (Keeps::Synced, false, false, false),
        ] {
            note("one").set(keeps);
            assert_eq!(note("one").data_is_whole(logs), after_a_kill, "{keeps:?}, {logs}");
            assert_eq!(note("two").data_is_whole(logs), after_a_loss_of_power, "{keeps:?}, {logs}");
        }
        note("").set(Keeps::Written);
        assert!(!note("").data_is_whole(true), "no boot is known");
        note("one").remove().expect("it goes");
        assert!(note("one").data_is_whole(false));
        note("one").remove().expect("there is none to go");
    }

    #[test]
    fn it_says_what_was_set_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = folder.path().join("nodes.conf");
        let note = RunningNote::open(&conf, "one".to_owned()).expect("it reads");
        for (keeps, whole) in
            [(Keeps::Written, true), (Keeps::Written, true), (Keeps::Snapshots, false)]
        {
            note.set(keeps);
            let found = RunningNote::open(&conf, "one".to_owned()).expect("it reads");
            assert_eq!(found.data_is_whole(true), whole);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
