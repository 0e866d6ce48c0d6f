//! Where a command's keys are, and what is done with them.

use super::bits::bits;

bits! {
    /// What a command does with the keys of one key spec, as COMMAND INFO names it.
    KeyFlags: u16 {
        /// Reads and writes the value.
        RW = 0, "RW";
        /// Only reads it.
        RO = 1, "RO";
        /// Overwrites it.
        OW = 2, "OW";
        /// Removes it.
        RM = 3, "RM";
        /// Gives the value to the client.
        ACCESS = 4, "access";
        /// Changes the value.
        UPDATE = 5, "update";
        /// Adds to the value.
        INSERT = 6, "insert";
        /// Takes from the value.
        DELETE = 7, "delete";
        /// Is no key, though it hashes to a slot as one (shard channels).
        NOT_KEY = 8, "not_key";
        /// The spec may miss keys.
        INCOMPLETE = 9, "incomplete";
        /// What is done with the key depends on other arguments.
        VARIABLE_FLAGS = 10, "variable_flags";
    }
}

/// Where some of a command's keys are: where to begin, and how to go on from there (key
/// specifications of Redis 7).
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What is done with these keys.
    pub flags: KeyFlags,
    /// Where the first is.
    pub begin: BeginSearch,
    /// Where the others are.
    pub find: FindKeys,
    /// A remark that COMMAND INFO carries, or nothing.
    pub notes: &'static str,
}

/// How the first key is found.
#[derive(Clone, Copy, Debug)]
pub enum BeginSearch {
    /// At this argument (1 is the first after the name).
    Index(usize),
    /// After this word, searched from `start_from`: from the end, backwards, if negative.
    Keyword {
        /// The word, in upper case.
        word: &'static str,
        /// Where to begin the search.
        start_from: i32,
    },
    /// Not describable: `keys.rs` knows the command.
    Unknown,
}

/// How the other keys are found, from where [`BeginSearch`] pointed.
#[derive(Clone, Copy, Debug)]
pub enum FindKeys {
    /// From the first to `last` (relative to it; -1 is the last argument, -2 the one before), every
    /// `step`-th. With `limit` 2 or more, only the first `1/limit` of what is left.
    Range {
        /// Where the last key is.
        last: i32,
        /// The distance from one key to the next.
        step: usize,
        /// 0 or 1: no limit.
        limit: usize,
    },
    /// An argument holds their number.
    KeyNum {
        /// Where the number is, from the beginning.
        count_at: usize,
        /// Where the first key is, from the beginning.
        first: usize,
        /// The distance from one key to the next.
        step: usize,
    },
    /// Not describable: `keys.rs` knows the command.
    Unknown,
}
