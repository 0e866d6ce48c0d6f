//! INFO, in the words of one Redis server: what is the proxy's own is the proxy's, and what the
//! nodes know (the keyspace) is asked of them and added up.

use super::introspect::start_time;
use super::local::{Env, VERSION_UNKNOWN};
use super::metrics::{Latency, Outcome, WorkerMetrics};
use super::topics::TopicKind;
use crate::command::{Spec, all};
use crate::resp::{Encoder, Request};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// One section: its name, whether it is shown unasked, and how it is written.
struct Section {
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&mut Fields, &Env<'_>),
}

const fn section(
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&mut Fields, &Env<'_>),
) -> Section {
    Section { name, title, by_default, write }
}

/// The sections, in the order in which they are shown. The keyspace follows them.
const SECTIONS: &[Section] = &[
    section("server", "Server", true, server),
    section("clients", "Clients", true, clients),
    section("memory", "Memory", true, memory),
    section("persistence", "Persistence", true, persistence),
    section("stats", "Stats", true, stats),
    section("replication", "Replication", true, replication),
    section("cpu", "CPU", true, cpu),
    section("commandstats", "Commandstats", false, commandstats),
    section("errorstats", "Errorstats", true, errorstats),
    section("latencystats", "Latencystats", false, latencystats),
    section("cluster", "Cluster", true, |f, _| f.put("cluster_enabled", 0)),
    section("keyway", "Keyway", false, keyway),
];

/// What was asked for.
pub(super) struct Wanted(Vec<String>);

impl Wanted {
    /// The sections that a request names.
    pub(super) fn new(request: &Request<'_>) -> Self {
        let name = |section: &[u8]| String::from_utf8_lossy(section).to_ascii_lowercase();
        Self(request.args_from(1).map(name).collect())
    }

    /// Whether a section is shown.
    pub(super) fn has(&self, name: &str, by_default: bool) -> bool {
        let named = |name: &str| self.0.iter().any(|section| section == name);
        named(name)
            || named("all")
            || named("everything")
            || (by_default && (self.0.is_empty() || named("default")))
    }
}

/// All sections but the keyspace.
pub(super) fn text(wanted: &Wanted, env: &Env<'_>) -> String {
    let mut fields = Fields::default();
    for section in SECTIONS.iter().filter(|s| wanted.has(s.name, s.by_default)) {
        if !fields.0.is_empty() {
            fields.0.push_str("\r\n");
        }
        let _ = write!(fields.0, "# {}\r\n", section.title);
        (section.write)(&mut fields, env);
    }
    fields.0
}

/// The text so far.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn put(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

fn sum(env: &Env<'_>, cell: impl Fn(&WorkerMetrics) -> u64) -> u64 {
    env.all_metrics.iter().map(|metrics| cell(metrics)).sum()
}

fn server(f: &mut Fields, env: &Env<'_>) {
    let up = env.now.saturating_duration_since(env.started).as_secs();
    let version = env.map.lowest_version();
    f.put("redis_version", version.as_deref().unwrap_or(VERSION_UNKNOWN));
    f.put("server_name", "keyway-proxy");
    f.put("keyway_version", env!("CARGO_PKG_VERSION"));
    f.put("redis_git_sha1", "00000000");
    f.put("redis_git_dirty", 0);
    f.put("redis_build_id", 0);
    f.put("redis_mode", "standalone");
    f.put("os", std::env::consts::OS);
    f.put("arch_bits", usize::BITS);
    f.put("multiplexing_api", "epoll");
    f.put("process_id", std::process::id());
    f.put("tcp_port", env.port);
    f.put("server_time_usec", (env.outside.unix_us)());
    f.put("uptime_in_seconds", up);
    f.put("uptime_in_days", up / 86_400);
    f.put("io_threads_active", env.all_metrics.len());
}

fn clients(f: &mut Fields, env: &Env<'_>) {
    f.put("connected_clients", env.clients);
    f.put("maxclients", env.options.clients_max);
    f.put("blocked_clients", sum(env, |m| m.blocked.get()));
    f.put("tracking_clients", sum(env, |m| m.tracking.get()));
}

fn memory(f: &mut Fields, env: &Env<'_>) {
    let figures = (env.outside.figures)();
    let human = |bytes: u64| format!("{:.2}M", bytes as f64 / 1_048_576.0);
    f.put("used_memory", figures.resident);
    f.put("used_memory_human", human(figures.resident));
    f.put("used_memory_rss", figures.resident);
    f.put("used_memory_rss_human", human(figures.resident));
    f.put("used_memory_peak", figures.peak);
    f.put("used_memory_peak_human", human(figures.peak));
    f.put("maxmemory", 0);
    f.put("maxmemory_human", "0B");
    f.put("maxmemory_policy", "noeviction");
    f.put("mem_allocator", "mimalloc");
}

