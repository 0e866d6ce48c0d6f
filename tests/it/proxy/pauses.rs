//! A node that is stopped, and goes on.

use super::kinds::with_proxy;
use crate::support::{Client, Cluster, Keyway, Kind};
use keyway::resp::Reply;
use std::time::{Duration, Instant};

/// How much longer than usual a command of an unconcerned client may take: the machine is shared.
const UNDISTURBED: Duration = Duration::from_millis(500);

#[test]
fn scar_20_a_stopped_node_delays_only_those_who_use_it() {
    for (mut cluster, proxy) in with_proxy(Kind::Redis, "") {
        let stopped_key = cluster.key_of(0, "stopped");
        let other_keys = [cluster.key_of(1, "other"), cluster.key_of(2, "other")];
        // Many clients, so that every worker has some of each.
        let mut stuck: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        let mut free: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        for (number, client) in stuck.iter_mut().enumerate() {
            client.ok(&["SET", &format!("{{{stopped_key}}}:{number}"), &number.to_string()]);
        }

        cluster.node_mut(0).pause();
        for (number, client) in stuck.iter_mut().enumerate() {
            client.try_send(&["GET", &format!("{{{stopped_key}}}:{number}")]).expect("sent");
        }
        let until = Instant::now() + Duration::from_secs(2);
        let (mut slowest, mut served) = (Duration::ZERO, 0);
        while Instant::now() < until {
            for (number, client) in free.iter_mut().enumerate() {
                let started = Instant::now();
                let value = format!("{number}-{served}");
                client.ok(&["SET", &format!("{{{}}}:{number}", other_keys[number % 2]), &value]);
                slowest = slowest.max(started.elapsed());
                served += 1;
            }
        }
        assert!(slowest < UNDISTURBED, "{served} commands, the slowest took {slowest:?}");
        cluster.node_mut(0).resume();
        for (number, client) in stuck.iter_mut().enumerate() {
            assert_eq!(client.reply(), Reply::bulk(number.to_string()), "its own reply, after all");
        }
    }
}

/// Backend time-outs shorter than the pause: connections are given up with replies still to come,
/// and those must reach nobody.
#[test]
fn scar_01_a_late_reply_reaches_no_other_request() {
    let yaml = "timing:\n  suspect_after: 200ms\n  backend_timeout: 700ms\n  ride_out: 10s\n";
    for (mut cluster, proxy) in with_proxy(Kind::Valkey, yaml) {
        let key = cluster.key_of(0, "late");
        let mut setup = proxy.client();
        for number in 0..50 {
            setup.ok(&["SET", &format!("{{{key}}}:{number}"), &format!("value-{number}")]);
        }
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..50)
                .map(|number| {
                    let (proxy, key) = (&proxy, &key);
                    scope.spawn(move || {
                        let mut client = proxy.client();
                        let name = format!("{{{key}}}:{number}");
                        let until = Instant::now() + Duration::from_secs(4);
                        let (mut right, mut refused) = (0, 0);
                        while Instant::now() < until {
                            match client.call(&["GET", &name]) {
                                Reply::Bulk(value) => {
                                    assert_eq!(
                                        value,
                                        format!("value-{number}"),
                                        "a reply of another"
                                    );
                                    right += 1;
                                }
                                Reply::Error(_) => refused += 1,
                                other => panic!("GET {name} was answered by {other:?}"),
                            }
                        }
                        (right, refused)
                    })
                })
                .collect();
            cluster.node_mut(0).pause();
            let paused = Instant::now();
            crate::support::wait_for("the pause", Duration::from_secs(3), || {
                paused.elapsed() > Duration::from_millis(1_800)
            });
            cluster.node_mut(0).resume();
            for client in clients {
                let (right, _) = client.join().expect("no wrong reply");
                assert!(right > 0, "it was served again after the pause");
            }
        });
    }
}

/// The whole bundle: one of its nodes stopped, and the others serve.
#[test]
fn a_node_without_replies_is_waited_for_in_order() {
    let Some(mut cluster) = Cluster::redis(2, 0) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
    let (slow, quick) = (cluster.key_of(0, "slow"), cluster.key_of(1, "quick"));
    let mut client = proxy.client();
    client.ok(&["SET", &slow, "1"]);
    client.ok(&["SET", &quick, "2"]);
    cluster.node_mut(0).pause();
    for key in [&quick, &slow, &quick] {
        client.try_send(&["GET", key]).expect("sent");
    }
    assert_eq!(
        client.reply(),
        Reply::bulk("2"),
        "what stands before the stopped node's is answered"
    );
    cluster.node_mut(0).resume();
    assert_eq!(client.reply(), Reply::bulk("1"));
    assert_eq!(client.reply(), Reply::bulk("2"), "and replies keep their order");
}
