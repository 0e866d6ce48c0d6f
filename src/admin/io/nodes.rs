//! Connections to nodes, and the snapshot that is read over them.

use super::failure::Failure;
use super::report::Report;
use crate::admin::snapshot::{NodeView, Snapshot};
use crate::cluster::{Endpoint, NodeId, NodeLine, parse_nodes};
use crate::net::{Client, ClientError, ClientOptions};
use crate::resp::Reply;
use std::collections::BTreeMap;

/// One node: where it is, its connection, and what it says.
#[derive(Debug)]
pub struct Node {
    /// The address that was given, or that other nodes gave.
    pub endpoint: Endpoint,
    client: Client,
}

/// Connects as an operator does: a node that does not answer has a line of its own.
pub async fn connect(endpoint: &Endpoint, options: &ClientOptions) -> Result<Node, Failure> {
    match Client::connect(&endpoint.host, endpoint.port, options).await {
        Ok(client) => Ok(Node { endpoint: endpoint.clone(), client }),
        Err(ClientError::Refused(text)) => Err(Failure::at(endpoint, text)),
        Err(error @ (ClientError::Connect(_) | ClientError::Timeout(_))) => {
            tracing::debug!(%endpoint, %error, "no connection");
            Err(Failure::error(format!("Sorry, can't connect to node {endpoint}")))
        }
        Err(error) => Err(Failure::at(endpoint, error)),
    }
}

impl Node {
    /// Sends a command; an error reply is a failure, in the node's own words.
    pub async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, Failure> {
        let reply = self.ask(args).await?;
        match reply.as_error() {
            Some(text) => Err(Failure::at(&self.endpoint, String::from_utf8_lossy(text))),
            None => Ok(reply),
        }
    }

    /// Sends a command whose error reply means something to the caller.
    pub async fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, Failure> {
        self.client.call(args).await.map_err(|error| Failure::at(&self.endpoint, error))
    }

    /// Sends several commands at once; error replies are replies.
    pub async fn ask_all<A: AsRef<[u8]>>(
        &mut self,
        commands: &[Vec<A>],
    ) -> Result<Vec<Reply>, Failure> {
        self.client.call_all(commands).await.map_err(|error| Failure::at(&self.endpoint, error))
    }

    /// Sends a command and reads its answer as text.
    pub async fn text(&mut self, args: &[&str]) -> Result<String, Failure> {
        let reply = self.call(args).await?;
        match reply.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(Failure::at(&self.endpoint, format!("{} gave no text", args.join(" ")))),
        }
    }

    /// The connection itself.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Gives the connection away.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// The host as other nodes of the cluster can use it in MEET and MIGRATE, which take
    /// addresses only: the one that a name turned out to be.
    pub fn address(&self) -> String {
        self.client.peer().ip().to_canonical().to_string()
    }

    /// What it says of itself and of others.
    pub async fn view(&mut self) -> Result<NodeView, Failure> {
        let text = self.text(&["CLUSTER", "NODES"]).await?;
        let lines = parse_nodes(&text).map_err(|error| Failure::at(&self.endpoint, error))?;
        let (mut own, others): (Vec<NodeLine>, Vec<NodeLine>) =
            lines.into_iter().partition(|line| line.has("myself"));
        match (own.pop(), own.is_empty()) {
            (Some(own), true) => Ok(NodeView { endpoint: self.endpoint.clone(), own, others }),
            _ => Err(Failure::at(&self.endpoint, "CLUSTER NODES has no one line of its own")),
        }
    }

    /// Refuses a server that is not a cluster node.
    pub async fn assert_cluster(&mut self) -> Result<(), Failure> {
        let info = self.text(&["INFO", "cluster"]).await?;
        if info.lines().any(|line| line == "cluster_enabled:1") {
            return Ok(());
        }
        let endpoint = &self.endpoint;
        Err(Failure::error(format!("Node {endpoint} is not configured as a cluster node.")))
    }

    /// Refuses a node that knows others or holds data.
    pub async fn assert_empty(&mut self) -> Result<(), Failure> {
        let cluster = self.text(&["CLUSTER", "INFO"]).await?;
        let keys = self.keys().await?;
        let is_alone = cluster.lines().any(|line| line == "cluster_known_nodes:1");
        let is_bare = cluster.lines().any(|line| line == "cluster_slots_assigned:0");
        if is_alone && is_bare && keys == 0 {
            return Ok(());
        }
        let endpoint = &self.endpoint;
        Err(Failure::error(format!(
            "Node {endpoint} is not empty. Either the node already knows other nodes (check with \
             CLUSTER NODES) or contains some key in database 0."
        )))
    }

    /// How many keys it holds.
    pub async fn keys(&mut self) -> Result<u64, Failure> {
        let reply = self.call(&["DBSIZE"]).await?;
        let keys = reply.as_integer().and_then(|keys| u64::try_from(keys).ok());
        keys.ok_or_else(|| Failure::at(&self.endpoint, "DBSIZE gave no number"))
    }
}

