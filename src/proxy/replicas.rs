//! Which replicas may be read from: those that have their primary, have its data, and are not far
//! behind it.
//!
//! A replica's lag is the age of the last moment at which it had everything that its primary had
//! then. Offsets alone would not tell: a megabyte is nothing to one cluster and an hour to another.

use crate::cluster::{Endpoint, View};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Where commands that only read are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// To the owner of their slot.
    #[default]
    Primary,
    /// To a replica of it, or to the owner where no replica will do.
    PreferReplica,
    /// To a replica of it; they wait until one will do.
    Replica,
    /// To whichever of them answers quickest.
    Nearest,
}

impl ReadFrom {
    /// Every one, and the word for it.
    pub const ALL: [(&'static str, Self); 4] = [
        ("primary", Self::Primary),
        ("prefer_replica", Self::PreferReplica),
        ("replica", Self::Replica),
        ("nearest", Self::Nearest),
    ];
}

/// What a node's INFO says about replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// It is a primary.
    primary: bool,
    /// It has its primary, has its data and is loading nothing.
    well: bool,
    /// How much of the stream of changes it has.
    offset: u64,
}

impl Told {
    /// Reads INFO's sections `replication` and `persistence`.
    pub(super) fn parse(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).unwrap_or_default()
        };
        let primary = field("role") == "master";
        let offset = if primary { "master_repl_offset" } else { "slave_repl_offset" };
        let linked = field("master_link_status") == "up" && field("master_sync_in_progress") == "0";
        Self {
            primary,
            well: (primary || linked) && field("loading") != "1",
            offset: field(offset).parse().unwrap_or(0),
        }
    }
}

/// One node that was asked.
#[derive(Debug, Default)]
struct Watched {
    told: Told,
    /// How long it takes to answer, lately.
    latency: Duration,
    /// What it had when, newest last: of a primary alone.
    past: VecDeque<(Instant, u64)>,
    /// The last moment at which a replica had everything that its primary had then.
    caught_up: Option<Instant>,
}

/// What is known of all nodes.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    /// Each replica, and its primary.
    pairs: Vec<(Endpoint, Endpoint)>,
    nodes: BTreeMap<Endpoint, Watched>,
}

/// A node that may be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How long it takes to answer.
    pub latency: Duration,
}

/// The nodes that may be read from, for each primary.
#[derive(Debug, Default)]
pub struct ReadTargets {
    replicas: BTreeMap<Endpoint, Vec<Candidate>>,
    primaries: BTreeMap<Endpoint, Duration>,
}

impl ReadTargets {
    /// The replicas of a primary that will do, the quickest first.
    pub(super) fn replicas(&self, primary: &Endpoint) -> &[Candidate] {
        self.replicas.get(primary).map(Vec::as_slice).unwrap_or_default()
    }

    /// How long a primary takes to answer, where that is known.
    pub(super) fn latency(&self, primary: &Endpoint) -> Option<Duration> {
        self.primaries.get(primary).copied()
    }
}

/// How many moments of a primary are remembered.
const PAST_MAX: usize = 128;

impl Replicas {
    /// The topology was read again: who replicates whom.
    pub(super) fn members(&mut self, pairs: Vec<(Endpoint, Endpoint)>) {
        self.nodes.retain(|node, _| pairs.iter().any(|(a, b)| a == node || b == node));
        self.pairs = pairs;
    }

    /// The nodes to ask.
    pub(super) fn to_ask(&self) -> Vec<Endpoint> {
        let mut nodes: Vec<Endpoint> =
            self.pairs.iter().map(|(_, primary)| primary.clone()).collect();
        nodes.sort();
        nodes.dedup();
        nodes.extend(self.pairs.iter().map(|(replica, _)| replica.clone()));
        nodes
    }

    /// A node has answered after `took`, to a question asked at `asked`.
    pub(super) fn answered(&mut self, node: &Endpoint, told: Told, asked: Instant, took: Duration) {
        let watched = self.nodes.entry(node.clone()).or_default();
        // Half old, half new: one slow answer is not the distance to a node.
        watched.latency =
            if watched.latency.is_zero() { took } else { (watched.latency + took) / 2 };
        if told.primary {
            watched.past.push_back((asked, told.offset));
            if watched.past.len() > PAST_MAX {
                watched.past.pop_front();
            }
        }
        let has = told.offset;
        watched.told = told;
        let primary = self.pairs.iter().find(|(replica, _)| replica == node).map(|(_, p)| p);
        let past = primary.and_then(|primary| self.nodes.get(primary)).map(|p| &p.past);
        let caught_up = past.and_then(|past| {
            past.iter().rev().find(|(_, offset)| *offset <= has).map(|(at, _)| *at)
        });
        if let (Some(at), Some(watched)) = (caught_up, self.nodes.get_mut(node)) {
            watched.caught_up = Some(watched.caught_up.map_or(at, |before| before.max(at)));
        }
    }

