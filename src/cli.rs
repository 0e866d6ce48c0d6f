//! The command line: what each command is told, and which part of the program does it.

use crate::cluster::Endpoint;
use crate::config::{self, ProxyConfig, Workers};
use crate::net::Shutdown;
use crate::proxy::io::ShellOptions;
use crate::secret::Secret;
use crate::serve::Serving;
use crate::telemetry::logging::{self, LogFormat, LogOptions};
use crate::telemetry::{self, HttpServer};
use crate::up;
use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a binary or link must be called to be the cluster tool alone.
const TOOL_NAMES: [&str; 2] = ["redis-trib", "redis-trib.rb"];

/// One plain Redis endpoint in front of a cluster.
///
/// An application that knows nothing of clusters connects to Keyway as to one Redis server;
/// Keyway knows which node holds which key.
#[derive(Debug, Parser)]
#[command(name = "keyway", version = version(), max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "To begin: `keyway up`, then `redis-cli` in another terminal.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster of bundled nodes on this machine, and the proxy in front of it
    ///
    /// Each node is a process of its own: kill one, pause one, restart one, and watch what your
    /// application sees. All of them end with this command. Started again in the same folder, the same
    /// nodes come back with their data: each keeps an append-only file, synced once a second.
    Up(UpArgs),
    /// Run the proxy in front of any Redis or Valkey cluster
    ///
    /// It learns the cluster from any node it can reach and follows every change. Options win over the
    /// file; `keyway config check` explains what is wrong with a file.
    Proxy(ProxyArgs),
    /// Run one bundled cluster node, configured as redis-server is
    ///
    /// A file in redis.conf's grammar, directives, or both; directives win.
    Node(NodeArgs),
    /// Create, check, mend and reshape a cluster, as redis-trib.rb and redis-cli --cluster do
    ///
    /// `keyway cluster help` lists the subcommands. A link to this binary named `redis-trib` or
    /// `redis-trib.rb` behaves as `keyway cluster`.
    Cluster(ClusterArgs),
    /// Look at configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct LogArgs {
    /// What is logged: levels by module, as in `warn,keyway::proxy=debug`
    #[arg(long, value_name = "FILTER", env = "KEYWAY_LOG", hide_env_values = true)]
    log: Option<String>,
    /// How a line of the log looks
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

