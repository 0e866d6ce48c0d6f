//! In which order a turn's bytes leave: replicas are sent the writes of a turn before clients are told
//! that they are done, so that a process that is killed in between has promised nothing that it alone
//! knows of.
//!
//! A replica whose link has sent everything is *due* as soon as the stream grows. While one is, replies
//! stay in their clients' buffers; its task runs behind those of the clients that were ready, writes once
//! what all of them led to, and lets their replies go. A replica whose socket is full is not waited for.

use super::engine::Notice;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The replicas that are due, and the clients whose replies wait for them.
#[derive(Default)]
pub(super) struct Feeds {
    due: Cell<usize>,
    held: RefCell<Vec<Rc<Notice>>>,
}

impl Feeds {
    /// The stream has grown, and this replica's link has nothing left to send.
    pub(super) fn is_due(&self, replica: &Notice) {
        if !replica.due.replace(true) {
            self.due.set(self.due.get() + 1);
        }
    }

    /// This replica has been sent what its socket takes, or is gone.
    pub(super) fn is_served(&self, replica: &Notice) {
        if !replica.due.replace(false) {
            return;
        }
        self.due.set(self.due.get() - 1);
        if self.due.get() == 0 {
            for client in self.held.borrow_mut().drain(..) {
                client.held.set(false);
                client.wake();
            }
        }
    }

    /// Whether replies to this client are to wait; if so, it is woken when they may go.
    #[inline]
    pub(super) fn hold(&self, client: &Rc<Notice>) -> bool {
        if self.due.get() == 0 {
            return false;
        }
        if !client.held.replace(true) {
            self.held.borrow_mut().push(Rc::clone(client));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{client::Client, copies, engine::Engine, host, stream::Stream};
    use super::*;
    use crate::clock::Now;
    use crate::net::Shutdown;
    use crate::node::{Core, CoreOptions};
    use memchr::memmem;
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// The other end of a connection, and all that was heard on it.
    struct Peer {
        socket: UnixStream,
        heard: Vec<u8>,
    }

    impl Peer {
        /// Whether this has been said by now.
        fn has_heard(&mut self, what: &str) -> bool {
            let mut chunk = [0; 4096];
            loop {
                match self.socket.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(count) => self.heard.extend_from_slice(&chunk[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            memmem::find(&self.heard, what.as_bytes()).is_some()
        }

        fn say(&mut self, line: &str) {
            self.socket.write_all(line.as_bytes()).expect("room for a line");
        }
    }

    /// A connection to the node, served by a task; `look` looks about each time when it has had its turn.
    fn connect(engine: &Rc<Engine>, mut look: impl FnMut() + 'static) -> Peer {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        ours.set_nonblocking(true).expect("a socket");
        theirs.set_nonblocking(true).expect("a socket");
        let stream = Stream::Unix(tokio::net::UnixStream::from_std(ours).expect("a socket"));
        let addresses = stream.addresses().expect("a socket");
        let id = engine.with_core(|core| core.connect(Now::read(), addresses)).expect("room");
        let mut client = Client::new(Rc::clone(engine), id, stream);
        tokio::task::spawn_local(async move {
            std::future::poll_fn(|cx| {
                let outcome = client.poll(cx);
                look();
                outcome
            })
            .await;
            if let Some(mut replica) = client.into_replica() {
                std::future::poll_fn(|cx| replica.poll(cx)).await;
            }
        });
        Peer { socket: theirs, heard: Vec::new() }
    }

    fn engine() -> Rc<Engine> {
        let sockets = Rc::default();
        let options = CoreOptions {
            directives: vec![("repl-diskless-sync-delay".to_owned(), vec!["0".to_owned()])],
            config_file: None,
            host: Box::new(host::Process::new(Rc::clone(&sockets))),
            seed: 1,
        };
        let core = Core::new(Now::read(), options).expect("the parameters are good");
        Rc::new(Engine::new(core, sockets, Shutdown::new()))
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let waits = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waits).await.expect(what);
    }

    #[test]
    fn a_replica_is_sent_a_write_before_its_client_is_told_that_it_is_done() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let test = async {
            let engine = engine();
            tokio::task::spawn_local(copies::make(Rc::clone(&engine)));
            let replica = Rc::new(RefCell::new(connect(&engine, || ())));
            replica.borrow_mut().say("PSYNC ? -1\r\n");
            // Which client was told of its write, and whether the replica had been.
            let seen = Rc::<RefCell<Vec<(usize, bool)>>>::default();
            let clients: Vec<_> = (0..3)
                .map(|n| {
                    let (replica, seen) = (Rc::clone(&replica), Rc::clone(&seen));
                    let client = Rc::<RefCell<Option<Peer>>>::default();
                    let place = Rc::clone(&client);
                    let peer = connect(&engine, move || {
                        if let Some(client) = &mut *place.borrow_mut()
                            && client.has_heard("+OK")
                        {
                            let told = replica.borrow_mut().has_heard(&format!("write-{n}"));
                            seen.borrow_mut().push((n, told));
                        }
                    });
                    *client.borrow_mut() = Some(peer);
                    client
                })
                .collect();
            let mut first = connect(&engine, || ());
            first.say("SET key first\r\n");
            until("the stream flows", || replica.borrow_mut().has_heard("first")).await;
            for (n, client) in clients.iter().enumerate() {
                client
                    .borrow_mut()
                    .as_mut()
                    .expect("a peer")
                    .say(&format!("SET key write-{n}\r\n"));
            }
            for client in &clients {
                let heard =
                    || client.borrow_mut().as_mut().is_some_and(|client| client.has_heard("+OK"));
                until("an answer", heard).await;
            }
            for n in 0..clients.len() {
                let first = seen.borrow().iter().find(|(client, _)| *client == n).copied();
                assert_eq!(first, Some((n, true)), "{:?}", seen.borrow());
            }
            // Nothing is held back for a replica that has gone.
            replica.borrow_mut().socket.shutdown(std::net::Shutdown::Both).expect("a socket");
            first.say("SET key last\r\n");
            until("an answer", || first.has_heard("+OK\r\n+OK\r\n")).await;
        };
        tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), test);
    }
}
