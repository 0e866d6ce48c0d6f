//! What took longer than `latency-monitor-threshold`: LATENCY LATEST and HISTORY.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The latest slow events, by name.
#[derive(Debug, Default)]
pub(super) struct LatencyEvents {
    events: BTreeMap<&'static str, Event>,
}

/// The samples of one kind of event.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// Seconds since 1970, and milliseconds it took; one per second, the longest.
    samples: VecDeque<(u64, u64)>,
    longest: u64,
}

/// Samples that are kept of an event.
const SAMPLES_MAX: usize = 160;

impl LatencyEvents {
    /// Adds a sample.
    pub(super) fn add(&mut self, name: &'static str, unix_seconds: u64, took: Duration) {
        let event = self.events.entry(name).or_default();
        let millis = took.as_millis() as u64;
        event.longest = event.longest.max(millis);
        match event.samples.back_mut() {
            Some((when, longest)) if *when == unix_seconds => *longest = millis.max(*longest),
            _ => {
                if event.samples.len() == SAMPLES_MAX {
                    event.samples.pop_front();
                }
                event.samples.push_back((unix_seconds, millis));
            }
        }
    }

    /// The events, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Event)> {
        self.events.iter().map(|(name, event)| (*name, event))
    }

    /// The samples of one event, oldest first.
    pub(super) fn samples(&self, name: &str) -> Vec<(u64, u64)> {
        self.events
            .get(name)
            .map(|event| event.samples.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Forgets the events for whose names `which` says so; how many there were.
    pub(super) fn forget(&mut self, which: impl Fn(&str) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|name, _| !which(name));
        before - self.events.len()
    }
}

impl Event {
    /// When it last happened, and how long it took.
    pub(super) fn latest(&self) -> (u64, u64) {
        self.samples.back().copied().unwrap_or_default()
    }

    /// The longest it ever took, in milliseconds.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_each_second_is_kept() {
        let mut events = LatencyEvents::default();
        for (second, millis) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            events.add("command", second, Duration::from_millis(millis));
        }
        assert_eq!(events.samples("command"), [(1, 9), (2, 3)]);
        let (_, event) = events.iter().next().expect("one");
        assert_eq!((event.latest(), event.longest()), ((2, 3), 9));
        assert_eq!(events.forget(|name| name == "fork"), 0);
        assert_eq!(events.forget(|_| true), 1);
    }
}
