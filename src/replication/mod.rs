//! Primary and replica: what one says to the other, and what follows. No I/O, no data.
//!
//! ```text
//!  primary   History ── Backlog ── Replica, one per follower: handshake ▶ snapshot ▶ online
//!  replica   Link: connecting ▶ handshake ▶ snapshot ▶ stream ▶ (lost) ▶ resume or start over
//! ```
//! The stream of a primary is bytes that everybody counts alike: a place in it is an [`Offset`],
//! and together with the [`ReplicationId`] of the history it belongs to, it names a state of the
//! data. Whoever knows both can go on where another stopped.

mod backlog;
mod history;
mod id;
mod link;
mod replica;

pub use backlog::Backlog;
pub use history::{History, Resume};
pub use id::{Offset, ReplicationId};
pub use link::{Framing, Link, LinkConfig, LinkError, LinkEvent, LinkState, acknowledgement};
pub use replica::{Introduction, Replica, Stage, StreamLimit};
