//! Clients that write through the proxy while an operator is at work, which is none of their business.

use crate::support::{Keyway, Server, wait_for};
use keyway::resp::Reply;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const CLIENTS: usize = 4;
/// Counters of each client, over all slots.
const COUNTERS: usize = 100;
/// As long as an election may take on a machine that is busy with other things.
const RIDE_OUT: &str = "timing:\n  ride_out: 120s\n";
const WITHIN: Duration = Duration::from_secs(180);

/// What the names of all counters begin with.
pub(super) const PREFIX: &[u8] = b"counter:";
/// How many there are.
pub(super) const ALL: usize = CLIENTS * COUNTERS;

/// Clients at work.
pub(super) struct Traffic {
    proxy: Server,
    stop: Arc<AtomicBool>,
    step: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Told>>,
}

/// What one client was told.
#[derive(Default)]
struct Told {
    done: i64,
    /// The step during which a request was sent, and the error that answered it.
    errors: Vec<(usize, String)>,
}

impl Traffic {
    /// Starts a proxy in front of these nodes, and clients that count as fast as they can.
    pub(super) fn start(seeds: &[String]) -> Self {
        let proxy = Keyway::proxy_with(seeds, RIDE_OUT);
        let (stop, step) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |number: usize| {
            let (stop, step) = (Arc::clone(&stop), Arc::clone(&step));
            let mut connection = proxy.client();
            connection.set_timeout(WITHIN);
            std::thread::spawn(move || {
                let mut told = Told::default();
                for n in (0..).take_while(|_| !stop.load(Ordering::SeqCst)) {
                    let sent_in = step.load(Ordering::SeqCst);
                    match connection.call(&["INCR", &counter(number, n % COUNTERS)]) {
                        Reply::Integer(_) => told.done += 1,
                        reply => {
                            let text = reply.as_error().map(String::from_utf8_lossy);
                            told.errors.push((sent_in, text.unwrap_or_default().into_owned()));
                        }
                    }
                }
                told
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        let traffic = Self { proxy, stop, step, clients };
        wait_for("every counter is there", WITHIN, || {
            let mut last = (0..CLIENTS).map(|client| counter(client, COUNTERS - 1));
            let mut client = traffic.proxy.client();
            last.all(|counter| client.integer(&["EXISTS", &counter]) == 1)
        });
        traffic
    }

    /// What is written from here on is written during this step.
    pub(super) fn enter(&self, step: usize) {
        self.step.store(step, Ordering::SeqCst);
    }

    /// Stops the clients. Nobody was told of an error, but that a write was in doubt which was sent during
    /// the steps `shutdown` at the latest (one for each client, as each has one in flight). Every counter
    /// is what it was counted up to.
    pub(super) fn end(mut self, shutdown: RangeInclusive<usize>) {
        self.stop.store(true, Ordering::SeqCst);
        let clients = std::mem::take(&mut self.clients);
        let told = clients.into_iter().map(|client| client.join().expect("no client panics"));
        let mut client = self.proxy.client();
        for (number, Told { done, errors }) in told.enumerate() {
            let is_allowed = |(step, text): &&(usize, String)| {
                shutdown.contains(step) && text.starts_with("INDOUBT ")
            };
            let others: Vec<_> = errors.iter().filter(|error| !is_allowed(error)).collect();
            assert!(others.is_empty(), "client {number}: {others:?}");
            assert!(errors.len() <= 1, "one write was in flight: {errors:?}");
            let counted: i64 = (0..COUNTERS)
                .map(|n| client.text(&["GET", &counter(number, n)]))
                .map(|value| value.parse::<i64>().expect("a counter"))
                .sum();
            let possible = done..=done + errors.len() as i64;
            println!("client {number} counted {counted}; {} in doubt", errors.len());
            assert!(possible.contains(&counted), "{counted} is not in {possible:?}");
        }
    }
}

impl Drop for Traffic {
    /// However the test goes on.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn counter(client: usize, n: usize) -> String {
    format!("{}{client}:{n}", String::from_utf8_lossy(PREFIX))
}
