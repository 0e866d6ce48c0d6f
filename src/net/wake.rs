//! What a thread that serves many clients does before it sleeps: see [`Moderation`].

use super::moderation::Moderation;
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Of this thread's clients. Here, because the runtime's hook has no way to anything else.
    static MODERATION: Cell<Moderation> = const { Cell::new(Moderation::new()) };
}

/// Counts a client of this thread that had something to say.
#[inline]
pub fn client_was_read() {
    let mut moderation = MODERATION.get();
    moderation.client_was_read();
    MODERATION.set(moderation);
}

/// Runs when no task of this thread has anything to do, before it sleeps until a socket is ready: the hook
/// `on_thread_park` of its runtime. With many clients at a time it sleeps at least so long; zero: never.
pub fn before_sleep(pause: Duration) {
    let mut moderation = MODERATION.get();
    let should_pause = moderation.turn_ended();
    MODERATION.set(moderation);
    if should_pause && !pause.is_zero() {
        std::thread::sleep(pause);
    }
}
