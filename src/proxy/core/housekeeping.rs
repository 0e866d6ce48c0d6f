//! What time alone does: silent nodes, slow clients, and the end of the proxy.

use super::{Core, SessionId};
use crate::cluster::Endpoint;
use crate::proxy::link::{Expect, Link, LinkId, Role};
use crate::proxy::metrics::{ClientEnd, LinkEnd};
use crate::proxy::retry::Loss;
use crate::proxy::walks;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often [`Core::tick`] wants to be called at least.
pub const TICK: Duration = Duration::from_millis(100);

/// A request that is coming in must have come so much further within `request_timeout`.
const PROGRESS_BYTES: u64 = 16 * 1024;

/// An idle connection is asked this often whether its node is still there: a peer that vanished
/// without a word is noticed before a command needs it.
const PROBE: Duration = Duration::from_secs(1);

/// A connection that sessions may have to themselves is closed when none has wanted it for so long.
const UNUSED: Duration = Duration::from_secs(30);

/// A client that has been idle for so long gives back what its last burst needed.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// How often a silent node has the topology read again.
const SUSPICION: Duration = Duration::from_millis(500);

impl Core {
    /// When something is to be tried again, if that is before the next [`TICK`].
    pub fn next_timer(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((due, _, _))| *due);
        timer.into_iter().chain(self.pause_ends()).min()
    }

    /// Whether [`Core::next_timer`] is another since this was last asked.
    #[inline]
    pub fn timer_moved(&mut self) -> bool {
        std::mem::take(&mut self.timer_moved)
    }

    /// Time has passed: tries again what is due.
    pub fn due(&mut self, now: Instant) {
        self.backends.sync();
        if self.pause_ends().is_some_and(|end| end <= now) {
            self.take_pause(now);
        }
        while let Some(Reverse((due, id, incarnation))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            if let Some(session) = self.sessions.get_mut(id.index())
                && session.incarnation == incarnation
            {
                session.timer = None;
                self.advance(id, now);
            }
        }
        self.go_on(now);
    }

    /// Looks at every connection and every client. Called every [`TICK`].
    pub fn tick(&mut self, now: Instant) {
        self.backends.sync();
        self.look_at_links(now);
        self.look_at_subscriptions(now);
        self.look_at_trackers(now);
        self.look_at_clients(now);
        self.shared.map.changes().tick(walks::unit((self.outside.unix_us)()));
        self.due(now);
    }

    fn look_at_links(&mut self, now: Instant) {
        for node in self.backends.all_node_metrics() {
            node.inflight.set(0);
            node.oldest_us.set(0);
        }
        let mut over: Vec<(LinkId, Loss, LinkEnd, &str)> = Vec::new();
        let mut suspects: Vec<LinkId> = Vec::new();
        let mut idle: Vec<LinkId> = Vec::new();
        let mut silent_by_design: Vec<LinkId> = Vec::new();
        for (id, link) in self.backends.links() {
            if link.is_closed() {
                continue;
            }
            let node = &link.metrics;
            node.inflight.add(link.in_flight() as u64);
            if matches!(link.role, Role::Blocked(_)) && link.is_ready() {
                silent_by_design.push(id);
                continue;
            }
            let oldest = link.oldest().map(|at| now.saturating_duration_since(at));
            let oldest = oldest.unwrap_or_default().as_micros() as u64;
            node.oldest_us.set(node.oldest_us.get().max(oldest));
            if !link.is_ready() {
                if now.saturating_duration_since(link.opened) > self.options.connect_timeout {
                    over.push((id, Loss::Broken, LinkEnd::Connect, "it does not answer"));
                }
                continue;
            }
            if link.subscriber {
                continue;
            }
            if link.in_flight() == 0 {
                // What belongs to a session gets nothing from anybody else.
                if link.role.owner().is_some() {
                    continue;
                }
                let unused = matches!(link.role, Role::Idle(since)
                    if now.saturating_duration_since(since) > UNUSED);
                if link.retiring || unused {
                    over.push((id, Loss::Broken, LinkEnd::Retired, "not needed"));
                } else if now.saturating_duration_since(link.silent_since) > PROBE {
                    idle.push(id);
                }
                continue;
            }
            let silent = now.saturating_duration_since(link.silent_since);
            if link.is_only_probed() && silent > self.options.suspect_after * 2 {
                // No command is lost with it, so there is no need to wait for any longer.
                over.push((id, Loss::Silent, LinkEnd::Timeout, "it does not answer"));
                continue;
            }
            if silent > self.options.backend_timeout {
                over.push((id, Loss::Silent, LinkEnd::Timeout, "it does not answer"));
            } else if silent > self.options.suspect_after {
                suspects.push(id);
            }
        }
        self.look_at_silent_by_design(&silent_by_design, &mut over, now);
        for id in idle {
            if let Some(link) = self.backends.link(id) {
                link.shrink();
            }
            self.backends.send(id, Expect::probe(now), |out| {
                out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
            });
        }
        for id in suspects {
            if self.now_serves_nothing(id) {
                // Others have its slots now: what was written to it is judged, what waits goes on.
                over.push((id, Loss::Silent, LinkEnd::Timeout, "it was replaced"));
            } else if let Some(link) = self.backends.link(id) {
                if !std::mem::replace(&mut link.suspect, true) {
                    tracing::warn!(node = %link.endpoint, "a node does not answer");
                }
                self.suspect(now);
            }
        }
        for (id, loss, end, why) in over {
            if end != LinkEnd::Retired
                && let Some(link) = self.backends.link(id)
            {
                tracing::warn!(node = %link.endpoint, why, "a connection to a node is given up");
            }
            self.lose(id, loss, end, why, now);
        }
    }

    /// Connections that say nothing for as long as they please are judged by the others of their
    /// node: as long as one of those answers, the node is there.
    fn look_at_silent_by_design(
        &mut self,
        silent: &[LinkId],
        over: &mut Vec<(LinkId, Loss, LinkEnd, &'static str)>,
        now: Instant,
    ) {
        if silent.is_empty() {
            return;
        }
        let suspect_after = self.options.suspect_after;
        let answers = |link: &Link| {
            let quiet = now.saturating_duration_since(link.silent_since);
            let asked = link.in_flight() > 0;
            link.role == Role::Shared
                && !link.subscriber
                && link.is_ready()
                && !(asked && quiet > suspect_after)
        };
        let alive: BTreeSet<Endpoint> = self
            .backends
            .links()
            .filter(|(_, link)| answers(link))
            .map(|(_, link)| link.endpoint.clone())
            .collect();
        for &id in silent {
            let Some(link) = self.backends.link(id) else { continue };
            if alive.contains(&link.endpoint) {
                link.silent_since = now;
                continue;
            }
            let endpoint = link.endpoint.clone();
            let quiet = now.saturating_duration_since(link.silent_since);
            if quiet > self.options.backend_timeout {
                over.push((id, Loss::Silent, LinkEnd::Timeout, "it does not answer"));
            } else if quiet > suspect_after && self.now_serves_nothing(id) {
                over.push((id, Loss::Silent, LinkEnd::Timeout, "it was replaced"));
            } else {
                self.backends.watch_over(&endpoint, now);
            }
        }
    }

    /// A node is silent: the others may know more.
    pub(super) fn suspect(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_suspicion) >= SUSPICION {
            self.last_suspicion = now;
            self.shared.map.want_refresh();
        }
    }

    pub(super) fn now_serves_nothing(&mut self, id: LinkId) -> bool {
        let Some(link) = self.backends.link(id) else { return false };
        let endpoint = link.endpoint.clone();
        let topology = self.backends.topology();
        match topology.find(&endpoint) {
            Some(node) => {
                let shards = topology.shards();
                !shards.is_empty() && shards.iter().all(|(_, owner)| *owner != node)
            }
            None => true,
        }
    }

    fn look_at_clients(&mut self, now: Instant) {
        let mut waiting = (0, 0);
        let mut ended = Vec::new();
        for (index, session) in &mut self.sessions {
            if session.unsettled > 0 {
                waiting.0 += session.unsettled as u64;
                waiting.1 += session.input.len();
            }
            session.watch_unread(&self.options, now);
            let idle = now.saturating_duration_since(session.client.active);
            let nothing_owed = session.pipeline.is_empty() && session.output.is_empty();
            if nothing_owed && idle > SHRINK_AFTER {
                session.pipeline.shrink();
            }
            let end = if session.dead.is_some() || session.closing.is_some() {
                None
            } else if self.draining && nothing_owed {
                Some(ClientEnd::Drain)
            } else if !session.client.authenticated
                && now.saturating_duration_since(session.client.connected)
                    > self.options.handshake_timeout
            {
                Some(ClientEnd::Timeout)
            } else if !self.options.idle_timeout.is_zero()
                && idle > self.options.idle_timeout
                && nothing_owed
                && session.listening.is_none()
                && !session.client.monitors
            {
                Some(ClientEnd::Idle)
            } else if let Some((since, at)) = session.coming_in
                && now.saturating_duration_since(since) > self.options.request_timeout
            {
                let here = session.input.position() + session.input.undecoded().len() as u64;
                let progress = here.saturating_sub(at);
                session.coming_in = Some((now, here));
                (progress < PROGRESS_BYTES && !session.is_held_back()).then_some(ClientEnd::Timeout)
            } else {
                None
            };
            if let Some(end) = end {
                session.dead = Some(end);
                ended.push(SessionId(index as u32));
            } else if session.dead.is_some() {
                ended.push(SessionId(index as u32));
            }
        }
        for id in ended {
            self.list_writable(id);
        }
        self.metrics.rideout_commands.set(waiting.0);
        self.metrics.rideout_bytes.set(waiting.1 as u64);
        let before = std::mem::replace(&mut self.ride_out_bytes, waiting.1);
        let total = &self.shared.ride_out_bytes;
        if waiting.1 >= before {
            total.fetch_add(waiting.1 - before, Ordering::Relaxed);
        } else {
            total.fetch_sub(before - waiting.1, Ordering::Relaxed);
        }
    }

    /// The proxy stops: clients are closed as soon as they have what they are owed.
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        self.unblock_all(now);
        self.tick(now);
    }

    /// How many clients are left.
    pub fn clients(&self) -> usize {
        self.sessions.len()
    }
}
