//! `create`: empty nodes → a cluster.

use super::failure::Failure;
use super::join;
use super::nodes::{Cluster, Node, connect};
use super::report::{Report, Silent};
use super::tool::Tool;
use crate::admin::create::{PRIMARIES_MIN, Placement, place};
use crate::admin::plan::{Plan, Step};
use crate::admin::snapshot::{NodeView, Snapshot, assert_one_bus, slots_text};
use crate::cluster::{Endpoint, NodeId};
use crate::net::ClientOptions;
use std::time::Duration;

/// How a cluster is formed.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Replicas per primary.
    pub replicas: usize,
    /// Fewer primaries than this are refused. Operators get 3, below which no failover has a
    /// majority; a throw-away cluster may do with one.
    pub primaries_min: usize,
    /// How long all nodes together may take to know each other.
    pub join_timeout: Duration,
    /// How nodes are spoken to.
    pub client: ClientOptions,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            replicas: 0,
            primaries_min: PRIMARIES_MIN,
            join_timeout: Duration::from_secs(60),
            client: ClientOptions::default(),
        }
    }
}

/// Forms a cluster of empty nodes and returns when every one of them knows all others, agrees on
/// the slots, and says that the cluster is up.
///
/// # Errors
/// A node that does not answer, is no cluster node or is not empty; too few nodes; a node that
/// does not join in time. Up to the first `ADDSLOTS` nothing has been changed.
pub async fn create(
    endpoints: &[Endpoint],
    options: &CreateOptions,
    report: &mut dyn Report,
) -> Result<Snapshot, Failure> {
    let draft = Draft::prepare(endpoints, options).await?;
    draft.announce(report);
    draft.carry_out(options, report).await.map(|cluster| cluster.snapshot)
}

/// `create`, as an operator runs it.
pub(super) async fn run(tool: &mut Tool) -> Result<(), Failure> {
    let replicas = tool.invocation.number("replicas");
    let options = CreateOptions {
        replicas: replicas.map_err(|error| Failure::new(error.to_string()))?.unwrap_or(0),
        client: tool.client.clone(),
        ..CreateOptions::default()
    };
    let mut endpoints = Vec::new();
    for word in 0..tool.invocation.words.len() {
        endpoints.push(tool.endpoint(word)?);
    }
    tool.say(">>> Creating cluster");
    let draft = Draft::prepare(&endpoints, &options).await?;
    draft.announce(tool.report());
    if tool.only_shows(&draft.plan()) {
        return Ok(());
    }
    if !tool.confirm("Can I set the above configuration? (type 'yes' to accept): ")? {
        return Err(Failure::new("*** Aborting..."));
    }
    let cluster = draft.carry_out(&options, tool.report()).await?;
    let checkup = tool.check(&cluster);
    if checkup.is_well() { Ok(()) } else { Err(Failure::silent()) }
}

/// A cluster that is laid out and not yet formed.
#[derive(Debug)]
pub(super) struct Draft {
    members: Vec<(Node, NodeView)>,
    /// What becomes of each.
    pub(super) placement: Placement,
}

