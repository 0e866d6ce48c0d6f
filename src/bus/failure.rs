//! Who can be reached: what we see (PFAIL), what the majority sees (FAIL), and whether we are in
//! the majority ourselves.
//!
//! ```text
//!            silent for the node timeout            enough primaries say so
//!   alive ────────────────────────────▶ PFAIL ──────────────────────────────▶ FAIL
//!     ▲                                   │          or one of them told us    │
//!     └────────────── a PONG ─────────────┴──── a PONG, and nobody took over ──┘
//! ```

use super::{Body, Member, Node, NodeKey};
use crate::clock::Now;
use crate::cluster::{NodeFlags, NodeId, Slot};
use std::time::Duration;

/// A failure report counts for this many node timeouts.
const REPORT_VALID_TIMEOUTS: u32 = 2;
/// A primary that still owns slots is no longer failed after this many node timeouts.
pub(super) const UNDO_FAIL_TIMEOUTS: u32 = 2;
/// A primary that just started takes no writes for so long: it may have been replaced.
const WRITABLE_DELAY: Duration = Duration::from_secs(2);
/// The least and the most time that a primary waits after it was in a minority.
const REJOIN_DELAY_MIN: Duration = Duration::from_millis(500);
const REJOIN_DELAY_MAX: Duration = Duration::from_secs(5);
/// A tick that comes so late means that this process stood still, not that others did.
const ASLEEP_MIN: Duration = Duration::from_secs(1);

impl Member {
    /// Whether this process stood still for so long that it may have been replaced. To be asked before
    /// what clients have sent meanwhile is run; if so, [`Input::Timeout`](super::Input::Timeout) comes
    /// first.
    #[inline]
    pub fn overslept(&self, now: Now) -> bool {
        now.instant.saturating_duration_since(self.last_tick) > self.options.node_timeout
    }

    /// After a pause of ours (SIGSTOP, a suspended machine) the answers of others wait in our
    /// sockets: their silence counts from here. A primary that others may have called failed meanwhile
    /// serves nothing before it has heard from them, as after it was in a minority: what it took would
    /// be lost as soon as it hears of its heir.
    pub(super) fn forgive_silence_while_asleep(&mut self, now: Now, asleep: Duration) {
        if asleep < ASLEEP_MIN.min(self.options.node_timeout / 2) {
            return;
        }
        if asleep > self.options.node_timeout && self.view.myself().is_voter() && self.quorum() > 1
        {
            self.in_minority_at = Some(now.instant);
            if std::mem::take(&mut self.view.state_ok) {
                let millis = asleep.as_millis();
                tracing::warn!(
                    "Cluster state changed: fail (this node stood still for {millis} ms)"
                );
            }
        }
        for key in self.view.other_keys() {
            let node = self.view.node_mut(key);
            if node.ping_sent.is_some() {
                node.ping_sent = Some(now);
            }
            node.reports.clear();
        }
    }

    pub(super) fn look_for_silent_nodes(&mut self, now: Now) {
        let timeout = self.options.node_timeout;
        let since = |time: Option<Now>| {
            time.map_or(Duration::MAX, |time| now.instant.saturating_duration_since(time.instant))
        };
        for key in self.view.other_keys() {
            let node = self.view.node(key);
            if node.flags.any(NodeFlags::NOADDR.with(NodeFlags::HANDSHAKE)) {
                continue;
            }
            let Some(ping_sent) = node.ping_sent else { continue };
            // Big answers under way count as life, even before the PONG.
            let silent = since(Some(ping_sent)).min(since(node.data_received));
            let link = node.outbound.and_then(|id| self.links.get(&id).map(|link| (id, link)));
            if let Some((id, link)) = link {
                // A connection that hangs may be worse than the node behind it.
                if silent > timeout / 2 && since(Some(link.created)) > timeout {
                    self.close(id);
                }
            }
            let node = self.view.node_mut(key);
            if silent > timeout && !node.flags.any(NodeFlags::PFAIL.with(NodeFlags::FAIL)) {
                tracing::debug!(node = node.label(), "NODE possibly failing");
                node.flags.insert(NodeFlags::PFAIL);
                self.recheck_state = true;
                self.mark_failed_if_agreed(now, key);
            }
        }
    }

    /// A node answered.
    pub(super) fn handle_answer(&mut self, now: Now, key: NodeKey) {
        let node = self.view.node_mut(key);
        node.pong_received = Some(now);
        node.ping_sent = None;
        if node.flags.any(NodeFlags::PFAIL) {
            node.flags.remove(NodeFlags::PFAIL);
            self.recheck_state = true;
        } else if node.flags.any(NodeFlags::FAIL) {
            self.clear_failed(now, key);
        }
    }

