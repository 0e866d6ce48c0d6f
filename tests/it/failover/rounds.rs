//! Everything that can happen to primaries, round after round, while they are written to: what a
//! client was told holds, as far as Redis promises it, and a replica takes over in time.
//!
//! Five primaries, of which two have a replica; each trouble exchanges the roles of a pair, so that
//! with nodes of two kinds each kind is replaced by the other. A few rounds run in CI;
//! `KEYWAY_ROUNDS` says how many of each.

use super::evidence::{Evidence, TELL_AFTER};
use super::ledger::{Ledger, Outcome, write};
use super::{NODE_TIMEOUT, PROMOTION_MAX, SOON, StopAtEnd, is_primary};
use crate::support::{Client, Cluster, Kind, eventually, wait_for};
use keyway::resp::Reply;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Writes that are acknowledged before a trouble begins, and after it has passed.
const ACKNOWLEDGED: usize = 300;
/// How often a trouble is tried that is not alone.
const ATTEMPTS: usize = 5;

/// A stock replica does not stand again so soon after it stood: twice as long as it waits for votes, which is
/// twice the node timeout.
const REST: Duration = NODE_TIMEOUT.saturating_mul(4);

/// Links that come and go are told at this level.
const DIRECTIVES: [&str; 4] = ["--appendonly", "yes", "--loglevel", "verbose"];

/// A primary and its replica, by their places in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    share: usize,
    primary: usize,
    replica: usize,
}

/// What is done to the primaries of some pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// kill -9; started again once it was replaced.
    Kill,
    /// SIGSTOP; SIGCONT once it was replaced.
    Stop,
    /// CLUSTER FAILOVER.
    Manual,
    /// kill -9 of two at once; both are started again.
    KillTwo,
}

#[derive(Default)]
struct Figures {
    promotions: Vec<Duration>,
    writes: Outcome,
}

struct Rounds {
    cluster: Cluster,
    pairs: [Pair; 2],
    /// How many troubles there were: each has lists of its own.
    count: usize,
    /// How many of them were not the only one: on a machine that stands still for seconds, a cluster
    /// replaces primaries by itself.
    disturbed: usize,
    figures: BTreeMap<Trouble, Figures>,
    /// When a node last took over.
    stood: BTreeMap<usize, Instant>,
    /// The most that a promotion may take.
    bound: Duration,
}

impl Rounds {
    fn new(primaries: [Kind; 5], replicas: [Kind; 2]) -> Option<Self> {
        let cluster = Cluster::mixed_with(&primaries, &replicas, &DIRECTIVES)?;
        let pair = |share| Pair { share, primary: share, replica: primaries.len() + share };
        // Redis 7.0 lets replicas of two shards stand in one epoch, where neither may win: it tries
        // again after twice the wait for votes.
        let redis = primaries.iter().chain(&replicas).any(|kind| *kind == Kind::Redis);
        let bound = if redis { PROMOTION_MAX + NODE_TIMEOUT * 4 } else { PROMOTION_MAX };
        Some(Self {
            bound,
            cluster,
            pairs: [pair(0), pair(1)],
            count: 0,
            disturbed: 0,
            figures: BTreeMap::new(),
            stood: BTreeMap::new(),
        })
    }

    fn round(&mut self) {
        self.trouble(Trouble::Kill, &[0]);
        self.trouble(Trouble::Stop, &[1]);
        self.trouble(Trouble::KillTwo, &[0, 1]);
        self.trouble(Trouble::Manual, &[1]);
        self.trouble(Trouble::Manual, &[0]);
    }

    /// One trouble under load, and what was lost in it; again if it was not the only one.
    fn trouble(&mut self, trouble: Trouble, of: &[usize]) {
        for _ in 0..ATTEMPTS {
            self.pairs = self.look();
            if self.attempt(trouble, of) {
                return;
            }
            self.disturbed += 1;
        }
        panic!("primaries were replaced without a reason, {ATTEMPTS} times in a row");
    }

    /// Who is the primary of each pair.
    fn look(&self) -> [Pair; 2] {
        self.pairs.map(|pair| {
            let exchanged = Pair { primary: pair.replica, replica: pair.primary, ..pair };
            let one = || match [pair.primary, pair.replica].map(|n| is_primary(&self.cluster, n)) {
                [true, false] => Some(pair),
                [false, true] => Some(exchanged),
                _ => None,
            };
            eventually(SOON, one).expect("one primary of two")
        })
    }

