//! Bits inside strings.

use super::{key, keys, noted};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Counts the bits that are 1.",
        complexity: "O(N), N bytes looked at",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(BITMAP),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key {range: start:int end:int (unit: BYTE | BIT)?^7.0.0}?",
        history: &[("7.0.0", "Takes BYTE and BIT.")],
        ..Spec::new("bitcount", "2.6.0", Group::Bitmap, Class::OneSlot)
    },
    Spec {
        summary: "Reads, sets and increments integers of any width inside a string.",
        complexity: "O(1) per operation",
        arity: AtLeast(2),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(BITMAP),
        keys: &[noted(
            key(key_flags!(RW ACCESS UPDATE VARIABLE_FLAGS), 1),
            "Some of its operations read, some write.",
        )],
        syntax: "key:key (operation: GET.{get-block: encoding offset:int} | {write: OVERFLOW.(overflow-block: WRAP | SAT | FAIL)? (write-operation: SET.{set-block: encoding offset:int value:int} | INCRBY.{incrby-block: encoding offset:int increment:int})})?*",
        ..Spec::new("bitfield", "3.2.0", Group::Bitmap, Class::OneSlot)
    },
    Spec {
        summary: "Reads integers of any width inside a string.",
        complexity: "O(1) per operation",
        arity: AtLeast(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(BITMAP),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key GET.{get-block: encoding offset:int}?+",
        ..Spec::new("bitfield_ro", "6.0.0", Group::Bitmap, Class::OneSlot)
    },
    Spec {
        summary: "Combines strings bit by bit and stores the outcome.",
        complexity: "O(N), N bytes of the longest",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(BITMAP),
        keys: &[key(key_flags!(OW UPDATE), 2), keys(key_flags!(RO ACCESS), 3, -1, 1)],
        syntax: "(operation: AND | OR | XOR | NOT) destkey:key key:key@1*",
        ..Spec::new("bitop", "2.6.0", Group::Bitmap, Class::AllOrNothing)
    },
    Spec {
        summary: "Finds the first bit that is 0, or 1.",
        complexity: "O(N), N bytes looked at",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(BITMAP),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key bit:int {range: start:int {end-unit-block: end:int (unit: BYTE | BIT)?^7.0.0}?}?",
        history: &[("7.0.0", "Takes BYTE and BIT.")],
        ..Spec::new("bitpos", "2.8.7", Group::Bitmap, Class::OneSlot)
    },
    Spec {
        summary: "Shows one bit of a string.",
        arity: Exactly(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(BITMAP),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key offset:int",
        ..Spec::new("getbit", "2.2.0", Group::Bitmap, Class::OneSlot)
    },
    Spec {
        summary: "Sets one bit of a string and shows what it was.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(BITMAP),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key offset:int value:int",
        ..Spec::new("setbit", "2.2.0", Group::Bitmap, Class::OneSlot)
    },
];
