//! Which slots are on their way, as a primary's copy for its replicas says it: the fact
//! `cluster-slot-states` of Valkey's snapshots, in the form that valkey-server 9.1.2 writes.
//!
//! ```text
//!  9000<ID,5>ID,      9000 comes from the node ID, 5 goes to it; slots that come stand first
//! ```

use super::node::NodeId;
use super::nodes_conf::{Move, OpenSlot};
use super::slot::Slot;
use std::fmt::Write;

/// How many slots it may name: a slot either comes or goes.
const ENTRIES_MAX: usize = Slot::COUNT;
/// Bytes of the longest entry: five digits, the direction, a name, the comma.
const ENTRY_BYTES_MAX: usize = 5 + 1 + 40 + 1;

/// A text that does not say which slots are on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSlotStates {
    /// It names more than there can be.
    #[error("it names more slots than there are")]
    TooMany,
    /// An entry, counted from 0, that is none.
    #[error("entry {0} is no slot with a direction and a node")]
    Entry(usize),
}

/// The text for these slots; empty for none.
pub fn slot_states_text(open: &[OpenSlot]) -> String {
    let mut text = String::new();
    for (direction, mark) in [(Move::ImportingFrom, '<'), (Move::MigratingTo, '>')] {
        for OpenSlot { slot, peer, .. } in open.iter().filter(|open| open.direction == direction) {
            write!(text, "{slot}{mark}{peer},").expect("a string takes all that is written");
        }
    }
    text
}

/// Reads the text of a primary.
///
/// # Errors
/// It is too long, or an entry has another form: then nothing of it is to be believed.
pub fn parse_slot_states(text: &[u8]) -> Result<Vec<OpenSlot>, InvalidSlotStates> {
    if text.len() > ENTRIES_MAX * ENTRY_BYTES_MAX {
        return Err(InvalidSlotStates::TooMany);
    }
    let text = text.strip_suffix(b",").unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut open = Vec::new();
    for (index, entry) in text.split(|byte| *byte == b',').enumerate() {
        if index == ENTRIES_MAX {
            return Err(InvalidSlotStates::TooMany);
        }
        open.push(parse_entry(entry).ok_or(InvalidSlotStates::Entry(index))?);
    }
    Ok(open)
}

fn parse_entry(entry: &[u8]) -> Option<OpenSlot> {
    let at = entry.iter().position(|byte| matches!(byte, b'<' | b'>'))?;
    let (slot, peer) = (&entry[..at], &entry[at + 1..]);
    let direction = if entry[at] == b'<' { Move::ImportingFrom } else { Move::MigratingTo };
    let digits = (1..=5).contains(&slot.len()) && slot.iter().all(u8::is_ascii_digit);
    let slot = std::str::from_utf8(slot).ok().filter(|_| digits)?;
    let slot = Slot::new(slot.parse().ok()?).ok()?;
    Some(OpenSlot { slot, direction, peer: NodeId::parse(peer).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0364f9f4a3a5a1dcb3c4b49c2f0ac2a1b1a2b3c4";

    fn open(slot: u16, direction: Move) -> OpenSlot {
        let peer = NodeId::parse(ID.as_bytes()).expect("an id");
        OpenSlot { slot: Slot::new(slot).expect("a slot"), direction, peer }
    }

    #[test]
    fn the_text_is_the_one_that_valkey_writes() {
        let both = [open(5, Move::MigratingTo), open(9000, Move::ImportingFrom)];
        let text = slot_states_text(&both);
        assert_eq!(text, format!("9000<{ID},5>{ID},"));
        let read = parse_slot_states(text.as_bytes()).expect("our own");
        assert_eq!(read, [both[1], both[0]]);
        assert_eq!(slot_states_text(&[]), "");
        for nothing in ["", ","] {
            assert_eq!(parse_slot_states(nothing.as_bytes()), Ok(Vec::new()));
        }
    }

    #[test]
    fn what_is_malformed_is_refused_as_a_whole() {
        let good = format!("7>{ID},");
        let bad = [
            "7",
            "7>",
            &format!(">{ID}"),
            &format!("7={ID}"),
            &format!("-7>{ID}"),
            &format!("+7>{ID}"),
            &format!("000007>{ID}"),
            &format!("16384>{ID}"),
            &format!("7>{}", &ID[1..]),
            &format!("7>{ID}0"),
            &format!("7><{ID}"),
            &format!("7>{}", ID.to_uppercase()),
            "7>\u{e4}",
            "\0",
            ",",
        ];
        for entry in bad {
            let text = format!("{good}{entry},");
            let expected = Err(InvalidSlotStates::Entry(1));
            assert_eq!(parse_slot_states(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn all_slots_can_be_named_and_no_more() {
        let all: Vec<OpenSlot> =
            Slot::all().map(|slot| OpenSlot { slot, ..open(0, Move::ImportingFrom) }).collect();
        let text = slot_states_text(&all);
        assert_eq!(parse_slot_states(text.as_bytes()).as_deref(), Ok(all.as_slice()));
        let more = format!("{text}0<{ID},");
        assert_eq!(parse_slot_states(more.as_bytes()), Err(InvalidSlotStates::TooMany));
        let long = vec![b'7'; ENTRIES_MAX * ENTRY_BYTES_MAX + 1];
        assert_eq!(parse_slot_states(&long), Err(InvalidSlotStates::TooMany));
    }
}
