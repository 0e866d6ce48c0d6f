//! A child process that cannot outlive us.

use super::wait::eventually;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

/// What /proc counts processor time in: always 100 on Linux.
const CLOCK_TICKS_PER_SECOND: u64 = 100;

/// A running program. Dropping it kills it, and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// The thread that starts all children. The kernel's death signal is tied to the *thread* that
/// started the child, and a test's own thread ends before servers that tests share.
static STARTER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();

fn starter() -> &'static Mutex<mpsc::Sender<Job>> {
    STARTER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("starter".into())
            .spawn(move || {
                for (mut command, answer) in queue {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread starts");
        Mutex::new(jobs)
    })
}

impl Process {
    /// Starts `command`. It is killed by the kernel when this process dies, however it dies.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let us = rustix::process::getpid();
        // SAFETY: between fork and exec only these system calls are made; they allocate nothing
        // and take no lock.
        #[allow(unsafe_code, reason = "the death signal must be set in the child itself")]
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // We may have died before the line above took effect.
                if rustix::process::getppid() == Some(us) {
                    Ok(())
                } else {
                    Err(io::Error::from(io::ErrorKind::BrokenPipe))
                }
            });
        }
        let (answer, child) = mpsc::channel();
        starter()
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .send((command, answer))
            .expect("the starter lives as long as the process");
        let child = child.recv().expect("the starter answers")?;
        Ok(Self { child })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it writes, if that was piped; once.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Whether it still runs (or is stopped).
    pub(crate) fn is_alive(&mut self) -> bool {
        self.exited().is_none()
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.is_alive() {
            kill_process(Pid::from_child(&self.child), signal).expect("our child can be signalled");
        }
    }

    /// SIGTERM, and how it ended; `None` when it did not end within the time.
    pub(crate) fn terminate(&mut self, within: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        eventually(within, || self.exited())
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Resident memory of its own, in bytes: without the pages of its program, which come and go as it is
    /// run and as the machine needs room.
    pub(crate) fn rss(&self) -> u64 {
        self.status_kib("RssAnon:") * 1024
    }

    /// The largest resident memory of its own so far, in bytes.
    pub(crate) fn peak_rss(&self) -> u64 {
        self.status_kib("VmHWM:").saturating_sub(self.status_kib("RssFile:")) * 1024
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Processor time used so far, user and system.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .expect("the process runs");
        // The name, in parentheses, may hold spaces: count from behind it. utime is field 14.
        let after = stat.rsplit_once(") ").expect("a name in parentheses").1;
        let fields: Vec<&str> = after.split(' ').collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        Duration::from_millis(ticks * 1000 / CLOCK_TICKS_PER_SECOND)
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process runs");
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or_else(|| panic!("no {field} in /proc/{}/status", self.pid()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
