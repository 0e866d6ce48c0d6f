//! Waiting for a fact, with a deadline: the only place where a test passes time.

use std::time::{Duration, Instant};

/// Between two looks at a fact.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks again and again until `fact` gives something; `None` once `within` has passed.
pub(crate) fn eventually<T>(within: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = fact() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `fact` is true.
///
/// # Panics
/// When it is not within the time; `what` says which fact it was.
pub(crate) fn wait_for(what: &str, within: Duration, mut fact: impl FnMut() -> bool) {
    assert!(eventually(within, || fact().then_some(())).is_some(), "not within {within:?}: {what}");
}
