//! Backends that answer late, half, never, or garbage: a relay between the proxy and real nodes.
//!
//! Whatever a connection does, no client may get what was meant for another, a write is never run
//! twice, and the proxy lives on.

use super::kinds::clusters;
use super::reach_all;
use crate::support::{Cluster, Fault, Keyway, Kind, Relay, Server, number_from_env, wait_for};
use keyway::resp::Reply;
use std::time::{Duration, Instant};

/// Time-outs short enough for a test.
const TIMING: &str = "timing:\n  suspect_after: 200ms\n  backend_timeout: 1s\n  ride_out: 5s\n  \
                      connect_timeout: 500ms\n";

/// Two primaries, each behind a relay, and a proxy that reaches them through these.
fn behind_relays(yaml: &str) -> Option<(Cluster, Vec<Relay>, Server)> {
    Some(relayed(Cluster::redis(2, 0)?, yaml))
}

fn relayed(cluster: Cluster, yaml: &str) -> (Cluster, Vec<Relay>, Server) {
    let relays = cluster.behind_relays();
    let seeds: Vec<String> = relays.iter().map(|r| format!("127.0.0.1:{}", r.port())).collect();
    let proxy = Keyway::proxy_with(&seeds, yaml);
    reach_all(&cluster, &proxy);
    assert!(relays.iter().all(|relay| relay.accepted() > 0), "the proxy uses the relays");
    (cluster, relays, proxy)
}

/// Bytes that no server sends in the place of a reply, or only with ill intent.
const GARBAGE: &[&[u8]] = &[
    b"\r\n",
    b"\0\0\0\0",
    b"hello\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"$\r\n",
    b"$abc\r\n",
    b"$-2\r\n",
    b"$9223372036854775807\r\n",
    b"$9223372036854775808\r\n",
    b"$18446744073709551615\r\n",
    b"$4294967296\r\n",
    b"$5\nabc\r\n",
    b"*\r\n",
    b"*-2\r\n",
    b"*2147483647\r\n",
    b"*9223372036854775807\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\n*1\r\n*1\r\n?\r\n",
    b":\r\n",
    b":abc\r\n",
    b":9223372036854775808\r\n",
    b"+\n",
    b"-\n",
    b"+OK\n",
    b"%\r\n",
    b"%-5\r\n",
    b"%9223372036854775807\r\n",
    b"~x\r\n",
    b">x\r\n",
    b">-7\r\n",
    b"=abc\r\n",
    b"=9999999999999999999\r\n",
    b"!-3\r\n",
    b"|1x\r\n",
    b"(\n",
    b"#\n",
    b",\n",
    b"_\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"$3\r\nabcde",
    b"*3\r\n$1\r\na\r\nzzz",
];

#[test]
fn garbage_from_a_node_reaches_no_other_client() {
    let yaml = "timing:\n  backend_timeout: 400ms\n  suspect_after: 200ms\n  ride_out: 300ms\n";
    let Some((cluster, relays, mut proxy)) = behind_relays(yaml) else { return };
    let marker = cluster.key_of(0, "marker");
    let good = cluster.key_of(0, "good");
    let mut client = proxy.client();
    client.ok(&["SET", &marker, "replace-me-please"]);
    client.ok(&["SET", &good, "right"]);
    for garbage in GARBAGE {
        let shown = garbage.escape_ascii().to_string();
        relays[0]
            .set(Fault::Replace { value: b"replace-me-please".to_vec(), with: garbage.to_vec() });
        let (mut poisoned, mut behind) = (proxy.client(), proxy.client());
        poisoned.try_send(&["GET", &marker]).expect("sent");
        behind.try_send(&["GET", &good]).expect("sent");
        // A client whose own reply was spoilt gets an error, or is closed; never the bytes.
        match poisoned.try_reply() {
            Ok(Reply::Error(_)) | Err(crate::support::Loss::Closed(_)) => {}
            other => panic!("after {shown}: GET of the spoilt reply was answered by {other:?}"),
        }
        match behind.reply() {
            Reply::Bulk(value) => assert_eq!(value, "right", "after {shown}"),
            Reply::Error(_) => {}
            other => panic!("after {shown}: another client's GET was answered by {other:?}"),
        }
        relays[0].set(Fault::None);
        proxy.assert_well(&shown);
        wait_for("the node is used again", Duration::from_secs(10), || {
            proxy.client().call(&["GET", &good]) == Reply::bulk("right")
        });
    }
}

