//! Transactions.

use super::keys;
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Throws away what was queued since MULTI.",
        complexity: "O(N), N commands queued",
        arity: Exactly(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST ALLOW_BUSY),
        own_categories: categories!(TRANSACTION),
        ..Spec::new("discard", "2.0.0", Group::Transactions, Class::Pinned)
    },
    Spec {
        summary: "Runs what was queued since MULTI.",
        complexity: "By the commands queued",
        arity: Exactly(1),
        flags: flags!(NOSCRIPT LOADING STALE SKIP_SLOWLOG),
        own_categories: categories!(TRANSACTION),
        ..Spec::new("exec", "1.2.0", Group::Transactions, Class::Pinned)
    },
    Spec {
        summary: "Starts a transaction: commands are queued until EXEC.",
        arity: Exactly(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST ALLOW_BUSY),
        own_categories: categories!(TRANSACTION),
        ..Spec::new("multi", "1.2.0", Group::Transactions, Class::Pinned)
    },
    Spec {
        summary: "Forgets the keys of WATCH.",
        arity: Exactly(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST ALLOW_BUSY REPEATABLE),
        own_categories: categories!(TRANSACTION),
        ..Spec::new("unwatch", "2.2.0", Group::Transactions, Class::Pinned)
    },
    Spec {
        summary: "Has the next transaction fail if one of the keys changes before it.",
        complexity: "O(1) per key",
        arity: AtLeast(2),
        flags: flags!(NOSCRIPT LOADING STALE FAST ALLOW_BUSY),
        own_categories: categories!(TRANSACTION),
        keys: &[keys(key_flags!(RO), 1, -1, 1)],
        syntax: "key:key*",
        ..Spec::new("watch", "2.2.0", Group::Transactions, Class::Pinned)
    },
];
