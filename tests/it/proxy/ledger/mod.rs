//! The ledger under fire: eight clients write what can be counted, while primaries die, are stopped,
//! hand over, move slots and are restarted. In the end the books are balanced: every acknowledged
//! effect is there once, in order, and nothing was answered with an error but with `INDOUBT`, where a
//! connection died with a request on it.
//!
//! A slice in every run; `KEYWAY_ROUNDS` (and `make soak`) for the long form.

mod accounts;
mod books;
mod faults;
mod load;

use super::kinds::kinds;
use super::reach_all;
use crate::support::{Cluster, Keyway, Kind};
use accounts::{Book, End};
use books::Audit;
use faults::{Fault, Rig, What};
use load::{CLIENTS, Load, StopAtEnd, WRITERS};
use std::collections::BTreeMap;
use std::time::Duration;

/// One shard's part of the plan.
enum Step {
    /// A fault, on the next shard.
    Do(What),
    /// Every node in turn; handed over first, or not.
    Roll {
        /// CLUSTER FAILOVER before a primary is stopped.
        by_hand: bool,
    },
}

/// Rounds of the long form; nothing in the short one.
fn rounds() -> Option<usize> {
    std::env::var("KEYWAY_ROUNDS").ok().and_then(|text| text.parse().ok())
}

/// Runs a plan on three shards of one kind, with the load, and balances the books.
fn under_fire(name: &str, kind: Kind, plan: &[Step]) {
    // Whoever is told to stop saves what it has: it comes back with it.
    let kept = ["--appendonly", "yes"];
    let Some(mut cluster) = Cluster::of(&[kind; 3], 1, &kept) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
    reach_all(&cluster, &proxy);
    let load = Load::new();
    let begun = std::time::Instant::now();
    let (books, done) = std::thread::scope(|scope| {
        let _stop = StopAtEnd(&load);
        let writers: Vec<_> = (0..WRITERS)
            .map(|client| {
                scope.spawn({
                    let (proxy, load) = (&proxy, &load);
                    move || load::write(proxy, client, load)
                })
            })
            .collect();
        let takers: Vec<_> = (WRITERS..CLIENTS)
            .map(|client| {
                scope.spawn({
                    let (proxy, load) = (&proxy, &load);
                    move || load::take(proxy, client, load)
                })
            })
            .collect();
        let mut rig = Rig { cluster: &mut cluster, load: &load, done: Vec::new() };
        for (number, step) in plan.iter().enumerate() {
            match step {
                Step::Do(what) => rig.carry_out(*what, number % 3),
                Step::Roll { by_hand } => rig.rolling_restart(*by_hand),
            }
        }
        let done = rig.done;
        load.stop();
        let mut books: Vec<Book> =
            writers.into_iter().map(|writer| writer.join().expect("no client panics")).collect();
        let mut client = proxy.client();
        for taker in takers {
            while !taker.is_finished() {
                load::end_takers(&mut client);
                std::thread::sleep(Duration::from_millis(50));
            }
            books.push(taker.join().expect("no client panics"));
        }
        (books, done)
    });
    let took = begun.elapsed();
    let audit = Audit::of(&books, &done, &mut proxy.client());
    report(name, &books, &done, &audit, took);
    let shown: Vec<&String> = audit.wrong.iter().take(20).collect();
    assert!(audit.wrong.is_empty(), "{} wrong, the first of them: {shown:#?}", audit.wrong.len());
    assert_in_flight(&books, &done);
}

/// A client is left in doubt about no more than it had under way when a connection died.
fn assert_in_flight(books: &[Book], faults: &[Fault]) {
    for book in books {
        for fault in faults {
            let doubts = book.ops().filter(|(account, op)| {
                op.end == End::InDoubt && fault.meets(account.slot, op.sent, op.answered)
            });
            let count = doubts.count();
            assert!(
                count <= book.depth,
                "client {} has {} requests under way, and {count} were left in doubt by {:?}",
                book.client,
                book.depth,
                fault.what,
            );
        }
    }
}

