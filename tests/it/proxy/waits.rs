//! WAIT, and databases, through the proxy, on real nodes.

use super::reach_all;
use super::transactions::clusters;
use crate::support::{Client, Cluster, Keyway, Kind, number_from_env};
use keyway::resp::Reply;
use std::time::{Duration, Instant};

#[test]
fn wait_counts_the_replicas_of_what_this_client_wrote() {
    for cluster in [Cluster::redis(3, 1), Cluster::valkey(3, 1)] {
        let Some(mut cluster) = cluster else { continue };
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        cluster.await_replicas_online();
        let keys: Vec<String> = (0..3).map(|node| cluster.key_of(node, "wait")).collect();
        let mut client = proxy.client();
        for key in &keys {
            client.ok(&["SET", key, "1"]);
        }
        assert_eq!(client.integer(&["WAIT", "1", "10000"]), 1);
        // The replica of the first primary is gone: whoever wrote there knows, others need not.
        cluster.node_mut(3).kill();
        client.ok(&["SET", &keys[0], "2"]);
        let started = Instant::now();
        assert_eq!(client.integer(&["WAIT", "1", "300"]), 0);
        assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
        let mut other = proxy.client();
        for key in &keys[1..] {
            other.ok(&["SET", key, "2"]);
        }
        assert_eq!(other.integer(&["WAIT", "1", "10000"]), 1);
        assert_eq!(client.integer(&["DBSIZE"]), 6, "nothing is left of the proxy's own writes");
        let wrong = client.call(&["WAIT", "x", "0"]);
        let text = &b"ERR value is not an integer or out of range"[..];
        assert_eq!(wrong.as_error(), Some(text));
        assert_eq!(client.call(&["GET", &keys[0]]), Reply::bulk("2"));
    }
}

#[test]
fn numbered_databases_are_kept_apart() {
    let three = [Kind::Valkey; 3];
    let Some(cluster) = Cluster::of(&three, 0, &["--cluster-databases", "4"]) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
    reach_all(&cluster, &proxy);
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    let keys: Vec<String> = (0..3).map(|node| cluster.key_of(node, "db")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.ok(&["SELECT", &(number % 4).to_string()]);
    }
    for round in 0..50 {
        for (number, client) in clients.iter_mut().enumerate() {
            let value = format!("{}-{round}", number % 4);
            for key in &keys {
                client.ok(&["SET", key, &value]);
                assert_eq!(client.call(&["GET", key]), Reply::bulk(value.clone()));
            }
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.ok(&["MULTI"]);
            client.call(&["GET", &keys[0]]);
            let value = Reply::bulk(format!("{}-{round}", number % 4));
            assert_eq!(client.call(&["EXEC"]), Reply::Array(vec![value]));
        }
    }
    assert_eq!(clients[1].integer(&["DBSIZE"]), 3, "and its own keys alone are counted");
    clients[1].ok(&["FLUSHDB"]);
    assert_eq!(clients[1].integer(&["DBSIZE"]), 0);
    assert_eq!(clients[2].integer(&["DBSIZE"]), 3);
    // A wait, too, is on the right one.
    clients[3].try_send(&["BLPOP", "{db}queue", "0"]).expect("it is connected");
    clients[2].call(&["RPUSH", "{db}queue", "two"]);
    clients[7].call(&["RPUSH", "{db}queue", "three"]);
    let got = Reply::Array(vec![Reply::bulk("{db}queue"), Reply::bulk("three")]);
    assert_eq!(clients[3].reply(), got);
    let far = clients[0].call(&["SELECT", "4"]);
    assert_eq!(far.as_error(), Some(&b"ERR DB index is out of range"[..]));
    assert_eq!(clients[0].text(&["OBJECT", "ENCODING", &keys[0]]), "embstr");
    clients[0].ok(&["CLIENT", "NO-TOUCH", "ON"]);
    assert_eq!(clients[0].call(&["GET", &keys[0]]), Reply::bulk("0-49"));
}

/// The long form does a hundred thousand of both.
#[test]
fn two_clients_in_two_databases_never_read_each_others_keys() {
    let three = [Kind::Valkey; 3];
    let Some(cluster) = Cluster::of(&three, 0, &["--cluster-databases", "4"]) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
    reach_all(&cluster, &proxy);
    let rounds = if number_from_env("KEYWAY_ROUNDS").is_some() { 1_000 } else { 20 };
    std::thread::scope(|scope| {
        for database in ["1", "2"] {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = proxy.client();
                client.ok(&["SELECT", database]);
                for round in 0..rounds {
                    let value = format!("{database}-{round}");
                    let keys = (0..25).map(|number| format!("key:{number}"));
                    let commands: Vec<Vec<String>> = keys
                        .flat_map(|key| {
                            let set = vec!["SET".to_owned(), key.clone(), value.clone()];
                            [set, vec!["GET".to_owned(), key]]
                        })
                        .collect();
                    for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
                        let expected = match command.len() {
                            3 => Reply::simple("OK"),
                            _ => Reply::bulk(value.clone()),
                        };
                        assert_eq!(reply, expected, "{command:?} in database {database}");
                    }
                }
                assert_eq!(client.integer(&["DBSIZE"]), 25);
            });
        }
    });
}

#[test]
fn where_there_is_one_database_select_says_so() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let mut client = proxy.client();
        client.ok(&["SELECT", "0"]);
        let refused = client.call(&["SELECT", "1"]);
        let start = b"ERR SELECT is not allowed in cluster mode";
        assert!(refused.as_error().is_some_and(|line| line.starts_with(start)), "{refused:?}");
        client.ok(&["SET", "a", "1"]);
    }
}
