//! Whom this node follows: the link's progress, the copy of all data, and the stream.
//!
//! The shell moves bytes between the socket, a spool file and these calls. Every call names the
//! link it is about: what a link that was given up still says changes nothing.

use super::load::Load;
use super::primary::primary_session;
use crate::clock::Now;
use crate::node::call::Ctx;
use crate::node::core::Core;
use crate::node::output::Output;
use crate::node::server::Server;
use crate::node::session::Session;
use crate::node::writes_wait::Unsaved;
use crate::replication::{Link, LinkConfig, LinkEvent, Offset, ReplicationId, acknowledgement};
use crate::resp::{Encoder, Limits, Protocol, RequestDecoder};
use crate::store::{Expired, Keyspace};
use std::time::{Duration, Instant};

/// How far the link to the primary has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is to be connected.
    Connect,
    /// It is being connected.
    Connecting,
    /// Questions and answers.
    Handshake,
    /// A copy of all data is on its way, or being loaded.
    Sync,
    /// The stream is being followed.
    Online,
}

/// The primary that is followed.
pub(super) struct Upstream {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) phase: Phase,
    /// When the primary was last heard.
    pub(super) heard: Instant,
    /// Since when the stream has not been followed.
    pub(super) down_since: Option<Instant>,
    /// Which link this is about.
    link: u64,
    pub(super) machine: Option<Link>,
    /// The data is a state of the node's history: the primary may go on from there.
    pub(super) has_data: bool,
    /// In whose name the stream's commands run. It stays from one link to the next, for the
    /// database that it has selected.
    pub(super) session: Option<Box<Session>>,
    decoder: RequestDecoder,
    /// Bytes of the stream that are no whole command yet, or part of an open transaction.
    unread: Vec<u8>,
    /// How many of those have been run.
    run: usize,
    /// CLIENT PAUSE holds back the rest, which may begin with a whole command.
    is_held_back: bool,
    /// What the primary has said its data is a state of.
    pub(super) announced: Option<(ReplicationId, Offset)>,
    pub(super) transfer: Option<Transfer>,
    pub(super) load: Option<Load>,
    /// When the primary was last told how far this node is.
    acked: Instant,
    /// It has asked; what is to be said.
    pub(super) ack_asked: Option<Offset>,
    /// What it asked for was not on disk yet: it is told as soon as that is.
    disk_asked: Option<Offset>,
}

/// A copy of all data on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// Bytes in all, if that was said.
    pub(super) total: Option<u64>,
    /// Bytes so far.
    pub(super) read: u64,
    /// It goes through a file: what the node has is kept until it is all there.
    pub(super) spooled: bool,
}

/// What the shell has to do for a link.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkTask<'a> {
    /// Read more.
    Read,
    /// Write these bytes, and go on with what is left of the input.
    Write(Vec<u8>),
    /// Append these bytes to the spool file, and go on.
    Spool(&'a [u8]),
    /// Feed the spool file to [`Core::link_load`] piece by piece, then [`Core::link_load_ends`].
    LoadSpool,
    /// Let others run for a moment, and go on.
    Yield,
    /// End the connection. It has been logged why.
    Close,
}

/// Where a link is to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTarget {
    /// Which link it is: to be named in every call about it.
    pub link: u64,
    /// The primary's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long it may be silent.
    pub timeout: Duration,
}

/// How often a primary is told how far this node is.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// The commands of a primary have no limits but those of the protocol.
const STREAM_LIMITS: Limits =
    Limits { request_bytes: u32::MAX as usize, bulk_bytes: u32::MAX as usize, ..Limits::DEFAULT };

impl Upstream {
    pub(super) fn new(now: Now, link: u64, host: &str, port: u16, has_data: bool) -> Self {
        Self {
            host: host.to_owned(),
            port,
            phase: Phase::Connect,
            heard: now.instant,
            down_since: Some(now.instant),
            link,
            machine: None,
            has_data,
            session: None,
            decoder: RequestDecoder::default(),
            unread: Vec::new(),
            run: 0,
            is_held_back: false,
            announced: None,
            transfer: None,
            load: None,
            acked: now.instant,
            ack_asked: None,
            disk_asked: None,
        }
    }

    /// Whether the data is the primary's, as of some moment.
    pub(super) fn has_data(&self) -> bool {
        self.has_data
    }

    /// The data is the primary's, as of the history that the node has loaded; the stream goes on in
    /// this session's database.
    pub(super) fn resume(&mut self, session: Box<Session>) {
        self.has_data = true;
        self.session = Some(session);
    }

