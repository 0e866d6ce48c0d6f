//! Keyspace notifications: what happens to keys, published to whoever listens, as
//! `notify-keyspace-events` asks for it.
//!
//! An event goes to this node's own listeners and nowhere else: other nodes and replicas publish
//! what happens to their own keys. What the store does by itself (a key expires, comes into being
//! or is asked for in vain) it notes, and that is told before the event that the command tells
//! next. While nothing is asked for, an event costs one comparison.

use super::call::Ctx;
use super::propagate::removal;
use super::pubsub::Post;
use super::server::Server;
use super::session::Session;
use crate::store::{Keyspace, Tell, Told};

/// The classes of events that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events(u16);

/// A class of events. The comments name its letter in `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Class {
    /// `g`
    Generic = 1,
    /// `$`
    String = 1 << 1,
    /// `l`
    List = 1 << 2,
    /// `s`
    Set = 1 << 3,
    /// `h`
    Hash = 1 << 4,
    /// `z`
    SortedSet = 1 << 5,
    /// `t`
    Stream = 1 << 6,
    /// `x`
    Expired = 1 << 7,
    /// `n`: not in `A`.
    New = 1 << 8,
    /// `m`: not in `A`.
    Missed = 1 << 9,
}

/// `K`: to `__keyspace@db__:key`.
const BY_KEY: u16 = 1 << 10;
/// `E`: to `__keyevent@db__:event`.
const BY_EVENT: u16 = 1 << 11;

impl Events {
    /// What the directive's letters ask for. `e` and `d` are known, but this node evicts nothing
    /// and has no modules.
    pub(super) fn parse(letters: &str) -> Self {
        let bits = letters.chars().map(|letter| match letter {
            'A' => 0xff,
            'g' => Class::Generic as u16,
            '$' => Class::String as u16,
            'l' => Class::List as u16,
            's' => Class::Set as u16,
            'h' => Class::Hash as u16,
            'z' => Class::SortedSet as u16,
            't' => Class::Stream as u16,
            'x' => Class::Expired as u16,
            'n' => Class::New as u16,
            'm' => Class::Missed as u16,
            'K' => BY_KEY,
            'E' => BY_EVENT,
            _ => 0,
        });
        let bits = bits.fold(0, |all, one| all | one);
        // Without a channel there is nobody to tell.
        Self(if bits & (BY_KEY | BY_EVENT) == 0 { 0 } else { bits })
    }

    /// Whether events of this class are asked for.
    #[inline]
    pub(super) fn has(self, class: Class) -> bool {
        self.0 & class as u16 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Ctx<'_> {
    /// Tells that something has happened to a key of this client's database: to be called where
    /// Redis does, as the order of the events of a command is part of what it does.
    #[inline]
    pub(super) fn notify(&mut self, class: Class, event: &str, key: &[u8]) {
        if self.server.settings.events.has(class) {
            self.notify_in(self.session.db, class, event, key);
        }
    }

    /// The same for a key of any database.
    #[cold]
    pub(super) fn notify_in(&mut self, db: usize, class: Class, event: &str, key: &[u8]) {
        self.note_told();
        self.post().event(db, class, event, key);
    }

    /// Tells that a key has gone, if a command that took something from it took the last of it.
    #[inline]
    pub(super) fn notify_if_gone(&mut self, key: &[u8]) {
        if self.server.settings.events.has(Class::Generic) && !self.exists(self.session.db, key) {
            self.notify(Class::Generic, "del", key);
        }
    }

    /// Passes on what the store has noted.
    pub(super) fn note_told(&mut self) {
        if self.keyspace.has_told() {
            self.server.note_told(self.keyspace, Some(self.session));
        }
    }
}

impl Post<'_> {
    /// Publishes an event, if its class is asked for.
    pub(super) fn event(&mut self, db: usize, class: Class, event: &str, key: &[u8]) {
        let events = self.server.settings.events;
        if !events.has(class) {
            return;
        }
        if events.0 & BY_KEY != 0 {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(&channel, event.as_bytes());
        }
        if events.0 & BY_EVENT != 0 {
            let channel = format!("__keyevent@{db}__:{event}");
            self.publish(channel.as_bytes(), key);
        }
    }
}

impl Server {
    /// Has the keyspace tell of what matters to anyone. To be called when a feed of propagated
    /// commands was started or ended, and when the settings have changed.
    pub(super) fn listen(&self, keyspace: &mut Keyspace) {
        let events = self.settings.events;
        keyspace.tell(Tell {
            expired: self.propagation.is_wanted() || events.has(Class::Expired),
            created: events.has(Class::New),
            missed: events.has(Class::Missed),
        });
    }

    /// Passes on what the store has noted since the last time: to listeners, and what has expired
    /// to replicas and the log, where it belongs to what the command that runs leads to.
    #[cold]
    pub(super) fn note_told(&mut self, keyspace: &mut Keyspace, mut running: Option<&mut Session>) {
        for (db, told, key) in keyspace.take_told() {
            let (class, event) = match told {
                Told::Expired => (Class::Expired, "expired"),
                Told::Created => (Class::New, "new"),
                Told::Missed => (Class::Missed, "keymiss"),
            };
            if told == Told::Expired && self.propagation.is_wanted() {
                self.propagation.push(db, &[removal(self.settings.lazy_expire), &key]);
                if running.is_none() {
                    self.close_batch();
                }
            }
            if !self.settings.events.is_empty() {
                let running = running.as_deref_mut();
                Post { server: self, running }.event(db, class, event, &key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_ask_for_classes() {
        let events = Events::parse("KEA");
        assert!(events.has(Class::Expired) && events.has(Class::Stream));
        assert!(!events.has(Class::New) && !events.has(Class::Missed));
        assert!(Events::parse("A$").is_empty(), "there is no channel");
        let events = Events::parse("Eln");
        assert!(events.has(Class::List) && events.has(Class::New) && !events.has(Class::Set));
    }
}
