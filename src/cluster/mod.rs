//! The words of Redis Cluster: slots, epochs, nodes, and the texts in which servers speak of them.

mod epoch;
mod errors;
mod node;
mod slot;
mod slot_set;

pub use epoch::Epoch;
pub use errors::{ClusterError, RedirectTarget};
pub use node::{Endpoint, InvalidEndpoint, InvalidNodeId, NodeId};
pub use slot::{OutOfRange, Slot};
pub use slot_set::SlotSet;
