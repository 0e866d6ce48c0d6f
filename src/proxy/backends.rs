//! A worker's connections to the nodes: which one a request takes, and which are to be made.

use super::handshake::Handshake;
use super::link::{Expect, Link, LinkId};
use super::map::ClusterMap;
use super::metrics::{LinkEnd, NodeMetrics, WorkerMetrics};
use super::options::Options;
use crate::clock::Backoff;
use crate::cluster::{Endpoint, NodeIndex, Slot, Topology};
use crate::resp::Protocol;
use slab::Slab;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The connections of one worker.
#[derive(Debug)]
pub(super) struct Backends {
    options: Arc<Options>,
    map: Arc<ClusterMap>,
    metrics: Arc<WorkerMetrics>,
    topology: Arc<Topology>,
    /// In the order of the topology's nodes.
    pools: Vec<NodePool>,
    /// Pools of nodes that the topology does not name (any more).
    others: BTreeMap<Endpoint, NodePool>,
    links: Slab<Link>,
    /// Connections that the shell must make.
    pub opens: Vec<LinkId>,
    /// Connections with something to write, or to close.
    pub dirty: Vec<LinkId>,
}

/// The connections to one node.
#[derive(Debug)]
struct NodePool {
    endpoint: Endpoint,
    links: [Option<LinkId>; LANES],
    failures: u32,
    retry_at: Option<Instant>,
    last_error: String,
    metrics: Arc<NodeMetrics>,
}

/// Which of a node's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// The protocol of the client.
    pub protocol: Protocol,
    /// Large requests and replies have a connection of their own.
    pub large: bool,
}

/// Connections to one node at most: one per [`Lane`], and one for subscriptions.
const LANES: usize = 5;

/// The place of the connection for subscriptions.
const SUBSCRIBER: usize = 4;

impl Lane {
    fn index(self) -> usize {
        usize::from(self.protocol == Protocol::Resp3) + 2 * usize::from(self.large)
    }
}

/// Why a request cannot be sent now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoute {
    /// Nobody owns the slot.
    #[error("CLUSTERDOWN Hash slot not served")]
    Uncovered,
    /// Its owner cannot be reached.
    #[error("CLUSTERDOWN cannot reach {0}: {1}")]
    Down(Endpoint, String),
    /// Its owner has been silent for too long.
    #[error("CLUSTERDOWN {0} does not answer")]
    Silent(Endpoint),
}

/// Waits between attempts to connect to a node that cannot be reached.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));

impl Backends {
    /// No connections yet.
    pub(super) fn new(
        options: Arc<Options>,
        map: Arc<ClusterMap>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self {
            options,
            map,
            metrics,
            topology: Arc::new(Topology::empty()),
            pools: Vec::new(),
            others: BTreeMap::new(),
            links: Slab::new(),
            opens: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// Takes over the map if it was swapped. Cheap when it was not.
    #[inline]
    pub(super) fn sync(&mut self) {
        let current = self.map.current().load();
        if !Arc::ptr_eq(&current, &self.topology) {
            let current = Arc::clone(&current);
            self.replace(current);
        }
    }

    fn replace(&mut self, topology: Arc<Topology>) {
        let mut pools = std::mem::take(&mut self.others);
        pools.extend(self.pools.drain(..).map(|pool| (pool.endpoint.clone(), pool)));
        for (_, node) in topology.nodes() {
            let pool = pools.remove(&node.endpoint);
            self.pools.push(pool.unwrap_or_else(|| self.new_pool(&node.endpoint)));
        }
        self.topology = topology;
        // What the topology does not name any more is closed as soon as nothing waits on it.
        for pool in pools.values() {
            for id in pool.links.iter().flatten() {
                self.links[id.index()].retiring = true;
                self.dirty.push(*id);
            }
        }
        self.others = pools;
        let topology = &self.topology;
        self.metrics.retain_nodes(|endpoint| topology.find(endpoint).is_some());
    }

    fn new_pool(&self, endpoint: &Endpoint) -> NodePool {
        NodePool {
            endpoint: endpoint.clone(),
            links: [None; LANES],
            failures: 0,
            retry_at: None,
            last_error: String::new(),
            metrics: self.metrics.node(endpoint),
        }
    }

    /// The map that requests are routed by.
    #[inline]
    pub(super) fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// The connection for a command on this slot.
    ///
    /// # Errors
    /// Why there is none now.
    #[inline]
    pub(super) fn route(
        &mut self,
        slot: Slot,
        lane: Lane,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        let Some(owner) = self.topology.owner(slot) else { return Err(NoRoute::Uncovered) };
        if let Some(id) = self.pools[owner.index()].links[lane.index()]
            && !self.links[id.index()].suspect
        {
            return Ok(id);
        }
        self.route_slow(owner, lane, now)
    }

    #[cold]
    fn route_slow(
        &mut self,
        owner: NodeIndex,
        lane: Lane,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        let pool = &mut self.pools[owner.index()];
        take(pool, &mut self.links, &mut self.opens, &self.options, lane, now)
    }

    /// The connection to a node that carries this worker's subscriptions there.
    ///
    /// # Errors
    /// Why there is none now.
    pub(super) fn subscriber(
        &mut self,
        endpoint: &Endpoint,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        let (links, opens, options) = (&mut self.links, &mut self.opens, &self.options);
        let pool = match self.topology.find(endpoint) {
            Some(node) => &mut self.pools[node.index()],
            None => self
                .others
                .get_mut(endpoint)
                .ok_or_else(|| NoRoute::Down(endpoint.clone(), "it has left".to_owned()))?,
        };
        if let Some(id) = pool.links[SUBSCRIBER] {
            return Ok(id);
        }
        let id = open(pool, links, opens, options, SUBSCRIBER, Protocol::Resp3, now)?;
        links[id.index()].subscriber = true;
        Ok(id)
    }

    /// The connection to a node that a redirect named.
    ///
    /// # Errors
    /// Why there is none now.
    pub(super) fn route_to(
        &mut self,
        endpoint: &Endpoint,
        lane: Lane,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        if let Some(node) = self.topology.find(endpoint) {
            return self.route_slow(node, lane, now);
        }
        if !self.others.contains_key(endpoint) {
            let pool = self.new_pool(endpoint);
            self.others.insert(endpoint.clone(), pool);
        }
        let pool = self.others.get_mut(endpoint).expect("just made sure");
        take(pool, &mut self.links, &mut self.opens, &self.options, lane, now)
    }

    /// Queues a frame on a connection.
    #[inline]
    pub(super) fn send(&mut self, id: LinkId, expect: Expect, write: impl FnOnce(&mut Vec<u8>)) {
        let link = &mut self.links[id.index()];
        if !std::mem::replace(&mut link.listed, true) {
            self.dirty.push(id);
        }
        link.send(expect, write);
    }

    /// A connection has something to write, or is over.
    pub(super) fn list_dirty(&mut self, id: LinkId) {
        let link = &mut self.links[id.index()];
        if !std::mem::replace(&mut link.listed, true) {
            self.dirty.push(id);
        }
    }

    /// A connection.
    #[inline]
    pub(super) fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id.index())
    }