impl Draft {
    /// Connects to all nodes, makes sure that each is fit to join, and lays the cluster out.
    pub(super) async fn prepare(
        endpoints: &[Endpoint],
        options: &CreateOptions,
    ) -> Result<Self, Failure> {
        let mut members: Vec<(Node, NodeView)> = Vec::new();
        for endpoint in endpoints {
            let mut node = connect(endpoint, &options.client).await?;
            node.assert_cluster().await?;
            node.assert_empty().await?;
            let view = node.view().await?;
            if let Some((twin, _)) = members.iter().find(|(_, member)| member.id() == view.id()) {
                let twin = &twin.endpoint;
                return Err(Failure::error(format!("{endpoint} and {twin} are the same node.")));
            }
            members.push((node, view));
        }
        assert_one_bus(members.iter().map(|(_, view)| view)).map_err(Failure::error)?;
        let placement = place(endpoints, options.replicas, options.primaries_min)
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self { members, placement })
    }

    fn endpoint(&self, member: usize) -> &Endpoint {
        &self.members[member].0.endpoint
    }

    fn id(&self, member: usize) -> NodeId {
        self.members[member].1.id()
    }

    fn plan(&self) -> Plan {
        let own = self.placement.primaries.iter().map(|(primary, slots)| Step::Own {
            node: self.endpoint(*primary).clone(),
            slots: slots.clone(),
        });
        let meet = (1..self.members.len()).map(|member| Step::Meet {
            node: self.endpoint(member).clone(),
            host: self.endpoint(0).clone(),
        });
        let replicate = self.placement.replicas.iter().map(|(replica, primary)| Step::Replicate {
            node: self.endpoint(*replica).clone(),
            primary: self.id(*primary),
        });
        Plan { steps: own.chain(meet).chain(replicate).collect() }
    }

    /// Who becomes what, as redis-trib announces it.
    pub(super) fn announce(&self, report: &mut dyn Report) {
        let count = self.members.len();
        report.line(&format!(">>> Performing hash slots allocation on {count} nodes..."));
        report.line(&format!("Using {} masters:", self.placement.primaries.len()));
        for (primary, _) in &self.placement.primaries {
            report.line(&self.endpoint(*primary).to_string());
        }
        for (replica, primary) in &self.placement.replicas {
            let (replica, primary) = (self.endpoint(*replica), self.endpoint(*primary));
            report.line(&format!("Adding replica {replica} to {primary}"));
        }
        // With one host there is nothing to choose, and nothing to warn of.
        let first = &self.endpoint(0).host;
        let has_choice = (1..count).any(|member| self.endpoint(member).host != *first);
        let is_beside = |(replica, primary): &(usize, usize)| {
            self.endpoint(*replica).host == self.endpoint(*primary).host
        };
        if has_choice && self.placement.replicas.iter().any(is_beside) {
            report.line("[WARNING] Some slaves are in the same host as their master");
        }
        for (primary, slots) in &self.placement.primaries {
            report.line(&format!(
                "M: {} {}\n   slots:{} ({} slots) master",
                self.id(*primary),
                self.endpoint(*primary),
                slots_text(slots),
                slots.len()
            ));
        }
        for (replica, primary) in &self.placement.replicas {
            report.line(&format!(
                "S: {} {}\n   replicates {}",
                self.id(*replica),
                self.endpoint(*replica),
                self.id(*primary)
            ));
        }
    }

    /// Forms it.
    pub(super) async fn carry_out(
        mut self,
        options: &CreateOptions,
        report: &mut dyn Report,
    ) -> Result<Cluster, Failure> {
        for (primary, slots) in &self.placement.primaries {
            let mut args = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
            args.extend(slots.iter().map(|slot| slot.to_string()));
            self.members[*primary].0.call(&args).await?;
        }
        report.line(">>> Nodes configuration updated");
        report.line(">>> Assign a different config epoch to each node");
        for (n, (node, _)) in self.members.iter_mut().enumerate() {
            // A node that has an epoch already keeps it: collisions are settled by the nodes.
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await?;
        }
        report.line(">>> Sending CLUSTER MEET messages to join the cluster");
        let followers: Vec<(NodeId, NodeId)> = self
            .placement
            .replicas
            .iter()
            .map(|(replica, primary)| (self.id(*replica), self.id(*primary)))
            .collect();
        let mut cluster = Cluster::of(self.members, &options.client)?;
        let first = cluster.snapshot.nodes[0].id();
        let others: Vec<NodeId> = cluster.snapshot.nodes[1..].iter().map(NodeView::id).collect();
        join::meet(&mut cluster, &others, first, options.join_timeout, report).await?;
        for (replica, primary) in &followers {
            cluster.node(*replica).call(&["CLUSTER", "REPLICATE", primary.as_str()]).await?;
        }
        join::until(&mut cluster, options.join_timeout, &mut Silent, |snapshot| {
            for (replica, primary) in &followers {
                join::all_see_replica(snapshot, *replica, *primary)?;
            }
            join::all_agree(snapshot)
        })
        .await?;
        join::until_up(&mut cluster, options.join_timeout).await?;
        Ok(cluster)
    }
}
