//! `reshard` and `rebalance`: what is asked, and what is shown before slots move.

use super::failure::Failure;
use super::fix::close_open_slots;
use super::journal::Journal;
use super::moves::{MoveOptions, carry_out};
use super::nodes::Cluster;
use super::progress::{Moved, Style};
use super::tool::{Tool, find_id};
use crate::admin::check::check;
use crate::admin::options::UsageError;
use crate::admin::plan::{Move, Plan, Step};
use crate::admin::rebalance::{Weighted, plan_rebalance};
use crate::admin::reshard::{left_of, plan_reshard};
use crate::admin::snapshot::NodeView;
use crate::cluster::{NodeId, Slot};
use serde_json::json;

/// `reshard`.
pub(super) async fn reshard(tool: &mut Tool) -> Result<(), Failure> {
    let options = MoveOptions::of(&tool.invocation)?;
    let mut cluster = tool.load_settled(0).await?;
    let checkup = tool.check(&cluster);
    let refusal = || {
        Failure::new("*** Please fix your cluster problems before resharding")
            .fix(format!("keyway cluster fix {}", cluster.entry))
    };
    // What another run left open, the same command may go on with.
    let may_go_on = checkup.is_whole() && tool.invocation.value("to").is_some();
    if !checkup.is_well() && !may_go_on {
        return Err(refusal());
    }
    let count = slot_count(tool)?;
    let to = receiver(tool, &cluster)?;
    let sources = sources(tool, &cluster, to)?;
    let begun = Journal::find(&sources, to, count);
    let left = begun.as_ref().and_then(|journal| left_of(&journal.moves, &cluster.snapshot));
    let (moves, journal) = match (begun, left) {
        (Some(journal), Some(left)) => {
            let there = journal.moves.len() - left.len();
            tool.say(format!(
                ">>> Going on with a reshard that was stopped: {there} of {count} slots are there."
            ));
            (left, journal)
        }
        _ if !checkup.is_well() => return Err(refusal()),
        _ => {
            let gives = |id: &NodeId| {
                let node = cluster.snapshot.primary(*id).expect("sources are primaries");
                (*id, &node.own.slots)
            };
            let given: Vec<_> = sources.iter().map(gives).collect();
            let moves = plan_reshard(&given, to, count).map_err(Failure::error)?;
            (moves.clone(), Journal { from: sources.clone(), to, moves })
        }
    };
    show(tool, &cluster, &sources, to, &moves);
    let plan = Plan::of_moves(moves.iter().copied());
    if tool.only_shows(&plan) {
        return Ok(());
    }
    if !tool.confirm("Do you want to proceed with the proposed reshard plan (yes/no)? ")? {
        return Err(Failure::silent());
    }
    if let Err(error) = journal.save() {
        tracing::debug!(%error, "no journal: if this run is killed, `fix` finishes what is open");
    }
    let moved = carry_out(&mut cluster, &moves, &options, Style::Slots, tool.report()).await?;
    if !check(&cluster.snapshot).is_well() {
        close_open_slots(&mut cluster, &options, tool.report()).await?;
    }
    journal.remove();
    note_moved(tool, moved);
    Ok(())
}

fn note_moved(tool: &mut Tool, moved: Moved) {
    tool.note("moved", json!({"slots": moved.slots, "keys": moved.keys}));
}

/// How many slots: from the option, or asked for until it is a number that makes sense.
fn slot_count(tool: &mut Tool) -> Result<usize, Failure> {
    let given = tool.invocation.number("slots").map_err(usage)?;
    if let Some(count) = given {
        return if (1..=Slot::COUNT).contains(&count) {
            Ok(count)
        } else {
            Err(usage(UsageError::Value { option: "slots", value: count.to_string() }))
        };
    }
    loop {
        let answer = tool.ask("How many slots do you want to move (from 1 to 16384)? ")?;
        if let Some(count) = answer.parse().ok().filter(|count| (1..=Slot::COUNT).contains(count)) {
            return Ok(count);
        }
    }
}

fn usage(error: UsageError) -> Failure {
    Failure::new(error.to_string())
}

fn primary_ids(cluster: &Cluster) -> Vec<NodeId> {
    cluster.snapshot.primaries().map(NodeView::id).collect()
}

fn receiver(tool: &mut Tool, cluster: &Cluster) -> Result<NodeId, Failure> {
    const UNKNOWN: &str = "*** The specified node is not known or not a master, please retry.";
    let primaries = primary_ids(cluster);
    if let Some(given) = tool.invocation.value("to") {
        return find_id(given, &primaries, || UNKNOWN.to_owned());
    }
    loop {
        let answer = tool.ask("What is the receiving node ID? ")?;
        match find_id(&answer, &primaries, || UNKNOWN.to_owned()) {
            Ok(id) => return Ok(id),
            Err(failure) => say_again(tool, &failure),
        }
    }
}

fn say_again(tool: &mut Tool, failure: &Failure) {
    tool.say(&failure.text);
    if let Some(fix) = &failure.fix {
        tool.say(format!("    fix: {fix}"));
    }
}

