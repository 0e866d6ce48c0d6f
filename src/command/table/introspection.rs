//! What the server says of its commands, its memory and its slowness.

use super::key;
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Describes every command.",
        complexity: "O(N), N commands",
        arity: AtLeast(1),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        other_tips: &["nondeterministic_output_order"],
        ..Spec::new("command", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Counts the commands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("command|count", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Documents commands.",
        complexity: "O(N), N commands named",
        arity: AtLeast(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        other_tips: &["nondeterministic_output_order"],
        syntax: "command-name?*",
        ..Spec::new("command|docs", "7.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Picks the keys out of a command line.",
        complexity: "O(N), N arguments",
        arity: AtLeast(3),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        syntax: "command arg?*",
        ..Spec::new("command|getkeys", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Picks the keys out of a command line, with what is done to each.",
        complexity: "O(N), N arguments",
        arity: AtLeast(3),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        syntax: "command arg?*",
        ..Spec::new("command|getkeysandflags", "7.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("command|help", "5.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Describes the named commands, or all of them.",
        complexity: "O(N), N commands named",
        arity: AtLeast(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        other_tips: &["nondeterministic_output_order"],
        syntax: "command-name?*",
        history: &[("7.0.0", "Without a name it describes every command.")],
        ..Spec::new("command|info", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Names the commands.",
        complexity: "O(N), N commands",
        arity: AtLeast(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        other_tips: &["nondeterministic_output_order"],
        syntax: "FILTERBY.(filterby: MODULE.module-name | ACLCAT.category | PATTERN.pattern:pattern)?",
        ..Spec::new("command|list", "7.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Groups the commands about what made the server slow.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("latency", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Reads the latency events and gives advice.",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("latency|doctor", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Draws an event's latency with characters.",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        syntax: "event",
        ..Spec::new("latency|graph", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("latency|help", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows how long commands take, as cumulative counts.",
        complexity: "O(N), N commands with figures",
        arity: AtLeast(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        syntax: "command?*",
        ..Spec::new("latency|histogram", "7.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Lists the latencies of one event with their times.",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        syntax: "event",
        ..Spec::new("latency|history", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows the latest latency of each event.",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("latency|latest", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Forgets the latencies of some events, or of all.",
        arity: AtLeast(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AggSum,
        syntax: "event?*",
        ..Spec::new("latency|reset", "2.8.13", Group::Server, Class::Local)
    },
    Spec {
        summary: "Groups the commands about memory.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("memory", "4.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Looks at the memory figures and gives advice.",
        arity: Exactly(2),
        flags: flags!(REPEATABLE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("memory|doctor", "4.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("memory|help", "4.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows what the allocator says of itself.",
        complexity: "By the allocator",
        arity: Exactly(2),
        flags: flags!(LOADING REPEATABLE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("memory|malloc-stats", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Has the allocator give memory back.",
        complexity: "By the allocator",
        arity: Exactly(2),
        flags: flags!(LOADING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        ..Spec::new("memory|purge", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Shows what memory is used for.",
        arity: Exactly(2),
        flags: flags!(REPEATABLE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("memory|stats", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Estimates the bytes that a key takes.",
        complexity: "O(N), N elements sampled",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        keys: &[key(key_flags!(RO), 2)],
        syntax: "key:key SAMPLES.count:int?",
        ..Spec::new("memory|usage", "4.0.0", Group::Server, Class::OneSlot)
    },
    Spec {
        summary: "Groups the commands about slow commands.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("slowlog", "2.2.12", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows the latest slow commands.",
        complexity: "O(N), N entries shown",
        arity: AtLeast(2),
        flags: flags!(ADMIN LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        other_tips: &["nondeterministic_output"],
        syntax: "count:int?",
        history: &[("4.0.0", "Shows the address and the name of the client.")],
        ..Spec::new("slowlog|get", "2.2.12", Group::Server, Class::Local)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("slowlog|help", "6.2.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Counts the entries of the slow log.",
        arity: Exactly(2),
        flags: flags!(ADMIN LOADING STALE REPEATABLE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AggSum,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("slowlog|len", "2.2.12", Group::Server, Class::Local)
    },
    Spec {
        summary: "Empties the slow log.",
        complexity: "O(N), N entries",
        arity: Exactly(2),
        flags: flags!(ADMIN LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        ..Spec::new("slowlog|reset", "2.2.12", Group::Server, Class::Local)
    },
];
