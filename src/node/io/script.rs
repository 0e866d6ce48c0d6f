//! Scripts that run for long: between two turns of one, everything else gets its turn.

use super::engine::Engine;
use crate::clock::Now;
use std::rc::Rc;

/// Lets the script that others are let in beside go on, for as long as the node runs.
pub(super) async fn run(engine: Rc<Engine>) {
    loop {
        while engine.with_core(|core| core.go_on_with_script(Now::read())) {
            tokio::task::yield_now().await;
        }
        engine.script.notified().await;
    }
}
