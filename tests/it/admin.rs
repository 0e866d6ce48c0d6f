//! The cluster tool against real nodes.

mod create;
