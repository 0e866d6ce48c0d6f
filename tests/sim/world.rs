//! The world: hosts, the connections between them, and what happens when.
//!
//! Connections are TCP's: in order, late at will, stalled by a partition, gone with their host.
//! A crash loses all but what was persisted, and may come between any two outputs of a member. A
//! host that is stopped (SIGSTOP) finds everything that was sent to it when it goes on.

use crate::checkers::Checkers;
use crate::data::{Conn, Data};
use crate::streams::Streams;
use keyway::bus::{
    self, Change, DataAtStart, Input, IpRange, Kind, LinkId, Member, Options, Output, Promises,
    Refusal, Step,
};
use keyway::clock::Now;
use keyway::cluster::{Durable, HoldsBack, NodeId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub(crate) const BUS_PORT: u16 = 17_000;
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection to nowhere takes to fail.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a partition holds a packet before it is tried again.
pub(crate) const STALL: Duration = Duration::from_millis(100);
/// How often replication looks what is due.
const COPY_EVERY: Duration = Duration::from_millis(40);
/// How often what was written reaches the disk for good (`appendfsync everysec`).
const FSYNC_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Host {
    pub(crate) member: Member,
    pub(crate) data: Data,
    disk: Option<Durable>,
    /// Saves so far, and the last of them, until the disk is given it.
    saves: u64,
    pending: Option<Durable>,
    /// What the disk takes its time over.
    saving: Option<(u64, Durable)>,
    /// What waits for that.
    promises: Promises,
    alive: bool,
    /// Until when it is stopped.
    stopped_until: Option<Instant>,
    /// After how many more outputs it crashes.
    fuse: Option<u32>,
    /// How often it has started: events of an earlier life do not reach a later one.
    life: u32,
}

/// One end of a connection.
type End = (usize, LinkId);

pub(crate) enum Event {
    Tick,
    Dialled {
        link: LinkId,
        to: SocketAddr,
    },
    Opened(LinkId),
    Closed(LinkId),
    Arrived {
        link: LinkId,
        bytes: Vec<u8>,
        from: usize,
    },
    Copy,
    /// The next bytes of a replication stream have come.
    Stream(Conn),
    /// A replication stream has ended.
    StreamClosed(Conn),
    Fsync,
    /// The save of this number is on disk.
    Saved(u64),
    Write,
}

pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    start: Now,
    pub(crate) now: Now,
    pub(crate) streams: Streams,
    rng: SmallRng,
    sequence: u64,
    events: BTreeMap<(Instant, u64), (usize, u32, Event)>,
    peers: BTreeMap<End, End>,
    /// When the last packet of a connection arrives: the next one does not overtake it.
    latest: BTreeMap<End, Instant>,
    /// Pairs, from and to, between which nothing gets through.
    cut: BTreeSet<(usize, usize)>,
    /// Pairs between which everything takes longer.
    pub(crate) slow: BTreeMap<(usize, usize), Duration>,
    pub(crate) checkers: Checkers,
    /// What the last write was.
    written: u64,
    pub(crate) node_timeout: Duration,
    /// Now and then one takes more than a second.
    pub(crate) disks_are_slow: bool,
    /// Every one takes so long.
    pub(crate) each_save_takes: Option<Duration>,
    /// Of a hundred packets of elections, so many are lost, with their connections.
    pub(crate) losses: usize,
    /// How many were.
    pub(crate) lost: u64,
    trace: DefaultHasher,
}

