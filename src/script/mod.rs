//! Scripts in Lua 5.1: an interpreter that knows nothing of the node around it.
//!
//! A script runs in [steps](Step). What it wants done is asked for, and whoever runs it does that
//! and answers: so the interpreter has no I/O, no clock and no data of its own, and a script can be
//! left alone between any two steps.

mod conversation;
mod convert;
mod environment;
mod failure;
mod interpreter;
mod library;
mod name;
mod random;
mod redis_library;
mod reply;
mod shebang;

pub(crate) use interpreter::Interpreter;
pub(crate) use name::ScriptName;

use crate::resp::{OwnedRequest, Protocol};

/// What a script says of itself in a first line `#!lua flags=…`, as Redis 7.0 reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// There is such a line: the script's flags are as given, and not those of the times before
    /// (nothing forbidden, keys of several slots allowed).
    pub(crate) says: bool,
    /// `no-writes`.
    pub(crate) no_writes: bool,
    /// `allow-oom`.
    pub(crate) allow_oom: bool,
    /// `allow-stale`.
    pub(crate) allow_stale: bool,
    /// `no-cluster`.
    pub(crate) no_cluster: bool,
    /// `allow-cross-slot-keys`.
    pub(crate) allow_cross_slot_keys: bool,
}

/// One run of a script.
pub(crate) struct Run<'a> {
    pub(crate) name: ScriptName,
    /// What the script has in `KEYS`.
    pub(crate) keys: &'a [&'a [u8]],
    /// What it has in `ARGV`.
    pub(crate) args: &'a [&'a [u8]],
    /// What its reply is encoded in.
    pub(crate) protocol: Protocol,
}

/// What is said to a script that waits.
pub(crate) enum Answer<'a> {
    /// Go on: the answer to everything but a call or a question.
    Go,
    /// The one whole reply to a [`Step::Call`], in the protocol that it asked for.
    Reply(&'a [u8]),
    /// The answer to [`Step::Knows`].
    Known(bool),
    /// It is to end now, whatever it tries: SCRIPT KILL.
    Kill,
}

/// Where a script stands.
pub(crate) enum Step {
    /// It wants a command run.
    Call(Call),
    /// It wants to know whether a command exists, with these arguments (`redis.acl_check_cmd`).
    Knows(OwnedRequest),
    /// It wants something logged (`redis.log`).
    Log(LogLevel, Vec<u8>),
    /// It has run for a while without asking for anything: a good moment to look at the clock.
    Pause,
    /// It has ended.
    Done(Done),
}

/// A command that a script calls.
pub(crate) struct Call {
    pub(crate) request: OwnedRequest,
    /// The protocol that the script wants the reply in (`redis.setresp`).
    pub(crate) protocol: Protocol,
    /// Whom the command is to go on to if it changes something (`redis.set_repl`).
    pub(crate) feeds: Feeds,
}

/// Whom a script's changes go on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feeds {
    /// `redis.REPL_AOF`.
    pub(crate) log: bool,
    /// `redis.REPL_REPLICA`.
    pub(crate) replicas: bool,
}

/// The levels of `redis.log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// How a script ended.
pub(crate) struct Done {
    /// The reply to the client, whole.
    pub(crate) reply: Vec<u8>,
    /// Whether the reply is an error, and whose.
    pub(crate) failure: Option<Failure>,
}

/// Whose error a script ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its own, which nobody has counted.
    OfScript,
    /// That of a command that it called, which was counted when that failed.
    OfCall,
}

#[cfg(test)]
mod tests;

/// What a script says of itself, without compiling it.
///
/// # Errors
/// Its first line is wrong: the line of the error reply, its code first.
pub(crate) fn declared(body: &[u8]) -> Result<Declared, Vec<u8>> {
    shebang::read(body).map(|(declared, _)| declared)
}
