//! `add-node` and `del-node`: who is in the cluster.

use super::failure::Failure;
use super::join;
use super::nodes::{Cluster, connect};
use super::report::Silent;
use super::tool::{AGREE_WITHIN, Tool, find_id};
use crate::admin::plan::{Plan, Step};
use crate::admin::snapshot::{NodeView, Snapshot, assert_one_bus};
use crate::cluster::{Endpoint, NodeId};
use crate::net::ClientError;

/// `add-node`: also finishes one that was stopped between MEET and REPLICATE.
pub(super) async fn add_node(tool: &mut Tool) -> Result<(), Failure> {
    let (newcomer, entry) = (tool.endpoint(0)?, tool.endpoint(1)?);
    tool.say(format!(">>> Adding node {newcomer} to cluster {entry}"));
    let mut cluster = tool.load_settled(1).await?;
    tool.check(&cluster);
    let wants_primary =
        tool.invocation.flag("slave") || tool.invocation.value("master-id").is_some();
    let primary = if wants_primary { Some(primary_for(tool, &cluster)?) } else { None };

    let mut node = connect(&newcomer, &tool.client).await?;
    node.assert_cluster().await?;
    let view = node.view().await?;
    let id = view.id();
    let is_member = cluster.snapshot.node(id).is_some();
    if is_member && (primary.is_none() || !view.own.slots.is_empty()) {
        return Err(Failure::error(format!(
            "Node {newcomer} is a member of this cluster already."
        )));
    }
    if !is_member {
        node.assert_empty().await?;
        assert_one_bus(cluster.snapshot.nodes.iter().chain([&view])).map_err(Failure::error)?;
    }
    let mut plan = Plan::default();
    if !is_member {
        plan.steps.push(Step::Meet { node: newcomer.clone(), host: entry.clone() });
    }
    if let Some((primary, _)) = &primary {
        plan.steps.push(Step::Replicate { node: newcomer.clone(), primary: *primary });
    }
    if tool.only_shows_steps(&plan) {
        return Ok(());
    }
    if !is_member {
        let host = cluster.snapshot.nodes[0].id();
        cluster.add(node, view);
        tool.say(format!(">>> Send CLUSTER MEET to node {newcomer} to make it join the cluster."));
        // Without a replica to configure the original does not say that it waits; it does not.
        if primary.is_some() {
            join::meet(&mut cluster, &[id], host, AGREE_WITHIN, tool.report()).await?;
        } else {
            join::meet(&mut cluster, &[id], host, AGREE_WITHIN, &mut Silent).await?;
        }
    }
    if let Some((primary, endpoint)) = primary {
        tool.say(format!(">>> Configure node as replica of {endpoint}."));
        cluster.node(id).call(&["CLUSTER", "REPLICATE", primary.as_str()]).await?;
        let seen = |snapshot: &Snapshot| join::all_see_replica(snapshot, id, primary);
        join::until(&mut cluster, AGREE_WITHIN, &mut Silent, seen).await?;
    }
    tool.say("[OK] New node added correctly.");
    Ok(())
}

/// The primary that was named, or the one with the fewest replicas.
fn primary_for(tool: &mut Tool, cluster: &Cluster) -> Result<(NodeId, Endpoint), Failure> {
    let snapshot = &cluster.snapshot;
    if let Some(wanted) = tool.invocation.value("master-id") {
        let primaries: Vec<NodeId> = snapshot.primaries().map(NodeView::id).collect();
        let id = find_id(wanted, &primaries, || format!("[ERR] No such master ID {wanted}"))?;
        let node = snapshot.node(id).expect("it is of the snapshot");
        return Ok((id, node.endpoint.clone()));
    }
    let fewest = snapshot
        .primaries()
        .filter(|node| !node.own.slots.is_empty())
        .min_by_key(|node| snapshot.replicas_of(node.id()).count())
        .ok_or_else(|| Failure::error("No master has slots: there is nothing to replicate."))?;
    tool.say(format!("Automatically selected master {}", fewest.endpoint));
    Ok((fewest.id(), fewest.endpoint.clone()))
}

