//! The tool's shell: connections, prompts, and what is printed. It decides nothing about slots.

mod create;
mod failure;
mod join;
mod nodes;
mod report;

pub use create::{CreateOptions, create};
pub use failure::Failure;
pub use nodes::{Cluster, Node, connect};
pub use report::{Recorded, Report, Silent, Terminal};