/// What was measured, a line for each thing.
fn report(name: &str, books: &[Book], faults: &[Fault], audit: &Audit, took: Duration) {
    let requests = books.iter().flat_map(Book::ops).count();
    let errors: usize = books.iter().map(|book| book.errors.len()).sum();
    let waits =
        books.iter().fold([0, 0], |sum, book| [sum[0] + book.waits[0], sum[1] + book.waits[1]]);
    println!(
        "measured: {name}: {requests} requests of {CLIENTS} clients in {took:.0?}; errors: {errors}; \
         INDOUBT: {} had run, {} had not (of those with an effect); {} acknowledged effects died with a primary that \
         had not copied them; WAIT 1: {} copied, {} not",
        audit.in_doubt[0], audit.in_doubt[1], audit.lost_by_cluster, waits[0], waits[1],
    );
    let mut kinds: BTreeMap<What, (usize, usize, Duration, Duration)> = BTreeMap::new();
    for fault in faults {
        let row = kinds.entry(fault.what).or_default();
        row.0 += 1;
        for book in books.iter().filter(|book| book.client < WRITERS) {
            for (account, op) in book.ops() {
                let waited = op.answered - op.sent;
                if fault.meets(account.slot, op.sent, op.answered) {
                    row.1 += usize::from(op.end == End::InDoubt);
                    row.2 = row.2.max(waited);
                } else if book.depth == 1 && op.answered >= fault.begun && op.sent <= fault.over {
                    row.3 = row.3.max(waited);
                }
            }
        }
    }
    for (what, (count, doubts, pause, healthy)) in kinds {
        println!(
            "measured: {name}: {what:?} × {count}: {doubts} INDOUBT of writers; longest pause {pause:.0?}; on other \
             shards {healthy:.0?}"
        );
    }
}

/// `count` rounds of a slots' move and a failover, each of another sort, then every node restarted.
fn long_form(rounds: usize) -> Vec<Step> {
    let failovers = [What::Kill, What::Manual, What::Stop];
    let mut plan = Vec::new();
    for round in 0..rounds {
        plan.extend([Step::Do(What::Reshard), Step::Do(failovers[round % failovers.len()])]);
    }
    plan.push(Step::Roll { by_hand: false });
    plan
}

fn the_ledger(kind: Kind, slice: &[What]) {
    let plan = match rounds() {
        Some(rounds) => long_form(rounds),
        None => slice.iter().map(|what| Step::Do(*what)).collect(),
    };
    under_fire(&format!("the ledger on {kind:?}"), kind, &plan);
}

#[test]
fn the_ledger_balances_on_redis_nodes() {
    the_ledger(Kind::Redis, &[What::Reshard, What::Manual]);
}

#[test]
fn the_ledger_balances_on_valkey_nodes() {
    the_ledger(Kind::Valkey, &[What::Manual, What::Reshard]);
}

#[test]
fn the_ledger_balances_on_our_nodes() {
    the_ledger(Kind::Keyway, &[What::Reshard, What::Manual]);
}

/// kill -9 and SIGSTOP in turn.
fn failovers(kind: Kind, slice: What) {
    let plan: Vec<Step> = match rounds() {
        Some(rounds) => {
            let both = || [Step::Do(What::Kill), Step::Do(What::Stop)];
            (0..rounds).flat_map(|_| both()).collect()
        }
        None => vec![Step::Do(slice)],
    };
    under_fire(&format!("failovers of {kind:?}"), kind, &plan);
}

#[test]
fn scar_02_a_killed_primary_is_a_pause_and_not_an_error() {
    kinds(Kind::Redis).into_iter().for_each(|kind| failovers(kind, What::Kill));
}

#[test]
fn scar_02_a_stopped_primary_is_a_pause_and_not_an_error() {
    kinds(Kind::Valkey).into_iter().for_each(|kind| failovers(kind, What::Stop));
}

#[test]
fn a_killed_node_of_ours_is_a_pause_and_not_an_error() {
    failovers(Kind::Keyway, What::Kill);
}

/// Every node; in the long form of every kind.
fn rolling(by_hand: bool, slice: Kind) {
    let all = [Kind::Redis, Kind::Valkey, Kind::Keyway];
    for kind in all.into_iter().filter(|kind| rounds().is_some() || *kind == slice) {
        let name = format!("a rolling restart of {kind:?}, handed over first: {by_hand}");
        under_fire(&name, kind, &[Step::Roll { by_hand }]);
    }
}

#[test]
fn a_rolling_restart_that_hands_over_first_is_no_error_at_all() {
    rolling(true, Kind::Redis);
}

#[test]
fn a_rolling_restart_by_sigterm_leaves_in_doubt_what_was_in_flight() {
    rolling(false, Kind::Keyway);
}
