//! What the proxy tells of itself, in Redis's words and in its own.

use super::redis_and_proxy;
use crate::support::{Client, wait_for};
use keyway::resp::Reply;
use std::time::Duration;

/// The value of one line of INFO.
fn field(client: &mut Client, section: &str, name: &str) -> String {
    let text = client.text(&["INFO", section]);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in INFO {section}:\n{text}")).to_owned()
}

#[test]
fn info_has_redis_s_sections_and_true_figures() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let mut client = proxy.client();
    for primary in 0..3 {
        client.ok(&["SET", &cluster.key_of(primary, "k"), "1"]);
    }
    client.call(&["INCR", "x", "y"]);
    client.call(&["LPUSH", &cluster.key_of(0, "k"), "1"]);
    let text = client.text(&["INFO", "everything"]);
    let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    assert_eq!(
        titles,
        [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Commandstats",
            "Errorstats",
            "Latencystats",
            "Cluster",
            "Keyway",
            "Keyspace"
        ]
    );
    assert!(!client.text(&["INFO"]).contains("# Commandstats"), "only when asked for");
    // Laid out as by one server: an empty line between sections, and none at the end.
    assert_eq!(client.text(&["INFO", "cluster"]), "# Cluster\r\ncluster_enabled:0\r\n");
    let keyspace = client.text(&["INFO", "cluster", "keyspace"]);
    assert!(keyspace.starts_with("# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys="));
    assert_eq!(field(&mut client, "clients", "connected_clients"), "1");
    assert!(
        field(&mut client, "memory", "used_memory_rss").parse::<u64>().expect("bytes") > 1 << 20
    );
    // Three of its own, and one per primary that the harness has set before.
    assert!(field(&mut client, "commandstats", "cmdstat_set").starts_with("calls=6,usec="));
    assert_eq!(field(&mut client, "errorstats", "errorstat_WRONGTYPE"), "count=1");
    assert_eq!(field(&mut client, "errorstats", "errorstat_ERR"), "count=1");
    let p50 = field(&mut client, "latencystats", "latency_percentiles_usec_set");
    assert!(p50.starts_with("p50="), "{p50}");
    assert_eq!(field(&mut client, "keyspace", "db0"), "keys=6,expires=0,avg_ttl=0");

    assert!(client.text(&["CLUSTER", "INFO"]).starts_with("cluster_state:ok\r\n"));
    let error = |reply: Reply| reply.as_error().map(|line| line.escape_ascii().to_string());
    let unknown = error(client.call(&["CLUSTER", "REPLICAS", "x"]));
    assert_eq!(unknown.as_deref(), Some("ERR Unknown node x"));
    let none = error(client.call(&["LATENCY", "GRAPH", "command"]));
    assert_eq!(none.as_deref(), Some("ERR No samples available for event \\'command\\'"));

    let mut resp3 = proxy.client_resp3();
    let Reply::Map(histogram) = resp3.call(&["LATENCY", "HISTOGRAM", "set"]) else {
        panic!("no map");
    };
    assert_eq!(histogram[0].0, Reply::bulk("set"));
    let Reply::Map(of_set) = &histogram[0].1 else { panic!("no map") };
    assert_eq!(of_set[0], (Reply::bulk("calls"), Reply::Integer(6)));
}

#[test]
fn proxy_show_tells_people_in_columns_and_programs_in_maps() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let mut client = proxy.client();
    let nodes = client.text(&["PROXY", "SHOW", "NODES"]);
    assert_eq!(nodes.lines().count(), 4, "{nodes}");
    for node in cluster.nodes() {
        assert!(nodes.contains(&node.address()), "{nodes}");
    }
    let slots = client.text(&["PROXY", "SHOW", "SLOTS"]);
    assert_eq!(slots.lines().count(), 4, "{slots}");
    let pools = client.text(&["PROXY", "SHOW", "POOLS"]);
    assert!(pools.contains("shared") && pools.contains("ready"), "{pools}");
    let config = client.text(&["PROXY", "SHOW", "CONFIG"]);
    let option = |name: &str| -> Vec<&str> {
        let line = config.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.map(|line| line.split_whitespace().skip(1).collect()).unwrap_or_default()
    };
    assert_eq!(option("name"), ["value", "default", "changeable"]);
    assert_eq!(option("ride_out"), ["30s", "30s", "no"]);
    assert_eq!(option("slow_after"), ["10ms", "10ms", "no"]);

    let mut resp3 = proxy.client_resp3();
    resp3.ok(&["CLIENT", "SETNAME", "me"]);
    let Reply::Array(rows) = resp3.call(&["PROXY", "SHOW", "CLIENTS"]) else { panic!("no rows") };
    assert_eq!(rows.len(), 2);
    let Reply::Map(me) = &rows[1] else { panic!("no map: {:?}", rows[1]) };
    assert!(me.contains(&(Reply::bulk("name"), Reply::bulk("me"))), "{me:?}");
    let Reply::Map(stats) = resp3.call(&["PROXY", "SHOW", "STATS"]) else { panic!("no map") };
    assert!(stats.contains(&(Reply::bulk("clients"), Reply::Integer(2))), "{stats:?}");
    let Reply::Map(explained) = resp3.call(&["PROXY", "EXPLAIN", "GET", "a"]) else {
        panic!("no map");
    };
    let node = cluster.nodes()[cluster.owner("a")].address();
    assert!(explained.contains(&(Reply::bulk("nodes"), Reply::bulk(node))), "{explained:?}");
    assert_eq!(client.call(&["PROXY", "SHOW", "HELP"]), client.call(&["PROXY", "HELP"]));
    let refused = client.call(&["PROXY", "PAUSE"]);
    assert!(refused.as_error().is_some_and(|e| e.starts_with(b"ERR PROXY PAUSE needs")));
}

