//! INFO: the sections, and their fields in Redis's names and order.
//!
//! Fields whose subject the node does not have (fork, append-only file, Lua) are there with the
//! value that says so, because tools read them without asking whether they exist.

use super::call::Ctx;
use super::host::ProcessFigures;
use super::snapshots::SnapshotFor;
use crate::REDIS_VERSION;
use crate::bus::Member;
use crate::replication::Backlog;
use std::fmt::{Display, Write};
use std::time::Duration;

/// A section: its name in requests, its title, whether it is shown unless asked for, its fields.
struct Section {
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&mut Fields, &mut Ctx<'_>, &ProcessFigures),
}

/// The sections, in the order in which they are shown.
const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", by_default: true, write: server },
    Section { name: "clients", title: "Clients", by_default: true, write: clients },
    Section { name: "memory", title: "Memory", by_default: true, write: memory },
    Section { name: "persistence", title: "Persistence", by_default: true, write: persistence },
    Section { name: "stats", title: "Stats", by_default: true, write: stats },
    Section { name: "replication", title: "Replication", by_default: true, write: replication },
    Section { name: "cpu", title: "CPU", by_default: true, write: cpu },
    Section { name: "modules", title: "Modules", by_default: true, write: |_, _, _| {} },
    Section { name: "commandstats", title: "Commandstats", by_default: false, write: commandstats },
    Section { name: "errorstats", title: "Errorstats", by_default: true, write: errorstats },
    Section { name: "latencystats", title: "Latencystats", by_default: false, write: latencystats },
    Section { name: "cluster", title: "Cluster", by_default: true, write: cluster },
    Section { name: "keyspace", title: "Keyspace", by_default: true, write: keyspace },
];

/// The text of these sections; of the default ones if none is named. `all` and `everything` are
/// all of them.
pub(super) fn text(ctx: &mut Ctx<'_>, names: &[String]) -> String {
    let named = |name: &str| names.iter().any(|n| n == name);
    let all = named("all") || named("everything");
    let default = names.is_empty() || named("default");
    let figures = ctx.server.host.figures();
    let mut fields = Fields::default();
    for section in SECTIONS {
        if all || named(section.name) || (default && section.by_default) {
            if !fields.0.is_empty() {
                fields.0.push_str("\r\n");
            }
            fields.0.push_str(&format!("# {}\r\n", section.title));
            (section.write)(&mut fields, ctx, &figures);
        }
    }
    fields.0
}

/// The text so far.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn put(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("a string takes all");
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.put(name, u8::from(value));
    }

    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.put(name, 0);
        }
    }

    /// Bytes, and again for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2}{name}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}

fn percent(part: u64, whole: u64) -> String {
    let ratio = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    format!("{:.2}%", ratio * 100.0)
}

fn server(f: &mut Fields, ctx: &mut Ctx<'_>, figures: &ProcessFigures) {
    let server = &*ctx.server;
    let mode = if server.settings.cluster_enabled { "cluster" } else { "standalone" };
    let uptime = server.uptime(ctx.now).as_secs();
    f.put("redis_version", REDIS_VERSION);
    f.put("server_name", "keyway");
    f.put("keyway_version", env!("CARGO_PKG_VERSION"));
    f.put("redis_git_sha1", "00000000");
    f.put("redis_git_dirty", 0);
    f.put("redis_build_id", "0");
    f.put("redis_mode", mode);
    f.put("server_mode", mode);
    f.put("os", &figures.os);
    f.put("arch_bits", usize::BITS);
    f.put("monotonic_clock", "POSIX clock_gettime");
    f.put("multiplexing_api", "epoll");
    // Rust's atomics are those of C11; no C of ours was compiled by gcc, for which Redis says 0.0.0.
    f.put("atomicvar_api", "c11-builtin");
    f.put("gcc_version", "0.0.0");
    f.put("process_id", figures.pid);
    f.put("process_supervised", "no");
    f.put("run_id", &server.run_id);
    f.put("tcp_port", server.directives.number("port"));
    f.put("server_time_usec", ctx.now.unix_us());
    f.put("uptime_in_seconds", uptime);
    f.put("uptime_in_days", uptime / 86_400);
    f.put("hz", server.settings.hz);
    f.put("configured_hz", server.directives.number("hz"));
    f.put("lru_clock", (ctx.now.unix_ms / 1000) & 0xff_ffff);
    f.put("executable", &figures.executable);
    let config_file = server.config_file.as_deref().unwrap_or(std::path::Path::new(""));
    f.put("config_file", config_file.display());
    f.put("io_threads_active", 0);
}

