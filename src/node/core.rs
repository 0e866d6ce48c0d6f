//! [`Core`]: the node as its shell sees it. Bytes in, bytes out, and a queue of things to do.

use super::call::Ctx;
use super::directives::Directives;
use super::execute::Ran;
use super::host::Host;
use super::loading::Loader;
use super::output::Output;
use super::overdue::Overdue;
use super::renames::Renames;
use super::replication::Replication;
use super::server::Server;
use super::session::{Addresses, ClientId, Close, Role, Session};
use super::settings::Settings;
use super::stats::Stats;
use crate::bus::Input;
use crate::clock::Now;
use crate::replication::ReplicationId;
use crate::resp::{Encoder, Limits, RequestDecoder};
use crate::store::{Garbage, Keyspace, KeyspaceOptions};
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The node: data, sessions, settings.
pub struct Core {
    pub(super) keyspace: Keyspace,
    pub(super) server: Server,
    /// When the figures per second were last sampled.
    sampled: Instant,
    /// When the clients were last looked through.
    swept: Instant,
    /// The time of the latest turn.
    pub(super) turn: Instant,
    /// The data set that is being loaded.
    pub(super) loader: Option<Loader>,
    /// Expired keys wait to be removed.
    expire_behind: bool,
}

/// What a node is made from.
pub struct CoreOptions {
    /// The parameters, as its file and command line have them.
    pub directives: Vec<(String, Vec<String>)>,
    /// The file that CONFIG REWRITE writes, if there is one.
    pub config_file: Option<PathBuf>,
    /// The process around it.
    pub host: Box<dyn Host>,
    /// Where its random numbers come from.
    pub seed: u64,
}

/// Why a client was turned away: the line it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `maxclients` are connected.
    #[error("ERR max number of clients reached")]
    TooManyClients,
    /// It comes from another machine, and there is no password.
    #[error(
        "DENIED Redis is running in protected mode because protected mode is enabled and no \
         password is set for the default user. Connections are only accepted from the loopback \
         interface. Set a password with requirepass, or turn protected-mode off, to accept others."
    )]
    Protected,
}

/// Why the node stopped working on a client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has run all that was whole, and needs more. `bytes_wanted` as in
    /// [`RequestDecoder::bytes_wanted`].
    NeedsInput {
        /// How many bytes it must hold before anything can happen; 0 if unknown.
        bytes_wanted: usize,
    },
    /// The replies are to be written first.
    OutputFull,
    /// CLIENT PAUSE: it goes on when woken.
    Paused,
    /// A command of it waits for something: it goes on when woken, or at this time.
    Blocked {
        /// When the wait is over at the latest; it has no end if there is none.
        until: Option<Instant>,
    },
    /// The connection is a replica's from here on: it is written what [`Core::replica_output`]
    /// gives, after what has been answered.
    Replica,
    /// The connection ends when its replies are written.
    CloseAfterReplies,
    /// The connection ends at once.
    CloseNow,
}

