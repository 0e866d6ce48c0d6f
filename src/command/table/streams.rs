//! Streams and consumer groups.

use super::{after, key, noted};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Marks entries as dealt with by their group.",
        complexity: "O(1) per id",
        arity: AtLeast(4),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key group id*",
        ..Spec::new("xack", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Appends an entry to a stream, and may trim it.",
        complexity: "O(1), plus O(N) to trim N entries",
        arity: AtLeast(5),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STREAM),
        keys: &[noted(key(key_flags!(RW UPDATE), 1), "It may trim what is there.")],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key NOMKSTREAM?^6.2.0 {trim: (strategy: MAXLEN | MINID^6.2.0) (operator: '='/equal | '~'/approximately)? threshold LIMIT.count:int?^6.2.0}? (id-selector: '*'/auto-id | id) {data: field value}*",
        history: &[
            ("6.2.0", "Takes NOMKSTREAM, MINID and LIMIT."),
            ("7.0.0", "An id may leave its second part to the server."),
        ],
        ..Spec::new("xadd", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Hands entries that were pending for long to another consumer.",
        complexity: "O(1) with a small COUNT",
        arity: AtLeast(6),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW DELETE), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key group consumer min-idle-time start COUNT.count:int? JUSTID?",
        history: &[("7.0.0", "The reply names the deleted entries that it dropped.")],
        ..Spec::new("xautoclaim", "6.2.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Hands pending entries to another consumer.",
        complexity: "O(log(N)), N pending entries",
        arity: AtLeast(6),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key group consumer min-idle-time id* IDLE.ms:int? TIME.unix-time-milliseconds:time? RETRYCOUNT.count:int? FORCE? JUSTID? LASTID.lastid?",
        ..Spec::new("xclaim", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Removes entries from a stream.",
        complexity: "O(1) per id",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key id*",
        ..Spec::new("xdel", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Groups the commands about consumer groups.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("xgroup", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Creates a group.",
        arity: AtLeast(5),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW INSERT), 2)],
        syntax: "key:key group (id-selector: id | '$'/new-id) MKSTREAM? ENTRIESREAD.entriesread:int~entries-read?",
        history: &[("7.0.0", "Takes ENTRIESREAD.")],
        ..Spec::new("xgroup|create", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Creates a consumer in a group.",
        arity: Exactly(5),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW INSERT), 2)],
        syntax: "key:key group consumer",
        ..Spec::new("xgroup|createconsumer", "6.2.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Removes a consumer with what is pending for it.",
        complexity: "O(N), N entries pending for it",
        arity: Exactly(5),
        flags: flags!(WRITE),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW DELETE), 2)],
        syntax: "key:key group consumer",
        ..Spec::new("xgroup|delconsumer", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Removes a group.",
        complexity: "O(N), N pending entries",
        arity: Exactly(4),
        flags: flags!(WRITE),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW DELETE), 2)],
        syntax: "key:key group",
        ..Spec::new("xgroup|destroy", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(STREAM),
        ..Spec::new("xgroup|help", "5.0.0", Group::Stream, Class::Local)
    },
    Spec {
        summary: "Sets which entry a group counts as its last delivered.",
        arity: AtLeast(5),
        flags: flags!(WRITE),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW UPDATE), 2)],
        syntax: "key:key group (id-selector: id | '$'/new-id) ENTRIESREAD.entriesread:int~entries-read?",
        history: &[("7.0.0", "Takes ENTRIESREAD.")],
        ..Spec::new("xgroup|setid", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Groups the commands that look into streams.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("xinfo", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Lists the consumers of a group.",
        complexity: "O(N), N consumers",
        arity: Exactly(4),
        flags: flags!(READONLY),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO ACCESS), 2)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key group",
        history: &[("7.2.0", "Shows inactive; idle counts attempts too.")],
        ..Spec::new("xinfo|consumers", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Lists the groups of a stream.",
        complexity: "O(N), N groups",
        arity: Exactly(3),
        flags: flags!(READONLY),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO ACCESS), 2)],
        syntax: "key:key",
        history: &[("7.0.0", "Shows entries-read and lag.")],
        ..Spec::new("xinfo|groups", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(STREAM),
        ..Spec::new("xinfo|help", "5.0.0", Group::Stream, Class::Local)
    },
    Spec {
        summary: "Describes a stream.",
        complexity: "O(1), more with FULL",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO ACCESS), 2)],
        syntax: "key:key {full-block: FULL COUNT.count:int?}?",
        history: &[
            ("6.0.0", "Takes FULL."),
            (
                "7.0.0",
                "Shows max-deleted-entry-id, entries-added, recorded-first-entry-id, entries-read and lag.",
            ),
            ("7.2.0", "Shows active-time; seen-time counts attempts too."),
        ],
        ..Spec::new("xinfo|stream", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Counts the entries of a stream.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("xlen", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Shows what a group was given and has not acknowledged.",
        complexity: "O(N), N entries looked at",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key group {filters: IDLE.min-idle-time:int?^6.2.0 start end count:int consumer?}?",
        history: &[("6.2.0", "Takes IDLE, and ranges that leave out an end.")],
        ..Spec::new("xpending", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Shows entries of a stream, oldest first.",
        complexity: "O(N), N entries shown",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key start end COUNT.count:int?",
        history: &[("6.2.0", "Ranges may leave out an end.")],
        ..Spec::new("xrange", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Shows entries of streams past given ids, and may wait for them.",
        complexity: "O(N), N entries shown",
        arity: AtLeast(4),
        flags: flags!(READONLY BLOCKING MOVABLEKEYS),
        own_categories: categories!(STREAM),
        keys: &[after(key_flags!(RO ACCESS), "STREAMS", 1, -1, 2)],
        syntax: "COUNT.count:int? BLOCK.milliseconds:int? STREAMS.{streams: key:key* id*}",
        ..Spec::new("xread", "5.0.0", Group::Stream, Class::AllOrNothing)
    },
    Spec {
        summary: "Gives entries of streams to a consumer of a group, and may wait for them.",
        complexity: "O(N), N entries shown",
        arity: AtLeast(7),
        flags: flags!(WRITE BLOCKING MOVABLEKEYS),
        own_categories: categories!(STREAM),
        keys: &[after(key_flags!(RO ACCESS), "STREAMS", 4, -1, 2)],
        syntax: "GROUP.{group-block: group consumer} COUNT.count:int? BLOCK.milliseconds:int? NOACK? STREAMS.{streams: key:key* id*}",
        ..Spec::new("xreadgroup", "5.0.0", Group::Stream, Class::AllOrNothing)
    },
    Spec {
        summary: "Shows entries of a stream, newest first.",
        complexity: "O(N), N entries shown",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key end start COUNT.count:int?",
        history: &[("6.2.0", "Ranges may leave out an end.")],
        ..Spec::new("xrevrange", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Sets a stream's last id; replication uses it.",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key last-id ENTRIESADDED.entries-added:int?^7.0.0 MAXDELETEDID.max-deleted-id?^7.0.0",
        history: &[("7.0.0", "Takes ENTRIESADDED and MAXDELETEDID.")],
        ..Spec::new("xsetid", "5.0.0", Group::Stream, Class::OneSlot)
    },
    Spec {
        summary: "Drops the oldest entries of a stream.",
        complexity: "O(N), N entries dropped",
        arity: AtLeast(4),
        flags: flags!(WRITE),
        own_categories: categories!(STREAM),
        keys: &[key(key_flags!(RW DELETE), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key {trim: (strategy: MAXLEN | MINID^6.2.0) (operator: '='/equal | '~'/approximately)? threshold LIMIT.count:int?^6.2.0}",
        history: &[("6.2.0", "Takes MINID and LIMIT.")],
        ..Spec::new("xtrim", "5.0.0", Group::Stream, Class::OneSlot)
    },
];
