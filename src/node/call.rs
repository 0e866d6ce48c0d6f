//! One call of a command: what a handler is, and all that it may touch.

use super::error::CommandError;
use super::server::Server;
use super::session::Session;
use crate::clock::Now;
use crate::resp::{Encoder, Request};

/// What a command does. The arity of `request` is checked before; the reply goes straight into
/// [`Ctx::out`], exactly one. A handler that returns an error has written nothing.
pub(super) type Handler = fn(&mut Ctx<'_>, &Request<'_>) -> Result<(), CommandError>;

/// The commands of one group, by name; a subcommand's name is `container|sub`.
pub(super) type Handlers = &'static [(&'static str, Handler)];

/// All that a handler may touch during one call.
pub(super) struct Ctx<'a> {
    /// The time of this turn: the same for every command of a batch, as in Redis.
    pub(super) now: Now,
    /// Where the reply goes, in the client's protocol.
    pub(super) out: Encoder<'a>,
    /// The client that calls.
    pub(super) session: &'a mut Session,
    /// The rest of the node: settings, figures, other sessions, watched keys.
    pub(super) server: &'a mut Server,
}

impl Ctx<'_> {
    /// Tells everyone whom it concerns that the value or the expiry of `key` in this client's
    /// database has changed, or that the key has gone. Called once per change, after it.
    pub(super) fn modified(&mut self, key: &[u8]) {
        self.server.stats.dirty += 1;
        self.server.watched.touch(self.session.db, key);
    }
}
