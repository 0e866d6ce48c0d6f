//! What node and proxy both compute about values; std only.

mod decimal;
mod digest;
mod extended;
mod glob;
mod number;
mod sha1;

pub use digest::Digest;
pub use extended::Extended;
pub use glob::{Case, glob_match};
pub use number::canonical_i64;
pub use sha1::sha1;
