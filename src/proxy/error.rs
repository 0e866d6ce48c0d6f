//! What a client is told when no node's reply can be its answer. Each says whose fault it is and
//! whether it is safe to send again: `INDOUBT` alone is not.

use crate::cluster::Endpoint;
use std::time::Duration;

/// Why a request ends without its node's reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// No node took it before the ride-out passed. Safe to send again.
    #[error("{}{last}; waited {}, not run", code_before(last), seconds(*waited))]
    NotRun {
        /// What was last heard, code first.
        last: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// It was handed to a node whose answer never came. Not safe to send again.
    #[error("INDOUBT the connection to {node} was lost: the command may or may not have run")]
    Lost {
        /// The node.
        node: Endpoint,
    },
    /// A script was answered with a redirect, and the node could not tell later whether that was its
    /// own. Not safe to send again.
    #[error(
        "INDOUBT {node} cannot tell whether it or the script answered with a redirect: the command \
         may or may not have run"
    )]
    Unconfirmed {
        /// The node.
        node: Endpoint,
    },
    /// It was handed to a node that fell silent. Not safe to send again.
    #[error(
        "INDOUBT {node} did not answer within {}: the command may or may not have run",
        seconds(*waited)
    )]
    Silent {
        /// The node.
        node: Endpoint,
        /// The limit.
        waited: Duration,
    },
    /// A read that two connections in a row did not answer in time. Safe to send again.
    #[error(
        "CLUSTERDOWN {node} did not answer within {}, twice: a read, safe to send again",
        seconds(*waited)
    )]
    ReadTimedOut {
        /// The node.
        node: Endpoint,
        /// The limit.
        waited: Duration,
    },
}

impl Failure {
    /// Whether the command may have run.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Unconfirmed { .. } | Self::Silent { .. })
    }
}

/// What goes before the line that was last heard. A redirect must not be a client's to follow: one
/// that knows of clusters would leave the proxy for the node that it names.
fn code_before(last: &str) -> &'static str {
    let is_redirect = last.starts_with("MOVED ") || last.starts_with("ASK ");
    if is_redirect { "CLUSTERDOWN the nodes send it on and on: " } else { "" }
}

/// `30s`, `1.5s`, `500ms`.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", (duration.as_millis() as f64 / 100.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_was_waited_for_and_whether_it_ran() {
        let node = Endpoint::new("10.0.0.1", 7001);
        let not_run = Failure::NotRun {
            last: "CLUSTERDOWN Hash slot not served".to_owned(),
            waited: Duration::from_millis(30_020),
        };
        assert_eq!(not_run.to_string(), "CLUSTERDOWN Hash slot not served; waited 30s, not run");
        let round = Failure::NotRun {
            last: "MOVED 7 10.0.0.1:7001".to_owned(),
            waited: Duration::from_secs(30),
        };
        assert_eq!(
            round.to_string(),
            "CLUSTERDOWN the nodes send it on and on: MOVED 7 10.0.0.1:7001; waited 30s, not run"
        );
        let lost = Failure::Lost { node };
        assert_eq!(
            lost.to_string(),
            "INDOUBT the connection to 10.0.0.1:7001 was lost: the command may or may not have run"
        );
        assert!(lost.is_in_doubt() && !not_run.is_in_doubt());
    }
}
