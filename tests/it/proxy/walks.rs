//! SCAN goes over all keys while they are on the move.

use super::kinds::with_proxy;
use super::transactions::{finish_move, open_slot};
use super::{fill, reach_all};
use crate::support::{Client, Cluster, Keyway, Kind, Server, wait_for};
use keyway::cluster::Slot;
use std::collections::BTreeSet;
use std::time::Duration;

const KEYS: usize = 5_000;
/// More pages than any of these walks needs.
const PAGES_MAX: usize = 20_000;

/// A walk over all keys, page by page.
struct Walk {
    client: Client,
    cursor: String,
    seen: BTreeSet<String>,
    pages: usize,
}

impl Walk {
    fn begin(proxy: &Server) -> Self {
        let (cursor, seen) = ("0".to_owned(), BTreeSet::new());
        Self { client: proxy.client(), cursor, seen, pages: 0 }
    }

    /// Asks for a page of about twenty keys. False after the last.
    fn page(&mut self) -> bool {
        self.pages += 1;
        assert!(self.pages < PAGES_MAX, "the walk does not end");
        let reply = self.client.call(&["SCAN", &self.cursor, "COUNT", "20", "MATCH", "key:*"]);
        let Some([next, keys]) = reply.as_array() else { panic!("SCAN was answered by {reply:?}") };
        for key in keys.as_array().expect("an array of keys") {
            self.seen.insert(key.as_str().expect("a key").to_owned());
        }
        self.cursor = next.as_str().expect("a cursor").to_owned();
        self.cursor != "0"
    }

    /// Goes on to the end, and tells which keys were not seen.
    fn missed(mut self) -> Vec<String> {
        while self.page() {}
        let all = (0..KEYS).map(|number| format!("key:{number}"));
        all.filter(|key| !self.seen.contains(key)).collect()
    }
}

/// Three primaries with [`KEYS`] keys, all of them reached.
fn filled(replicas: usize, directives: &str) -> Option<(Cluster, Server)> {
    let cluster = Cluster::redis(3, replicas)?;
    let proxy = Keyway::proxy_with(&cluster.seeds(), directives);
    reach_all(&cluster, &proxy);
    fill(&mut proxy.client(), KEYS);
    Some((cluster, proxy))
}

/// A key in each of some slots of a node, at its lower or its upper end.
fn keys_of(cluster: &Cluster, node: usize, slots: usize, highest: bool) -> Vec<String> {
    let mut found: Vec<(Slot, String)> = (0..KEYS)
        .map(|number| format!("key:{number}"))
        .filter(|key| cluster.owner(key) == node)
        .map(|key| (Slot::of(key.as_bytes()), key))
        .collect();
    found.sort();
    if highest {
        found.reverse();
    }
    found.dedup_by_key(|(slot, _)| *slot);
    found.into_iter().take(slots).map(|(_, key)| key).collect()
}

fn give(cluster: &Cluster, keys: &[String], from: usize, to: usize) {
    for key in keys {
        open_slot(cluster, key, from, to);
        finish_move(cluster, key, from, to);
    }
}

/// Scar 11: SCAN misses keys. Slots are given from every node to every other, from its lower and
/// its upper end, each pair at another time of the walk, so that every one goes from a node not yet
/// visited to one that was, and the other way round. The proxy hears of none before the end.
#[test]
fn scar_11_a_walk_while_slots_move_misses_no_key() {
    for (cluster, proxy) in with_proxy(Kind::Valkey, "timing:\n  refresh: 1h\n") {
        fill(&mut proxy.client(), KEYS);
        let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
        for (number, (from, to)) in pairs.into_iter().enumerate() {
            for (pages, highest) in [(25, true), (150, false)] {
                let keys = keys_of(&cluster, from, 10, highest);
                let mut walk = Walk::begin(&proxy);
                while walk.pages < pages && walk.page() {}
                give(&cluster, &keys, from, to);
                let missed = walk.missed();
                assert_eq!(missed, Vec::<String>::new(), "{number}: {from} to {to} after {pages}");
                give(&cluster, &keys, to, from);
            }
        }
    }
}

/// Keys leave one by one while their slot is open, and the slots stay open: the walk sees what has
/// left, and does not wait for the end of the move.
#[test]
fn a_walk_over_slots_that_stay_open_misses_no_key_and_ends() {
    let Some((cluster, proxy)) = filled(0, "timing:\n  refresh: 1h\n") else { return };
    for (from, to) in [(0, 2), (2, 1)] {
        let keys = keys_of(&cluster, from, 10, true);
        let mut walk = Walk::begin(&proxy);
        while walk.pages < 125 && walk.page() {}
        let port = cluster.nodes()[to].port().to_string();
        let mut source = cluster.nodes()[from].client();
        for key in &keys {
            open_slot(&cluster, key, from, to);
            source.ok(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
        }
        assert_eq!(walk.missed(), Vec::<String>::new(), "{from} to {to}");
        assert_eq!(Walk::begin(&proxy).missed(), Vec::<String>::new(), "from the beginning");
        for key in &keys {
            finish_move(&cluster, key, from, to);
        }
    }
}

/// Another node takes over the one that is being visited, and one that was.
#[test]
fn a_walk_goes_on_over_failovers() {
    let Some((cluster, proxy)) = filled(1, "") else { return };
    for number in 0..3 {
        let mut walk = Walk::begin(&proxy);
        while walk.pages < 125 && walk.page() {}
        let replica = &cluster.nodes()[3 + number];
        wait_for("the replica takes over", Duration::from_secs(60), || {
            let mut client = replica.client();
            let role = client.text(&["INFO", "replication"]);
            if role.contains("role:master") {
                return true;
            }
            // It refuses while another is under way, or until it has heard of its primary.
            drop(client.call(&["CLUSTER", "FAILOVER"]));
            false
        });
        assert_eq!(walk.missed(), Vec::<String>::new(), "node {number} was replaced");
    }
}
