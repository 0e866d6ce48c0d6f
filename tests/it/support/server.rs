//! A server as a child process: a stock one, a node of ours, the proxy, or the bundled cluster.

use super::client::Client;
use super::folder::temporary_folder;
use super::ports::{free_port, free_ports};
use super::process::Process;
use super::slow_disk::SlowDisk;
use super::stock;
use super::wait::eventually;
use keyway::resp::Reply;
use rustix::process::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to answer its first PING; the machine may be busy.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How often a start is tried when the port was taken meanwhile.
const STARTS_MAX: usize = 10;

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
    /// `keyway node`.
    Keyway,
    /// `keyway proxy`.
    Proxy,
    /// `keyway up`.
    Up,
}

impl Kind {
    /// Its binary; `None` (after saying so) when this machine has none.
    fn binary(self) -> Option<PathBuf> {
        match self {
            Self::Redis => stock::redis().cloned(),
            Self::Valkey => stock::valkey().cloned(),
            Self::Keyway | Self::Proxy | Self::Up => Some(env!("CARGO_BIN_EXE_keyway").into()),
        }
    }

    fn is_node(self) -> bool {
        matches!(self, Self::Redis | Self::Valkey | Self::Keyway)
    }
}

/// A running server that answers. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    process: Process,
    port: u16,
    http_port: u16,
    command: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    folder: TempDir,
}

impl Server {
    /// A `redis-server` with these directives (`--name value …`); `None` where there is none.
    pub(crate) fn redis(directives: &[&str]) -> Option<Self> {
        Self::node(Kind::Redis, directives)
    }

    /// A `valkey-server` with these directives; `None` where there is none.
    pub(crate) fn valkey(directives: &[&str]) -> Option<Self> {
        Self::node(Kind::Valkey, directives)
    }

    /// A `keyway node` with these directives.
    pub(crate) fn keyway_node(directives: &[&str]) -> Self {
        Self::node(Kind::Keyway, directives).expect("our own binary is there")
    }

    /// A `keyway node` with these directives, on a disk of its own.
    pub(crate) fn keyway_node_on(disk: &SlowDisk, directives: &[&str]) -> Self {
        Self::node_on(Some(disk), Kind::Keyway, directives).expect("our own binary is there")
    }

    /// A node of any kind: nothing is saved, the cluster bus is off unless asked for.
    pub(crate) fn node(kind: Kind, directives: &[&str]) -> Option<Self> {
        Self::node_on(None, kind, directives)
    }

    /// The same, on a disk of its own.
    pub(crate) fn node_on(
        disk: Option<&SlowDisk>,
        kind: Kind,
        directives: &[&str],
    ) -> Option<Self> {
        assert!(kind.is_node(), "{kind:?} is no node");
        let binary = kind.binary()?;
        Some(Self::start_on(disk, kind, &binary, 1, |port, folder| {
            let mut command: Vec<String> = Vec::new();
            if kind == Kind::Keyway {
                command.push("node".into());
            }
            for (name, value) in [
                ("--port", port.to_string()),
                ("--bind", "127.0.0.1".to_owned()),
                ("--dir", folder.display().to_string()),
                ("--save", String::new()),
                ("--appendonly", "no".to_owned()),
            ] {
                command.extend([name.to_owned(), value]);
            }
            command.extend(directives.iter().map(|&word| word.to_owned()));
            command
        }))
    }

    /// Starts `binary` on free ports until it answers, with what `command` makes of the port.
    fn start(
        kind: Kind,
        binary: &Path,
        ports: u16,
        command: impl Fn(u16, &Path) -> Vec<String>,
    ) -> Self {
        Self::start_on(None, kind, binary, ports, command)
    }

    fn start_on(
        disk: Option<&SlowDisk>,
        kind: Kind,
        binary: &Path,
        ports: u16,
        command: impl Fn(u16, &Path) -> Vec<String>,
    ) -> Self {
        let environment: Vec<_> = disk.into_iter().flat_map(SlowDisk::environment).collect();
        for _ in 0..STARTS_MAX {
            let folder = temporary_folder();
            let port = free_ports(ports);
            let http_port = free_port();
            let mut command = command(port, folder.path());
            if matches!(kind, Kind::Proxy | Kind::Up) {
                command.extend(["--http".to_owned(), format!("127.0.0.1:{http_port}")]);
            }
            let process = spawn(binary, &command, &environment, folder.path());
            let environment = environment.clone();
            let mut server = Self { kind, process, port, http_port, command, environment, folder };
            match server.await_answer() {
                Ok(()) => return server,
                Err(log) if is_taken_port(&log) => {}
                Err(log) => panic!("{kind:?} {:?} did not start:\n{log}", server.command),
            }
        }
        panic!("{kind:?} found no free port in {STARTS_MAX} starts");
    }

    /// Waits until this very process answers; its log when it does not.
    fn await_answer(&mut self) -> Result<(), String> {
        let answered = eventually(START_WITHIN, || {
            if !self.process.is_alive() {
                return Some(false);
            }
            let mut client = Client::try_connect(self.port).ok()?;
            client.set_timeout(Duration::from_secs(2));
            match client.try_call(&["PING"]).ok()? {
                Reply::Error(text) if text.starts_with(b"NOAUTH") => Some(true),
                // Another program may sit on this port while ours is about to find that out.
                Reply::Simple(_) if self.kind.is_node() => {
                    let info = client.try_call(&["INFO", "server"]).ok()?;
                    let pid = info_field(info.as_str()?, "process_id")?;
                    (pid == self.pid().to_string()).then_some(true)
                }
                Reply::Simple(_) => Some(true),
                _ => None,
            }
        });
        if answered == Some(true) && self.process.is_alive() { Ok(()) } else { Err(self.log()) }
    }