    /// False if something else replaced a primary meanwhile: such a run says nothing.
    fn attempt(&mut self, trouble: Trouble, of: &[usize]) -> bool {
        self.count += 1;
        let fault = format!("trouble {}, {trouble:?}", self.count);
        let lists: Vec<(usize, String)> = of
            .iter()
            .flat_map(|&pair| (0..2).map(move |writer| (pair, writer)))
            .map(|(pair, writer)| {
                let tag = self.cluster.key_of(self.pairs[pair].share, "list");
                (pair, format!("{{{tag}}}:{}:{writer}", self.count))
            })
            .collect();
        let stable = self.cluster.nodes()[self.cluster.primaries() - 1].port();
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let ran = std::thread::scope(|scope| {
            // Also when a wait below fails: the scope waits for its threads.
            let _stop = StopAtEnd(&stop);
            let writers: Vec<_> = lists
                .iter()
                .enumerate()
                .map(|(number, (_, key))| {
                    let (stop, count) = (&stop, &count);
                    // Every other writer waits for a replica to have what it wrote.
                    scope.spawn(move || write(key, stable, number % 2 == 1, stop, count))
                })
                .collect();
            let passed = |what: &str| {
                let from = count.load(Ordering::Relaxed);
                wait_for(what, SOON, || count.load(Ordering::Relaxed) >= from + ACKNOWLEDGED);
            };
            passed("writes before");
            if self.look() != self.pairs {
                return None;
            }
            let took = self.begin(trouble, of)?;
            passed("writes after a promotion");
            let first: Vec<Vec<u64>> = lists
                .iter()
                .map(|(pair, key)| list(&self.cluster, self.pairs[*pair].primary, key))
                .collect();
            self.end(trouble, of);
            passed("writes after the old primary is back");
            if self.look() != self.pairs {
                return None;
            }
            stop.store(true, Ordering::Relaxed);
            let ledgers: Vec<Ledger> =
                writers.into_iter().map(|writer| writer.join().expect("it goes on")).collect();
            Some((ledgers, first, took))
        });
        let Some((ledgers, first, took)) = ran else { return false };
        let figures = self.figures.entry(trouble).or_default();
        figures.promotions.extend(took);
        for ((ledger, (pair, key)), first) in ledgers.iter().zip(&lists).zip(first) {
            let Pair { primary, replica, .. } = self.pairs[*pair];
            let there = list(&self.cluster, primary, key);
            assert!(
                there.starts_with(&first),
                "{fault}: {key} is not what it was: an old value is back"
            );
            let outcome = ledger.check(&there, &fault);
            assert!(
                trouble != Trouble::Manual || outcome.lost == 0,
                "{fault}: {key} lost {outcome:?}"
            );
            figures.writes.add(outcome);
            wait_for("the old primary to have what the new one has", SOON, || {
                list(&self.cluster, replica, key) == there
            });
            self.cluster.nodes()[primary].client().call(&["DEL", key]);
        }
        true
    }

    /// What happens, up to the moment where each primary is replaced, and how long that took. None if
    /// a primary was none any more.
    fn begin(&mut self, trouble: Trouble, of: &[usize]) -> Option<Vec<Duration>> {
        let pairs: Vec<Pair> = of.iter().map(|&pair| self.pairs[pair]).collect();
        if trouble != Trouble::Manual {
            self.let_rest(&pairs);
        }
        let evidence = Evidence::since_now(&self.cluster);
        let since = Instant::now();
        for pair in &pairs {
            match trouble {
                Trouble::Kill | Trouble::KillTwo => self.cluster.node_mut(pair.primary).kill(),
                Trouble::Stop => self.cluster.node_mut(pair.primary).pause(),
                Trouble::Manual => {
                    let mut replica = self.cluster.nodes()[pair.replica].client();
                    if replica.call(&["CLUSTER", "FAILOVER"]) != Reply::simple("OK") {
                        return None;
                    }
                }
            }
        }
        let mut all = Vec::new();
        for (pair, &at) in pairs.iter().zip(of) {
            let promoted = || is_primary(&self.cluster, pair.replica).then_some(());
            let was_promoted = eventually(SOON, promoted).is_some();
            let took = since.elapsed();
            if took > TELL_AFTER {
                let (number, told) = (self.count, evidence.tell(&self.cluster));
                let _ = writeln!(
                    std::io::stderr(),
                    "trouble {number}, {trouble:?}: node {} was promoted after {took:.2?}:\n{told}",
                    pair.replica
                );
            }
            assert!(was_promoted, "not within {SOON:?}: a promotion");
            all.push(took);
            self.stood.insert(pair.replica, Instant::now());
            self.pairs[at] = Pair { primary: pair.replica, replica: pair.primary, ..*pair };
        }
        Some(all)
    }

