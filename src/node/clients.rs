//! All clients of a node, by id. The one whose command is running is taken out meanwhile, so that
//! a command may look at itself and at the others at once.

use super::session::{ClientId, Session};
use std::collections::BTreeMap;

/// The clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// The last id given.
    last_id: ClientId,
    /// `None` while it runs a command.
    sessions: BTreeMap<ClientId, Option<Box<Session>>>,
}

impl Clients {
    /// The id for the next client.
    pub(super) fn next_id(&mut self) -> ClientId {
        self.last_id += 1;
        self.last_id
    }

    /// Adds a client.
    pub(super) fn insert(&mut self, session: Box<Session>) {
        self.sessions.insert(session.id, Some(session));
    }

    /// Takes a client out for as long as its commands run.
    pub(super) fn take(&mut self, id: ClientId) -> Option<Box<Session>> {
        self.sessions.get_mut(&id)?.take()
    }

    /// Puts it back.
    pub(super) fn put(&mut self, session: Box<Session>) {
        if let Some(place) = self.sessions.get_mut(&session.id) {
            *place = Some(session);
        }
    }

    /// Removes a client for good.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<Box<Session>> {
        self.sessions.remove(&id)?
    }

    /// How many clients there are, the running one included.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// A client that is not running a command.
    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)?.as_deref_mut()
    }

    /// All clients but the running one, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter_map(Option::as_deref)
    }

    /// The same, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.values_mut().filter_map(Option::as_deref_mut)
    }
}
