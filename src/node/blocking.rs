//! Who waits for which key, and in what order they are served.
//!
//! ```text
//!   a command finds nothing ▶ Ctx::block: its request is kept, the client gets a ticket
//!   a key changes           ▶ Waiters::touch: the key is ready, behind those that were before it
//!   the command has ended   ▶ serve.rs: for each ready key, in order, each waiter, in order of
//!                             the tickets, runs its command again; who blocks again keeps its place
//! ```
//! So clients are served first come first served, also where one command fills several keys or
//! one served client fills the key that another waits for. This file holds the queues and knows
//! nothing of commands; what a client waits with is in its session, as [`Blocked`].

use super::call::Ctx;
use super::migrate::MigrationId;
use super::session::ClientId;
use crate::command::Spec;
use crate::resp::OwnedRequest;
use crate::store::Type;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// A place in all queues: lower ones are served first.
type Ticket = u64;

/// What a blocked client waits for, and with.
#[derive(Debug)]
pub(super) struct Blocked {
    /// Its command, to be run again.
    pub(super) spec: &'static Spec,
    /// The same, with its arguments.
    pub(super) request: OwnedRequest,
    /// What it waits for.
    pub(super) subject: Subject,
    /// Until when; forever if none.
    pub(super) until: Option<Instant>,
    /// Writes the reply for when that time is over.
    pub(super) timed_out: fn(&mut Ctx<'_>),
    /// Who it is.
    client: ClientId,
    /// Its place in the queues.
    ticket: Ticket,
}

/// What a client may wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// One of these keys of a database, each of them once.
    Keys {
        /// The database.
        db: usize,
        /// The keys.
        keys: Box<[Box<[u8]>]>,
        /// What a key must hold: one that comes as something else has not come.
        of: Type,
        /// The command is also to be run again when such a key has gone, or is something else.
        gone_too: bool,
    },
    /// What replicas have acknowledged.
    Acknowledgements,
    /// The end of a migration: what comes then is its reply.
    Migration(MigrationId),
    /// The end of a script that runs for long: what comes then is its reply.
    Script,
}

impl Blocked {
    /// Whether it waits for the end of this migration.
    pub(super) fn is_migration(&self, id: MigrationId) -> bool {
        self.subject == Subject::Migration(id)
    }

    /// Whether CLIENT UNBLOCK may end it: what is on its way to another server, or running, cannot
    /// be called back.
    pub(super) fn can_be_ended(&self) -> bool {
        !matches!(self.subject, Subject::Migration(_) | Subject::Script)
    }
}

/// Something that clients may have waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// A key of a database has changed.
    Key(usize, Box<[u8]>),
    /// Replicas have acknowledged more.
    Acknowledgements,
}

/// The queues.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    last_ticket: Ticket,
    /// By database and key; none is empty.
    keys: BTreeMap<usize, BTreeMap<Box<[u8]>, Queue>>,
    acknowledgements: Queue,
    /// In the order in which they became ready, each at most once.
    ready: VecDeque<Ready>,
    /// Who is blocked, on whatever.
    clients: BTreeSet<ClientId>,
    /// How many of them wait for a limited time.
    limited: usize,
}

#[derive(Debug, Default)]
struct Queue {
    clients: BTreeMap<Ticket, Waiter>,
    /// How many of them want to know that the key has gone.
    gone_too: usize,
    /// It is in [`Waiters::ready`].
    ready: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    client: ClientId,
    /// What the key must hold; anything if none.
    of: Option<Type>,
    gone_too: bool,
}

impl Queue {
    /// The first client from a ticket on that wants a key that holds this, or that has gone.
    fn first(&self, from: Ticket, holds: Option<Type>) -> Option<(Ticket, ClientId)> {
        if holds.is_none() && self.gone_too == 0 {
            // However many there are, nobody has to be asked.
            return None;
        }
        let mut waiters = self.clients.range(from..);
        let wants = |waiter: &Waiter| waiter.gone_too || waiter.of == holds;
        waiters.find(|(_, waiter)| wants(waiter)).map(|(&ticket, waiter)| (ticket, waiter.client))
    }
}

