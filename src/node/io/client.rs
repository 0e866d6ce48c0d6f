//! One client's socket: read once, run every command that arrived, write once.
//!
//! Reading and running stop while more output waits than a client may let wait, so that a client
//! that does not read costs a fixed amount of memory.

use super::engine::{Buffers, Engine, Notice, Seat};
use super::replica::ReplicaLink;
use super::stream::Stream;
use crate::clock::Now;
use crate::net::client_was_read;
use crate::node::{ClientId, Progress};
use crate::resp::RequestDecoder;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Output that may wait for a client before it is read from again.
const WAITING_OUTPUT_MAX: usize = 1024 * 1024;
/// Input that is taken from a client whose requests CLIENT PAUSE or a command that waits holds back.
/// It is read so that one that leaves is noticed.
const HELD_INPUT_MAX: usize = 64 * 1024;
/// Up to so many bytes are a request or a few that are soon done: to wake for them costs as much as to run them.
/// Who sends more at a time has made the waking worth its price, and should not wait for others.
const SMALL_READ_BYTES: usize = 256;
/// A client's own buffers are given back when they are empty and larger than this.
const BUFFER_KEPT_BYTES: usize = 0;

/// A connected client.
pub(super) struct Client {
    engine: Rc<Engine>,
    notice: Rc<Notice>,
    id: ClientId,
    seat: Seat,
    stream: Stream,
    decoder: RequestDecoder,
    /// What has been read and not run: part of a request, or what waits behind full output.
    input: Vec<u8>,
    /// What could not be written at once, from `written` on.
    output: Vec<u8>,
    written: usize,
    state: State,
    /// When a command that waits has waited long enough.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Requests are read and run.
    Open,
    /// Whole requests may be in `input`, held back until replies are written.
    Full,
    /// Whole requests may be in `input`, held back by CLIENT PAUSE or behind a command that waits,
    /// until the notice is raised or the timer has run out.
    Held,
    /// The connection ends when `output` is written.
    Closing,
    /// It is a replica's: another shell takes it over.
    Replica,
}

impl Client {
    pub(super) fn new(engine: Rc<Engine>, id: ClientId, stream: Stream) -> Self {
        let notice = engine.join(id);
        Self {
            seat: Seat::new(Rc::clone(&engine), id),
            engine,
            notice,
            id,
            stream,
            decoder: RequestDecoder::default(),
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            state: State::Open,
            timer: None,
        }
    }