    /// Its port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of metrics and health, where it is a proxy or the bundled cluster.
    pub(crate) fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Which program it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its process: memory, processor time, whether it lives.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its working folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// A connection that speaks RESP3.
    pub(crate) fn client_resp3(&self) -> Client {
        Client::connect_resp3(self.port)
    }

    /// Everything that it wrote to its standard output and error.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One field of INFO.
    ///
    /// # Panics
    /// When there is none of that name.
    pub(crate) fn info(&self, field: &str) -> String {
        let text = self.client().text(&["INFO"]);
        info_field(&text, field).unwrap_or_else(|| panic!("no {field} in INFO")).to_owned()
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub(crate) fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// SIGKILL, and waits until it is gone. Its folder and port stay reserved.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and how it ended; `None` when it did not within the time.
    pub(crate) fn terminate(&mut self, within: Duration) -> Option<ExitStatus> {
        self.process.terminate(within)
    }

    /// Starts it again after its end, on the same port and in the same folder.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        let binary = self.kind.binary().expect("it was there before");
        self.process = spawn(&binary, &self.command, &self.environment, self.folder.path());
        if let Err(log) = self.await_answer() {
            panic!("{:?} on port {} did not start again:\n{log}", self.kind, self.port);
        }
    }

    /// Panics unless it still runs as the process it was, and answers a new connection.
    pub(crate) fn assert_well(&mut self, after: &str) {
        assert!(self.process.is_alive(), "{:?} died after {after}:\n{}", self.kind, self.log());
        let mut client = Client::try_connect(self.port).unwrap_or_else(|error| {
            panic!("{:?} takes no client after {after}: {error}", self.kind)
        });
        client.set_timeout(Duration::from_secs(10));
        match client.try_call(&["PING"]) {
            Ok(Reply::Simple(pong)) if pong == "PONG" => {}
            other => panic!("{:?} answered PING with {other:?} after {after}", self.kind),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- the end of the log of {:?} on port {}:", self.kind, self.port);
            for line in tail.iter().rev() {
                eprintln!("    {line}");
            }
        }
    }
}

/// The file in a server's folder that has its output.
const LOG: &str = "output.log";

fn spawn(
    binary: &Path,
    args: &[String],
    environment: &[(&'static str, PathBuf)],
    folder: &Path,
) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join(LOG))
        .expect("a log file in our own folder");
    let mut command = Command::new(binary);
    command
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    Process::start(command).unwrap_or_else(|error| panic!("start {}: {error}", binary.display()))
}

fn is_taken_port(log: &str) -> bool {
    let log = log.to_ascii_lowercase();
    log.contains("in use") || log.contains("failed listening on port")
}

/// The value of one `name:value` line of INFO.
fn info_field<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
}

/// What is ours beside a node: the proxy alone, and the whole bundle.
#[derive(Debug)]
pub(crate) struct Keyway;

impl Keyway {
    /// `keyway proxy SEED … --listen …` with these options, answering.
    pub(crate) fn proxy(seeds: &[String], options: &[&str]) -> Server {
        let binary = Kind::Proxy.binary().expect("our own binary is there");
        Server::start(Kind::Proxy, &binary, 1, |port, _| {
            let mut command = vec!["proxy".to_owned()];
            command.extend(seeds.iter().cloned());
            command.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
            command.extend(options.iter().map(|&word| word.to_owned()));
            command
        })
    }

    /// `keyway proxy` with a configuration file that holds `yaml`, answering.
    pub(crate) fn proxy_with(seeds: &[String], yaml: &str) -> Server {
        let binary = Kind::Proxy.binary().expect("our own binary is there");
        Server::start(Kind::Proxy, &binary, 1, |port, folder| {
            let file = folder.join("proxy.yaml");
            std::fs::write(&file, yaml).expect("our own folder can be written");
            let mut command = vec!["proxy".to_owned()];
            command.extend(["--config".to_owned(), file.display().to_string()]);
            command.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
            command.extend(seeds.iter().cloned());
            command
        })
    }

    /// `keyway up` with these options, answering. Its nodes listen from its port + 1 on.
    pub(crate) fn up(options: &[&str]) -> Server {
        let binary = Kind::Up.binary().expect("our own binary is there");
        Server::start(Kind::Up, &binary, 10, |port, folder| {
            let mut command = vec!["up".to_owned()];
            for (name, value) in [
                ("--port", port.to_string()),
                ("--base-port", (port + 1).to_string()),
                ("--dir", folder.join("data").display().to_string()),
            ] {
                command.extend([name.to_owned(), value]);
            }
            // Six processes per test would be many; whoever is about replicas says so.
            if !options.contains(&"--replicas") {
                command.extend(["--replicas".to_owned(), "0".to_owned()]);
            }
            command.extend(options.iter().map(|&word| word.to_owned()));
            command
        })
    }
}
