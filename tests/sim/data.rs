//! The data of one host and its replication, by the machines that run in production: histories and
//! what they resume from, the backlog, the link of a replica, a primary's books on each replica.
//!
//! The data set is what was written, in order; the stream has a record of ten bytes for each write.
//! What was not synced to disk is lost in a crash, and with it the name of the history, as after a
//! restart with an append-only file.

use keyway::bus::Replication;
use keyway::clock::Now;
use keyway::replication::{
    Backlog, History, Introduction, Link, LinkConfig, LinkEvent, Offset, Replica, ReplicationId,
    Resume, Stage, acknowledgement,
};
use keyway::resp::{Limits, RequestDecoder};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Bytes of the replication stream per write.
const RECORD: usize = 10;
/// Bytes of the stream that are kept for those who come back.
const BACKLOG: usize = 4_000;
/// A quiet stream says something so often.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How often a replica says how far it is, if nothing has come.
const ACK_EVERY: Duration = Duration::from_secs(1);

/// A connection of a replica to its primary.
pub(crate) type Conn = u64;

/// What the world has to do for a host's replication.
pub(crate) enum Task {
    Send(Conn, Vec<u8>),
    Close(Conn),
    /// A client that waited for a replica to have its write was told that one has.
    Confirmed(u64),
}

pub(crate) struct Data {
    log: Vec<u64>,
    /// A number for each beginning of the log: equal numbers, equal beginnings.
    sums: Vec<u64>,
    synced: usize,
    history: History,
    backlog: Option<Backlog>,
    followers: BTreeMap<Conn, Follower>,
    upstream: Option<Upstream>,
    /// Writes whose clients wait for a replica to have them, and where they end in the stream.
    waits: Vec<(u64, Offset)>,
    paused_until: Option<Instant>,
    pinged: Option<Instant>,
    rng: SmallRng,
    pub(crate) tasks: Vec<Task>,
}

/// One that asks for our stream, or is sent it.
struct Follower {
    replica: Option<Replica>,
    decoder: RequestDecoder,
    unread: Vec<u8>,
}

/// Our primary.
struct Upstream {
    source: usize,
    conn: Option<Conn>,
    link: Option<Link>,
    /// What there is, is a state of the primary's history.
    has_data: bool,
    online: bool,
    heard: Option<Instant>,
    announced: Option<(ReplicationId, Offset)>,
    unread: Vec<u8>,
    snapshot: Vec<u8>,
    /// What of the stream is here, and not a whole record yet.
    partial: Vec<u8>,
    acked: Option<(Offset, Instant)>,
}

fn new_id(rng: &mut SmallRng) -> ReplicationId {
    ReplicationId::from_random(rng.random())
}

