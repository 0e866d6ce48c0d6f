//! A node's flags: sixteen bits on the bus, words in CLUSTER NODES and nodes.conf.

use std::fmt;

/// What is said of a node (bus protocol version 1, field `flags`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NodeFlags(u16);

impl NodeFlags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// It owns slots, or may.
    pub const PRIMARY: Self = Self(1);
    /// It copies a primary.
    pub const REPLICA: Self = Self(2);
    /// The one who speaks cannot reach it.
    pub const PFAIL: Self = Self(4);
    /// The majority of the primaries cannot reach it.
    pub const FAIL: Self = Self(8);
    /// It is the one who speaks.
    pub const MYSELF: Self = Self(16);
    /// Its name is not known yet.
    pub const HANDSHAKE: Self = Self(32);
    /// Its address is not known any more.
    pub const NOADDR: Self = Self(64);
    /// It is still owed a MEET.
    pub const MEET: Self = Self(128);
    /// It is a primary to which replicas may migrate.
    pub const MIGRATE_TO: Self = Self(256);
    /// It never asks for votes.
    pub const NOFAILOVER: Self = Self(512);
    /// It reads messages for subscribers that have a light header (Valkey 8 and later). On the wire
    /// only: what a node can do is its own to say.
    pub const LIGHT_PUBLISH: Self = Self(0x800);

    /// The flags of a bus packet. Bits that we have no name for are dropped: they say what a
    /// newer peer can do, which is theirs to say and not ours to repeat.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & (0x3ff | Self::LIGHT_PUBLISH.0))
    }

    /// The bits, as the bus sends them.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether any flag of `other` is set.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Adds flags.
    pub fn insert(&mut self, other: Self) {
        *self = self.with(other);
    }

    /// Takes flags away.
    pub fn remove(&mut self, other: Self) {
        *self = self.without(other);
    }

    /// Reads the comma-separated words of nodes.conf; `None` for a word that is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').try_fold(Self::NONE, |flags, word| {
            let flag = match word {
                "noflags" => Self::NONE,
                // Valkey's own words for the roles are read too.
                "primary" => Self::PRIMARY,
                "replica" => Self::REPLICA,
                word => WORDS.iter().find(|(name, _)| *name == word)?.1,
            };
            Some(flags.with(flag))
        })
    }
}

/// The words, in the order in which servers write them.
const WORDS: [(&str, NodeFlags); 8] = [
    ("myself", NodeFlags::MYSELF),
    ("master", NodeFlags::PRIMARY),
    ("slave", NodeFlags::REPLICA),
    ("fail?", NodeFlags::PFAIL),
    ("fail", NodeFlags::FAIL),
    ("handshake", NodeFlags::HANDSHAKE),
    ("noaddr", NodeFlags::NOADDR),
    ("nofailover", NodeFlags::NOFAILOVER),
];

impl fmt::Display for NodeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (word, flag) in WORDS {
            if self.any(flag) {
                if !std::mem::take(&mut first) {
                    f.write_str(",")?;
                }
                f.write_str(word)?;
            }
        }
        if first { f.write_str("noflags") } else { Ok(()) }
    }
}

impl fmt::Debug for NodeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_written_in_the_order_of_servers_and_read_back() {
        let flags = NodeFlags::MYSELF.with(NodeFlags::REPLICA).with(NodeFlags::NOFAILOVER);
        assert_eq!(flags.to_string(), "myself,slave,nofailover");
        assert_eq!(NodeFlags::parse("myself,slave,nofailover"), Some(flags));
        assert_eq!(NodeFlags::NONE.to_string(), "noflags");
        assert_eq!(NodeFlags::parse("noflags"), Some(NodeFlags::NONE));
        assert_eq!(NodeFlags::parse("master,zombie"), None);
        // MEET and MIGRATE_TO exist on the wire only.
        assert_eq!(NodeFlags::MEET.to_string(), "noflags");
    }
}
