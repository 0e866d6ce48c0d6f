//! A primary dies under load, and its replica takes over: a pause, no error but INDOUBT.

use super::reach_all;
use crate::support::{Cluster, Keyway, Server};
use keyway::resp::Reply;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const CLIENTS: usize = 8;
const KEYS_EACH: usize = 30;

/// For each key of one client: INCRs that were acknowledged, and that may have run.
struct Ledger {
    acknowledged: Vec<i64>,
    in_doubt: Vec<i64>,
    errors: Vec<String>,
}

fn count(proxy: &Server, number: usize, stop: &AtomicBool, total: &AtomicUsize) -> Ledger {
    let mut client = proxy.client();
    let mut ledger = Ledger {
        acknowledged: vec![0; KEYS_EACH],
        in_doubt: vec![0; KEYS_EACH],
        errors: Vec::new(),
    };
    while !stop.load(Ordering::SeqCst) && ledger.errors.len() < 10 {
        for key in 0..KEYS_EACH {
            match client.try_call(&["INCR", &format!("counter:{number}:{key}")]) {
                Ok(Reply::Integer(_)) => ledger.acknowledged[key] += 1,
                Ok(Reply::Error(text)) if text.starts_with(b"INDOUBT ") => {
                    ledger.in_doubt[key] += 1
                }
                other => ledger.errors.push(format!("INCR counter:{number}:{key}: {other:?}")),
            }
            total.fetch_add(1, Ordering::SeqCst);
        }
    }
    ledger
}

#[test]
fn scar_02_a_failover_is_a_pause_and_not_an_error() {
    let Some(mut cluster) = Cluster::redis(3, 1) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    // The rig must not measure its own haste: what is acknowledged is on the replicas, too.
    cluster.await_replicas_online();

    let (stop, total) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ledgers: Vec<Ledger> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (proxy, stop, total) = (&proxy, &stop, &total);
                scope.spawn(move || count(proxy, number, stop, total))
            })
            .collect();
        let passed = |count: usize| {
            let from = total.load(Ordering::SeqCst);
            crate::support::wait_for("the load goes on", Duration::from_secs(60), || {
                total.load(Ordering::SeqCst) >= from + count
            });
        };
        passed(2_000);
        cluster.node_mut(0).kill();
        let replica = cluster.nodes()[3].address();
        crate::support::wait_for("the replica is promoted", Duration::from_secs(60), || {
            cluster.nodes()[3].info("role") == "master"
        });
        passed(4_000);
        stop.store(true, Ordering::SeqCst);
        println!("promoted: {replica}");
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });

    let mut client = proxy.client();
    let mut in_doubt = 0;
    for (number, ledger) in ledgers.iter().enumerate() {
        assert_eq!(ledger.errors, Vec::<String>::new());
        let mut lost = 0;
        for key in 0..KEYS_EACH {
            let name = format!("counter:{number}:{key}");
            let value: i64 = client.text(&["GET", &name]).parse().expect("a number");
            let low = ledger.acknowledged[key];
            let high = low + ledger.in_doubt[key];
            assert!(value <= high, "{name} is {value}; acknowledged {low}, at most {high}");
            assert!(value >= low || cluster.owner(&name) == 0, "{name} is {value} of {low}");
            lost += (low - value).max(0);
            in_doubt += ledger.in_doubt[key];
        }
        // Replication is asynchronous: the last write may have been acknowledged by the dead
        // primary alone. Each client waits for each reply, so it is one at most.
        assert!(lost <= 1, "client {number} lost {lost} acknowledged writes");
    }
    // Each client waits for each reply, so one write of each was in flight at most.
    assert!(in_doubt <= CLIENTS as i64, "{in_doubt} in doubt");
}
