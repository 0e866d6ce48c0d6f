//! The data set of a node: one owner, no locks, no I/O, no clock.
//!
//! ```text
//!  Keyspace ── Database (numbered) ── Table<Entry> per slot ── Entry: key, expiry, value
//!     │            └─ ExpiryIndex                                └─ Value: types/{hash, …}
//!     └─ Garbage: what another thread shall drop
//! ```
//! It returns values, not replies, and knows nothing of commands.

mod aside;
mod collections;
mod compact;
mod database;
mod db;
mod digest;
mod entry;
mod expire;
mod garbage;
mod hasher;
mod keyspace;
mod payload;
mod random;
pub mod rdb;
mod snapshot;
mod table;
mod thin;
mod types;
mod usage;
mod value;

pub use aside::Aside;
pub use db::{Db, Expiry, Text, WrongType};
pub use entry::Entry;
pub use garbage::{FREE_INLINE_MAX, Garbage};
pub use hasher::Hasher;
pub use keyspace::{Expired, Keyspace, KeyspaceOptions, KeyspaceStats, Tell, Told, TypeLimits};
pub use random::Random;
pub use snapshot::{SnapshotOptions, SnapshotProgress};
pub use table::{Keyed, Table};
pub use types::{
    Consumer, ConsumerId, Elements, End, Group, Hash, HashLimits, HashMut, Intset, Item, List,
    ListLimit, ListMut, Listpack, Log, LogFigures, Pending, Set, SetLimits, SetMut, SortedSet,
    SortedSetLimits, SortedSetMut, Stream, StreamEntry, StreamId, StreamIdBuffer, StreamLimits,
    StreamMut, StreamRange, Trim, Trimmed,
};
pub use usage::UsagePolicy;
pub use value::{Type, Value, ValueMut, ValueRef};
