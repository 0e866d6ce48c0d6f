//! The cluster.

use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Deprecated, Group, RequestPolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Lets the next command run on a slot that is being imported.",
        arity: Exactly(1),
        flags: flags!(FAST REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("asking", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Groups the commands about the cluster.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("cluster", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Makes slots belong to this node.",
        complexity: "O(N), N slots named",
        arity: AtLeast(3),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "slot:int*",
        ..Spec::new("cluster|addslots", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Makes ranges of slots belong to this node.",
        complexity: "O(N), N slots in the ranges",
        arity: AtLeast(4),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "{range: start-slot:int end-slot:int}*",
        ..Spec::new("cluster|addslotsrange", "7.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Gives this node a config epoch above all others.",
        arity: Exactly(2),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("cluster|bumpepoch", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Counts the nodes that say a given one has failed.",
        complexity: "O(R), R reports",
        arity: Exactly(3),
        flags: flags!(ADMIN STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        syntax: "node-id",
        ..Spec::new("cluster|count-failure-reports", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Counts the keys that this node holds in a slot.",
        arity: Exactly(3),
        flags: flags!(STALE REPEATABLE),
        syntax: "slot:int",
        ..Spec::new("cluster|countkeysinslot", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Forgets to whom slots belong.",
        complexity: "O(N), N slots named",
        arity: AtLeast(3),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "slot:int*",
        ..Spec::new("cluster|delslots", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Forgets to whom ranges of slots belong.",
        complexity: "O(N), N slots in the ranges",
        arity: AtLeast(4),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "{range: start-slot:int end-slot:int}*",
        ..Spec::new("cluster|delslotsrange", "7.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Makes this replica the primary of its shard.",
        arity: AtLeast(2),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "(options: FORCE | TAKEOVER)?",
        ..Spec::new("cluster|failover", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Gives up every slot of this node.",
        arity: Exactly(2),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        ..Spec::new("cluster|flushslots", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Removes a node from those known here.",
        arity: Exactly(3),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "node-id",
        ..Spec::new("cluster|forget", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Names some keys that this node holds in a slot.",
        complexity: "O(K), K keys asked for",
        arity: Exactly(4),
        flags: flags!(STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        syntax: "slot:int count:int",
        ..Spec::new("cluster|getkeysinslot", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("cluster|help", "5.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Shows the state of the cluster as this node sees it.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("cluster|info", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Computes the slot of a key.",
        complexity: "O(N), N bytes of the key",
        arity: Exactly(3),
        flags: flags!(STALE REPEATABLE),
        syntax: "key",
        ..Spec::new("cluster|keyslot", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Lists the bus connections of this node.",
        complexity: "O(N), N nodes",
        arity: Exactly(2),
        flags: flags!(STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("cluster|links", "7.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Introduces this node to another.",
        arity: AtLeast(4),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "ip port:int cluster-bus-port:int?^4.0.0",
        history: &[("4.0.0", "Takes the bus port.")],
        ..Spec::new("cluster|meet", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Shows the id of this node.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("cluster|myid", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Shows the id of this node's shard.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("cluster|myshardid", "7.2.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Shows every known node, in the format of nodes.conf.",
        complexity: "O(N), N nodes",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("cluster|nodes", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Lists the replicas of a primary.",
        complexity: "O(N), N replicas",
        arity: Exactly(3),
        flags: flags!(ADMIN STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        syntax: "node-id",
        ..Spec::new("cluster|replicas", "5.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Makes this node a replica of another.",
        arity: Exactly(3),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "node-id",
        ..Spec::new("cluster|replicate", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Makes this node forget the cluster.",
        complexity: "O(N), N nodes, and a FLUSHALL on a replica",
        arity: AtLeast(2),
        flags: flags!(ADMIN NOSCRIPT STALE),
        syntax: "(reset-type: HARD | SOFT)?",
        ..Spec::new("cluster|reset", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Writes nodes.conf to disk at once.",
        arity: Exactly(2),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        ..Spec::new("cluster|saveconfig", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Gives a fresh node its config epoch.",
        arity: Exactly(3),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "config-epoch:int",
        ..Spec::new("cluster|set-config-epoch", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Starts, ends or cancels the move of a slot.",
        arity: AtLeast(4),
        flags: flags!(ADMIN STALE NO_ASYNC_LOADING),
        syntax: "slot:int (subcommand: IMPORTING.importing~node-id | MIGRATING.migrating~node-id | NODE.node~node-id | STABLE)",
        ..Spec::new("cluster|setslot", "3.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Describes every shard: its slots and its nodes.",
        complexity: "O(N), N nodes",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("cluster|shards", "7.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Lists the replicas of a primary.",
        complexity: "O(N), N replicas",
        arity: Exactly(3),
        flags: flags!(ADMIN STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        syntax: "node-id",
        deprecated: Some(Deprecated { since: "5.0.0", replaced_by: "`CLUSTER REPLICAS`" }),
        ..Spec::new("cluster|slaves", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Shows how slots of this node are used.",
        complexity: "O(N), N slots, O(N*log(N)) when ordered",
        arity: AtLeast(4),
        flags: flags!(LOADING STALE REPEATABLE),
        request: RequestPolicy::AllShards,
        other_tips: &["nondeterministic_output"],
        syntax: "(filter: SLOTSRANGE.{slotsrange: start-slot:int end-slot:int} | ORDERBY.{orderby: metric LIMIT.limit:int? (order: ASC | DESC)?})",
        ..Spec::new("cluster|slot-stats", "8.0.0", Group::Cluster, Class::Refused)
    },
    Spec {
        summary: "Lists ranges of slots with the nodes that serve them.",
        complexity: "O(N), N nodes",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        other_tips: &["nondeterministic_output"],
        history: &[
            ("4.0.0", "Shows node ids."),
            ("7.0.0", "Shows further network data of each node."),
        ],
        deprecated: Some(Deprecated { since: "7.0.0", replaced_by: "`CLUSTER SHARDS`" }),
        ..Spec::new("cluster|slots", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Lets this connection read from a replica.",
        arity: Exactly(1),
        flags: flags!(LOADING STALE FAST REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("readonly", "3.0.0", Group::Cluster, Class::Local)
    },
    Spec {
        summary: "Takes READONLY back.",
        arity: Exactly(1),
        flags: flags!(LOADING STALE FAST REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("readwrite", "3.0.0", Group::Cluster, Class::Local)
    },
];
