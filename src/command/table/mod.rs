//! The one table of commands: a file per group, put together here at compile time.
//!
//! The facts (arity, flags, key specs, tips, arguments) are those of Redis 7.2, which is the
//! version we identify as; `tests/it` asks real servers whether they still hold. What came with
//! Valkey 8 and 9 is marked by its `since`: a node that lacks a command leaves it out of its
//! replies, the proxy routes it to those that have it.

use super::key_spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use super::spec::Spec;

/// A set of flags from their names.
macro_rules! flags {
    ($($flag:ident)*) => { $crate::command::Flags::NONE$(.union($crate::command::Flags::$flag))* };
}

/// A set of ACL categories from their names.
macro_rules! categories {
    ($($name:ident)*) => {
        $crate::command::Categories::NONE$(.union($crate::command::Categories::$name))*
    };
}

/// A set of key flags from their names.
macro_rules! key_flags {
    ($($flag:ident)*) => {
        $crate::command::KeyFlags::NONE$(.union($crate::command::KeyFlags::$flag))*
    };
}

mod acl;
mod bitmaps;
mod cluster;
mod connection;
mod geo;
mod hashes;
mod hyperloglogs;
mod introspection;
mod keys;
mod lists;
mod pubsub;
mod scripting;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod transactions;

/// The groups' tables, each sorted by command, with subcommands right after their container.
const GROUPS: [&[Spec]; 18] = [
    acl::COMMANDS,
    bitmaps::COMMANDS,
    cluster::COMMANDS,
    connection::COMMANDS,
    geo::COMMANDS,
    hashes::COMMANDS,
    hyperloglogs::COMMANDS,
    introspection::COMMANDS,
    keys::COMMANDS,
    lists::COMMANDS,
    pubsub::COMMANDS,
    scripting::COMMANDS,
    server::COMMANDS,
    sets::COMMANDS,
    sorted_sets::COMMANDS,
    streams::COMMANDS,
    strings::COMMANDS,
    transactions::COMMANDS,
];

/// How many commands and subcommands there are: one more than the largest [`Spec::id`].
pub const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// Every command, sorted by name, each container right before its subcommands.
pub(super) static ALL: [Spec; COUNT] = merge();

/// One key, at `index`.
const fn key(flags: KeyFlags, index: usize) -> KeySpec {
    keys(flags, index, 0, 1)
}

/// Keys from `index` on: to the one at `last` (relative, or from the end if negative), every
/// `step`-th.
const fn keys(flags: KeyFlags, index: usize, last: i32, step: usize) -> KeySpec {
    KeySpec {
        flags,
        begin: BeginSearch::Index(index),
        find: FindKeys::Range { last, step, limit: 0 },
        notes: "",
    }
}

/// As many keys as the argument at `index` says, right behind it, every `step`-th.
const fn counted(flags: KeyFlags, index: usize, step: usize) -> KeySpec {
    KeySpec {
        flags,
        begin: BeginSearch::Index(index),
        find: FindKeys::KeyNum { count_at: 0, first: 1, step },
        notes: "",
    }
}

/// Keys after a word: to the one at `last`; with `limit` 2, the first half of what follows.
const fn after(
    flags: KeyFlags,
    word: &'static str,
    start_from: i32,
    last: i32,
    limit: usize,
) -> KeySpec {
    KeySpec {
        flags,
        begin: BeginSearch::Keyword { word, start_from },
        find: FindKeys::Range { last, step: 1, limit },
        notes: "",
    }
}

/// Keys that no rule describes; `keys.rs` finds those that can be found.
const fn elsewhere(flags: KeyFlags) -> KeySpec {
    KeySpec { flags, begin: BeginSearch::Unknown, find: FindKeys::Unknown, notes: "" }
}

/// The same with a remark.
const fn noted(spec: KeySpec, notes: &'static str) -> KeySpec {
    KeySpec { notes, ..spec }
}

/// Merges the sorted groups into one sorted table, and numbers what is in it. Evaluated by the
/// compiler: a table that is out of order does not compile.
const fn merge() -> [Spec; COUNT] {
    let mut all = [GROUPS[0][0]; COUNT];
    let mut taken = [0; GROUPS.len()];
    let mut at = 0;
    while at < COUNT {
        let mut least = usize::MAX;
        let mut group = 0;
        while group < GROUPS.len() {
            if taken[group] < GROUPS[group].len()
                && (least == usize::MAX
                    || before(GROUPS[group][taken[group]].name, GROUPS[least][taken[least]].name))
            {
                least = group;
            }
            group += 1;
        }
        let container = at;
        all[at] = GROUPS[least][taken[least]];
        all[at].id = at as u16;
        assert!(at == 0 || before(all[at - 1].name, all[at].name), "the table is sorted");
        taken[least] += 1;
        at += 1;
        while taken[least] < GROUPS[least].len()
            && belongs_to(GROUPS[least][taken[least]].name, all[container].name)
        {
            all[at] = GROUPS[least][taken[least]];
            all[at].id = at as u16;
            assert!(before(all[at - 1].name, all[at].name), "the table is sorted");
            taken[least] += 1;
            at += 1;
        }
        all[container].subcommand_count = (at - container - 1) as u16;
    }
    all
}

/// Whether `name` comes before `other`. `|` comes before every letter here, so that nothing gets
/// between a container and its subcommands.
const fn before(name: &str, other: &str) -> bool {
    let (name, other) = (name.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < name.len() && at < other.len() {
        let (a, b) = (rank(name[at]), rank(other[at]));
        if a != b {
            return a < b;
        }
        at += 1;
    }
    name.len() < other.len()
}

const fn rank(byte: u8) -> u8 {
    if byte == b'|' { 0 } else { byte }
}

/// Whether `name` is a subcommand of `container`.
const fn belongs_to(name: &str, container: &str) -> bool {
    let (name, container) = (name.as_bytes(), container.as_bytes());
    if name.len() <= container.len() || name[container.len()] != b'|' {
        return false;
    }
    let mut at = 0;
    while at < container.len() {
        if name[at] != container[at] {
            return false;
        }
        at += 1;
    }
    true
}