/// Replies that may wait for a client before its next request is looked at. One reply may be
/// larger; so a client that does not read costs no more than this and one reply.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// The same before AUTH; a client that lets so much wait is closed.
const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// How long expiry may work at a time: no command waits longer for it.
const EXPIRE_SLICE: Duration = Duration::from_micros(500);
/// Keys that expiry removes between two looks at the clock.
const EXPIRE_AT_ONCE: usize = 64;
/// The share of the time that expiry may take at `active-expire-effort` 1 is these two together.
const EXPIRE_SHARE_MIN_PERCENT: u32 = 23;
/// What each further step of `active-expire-effort` adds.
const EXPIRE_SHARE_STEP_PERCENT: u32 = 2;
/// How often the figures per second are sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How often the clients are looked through for those that keep the node waiting.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// A node that has heard of nothing yet.
    ///
    /// # Errors
    /// A parameter that is unknown or refused: its place in `options.directives`, and why.
    pub fn new(now: Now, options: CoreOptions) -> Result<Self, (usize, String)> {
        let (mut directives, mut renames) = (Directives::default(), Renames::default());
        for (place, (name, words)) in options.directives.iter().enumerate() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let loaded = match name.as_str() {
                "rename-command" => renames.load(&words),
                _ => directives.load(name, &words),
            };
            loaded.map_err(|reason| (place, reason))?;
        }
        if directives.is("cluster-enabled") && !directives.text("replicaof").is_empty() {
            let named = |name: &str| matches!(name, "replicaof" | "slaveof");
            let place = options.directives.iter().rposition(|(name, _)| named(name));
            let reason = "replicaof directive not allowed in cluster mode".to_owned();
            return Err((place.unwrap_or(0), reason));
        }
        let mut random = rand::rngs::SmallRng::seed_from_u64(options.seed);
        let run_id = hex_id(&mut random).as_str().into();
        let replication = Replication::new(now, hex_id(&mut random), random.next_u64());
        let settings = Settings::read(&directives);
        let mut keyspace = Keyspace::new(KeyspaceOptions {
            by_slot: settings.cluster_enabled,
            databases: settings.databases,
            seed: (random.next_u64(), random.next_u64()),
        });
        keyspace.set_limits(settings.type_limits());
        keyspace.set_usage_policy(settings.usage);
        let mut server =
            Server::new(now, directives, options.config_file, options.host, run_id, replication);
        server.renames = renames;
        server.listen(&mut keyspace);
        let mut core = Self {
            keyspace,
            server,
            sampled: now.instant,
            swept: now.instant,
            turn: now.instant,
            loader: None,
            expire_behind: false,
        };
        core.follow_as_configured(now);
        Ok(core)
    }

    /// A client has connected.
    ///
    /// # Errors
    /// It must be told so and closed.
    pub fn connect(&mut self, now: Now, addresses: Addresses) -> Result<ClientId, Refusal> {
        let server = &mut self.server;
        server.stats.connections += 1;
        if server.clients.len() >= server.settings.clients_max {
            server.stats.rejected_connections += 1;
            return Err(Refusal::TooManyClients);
        }
        let open = server.settings.password.is_none();
        let id = server.clients.next_id();
        let session = Session::new(id, addresses, now, open);
        if server.settings.protected_mode && open && !session.is_of_this_host() {
            server.stats.rejected_connections += 1;
            return Err(Refusal::Protected);
        }
        server.clients.insert(Box::new(session));
        Ok(id)
    }

    /// A client has gone.
    pub fn disconnect(&mut self, id: ClientId) {
        if self.server.scripts.orphan(id) {
            return;
        }
        if let Some(mut session) = self.server.clients.remove(id) {
            self.server.unblock(&mut session);
            self.server.pubsub.leave(&mut session);
            self.server.monitors.remove(id);
            for watch in session.watches {
                self.server.watched.unwatch(watch);
            }
            if session.role == Role::Replica {
                self.server.forget_follower(self.turn, id);
            }
        }
    }

    /// Runs the requests that `input` holds as a whole, in order, and appends their replies to
    /// `output`. Tells how many bytes of `input` are done with, and why it stopped there.
    pub fn handle_input(
        &mut self,
        now: Now,
        id: ClientId,
        decoder: &mut RequestDecoder,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> (usize, Progress) {
        let Some(mut session) = self.server.clients.take(id) else {
            return (0, Progress::CloseNow);
        };
        self.turn = now.instant;
        if let Some(member) = self.server.cluster.as_mut().filter(|member| member.overslept(now)) {
            member.handle_input(now, Input::Timeout);
            self.server.outputs.push_back(Output::Bus);
        }
        session.last_heard = now.instant;
        if !session.inbox.is_empty() {
            output.append(&mut std::mem::take(&mut session.inbox));
        }
        let out = Encoder::new(output, session.protocol);
        let mut ctx = Ctx::new(now, out, &mut session, &mut self.keyspace, &mut self.server);
        let (used, progress) = ctx.run_all(decoder, input);
        session.input_bytes = input.len() - used;
        let partial = used < input.len() && matches!(progress, Progress::NeedsInput { .. });
        session.note_request(now, partial, used > 0);
        if session.role == Role::Replica && used > 0 {
            // Whatever a replica says, it shows that it lives.
            self.server.note_replica_lives(now, id);
        }
        self.server.clients.put(session);
        (used, progress)
    }

    /// So many bytes have come from a client; so many more wait to be run.
    pub fn note_read(&mut self, id: ClientId, bytes: usize, waiting: usize) {
        self.server.stats.reads += 1;
        self.server.stats.input_bytes += bytes as u64;
        if let Some(session) = self.server.clients.get_mut(id) {
            session.input_bytes = waiting;
        }
    }

    /// So many bytes have gone to a client; so many more wait to be written.
    pub fn note_written(&mut self, id: ClientId, bytes: usize, waiting: usize) {
        self.server.stats.writes += u64::from(bytes > 0);
        self.server.stats.output_bytes += bytes as u64;
        let Some(session) = self.server.clients.get_mut(id) else { return };
        session.output_bytes = waiting;
        if bytes > 0 {
            session.last_heard = self.turn;
        }
        let limit = self.server.settings.output_limits.of(session);
        if limit.soft == 0 || waiting < limit.soft {
            session.over_limit_since = None;
        } else {
            session.over_limit_since.get_or_insert(self.turn);
        }
        if limit.hard > 0 && waiting >= limit.hard {
            session.close(Close::Now);
            self.server.stats.closed_for_output += 1;
            tracing::warn!(client = id, "closed: its output passed client-output-buffer-limit");
            self.server.outputs.push_back(Output::Wake(id));
        }
    }

    /// What is to be done next, if anything is.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.server.outputs.pop_front()
    }

    /// How soon [`Core::handle_tick`] is to be called again: `hz` as a wait, or sooner while keys
    /// that have expired wait to be removed.
    pub fn tick_every(&self) -> Duration {
        let tick = Duration::from_secs(1) / self.server.settings.hz;
        if self.expire_behind { tick.min(EXPIRE_SLICE * 100 / self.expire_percent()) } else { tick }
    }

    /// The share of the time that expiry may take.
    fn expire_percent(&self) -> u32 {
        EXPIRE_SHARE_MIN_PERCENT + EXPIRE_SHARE_STEP_PERCENT * self.server.settings.expire_effort
    }

    /// Whether something big waits to be dropped, preferably on another thread.
    pub fn has_garbage(&self) -> bool {
        self.keyspace.has_garbage()
    }

    /// What waits to be dropped.
    pub fn take_garbage(&mut self) -> Garbage {
        self.keyspace.take_garbage()
    }

    /// Looks after what nobody asks for: expiry, idle clients, the end of CLIENT PAUSE, figures.
    pub fn handle_tick(&mut self, now: Now) {
        self.turn = now.instant;
        if self.server.scripts.is_busy() {
            // Nothing changes under its hands.
            return;
        }
        let server = &mut self.server;
        if server.pause.is_some_and(|pause| now.instant >= pause.until) {
            server.unpause();
        }
        if server.failover_pause.is_some_and(|until| now.instant >= until) {
            server.end_failover_pause();
        }
        self.refresh_expiry(now);
        let server = &mut self.server;
        if server.active_expire && !server.is_write_paused(now) {
            self.expire(now);
            self.expire_own_keys(now);
        }
        let server = &mut self.server;
        server.tend_followers(now);
        self.tend_failover(now);
        let server = &mut self.server;
        let elapsed = now.instant.saturating_duration_since(self.sampled);
        if elapsed >= SAMPLE_EVERY {
            self.sampled = now.instant;
            let stats = &server.stats;
            server.rates.commands.sample(stats.commands, elapsed);
            server.rates.input.sample(stats.input_bytes, elapsed);
            server.rates.output.sample(stats.output_bytes, elapsed);
            server.rates.replica_input.sample(stats.replica_input_bytes, elapsed);
            server.rates.replica_output.sample(stats.replica_output_bytes, elapsed);
        }
        self.serve_ready(now);
        if std::mem::take(&mut self.server.slots_changed) {
            self.leave_slots(now);
        }
        if now.instant.saturating_duration_since(self.swept) >= SWEEP_EVERY {
            self.leave_slots(now);
            self.swept = now.instant;
            let used = self.server.host.allocated_bytes();
            self.server.note_memory(used);
            self.server.save_if_due(&mut self.keyspace, now);
            self.server.rewrite_log_if_due();
            self.begin_waiting(now);
            self.close_overdue(now);
        }
    }

    /// Removes keys whose time has come: a slice, and the next one soon if that was not enough, so
    /// that no command waits for more than a slice.
    fn expire(&mut self, now: Now) {
        let started = self.server.host.elapsed();
        let spent = loop {
            let removed = self.keyspace.expire_some(now.unix_ms, EXPIRE_AT_ONCE);
            let spent = self.server.host.elapsed().saturating_sub(started);
            self.expire_behind = removed == EXPIRE_AT_ONCE;
            if !self.expire_behind || spent >= EXPIRE_SLICE {
                break spent;
            }
        };
        self.server.note_told(&mut self.keyspace, None);
        self.server.stats.expire_cut_short += u64::from(self.expire_behind);
        self.server.stats.expire_time += spent;
    }

    /// Closes clients that keep the node waiting for longer than they may.
    fn close_overdue(&mut self, now: Now) {
        let server = &mut self.server;
        for session in server.clients.iter_mut() {
            let Some(overdue) = session.overdue(now, &server.settings) else { continue };
            session.close(Close::Now);
            server.stats.closed_for_output += u64::from(overdue == Overdue::Output);
            let (client, peer) = (session.id, session.addresses.peer);
            tracing::debug!(client, %peer, ?overdue, "closed for keeping the node waiting");
            server.outputs.push_back(Output::Wake(client));
        }
    }

    /// The figures so far.
    pub fn stats(&self) -> &Stats {
        &self.server.stats
    }

    /// The data.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// `cluster` or `standalone`.
    pub fn mode(&self) -> &'static str {
        if self.server.settings.cluster_enabled { "cluster" } else { "standalone" }
    }

    /// Parameters that differ from their defaults, but on which nothing acts.
    pub fn parameters_without_effect(&self) -> Vec<&'static str> {
        let changed = self.server.directives.changed();
        let names = changed.map(|(directive, _)| directive.name);
        names.filter(|name| !Settings::HONOURED.contains(name)).collect()
    }

    /// Asks all clients to end, when they have read their replies.
    pub fn close_all(&mut self) {
        for session in self.server.clients.iter_mut() {
            session.close(Close::AfterReplies);
            self.server.outputs.push_back(Output::Wake(session.id));
        }
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.server.clients.len()
    }

    /// A parameter's value as text.
    ///
    /// # Panics
    /// There is no such parameter.
    pub fn parameter(&self, name: &str) -> String {
        let mut found = self.server.directives.matching(|known| known == name);
        found.next().map(|(_, value)| value).expect("a parameter of the table")
    }
}

