//! MONITOR: clients that are shown every command that runs.
//!
//! A command is shown when it has run, in the order in which that happened; what a transaction
//! queued before its EXEC. Commands for operators are not shown, and passwords never are. A
//! monitor that does not read is closed like a listener that does not.

use super::call::Ctx;
use super::error::CommandError;
use super::session::ClientId;
use crate::command::{Spec, is_monitored, write_monitored};
use crate::resp::Request;
use std::collections::BTreeSet;
use std::fmt::Display;

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
        // A script was shown before what it has called.
        if self.runs_again || !is_monitored(spec) || spec.runs_script() {
            return;
        }
        match self.in_script {
            true => self.show(spec, request, &"lua"),
            false => self.show(spec, request, &self.session.addresses.peer.clone()),
        }
    }

    /// Shows a script that is about to run.
    #[cold]
    pub(super) fn show_script_to_monitors(&mut self, spec: &'static Spec, request: &Request<'_>) {
        self.show(spec, request, &self.session.addresses.peer.clone());
    }

    fn show(&mut self, spec: &'static Spec, request: &Request<'_>, peer: &dyn Display) {
        let db = self.session.db;
        let mut line = Vec::new();
        write_monitored(&mut line, spec, request, self.now.unix_us(), db as u32, peer);
        let line = String::from_utf8(line).expect("quoted text is ASCII");
        let monitors: Vec<ClientId> = self.server.monitors.0.iter().copied().collect();
        for client in monitors {
            self.post().put(client, |out| out.simple(&line));
        }
    }
}
