//! Who listens to what: channels, patterns and shard channels, and what a message becomes for each
//! listener.
//!
//! A message goes into the inbox of each listener at once, behind the reply of the command that
//! sent it, if the sender listens to itself. A listener that does not read is closed alone, by
//! `client-output-buffer-limit pubsub`; the sender never waits.

use super::call::Ctx;
use super::output::Output;
use super::server::Server;
use super::session::{ClientId, Close, Session};
use crate::cluster::{Slot, SlotSet};
use crate::resp::{Encoder, Protocol};
use crate::value::{Case, glob_match};
use std::collections::{BTreeMap, BTreeSet};

/// What one can listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SUBSCRIBE: a channel of the whole cluster.
    Channel,
    /// PSUBSCRIBE: all channels whose names match.
    Pattern,
    /// SSUBSCRIBE: a channel that belongs to a slot.
    Shard,
}

impl Kind {
    /// What a subscription is confirmed with.
    fn subscribed(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::Shard => "ssubscribe",
        }
    }

    /// What its end is confirmed with.
    fn unsubscribed(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::Shard => "sunsubscribe",
        }
    }
}

type Names = BTreeSet<Box<[u8]>>;

/// What one client listens to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: Names,
    patterns: Names,
    shard: Names,
}

impl Subscriptions {
    fn of(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard,
        }
    }

    /// Channels, patterns, shard channels: how many of each.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.channels.len(), self.patterns.len(), self.shard.len())
    }

    /// The number that confirmations tell: shard channels are counted by themselves.
    fn told(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Shard => self.shard.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.counts() == (0, 0, 0)
    }
}

type Listeners = BTreeMap<Box<[u8]>, BTreeSet<ClientId>>;

/// All listeners of a node.
#[derive(Debug, Default)]
pub(super) struct PubSub {
    channels: Listeners,
    patterns: Listeners,
    shard: Listeners,
    /// How many clients listen to anything.
    clients: usize,
}

impl PubSub {
    fn of(&mut self, kind: Kind) -> &mut Listeners {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard,
        }
    }

    /// The channels, or shard channels, that have listeners and whose names match.
    pub(super) fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        let listeners = match kind {
            Kind::Shard => &self.shard,
            Kind::Pattern => &self.patterns,
            Kind::Channel => &self.channels,
        };
        let wanted =
            |name: &&[u8]| pattern.is_none_or(|pattern| glob_match(pattern, name, Case::Sensitive));
        listeners.keys().map(|name| &**name).filter(wanted).collect()
    }

    /// How many listen to a channel, or shard channel, by its name.
    pub(super) fn listeners(&mut self, kind: Kind, name: &[u8]) -> usize {
        self.of(kind).get(name).map_or(0, BTreeSet::len)
    }

    /// The slots of the shard channels that have listeners.
    pub(super) fn slots(&self) -> SlotSet {
        self.shard.keys().map(|name| Slot::of(name)).collect()
    }

    /// How many channels, patterns and shard channels have listeners; how many clients listen.
    pub(super) fn counts(&self) -> (usize, usize, usize, usize) {
        (self.channels.len(), self.patterns.len(), self.shard.len(), self.clients)
    }

    fn add(&mut self, kind: Kind, client: ClientId, name: &[u8]) {
        let listeners = self.of(kind);
        match listeners.get_mut(name) {
            Some(clients) => clients.insert(client),
            None => listeners.entry(name.into()).or_default().insert(client),
        };
    }

    fn remove(&mut self, kind: Kind, client: ClientId, name: &[u8]) {
        let listeners = self.of(kind);
        let Some(clients) = listeners.get_mut(name) else { return };
        clients.remove(&client);
        if clients.is_empty() {
            listeners.remove(name);
        }
    }
}

/// Starts to listen, and confirms it in `out`.
pub(super) fn subscribe(ctx: &mut Ctx<'_>, kind: Kind, name: &[u8]) {
    let pubsub = &mut ctx.server.pubsub;
    let own = ctx.session.subscriptions.get_or_insert_default();
    pubsub.clients += usize::from(own.is_empty());
    if own.of(kind).insert(name.into()) {
        pubsub.add(kind, ctx.session.id, name);
    }
    let told = own.told(kind);
    confirm(&mut ctx.out, kind.subscribed(), Some(name), told);
}

/// Stops listening, and confirms it in `out`.
pub(super) fn unsubscribe(ctx: &mut Ctx<'_>, kind: Kind, name: &[u8]) {
    let told = ctx.server.pubsub.stop(ctx.session, kind, name);
    confirm(&mut ctx.out, kind.unsubscribed(), Some(name), told);
}

/// Stops listening to all of a kind, and confirms each.
pub(super) fn unsubscribe_all(ctx: &mut Ctx<'_>, kind: Kind) {
    let own = ctx.session.subscriptions.as_mut();
    let names = own.map(|own| own.of(kind).clone()).unwrap_or_default();
    if names.is_empty() {
        let told = ctx.session.subscriptions.as_ref().map_or(0, |own| own.told(kind));
        confirm(&mut ctx.out, kind.unsubscribed(), None, told);
    }
    for name in names {
        unsubscribe(ctx, kind, &name);
    }
}

