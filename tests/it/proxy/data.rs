//! Much data over several nodes, read back through one endpoint.

use super::fill;
use crate::support::{Client, Cluster, Keyway, Server, stock};
use keyway::resp::Reply;
use std::collections::BTreeSet;
use std::process::Command;

const KEYS: usize = 100_000;

/// What holds for every cluster behind the proxy.
fn holds_one_data_set(proxy: &Server, nodes: &[u16], benchmark: &str) {
    let mut client = proxy.client();
    fill(&mut client, KEYS);

    let numbers: Vec<usize> = (0..KEYS).collect();
    for numbers in numbers.chunks(1_000) {
        let commands: Vec<Vec<String>> =
            numbers.iter().map(|number| vec!["GET".into(), format!("key:{number}")]).collect();
        for (number, reply) in numbers.iter().zip(client.pipeline(&commands)) {
            assert_eq!(reply, Reply::bulk(format!("value-{number}")), "GET key:{number}");
        }
    }

    let sizes: Vec<i64> =
        nodes.iter().map(|&port| Client::connect(port).integer(&["DBSIZE"])).collect();
    assert_eq!(sizes.iter().sum::<i64>(), KEYS as i64, "{sizes:?}");
    let least = (KEYS / nodes.len() * 9 / 10) as i64;
    assert!(sizes.iter().all(|&size| size > least), "spread evenly: {sizes:?}");
    assert_eq!(client.integer(&["DBSIZE"]), KEYS as i64);

    many_keys_at_once(&mut client);
    scans_each_key_once(&mut client);
    benchmarks_without_an_error(proxy, benchmark);
}

/// MGET over all nodes answers in the order of its keys; so do pipelines of it.
fn many_keys_at_once(client: &mut Client) {
    let commands: Vec<Vec<String>> = (0..50)
        .map(|start| {
            let keys = (0..100).map(|step| format!("key:{}", start * 1_000 + step * 7));
            std::iter::once("MGET".to_owned()).chain(keys).collect()
        })
        .collect();
    for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
        let expected: Vec<Reply> =
            command[1..].iter().map(|key| Reply::bulk(key.replace("key:", "value-"))).collect();
        assert_eq!(reply, Reply::Array(expected));
    }
    let mut command = vec!["MGET".to_owned()];
    command.extend(["key:1", "missing", "key:2", "key:1"].map(str::to_owned));
    let expected =
        [Reply::bulk("value-1"), Reply::Null, Reply::bulk("value-2"), Reply::bulk("value-1")];
    assert_eq!(client.call(&command), Reply::Array(expected.to_vec()));

    let mut exists = vec!["EXISTS".to_owned()];
    exists.extend((0..100).map(|number| format!("key:{number}")));
    assert_eq!(client.integer(&exists), 100);
}

fn scans_each_key_once(client: &mut Client) {
    let mut seen = BTreeSet::new();
    let (mut cursor, mut count) = ("0".to_owned(), 0);
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "1000"]);
        let Some([next, keys]) = reply.as_array() else { panic!("SCAN was answered by {reply:?}") };
        for key in keys.as_array().expect("an array of keys") {
            seen.insert(key.as_bytes().expect("a key").to_vec());
            count += 1;
        }
        cursor = next.as_str().expect("a cursor").to_owned();
        let number: u64 = cursor.parse().expect("a decimal cursor");
        assert!(number < 1 << 63, "{cursor}");
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), KEYS, "every key is found");
    assert_eq!(count, KEYS, "and no key twice, on a cluster at rest");
}

fn benchmarks_without_an_error(proxy: &Server, tests: &str) {
    let Some(benchmark) = stock::tool("redis-benchmark") else { return };
    let port = proxy.port().to_string();
    let output = Command::new(benchmark)
        .args([
            "-p", &port, "-P", "16", "-n", "20000", "-c", "20", "-r", "100000", "-q", "-t", tests,
        ])
        .output()
        .expect("redis-benchmark starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.to_ascii_lowercase().contains("error"), "{text}");
    for test in tests.split(',') {
        let ran = [format!("{test}: "), format!("{test} (10 keys): ")];
        let text = text.to_ascii_lowercase();
        assert!(ran.iter().any(|name| text.contains(name)), "{test} ran: {text}");
    }
}

#[test]
fn three_redis_primaries_are_one_server() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let proxy = Keyway::proxy(&cluster.seeds()[..1], &[]);
    let ports: Vec<u16> = cluster.nodes().iter().map(Server::port).collect();
    holds_one_data_set(&proxy, &ports, "set,get,incr,lpush,rpop,sadd,hset,spop,zadd,mset");
}

#[test]
fn the_bundled_cluster_is_one_server() {
    let bundle = Keyway::up(&[]);
    let ports: Vec<u16> = (1..=3).map(|number| bundle.port() + number).collect();
    holds_one_data_set(&bundle, &ports, "set,get,incr,hset,mset");
}
