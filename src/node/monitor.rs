//! MONITOR: clients that are shown every command that runs.
//!
//! A command is shown when it has run, in the order in which that happened; what a transaction
//! queued before its EXEC. Commands for operators are not shown, and passwords never are. A
//! monitor that does not read is closed like a listener that does not.

use super::args::is;
use super::call::Ctx;
use super::error::CommandError;
use super::session::ClientId;
use crate::command::{Flags, Spec};
use crate::resp::Request;
use std::collections::BTreeSet;
use std::io::Write;

/// The clients that are shown what runs.
#[derive(Debug, Default)]
pub(super) struct Monitors(BTreeSet<ClientId>);

impl Monitors {
    /// Whether there are none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A client is one from here on.
    pub(super) fn add(&mut self, client: ClientId) {
        self.0.insert(client);
    }

    /// It is one no longer.
    pub(super) fn remove(&mut self, client: ClientId) {
        self.0.remove(&client);
    }
}

impl Ctx<'_> {
    /// Makes the client a monitor. One that is gets no answer, as in Redis.
    pub(super) fn monitor(&mut self) -> Result<(), CommandError> {
        if self.in_transaction {
            return Err(CommandError::line("ERR MONITOR isn't allowed for DENY BLOCKING client"));
        }
        if !std::mem::replace(&mut self.session.monitors, true) {
            self.server.monitors.add(self.session.id);
            self.out.ok();
        }
        Ok(())
    }

    /// Shows the command that has just run.
    #[cold]
    pub(super) fn show_to_monitors(&mut self, spec: &'static Spec, request: &Request<'_>) {
        let hidden = Flags::SKIP_MONITOR.union(Flags::ADMIN);
        if self.runs_again || spec.flags.intersects(hidden) || spec.name == "quit" {
            return;
        }
        let micros = self.now.unix_us();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let (db, peer) = (self.session.db, self.session.addresses.peer);
        let mut line = format!("{seconds}.{micros:06} [{db} {peer}]").into_bytes();
        for (place, arg) in request.args_from(0).enumerate() {
            line.push(b' ');
            if is_secret(spec, request, place) {
                line.extend_from_slice(b"\"(redacted)\"");
            } else {
                quote(&mut line, arg);
            }
        }
        let line = String::from_utf8(line).expect("quoted text is ASCII");
        let monitors: Vec<ClientId> = self.server.monitors.0.iter().copied().collect();
        for client in monitors {
            self.post().put(client, |out| out.simple(&line));
        }
    }
}

/// Whether an argument is a password, or stands beside one.
fn is_secret(spec: &Spec, request: &Request<'_>, place: usize) -> bool {
    let behind = |word: &str, within: usize| {
        (1..place).any(|at| is(request.arg(at), word) && place - at <= within)
    };
    match spec.name {
        "auth" => place > 0,
        "hello" => behind("auth", 2),
        "migrate" => behind("auth", 1) || behind("auth2", 2),
        _ => false,
    }
}

/// Text in quotes, what cannot be printed as an escape.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => write!(out, "\\x{byte:02x}").expect("a vector takes all"),
        }
    }
    out.push(b'"');
}
