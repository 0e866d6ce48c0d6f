//! When the topology is read, and from whom: one reading at a time, however many ask for it.

use super::options::Options;
use crate::clock::Backoff;
use crate::cluster::{Endpoint, Slot};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Decides when to ask which node.
#[derive(Debug)]
pub(super) struct Refresher {
    refresh: Duration,
    refresh_min: Duration,
    seeds: Vec<Endpoint>,
    last_began: Option<Instant>,
    next_regular: Instant,
    /// Nodes that did not answer, and when.
    silent: BTreeMap<Endpoint, Instant>,
    failures: u32,
    turn: usize,
}

/// Waits between rounds in which nobody answered.
const NOBODY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// How soon a map with holes is read again.
const INCOMPLETE: Duration = Duration::from_secs(1);

/// How long a node that did not answer is asked last.
const SILENT: Duration = Duration::from_secs(5);

impl Refresher {
    /// Reads for the first time at once.
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        Self {
            refresh: options.refresh,
            refresh_min: options.refresh_min,
            seeds: options.seeds.clone(),
            last_began: None,
            next_regular: now,
            silent: BTreeMap::new(),
            failures: 0,
            turn: 0,
        }
    }

    /// When to read next; `wanted` when somebody has asked for it.
    pub(super) fn next(&self, wanted: bool) -> Instant {
        let Some(last) = self.last_began else { return self.next_regular };
        if wanted { self.next_regular.min(last + self.refresh_min) } else { self.next_regular }
    }

    /// A reading begins: whom to ask, in this order, until one answers. Members of the cluster come
    /// first, another one each time; the seeds are only where it starts, and the last resort.
    pub(super) fn begin(&mut self, members: Vec<Endpoint>, now: Instant) -> Vec<Endpoint> {
        self.last_began = Some(now);
        self.silent.retain(|_, at| now.saturating_duration_since(*at) < SILENT);
        let mut order = members;
        if !order.is_empty() {
            self.turn = (self.turn + 1) % order.len();
            order.rotate_left(self.turn);
        }
        order.extend(self.seeds.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        order.retain(|endpoint| seen.insert(endpoint.clone()));
        order.sort_by_key(|endpoint| self.silent.contains_key(endpoint));
        order
    }

    /// A node did not answer.
    pub(super) fn did_not_answer(&mut self, node: &Endpoint, now: Instant) {
        self.silent.insert(node.clone(), now);
    }

    /// A reading has ended; `covered` slots have an owner now, or nobody answered.
    pub(super) fn ended(&mut self, covered: Option<usize>, now: Instant) {
        let wait = match covered {
            None => {
                self.failures += 1;
                NOBODY.wait(self.failures - 1)
            }
            Some(covered) => {
                self.failures = 0;
                if covered < Slot::COUNT { INCOMPLETE.min(self.refresh) } else { self.refresh }
            }
        };
        self.next_regular = now + wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Endpoint {
        Endpoint::new("127.0.0.1", port)
    }

    #[allow(clippy::disallowed_methods, reason = "tests need some start")]
    fn start() -> (Refresher, Instant) {
        let now = Instant::now();
        let options = Options { seeds: vec![at(1)], ..Options::default() };
        (Refresher::new(&options, now), now)
    }

    #[test]
    fn however_many_ask_it_reads_at_most_every_refresh_min() {
        let (mut refresher, now) = start();
        assert_eq!(refresher.next(false), now, "the first reading is at once");
        refresher.begin(Vec::new(), now);
        refresher.ended(Some(Slot::COUNT), now);
        assert_eq!(refresher.next(false), now + Duration::from_secs(15));
        assert_eq!(refresher.next(true), now + Duration::from_millis(100));
    }

    #[test]
    fn a_map_with_holes_is_read_again_soon_and_an_outage_makes_no_storm() {
        let (mut refresher, now) = start();
        refresher.begin(Vec::new(), now);
        refresher.ended(Some(10), now);
        assert_eq!(refresher.next(false), now + INCOMPLETE);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            refresher.ended(None, now);
            assert_eq!(refresher.next(false), now + Duration::from_millis(expected));
        }
    }

    #[test]
    fn seeds_are_only_where_it_starts_and_the_silent_are_asked_last() {
        let (mut refresher, now) = start();
        assert_eq!(refresher.begin(Vec::new(), now), [at(1)]);
        assert_eq!(refresher.begin(vec![at(2), at(3)], now), [at(3), at(2), at(1)]);
        assert_eq!(refresher.begin(vec![at(2), at(3)], now), [at(2), at(3), at(1)]);
        refresher.did_not_answer(&at(3), now);
        assert_eq!(refresher.begin(vec![at(2), at(3)], now), [at(2), at(1), at(3)]);
        let later = now + SILENT;
        assert_eq!(refresher.begin(vec![at(2), at(3)], later), [at(2), at(3), at(1)]);
    }
}