impl Waiters {
    /// Puts a client at the end of the queues for what it waits for.
    pub(super) fn add(
        &mut self,
        client: ClientId,
        spec: &'static Spec,
        request: OwnedRequest,
        subject: Subject,
        until: Option<Instant>,
        timed_out: fn(&mut Ctx<'_>),
    ) -> Box<Blocked> {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.clients.insert(client);
        self.limited += usize::from(until.is_some());
        match &subject {
            Subject::Keys { db, keys, of, gone_too } => {
                let queues = self.keys.entry(*db).or_default();
                let waiter = Waiter { client, of: Some(*of), gone_too: *gone_too };
                for key in keys {
                    let queue = queues.entry(key.clone()).or_default();
                    queue.clients.insert(ticket, waiter);
                    queue.gone_too += usize::from(*gone_too);
                }
            }
            Subject::Acknowledgements => {
                let waiter = Waiter { client, of: None, gone_too: true };
                self.acknowledgements.clients.insert(ticket, waiter);
                self.acknowledgements.gone_too += 1;
            }
            Subject::Migration(_) | Subject::Script => {}
        }
        Box::new(Blocked { spec, request, subject, until, timed_out, client, ticket })
    }

    /// Ends what [`Waiters::add`] began.
    pub(super) fn remove(&mut self, blocked: &Blocked) {
        self.clients.remove(&blocked.client);
        self.limited -= usize::from(blocked.until.is_some());
        match &blocked.subject {
            Subject::Keys { db, keys, gone_too, .. } => {
                let Some(queues) = self.keys.get_mut(db) else { return };
                for key in keys {
                    let Some(queue) = queues.get_mut(key) else { continue };
                    queue.clients.remove(&blocked.ticket);
                    queue.gone_too -= usize::from(*gone_too);
                    if queue.clients.is_empty() {
                        queues.remove(key);
                    }
                }
                if queues.is_empty() {
                    self.keys.remove(db);
                }
            }
            Subject::Acknowledgements => {
                self.acknowledgements.clients.remove(&blocked.ticket);
                self.acknowledgements.gone_too -= 1;
            }
            Subject::Migration(_) | Subject::Script => {}
        }
    }

    /// Whether anyone waits for a key.
    #[inline]
    pub(super) fn await_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether anyone waits for this key.
    pub(super) fn await_key(&self, db: usize, key: &[u8]) -> bool {
        self.keys.get(&db).is_some_and(|queues| queues.contains_key(key))
    }

    /// The keys of a database, of all if `None`, that anyone waits for.
    pub(super) fn awaited(&self, db: Option<usize>) -> Vec<(usize, Box<[u8]>)> {
        let wanted = self.keys.iter().filter(|(of, _)| db.is_none_or(|db| db == **of));
        wanted.flat_map(|(of, queues)| queues.keys().map(|key| (*of, key.clone()))).collect()
    }

    /// A key has changed, come or gone: this is what it holds. It is ready if that is what anyone
    /// waits for.
    pub(super) fn touch(&mut self, db: usize, key: &[u8], holds: Option<Type>) {
        let queue = self.keys.get_mut(&db).and_then(|queues| queues.get_mut(key));
        if let Some(queue) = queue
            && !queue.ready
            && queue.first(0, holds).is_some()
        {
            queue.ready = true;
            self.ready.push_back(Ready::Key(db, key.into()));
        }
    }

    /// Replicas have acknowledged more than before.
    pub(super) fn acknowledged(&mut self) {
        let queue = &mut self.acknowledgements;
        if !queue.clients.is_empty() && !std::mem::replace(&mut queue.ready, true) {
            self.ready.push_back(Ready::Acknowledgements);
        }
    }

    /// Whether anything is ready.
    #[inline]
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What became ready first, and the last ticket that is served for it: who blocks while it is
    /// being served waits for the next time.
    pub(super) fn next_ready(&mut self) -> Option<(Ready, Ticket)> {
        let ready = self.ready.pop_front()?;
        if let Some(queue) = self.queue_mut(&ready) {
            queue.ready = false;
        }
        Some((ready, self.last_ticket))
    }

    /// The first client behind `after`, up to `last`, that waits for this as it is; and its ticket.
    pub(super) fn waiter(
        &mut self,
        of: &Ready,
        holds: Option<Type>,
        after: Ticket,
        last: Ticket,
    ) -> Option<(Ticket, ClientId)> {
        let (ticket, client) = self.queue_mut(of)?.first(after + 1, holds)?;
        (ticket <= last).then_some((ticket, client))
    }

    fn queue_mut(&mut self, of: &Ready) -> Option<&mut Queue> {
        match of {
            Ready::Key(db, key) => self.keys.get_mut(db)?.get_mut(key),
            Ready::Acknowledgements => Some(&mut self.acknowledgements),
        }
    }

    /// How many clients are blocked.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Who is blocked.
    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.clients.iter().copied().collect()
    }

    /// How many of them wait for a limited time.
    pub(super) fn limited(&self) -> usize {
        self.limited
    }

