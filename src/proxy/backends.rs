//! A worker's connections to the nodes: which one a request takes, and which are to be made.

mod pinning;

use super::handshake::{Further, Handshake};
use super::lanes::{Lane, LaneId, Lanes, Setup};
use super::link::{Expect, Link, LinkId, Role};
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
    /// What is said on the connections of each lane.
    pub lanes: Lanes,
    /// Connections that the shell must make.
    pub opens: Vec<LinkId>,
    /// Connections with something to write, or to close.
    pub dirty: Vec<LinkId>,
}

/// The connections to one node.
#[derive(Debug)]
struct NodePool {
    endpoint: Endpoint,
    /// Of the plain lanes.
    links: [Option<LinkId>; Lane::PLAIN],
    /// The one that carries this worker's subscriptions.
    subscriber: Option<LinkId>,
    /// Of the others.
    more: BTreeMap<Lane, LinkId>,
    /// Those that a session may have to itself next, the last given back last.
    idle: BTreeMap<LaneId, Vec<LinkId>>,
    /// Connections that sessions have, or may have, to themselves.
    pinned: usize,
    failures: u32,
    retry_at: Option<Instant>,
    last_error: String,
    metrics: Arc<NodeMetrics>,
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
    /// No replica of its owner may be read from.
    #[error("CLUSTERDOWN no replica of {0} may be read from")]
    NoReplica(Endpoint),
    /// As many sessions as may have a connection of their own to it.
    #[error("ERR as many clients as pinned_max allows have a connection of their own to {0}")]
    Full(Endpoint),
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
            lanes: Lanes::new(),
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
            for id in pool.connections() {
                self.links[id.index()].retiring = true;
                self.dirty.push(id);
            }
        }
        self.others = pools;
        let topology = &self.topology;
        self.metrics.retain_nodes(|endpoint| topology.find(endpoint).is_some());
    }

    fn new_pool(&self, endpoint: &Endpoint) -> NodePool {
        NodePool {
            endpoint: endpoint.clone(),
            links: [None; Lane::PLAIN],
            subscriber: None,
            more: BTreeMap::new(),
            idle: BTreeMap::new(),
            pinned: 0,
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
        if let Some(&Some(id)) = self.pools[owner.index()].links.get(lane.index())
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
        self.pools[owner.index()].take(
            &mut self.links,
            &self.lanes,
            &mut self.opens,
            &self.options,
            lane,
            now,
        )
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
        if let Some(id) = pool.subscriber {
            return Ok(id);
        }
        let lane = LaneId::plain(Protocol::Resp3);
        let id = pool.open(links, &self.lanes, opens, options, lane, now)?;
        pool.subscriber = Some(id);
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
        self.ensure_pool(endpoint);
        let pool = self.others.get_mut(endpoint).expect("just made sure");
        pool.take(&mut self.links, &self.lanes, &mut self.opens, &self.options, lane, now)
    }

    /// Makes sure that there is a pool for a node.
    fn ensure_pool(&mut self, endpoint: &Endpoint) {
        if self.topology.find(endpoint).is_none() && !self.others.contains_key(endpoint) {
            let pool = self.new_pool(endpoint);
            self.others.insert(endpoint.clone(), pool);
        }
    }

    /// Makes sure that a node which has sessions waiting on connections of their own is asked
    /// whether it is there: those connections are silent by design.
    pub(super) fn watch_over(&mut self, endpoint: &Endpoint, now: Instant) {
        let lane = Lane { id: LaneId::plain(Protocol::Resp2), large: false };
        // Where there is no way to it now, that is known already.
        let _ = self.route_to(endpoint, lane, now);
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

    /// A connection, to look at.
    pub(super) fn peek(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id.index())
    }

    /// Every connection.
    pub(super) fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(index, link)| (LinkId(index as u32), link))
    }

    /// What a connection is for, in a word.
    pub(super) fn role_of(&self, id: LinkId, link: &Link) -> &'static str {
        let pool = match self.topology.find(&link.endpoint) {
            Some(node) => Some(&self.pools[node.index()]),
            None => self.others.get(&link.endpoint),
        };
        let is_large = || {
            let plain = Lane { id: link.lane, large: true };
            pool.is_some_and(|pool| {
                pool.links.get(plain.index()).is_some_and(|large| *large == Some(id))
                    || pool.more.get(&plain) == Some(&id)
            })
        };
        match link.role {
            Role::Held(_) => "held",
            Role::Blocked(_) => "blocked",
            Role::Idle(_) => "idle",
            Role::Cleaning => "cleaning",
            Role::Shared if link.subscriber => "subscriber",
            Role::Shared if is_large() => "large",
            Role::Shared => "shared",
        }
    }

    /// Every node's cells.
    pub(super) fn all_node_metrics(&self) -> impl Iterator<Item = &Arc<NodeMetrics>> {
        self.pools.iter().chain(self.others.values()).map(|pool| &pool.metrics)
    }

    /// The shared connections of a lane to a node take no more commands, and are closed once
    /// nothing is expected on them.
    pub(super) fn retire_lane(&mut self, lane: LaneId, endpoint: &Endpoint) {
        let Some(pool) = self.pool_mut(endpoint) else { return };
        let mut retired = Vec::new();
        pool.more.retain(|of, link| {
            let kept = of.id != lane;
            if !kept {
                retired.push(*link);
            }
            kept
        });
        retired.extend(pool.idle.remove(&lane).unwrap_or_default());
        for id in retired {
            self.links[id.index()].retiring = true;
            self.list_dirty(id);
        }
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
        let pinned = link.role != Role::Shared;
        if pinned {
            self.metrics.pinned.sub(1);
        }
        if let Some(pool) = self.pool_mut(&endpoint) {
            for link in &mut pool.links {
                if *link == Some(id) {
                    *link = None;
                }
            }
            pool.more.retain(|_, link| *link != id);
            pool.subscriber = pool.subscriber.filter(|link| *link != id);
            if pinned {
                pool.pinned -= 1;
                pool.idle.values_mut().for_each(|idle| idle.retain(|link| *link != id));
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
        let empty = |pool: &NodePool| pool.connections().next().is_none() && pool.pinned == 0;
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

impl NodePool {
    /// Its connections, without those that sessions have to themselves.
    fn connections(&self) -> impl Iterator<Item = LinkId> {
        let idle = self.idle.values().flatten().copied();
        let shared = self.links.iter().flatten().chain(self.more.values()).copied();
        shared.chain(self.subscriber).chain(idle)
    }

    /// The connection for this lane, asked for if there is none.
    fn take(
        &mut self,
        links: &mut Slab<Link>,
        lanes: &Lanes,
        opens: &mut Vec<LinkId>,
        options: &Options,
        lane: Lane,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        let plain = lane.index() < Lane::PLAIN;
        // A node knows who tracks by the connection, so that has one for everything.
        let one = !plain && lanes.setup(lane.id).tracking.is_some();
        let lane = Lane { large: lane.large && !one, ..lane };
        let known = match plain {
            true => self.links[lane.index()],
            false => self.more.get(&lane).copied(),
        };
        if let Some(id) = known {
            let link = &mut links[id.index()];
            link.retiring = false;
            return if link.suspect { Err(NoRoute::Silent(self.endpoint.clone())) } else { Ok(id) };
        }
        let id = self.open(links, lanes, opens, options, lane.id, now)?;
        if plain {
            self.links[lane.index()] = Some(id);
        } else {
            self.more.insert(lane, id);
        }
        Ok(id)
    }

    /// Asks for another connection.
    fn open(
        &mut self,
        links: &mut Slab<Link>,
        lanes: &Lanes,
        opens: &mut Vec<LinkId>,
        options: &Options,
        lane: LaneId,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        if self.retry_at.is_some_and(|at| at > now) {
            return Err(NoRoute::Down(self.endpoint.clone(), self.last_error.clone()));
        }
        let setup = lanes.setup(lane);
        if setup.tracking.is_some() && self.more.len() >= options.pinned_max {
            return Err(NoRoute::Full(self.endpoint.clone()));
        }
        let sink = self.sink(links, lanes, opens, options, setup, now)?;
        let (user, password) = (options.backend_user.clone(), options.backend_password.clone());
        let mut further = setup.further(sink);
        if setup.tracking.as_ref().is_some_and(|of| !of.hears) {
            // Its waits are on it, and may have to be ended.
            further.push(Further::ClientId);
        }
        let handshake = Handshake::new(setup.protocol, user, password).with(further);
        let mut link = Link::new(
            self.endpoint.clone(),
            lane,
            Role::Shared,
            handshake,
            options.limits,
            self.metrics.clone(),
            now,
        );
        link.tracker = setup.tracking.as_ref().map(|of| of.owner);
        let id = LinkId(links.insert(link) as u32);
        opens.push(id);
        Ok(id)
    }

    /// What the node calls the connection on which it says what changes, for a lane that has one.
    /// It is asked for if it is not there, and nothing goes out on the lane until it is.
    fn sink(
        &mut self,
        links: &mut Slab<Link>,
        lanes: &Lanes,
        opens: &mut Vec<LinkId>,
        options: &Options,
        setup: &Setup,
        now: Instant,
    ) -> Result<Option<i64>, NoRoute> {
        let Some(sink) = setup.tracking.as_ref().and_then(|of| of.sink) else { return Ok(None) };
        let lane = Lane { id: sink, large: false };
        let id = self.take(links, lanes, opens, options, lane, now)?;
        let link = &links[id.index()];
        match link.node_client.filter(|_| link.is_ready()) {
            Some(client) => Ok(Some(client)),
            None => {
                let why = "its invalidations have no connection yet".to_owned();
                Err(NoRoute::Down(self.endpoint.clone(), why))
            }
        }
    }
}
