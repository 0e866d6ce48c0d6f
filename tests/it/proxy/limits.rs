//! What one client can make the proxy hold, measured at the process.

use super::kinds::with_proxy;
use super::{reach_all, redis_and_proxy};
use crate::support::{Client, Cluster, Keyway, Kind, Loss, eventually, wait_for};
use keyway::resp::Reply;
use std::io::Write;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// 300 GETs of 1 MiB, pipelined and never read: the proxy holds what its limit says, and then
/// waits for the client to read.
#[test]
fn scar_18_a_client_that_never_reads_costs_its_limit() {
    for (cluster, mut proxy) in with_proxy(Kind::Keyway, "workers: 1\n") {
        let big = cluster.key_of(0, "big");
        let mut client = proxy.client();
        client.ok(&["SET", &big, &"x".repeat(MIB as usize)]);
        // The first replies size the buffers; what they cost is not the slow reader's.
        for _ in 0..5 {
            client.call(&["GET", &big]);
        }
        let before = proxy.process().rss();

        let mut slow = proxy.client();
        let mut bytes = Vec::new();
        for _ in 0..300 {
            keyway::resp::encode_request(&mut bytes, &["GET", big.as_str()]);
        }
        slow.send_raw(&bytes);
        let mut most = 0;
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            let started = Instant::now();
            client.ok(&["SET", &cluster.key_of(1, "small"), "v"]);
            assert!(started.elapsed() < Duration::from_millis(500), "others are not disturbed");
            most = most.max(proxy.process().rss().saturating_sub(before));
        }
        let _ = writeln!(
            std::io::stderr(),
            "measured: a client that does not read costs {} KiB",
            most / 1024
        );
        assert!(most <= 16 * MIB, "one client that does not read costs {} KiB", most / 1024);

        for _ in 0..300 {
            match slow.reply() {
                Reply::Bulk(value) => assert_eq!(value.len() as u64, MIB),
                other => panic!("GET was answered by {other:?}"),
            }
        }
        proxy.assert_well("a slow reader");
    }
}

#[test]
fn ten_thousand_idle_clients_cost_little_each() {
    const CLIENTS: u64 = 10_000;
    let yaml = "limits:\n  clients_max: 12000\n";
    let Some((_cluster, mut proxy)) = redis_and_proxy(yaml) else { return };
    let before = proxy.process().rss();
    let idle: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = proxy.client();
            assert_eq!(client.call(&["PING"]), Reply::simple("PONG"));
            client
        })
        .collect();
    let each = proxy.process().rss().saturating_sub(before) / CLIENTS;
    let _ = writeln!(std::io::stderr(), "measured: an idle client costs {each} bytes");
    assert!(each <= 8 * 1024, "an idle client costs {each} bytes");

    let used = proxy.process().cpu_time();
    let from = Instant::now();
    wait_for("a second passes", Duration::from_secs(5), || from.elapsed() > Duration::from_secs(1));
    let busy = proxy.process().cpu_time() - used;
    assert!(busy < Duration::from_millis(150), "idle clients keep it busy: {busy:?} in a second");
    drop(idle);
    proxy.assert_well("10,000 clients that left");
}

