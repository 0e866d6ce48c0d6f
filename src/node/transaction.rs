//! MULTI: what a client has queued, and whether EXEC may still run it.

use crate::command::{Flags, Spec};
use crate::resp::{OwnedRequest, Request};

/// The queue between MULTI and EXEC.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    queue: Vec<Queued>,
    bytes: usize,
    /// The flags of all that is queued, together.
    flags: Flags,
    /// A command was refused instead of queued: EXEC will refuse the rest.
    pub(super) broken: bool,
}

/// One command that waits for EXEC.
#[derive(Debug)]
pub(super) struct Queued {
    /// What it is.
    pub(super) spec: &'static Spec,
    /// Its arguments.
    pub(super) request: OwnedRequest,
}

impl Transaction {
    /// Adds a command with the flags that it has there. A queue that will not run anyway takes no memory.
    pub(super) fn push(&mut self, spec: &'static Spec, flags: Flags, request: &Request<'_>) {
        if self.broken {
            return;
        }
        self.bytes += request.frame().len() + std::mem::size_of::<Queued>();
        self.flags = self.flags.union(flags);
        self.queue.push(Queued { spec, request: request.to_owned() });
    }

    /// The commands, in order.
    pub(super) fn queue(&self) -> &[Queued] {
        &self.queue
    }

    /// How many commands there are.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that the queue holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The flags of all commands together.
    pub(super) fn flags(&self) -> Flags {
        self.flags
    }
}
