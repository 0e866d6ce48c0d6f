//! The types of values, a file each, and the compact forms that they share.

mod arena;
mod hash;
mod intset;
mod list;
mod listpack;
mod pair;
mod ranking;
mod set;
mod sorted_set;
mod stream;

pub use hash::{Hash, HashLimits, HashMut};
pub use intset::Intset;
pub use list::{Elements, End, List, ListLimit, ListMut};
pub(in crate::store) use listpack::Packer;
pub use listpack::{Item, Listpack};
pub use set::{Set, SetLimits, SetMut};
pub use sorted_set::{SortedSet, SortedSetLimits, SortedSetMut};
pub use stream::{
    Consumer, ConsumerId, Group, Log, LogFigures, Pending, Stream, StreamEntry, StreamId,
    StreamIdBuffer, StreamLimits, StreamMut, StreamRange, Trim, Trimmed,
};