fn clients(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    let server = &*ctx.server;
    let others = || server.clients.iter().chain(Some(&*ctx.session));
    let watching = others().filter(|session| !session.watches.is_empty()).count();
    let largest = |bytes: fn(&super::session::Session) -> usize| others().map(bytes).max();
    f.put("connected_clients", server.clients.len());
    f.put("cluster_connections", server.cluster.as_ref().map_or(0, |member| member.links().len()));
    f.put("maxclients", server.settings.clients_max);
    f.put("client_recent_max_input_buffer", largest(|s| s.input_bytes).unwrap_or(0));
    f.put("client_recent_max_output_buffer", largest(|s| s.output_bytes).unwrap_or(0));
    let paused = others().filter(|session| session.paused).count();
    f.put("blocked_clients", server.waiters.len() + paused);
    f.put("tracking_clients", 0);
    f.put("pubsub_clients", server.pubsub.counts().3);
    f.put("watching_clients", watching);
    f.put("clients_in_timeout_table", server.waiters.limited());
    f.put("total_watched_keys", server.watched.len());
    let (keys, gone_too) = server.waiters.keys();
    f.put("total_blocking_keys", keys);
    f.put("total_blocking_keys_on_nokey", gone_too);
    let pause = server.pause.filter(|pause| pause.until > ctx.now.instant);
    let failover = server.failover_pause.filter(|until| *until > ctx.now.instant);
    f.put(
        "paused_reason",
        match (failover, pause) {
            (Some(_), _) => "failover_in_progress",
            (None, Some(_)) => "client_pause",
            (None, None) => "none",
        },
    );
    f.put(
        "paused_actions",
        match pause {
            None if failover.is_none() => "none",
            Some(pause) if !pause.writes_only => "all",
            Some(_) | None => "write",
        },
    );
    let until = pause.map(|pause| pause.until).max(failover);
    let left = until.map_or(Duration::ZERO, |until| until - ctx.now.instant);
    f.put("paused_timeout_milliseconds", left.as_millis());
}

