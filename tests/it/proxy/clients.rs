//! The clients of the proxy, on whichever worker they are.

use crate::support::{Client, Cluster, Keyway, wait_for};
use keyway::resp::Reply;
use std::time::{Duration, Instant};

#[test]
fn clients_of_every_worker_are_listed_and_closed() {
    let Some(cluster) = Cluster::redis(1, 0) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.ok(&["CLIENT", "SETNAME", &format!("client-{number}")]);
    }
    let mut asking = proxy.client();
    let list = asking.text(&["CLIENT", "LIST"]);
    for number in 0..8 {
        assert!(list.contains(&format!(" name=client-{number} ")), "{list}");
    }
    let ids: Vec<u64> = list
        .lines()
        .map(|line| line.split(' ').next().expect("a word")[3..].parse().expect("a number"))
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for client in &mut clients {
        let id = client.integer(&["CLIENT", "ID"]).to_string();
        let line = asking.text(&["CLIENT", "LIST", "ID", &id]);
        let address = client.stream().local_addr().expect("it is connected").to_string();
        assert!(line.contains(&format!(" addr={address} ")), "{line}");
        assert_eq!(asking.integer(&["CLIENT", "KILL", "ADDR", &address]), 1);
        assert!(client.read_to_end(Duration::from_secs(10)).1, "it was closed");
    }
    wait_for("only the one that asks is left", Duration::from_secs(10), || {
        asking.text(&["CLIENT", "LIST"]).lines().count() == 1
    });
}

#[test]
fn a_pause_holds_the_clients_of_every_worker() {
    let Some(cluster) = Cluster::redis(1, 0) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.ok(&["SET", "a", "1"]);
    }
    let mut asking = proxy.client();
    let begun = Instant::now();
    asking.ok(&["CLIENT", "PAUSE", "700", "WRITE"]);
    for client in &mut clients {
        assert_eq!(client.call(&["GET", "a"]), Reply::bulk("1"), "reads go on");
        client.try_send(&["SET", "a", "1"]).expect("it is sent");
    }
    for client in &mut clients {
        assert_eq!(client.reply(), Reply::simple("OK"));
        assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    }
    asking.ok(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    clients[0].try_send(&["SET", "a", "2"]).expect("it is sent");
    asking.ok(&["CLIENT", "UNPAUSE"]);
    assert_eq!(clients[0].reply(), Reply::simple("OK"));
}
