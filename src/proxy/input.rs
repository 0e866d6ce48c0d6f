//! The bytes a client has sent, kept until they are answered: what is sent again after a redirect
//! is what the client sent, byte for byte, and nothing is copied to keep it.

use super::buffer::BufferPool;

/// A window onto a client's stream: from the first byte that is still needed to the last read.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// The place in the stream of `bytes[0]`.
    base: u64,
    /// The bytes before this one are no longer needed.
    start: usize,
    /// The bytes before this one have been decoded.
    decoded: usize,
}

impl Input {
    /// Bytes held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The bytes that have not been decoded.
    #[inline]
    pub(super) fn undecoded(&self) -> &[u8] {
        &self.bytes[self.decoded..]
    }

    /// The place in the stream of the first undecoded byte.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.base + self.decoded as u64
    }

    /// The first `count` undecoded bytes have been decoded.
    #[inline]
    pub(super) fn advance(&mut self, count: usize) {
        self.decoded += count;
    }

    /// `len` bytes from place `at` of the stream.
    #[inline]
    pub(super) fn slice(&self, at: u64, len: u32) -> &[u8] {
        let from = (at - self.base) as usize;
        &self.bytes[from..from + len as usize]
    }

    /// Nothing before place `at` of the stream is needed any more.
    #[inline]
    pub(super) fn release(&mut self, at: u64) {
        self.start = (at - self.base) as usize;
    }

    /// Everything decoded is answered: gives the buffer back if little or nothing else is in it, so that
    /// a client that is slow to finish a request holds no more than what it has sent.
    #[inline]
    pub(super) fn release_decoded(&mut self, pool: &mut BufferPool) {
        self.start = self.decoded;
        let rest = self.len();
        if rest <= REST_MAX && self.bytes.capacity() > REST_MAX {
            let small = self.bytes[self.start..].to_vec();
            pool.give(self.replace(small));
        }
    }

    /// Holds what is needed in another buffer, in which it lies already; returns the former one.
    fn replace(&mut self, holding_the_rest: Vec<u8>) -> Vec<u8> {
        self.base += self.start as u64;
        self.decoded -= self.start;
        self.start = 0;
        std::mem::replace(&mut self.bytes, holding_the_rest)
    }

    /// The buffer to read into, with room at its end. `wanted` is how many undecoded bytes are
    /// needed before decoding can go on, or 0.
    #[inline]
    pub(super) fn buffer(&mut self, wanted: usize, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.bytes.capacity() <= REST_MAX {
            let mut roomy = pool.take();
            roomy.extend_from_slice(&self.bytes[self.start..]);
            self.replace(roomy);
        }
        if self.bytes.capacity() - self.bytes.len() < ROOM_MIN {
            self.make_room();
        }
        let missing = (self.decoded + wanted).saturating_sub(self.bytes.len());
        // Half at a time: a claimed length is believed as far as bytes have followed it.
        let room = missing.min(self.bytes.len().max(ROOM_MAX));
        if room > self.bytes.capacity() - self.bytes.len() {
            self.make_room();
            self.bytes.reserve_exact(room);
        }
        &mut self.bytes
    }

    #[cold]
    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.base += self.start as u64;
            self.decoded -= self.start;
            self.start = 0;
        }
        if self.bytes.capacity() - self.bytes.len() < ROOM_MIN {
            self.bytes.reserve(ROOM_MAX);
        }
    }
}

/// What a client may have begun to send and still be given no buffer of its own between its reads.
const REST_MAX: usize = 512;
/// A read wants at least so much room.
const ROOM_MIN: usize = 2 * 1024;
/// What is added when there is less.
const ROOM_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_slowly_holds_what_has_come() {
        let mut pool = BufferPool::default();
        let mut input = Input::default();
        input.buffer(0, &mut pool).extend_from_slice(b"answered");
        input.advance(8);
        for (number, byte) in (b'a'..=b'z').cycle().take(400).enumerate() {
            input.buffer(0, &mut pool).push(byte);
            assert_eq!((input.undecoded().len(), input.position()), (number + 1, 8));
            input.release_decoded(&mut pool);
            assert!(input.bytes.capacity() <= REST_MAX, "{}", input.bytes.capacity());
            assert_eq!(input.undecoded()[number], byte);
        }
        assert!(input.buffer(0, &mut pool).capacity() > REST_MAX);
        assert_eq!(&input.undecoded()[..3], b"abc");
        assert_eq!(input.slice(8, 2), b"ab");
    }

    #[test]
    fn unanswered_bytes_stay_where_the_stream_says_they_are() {
        let mut pool = BufferPool::default();
        let mut input = Input::default();
        for round in 0..2000u64 {
            input.buffer(0, &mut pool).extend_from_slice(&[round as u8; 100]);
            assert_eq!(input.position(), round * 100);
            input.advance(100);
            if round >= 10 {
                let answered = (round - 10) * 100;
                assert_eq!(input.slice(answered, 100), [(round - 10) as u8; 100]);
                input.release(answered + 100);
            }
        }
        assert_eq!(input.len(), 1000);
        assert!(input.bytes.capacity() < 64 * 1024, "what is answered makes room");
        input.release_decoded(&mut pool);
        assert_eq!(input.bytes.capacity(), 0, "an idle client holds no buffer");
        input.buffer(0, &mut pool).extend_from_slice(b"x");
        assert_eq!(input.position(), 200_000);
    }
}
