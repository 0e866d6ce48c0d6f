//! One client of the node: who it is, what it said of itself, and what it is in the middle of.

use super::blocking::Blocked;
use super::pubsub::Subscriptions;
use super::transaction::Transaction;
use super::watch::Watch;
use crate::clock::Now;
use crate::command::Spec;
use crate::replication::{Introduction, Offset};
use crate::resp::Protocol;
use std::net::SocketAddr;
use std::time::Instant;

/// The number of a client: never given twice while a node runs.
pub type ClientId = u64;

/// One client's state. It holds no buffer: an idle client costs little more than this.
#[derive(Debug)]
pub(super) struct Session {
    /// Its id.
    pub(super) id: ClientId,
    /// Where it is, and where it connected to.
    pub(super) addresses: Addresses,
    /// When it connected.
    pub(super) since: Instant,
    /// When bytes last came from it or went to it.
    pub(super) last_heard: Instant,
    /// Since when it is to authenticate, where it has to.
    pub(super) anonymous_since: Instant,
    /// When the request began of which a part has come so far.
    pub(super) request_since: Option<Instant>,
    /// Since when more output waits for it than the soft limit allows.
    pub(super) over_limit_since: Option<Instant>,
    /// The last command it ran, or is running.
    pub(super) last_command: Option<&'static Spec>,
    /// The database it has selected.
    pub(super) db: usize,
    /// The protocol it has chosen with HELLO.
    pub(super) protocol: Protocol,
    /// Whether it may run commands without AUTH, or has passed it.
    pub(super) authenticated: bool,
    /// ASKING was its last command: the next one may use a slot that is being imported.
    pub(super) asking: bool,
    /// READONLY: it accepts reads from a replica.
    pub(super) readonly: bool,
    /// CLIENT NO-EVICT.
    pub(super) no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub(super) no_touch: bool,
    /// Its name, or nothing.
    pub(super) name: Box<str>,
    /// The name of the library it uses, or nothing.
    pub(super) lib_name: Box<str>,
    /// That library's version, or nothing.
    pub(super) lib_version: Box<str>,
    /// What it is to this node.
    pub(super) role: Role,
    /// What it has said with REPLCONF.
    pub(super) introduction: Option<Box<Introduction>>,
    /// How far the stream was when a write of its was told to replicas: what WAIT waits for.
    pub(super) write_offset: Offset,
    /// Which replies it wants.
    pub(super) replies: Replies,
    /// Its MULTI, if it is in one.
    pub(super) transaction: Option<Box<Transaction>>,
    /// What it watches.
    pub(super) watches: Vec<Watch>,
    /// Whether its connection is to be closed, and when.
    pub(super) close: Close,
    /// What it waits for, if a command of it blocks.
    pub(super) blocked: Option<Box<Blocked>>,
    /// Replies and messages that came about while none of its requests was run: they go to its
    /// shell in the next turn.
    pub(super) inbox: Vec<u8>,
    /// MONITOR: it is shown what runs.
    pub(super) monitors: bool,
    /// What it listens to, if it does.
    pub(super) subscriptions: Option<Box<Subscriptions>>,
    /// Whether it waits for the end of CLIENT PAUSE.
    pub(super) paused: bool,
    /// Bytes of its requests that wait to be run, as the shell last said.
    pub(super) input_bytes: usize,
    /// Bytes of replies that it has not taken yet, as the shell last said.
    pub(super) output_bytes: usize,
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The client's.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// The number of the socket, as CLIENT LIST shows it.
    pub descriptor: i32,
}

/// What a connection is to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// It asks and is answered.
    #[default]
    Client,
    /// It has asked for the stream, and is sent it.
    Replica,
    /// Its commands are those of the primary that this node follows.
    Primary,
}

/// Which replies a client wants (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not that of CLIENT REPLY SKIP itself, and not the next one.
    SkipNext,
    /// Not the next one.
    Skip,
}

/// Whether a connection is to be closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Close {
    /// No.
    #[default]
    No,
    /// When its replies so far are written.
    AfterReplies,
    /// At once.
    Now,
}