#[test]
fn an_operator_may_hold_everybody_and_let_them_go() {
    let yaml = "workers: 2\nadmin_commands: true\n";
    let Some((_cluster, proxy)) = redis_and_proxy(yaml) else { return };
    let (mut operator, mut client) = (proxy.client(), proxy.client());
    operator.ok(&["PROXY", "REFRESH"]);
    operator.ok(&["PROXY", "PAUSE"]);
    client.try_send(&["PING"]).expect("it is sent");
    operator.ok(&["PROXY", "RESUME"]);
    assert_eq!(client.reply(), Reply::simple("PONG"));
}

/// What is the proxy's own of CONFIG SET and RESETSTAT, for every worker at once.
#[test]
fn an_operator_may_change_what_is_slow_and_begin_to_count_anew() {
    let yaml = "workers: 2\nadmin_commands: true\ntiming:\n  slow_after: 1s\n";
    let Some((cluster, proxy)) = redis_and_proxy(yaml) else { return };
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    let mut operator = proxy.client();
    operator.ok(&["CONFIG", "SET", "slowlog-log-slower-than", "0", "timeout", "1000"]);
    for client in &mut clients {
        let told = client.call(&["CONFIG", "GET", "slowlog-log-*", "timeout"]);
        let words = ["slowlog-log-slower-than", "0", "timeout", "1000"].map(Reply::bulk);
        assert_eq!(told, Reply::Array(words.to_vec()), "on its worker");
        client.ok(&["SET", &cluster.key_of(0, "slow"), "1"]);
    }
    let shown = operator.text(&["PROXY", "SHOW", "CONFIG"]);
    let slow = shown.lines().find(|line| line.starts_with("slow_after ")).expect("it is shown");
    let words: Vec<&str> = slow.split_whitespace().collect();
    assert_eq!(words, ["slow_after", "1ns", "10ms", "yes"]);
    let Reply::Array(noted) = operator.call(&["SLOWLOG", "GET", "-1"]) else { panic!("no list") };
    let sets = noted.iter().filter(|entry| format!("{entry:?}").contains("SET")).count();
    assert!(sets >= 4, "{noted:?}");
    let refused = operator.call(&["CONFIG", "SET", "timeout", "5", "hz", "10"]);
    let line = "ERR Unknown option or number of arguments for CONFIG SET - 'hz'";
    assert_eq!(refused.as_error(), Some(line.as_bytes()));
    let kept = Reply::Array(["timeout", "1000"].map(Reply::bulk).to_vec());
    assert_eq!(operator.call(&["CONFIG", "GET", "timeout"]), kept, "all of it, or none");

    // The latest of all workers are kept, however many each has.
    for (most, kept) in [("3", 3), ("0", 0), ("128", 128)] {
        operator.ok(&["CONFIG", "SET", "slowlog-max-len", most]);
        for number in 0..200 {
            clients[number % 4].ok(&["SET", &cluster.key_of(0, "slow"), &number.to_string()]);
        }
        assert_eq!(operator.integer(&["SLOWLOG", "LEN"]), kept);
        let Reply::Array(latest) = operator.call(&["SLOWLOG", "GET", "-1"]) else {
            panic!("no list")
        };
        assert_eq!(latest.len() as i64, kept);
        let told = operator.call(&["CONFIG", "GET", "slowlog-max-len"]);
        assert_eq!(told, Reply::Array(["slowlog-max-len", most].map(Reply::bulk).to_vec()));
    }

    operator.ok(&["CONFIG", "RESETSTAT"]);
    let stats = operator.text(&["INFO", "commandstats"]);
    assert!(!stats.contains("cmdstat_set:"), "{stats}");
    assert_eq!(field(&mut operator, "clients", "connected_clients"), "5");
    assert!(!operator.text(&["INFO", "errorstats"]).contains("errorstat_"));
    clients[0].ok(&["SET", &cluster.key_of(0, "slow"), "1"]);
    assert!(field(&mut operator, "commandstats", "cmdstat_set").starts_with("calls=1,"));
}

