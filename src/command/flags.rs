//! What COMMAND INFO says of a command as a whole: its flags and its ACL categories.

use super::bits::bits;

bits! {
    /// What COMMAND INFO says in its list of flags, in that order.
    Flags: u32 {
        /// May change the data set.
        WRITE = 0, "write";
        /// Only reads.
        READONLY = 1, "readonly";
        /// May need memory.
        DENYOOM = 2, "denyoom";
        /// Loaded by a module.
        MODULE = 3, "module";
        /// For operators.
        ADMIN = 4, "admin";
        /// Publish/subscribe.
        PUBSUB = 5, "pubsub";
        /// Not from scripts.
        NOSCRIPT = 6, "noscript";
        /// May block its client.
        BLOCKING = 7, "blocking";
        /// Allowed while the data set is loaded.
        LOADING = 8, "loading";
        /// Allowed on a replica without its primary.
        STALE = 9, "stale";
        /// Not shown by MONITOR.
        SKIP_MONITOR = 10, "skip_monitor";
        /// Not recorded by SLOWLOG.
        SKIP_SLOWLOG = 11, "skip_slowlog";
        /// Sent by a node after ASKING.
        ASKING = 12, "asking";
        /// Constant or logarithmic time.
        FAST = 13, "fast";
        /// Allowed before AUTH.
        NO_AUTH = 14, "no_auth";
        /// May replicate though it only reads; COMMAND INFO does not show it.
        MAY_REPLICATE = 15, "";
        /// Not inside MULTI.
        NO_MULTI = 16, "no_multi";
        /// Where its keys are depends on its arguments.
        MOVABLEKEYS = 17, "movablekeys";
        /// Allowed while another command yields.
        ALLOW_BUSY = 18, "allow_busy";
        /// Not while a replica loads a data set beside the one it serves.
        NO_ASYNC_LOADING = 19, "no_async_loading";
        /// May come without keys though it has key specs.
        NO_MANDATORY_KEYS = 20, "no_mandatory_keys";
        /// Ours: not `readonly`, but running it twice is harmless (SCRIPT LOAD, …).
        REPEATABLE = 28, "";
        /// Ours: runs a script or function, whose author chooses the text of its errors.
        SCRIPT = 29, "";
        /// Ours: for servers and their developers; COMMAND DOCS marks it `syscmd`.
        INTERNAL = 30, "";
    }
}

bits! {
    /// The ACL categories, in the order in which COMMAND INFO lists them.
    Categories: u32 {
        /// Keys and the keyspace.
        KEYSPACE = 0, "@keyspace";
        /// Reads data.
        READ = 1, "@read";
        /// Writes data.
        WRITE = 2, "@write";
        /// Sets.
        SET = 3, "@set";
        /// Sorted sets.
        SORTEDSET = 4, "@sortedset";
        /// Lists.
        LIST = 5, "@list";
        /// Hashes.
        HASH = 6, "@hash";
        /// Strings.
        STRING = 7, "@string";
        /// Bitmaps.
        BITMAP = 8, "@bitmap";
        /// HyperLogLogs.
        HYPERLOGLOG = 9, "@hyperloglog";
        /// Geo indexes.
        GEO = 10, "@geo";
        /// Streams.
        STREAM = 11, "@stream";
        /// Publish/subscribe.
        PUBSUB = 12, "@pubsub";
        /// For operators.
        ADMIN = 13, "@admin";
        /// Fast.
        FAST = 14, "@fast";
        /// Not fast.
        SLOW = 15, "@slow";
        /// May block.
        BLOCKING = 16, "@blocking";
        /// Potentially dangerous.
        DANGEROUS = 17, "@dangerous";
        /// Connections.
        CONNECTION = 18, "@connection";
        /// Transactions.
        TRANSACTION = 19, "@transaction";
        /// Scripts and functions.
        SCRIPTING = 20, "@scripting";
    }
}

impl Categories {
    /// The category of this name, without its `@`, in any letter case.
    pub fn named(name: &[u8]) -> Option<Self> {
        (0..=20).map(|bit| Self(1 << bit)).find(|category| {
            category.names().any(|known| known.as_bytes()[1..].eq_ignore_ascii_case(name))
        })
    }
}
