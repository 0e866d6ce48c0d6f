//! HyperLogLogs.

use super::{key, keys, noted};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Counts elements into a HyperLogLog.",
        complexity: "O(1) per element",
        arity: AtLeast(2),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(HYPERLOGLOG),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key element?*",
        ..Spec::new("pfadd", "2.8.9", Group::HyperLogLog, Class::OneSlot)
    },
    Spec {
        summary: "Estimates how many distinct elements HyperLogLogs have seen.",
        complexity: "O(N), N keys",
        arity: AtLeast(2),
        flags: flags!(READONLY MAY_REPLICATE),
        own_categories: categories!(HYPERLOGLOG),
        keys: &[noted(
            keys(key_flags!(RW ACCESS), 1, -1, 1),
            "It may store the estimate with the value, and replicate that.",
        )],
        syntax: "key:key*",
        ..Spec::new("pfcount", "2.8.9", Group::HyperLogLog, Class::AllOrNothing)
    },
    Spec {
        summary: "Looks into a HyperLogLog, for tests.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM ADMIN INTERNAL),
        own_categories: categories!(HYPERLOGLOG),
        keys: &[key(key_flags!(RW ACCESS), 2)],
        syntax: "subcommand key:key",
        ..Spec::new("pfdebug", "2.8.9", Group::HyperLogLog, Class::Refused)
    },
    Spec {
        summary: "Merges HyperLogLogs into one.",
        complexity: "O(N), N keys",
        arity: AtLeast(2),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(HYPERLOGLOG),
        keys: &[key(key_flags!(RW ACCESS INSERT), 1), keys(key_flags!(RO ACCESS), 2, -1, 1)],
        syntax: "destkey:key sourcekey:key@1?*",
        ..Spec::new("pfmerge", "2.8.9", Group::HyperLogLog, Class::AllOrNothing)
    },
    Spec {
        summary: "Has HyperLogLogs test themselves.",
        arity: Exactly(1),
        flags: flags!(ADMIN INTERNAL),
        own_categories: categories!(HYPERLOGLOG),
        ..Spec::new("pfselftest", "2.8.9", Group::HyperLogLog, Class::Refused)
    },
];