/// All nodes of a cluster, connected.
#[derive(Debug)]
pub struct Cluster {
    /// The node that was named: the one that "check with node" means.
    pub entry: Endpoint,
    /// What they say.
    pub snapshot: Snapshot,
    nodes: BTreeMap<NodeId, Node>,
    options: ClientOptions,
}

impl Cluster {
    /// Reads every node's view, starting from one. A node that does not answer has a line in the
    /// report, and is left out; only the first must answer.
    pub async fn load(
        entry: &Endpoint,
        options: &ClientOptions,
        report: &mut dyn Report,
    ) -> Result<Self, Failure> {
        let mut first = connect(entry, options).await?;
        first.assert_cluster().await?;
        let view = first.view().await?;
        let others = view.others.clone();
        let mut cluster = Self {
            entry: entry.clone(),
            snapshot: Snapshot::default(),
            nodes: BTreeMap::from([(view.id(), first)]),
            options: options.clone(),
        };
        cluster.snapshot.nodes.push(view);
        for line in others {
            cluster.load_other(line, report).await;
        }
        // Always in the same order: the named one, primaries by their slots, replicas.
        cluster.snapshot.nodes[1..].sort_by_key(|node| {
            let first_slot = node.own.slots.iter().next();
            let has_none = first_slot.is_none();
            (node.own.is_replica(), has_none, first_slot, node.endpoint.clone())
        });
        Ok(cluster)
    }

    /// The cluster of these nodes, whatever they know of each other yet.
    pub(super) fn of(
        members: Vec<(Node, NodeView)>,
        options: &ClientOptions,
    ) -> Result<Self, Failure> {
        let Some((first, _)) = members.first() else {
            return Err(Failure::error("No nodes were given."));
        };
        let mut cluster = Self {
            entry: first.endpoint.clone(),
            snapshot: Snapshot::default(),
            nodes: BTreeMap::new(),
            options: options.clone(),
        };
        for (node, view) in members {
            cluster.add(node, view);
        }
        Ok(cluster)
    }

    async fn load_other(&mut self, line: NodeLine, report: &mut dyn Report) {
        let endpoint = match &line.endpoint {
            Some(endpoint) if line.is_reachable() => endpoint.clone(),
            _ => return self.snapshot.unreachable.push(line),
        };
        let loaded = async {
            let mut node = connect(&endpoint, &self.options).await?;
            let view = node.view().await?;
            Ok::<_, Failure>((node, view))
        };
        match loaded.await {
            // Another node took over the address: it is not the one that was meant.
            Ok((_, view)) if view.id() != line.id => self.snapshot.unreachable.push(line),
            Ok((node, view)) => {
                self.nodes.insert(view.id(), node);
                self.snapshot.nodes.push(view);
            }
            Err(failure) => {
                report.line(&failure.text);
                self.snapshot.unreachable.push(line);
            }
        }
    }

    /// Reads every connected node's view again.
    pub async fn refresh(&mut self) -> Result<(), Failure> {
        for view in &mut self.snapshot.nodes {
            let node = self.nodes.get_mut(&view.id()).expect("every view has its node");
            *view = node.view().await?;
        }
        Ok(())
    }

    /// Takes in a node that was connected elsewhere.
    pub fn add(&mut self, node: Node, view: NodeView) {
        self.nodes.insert(view.id(), node);
        self.snapshot.nodes.push(view);
    }

    /// The connection to a node of the snapshot.
    ///
    /// # Panics
    /// When the id is not of the snapshot.
    pub fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("every view has its node")
    }

    /// How connections are made.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }
}
