//! Free loopback ports.
//!
//! A node's bus listens 10,000 above its port, and the kernel gives outgoing connections ports
//! from 32,768 on: so ports are drawn from a range where neither meets that, nor the buses the
//! ports: nodes go on calling the bus of one that was killed, and would call another test's server.
//! Two tests of one process never get the same port; another process may, and then the server says
//! so and [`super::Server`] tries again elsewhere.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

const FIRST: u16 = 11_000;
const LAST: u16 = FIRST + BUS - 1;

/// How far above a node's port its bus listens.
const BUS: u16 = 10_000;

/// What this process has handed out. Never given back: there are enough.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that is free, and so is the one 10,000 above it.
pub(crate) fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` consecutive free ports, each with its bus port.
pub(crate) fn free_ports(count: u16) -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for _ in 0..10_000 {
        let first = rand::random_range(FIRST..=LAST - count);
        let wanted = first..first + count;
        if wanted.clone().all(|port| !taken.contains(&port) && is_free(port)) {
            taken.extend(wanted);
            return first;
        }
    }
    panic!("no {count} free ports between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    [port, port + BUS]
        .into_iter()
        .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}
