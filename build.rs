//! Tells the binary which commit it was built from, where that is known.
//!
//! Only release builds name a commit: everything else is built from a tree that is being worked
//! on, where the last commit says little, and asking would rebuild the crate after each one.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let commit = if std::env::var("PROFILE").as_deref() == Ok("release") {
        commit().unwrap_or_else(|| "unknown".to_owned())
    } else {
        "development".to_owned()
    };
    println!("cargo:rustc-env=KEYWAY_COMMIT={commit}");
}

/// The commit, and whether the sources were changed since. `None` without git or a repository.
fn commit() -> Option<String> {
    for path in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "HEAD"])?);
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    // A repository around an unpacked archive is not ours.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-modified") })
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
