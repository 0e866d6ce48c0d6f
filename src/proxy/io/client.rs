//! A client's task: reads once, lets the machine do what that means, writes what it can.

use super::worker::{Worker, now};
use crate::net::client_was_read;
use crate::proxy::core::SessionId;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

/// Reads in a row before others have their turn.
const READS_MAX: usize = 4;

/// Serves a client until its connection is over.
pub(super) async fn serve(worker: Rc<Worker>, id: SessionId) {
    poll_fn(|cx| poll(&worker, id, cx)).await;
    worker.drop_client(id);
    worker.carry_out(now());
}

fn poll(worker: &Worker, id: SessionId, cx: &mut Context<'_>) -> Poll<()> {
    let now = now();
    let core = &mut *worker.core.borrow_mut();
    let clients = &mut *worker.clients.borrow_mut();
    let io = clients[id.index()].as_mut().expect("its task is running");
    io.keep_waker(cx.waker());
    if io.broken {
        return Poll::Ready(());
    }
    // What could not be written before.
    while !core.output(id).is_empty() {
        match Pin::new(&mut io.stream).poll_write(cx, core.output(id)) {
            Poll::Ready(Ok(count)) => core.wrote(id, count, now),
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => break,
        }
    }
    let mut reads = 0;
    io.paused = loop {
        let Some(buffer) = core.read_buffer(id) else { break true };
        match poll_read_buf(Pin::new(&mut io.stream), cx, buffer) {
            Poll::Pending => {
                core.nothing_read(id);
                break false;
            }
            Poll::Ready(Ok(0)) => {
                core.ended(id);
                break false;
            }
            Poll::Ready(Ok(count)) => {
                core.received(id, count, now);
                reads += 1;
                if reads == READS_MAX {
                    cx.waker().wake_by_ref();
                    break false;
                }
            }
            Poll::Ready(Err(_)) => return Poll::Ready(()),
        }
    };
    if reads > 0 {
        client_was_read();
    }
    worker.carry_out_soon(core);
    if core.is_finished(id) { Poll::Ready(()) } else { Poll::Pending }
}
