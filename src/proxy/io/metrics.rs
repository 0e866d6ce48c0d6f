//! The proxy's figures for Prometheus: the workers' cells, summed when somebody asks.

use crate::clock::Now;
use crate::command::Class;
use crate::proxy::core::Shared;
use crate::proxy::metrics::{
    BOUNDS_US, Cell64, ClientEnd, Histogram, LinkEnd, NodeMetrics, Outcome, Redirect, RideOut,
    WorkerMetrics,
};
use crate::proxy::topics::TopicKind;
use crate::telemetry::{Family, Latencies, Sink, Source, families};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Shows what a proxy's workers count, and what they share.
#[derive(Debug)]
pub struct ProxySource {
    workers: Arc<Vec<Arc<WorkerMetrics>>>,
    shared: Arc<Shared>,
    clients_max: usize,
}

impl ProxySource {
    /// Of these workers, which take so many clients at most.
    pub fn new(
        workers: Arc<Vec<Arc<WorkerMetrics>>>,
        shared: Arc<Shared>,
        clients_max: usize,
    ) -> Self {
        Self { workers, shared, clients_max }
    }

    fn sum(&self, cell: impl Fn(&WorkerMetrics) -> &Cell64) -> u64 {
        self.workers.iter().map(|worker| cell(worker).get()).sum()
    }

    fn collect_clients(&self, sink: &mut Sink) {
        sink.count(&families::WORKERS, &[], self.workers.len() as u64);
        sink.count(&families::CLIENTS, &[], self.sum(|w| &w.clients));
        sink.count(&families::CLIENTS_LIMIT, &[], self.clients_max as u64);
        for (number, worker) in self.workers.iter().enumerate() {
            sink.count(&families::WORKER_CLIENTS, &[&number.to_string()], worker.clients.get());
        }
        sink.count(&families::CLIENTS_TOTAL, &[], self.sum(|w| &w.clients_total));
        for (index, end) in ClientEnd::ALL.iter().enumerate() {
            let count = self.sum(|w| &w.clients_ended[index]);
            sink.count(&families::CLIENTS_CLOSED, &[end.name()], count);
        }
        sink.count(&families::CLIENT_BYTES, &["in"], self.sum(|w| &w.client_read_bytes));
        sink.count(&families::CLIENT_BYTES, &["out"], self.sum(|w| &w.client_written_bytes));
        sink.count(&families::AUTH_FAILURES, &[], self.sum(|w| &w.auth_failures));
        sink.count(&families::BLOCKED, &[], self.sum(|w| &w.blocked));
        sink.count(&families::PINNED, &[], self.sum(|w| &w.pinned));
        for kind in TopicKind::ALL {
            let topics = self.shared.listeners.topics(kind) as u64;
            sink.count(&families::TOPICS, &[kind.label()], topics);
        }
        sink.count(&families::MESSAGES, &[], self.sum(|w| &w.messages));
    }

    fn collect_commands(&self, sink: &mut Sink) {
        for class in Class::ALL {
            for outcome in Outcome::ALL {
                let count = self.workers.iter().map(|w| w.count(class, *outcome)).sum();
                sink.count(&families::COMMANDS, &[class.name(), outcome.name()], count);
            }
            let of_class = self.workers.iter().flat_map(|w| w.of_class(class));
            let latencies = add_up(of_class.map(|command| &command.duration));
            sink.latencies(&families::COMMAND_DURATION, &[class.name()], &latencies);
        }
        let latencies = add_up(self.workers.iter().map(|w| &w.backend_duration));
        sink.latencies(&families::BACKEND_DURATION, &[], &latencies);
        let in_doubt = self.workers.iter().map(|w| w.count_all(Outcome::InDoubt)).sum();
        sink.count(&families::INDOUBT, &[], in_doubt);
        sink.count(&families::INFLIGHT, &[], self.sum(|w| &w.inflight));
        sink.count(&families::UNSUPPORTED, &[], self.sum(|w| &w.unsupported));
        for (index, redirect) in Redirect::ALL.iter().enumerate() {
            let count = self.sum(|w| &w.redirects[index]);
            sink.count(&families::REDIRECTS, &[redirect.name()], count);
        }
        sink.count(&families::RETRIES, &[], self.sum(|w| &w.retries));
        sink.count(&families::RIDEOUT_COMMANDS, &[], self.sum(|w| &w.rideout_commands));
        let bytes = self.shared.ride_out_bytes.load(Ordering::Relaxed);
        sink.count(&families::RIDEOUT_BYTES, &[], bytes as u64);
        for (index, result) in RideOut::ALL.iter().enumerate() {
            let count = self.sum(|w| &w.rideout_events[index]);
            sink.count(&families::RIDEOUTS, &[result.name()], count);
        }
    }

