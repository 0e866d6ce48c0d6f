//! The node's shell: sockets, signals, files and the clock around [`Core`].

mod append;
mod bus;
mod client;
mod copies;
mod engine;
mod feeds;
mod free;
mod host;
mod listen;
mod load;
mod log;
mod log_folder;
mod manifest;
mod migrate;
mod new_file;
mod persist;
mod replica;
mod running;
mod script;
mod snapshot;
mod spool;
mod stream;
mod subnets;
mod syncer;
mod title;
mod unix;
mod upstream;

pub use bus::{Mesh, Owner};
pub use persist::{NodesConf, OpenError};
pub use title::take_title;

use super::{Core, CoreOptions, Unsaved};
use crate::clock::Now;
use crate::config::node::{FatalConfig, NodeConfig};
use crate::net::{Shutdown, StopSignals, before_sleep};
use engine::Engine;
use host::Sockets;
use running::{Keeps, RunningNote};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use unix::UnixSocket;

/// How long clients may take to read their last replies once the node was told to stop.
const LINGER: Duration = Duration::from_millis(500);
/// How long the node's thread sleeps at least while many clients ask for little at a time. The kernel adds what it
/// allows itself to be late by, 50 µs unless told otherwise. Twice as much left clients without work (docs/decisions.md).
const WAKE_PAUSE: Duration = Duration::from_micros(1);

