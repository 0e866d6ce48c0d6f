//! Exit codes and the runtime; nothing else.

fn main() {}
