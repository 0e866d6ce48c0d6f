//! Scripts on this node: the cache of those it knows, and the one that is running.
//!
//! ```text
//!   EVAL ─▶ [`run`] ─▶ interpreter.step ─┬▶ a call: [`calls`] says whether it may run, and runs it
//!                                        ├▶ a pause: has it run for too long?
//!                                        └▶ its end: the reply
//! ```
//! A script runs alone, as a transaction does. One that has run for longer than
//! `busy-reply-threshold` is left alone between two steps ([`long`]): its client waits, and others
//! are let in to be told that the node is busy, and to end it. Nothing else may happen to the data
//! meanwhile: no key expires, no snapshot begins, what a primary says waits.

mod calls;
mod long;
mod rights;
mod run;

use self::long::LeftAlone;
use crate::script::{Declared, Interpreter, ScriptName};
use std::collections::HashMap;

/// The scripts of a node.
#[derive(Default)]
pub(super) struct Scripts {
    /// Made when the first script comes. None as well while a script is in the middle of a step.
    interpreter: Option<Box<Interpreter>>,
    /// What those say of themselves that can be run by their names.
    known: HashMap<ScriptName, Declared>,
    /// What the texts of those have in bytes.
    known_bytes: usize,
    /// Scripts may call what they otherwise must not (DEBUG SET-DISABLE-DENY-SCRIPTS).
    pub(super) deny_none: bool,
    /// A buffer for what calls are answered.
    reply: Vec<u8>,
    /// The script that others are let in beside.
    left_alone: Option<Box<LeftAlone>>,
}

impl Scripts {
    /// The name of a script that can be run from here on.
    ///
    /// # Errors
    /// It does not compile: the line of the error reply, its code first.
    pub(super) fn load(&mut self, body: &[u8]) -> Result<ScriptName, Vec<u8>> {
        let name = ScriptName::of(body);
        if !self.known.contains_key(&name) {
            let interpreter = self.interpreter.get_or_insert_with(|| Box::new(Interpreter::new()));
            let declared = interpreter.load(name, body)?;
            self.known.insert(name, declared);
            self.known_bytes += body.len();
        }
        Ok(name)
    }

    /// What a script says of itself, if it can be run by this name.
    pub(super) fn declared(&self, name: &ScriptName) -> Option<Declared> {
        self.known.get(name).copied()
    }

    /// Forgets all scripts, and whatever the interpreter holds.
    pub(super) fn flush(&mut self) {
        debug_assert!(!self.is_busy(), "no command that does this runs beside a script");
        *self = Self { deny_none: self.deny_none, ..Self::default() };
    }

    /// How many scripts can be run by their names.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// What the cache of scripts takes beside the interpreter, in bytes.
    pub(super) fn cache_bytes(&self) -> usize {
        self.known_bytes + self.known.len() * size_of::<(ScriptName, Declared)>()
    }

    /// What the interpreter takes, in bytes.
    pub(super) fn interpreter_bytes(&self) -> usize {
        self.interpreter.as_ref().map_or(0, |interpreter| interpreter.used_memory())
    }

    /// Whether a script is left alone, and all else has to wait for its end.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.left_alone.is_some()
    }
}
