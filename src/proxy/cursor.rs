//! SCAN over a cluster: a decimal cursor below 2^63 that says where a walk over all shards stands.
//!
//! ```text
//! bit 62      53      39             0
//!     | tag 9 | slot 14 | node's cursor 40 |
//! ```
//!
//! Shards are walked in the order of their lowest slots, and the slot says which one is being
//! walked. The tag names the node, and how often it was lost, that gave the cursor: a cursor means
//! nothing to another node or to the same one after a restart, so the shard starts again from 0
//! when the tag differs. Keys may come twice, as SCAN allows. A slot that moves from a shard not
//! yet walked to one already walked, during the walk, is not walked again yet.

use crate::cluster::Slot;
use crate::resp::parse_i64;

/// Bits of a node's own cursor: Redis 7 needs as many as its table has, Valkey 8 puts a slot of
/// 14 bits below them.
const NODE_BITS: u32 = 40;
const SLOT_BITS: u32 = 14;
const TAG_BITS: u32 = 9;

/// Where a walk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    shard: Slot,
    tag: u16,
    node_cursor: u64,
    /// The shard after this one, if there is one: set when its turn comes.
    next: Option<(Slot, u16)>,
    finished: bool,
}

/// What a client's cursor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The lowest slot of the shard being walked, at the time.
    pub shard: Slot,
    /// Which node and run of it gave the cursor.
    pub tag: u16,
    /// Its own cursor.
    pub node_cursor: u64,
}

impl Cursor {
    /// Reads a client's cursor. None if it is not a number, or one that no SCAN gave.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let number = parse_i64(text).and_then(|n| u64::try_from(n).ok())?;
        if number >> (NODE_BITS + SLOT_BITS + TAG_BITS) != 0 {
            return None;
        }
        let shard = (number >> NODE_BITS) as u16 & (Slot::COUNT as u16 - 1);
        Some(Self {
            shard: Slot::new(shard).ok()?,
            tag: (number >> (NODE_BITS + SLOT_BITS)) as u16,
            node_cursor: number & ((1 << NODE_BITS) - 1),
        })
    }
}

/// The tag of a node that has been lost `losses` times.
pub(super) fn tag(endpoint: &crate::cluster::Endpoint, losses: u32) -> u16 {
    let text = format!("{endpoint}#{losses}");
    // Any spread does: two nodes with one tag cost a page from the wrong place, at 1 in 512, and
    // only after a failover in mid-walk. Zero is left to the walk's start.
    1 + crc16::State::<crc16::XMODEM>::calculate(text.as_bytes()) % ((1 << TAG_BITS) - 1)
}

impl Position {
    /// A walk that goes on at `cursor` of the shard whose lowest slot is `shard`, on the node with
    /// this tag.
    pub(super) fn new(shard: Slot, tag: u16, node_cursor: u64) -> Self {
        Self { shard, tag, node_cursor, next: None, finished: false }
    }

    /// The shard being walked.
    #[cfg(test)]
    pub(super) fn shard(&self) -> Slot {
        self.shard
    }

    /// What the node is asked with.
    pub(super) fn node_cursor(&self) -> u64 {
        self.node_cursor
    }

    /// The shard that is walked after this one, and its node's tag.
    pub(super) fn set_next(&mut self, next: Option<(Slot, u16)>) {
        self.next = next;
    }

    /// The node has given its next cursor. None if that is no cursor we can carry.
    pub(super) fn answered(&mut self, cursor: &[u8]) -> Option<()> {
        let cursor = parse_i64(cursor).and_then(|n| u64::try_from(n).ok())?;
        if cursor >> NODE_BITS != 0 {
            return None;
        }
        self.node_cursor = cursor;
        if cursor == 0 {
            match self.next.take() {
                Some((shard, tag)) => (self.shard, self.tag) = (shard, tag),
                None => self.finished = true,
            }
        }
        Some(())
    }

    /// What the client goes on with; 0 at the end.
    pub(super) fn client_cursor(&self) -> u64 {
        if self.finished {
            return 0;
        }
        u64::from(self.tag) << (NODE_BITS + SLOT_BITS)
            | u64::from(self.shard.number()) << NODE_BITS
            | self.node_cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Endpoint;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("in range")
    }

    #[test]
    fn a_walk_passes_every_shard_and_ends_with_zero() {
        let mut position = Position::new(slot(0), 7, 0);
        position.answered(b"1234").expect("a cursor");
        let text = position.client_cursor().to_string();
        let cursor = Cursor::parse(text.as_bytes()).expect("ours");
        assert_eq!(cursor, Cursor { shard: slot(0), tag: 7, node_cursor: 1234 });

        let mut position = Position::new(cursor.shard, cursor.tag, cursor.node_cursor);
        position.set_next(Some((slot(16_383), 511)));
        position.answered(b"0").expect("a cursor");
        let number = position.client_cursor();
        assert!(number > 0 && number < 1 << 63);
        let cursor = Cursor::parse(number.to_string().as_bytes()).expect("ours");
        assert_eq!(cursor, Cursor { shard: slot(16_383), tag: 511, node_cursor: 0 });

        let mut position = Position::new(cursor.shard, cursor.tag, cursor.node_cursor);
        position.answered(b"0").expect("a cursor");
        assert_eq!(position.client_cursor(), 0);
    }

    #[test]
    fn what_no_scan_gave_is_no_cursor() {
        for text in ["", "x", "-1", "1.5", "9223372036854775808", "18446744073709551615"] {
            assert_eq!(Cursor::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn another_node_or_another_run_has_another_tag() {
        let a = Endpoint::new("127.0.0.1", 7000);
        let b = Endpoint::new("127.0.0.1", 7001);
        assert_ne!(tag(&a, 0), tag(&b, 0));
        assert_ne!(tag(&a, 0), tag(&a, 1));
        assert!((1..512).contains(&tag(&a, 0)));
    }
}
