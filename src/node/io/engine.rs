//! The one thread that owns [`Core`]: its tasks call into it directly, one at a time. It is
//! borrowed within a poll only, never across an `await`, so there is nothing to lock.

use super::append::{Append, Policy};
use super::bus::{Mesh, Owner};
use super::copies::Copies;
use super::feeds::Feeds;
use super::free::Freer;
use super::host::Sockets;
use super::running::Keeps;
use crate::bus::{Broadcast, Member, Source};
use crate::clock::Now;
use crate::cluster::SlotSet;
use crate::net::Shutdown;
use crate::node::{ClientId, Core, Output, Unsaved};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes that one read takes at most. The buffer is shared by all clients: one that waits for its
/// next request holds none.
const READ_BYTES: usize = 64 * 1024;
/// The shared output buffer is given back when a reply made it larger than this.
const OUTPUT_KEPT_BYTES: usize = 256 * 1024;

/// What all tasks of the thread share.
pub(super) struct Engine {
    core: RefCell<Core>,
    notices: RefCell<BTreeMap<ClientId, Rc<Notice>>>,
    buffers: RefCell<Buffers>,
    /// Frees what is big.
    freer: RefCell<Freer>,
    /// The cluster bus, once it runs.
    mesh: OnceCell<Rc<Mesh<Weak<Engine>>>>,
    /// Snapshots for replicas.
    pub(super) copies: Copies,
    /// What replicas are sent before replies leave.
    pub(super) feeds: Feeds,
    /// Another primary is to be followed than before, or none.
    pub(super) link_changed: Notify,
    /// The append-only file, while there is one.
    append: RefCell<Option<Append>>,
    append_policy: Cell<Policy>,
    /// A thread changes what the folder of the append-only file consists of.
    folder_changes: tokio::sync::Mutex<()>,
    /// Told when a snapshot has begun.
    pub(super) snapshot: tokio::sync::Notify,
    /// Told when keys are to be brought to another server.
    pub(super) migration: Notify,
    /// Told when a script is to go on.
    pub(super) script: Notify,
    /// The sockets that belong to no client.
    pub(super) sockets: Rc<Sockets>,
    /// Told to stop, by a signal or SHUTDOWN.
    pub(super) stop: Shutdown,
}

/// Buffers that one poll may use at a time.
pub(super) struct Buffers {
    pub(super) input: Box<[u8]>,
    pub(super) output: Vec<u8>,
}

/// How a client's task is told that something has happened to it.
#[derive(Default)]
pub(super) struct Notice {
    raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// It is a replica's, which is due: see [`Feeds`].
    pub(super) due: Cell<bool>,
    /// It is a client's whose replies wait.
    pub(super) held: Cell<bool>,
}

impl Notice {
    /// Whether it was raised since the last time.
    pub(super) fn take(&self) -> bool {
        self.raised.take()
    }

    /// Remembers whom to wake; a task keeps its waker for life.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn raise(&self) {
        self.raised.set(true);
        self.wake();
    }

    /// Lets the task run.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// A client's place among the others: given up when its task ends, however that comes about.
pub(super) struct Seat {
    pub(super) engine: Rc<Engine>,
    pub(super) id: ClientId,
}

impl Seat {
    pub(super) fn new(engine: Rc<Engine>, id: ClientId) -> Self {
        Self { engine, id }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.engine.leave(self.id);
    }
}

impl Engine {
    pub(super) fn new(core: Core, sockets: Rc<Sockets>, stop: Shutdown) -> Self {
        let input = vec![0; READ_BYTES].into_boxed_slice();
        let policy = Policy::of(&core);
        Self {
            core: RefCell::new(core),
            notices: RefCell::default(),
            buffers: RefCell::new(Buffers { input, output: Vec::new() }),
            freer: RefCell::default(),
            mesh: OnceCell::new(),
            copies: Copies::default(),
            feeds: Feeds::default(),
            link_changed: Notify::new(),
            append: RefCell::default(),
            append_policy: Cell::new(policy),
            folder_changes: tokio::sync::Mutex::default(),
            snapshot: tokio::sync::Notify::new(),
            migration: Notify::new(),
            script: Notify::new(),
            sockets,
            stop,
        }
    }

    /// Calls into the core, and does what it asks for.
    pub(super) fn with_core<R>(&self, call: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.borrow_mut();
        let outcome = call(&mut core);
        let mut bus = false;
        loop {
            bus |= self.carry_out(&mut core);
            // Before the replies of this turn leave. What is on disk by that lets others go on.
            let mut append = self.append.borrow_mut();
            let Some(append) = &mut *append else { break };
            append.take(&mut core, self.append_policy.get());
            if !append.tell(&mut core) {
                break;
            }
        }
        if core.has_garbage() {
            self.freer.borrow_mut().free(core.take_garbage());
        }
        drop(core);
        // Before the replies of this turn leave: what they promise is saved by then.
        if bus && let Some(mesh) = self.mesh.get() {
            mesh.pump();
        }
        outcome
    }

