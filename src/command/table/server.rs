//! The server: snapshots, replication, configuration, modules.

use super::key;
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Deprecated, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Rewrites the append-only file in the background.",
        arity: Exactly(1),
        flags: flags!(ADMIN NOSCRIPT NO_ASYNC_LOADING),
        ..Spec::new("bgrewriteaof", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Saves a snapshot in the background.",
        arity: AtLeast(1),
        flags: flags!(ADMIN NOSCRIPT NO_ASYNC_LOADING),
        syntax: "SCHEDULE?^3.2.2",
        history: &[("3.2.2", "Takes SCHEDULE.")],
        ..Spec::new("bgsave", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Groups the commands about the configuration.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("config", "2.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows parameters of the configuration.",
        complexity: "O(N), N parameters",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        syntax: "parameter*",
        history: &[("7.0.0", "Takes several patterns.")],
        ..Spec::new("config|get", "2.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("config|help", "5.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Sets the counters of INFO to zero.",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        ..Spec::new("config|resetstat", "2.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Writes the configuration in force to its file.",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        ..Spec::new("config|rewrite", "2.8.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Changes parameters of the configuration.",
        complexity: "O(N), N parameters",
        arity: AtLeast(4),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "{data: parameter value}*",
        history: &[("7.0.0", "Takes several parameters.")],
        ..Spec::new("config|set", "2.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Counts the keys of this database.",
        arity: Exactly(1),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AggSum,
        ..Spec::new("dbsize", "1.0.0", Group::Server, Class::FanOut)
    },
    Spec {
        summary: "Groups tools for developers of the server.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE INTERNAL),
        ..Spec::new("debug", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Hands the role of primary to a replica, in step with it.",
        arity: AtLeast(1),
        flags: flags!(ADMIN NOSCRIPT STALE),
        syntax: "TO.{target: host port:int FORCE?}? ABORT? TIMEOUT.milliseconds:int?",
        ..Spec::new("failover", "6.2.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Deletes every key of every database.",
        complexity: "O(N), N keys",
        arity: AtLeast(1),
        flags: flags!(WRITE),
        own_categories: categories!(DANGEROUS KEYSPACE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "(flush-type: ASYNC^4.0.0 | SYNC^6.2.0)?",
        history: &[("4.0.0", "Takes ASYNC."), ("6.2.0", "Takes SYNC.")],
        ..Spec::new("flushall", "1.0.0", Group::Server, Class::FanOut)
    },
    Spec {
        summary: "Deletes every key of this database.",
        complexity: "O(N), N keys",
        arity: AtLeast(1),
        flags: flags!(WRITE),
        own_categories: categories!(DANGEROUS KEYSPACE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "(flush-type: ASYNC^4.0.0 | SYNC^6.2.0)?",
        history: &[("4.0.0", "Takes ASYNC."), ("6.2.0", "Takes SYNC.")],
        ..Spec::new("flushdb", "1.0.0", Group::Server, Class::FanOut)
    },
    Spec {
        summary: "Shows figures about the server.",
        arity: AtLeast(1),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(DANGEROUS),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        syntax: "section?*",
        history: &[("7.0.0", "Takes several sections.")],
        ..Spec::new("info", "1.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Shows when the last snapshot succeeded.",
        arity: Exactly(1),
        flags: flags!(LOADING STALE FAST REPEATABLE),
        own_categories: categories!(ADMIN DANGEROUS),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("lastsave", "1.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Draws some art and shows the version.",
        complexity: "",
        arity: AtLeast(1),
        flags: flags!(READONLY FAST),
        syntax: "VERSION.version:int?",
        ..Spec::new("lolwut", "5.0.0", Group::Server, Class::Local)
    },
    Spec {
        summary: "Groups the commands about modules.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("module", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("module|help", "5.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Lists the modules.",
        complexity: "O(N), N modules",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT REPEATABLE),
        other_tips: &["nondeterministic_output_order"],
        ..Spec::new("module|list", "4.0.0", Group::Server, Class::OneSlot)
    },
    Spec {
        summary: "Adds a module to the server.",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT NO_ASYNC_LOADING),
        syntax: "path arg?*",
        ..Spec::new("module|load", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Loads a module and configures it.",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT NO_ASYNC_LOADING),
        syntax: "path CONFIG.{configs: name value}?+ ARGS.args?*",
        ..Spec::new("module|loadex", "7.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Removes a module from the server.",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT NO_ASYNC_LOADING),
        syntax: "name",
        ..Spec::new("module|unload", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Shows every command as the server runs it.",
        complexity: "",
        arity: Exactly(1),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        ..Spec::new("monitor", "1.0.0", Group::Server, Class::Pinned)
    },
    Spec {
        summary: "Starts or resumes replication.",
        complexity: "",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT NO_MULTI NO_ASYNC_LOADING),
        syntax: "replicationid offset:int",
        ..Spec::new("psync", "2.8.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Speaks for a replica to its primary.",
        arity: AtLeast(1),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE ALLOW_BUSY INTERNAL),
        ..Spec::new("replconf", "3.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Makes this server a replica of another, or a primary again.",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT STALE NO_ASYNC_LOADING),
        syntax: "(args: {host-port: host port:int} | {no-one: NO ONE})",
        ..Spec::new("replicaof", "5.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Restores a key into a slot that is being imported.",
        complexity: "O(N), N bytes of the value",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM ASKING INTERNAL),
        own_categories: categories!(DANGEROUS KEYSPACE),
        keys: &[key(key_flags!(OW UPDATE), 1)],
        syntax: "key:key ttl:int serialized-value REPLACE?^3.0.0 ABSTTL?^5.0.0 IDLETIME.seconds:int?^5.0.0 FREQ.frequency:int?^5.0.0",
        history: &[("3.0.0", "Takes REPLACE."), ("5.0.0", "Takes ABSTTL, IDLETIME and FREQ.")],
        ..Spec::new("restore-asking", "3.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Shows the part this server plays in replication.",
        arity: Exactly(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST REPEATABLE),
        own_categories: categories!(ADMIN DANGEROUS),
        ..Spec::new("role", "2.8.12", Group::Server, Class::Local)
    },
    Spec {
        summary: "Saves a snapshot, and lets everybody wait for it.",
        complexity: "O(N), N keys",
        arity: Exactly(1),
        flags: flags!(ADMIN NOSCRIPT NO_MULTI NO_ASYNC_LOADING),
        ..Spec::new("save", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Saves if asked to, and ends the server.",
        complexity: "O(N) when saving N keys, O(1) otherwise",
        arity: AtLeast(1),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE NO_MULTI ALLOW_BUSY),
        syntax: "(save-selector: NOSAVE | SAVE)? NOW?^7.0.0 FORCE?^7.0.0 ABORT?^7.0.0",
        history: &[("7.0.0", "Takes NOW, FORCE and ABORT.")],
        ..Spec::new("shutdown", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Makes this server a replica of another; the former word for REPLICAOF.",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT STALE NO_ASYNC_LOADING),
        syntax: "(args: {host-port: host port:int} | {no-one: NO ONE})",
        deprecated: Some(Deprecated { since: "5.0.0", replaced_by: "`REPLICAOF`" }),
        ..Spec::new("slaveof", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Lets two databases change places.",
        complexity: "O(N), N clients that watch or wait for keys of either",
        arity: Exactly(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(DANGEROUS KEYSPACE),
        syntax: "index1:int index2:int",
        ..Spec::new("swapdb", "4.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Starts replication, in the oldest way.",
        complexity: "",
        arity: Exactly(1),
        flags: flags!(ADMIN NOSCRIPT NO_MULTI NO_ASYNC_LOADING),
        ..Spec::new("sync", "1.0.0", Group::Server, Class::Refused)
    },
    Spec {
        summary: "Shows the clock of the server.",
        arity: Exactly(1),
        flags: flags!(LOADING STALE FAST REPEATABLE),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("time", "2.6.0", Group::Server, Class::Local)
    },
];