/// As of a server that keeps nothing: tools ask whether it is still loading.
fn persistence(f: &mut Fields, env: &Env<'_>) {
    f.put("loading", 0);
    f.put("async_loading", 0);
    f.put("rdb_changes_since_last_save", 0);
    f.put("rdb_bgsave_in_progress", 0);
    f.put("rdb_last_save_time", start_time(env));
    f.put("rdb_last_bgsave_status", "ok");
    f.put("aof_enabled", 0);
    f.put("aof_rewrite_in_progress", 0);
}

fn stats(f: &mut Fields, env: &Env<'_>) {
    let count = |outcomes: &[Outcome]| -> u64 {
        outcomes.iter().map(|&outcome| sum(env, |m| m.count_all(outcome))).sum()
    };
    f.put("total_connections_received", sum(env, |m| m.clients_total.get()));
    f.put("total_commands_processed", count(Outcome::ALL));
    f.put("total_net_input_bytes", sum(env, |m| m.client_read_bytes.get()));
    f.put("total_net_output_bytes", sum(env, |m| m.client_written_bytes.get()));
    f.put("pubsub_channels", env.listeners.topics(TopicKind::Channel));
    f.put("pubsub_patterns", env.listeners.topics(TopicKind::Pattern));
    f.put("pubsubshard_channels", env.listeners.topics(TopicKind::Shard));
    let errors = count(&[Outcome::ServerError, Outcome::ProxyError, Outcome::InDoubt]);
    f.put("total_error_replies", errors);
}

fn replication(f: &mut Fields, _: &Env<'_>) {
    f.put("role", "master");
    f.put("connected_slaves", 0);
    f.put("master_failover_state", "no-failover");
}

fn cpu(f: &mut Fields, env: &Env<'_>) {
    let figures = (env.outside.figures)();
    f.put("used_cpu_sys", format_args!("{:.6}", figures.cpu_system.as_secs_f64()));
    f.put("used_cpu_user", format_args!("{:.6}", figures.cpu_user.as_secs_f64()));
}

/// What all workers have measured of one command, if it was called.
fn latency(spec: &Spec, env: &Env<'_>) -> Option<Latency> {
    let histograms = env.all_metrics.iter().map(|m| &m.of_command(spec).duration);
    let latency = histograms.fold(Latency::default(), Latency::with);
    (latency.count() > 0).then_some(latency)
}

fn commandstats(f: &mut Fields, env: &Env<'_>) {
    for spec in all() {
        let Some(latency) = latency(spec, env) else { continue };
        let of = |outcome| sum(env, |m| m.of_command(spec).outcomes[outcome as usize].get());
        let (calls, usec) = (latency.count(), latency.sum_us);
        let failed = of(Outcome::ServerError) + of(Outcome::InDoubt);
        f.put(
            &format!("cmdstat_{}", spec.name),
            format_args!(
                "calls={calls},usec={usec},usec_per_call={:.2},rejected_calls={},\
                 failed_calls={failed}",
                usec as f64 / calls as f64,
                of(Outcome::ProxyError),
            ),
        );
    }
}

fn errorstats(f: &mut Fields, env: &Env<'_>) {
    let mut codes = BTreeMap::<String, u64>::new();
    for metrics in env.all_metrics {
        for (code, count) in metrics.errors() {
            *codes.entry(code).or_default() += count;
        }
    }
    for (code, count) in codes {
        f.put(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(f: &mut Fields, env: &Env<'_>) {
    for spec in all() {
        let Some(latency) = latency(spec, env) else { continue };
        let at = |percentile| latency.at_percentile(percentile) as f64;
        let values = format_args!("p50={:.3},p99={:.3},p99.9={:.3}", at(50.0), at(99.0), at(99.9))
            .to_string();
        f.put(&format!("latency_percentiles_usec_{}", spec.name), values);
    }
}

fn keyway(f: &mut Fields, env: &Env<'_>) {
    f.put("shards", env.topology.shards().len());
    f.put("slots_covered", env.topology.slots_covered());
    let age = env.map.age(env.now).map_or(-1, |age| age.as_secs() as i64);
    f.put("topology_age_seconds", age);
}

/// LATENCY HISTOGRAM: a container stands for its subcommands.
pub(super) fn latency_histogram(request: &Request<'_>, env: &Env<'_>, reply: &mut Encoder<'_>) {
    let named = |name: &str| {
        request.args_from(2).any(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes()))
    };
    let rows: Vec<(&str, Latency)> = all()
        .iter()
        .filter(|spec| request.len() == 2 || named(spec.name) || named(spec.container_name()))
        .filter_map(|spec| Some((spec.name, latency(spec, env)?)))
        .collect();
    reply.map(rows.len());
    for (name, latency) in rows {
        reply.bulk(name);
        reply.map(2);
        reply.bulk("calls");
        reply.integer(latency.count() as i64);
        reply.bulk("histogram_usec");
        let steps = latency.steps();
        reply.map(steps.len());
        for (micros, count) in steps {
            reply.integer(micros as i64);
            reply.integer(count as i64);
        }
    }
}
