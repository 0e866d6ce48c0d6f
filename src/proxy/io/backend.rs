//! A connection's task: connects, writes a batch, reads a batch, lets the machine do the rest.

use super::worker::{Worker, now};
use crate::proxy::link::LinkId;
use crate::proxy::metrics::LinkEnd;
use socket2::TcpKeepalive;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// Reads in a row before others have their turn.
const READS_MAX: usize = 4;

/// Makes a connection and carries it on until it is over.
pub(super) async fn run(worker: Rc<Worker>, id: LinkId) {
    let connected = match connect(&worker, id).await {
        Ok(mut stream) => {
            prepare(&stream);
            worker.core.borrow_mut().link_connected(id, now());
            let ended = poll_fn(|cx| poll(&worker, id, &mut stream, cx)).await;
            lost(&worker, id, LinkEnd::Lost, &ended);
            true
        }
        Err(error) => {
            lost(&worker, id, LinkEnd::Connect, &error);
            false
        }
    };
    worker.links.borrow_mut()[id.index()] = None;
    worker.core.borrow_mut().link_freed(id, connected);
}

/// Requests go out at once, and a node that was powered off and on again is noticed on connections
/// that are silent by design, too.
fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    let done = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    if let Err(error) = done {
        tracing::debug!(%error, "a connection to a node keeps its defaults");
    }
}

fn lost(worker: &Worker, id: LinkId, end: LinkEnd, error: &io::Error) {
    let now = now();
    worker.core.borrow_mut().link_lost(id, end, &describe(error), now);
    worker.carry_out(now);
}

/// An error as a person would say it.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        _ => error.to_string(),
    }
}

/// Connects, unless the machine gives the connection up before.
async fn connect(worker: &Worker, id: LinkId) -> io::Result<TcpStream> {
    let endpoint = worker.core.borrow_mut().link(id).endpoint.clone();
    let mut connecting = pin!(TcpStream::connect((endpoint.host, endpoint.port)));
    poll_fn(|cx| {
        worker.keep_link_waker(id, cx.waker());
        if worker.core.borrow_mut().link(id).is_closed() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        connecting.as_mut().poll(cx)
    })
    .await
}

/// Ends with the reason for which the connection is over.
fn poll(
    worker: &Worker,
    id: LinkId,
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Error> {
    worker.keep_link_waker(id, cx.waker());
    let now = now();
    let core = &mut *worker.core.borrow_mut();
    let (mut read, mut written, mut reads) = (0, 0, 0);
    let ended = loop {
        if core.link(id).is_closed() {
            break Some(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(error) = write(core, id, stream, cx, &mut written) {
            break Some(error);
        }
        match poll_read_buf(Pin::new(stream), cx, core.link(id).read_buffer()) {
            Poll::Pending => break None,
            Poll::Ready(Ok(0)) => break Some(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(count)) => {
                read += count;
                core.link_received(id, now);
                reads += 1;
                if reads == READS_MAX {
                    cx.waker().wake_by_ref();
                    break None;
                }
            }
            Poll::Ready(Err(error)) => break Some(error),
        }
    };
    core.count_link_bytes(id, read, written);
    worker.carry_out_soon(core);
    match ended {
        Some(error) => Poll::Ready(error),
        None => Poll::Pending,
    }
}

/// Writes what waits, as far as the socket takes it.
fn write(
    core: &mut crate::proxy::core::Core,
    id: LinkId,
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    written: &mut usize,
) -> Option<io::Error> {
    while core.link(id).wants_write() {
        match Pin::new(&mut *stream).poll_write(cx, core.link(id).writable()) {
            Poll::Ready(Ok(count)) => {
                *written += count;
                core.link(id).wrote(count);
            }
            Poll::Ready(Err(error)) => return Some(error),
            Poll::Pending => break,
        }
    }
    None
}
