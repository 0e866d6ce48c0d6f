//! A TCP relay that misbehaves on demand, between whoever connects to it and one server.
//!
//! It is put in front of a cluster's node by having the node announce the relay's port: then the
//! proxy reaches the node through it, and nobody else does.

use super::ports::free_port;
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the relay does to what the server sends.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fault {
    /// Passes it on.
    #[default]
    None,
    /// Passes it on later.
    Delay(Duration),
    /// Passes on so many more bytes in all, then resets both sides. Once: then it passes on.
    ResetAfter(usize),
    /// The same with an orderly end of the stream.
    CloseAfter(usize),
    /// Takes everything, in both directions, and passes on nothing.
    Silence,
    /// Takes no connection: resets each at once.
    Refuse,
    /// Replaces each reply that holds this value (a bulk string) with these bytes.
    Replace {
        /// The value that marks a reply.
        value: Vec<u8>,
        /// What the client gets instead.
        with: Vec<u8>,
    },
}

/// A running relay. Dropping it closes its connections.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    fault: Mutex<Fault>,
    open: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
    accepted: AtomicUsize,
}

impl Relay {
    /// Relays from a port of its own to `server`.
    pub(crate) fn to(server: u16) -> Self {
        let (listener, port) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                break (listener, port);
            }
        };
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ours.stopped.load(Ordering::SeqCst) {
                    return;
                }
                ours.accepted.fetch_add(1, Ordering::SeqCst);
                let _ = connect(&ours, client, server);
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on, on all connections.
    pub(crate) fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
    }

    /// How many connections were made to it.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Resets every connection that is open.
    pub(crate) fn reset_all(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            reset(&stream);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.reset_all();
        // The listener's thread waits for a client.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn reset(stream: &TcpStream) {
    // Without lingering, closing (here: shutting down both ways and dropping) sends a reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn connect(shared: &Arc<Shared>, client: TcpStream, server: u16) -> io::Result<()> {
    if matches!(*lock(&shared.fault), Fault::Refuse) {
        reset(&client);
        return Ok(());
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
    let server = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut open = lock(&shared.open);
    // What is over needs no reset any more, and its descriptors are needed.
    open.retain(|stream| stream.peer_addr().is_ok());
    open.extend([client.try_clone()?, server.try_clone()?]);
    drop(open);
    let (up, down) = (Arc::clone(shared), Arc::clone(shared));
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = pass_requests(&up, from, to);
    });
    std::thread::spawn(move || {
        let _ = pass_replies(&down, server, client);
    });
    Ok(())
}

fn pass_requests(shared: &Shared, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut chunk)?;
        if len == 0 {
            return to.shutdown(Shutdown::Write);
        }
        if !matches!(*lock(&shared.fault), Fault::Silence) {
            to.write_all(&chunk[..len])?;
        }
    }
}

fn pass_replies(shared: &Shared, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut chunk)?;
        if len == 0 {
            return to.shutdown(Shutdown::Both);
        }
        let bytes = &chunk[..len];
        let mut fault = lock(&shared.fault);
        match &mut *fault {
            Fault::None | Fault::Refuse => {}
            Fault::Silence => continue,
            Fault::Delay(delay) => {
                let delay = *delay;
                drop(fault);
                std::thread::sleep(delay);
                to.write_all(bytes)?;
                continue;
            }
            Fault::ResetAfter(left) | Fault::CloseAfter(left) if *left > len => *left -= len,
            Fault::ResetAfter(left) | Fault::CloseAfter(left) => {
                let left = *left;
                let hard = matches!(*fault, Fault::ResetAfter(_));
                *fault = Fault::None;
                drop(fault);
                to.write_all(&bytes[..left])?;
                if hard {
                    reset(&to);
                    reset(&from);
                } else {
                    to.shutdown(Shutdown::Both)?;
                    from.shutdown(Shutdown::Both)?;
                }
                return Ok(());
            }
            Fault::Replace { value, with } => {
                let mut marked = format!("${}\r\n", value.len()).into_bytes();
                marked.extend_from_slice(value);
                marked.extend_from_slice(b"\r\n");
                if let Some(at) = bytes.windows(marked.len()).position(|window| window == marked) {
                    let mut changed = bytes[..at].to_vec();
                    changed.extend_from_slice(with);
                    changed.extend_from_slice(&bytes[at + marked.len()..]);
                    drop(fault);
                    to.write_all(&changed)?;
                    continue;
                }
            }
        }
        drop(fault);
        to.write_all(bytes)?;
    }
}