#[test]
fn slowlog_shows_what_took_long_on_every_worker() {
    let yaml = "workers: 2\ntiming:\n  slow_after: 50ms\n";
    let Some((cluster, proxy)) = redis_and_proxy(yaml) else { return };
    let mut operator = proxy.client();
    operator.ok(&["SLOWLOG", "RESET"]);
    let busy = "local t = redis.call('TIME') local from = t[1] * 1000000 + t[2] repeat \
                t = redis.call('TIME') until t[1] * 1000000 + t[2] - from > 60000 return ARGV[1]";
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let name = format!("client-{number}");
        client.ok(&["CLIENT", "SETNAME", &name]);
        assert_eq!(client.text(&["EVAL", busy, "1", &cluster.key_of(0, "k"), &name]), name);
    }
    operator.call(&["BLPOP", &cluster.key_of(1, "nothing"), "0.1"]);
    let Reply::Integer(noted) = operator.call(&["SLOWLOG", "LEN"]) else { panic!("no number") };
    assert!(noted >= 4, "{noted} were noted");
    let Reply::Array(entries) = operator.call(&["SLOWLOG", "GET", "-1"]) else { panic!("no list") };
    let mut found = Vec::new();
    let mut numbers = Vec::new();
    for entry in &entries {
        let Some([number, _, Reply::Integer(micros), Reply::Array(args), peer, name]) =
            entry.as_array()
        else {
            panic!("{entry:?}");
        };
        assert!(*micros >= 50_000 && peer.as_str().is_some_and(|peer| peer.contains(':')));
        assert_ne!(args[0], Reply::bulk("BLPOP"), "who waits is not slow");
        numbers.push(number.as_integer());
        if args[0] == Reply::bulk("EVAL") {
            found.push(name.as_str().expect("a name").to_owned());
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "the latest first: {numbers:?}");
    assert_eq!(found, ["client-3", "client-2", "client-1", "client-0"]);
    operator.ok(&["SLOWLOG", "RESET"]);
    assert_eq!(operator.call(&["SLOWLOG", "LEN"]), Reply::Integer(0));
}

#[test]
fn what_a_client_does_is_told_truly() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let (mut operator, mut waiting, mut watching) =
        (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(field(&mut operator, "clients", "blocked_clients"), "0");
    waiting.try_send(&["BLPOP", &cluster.key_of(0, "nothing"), "30"]).expect("it is sent");
    wait_for("it waits", Duration::from_secs(10), || {
        field(&mut operator, "clients", "blocked_clients") == "1"
    });
    let (a, b) = ("{tag}:a", "{tag}:b");
    watching.ok(&["CLIENT", "SETNAME", "watching"]);
    watching.ok(&["WATCH", a, b, a]);
    watching.ok(&["MULTI"]);
    watching.call(&["GET", a]);
    let list = operator.text(&["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.contains(" name=watching ")).expect("it is there");
    assert!(line.contains(" flags=x ") && line.contains(" multi=1 watch=2 "), "{line}");
    let blocked = list.lines().filter(|line| line.contains(" flags=b "));
    assert_eq!(blocked.count(), 1, "{list}");
    watching.ok(&["DISCARD"]);
    let list = operator.text(&["CLIENT", "LIST"]);
    assert!(!list.contains("multi=1") && !list.contains("watch=2"), "{list}");

    let tracking = |operator: &mut Client| {
        let redirect = operator.call(&["CLIENT", "GETREDIR"]).as_integer();
        let info = operator.call(&["CLIENT", "TRACKINGINFO"]);
        (redirect, info.as_array().expect("pairs")[1].clone())
    };
    let flags = |flag: &str| Reply::Array(vec![Reply::bulk(flag)]);
    assert_eq!(tracking(&mut operator), (Some(-1), flags("off")));
    operator.ok(&["CLIENT", "TRACKING", "ON"]);
    assert_eq!(tracking(&mut operator), (Some(0), flags("on")));
    operator.ok(&["CLIENT", "TRACKING", "OFF"]);
    assert_eq!(tracking(&mut operator), (Some(-1), flags("off")));
    assert_eq!(operator.call(&["LATENCY", "LATEST"]), Reply::Array(vec![]));
    assert!(operator.text(&["LATENCY", "DOCTOR"]).contains("SLOWLOG GET"));
}