/// A connection that breaks after any byte of the replies to four commands: what was answered is
/// delivered, reads are run again, and a write that may have run is in doubt, and not run again.
#[test]
fn scar_06_a_connection_lost_after_any_byte_is_judged_exactly() {
    for (cluster, relays, proxy) in clusters(Kind::Redis, 2, 0).map(|of| relayed(of, TIMING)) {
        let tag = cluster.key_of(0, "reset");
        let (counter, value) = (format!("{{{tag}}}:counter"), format!("{{{tag}}}:value"));
        let mut client = proxy.client();
        client.ok(&["SET", &value, "0123456789"]);
        let (mut acknowledged, mut in_doubt) = (0, 0);
        // +OK, :n, $10, :n — no more than 40 bytes.
        for hard in [true, false] {
            for bytes in 0..=40 {
                relays[0].set(if hard {
                    Fault::ResetAfter(bytes)
                } else {
                    Fault::CloseAfter(bytes)
                });
                let commands: Vec<Vec<&str>> = vec![
                    vec!["GET", &value],
                    vec!["INCR", &counter],
                    vec!["STRLEN", &value],
                    vec!["INCR", &counter],
                ];
                let replies = client.pipeline(&commands);
                relays[0].set(Fault::None);
                assert_eq!(replies[0], Reply::bulk("0123456789"), "a read is run again ({bytes})");
                assert_eq!(replies[2], Reply::Integer(10), "a read is run again ({bytes})");
                for reply in [&replies[1], &replies[3]] {
                    match reply {
                        Reply::Integer(_) => acknowledged += 1,
                        Reply::Error(text) if text.starts_with(b"INDOUBT ") => in_doubt += 1,
                        other => panic!("INCR after {bytes} bytes was answered by {other:?}"),
                    }
                }
            }
        }
        let count: i64 = client.text(&["GET", &counter]).parse().expect("a number");
        assert!((acknowledged..=acknowledged + in_doubt).contains(&count));
        assert!(in_doubt > 0, "some connection was lost with an INCR in flight");
        assert!(acknowledged > 20, "{acknowledged} acknowledged, {in_doubt} in doubt");
    }
}

/// Clients that go away in the middle of their replies leave nothing behind for others: 400 of them, ten thousand
/// in the long form.
#[test]
fn a_client_that_left_leaves_no_reply_to_the_next() {
    let Some((cluster, _relays, mut proxy)) = behind_relays("") else { return };
    let tag = cluster.key_of(0, "leave");
    let mut client = proxy.client();
    for number in 0..50 {
        let name = format!("{{{tag}}}:{number}");
        client.ok(&["SET", &name, &format!("{number}:").repeat(200 * number)]);
    }
    let descriptors = proxy.process().descriptors();
    let rounds = if number_from_env("KEYWAY_ROUNDS").is_some() { 10_000 } else { 400 };
    for round in 0..rounds {
        let name = format!("{{{tag}}}:{}", round % 50);
        let mut leaving = proxy.client();
        for _ in 0..=round % 5 {
            leaving.try_send(&["GET", &name]).expect("sent");
        }
        if round % 3 == 0 {
            leaving.reset();
        } else {
            drop(leaving);
        }
        let number = (round * 7) % 50;
        let got = client.call(&["GET", &format!("{{{tag}}}:{number}")]);
        assert_eq!(got, Reply::bulk(format!("{number}:").repeat(200 * number)));
    }
    proxy.assert_well("clients that left");
    wait_for("their connections are closed", Duration::from_secs(10), || {
        proxy.process().descriptors() <= descriptors + 4
    });
}