impl LogArgs {
    fn over(&self, log: &mut LogOptions) {
        if let Some(filter) = &self.log {
            log.filter.clone_from(filter);
        }
        if let Some(format) = self.log_format {
            log.format = format;
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Then, in another terminal:\n  redis-cli set hello world\n  \
                        curl -s http://127.0.0.1:9379/metrics\n  redis-cli -p 7000 cluster nodes")]
struct UpArgs {
    /// How many primaries share the keys
    #[arg(long, alias = "masters", value_name = "N", default_value = "3")]
    primaries: NonZeroU16,
    /// How many replicas each primary has: one takes over when its primary dies
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: u16,
    /// Where clients connect
    #[arg(long, value_name = "PORT", default_value_t = 6379)]
    port: u16,
    /// Port of the first node; the others follow. Each also takes its port plus 10000 for the
    /// cluster bus
    #[arg(long, value_name = "PORT", default_value_t = 7000)]
    base_port: u16,
    /// Address of the proxy and the nodes
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Where /metrics, /healthz and /readyz are
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9379")]
    http: SocketAddr,
    /// The password that clients of the proxy must give. The nodes take clients of this host alone
    #[arg(long, value_name = "PASSWORD", env = "KEYWAY_REQUIREPASS", hide_env_values = true)]
    requirepass: Option<String>,
    /// Whether the proxy turns clients of other hosts away while there is no password
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no, default_value = "yes")]
    protected_mode: bool,
    /// One folder per node is kept here: its identity and its log
    #[arg(long, value_name = "DIR", default_value = "./keyway-data")]
    dir: PathBuf,
    /// Threads of the proxy: a number, or `auto` for one per core
    #[arg(long, value_name = "N", default_value = "auto")]
    workers: Workers,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  keyway proxy 10.0.0.1:7000 10.0.0.2:7000\n  \
                        keyway proxy --config /etc/keyway/proxy.yaml --workers 4")]
struct ProxyArgs {
    /// Nodes to learn the cluster from; any one that answers is enough
    #[arg(value_name = "SEED")]
    seeds: Vec<Endpoint>,
    /// A configuration file; config/proxy.yaml in the sources shows every key
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect; may be given more than once [default: 127.0.0.1:6379]
    #[arg(long, short, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Threads that serve clients: a number, or `auto` for one per core [default: auto]
    #[arg(long, value_name = "N")]
    workers: Option<Workers>,
    /// Where /metrics, /healthz and /readyz are [default: nowhere]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// The password that clients must give
    #[arg(long, value_name = "PASSWORD", env = "KEYWAY_REQUIREPASS", hide_env_values = true)]
    requirepass: Option<String>,
    /// Whether clients of other hosts are turned away while there is no password [default: yes]
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    protected_mode: Option<bool>,
    /// The user that the proxy is to the nodes
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The password that the proxy gives to the nodes. A command line can be read by every user of
    /// the machine: better the variable, or the file
    #[arg(long, value_name = "PASSWORD", env = "KEYWAY_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
#[command(override_usage = "keyway node [FILE] [--directive value …]")]
#[command(after_help = "Examples:\n  keyway node --port 7000 --cluster-enabled yes\n  \
                        keyway node /etc/keyway/node.conf --port 7001 --appendonly no")]
struct NodeArgs {
    /// A file, then directives with two dashes before their names
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "keyway cluster <SUBCOMMAND> [OPTIONS] [ARGS]"
)]
struct ClusterArgs {
    /// A subcommand, its options and its arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether a file is right; if not, what is wrong, where, and what was expected
    ///
    /// A file that ends in .conf is read as a node's, any other as the proxy's. The exit status is
    /// 0 when the file is right and 1 when it is not.
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Version and commit, or an honest word in the commit's place.
pub(crate) fn version() -> &'static str {
    const TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KEYWAY_COMMIT"), ")");
    TEXT
}

/// Runs the program, and tells how it ended. `args` begin with the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(as_tool(args.collect())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to standard output. A closed pipe has no reader
            // to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    telemetry::count_panics();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("keyway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Under one of [`TOOL_NAMES`], every argument belongs to `keyway cluster`.
fn as_tool(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args.first().and_then(|program| Path::new(program).file_name());
    if TOOL_NAMES.iter().any(|tool| name.is_some_and(|name| name == *tool)) {
        args.splice(0..1, ["keyway".into(), "cluster".into()]);
    }
    args
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up(&args),
        Command::Proxy(args) => proxy(&args),
        Command::Node(args) => node(args.args),
        Command::Cluster(args) => Ok(crate::admin::io::main(args.args)),
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "keyway", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One thread: the shells bring their own where they want more.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn up(args: &UpArgs) -> Result<ExitCode> {
    let mut log = LogOptions { filter: "warn".to_owned(), ..LogOptions::default() };
    args.log.over(&mut log);
    logging::start(&log)?;
    let options = up::Options {
        primaries: args.primaries,
        replicas: args.replicas,
        port: args.port,
        base_port: args.base_port,
        bind: args.bind,
        http: args.http,
        dir: args.dir.clone(),
        workers: args.workers.resolve().get(),
        password: args.requirepass.as_deref().map(Secret::new),
        protected_mode: args.protected_mode,
    };
    runtime()?.block_on(async {
        let stop = Shutdown::on_signals().context("cannot handle signals")?;
        up::run(&options, &stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn node(args: Vec<OsString>) -> Result<ExitCode> {
    up::end_with_parent()?;
    let config = config::node::NodeConfig::from_args(&args)?;
    crate::node::io::take_title(&config);
    Ok(crate::node::io::run(config)?)
}

fn proxy(args: &ProxyArgs) -> Result<ExitCode> {
    let config = args.config()?;
    logging::start(&config.log)?;
    let shell =
        ShellOptions { listen: config.listen.clone(), workers: config.workers.resolve().get() };
    runtime()?.block_on(async {
        let stop = Shutdown::on_signals().context("cannot handle signals")?;
        let http = match config.http {
            None => None,
            Some(address) => Some(
                HttpServer::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address} (http)"))?,
            ),
        };
        let mut serving = Serving::start(config.options(), shell, &stop)?;
        if let Some(http) = http {
            tracing::info!(address = %http.local_addr()?, "metrics and health are served");
            tokio::spawn(http.serve(serving.metrics.clone(), serving.health(), stop.clone()));
        }
        serving.ended(&stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// As redis.conf has it.
fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("expected yes or no"),
    }
}

impl ProxyArgs {
    /// The file, if there is one, with the options over it.
    fn config(&self) -> Result<ProxyConfig> {
        let mut config = match &self.config {
            Some(path) => config::load_proxy(path)?,
            None => ProxyConfig::default(),
        };
        if !self.seeds.is_empty() {
            config.seeds.clone_from(&self.seeds);
        }
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(workers) = self.workers {
            config.workers = workers;
        }
        if let Some(http) = self.http {
            config.http = Some(http);
        }
        if let Some(password) = &self.requirepass {
            config.password = Some(Secret::new(password));
        }
        if let Some(protected_mode) = self.protected_mode {
            config.protected_mode = protected_mode;
        }
        if let Some(user) = &self.user {
            config.backend.user = Some(user.clone());
        }
        if let Some(password) = &self.password {
            config.backend.password = Some(Secret::new(password));
        }
        self.log.over(&mut config.log);
        anyhow::ensure!(
            !config.seeds.is_empty(),
            "no node to learn the cluster from: name one, as in `keyway proxy 127.0.0.1:7000`, or \
             list `seeds` in the configuration file"
        );
        let problems = config.problems();
        anyhow::ensure!(
            problems.is_empty(),
            "{}",
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
        Ok(config)
    }
}

fn check(file: &Path) -> Result<ExitCode> {
    if file.extension().is_some_and(|extension| extension == "conf") {
        crate::node::io::check(&config::node::NodeConfig::from_file(file)?)?;
        println!("{}: right", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    match config::check_proxy(&file.display().to_string(), &text) {
        Ok(_) => {
            println!("{}: right", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}\n");
            }
            eprintln!("{}: {} to mend", file.display(), problems.len());
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(as_tool(line.split(' ').map(OsString::from).collect()))
    }

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_nodes_directives_reach_the_node_untouched() {
        for line in [
            "keyway node --port 7000 --cluster-enabled yes",
            "keyway node node.conf --port 7000 --save  --version",
            "keyway node - --loglevel debug",
        ] {
            let Command::Node(node) = parse(line).expect("it is a node's").command else {
                panic!("{line}: not taken for a node");
            };
            let args: Vec<&str> = node.args.iter().filter_map(|arg| arg.to_str()).collect();
            assert_eq!(args.join(" "), line.strip_prefix("keyway node ").expect("it is one"));
        }
    }

    #[test]
    fn a_link_named_redis_trib_is_the_cluster_tool() {
        for program in ["redis-trib", "./redis-trib.rb", "/usr/bin/redis-trib.rb"] {
            let line = format!("{program} create --replicas 1 127.0.0.1:8000");
            let Command::Cluster(cluster) = parse(&line).expect("it is the tool's").command else {
                panic!("{line}: not taken for the tool");
            };
            assert_eq!(cluster.args, ["create", "--replicas", "1", "127.0.0.1:8000"]);
        }
    }

    #[test]
    fn masters_is_another_word_for_primaries() {
        let Command::Up(up) = parse("keyway up --masters 5").expect("it is known").command else {
            panic!("not taken for up");
        };
        assert_eq!(up.primaries.get(), 5);
    }

    #[test]
    fn options_win_over_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("proxy.yaml");
        let text = "seeds: [10.0.0.1:1]\nlisten: 127.0.0.1:1\nworkers: 3\nlog: {filter: warn}\n";
        std::fs::write(&file, text).expect("it is writable");
        let line =
            format!("keyway proxy --config {} --listen 127.0.0.1:2 [::1]:7000", file.display());
        let Command::Proxy(proxy) = parse(&line).expect("it is a proxy's").command else {
            panic!("not taken for a proxy");
        };
        let config = proxy.config().expect("it is right");
        assert_eq!(config.seeds, [Endpoint::new("::1", 7000)]);
        assert_eq!(config.listen, [SocketAddr::from(([127, 0, 0, 1], 2))]);
        assert_eq!(config.workers.to_string(), "3");
        assert_eq!(config.log.filter, "warn");
    }

    #[test]
    fn a_node_file_is_checked_by_the_nodes_own_rules() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("node.conf");
        for (text, right) in [
            ("port 7000\ncluster-enabled yes\n", true),
            ("port many\n", false),
            ("no-such-directive 1\n", false),
            ("cluster-enabled yes   // on\n", false),
        ] {
            std::fs::write(&file, text).expect("it is writable");
            assert_eq!(check(&file).is_ok(), right, "{text}");
        }
    }

    #[test]
    fn a_proxy_without_a_seed_says_what_it_needs() {
        let Command::Proxy(proxy) = parse("keyway proxy").expect("it is a proxy's").command else {
            panic!("not taken for a proxy");
        };
        let error = proxy.config().expect_err("it has no seed").to_string();
        assert!(error.contains("keyway proxy 127.0.0.1:7000"), "{error}");
    }

    #[test]
    fn the_version_names_the_release_and_the_commit() {
        let text = parse("keyway --version").expect_err("it only prints").to_string();
        assert!(text.starts_with(concat!("keyway ", env!("CARGO_PKG_VERSION"), " (")), "{text}");
    }
}