impl Session {
    pub(super) fn new(id: ClientId, addresses: Addresses, now: Now, authenticated: bool) -> Self {
        Self {
            id,
            addresses,
            since: now.instant,
            last_heard: now.instant,
            anonymous_since: now.instant,
            request_since: None,
            over_limit_since: None,
            last_command: None,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
            asking: false,
            readonly: false,
            no_evict: false,
            no_touch: false,
            name: "".into(),
            lib_name: "".into(),
            lib_version: "".into(),
            role: Role::Client,
            introduction: None,
            write_offset: 0,
            replies: Replies::On,
            transaction: None,
            watches: Vec::new(),
            close: Close::No,
            blocked: None,
            inbox: Vec::new(),
            monitors: false,
            subscriptions: None,
            paused: false,
            input_bytes: 0,
            output_bytes: 0,
        }
    }

    /// Asks for the connection to be closed; a sooner end wins.
    pub(super) fn close(&mut self, when: Close) {
        self.close = self.close.max(when);
    }

    /// Bytes that wait to be taken by the client.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.output_bytes + self.inbox.len()
    }

    /// Whether the client is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.addresses.peer.ip().to_canonical().is_loopback()
    }

    /// Whether it comes from this host: by loopback, or from the very address that it connected to,
    /// which no packet from elsewhere can have.
    pub(super) fn is_of_this_host(&self) -> bool {
        let Addresses { peer, local, .. } = &self.addresses;
        self.is_local() || peer.ip() == local.ip()
    }

    /// Whether it has come by `unixsocket`, which has no ports.
    fn is_by_file(&self) -> bool {
        self.addresses.descriptor >= 0 && self.addresses.peer.port() == 0
    }

    /// One line of CLIENT LIST. `watching` keys and a running transaction show in the flags.
    pub(super) fn describe(&self, now: Now) -> String {
        let age = |since: Instant| now.instant.saturating_duration_since(since).as_secs();
        let (multi, multi_bytes) = match &self.transaction {
            Some(transaction) => (transaction.len() as i64, transaction.bytes()),
            None => (-1, 0),
        };
        let (channels, patterns, shard) =
            self.subscriptions.as_ref().map_or((0, 0, 0), |own| own.counts());
        let total =
            std::mem::size_of::<Self>() + self.input_bytes + self.waiting_bytes() + multi_bytes;
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={channels} psub={patterns} \
             ssub={shard} multi={multi} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={multi_bytes} \
             rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem={total} events={} cmd={} user=default \
             redir=-1 resp={} lib-name={} lib-ver={} watch={}",
            self.id,
            self.addresses.peer,
            self.addresses.local,
            self.addresses.descriptor,
            self.name,
            age(self.since),
            age(self.last_heard),
            self.flags(),
            self.db,
            self.input_bytes,
            usize::from(self.waiting_bytes() > 0),
            self.waiting_bytes(),
            if self.waiting_bytes() > 0 { "rw" } else { "r" },
            self.last_command.map_or("NULL", |spec| spec.name),
            self.protocol.number(),
            self.lib_name,
            self.lib_version,
            self.watches.len(),
        )
    }

    /// The letters by which CLIENT LIST says what a client is doing.
    fn flags(&self) -> String {
        let mut flags = String::new();
        let mut put = |is: bool, letter: char| {
            if is {
                flags.push(letter);
            }
        };
        put(self.monitors, 'O');
        put(self.subscriptions.is_some(), 'P');
        put(self.role == Role::Replica, 'S');
        put(self.role == Role::Primary, 'M');
        put(self.transaction.is_some(), 'x');
        put(self.blocked.is_some() || self.paused, 'b');
        put(self.close == Close::AfterReplies, 'c');
        put(self.close == Close::Now, 'A');
        put(self.is_by_file(), 'U');
        put(self.readonly, 'r');
        put(self.no_evict, 'e');
        put(self.no_touch, 'T');
        if flags.is_empty() {
            flags.push('N');
        }
        flags
    }
}
