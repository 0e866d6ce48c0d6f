//! What tests that draw at random draw from.
//!
//! An ordinary run draws the same each time, so that it fails only for what was changed. The long
//! targets of the Makefile set `KEYWAY_SEED=random`; whatever fails there prints the number that
//! draws it again.

/// The number that a variable of the environment is set to.
pub(crate) fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What `KEYWAY_SEED` says: a number, or `random`. 1 where it says nothing.
pub(crate) fn seed() -> u64 {
    match std::env::var("KEYWAY_SEED") {
        Ok(word) if word == "random" => rand::random(),
        _ => number_from_env("KEYWAY_SEED").unwrap_or(1),
    }
}
