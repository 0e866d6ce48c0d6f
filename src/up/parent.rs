//! A node that does not outlive the `up` that started it, however that ends.
//!
//! The kernel is asked to kill the node when its parent dies, so not even `kill -9` of the parent
//! leaves one behind. The parent may die before the kernel has been asked: so the node looks
//! afterwards whether its parent is still the one that started it.

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::ffi::OsStr;

/// What `up` tells a node its own process id in.
pub(super) const PARENT_VARIABLE: &str = "KEYWAY_PARENT_PID";

/// The parent that a node was told of is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process that started this node has ended")]
pub struct ParentGone;

/// What a parent puts into [`PARENT_VARIABLE`].
pub(super) fn own_pid() -> String {
    getpid().as_raw_nonzero().to_string()
}

/// Ends this process with the one that started it, if that is an `up`. To be called first.
///
/// # Errors
/// When the parent has ended already.
pub fn end_with_parent() -> Result<(), ParentGone> {
    match std::env::var_os(PARENT_VARIABLE) {
        None => Ok(()),
        Some(pid) => end_with(&pid),
    }
}

fn end_with(pid: &OsStr) -> Result<(), ParentGone> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|_| ParentGone)?;
    let parent = pid.to_str().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    if parent.is_some() && getppid() == parent { Ok(()) } else { Err(ParentGone) }
}