/// A node behind a line that swallows everything: others are served at once, and those who wait
/// for it get their answer or an error within the limits; then it comes back.
#[test]
fn a_silent_line_holds_up_only_its_own_node() {
    let Some((cluster, relays, mut proxy)) = behind_relays(TIMING) else { return };
    let (silent, other) = (cluster.key_of(0, "silent"), cluster.key_of(1, "other"));
    let mut client = proxy.client();
    client.ok(&["SET", &silent, "1"]);
    relays[0].set(Fault::Silence);
    let waiting = std::thread::spawn({
        let (mut client, silent) = (proxy.client(), silent.clone());
        move || {
            let started = Instant::now();
            (client.call(&["GET", &silent]), started.elapsed())
        }
    });
    let mut quick = proxy.client();
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let started = Instant::now();
        quick.ok(&["SET", &other, "2"]);
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    }
    relays[0].set(Fault::None);
    let (reply, after) = waiting.join().expect("it is answered");
    assert!(after < Duration::from_secs(15), "{after:?}");
    match reply {
        Reply::Error(_) => {}
        reply => assert_eq!(reply, Reply::bulk("1")),
    }
    wait_for("the node is used again", Duration::from_secs(15), || {
        proxy.client().call(&["GET", &silent]) == Reply::bulk("1")
    });
    proxy.assert_well("a silent line");
}

/// A slow line makes its own clients slow, and nothing is tried again for it.
#[test]
fn a_slow_line_is_not_made_slower_by_retries() {
    let Some((cluster, relays, proxy)) = behind_relays("") else { return };
    let slow = cluster.key_of(0, "slow");
    let mut client = proxy.client();
    client.ok(&["SET", &slow, "0"]);
    relays[0].set(Fault::Delay(Duration::from_millis(50)));
    let before: i64 = commands_processed(&cluster.nodes()[0]);
    for number in 1..=20 {
        assert_eq!(client.integer(&["INCR", &slow]), number);
    }
    let attempts = commands_processed(&cluster.nodes()[0]) - before;
    assert!(attempts <= 20 + 15, "{attempts} commands reached the node for 20");
}

fn commands_processed(node: &Server) -> i64 {
    let text = node.client().text(&["INFO", "commandstats"]);
    let incr = text.lines().find_map(|line| line.strip_prefix("cmdstat_incr:calls="));
    incr.map_or(0, |rest| rest.split(',').next().expect("a number").parse().expect("a number"))
}

/// A node that takes no connection: its clients wait, and are served when it does again.
#[test]
fn a_refused_connection_is_ridden_out() {
    let Some((cluster, relays, proxy)) = behind_relays(TIMING) else { return };
    let key = cluster.key_of(0, "refused");
    let mut client = proxy.client();
    client.ok(&["SET", &key, "1"]);
    relays[0].set(Fault::Refuse);
    relays[0].reset_all();
    let waiting = std::thread::spawn({
        let (mut client, key) = (proxy.client(), key.clone());
        move || client.call(&["INCR", &key])
    });
    let refused = relays[0].accepted();
    wait_for("the proxy tries to connect again", Duration::from_secs(4), || {
        relays[0].accepted() > refused
    });
    relays[0].set(Fault::None);
    assert_eq!(waiting.join().expect("it is answered"), Reply::Integer(2), "not an error, a pause");
}

/// The handshake of a connection is cut at every byte of its answer: no command is ever sent
/// before it was answered, so nothing is in doubt and nothing is lost. RESP2 (PING) and RESP3
/// (HELLO 3), the latter's longer answer at a sample.
#[test]
fn scar_16_a_handshake_cut_anywhere_costs_a_wait_and_no_error() {
    for (cluster, relays, mut proxy) in clusters(Kind::Redis, 2, 0).map(|of| relayed(of, TIMING)) {
        let key = cluster.key_of(0, "handshake");
        for (resp3, cuts) in [(false, vec![0, 1, 3, 6]), (true, vec![0, 1, 20, 60, 100])] {
            let mut client = proxy.client();
            if resp3 {
                client.call(&["HELLO", "3"]);
            }
            for cut in cuts {
                let before = client.integer(&["INCR", &key]);
                // The next connection of the proxy is cut in the middle of its handshake's answer.
                relays[0].set(Fault::ResetAfter(cut));
                relays[0].reset_all();
                let after = client.integer(&["INCR", &key]);
                assert_eq!(after, before + 1, "RESP3 {resp3}, cut at byte {cut}");
                relays[0].set(Fault::None);
            }
        }
        proxy.assert_well("cut handshakes");
    }
}
