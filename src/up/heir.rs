//! When a primary that died is started again: at once, or once its replica has taken its place.
//!
//! A process is back within a second, and no cluster elects a replica so soon. Started at once, a
//! primary would be one again, with all but what it had not written to its file yet; its replica, that
//! has more, would be emptied to follow it. So a primary that has a replica is left down until the others
//! have replaced it, and comes back as the replica of its heir. That is not waited for where it
//! cannot happen (no replica lives, or too few primaries to elect one), nor for ever. A node that is
//! silent is not dead: on a machine that is busy all of them may be, and elect an heir thereafter.

use super::nodes::NODE_TIMEOUT;
use crate::admin::NodeView;
use crate::admin::io::connect;
use crate::cluster::Endpoint;
use crate::net::ClientOptions;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a dead primary waits for its heir: a death is noticed within two node timeouts at the latest,
/// an election takes about a second, and a machine may be busy.
pub(super) const REPLACED_WITHIN: Duration = Duration::from_secs(4 * NODE_TIMEOUT.as_secs());
/// How often the others are asked.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long one of them may take to answer before it counts as silent: they are on this machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// What to do with a node that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody takes its place, or somebody has.
    Start,
    /// A replica is about to take its place.
    Wait,
}

/// Decides by the views of the nodes that answered. Of `silent` ones nothing is known but that they are there.
pub(super) fn judge(dead: &Endpoint, answered: &[NodeView], silent: usize) -> Verdict {
    let lines = answered.iter().flat_map(|view| &view.others);
    let port = |endpoint: &Option<Endpoint>| endpoint.as_ref().map(|endpoint| endpoint.port);
    let mut seen = lines.filter(|line| port(&line.endpoint) == Some(dead.port)).peekable();
    let Some(id) = seen.peek().map(|line| line.id) else {
        let may_be_known = answered.is_empty() && silent > 0;
        return if may_be_known { Verdict::Wait } else { Verdict::Start };
    };
    // The first to know is the heir itself: one view without its slots is enough.
    if seen.any(|line| !line.is_primary() || line.slots.is_empty()) {
        return Verdict::Start;
    }
    let may_inherit = |view: &NodeView| view.own.primary == Some(id) && !view.own.has("nofailover");
    let has_heir = silent > 0 || answered.iter().any(may_inherit);
    let voters = silent + answered.iter().filter(|view| !view.own.slots.is_empty()).count();
    let primaries = answered.iter().map(|view| view.slot_owners().len()).max().unwrap_or(0);
    if has_heir && voters > primaries / 2 { Verdict::Wait } else { Verdict::Start }
}

/// Asks the other nodes, all at a time, and decides.
pub(super) async fn ask(dead: &Endpoint, others: &[Endpoint]) -> Verdict {
    let mut asks = JoinSet::new();
    for endpoint in others.iter().cloned() {
        asks.spawn(tokio::time::timeout(ANSWER_WITHIN, view_of(endpoint)));
    }
    let (mut answered, mut silent) = (Vec::new(), 0);
    for answer in asks.join_all().await {
        match answer {
            Ok(Some(view)) => answered.push(view),
            // Nobody listens: it has no part in an election.
            Ok(None) => {}
            Err(_elapsed) => silent += 1,
        }
    }
    judge(dead, &answered, silent)
}