    /// The database that the stream's next command runs in.
    pub(super) fn stream_db(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.db)
    }

    /// When the data was last known to be the primary's.
    pub(super) fn current_at(&self) -> Instant {
        match self.phase {
            Phase::Online => self.heard,
            // A connection that did not get as far as the stream brought nothing.
            _ => self.down_since.unwrap_or(self.heard),
        }
    }

    /// Bytes of the stream that have come and are not run as a whole yet.
    pub(super) fn pending(&self) -> usize {
        self.unread.len()
    }

    /// Half of a copy is no data: those who ask are told that there is none.
    pub(super) fn abandon_load(&mut self, keyspace: &mut Keyspace) {
        if let Some(load) = self.load.take() {
            self.has_data &= load.is_beside();
            load.give_up(keyspace);
        }
    }

    /// Whether the data set is being replaced at this moment.
    pub(super) fn is_loading(&self) -> bool {
        self.load.as_ref().is_some_and(|load| !load.is_beside())
    }

    /// Whether other data is gathered beside it, which is to take its place.
    pub(super) fn is_loading_beside(&self) -> bool {
        self.load.as_ref().is_some_and(Load::is_beside)
    }
}

impl Core {
    /// The link that is to be connected, if this node follows another and has loaded its own files.
    pub fn link_target(&self) -> Option<LinkTarget> {
        // Two would load at a time; and what the primary sends is for the append-only file, too.
        if self.is_loading() || self.server.writes_wait.has(Unsaved::Log) {
            return None;
        }
        let upstream = self.server.replication.upstream.as_ref()?;
        Some(LinkTarget {
            link: upstream.link,
            host: upstream.host.clone(),
            port: upstream.port,
            timeout: self.server.settings.replication.timeout,
        })
    }

    pub(super) fn upstream(&mut self, link: u64) -> Option<&mut Upstream> {
        self.server.replication.upstream.as_mut().filter(|upstream| upstream.link == link)
    }

    /// Whether this link is still wanted.
    pub fn link_is_wanted(&mut self, link: u64) -> bool {
        self.upstream(link).is_some()
    }

    /// The shell begins to connect.
    pub fn link_connecting(&mut self, link: u64) {
        if let Some(upstream) = self.upstream(link) {
            tracing::info!("Connecting to MASTER {}:{}", upstream.host, upstream.port);
            tracing::info!("MASTER <-> REPLICA sync started");
            upstream.phase = Phase::Connecting;
        }
    }

    /// It is connected: the bytes to begin with.
    pub fn link_connected(&mut self, now: Now, link: u64) -> Vec<u8> {
        let settings = &self.server.settings.replication;
        let history = self.server.replication.history;
        let mut config = LinkConfig {
            user: settings.primary_user.clone(),
            password: settings.primary_password.clone(),
            listening_port: settings.announced_port,
            announced_ip: settings.announced_ip.clone(),
            version: ANNOUNCED_VERSION,
            take_over: self.server.replication.asks_to_take_over(),
            resume: None,
        };
        let Some(upstream) = self.upstream(link) else { return Vec::new() };
        config.resume = upstream.has_data.then(|| (history.id(), history.offset()));
        upstream.heard = now.instant;
        upstream.phase = Phase::Handshake;
        let (machine, bytes) = Link::new(config);
        upstream.machine = Some(machine);
        bytes
    }

