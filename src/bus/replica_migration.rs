//! A shard with replicas to spare sends one to a shard that has lost all of its own.
//!
//! Every replica decides by itself, and all come to the same answer: the one with the smallest id
//! among the shards with the most replicas goes, once the other has been alone for a while (its
//! replica may merely be restarting).

use super::{Member, NodeKey};
use crate::clock::Now;
use crate::cluster::NodeFlags;
use std::time::Duration;

/// How long a primary has to be without a replica before one is sent.
const ORPHANED_FOR: Duration = Duration::from_secs(5);
/// A shard with fewer working replicas has none to spare.
const SPARE_MIN: usize = 2;

impl Member {
    /// Moves to a primary without replicas, if that is for us to do.
    pub(super) fn look_for_orphans(&mut self, now: Now) {
        let orphan = self.note_orphans(now);
        let Some(target) = orphan.filter(|_| self.may_migrate()) else { return };
        let since = self.view.node(target).orphaned_at;
        let alone = since.map_or(Duration::ZERO, |at| now.instant.saturating_duration_since(at));
        if alone > ORPHANED_FOR {
            tracing::info!("Migrating to orphaned master {}", self.view.node(target).id);
            self.follow(target);
        }
    }

    /// Notes since when primaries have been without a replica; gives the first that is.
    fn note_orphans(&mut self, now: Now) -> Option<NodeKey> {
        let mut first = None;
        for key in self.view.other_keys() {
            let node = self.view.node(key);
            let had_replicas = node.flags.any(NodeFlags::MIGRATE_TO);
            let orphaned = node.is_voter()
                && !node.is_failed()
                && had_replicas
                && self.view.working_replicas_of(key).next().is_none();
            let node = self.view.node_mut(key);
            if orphaned {
                node.orphaned_at.get_or_insert(now.instant);
                first = first.or(Some(key));
            } else {
                node.orphaned_at = None;
            }
        }
        first
    }

    /// Whether we are the replica that is to spare.
    fn may_migrate(&self) -> bool {
        let Some(primary) = self.view.myself().primary else { return false };
        if !self.options.allow_replica_migration || !self.view.state_ok {
            return false;
        }
        let working = |primary| self.view.working_replicas_of(primary).count();
        let own = working(primary);
        if own <= self.options.migration_barrier || own < SPARE_MIN {
            return false;
        }
        let primaries = self.view.nodes().filter(|(_, node)| node.is_voter() && !node.is_failed());
        let richest: Vec<(NodeKey, usize)> =
            primaries.map(|(key, _)| (key, working(key))).collect();
        let most = richest.iter().map(|(_, replicas)| *replicas).max().unwrap_or_default();
        let spare = richest
            .iter()
            .filter(|(_, replicas)| *replicas == most)
            .flat_map(|(key, _)| self.view.working_replicas_of(*key));
        let chosen = spare.map(|(_, node)| node.id).min();
        own == most && chosen == Some(self.view.myself().id)
    }
}
