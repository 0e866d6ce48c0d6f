//! What the whole node shares beside its data: settings, figures, watched keys, other sessions.

use super::append::AppendLog;
use super::blocking::Waiters;
use super::call::Handler;
use super::clients::Clients;
use super::directives::{Directives, Refusal};
use super::host::Host;
use super::latency_events::LatencyEvents;
use super::migrate::Migrations;
use super::monitor::Monitors;
use super::output::Output;
use super::persistence::Persistence;
use super::propagate::Propagation;
use super::pubsub::PubSub;
use super::renames::Renames;
use super::replication::{Replication, Synchronisations};
use super::scripts::Scripts;
use super::settings::Settings;
use super::slowlog::SlowLog;
use super::stats::{CallStats, Rates, Stats};
use super::watch::WatchTable;
use super::writes_wait::{Unsaved, WritesWait};
use crate::bus::Member;
use crate::clock::Now;
use crate::command;
use crate::resp::Limits;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The shared part of a node.
pub(super) struct Server {
    /// What the parameters hold.
    pub(super) directives: Directives,
    /// What that means.
    pub(super) settings: Settings,
    /// What a client that has authenticated may send.
    pub(super) limits: Limits,
    /// What commands are called.
    pub(super) renames: Renames,
    /// The file that CONFIG REWRITE writes.
    pub(super) config_file: Option<PathBuf>,
    /// The process around the node.
    pub(super) host: Box<dyn Host>,
    /// Who this node is while it runs: 40 hex digits.
    pub(super) run_id: Box<str>,
    /// Whom it follows, and who follows it.
    pub(super) replication: Replication,
    /// When it started.
    pub(super) started: Now,
    /// What INFO tells.
    pub(super) stats: Stats,
    /// Figures per second.
    pub(super) rates: Rates,
    /// What is counted per command, by [`crate::command::Spec::id`].
    pub(super) calls: Box<[CallStats]>,
    /// What the commands do, by the same number; none for those that the node does not run.
    pub(super) handlers: Box<[Option<Handler>]>,
    /// The commands that took long.
    pub(super) slowlog: SlowLog,
    /// What took longer than `latency-monitor-threshold`.
    pub(super) latency_events: LatencyEvents,
    /// The keys that anyone watches.
    pub(super) watched: WatchTable,
    /// Who is shown what runs.
    pub(super) monitors: Monitors,
    /// Who listens to what.
    pub(super) pubsub: PubSub,
    /// The keys that blocked clients wait for.
    pub(super) waiters: Waiters,
    /// Keys that are on their way to other servers.
    pub(super) migrations: Migrations,
    /// All clients but the one whose command is running.
    pub(super) clients: Clients,
    /// CLIENT PAUSE.
    pub(super) pause: Option<Pause>,
    /// Writes wait until then: a replica takes over.
    pub(super) failover_pause: Option<Instant>,
    /// What the writes of clients wait for the disk to have.
    pub(super) writes_wait: WritesWait,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub(super) active_expire: bool,
    /// More memory is used than `maxmemory` allows: commands that need more are refused.
    pub(super) over_memory: bool,
    /// The most memory seen so far, in bytes.
    pub(super) memory_peak: u64,
    /// The memory of the empty node, in bytes.
    pub(super) memory_at_start: u64,
    /// When an HTTP header was last logged.
    pub(super) attack_logged: Option<Instant>,
    /// The node's part in its cluster, if it is a node of one.
    pub(super) cluster: Option<Member>,
    /// What goes on to replicas and into the append-only file.
    pub(super) propagation: Propagation,
    /// Slots may have got another owner since the last tick.
    pub(super) slots_changed: bool,
    /// The append-only file.
    pub(super) log: AppendLog,
    /// The data on disk.
    pub(super) persistence: Persistence,
    /// The scripts that it knows.
    pub(super) scripts: Scripts,
    /// What the shell has to do.
    pub(super) outputs: VecDeque<Output>,
}

/// CLIENT PAUSE, while it lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    /// Until when.
    pub(super) until: Instant,
    /// Whether commands that only read may go on.
    pub(super) writes_only: bool,
}

