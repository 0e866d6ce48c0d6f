//! The types of values, a file each, and the compact forms that they share.

mod hash;
mod list;
mod listpack;
mod pair;

pub use hash::{Hash, HashLimits, HashMut};
pub use list::{Elements, End, List, ListLimit, ListMut};
pub use listpack::{Item, Listpack};
