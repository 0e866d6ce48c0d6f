//! What a reshard was going to do, on disk while it does it: so that the same command, given
//! again after the tool was killed, finishes those moves and not as many again.
//!
//! A file per destination in `$XDG_STATE_HOME/keyway` (or `~/.local/state/keyway`). It is a help
//! and not a need: where it cannot be written, `fix` still finishes what is open.

use crate::admin::plan::Move;
use crate::clock::Now;
use crate::cluster::{NodeId, Slot};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

/// After a day, the same command is a new wish.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A file of ours is far smaller: 16,384 moves of under 120 bytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One reshard that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// The nodes that were to give.
    pub(super) from: Vec<NodeId>,
    /// The node that was to get.
    pub(super) to: NodeId,
    /// All moves of its plan.
    pub(super) moves: Vec<Move>,
}

impl Journal {
    fn path(to: NodeId) -> Option<PathBuf> {
        let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let state = folder("XDG_STATE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".local").join("state")))?;
        Some(state.join("keyway").join(format!("reshard-{to}.json")))
    }

    /// What was begun for this destination, if it was the same wish and not long ago.
    pub(super) fn find(from: &[NodeId], to: NodeId, slots: usize) -> Option<Self> {
        let path = Self::path(to)?;
        if fs::metadata(&path).ok()?.len() > BYTES_MAX {
            return None;
        }
        let journal = Self::parse(&fs::read_to_string(path).ok()?, Now::read().unix_ms)?;
        let same = journal.from == from && journal.to == to && journal.moves.len() == slots;
        same.then_some(journal)
    }

    /// Writes it down, whole or not at all.
    pub(super) fn save(&self) -> io::Result<()> {
        let Some(path) = Self::path(self.to) else { return Ok(()) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = path.with_extension("part");
        fs::write(&part, self.text(Now::read().unix_ms))?;
        fs::rename(part, path)
    }

    /// The reshard is done.
    pub(super) fn remove(&self) {
        if let Some(path) = Self::path(self.to)
            && let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the journal stays");
        }
    }

    fn text(&self, unix_ms: u64) -> String {
        let ids: Vec<&str> = self.from.iter().map(NodeId::as_str).collect();
        let moves: Vec<Value> =
            self.moves.iter().map(|m| json!([m.slot.number(), m.from.as_str()])).collect();
        json!({"begun_unix_ms": unix_ms, "from": ids, "to": self.to.as_str(), "moves": moves})
            .to_string()
    }

    fn parse(text: &str, unix_ms: u64) -> Option<Self> {
        let document: Value = serde_json::from_str(text).ok()?;
        let begun = document["begun_unix_ms"].as_u64()?;
        if Duration::from_millis(unix_ms.saturating_sub(begun)) > AGE_MAX {
            return None;
        }
        let id = |value: &Value| NodeId::parse(value.as_str()?.as_bytes()).ok();
        let to = id(&document["to"])?;
        let from: Option<Vec<NodeId>> = document["from"].as_array()?.iter().map(id).collect();
        let slot_move = |value: &Value| {
            let slot = Slot::new(u16::try_from(value[0].as_u64()?).ok()?).ok()?;
            Some(Move { slot, from: id(&value[1])?, to })
        };
        let moves: Option<Vec<Move>> =
            document["moves"].as_array()?.iter().map(slot_move).collect();
        Some(Self { from: from?, to, moves: moves? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::snapshot::tests::id;

    #[test]
    fn a_journal_is_read_as_it_was_written_until_it_is_a_day_old() {
        let slot = |n| Slot::new(n).expect("in range");
        let moves = [5, 7].map(|n| Move { slot: slot(n), from: id(1), to: id(3) });
        let journal = Journal { from: vec![id(1), id(2)], to: id(3), moves: moves.to_vec() };
        let text = journal.text(1_000);
        let day = AGE_MAX.as_millis() as u64;
        assert_eq!(Journal::parse(&text, 1_000 + day), Some(journal));
        assert_eq!(Journal::parse(&text, 1_001 + day), None);
        assert_eq!(Journal::parse(&text[..text.len() / 2], 1_000), None);
    }
}