#[test]
fn one_client_too_many_is_told_so() {
    let Some((_cluster, mut proxy)) = redis_and_proxy("limits:\n  clients_max: 20\n") else {
        return;
    };
    let mut clients: Vec<Client> = Vec::new();
    let refused = eventually(Duration::from_secs(10), || {
        let mut client = proxy.client();
        match client.try_call(&["PING"]) {
            Ok(Reply::Simple(_)) => {
                clients.push(client);
                None
            }
            Ok(Reply::Error(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
            Ok(other) => panic!("PING was answered by {other:?}"),
            // A reset can overtake the error when our PING was still on its way.
            Err(_) => None,
        }
    });
    assert_eq!(refused.as_deref(), Some("ERR max number of clients reached"));
    assert!(clients.len() <= 20 && clients.len() >= 15, "{} were served", clients.len());
    clients.clear();
    wait_for("there is room again", Duration::from_secs(10), || {
        proxy.client().try_call(&["PING"]).is_ok_and(|reply| reply == Reply::simple("PONG"))
    });
    proxy.assert_well("too many clients");
}

/// A request that never ends is given up, and costs no more than what was sent.
#[test]
fn a_request_that_makes_no_progress_is_closed() {
    let yaml = "timing:\n  request_timeout: 1s\n";
    let Some((cluster, mut proxy)) = redis_and_proxy(yaml) else { return };
    let before = proxy.process().rss();
    let starts: [&[u8]; 4] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\nabc",
        b"*1000000\r\n$3\r\nDEL\r\n",
        b"*2\r\n$3\r\nGE",
        b"GET with no end of line",
    ];
    let mut slow: Vec<Client> = starts
        .iter()
        .map(|start| {
            let mut client = proxy.client();
            client.send_raw(start);
            client
        })
        .collect();
    let mut other = proxy.client();
    other.ok(&["SET", &cluster.key_of(0, "other"), "v"]);
    let grown = proxy.process().rss().saturating_sub(before);
    // A page of the allocator, or a huge one of the kernel, may be all that it takes.
    assert!(grown < 8 * MIB, "a header alone takes no memory: {} KiB", grown / 1024);
    for (client, start) in slow.iter_mut().zip(starts) {
        let (_, closed) = client.read_to_end(Duration::from_secs(10));
        assert!(closed, "not closed after {}", start.escape_ascii());
    }
    other.ok(&["SET", &cluster.key_of(0, "other"), "v"]);
    proxy.assert_well("requests without an end");
}

/// A million small commands in one go, from a client that reads late: all are answered.
#[test]
fn a_deep_pipeline_has_no_depth_at_which_it_breaks() {
    let Some((cluster, mut proxy)) = redis_and_proxy("workers: 1\n") else { return };
    const COMMANDS: usize = 200_000;
    let keys: Vec<String> = (0..3).map(|primary| cluster.key_of(primary, "deep")).collect();
    let mut client = proxy.client();
    let before = proxy.process().rss();
    let mut bytes = Vec::new();
    for number in 0..COMMANDS {
        keyway::resp::encode_request(&mut bytes, &["INCR", keys[number % 3].as_str()]);
    }
    let writer = std::thread::spawn({
        let mut stream = client.stream().try_clone().expect("a second handle");
        move || std::io::Write::write_all(&mut stream, &bytes)
    });
    // As redis-py does: everything is written before anything is read.
    writer.join().expect("no panic").expect("the proxy takes it all");
    for number in 0..COMMANDS {
        assert_eq!(client.reply(), Reply::Integer((number / 3 + 1) as i64), "reply {number}");
    }
    let grown = proxy.process().peak_rss().saturating_sub(before);
    assert!(grown < 96 * MIB, "{} KiB for {COMMANDS} commands", grown / 1024);
    proxy.assert_well("a deep pipeline");
}

/// Descriptors run out: who is connected is served, and so are others when there is room again.
#[test]
fn running_out_of_descriptors_harms_nobody_who_is_served() {
    let Some(cluster) = Cluster::redis(2, 0) else { return };
    let mut proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
    reach_all(&cluster, &proxy);
    let mut early = proxy.client();
    early.ok(&["SET", "key", "value"]);
    let open = proxy.process().descriptors() as u64;
    let limit = rustix::process::Rlimit { current: Some(open + 10), maximum: Some(open + 10) };
    let pid = rustix::process::Pid::from_raw(proxy.pid() as i32);
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).expect("lower it");

    let mut crowd: Vec<Client> =
        (0..40).filter_map(|_| Client::try_connect(proxy.port()).ok()).collect();
    let (used, from) = (proxy.process().cpu_time(), Instant::now());
    while from.elapsed() < Duration::from_secs(1) {
        assert_eq!(early.call(&["GET", "key"]), Reply::bulk("value"));
        // About twenty a second: what the proxy spends is spent on the crowd.
        let next = Instant::now() + Duration::from_millis(50);
        wait_for("the next turn", Duration::from_secs(1), || Instant::now() >= next);
    }
    let busy = proxy.process().cpu_time() - used;
    assert!(busy < Duration::from_millis(300), "{busy:?} of a second to refuse 40 clients");
    crowd.clear();
    wait_for("there is room again", Duration::from_secs(10), || {
        Client::try_connect(proxy.port()).is_ok_and(|mut client| {
            client.set_timeout(Duration::from_secs(1));
            matches!(client.try_call(&["PING"]), Ok(Reply::Simple(_)))
        })
    });
    assert_eq!(early.call(&["GET", "key"]), Reply::bulk("value"));
    proxy.assert_well("too few descriptors");
}