    /// A failed node can be reached again. A primary with slots stays failed for a while: a
    /// replica may be about to take them over.
    fn clear_failed(&mut self, now: Now, key: NodeKey) {
        let undo_after = self.options.node_timeout * UNDO_FAIL_TIMEOUTS;
        let node = self.view.node_mut(key);
        let failed_for = node
            .failed_at
            .map_or(Duration::MAX, |at| now.instant.saturating_duration_since(at.instant));
        if node.is_voter() && failed_for <= undo_after {
            return;
        }
        tracing::info!(
            node = node.label(),
            "Clear FAIL state for node: it is reachable again and nobody is serving its slots after some time."
        );
        node.flags.remove(NodeFlags::FAIL);
        node.failed_at = None;
        self.out.persist = true;
        self.recheck_state = true;
    }

    pub(super) fn add_report(&mut self, now: Now, key: NodeKey, teller: NodeKey) {
        if self.view.node_mut(key).reports.insert(teller, now.instant).is_none() {
            let (node, teller) = (self.view.node(key).label(), self.view.node(teller).label());
            tracing::info!(node, teller, "reported node as not reachable");
        }
        self.mark_failed_if_agreed(now, key);
    }

    pub(super) fn remove_report(&mut self, key: NodeKey, teller: NodeKey) {
        if self.view.node_mut(key).reports.remove(&teller).is_some() {
            let (node, teller) = (self.view.node(key).label(), self.view.node(teller).label());
            tracing::info!(node, teller, "reported node is back online");
        }
    }

    /// How many primaries lately said that they cannot reach a node (COUNT-FAILURE-REPORTS).
    pub fn failure_reports(&self, now: Now, node: &Node) -> usize {
        let valid_for = self.options.node_timeout * REPORT_VALID_TIMEOUTS;
        let valid =
            |at: &std::time::Instant| now.instant.saturating_duration_since(*at) <= valid_for;
        node.reports.values().filter(|at| valid(at)).count()
    }

    /// PFAIL becomes FAIL when most primaries with slots agree.
    fn mark_failed_if_agreed(&mut self, now: Now, key: NodeKey) {
        let node = self.view.node(key);
        if !node.flags.any(NodeFlags::PFAIL) || node.flags.any(NodeFlags::FAIL) {
            return;
        }
        let own = usize::from(self.view.myself().is_voter());
        if self.failure_reports(now, node) + own < self.quorum() {
            return;
        }
        let id = node.id;
        tracing::info!(node = node.label(), "Marking node as failing (quorum reached).");
        self.set_failed(now, key);
        self.broadcast(&Body::Fail(id));
    }

    fn set_failed(&mut self, now: Now, key: NodeKey) {
        let node = self.view.node_mut(key);
        node.flags.remove(NodeFlags::PFAIL);
        node.flags.insert(NodeFlags::FAIL);
        node.failed_at = Some(now);
        self.out.persist = true;
        self.recheck_state = true;
    }

    /// A node says that the majority cannot reach another.
    pub(super) fn handle_fail(&mut self, now: Now, teller: NodeKey, id: &NodeId) {
        match self.view.key(id) {
            None | Some(NodeKey::MYSELF) => {}
            Some(key) if self.view.node(key).flags.any(NodeFlags::FAIL) => {}
            Some(key) if self.view.node(key).in_handshake() => {}
            Some(key) => {
                let (node, teller) = (self.view.node(key).label(), self.view.node(teller).label());
                tracing::info!(teller, node, "FAIL message received");
                self.set_failed(now, key);
            }
        }
    }

    /// Primaries with slots, of which more than half decide.
    pub fn size(&self) -> usize {
        self.view.nodes().filter(|(_, node)| node.is_voter()).count()
    }

    pub(super) fn quorum(&self) -> usize {
        self.size() / 2 + 1
    }

    /// Whether the cluster is up: every slot served (if that is asked for), and most primaries
    /// with slots within reach.
    pub(super) fn update_state(&mut self, now: Now) {
        let primary = self.view.myself().is_primary();
        let young = now.instant.saturating_duration_since(self.started) < WRITABLE_DELAY;
        if primary && !self.view.state_ok && young {
            // Looked at again by the tick.
            return;
        }
        let serves = |node: &Node| !node.flags.any(NodeFlags::FAIL);
        let served = self.view.nodes().filter(|(_, node)| serves(node));
        let served: usize = served.map(|(_, node)| node.slot_count()).sum();
        let covered = !self.options.require_full_coverage || served == Slot::COUNT;
        let unreachable = NodeFlags::PFAIL.with(NodeFlags::FAIL);
        let reachable = |node: &Node| node.is_voter() && !node.flags.any(unreachable);
        let majority =
            self.view.nodes().filter(|(_, node)| reachable(node)).count() >= self.quorum();
        if !majority {
            self.in_minority_at = Some(now.instant);
        }
        let ok = covered && majority;
        if ok == self.view.state_ok {
            return;
        }
        let rejoin_delay = self.options.node_timeout.clamp(REJOIN_DELAY_MIN, REJOIN_DELAY_MAX);
        let just_rejoined = self
            .in_minority_at
            .is_some_and(|at| now.instant.saturating_duration_since(at) < rejoin_delay);
        if ok && primary && just_rejoined {
            return;
        }
        self.view.state_ok = ok;
        tracing::info!("Cluster state changed: {}", if ok { "ok" } else { "fail" });
    }
}
