//! What the clients write to, and what each of them noted: the ledger.
//!
//! An account is a key, or two of one slot, that one client alone writes to (or a queue that one
//! client alone takes from). Whatever is written carries a number of its client's own.

use keyway::cluster::Slot;
use std::time::Instant;

/// What is done to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// INCR of a counter.
    Counter,
    /// RPUSH of the number.
    List,
    /// SADD of the number.
    Set,
    /// INCR and RPUSH between MULTI and EXEC.
    Transaction,
    /// INCR and RPUSH in one script.
    Script,
    /// RPUSH of client and number to a queue, which others take from.
    Queue,
    /// BLPOP from a queue.
    Take,
}

impl Kind {
    /// What a client writes to accounts of its own.
    pub(super) const OWN: [Self; 5] =
        [Self::Counter, Self::List, Self::Set, Self::Transaction, Self::Script];

    /// Whether each answer says how many there are by then.
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::Counter | Self::List | Self::Transaction | Self::Script)
    }
}

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Acknowledged, with the number that the answer gave.
    Done(i64),
    /// `INDOUBT`.
    InDoubt,
    /// BLPOP: this element.
    Took(String),
    /// BLPOP: nothing within its time.
    Nothing,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// The number that it wrote.
    pub number: u64,
    /// Before its first byte was sent.
    pub sent: Instant,
    /// After its answer was read.
    pub answered: Instant,
    /// How it ended.
    pub end: End,
    /// WAIT said afterwards that a replica has it.
    pub copied: bool,
}

/// A key, and everything that one client did to it, in order.
#[derive(Debug)]
pub(super) struct Account {
    /// What is done to it.
    pub kind: Kind,
    /// Its name: what stands between the braces of its keys.
    pub tag: String,
    /// The slot of its keys.
    pub slot: Slot,
    /// What was done to it.
    pub ops: Vec<Op>,
}

impl Account {
    /// An account that nothing was done to.
    pub(super) fn new(kind: Kind, tag: String) -> Self {
        let slot = Slot::of(tag.as_bytes());
        Self { kind, tag, slot, ops: Vec::new() }
    }

    /// The key of its number, where it has one.
    pub(super) fn count_key(&self) -> String {
        format!("{{{}}}:count", self.tag)
    }

    /// The key of its list, set or queue.
    pub(super) fn items_key(&self) -> String {
        format!("{{{}}}:items", self.tag)
    }
}

/// Everything that one client did.
#[derive(Debug)]
pub(super) struct Book {
    /// Its number.
    pub client: usize,
    /// How many requests it has under way at a time.
    pub depth: usize,
    /// What it wrote to or took from.
    pub accounts: Vec<Account>,
    /// Answers that are no answer and no `INDOUBT`.
    pub errors: Vec<String>,
    /// What WAIT answered: with a replica, and without.
    pub waits: [u64; 2],
}

impl Book {
    /// All requests, each with its account.
    pub(super) fn ops(&self) -> impl Iterator<Item = (&Account, &Op)> {
        self.accounts.iter().flat_map(|account| account.ops.iter().map(move |op| (account, op)))
    }
}
