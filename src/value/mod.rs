//! What node and proxy both compute about values; std only.

mod glob;
mod number;

pub use glob::{Case, glob_match};
pub use number::canonical_i64;
