//! One thread that serves clients: its machine, its sockets, and who is woken when.

use super::{backend, client};
use crate::net::before_sleep;
use crate::proxy::Options;
use crate::proxy::core::{Core, Outside, SessionId, Shared, TICK, Word};
use crate::proxy::link::LinkId;
use crate::proxy::metrics::WorkerMetrics;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::TcpStream as StdStream;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

/// What the other threads have of a worker.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    tell: mpsc::UnboundedSender<Tell>,
    clients: Arc<AtomicUsize>,
}

/// How each worker reaches the others, by their numbers.
type Peers = Arc<Vec<mpsc::UnboundedSender<Tell>>>;

/// What a worker is told. Rare: nothing of this is on the way of a request. The queue is bounded
/// by `clients_max`: there is one message per client, two more at the end, and what workers ask
/// each other for their clients.
#[derive(Debug)]
enum Tell {
    Client(StdStream),
    Word(Word),
    Drain,
    Stop,
}

impl WorkerHandle {
    /// Starts the threads of all workers.
    pub(super) fn spawn_all(
        options: &Arc<Options>,
        shared: &Arc<Shared>,
        metrics: &Arc<Vec<Arc<WorkerMetrics>>>,
    ) -> Vec<Self> {
        let (tells, tolds): (Vec<_>, Vec<_>) =
            metrics.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let peers = Arc::new(tells);
        let start = |(number, told)| Self::spawn(number, options, shared, metrics, &peers, told);
        tolds.into_iter().enumerate().map(start).collect()
    }

