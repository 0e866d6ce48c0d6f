//! Hashes, their fields and the times that fields live.

use super::key;
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Deprecated, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Removes fields of a hash, and the hash with its last one.",
        complexity: "O(N), N fields",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key field*",
        history: &[("2.4.0", "Takes several fields.")],
        ..Spec::new("hdel", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Tells whether a hash has a field.",
        arity: Exactly(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key field",
        ..Spec::new("hexists", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Lets fields of a hash live for so many seconds.",
        complexity: "O(N), N fields",
        arity: AtLeast(6),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key seconds:int (condition: NX | XX | GT | LT)? FIELDS.{fields: numfields:int field*}",
        ..Spec::new("hexpire", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Lets fields of a hash live until a Unix time.",
        complexity: "O(N), N fields",
        arity: AtLeast(6),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key unix-time-seconds:int FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hexpireat", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows the Unix times at which fields end.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hexpiretime", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows one field of a hash.",
        arity: Exactly(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key field",
        ..Spec::new("hget", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows every field of a hash with its value.",
        complexity: "O(N), N fields in the hash",
        arity: Exactly(2),
        flags: flags!(READONLY),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key",
        ..Spec::new("hgetall", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows fields of a hash and removes them.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        syntax: "key:key FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hgetdel", "9.1.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows fields of a hash and sets or lifts their time to live.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key (expiration: EX.seconds:int | PX.milliseconds:int | EXAT.unix-time-seconds:time | PXAT.unix-time-milliseconds:time | PERSIST)? FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hgetex", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Adds to an integer in a hash.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key field increment:int",
        ..Spec::new("hincrby", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Adds to a floating-point number in a hash.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key field increment:double",
        ..Spec::new("hincrbyfloat", "2.6.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Names the fields of a hash.",
        complexity: "O(N), N fields in the hash",
        arity: Exactly(2),
        flags: flags!(READONLY),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key",
        ..Spec::new("hkeys", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Counts the fields of a hash.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("hlen", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows several fields of a hash.",
        complexity: "O(N), N fields",
        arity: AtLeast(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key field*",
        ..Spec::new("hmget", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Sets several fields of a hash.",
        complexity: "O(N), N fields",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key {data: field value}*",
        deprecated: Some(Deprecated {
            since: "4.0.0",
            replaced_by: "`HSET`, which takes several fields",
        }),
        ..Spec::new("hmset", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Lifts the time to live of fields.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hpersist", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Lets fields of a hash live for so many milliseconds.",
        complexity: "O(N), N fields",
        arity: AtLeast(6),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key milliseconds:int FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hpexpire", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Lets fields of a hash live until a Unix time in milliseconds.",
        complexity: "O(N), N fields",
        arity: AtLeast(6),
        flags: flags!(WRITE FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key unix-time-milliseconds:int FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hpexpireat", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows the Unix times, in milliseconds, at which fields end.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hpexpiretime", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows how many milliseconds fields have left.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("hpttl", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Draws fields of a hash at random.",
        complexity: "O(N), N fields drawn",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key {options: count:int WITHVALUES?}?",
        ..Spec::new("hrandfield", "6.2.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Walks a hash in steps.",
        complexity: "O(1) per step, O(N) for all N fields",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key cursor:int MATCH.pattern:pattern? COUNT.count:int?",
        ..Spec::new("hscan", "2.8.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Sets fields of a hash.",
        complexity: "O(N), N fields",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key {data: field value}*",
        history: &[("4.0.0", "Takes several fields.")],
        ..Spec::new("hset", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Sets fields of a hash together with their time to live.",
        complexity: "O(N), N fields",
        arity: AtLeast(6),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key (key-condition: NX | XX)? (fields-condition: FNX | FXX)? (expiration: EX.seconds:int | PX.milliseconds:int | EXAT.unix-time-seconds:time | PXAT.unix-time-milliseconds:time | KEEPTTL)? FIELDS.{fields: numfields:int@0 {data: field value}*}",
        ..Spec::new("hsetex", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Sets a field that is not there yet.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key field value",
        ..Spec::new("hsetnx", "2.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Measures the value of a field.",
        arity: Exactly(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key field",
        ..Spec::new("hstrlen", "3.2.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows how many seconds fields have left.",
        complexity: "O(N), N fields",
        arity: AtLeast(5),
        flags: flags!(READONLY FAST),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key FIELDS.{fields: numfields:int@0 field*}",
        ..Spec::new("httl", "9.0.0", Group::Hash, Class::OneSlot)
    },
    Spec {
        summary: "Shows the values of a hash.",
        complexity: "O(N), N fields in the hash",
        arity: Exactly(2),
        flags: flags!(READONLY),
        own_categories: categories!(HASH),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key",
        ..Spec::new("hvals", "2.0.0", Group::Hash, Class::OneSlot)
    },
];