impl Server {
    /// A server with these settings. `run_id` is 40 hex digits.
    pub(super) fn new(
        now: Now,
        directives: Directives,
        config_file: Option<PathBuf>,
        host: Box<dyn Host>,
        run_id: Box<str>,
        replication: Replication,
    ) -> Self {
        let settings = Settings::read(&directives);
        let memory_at_start = host.allocated_bytes();
        Self {
            limits: limits(&settings),
            directives,
            settings,
            renames: Renames::default(),
            config_file,
            host,
            run_id,
            replication,
            started: now,
            stats: Stats::default(),
            rates: Rates::default(),
            calls: (0..command::COUNT).map(|_| CallStats::default()).collect(),
            handlers: super::commands::handlers(),
            slowlog: SlowLog::default(),
            latency_events: LatencyEvents::default(),
            watched: WatchTable::default(),
            monitors: Monitors::default(),
            pubsub: PubSub::default(),
            waiters: Waiters::default(),
            migrations: Migrations::default(),
            clients: Clients::default(),
            pause: None,
            failover_pause: None,
            writes_wait: WritesWait::default(),
            active_expire: true,
            over_memory: false,
            memory_peak: 0,
            memory_at_start,
            attack_logged: None,
            cluster: None,
            log: AppendLog::default(),
            persistence: Persistence::new(now),
            propagation: Propagation::default(),
            slots_changed: false,
            scripts: Scripts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// CONFIG SET: all of these, or none.
    pub(super) fn configure<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Refusal> {
        let old = self.directives.clone();
        self.directives.set_all(pairs)?;
        let outcome = self.listen_anew(&old).and_then(|()| {
            self.enter_directory(&old).inspect_err(|_| {
                let new = std::mem::replace(&mut self.directives, old.clone());
                if let Err(refusal) = self.listen_anew(&new) {
                    tracing::error!(?refusal, "cannot listen where the node did before");
                }
            })
        });
        if let Err(refusal) = outcome {
            self.directives = old;
            return Err(refusal);
        }
        self.settings = Settings::read(&self.directives);
        self.limits = limits(&self.settings);
        self.slowlog.trim(self.settings.slowlog_entries_max);
        self.configure_bus();
        self.replication.resize_backlog(self.settings.replication.backlog_bytes);
        self.outputs.push_back(Output::Reconfigured);
        self.check_memory();
        Ok(())
    }

    /// Listens where `bind` and `port` say, if that has changed.
    fn listen_anew(&self, old: &Directives) -> Result<(), Refusal> {
        let new = &self.directives;
        let (bind, port) = (new.text("bind"), new.number("port"));
        let moves = port != old.number("port");
        if !moves && bind == old.text("bind") {
            return Ok(());
        }
        let refused = |name: &str, reason: &str| {
            Err(Refusal::Invalid { name: name.to_owned(), reason: reason.to_owned() })
        };
        if moves && self.cluster.is_some() {
            // The bus has its port by it, and others know the node by both.
            return refused("port", "can't be changed while cluster-enabled is yes");
        }
        let backlog = new.number("tcp-backlog").to_string();
        let port = u16::try_from(port).expect("ports are checked when they are set");
        match self.host.listen(bind, port, &backlog) {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "cannot listen there");
                match moves {
                    true => refused("port", "Unable to listen on this port. Check server logs."),
                    false => refused("bind", "Failed to bind to specified addresses."),
                }
            }
        }
    }

    /// Goes where `dir` says, if that has changed; `dir` is a full path from then on.
    fn enter_directory(&mut self, old: &Directives) -> Result<(), Refusal> {
        let wanted = self.directives.text("dir");
        if wanted == old.text("dir") {
            return Ok(());
        }
        let entered = self.host.change_directory(Path::new(wanted));
        let refused = |reason: String| Refusal::Invalid { name: "dir".to_owned(), reason };
        let entered = entered.map_err(|error| {
            let text = error.to_string();
            refused(text.split(" (os error").next().unwrap_or(&text).to_owned())
        })?;
        self.directives.load("dir", &[&entered.to_string_lossy()]).map_err(refused)
    }

    /// Looks whether `maxmemory` is passed. Nothing is evicted: writes are refused instead.
    #[inline]
    pub(super) fn check_memory(&mut self) {
        let max = self.settings.memory_max;
        self.over_memory = max > 0 && self.host.allocated_bytes() > max;
    }

    /// Remembers the most memory that was used; returns it.
    pub(super) fn note_memory(&mut self, used: u64) -> u64 {
        self.memory_peak = self.memory_peak.max(used);
        self.memory_peak
    }

    /// Counters back to zero (CONFIG RESETSTAT).
    pub(super) fn reset_stats(&mut self) {
        self.stats = Stats { dirty: self.stats.dirty, ..Stats::default() };
        self.rates = Rates::default();
        self.replication.synchronisations = Synchronisations::default();
        for calls in &mut self.calls {
            *calls = CallStats::default();
        }
    }

    /// The end of CLIENT PAUSE: those who wait are woken.
    pub(super) fn unpause(&mut self) {
        self.pause = None;
        self.wake_paused();
    }

    /// The end of a manual failover, good or bad: those who wait are woken.
    pub(super) fn end_failover_pause(&mut self) {
        self.failover_pause = None;
        self.wake_paused();
    }

    /// What writes wait for is on disk, or is not there to be waited for: those who wait are woken.
    pub(super) fn writes_need_not_wait(&mut self, what: Unsaved) {
        self.writes_wait.set(what, false);
        self.wake_paused();
        if what == Unsaved::Log {
            // What a primary sends goes to that file as well.
            self.outputs.push_back(Output::Link);
        }
    }

    /// Whether the data must stay as it is for the moment: nothing expires meanwhile.
    pub(super) fn is_write_paused(&self, now: Now) -> bool {
        let lasts = |until: Instant| until > now.instant;
        self.failover_pause.is_some_and(lasts) || self.pause.is_some_and(|pause| lasts(pause.until))
    }

    fn wake_paused(&mut self) {
        for session in self.clients.iter_mut().filter(|session| session.paused) {
            session.paused = false;
            self.outputs.push_back(Output::Wake(session.id));
        }
    }

    /// How long the node has been up.
    pub(super) fn uptime(&self, now: Now) -> Duration {
        now.instant.saturating_duration_since(self.started.instant)
    }
}

fn limits(settings: &Settings) -> Limits {
    /// What a span of a request can address.
    const FRAME_BYTES_MAX: usize = u32::MAX as usize;
    Limits {
        bulk_bytes: settings.bulk_bytes_max,
        request_bytes: settings.query_bytes_max.min(FRAME_BYTES_MAX),
        ..Limits::default()
    }
}