    fn spawn(
        number: usize,
        options: &Arc<Options>,
        shared: &Arc<Shared>,
        metrics: &Arc<Vec<Arc<WorkerMetrics>>>,
        peers: &Peers,
        told: mpsc::UnboundedReceiver<Tell>,
    ) -> Self {
        let clients = Arc::new(AtomicUsize::new(0));
        let (options, shared, metrics) = (options.clone(), shared.clone(), metrics.clone());
        let load = clients.clone();
        let tell = peers[number].clone();
        let peers = peers.clone();
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || run(number, options, shared, metrics, load, peers, told))
            .expect("a thread can be started at the process's start");
        Self { tell, clients }
    }

    /// How many clients it has.
    pub(super) fn load(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Gives it a client.
    pub(super) fn give(&self, stream: StdStream, shared: &Shared) {
        self.clients.fetch_add(1, Ordering::Relaxed);
        if self.tell.send(Tell::Client(stream)).is_err() {
            // The worker has stopped: the process is about to.
            self.clients.fetch_sub(1, Ordering::Relaxed);
            shared.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Closes its clients as soon as they have what they are owed.
    pub(super) fn drain(&self) {
        let _ = self.tell.send(Tell::Drain);
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        let _ = self.tell.send(Tell::Stop);
    }
}

/// One worker: the machine, and beside it what tokio knows of its clients and connections.
pub(super) struct Worker {
    /// Borrowed within one poll of one task, never across an await.
    pub(super) core: RefCell<Core>,
    pub(super) clients: RefCell<Vec<Option<ClientIo>>>,
    pub(super) links: RefCell<Vec<Option<Waker>>>,
    writer: RefCell<Waker>,
    load: Arc<AtomicUsize>,
    peers: Peers,
    timer: Notify,
    me: Weak<Worker>,
}

/// A client's socket. It is here and not in the client's task so that whoever has replies for the
/// client can write them without waking it.
pub(super) struct ClientIo {
    pub(super) stream: TcpStream,
    pub(super) waker: Option<Waker>,
    /// It is not read from for now: whoever lets it go on wakes its task.
    pub(super) paused: bool,
    /// Its task has something to do that only it can do.
    pub(super) broken: bool,
}

fn run(
    number: usize,
    options: Arc<Options>,
    shared: Arc<Shared>,
    metrics: Arc<Vec<Arc<WorkerMetrics>>>,
    load: Arc<AtomicUsize>,
    peers: Peers,
    told: mpsc::UnboundedReceiver<Tell>,
) {
    let wake_pause = options.wake_pause;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .on_thread_park(move || before_sleep(wake_pause))
        .build()
        .expect("a runtime can be built at the process's start");
    let core = Core::new(options, shared, number, metrics, OUTSIDE, now());
    let worker = Rc::new_cyclic(|me| Worker {
        core: RefCell::new(core),
        clients: RefCell::default(),
        links: RefCell::default(),
        writer: RefCell::new(Waker::noop().clone()),
        load,
        peers,
        timer: Notify::new(),
        me: me.clone(),
    });
    let tasks = LocalSet::new();
    tasks.spawn_local(keep_time(worker.clone()));
    tasks.spawn_local(write_to_clients(worker.clone()));
    tasks.block_on(&runtime, listen(worker, told));
}

/// What a machine may ask of the world.
const OUTSIDE: Outside = Outside {
    unix_us: || crate::clock::Now::read().unix_us(),
    random: unguessable,
    figures: super::figures::read,
};

#[allow(clippy::disallowed_methods, reason = "a password must be unpredictable, not repeatable")]
fn unguessable() -> u64 {
    rand::random()
}

/// The one place where a worker reads its clock.
#[inline]
#[allow(clippy::disallowed_methods, reason = "shells read the clock, machines are handed it")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Does what the worker is told until it is told to stop.
async fn listen(worker: Rc<Worker>, mut told: mpsc::UnboundedReceiver<Tell>) {
    while let Some(tell) = told.recv().await {
        match tell {
            Tell::Client(stream) => worker.take(stream),
            Tell::Word(word) => {
                let now = now();
                worker.core.borrow_mut().told(word, now);
                worker.carry_out(now);
            }
            Tell::Drain => {
                let now = now();
                worker.core.borrow_mut().drain(now);
                worker.carry_out(now);
            }
            Tell::Stop => break,
        }
    }
}

/// Writes to clients whenever it is woken.
///
/// A client that has sent several requests at once and waits for all of them gets its replies in
/// one write, though they come from several nodes at different times: to the kernel a write costs
/// as much as several hundred bytes in it do. What is there waits for the rest for [`MOMENT`] at
/// most, so that one slow node holds up no more than that.
async fn write_to_clients(worker: Rc<Worker>) {
    let mut waiting: Vec<SessionId> = Vec::new();
    let mut moment = pin!(tokio::time::sleep(MOMENT));
    loop {
        let moment_over = poll_fn(|cx| {
            worker.writer.borrow_mut().clone_from(cx.waker());
            if worker.core.borrow().has_writable() {
                return Poll::Ready(false);
            }
            if waiting.is_empty() {
                return Poll::Pending;
            }
            moment.as_mut().poll(cx).map(|()| true)
        })
        .await;
        if moment_over {
            for id in waiting.drain(..) {
                worker.core.borrow_mut().list_writable(id);
            }
            worker.carry_out(now());
            continue;
        }
        let nobody_waited = waiting.is_empty();
        worker.write_complete(&mut waiting);
        if nobody_waited && !waiting.is_empty() {
            moment.as_mut().reset(tokio::time::Instant::now() + MOMENT);
        }
    }
}

/// How long replies wait for those behind them at most. (Tokio's timers count in milliseconds.)
const MOMENT: Duration = Duration::from_millis(1);

/// Lets time pass for the machine.
async fn keep_time(worker: Rc<Worker>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let timer = worker.core.borrow().next_timer();
        let due = async {
            match timer {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let ticked = tokio::select! {
            _ = tick.tick() => true,
            () = due => false,
            () = worker.timer.notified() => continue,
        };
        let now = now();
        {
            let mut core = worker.core.borrow_mut();
            if ticked {
                core.tick(now);
            } else {
                core.due(now);
            }
        }
        worker.carry_out(now);
        if ticked {
            // What was paused for a reason beyond its own client may go on.
            for io in worker.clients.borrow().iter().flatten().filter(|io| io.paused) {
                io.wake();
            }
        }
    }
}

impl Worker {
    fn take(&self, stream: StdStream) {
        let addresses = (stream.peer_addr(), stream.local_addr());
        let (Ok(peer), Ok(local), Ok(stream)) =
            (addresses.0, addresses.1, TcpStream::from_std(stream))
        else {
            // It is gone already.
            self.load.fetch_sub(1, Ordering::Relaxed);
            self.core.borrow_mut().never_came();
            return;
        };
        let id = self.core.borrow_mut().accept(peer, local, now());
        let io = ClientIo { stream, waker: None, paused: false, broken: false };
        put(&mut self.clients.borrow_mut(), id.index(), io);
        let worker = self.me.upgrade().expect("it is running");
        tokio::task::spawn_local(client::serve(worker, id));
    }

    /// Lets go of a client.
    pub(super) fn drop_client(&self, id: SessionId) {
        self.clients.borrow_mut()[id.index()] = None;
        self.core.borrow_mut().forget(id, now());
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Does what the machine has listed: writes to clients, opens connections, wakes who must.
    #[inline]
    pub(super) fn carry_out(&self, now: Instant) {
        let core = &mut *self.core.borrow_mut();
        let clients = &mut *self.clients.borrow_mut();
        self.carry_out_with(core, clients, now);
    }

    pub(super) fn carry_out_with(
        &self,
        core: &mut Core,
        clients: &mut [Option<ClientIo>],
        now: Instant,
    ) {
        while let Some(id) = core.next_writable() {
            if let Some(io) = &mut clients[id.index()] {
                io.write(core, id, now);
            }
        }
        self.carry_on(core);
    }

    /// Writes to those who have no reason to wait, and names the others.
    fn write_complete(&self, waiting: &mut Vec<SessionId>) {
        let now = now();
        let core = &mut *self.core.borrow_mut();
        let clients = &mut *self.clients.borrow_mut();
        while let Some(id) = core.next_writable() {
            if core.can_wait_for_more(id) {
                waiting.push(id);
            } else if let Some(io) = &mut clients[id.index()] {
                io.write(core, id, now);
            }
        }
        self.carry_on(core);
    }

    /// The same, but for writing to clients: that is left to the writer's task, behind those of
    /// other connections that have something to read. A client whose replies come from several
    /// nodes then gets them in one write.
    pub(super) fn carry_out_soon(&self, core: &mut Core) {
        if core.has_writable() {
            self.writer.borrow().wake_by_ref();
        }
        self.carry_on(core);
    }

    fn carry_on(&self, core: &mut Core) {
        while let Some(id) = core.next_open() {
            put(&mut self.links.borrow_mut(), id.index(), Waker::noop().clone());
            let worker = self.me.upgrade().expect("it is running");
            tokio::task::spawn_local(backend::run(worker, id));
        }
        let links = self.links.borrow();
        while let Some(id) = core.next_dirty_link() {
            if let Some(waker) = &links[id.index()] {
                waker.wake_by_ref();
            }
        }
        while let Some((to, word)) = core.next_word() {
            // One that has stopped asks and answers nothing any more.
            let _ = self.peers[to].send(Tell::Word(word));
        }
        if core.timer_moved() {
            self.timer.notify_one();
        }
    }

    /// Keeps the waker of a connection's task.
    #[inline]
    pub(super) fn keep_link_waker(&self, id: LinkId, waker: &Waker) {
        keep(&mut self.links.borrow_mut()[id.index()], waker);
    }
}

impl ClientIo {
    /// Writes what a client is owed, as far as its socket takes it without waiting.
    #[inline]
    fn write(&mut self, core: &mut Core, id: SessionId, now: Instant) {
        loop {
            let output = core.output(id);
            if output.is_empty() {
                break;
            }
            match self.stream.try_write(output) {
                Ok(count) => core.wrote(id, count, now),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return self.wake();
                }
                Err(_) => {
                    self.broken = true;
                    return self.wake();
                }
            }
        }
        if self.paused || core.is_finished(id) {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    #[inline]
    pub(super) fn keep_waker(&mut self, waker: &Waker) {
        keep(&mut self.waker, waker);
    }
}

#[inline]
fn keep(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

fn put<T>(places: &mut Vec<Option<T>>, index: usize, value: T) {
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    places[index] = Some(value);
}
