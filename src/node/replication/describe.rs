//! What INFO and ROLE say of replication.

use super::Replication;
use super::copy::Copy;
use super::upstream::{Phase, Upstream};
use crate::clock::Now;
use crate::node::server::Server;
use crate::replication::{Backlog, Replica, Stage};
use std::fmt::Display;

impl Replication {
    /// Whom this node follows: host, port, and how far that is, in ROLE's words.
    pub(in crate::node) fn primary(&self) -> Option<(&str, u16, &'static str)> {
        let upstream = self.upstream.as_ref()?;
        let state = match upstream.phase {
            Phase::Connect => "connect",
            Phase::Connecting => "connecting",
            Phase::Handshake => "handshake",
            Phase::Sync => "sync",
            Phase::Online => "connected",
        };
        Some((&upstream.host, upstream.port, state))
    }

    /// What INFO calls a replica's stage.
    fn state_name(&self, replica: &Replica) -> &'static str {
        match replica.stage {
            Stage::WaitsForSnapshot => "wait_bgsave",
            Stage::Snapshot => self.copy.as_ref().map_or("wait_bgsave", Copy::state_name),
            Stage::Loads | Stage::Online => "online",
        }
    }

    /// Whether the node's data is a state of a history that is known.
    pub(in crate::node) fn has_data(&self) -> bool {
        self.upstream.as_ref().is_none_or(Upstream::has_data)
    }

    /// Whether this very primary is being followed.
    pub(in crate::node) fn follows(&self, host: &str, port: u16) -> bool {
        let same =
            |upstream: &Upstream| upstream.host.eq_ignore_ascii_case(host) && upstream.port == port;
        self.upstream.as_ref().is_some_and(same)
    }
}

impl Server {
    /// The fields of INFO's section, in Redis's words and order.
    pub(in crate::node) fn describe_replication(
        &self,
        now: Now,
        put: &mut dyn FnMut(&str, &dyn Display),
    ) {
        let replication = &self.replication;
        let settings = &self.settings.replication;
        let history = replication.history();
        put("role", if replication.is_replica() { &"slave" } else { &"master" });
        if let Some(upstream) = &replication.upstream {
            describe_upstream(upstream, history.offset(), now, put);
            put("slave_priority", &settings.priority);
            put("slave_read_only", &i32::from(settings.read_only));
            put("replica_announced", &i32::from(settings.announced));
        }
        put("connected_slaves", &replication.replicas().count());
        if settings.replicas_min > 0 {
            let good = replication.good_replicas(now, settings.lag_max);
            put("min_slaves_good_slaves", &good);
        }
        for (number, replica) in replication.replicas().enumerate() {
            let lag = match replica.stage {
                Stage::Online => replica.lag(now),
                _ => 0,
            };
            put(
                &format!("slave{number}"),
                &format_args!(
                    "ip={},port={},state={},offset={},lag={lag}",
                    replica.ip(),
                    replica.introduction.port,
                    replication.state_name(replica),
                    replica.acked
                ),
            );
        }
        put("master_failover_state", &replication.failover_state());
        put("master_replid", &history.id());
        match history.former() {
            Some((id, _)) => put("master_replid2", &id),
            None => put("master_replid2", &"0".repeat(40)),
        }
        put("master_repl_offset", &history.offset());
        match history.former() {
            Some((_, until)) => put("second_repl_offset", &until),
            None => put("second_repl_offset", &-1),
        }
        let backlog = replication.backlog();
        put("repl_backlog_active", &i32::from(backlog.is_some()));
        put("repl_backlog_size", &settings.backlog_bytes);
        put("repl_backlog_first_byte_offset", &backlog.map_or(0, |backlog| backlog.start() + 1));
        put("repl_backlog_histlen", &backlog.map_or(0, Backlog::len));
    }
}

fn describe_upstream(
    upstream: &Upstream,
    offset: u64,
    now: Now,
    put: &mut dyn FnMut(&str, &dyn Display),
) {
    let seconds = |since| now.instant.saturating_duration_since(since).as_secs() as i64;
    let online = upstream.phase == Phase::Online;
    put("master_host", &upstream.host);
    put("master_port", &upstream.port);
    put("master_link_status", if online { &"up" } else { &"down" });
    put("master_last_io_seconds_ago", &if online { seconds(upstream.heard) } else { -1 });
    put("master_sync_in_progress", &i32::from(upstream.phase == Phase::Sync));
    let offset = if upstream.has_data() { offset } else { 0 };
    put("slave_read_repl_offset", &(offset + upstream.pending() as u64));
    put("slave_repl_offset", &offset);
    if let Some(transfer) = upstream.transfer {
        let total = transfer.total.map_or(-1, |total| total as i64);
        let left = transfer.total.map_or(-1, |total| total.saturating_sub(transfer.read) as i64);
        let percent = match transfer.total {
            Some(total) if total > 0 => transfer.read as f64 * 100.0 / total as f64,
            _ => 0.0,
        };
        put("master_sync_total_bytes", &total);
        put("master_sync_read_bytes", &transfer.read);
        put("master_sync_left_bytes", &left);
        put("master_sync_perc", &format_args!("{percent:.2}"));
        put("master_sync_last_io_seconds_ago", &seconds(upstream.heard));
    }
    if let Some(since) = upstream.down_since {
        put("master_link_down_since_seconds", &seconds(since));
    }
}