    /// Does what the core asks for. True if the bus has something to do.
    fn carry_out(&self, core: &mut Core) -> bool {
        let mut bus = false;
        while let Some(output) = core.poll_output() {
            match output {
                Output::Wake(id) => {
                    if let Some(notice) = self.notices.borrow().get(&id) {
                        notice.raise();
                    }
                }
                Output::Feed(id) => {
                    if let Some(notice) = self.notices.borrow().get(&id) {
                        self.feeds.is_due(notice);
                        notice.wake();
                    }
                }
                Output::Bus => bus = true,
                Output::Snapshot => self.copies.wake(),
                Output::Link => self.link_changed.notify_waiters(),
                Output::Reconfigured => {
                    super::log::set_level(&core.parameter("loglevel"));
                    self.configure_log(core);
                }
                Output::NewIncrement => self.begin_increment(core),
                Output::Migrate => self.migration.notify_one(),
                Output::Script => self.script.notify_one(),
                Output::Save => self.snapshot.notify_one(),
                Output::LoadLog => self.load_log(core),
                Output::Shutdown { at_once: true } => self.stop.request_at_once(),
                Output::Shutdown { at_once: false } => self.stop.request(),
            }
        }
        bus
    }

    /// The append-only file is what was read at the start.
    pub(super) fn set_append(&self, append: Append) {
        *self.append.borrow_mut() = Some(append);
    }

    /// Whatever uses the append-only file.
    pub(super) fn with_append<R>(&self, use_it: impl FnOnce(&mut Append) -> R) -> Option<R> {
        self.append.borrow_mut().as_mut().map(use_it)
    }

