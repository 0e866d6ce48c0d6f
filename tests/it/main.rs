//! Integration tests: real sockets and real processes, in one binary.
//!
//! What needs a stock server says `skipped: …` where there is none, and passes; with
//! `KEYWAY_REQUIRE_REAL=1` a missing server is a failure. `support/` starts and stops everything.
#![allow(clippy::disallowed_methods, reason = "the tests wait on the real clock")]

mod admin;
mod append;
mod bus;
mod closed_log;
mod commands;
mod differential;
mod drivers;
mod failover;
mod hostile;
mod members;
mod migrate;
mod node;
mod nodes_conf;
mod old_files;
mod proxy;
mod rdb;
mod redis_py;
mod replication;
mod saving;
mod script_answers;
mod scripts;
mod slow_disk;
mod support;
mod transcript;
mod up;
mod waiting;
