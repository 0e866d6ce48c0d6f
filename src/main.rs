//! Exit codes and the runtime; nothing else.

use std::process::ExitCode;

/// Replies and requests are many small buffers of all sizes: the allocator is on the hot path.
#[global_allocator]
static ALLOCATOR: keyway::alloc::Counting<keyway::alloc::Mimalloc> =
    keyway::alloc::Counting(keyway::alloc::Mimalloc);

fn main() -> ExitCode {
    keyway::cli::main(std::env::args_os())
}
