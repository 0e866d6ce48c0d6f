//! A real cluster on loopback, of one kind of node or a mixture, formed the way an operator does:
//! ADDSLOTS, MEET, REPLICATE; handed out when all nodes agree and all replicas are online.

use super::relay::Relay;
use super::server::{Kind, Server};
use super::slow_disk::SlowDisk;
use super::wait::wait_for;
use keyway::cluster::Slot;
use keyway::resp::Reply;
use std::collections::BTreeSet;
use std::time::Duration;

/// Directives that make a node a cluster's. The short node timeout makes failovers quick; full
/// coverage off is what `keyway up` sets too.
const DIRECTIVES: &[&str] = &[
    "--cluster-enabled",
    "yes",
    "--cluster-config-file",
    "nodes.conf",
    "--cluster-node-timeout",
    "2000",
    "--cluster-require-full-coverage",
    "no",
    "--repl-diskless-sync-delay",
    "0",
];

/// How long forming may take.
const FORM_WITHIN: Duration = Duration::from_secs(60);

/// A running cluster: its primaries first, then each primary's replicas in turn.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Server>,
    primaries: usize,
}

impl Cluster {
    /// Of `redis-server`s: so many primaries with so many replicas each.
    pub(crate) fn redis(primaries: usize, replicas: usize) -> Option<Self> {
        Self::of(&vec![Kind::Redis; primaries], replicas, &[])
    }

    /// Of `valkey-server`s.
    pub(crate) fn valkey(primaries: usize, replicas: usize) -> Option<Self> {
        Self::of(&vec![Kind::Valkey; primaries], replicas, &[])
    }

    /// Of nodes of ours, all primaries.
    pub(crate) fn keyway(primaries: usize) -> Self {
        Self::of(&vec![Kind::Keyway; primaries], 0, &[]).expect("our own binary is there")
    }

    /// Of any kinds, one primary of each, with so many replicas of its own kind. The slots are
    /// shared out evenly, in order. `None` where a stock server is missing.
    pub(crate) fn of(kinds: &[Kind], replicas: usize, directives: &[&str]) -> Option<Self> {
        let directives: Vec<&str> = DIRECTIVES.iter().chain(directives).copied().collect();
        let mut nodes = Vec::new();
        for kind in kinds {
            nodes.push(Server::node(*kind, &directives)?);
        }
        for kind in kinds {
            for _ in 0..replicas {
                nodes.push(Server::node(*kind, &directives)?);
            }
        }
        let mut cluster = Self { nodes, primaries: kinds.len() };
        cluster.form(replicas);
        Some(cluster)
    }

    /// Primaries of some kinds, and for each one replica, which may be of another kind. There may be
    /// fewer replicas than primaries.
    pub(crate) fn mixed(primaries: &[Kind], replicas: &[Kind]) -> Option<Self> {
        Self::mixed_with(primaries, replicas, &[])
    }

    /// The same, with directives of one's own.
    pub(crate) fn mixed_with(
        primaries: &[Kind],
        replicas: &[Kind],
        directives: &[&str],
    ) -> Option<Self> {
        assert!(replicas.len() <= primaries.len(), "one replica each");
        let directives: Vec<&str> = DIRECTIVES.iter().chain(directives).copied().collect();
        let kinds = primaries.iter().chain(replicas);
        let nodes: Option<Vec<Server>> =
            kinds.map(|kind| Server::node(*kind, &directives)).collect();
        let mut cluster = Self { nodes: nodes?, primaries: primaries.len() };
        cluster.form(1);
        Some(cluster)
    }

    /// Three primaries of ours with a replica each, all on one disk, with directives of one's own.
    pub(crate) fn keyway_on(disk: &SlowDisk, directives: &[&str]) -> Self {
        let directives: Vec<&str> = DIRECTIVES.iter().chain(directives).copied().collect();
        let node = |_| Server::keyway_node_on(disk, &directives);
        let mut cluster = Self { nodes: (0..6).map(node).collect(), primaries: 3 };
        cluster.form(1);
        cluster
    }

    /// A node more, which everybody knows, and which is nothing yet: its index.
    pub(crate) fn join(&mut self, kind: Kind) -> Option<usize> {
        self.nodes.push(Server::node(kind, DIRECTIVES)?);
        let index = self.nodes.len() - 1;
        let port = self.nodes[index].port().to_string();
        self.nodes[0].client().ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        self.await_members();
        Some(index)
    }

