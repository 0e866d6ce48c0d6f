//! The shell of the cluster bus: the TCP mesh, the clock and the disk. It decides nothing.
//!
//! Everything runs on the engine's thread. [`Mesh::pump`] carries out what the member wants; it
//! saves before it sends, and it is called before a CLUSTER command is answered, so what a client
//! or a node was told is saved ([`NodesConf`] says how far). A thread waits for the disk, and
//! [`Promises`] knows what waits with it; the engine's waits only where a command's reply says that
//! something is done which others build upon. A save that fails stops the bus for good: nobody may hear
//! of what a restart would undo.

use super::persist::NodesConf;
use crate::bus::{self, Broadcast, Input, LinkId, Member, Output, Promises, Source, Step};
use crate::clock::Now;
use crate::cluster::{Durable, HoldsBack, SlotSet};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Least room for one read.
const READ_MIN: usize = 4 * 1024;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long accepting rests after it failed (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The node that the bus belongs to.
pub trait Owner: 'static {
    /// Lends the member. Never called while it is lent.
    fn with_member<R>(&self, use_it: impl FnOnce(&mut Member) -> R) -> R;

    /// The keys of these slots are not this node's any more.
    fn slots_lost(&self, slots: &SlotSet);

    /// From here on the node copies that primary; if none, it is a primary itself.
    fn replicate(&self, source: Option<Source>);

    /// The writes of clients wait until then, or no longer.
    fn pause_writes(&self, until: Option<Instant>);

    /// The writes of clients wait until the disk has the node's role, or need not any more.
    fn hold_writes(&self, hold: bool);

    /// Another node passes a message on.
    fn deliver(&self, broadcast: Broadcast);
}

/// The mesh of links between this node and the others.
pub struct Mesh<O> {
    owner: O,
    conf: RefCell<NodesConf>,
    links: RefCell<BTreeMap<LinkId, Rc<Link>>>,
    failure: RefCell<Option<io::Error>>,
    failed: Notify,
    has_failed: Cell<bool>,
    pumping: Cell<bool>,
    /// What waits for the disk.
    promises: RefCell<Promises>,
    writes_wait: Cell<bool>,
}

/// Who asks for what the member wants to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// A client's command, whose reply says that it is done.
    Command,
    /// Another node, or the clock: they can wait.
    Bus,
}

/// One connection, as its task and the pump share it.
#[derive(Default)]
struct Link {
    unsent: RefCell<Vec<u8>>,
    /// There is something to send, or it is closed.
    changed: Notify,
    closed: Cell<bool>,
}

impl Link {
    fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }
}

impl<O: Owner> Mesh<O> {
    /// A mesh without links.
    pub fn new(owner: O, conf: NodesConf) -> Rc<Self> {
        let synced = conf.synced().map(|(_, durable)| durable.clone());
        Rc::new(Self {
            owner,
            promises: RefCell::new(Promises::new(synced)),
            writes_wait: Cell::new(false),
            conf: RefCell::new(conf),
            links: RefCell::default(),
            failure: RefCell::default(),
            failed: Notify::new(),
            has_failed: Cell::new(false),
            pumping: Cell::new(false),
        })
    }

    /// Runs the bus until it is dropped. Must be polled within a `LocalSet`.
    ///
    /// # Errors
    /// nodes.conf could not be saved: the node must end.
    pub async fn run(self: Rc<Self>, listeners: Vec<TcpListener>) -> io::Result<()> {
        self.advance(Caller::Bus);
        for listener in listeners {
            tokio::task::spawn_local(Rc::clone(&self).accept_all(listener));
        }
        let ticking = async {
            loop {
                let due = self.owner.with_member(|member| member.poll_timeout());
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
                self.feed(Input::Timeout);
                self.sync_behind();
            }
        };
        tokio::select! {
            () = ticking => unreachable!("it has no end"),
            () = self.failed.notified() => {}
        }
        let error = self.failure.borrow_mut().take();
        Err(error.unwrap_or_else(|| io::Error::other("nodes.conf could not be saved")))
    }

