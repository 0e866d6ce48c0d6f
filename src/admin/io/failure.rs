//! How a run of the tool ends badly: a line for the operator, and what to do about it.

use crate::cluster::Endpoint;

/// Why the tool stopped. The text is what an operator reads, its `[ERR]` or `***` included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// One line or several; empty where everything has been said already.
    pub text: String,
    /// A command that mends it, where there is one.
    pub fix: Option<String>,
}

impl Failure {
    /// A text that is said as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), fix: None }
    }

    /// `[ERR]`, and the text.
    pub fn error(text: impl std::fmt::Display) -> Self {
        Self::new(format!("[ERR] {text}"))
    }

    /// The run stops here; what was to be said has been said.
    pub fn silent() -> Self {
        Self::new("")
    }

    /// Adds the command that mends it.
    #[must_use]
    pub fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(command.into());
        self
    }

    /// A node said something that we cannot go on from.
    pub fn at(node: &Endpoint, what: impl std::fmt::Display) -> Self {
        Self::error(format!("Node {node}: {what}"))
    }
}
