//! What the shells share of tokio: sockets, deadlines, a small client, and how a process is asked
//! to stop.

mod client;
mod moderation;
mod shutdown;
mod wake;

pub use client::{Client, ClientError, ClientOptions, Credentials};
pub use shutdown::{Shutdown, StopSignals};
pub use wake::{before_sleep, client_was_read};
