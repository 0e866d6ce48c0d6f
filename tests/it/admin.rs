//! The cluster tool against real nodes.

mod create;
mod faults;
mod handbook;
mod manners;
mod moves;
mod steps;
mod terminal;
mod traffic;