async fn view_of(endpoint: Endpoint) -> Option<NodeView> {
    let mut node = connect(&endpoint, &ClientOptions::default()).await.ok()?;
    node.view().await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::parse_nodes;

    /// The view of node `n` of three primaries (1 to 3) and their replicas (4 to 6), with what
    /// `change` makes of its lines.
    fn view(n: u8, change: impl Fn(u8, &str) -> String) -> NodeView {
        let mut others = Vec::new();
        let mut own = None;
        for m in 1..=6_u8 {
            let id = |m: u8| format!("{m:040}");
            let (role, of, slots) = match m {
                1 => ("master", "-".to_owned(), "0-5460"),
                2 => ("master", "-".to_owned(), "5461-10922"),
                3 => ("master", "-".to_owned(), "10923-16383"),
                m => ("slave", id(m - 3), ""),
            };
            let myself = if m == n { "myself," } else { "" };
            let address = format!("127.0.0.1:{}@{}", 7000 + u16::from(m), 17_000 + u16::from(m));
            let text = format!("{} {address} {myself}{role} {of} 0 0 1 connected {slots}", id(m));
            let line = parse_nodes(&change(m, &text)).expect("a line").remove(0);
            if m == n {
                own = Some(line);
            } else {
                others.push(line);
            }
        }
        let endpoint = Endpoint::new("127.0.0.1", 7000 + u16::from(n));
        NodeView { endpoint, own: own.expect("its own line"), others }
    }

    fn unchanged(_: u8, line: &str) -> String {
        line.to_owned()
    }

    fn judged(dead: u16, living: &[NodeView]) -> Verdict {
        judge(&Endpoint::new("127.0.0.1", 7000 + dead), living, 0)
    }

    #[test]
    fn a_primary_waits_for_its_heir_and_a_replica_for_nobody() {
        let living = |dead: u8| -> Vec<NodeView> {
            (1..=6).filter(|n| *n != dead).map(|n| view(n, unchanged)).collect()
        };
        assert_eq!(judged(1, &living(1)), Verdict::Wait);
        assert_eq!(judged(4, &living(4)), Verdict::Start, "a replica");
        assert_eq!(judged(9, &living(1)), Verdict::Start, "a node that nobody knows");
    }

    #[test]
    fn a_primary_is_started_once_one_node_knows_its_heir() {
        let promoted = |m: u8, line: &str| match m {
            1 => line.replace("0-5460", ""),
            4 => format!("{} 0-5460", line.replace("slave", "master")),
            _ => line.to_owned(),
        };
        let mut living: Vec<NodeView> = [2, 3, 5, 6].map(|n| view(n, unchanged)).into();
        living.push(view(4, promoted));
        assert_eq!(judged(1, &living), Verdict::Start);
    }

    #[test]
    fn an_election_that_cannot_be_is_not_waited_for() {
        assert_eq!(judged(1, &[]), Verdict::Start, "all are dead");
        let without_heir = [2, 3, 5, 6].map(|n| view(n, unchanged));
        assert_eq!(judged(1, &without_heir), Verdict::Start, "its replica is dead too");
        let without_quorum = [3, 4, 5, 6].map(|n| view(n, unchanged));
        assert_eq!(judged(1, &without_quorum), Verdict::Start, "two of three primaries are dead");
        let unwilling = |m: u8, line: &str| match m {
            4 => line.replace("slave", "slave,nofailover"),
            _ => line.to_owned(),
        };
        let living = [2, 3, 4, 5, 6].map(|n| view(n, unwilling));
        assert_eq!(judged(1, &living), Verdict::Start, "its replica never takes over");
    }

    #[test]
    fn silent_nodes_may_be_about_to_elect_an_heir() {
        let dead = Endpoint::new("127.0.0.1", 7001);
        let judged = |answered: &[NodeView], silent| judge(&dead, answered, silent);
        assert_eq!(judged(&[], 5), Verdict::Wait, "all of them");
        let others = [2, 3, 5, 6].map(|n| view(n, unchanged));
        assert_eq!(judged(&others, 1), Verdict::Wait, "the one that would be its heir");
        let without_quorum = [4, 5, 6].map(|n| view(n, unchanged));
        assert_eq!(judged(&without_quorum, 2), Verdict::Wait, "those who would elect it");
        assert_eq!(judged(&without_quorum, 1), Verdict::Start, "too few who could elect it");
        let replaced = |m: u8, line: &str| match m {
            1 => line.replace("0-5460", ""),
            _ => line.to_owned(),
        };
        assert_eq!(
            judged(&[view(5, replaced)], 4),
            Verdict::Start,
            "one knows that it was replaced"
        );
    }
}
