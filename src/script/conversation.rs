//! How a script that runs and whoever runs it take turns.

use super::failure::Raised;
use super::{Feeds, ScriptName, Step};
use crate::resp::Protocol;
use corosensei::Yielder;
use mlua::Function;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What is said to the interpreter's stack when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The answer is where both find it.
    GoOn,
    /// The script is to end.
    Kill,
    /// There is no further script.
    Close,
}

/// What both sides see.
#[derive(Debug)]
pub(super) struct State {
    /// The script to run, and in which protocol its reply is to be.
    pub(super) script: RefCell<Option<Scheduled>>,
    /// The script that runs.
    pub(super) name: Cell<Option<ScriptName>>,
    /// The error that the script ended with: its line, and whether it was a command's.
    pub(super) uncaught: RefCell<Option<(Vec<u8>, bool)>>,
    /// The reply to the last call.
    pub(super) reply: RefCell<Vec<u8>>,
    /// The answer to the last question.
    pub(super) known: Cell<bool>,
    /// The interpreter's own stack is the one in use. Its hook runs on others as well, where
    /// scripts are compiled.
    pub(super) inside: Cell<bool>,
    /// It is looked after at every instruction.
    pub(super) hurried: Cell<bool>,
    /// The script is to end.
    pub(super) killed: Cell<bool>,
    /// `redis.setresp`.
    pub(super) protocol: Cell<Protocol>,
    /// `redis.set_repl`.
    pub(super) feeds: Cell<Feeds>,
}

/// A script whose turn is next.
#[derive(Debug)]
pub(super) struct Scheduled {
    /// Or why it cannot run: the error line.
    pub(super) run: Result<Function, Vec<u8>>,
    pub(super) protocol: Protocol,
}

impl State {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            script: RefCell::default(),
            name: Cell::new(None),
            uncaught: RefCell::default(),
            reply: RefCell::default(),
            known: Cell::default(),
            inside: Cell::default(),
            hurried: Cell::default(),
            killed: Cell::default(),
            protocol: Cell::default(),
            feeds: Cell::new(Feeds { log: true, replicas: true }),
        })
    }

    /// Nothing of the script before is left.
    pub(super) fn reset(&self) {
        self.killed.set(false);
        self.uncaught.take();
        self.protocol.set(Protocol::Resp2);
        self.feeds.set(Feeds { log: true, replicas: true });
    }
}

/// The script's side.
pub(super) struct Conversation<'a> {
    pub(super) yielder: &'a Yielder<Told, Step>,
    pub(super) state: Rc<State>,
}

impl Conversation<'_> {
    /// Takes a step and waits for what is said to it.
    ///
    /// # Errors
    /// One that nothing catches, once the script is to end.
    pub(super) fn ask(&self, step: Step) -> mlua::Result<()> {
        if !self.state.inside.get() {
            return Ok(());
        }
        if !self.state.killed.get() && self.yielder.suspend(step) == Told::GoOn {
            return Ok(());
        }
        self.state.killed.set(true);
        Err(Raised::Killed.into())
    }
}