/// Before AUTH a client may send little, and is told in Redis's words.
#[test]
fn before_auth_little_is_taken() {
    let Some(cluster) = Cluster::redis(2, 0) else { return };
    let mut proxy = Keyway::proxy(&cluster.seeds(), &["--requirepass", "secret"]);
    for (bytes, expected) in [
        ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        ("*1\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
        ("GET key\r\n", "-NOAUTH Authentication required.\r\n"),
    ] {
        let mut client = proxy.client();
        client.send_raw(bytes.as_bytes());
        let got = client.try_reply_bytes().expect("an answer");
        assert_eq!(String::from_utf8_lossy(&got), expected, "{bytes:?}");
    }
    let mut client = proxy.client();
    let wrong = client.call(&["AUTH", "guess"]);
    assert!(wrong.as_error().is_some_and(|text| text.starts_with(b"WRONGPASS ")), "{wrong:?}");
    client.ok(&["AUTH", "secret"]);
    client.ok(&["SET", "key", "value"]);
    let mut hello = proxy.client();
    assert!(matches!(hello.call(&["HELLO", "3", "AUTH", "default", "secret"]), Reply::Map(_)));

    // Whoever asks much and reads nothing is closed before it costs much.
    let before = proxy.process().rss();
    let mut greedy = proxy.client();
    let pings = b"*1\r\n$4\r\nPING\r\n".repeat(1_000);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until && greedy.try_send_raw(&pings).is_ok() {
        if greedy.stream().set_write_timeout(Some(Duration::from_millis(200))).is_err() {
            break;
        }
    }
    let grown = proxy.process().rss().saturating_sub(before);
    assert!(grown < 4 * MIB, "{} KiB", grown / 1024);
    assert!(!matches!(proxy.client().try_call(&["PING"]), Err(Loss::TimedOut(_))));
    assert!(proxy.process().is_alive());
}

/// Thousands of clients that come and go at once leave nothing behind, and delay nobody for long.
#[test]
fn a_flood_of_connections_leaves_nothing_behind() {
    let Some((cluster, mut proxy)) = redis_and_proxy("") else { return };
    let mut steady = proxy.client();
    let key = cluster.key_of(0, "steady");
    steady.ok(&["SET", &key, "value"]);
    drop(proxy.client());
    let descriptors = proxy.process().descriptors();
    let mut flooded = || {
        let slowest = slowest_beside_a_flood(proxy.port(), &mut steady, &key);
        assert!(slowest < Duration::from_secs(1), "the slowest GET took {slowest:?}");
        wait_for("their descriptors are closed", Duration::from_secs(10), || {
            proxy.process().descriptors() <= descriptors + 2
        });
        proxy.process().rss()
    };
    // What so many at once take is kept for the next, which needs nothing more, unless more of them are there
    // at once.
    let mut rss = vec![flooded()];
    let settles = (0..4).any(|_| {
        rss.push(flooded());
        rss[rss.len() - 1].saturating_sub(rss[rss.len() - 2]) < 4 * MIB
    });
    assert!(settles, "4,000 clients that left cost memory: {rss:?}");
    proxy.assert_well("floods of connections");
}

/// Four thousand connections, some of which say something, that are reset at once; meanwhile the longest that
/// another client waited.
fn slowest_beside_a_flood(port: u16, steady: &mut Client, key: &str) -> Duration {
    std::thread::scope(|scope| {
        let floods: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    for round in 0..1_000 {
                        // Ports of the client run out before the proxy does: reset, not close.
                        let Ok(mut client) = Client::try_connect(port) else { continue };
                        if (round + number) % 2 == 0 {
                            let _ = client.try_send(&["PING"]);
                        }
                        client.reset();
                    }
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        while floods.iter().any(|flood| !flood.is_finished()) {
            let started = Instant::now();
            assert_eq!(steady.call(&["GET", key]), Reply::bulk("value"));
            slowest = slowest.max(started.elapsed());
        }
        slowest
    })
}

/// One client uploads 100 MiB at a trickle: others on the same node are served meanwhile.
#[test]
fn an_upload_that_never_ends_holds_nobody_up() {
    let Some((cluster, mut proxy)) = redis_and_proxy("workers: 1\n") else { return };
    let key = cluster.key_of(0, "upload");
    let mut slow = proxy.client();
    slow.send_raw(b"*3\r\n$3\r\nSET\r\n");
    slow.send_raw(format!("${}\r\n{key}\r\n$104857600\r\n", key.len()).as_bytes());
    let mut other = proxy.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..300 {
        slow.send_raw(&[b'x'; 100]);
        let started = Instant::now();
        other.ok(&["SET", &key, "mine"]);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "the slowest SET took {slowest:?}");
    slow.reset();
    assert_eq!(other.call(&["GET", &key]), Reply::bulk("mine"), "half an upload is none");
    proxy.assert_well("an upload that ended half way");
}

/// One client that moves 16 MiB values back and forth does not hold up small commands to the same
/// node: what is large travels on a connection of its own.
#[test]
fn large_values_do_not_hold_up_small_ones() {
    let Some((cluster, mut proxy)) = redis_and_proxy("workers: 2\n") else { return };
    let (big, small) = (cluster.key_of(0, "big"), cluster.key_of(0, "small"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut waits, rounds) = std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let (mut client, value) = (proxy.client(), "x".repeat(16 * MIB as usize));
            let mut rounds = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client.ok(&["SET", &big, &value]);
                assert_eq!(client.text(&["GET", &big]).len(), value.len());
                rounds += 1;
            }
            rounds
        });
        let (mut client, mut waits) = (proxy.client(), Vec::new());
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            let started = Instant::now();
            client.ok(&["SET", &small, "v"]);
            waits.push(started.elapsed());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (waits, mover.join().expect("the mover is well"))
    });
    waits.sort();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    let _ = writeln!(
        std::io::stderr(),
        "measured: beside {rounds} rounds of 16 MiB a small SET takes {median:?}, at worst {worst:?}"
    );
    assert!(rounds > 0, "large values move");
    assert!(median < Duration::from_millis(5), "a small SET takes {median:?}");
    proxy.assert_well("large values");
}
