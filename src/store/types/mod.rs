//! The types of values, a file each, and the compact forms that they share.

mod arena;
mod hash;
mod list;
mod listpack;
mod pair;
mod skip_list;
mod sorted_set;

pub use hash::{Hash, HashLimits, HashMut};
pub use list::{Elements, End, List, ListLimit, ListMut};
pub use listpack::{Item, Listpack};
pub use sorted_set::{SortedSet, SortedSetLimits, SortedSetMut};