    /// A replica that could not stand yet would say nothing of how long a promotion takes.
    fn let_rest(&self, pairs: &[Pair]) {
        let stock = |pair: &&Pair| self.cluster.nodes()[pair.replica].kind() != Kind::Keyway;
        for pair in pairs.iter().filter(stock) {
            let may_stand = || self.stood.get(&pair.replica).is_none_or(|at| at.elapsed() > REST);
            wait_for("the replica to be able to stand", SOON, may_stand);
        }
    }

    /// The old primaries are back, as replicas.
    fn end(&mut self, trouble: Trouble, of: &[usize]) {
        for &pair in of {
            let old = self.cluster.node_mut(self.pairs[pair].replica);
            match trouble {
                Trouble::Kill | Trouble::KillTwo => old.restart(),
                Trouble::Stop => old.resume(),
                Trouble::Manual => {}
            }
        }
        self.look();
        self.cluster.await_agreement();
        self.cluster.await_replicas_online();
    }

    fn report(&mut self, what: &str) {
        for (trouble, figures) in &mut self.figures {
            let took = &mut figures.promotions;
            took.sort();
            let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
            let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
            let Outcome { acknowledged, lost, copied, pause } = figures.writes;
            // Not `eprintln!`, which the test harness holds back when the test passes.
            let _ = writeln!(
                std::io::stderr(),
                "measured: {what}: {trouble:?}: {} promotions after {} (median), {} (worst); writers \
                 paused {} at most; of {acknowledged} acknowledged writes {lost} were lost, of \
                 {copied} with WAIT 1 none",
                took.len(),
                seconds(median),
                seconds(worst),
                seconds(pause),
            );
        }
        if self.disturbed > 0 {
            let disturbed = self.disturbed;
            let _ = writeln!(
                std::io::stderr(),
                "measured: {what}: {disturbed} troubles more were not the only one at the time, and \
                 were tried again: the machine is busy"
            );
        }
        for (trouble, figures) in &self.figures {
            let took = &figures.promotions;
            assert!(took.iter().all(|took| *took <= self.bound), "{trouble:?}: {took:?}");
        }
    }
}

/// A list, as one node has it.
fn list(cluster: &Cluster, node: usize, key: &str) -> Vec<u64> {
    let mut client: Client = cluster.nodes()[node].client();
    client.ok(&["READONLY"]);
    let mut reply = Reply::Null;
    // A primary that stood still answers CLUSTERDOWN until it has heard from the others.
    wait_for("it serves reads", Duration::from_secs(30), || {
        reply = client.call(&["LRANGE", key, "0", "-1"]);
        reply.as_array().is_some()
    });
    let items = reply.as_array().expect("just looked at");
    let number = |item: &Reply| item.as_str().and_then(|text| text.parse().ok());
    items.iter().map(|item| number(item).expect("a number")).collect()
}

/// How many rounds: `max` in the long form of the proof.
fn run(what: &str, primaries: [Kind; 5], replicas: [Kind; 2]) {
    let Some(mut rounds) = Rounds::new(primaries, replicas) else { return };
    for _ in 0..super::rounds() {
        rounds.round();
    }
    rounds.report(what);
}

#[test]
fn rounds_on_our_own_nodes() {
    run("Keyway", [Kind::Keyway; 5], [Kind::Keyway; 2]);
}

#[test]
fn rounds_with_redis() {
    use Kind::{Keyway, Redis};
    run("Keyway and Redis", [Keyway, Redis, Keyway, Redis, Keyway], [Redis, Keyway]);
}

#[test]
fn rounds_with_valkey() {
    use Kind::{Keyway, Valkey};
    run("Keyway and Valkey", [Keyway, Valkey, Keyway, Valkey, Keyway], [Valkey, Keyway]);
}

#[test]
fn rounds_with_redis_and_valkey() {
    use Kind::{Keyway, Redis, Valkey};
    run("Keyway, Redis and Valkey", [Keyway, Redis, Valkey, Redis, Keyway], [Valkey, Keyway]);
}