    /// A node has not answered.
    pub(super) fn did_not_answer(&mut self, node: &Endpoint) {
        self.nodes.remove(node);
    }

    /// Who may be read from, where a lag of `max_lag` is too much.
    pub(super) fn targets(&self, max_lag: Duration, now: Instant) -> ReadTargets {
        let mut targets = ReadTargets::default();
        for (replica, primary) in &self.pairs {
            if let Some(watched) = self.nodes.get(primary) {
                targets.primaries.insert(primary.clone(), watched.latency);
            }
            let Some(watched) = self.nodes.get(replica) else { continue };
            let lag = watched.caught_up.map(|at| now.saturating_duration_since(at));
            if watched.told.primary || !watched.told.well || lag.is_none_or(|lag| lag > max_lag) {
                continue;
            }
            let candidate = Candidate { endpoint: replica.clone(), latency: watched.latency };
            targets.replicas.entry(primary.clone()).or_default().push(candidate);
        }
        for candidates in targets.replicas.values_mut() {
            candidates.sort_by_key(|candidate| candidate.latency);
        }
        targets
    }
}

/// Who replicates whom, in a view whose addresses are those to connect to.
pub(super) fn pairs(view: &View) -> Vec<(Endpoint, Endpoint)> {
    let usable = view.nodes.iter().filter(|node| !node.unusable && !node.failed);
    usable
        .filter_map(|node| {
            let primary = view.node(node.replica_of?)?;
            Some((node.endpoint.clone(), primary.endpoint.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Endpoint {
        Endpoint::new("n", port)
    }

    fn primary(offset: u64) -> Told {
        Told::parse(&format!("role:master\r\nmaster_repl_offset:{offset}\r\nloading:0\r\n"))
    }

    fn replica(offset: u64, link: &str, loading: u8) -> Told {
        Told::parse(&format!(
            "role:slave\r\nmaster_link_status:{link}\r\nmaster_sync_in_progress:0\r\n\
             slave_repl_offset:{offset}\r\nloading:{loading}\r\n"
        ))
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "tests need some start")]
    fn a_replica_that_is_not_well_or_far_behind_is_left_out() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let took = Duration::from_millis(1);
        let mut replicas = Replicas::default();
        replicas.members(vec![(at(2), at(1)), (at(3), at(1))]);
        assert_eq!(replicas.to_ask(), [at(1), at(2), at(3)]);
        let ports = |replicas: &Replicas, now| -> Vec<u16> {
            let targets = replicas.targets(Duration::from_secs(5), now);
            targets.replicas(&at(1)).iter().map(|c| c.endpoint.port).collect()
        };
        replicas.answered(&at(1), primary(100), second(0), took);
        replicas.answered(&at(2), replica(100, "up", 0), second(0), took * 9);
        replicas.answered(&at(3), replica(90, "up", 0), second(0), took);
        assert_eq!(ports(&replicas, second(0)), [2], "the other never had it all");
        replicas.answered(&at(3), replica(100, "up", 0), second(1), took);
        assert_eq!(ports(&replicas, second(1)), [3, 2], "the quickest first");
        // The primary goes on, one replica does not.
        for n in 2..10 {
            replicas.answered(&at(1), primary(100 + n), second(n), took);
            replicas.answered(&at(2), replica(101, "up", 0), second(n), took);
            replicas.answered(&at(3), replica(100 + n, "up", 0), second(n), took);
        }
        assert_eq!(ports(&replicas, second(9)), [3]);
        for told in [replica(109, "down", 0), replica(109, "up", 1), primary(109)] {
            replicas.answered(&at(3), told, second(9), took);
            assert_eq!(ports(&replicas, second(9)), [] as [u16; 0]);
        }
        replicas.answered(&at(3), replica(109, "up", 0), second(9), took);
        assert_eq!(ports(&replicas, second(9)), [3]);
        replicas.did_not_answer(&at(3));
        assert_eq!(ports(&replicas, second(9)), [] as [u16; 0]);
    }
}