/// `del-node`.
pub(super) async fn del_node(tool: &mut Tool) -> Result<(), Failure> {
    let entry = tool.endpoint(0)?;
    let wanted = tool.invocation.words[1].to_string_lossy().into_owned();
    tool.say(format!(">>> Removing node {wanted} from cluster {entry}"));
    let mut cluster = tool.load_settled(0).await?;
    let snapshot = &cluster.snapshot;
    let mut ids: Vec<NodeId> = snapshot.nodes.iter().map(NodeView::id).collect();
    ids.extend(snapshot.unreachable.iter().map(|line| line.id));
    let id = find_id(&wanted, &ids, || format!("[ERR] No such node ID {wanted}"))?;
    let slots = match snapshot.node(id) {
        Some(node) if node.own.is_primary() => node.own.slots.len(),
        Some(_) => 0,
        None => snapshot.unreachable.iter().find(|l| l.id == id).map_or(0, |l| l.slots.len()),
    };
    let endpoint = snapshot.node(id).map(|node| node.endpoint.clone());
    if slots > 0 {
        let name = endpoint.map_or_else(|| id.to_string(), |endpoint| endpoint.to_string());
        return Err(Failure::error(format!(
            "Node {name} is not empty! Reshard data away and try again."
        ))
        .fix(format!("keyway cluster reshard --from {id} --slots {slots} {entry}")));
    }
    let orphans: Vec<NodeId> = snapshot.replicas_of(id).map(NodeView::id).collect();
    let mut plan = Plan::default();
    let mut moves: Vec<(NodeId, NodeId)> = Vec::new();
    for orphan in orphans {
        let primary = new_primary(&cluster, id, &moves)?;
        let node = cluster.snapshot.node(orphan).expect("it is of the snapshot").endpoint.clone();
        plan.steps.push(Step::Replicate { node, primary });
        moves.push((orphan, primary));
    }
    plan.steps.push(Step::Forget(id));
    let last = if tool.invocation.flag("reset") { Step::Reset } else { Step::Shutdown };
    plan.steps.extend(endpoint.clone().map(last));
    if tool.only_shows_steps(&plan) {
        return Ok(());
    }
    tool.say(">>> Sending CLUSTER FORGET messages to the cluster...");
    for (orphan, primary) in &moves {
        let name = |id: NodeId| cluster.snapshot.node(id).map(|n| n.endpoint.to_string());
        let line = format!(
            ">>> {} as replica of {}",
            name(*orphan).unwrap_or_default(),
            name(*primary).unwrap_or_default()
        );
        tool.say(line);
        cluster.node(*orphan).call(&["CLUSTER", "REPLICATE", primary.as_str()]).await?;
    }
    forget(&mut cluster, id).await?;
    if endpoint.is_some() {
        part(tool, &mut cluster, id).await?;
    }
    Ok(())
}

/// The primary with the fewest replicas, those counted that were just given to it.
fn new_primary(
    cluster: &Cluster,
    leaving: NodeId,
    given: &[(NodeId, NodeId)],
) -> Result<NodeId, Failure> {
    let snapshot = &cluster.snapshot;
    let replicas = |node: &&NodeView| {
        let more = given.iter().filter(|(_, primary)| *primary == node.id()).count();
        snapshot.replicas_of(node.id()).count() + more
    };
    let candidates =
        snapshot.primaries().filter(|node| node.id() != leaving && !node.own.slots.is_empty());
    let fewest = candidates.min_by_key(replicas).map(NodeView::id);
    fewest.ok_or_else(|| Failure::error("No other master has slots for its replicas to follow."))
}

/// All others forget a node. One that does not know it has nothing to forget.
async fn forget(cluster: &mut Cluster, id: NodeId) -> Result<(), Failure> {
    let others: Vec<NodeId> =
        cluster.snapshot.nodes.iter().map(NodeView::id).filter(|other| *other != id).collect();
    for other in others {
        let node = cluster.node(other);
        let reply = node.ask(&["CLUSTER", "FORGET", id.as_str()]).await?;
        match reply.as_error() {
            Some(text) if !text.starts_with(b"ERR Unknown node") => {
                let endpoint = node.endpoint.clone();
                return Err(Failure::at(&endpoint, String::from_utf8_lossy(text)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The last word to a node that is no member any more.
async fn part(tool: &mut Tool, cluster: &mut Cluster, id: NodeId) -> Result<(), Failure> {
    let node = cluster.node(id);
    if tool.invocation.flag("reset") {
        tool.say(">>> Sending CLUSTER RESET SOFT to the deleted node.");
        return node.call(&["CLUSTER", "RESET", "SOFT"]).await.map(drop);
    }
    tool.say(">>> SHUTDOWN the node.");
    let endpoint = node.endpoint.clone();
    // A node that goes down answers by closing the connection.
    match node.client().call(&["SHUTDOWN"]).await {
        Ok(reply) => match reply.as_error() {
            Some(text) => Err(Failure::at(&endpoint, String::from_utf8_lossy(text))),
            None => Ok(()),
        },
        Err(ClientError::Closed | ClientError::Io(_)) => Ok(()),
        Err(error) => Err(Failure::at(&endpoint, error)),
    }
}
