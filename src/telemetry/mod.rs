//! What an operator sees from outside: metrics, health, logs.
//!
//! ```text
//! a worker's cells ──┐
//! a node's INFO ─────┼─ Source ─→ Metrics (our own Registry) ─→ /metrics
//! this process ──────┘                                          /healthz /readyz
//! ```
//! [`families`] is the one table of metric names. `docs/metrics.md`, the dashboard and the alert
//! rules are checked against it, and nothing can be exposed that is not in it.

pub mod families;
pub mod http;
pub mod logging;
mod metrics;
pub mod node_info;
mod process;

pub use families::{Family, Kind};
pub use http::{Health, HttpServer};
pub use metrics::{Latencies, Metrics, Sink, Source};
pub use process::count_panics;
