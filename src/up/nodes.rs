//! A node as a child process: started, watched, started again when it dies, ended.

use super::folder::{Folder, NODE_LOG, NODES_CONF};
use super::heir::{self, Verdict};
use super::parent;
use crate::clock::{Backoff, Now};
use crate::cluster::Endpoint;
use crate::net::{Client, ClientOptions};
use crate::telemetry::Metrics;
use crate::telemetry::node_info::{NodeInfos, Snapshot};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::fs::OpenOptions;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How long a node that died stays down; longer and longer while it keeps dying.
const RESTART: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// A node that lived for so long has not died of its start.
const STARTED_WELL: Duration = Duration::from_secs(10);
/// How long a node may take to save what it knows and end, before it is made to.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long a node may be silent before the others replace it.
pub(super) const NODE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often nodes are asked for their figures.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// One node of the bundled cluster. Dropping it kills it.
#[derive(Debug)]
pub(super) struct NodeProcess {
    /// Counted from 1.
    pub(super) number: usize,
    /// Where it is reached from here.
    pub(super) endpoint: Endpoint,
    bind: IpAddr,
    folder: PathBuf,
    child: Child,
}

impl NodeProcess {
    /// Starts it. It answers a little later.
    ///
    /// # Errors
    /// A log that cannot be opened, or a process that cannot be started.
    pub(super) fn start(
        number: usize,
        endpoint: Endpoint,
        bind: IpAddr,
        folder: &Folder,
    ) -> Result<Self> {
        let folder = folder.node(number);
        let child = spawn(&endpoint, bind, &folder)?;
        Ok(Self { number, endpoint, bind, folder, child })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of its log, for when it did not start.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Where it logs to.
    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.join(NODE_LOG)
    }

    /// Starts it again whenever it dies, and ends it when `stop` is cancelled. `others` are all the
    /// other nodes of its cluster.
    pub(super) async fn keep(mut self, others: Vec<Endpoint>, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let since = Now::read().instant;
            tokio::select! {
                status = self.child.wait() => self.say(&format!("ended ({})", describe(status))),
                () = stop.cancelled() => return self.end().await,
            }
            let lived = Now::read().instant.duration_since(since);
            if lived >= STARTED_WELL {
                failures = 0;
            }
            let mut replaced = false;
            loop {
                let may_start = async {
                    tokio::time::sleep(RESTART.wait(failures)).await;
                    if !std::mem::replace(&mut replaced, true) {
                        self.await_heir(&others).await;
                    }
                };
                tokio::select! {
                    () = may_start => {}
                    () = stop.cancelled() => return,
                }
                failures += 1;
                match spawn(&self.endpoint, self.bind, &self.folder) {
                    Ok(child) => {
                        self.child = child;
                        self.say(&format!("was started again, with its data ({})", self.pid()));
                        break;
                    }
                    Err(error) => self.say(&format!("cannot be started again: {error:#}")),
                }
            }
        }
    }

    /// Waits until it may be started again: see [`heir`].
    async fn await_heir(&self, others: &[Endpoint]) {
        let died = Now::read().instant;
        let mut told = false;
        while heir::ask(&self.endpoint, others).await == Verdict::Wait {
            let waited = Now::read().instant.duration_since(died);
            if waited >= heir::REPLACED_WITHIN {
                self.say(&format!("was not replaced within {} s", waited.as_secs()));
                return;
            }
            if !std::mem::replace(&mut told, true) {
                self.say("is started again when its replica has taken its place");
            }
            tokio::time::sleep(heir::LOOK_EVERY).await;
        }
        if told {
            let waited = Now::read().instant.duration_since(died).as_secs_f32();
            self.say(&format!("has been replaced, {waited:.1} s after that"));
        }
    }

    /// Asks it to end, and makes it when it does not.
    async fn end(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // It may end by itself at this very moment.
            let _ = kill_process(pid, Signal::TERM);
            // Stopped processes do not hear it until they are continued.
            let _ = kill_process(pid, Signal::CONT);
        }
        if tokio::time::timeout(END_WITHIN, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            self.say(&format!("cannot be ended: {error}"));
        }
    }

    fn pid(&self) -> String {
        self.child.id().map_or_else(|| "ended".to_owned(), |pid| format!("pid {pid}"))
    }

    fn say(&self, what: &str) {
        super::say(format_args!("node {} ({}) {what}\n", self.number, self.endpoint));
    }
}

/// A line of the announcement.
impl fmt::Display for NodeProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.to_string();
        write!(f, "node {}   {endpoint:<22} {}", self.number, self.pid())
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => error.to_string(),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "nobody knows how".to_owned(),
        },
    }
}

fn spawn(endpoint: &Endpoint, bind: IpAddr, folder: &std::path::Path) -> Result<Child> {
    let log_path = folder.join(NODE_LOG);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    let errors = log.try_clone().context("cannot open the log twice")?;
    let program = std::env::current_exe().context("cannot find our own program")?;
    let mut command = Command::new(&program);
    command.arg("node");
    for (directive, value) in [
        ("--port", endpoint.port.to_string()),
        ("--bind", bind.to_string()),
        ("--cluster-enabled", "yes".to_owned()),
        ("--cluster-config-file", NODES_CONF.to_owned()),
        // All is on one machine, so silence means death sooner than over a network.
        ("--cluster-node-timeout", NODE_TIMEOUT.as_millis().to_string()),
        // A node that is killed comes back with all but the last second.
        ("--appendonly", "yes".to_owned()),
        ("--save", String::new()),
        // One node less is one part of the keys less, not an outage of all.
        ("--cluster-require-full-coverage", "no".to_owned()),
    ] {
        command.arg(directive).arg(value);
    }
    command
        .arg("--dir")
        .arg(folder)
        .env(parent::PARENT_VARIABLE, parent::own_pid())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Ctrl-C in a terminal goes to a whole group: nodes are ended by us, after the drain.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Asks every node for its figures again and again, and shows them in `metrics`.
pub(super) fn watch(nodes: &[NodeProcess], metrics: &Metrics) -> tokio::task::JoinHandle<()> {
    let endpoints: Vec<Endpoint> = nodes.iter().map(|node| node.endpoint.clone()).collect();
    let infos = Arc::new(NodeInfos::new(endpoints.iter().map(ToString::to_string).collect()));
    metrics.register(infos.clone());
    tokio::spawn(async move {
        let mut clients: Vec<Option<Client>> = endpoints.iter().map(|_| None).collect();
        loop {
            for (index, endpoint) in endpoints.iter().enumerate() {
                infos.set(index, ask(endpoint, &mut clients[index]).await);
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    })
}

/// One node's figures; `None`, and no client, when it does not answer.
async fn ask(endpoint: &Endpoint, client: &mut Option<Client>) -> Option<Snapshot> {
    const OPTIONS: ClientOptions = ClientOptions {
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        credentials: crate::net::Credentials { user: None, password: None },
    };
    let mut asked = match client.take() {
        Some(client) => client,
        None => Client::connect(&endpoint.host, endpoint.port, &OPTIONS).await.ok()?,
    };
    let requests: [&[&str]; 3] = [&["INFO"], &["INFO", "commandstats"], &["CLUSTER", "INFO"]];
    let mut texts = Vec::new();
    for request in requests {
        texts.push(asked.call(request).await.ok()?.as_str()?.to_owned());
    }
    *client = Some(asked);
    Some(Snapshot::parse(&texts.join("\n")))
}
