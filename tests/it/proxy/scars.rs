//! What other proxies were reported to suffer from, in front of real nodes: the contract's scars
//! that no other file is about.

use super::redis_and_proxy;
use crate::support::{Client, Server, wait_for};
use keyway::resp::Reply;
use std::collections::BTreeMap;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Scar 18: memory that grows with what is said about the cluster. The proxy's own long answers
/// are bounded as a node's are: 2,000 of them, asked for at once and never read.
#[test]
fn scar_18_long_answers_of_the_proxy_itself_wait_for_their_reader() {
    let Some((cluster, mut proxy)) = redis_and_proxy("workers: 1\n") else { return };
    const TIMES: usize = 2_000;
    let asked: [&[&str]; 2] = [&["COMMAND"], &["CLUSTER", "SLOTS"]];
    let mut client = proxy.client();
    // What one answer of each costs is not the slow reader's.
    asked.iter().for_each(|command| drop(client.call(command)));
    let before = proxy.process().rss();
    let mut slow = proxy.client();
    let mut bytes = Vec::new();
    for command in asked.iter().cycle().take(TIMES) {
        keyway::resp::encode_request(&mut bytes, command);
    }
    slow.send_raw(&bytes);
    let mut most = 0;
    for number in 0..2_000 {
        client.ok(&["SET", &cluster.key_of(number % 3, "small"), "v"]);
        most = most.max(proxy.process().rss().saturating_sub(before));
    }
    assert!(most <= 32 * MIB, "one client that does not read costs {} KiB", most / 1024);

    let (mut longest, mut slots) = (0, 0);
    for number in 0..TIMES {
        match slow.reply() {
            Reply::Array(rows) if number % 2 == 0 => longest = longest.max(rows.len()),
            Reply::Array(_) => slots += 1,
            other => panic!("answer {number} is {other:?}"),
        }
    }
    assert!(longest > 200 && slots == TIMES / 2, "{longest} commands, {slots} maps");
    proxy.assert_well("a client that asks for long answers");
}

/// How many clients each worker has.
fn by_worker(operator: &mut Client) -> BTreeMap<i64, Vec<i64>> {
    let Reply::Array(rows) = operator.call(&["PROXY", "SHOW", "CLIENTS"]) else {
        panic!("no rows")
    };
    let mut workers = BTreeMap::<i64, Vec<i64>>::new();
    for row in rows {
        let Reply::Map(row) = row else { panic!("no map: {row:?}") };
        let number = |name: &str| {
            let cell = row.iter().find(|(key, _)| *key == Reply::bulk(name));
            cell.and_then(|(_, value)| value.as_integer()).unwrap_or_else(|| panic!("{row:?}"))
        };
        workers.entry(number("worker")).or_default().push(number("id"));
    }
    workers
}

fn connect(proxy: &Server, count: usize) -> BTreeMap<i64, Client> {
    let one = || {
        let mut client = proxy.client();
        let id = client.call(&["CLIENT", "ID"]).as_integer().expect("a number");
        (id, client)
    };
    (0..count).map(|_| one()).collect()
}

/// Scar 21: clients piled on one worker. Each goes to the worker with the fewest, also after those
/// of one worker have left.
#[test]
fn scar_21_clients_are_spread_over_the_workers() {
    let Some((_cluster, proxy)) = redis_and_proxy("workers: 4\n") else { return };
    let mut operator = proxy.client_resp3();
    wait_for("nobody else is there", Duration::from_secs(10), || {
        by_worker(&mut operator).values().map(Vec::len).sum::<usize>() == 1
    });
    let mut clients = connect(&proxy, 40);
    let spread = by_worker(&mut operator);
    let counts: Vec<usize> = spread.values().map(Vec::len).collect();
    assert!(
        counts.len() == 4 && counts.iter().all(|count| (10..=11).contains(count)),
        "{counts:?}"
    );

    let own = operator.call(&["CLIENT", "ID"]).as_integer().expect("a number");
    let (&left, leaving) =
        spread.iter().find(|(_, ids)| !ids.contains(&own)).expect("the operator is on one");
    leaving.iter().for_each(|id| drop(clients.remove(id)));
    wait_for("they are gone", Duration::from_secs(10), || {
        !by_worker(&mut operator).contains_key(&left)
    });
    clients.extend(connect(&proxy, 10));
    let counts: Vec<usize> = by_worker(&mut operator).values().map(Vec::len).collect();
    assert!(
        counts.len() == 4 && counts.iter().all(|count| (10..=11).contains(count)),
        "{counts:?}"
    );
    assert_eq!(clients.len(), 40);
}
