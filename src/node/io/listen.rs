//! The listening sockets, and the acceptance of clients.

use super::client::Client;
use super::engine::Engine;
use crate::clock::Now;
use crate::node::Addresses;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long accepting rests when the process is out of descriptors: the kernel keeps the
/// connections meanwhile, and asking again at once would only burn the CPU.
const OUT_OF_DESCRIPTORS_WAIT: Duration = Duration::from_millis(100);

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
    let address = SocketAddr::new(ip, port);
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
pub(super) async fn accept(listener: TcpListener, engine: Rc<Engine>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = engine.stop.requested() => return,
        };
        match accepted {
            Ok((stream, peer)) => welcome(stream, peer, &engine),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the moment");
                tokio::time::sleep(OUT_OF_DESCRIPTORS_WAIT).await;
            }
        }
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

fn welcome(stream: TcpStream, peer: SocketAddr, engine: &Rc<Engine>) {
    let Ok(local) = stream.local_addr() else { return };
    let addresses = Addresses { peer, local, descriptor: stream.as_raw_fd() };
    let (outcome, keepalive) = engine
        .with_core(|core| (core.connect(Now::read(), addresses), core.parameter("tcp-keepalive")));
    match outcome {
        Ok(id) => {
            if let Err(error) = set_up(&stream, &keepalive) {
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

fn set_up(stream: &TcpStream, keepalive_seconds: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let seconds = keepalive_seconds.parse().unwrap_or(0);
    if seconds > 0 {
        // As Redis: first probe after the time, the others at a third of it, three in all.
        let third = Duration::from_secs((seconds / 3).max(1));
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(seconds))
            .with_interval(third)
            .with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}