    /// Every connection.
    pub(super) fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(index, link)| (LinkId(index as u32), link))
    }

    /// Every node's cells.
    pub(super) fn all_node_metrics(&self) -> impl Iterator<Item = &Arc<NodeMetrics>> {
        self.pools.iter().chain(self.others.values()).map(|pool| &pool.metrics)
    }

    /// A connection takes commands.
    pub(super) fn ready(&mut self, id: LinkId) {
        let endpoint = self.links[id.index()].endpoint.clone();
        if let Some(pool) = self.pool_mut(&endpoint) {
            pool.retry_at = None;
            pool.metrics.up.set(1);
        }
    }

    /// A connection has answered a command: the node serves.
    pub(super) fn served(&mut self, id: LinkId) {
        let link = &mut self.links[id.index()];
        link.has_served = true;
        let endpoint = link.endpoint.clone();
        if let Some(pool) = self.pool_mut(&endpoint) {
            pool.failures = 0;
        }
    }

    /// A connection is over: no request takes it any more. The place is freed by
    /// [`Backends::free`], once the shell has let go of the socket.
    pub(super) fn detach(&mut self, id: LinkId, end: LinkEnd, error: &str, now: Instant) {
        let link = &self.links[id.index()];
        let (endpoint, served) = (link.endpoint.clone(), link.has_served);
        if let Some(pool) = self.pool_mut(&endpoint) {
            for link in &mut pool.links {
                if *link == Some(id) {
                    *link = None;
                }
            }
            pool.metrics.ended[end as usize].add(1);
            match end {
                // One that was closed before it answered anything is no better than none.
                LinkEnd::Lost if served => {}
                LinkEnd::Connect
                | LinkEnd::Handshake
                | LinkEnd::Timeout
                | LinkEnd::Desync
                | LinkEnd::Lost => {
                    pool.retry_at = Some(now + RECONNECT.wait(pool.failures));
                    pool.failures += 1;
                    pool.last_error = error.to_owned();
                    pool.metrics.up.set(0);
                }
                LinkEnd::Retired => {}
            }
        }
        self.dirty.push(id);
    }

    /// The shell has let go of a connection that is over.
    pub(super) fn free(&mut self, id: LinkId) {
        let link = self.links.remove(id.index());
        let empty = |pool: &NodePool| pool.links.iter().all(Option::is_none);
        if self.others.get(&link.endpoint).is_some_and(empty) {
            self.others.remove(&link.endpoint);
        }
    }

    fn pool_mut(&mut self, endpoint: &Endpoint) -> Option<&mut NodePool> {
        match self.topology.find(endpoint) {
            Some(node) => Some(&mut self.pools[node.index()]),
            None => self.others.get_mut(endpoint),
        }
    }
}

/// The connection of a pool for this lane, asked for if there is none.
fn take(
    pool: &mut NodePool,
    links: &mut Slab<Link>,
    opens: &mut Vec<LinkId>,
    options: &Options,
    lane: Lane,
    now: Instant,
) -> Result<LinkId, NoRoute> {
    if let Some(id) = pool.links[lane.index()] {
        let link = &mut links[id.index()];
        link.retiring = false;
        return if link.suspect { Err(NoRoute::Silent(pool.endpoint.clone())) } else { Ok(id) };
    }
    open(pool, links, opens, options, lane.index(), lane.protocol, now)
}

/// Asks for another connection.
fn open(
    pool: &mut NodePool,
    links: &mut Slab<Link>,
    opens: &mut Vec<LinkId>,
    options: &Options,
    index: usize,
    protocol: Protocol,
    now: Instant,
) -> Result<LinkId, NoRoute> {
    if pool.retry_at.is_some_and(|at| at > now) {
        return Err(NoRoute::Down(pool.endpoint.clone(), pool.last_error.clone()));
    }
    let handshake =
        Handshake::new(protocol, options.backend_user.clone(), options.backend_password.clone());
    let link = Link::new(
        pool.endpoint.clone(),
        protocol,
        handshake,
        options.limits,
        pool.metrics.clone(),
        now,
    );
    let id = LinkId(links.insert(link) as u32);
    pool.links[index] = Some(id);
    opens.push(id);
    Ok(id)
}
