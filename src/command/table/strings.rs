//! Strings.

use super::{counted, key, keys, noted};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Deprecated, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Adds bytes to the end of a string, creating it if need be.",
        complexity: "O(1) amortised",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key value",
        ..Spec::new("append", "2.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Subtracts one from an integer.",
        arity: Exactly(2),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key",
        ..Spec::new("decr", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Subtracts a number from an integer.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key decrement:int",
        ..Spec::new("decrby", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Deletes a key if it holds the given string.",
        arity: Exactly(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RM DELETE), 1)],
        syntax: "key:key value",
        ..Spec::new("delifeq", "9.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Shows a string.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key",
        ..Spec::new("get", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Shows a string and deletes it.",
        arity: Exactly(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        syntax: "key:key",
        ..Spec::new("getdel", "6.2.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Shows a string and sets or lifts its time to live.",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(STRING),
        keys: &[noted(key(key_flags!(RW ACCESS UPDATE), 1), "It may change the time to live.")],
        syntax: "key:key (expiration: EX.seconds:int | PX.milliseconds:int | EXAT.unix-time-seconds:time | PXAT.unix-time-milliseconds:time | PERSIST)?",
        ..Spec::new("getex", "6.2.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Shows part of a string.",
        complexity: "O(N), N bytes shown",
        arity: Exactly(4),
        flags: flags!(READONLY),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key start:int end:int",
        ..Spec::new("getrange", "2.4.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Sets a string and shows what it was.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key value",
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`SET` with `GET`" }),
        ..Spec::new("getset", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Adds one to an integer.",
        arity: Exactly(2),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key",
        ..Spec::new("incr", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Adds a number to an integer.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key increment:int",
        ..Spec::new("incrby", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Adds to a floating-point number.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key increment:double",
        ..Spec::new("incrbyfloat", "2.6.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Finds what two strings have in common, in order.",
        complexity: "O(N*M), N and M bytes",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(STRING),
        keys: &[keys(key_flags!(RO ACCESS), 1, 1, 1)],
        syntax: "key1:key key2:key LEN? IDX? MINMATCHLEN.min-match-len:int? WITHMATCHLEN?",
        ..Spec::new("lcs", "7.0.0", Group::String, Class::AllOrNothing)
    },
    Spec {
        summary: "Shows several strings.",
        complexity: "O(N), N keys",
        arity: AtLeast(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(STRING),
        keys: &[keys(key_flags!(RO ACCESS), 1, -1, 1)],
        request: RequestPolicy::MultiShard,
        syntax: "key:key*",
        ..Spec::new("mget", "1.0.0", Group::String, Class::Split)
    },
    Spec {
        summary: "Sets several strings.",
        complexity: "O(N), N keys",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STRING),
        keys: &[keys(key_flags!(OW UPDATE), 1, -1, 2)],
        request: RequestPolicy::MultiShard,
        response: ResponsePolicy::AllSucceeded,
        syntax: "{data: key:key value}*",
        ..Spec::new("mset", "1.0.1", Group::String, Class::Split)
    },
    Spec {
        summary: "Sets several strings together with one time to live.",
        complexity: "O(N), N keys",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(STRING),
        keys: &[counted(key_flags!(OW UPDATE), 1, 2)],
        request: RequestPolicy::MultiShard,
        response: ResponsePolicy::AllSucceeded,
        syntax: "numkeys:int {data: key:key value}* (condition: NX | XX)? (expiration: EX.seconds:int | PX.milliseconds:int | EXAT.unix-time-seconds:time | PXAT.unix-time-milliseconds:time | KEEPTTL)?",
        ..Spec::new("msetex", "9.1.0", Group::String, Class::AllOrNothing)
    },
    Spec {
        summary: "Sets several strings, if none of the keys exists.",
        complexity: "O(N), N keys",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STRING),
        keys: &[keys(key_flags!(OW INSERT), 1, -1, 2)],
        syntax: "{data: key:key value}*",
        ..Spec::new("msetnx", "1.0.1", Group::String, Class::AllOrNothing)
    },
    Spec {
        summary: "Sets a string that lives for so many milliseconds.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(OW UPDATE), 1)],
        syntax: "key:key milliseconds:int value",
        ..Spec::new("psetex", "2.6.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Sets a string, whatever was there before.",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STRING),
        keys: &[noted(
            key(key_flags!(RW ACCESS UPDATE VARIABLE_FLAGS), 1),
            "GET gives the value before.",
        )],
        syntax: "key:key value (condition: NX^2.6.12 | XX^2.6.12)? GET?^6.2.0 (expiration: EX.seconds:int^2.6.12 | PX.milliseconds:int^2.6.12 | EXAT.unix-time-seconds:time^6.2.0 | PXAT.unix-time-milliseconds:time^6.2.0 | KEEPTTL^6.0.0)?",
        history: &[
            ("2.6.12", "Takes EX, PX, NX and XX."),
            ("6.0.0", "Takes KEEPTTL."),
            ("6.2.0", "Takes GET, EXAT and PXAT."),
            ("7.0.0", "NX and GET go together."),
        ],
        ..Spec::new("set", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Sets a string that lives for so many seconds.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(OW UPDATE), 1)],
        syntax: "key:key seconds:int value",
        ..Spec::new("setex", "2.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Sets a string, if the key does not exist.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(OW INSERT), 1)],
        syntax: "key:key value",
        ..Spec::new("setnx", "1.0.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Overwrites part of a string.",
        complexity: "O(M), M bytes written",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key offset:int value",
        ..Spec::new("setrange", "2.2.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Measures a string.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("strlen", "2.2.0", Group::String, Class::OneSlot)
    },
    Spec {
        summary: "Shows part of a string; the former word for GETRANGE.",
        complexity: "O(N), N bytes shown",
        arity: Exactly(4),
        flags: flags!(READONLY),
        own_categories: categories!(STRING),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key start:int end:int",
        deprecated: Some(Deprecated { since: "2.0.0", replaced_by: "`GETRANGE`" }),
        ..Spec::new("substr", "1.0.0", Group::String, Class::OneSlot)
    },
];
