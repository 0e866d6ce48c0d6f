//! `check` and `info`: looking without touching.

use super::failure::Failure;
use super::nodes::Cluster;
use super::tool::Tool;
use crate::admin::check::{Checkup, Finding};
use crate::admin::snapshot::Snapshot;
use crate::cluster::Slot;
use serde_json::{Value, json};

/// `check`: exit 1 if anything is wrong.
pub(super) async fn check(tool: &mut Tool) -> Result<(), Failure> {
    let cluster = tool.load(0).await?;
    let checkup = tool.check(&cluster);
    tool.note("nodes", nodes_json(&cluster.snapshot));
    tool.note("findings", findings_json(&checkup));
    if checkup.is_well() && cluster.snapshot.unreachable.is_empty() {
        return Ok(());
    }
    Err(Failure::silent())
}

/// `info`: what is on each primary.
pub(super) async fn info(tool: &mut Tool) -> Result<(), Failure> {
    let mut cluster = tool.load(0).await?;
    let (lines, keys) = summary(&mut cluster).await?;
    for line in &lines {
        tool.say(line);
    }
    tool.note("nodes", nodes_json(&cluster.snapshot));
    tool.note("keys", json!(keys));
    Ok(())
}

/// A line per primary, and the sum.
async fn summary(cluster: &mut Cluster) -> Result<(Vec<String>, u64), Failure> {
    let mut lines = Vec::new();
    let (mut total, mut primaries) = (0, 0u64);
    let ids: Vec<_> = cluster.snapshot.primaries().map(|node| node.id()).collect();
    for id in ids {
        let keys = cluster.node(id).keys().await?;
        let snapshot = &cluster.snapshot;
        let node = snapshot.node(id).expect("it is of the snapshot");
        let (slots, replicas) = (node.own.slots.len(), snapshot.replicas_of(id).count());
        let endpoint = &node.endpoint;
        let short = id.short();
        lines.push(format!(
            "{endpoint} ({short}...) -> {keys} keys | {slots} slots | {replicas} slaves."
        ));
        total += keys;
        primaries += 1;
    }
    lines.push(format!("[OK] {total} keys in {primaries} masters."));
    let average = total as f64 / Slot::COUNT as f64;
    lines.push(format!("{average:.2} keys per slot on average."));
    Ok((lines, total))
}

/// The nodes, as `--json` gives them.
pub(super) fn nodes_json(snapshot: &Snapshot) -> Value {
    let node = |node: &crate::admin::snapshot::NodeView| {
        json!({
            "id": node.id().as_str(),
            "address": node.endpoint.to_string(),
            "role": if node.own.is_replica() { "replica" } else { "primary" },
            "flags": node.own.flags,
            "primary": node.own.primary.map(|id| id.to_string()),
            "config_epoch": node.own.config_epoch.0,
            "slots": crate::admin::snapshot::slots_text(&node.own.slots),
            "slot_count": node.own.slots.len(),
        })
    };
    let mut nodes: Vec<Value> = snapshot.nodes.iter().map(node).collect();
    for line in &snapshot.unreachable {
        nodes.push(json!({
            "id": line.id.as_str(),
            "address": line.endpoint.as_ref().map(|endpoint| endpoint.to_string()),
            "role": "unreachable",
            "flags": line.flags,
        }));
    }
    Value::Array(nodes)
}

fn findings_json(checkup: &Checkup) -> Value {
    let numbers = |slots: &[Slot]| slots.iter().map(|slot| slot.number()).collect::<Vec<_>>();
    let finding = |finding: &Finding| match finding {
        Finding::UnknownPrimary { replica, primary } => {
            json!({"kind": "unknown_primary", "node": replica.to_string(), "primary": primary.as_str()})
        }
        Finding::Disagreement => json!({"kind": "disagreement"}),
        Finding::Migrating { node, slots } => {
            json!({"kind": "migrating", "node": node.to_string(), "slots": numbers(slots)})
        }
        Finding::Importing { node, slots } => {
            json!({"kind": "importing", "node": node.to_string(), "slots": numbers(slots)})
        }
        Finding::Contested(slots) => json!({"kind": "contested", "slots": numbers(slots)}),
        Finding::Uncovered(slots) => json!({"kind": "uncovered", "slots": slots.to_string()}),
    };
    Value::Array(checkup.findings.iter().map(finding).collect())
}
