//! The process around a node, as the node asks for it.

use super::listen::Listening;
use super::new_file::NewFile;
use crate::bus::IpRange;
use crate::node::{Host, ProcessFigures};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// This process.
pub(super) struct Process {
    started: Instant,
    os: String,
    executable: String,
    sockets: Rc<Sockets>,
}

/// The sockets of a node that its core may have closed, or put others in their place, in the middle
/// of a turn.
#[derive(Default)]
pub(super) struct Sockets {
    /// Where clients connect.
    pub(super) listening: Rc<Listening>,
    /// The connection to the primary.
    pub(super) upstream: RefCell<Option<OwnedFd>>,
}

impl Process {
    #[allow(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub(super) fn new(sockets: Rc<Sockets>) -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let parts = [text(uname.sysname()), text(uname.release()), text(uname.machine())];
        let executable = std::env::current_exe().unwrap_or_default();
        Self {
            started: Instant::now(),
            os: parts.join(" "),
            executable: executable.display().to_string(),
            sockets,
        }
    }
}

impl Host for Process {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn allocated_bytes(&self) -> u64 {
        crate::alloc::allocated_bytes()
    }

    fn figures(&self) -> ProcessFigures {
        let process = CpuTimes::read("/proc/self/stat");
        let thread = CpuTimes::read("/proc/thread-self/stat");
        ProcessFigures {
            pid: std::process::id(),
            executable: self.executable.clone(),
            os: self.os.clone(),
            allocated_bytes: crate::alloc::allocated_bytes(),
            resident_bytes: resident_bytes().unwrap_or(0),
            machine_bytes: machine_bytes(),
            cpu_system: process.system,
            cpu_user: process.user,
            cpu_system_children: process.system_children,
            cpu_user_children: process.user_children,
            cpu_system_thread: thread.system,
            cpu_user_thread: thread.user,
        }
    }

    fn local_subnets(&self) -> Vec<IpRange> {
        super::subnets::local_subnets()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn listen(&self, addresses: &str, port: u16, backlog: &str) -> io::Result<()> {
        self.sockets.listening.open(addresses, port, backlog)
    }

    fn hang_up_on_primary(&self) {
        if let Some(socket) = self.sockets.upstream.take()
            && let Err(error) = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both)
        {
            tracing::debug!(%error, "the link to the primary had ended");
        }
    }

    fn change_directory(&self, path: &Path) -> io::Result<PathBuf> {
        std::env::set_current_dir(path)?;
        std::env::current_dir()
    }

    fn read_config(&self, path: &Path) -> io::Result<String> {
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            outcome => outcome,
        }
    }

    fn replace_config(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.tmp", std::process::id()));
        let beside = Path::new(&beside);
        let replace = || {
            let mut file = std::fs::File::create(beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(beside, path)
        };
        replace().inspect_err(|_| {
            // Half of a file must not stay behind and fill the disk further.
            let _ = std::fs::remove_file(beside);
        })
    }

    fn replace_file(
        &self,
        path: &Path,
        next: &mut dyn FnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<()> {
        let mut file = NewFile::create(path)?;
        let mut bytes = Vec::new();
        loop {
            let last = next(&mut bytes);
            file.write(&bytes)?;
            bytes.clear();
            if last {
                return file.keep();
            }
        }
    }

    fn read_file(&self, path: &Path, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut file = std::fs::File::open(path)?;
        let mut bytes = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut bytes)?;
            if count == 0 || !take(&bytes[..count]) {
                return Ok(());
            }
        }
    }
}

/// Bytes of this process that are resident.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the width depends on the machine")]
    let bytes = u64::from(info.totalram) * u64::from(info.mem_unit);
    bytes
}

/// Processor time, in the steps in which the kernel counts it.
#[derive(Default)]
struct CpuTimes {
    user: Duration,
    system: Duration,
    /// Of ended child processes.
    user_children: Duration,
    system_children: Duration,
}

impl CpuTimes {
    /// From a process's or a thread's `stat`; nothing if it cannot be read.
    fn read(path: &str) -> Self {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let Ok(text) = std::fs::read_to_string(path) else { return Self::default() };
        // The name, in parentheses, may hold anything; the fields begin after it, at number 3.
        let Some((_, fields)) = text.rsplit_once(") ") else { return Self::default() };
        let time = |number: usize| {
            let ticks_used: u64 = fields.split(' ').nth(number - 3)?.parse().ok()?;
            Some(Duration::from_millis(ticks_used * 1000 / ticks))
        };
        let time = |number| time(number).unwrap_or_default();
        Self {
            user: time(14),
            system: time(15),
            user_children: time(16),
            system_children: time(17),
        }
    }
}

/// Random bits to draw a node's name from.
pub(super) fn seed_bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Random bits for what must differ from node to node.
pub(super) fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
