//! What each command is; no behaviour. One table serves the node, the proxy and the docs.

mod spec;

pub use spec::{
    Arity, BeginSearch, Categories, Class, Deprecated, FindKeys, Flags, Group, KeyFlags, KeySpec,
    RequestPolicy, ResponsePolicy, Spec,
};
