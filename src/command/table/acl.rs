//! Users and what they may do.

use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Groups the commands about users and what they may do.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("acl", "6.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Names the command categories, or the commands of one.",
        arity: AtLeast(2),
        flags: flags!(NOSCRIPT LOADING STALE REPEATABLE),
        syntax: "category?",
        ..Spec::new("acl|cat", "6.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Deletes users and closes their connections.",
        complexity: "O(U), U users named",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "username*",
        ..Spec::new("acl|deluser", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Tells whether a user could run a command, without running it.",
        arity: AtLeast(4),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        syntax: "username command arg?*",
        ..Spec::new("acl|dryrun", "7.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Makes up a password that nobody can guess.",
        arity: AtLeast(2),
        flags: flags!(NOSCRIPT LOADING STALE REPEATABLE),
        syntax: "bits:int?",
        ..Spec::new("acl|genpass", "6.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows all the rules of one user.",
        complexity: "O(R), R rules of the user",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        syntax: "username",
        history: &[
            ("6.2.0", "Shows channel patterns."),
            ("7.0.0", "Shows selectors, and key and channel patterns as rules instead of lists."),
        ],
        ..Spec::new("acl|getuser", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("acl|help", "6.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows every user as a line of the ACL file.",
        complexity: "O(U), U users",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        ..Spec::new("acl|list", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Replaces the users by those in the ACL file.",
        complexity: "O(U), U users",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        ..Spec::new("acl|load", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Shows the latest denials, or clears their log.",
        complexity: "O(E), E entries shown",
        arity: AtLeast(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        syntax: "(operation: count:int | RESET)?",
        history: &[("7.2.0", "Entries carry an id and two timestamps.")],
        ..Spec::new("acl|log", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Writes the users to the ACL file.",
        complexity: "O(U), U users",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        ..Spec::new("acl|save", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Creates a user, or changes its rules.",
        complexity: "O(R), R rules given",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "username rule?*",
        history: &[
            ("6.2.0", "Takes channel patterns."),
            ("7.0.0", "Takes selectors and permissions per key pattern."),
        ],
        ..Spec::new("acl|setuser", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Names every user.",
        complexity: "O(U), U users",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        ..Spec::new("acl|users", "6.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Names the user of this connection.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT LOADING STALE REPEATABLE),
        ..Spec::new("acl|whoami", "6.0.0", Group::Server, Class::Local)
    },
];
