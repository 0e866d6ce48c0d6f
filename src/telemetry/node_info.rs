//! The figures that INFO and CLUSTER INFO have, as metrics.
//!
//! They have the names that `redis_exporter` gives them, so its dashboards and rules work. The
//! label `node` says whose they are.

use super::families::{self, Family};
use super::metrics::{Sink, Source};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Fields of INFO whose value is shown as it is.
const FIELDS: [(&str, &Family); 24] = [
    ("uptime_in_seconds", &families::NODE_UPTIME),
    ("connected_clients", &families::NODE_CLIENTS),
    ("blocked_clients", &families::NODE_BLOCKED_CLIENTS),
    ("used_memory", &families::NODE_MEMORY_USED),
    ("used_memory_rss", &families::NODE_MEMORY_RSS),
    ("used_memory_peak", &families::NODE_MEMORY_PEAK),
    ("maxmemory", &families::NODE_MEMORY_MAX),
    ("total_connections_received", &families::NODE_CONNECTIONS),
    ("rejected_connections", &families::NODE_REJECTED),
    ("total_commands_processed", &families::NODE_COMMANDS_PROCESSED),
    ("total_net_input_bytes", &families::NODE_INPUT),
    ("total_net_output_bytes", &families::NODE_OUTPUT),
    ("keyspace_hits", &families::NODE_HITS),
    ("keyspace_misses", &families::NODE_MISSES),
    ("expired_keys", &families::NODE_EXPIRED),
    ("evicted_keys", &families::NODE_EVICTED),
    ("connected_slaves", &families::NODE_REPLICAS),
    ("cluster_slots_assigned", &families::NODE_SLOTS_ASSIGNED),
    ("cluster_slots_ok", &families::NODE_SLOTS_OK),
    ("cluster_slots_pfail", &families::NODE_SLOTS_PFAIL),
    ("cluster_slots_fail", &families::NODE_SLOTS_FAIL),
    ("cluster_known_nodes", &families::NODE_KNOWN_NODES),
    ("cluster_stats_messages_sent", &families::NODE_MESSAGES_SENT),
    ("cluster_stats_messages_received", &families::NODE_MESSAGES_RECEIVED),
];

/// What INFO and CLUSTER INFO said: fields and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// Reads lines of `field:value`; other lines are headings.
    pub fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let (field, value) = line.trim_end().split_once(':')?;
            Some((field.to_owned(), value.to_owned()))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.0.get(field)?.parse().ok()
    }

    fn collect(&self, node: &str, sink: &mut Sink) {
        for (field, family) in FIELDS {
            if let Some(value) = self.number(field) {
                sink.value(family, &[node], value);
            }
        }
        if let Some(state) = self.0.get("cluster_state") {
            let ok = if state == "ok" { 1.0 } else { 0.0 };
            sink.value(&families::NODE_CLUSTER_STATE, &[node], ok);
        }
        for (field, value) in &self.0 {
            if field.strip_prefix("db").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
                let labels = [node, field.as_str()];
                put(value, "keys", &families::NODE_KEYS, &labels, 1.0, sink);
                put(value, "expires", &families::NODE_EXPIRING, &labels, 1.0, sink);
            } else if let Some(command) = field.strip_prefix("cmdstat_") {
                let labels = [node, command];
                put(value, "calls", &families::NODE_COMMANDS, &labels, 1.0, sink);
                put(value, "usec", &families::NODE_COMMAND_SECONDS, &labels, 1e-6, sink);
            }
        }
    }
}

/// Puts the number behind `name=` in a value such as `keys=3,expires=0`.
fn put(
    value: &str,
    name: &str,
    family: &'static Family,
    labels: &[&str],
    scale: f64,
    sink: &mut Sink,
) {
    let part = value.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    if let Some(number) = part.and_then(|number| number.parse::<f64>().ok()) {
        sink.value(family, labels, number * scale);
    }
}

/// What several nodes said last.
#[derive(Debug)]
pub struct NodeInfos {
    names: Vec<String>,
    said: Mutex<Vec<Option<Snapshot>>>,
}

impl NodeInfos {
    /// Of nodes with these names, none of which has said anything yet.
    pub fn new(names: Vec<String>) -> Self {
        let said = Mutex::new(vec![None; names.len()]);
        Self { names, said }
    }

    /// Notes what the node at `index` said, or that it did not answer.
    pub fn set(&self, index: usize, said: Option<Snapshot>) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)[index] = said;
    }
}

impl Source for Arc<NodeInfos> {
    fn families(&self) -> &'static [&'static Family] {
        families::NODE
    }

    fn collect(&self, sink: &mut Sink) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, snapshot) in self.names.iter().zip(said.iter()) {
            sink.value(&families::NODE_UP, &[name], f64::from(u8::from(snapshot.is_some())));
            if let Some(snapshot) = snapshot {
                snapshot.collect(name, sink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    const SAID: &str = "# Clients\r\nconnected_clients:2\r\n# Memory\r\nused_memory:1000\r\n\
        used_memory_human:1000B\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n\
        # Commandstats\r\ncmdstat_config|get:calls=2,usec=500,usec_per_call=250.00\r\n\
        cluster_state:ok\r\ncluster_slots_fail:0\r\n";

    #[test]
    fn what_info_says_has_the_exporters_names() {
        let metrics = Metrics::new();
        let infos = Arc::new(NodeInfos::new(vec!["a:1".into(), "b:2".into()]));
        metrics.register(infos.clone());
        infos.set(0, Some(Snapshot::parse(SAID)));
        let text = metrics.text();
        for line in [
            "redis_up{node=\"a:1\"} 1",
            "redis_up{node=\"b:2\"} 0",
            "redis_connected_clients{node=\"a:1\"} 2",
            "redis_memory_used_bytes{node=\"a:1\"} 1000",
            "redis_db_keys{db=\"db0\",node=\"a:1\"} 3",
            "redis_db_keys_expiring{db=\"db0\",node=\"a:1\"} 1",
            "redis_commands_total{cmd=\"config|get\",node=\"a:1\"} 2",
            "redis_commands_duration_seconds_total{cmd=\"config|get\",node=\"a:1\"} 0.0005",
            "redis_cluster_state{node=\"a:1\"} 1",
            "redis_cluster_slots_fail{node=\"a:1\"} 0",
        ] {
            // The order of labels means nothing.
            let found = text.lines().any(|l| sorted_labels(l) == sorted_labels(line));
            assert!(found, "{line}\nis not in\n{text}");
        }
    }

    fn sorted_labels(line: &str) -> (String, Vec<&str>, &str) {
        let (name, rest) = line.split_once('{').unwrap_or((line, "}"));
        let (labels, value) = rest.split_once('}').unwrap_or(("", ""));
        let mut labels: Vec<&str> = labels.split(',').collect();
        labels.sort_unstable();
        (name.to_owned(), labels, value)
    }
}