fn memory(f: &mut Fields, ctx: &mut Ctx<'_>, figures: &ProcessFigures) {
    let server = &mut *ctx.server;
    let (used, resident) = (figures.allocated_bytes, figures.resident_bytes);
    let peak = server.note_memory(used);
    let startup = server.memory_at_start.min(used);
    let log = if server.logs() { server.log.disk.buffered } else { 0 };
    let settings = &server.settings;
    f.bytes("used_memory", used);
    f.bytes("used_memory_rss", resident);
    f.bytes("used_memory_peak", peak);
    f.put("used_memory_peak_perc", percent(used, peak));
    let clients: usize = server.clients.iter().map(|s| s.input_bytes + s.output_bytes).sum();
    let backlog = server.replication.backlog().map_or(0, Backlog::heap_bytes);
    let links = server.cluster.as_ref().map_or_else(Vec::new, Member::links);
    let links: usize = links.iter().map(|link| link.send_buffer_allocated).sum();
    let overhead = startup + (clients + backlog + links) as u64 + log;
    let dataset = used.saturating_sub(overhead);
    f.put("used_memory_overhead", overhead);
    f.put("used_memory_startup", startup);
    f.put("used_memory_dataset", dataset);
    f.put("used_memory_dataset_perc", percent(dataset, used - startup));
    f.put("allocator_allocated", used);
    // The allocator is one with the process: it keeps no figures of its own.
    f.put("allocator_active", resident);
    f.put("allocator_resident", resident);
    f.bytes("total_system_memory", figures.machine_bytes);
    let interpreter = server.scripts.interpreter_bytes() as u64;
    let scripts = server.scripts.cache_bytes() as u64;
    f.put("used_memory_vm_eval", interpreter);
    f.bytes("used_memory_lua", interpreter);
    f.put("used_memory_scripts_eval", scripts);
    f.put("number_of_cached_scripts", server.scripts.count());
    f.zeros(&["number_of_functions", "number_of_libraries", "used_memory_vm_functions"]);
    f.bytes("used_memory_vm_total", interpreter);
    f.put("used_memory_functions", 0);
    f.bytes("used_memory_scripts", scripts);
    f.bytes("maxmemory", settings.memory_max);
    f.put("maxmemory_policy", server.directives.text("maxmemory-policy"));
    let fragmentation = format!("{:.2}", resident as f64 / used.max(1) as f64);
    let unused = resident as i64 - used as i64;
    f.put("allocator_frag_ratio", &fragmentation);
    f.put("allocator_frag_bytes", unused);
    f.put("allocator_rss_ratio", "1.00");
    f.put("allocator_rss_bytes", 0);
    f.put("rss_overhead_ratio", "1.00");
    f.put("rss_overhead_bytes", 0);
    f.put("mem_fragmentation_ratio", &fragmentation);
    f.put("mem_fragmentation_bytes", unused);
    f.zeros(&["mem_not_counted_for_evict"]);
    f.put("mem_replication_backlog", backlog);
    f.put("mem_total_replication_buffers", backlog);
    f.zeros(&["mem_clients_slaves"]);
    f.put("mem_clients_normal", clients);
    f.put("mem_cluster_links", links);
    f.put("mem_aof_buffer", log);
    f.put("mem_allocator", "mimalloc");
    f.put("active_defrag_running", 0);
    let keyspace = ctx.keyspace.stats();
    f.put("lazyfree_pending_objects", keyspace.freeing);
    f.put("lazyfreed_objects", keyspace.freed);
}