impl Ctx<'_> {
    fn run_all(&mut self, decoder: &mut RequestDecoder, input: &[u8]) -> (usize, Progress) {
        let mut used = 0;
        loop {
            match self.session.close {
                Close::No => {}
                Close::AfterReplies => return (used, Progress::CloseAfterReplies),
                Close::Now => return (used, Progress::CloseNow),
            }
            if let Some(blocked) = &self.session.blocked {
                match blocked.until {
                    Some(until) if until <= self.now.instant => self.time_out(),
                    until => return (used, Progress::Blocked { until }),
                }
            }
            let authenticated = self.session.authenticated;
            if self.out.len() >= OUTPUT_BYTES_MAX {
                return (used, Progress::OutputFull);
            }
            if !authenticated && self.out.len() >= UNAUTHENTICATED_OUTPUT_BYTES_MAX {
                self.server.stats.closed_for_output += 1;
                return (used, Progress::CloseNow);
            }
            let limits = if authenticated { &self.server.limits } else { &Limits::UNAUTHENTICATED };
            let rest = &input[used..];
            match decoder.decode(rest, limits) {
                Ok(None) => {
                    let bytes_wanted = decoder.bytes_wanted();
                    return (used, Progress::NeedsInput { bytes_wanted });
                }
                Ok(Some(length)) => {
                    self.session.input_bytes = rest.len();
                    if let Some(request) = decoder.request(rest, length)
                        && self.execute(&request) == Ran::Paused
                    {
                        return (used, Progress::Paused);
                    }
                    used += length;
                    if self.server.waiters.has_ready() {
                        self.serve_ready();
                    }
                    if self.session.role == Role::Replica {
                        return (used, Progress::Replica);
                    }
                }
                Err(error) => {
                    tracing::debug!(peer = %self.session.addresses.peer, %error, "protocol error");
                    self.fail_line(format!("ERR {error}"));
                    self.session.close(Close::AfterReplies);
                }
            }
        }
    }
}

/// 40 random hex digits.
fn hex_id(random: &mut impl rand::Rng) -> ReplicationId {
    let mut bytes = [0; 20];
    random.fill_bytes(&mut bytes);
    ReplicationId::from_random(bytes)
}