fn sources(tool: &mut Tool, cluster: &Cluster, to: NodeId) -> Result<Vec<NodeId>, Failure> {
    const UNKNOWN: &str = "*** The specified node is not known or is not a master, please retry.";
    let primaries = primary_ids(cluster);
    let has_slots =
        |id: &NodeId| cluster.snapshot.primary(*id).is_some_and(|node| !node.own.slots.is_empty());
    let all = || primaries.iter().copied().filter(|id| *id != to && has_slots(id)).collect();
    let mut sources: Vec<NodeId> = Vec::new();
    if let Some(given) = tool.invocation.value("from") {
        if given.eq_ignore_ascii_case("all") {
            sources = all();
        } else {
            for word in given.split(',').filter(|word| !word.is_empty()) {
                let id = find_id(word, &primaries, || UNKNOWN.to_owned())?;
                if !sources.contains(&id) {
                    sources.push(id);
                }
            }
        }
    } else {
        tool.say(
            "Please enter all the source node IDs.\n  Type 'all' to use all the nodes as source \
             nodes for the hash slots.\n  Type 'done' once you entered all the source nodes IDs.",
        );
        loop {
            let answer = tool.ask(&format!("Source node #{}:", sources.len() + 1))?;
            match answer.to_ascii_lowercase().as_str() {
                "done" => break,
                "all" => {
                    sources = all();
                    break;
                }
                _ => {}
            }
            match find_id(&answer, &primaries, || UNKNOWN.to_owned()) {
                Ok(id) if id == to => {
                    tool.say("*** It is not possible to use the target node as source node.");
                }
                Ok(id) if !sources.contains(&id) => sources.push(id),
                Ok(_) => {}
                Err(failure) => say_again(tool, &failure),
            }
        }
    }
    if sources.is_empty() {
        return Err(Failure::new("*** No source nodes given, operation aborted"));
    }
    if sources.contains(&to) {
        return Err(Failure::new("*** Target node is also listed among the source nodes!"));
    }
    Ok(sources)
}

fn show(tool: &mut Tool, cluster: &Cluster, sources: &[NodeId], to: NodeId, moves: &[Move]) {
    let describe = |id: NodeId| {
        let node = cluster.snapshot.node(id).expect("it is of the snapshot");
        cluster.snapshot.describe(node)
    };
    tool.say(format!("\nReady to move {} slots.\n  Source nodes:", moves.len()));
    for source in sources {
        tool.say(format!("    {}", describe(*source)));
    }
    tool.say(format!("  Destination node:\n    {}\n  Resharding plan:", describe(to)));
    for slot_move in moves {
        tool.say(format!("    {}", Step::Move(*slot_move)));
    }
}

/// `rebalance`.
pub(super) async fn rebalance(tool: &mut Tool) -> Result<(), Failure> {
    let options = MoveOptions::of(&tool.invocation)?;
    let threshold: f64 = tool.invocation.number("threshold").map_err(usage)?.unwrap_or(2.0);
    let mut cluster = tool.load_settled(0).await?;
    let checkup = tool.check(&cluster);
    if !checkup.is_well() {
        return Err(Failure::new("*** Please fix your cluster problems before rebalancing")
            .fix(format!("keyway cluster fix {}", cluster.entry)));
    }
    let given = weights(tool, &cluster)?;
    let use_empty = tool.invocation.flag("use-empty-masters");
    let primaries: Vec<Weighted<'_>> = cluster
        .snapshot
        .primaries()
        .filter_map(|node| {
            let named = given.iter().rev().find(|(id, _)| *id == node.id()).map(|(_, w)| *w);
            let (id, slots) = (node.id(), &node.own.slots);
            let counts = !slots.is_empty() || use_empty || named.is_some();
            counts.then(|| Weighted { id, slots, weight: named.unwrap_or(1.0) })
        })
        .collect();
    let total: f64 = primaries.iter().map(|primary| primary.weight).sum();
    if total <= 0.0 {
        return Err(Failure::error("All weights are 0: somebody must have the slots."));
    }
    let transfers = plan_rebalance(&primaries, threshold);
    if transfers.is_empty() {
        tool.say(format!(
            "*** No rebalancing needed! All nodes are within the {threshold:?}% threshold."
        ));
        return Ok(());
    }
    let count = primaries.iter().filter(|primary| primary.weight > 0.0).count();
    tool.say(format!(">>> Rebalancing across {count} nodes. Total weight = {total}"));
    let moves: Vec<Move> = transfers.iter().flat_map(|t| t.moves.iter().copied()).collect();
    let plan = Plan::of_moves(moves.iter().copied());
    if tool.only_shows(&plan) {
        for transfer in &transfers {
            let name = |id: NodeId| cluster.snapshot.node(id).map(|node| node.endpoint.to_string());
            let (from, to) = (name(transfer.from), name(transfer.to));
            tool.say(format!(
                "Moving {} slots from {} to {}\n{}",
                transfer.moves.len(),
                from.unwrap_or_default(),
                to.unwrap_or_default(),
                "#".repeat(transfer.moves.len())
            ));
        }
        return Ok(());
    }
    let moved = carry_out(&mut cluster, &moves, &options, Style::Transfers, tool.report()).await?;
    note_moved(tool, moved);
    Ok(())
}

/// `id=weight`: the only place where redis-trib takes the beginning of an id.
fn weights(tool: &Tool, cluster: &Cluster) -> Result<Vec<(NodeId, f64)>, Failure> {
    let primaries = primary_ids(cluster);
    let weight = |text: &String| {
        let invalid = || usage(UsageError::Value { option: "weight", value: text.clone() });
        let (start, weight) = text.split_once('=').ok_or_else(invalid)?;
        let weight: f64 = weight.parse().map_err(|_| invalid())?;
        if !weight.is_finite() || weight < 0.0 {
            return Err(invalid());
        }
        let start = start.to_ascii_lowercase();
        let mut fitting = primaries.iter().filter(|id| id.as_str().starts_with(&start));
        match (fitting.next(), fitting.next()) {
            (Some(id), None) => Ok((*id, weight)),
            (Some(_), Some(_)) => {
                Err(Failure::error(format!("Several masters have an ID that starts with {start}")))
            }
            (None, _) => Err(Failure::error(format!("No such master node {start}"))),
        }
    };
    tool.invocation.values("weight").iter().map(weight).collect()
}
