//! From counted cells to Prometheus text.
//!
//! Nothing is pushed into a registry while requests run. Whatever has numbers is a [`Source`],
//! which reads its cells when somebody asks and puts samples into a [`Sink`]; each sample names a
//! [`Family`] of the one table, so a metric that is not documented cannot be exposed.

use super::families::{Family, Kind};
use super::process::Process;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily};
use std::collections::{BTreeMap, HashMap};

/// Something that has numbers to show.
pub trait Source: Send + Sync + 'static {
    /// The families it may put samples of.
    fn families(&self) -> &'static [&'static Family];
    /// Puts its samples.
    fn collect(&self, sink: &mut Sink);
}

/// Durations by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// The upper bounds of the buckets, in microseconds.
    pub bounds_us: &'static [u64],
    /// How many are in each bucket, not cumulated; one more than the bounds, which has none.
    pub buckets: Vec<u64>,
    /// The sum of all, in microseconds.
    pub sum_us: u64,
}

/// Takes samples, and groups them by family.
#[derive(Debug, Default)]
pub struct Sink {
    families: BTreeMap<&'static str, (&'static Family, Vec<Metric>)>,
}

impl Sink {
    /// A counter's or gauge's value; `labels` in the order of the family's.
    pub fn value(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        let mut metric = Metric::from_label(label_pairs(family, labels));
        match family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Histogram => unreachable!("histograms have their own method"),
        }
        self.push(family, metric);
    }

    /// A whole number, as counted by a cell.
    pub fn count(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.value(family, labels, value as f64);
    }

    /// A histogram of durations.
    pub fn latencies(&mut self, family: &'static Family, labels: &[&str], latencies: &Latencies) {
        debug_assert_eq!(family.kind, Kind::Histogram);
        let mut histogram = Histogram::default();
        let mut cumulated = 0;
        let buckets = latencies.bounds_us.iter().zip(&latencies.buckets).map(|(&bound, &count)| {
            cumulated += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound as f64 / 1e6);
            bucket.set_cumulative_count(cumulated);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(latencies.buckets.iter().sum());
        histogram.set_sample_sum(latencies.sum_us as f64 / 1e6);
        let mut metric = Metric::from_label(label_pairs(family, labels));
        metric.set_histogram(histogram);
        self.push(family, metric);
    }

    fn push(&mut self, family: &'static Family, metric: Metric) {
        self.families.entry(family.name).or_insert_with(|| (family, Vec::new())).1.push(metric);
    }

    fn into_families(self) -> Vec<MetricFamily> {
        let family = |(family, metrics): (&'static Family, Vec<Metric>)| {
            let mut out = MetricFamily::default();
            out.set_name(family.name.to_owned());
            out.set_help(family.help.to_owned());
            out.set_field_type(family.kind.prometheus());
            out.set_metric(metrics);
            out
        };
        self.families.into_values().map(family).collect()
    }
}

fn label_pairs(family: &Family, values: &[&str]) -> Vec<LabelPair> {
    debug_assert_eq!(family.labels.len(), values.len(), "labels of {}", family.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    family.labels.iter().zip(values).map(pair).collect()
}

/// Makes a [`Source`] a collector of the `prometheus` crate.
struct Adapter<S> {
    source: S,
    descs: Vec<Desc>,
}

impl<S: Source> Collector for Adapter<S> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sink = Sink::default();
        self.source.collect(&mut sink);
        debug_assert!(
            sink.families.keys().all(|name| {
                self.source.families().iter().any(|declared| declared.name == *name)
            }),
            "a source puts only what it declares"
        );
        sink.into_families()
    }
}

/// Everything this process shows on `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: prometheus::Registry,
}

impl Metrics {
    /// With what every process has: its version, start, memory, CPU and files.
    pub fn new() -> Self {
        let metrics = Self { registry: prometheus::Registry::new() };
        metrics.register(Process::new());
        metrics
    }

    /// Adds a source, once, at start.
    ///
    /// # Panics
    /// When a family is shown by two sources, or its name is not one: mistakes of ours.
    pub fn register(&self, source: impl Source) {
        let desc = |family: &&Family| {
            let labels = family.labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
                .expect("the names in the table are valid: a test checks")
        };
        let descs = source.families().iter().map(desc).collect();
        self.registry
            .register(Box::new(Adapter { source, descs }))
            .expect("no family has two sources");
    }

    /// All samples as Prometheus text, version 0.0.4.
    pub fn text(&self) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("the samples are well formed: labels and kinds come from the table")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::families;
    use super::*;

    struct Some;

    impl Source for Some {
        fn families(&self) -> &'static [&'static Family] {
            &[&families::COMMAND_DURATION, &families::COMMANDS]
        }

        fn collect(&self, sink: &mut Sink) {
            sink.count(&families::COMMANDS, &["one_slot", "ok"], 7);
            let latencies =
                Latencies { bounds_us: &[50, 100], buckets: vec![0, 1, 1], sum_us: 60_000_060 };
            sink.latencies(&families::COMMAND_DURATION, &["one_slot"], &latencies);
        }
    }

    #[test]
    fn a_source_is_shown_as_prometheus_text() {
        let metrics = Metrics::new();
        metrics.register(Some);
        let text = metrics.text();
        for line in [
            "# TYPE keyway_commands_total counter",
            "keyway_commands_total{class=\"one_slot\",outcome=\"ok\"} 7",
            "keyway_command_duration_seconds_bucket{class=\"one_slot\",le=\"0.00005\"} 0",
            "keyway_command_duration_seconds_bucket{class=\"one_slot\",le=\"0.0001\"} 1",
            "keyway_command_duration_seconds_bucket{class=\"one_slot\",le=\"+Inf\"} 2",
            "keyway_command_duration_seconds_count{class=\"one_slot\"} 2",
            "keyway_command_duration_seconds_sum{class=\"one_slot\"} 60.00006",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
        assert!(text.contains("keyway_build_info{"), "every process tells its version:\n{text}");
    }
}
