//! SCAN over a cluster: a decimal cursor below 2^63 that says where a walk over all nodes stands.
//!
//! ```text
//! bit 62       52      51     37             0
//!     | began 10 | again 1 | slot 14 | node's cursor 38 |
//! ```
//!
//! The slot names the node that is being visited, and the rest says which round of the walk it is
//! ([`super::walks`]). A cursor means nothing to another node, or to the same one after a restart.
//! A slot that has changed since the round began, in either way, is no place to go on from: the
//! round goes on with the next node from its beginning, and the one that was left is visited again
//! in another round.

use super::walks::{Began, HORIZON};
use crate::cluster::{Slot, ViewNode};
use crate::resp::parse_i64;

/// Bits of a node's own cursor: Redis 7 needs as many as its table has, Valkey 8 puts a slot of
/// 14 bits below them.
const NODE_BITS: u32 = 38;
const SLOT_BITS: u32 = 14;
const AGAIN_BIT: u32 = NODE_BITS + SLOT_BITS;
const BEGAN_BITS: u32 = 10;

/// A page of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The round it belongs to.
    pub began: Began,
    /// The node being visited; none when a round has nobody left to visit.
    page: Option<(Slot, u64)>,
    /// Whom the round visits after this one.
    next: Option<Slot>,
    goes_on: bool,
    /// How many keys the client asks for at a time.
    count: u64,
    /// How many nodes more may be asked for this page.
    nodes: u32,
    /// What the nodes have told of themselves at the end of the round.
    pub told: Vec<ViewNode>,
}

/// What a client's cursor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// When the round began, as a remainder of [`HORIZON`].
    pub began: u64,
    /// Whether it follows another.
    pub again: bool,
    /// The slot that names the node being visited.
    pub slot: Slot,
    /// Its own cursor.
    pub node_cursor: u64,
}

impl Cursor {
    /// Reads a client's cursor: none within for a walk that begins, as it does at 0 and at small
    /// numbers that no SCAN gave. No cursor at all if it is not a number.
    pub(super) fn parse(text: &[u8]) -> Option<Option<Self>> {
        let number = parse_i64(text).and_then(|n| u64::try_from(n).ok())?;
        let Some(began) = (number >> (AGAIN_BIT + 1)).checked_sub(1) else { return Some(None) };
        let slot = (number >> NODE_BITS) as u16 & (Slot::COUNT as u16 - 1);
        Some(Some(Self {
            began,
            again: number >> AGAIN_BIT & 1 == 1,
            slot: Slot::new(slot).ok()?,
            node_cursor: number & ((1 << NODE_BITS) - 1),
        }))
    }
}

impl Position {
    /// A page of a round that visits `stops`, in this order, when the client has come to `cursor`.
    pub(super) fn new(began: Began, stops: &[Slot], cursor: Option<&Cursor>) -> Self {
        let at = match cursor {
            Some(cursor) => stops.iter().position(|slot| *slot <= cursor.slot),
            None => (!stops.is_empty()).then_some(0),
        };
        let page = at.map(|at| {
            let same = cursor.filter(|cursor| cursor.slot == stops[at]);
            (stops[at], same.map_or(0, |cursor| cursor.node_cursor))
        });
        let next = at.and_then(|at| stops.get(at + 1).copied());
        let goes_on = page.is_some();
        Self { began, page, next, goes_on, count: COUNT, nodes: NODES, told: Vec::new() }
    }

    /// The client has said how many keys it asks for at a time.
    pub(super) fn with_count(self, count: Option<u64>) -> Self {
        Self { count: count.unwrap_or(COUNT), ..self }
    }

    /// The next node, where the one that was asked has no more keys and `given` are fewer than the
    /// client asks for. Not the whole round: who has a node's worth of keys gets them at once.
    pub(super) fn goes_to(&mut self, given: u64) -> Option<Slot> {
        let (slot, _) = self.page.filter(|(_, cursor)| *cursor == 0 && self.goes_on)?;
        if given >= self.count || self.nodes == 0 {
            return None;
        }
        self.nodes -= 1;
        // Whom to visit then was taken with the answer.
        Some(slot)
    }

    /// The nodes that the round visits after the one at hand.
    pub(super) fn visits_then(&mut self, stops: &[Slot]) {
        // Not what follows its own place among them: its slot may have changed since it was asked, and
        // then it has none.
        let below = |page: Slot| stops.iter().copied().find(|stop| *stop < page);
        self.next = self.page.and_then(|(page, _)| below(page));
    }

