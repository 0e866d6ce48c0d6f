//! What the tool would do, as a value: it can be shown, as text or JSON, before it is done.

use crate::cluster::{Endpoint, NodeId, Slot, SlotSet};
use serde_json::{Value, json};
use std::fmt;

/// One slot that changes its owner, with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The slot.
    pub slot: Slot,
    /// Who has it.
    pub from: NodeId,
    /// Who gets it.
    pub to: NodeId,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A slot moves with its keys.
    Move(Move),
    /// Nodes disagree about a slot, or nobody has it: it is given to one of them.
    Settle(super::fix::Mending),
    /// A node is introduced to the cluster.
    Meet {
        /// The newcomer.
        node: Endpoint,
        /// Whom it meets.
        host: Endpoint,
    },
    /// A node of a cluster to be gets its slots.
    Own {
        /// The node.
        node: Endpoint,
        /// The slots.
        slots: SlotSet,
    },
    /// A node becomes a replica.
    Replicate {
        /// The node.
        node: Endpoint,
        /// Its primary.
        primary: NodeId,
    },
    /// All other nodes forget one.
    Forget(NodeId),
    /// A node is shut down.
    Shutdown(Endpoint),
    /// A node leaves the cluster and stays up (CLUSTER RESET SOFT).
    Reset(Endpoint),
    /// A node is sent a command.
    Call {
        /// The node.
        node: Endpoint,
        /// The command as it is shown.
        command: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move(m) => write!(f, "Moving slot {} from {}", m.slot, m.from),
            Self::Settle(mending) => mending.fmt(f),
            Self::Meet { node, host } => write!(f, "{node} meets {host}"),
            Self::Own { node, slots } => write!(f, "{node} gets the slots {slots}"),
            Self::Replicate { node, primary } => write!(f, "{node} becomes a replica of {primary}"),
            Self::Forget(id) => write!(f, "All nodes forget {id}"),
            Self::Shutdown(node) => write!(f, "{node} is shut down"),
            Self::Reset(node) => write!(f, "{node} is reset"),
            Self::Call { node, command } => write!(f, "{node} is sent {command}"),
        }
    }
}

/// What is to be done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// A plan of moves.
    pub fn of_moves(moves: impl IntoIterator<Item = Move>) -> Self {
        Self { steps: moves.into_iter().map(Step::Move).collect() }
    }

    /// The plan as a JSON array, one object per step.
    pub fn to_json(&self) -> Value {
        let step = |step: &Step| match step {
            Step::Move(Move { slot, from, to }) => json!({
                "step": "move", "slot": slot.number(), "from": from.as_str(), "to": to.as_str(),
            }),
            Step::Settle(mending) => json!({
                "step": "settle", "slot": mending.slot.number(), "owner": mending.owner.as_str(),
                "text": mending.to_string(),
            }),
            Step::Meet { node, host } => {
                json!({"step": "meet", "node": node.to_string(), "host": host.to_string()})
            }
            Step::Own { node, slots } => {
                json!({"step": "add_slots", "node": node.to_string(), "slots": slots.to_string()})
            }
            Step::Replicate { node, primary } => {
                json!({"step": "replicate", "node": node.to_string(), "primary": primary.as_str()})
            }
            Step::Forget(id) => json!({"step": "forget", "id": id.as_str()}),
            Step::Shutdown(node) => json!({"step": "shutdown", "node": node.to_string()}),
            Step::Reset(node) => json!({"step": "reset", "node": node.to_string()}),
            Step::Call { node, command } => {
                json!({"step": "call", "node": node.to_string(), "command": command})
            }
        };
        Value::Array(self.steps.iter().map(step).collect())
    }

    /// The moves among its steps.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.steps.iter().filter_map(|step| match step {
            Step::Move(m) => Some(m),
            _ => None,
        })
    }
}