    async fn accept_all(self: Rc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.accept(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the cluster bus");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Saves nodes.conf as it stands: for an orderly end.
    ///
    /// # Errors
    /// The content before is still there.
    pub fn save(&self) -> io::Result<()> {
        let durable = self.owner.with_member(|member| member.view().durable());
        let mut conf = self.conf.borrow_mut();
        conf.save(&durable)?;
        conf.sync()
    }

    /// A save or sync that failed ends the node. Whether it is to go on.
    fn must_be_saved(&self, saved: io::Result<()>) -> bool {
        let Err(error) = saved else { return true };
        let path = self.conf.borrow().path().display().to_string();
        tracing::error!(path, %error, "Fatal: can't update cluster config file.");
        *self.failure.borrow_mut() = Some(error);
        self.has_failed.set(true);
        self.failed.notify_one();
        false
    }

    /// Whether a save has failed: nothing that was decided since may be heard of.
    pub fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    /// Tells the member, and does what it wants.
    fn feed(self: &Rc<Self>, input: Input) {
        self.owner.with_member(|member| member.handle_input(Now::read(), input));
        self.advance(Caller::Bus);
    }

    /// Does what the member wants. To be called whenever a command has changed something.
    pub fn pump(self: &Rc<Self>) {
        self.advance(Caller::Command);
    }

    fn advance(self: &Rc<Self>, caller: Caller) {
        if self.has_failed.get() || self.pumping.replace(true) {
            return;
        }
        loop {
            let next = |member: &mut Member| self.promises.borrow_mut().next(member);
            match self.owner.with_member(next) {
                None => break,
                Some(Step::Do(output)) => self.carry_out(output),
                Some(Step::Save(durable)) => {
                    let saved = self.persist(durable, caller);
                    if !self.must_be_saved(saved) {
                        break;
                    }
                }
            }
        }
        self.pumping.set(false);
    }

    fn carry_out(self: &Rc<Self>, output: Output) {
        match output {
            Output::Persist(_) => unreachable!("it is a step of its own"),
            Output::Connect { link, to } => self.connect(link, to),
            Output::Send { link, packet } => self.send(link, &packet),
            Output::Close(link) => {
                if let Some(link) = self.links.borrow_mut().remove(&link) {
                    link.close();
                }
            }
            Output::SlotsLost(slots) => self.owner.slots_lost(&slots),
            Output::Replicate(source) => self.owner.replicate(source),
            Output::PauseWrites(until) => self.owner.pause_writes(until),
            Output::Deliver(broadcast) => self.owner.deliver(broadcast),
        }
    }

    fn persist(self: &Rc<Self>, durable: Durable, caller: Caller) -> io::Result<()> {
        let number = self.conf.borrow_mut().save(&durable)?;
        let holds_back = self.promises.borrow_mut().written(number, durable);
        if holds_back == HoldsBack::Nothing {
            return Ok(());
        }
        if caller == Caller::Command {
            self.conf.borrow_mut().sync()?;
            self.take_note_of_sync();
            return Ok(());
        }
        self.hold_writes();
        self.sync_behind();
        Ok(())
    }

    /// Tells what the disk has.
    fn take_note_of_sync(self: &Rc<Self>) {
        if let Some((number, durable)) = self.conf.borrow().synced() {
            self.promises.borrow_mut().synced(number, durable);
        }
        self.hold_writes();
    }

    fn hold_writes(&self) {
        let hold = self.promises.borrow().hold_writes();
        if self.writes_wait.replace(hold) != hold {
            self.owner.hold_writes(hold);
        }
    }

    /// Lets a thread wait for the disk, if there is something to wait for.
    fn sync_behind(self: &Rc<Self>) {
        let begun = self.conf.borrow_mut().begin_sync();
        let work = match begun {
            Ok(None) => return,
            Ok(Some(work)) => work,
            Err(error) => {
                self.must_be_saved(Err(error));
                return;
            }
        };
        // Begun here and not by the task: whoever waits for it may do so before that has its turn.
        let done = tokio::task::spawn_blocking(move || work.run());
        let mesh = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if done.await.is_err() {
                tracing::debug!("the thread that syncs nodes.conf has ended");
            }
            mesh.look_at_sync();
        });
    }

