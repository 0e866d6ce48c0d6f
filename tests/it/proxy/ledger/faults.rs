//! What is done to the cluster while the clients write, and the moments that the books are judged
//! by.
//!
//! Replication is asynchronous: a primary that is killed takes with it what it acknowledged and had
//! not copied. So before a primary dies, its replica is waited for once more; whatever was
//! acknowledged before that is certain, whatever was sent after the death as well, and only what
//! was under way in the few milliseconds between is *exposed*.

use super::load::Load;
use crate::support::{Client, Cluster, eventually, temporary_folder, wait_for};
use keyway::cluster::{Slot, SlotSet};
use keyway::resp::Reply;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// For whatever follows a fault; the machine may be busy.
const SOON: Duration = Duration::from_secs(60);
/// Slots that one reshard moves.
const SLOTS_MOVED: usize = 60;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// kill -9 of a primary.
    Kill,
    /// SIGSTOP of a primary until its replica has taken over, then SIGCONT.
    Stop,
    /// CLUSTER FAILOVER.
    Manual,
    /// Slots move from one primary to another.
    Reshard,
    /// SIGTERM of a node, and its start.
    Restart,
}

impl What {
    /// Whether connections break with requests on them, so that `INDOUBT` is right.
    pub(super) fn breaks(self) -> bool {
        matches!(self, Self::Kill | Self::Stop | Self::Restart)
    }
}

/// One fault, as it went.
#[derive(Debug)]
pub(super) struct Fault {
    /// What was done.
    pub what: What,
    /// The slots of the primary that it was done to; for a reshard, all of its two.
    pub slots: SlotSet,
    /// When it began.
    pub begun: Instant,
    /// Whatever was acknowledged before this is on the replica.
    pub copied: Instant,
    /// Whatever was sent after this did not reach the primary that is gone.
    pub dead: Instant,
    /// When every client had gone on, on these slots.
    pub over: Instant,
}

impl Fault {
    /// Whether it may have cost a request its effect, though it was acknowledged.
    pub(super) fn exposes(&self, slot: Slot, sent: Instant, answered: Instant) -> bool {
        matches!(self.what, What::Kill | What::Stop)
            && self.slots.contains(slot)
            && answered >= self.copied
            && sent <= self.dead
    }

    /// Whether a request was under way while it went on, on a slot of the primary it was done to.
    pub(super) fn meets(&self, slot: Slot, sent: Instant, answered: Instant) -> bool {
        self.slots.contains(slot) && answered >= self.begun && sent <= self.over
    }
}

impl Fault {
    /// Where a request stands beside the fault's moments, in milliseconds: for whoever reads of a failure.
    pub(super) fn beside(&self, sent: Instant, answered: Instant) -> String {
        let since = |at: Instant, from: Instant| match at.checked_duration_since(from) {
            Some(after) => format!("{}", after.as_millis()),
            None => format!("-{}", (from - at).as_millis()),
        };
        format!(
            "{:?}: answered {} after copied, {} after begun; sent {} after dead, {} after over",
            self.what,
            since(answered, self.copied),
            since(answered, self.begun),
            since(sent, self.dead),
            since(sent, self.over),
        )
    }
}

/// The cluster, and what was done to it.
pub(super) struct Rig<'a> {
    pub cluster: &'a mut Cluster,
    pub load: &'a Load,
    pub done: Vec<Fault>,
}

