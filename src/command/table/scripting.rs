//! Scripts and functions.

use super::{counted, noted};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Runs a Lua script.",
        complexity: "By the script",
        arity: AtLeast(3),
        flags: flags!(NOSCRIPT STALE SKIP_MONITOR MOVABLEKEYS NO_MANDATORY_KEYS SCRIPT),
        own_categories: categories!(SCRIPTING),
        keys: &[noted(
            counted(key_flags!(RW ACCESS UPDATE), 2, 1),
            "What the script does is unknown: every key counts as read and changed.",
        )],
        syntax: "script numkeys:int key:key?* arg?*",
        ..Spec::new("eval", "2.6.0", Group::Scripting, Class::AllOrNothing)
    },
    Spec {
        summary: "Runs a Lua script that only reads.",
        complexity: "By the script",
        arity: AtLeast(3),
        flags: flags!(READONLY NOSCRIPT STALE SKIP_MONITOR MOVABLEKEYS NO_MANDATORY_KEYS SCRIPT),
        own_categories: categories!(SCRIPTING),
        keys: &[noted(
            counted(key_flags!(RO ACCESS), 2, 1),
            "What the script reads is unknown: every key counts as read.",
        )],
        syntax: "script numkeys:int key:key?* arg?*",
        ..Spec::new("eval_ro", "7.0.0", Group::Scripting, Class::AllOrNothing)
    },
    Spec {
        summary: "Runs a cached Lua script, named by its SHA-1.",
        complexity: "By the script",
        arity: AtLeast(3),
        flags: flags!(NOSCRIPT STALE SKIP_MONITOR MOVABLEKEYS NO_MANDATORY_KEYS SCRIPT),
        own_categories: categories!(SCRIPTING),
        keys: &[counted(key_flags!(RW ACCESS UPDATE), 2, 1)],
        syntax: "sha1 numkeys:int key:key?* arg?*",
        ..Spec::new("evalsha", "2.6.0", Group::Scripting, Class::AllOrNothing)
    },
    Spec {
        summary: "Runs a cached Lua script that only reads, named by its SHA-1.",
        complexity: "By the script",
        arity: AtLeast(3),
        flags: flags!(READONLY NOSCRIPT STALE SKIP_MONITOR MOVABLEKEYS NO_MANDATORY_KEYS SCRIPT),
        own_categories: categories!(SCRIPTING),
        keys: &[counted(key_flags!(RO ACCESS), 2, 1)],
        syntax: "sha1 numkeys:int key:key?* arg?*",
        ..Spec::new("evalsha_ro", "7.0.0", Group::Scripting, Class::AllOrNothing)
    },
    Spec {
        summary: "Calls a function.",
        complexity: "By the function",
        arity: AtLeast(3),
        flags: flags!(NOSCRIPT STALE SKIP_MONITOR MOVABLEKEYS NO_MANDATORY_KEYS SCRIPT),
        own_categories: categories!(SCRIPTING),
        keys: &[noted(
            counted(key_flags!(RW ACCESS UPDATE), 2, 1),
            "What the function does is unknown: every key counts as read and changed.",
        )],
        syntax: "function numkeys:int key:key?* arg?*",
        ..Spec::new("fcall", "7.0.0", Group::Scripting, Class::AllOrNothing)
    },
    Spec {
        summary: "Calls a function that only reads.",
        complexity: "By the function",
        arity: AtLeast(3),
        flags: flags!(READONLY NOSCRIPT STALE SKIP_MONITOR MOVABLEKEYS NO_MANDATORY_KEYS SCRIPT),
        own_categories: categories!(SCRIPTING),
        keys: &[noted(
            counted(key_flags!(RO ACCESS), 2, 1),
            "What the function reads is unknown: every key counts as read.",
        )],
        syntax: "function numkeys:int key:key?* arg?*",
        ..Spec::new("fcall_ro", "7.0.0", Group::Scripting, Class::AllOrNothing)
    },
    Spec {
        summary: "Groups the commands about functions.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("function", "7.0.0", Group::Scripting, Class::OneSlot)
    },
    Spec {
        summary: "Deletes a library with its functions.",
        arity: Exactly(3),
        flags: flags!(WRITE NOSCRIPT),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "library-name",
        ..Spec::new("function|delete", "7.0.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Serialises every library.",
        complexity: "O(N), N functions",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT REPEATABLE),
        own_categories: categories!(SCRIPTING),
        ..Spec::new("function|dump", "7.0.0", Group::Scripting, Class::OneSlot)
    },
    Spec {
        summary: "Deletes every library.",
        complexity: "O(N), N functions",
        arity: AtLeast(2),
        flags: flags!(WRITE NOSCRIPT),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "(flush-type: ASYNC | SYNC)?",
        ..Spec::new("function|flush", "7.0.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(SCRIPTING),
        ..Spec::new("function|help", "7.0.0", Group::Scripting, Class::Local)
    },
    Spec {
        summary: "Stops the function that is running.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT ALLOW_BUSY),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::OneSucceeded,
        ..Spec::new("function|kill", "7.0.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Lists libraries and their functions.",
        complexity: "O(N), N functions",
        arity: AtLeast(2),
        flags: flags!(NOSCRIPT REPEATABLE),
        own_categories: categories!(SCRIPTING),
        other_tips: &["nondeterministic_output_order"],
        syntax: "LIBRARYNAME.library-name-pattern? WITHCODE?",
        ..Spec::new("function|list", "7.0.0", Group::Scripting, Class::OneSlot)
    },
    Spec {
        summary: "Creates a library from its source.",
        complexity: "O(1), compiling apart",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM NOSCRIPT),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "REPLACE? function-code",
        ..Spec::new("function|load", "7.0.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Brings back libraries from what FUNCTION DUMP gave.",
        complexity: "O(N), N functions",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM NOSCRIPT),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "serialized-value (policy: FLUSH | APPEND | REPLACE)?",
        ..Spec::new("function|restore", "7.0.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Shows the function that is running, and counts those there are.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT ALLOW_BUSY REPEATABLE),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("function|stats", "7.0.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Groups the commands about cached scripts.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("script", "2.6.0", Group::Scripting, Class::OneSlot)
    },
    Spec {
        summary: "Sets how scripts of this connection are debugged.",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT),
        own_categories: categories!(SCRIPTING),
        syntax: "(mode: YES | SYNC | NO)",
        ..Spec::new("script|debug", "3.2.0", Group::Scripting, Class::Refused)
    },
    Spec {
        summary: "Tells which scripts are cached.",
        complexity: "O(N), N scripts named",
        arity: AtLeast(3),
        flags: flags!(NOSCRIPT STALE REPEATABLE),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AggLogicalAnd,
        syntax: "sha1*",
        ..Spec::new("script|exists", "2.6.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Forgets every cached script.",
        complexity: "O(N), N scripts",
        arity: AtLeast(2),
        flags: flags!(NOSCRIPT STALE),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "(flush-type: ASYNC | SYNC)?^6.2.0",
        history: &[("6.2.0", "Takes ASYNC and SYNC.")],
        ..Spec::new("script|flush", "2.6.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(SCRIPTING),
        ..Spec::new("script|help", "5.0.0", Group::Scripting, Class::Local)
    },
    Spec {
        summary: "Stops the script that is running.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT ALLOW_BUSY),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::OneSucceeded,
        ..Spec::new("script|kill", "2.6.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Caches a script and shows its SHA-1.",
        complexity: "O(N), N bytes of the script",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT STALE REPEATABLE),
        own_categories: categories!(SCRIPTING),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "script",
        ..Spec::new("script|load", "2.6.0", Group::Scripting, Class::FanOut)
    },
    Spec {
        summary: "Shows the source of a cached script.",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT STALE REPEATABLE),
        own_categories: categories!(SCRIPTING),
        syntax: "sha1",
        ..Spec::new("script|show", "8.0.0", Group::Scripting, Class::OneSlot)
    },
];