    /// The node that is asked for its page.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.page.map(|(slot, _)| slot)
    }

    /// Whether this part of the request is the node's page. All others are asked what they know.
    pub(super) fn is_page(&self, part: usize) -> bool {
        part == 0 && self.page.is_some()
    }

    /// What it is asked with.
    pub(super) fn node_cursor(&self) -> u64 {
        self.page.map_or(0, |(_, cursor)| cursor)
    }

    /// The node has given its next cursor. None if that is no cursor we can carry.
    pub(super) fn answered(&mut self, cursor: &[u8]) -> Option<()> {
        let cursor = parse_i64(cursor).and_then(|n| u64::try_from(n).ok())?;
        if cursor >> NODE_BITS != 0 {
            return None;
        }
        let (slot, _) = self.page?;
        self.page = match (cursor, self.next.take()) {
            (0, Some(next)) => Some((next, 0)),
            (0, None) => {
                self.goes_on = false;
                Some((slot, 0))
            }
            (cursor, _) => Some((slot, cursor)),
        };
        Some(())
    }

    /// Whether the round has visited everyone.
    pub(super) fn is_round_over(&self) -> bool {
        !self.goes_on
    }

    /// Another round follows: from its beginning.
    pub(super) fn go_on(&mut self, began: Began) {
        self.began = began;
        self.page = Some((Slot::new(Slot::COUNT as u16 - 1).expect("the last"), 0));
        self.goes_on = true;
    }

    /// What the client goes on with; 0 at the end.
    pub(super) fn client_cursor(&self) -> u64 {
        let Some((slot, cursor)) = self.page.filter(|_| self.goes_on) else { return 0 };
        // Never 0, which would be the end.
        (self.began.at % HORIZON + 1) << (AGAIN_BIT + 1)
            | u64::from(self.began.again) << AGAIN_BIT
            | u64::from(slot.number()) << NODE_BITS
            | cursor
    }
}

/// Keys that a SCAN asks for which does not say how many.
const COUNT: u64 = 10;

/// Nodes that one SCAN asks after the first, while there are not enough keys.
const NODES: u32 = 15;

const _: () = assert!(HORIZON < 1 << BEGAN_BITS && AGAIN_BIT + 1 + BEGAN_BITS == 63);

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("in range")
    }

    fn read(number: u64) -> Cursor {
        assert!(number > 0 && number < 1 << 63, "{number}");
        Cursor::parse(number.to_string().as_bytes()).expect("a cursor").expect("not the end")
    }

    #[test]
    fn a_walk_passes_every_node_and_ends_with_zero() {
        for at in [0, 1022, 1023, 53_125_000] {
            let began = Began { at, again: at == 1022 };
            let stops = [slot(16_383), slot(0)];
            let mut position = Position::new(began, &stops, None);
            assert_eq!((position.slot(), position.node_cursor()), (Some(stops[0]), 0));
            position.answered(b"1234").expect("a cursor");
            let cursor = read(position.client_cursor());
            let (began_at, again) = (at % HORIZON, began.again);
            let expected = Cursor { began: began_at, again, slot: stops[0], node_cursor: 1234 };
            assert_eq!(cursor, expected);

            let mut position = Position::new(began, &stops, Some(&cursor));
            position.answered(b"0").expect("a cursor");
            let cursor = read(position.client_cursor());
            assert_eq!((cursor.slot, cursor.node_cursor), (stops[1], 0));

            let mut position = Position::new(began, &stops, Some(&cursor));
            assert!(!position.is_round_over());
            position.answered(b"0").expect("a cursor");
            assert!(position.is_round_over());
            assert_eq!(position.client_cursor(), 0);
            let next = Began { at: at + 1, again: true };
            position.go_on(next);
            let cursor = read(position.client_cursor());
            assert_eq!(Position::new(next, &stops, Some(&cursor)).slot(), Some(stops[0]));
        }
    }

    #[test]
    fn a_node_whose_slot_has_changed_is_left_for_the_next() {
        let began = Began { at: 7, again: false };
        let cursor = Cursor { began: 7, again: false, slot: slot(9_000), node_cursor: 77 };
        let go_on = |stops: &[Slot]| {
            let position = Position::new(began, stops, Some(&cursor));
            (position.slot(), position.node_cursor(), position.is_round_over())
        };
        assert_eq!(go_on(&[slot(16_000), slot(9_000)]), (Some(slot(9_000)), 77, false));
        assert_eq!(go_on(&[slot(16_000), slot(8_999)]), (Some(slot(8_999)), 0, false));
        assert_eq!(go_on(&[slot(16_000)]), (None, 0, true));
        assert_eq!(go_on(&[]), (None, 0, true));
    }

    #[test]
    fn what_no_scan_gave_is_no_cursor() {
        for text in ["", "x", "-1", "1.5", "9223372036854775808", "18446744073709551615"] {
            assert_eq!(Cursor::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Cursor::parse(b"0"), Some(None));
        assert_eq!(Cursor::parse(b"1234"), Some(None));
    }

    #[test]
    fn a_nodes_cursor_that_does_not_fit_is_refused() {
        let mut position = Position::new(Began { at: 7, again: false }, &[slot(1)], None);
        let most = (1_u64 << NODE_BITS) - 1;
        assert_eq!(position.answered(most.to_string().as_bytes()), Some(()));
        assert_eq!(read(position.client_cursor()).node_cursor, most);
        assert_eq!(position.answered((most + 1).to_string().as_bytes()), None);
    }
}
