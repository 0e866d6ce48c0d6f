//! Takes clients in, and gives each to the least loaded worker for life.

use super::worker::WorkerHandle;
use crate::proxy::Options;
use crate::proxy::admission::Refusal;
use crate::proxy::core::Shared;
use socket2::{Domain, Socket, TcpKeepalive, Type};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;

/// One address that clients connect to.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
}

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// How long no client is accepted after the process ran out of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Takes an address.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until it is aborted.
    pub(super) async fn run(
        self,
        options: Arc<Options>,
        shared: Arc<Shared>,
        workers: Arc<Vec<WorkerHandle>>,
    ) {
        let mut exhausted = false;
        // One line is enough: there may be thousands a second.
        let mut warned = false;
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => {
                    exhausted = false;
                    accepted
                }
                Err(error) => {
                    // Out of descriptors or memory: what is connected goes on, and trying again at
                    // once would only burn a core. A client that left meanwhile is no trouble.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        if !std::mem::replace(&mut exhausted, true) {
                            tracing::error!(%error, "cannot accept clients");
                        }
                        tokio::time::sleep(EXHAUSTED).await;
                    }
                    continue;
                }
            };
            let Ok(stream) = stream.into_std() else { continue };
            // One that has gone again has no address any more.
            let Ok(local) = stream.local_addr() else { continue };
            let clients = shared.clients.load(Ordering::Relaxed);
            if let Err(refusal) = options.admit(peer.ip(), local.ip(), clients) {
                refuse(stream, refusal);
                if refusal == Refusal::Protected && !std::mem::replace(&mut warned, true) {
                    tracing::warn!(%peer, "turned a client of another host away: {refusal}");
                }
                continue;
            }
            prepare(&stream);
            let worker = workers.iter().min_by_key(|worker| worker.load());
            if let Some(worker) = worker {
                shared.clients.fetch_add(1, Ordering::Relaxed);
                worker.give(stream, &shared);
            }
        }
    }
}

/// Says why, as far as the socket takes it at once.
fn refuse(mut stream: StdStream, refusal: Refusal) {
    let _ = stream.write(format!("-{refusal}\r\n").as_bytes());
}

/// Small replies go out at once, and a client that is gone without a word is noticed.
fn prepare(stream: &StdStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(300))
        .with_interval(Duration::from_secs(100))
        .with_retries(3);
    let done = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    if let Err(error) = done {
        tracing::debug!(%error, "a client's socket keeps its defaults");
    }
}
