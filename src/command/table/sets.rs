//! Sets.

use super::{counted, key, keys};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Adds members to a set.",
        complexity: "O(N), N members",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key member*",
        history: &[("2.4.0", "Takes several members.")],
        ..Spec::new("sadd", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Counts the members of a set.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("scard", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Shows the members of the first set that no other has.",
        complexity: "O(N), N members in all",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(SET),
        keys: &[keys(key_flags!(RO ACCESS), 1, -1, 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key*",
        ..Spec::new("sdiff", "1.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Stores the members of the first set that no other has.",
        complexity: "O(N), N members in all",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(OW UPDATE), 1), keys(key_flags!(RO ACCESS), 2, -1, 1)],
        syntax: "destination:key key:key@1*",
        ..Spec::new("sdiffstore", "1.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Shows the members that all the sets share.",
        complexity: "O(N*M), N members of the smallest of M sets",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(SET),
        keys: &[keys(key_flags!(RO ACCESS), 1, -1, 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key*",
        ..Spec::new("sinter", "1.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Counts the members that all the sets share.",
        complexity: "O(N*M), N members of the smallest of M sets",
        arity: AtLeast(3),
        flags: flags!(READONLY MOVABLEKEYS),
        own_categories: categories!(SET),
        keys: &[counted(key_flags!(RO ACCESS), 1, 1)],
        syntax: "numkeys:int key:key* LIMIT.limit:int?",
        ..Spec::new("sintercard", "7.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Stores the members that all the sets share.",
        complexity: "O(N*M), N members of the smallest of M sets",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(OW UPDATE), 1), keys(key_flags!(RO ACCESS), 2, -1, 1)],
        syntax: "destination:key key:key@1*",
        ..Spec::new("sinterstore", "1.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Tells whether a set has a member.",
        arity: Exactly(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key member",
        ..Spec::new("sismember", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Shows every member of a set.",
        complexity: "O(N), N members",
        arity: Exactly(2),
        flags: flags!(READONLY),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key",
        ..Spec::new("smembers", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Tells which members a set has.",
        complexity: "O(N), N members named",
        arity: AtLeast(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member*",
        ..Spec::new("smismember", "6.2.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Takes a member out of one set and adds it to another.",
        arity: Exactly(4),
        flags: flags!(WRITE FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(RW INSERT), 2)],
        syntax: "source:key destination:key@1 member",
        ..Spec::new("smove", "1.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Takes members out of a set at random.",
        complexity: "O(N), N members taken",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key count:int?^3.2.0",
        history: &[("3.2.0", "Takes a count.")],
        ..Spec::new("spop", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Draws members of a set at random.",
        complexity: "O(N), N members drawn",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key count:int?^2.6.0",
        history: &[("2.6.0", "Takes a count.")],
        ..Spec::new("srandmember", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Removes members of a set, and the set with its last one.",
        complexity: "O(N), N members",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key member*",
        history: &[("2.4.0", "Takes several members.")],
        ..Spec::new("srem", "1.0.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Walks a set in steps.",
        complexity: "O(1) per step, O(N) for all N members",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key cursor:int MATCH.pattern:pattern? COUNT.count:int?",
        ..Spec::new("sscan", "2.8.0", Group::Set, Class::OneSlot)
    },
    Spec {
        summary: "Shows the members that any of the sets has.",
        complexity: "O(N), N members in all",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(SET),
        keys: &[keys(key_flags!(RO ACCESS), 1, -1, 1)],
        other_tips: &["nondeterministic_output_order"],
        syntax: "key:key*",
        ..Spec::new("sunion", "1.0.0", Group::Set, Class::AllOrNothing)
    },
    Spec {
        summary: "Stores the members that any of the sets has.",
        complexity: "O(N), N members in all",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(SET),
        keys: &[key(key_flags!(OW UPDATE), 1), keys(key_flags!(RO ACCESS), 2, -1, 1)],
        syntax: "destination:key key:key@1*",
        ..Spec::new("sunionstore", "1.0.0", Group::Set, Class::AllOrNothing)
    },
];