pub(crate) fn ip(host: usize) -> IpAddr {
    IpAddr::from([10, 0, (host / 250) as u8, (host % 250) as u8 + 1])
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize) -> Self {
        Self::with_timeout(seed, hosts, NODE_TIMEOUT)
    }

    /// With a node timeout of its own.
    pub(crate) fn with_timeout(seed: u64, hosts: usize, node_timeout: Duration) -> Self {
        let now = Now { instant: Instant::now(), unix_ms: 1_700_000_000_000, micros: 0 };
        let mut world = Self {
            hosts: Vec::new(),
            start: now,
            now,
            streams: Streams::default(),
            rng: SmallRng::seed_from_u64(seed),
            sequence: 0,
            events: BTreeMap::new(),
            peers: BTreeMap::new(),
            latest: BTreeMap::new(),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            checkers: Checkers::default(),
            written: 0,
            node_timeout,
            disks_are_slow: false,
            each_save_takes: None,
            losses: 0,
            lost: 0,
            trace: DefaultHasher::new(),
        };
        for host in 0..hosts {
            let seed = world.rng.random();
            let member = Member::new(Self::options(node_timeout), None, seed, world.now);
            let data = Data::new(world.rng.random());
            world.hosts.push(Host {
                member,
                data,
                disk: None,
                saves: 0,
                pending: None,
                saving: None,
                promises: Promises::new(None),
                alive: true,
                stopped_until: None,
                fuse: None,
                life: 0,
            });
            world.drain(host);
            world.begin(host);
        }
        world
    }

    /// What a host does from its start on.
    fn begin(&mut self, host: usize) {
        for event in [Event::Tick, Event::Copy, Event::Fsync] {
            self.schedule(host, Duration::ZERO, event);
        }
    }

    fn options(node_timeout: Duration) -> Options {
        let all: IpRange = "10.0.0.0/8".parse().expect("a range");
        Options { node_timeout, allow_from: vec![all], ..Options::new(7000) }
    }

    pub(crate) fn random(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    pub(crate) fn id(&self, host: usize) -> NodeId {
        self.hosts[host].member.view().myself().id
    }

    pub(crate) fn schedule(&mut self, host: usize, after: Duration, event: Event) {
        self.sequence += 1;
        let life = self.hosts[host].life;
        self.events.insert((self.now.instant + after, self.sequence), (host, life, event));
    }

    pub(crate) fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(100..20_000))
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    /// An operator's command.
    pub(crate) fn apply(&mut self, host: usize, change: Change) -> Result<(), Refusal> {
        self.tell_of_data(host);
        let applied = self.hosts[host].member.apply(self.now, change);
        self.drain(host);
        // The operator is told that it is done: all of it is saved.
        self.finish_saving(host);
        self.finish_saving(host);
        self.drain(host);
        applied.map(|_| ())
    }

    /// Clients write to this host, if it is a primary, from here on.
    pub(crate) fn write_to(&mut self, host: usize) {
        self.schedule(host, Duration::ZERO, Event::Write);
    }

    pub(crate) fn is_alive(&self, host: usize) -> bool {
        self.hosts[host].alive
    }

    /// The host crashes after so many more of its outputs.
    pub(crate) fn crash_after(&mut self, host: usize, outputs: u32) {
        self.hosts[host].fuse = Some(outputs);
    }

    /// It does not crash after all.
    pub(crate) fn disarm(&mut self, host: usize) {
        self.hosts[host].fuse = None;
    }

    /// SIGSTOP for so long, then SIGCONT.
    pub(crate) fn stop(&mut self, host: usize, time: Duration) {
        self.hosts[host].stopped_until = Some(self.now.instant + time);
    }

    /// Everything from one to the other takes so much longer.
    pub(crate) fn slow_down(&mut self, from: usize, to: usize, by: Duration) {
        self.slow.insert((from, to), by);
    }

    pub(crate) fn crash(&mut self, host: usize) {
        self.hosts[host].fuse = None;
        self.hosts[host].alive = false;
        // It may have got there before the end.
        if self.rng.random() {
            self.finish_saving(host);
        }
        self.hosts[host].saving = None;
        self.hosts[host].pending = None;
        self.hosts[host].life += 1;
        self.hosts[host].stopped_until = None;
        self.end_streams_of(host);
        self.hosts[host].data.crash();
        let ends: Vec<End> = self.peers.keys().filter(|end| end.0 == host).copied().collect();
        for end in ends {
            self.hang_up(end);
        }
    }

    pub(crate) fn restart(&mut self, host: usize) {
        let text = self.disk(host);
        let saved = Durable::parse(&text).expect("what was saved can be read");
        assert_eq!(saved.to_text(), text);
        let seed = self.rng.random();
        let member = Member::new(Self::options(self.node_timeout), Some(&saved), seed, self.now);
        self.hosts[host].member = member;
        self.hosts[host].promises = Promises::new(Some(saved));
        self.hosts[host].saves = 0;
        self.hosts[host].alive = true;
        // It has lost its power, and cannot know whether its last writes were on disk.
        let is_empty = self.hosts[host].data.is_empty();
        let data = if is_empty { DataAtStart::Empty } else { DataAtStart::MaybeOld };
        self.hosts[host].member.guard_restart(self.now, data);
        self.drain(host);
        self.begin(host);
    }

    /// Cuts the hosts in two, in both directions.
    pub(crate) fn partition(&mut self, side: &[usize]) {
        for a in 0..self.hosts.len() {
            for b in 0..self.hosts.len() {
                if side.contains(&a) != side.contains(&b) {
                    self.cut.insert((a, b));
                }
            }
        }
    }

    /// Nothing from `from` reaches `to`; the other way all is well.
    pub(crate) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
        self.losses = 0;
    }

    fn hang_up(&mut self, end: End) {
        let Some(peer) = self.peers.remove(&end) else { return };
        self.peers.remove(&peer);
        let delay = self.delay();
        // The other end learns of it after all that is still under way.
        let after = self.latest.get(&peer).map(|at| at.saturating_duration_since(self.now.instant));
        self.schedule(peer.0, delay + after.unwrap_or_default(), Event::Closed(peer.1));
    }

    /// Whether a packet is one of those that are lost.
    fn is_lost(&mut self, kind: Kind) -> bool {
        let of_election = matches!(kind, Kind::Fail | Kind::VoteRequest | Kind::VoteGranted);
        let lost = self.losses > 0 && of_election && self.random(100) < self.losses;
        self.lost += u64::from(lost);
        lost
    }

    /// A connection ends, with all that is under way in it; both ends learn of that.
    fn break_connection(&mut self, end: End) {
        self.hang_up(end);
        let delay = self.delay();
        self.schedule(end.0, delay, Event::Closed(end.1));
    }

    fn feed(&mut self, host: usize, input: Input) {
        self.tell_of_data(host);
        self.hosts[host].member.handle_input(self.now, input);
        self.drain(host);
    }

    fn tell_of_data(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.member.set_replication(host.data.replication());
    }

    /// What a member wants to be saved, as the shell does it. What promises nothing is on disk at once,
    /// unless something is under way.
    fn persist(&mut self, host: usize, durable: Durable) {
        let holder = &mut self.hosts[host];
        holder.saves += 1;
        holder.pending = Some(durable.clone());
        let holds_back = holder.promises.written(holder.saves, durable);
        if holder.saving.is_none() {
            self.begin_saving(host);
            if holds_back == HoldsBack::Nothing && self.each_save_takes.is_none() {
                self.finish_saving(host);
            }
        }
    }

    fn begin_saving(&mut self, host: usize) {
        let Some(durable) = self.hosts[host].pending.take() else { return };
        self.hosts[host].saving = Some((self.hosts[host].saves, durable));
        let after = match self.rng.random_range(0..10) {
            0 if self.disks_are_slow => Duration::from_millis(self.rng.random_range(20..4000)),
            _ => self.delay() + self.each_save_takes.unwrap_or_default(),
        };
        self.schedule(host, after, Event::Saved(self.hosts[host].saves));
    }

    /// What is under way is on disk, and the next thing is under way.
    fn finish_saving(&mut self, host: usize) {
        if let Some((number, durable)) = self.hosts[host].saving.take() {
            self.checkers.saved(&durable);
            self.hosts[host].promises.synced(number, &durable);
            self.hosts[host].disk = Some(durable);
        }
        self.begin_saving(host);
    }

    fn drain(&mut self, host: usize) {
        loop {
            let holder = &mut self.hosts[host];
            let Some(step) = holder.promises.next(&mut holder.member) else { return };
            if let Some(left) = &mut self.hosts[host].fuse {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.crash(host);
                    return;
                }
            }
            let output = match step {
                Step::Save(durable) => {
                    self.persist(host, durable);
                    continue;
                }
                Step::Do(output) => output,
            };
            let to = match &output {
                Output::Send { link, .. } => self.peers.get(&(host, *link)).map(|peer| peer.0),
                _ => None,
            };
            self.checkers.output(&output, to.map(|to| self.id(to)));
            match output {
                Output::Persist(_) => unreachable!("it is a step of its own"),
                Output::Connect { link, to } => {
                    let delay = self.delay();
                    self.schedule(host, delay, Event::Dialled { link, to });
                }
                Output::Send { link, packet } => {
                    let Some(peer) = self.peers.get(&(host, link)).copied() else { continue };
                    if self.is_lost(packet.kind()) {
                        self.break_connection((host, link));
                        continue;
                    }
                    let mut bytes = Vec::new();
                    bus::encode(&packet, &mut bytes);
                    self.checkers.count(bytes.len());
                    let slow = self.slow.get(&(host, peer.0)).copied().unwrap_or_default();
                    let delay = self.delay() + slow;
                    let latest = self.latest.entry(peer).or_insert(self.now.instant);
                    *latest = (self.now.instant + delay).max(*latest);
                    let after = latest.saturating_duration_since(self.now.instant);
                    let event = Event::Arrived { link: peer.1, bytes, from: host };
                    self.schedule(peer.0, after, event);
                }
                Output::Close(link) => self.hang_up((host, link)),
                Output::Replicate(source) => {
                    let of = source.map(|source| {
                        let at = |other: &usize| ip(*other) == source.address.ip();
                        (0..self.hosts.len()).find(at).expect("an address of this world")
                    });
                    self.hosts[host].data.follow(of);
                    self.carry_out(host);
                }
                Output::PauseWrites(until) => self.hosts[host].data.pause(until),
                Output::SlotsLost(_) | Output::Deliver(_) => {}
            }
        }
    }

    fn step(&mut self) {
        let Some(((at, _), (host, life, event))) = self.events.pop_first() else { return };
        let passed = at.saturating_duration_since(self.now.instant);
        self.now = self.now.after(passed);
        if self.hosts[host].life != life || !self.hosts[host].alive {
            return;
        }
        if let Some(until) = self.hosts[host].stopped_until {
            if self.now.instant < until {
                let left = until.saturating_duration_since(self.now.instant);
                self.schedule(host, left, event);
                return;
            }
            self.hosts[host].stopped_until = None;
        }
        match event {
            Event::Tick => {
                self.feed(host, Input::Timeout);
                let due = self.hosts[host].member.poll_timeout().expect("a member always ticks");
                let after = due.saturating_duration_since(self.now.instant);
                self.schedule(host, after.max(Duration::from_millis(1)), Event::Tick);
            }
            Event::Copy => {
                self.look_after_stream(host);
                self.schedule(host, COPY_EVERY, Event::Copy);
            }
            Event::Stream(conn) => self.stream_arrived(host, conn),
            Event::StreamClosed(conn) => self.stream_closed(host, conn),
            Event::Fsync => {
                self.hosts[host].data.fsync();
                self.schedule(host, FSYNC_EVERY, Event::Fsync);
            }
            Event::Saved(number) => {
                // It may have been waited for meanwhile.
                if self.hosts[host].saving.as_ref().is_some_and(|saving| saving.0 == number) {
                    self.finish_saving(host);
                    self.drain(host);
                }
            }
            Event::Write => {
                self.write(host);
                let pause = self.delay() * 5;
                self.schedule(host, pause, Event::Write);
            }
            Event::Dialled { link, to } => self.dial(host, link, to),
            Event::Opened(link) => self.feed(host, Input::Opened(link)),
            Event::Closed(link) => {
                self.peers.remove(&(host, link));
                self.feed(host, Input::Closed(link));
            }
            Event::Arrived { link, bytes, from } => {
                if !self.peers.contains_key(&(host, link)) {
                    return;
                }
                if self.is_cut(from, host) {
                    self.schedule(host, STALL, Event::Arrived { link, bytes, from });
                    return;
                }
                let at = self.now.instant.saturating_duration_since(self.start.instant);
                (host, at, &bytes).hash(&mut self.trace);
                let packet = bus::decode(&bytes.into());
                self.feed(host, Input::Received { link, packet });
            }
        }
    }

    /// A client's write, if this host takes any.
    fn write(&mut self, host: usize) {
        let Host { member, data, promises, .. } = &mut self.hosts[host];
        let view = member.view();
        let myself = view.myself();
        let serves = myself.is_voter() && view.state_ok && !member.is_guarded();
        if serves && !data.is_paused(self.now.instant) && !promises.hold_writes() {
            self.written += 1;
            data.write(self.written);
            self.checkers.written(myself.shard_id, self.written);
            self.carry_out(host);
        }
    }

    fn dial(&mut self, host: usize, link: LinkId, to: SocketAddr) {
        let target =
            (0..self.hosts.len()).find(|other| SocketAddr::new(ip(*other), BUS_PORT) == to);
        let Some(target) = target.filter(|target| self.hosts[*target].alive) else {
            self.feed(host, Input::Closed(link));
            return;
        };
        if self.is_cut(host, target) || self.is_cut(target, host) {
            self.schedule(host, CONNECT_TIMEOUT, Event::Closed(link));
            return;
        }
        let Some(accepted) = self.hosts[target].member.new_link(ip(host), ip(target)) else {
            self.feed(host, Input::Closed(link));
            return;
        };
        self.peers.insert((host, link), (target, accepted));
        self.peers.insert((target, accepted), (host, link));
        self.feed(target, Input::Accepted { link: accepted, peer: ip(host), local: ip(target) });
        let delay = self.delay();
        self.schedule(host, delay, Event::Opened(link));
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step();
            self.check_invariants();
        }
        let left = until.saturating_duration_since(self.now.instant);
        self.now = self.now.after(left);
    }

    /// Lets time pass until `fact` is true.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        within: Duration,
        fact: impl Fn(&Self) -> bool,
    ) -> Duration {
        let begin = self.now.instant;
        while !fact(self) {
            let waited = self.now.instant.saturating_duration_since(begin);
            assert!(waited < within, "not within {within:?}: {what}\n{}", self.show());
            self.run(Duration::from_millis(100));
        }
        self.now.instant.saturating_duration_since(begin)
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.alive)
    }

    /// What must hold whatever happens: no node has an epoch that it has not seen.
    fn check_invariants(&self) {
        for host in self.alive() {
            let view = host.member.view();
            assert!(view.current_epoch >= view.myself().config_epoch, "an epoch nobody has seen");
        }
    }

    /// Changes the settings of a host.
    pub(crate) fn with_options(&mut self, host: usize, change: impl FnOnce(&mut Options)) {
        let mut options = self.hosts[host].member.options().clone();
        change(&mut options);
        self.hosts[host].member.set_options(options);
        self.drain(host);
    }

    /// A number for all that has happened: the same for the same seed.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// The text of a host's nodes.conf.
    pub(crate) fn disk(&self, host: usize) -> String {
        self.hosts[host].disk.as_ref().expect("it has saved something").to_text()
    }
}
