//! What the node asks of the process it runs in. A simulation has a host of its own.

use crate::bus::IpRange;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The process around a node: its clock for measuring, its figures, its configuration file.
pub trait Host {
    /// Time since some fixed moment: to measure how long a command takes. Read once per command.
    fn elapsed(&self) -> Duration;

    /// Bytes that the program has allocated and not freed: asked often, so it must cost little.
    fn allocated_bytes(&self) -> u64;

    /// What the operating system says of the process.
    fn figures(&self) -> ProcessFigures;

    /// The networks that this machine is in.
    fn local_subnets(&self) -> Vec<IpRange>;

    /// Stops the whole node for a while: what `DEBUG SLEEP` is for.
    fn sleep(&self, time: Duration);

    /// Listens for clients where these parameters (`bind`, `port`, `tcp-backlog`) say, and no longer
    /// where it did before.
    ///
    /// # Errors
    /// It cannot, or this host has no sockets; it listens where it did before.
    fn listen(&self, addresses: &str, port: u16, backlog: &str) -> io::Result<()> {
        let _ = (addresses, port, backlog);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends the connection to the primary here and now, for the other side to see.
    fn hang_up_on_primary(&self) {}

    /// Makes a folder the one that files without a path are in; its full path.
    ///
    /// # Errors
    /// It is not there, or is no folder, or this host has none.
    fn change_directory(&self, path: &Path) -> io::Result<PathBuf> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The text of the configuration file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read_config(&self, path: &Path) -> io::Result<String>;

    /// Puts a new configuration file in place of the old one, all or nothing.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    fn replace_config(&self, path: &Path, text: &str) -> io::Result<()>;

    /// Puts a new file in place of an old one, all or nothing, and returns when a crash of the
    /// machine does not undo it. `next` adds bytes to a buffer, and says when these are the last.
    ///
    /// # Errors
    /// It cannot be written, or this host has no files; the old one is still there.
    fn replace_file(
        &self,
        path: &Path,
        next: &mut dyn FnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<()> {
        let _ = (path, next);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads a file in pieces, until its end or until `take` says no.
    ///
    /// # Errors
    /// It cannot be read, or this host has no files.
    fn read_file(&self, path: &Path, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        let _ = (path, take);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What INFO says of the process.
#[derive(Clone, Debug, Default)]
pub struct ProcessFigures {
    /// Its process id.
    pub pid: u32,
    /// The program's file.
    pub executable: String,
    /// Operating system, its release, and the machine: `Linux 6.1.0 x86_64`.
    pub os: String,
    /// Bytes that the program has allocated and not freed.
    pub allocated_bytes: u64,
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Bytes of memory of the whole machine.
    pub machine_bytes: u64,
    /// Time spent in the kernel.
    pub cpu_system: Duration,
    /// Time spent outside of it.
    pub cpu_user: Duration,
    /// The same two of ended child processes.
    pub cpu_system_children: Duration,
    /// See [`ProcessFigures::cpu_system_children`].
    pub cpu_user_children: Duration,
    /// The same two of the thread that asks: the one that runs commands.
    pub cpu_system_thread: Duration,
    /// See [`ProcessFigures::cpu_system_thread`].
    pub cpu_user_thread: Duration,
}
