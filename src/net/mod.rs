//! What the shells share of tokio: sockets, deadlines, a small client, and how a process is asked
//! to stop.

mod client;
mod shutdown;

pub use client::{Client, ClientError, ClientOptions, Credentials};
pub use shutdown::Shutdown;