impl Rig<'_> {
    /// Does it to a shard, and waits until all is well again.
    pub(super) fn carry_out(&mut self, what: What, shard: usize) {
        match what {
            What::Kill | What::Stop => self.lose_primary(what, shard),
            What::Manual => self.hand_over(shard),
            What::Reshard => self.reshard(shard),
            What::Restart => self.restart(self.primary_of(shard)),
        }
    }

    /// Every node in turn, replicas first, each stopped by SIGTERM and started again.
    pub(super) fn rolling_restart(&mut self, by_hand: bool) {
        let shards = self.cluster.primaries();
        for shard in 0..shards {
            self.restart(self.replica_of(shard));
            if by_hand {
                self.hand_over(shard);
                self.restart(self.replica_of(shard));
            } else {
                self.restart(self.primary_of(shard));
            }
        }
    }

    fn is_primary(&self, node: usize) -> bool {
        role(&self.cluster.nodes()[node].address()).as_deref() == Some("master")
    }

    /// Which of the two nodes of a shard is its primary.
    fn primary_of(&self, shard: usize) -> usize {
        let both = [shard, shard + self.cluster.primaries()];
        let found = eventually(SOON, || both.into_iter().find(|&node| self.is_primary(node)));
        found.expect("a shard has a primary")
    }

    fn replica_of(&self, shard: usize) -> usize {
        2 * shard + self.cluster.primaries() - self.primary_of(shard)
    }

    /// What a primary owns, by its own word.
    fn slots_of(&self, node: usize) -> SlotSet {
        let text = self.cluster.nodes()[node].client().text(&["CLUSTER", "NODES"]);
        let line = text.lines().find(|line| line.contains("myself")).expect("its own line");
        let mut slots = SlotSet::new();
        for word in line.split(' ').skip(8).filter(|word| !word.starts_with('[')) {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let number = |text: &str| text.parse::<u16>().expect("a slot");
            for slot in number(first)..=number(last) {
                slots.insert(Slot::new(slot).expect("a slot"));
            }
        }
        slots
    }

    /// Nothing begins before every client is at work.
    fn begin(&self, what: What, slots: SlotSet) -> Fault {
        self.load.await_all(&SlotSet::full(), Instant::now(), SOON);
        let now = Instant::now();
        Fault { what, slots, begun: now, copied: now, dead: now, over: now }
    }

    /// Waits until every client has gone on, and the cluster is as good as before.
    fn settle(&mut self, mut fault: Fault) {
        let since = Instant::now();
        self.load.await_all(&fault.slots, since, SOON);
        fault.over = Instant::now();
        self.cluster.await_agreement();
        self.cluster.await_replicas_online();
        self.done.push(fault);
    }

    fn offset(&self, node: usize, field: &str) -> u64 {
        self.cluster.nodes()[node].info(field).parse().expect("an offset is a number")
    }

    fn lose_primary(&mut self, what: What, shard: usize) {
        let (old, new) = (self.primary_of(shard), self.replica_of(shard));
        let mut fault = self.begin(what, self.slots_of(old));
        fault.copied = Instant::now();
        let written = self.offset(old, "master_repl_offset");
        wait_for("a replica to catch up", SOON, || {
            self.offset(new, "slave_repl_offset") >= written
        });
        fault.begun = Instant::now();
        if what == What::Kill {
            self.cluster.node_mut(old).kill();
        } else {
            self.cluster.node_mut(old).pause();
            let pid = self.cluster.nodes()[old].pid();
            wait_for("every thread of it stands", SOON, || is_stopped(pid));
        }
        fault.dead = Instant::now();
        wait_for("a promotion", SOON, || self.is_primary(new));
        // Nobody may still wait for the one that is gone when it comes back.
        self.load.await_all(&fault.slots, fault.dead, SOON);
        if what == What::Kill {
            self.cluster.node_mut(old).restart();
        } else {
            self.cluster.node_mut(old).resume();
        }
        wait_for("the old one is a replica", SOON, || !self.is_primary(old));
        self.settle(fault);
    }

    fn hand_over(&mut self, shard: usize) {
        let (old, new) = (self.primary_of(shard), self.replica_of(shard));
        let fault = self.begin(What::Manual, self.slots_of(old));
        // A primary gives up after five seconds if the replica does not catch up, and may be asked
        // again.
        wait_for("a manual failover", SOON, || {
            self.cluster.nodes()[new].client().call(&["CLUSTER", "FAILOVER"]);
            eventually(Duration::from_secs(10), || self.is_primary(new).then_some(())).is_some()
        });
        wait_for("the old one is a replica", SOON, || !self.is_primary(old));
        self.settle(fault);
    }

    /// Some slots of a shard go to the next one.
    fn reshard(&mut self, shard: usize) {
        let (from, to) = (shard, (shard + 1) % self.cluster.primaries());
        let (from, to) = (self.primary_of(from), self.primary_of(to));
        let mut fault = self.begin(What::Reshard, self.slots_of(from));
        for slot in self.slots_of(to).iter() {
            fault.slots.insert(slot);
        }
        let state = temporary_folder();
        let output = Command::new(env!("CARGO_BIN_EXE_keyway"))
            .env("XDG_STATE_HOME", state.path())
            .args(["cluster", "reshard", &self.cluster.nodes()[from].address()])
            .args(["--from", &self.cluster.id(from), "--to", &self.cluster.id(to)])
            .args(["--slots", &SLOTS_MOVED.to_string(), "--yes"])
            .stdin(Stdio::null())
            .output()
            .expect("the tool runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let tail: Vec<&str> = text.lines().rev().take(10).collect();
        assert!(output.status.success(), "the reshard went well: {tail:?}");
        self.settle(fault);
    }

    fn restart(&mut self, node: usize) {
        let slots = if self.is_primary(node) { self.slots_of(node) } else { SlotSet::new() };
        let fault = self.begin(What::Restart, slots);
        let ended = self.cluster.node_mut(node).terminate(SOON);
        assert!(ended.is_some_and(|ended| ended.success()), "it ends by SIGTERM: {ended:?}");
        self.cluster.node_mut(node).restart();
        if fault.slots.is_empty() {
            self.cluster.await_agreement();
            self.cluster.await_replicas_online();
            self.done.push(fault);
        } else {
            self.settle(fault);
        }
    }
}

/// What a node says it is; nothing while it does not answer.
fn role(address: &str) -> Option<String> {
    let port = address.rsplit_once(':')?.1.parse().ok()?;
    let mut client = Client::try_connect(port).ok()?;
    client.set_timeout(Duration::from_secs(2));
    let reply: Reply = client.try_call(&["ROLE"]).ok()?;
    Some(reply.as_array()?.first()?.as_str()?.to_owned())
}

/// Whether every thread of a process has been stopped by SIGSTOP.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = threads.map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    });
    states.all(|stopped| stopped)
}