    fn look_at_sync(self: &Rc<Self>) {
        let synced = self.conf.borrow_mut().poll_sync();
        if !self.must_be_saved(synced) {
            return;
        }
        self.take_note_of_sync();
        if self.promises.borrow().are_open() {
            // What is to be waited for was saved while an older save was under way.
            self.sync_behind();
        }
        self.advance(Caller::Bus);
    }

    fn send(&self, id: LinkId, packet: &bus::Packet) {
        let links = self.links.borrow();
        let Some(link) = links.get(&id) else { return };
        let mut unsent = link.unsent.borrow_mut();
        bus::encode(packet, &mut unsent);
        let max = self.owner.with_member(|member| member.options().link_buffer_max);
        if unsent.len() > max {
            tracing::warn!(bytes = unsent.len(), max, "a node does not read: closing its link");
            self.owner.with_member(|member| member.count_overflow());
            // The link's task says that it is gone.
            link.close();
        }
        link.changed.notify_one();
    }

    fn accept(self: &Rc<Self>, stream: TcpStream) {
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
        let new = self.owner.with_member(|member| member.new_link(peer.ip(), local.ip()));
        let Some(id) = new else {
            tracing::debug!(%peer, "a connection to the cluster bus is not taken");
            return;
        };
        self.feed(Input::Accepted { link: id, peer: peer.ip(), local: local.ip() });
        self.serve(id, async move { Ok(stream) });
    }

    fn connect(self: &Rc<Self>, id: LinkId, to: SocketAddr) {
        self.serve(id, async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await {
                Ok(connected) => connected,
                Err(elapsed) => Err(elapsed.into()),
            }
        });
    }

    /// Starts a link's task, which ends when the link is closed by either side.
    fn serve(
        self: &Rc<Self>,
        id: LinkId,
        stream: impl Future<Output = io::Result<TcpStream>> + 'static,
    ) {
        let link = Rc::new(Link::default());
        self.links.borrow_mut().insert(id, Rc::clone(&link));
        let mesh = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let served = mesh.carry(id, &link, stream).await;
            if let Err(error) = served {
                tracing::debug!(?id, %error, "a link of the cluster bus ended");
            }
            // A link that the member closed is gone from its books already.
            mesh.links.borrow_mut().remove(&id);
            mesh.feed(Input::Closed(id));
        });
    }

    async fn carry(
        self: &Rc<Self>,
        id: LinkId,
        link: &Link,
        stream: impl Future<Output = io::Result<TcpStream>>,
    ) -> io::Result<()> {
        let mut stream = stream.await?;
        if link.closed.get() {
            return Ok(());
        }
        stream.set_nodelay(true)?;
        self.feed(Input::Opened(id));
        let mut unread = BytesMut::new();
        let mut sending: Vec<u8> = Vec::new();
        let mut sent = 0;
        let (mut reader, mut writer) = stream.split();
        while !link.closed.get() {
            if sent == sending.len() {
                sending.clear();
                sent = 0;
                std::mem::swap(&mut sending, &mut link.unsent.borrow_mut());
            }
            let (allocated, used) = (sending.capacity(), sending.len() - sent);
            self.owner.with_member(|member| member.set_send_buffer(id, allocated, used));
            unread.reserve(READ_MIN);
            tokio::select! {
                read = reader.read_buf(&mut unread) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.receive(id, &mut unread)?;
                }
                written = writer.write(&sending[sent..]), if sent < sending.len() => {
                    sent += written?;
                }
                () = link.changed.notified() => {}
            }
        }
        Ok(())
    }

    /// Hands over every whole packet that has arrived.
    fn receive(self: &Rc<Self>, id: LinkId, unread: &mut BytesMut) -> io::Result<()> {
        while !unread.is_empty() {
            let max = self.owner.with_member(|member| member.packet_max(id));
            match bus::next_frame(unread, max) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let packet = bus::decode(&frame);
                    self.feed(Input::Received { link: id, packet });
                }
                Err(error) => {
                    let text = error.to_string();
                    self.feed(Input::Received { link: id, packet: Err(error) });
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        Ok(())
    }
}
