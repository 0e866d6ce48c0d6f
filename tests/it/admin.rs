//! The cluster tool against real nodes.

mod create;
mod handbook;
mod manners;
mod moves;
