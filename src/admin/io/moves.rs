//! Carries slot moves out: a lane per source node, many slots per round trip.
//!
//! The original moves one slot after the other and waits for every answer. Here each source has
//! a lane with connections of its own; a lane takes a batch of slots through their machines in
//! step, so that one write carries the commands of all of them. A batch that was begun is
//! finished even if another lane fails or the operator presses Ctrl-C; a second Ctrl-C ends the
//! process, which is safe too: what is open can be gone on with.

use super::failure::Failure;
use super::join;
use super::nodes::{Cluster, connect};
use super::progress::{Arrival, Moved, Progress, Style};
use super::report::{Report, Silent, Terminal};
use super::tool::AGREE_WITHIN;
use crate::admin::pace::Pace;
use crate::admin::plan::Move;
use crate::admin::slot_move::{Order, Party, Route, SlotMove};
use crate::clock::Now;
use crate::cluster::{Endpoint, NodeId};
use crate::net::{Client, ClientOptions, Credentials};
use crate::resp::Reply;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

/// Slots that one lane holds open at a time.
const SLOTS_PER_BATCH: usize = 32;
/// How long a stalled transfer is left alone before it is tried again.
const STALL: Duration = Duration::from_millis(200);
/// redis-trib's timeout of `MIGRATE`.
const TIMEOUT_MS: u32 = 60_000;

/// How slots are moved.
#[derive(Clone, Debug)]
pub(super) struct MoveOptions {
    /// What `MIGRATE` is given.
    pub(super) timeout_ms: u32,
    /// Keys per `MIGRATE`, where an operator set it.
    pub(super) pipeline: Option<usize>,
}

impl MoveOptions {
    pub(super) fn of(invocation: &crate::admin::options::Invocation) -> Result<Self, Failure> {
        let number = |failure: crate::admin::options::UsageError| Failure::new(failure.to_string());
        Ok(Self {
            timeout_ms: invocation.number("timeout").map_err(number)?.unwrap_or(TIMEOUT_MS),
            pipeline: invocation.number("pipeline").map_err(number)?,
        })
    }
}

/// Moves slots, and returns when all nodes know where they are. Wherever it breaks off, the failure says
/// what finishes it.
pub(super) async fn carry_out(
    cluster: &mut Cluster,
    moves: &[Move],
    options: &MoveOptions,
    style: Style,
    report: &mut dyn Report,
) -> Result<Moved, Failure> {
    let moved = begin_and_finish(cluster, moves, options, style, report).await;
    moved.map_err(|failure| match failure.fix {
        Some(_) => failure,
        None => failure.fix(format!("keyway cluster fix {}", cluster.entry)),
    })
}

async fn begin_and_finish(
    cluster: &mut Cluster,
    moves: &[Move],
    options: &MoveOptions,
    style: Style,
    report: &mut dyn Report,
) -> Result<Moved, Failure> {
    join::until_up(cluster, AGREE_WITHIN).await?;
    let mut progress = Progress::new(cluster, moves, style);
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::error(format!("no signals: {error}")))?;
    let tasks = LocalSet::new();
    let lanes = run_lanes(cluster, moves, options, &mut progress, &mut interrupts, report);
    let result = tasks.run_until(lanes).await;
    progress.end(report);
    end_at_the_next(interrupts);
    result?;
    join::until(cluster, AGREE_WITHIN, &mut Silent, join::all_agree).await?;
    Ok(progress.moved())
}

/// No slot is half way from here on, so Ctrl-C means again what it means to any program. It has to
/// be said: a handler that was installed once keeps the process from ending by itself.
fn end_at_the_next(mut interrupts: Signal) {
    tokio::spawn(async move {
        if interrupts.recv().await.is_some() {
            Terminal::new().line("*** Interrupted.");
            std::process::exit(1);
        }
    });
}

