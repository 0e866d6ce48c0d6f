//! What is wrong with a cluster, from every node's view of it: pure, and said in redis-trib's
//! words.

use super::snapshot::Snapshot;
use crate::cluster::{Endpoint, NodeId, Slot, SlotSet};
use std::collections::BTreeSet;

/// One thing that an operator should know before anything else is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A replica follows a node that nobody reaches.
    UnknownPrimary {
        /// The replica.
        replica: Endpoint,
        /// Whom it follows.
        primary: NodeId,
    },
    /// Nodes give slots to different owners.
    Disagreement,
    /// Slots that are about to leave a node.
    Migrating {
        /// The node.
        node: Endpoint,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// Slots that are about to come to a node.
    Importing {
        /// The node.
        node: Endpoint,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// Slots that several primaries claim.
    Contested(Vec<Slot>),
    /// Slots that no primary claims.
    Uncovered(SlotSet),
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkup {
    /// What was found, in the order in which it is said.
    pub findings: Vec<Finding>,
}

/// Looks at a snapshot.
pub fn check(snapshot: &Snapshot) -> Checkup {
    let mut findings = Vec::new();
    for node in &snapshot.nodes {
        if let Some(primary) = node.own.primary
            && snapshot.node(primary).is_none()
        {
            findings.push(Finding::UnknownPrimary { replica: node.endpoint.clone(), primary });
        }
    }
    if !snapshot.agrees() {
        findings.push(Finding::Disagreement);
    }
    for node in &snapshot.nodes {
        let endpoint = || node.endpoint.clone();
        if !node.own.migrating.is_empty() {
            let slots = node.own.migrating.keys().copied().collect();
            findings.push(Finding::Migrating { node: endpoint(), slots });
        }
        if !node.own.importing.is_empty() {
            let slots = node.own.importing.keys().copied().collect();
            findings.push(Finding::Importing { node: endpoint(), slots });
        }
    }
    let contested: Vec<Slot> =
        Slot::all().filter(|&slot| snapshot.claimants(slot).len() > 1).collect();
    if !contested.is_empty() {
        findings.push(Finding::Contested(contested));
    }
    let covered = snapshot.covered();
    let uncovered: SlotSet = Slot::all().filter(|&slot| !covered.contains(slot)).collect();
    if !uncovered.is_empty() {
        findings.push(Finding::Uncovered(uncovered));
    }
    Checkup { findings }
}

impl Checkup {
    /// Whether the cluster may be changed as it is.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether every slot has one owner, though some may be open.
    pub fn is_whole(&self) -> bool {
        self.uncovered().is_empty() && self.contested().is_empty()
    }

    /// Slots that somebody holds open, in order.
    pub fn open_slots(&self) -> BTreeSet<Slot> {
        let mut open = BTreeSet::new();
        for finding in &self.findings {
            if let Finding::Migrating { slots, .. } | Finding::Importing { slots, .. } = finding {
                open.extend(slots.iter().copied());
            }
        }
        open
    }

    /// Slots that several primaries claim.
    pub fn contested(&self) -> &[Slot] {
        let find = |finding: &'_ Finding| matches!(finding, Finding::Contested(_));
        match self.findings.iter().find(|finding| find(finding)) {
            Some(Finding::Contested(slots)) => slots,
            _ => &[],
        }
    }

    /// Slots that no primary claims.
    pub fn uncovered(&self) -> SlotSet {
        let uncovered = self.findings.iter().find_map(|finding| match finding {
            Finding::Uncovered(slots) => Some(slots.clone()),
            _ => None,
        });
        uncovered.unwrap_or_default()
    }

    /// What is said before the check proper: replicas of nodes that nobody reaches.
    pub fn preamble(&self) -> Vec<String> {
        let warning = |finding: &Finding| match finding {
            Finding::UnknownPrimary { replica, primary } => Some(format!(
                "*** WARNING: {replica} claims to be slave of unknown node ID {primary}."
            )),
            _ => None,
        };
        self.findings.iter().filter_map(warning).collect()
    }

    /// The check proper, line for line: agreement, open slots, coverage. Errors are followed by
    /// the command that mends them; `entry` is the node it names.
    pub fn report(&self, entry: &Endpoint) -> Vec<String> {
        let mut lines = Vec::new();
        let fix = || format!("    fix: keyway cluster fix {entry}");
        if self.findings.contains(&Finding::Disagreement) {
            lines.push("[ERR] Nodes don't agree about configuration!".to_owned());
            lines.push(fix());
        } else {
            lines.push("[OK] All nodes agree about slots configuration.".to_owned());
        }
        lines.push(">>> Check for open slots...".to_owned());
        for finding in &self.findings {
            let (node, state, slots) = match finding {
                Finding::Migrating { node, slots } => (node, "migrating", slots),
                Finding::Importing { node, slots } => (node, "importing", slots),
                _ => continue,
            };
            let slots = join(slots.iter().copied());
            lines.push(format!("[WARNING] Node {node} has slots in {state} state ({slots})."));
        }
        let open = self.open_slots();
        if !open.is_empty() {
            let slots = join(open.into_iter());
            lines.push(format!("[WARNING] The following slots are open: {slots}"));
            lines.push(fix());
        }
        lines.push(">>> Check slots coverage...".to_owned());
        if self.uncovered().is_empty() {
            lines.push("[OK] All 16384 slots covered.".to_owned());
        } else {
            lines.push("[ERR] Not all 16384 slots are covered by nodes.".to_owned());
            lines.push(fix());
        }
        if !self.contested().is_empty() {
            let slots: SlotSet = self.contested().iter().copied().collect();
            lines.push(format!("[ERR] Several nodes claim the slots {slots}."));
            lines.push(fix());
        }
        lines
    }
}

fn join(slots: impl Iterator<Item = Slot>) -> String {
    slots.map(|slot| slot.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::{cluster, id};
    use super::*;

    fn entry() -> Endpoint {
        Endpoint::new("127.0.0.1", 7001)
    }

    #[test]
    fn a_cluster_that_is_well_reads_as_redis_trib_writes_it() {
        let checkup = check(&cluster(&["1 master 0-8191", "2 master 8192-16383", "3 slave:1"]));
        assert!(checkup.is_well());
        assert_eq!(
            checkup.report(&entry()),
            [
                "[OK] All nodes agree about slots configuration.",
                ">>> Check for open slots...",
                ">>> Check slots coverage...",
                "[OK] All 16384 slots covered.",
            ]
        );
    }

    #[test]
    fn each_finding_has_its_line_and_its_remedy() {
        let to = id(2);
        let open = format!("1 master 0-8191 [19->-{to}]");
        let checkup = check(&cluster(&[&open, "2 master 8192-16000", "3 slave:9"]));
        assert_eq!(
            checkup.preamble(),
            [format!(
                "*** WARNING: 127.0.0.1:7003 claims to be slave of unknown node ID {}.",
                id(9)
            )]
        );
        assert_eq!(
            checkup.report(&entry()),
            [
                "[OK] All nodes agree about slots configuration.",
                ">>> Check for open slots...",
                "[WARNING] Node 127.0.0.1:7001 has slots in migrating state (19).",
                "[WARNING] The following slots are open: 19",
                "    fix: keyway cluster fix 127.0.0.1:7001",
                ">>> Check slots coverage...",
                "[ERR] Not all 16384 slots are covered by nodes.",
                "    fix: keyway cluster fix 127.0.0.1:7001",
            ]
        );
        assert_eq!(checkup.uncovered().to_string(), "16001-16383");
    }

    #[test]
    fn a_slot_with_two_owners_is_not_well_even_if_all_are_covered() {
        let checkup = check(&cluster(&["1 master 0-8191", "2 master 8191-16383"]));
        assert_eq!(checkup.contested().len(), 1);
        assert!(!checkup.is_well());
    }
}