fn confirm(out: &mut Encoder<'_>, what: &str, name: Option<&[u8]>, told: usize) {
    out.push(3);
    out.bulk(what);
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.integer(told as i64);
}

impl PubSub {
    /// One subscription ends; the number that is told then.
    fn stop(&mut self, session: &mut Session, kind: Kind, name: &[u8]) -> usize {
        let Some(own) = &mut session.subscriptions else { return 0 };
        if own.of(kind).remove(name) {
            self.remove(kind, session.id, name);
        }
        let told = own.told(kind);
        if own.is_empty() {
            session.subscriptions = None;
            self.clients -= 1;
        }
        told
    }

    /// A client listens to nothing any longer, and is not told.
    pub(super) fn leave(&mut self, session: &mut Session) {
        let Some(own) = session.subscriptions.take() else { return };
        self.clients -= 1;
        for (kind, names) in
            [(Kind::Channel, own.channels), (Kind::Pattern, own.patterns), (Kind::Shard, own.shard)]
        {
            names.iter().for_each(|name| self.remove(kind, session.id, name));
        }
    }
}

/// Where the message of a command goes that a client runs: that client is not among the others.
pub(super) struct Post<'a> {
    /// The node.
    pub(super) server: &'a mut Server,
    /// The client whose command is running, if one is.
    pub(super) running: Option<&'a mut Session>,
}

impl Post<'_> {
    /// Sends a message to all who listen to a channel, by its name or by patterns. Tells how many
    /// there were.
    pub(super) fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let pubsub = std::mem::take(&mut self.server.pubsub);
        let mut told = 0;
        for &client in pubsub.channels.get(channel).into_iter().flatten() {
            self.deliver(client, &[b"message", channel, message]);
            told += 1;
        }
        for (pattern, clients) in &pubsub.patterns {
            if !glob_match(pattern, channel, Case::Sensitive) {
                continue;
            }
            for &client in clients {
                self.deliver(client, &[b"pmessage", pattern, channel, message]);
                told += 1;
            }
        }
        self.server.pubsub = pubsub;
        told
    }

    /// The same for a shard channel.
    pub(super) fn publish_to_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let pubsub = std::mem::take(&mut self.server.pubsub);
        let clients = pubsub.shard.get(channel);
        for &client in clients.into_iter().flatten() {
            self.deliver(client, &[b"smessage", channel, message]);
        }
        let told = clients.map_or(0, BTreeSet::len);
        self.server.pubsub = pubsub;
        told
    }

    fn deliver(&mut self, client: ClientId, parts: &[&[u8]]) {
        self.put(client, |out| {
            out.push(parts.len());
            parts.iter().for_each(|part| out.bulk(part));
        });
    }

    /// Puts something into a client's inbox, and has it looked at; closes the client if too much
    /// waits for it.
    pub(super) fn put(&mut self, client: ClientId, write: impl FnOnce(&mut Encoder<'_>)) {
        let running = self.running.as_deref_mut().filter(|running| running.id == client);
        let runs = running.is_some();
        let server = &mut *self.server;
        let Some(session) = running.or_else(|| server.clients.get_mut(client)) else { return };
        if session.close != Close::No {
            return;
        }
        let first = session.inbox.is_empty();
        write(&mut Encoder::new(&mut session.inbox, session.protocol));
        let limit = server.settings.output_limits.of(session).hard;
        if limit > 0 && session.waiting_bytes() >= limit {
            session.close(Close::Now);
            session.inbox = Vec::new();
            server.stats.closed_for_output += 1;
            tracing::warn!(client, "closed: its output passed client-output-buffer-limit");
            server.outputs.push_back(Output::Wake(client));
        } else if first && !runs {
            server.outputs.push_back(Output::Wake(client));
        }
    }
}

impl Server {
    /// Ends all subscriptions to shard channels of slots that were lost, and tells the
    /// listeners.
    pub(super) fn drop_shard_channels(&mut self, lost: &SlotSet) {
        let names = self.pubsub.shard.keys().filter(|name| lost.contains(Slot::of(name)));
        let names: Vec<Box<[u8]>> = names.cloned().collect();
        for name in names {
            let clients = self.pubsub.shard.get(&name).cloned().unwrap_or_default();
            for client in clients {
                let Some(session) = self.clients.get_mut(client) else { continue };
                let told = self.pubsub.stop(session, Kind::Shard, &name);
                Post { server: self, running: None }.put(client, |out| {
                    confirm(out, Kind::Shard.unsubscribed(), Some(&name), told);
                });
            }
        }
    }
}

impl Session {
    /// Whether it listens, and so may run only what RESP2 allows then.
    pub(super) fn only_listens(&self) -> bool {
        self.subscriptions.is_some() && self.protocol == Protocol::Resp2
    }
}
