//! The recent bytes of the stream: for those who lost their link for a moment, and for those who
//! are behind.
//!
//! It is one queue of blocks that everyone reads from their own place, so that a slow replica costs
//! the bytes that it has not taken and not a copy of them per replica. `size` of them are always
//! kept; what is older goes when nobody needs it.

use super::id::Offset;
use std::collections::VecDeque;

/// Bytes of a block: one is freed at a time, and one read hands out at most so much.
const BLOCK_BYTES: usize = 64 * 1024;

/// The recent bytes of a stream.
#[derive(Debug)]
pub struct Backlog {
    /// The offset before the first byte of the first block.
    base: Offset,
    blocks: VecDeque<Vec<u8>>,
    /// The offset of the stream's end.
    end: Offset,
    /// The first offset from which it may be read: those before are kept by chance only.
    start: Offset,
    size: usize,
}

impl Backlog {
    /// An empty one: `size` bytes of what follows `offset` will be kept.
    pub fn new(offset: Offset, size: usize) -> Self {
        Self { base: offset, blocks: VecDeque::new(), end: offset, start: offset, size }
    }

    /// The offset of the stream's end.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The offset from which on bytes are at hand.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// How many bytes it offers to those who come back.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it offers nothing.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Bytes of memory that it takes.
    pub fn heap_bytes(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }

    /// How many bytes it keeps at least.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Keeps so many bytes from here on.
    pub fn set_size(&mut self, size: usize) {
        self.size = size;
    }

    /// Whether whoever has everything up to `offset` can go on from here.
    pub fn reaches(&self, offset: Offset) -> bool {
        (self.start..=self.end).contains(&offset)
    }

    /// The stream goes on. Call [`Backlog::trim`] now and then.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.blocks.back().map_or(0, |block| BLOCK_BYTES - block.len());
            if room == 0 {
                self.blocks.push_back(Vec::with_capacity(BLOCK_BYTES.min(self.first_block())));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.blocks.back_mut().expect("it has room").extend_from_slice(now);
            bytes = later;
        }
    }

    /// A quiet stream does not take a whole block from the start.
    fn first_block(&self) -> usize {
        if self.blocks.is_empty() { 4096 } else { BLOCK_BYTES }
    }

    /// Some of the bytes after `offset`: none at the end of the stream.
    ///
    /// # Panics
    /// They are not at hand: who reads keeps them from being trimmed.
    pub fn read(&self, offset: Offset) -> &[u8] {
        let at = offset.checked_sub(self.base).expect("what is being read is kept") as usize;
        let Some(block) = self.blocks.get(at / BLOCK_BYTES) else { return &[] };
        &block[at % BLOCK_BYTES..]
    }

    /// Drops what nobody needs any more: all but the last `size` bytes, and but those after
    /// `needed`, the place of the slowest reader.
    pub fn trim(&mut self, needed: Option<Offset>) {
        let recent = self.end.saturating_sub(self.size as u64);
        let keep = needed.map_or(recent, |needed| needed.min(recent));
        while self.blocks.len() > 1 && self.base + BLOCK_BYTES as u64 <= keep {
            self.base += BLOCK_BYTES as u64;
            self.blocks.pop_front();
        }
        // What a slow reader keeps alive serves those who come back as well.
        self.start = self.start.max(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all_after(backlog: &Backlog, mut offset: Offset) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = backlog.read(offset);
            if more.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(more);
            offset += more.len() as u64;
        }
    }

    #[test]
    fn a_small_backlog_keeps_the_last_bytes_and_what_a_reader_needs() {
        let mut backlog = Backlog::new(1000, 10);
        assert!(backlog.reaches(1000) && backlog.is_empty());
        backlog.push(&[1; 300_000]);
        backlog.trim(Some(1005));
        assert!(!backlog.reaches(1004) && backlog.reaches(1005));
        backlog.trim(None);
        assert_eq!((backlog.start(), backlog.end(), backlog.len()), (300_990, 301_000, 10));
        assert!(!backlog.reaches(300_989) && backlog.reaches(301_000));
        assert!(!backlog.reaches(301_001));
        assert!(backlog.heap_bytes() <= 2 * BLOCK_BYTES, "{}", backlog.heap_bytes());
    }

    proptest! {
        #[test]
        fn what_is_at_hand_is_what_was_pushed(
            pushes in proptest::collection::vec((0..100_000_usize, any::<u8>()), 1..12),
            size in 1..200_000_usize,
        ) {
            let mut backlog = Backlog::new(7, size);
            let mut pushed = Vec::new();
            for (len, byte) in pushes {
                let bytes = vec![byte; len];
                backlog.push(&bytes);
                pushed.extend_from_slice(&bytes);
                backlog.trim(None);
                let kept = pushed.len().min(size);
                prop_assert_eq!(backlog.len(), kept);
                let expected = &pushed[pushed.len() - kept..];
                prop_assert!(all_after(&backlog, backlog.start()) == expected);
            }
        }
    }
}