    /// Makes a node copy another.
    pub(crate) fn replicate(&self, replica: usize, primary: usize) {
        let id = self.id(primary);
        let replica = &self.nodes[replica];
        // The replica may have heard of its primary by gossip a moment later than others.
        wait_for("REPLICATE is taken", FORM_WITHIN, || {
            replica.client().call(&["CLUSTER", "REPLICATE", &id]) == Reply::simple("OK")
        });
    }

    fn form(&mut self, replicas: usize) {
        for (index, node) in self.nodes.iter().enumerate() {
            let mut client = node.client();
            client.ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index < self.primaries {
                let (first, last) = self.share(index);
                let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
                let mut command = vec!["CLUSTER", "ADDSLOTS"];
                command.extend(slots.iter().map(String::as_str));
                client.ok(&command);
            }
        }
        let mut first = self.nodes[0].client();
        for node in &self.nodes[1..] {
            first.ok(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        self.await_members();
        for index in self.primaries..self.nodes.len() {
            self.replicate(index, (index - self.primaries) / replicas);
        }
        self.await_agreement();
        self.await_replicas_online();
    }

    /// The first and the last slot of a primary's share.
    fn share(&self, primary: usize) -> (usize, usize) {
        let bound = |index: usize| index * Slot::COUNT / self.primaries;
        (bound(primary), bound(primary + 1) - 1)
    }

    /// Waits until every node knows every other, with no handshake left open, and bus links both ways of
    /// which both ends know whose they are: what is published at a node never arrives where it has none, and
    /// Valkey closes one on which a message comes from it knows not whom.
    fn await_members(&self) {
        let count = self.nodes.len();
        for node in &self.nodes {
            wait_for("every node knows every other", FORM_WITHIN, || {
                let text = node.client().text(&["CLUSTER", "NODES"]);
                let lines: Vec<&str> = text.lines().collect();
                lines.len() == count
                    && lines
                        .iter()
                        .all(|line| !line.contains("handshake") && !line.contains("fail"))
                    && lines.iter().all(|line| line.contains(" connected"))
                    && links_by_name(&node.client().call(&["CLUSTER", "LINKS"])) == 2 * (count - 1)
            });
        }
    }

    /// Waits until every live node says the cluster is ok and gives the same owners of slots.
    pub(crate) fn await_agreement(&self) {
        wait_for("all nodes agree", FORM_WITHIN, || {
            let mut views = self.live_nodes().map(|node| {
                let mut client = node.client();
                let info = client.text(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok")
                    .then(|| owners(&client.text(&["CLUSTER", "NODES"])))
            });
            let Some(Some(first)) = views.next() else { return false };
            views.all(|view| view.as_ref() == Some(&first))
        });
    }

    /// Waits until every live node knows the same owners by the same epochs, no two alike: no claim of a slot
    /// is still on its way. One that comes late ends an import that was begun since (Valkey's log:
    /// `Slot … is no longer being imported`).
    pub(crate) fn await_claims(&self) {
        wait_for("all claims have come", FORM_WITHIN, || {
            let mut views =
                self.live_nodes().map(|node| claims(&node.client().text(&["CLUSTER", "NODES"])));
            let Some(first) = views.next() else { return false };
            let epochs: BTreeSet<&str> = first.iter().map(|claim| claim.1.as_str()).collect();
            epochs.len() == first.len() && views.all(|view| view == first)
        });
    }

    /// Waits until every replica has its primary's data and the primary says it is online.
    pub(crate) fn await_replicas_online(&self) {
        for node in self.live_nodes() {
            let role = node.info("role");
            if role != "master" {
                wait_for("a replica's link is up", FORM_WITHIN, || {
                    node.info("master_link_status") == "up"
                });
                continue;
            }
            let id = node.client().text(&["CLUSTER", "MYID"]);
            let nodes = node.client().text(&["CLUSTER", "NODES"]);
            let replicas = nodes.lines().filter(|line| line.split(' ').nth(3) == Some(&id)).count();
            wait_for("a primary's replicas are online", FORM_WITHIN, || {
                node.client().text(&["INFO", "replication"]).matches("state=online").count()
                    == replicas
            });
        }
    }

    fn live_nodes(&self) -> impl Iterator<Item = &Server> {
        self.nodes
            .iter()
            .filter(|node| std::path::Path::new(&format!("/proc/{}", node.pid())).exists())
    }

    /// Puts a relay before each primary: the nodes announce the relays' ports, so that the proxy
    /// reaches them that way, while the bus goes on as it was.
    pub(crate) fn behind_relays(&self) -> Vec<Relay> {
        let relays: Vec<Relay> =
            self.nodes[..self.primaries].iter().map(|node| Relay::to(node.port())).collect();
        for (node, relay) in self.nodes.iter().zip(&relays) {
            let mut client = node.client();
            let bus = (node.port() + 10_000).to_string();
            client.ok(&["CONFIG", "SET", "cluster-announce-bus-port", &bus]);
            client.ok(&["CONFIG", "SET", "cluster-announce-port", &relay.port().to_string()]);
        }
        wait_for("every node announces its relay", FORM_WITHIN, || {
            self.nodes.iter().all(|node| {
                let text = node.client().text(&["CLUSTER", "NODES"]);
                relays.iter().all(|relay| text.contains(&format!(":{}@", relay.port())))
            })
        });
        relays
    }

    /// All nodes, primaries first.
    pub(crate) fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// One node, to be paused or killed.
    pub(crate) fn node_mut(&mut self, index: usize) -> &mut Server {
        &mut self.nodes[index]
    }

    /// How many primaries it was formed with.
    pub(crate) fn primaries(&self) -> usize {
        self.primaries
    }

    /// A node's id.
    pub(crate) fn id(&self, index: usize) -> String {
        self.nodes[index].client().text(&["CLUSTER", "MYID"])
    }

    /// Addresses for `keyway proxy`.
    pub(crate) fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// Which of the primaries it was formed with owns a key's slot, before any slot is moved.
    pub(crate) fn owner(&self, key: impl AsRef<[u8]>) -> usize {
        let slot = usize::from(Slot::of(key.as_ref()).number());
        (0..self.primaries)
            .find(|&primary| {
                let (first, last) = self.share(primary);
                (first..=last).contains(&slot)
            })
            .expect("every slot has its owner")
    }

    /// A key of one primary's share; another `salt`, another key.
    pub(crate) fn key_of(&self, primary: usize, salt: &str) -> String {
        (0..)
            .map(|number| format!("{salt}:{number}"))
            .find(|key| self.owner(key) == primary)
            .expect("some number hashes there")
    }
}

/// What nodes must agree on: id, role and slots of each node, in order of id.
fn owners(nodes: &str) -> Vec<String> {
    let mut owners: Vec<String> = nodes
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let role = if fields[2].contains("slave") { fields[3] } else { "primary" };
            format!("{} {role} {}", fields[0], fields[8..].join(" "))
        })
        .collect();
    owners.sort();
    owners
}

/// Each primary with its epoch and its slots, in order of id.
fn claims(nodes: &str) -> Vec<(String, String, String)> {
    let lines = nodes.lines().map(|line| line.split(' ').collect::<Vec<&str>>());
    let primaries = lines.filter(|fields| fields[2].contains("master"));
    let mut claims: Vec<_> = primaries
        .map(|fields| {
            // A node tells of its open slots, and of nobody else's.
            let slots: Vec<&str> =
                fields[8..].iter().filter(|slots| !slots.starts_with('[')).copied().collect();
            (fields[0].to_owned(), fields[6].to_owned(), slots.join(" "))
        })
        .collect();
    claims.sort();
    claims
}

/// How many of CLUSTER LINKS are to or from a node that is known by name.
fn links_by_name(links: &Reply) -> usize {
    let is_named = |link: &&Reply| {
        let words = link.as_array().unwrap_or_default();
        let mut pairs = words.chunks_exact(2);
        let node = pairs.find(|pair| pair[0] == Reply::bulk("node")).map(|pair| &pair[1]);
        node.is_some_and(|node| node.as_bytes().is_some_and(|name| name.len() == 40))
    };
    links.as_array().unwrap_or_default().iter().filter(is_named).count()
}