    /// Serves the client; ready when its connection has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.notice.listen(cx.waker());
        match self.poll_io(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                tracing::debug!(client = self.id, %error, "connection lost");
                Poll::Ready(())
            }
        }
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let told = self.notice.take();
        if told && self.state != State::Closing {
            self.run_held();
        }
        loop {
            while let Some(timer) = &mut self.timer
                && timer.as_mut().poll(cx).is_ready()
            {
                self.timer = None;
                self.run_held();
            }
            let flushed = self.poll_flush(cx)?.is_ready();
            match self.state {
                State::Closing if flushed => return Poll::Ready(Ok(())),
                State::Closing => return Poll::Pending,
                State::Held if self.input.len() >= HELD_INPUT_MAX => return Poll::Pending,
                State::Replica => return Poll::Ready(Ok(())),
                State::Open | State::Full if self.waiting() >= WAITING_OUTPUT_MAX => {
                    return Poll::Pending;
                }
                // There is room for at least one more reply: the loop always gets further.
                State::Full => {
                    self.run_held();
                    continue;
                }
                State::Open | State::Held => {}
            }
            let engine = self.engine.clone();
            let read = engine.with_buffers(|buffers| self.poll_read(cx, buffers));
            if ready!(read)? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once, runs what has arrived, and tries to write the replies.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(&mut buffers.input);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        let fresh = read.filled();
        let count = fresh.len();
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        if count <= SMALL_READ_BYTES {
            client_was_read();
        }
        if self.state == State::Held {
            self.input.extend_from_slice(fresh);
            let waiting = self.input.len();
            self.engine.with_core(|core| core.note_read(self.id, count, waiting));
            return Poll::Ready(Ok(count));
        }
        let own_output = !self.output.is_empty();
        if own_output {
            std::mem::swap(&mut self.output, &mut buffers.output);
        }
        if self.input.is_empty() {
            let used = self.run(count, fresh, &mut buffers.output);
            self.input.extend_from_slice(&fresh[used..]);
        } else {
            self.input.extend_from_slice(fresh);
            let input = std::mem::take(&mut self.input);
            let used = self.run(count, &input, &mut buffers.output);
            self.input = input;
            self.drop_input(used);
        }
        if own_output {
            std::mem::swap(&mut self.output, &mut buffers.output);
        } else if !buffers.output.is_empty() {
            let held = self.engine.feeds.hold(&self.notice);
            let written = if held { 0 } else { self.poll_write_now(cx, &buffers.output)? };
            self.output.extend_from_slice(&buffers.output[written..]);
        }
        Poll::Ready(Ok(count))
    }

    /// Runs what was held back; its replies go into `output`.
    fn run_held(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut output = std::mem::take(&mut self.output);
        // What is written must not count as waiting.
        output.drain(..std::mem::take(&mut self.written));
        let used = self.run(0, &input, &mut output);
        self.input = input;
        self.output = output;
        self.drop_input(used);
        let waiting = self.waiting();
        self.engine.with_core(|core| core.note_written(self.id, 0, waiting));
    }

    /// Lets the core run whole requests. `fresh` of the bytes have just been read.
    fn run(&mut self, fresh: usize, input: &[u8], output: &mut Vec<u8>) -> usize {
        let (id, decoder) = (self.id, &mut self.decoder);
        let (used, progress) = self.engine.with_core(|core| {
            let outcome = core.handle_input(Now::read(), id, decoder, input, output);
            if fresh > 0 {
                core.note_read(id, fresh, input.len() - outcome.0);
            }
            outcome
        });
        self.timer = match progress {
            Progress::Blocked { until: Some(until) } => {
                let until = tokio::time::Instant::from_std(until);
                let timer = self.timer.take().filter(|timer| timer.deadline() == until);
                Some(timer.unwrap_or_else(|| Box::pin(tokio::time::sleep_until(until))))
            }
            _ => None,
        };
        let progress = if self.engine.is_lost() { Progress::CloseNow } else { progress };
        self.state = match progress {
            Progress::NeedsInput { .. } => State::Open,
            Progress::OutputFull => State::Full,
            Progress::Paused | Progress::Blocked { .. } => State::Held,
            Progress::Replica => State::Replica,
            Progress::CloseAfterReplies => State::Closing,
            Progress::CloseNow => {
                output.clear();
                self.output.clear();
                self.written = 0;
                State::Closing
            }
        };
        used
    }

    fn drop_input(&mut self, used: usize) {
        self.input.drain(..used);
        if self.input.is_empty() && self.input.capacity() > BUFFER_KEPT_BYTES {
            self.input = Vec::new();
        }
    }

    fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    /// Writes what waits; ready when nothing does any longer.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            if self.engine.feeds.hold(&self.notice) {
                return Poll::Pending;
            }
            let rest = &self.output[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            self.written += count;
            let waiting = self.waiting();
            self.engine.with_core(|core| core.note_written(self.id, count, waiting));
        }
        if !self.output.is_empty() {
            self.output = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes as much of `bytes` as the socket takes at once.
    fn poll_write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        let waiting = bytes.len() - written;
        self.engine.with_core(|core| core.note_written(self.id, written, waiting));
        Ok(written)
    }
}

impl Client {
    /// The shell that goes on, when the connection has become a replica's.
    pub(super) fn into_replica(mut self) -> Option<ReplicaLink> {
        let answers = self.output.split_off(self.written);
        (self.state == State::Replica)
            .then(|| ReplicaLink::new(self.seat, self.notice, self.stream, self.input, answers))
    }
}
