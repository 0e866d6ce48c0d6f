//! What node and proxy both compute about values; std only.

pub mod bits;
mod decimal;
mod digest;
mod double;
mod extended;
mod glob;
pub mod hyperloglog;
mod number;
mod sha1;

pub use digest::Digest;
pub use double::{DoubleText, parse_double, parse_double_bound, parse_double_prefix, parse_weight};
pub use extended::Extended;
pub use glob::{Case, glob_match};
pub use number::parse_i64;
pub use sha1::sha1;
