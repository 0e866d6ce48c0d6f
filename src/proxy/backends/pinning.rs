//! Connections that one session has to itself, for as long as it needs them: which one it gets, and
//! what becomes of it afterwards.

use super::{Backends, NoRoute};
use crate::cluster::{Endpoint, Slot};
use crate::proxy::handshake::{Further, Handshake};
use crate::proxy::lanes::{Lane, LaneId};
use crate::proxy::link::{Link, LinkId, Owner, Role};
use std::time::Instant;

impl Backends {
    /// A connection that `owner` has to itself, to the owner of a slot.
    ///
    /// # Errors
    /// Why there is none now.
    pub(in crate::proxy) fn pin(
        &mut self,
        slot: Slot,
        lane: LaneId,
        owner: Owner,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        let endpoint = self.owner_of(slot)?;
        self.pin_to(&endpoint, lane, owner, now)
    }

    /// A connection that `owner` has to itself, to this node.
    ///
    /// # Errors
    /// Why there is none now.
    pub(in crate::proxy) fn pin_to(
        &mut self,
        endpoint: &Endpoint,
        lane: LaneId,
        owner: Owner,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        self.ensure_pool(endpoint);
        let setup = self.lanes.setup(lane);
        let pool = match self.topology.find(endpoint) {
            Some(node) => &mut self.pools[node.index()],
            None => self.others.get_mut(endpoint).expect("just made sure"),
        };
        let shared = pool.links.iter().flatten().chain(pool.more.values());
        if shared.into_iter().any(|id| self.links[id.index()].suspect) {
            return Err(NoRoute::Silent(endpoint.clone()));
        }
        if let Some(id) = pool.idle.get_mut(&lane).and_then(Vec::pop) {
            let link = &mut self.links[id.index()];
            link.role = Role::Held(owner);
            link.retiring = false;
            return Ok(id);
        }
        if pool.retry_at.is_some_and(|at| at > now) {
            return Err(NoRoute::Down(endpoint.clone(), pool.last_error.clone()));
        }
        if pool.pinned >= self.options.pinned_max {
            return Err(NoRoute::Full(endpoint.clone()));
        }
        let (links, opens) = (&mut self.links, &mut self.opens);
        let sink = pool.sink(links, &self.lanes, opens, &self.options, setup, now)?;
        let (protocol, mut further) = (setup.protocol, setup.further(sink));
        further.push(Further::ClientId);
        let (user, password) =
            (self.options.backend_user.clone(), self.options.backend_password.clone());
        let handshake = Handshake::new(protocol, user, password).with(further);
        let mut link = Link::new(
            endpoint.clone(),
            lane,
            Role::Held(owner),
            handshake,
            self.options.limits,
            pool.metrics.clone(),
            now,
        );
        link.tracker = setup.tracking.as_ref().map(|of| of.owner);
        let id = LinkId(self.links.insert(link) as u32);
        pool.pinned += 1;
        self.metrics.pinned.add(1);
        self.opens.push(id);
        Ok(id)
    }

    /// A connection that `owner` has to itself for its transaction or its wait. Who tracks has its
    /// lane's connection to itself already, and a node that is to leave out what a client writes
    /// itself knows the client by that connection: so it is that one, also while its own WATCH holds it, and as
    /// soon as nothing of an earlier transaction is on its way back.
    ///
    /// # Errors
    /// Why there is none now.
    pub(in crate::proxy) fn pin_own(
        &mut self,
        endpoint: &Endpoint,
        lane: LaneId,
        owner: Owner,
        now: Instant,
    ) -> Result<LinkId, NoRoute> {
        if self.lanes.setup(lane).tracking.is_none() {
            return self.pin_to(endpoint, lane, owner, now);
        }
        let id = self.route_to(endpoint, Lane { id: lane, large: false }, now)?;
        let link = &mut self.links[id.index()];
        match link.role {
            Role::Shared => {}
            Role::Held(own) if own == owner && link.lent => return Ok(id),
            Role::Cleaning => {
                let why = "what an earlier transaction left there is being taken back".to_owned();
                return Err(NoRoute::Down(endpoint.clone(), why));
            }
            Role::Held(_) | Role::Blocked(_) | Role::Idle(_) => {
                return self.pin_to(endpoint, lane, owner, now);
            }
        }
        link.role = Role::Held(owner);
        link.lent = true;
        self.metrics.pinned.add(1);
        if let Some(pool) = self.pool_mut(endpoint) {
            pool.pinned += 1;
        }
        Ok(id)
    }

    /// The node of a slot.
    ///
    /// # Errors
    /// Nobody owns it.
    pub(in crate::proxy) fn owner_of(&self, slot: Slot) -> Result<Endpoint, NoRoute> {
        let node = self.topology.owner(slot).ok_or(NoRoute::Uncovered)?;
        Ok(self.topology.node(node).endpoint.clone())
    }

    /// A session has done with the connection that it had to itself, and has left nothing behind
    /// on it: the next may have it.
    pub(in crate::proxy) fn give_back(&mut self, id: LinkId, now: Instant) {
        let link = &mut self.links[id.index()];
        if link.is_closed() {
            return;
        }
        let (lane, endpoint) = (link.lane, link.endpoint.clone());
        if std::mem::take(&mut link.lent) {
            link.role = Role::Shared;
            self.metrics.pinned.sub(1);
            if let Some(pool) = self.pool_mut(&endpoint) {
                pool.pinned -= 1;
            }
            return self.list_dirty(id);
        }
        debug_assert_eq!(link.in_flight(), 0, "what is owed on it would reach another");
        link.role = Role::Idle(now);
        if let Some(pool) = self.pool_mut(&endpoint) {
            pool.idle.entry(lane).or_default().push(id);
        }
    }
}
