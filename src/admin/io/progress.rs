//! What is told while slots move: one line that is rewritten where somebody watches, a line per slot
//! or per pair of nodes in a log.

use super::nodes::Cluster;
use super::report::Report;
use crate::admin::plan::Move;
use crate::clock::Now;
use crate::cluster::{Endpoint, NodeId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Columns of the bar, where the terminal has room for it.
const BAR_MAX: usize = 30;
/// A shorter bar shows nothing: the figures stand alone then.
const BAR_MIN: usize = 5;

/// How progress is told where nobody watches live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A line per slot, a dot per key: `reshard`, `fix`.
    Slots,
    /// A line per pair of nodes, a `#` per slot: `rebalance`.
    Transfers,
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Slots that have their new owner.
    pub(super) slots: u64,
    /// Keys that went with them.
    pub(super) keys: u64,
}

/// A slot that has arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Whose and where it was.
    pub(super) slot_move: Move,
    /// Keys that came with it.
    pub(super) keys: u64,
}

/// The tale of one run of moves.
#[derive(Debug)]
pub(super) struct Progress {
    names: BTreeMap<NodeId, Endpoint>,
    style: Style,
    start: Instant,
    total: u64,
    moved: Moved,
    /// Slots still to come, and slots in all, per pair of nodes.
    pending: BTreeMap<(NodeId, NodeId), (usize, usize)>,
}

impl Progress {
    pub(super) fn new(cluster: &Cluster, moves: &[Move], style: Style) -> Self {
        let names = cluster.snapshot.nodes.iter().map(|node| (node.id(), node.endpoint.clone()));
        let mut pending: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for slot_move in moves {
            let (left, all) = pending.entry((slot_move.from, slot_move.to)).or_default();
            *left += 1;
            *all += 1;
        }
        Self {
            names: names.collect(),
            style,
            start: Now::read().instant,
            total: moves.len() as u64,
            moved: Moved::default(),
            pending,
        }
    }

    /// What has arrived so far.
    pub(super) fn moved(&self) -> Moved {
        self.moved
    }

    pub(super) fn arrived(&mut self, arrival: &Arrival, report: &mut dyn Report) {
        let Move { slot, from, to } = arrival.slot_move;
        self.moved.slots += 1;
        self.moved.keys += arrival.keys;
        let Some((left, all)) = self.pending.get_mut(&(from, to)) else { return };
        *left -= 1;
        if report.columns().is_some() {
            return;
        }
        let (from, to) = (&self.names[&from], &self.names[&to]);
        match self.style {
            Style::Slots => {
                let dots = ".".repeat(usize::try_from(arrival.keys).unwrap_or(usize::MAX));
                report.line(&format!("Moving slot {slot} from {from} to {to}: {dots}"));
            }
            Style::Transfers if *left == 0 => {
                report.line(&format!("Moving {all} slots from {from} to {to}"));
                report.line(&"#".repeat(*all));
            }
            Style::Transfers => {}
        }
    }

    /// Writes the line again, where somebody watches.
    pub(super) fn tick(&self, report: &mut dyn Report) {
        if let Some(columns) = report.columns() {
            let elapsed = Now::read().instant.duration_since(self.start);
            let line = live_line(self.moved, self.total, elapsed, columns);
            report.part(&format!("\r{line}\x1b[K"));
        }
    }

    pub(super) fn end(&self, report: &mut dyn Report) {
        if report.columns().is_some() {
            self.tick(report);
            report.line("");
        }
    }
}

/// Slots, keys, speed and the time left, behind a bar that takes what room there is: a line that
/// wraps could not be written over.
fn live_line(moved: Moved, total: u64, elapsed: Duration, columns: usize) -> String {
    let Moved { slots, keys } = moved;
    let seconds = elapsed.as_secs_f64().max(0.001);
    let left = match slots {
        0 => "?".to_owned(),
        slots => format!("{:.0}", seconds / slots as f64 * total.saturating_sub(slots) as f64),
    };
    let speed = keys as f64 / seconds;
    let figures = format!("{slots}/{total} slots, {keys} keys, {speed:.0} keys/s, {left} s left");
    // Two brackets and a space; a terminal may wrap when its last column is written.
    let width = columns.saturating_sub(figures.len() + 4).min(BAR_MAX);
    if width < BAR_MIN {
        return figures.chars().take(columns.saturating_sub(1)).collect();
    }
    let filled = (slots as usize * width) / (total as usize).max(1);
    format!("[{}{}] {figures}", "#".repeat(filled), "-".repeat(width - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_how_far_it_is_and_fits_the_terminal() {
        let moved = Moved { slots: 1_024, keys: 50_000 };
        let line = |columns| live_line(moved, 4_096, Duration::from_secs(2), columns);
        let figures = "1024/4096 slots, 50000 keys, 25000 keys/s, 6 s left";
        assert_eq!(line(200), format!("[#######-----------------------] {figures}"));
        assert_eq!(line(80), format!("[######-------------------] {figures}"));
        assert_eq!(line(58), figures, "no room for a bar that shows anything");
        for columns in 1..200 {
            assert!(line(columns).len() < columns.max(2), "{columns}");
        }
        let none = live_line(Moved::default(), 10, Duration::ZERO, 80);
        assert!(none.ends_with("0/10 slots, 0 keys, 0 keys/s, ? s left"), "{none}");
    }
}
