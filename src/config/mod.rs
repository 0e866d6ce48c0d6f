//! Configuration files: read, checked, and explained when something is wrong.
//!
//! The types in [`proxy`] decide alone what a file may hold. [`check`] reads with the very same
//! types, and finds all mistakes instead of the first by taking each one out and reading again.

mod check;
pub mod node;
pub mod proxy;
mod read_from;
mod units;
mod workers;

pub use check::{Problem, check_proxy};
pub use proxy::{ProxyConfig, document_limits};
pub use read_from::ReadFromConfig;
pub use units::{ByteSize, InvalidSize, InvalidTime, TimeSpan};
pub use workers::{InvalidWorkers, Workers};

use std::path::{Path, PathBuf};

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It can be read, and is wrong.
    #[error("{}", report(problems))]
    Wrong {
        /// All that is.
        problems: Vec<Problem>,
    },
}

/// Problems as people read them, one after the other.
fn report(problems: &[Problem]) -> String {
    let mut text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let count = match problems.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    text.push(format!("{count} in the configuration"));
    text.join("\n")
}

/// Reads the proxy's configuration.
///
/// # Errors
/// A file that cannot be read, or is wrong: then every mistake is told.
pub fn load_proxy(path: &Path) -> Result<ProxyConfig, LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    check_proxy(&path.display().to_string(), &text)
        .map_err(|problems| LoadError::Wrong { problems })
}
