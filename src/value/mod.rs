//! What node and proxy both compute about values; std only.

mod glob;

pub use glob::{Case, glob_match};
