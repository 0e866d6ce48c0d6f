//! CLUSTER FAILOVER: a replica takes over from a primary that is well, and nothing is lost.
//!
//! ```text
//!   replica ──MFSTART──▶ primary     it holds writes back, and says so in every heartbeat
//!   replica ◀──PAUSED─── primary     with the offset at which its stream ends
//!   replica                          has applied all of it: stands for election, without delay
//! ```
//! `FORCE` leaves the primary out (it may be dead), `TAKEOVER` the voters as well: for when most
//! of them are gone, and an operator knows what he does.

use super::{Body, Header, Member, NodeKey, Output, Packet, Refusal};
use crate::clock::Now;
use std::time::{Duration, Instant};

/// A primary holds writes back for so many times the limit of the whole: they must not go on
/// while the new primary's claim is under way.
const PAUSE_LIMITS: u32 = 2;

/// Who has to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverMode {
    /// The primary and the voters.
    Agreed,
    /// FORCE: the voters.
    Force,
    /// TAKEOVER: nobody.
    Takeover,
}

/// A manual failover under way.
#[derive(Debug)]
pub(super) struct ManualFailover {
    until: Instant,
    part: Part,
}

/// Which part this node has in it.
#[derive(Debug)]
enum Part {
    /// Primary: that replica takes over.
    Yielding(NodeKey),
    /// Replica: waits to hear where the stream of its primary ends.
    Asking,
    /// Replica: applies what is left, up to that offset.
    CatchingUp(u64),
    /// Replica: may stand for election.
    Ready,
}

impl Member {
    /// CLUSTER FAILOVER.
    pub(super) fn start_manual_failover(
        &mut self,
        now: Now,
        mode: FailoverMode,
    ) -> Result<(), Refusal> {
        if self.view.myself().is_primary() {
            return Err(Refusal::FailoverOfPrimary);
        }
        let primary = self.view.myself().primary.ok_or(Refusal::FailoverWithoutPrimary)?;
        let node = self.view.node(primary);
        let link = node.outbound.filter(|link| self.links.get(link).is_some_and(|link| link.open));
        if mode == FailoverMode::Agreed && (node.is_failed() || link.is_none()) {
            return Err(Refusal::FailoverOfFailed);
        }
        self.end_manual_failover();
        // An election that came to nothing before must not delay this one.
        self.election = None;
        let part = match (mode, link) {
            (FailoverMode::Takeover, _) => {
                tracing::info!("Taking over the master (user request).");
                let epoch = self.bump_epoch().unwrap_or(self.view.myself().config_epoch);
                self.take_over(now, primary, epoch);
                return Ok(());
            }
            (FailoverMode::Agreed, Some(link)) => {
                tracing::info!("Manual failover user request accepted.");
                // A primary refuses whom it does not know as its replica, and learns that from heartbeats.
                self.send_heartbeat(now, link, Body::Ping);
                let header = Box::new(self.header());
                self.send(link, Packet::Full { header, body: Body::ManualFailoverStart });
                Part::Asking
            }
            (FailoverMode::Force | FailoverMode::Agreed, _) => {
                tracing::info!("Forced failover user request accepted.");
                Part::Ready
            }
        };
        let until = now.instant + self.options.manual_failover_timeout;
        self.manual = Some(ManualFailover { until, part });
        Ok(())
    }

    /// A replica asks us to make room.
    pub(super) fn handle_manual_failover_start(&mut self, now: Now, key: NodeKey) {
        let node = self.view.node(key);
        let id = node.id;
        if !self.view.myself().is_primary() || node.primary != Some(NodeKey::MYSELF) {
            tracing::debug!(node = %id, "a manual failover that is none of ours");
            return;
        }
        tracing::info!("Manual failover requested by replica {id}.");
        let limit = self.options.manual_failover_timeout;
        let part = Part::Yielding(key);
        self.manual = Some(ManualFailover { until: now.instant + limit, part });
        self.out.push(Output::PauseWrites(Some(now.instant + limit * PAUSE_LIMITS)));
        self.tell_where_the_stream_ends(now);
    }

    /// The replica that waits for it is told by the tick; it is a heartbeat like any other.
    fn tell_where_the_stream_ends(&mut self, now: Now) {
        let Some(ManualFailover { part: Part::Yielding(key), .. }) = self.manual else { return };
        let link = self.view.get(key).and_then(|node| node.outbound);
        if let Some(link) = link {
            self.send_heartbeat(now, link, Body::Ping);
        }
    }

    /// Whether our headers say that we hold writes back.
    pub(super) fn is_yielding(&self) -> bool {
        matches!(self.manual, Some(ManualFailover { part: Part::Yielding(_), .. }))
    }

    /// Any packet of a node: our primary may say where its stream ends.
    pub(super) fn hear_of_pause(&mut self, now: Now, key: NodeKey, header: &Header) {
        let ours = self.view.myself().primary == Some(key);
        if let Some(ManualFailover { part: part @ Part::Asking, .. }) = &mut self.manual
            && ours
            && header.paused
        {
            let offset = header.offset;
            tracing::info!(
                "Received replication offset for paused master manual failover: {offset}"
            );
            *part = Part::CatchingUp(offset);
            self.look_after_manual_failover(now);
        }
    }

    /// Goes on with a manual failover, or gives it up when its time is over.
    pub(super) fn look_after_manual_failover(&mut self, now: Now) {
        let Some(manual) = &mut self.manual else { return };
        if now.instant >= manual.until {
            tracing::warn!("Manual failover timed out.");
            self.end_manual_failover();
            return;
        }
        match manual.part {
            Part::Yielding(_) => self.tell_where_the_stream_ends(now),
            Part::CatchingUp(end) if self.replication.offset >= end => {
                tracing::info!(
                    "All master replication stream processed, manual failover can start."
                );
                manual.part = Part::Ready;
            }
            Part::Asking | Part::CatchingUp(_) | Part::Ready => {}
        }
    }

    /// Whether this replica may take over from a primary that is alive.
    pub(super) fn manual_failover_is_ready(&self) -> bool {
        matches!(self.manual, Some(ManualFailover { part: Part::Ready, .. }))
    }

    /// Whether CLUSTER FAILOVER was said to this replica, however far that is.
    pub(super) fn is_chosen_by_an_operator(&self) -> bool {
        self.manual.as_ref().is_some_and(|manual| !matches!(manual.part, Part::Yielding(_)))
    }

    /// Forgets a manual failover; writes that were held back go on.
    pub(super) fn end_manual_failover(&mut self) {
        if let Some(ManualFailover { part: Part::Yielding(_), .. }) = self.manual.take() {
            self.out.push(Output::PauseWrites(None));
        }
    }
}

/// What CLUSTER FAILOVER has by default: Redis's `CLUSTER_MF_TIMEOUT`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
