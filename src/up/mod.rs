//! `keyway up`: a cluster of bundled nodes on this machine, and the proxy in front of it.
//!
//! ```text
//!  keyway up ─── this process: the proxy, metrics, and a keeper for each node
//!     ├── keyway node 7000 ──┐
//!     ├── keyway node 7001 ──┼─ a cluster formed the real way: MEET, ADDSLOTS, gossip
//!     └── keyway node 7002 ──┘
//! ```
//! Nodes are processes so that one can be killed, paused and restarted like a real one. None
//! outlives this process: a polite stop ends them last, after the proxy has drained its clients,
//! and the kernel ends them when this process is killed (see `parent`).

mod folder;
mod form;
mod heir;
mod nodes;
mod parent;
mod ports;

pub use parent::end_with_parent;

use crate::cluster::Endpoint;
use crate::net::Shutdown;
use crate::proxy::io::ShellOptions;
use crate::secret::Secret;
use crate::serve::Serving;
use crate::telemetry::HttpServer;
use anyhow::{Context, Result};
use folder::{Folder, Size};
use nodes::NodeProcess;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long clients may finish: nobody wants to wait for a cluster that was only tried out.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// What `up` can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many primaries.
    pub primaries: NonZeroU16,
    /// How many replicas each of them has.
    pub replicas: u16,
    /// Where clients connect.
    pub port: u16,
    /// The first node's port.
    pub base_port: u16,
    /// The address of proxy and nodes.
    pub bind: IpAddr,
    /// Where metrics are.
    pub http: SocketAddr,
    /// Where each node has its folder.
    pub dir: PathBuf,
    /// Threads of the proxy, at least 1.
    pub workers: usize,
    /// What clients of the proxy must give. The nodes take clients of this host alone.
    pub password: Option<Secret>,
    /// Whether the proxy turns clients of other hosts away while there is no password.
    pub protected_mode: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            primaries: NonZeroU16::new(3).expect("three is not zero"),
            replicas: 1,
            port: 6379,
            base_port: 7000,
            bind: Ipv4Addr::LOCALHOST.into(),
            http: (Ipv4Addr::LOCALHOST, 9379).into(),
            dir: "./keyway-data".into(),
            workers: 1,
            password: None,
            protected_mode: true,
        }
    }
}

impl Options {
    fn size(&self) -> Size {
        Size { primaries: self.primaries.get(), replicas: self.replicas }
    }

    /// The first as many as there are primaries are primaries at first.
    fn node_ports(&self) -> impl Iterator<Item = u16> {
        let ports = self.base_port..=u16::MAX;
        ports.take(self.size().nodes())
    }

    /// Where this process reaches what is bound to `bind`.
    fn reachable(&self) -> IpAddr {
        match self.bind {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let host = self.reachable().to_string();
        self.node_ports().map(|port| Endpoint::new(host.clone(), port)).collect()
    }
}

/// Runs until `stop` is requested.
///
/// # Errors
/// A port or folder that cannot be used, a node that does not start, a cluster that does not form,
/// a proxy that cannot go on. Nothing is left running then.
pub async fn run(options: &Options, stop: &Shutdown) -> Result<()> {
    ports::check(options)?;
    let mut folder = Folder::open(&options.dir, options.size())?;
    let http = HttpServer::bind(options.http)
        .await
        .with_context(|| format!("cannot listen on {}; --http moves it", options.http))?;
    let http_address = http.local_addr()?;
    say(format_args!("Starting {} nodes and forming a cluster …\n", options.size().nodes()));

    // A process that is dropped is ended: whatever fails below leaves none behind.
    let mut nodes = Vec::new();
    for (index, endpoint) in options.endpoints().into_iter().enumerate() {
        nodes.push(NodeProcess::start(index + 1, endpoint, options.bind, &folder)?);
    }
    tokio::select! {
        formed = form::form(&mut nodes, &mut folder, options.size()) => formed?,
        () = stop.requested() => return Ok(()),
    }

    let proxy = crate::proxy::Options {
        seeds: options.endpoints(),
        password: options.password.clone(),
        protected_mode: options.protected_mode,
        drain_timeout: DRAIN_TIMEOUT,
        ..crate::proxy::Options::default()
    };
    let shell = ShellOptions {
        listen: vec![SocketAddr::new(options.bind, options.port)],
        workers: options.workers,
    };
    let mut serving = Serving::start(proxy, shell, stop)?;
    let watch = nodes::watch(&nodes, &serving.metrics);
    let answering =
        tokio::spawn(http.serve(serving.metrics.clone(), serving.health(), stop.clone()));

    let nodes_stop = CancellationToken::new();
    say(format_args!("{}", announcement(options, &nodes, folder.path(), http_address)));
    let endpoints = options.endpoints();
    let keep = |node: NodeProcess| {
        let others = endpoints.iter().filter(|other| **other != node.endpoint).cloned().collect();
        tokio::spawn(node.keep(others, nodes_stop.clone()))
    };
    let keepers: Vec<_> = nodes.into_iter().map(keep).collect();

    let served = serving.ended(stop).await;
    nodes_stop.cancel();
    for keeper in keepers {
        keeper.await.context("whoever keeps a node has failed")?;
    }
    watch.abort();
    answering.abort();
    served
}

/// Tells whoever started this. Nobody may read it any more, which is no reason to end.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = std::io::stdout().write_fmt(text);
}

/// What runs where, and what to try.
fn announcement(
    options: &Options,
    nodes: &[NodeProcess],
    folder: &std::path::Path,
    http: SocketAddr,
) -> String {
    let proxy = SocketAddr::new(options.bind, options.port);
    let mut out =
        format!("\n  proxy    {proxy:<22} one Redis endpoint, no cluster client needed\n");
    for node in nodes {
        out.push_str(&format!("  {node}\n"));
    }
    let host = match options.reachable() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => String::new(),
        ip => format!(" -h {ip}"),
    };
    let port = if options.port == 6379 { String::new() } else { format!(" -p {}", options.port) };
    let folder = folder.display();
    let node_port = options.base_port;
    out.push_str(&format!(
        "  metrics  http://{http}/metrics (and /healthz, /readyz)\n  \
         folder   {folder}\n\n\
         The data and who is who are kept in the folder: started there again, all is as it was.\n\n\
         Try, in another terminal:\n  \
         redis-cli{host}{port} set hello world\n  \
         redis-cli{host}{port} get hello\n  \
         redis-cli{host} -p {node_port} cluster nodes\n\n\
         Ctrl-C ends everything.\n",
    ));
    out
}