    fn collect_nodes(&self, sink: &mut Sink) {
        let mut nodes: BTreeMap<String, Vec<Arc<NodeMetrics>>> = BTreeMap::new();
        for cells in self.workers.iter().flat_map(|worker| worker.nodes()) {
            nodes.entry(cells.endpoint.to_string()).or_default().push(cells);
        }
        for (node, cells) in &nodes {
            let node = node.as_str();
            let sum = |cell: fn(&NodeMetrics) -> &Cell64| -> u64 {
                cells.iter().map(|of_worker| cell(of_worker).get()).sum()
            };
            let oldest = cells.iter().map(|of_worker| of_worker.oldest_us.get()).max();
            sink.count(&families::BACKEND_UP, &[node], sum(|n| &n.up).min(1));
            sink.count(&families::BACKEND_CONNECTIONS, &[node], sum(|n| &n.connections));
            sink.count(&families::BACKEND_INFLIGHT, &[node], sum(|n| &n.inflight));
            let oldest = oldest.unwrap_or_default() as f64 / 1e6;
            sink.value(&families::QUEUE_OLDEST, &[node], oldest);
            sink.count(&families::BACKEND_BYTES, &[node, "in"], sum(|n| &n.read_bytes));
            sink.count(&families::BACKEND_BYTES, &[node, "out"], sum(|n| &n.written_bytes));
            for (index, end) in LinkEnd::ALL.iter().enumerate() {
                let count = cells.iter().map(|of_worker| of_worker.ended[index].get()).sum();
                sink.count(&families::BACKEND_CLOSED, &[node, end.name()], count);
            }
        }
    }

    fn collect_topology(&self, sink: &mut Sink) {
        let map = &self.shared.map;
        let topology = map.current().load();
        if let Some(age) = map.age(Now::read().instant) {
            sink.value(&families::TOPOLOGY_AGE, &[], age.as_secs_f64());
        }
        sink.count(&families::TOPOLOGY_REFRESHES, &["ok"], map.readings());
        sink.count(&families::TOPOLOGY_REFRESHES, &["failed"], map.readings_failed());
        sink.count(&families::TOPOLOGY_CHANGES, &[], topology.generation());
        sink.count(&families::SLOTS_COVERED, &[], topology.slots_covered() as u64);
        sink.count(&families::SLOTS_MIGRATING, &[], map.slots_open() as u64);
        sink.count(&families::CLUSTER_EPOCH, &[], map.epoch().0);
        let primaries = topology.nodes().filter(|(_, node)| node.primary).count();
        let others = topology.nodes().len() - primaries;
        sink.count(&families::TOPOLOGY_NODES, &["primary"], primaries as u64);
        sink.count(&families::TOPOLOGY_NODES, &["replica"], others as u64);
    }
}

fn add_up<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Latencies {
    let mut sum =
        Latencies { bounds_us: &BOUNDS_US, buckets: vec![0; BOUNDS_US.len() + 1], sum_us: 0 };
    for histogram in histograms {
        for (total, count) in sum.buckets.iter_mut().zip(histogram.buckets()) {
            *total += count;
        }
        sum.sum_us += histogram.sum_us();
    }
    sum
}

impl Source for ProxySource {
    fn families(&self) -> &'static [&'static Family] {
        families::PROXY
    }

    fn collect(&self, sink: &mut Sink) {
        self.collect_clients(sink);
        self.collect_commands(sink);
        self.collect_nodes(sink);
        self.collect_topology(sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Endpoint;
    use crate::telemetry::Metrics;
    use std::time::Duration;

    #[test]
    fn what_several_workers_count_is_shown_as_one() {
        let workers: Vec<Arc<WorkerMetrics>> = (0..2).map(|_| Arc::default()).collect();
        let took = Duration::from_micros(70);
        let spec = |name: &[u8]| crate::command::lookup(name).expect("in the table");
        workers[0].command(spec(b"get"), Outcome::Ok, took);
        workers[1].command(spec(b"set"), Outcome::Ok, took);
        workers[1].command(spec(b"mset"), Outcome::InDoubt, took);
        workers[1].clients.add(3);
        workers[0].redirects[Redirect::Ask as usize].add(5);
        workers[0].messages.add(4);
        workers[1].messages.add(5);
        workers[1].blocked.add(1);
        let shared = Shared::default();
        shared.listeners.add_client(TopicKind::Pattern, b"a*", 0, 2);
        let node = Endpoint::new("10.0.0.1", 7000);
        workers[0].node(&node).connections.add(1);
        workers[1].node(&node).connections.add(2);
        workers[1].node(&node).oldest_us.set(1_500_000);

        let metrics = Metrics::new();
        let source = ProxySource::new(Arc::new(workers), Arc::new(shared), 100);
        metrics.register(source);
        let text = metrics.text();
        for line in [
            "keyway_commands_total{class=\"one_slot\",outcome=\"ok\"} 2",
            "keyway_commands_total{class=\"split\",outcome=\"indoubt\"} 1",
            "keyway_indoubt_total 1",
            "keyway_command_duration_seconds_count{class=\"one_slot\"} 2",
            "keyway_command_duration_seconds_bucket{class=\"one_slot\",le=\"0.0001\"} 2",
            "keyway_client_connections 3",
            "keyway_client_connections_limit 100",
            "keyway_worker_clients{worker=\"1\"} 3",
            "keyway_redirects_total{kind=\"ask\"} 5",
            "keyway_backend_connections{node=\"10.0.0.1:7000\"} 3",
            "keyway_queue_oldest_seconds{node=\"10.0.0.1:7000\"} 1.5",
            "keyway_slots_covered 0",
            "keyway_messages_total 9",
            "keyway_blocked_clients 1",
            "keyway_subscribed_topics{kind=\"pattern\"} 1",
            "keyway_subscribed_topics{kind=\"channel\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
    }
}
