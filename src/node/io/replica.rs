//! The shell of a connection that has become a replica's: it is written its part of the stream, and
//! what it acknowledges is read.

use super::engine::{Notice, Seat};
use super::stream::Stream;
use crate::clock::Now;
use crate::node::{Progress, ReplicaOutput};
use crate::resp::RequestDecoder;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that a replica may send before it has sent a whole request.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a spooled snapshot that are read at a time.
const SPOOL_READ_BYTES: usize = 256 * 1024;
/// Writes in a row before others get their turn.
const WRITES_PER_TURN: usize = 16;

/// A replica's connection.
pub(super) struct ReplicaLink {
    seat: Seat,
    notice: Rc<Notice>,
    stream: Stream,
    decoder: RequestDecoder,
    /// What it has sent and is not run.
    input: Vec<u8>,
    /// What was answered before it became a replica.
    answers: Vec<u8>,
    ends: bool,
}

impl ReplicaLink {
    /// Takes a connection over, with what it has sent and what it is still to be told.
    pub(super) fn new(
        seat: Seat,
        notice: Rc<Notice>,
        stream: Stream,
        input: Vec<u8>,
        answers: Vec<u8>,
    ) -> Self {
        let decoder = RequestDecoder::default();
        Self { seat, notice, stream, decoder, input, answers, ends: false }
    }

    /// Serves the replica; ready when its connection has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.notice.listen(cx.waker());
        if self.notice.take() {
            // It may have been told to end.
            self.run();
        }
        match self.poll_io(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                tracing::debug!(client = self.seat.id, %error, "a replica's connection was lost");
                Poll::Ready(())
            }
        }
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.ends {
                return Poll::Ready(Ok(()));
            }
            if self.poll_read(cx)?.is_pending() {
                break;
            }
        }
        for _ in 0..WRITES_PER_TURN {
            if self.poll_write(cx)?.is_pending() {
                self.seat.engine.feeds.is_served(&self.notice);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and runs what has arrived.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let engine = Rc::clone(&self.seat.engine);
        engine.with_buffers(|buffers| {
            let mut read = ReadBuf::new(&mut buffers.input);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                self.ends = true;
                return Poll::Ready(Ok(()));
            }
            self.input.extend_from_slice(read.filled());
            if self.input.len() > INPUT_BYTES_MAX {
                return Poll::Ready(Err(io::Error::other("it sends what no replica sends")));
            }
            self.run();
            Poll::Ready(Ok(()))
        })
    }

    /// Lets the core run what the replica has sent. It gets no answers.
    fn run(&mut self) {
        let mut answers = Vec::new();
        loop {
            let (used, progress) = self.seat.engine.with_core(|core| {
                core.handle_input(
                    Now::read(),
                    self.seat.id,
                    &mut self.decoder,
                    &self.input,
                    &mut answers,
                )
            });
            self.input.drain(..used);
            answers.clear();
            match progress {
                Progress::Replica if used > 0 => {}
                Progress::CloseNow | Progress::CloseAfterReplies => {
                    self.ends = true;
                    return;
                }
                _ => return,
            }
        }
    }

    /// Writes once; pending while there is nothing to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.answers.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.answers))?;
            self.answers.drain(..written);
            return Poll::Ready(Ok(()));
        }
        let engine = Rc::clone(&self.seat.engine);
        engine.with_core(|core| match core.replica_output(self.seat.id) {
            ReplicaOutput::Nothing => Poll::Pending,
            ReplicaOutput::Spooled { at, bytes } => {
                let spool = self.seat.engine.copies.spool()?;
                let mut buffer = vec![0; SPOOL_READ_BYTES.min(bytes as usize)];
                spool.read_exact_at(&mut buffer, at)?;
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buffer))?;
                core.replica_took(self.seat.id, written);
                Poll::Ready(Ok(()))
            }
            ReplicaOutput::Bytes(bytes) => {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
                core.replica_took(self.seat.id, written);
                Poll::Ready(Ok(()))
            }
        })
    }
}