fn persistence(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    let enabled = ctx.server.logs();
    let persistence = &ctx.server.persistence;
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let replication = &ctx.server.replication;
    f.flag("loading", persistence.loading.is_some() || replication.is_loading());
    f.flag("async_loading", replication.is_loading_beside());
    // Nothing is copied on write: there is no child.
    f.zeros(&["current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    let progress = ctx.keyspace.snapshot_progress().unwrap_or_default();
    let share = progress.keys_done as f64 * 100.0 / progress.keys_total.max(1) as f64;
    f.put("current_fork_perc", format_args!("{share:.2}"));
    f.put("current_save_keys_processed", progress.keys_done);
    f.put("current_save_keys_total", progress.keys_total);
    f.put("rdb_changes_since_last_save", ctx.server.unsaved_changes());
    // What is copied for replicas is a save as well, in Redis's words.
    let copies = ctx.server.replication.copies_since();
    f.flag("rdb_bgsave_in_progress", persistence.will_have_saved() || copies.is_some());
    f.put("rdb_last_save_time", persistence.last_save);
    f.put("rdb_last_bgsave_status", status(persistence.save_failed));
    let seconds = |time: Option<Duration>| time.map_or(-1, |time| time.as_secs() as i64);
    f.put("rdb_last_bgsave_time_sec", seconds(persistence.last_took));
    let running = persistence.running.filter(|_| persistence.is_saving());
    let running = running.map(|running| running.since.instant).or(copies);
    let running = running.map(|since| ctx.now.instant.saturating_duration_since(since));
    f.put("rdb_current_bgsave_time_sec", seconds(running));
    f.put("rdb_saves", persistence.saves);
    f.put("rdb_last_cow_size", 0);
    f.put("rdb_last_load_keys_expired", persistence.loaded.expired);
    f.put("rdb_last_load_keys_loaded", persistence.loaded.keys);
    let log = &ctx.server.log;
    let rewriting = persistence.running.filter(|running| running.purpose == SnapshotFor::Rewrite);
    let scheduled = persistence.waiting.contains(&SnapshotFor::Rewrite);
    f.flag("aof_enabled", enabled);
    f.flag("aof_rewrite_in_progress", rewriting.is_some());
    f.flag("aof_rewrite_scheduled", scheduled);
    f.put("aof_last_rewrite_time_sec", seconds(log.rewrite_took));
    let elapsed = rewriting.map(|running| ctx.now.instant - running.since.instant);
    f.put("aof_current_rewrite_time_sec", seconds(elapsed));
    f.put("aof_last_bgrewrite_status", status(log.rewrite_failed));
    f.put("aof_rewrites", log.rewrites);
    f.put("aof_rewrites_consecutive_failures", log.failures);
    f.put("aof_last_write_status", status(log.write_error.is_some()));
    f.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if enabled {
        f.put("aof_current_size", log.size);
        f.put("aof_base_size", log.base_size);
        f.flag("aof_pending_rewrite", scheduled);
        f.put("aof_buffer_length", log.disk.buffered);
        f.put("aof_pending_bio_fsync", u8::from(log.disk.is_syncing));
        f.put("aof_delayed_fsync", ctx.server.stats.delayed_syncs);
    }
    if let Some(loading) = &persistence.loading {
        let (done, total) = (loading.bytes_done, loading.bytes_total);
        let elapsed = (ctx.now.instant - loading.since.instant).as_secs();
        let left = (elapsed * total.saturating_sub(done)).checked_div(done).unwrap_or(1);
        f.put("loading_start_time", loading.since.unix_ms / 1000);
        f.put("loading_total_bytes", total);
        f.put("loading_rdb_used_mem", 0);
        f.put("loading_loaded_bytes", done);
        f.put("loading_loaded_perc", percent(done, total).trim_end_matches('%'));
        f.put("loading_eta_seconds", left);
    }
}

fn stats(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    let kilobytes = |rate: u64| format!("{:.2}", rate as f64 / 1024.0);
    let (stats, rates) = (&ctx.server.stats, &ctx.server.rates);
    f.put("total_connections_received", stats.connections);
    f.put("total_commands_processed", stats.commands);
    f.put("instantaneous_ops_per_sec", rates.commands.per_second());
    f.put("total_net_input_bytes", stats.input_bytes);
    f.put("total_net_output_bytes", stats.output_bytes);
    f.put("total_net_repl_input_bytes", stats.replica_input_bytes);
    f.put("total_net_repl_output_bytes", stats.replica_output_bytes);
    f.put("instantaneous_input_kbps", kilobytes(rates.input.per_second()));
    f.put("instantaneous_output_kbps", kilobytes(rates.output.per_second()));
    f.put("instantaneous_input_repl_kbps", kilobytes(rates.replica_input.per_second()));
    f.put("instantaneous_output_repl_kbps", kilobytes(rates.replica_output.per_second()));
    f.put("rejected_connections", stats.rejected_connections);
    let synchronisations = ctx.server.replication.synchronisations;
    f.put("sync_full", synchronisations.full);
    f.put("sync_partial_ok", synchronisations.partial);
    f.put("sync_partial_err", synchronisations.refused);
    let keyspace = ctx.keyspace.stats();
    f.put("expired_keys", keyspace.expired);
    f.put("expired_stale_perc", "0.00");
    f.put("expired_time_cap_reached_count", stats.expire_cut_short);
    f.put("expire_cycle_cpu_milliseconds", stats.expire_time.as_millis());
    f.put("evicted_keys", stats.evicted_keys);
    f.zeros(&["evicted_clients", "total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    f.put("keyspace_hits", keyspace.hits);
    f.put("keyspace_misses", keyspace.misses);
    let (channels, patterns, shard_channels, _) = ctx.server.pubsub.counts();
    f.put("pubsub_channels", channels);
    f.put("pubsub_patterns", patterns);
    f.put("pubsubshard_channels", shard_channels);
    f.zeros(&["latest_fork_usec", "total_forks"]);
    f.put("migrate_cached_sockets", ctx.server.migrations.connections());
    f.put("slave_expires_tracked_keys", ctx.server.replication.own_keys.len());
    f.zeros(&[
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
        "tracking_total_keys",
        "tracking_total_items",
        "tracking_total_prefixes",
        "unexpected_error_replies",
    ]);
    f.put("total_error_replies", stats.errors);
    f.put("dump_payload_sanitizations", 0);
    f.put("total_reads_processed", stats.reads);
    f.put("total_writes_processed", stats.writes);
    f.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    f.put("client_query_buffer_limit_disconnections", stats.closed_for_input);
    f.put("client_output_buffer_limit_disconnections", stats.closed_for_output);
    f.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    f.put("acl_access_denied_auth", stats.denied_auth);
    f.zeros(&["acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel"]);
}

fn replication(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    ctx.server.describe_replication(ctx.now, &mut |name, value| f.put(name, value));
}

fn cpu(f: &mut Fields, _: &mut Ctx<'_>, figures: &ProcessFigures) {
    let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
    f.put("used_cpu_sys", seconds(figures.cpu_system));
    f.put("used_cpu_user", seconds(figures.cpu_user));
    f.put("used_cpu_sys_children", seconds(figures.cpu_system_children));
    f.put("used_cpu_user_children", seconds(figures.cpu_user_children));
    f.put("used_cpu_sys_main_thread", seconds(figures.cpu_system_thread));
    f.put("used_cpu_user_main_thread", seconds(figures.cpu_user_thread));
}

fn commandstats(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    for spec in crate::command::all() {
        let calls = &ctx.server.calls[spec.id()];
        if calls.calls == 0 && calls.rejected == 0 {
            continue;
        }
        let micros = calls.nanos / 1000;
        let mean = if calls.calls == 0 { 0.0 } else { micros as f64 / calls.calls as f64 };
        f.put(
            &format!("cmdstat_{}", spec.name),
            format_args!(
                "calls={},usec={micros},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                calls.calls, calls.rejected, calls.failed
            ),
        );
    }
}

fn errorstats(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    for (code, count) in &ctx.server.stats.errors_by_code {
        f.put(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    for spec in crate::command::all() {
        let Some(histogram) = &ctx.server.calls[spec.id()].latency else { continue };
        let values: Vec<String> = ctx
            .server
            .settings
            .latency_percentiles
            .iter()
            .map(|p| format!("p{p}={:.3}", histogram.at_percentile(*p) as f64 / 1000.0))
            .collect();
        f.put(&format!("latency_percentiles_usec_{}", spec.name), values.join(","));
    }
}

fn cluster(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    f.flag("cluster_enabled", ctx.server.settings.cluster_enabled);
}

fn keyspace(f: &mut Fields, ctx: &mut Ctx<'_>, _: &ProcessFigures) {
    for db in 0..ctx.keyspace.databases() {
        let (keys, expires) = (ctx.keyspace.len(Some(db)), ctx.keyspace.expiring(db));
        if keys > 0 {
            let ttl = ctx.keyspace.mean_ttl(db, ctx.now.unix_ms);
            let line = format_args!("keys={keys},expires={expires},avg_ttl={ttl}");
            f.put(&format!("db{db}"), line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_redis_shows_them() {
        for (bytes, text) in
            [(0, "0B"), (940_904, "918.85K"), (12_460_032, "11.88M"), (25_276_514_304, "23.54G")]
        {
            assert_eq!(human(bytes), text);
        }
    }
}