    /// Bytes have come. How many of them are done with, and what to do before the next call.
    pub fn link_received<'a>(
        &mut self,
        now: Now,
        link: u64,
        input: &'a [u8],
    ) -> (usize, LinkTask<'a>) {
        let Some(upstream) = self.upstream(link) else { return (0, LinkTask::Close) };
        upstream.heard = now.instant;
        let Some(machine) = &mut upstream.machine else { return (0, LinkTask::Close) };
        let (used, event) = machine.receive(input);
        let task = match event {
            LinkEvent::More => LinkTask::Read,
            LinkEvent::Send(bytes) => LinkTask::Write(bytes),
            LinkEvent::FullSync(announced) => {
                upstream.announced = announced;
                upstream.phase = Phase::Sync;
                self.failover_answered(true);
                LinkTask::Yield
            }
            LinkEvent::SnapshotBegins(framing) => {
                upstream.phase = Phase::Sync;
                self.begin_transfer(now, link, framing);
                LinkTask::Yield
            }
            LinkEvent::Snapshot(bytes) => self.take_snapshot(now, link, bytes),
            LinkEvent::SnapshotEnds => {
                let spooled = upstream.transfer.is_some_and(|transfer| transfer.spooled);
                if spooled { LinkTask::LoadSpool } else { self.link_load_ends(now, link) }
            }
            LinkEvent::Resumed(id) => self.resumed(now, link, id),
            LinkEvent::Stream(bytes) => self.follow_stream(now, link, bytes),
            LinkEvent::Failed(error) => {
                tracing::warn!(%error, "the primary cannot be followed for the moment");
                self.failover_answered(false);
                LinkTask::Close
            }
        };
        (used, task)
    }

    /// The connection has ended, or never came about.
    pub fn link_lost(&mut self, now: Now, link: u64, why: &str) {
        if self.upstream(link).is_some() {
            lose_link(&mut self.server, &mut self.keyspace, now, why);
        }
    }

    /// Why a link ends on which nothing came for too long: the log's line, in Redis's words.
    pub fn link_silence(&mut self, link: u64) -> &'static str {
        match self.upstream(link).map(|upstream| upstream.phase) {
            Some(Phase::Online) => "MASTER timeout: no data nor PING received...",
            Some(Phase::Sync) => {
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the \
                 'repl-timeout' parameter in redis.conf to a larger value."
            }
            _ => "Timeout connecting to the MASTER...",
        }
    }

    /// What is due to be said to the primary, if anything is: how far this node is, or that it
    /// lives while it loads.
    pub fn link_says(&mut self, now: Now, link: u64) -> Option<Vec<u8>> {
        let offset = self.server.replication.history.offset();
        let on_disk = self.server.replication.on_disk;
        let upstream = self.upstream(link)?;
        if let Some(asked) = upstream.ack_asked.take() {
            upstream.acked = now.instant;
            upstream.disk_asked =
                Some(asked).filter(|_| on_disk.is_some_and(|on_disk| on_disk < asked));
            return Some(acknowledgement(asked, on_disk));
        }
        let asked = upstream.disk_asked;
        if asked.is_some() && upstream.phase == Phase::Online && on_disk >= asked {
            upstream.acked = now.instant;
            upstream.disk_asked = None;
            return Some(acknowledgement(offset, on_disk));
        }
        if now.instant.saturating_duration_since(upstream.acked) < ACK_EVERY {
            return None;
        }
        upstream.acked = now.instant;
        match upstream.phase {
            Phase::Online => Some(acknowledgement(offset, on_disk)),
            Phase::Sync => Some(b"\n".to_vec()),
            Phase::Connect | Phase::Connecting | Phase::Handshake => None,
        }
    }

    fn resumed(&mut self, now: Now, link: u64, id: Option<ReplicationId>) -> LinkTask<'static> {
        let Some(upstream) = self.upstream(link) else { return LinkTask::Close };
        upstream.phase = Phase::Online;
        upstream.down_since = None;
        if upstream.session.is_none() {
            upstream.session = Some(primary_session(now, upstream));
        }
        self.failover_answered(true);
        let replication = &mut self.server.replication;
        if let Some(id) = id.filter(|id| *id != replication.history.id()) {
            tracing::info!("Master replication ID changed to {id}");
            replication.history.renamed(id);
            // Those who follow this node hear of the new name when they ask again.
            self.server.close_followers();
        }
        self.server.keep_backlog();
        LinkTask::Yield
    }

    /// Runs the stream's commands, and passes them on to those who follow this node.
    fn follow_stream(&mut self, now: Now, link: u64, bytes: &[u8]) -> LinkTask<'static> {
        self.server.stats.replica_input_bytes += bytes.len() as u64;
        let Some(upstream) = self.upstream(link) else { return LinkTask::Close };
        let Some(mut session) = upstream.session.take() else { return LinkTask::Close };
        let mut decoder = std::mem::take(&mut upstream.decoder);
        let mut unread = std::mem::take(&mut upstream.unread);
        let mut run = std::mem::take(&mut upstream.run);
        unread.extend_from_slice(bytes);

        // A key lives until the primary says that it does not.
        self.keyspace.set_on_expired(Expired::Keep);
        let mut replies = Vec::new();
        let out = Encoder::new(&mut replies, Protocol::Resp2);
        let mut ctx = Ctx::new(now, out, &mut session, &mut self.keyspace, &mut self.server);
        let mut counted = 0;
        let mut is_held_back = false;
        let outcome = loop {
            match decoder.decode(&unread[run..], &STREAM_LIMITS) {
                Ok(None) => break LinkTask::Read,
                Ok(Some(length)) => {
                    if let Some(request) = decoder.request(&unread[run..], length) {
                        let may_hold = ctx.server.pause.is_some() || ctx.server.scripts.is_busy();
                        if may_hold && ctx.holds_back_primary(&request) {
                            is_held_back = true;
                            break LinkTask::Read;
                        }
                        ctx.execute(&request);
                        if ctx.out.buffer().first() == Some(&b'-') {
                            let reply = String::from_utf8_lossy(ctx.out.buffer()).trim().to_owned();
                            let command = String::from_utf8_lossy(request.name()).into_owned();
                            tracing::error!(
                                "== CRITICAL == This replica is sending an error to its master: \
                                 '{reply}' after processing the command '{command}'"
                            );
                        }
                        ctx.out.buffer().clear();
                    }
                    run += length;
                    // A transaction that is cut off comes again as a whole.
                    if ctx.session.transaction.is_none() {
                        ctx.server.pass_on(&unread[counted..run]);
                        counted = run;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "Protocol error from the primary");
                    break LinkTask::Close;
                }
            }
        };
        self.keyspace.set_on_expired(Expired::Hide);
        unread.drain(..counted);
        let most = self.server.settings.query_bytes_max;
        let outcome = if is_held_back && unread.len() > most {
            tracing::warn!(
                "more than client-query-buffer-limit ({most} bytes) of the primary's stream waits for the \
                 end of CLIENT PAUSE: the rest is asked for again"
            );
            LinkTask::Close
        } else {
            outcome
        };
        if unread.is_empty() && unread.capacity() > STREAM_BUFFER_KEPT {
            unread = Vec::new();
        }
        // A command of the stream may have ended this very link.
        if let Some(upstream) = self.upstream(link) {
            upstream.session = Some(session);
            upstream.decoder = decoder;
            upstream.unread = unread;
            upstream.run = run - counted;
            upstream.is_held_back = is_held_back;
        }
        outcome
    }

    /// Runs what CLIENT PAUSE has held back, once it has ended. False if the link is to end.
    pub fn link_goes_on(&mut self, now: Now, link: u64) -> bool {
        let is_paused = self.server.pause.is_some_and(|pause| now.instant < pause.until);
        let is_held_back = self.upstream(link).is_some_and(|upstream| upstream.is_held_back);
        if is_paused || !is_held_back {
            return true;
        }
        self.follow_stream(now, link, &[]) != LinkTask::Close
    }
}