async fn run_lanes(
    cluster: &mut Cluster,
    moves: &[Move],
    options: &MoveOptions,
    progress: &mut Progress,
    interrupts: &mut Signal,
    report: &mut dyn Report,
) -> Result<(), Failure> {
    let mut by_source: BTreeMap<NodeId, Vec<Move>> = BTreeMap::new();
    for slot_move in moves {
        by_source.entry(slot_move.from).or_default().push(*slot_move);
    }
    let stop = Rc::new(Cell::new(false));
    let (arrivals, mut arrived) = mpsc::channel(1024);
    let mut lanes = JoinSet::new();
    for moves in by_source.into_values() {
        let lane = Plans::new(cluster, options, &moves)?;
        lanes.spawn_local(lane.run(moves, Rc::clone(&stop), arrivals.clone()));
    }
    drop(arrivals);
    let mut failure = None;
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            arrival = arrived.recv() => match arrival {
                Some(arrival) => progress.arrived(&arrival, report),
                None => break,
            },
            Some(lane) = lanes.join_next() => {
                let lane = lane.map_err(|error| Failure::error(format!("a lane died: {error}")))?;
                if let Err(error) = lane {
                    stop.set(true);
                    failure.get_or_insert(error);
                }
            }
            _ = tick.tick() => progress.tick(report),
            Some(()) = interrupts.recv() => {
                if stop.replace(true) {
                    return Err(Failure::new("*** Interrupted twice: slots may be left open."));
                }
                failure = Some(Failure::new(
                    "*** Interrupted: the slots that were begun are moved, the others stay.",
                ).fix("run the same command again, or leave it so: nothing is open"));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What a lane needs to know before it connects.
#[derive(Debug)]
struct Plans {
    source: Endpoint,
    /// Destinations, and how the source reaches them.
    routes: BTreeMap<NodeId, (Endpoint, Route)>,
    /// All primaries.
    primaries: BTreeMap<NodeId, Endpoint>,
    client: ClientOptions,
    pace: Pace,
}

impl Plans {
    fn new(cluster: &mut Cluster, options: &MoveOptions, moves: &[Move]) -> Result<Self, Failure> {
        let mut client = cluster.options().clone();
        // One write may carry several transfers, each of which may take its time.
        client.command_timeout = Duration::from_millis(u64::from(options.timeout_ms)) * 2
            + cluster.options().command_timeout;
        let primaries: BTreeMap<NodeId, Endpoint> =
            cluster.snapshot.primaries().map(|node| (node.id(), node.endpoint.clone())).collect();
        let known = |id: NodeId| {
            primaries
                .get(&id)
                .cloned()
                .ok_or_else(|| Failure::error(format!("No such master ID {id}")))
        };
        let source = known(moves.first().map(|m| m.from).expect("a lane has moves"))?;
        let mut routes = BTreeMap::new();
        for slot_move in moves {
            let endpoint = known(slot_move.to)?;
            let host = cluster.node(slot_move.to).address();
            let auth = auth_of(&client.credentials);
            let route = Route { host, port: endpoint.port, timeout_ms: options.timeout_ms, auth };
            routes.insert(slot_move.to, (endpoint, route));
        }
        let pace = Pace::new(options.pipeline);
        Ok(Self { source, routes, primaries, client, pace })
    }

    async fn run(
        self,
        moves: Vec<Move>,
        stop: Rc<Cell<bool>>,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Result<(), Failure> {
        let source = connect(&self.source, &self.client).await?.into_client();
        let mut others = BTreeMap::new();
        let is_other = |endpoint: &Endpoint| *endpoint != self.source;
        for (id, endpoint) in self.primaries.iter().filter(|(_, endpoint)| is_other(endpoint)) {
            // A node that does not answer learns of the new owner by gossip.
            if let Ok(client) = Client::connect(&endpoint.host, endpoint.port, &self.client).await {
                others.insert(*id, client);
            }
        }
        let mut lane = Lane { source, others, pace: self.pace, source_endpoint: self.source };
        let mut left = moves.as_slice();
        while let Some(first) = left.first()
            && !stop.get()
        {
            let same = left.iter().take_while(|m| m.to == first.to).count();
            let (batch, rest) = left.split_at(same.min(SLOTS_PER_BATCH));
            left = rest;
            let (endpoint, route) = &self.routes[&first.to];
            lane.carry_out(batch, endpoint, route, &arrivals).await?;
        }
        Ok(())
    }
}

/// `AUTH …` or `AUTH2 …`, as `MIGRATE` takes it.
pub(super) fn auth_of(credentials: &Credentials) -> Vec<Bytes> {
    let Some(password) = &credentials.password else { return Vec::new() };
    let password = Bytes::copy_from_slice(password.expose());
    match &credentials.user {
        Some(user) => {
            vec![Bytes::from_static(b"AUTH2"), Bytes::from(user.clone().into_bytes()), password]
        }
        None => vec![Bytes::from_static(b"AUTH"), password],
    }
}

/// One source's connections.
#[derive(Debug)]
struct Lane {
    source: Client,
    source_endpoint: Endpoint,
    others: BTreeMap<NodeId, Client>,
    pace: Pace,
}

impl Lane {
    /// Takes a batch of slots, all for the same destination, through to their end.
    async fn carry_out(
        &mut self,
        batch: &[Move],
        destination: &Endpoint,
        route: &Route,
        arrivals: &mpsc::Sender<Arrival>,
    ) -> Result<(), Failure> {
        let to = batch[0].to;
        let mut machines: Vec<SlotMove> =
            batch.iter().map(|m| SlotMove::new(m.slot, m.from, m.to, route.clone())).collect();
        loop {
            let orders: Vec<Option<Order>> =
                machines.iter().map(|machine| machine.order(self.pace.keys())).collect();
            if orders.iter().all(Option::is_none) {
                break;
            }
            let drains = machines.iter().any(SlotMove::is_draining);
            if machines.iter().any(SlotMove::is_stalled) {
                tokio::time::sleep(STALL).await;
            }
            let start = Now::read().instant;
            let replies = self.exchange(&orders, to, destination).await?;
            if drains {
                self.pace.took(Now::read().instant.duration_since(start));
            }
            for (machine, reply) in machines.iter_mut().zip(replies) {
                let Some(reply) = reply else { continue };
                let at = |stuck| Failure::at(&self.source_endpoint, stuck);
                machine.handle(&reply).map_err(at)?;
            }
        }
        for (slot_move, machine) in batch.iter().zip(&machines) {
            let arrival = Arrival { slot_move: *slot_move, keys: machine.keys_moved() };
            // Nobody listens only when the run is over.
            let _ = arrivals.send(arrival).await;
        }
        Ok(())
    }

    /// Sends each party its orders in one write, and gives every machine its reply.
    async fn exchange(
        &mut self,
        orders: &[Option<Order>],
        to: NodeId,
        destination: &Endpoint,
    ) -> Result<Vec<Option<Reply>>, Failure> {
        let mut replies: Vec<Option<Reply>> = vec![None; orders.len()];
        for party in [Party::Destination, Party::Source, Party::Others] {
            let (places, commands): (Vec<usize>, Vec<Vec<Bytes>>) = orders
                .iter()
                .enumerate()
                .filter_map(|(n, order)| {
                    let order = order.as_ref().filter(|order| order.to == party)?;
                    Some((n, order.args.clone()))
                })
                .unzip();
            if commands.is_empty() {
                continue;
            }
            let answers = match party {
                Party::Source => self.ask_source(&commands).await?,
                Party::Destination => self.ask_destination(&commands, to, destination).await?,
                Party::Others => self.tell_others(&commands, to).await,
            };
            for (place, answer) in places.into_iter().zip(answers) {
                replies[place] = Some(answer);
            }
        }
        Ok(replies)
    }

    async fn ask_source(&mut self, commands: &[Vec<Bytes>]) -> Result<Vec<Reply>, Failure> {
        let answers = self.source.call_all(commands).await;
        answers.map_err(|error| Failure::at(&self.source_endpoint, error))
    }

    async fn ask_destination(
        &mut self,
        commands: &[Vec<Bytes>],
        to: NodeId,
        destination: &Endpoint,
    ) -> Result<Vec<Reply>, Failure> {
        let gone = || Failure::error(format!("Sorry, can't connect to node {destination}"));
        let client = self.others.get_mut(&to).ok_or_else(gone)?;
        client.call_all(commands).await.map_err(|error| Failure::at(destination, error))
    }

    /// Tells the primaries that are neither end.
    async fn tell_others(&mut self, commands: &[Vec<Bytes>], to: NodeId) -> Vec<Reply> {
        let mut gone = Vec::new();
        for (id, client) in &mut self.others {
            if *id != to && client.call_all(commands).await.is_err() {
                gone.push(*id);
            }
        }
        for id in gone {
            self.others.remove(&id);
        }
        vec![Reply::simple("OK"); commands.len()]
    }
}
