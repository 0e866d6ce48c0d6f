//! What each command is; no behaviour. One table serves the node, the proxy and the docs.
//!
//! [`lookup_request`] finds a request's [`Spec`]; [`all`] walks the table.

mod bits;
pub mod describe;
#[doc(hidden)]
pub mod docs;
mod flags;
mod key_spec;
mod keys;
mod lookup;
mod shortened;
mod shown;
mod spec;
pub mod syntax;
mod table;
#[cfg(test)]
mod tests;

pub use flags::{Categories, Flags};
pub use key_spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
pub use keys::{KeyAt, Keys, KeysError, exact_flags, first_key, for_each_key, keys, may_block};
pub use lookup::{UnknownCommand, lookup, lookup_full_name, lookup_request, lookup_subcommand};
pub use shortened::shortened;
pub use shown::{is_monitored, write_monitored};
pub use spec::{Arity, Class, Deprecated, Group, RequestPolicy, ResponsePolicy, Spec};
pub use table::COUNT;

/// Every command and subcommand, sorted by name, a container right before its subcommands: the
/// one at `index` has that [`Spec::id`].
pub fn all() -> &'static [Spec] {
    &table::ALL
}

/// Every command, without subcommands, sorted by name.
pub fn commands() -> impl Iterator<Item = &'static Spec> {
    all().iter().filter(|spec| !spec.is_subcommand())
}