    /// Lets a thread do work on the folder of the append-only file, if there is one, and gives it what
    /// came of it. None if there is no such file by then: it was turned off.
    pub(super) async fn change_folder<T: Send + 'static, R, W>(
        &self,
        work: impl FnOnce(&mut Append) -> W,
        take: impl FnOnce(&mut Append, T) -> R,
    ) -> Option<std::io::Result<R>>
    where
        W: FnOnce() -> std::io::Result<T> + Send + 'static,
    {
        let changes = self.folder_changes.lock().await;
        let work = self.with_append(work)?;
        let done = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).flatten();
        let taken = match done {
            Ok(done) => self.with_append(|append| take(append, done)).map(Ok),
            Err(error) => Some(Err(error)),
        };
        drop(changes);
        // It may have been turned on again, which had to wait.
        self.with_core(|core| self.configure_log(core));
        taken
    }

    /// What a restart would find of what clients were told is done.
    pub(super) fn keeps(&self) -> Keeps {
        match (self.with_append(|append| append.is_complete()), self.append_policy.get()) {
            (Some(true), Policy::Always) => Keeps::Synced,
            (Some(true), _) => Keeps::Written,
            _ => Keeps::Snapshots,
        }
    }

    /// `appendonly` and `appendfsync` may be others.
    fn configure_log(&self, core: &mut Core) {
        self.append_policy.set(Policy::of(core));
        let (wanted, is_on) = (core.wants_log(), core.logs());
        let mut append = self.append.borrow_mut();
        let may_open = || !core.is_loading() && self.folder_changes.try_lock().is_ok();
        if wanted && append.is_none() && may_open() {
            match Append::open(core) {
                Ok(opened) => {
                    *append = Some(opened);
                    // From the moment of its first base on everything is written.
                    core.rewrite_log();
                    self.snapshot.notify_one();
                }
                Err(error) => tracing::error!("the append-only file cannot be opened: {error}"),
            }
        } else if !wanted && let Some(ended) = append.take() {
            let lost = |error| tracing::error!("the end of the append-only file is lost: {error}");
            match ended.end() {
                Ok(sync) if is_on => {
                    drop(tokio::task::spawn_blocking(move || sync().unwrap_or_else(lost)));
                }
                Err(error) if is_on => lost(error),
                _ => {}
            }
            core.end_log_for_good();
            self.snapshot.notify_one();
        }
    }

    /// DEBUG LOADAOF. As in Redis, the process ends if it fails: the data is there no more.
    #[cold]
    fn load_log(&self, core: &mut Core) {
        let policy = self.append_policy.get();
        let written = self.with_append(|append| {
            append.take(core, policy);
            append.sync()
        });
        let written = written.unwrap_or(Ok(()));
        if let Err(error) = written.map_err(Into::into).and_then(|()| super::load::log_again(core))
        {
            tracing::error!("Error trying to load the AOF files: {error:#}. Exiting...");
            std::process::exit(1);
        }
        tracing::warn!("Append Only File loaded by DEBUG LOADAOF");
    }

    /// A base is being made: what comes from here on goes into a further file.
    fn begin_increment(&self, core: &mut Core) {
        let mut append = self.append.borrow_mut();
        let Some(append) = append.as_mut() else { return };
        match append.begin_increment() {
            Ok(()) => core.set_log(true),
            // What is written goes on into the file before; the base would be without it.
            Err(error) => core.fail_rewrite(&error.to_string()),
        }
    }

    /// Gives to the disk what was written.
    pub(super) fn sync_log_behind(&self) {
        let this = self.append_policy.get() == Policy::EverySecond;
        self.with_append(|append| append.sync_behind(this));
        // What could not be written is tried again.
        self.with_core(|_| ());
    }

    /// The same, and waits for it.
    pub(super) fn sync_log(&self) -> std::io::Result<()> {
        self.with_append(Append::sync).unwrap_or(Ok(()))
    }

    /// Lets the commands of clients reach the bus from here on.
    pub(super) fn connect_bus(&self, mesh: Rc<Mesh<Weak<Engine>>>) {
        let connected = self.mesh.set(mesh);
        assert!(connected.is_ok(), "a node has one bus");
    }

    /// Whether nodes.conf could not be saved: the node ends, and nobody is told what it decided.
    pub(super) fn is_lost(&self) -> bool {
        self.mesh.get().is_some_and(|mesh| mesh.has_failed())
    }

    /// The shared buffers, for the length of one poll.
    pub(super) fn with_buffers<R>(&self, call: impl FnOnce(&mut Buffers) -> R) -> R {
        let mut buffers = self.buffers.borrow_mut();
        let outcome = call(&mut buffers);
        buffers.output.clear();
        if buffers.output.capacity() > OUTPUT_KEPT_BYTES {
            buffers.output = Vec::new();
        }
        outcome
    }

    /// A client's task has begun.
    pub(super) fn join(&self, id: ClientId) -> Rc<Notice> {
        let notice = Rc::<Notice>::default();
        self.notices.borrow_mut().insert(id, notice.clone());
        notice
    }

    /// A client's task has ended.
    pub(super) fn leave(&self, id: ClientId) {
        if let Some(notice) = self.notices.borrow_mut().remove(&id) {
            self.feeds.is_served(&notice);
        }
        self.with_core(|core| core.disconnect(id));
    }

    /// A signal asks this node to stop: whether it can, which is when it could save what it should.
    pub(super) fn may_stop(&self) -> bool {
        self.with_core(|core| core.prepare_end(Now::read())).is_ok()
    }

    /// Waits until replicas have all that clients were told is done, as long as that may take.
    pub(super) async fn wait_for_replicas(&self) {
        let Some((end, limit)) = self.with_core(|core| core.begin_farewell()) else {
            return;
        };
        let caught_up = async {
            while self.with_core(|core| core.replicas_behind(end)).0 > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(limit, caught_up) => {}
            () = self.stop.at_once() => {}
        }
        let (behind, all) = self.with_core(|core| core.replicas_behind(end));
        tracing::info!("{} of {all} replicas are in sync when shutting down.", all - behind);
    }

    /// Ends all clients; those with replies to read get a little time.
    pub(super) async fn finish(&self, linger: Duration) {
        self.with_core(Core::close_all);
        let ended = async {
            while !self.notices.borrow().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(linger, ended).await.is_err() {
            tracing::debug!("clients that did not read their replies are cut off");
        }
    }
}

/// The bus belongs to the engine, and must not keep it alive.
impl Owner for Weak<Engine> {
    fn with_member<R>(&self, use_it: impl FnOnce(&mut Member) -> R) -> R {
        let engine = self.upgrade().expect("the engine outlives the tasks of its thread");
        let mut core = engine.core.borrow_mut();
        use_it(core.member().expect("the bus runs on nodes of clusters only"))
    }

    fn slots_lost(&self, slots: &SlotSet) {
        if let Some(engine) = self.upgrade() {
            engine.with_core(|core| core.drop_slots(slots));
        }
    }

    fn replicate(&self, source: Option<Source>) {
        if let Some(engine) = self.upgrade() {
            engine.with_core(|core| core.replicate(Now::read(), source));
        }
    }

    fn pause_writes(&self, until: Option<Instant>) {
        if let Some(engine) = self.upgrade() {
            engine.with_core(|core| core.pause_writes(until));
        }
    }

    fn hold_writes(&self, hold: bool) {
        if let Some(engine) = self.upgrade() {
            engine.with_core(|core| core.hold_writes(Unsaved::Role, hold));
        }
    }

    fn deliver(&self, broadcast: Broadcast) {
        if let Some(engine) = self.upgrade() {
            engine.with_core(|core| core.deliver(&broadcast));
        }
    }
}
