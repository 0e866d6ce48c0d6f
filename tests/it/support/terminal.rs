//! A program on a terminal of its own: what it shows, and what is typed.

use super::process::Process;
use super::wait::eventually;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{self, LocalModes, Winsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a program may take to show what it is to show, or to end.
const WITHIN: Duration = Duration::from_secs(60);

/// A running program, and its terminal: 80 columns, as `xterm`.
#[derive(Debug)]
pub(crate) struct Terminal {
    process: Process,
    ours: File,
    /// Its side is kept open, so that its settings can be looked at after its end.
    theirs: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program with standard input, output and error on a terminal.
    pub(crate) fn start(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let ours = ours.expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let theirs = File::options().read(true).write(true).open(path).expect("its other side");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        termios::tcsetwinsize(&theirs, size).expect("its size can be set");
        let side = || theirs.try_clone().expect("a further handle");
        command.stdin(side()).stdout(side()).stderr(side()).env("TERM", "xterm");
        command.env_remove("NO_COLOR");
        let process = Process::start(command).expect("the program starts");
        let ours = File::from(ours);
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reader, shown) = (ours.try_clone().expect("a handle"), Arc::clone(&screen));
        // Ends with the terminal.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                shown.lock().expect("no reader panics").extend_from_slice(&bytes[..count]);
            }
        });
        Self { process, ours, theirs, screen }
    }

    /// Everything that was written to it so far.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no reader panics")).into_owned()
    }

    /// Waits until a text has been shown.
    pub(crate) fn await_text(&self, text: &str) {
        let shown = eventually(WITHIN, || self.screen().contains(text).then_some(()));
        assert!(shown.is_some(), "{text:?} is not shown:\n{}", self.screen());
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.ours.write_all(format!("{line}\n").as_bytes()).expect("it can be typed on");
    }

    /// Whether what is typed is shown.
    pub(crate) fn echoes(&self) -> bool {
        let modes = termios::tcgetattr(&self.theirs).expect("a terminal");
        modes.local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the program's end: its exit code, and what it has shown.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let status = eventually(WITHIN, || self.process.exited());
        let status = status.unwrap_or_else(|| panic!("it does not end:\n{}", self.screen()));
        // What it wrote last may still be on its way; a mark of ours comes behind it.
        const MARK: &str = "\u{1}the end\u{1}";
        self.theirs.write_all(MARK.as_bytes()).expect("it can be written to");
        self.await_text(MARK);
        (status.code(), self.screen().replace(MARK, ""))
    }
}
