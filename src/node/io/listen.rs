//! The listening sockets, and the acceptance of clients.

use super::client::Client;
use super::engine::Engine;
use super::stream::Stream;
use crate::clock::Now;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How long accepting rests when the process is out of descriptors: the kernel keeps the
/// connections meanwhile, and asking again at once would only burn the CPU.
const OUT_OF_DESCRIPTORS_WAIT: Duration = Duration::from_millis(100);

/// The sockets that clients connect to. CONFIG SET may put others in their place.
#[derive(Default)]
pub(super) struct Listening {
    listeners: RefCell<Vec<TcpListener>>,
    /// There are others than before.
    changed: Notify,
}

impl Listening {
    /// Listens where these parameters say, and no longer where it did before. For what they mean
    /// see [`bind`].
    ///
    /// # Errors
    /// It cannot, and listens where it did before.
    pub(super) fn open(&self, addresses: &str, port: u16, backlog: &str) -> io::Result<()> {
        let mut listeners = self.listeners.borrow_mut();
        let before: Vec<SocketAddr> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        // A port can be taken by one at a time: its own sockets are in the way as well.
        let in_the_way = before.iter().any(|address| address.port() == port);
        if in_the_way {
            listeners.clear();
        }
        match bind(addresses, port, backlog) {
            Ok(opened) => *listeners = opened,
            Err(error) => {
                if in_the_way {
                    let backlog = backlog.parse().unwrap_or(i32::MAX);
                    let again = before.into_iter().map(|address| bind_to(address, backlog));
                    *listeners = again.collect::<io::Result<_>>().unwrap_or_else(|error| {
                        tracing::error!(%error, "the node does not listen any more");
                        Vec::new()
                    });
                    self.changed.notify_one();
                }
                return Err(error);
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        for listener in &*self.listeners.borrow() {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

/// Listens on every address of `addresses`, as redis.conf's `bind` writes them: `*` and `::*` are
/// all of IPv4 and IPv6, and a `-` before an address lets it be missing.
pub(super) fn bind(addresses: &str, port: u16, backlog: &str) -> io::Result<Vec<TcpListener>> {
    let backlog = backlog.parse().unwrap_or(i32::MAX);
    let mut listeners = Vec::new();
    if port == 0 {
        return Ok(listeners);
    }
    for word in addresses.split_ascii_whitespace() {
        let (optional, name) = match word.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, word),
        };
        match bind_one(name, port, backlog) {
            Ok(listener) => listeners.push(listener),
            // An address that is not there may be left out; one that is taken may not.
            Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{name}:{port}: {error}")));
            }
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to listen on"));
    }
    Ok(listeners)
}

fn bind_one(name: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let ip: IpAddr = match name {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "::*" => Ipv6Addr::UNSPECIFIED.into(),
        name => name.parse().or_else(|_| resolve(name))?,
    };
    bind_to(SocketAddr::new(ip, port), backlog)
}

fn bind_to(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

fn resolve(name: &str) -> io::Result<IpAddr> {
    use std::net::ToSocketAddrs;
    let found = (name, 0).to_socket_addrs()?.next();
    found.map(|address| address.ip()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Accepts clients until the node is told to stop.
pub(super) async fn accept(listening: Rc<Listening>, engine: Rc<Engine>) {
    loop {
        let accepted = tokio::select! {
            accepted = std::future::poll_fn(|cx| listening.poll_accept(cx)) => accepted,
            () = listening.changed.notified() => continue,
            () = engine.stop.requested() => return,
        };
        match accepted {
            Ok((stream, _)) => welcome(Stream::Tcp(stream), &engine),
            Err(error) => rest(&error).await,
        }
    }
}

/// What follows from a failure to accept: a pause, unless only that connection was lost.
pub(super) async fn rest(error: &io::Error) {
    if !is_of_one_connection(error) {
        tracing::warn!(%error, "cannot accept connections for the moment");
        tokio::time::sleep(OUT_OF_DESCRIPTORS_WAIT).await;
    }
}

/// The connection was gone before it was accepted: nothing is wrong with the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// A connection has come: it is served, or told why it is not.
pub(super) fn welcome(stream: Stream, engine: &Rc<Engine>) {
    let Ok(addresses) = stream.addresses() else { return };
    let (outcome, keepalive) = engine
        .with_core(|core| (core.connect(Now::read(), addresses), core.parameter("tcp-keepalive")));
    let peer = addresses.peer;
    match outcome {
        Ok(id) => {
            if let Err(error) = stream.set_up(keepalive.parse().unwrap_or(0)) {
                tracing::debug!(%peer, %error, "socket options");
            }
            let mut client = Client::new(engine.clone(), id, stream);
            tokio::task::spawn_local(async move {
                std::future::poll_fn(|cx| client.poll(cx)).await;
                if let Some(mut replica) = client.into_replica() {
                    std::future::poll_fn(|cx| replica.poll(cx)).await;
                }
            });
        }
        Err(refusal) => {
            // As much as fits at once: a peer that does not read must not hold us up.
            if let Err(error) = stream.try_write(format!("-{refusal}\r\n").as_bytes()) {
                tracing::debug!(%peer, %error, "refused, and could not say so");
            }
        }
    }
}