impl Data {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        Self {
            log: Vec::new(),
            sums: vec![0],
            synced: 0,
            history: History::new(new_id(&mut rng)),
            backlog: None,
            followers: BTreeMap::new(),
            upstream: None,
            waits: Vec::new(),
            paused_until: None,
            pinged: None,
            rng,
            tasks: Vec::new(),
        }
    }

    /// What the bus is told of it.
    pub(crate) fn replication(&self) -> Replication {
        let upstream = self.upstream.as_ref();
        let has_data = upstream.is_none_or(|upstream| upstream.has_data);
        Replication {
            offset: if has_data { self.history.offset() } else { 0 },
            heard: upstream.filter(|upstream| upstream.has_data).and_then(|up| up.heard),
            linked: self.is_linked(),
        }
    }

    pub(crate) fn log(&self) -> &[u64] {
        &self.log
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.online)
    }

    pub(crate) fn source(&self) -> Option<usize> {
        self.upstream.as_ref().map(|upstream| upstream.source)
    }

    /// Whom it wants to be connected to.
    pub(crate) fn wants_connection(&self) -> Option<usize> {
        self.upstream.as_ref().filter(|up| up.conn.is_none()).map(|up| up.source)
    }

    /// While the histories are one, what a replica has is the beginning of what its primary has.
    pub(crate) fn assert_begins(&self, primary: &Self) {
        if self.history.id() != primary.history.id() {
            return;
        }
        let (own, theirs) = (self.history.offset(), primary.history.offset());
        assert!(own <= theirs, "a replica is at {own} of {theirs}");
        let begins = self.log.len() <= primary.log.len()
            && self.sums[self.log.len()] == primary.sums[self.log.len()];
        assert!(begins, "a replica has another past than its primary");
    }

    fn push(&mut self, what: u64) {
        let mut hasher = DefaultHasher::new();
        (self.sums[self.log.len()], what).hash(&mut hasher);
        self.log.push(what);
        self.sums.push(hasher.finish());
    }

    fn set_log(&mut self, log: impl Iterator<Item = u64>) {
        self.log.clear();
        self.sums.truncate(1);
        self.synced = 0;
        log.for_each(|what| self.push(what));
    }

    /// The stream goes on.
    fn extend(&mut self, bytes: &[u8]) {
        self.history.advance(bytes.len());
        if let Some(backlog) = &mut self.backlog {
            backlog.push(bytes);
            let sent = self.followers.values().filter_map(|f| f.replica.as_ref()).map(|r| r.sent);
            backlog.trim(sent.min());
        }
        self.send_streams();
    }

    /// A client's write. It is told when a replica has it.
    pub(crate) fn write(&mut self, what: u64) {
        self.push(what);
        self.extend(&[b"ww".as_slice(), &what.to_be_bytes()].concat());
        self.waits.push((what, self.history.offset()));
    }

    /// From here on it copies that host, or nobody.
    pub(crate) fn follow(&mut self, source: Option<usize>) {
        match source {
            Some(source) if self.source() == Some(source) => {}
            Some(source) => {
                let had_data = self.upstream.as_ref().is_none_or(|upstream| upstream.has_data);
                self.leave();
                self.close_followers();
                self.waits.clear();
                self.upstream = Some(Upstream {
                    source,
                    conn: None,
                    link: None,
                    has_data: self.backlog.is_some() && had_data,
                    online: false,
                    heard: None,
                    announced: None,
                    unread: Vec::new(),
                    snapshot: Vec::new(),
                    partial: Vec::new(),
                    acked: None,
                });
            }
            None => {
                if self.upstream.is_some() {
                    self.leave();
                    let id = new_id(&mut self.rng);
                    self.history.fork(id);
                    self.close_followers();
                }
            }
        }
    }

    fn leave(&mut self) {
        let conn = self.upstream.take().and_then(|upstream| upstream.conn);
        self.tasks.extend(conn.map(Task::Close));
    }

    fn close_followers(&mut self) {
        let conns = std::mem::take(&mut self.followers).into_keys();
        self.tasks.extend(conns.map(Task::Close));
    }

    /// The connection to the primary is there.
    pub(crate) fn connected(&mut self, conn: Conn) {
        let Some(upstream) = &mut self.upstream else { return };
        let resume = upstream.has_data.then(|| (self.history.id(), self.history.offset()));
        let config =
            LinkConfig { listening_port: 7000, version: "8.0.0", resume, ..LinkConfig::default() };
        let (link, bytes) = Link::new(config);
        upstream.conn = Some(conn);
        upstream.link = Some(link);
        upstream.unread.clear();
        upstream.snapshot.clear();
        upstream.partial.clear();
        upstream.acked = None;
        self.tasks.push(Task::Send(conn, bytes));
    }

    /// A connection is gone.
    pub(crate) fn closed(&mut self, conn: Conn) {
        self.followers.remove(&conn);
        if let Some(upstream) = self.upstream.as_mut().filter(|up| up.conn == Some(conn)) {
            upstream.conn = None;
            upstream.link = None;
            upstream.online = false;
        }
    }

    /// Bytes have come on a connection, from the primary or from a replica.
    pub(crate) fn received(&mut self, now: Now, conn: Conn, bytes: &[u8]) {
        if self.upstream.as_ref().is_some_and(|upstream| upstream.conn == Some(conn)) {
            self.received_from_primary(now, conn, bytes);
        } else {
            self.received_from_replica(now, conn, bytes);
        }
    }

    fn received_from_primary(&mut self, now: Now, conn: Conn, bytes: &[u8]) {
        let Some(mut up) = self.upstream.take() else { return };
        up.heard = Some(now.instant);
        up.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut up.unread);
        let mut rest = &unread[..];
        loop {
            let link = up.link.as_mut().expect("it is connected");
            let (used, event) = link.receive(rest);
            match event {
                LinkEvent::More => {
                    rest = &rest[used..];
                    break;
                }
                LinkEvent::Send(bytes) => self.tasks.push(Task::Send(conn, bytes)),
                LinkEvent::FullSync(announced) => up.announced = announced,
                LinkEvent::SnapshotBegins(_) => up.snapshot.clear(),
                LinkEvent::Snapshot(part) => up.snapshot.extend_from_slice(part),
                LinkEvent::SnapshotEnds => {
                    let items = up.snapshot.chunks_exact(8);
                    let number = |item: &[u8]| u64::from_be_bytes(item.try_into().expect("eight"));
                    self.set_log(items.map(number));
                    let (id, offset) = up.announced.take().expect("our primaries name it");
                    self.history = History::known(id, offset);
                    self.backlog = Some(Backlog::new(offset, BACKLOG));
                    // Those who follow us have to begin anew as well.
                    self.close_followers();
                    up.has_data = true;
                    up.online = true;
                    link.loaded();
                    self.tasks.push(Task::Send(conn, acknowledgement(offset, None)));
                    up.acked = Some((offset, now.instant));
                }
                LinkEvent::Resumed(id) => {
                    up.online = true;
                    if let Some(id) = id.filter(|id| *id != self.history.id()) {
                        self.history.renamed(id);
                        self.close_followers();
                    }
                }
                LinkEvent::Stream(bytes) => {
                    up.partial.extend_from_slice(bytes);
                    let whole = up.partial.len() / RECORD * RECORD;
                    for record in up.partial.drain(..whole).collect::<Vec<u8>>().chunks(RECORD) {
                        if record.starts_with(b"ww") {
                            let what = record[2..].try_into().expect("eight bytes");
                            self.push(u64::from_be_bytes(what));
                        }
                        self.extend(record);
                    }
                }
                LinkEvent::Failed(_) => {
                    self.tasks.push(Task::Close(conn));
                    up.conn = None;
                    up.link = None;
                    up.online = false;
                    rest = &[];
                    break;
                }
            }
            rest = &rest[used..];
        }
        up.unread = rest.to_vec();
        self.upstream = Some(up);
    }

    fn received_from_replica(&mut self, now: Now, conn: Conn, bytes: &[u8]) {
        let mut follower = self.followers.remove(&conn).unwrap_or_else(|| Follower {
            replica: None,
            decoder: RequestDecoder::default(),
            unread: Vec::new(),
        });
        follower.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut follower.unread);
        let mut used = 0;
        while let Some(length) =
            follower.decoder.decode(&unread[used..], &Limits::default()).expect("requests")
        {
            if let Some(request) = follower.decoder.request(&unread[used..], length) {
                let words: Vec<&[u8]> = request.args_from(0).collect();
                self.answer(now, conn, &words, &mut follower.replica);
            }
            used += length;
        }
        follower.unread = unread[used..].to_vec();
        self.followers.insert(conn, follower);
        self.send_streams();
    }

    fn answer(&mut self, now: Now, conn: Conn, words: &[&[u8]], replica: &mut Option<Replica>) {
        let number = |word: &[u8]| -> Option<u64> { std::str::from_utf8(word).ok()?.parse().ok() };
        let reply = match words {
            [b"PING"] => b"+PONG\r\n".to_vec(),
            [b"REPLCONF", b"ACK", offset] => {
                let offset = number(offset).expect("an offset");
                if let Some(replica) = replica {
                    replica.acknowledge(now, offset, None);
                    self.confirm(offset);
                }
                return;
            }
            [b"REPLCONF", ..] => b"+OK\r\n".to_vec(),
            [b"PSYNC", id, next] => self.accept(now, id, number(next), replica),
            _ => panic!("an unknown request of a replica"),
        };
        self.tasks.push(Task::Send(conn, reply));
    }

    /// Somebody asks to follow.
    fn accept(
        &mut self,
        now: Now,
        id: &[u8],
        next: Option<Offset>,
        follower: &mut Option<Replica>,
    ) -> Vec<u8> {
        if self.upstream.as_ref().is_some_and(|upstream| !upstream.has_data) {
            return b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n".to_vec();
        }
        let peer: SocketAddr = "10.0.0.1:7000".parse().expect("an address");
        let replica = |stage| Replica::new(now, peer, Introduction::default(), stage);
        let resume = next.map(|next| self.history.resume(self.backlog.as_ref(), id, next));
        if let Some(Resume::From(offset)) = resume {
            let mut replica = replica(Stage::Online);
            replica.sent = offset;
            *follower = Some(replica);
            return format!("+CONTINUE {}\r\n", self.history.id()).into_bytes();
        }
        if self.backlog.is_none() {
            if self.upstream.is_none() {
                let id = new_id(&mut self.rng);
                self.history.restart(id);
            }
            self.backlog = Some(Backlog::new(self.history.offset(), BACKLOG));
        }
        let mut replica = replica(Stage::Loads);
        replica.sent = self.history.offset();
        *follower = Some(replica);
        let (id, offset) = (self.history.id(), self.history.offset());
        let head = format!("+FULLRESYNC {id} {offset}\r\n${}\r\n", self.log.len() * 8);
        let mut bytes = head.into_bytes();
        bytes.extend(self.log.iter().flat_map(|what| what.to_be_bytes()));
        bytes
    }

    /// Replicas that are online are sent what they have not been sent.
    fn send_streams(&mut self) {
        let Some(backlog) = &self.backlog else { return };
        for (conn, follower) in &mut self.followers {
            let Some(replica) = &mut follower.replica else { continue };
            if replica.stage != Stage::Online {
                continue;
            }
            loop {
                let bytes = backlog.read(replica.sent);
                if bytes.is_empty() {
                    break;
                }
                replica.sent += bytes.len() as u64;
                self.tasks.push(Task::Send(*conn, bytes.to_vec()));
            }
        }
    }

    fn confirm(&mut self, offset: Offset) {
        let confirmed = self.waits.extract_if(.., |(_, end)| *end <= offset);
        self.tasks.extend(confirmed.map(|(what, _)| Task::Confirmed(what)));
    }

    /// What is due: an acknowledgement, or a sign of life.
    pub(crate) fn tick(&mut self, now: Now) {
        let offset = self.history.offset();
        if let Some(upstream) = &mut self.upstream {
            let due = upstream.acked.is_none_or(|(acked, at)| {
                acked != offset || now.instant.saturating_duration_since(at) >= ACK_EVERY
            });
            if let Some(conn) = upstream.conn.filter(|_| upstream.online && due) {
                upstream.acked = Some((offset, now.instant));
                self.tasks.push(Task::Send(conn, acknowledgement(offset, None)));
            }
            return;
        }
        let last = *self.pinged.get_or_insert(now.instant);
        let due = now.instant.saturating_duration_since(last) >= PING_EVERY;
        // Writes that are held back are to be the last of the stream.
        if due && !self.followers.is_empty() && !self.is_paused(now.instant) {
            self.pinged = Some(now.instant);
            self.extend(&[b'p'; RECORD]);
        }
    }

    pub(crate) fn pause(&mut self, until: Option<Instant>) {
        self.paused_until = until;
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    pub(crate) fn fsync(&mut self) {
        self.synced = self.log.len();
    }

    /// What was not synced is gone, and so is what only the process knew.
    pub(crate) fn crash(&mut self) {
        let kept = self.log[..self.synced].to_vec();
        *self = Self::new(self.rng.random());
        self.set_log(kept.into_iter());
        self.fsync();
    }

    /// A node that keeps nothing on disk has lost all.
    pub(crate) fn lose_all(&mut self) {
        self.set_log(std::iter::empty());
    }
}
