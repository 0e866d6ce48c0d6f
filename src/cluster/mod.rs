//! The words of Redis Cluster: slots, epochs, nodes, and the texts in which servers speak of them.

pub mod describe;
mod discover;
mod epoch;
mod errors;
mod flags;
mod node;
mod nodes_conf;
mod nodes_text;
mod slot;
mod slot_set;
mod slot_states;
mod topology;

pub use discover::{View, ViewError, ViewNode};
pub use epoch::Epoch;
pub use errors::{ClusterError, RedirectTarget};
pub use flags::NodeFlags;
pub use node::{Endpoint, InvalidEndpoint, InvalidNodeId, NodeId};
pub use nodes_conf::{
    CorruptNodesConf, Durable, HoldsBack, Move, NodeRecord, OpenSlot, is_hostname, is_human_name,
};
pub use nodes_text::{InvalidLine, NodeLine, parse_nodes};
pub use slot::{OutOfRange, Slot};
pub use slot_set::SlotSet;
pub use slot_states::{InvalidSlotStates, parse_slot_states, slot_states_text};
pub use topology::{NODES_MAX, NodeIndex, Topology, TopologyNode};
