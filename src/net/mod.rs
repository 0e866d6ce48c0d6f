//! What the shells share of tokio's network: sockets, deadlines, a small client.

mod client;

pub use client::{Client, ClientError, ClientOptions, Credentials};
