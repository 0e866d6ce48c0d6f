//! Keys of any type: their life, names, walks, serialised forms.

use super::{after, elsewhere, key, keys, noted};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Copies a value to another key.",
        complexity: "O(N), N elements; O(1) for strings",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO ACCESS), 1), key(key_flags!(OW UPDATE), 2)],
        syntax: "source:key destination:key@1 DB.destination-db:int? REPLACE?",
        ..Spec::new("copy", "6.2.0", Group::Generic, Class::AllOrNothing)
    },
    Spec {
        summary: "Deletes keys.",
        complexity: "O(N), N keys, plus the elements in them",
        arity: AtLeast(2),
        flags: flags!(WRITE),
        own_categories: categories!(KEYSPACE),
        keys: &[keys(key_flags!(RM DELETE), 1, -1, 1)],
        request: RequestPolicy::MultiShard,
        response: ResponsePolicy::AggSum,
        syntax: "key:key*",
        ..Spec::new("del", "1.0.0", Group::Generic, Class::Split)
    },
    Spec {
        summary: "Serialises the value of a key.",
        complexity: "O(N), N bytes of the value",
        arity: Exactly(2),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        ..Spec::new("dump", "2.6.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Counts how many of the keys exist.",
        complexity: "O(N), N keys",
        arity: AtLeast(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[keys(key_flags!(RO), 1, -1, 1)],
        request: RequestPolicy::MultiShard,
        response: ResponsePolicy::AggSum,
        syntax: "key:key*",
        history: &[("3.0.3", "Takes several keys.")],
        ..Spec::new("exists", "1.0.0", Group::Generic, Class::Split)
    },
    Spec {
        summary: "Lets a key live for so many seconds.",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key seconds:int (condition: NX | XX | GT | LT)?^7.0.0",
        history: &[("7.0.0", "Takes NX, XX, GT and LT.")],
        ..Spec::new("expire", "1.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Lets a key live until a Unix time.",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key unix-time-seconds:time (condition: NX | XX | GT | LT)?^7.0.0",
        history: &[("7.0.0", "Takes NX, XX, GT and LT.")],
        ..Spec::new("expireat", "1.2.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Shows the Unix time at which a key ends.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key",
        ..Spec::new("expiretime", "7.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Names every key that matches a pattern.",
        complexity: "O(N), N keys in the database",
        arity: Exactly(2),
        flags: flags!(READONLY),
        own_categories: categories!(DANGEROUS KEYSPACE),
        request: RequestPolicy::AllShards,
        other_tips: &["nondeterministic_output_order"],
        syntax: "pattern:pattern",
        ..Spec::new("keys", "1.0.0", Group::Generic, Class::FanOut)
    },
    Spec {
        summary: "Moves keys to another server.",
        complexity: "O(N), N bytes of the values, here, on the wire and there",
        arity: AtLeast(6),
        flags: flags!(WRITE MOVABLEKEYS),
        own_categories: categories!(DANGEROUS KEYSPACE),
        keys: &[
            key(key_flags!(RW ACCESS DELETE), 3),
            after(key_flags!(RW ACCESS DELETE INCOMPLETE), "KEYS", -2, -1, 0),
        ],
        other_tips: &["nondeterministic_output"],
        syntax: "host port:int (key-selector: key:key | ''/empty-string) destination-db:int timeout:int COPY?^3.0.0 REPLACE?^3.0.0 (authentication: AUTH.auth~password^4.0.7 | AUTH2.{auth2: username password}^6.0.0)? KEYS.keys:key~key@1?*^3.0.6",
        history: &[
            ("3.0.0", "Takes COPY and REPLACE."),
            ("3.0.6", "Takes KEYS."),
            ("4.0.7", "Takes AUTH."),
            ("6.0.0", "Takes AUTH2."),
        ],
        ..Spec::new("migrate", "2.6.0", Group::Generic, Class::Refused)
    },
    Spec {
        summary: "Takes a key over into another database.",
        arity: Exactly(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key db:int",
        ..Spec::new("move", "1.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Groups the commands about how values are kept.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("object", "2.2.3", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Names the way a value is kept in memory.",
        arity: Exactly(3),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO), 2)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        ..Spec::new("object|encoding", "2.2.3", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Shows how often a key is used, on a logarithmic scale.",
        arity: Exactly(3),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO), 2)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        ..Spec::new("object|freq", "4.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(KEYSPACE),
        ..Spec::new("object|help", "6.2.0", Group::Generic, Class::Local)
    },
    Spec {
        summary: "Shows for how many seconds a key was not used.",
        arity: Exactly(3),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO), 2)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        ..Spec::new("object|idletime", "2.2.3", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Counts the references to a value.",
        arity: Exactly(3),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO), 2)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        ..Spec::new("object|refcount", "2.2.3", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Lifts the time to live of a key.",
        arity: Exactly(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key",
        ..Spec::new("persist", "2.2.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Lets a key live for so many milliseconds.",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key milliseconds:int (condition: NX | XX | GT | LT)?^7.0.0",
        history: &[("7.0.0", "Takes NX, XX, GT and LT.")],
        ..Spec::new("pexpire", "2.6.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Lets a key live until a Unix time in milliseconds.",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key unix-time-milliseconds:time (condition: NX | XX | GT | LT)?^7.0.0",
        history: &[("7.0.0", "Takes NX, XX, GT and LT.")],
        ..Spec::new("pexpireat", "2.6.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Shows the Unix time, in milliseconds, at which a key ends.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key",
        ..Spec::new("pexpiretime", "7.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Shows how many milliseconds a key has left.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        history: &[("2.8.0", "A missing key answers -2.")],
        ..Spec::new("pttl", "2.6.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Names a key drawn at random.",
        arity: Exactly(1),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        ..Spec::new("randomkey", "1.0.0", Group::Generic, Class::FanOut)
    },
    Spec {
        summary: "Gives a key another name, replacing what was there.",
        arity: Exactly(3),
        flags: flags!(WRITE),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(OW UPDATE), 2)],
        syntax: "key:key newkey:key@1",
        ..Spec::new("rename", "1.0.0", Group::Generic, Class::AllOrNothing)
    },
    Spec {
        summary: "Gives a key another name, if that name is free.",
        arity: Exactly(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(OW INSERT), 2)],
        syntax: "key:key newkey:key@1",
        history: &[("3.2.0", "The same name twice is no error.")],
        ..Spec::new("renamenx", "1.0.0", Group::Generic, Class::AllOrNothing)
    },
    Spec {
        summary: "Creates a key from what DUMP gave.",
        complexity: "O(N), N bytes of the value",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(DANGEROUS KEYSPACE),
        keys: &[key(key_flags!(OW UPDATE), 1)],
        syntax: "key:key ttl:int serialized-value REPLACE?^3.0.0 ABSTTL?^5.0.0 IDLETIME.seconds:int?^5.0.0 FREQ.frequency:int?^5.0.0",
        history: &[("3.0.0", "Takes REPLACE."), ("5.0.0", "Takes ABSTTL, IDLETIME and FREQ.")],
        ..Spec::new("restore", "2.6.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Walks the keys in steps.",
        complexity: "O(1) per step, O(N) for all N keys",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(KEYSPACE),
        request: RequestPolicy::Special,
        response: ResponsePolicy::Special,
        other_tips: &["nondeterministic_output"],
        syntax: "cursor:int MATCH.pattern:pattern? COUNT.count:int? TYPE.type?^6.0.0",
        history: &[("6.0.0", "Takes TYPE.")],
        ..Spec::new("scan", "2.8.0", Group::Generic, Class::Cursor)
    },
    Spec {
        summary: "Sorts a list, set or sorted set, and may store the outcome.",
        complexity: "O(N+M*log(M)), N elements and M shown",
        arity: AtLeast(2),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(DANGEROUS LIST SET SORTEDSET),
        keys: &[
            key(key_flags!(RO ACCESS), 1),
            noted(
                elsewhere(key_flags!(RO ACCESS)),
                "BY and GET build names of keys from the elements: they cannot be told in advance.",
            ),
            noted(elsewhere(key_flags!(OW UPDATE)), "STORE may stand anywhere among the options."),
        ],
        syntax: "key:key BY.by-pattern:pattern~pattern@1? LIMIT.{limit: offset:int count:int}? GET.get-pattern:pattern~pattern@1?+ (order: ASC | DESC)? ALPHA/sorting? STORE.destination:key@2?",
        ..Spec::new("sort", "1.0.0", Group::Generic, Class::AllOrNothing)
    },
    Spec {
        summary: "Sorts a list, set or sorted set.",
        complexity: "O(N+M*log(M)), N elements and M shown",
        arity: AtLeast(2),
        flags: flags!(READONLY MOVABLEKEYS),
        own_categories: categories!(DANGEROUS LIST SET SORTEDSET),
        keys: &[
            key(key_flags!(RO ACCESS), 1),
            noted(
                elsewhere(key_flags!(RO ACCESS)),
                "BY and GET build names of keys from the elements: they cannot be told in advance.",
            ),
        ],
        syntax: "key:key BY.by-pattern:pattern~pattern@1? LIMIT.{limit: offset:int count:int}? GET.get-pattern:pattern~pattern@1?+ (order: ASC | DESC)? ALPHA/sorting?",
        ..Spec::new("sort_ro", "7.0.0", Group::Generic, Class::AllOrNothing)
    },
    Spec {
        summary: "Marks keys as used and counts those that exist.",
        complexity: "O(N), N keys",
        arity: AtLeast(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[keys(key_flags!(RO), 1, -1, 1)],
        request: RequestPolicy::MultiShard,
        response: ResponsePolicy::AggSum,
        syntax: "key:key*",
        ..Spec::new("touch", "3.2.1", Group::Generic, Class::Split)
    },
    Spec {
        summary: "Shows how many seconds a key has left.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key",
        history: &[("2.8.0", "A missing key answers -2.")],
        ..Spec::new("ttl", "1.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Names the type of a value.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("type", "1.0.0", Group::Generic, Class::OneSlot)
    },
    Spec {
        summary: "Deletes keys, and frees their memory in the background.",
        complexity: "O(1) per key here, O(N) for its N elements in the background",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(KEYSPACE),
        keys: &[keys(key_flags!(RM DELETE), 1, -1, 1)],
        request: RequestPolicy::MultiShard,
        response: ResponsePolicy::AggSum,
        syntax: "key:key*",
        ..Spec::new("unlink", "4.0.0", Group::Generic, Class::Split)
    },
    Spec {
        summary: "Waits until replicas have received what this connection wrote.",
        arity: Exactly(3),
        flags: flags!(BLOCKING),
        own_categories: categories!(CONNECTION),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AggMin,
        syntax: "numreplicas:int timeout:int",
        ..Spec::new("wait", "3.0.0", Group::Generic, Class::Pinned)
    },
    Spec {
        summary: "Waits until what this connection wrote is in append-only files.",
        arity: Exactly(4),
        flags: flags!(BLOCKING),
        own_categories: categories!(CONNECTION),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AggMin,
        syntax: "numlocal:int numreplicas:int timeout:int",
        ..Spec::new("waitaof", "7.2.0", Group::Generic, Class::Pinned)
    },
];
