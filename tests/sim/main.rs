//! Many members of a cluster in one thread, with a network, disks and a clock that a seed decides.
//!
//! The machines are the ones that run in production; only what is around them is not real. The
//! same seed gives the same run, to the byte.
#![allow(clippy::disallowed_methods, reason = "a world has to begin at some moment")]

mod checkers;
mod cost;
mod data;
mod facts;
mod failover;
mod forming;
mod gossip;
mod streams;
mod swarm;
mod world;