    /// How many keys are waited for; how many of them by someone who wants to know that they have
    /// gone.
    pub(super) fn keys(&self) -> (usize, usize) {
        let queues = self.keys.values().flat_map(BTreeMap::values);
        let gone_too = queues.filter(|queue| queue.gone_too > 0).count();
        (self.keys.values().map(BTreeMap::len).sum(), gone_too)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(waiters: &mut Waiters, client: ClientId, keys: &[&str], gone_too: bool) -> Box<Blocked> {
        let keys = keys.iter().map(|key| key.as_bytes().into()).collect();
        let spec = crate::command::lookup(b"blpop").expect("in the table");
        let request = OwnedRequest::from_args(&["BLPOP"]);
        let subject = Subject::Keys { db: 0, keys, of: Type::List, gone_too };
        waiters.add(client, spec, request, subject, None, |_| {})
    }

    /// Clients that would be served for what is ready, if nobody left with anything.
    fn asked(waiters: &mut Waiters) -> Vec<(Ready, Vec<ClientId>)> {
        let mut all = Vec::new();
        while let Some((ready, last)) = waiters.next_ready() {
            let (mut after, mut clients) = (0, Vec::new());
            while let Some((ticket, client)) = waiters.waiter(&ready, LIST, after, last) {
                after = ticket;
                clients.push(client);
            }
            all.push((ready, clients));
        }
        all
    }

    const LIST: Option<Type> = Some(Type::List);

    fn key(name: &str) -> Ready {
        Ready::Key(0, name.as_bytes().into())
    }

    #[test]
    fn keys_are_served_in_the_order_in_which_they_became_ready() {
        let mut waiters = Waiters::default();
        let _both = add(&mut waiters, 1, &["a", "b"], false);
        let _second = add(&mut waiters, 2, &["b"], false);
        let _first = add(&mut waiters, 3, &["a"], false);
        waiters.touch(0, b"b", LIST);
        waiters.touch(0, b"nobody's", LIST);
        waiters.touch(1, b"a", LIST);
        waiters.touch(0, b"a", LIST);
        waiters.touch(0, b"b", LIST);
        assert_eq!(asked(&mut waiters), [(key("b"), vec![1, 2]), (key("a"), vec![1, 3])]);
        assert!(!waiters.has_ready());
    }

    #[test]
    fn whoever_left_is_not_asked_and_leaves_nothing_behind() {
        let mut waiters = Waiters::default();
        let first = add(&mut waiters, 1, &["a", "b"], false);
        let second = add(&mut waiters, 2, &["a"], true);
        assert_eq!((waiters.len(), waiters.keys()), (2, (2, 1)));
        waiters.touch(0, b"a", LIST);
        waiters.touch(0, b"b", LIST);
        waiters.remove(&first);
        assert_eq!(asked(&mut waiters), [(key("a"), vec![2]), (key("b"), vec![])]);
        waiters.remove(&second);
        assert_eq!((waiters.len(), waiters.keys()), (0, (0, 0)));
        waiters.touch(0, b"a", LIST);
        assert!(!waiters.has_ready());
    }

    #[test]
    fn whoever_blocks_while_a_key_is_served_waits_for_the_next_time() {
        let mut waiters = Waiters::default();
        let _old = add(&mut waiters, 1, &["a"], false);
        assert_eq!(waiters.awaited(Some(1)), []);
        assert_eq!(waiters.awaited(None), [(0, b"a"[..].into())]);
        waiters.touch(0, b"a", LIST);
        let (ready, last) = waiters.next_ready().expect("a");
        let _new = add(&mut waiters, 2, &["a"], false);
        assert_eq!(waiters.waiter(&ready, LIST, 0, last), Some((1, 1)));
        assert_eq!(waiters.waiter(&ready, LIST, 1, last), None);
        waiters.touch(0, b"a", LIST);
        assert_eq!(asked(&mut waiters), [(key("a"), vec![1, 2])]);
    }

    #[test]
    fn a_key_is_ready_for_those_who_wait_for_what_it_holds() {
        let mut waiters = Waiters::default();
        let _list = add(&mut waiters, 1, &["a"], false);
        waiters.touch(0, b"a", None);
        waiters.touch(0, b"a", Some(Type::Hash));
        assert!(!waiters.has_ready());
        let _group = add(&mut waiters, 2, &["a"], true);
        waiters.touch(0, b"a", None);
        let (ready, last) = waiters.next_ready().expect("somebody wants to know");
        assert_eq!(waiters.waiter(&ready, None, 0, last), Some((2, 2)));
        assert_eq!(waiters.waiter(&ready, LIST, 0, last), Some((1, 1)));
    }
}