/// The buffer of a stream is given back when it is empty and larger than this.
const STREAM_BUFFER_KEPT: usize = 64 * 1024;

/// What primaries are told of this node's version: from 8.0 on they tell their replicas which slots
/// are on their way, and up to there they send no payloads of Valkey 9's own.
const ANNOUNCED_VERSION: &str = "8.0.0";

/// When a snapshot is loaded while it comes, and not from a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::node) enum DisklessLoad {
    /// Never: what the node has is kept until all of the new data is there.
    #[default]
    Disabled,
    /// Where there is nothing to lose.
    OnEmptyDb,
    /// Always.
    Swap,
}

impl Server {
    /// Bytes of the primary's stream have been run: they count, and go on as they came.
    fn pass_on(&mut self, bytes: &[u8]) {
        let look = self.replication.extend(bytes);
        self.stream_grew(look);
    }

    /// `REPLCONF GETACK`: the primary is told how much has been run, this very command not
    /// included.
    pub(in crate::node) fn ask_for_ack(&mut self) {
        let offset = self.replication.history.offset();
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.ack_asked = Some(offset);
        }
    }
}

/// The link has ended: what was not run as a whole comes again.
fn lose_link(server: &mut Server, keyspace: &mut Keyspace, now: Now, why: &str) {
    let Some(upstream) = &mut server.replication.upstream else { return };
    match upstream.phase {
        Phase::Online => tracing::warn!("Connection with master lost: {why}"),
        _ => tracing::warn!("Error condition on socket for SYNC: {why}"),
    }
    upstream.phase = Phase::Connect;
    upstream.machine = None;
    upstream.transfer = None;
    upstream.announced = None;
    upstream.disk_asked = None;
    upstream.down_since.get_or_insert(now.instant);
    upstream.decoder = RequestDecoder::default();
    upstream.unread = Vec::new();
    upstream.run = 0;
    upstream.is_held_back = false;
    if let Some(session) = &mut upstream.session {
        session.transaction = None;
    }
    if let Some(load) = &upstream.load {
        let position = load.position();
        tracing::warn!("Internal error in RDB reading offset {position}: short read");
    }
    upstream.abandon_load(keyspace);
}

impl Ctx<'_> {
    /// Ends the link to the primary; another is made at once.
    pub(in crate::node) fn cut_link(&mut self, why: &str) {
        self.server.host.hang_up_on_primary();
        lose_link(self.server, self.keyspace, self.now, why);
        let replication = &mut self.server.replication;
        replication.link += 1;
        if let Some(upstream) = &mut replication.upstream {
            upstream.link = replication.link;
        }
        self.server.outputs.push_back(Output::Link);
    }
}
