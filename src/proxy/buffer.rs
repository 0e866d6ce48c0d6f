//! Buffers that are lent, not owned: an idle connection holds none, and a busy one reuses what
//! another has just given back.

use std::collections::VecDeque;

/// Bytes of a lent buffer, and of one chunk of output.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// Free buffers of one worker.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    free: Vec<Vec<u8>>,
}

/// How many free buffers a worker keeps: 4 MiB.
const FREE_MAX: usize = 256;

impl BufferPool {
    /// An empty buffer of at least [`BUFFER_BYTES`].
    #[inline]
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Gives a buffer back. One that grew is let go.
    #[inline]
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let ordinary = (BUFFER_BYTES..=4 * BUFFER_BYTES).contains(&buffer.capacity());
        if ordinary && self.free.len() < FREE_MAX {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}

/// Bytes on their way to a socket, in chunks: a large backlog never has to be copied to grow.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// What goes out next, from `at` on.
    front: Vec<u8>,
    at: usize,
    rest: VecDeque<Vec<u8>>,
    len: usize,
}

/// A chunk is not filled beyond this, unless one piece alone is longer.
const CHUNK_BYTES: usize = 64 * 1024;

impl Output {
    /// Bytes waiting.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        if self.rest.is_empty() && self.front.len() + bytes.len() <= CHUNK_BYTES {
            if self.front.capacity() == 0 {
                self.front = pool.take();
            }
            self.front.extend_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.append_chunk(bytes, pool);
        }
    }

    #[cold]
    fn append_chunk(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        self.len += bytes.len();
        if self.front.is_empty() {
            // One long piece: exactly its size, and no doubling later.
            self.release_front(pool);
            self.front = bytes.to_vec();
            return;
        }
        match self.rest.back_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK_BYTES => last.extend_from_slice(bytes),
            _ => {
                let mut chunk = if bytes.len() <= BUFFER_BYTES {
                    pool.take()
                } else {
                    Vec::with_capacity(bytes.len())
                };
                chunk.extend_from_slice(bytes);
                self.rest.push_back(chunk);
            }
        }
    }

    /// Appends a whole buffer without copying it.
    pub(super) fn append_owned(&mut self, bytes: Vec<u8>, pool: &mut BufferPool) {
        self.len += bytes.len();
        if self.front.is_empty() {
            self.release_front(pool);
            self.front = bytes;
        } else {
            self.rest.push_back(bytes);
        }
    }

    /// What can be written next.
    #[inline]
    pub(super) fn next_slice(&self) -> &[u8] {
        &self.front[self.at..]
    }

    /// `count` bytes of [`Output::next_slice`] were written.
    #[inline]
    pub(super) fn consume(&mut self, count: usize, pool: &mut BufferPool) {
        self.at += count;
        self.len -= count;
        if self.at == self.front.len() {
            self.release_front(pool);
            if let Some(next) = self.rest.pop_front() {
                self.front = next;
            }
        }
    }

    fn release_front(&mut self, pool: &mut BufferPool) {
        self.at = 0;
        if self.front.capacity() > 0 {
            pool.give(std::mem::take(&mut self.front));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_whatever_the_sizes() {
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        let mut expected = Vec::new();
        for (i, size) in [1, 70_000, 10, 65_536, 3, 200_000, 0, 9].into_iter().enumerate() {
            let piece = vec![i as u8; size];
            expected.extend_from_slice(&piece);
            if i % 3 == 2 {
                output.append_owned(piece, &mut pool);
            } else {
                output.append(&piece, &mut pool);
            }
        }
        assert_eq!(output.len(), expected.len());
        let mut written = Vec::new();
        while !output.is_empty() {
            let slice = output.next_slice();
            let count = slice.len().min(777);
            written.extend_from_slice(&slice[..count]);
            output.consume(count, &mut pool);
        }
        assert_eq!(written, expected);
    }

    #[test]
    fn an_empty_output_holds_no_buffer() {
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        output.append(b"+OK\r\n", &mut pool);
        output.consume(5, &mut pool);
        assert_eq!(output.front.capacity(), 0);
        assert_eq!(pool.free.len(), 1, "it was given back");
    }
}