/// Why a node could not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] FatalConfig),
    /// Its port is taken, or its address is not of this machine. The log has said so.
    #[error("Failed listening on port {port} (TCP), aborting.")]
    Listen {
        /// The port.
        port: u16,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// Its nodes.conf cannot be used.
    #[error(transparent)]
    NodesConf(#[from] OpenError),
    /// Its data cannot be loaded. The log has said why.
    #[error("Fatal error loading the DB, check server logs. Exiting.")]
    Load,
    /// A file or a facility that it needs.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
}

impl NodeError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Says whether a node would start with this configuration, and starts nothing.
///
/// # Errors
/// What is wrong with it: the first mistake, in the words of `redis-server`.
pub fn check(config: &NodeConfig) -> Result<(), FatalConfig> {
    config.refuse_what_is_not_built()?;
    let options = CoreOptions {
        directives: config.directives.iter().map(|d| (d.name.clone(), d.words.clone())).collect(),
        config_file: None,
        host: Box::new(host::Process::new(Rc::default())),
        seed: 0,
    };
    let refused = |(place, reason): (usize, String)| {
        config.fatal(place.min(config.directives.len().saturating_sub(1)), reason)
    };
    Core::new(Now::read(), options).map(|_| ()).map_err(refused)
}

/// Runs a node until it is told to stop: by SIGTERM, SIGINT or SHUTDOWN.
///
/// # Errors
/// What keeps it from starting.
pub fn run(config: NodeConfig) -> Result<ExitCode, NodeError> {
    config.refuse_what_is_not_built()?;
    let directory = config.last("dir").unwrap_or(".").to_owned();
    let config_file = config.file.as_deref().map(std::path::absolute).transpose();
    let config_file = config_file.map_err(NodeError::io("finding the configuration file"))?;
    std::env::set_current_dir(&directory)
        .map_err(NodeError::io(format!("Can't chdir to '{directory}'")))?;
    let here = std::env::current_dir().map_err(NodeError::io("finding the directory"))?;
    log::start(config.last("logfile"), config.last("loglevel"))?;

    let mut directives: Vec<(String, Vec<String>)> =
        config.directives.iter().map(|d| (d.name.clone(), d.words.clone())).collect();
    let given = directives.len();
    directives.push(("dir".to_owned(), vec![here.display().to_string()]));
    let sockets = Rc::<Sockets>::default();
    let options = CoreOptions {
        directives,
        config_file,
        host: Box::new(host::Process::new(sockets.clone())),
        seed: host::seed().map_err(NodeError::io("reading random bytes"))?,
    };
    let core = Core::new(Now::read(), options)
        .map_err(|(place, reason)| config.fatal(place.min(given.saturating_sub(1)), reason))?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| before_sleep(WAKE_PAUSE))
        .build()
        .map_err(NodeError::io("starting the runtime"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(core, sockets))
}

async fn serve(mut core: Core, sockets: Rc<Sockets>) -> Result<ExitCode, NodeError> {
    let pid = std::process::id();
    tracing::info!("Keyway {} is starting", env!("CARGO_PKG_VERSION"));
    for name in core.parameters_without_effect() {
        tracing::warn!("{name} is set, but this node does not act on it");
    }
    let port = core.parameter("port").parse().expect("ports are checked when they are set");
    let nodes_conf = match core.bus_port() {
        None => None,
        Some(bus_port) => Some((open_nodes_conf(&mut core)?, bus_port)),
    };
    let note = nodes_conf.as_ref().map(|_| {
        let beside = core.parameter("cluster-config-file");
        RunningNote::beside(Path::new(&beside)).map(Arc::new)
    });
    let note = note.transpose().map_err(NodeError::io("reading the note of the last run"))?;
    let signals = StopSignals::listen().map_err(NodeError::io("listening for signals"))?;
    let (addresses, backlog) = (core.parameter("bind"), core.parameter("tcp-backlog"));
    let failed = |port: u16| {
        move |source| {
            tracing::error!("Could not create server TCP listening socket: {source}");
            tracing::error!("Failed listening on port {port} (TCP), aborting.");
            NodeError::Listen { port, source }
        }
    };
    sockets.listening.open(&addresses, port, &backlog).map_err(failed(port))?;
    let path = core.parameter("unixsocket");
    let unix = (!path.is_empty()).then(|| {
        UnixSocket::bind(Path::new(&path), &core.parameter("unixsocketperm")).inspect_err(|error| {
            tracing::error!("Failed opening Unix socket: bind: {error}");
        })
    });
    let unix = unix.transpose().map_err(NodeError::io(format!("listening on {path}")))?;
    let bus_listeners = match &nodes_conf {
        None => Vec::new(),
        Some((_, port)) => listen::bind(&addresses, *port, &backlog).map_err(failed(*port))?,
    };
    let pidfile = core.parameter("pidfile");
    // CONFIG SET dir does not move it.
    let pidfile = (!pidfile.is_empty()).then(|| std::path::absolute(pidfile)).transpose();
    let pidfile = pidfile.map_err(NodeError::io("finding the pid file"))?;
    if let Some(pidfile) = &pidfile {
        let what = format!("writing the pid file {}", pidfile.display());
        std::fs::write(pidfile, format!("{pid}\n")).map_err(NodeError::io(what))?;
    }
    tracing::info!("Running mode={}, port={port}.", core.mode());
    // Who waits for this line connects next.
    tracing::info!("PID: {pid}");
    tracing::info!("Server initialized");

    let listening = Rc::clone(&sockets.listening);
    let stop = Shutdown::new();
    let engine = Rc::new(Engine::new(core, sockets, stop.clone()));
    let asked = engine.clone();
    tokio::task::spawn_local(signals.request(stop.clone(), move || asked.may_stop()));
    tokio::task::spawn_local(listen::accept(listening, engine.clone()));
    if let Some(unix) = unix {
        tokio::task::spawn_local(unix.accept(engine.clone()));
    }
    tokio::task::spawn_local(tick(engine.clone()));
    tokio::task::spawn_local(upstream::follow(engine.clone()));
    tokio::task::spawn_local(copies::make(engine.clone()));
    tokio::task::spawn_local(migrate::run(engine.clone()));
    tokio::task::spawn_local(script::run(engine.clone()));
    let mesh = nodes_conf.map(|(conf, _)| Mesh::new(Rc::downgrade(&engine), conf));
    if let Some(mesh) = &mesh {
        engine.connect_bus(Rc::clone(mesh));
    }
    let bus = async {
        match &mesh {
            Some(mesh) => Rc::clone(mesh).run(bus_listeners).await,
            None => std::future::pending().await,
        }
    };
    tokio::task::spawn_local(snapshot::run(engine.clone()));
    tokio::task::spawn_local(sync_log(engine.clone()));
    let loads = async {
        load::at_start(&engine).await?;
        // Whatever this node has on disk is loaded by here.
        let logs = engine.with_core(|core| core.parameter("appendonly")) == "yes";
        let whole = note.as_ref().is_none_or(|note| note.data_is_whole(logs));
        engine.with_core(|core| core.guard_restart(Now::read(), whole));
        load::resume_log(&engine).await?;
        if let Some(note) = note.clone() {
            tokio::task::spawn_local(keep_note(engine.clone(), note));
        }
        tracing::info!("Ready to accept connections");
        anyhow::Ok(())
    };
    let serves = async {
        match loads.await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };

    tokio::select! {
        () = stop.requested() => {}
        error = serves => {
            tracing::error!("Fatal error loading the DB: {error:#}. Exiting.");
            return Err(NodeError::Load);
        }
        // Nobody may hear of what a restart would undo: the node ends.
        failed = bus => return failed.map(|()| ExitCode::SUCCESS).map_err(
            NodeError::io("Fatal: can't update cluster config file."),
        ),
    }
    // By here all is saved that is to be, and no write is run any more.
    engine.wait_for_replicas().await;
    engine.finish(LINGER).await;
    engine.sync_log().map_err(NodeError::io("writing the append-only file before the end"))?;
    if let Some(mesh) = &mesh {
        mesh.save().map_err(NodeError::io("Fatal: can't update cluster config file."))?;
    }
    if let Some(note) = &note
        && (engine.keeps() != Keeps::Snapshots
            || engine.with_core(|core| core.unsaved_changes()) == 0)
    {
        note.remove().map_err(NodeError::io("removing the note that this node runs"))?;
    }
    if let Some(pidfile) = &pidfile {
        remove_pidfile(pidfile);
    }
    tracing::info!("Keyway is now ready to exit, bye bye...");
    Ok(ExitCode::SUCCESS)
}

/// Makes the node what its nodes.conf says that it is.
fn open_nodes_conf(core: &mut Core) -> Result<NodesConf, NodeError> {
    let name = core.parameter("cluster-config-file");
    let (conf, saved) = NodesConf::open(Path::new(&name)).inspect_err(|error| {
        tracing::error!("{error}");
    })?;
    let seed = host::seed_bytes().map_err(NodeError::io("reading random bytes"))?;
    core.join_cluster(Now::read(), saved.as_ref(), seed);
    match saved {
        Some(saved) => tracing::info!("Node configuration loaded, I'm {}", saved.myself().id),
        None => {
            let id = core.member().map(|member| member.view().myself().id);
            tracing::info!("No cluster configuration found, I'm {}", id.expect("it has joined"));
        }
    }
    Ok(conf)
}

fn remove_pidfile(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove the pid file");
    }
}

/// `appendfsync everysec`
async fn sync_log(engine: Rc<Engine>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.sync_log_behind();
    }
}

/// Keeps the note that this node runs true. It is on disk before the first write is taken, unless one
/// is there that promises no more.
async fn keep_note(engine: Rc<Engine>, note: Arc<RunningNote>) {
    let promises_more = note.promises_more_than(engine.keeps());
    engine.with_core(|core| core.hold_writes(Unsaved::Note, promises_more));
    loop {
        let keeps = engine.keeps();
        if note.says() != Some(keeps) {
            let note = note.clone();
            let set = tokio::task::spawn_blocking(move || note.set(keeps));
            if let Err(error) = set.await {
                tracing::error!(%error, "the thread that notes that this node runs has ended");
            }
        }
        engine.with_core(|core| core.hold_writes(Unsaved::Note, false));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Calls [`Core::handle_tick`] `hz` times a second.
async fn tick(engine: Rc<Engine>) {
    loop {
        let every = engine.with_core(|core| {
            core.handle_tick(Now::read());
            core.tick_every()
        });
        tokio::time::sleep(every).await;
    }
}
