//! Lists.

use super::{counted, key, keys};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Deprecated, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Moves an element between lists, waiting for one if need be.",
        arity: Exactly(6),
        flags: flags!(WRITE DENYOOM BLOCKING),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(RW INSERT), 2)],
        syntax: "source:key destination:key@1 (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT) timeout:double",
        ..Spec::new("blmove", "6.2.0", Group::List, Class::Pinned)
    },
    Spec {
        summary: "Takes elements from the first list that has any, waiting if none has.",
        complexity: "O(K+M), K keys and M elements taken",
        arity: AtLeast(5),
        flags: flags!(WRITE BLOCKING MOVABLEKEYS),
        own_categories: categories!(LIST),
        keys: &[counted(key_flags!(RW ACCESS DELETE), 2, 1)],
        syntax: "timeout:double numkeys:int key:key* (where: LEFT | RIGHT) COUNT.count:int?",
        ..Spec::new("blmpop", "7.0.0", Group::List, Class::Pinned)
    },
    Spec {
        summary: "Takes the first element of the first list that has any, waiting if none has.",
        complexity: "O(K), K keys",
        arity: AtLeast(3),
        flags: flags!(WRITE BLOCKING),
        own_categories: categories!(LIST),
        keys: &[keys(key_flags!(RW ACCESS DELETE), 1, -2, 1)],
        syntax: "key:key* timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        ..Spec::new("blpop", "2.0.0", Group::List, Class::Pinned)
    },
    Spec {
        summary: "Takes the last element of the first list that has any, waiting if none has.",
        complexity: "O(K), K keys",
        arity: AtLeast(3),
        flags: flags!(WRITE BLOCKING),
        own_categories: categories!(LIST),
        keys: &[keys(key_flags!(RW ACCESS DELETE), 1, -2, 1)],
        syntax: "key:key* timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        ..Spec::new("brpop", "2.0.0", Group::List, Class::Pinned)
    },
    Spec {
        summary: "Moves the tail of one list to the head of another, waiting for it if need be.",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM BLOCKING),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(RW INSERT), 2)],
        syntax: "source:key destination:key@1 timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`BLMOVE` from `RIGHT` to `LEFT`",
        }),
        ..Spec::new("brpoplpush", "2.2.0", Group::List, Class::Pinned)
    },
    Spec {
        summary: "Shows one element of a list.",
        complexity: "O(N), N elements to walk; O(1) at both ends",
        arity: Exactly(3),
        flags: flags!(READONLY),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key index:int",
        ..Spec::new("lindex", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Inserts an element beside another.",
        complexity: "O(N), N elements up to that one",
        arity: Exactly(5),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key (where: BEFORE | AFTER) pivot element",
        ..Spec::new("linsert", "2.2.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Counts the elements of a list.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("llen", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Moves an element from an end of a list to an end of another.",
        arity: Exactly(5),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(RW INSERT), 2)],
        syntax: "source:key destination:key@1 (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT)",
        ..Spec::new("lmove", "6.2.0", Group::List, Class::AllOrNothing)
    },
    Spec {
        summary: "Takes elements from the first list that has any.",
        complexity: "O(K+M), K keys and M elements taken",
        arity: AtLeast(4),
        flags: flags!(WRITE MOVABLEKEYS),
        own_categories: categories!(LIST),
        keys: &[counted(key_flags!(RW ACCESS DELETE), 1, 1)],
        syntax: "numkeys:int key:key* (where: LEFT | RIGHT) COUNT.count:int?",
        ..Spec::new("lmpop", "7.0.0", Group::List, Class::AllOrNothing)
    },
    Spec {
        summary: "Takes elements from the head of a list.",
        complexity: "O(N), N elements taken",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        syntax: "key:key count:int?^6.2.0",
        history: &[("6.2.0", "Takes a count.")],
        ..Spec::new("lpop", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Finds where an element stands in a list.",
        complexity: "O(N), N elements walked",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key element RANK.rank:int? COUNT.num-matches:int? MAXLEN.len:int?",
        ..Spec::new("lpos", "6.0.6", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Puts elements before the head of a list.",
        complexity: "O(N), N elements",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key element*",
        history: &[("2.4.0", "Takes several elements.")],
        ..Spec::new("lpush", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Puts elements before the head of a list that exists.",
        complexity: "O(N), N elements",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key element*",
        history: &[("4.0.0", "Takes several elements.")],
        ..Spec::new("lpushx", "2.2.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Shows part of a list.",
        complexity: "O(S+N), S elements to the start and N shown",
        arity: Exactly(4),
        flags: flags!(READONLY),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key start:int stop:int",
        ..Spec::new("lrange", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Removes elements equal to a value.",
        complexity: "O(N+M), N elements in the list and M removed",
        arity: Exactly(4),
        flags: flags!(WRITE),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key count:int element",
        ..Spec::new("lrem", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Replaces one element of a list.",
        complexity: "O(N), N elements to walk; O(1) at both ends",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key index:int element",
        ..Spec::new("lset", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Keeps part of a list and drops the rest.",
        complexity: "O(N), N elements dropped",
        arity: Exactly(4),
        flags: flags!(WRITE),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key start:int stop:int",
        ..Spec::new("ltrim", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Takes elements from the tail of a list.",
        complexity: "O(N), N elements taken",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        syntax: "key:key count:int?^6.2.0",
        history: &[("6.2.0", "Takes a count.")],
        ..Spec::new("rpop", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Moves the tail of one list to the head of another.",
        arity: Exactly(3),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1), key(key_flags!(RW INSERT), 2)],
        syntax: "source:key destination:key@1",
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`LMOVE` from `RIGHT` to `LEFT`",
        }),
        ..Spec::new("rpoplpush", "1.2.0", Group::List, Class::AllOrNothing)
    },
    Spec {
        summary: "Puts elements behind the tail of a list.",
        complexity: "O(N), N elements",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key element*",
        history: &[("2.4.0", "Takes several elements.")],
        ..Spec::new("rpush", "1.0.0", Group::List, Class::OneSlot)
    },
    Spec {
        summary: "Puts elements behind the tail of a list that exists.",
        complexity: "O(N), N elements",
        arity: AtLeast(3),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(LIST),
        keys: &[key(key_flags!(RW INSERT), 1)],
        syntax: "key:key element*",
        history: &[("4.0.0", "Takes several elements.")],
        ..Spec::new("rpushx", "2.2.0", Group::List, Class::OneSlot)
    },
];
