//! Replicas that take over, on real processes: ours alone, and with stock servers in each part:
//! ours elected by their votes, theirs by ours.

mod evidence;
mod ledger;
mod loading;
mod lost_votes;
mod open_slots;
mod restarts;
mod rounds;

use crate::support::{Client, Cluster, Kind, wait_for};
use keyway::resp::Reply;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Of the nodes of [`Cluster`].
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// The bound for a promotion: twice the node timeout and two seconds.
const PROMOTION_MAX: Duration = Duration::from_secs(2 * 2 + 2);
/// For whatever follows.
const SOON: Duration = Duration::from_secs(40);

/// How many rounds of each: a few in every run, more in the long one (`KEYWAY_ROUNDS`).
fn rounds() -> usize {
    std::env::var("KEYWAY_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn is_primary(cluster: &Cluster, index: usize) -> bool {
    let client = Client::try_connect(cluster.nodes()[index].port());
    let role = client.ok().and_then(|mut client| {
        client.set_timeout(NODE_TIMEOUT);
        client.try_call(&["ROLE"]).ok()
    });
    let word = role.as_ref().and_then(|role| role.as_array()?.first()?.as_str().map(str::to_owned));
    word.as_deref() == Some("master")
}

/// Waits until a node is a primary, and says how long that took.
fn await_promotion(cluster: &Cluster, index: usize, since: Instant) -> Duration {
    wait_for("a promotion", SOON, || is_primary(cluster, index));
    since.elapsed()
}

/// Writes keys of one primary's share to a node, until one is refused or `count` are there.
fn write(cluster: &Cluster, node: usize, share: usize, salt: &str, count: usize) -> Vec<String> {
    let mut client = cluster.nodes()[node].client();
    let keys: Vec<String> =
        (0..count).map(|n| cluster.key_of(share, &format!("{salt}:{n}"))).collect();
    for key in &keys {
        client.ok(&["SET", key, &format!("value of {key}")]);
    }
    keys
}

fn assert_has(cluster: &Cluster, node: usize, keys: &[String]) {
    let mut client = cluster.nodes()[node].client();
    client.ok(&["READONLY"]);
    for key in keys {
        assert_eq!(client.text(&["GET", key]), format!("value of {key}"), "{key} is lost");
    }
}

/// Waits until a replica has all that its primary has written by now.
fn await_copied(cluster: &Cluster, primary: usize, replica: usize) {
    let offset = |index: usize, field: &str| -> u64 {
        cluster.nodes()[index].info(field).parse().expect("an offset is a number")
    };
    let written = offset(primary, "master_repl_offset");
    wait_for("a replica to catch up", SOON, || offset(replica, "slave_repl_offset") >= written);
}

/// The primary 0 is killed while it is written to; its replica takes over, and the old one comes
/// back as its replica. Then the other way round.
fn a_killed_primary_is_replaced(primaries: &[Kind], replica: Kind) {
    let Some(mut cluster) = Cluster::mixed(primaries, &[replica]) else { return };
    let mut took = Vec::new();
    let (mut old, mut new) = (0, primaries.len());
    for round in 0..rounds() * 2 {
        let keys = write(&cluster, old, 0, &format!("round {round}"), 50);
        await_copied(&cluster, old, new);
        let since = Instant::now();
        cluster.node_mut(old).kill();
        took.push(await_promotion(&cluster, new, since));
        wait_for("the cluster is well again", SOON, || {
            cluster.nodes()[new].client().text(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
        assert_has(&cluster, new, &keys);
        let more = write(&cluster, new, 0, &format!("after {round}"), 50);
        cluster.node_mut(old).restart();
        cluster.await_agreement();
        wait_for("the old one is a replica", SOON, || !is_primary(&cluster, old));
        cluster.await_replicas_online();
        await_copied(&cluster, new, old);
        assert_has(&cluster, old, &keys);
        assert_has(&cluster, old, &more);
        (old, new) = (new, old);
    }
    report(primaries, replica, &mut took);
}

/// Says how long promotions took, and holds the worst against the bound.
fn report(primaries: &[Kind], replica: Kind, took: &mut [Duration]) {
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "primaries {primaries:?}, replica {replica:?}, node timeout {NODE_TIMEOUT:?}, {} rounds: \
         promoted after {median:?} (median), {worst:?} (worst)",
        took.len()
    );
    assert!(worst <= PROMOTION_MAX, "promotions took {took:?}");
}

#[test]
fn a_killed_primary_of_ours_is_replaced() {
    a_killed_primary_is_replaced(&[Kind::Keyway; 3], Kind::Keyway);
}

#[test]
fn our_replica_is_elected_by_redis_and_valkey() {
    a_killed_primary_is_replaced(&[Kind::Redis, Kind::Redis, Kind::Valkey], Kind::Keyway);
}

#[test]
fn a_replica_of_redis_is_elected_by_our_votes() {
    a_killed_primary_is_replaced(&[Kind::Keyway; 3], Kind::Redis);
}

#[test]
fn a_replica_of_valkey_is_elected_by_our_votes() {
    a_killed_primary_is_replaced(&[Kind::Keyway; 3], Kind::Valkey);
}

/// Tells the writers to stop, however the test goes on.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// CLUSTER FAILOVER to the replica and back again: nothing that was acknowledged is lost.
fn an_operator_changes_primaries(primaries: &[Kind], replica: Kind) {
    let Some(cluster) = Cluster::mixed(primaries, &[replica]) else { return };
    let (mut old, mut new) = (0, primaries.len());
    let mut all: Vec<String> = Vec::new();
    for round in 0..rounds() * 2 {
        let tag = cluster.key_of(0, &format!("round {round}"));
        let (acknowledged, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        // One that still loads what its primary has sent refuses.
        wait_for("the replica to have loaded", SOON, || {
            cluster.nodes()[new].info("master_link_status") == "up"
        });
        // Writes go on until the node that takes them says that it is not the one any more.
        let writer = std::thread::scope(|scope| {
            // Also when a wait below fails: the scope waits for its threads.
            let _stop = StopAtEnd(&stop);
            let writing = scope.spawn(|| {
                let mut written = Vec::new();
                let mut client = cluster.nodes()[old].client();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{{{tag}}}:{n}");
                    match client.call(&["SET", &key, &format!("value of {key}")]) {
                        Reply::Simple(_) => {
                            written.push(key);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        reply => {
                            let error =
                                reply.as_error().map(String::from_utf8_lossy).unwrap_or_default();
                            assert!(error.starts_with("MOVED "), "{error}");
                            break;
                        }
                    }
                }
                written
            });
            wait_for("writes", SOON, || acknowledged.load(Ordering::Relaxed) >= 50);
            let since = Instant::now();
            cluster.nodes()[new].client().ok(&["CLUSTER", "FAILOVER"]);
            let took = await_promotion(&cluster, new, since);
            let [from, to] = [old, new].map(|index| cluster.nodes()[index].kind());
            println!("{to:?} took over from {from:?} in {took:?}");
            writing.join().expect("the writer ends")
        });
        all.extend(writer);
        cluster.await_agreement();
        cluster.await_replicas_online();
        assert_has(&cluster, new, &all);
        (old, new) = (new, old);
    }
}

#[test]
fn an_operator_changes_primaries_of_ours() {
    an_operator_changes_primaries(&[Kind::Keyway; 3], Kind::Keyway);
}

#[test]
fn an_operator_changes_between_redis_and_ours() {
    an_operator_changes_primaries(&[Kind::Redis, Kind::Valkey, Kind::Keyway], Kind::Keyway);
}

#[test]
fn an_operator_changes_between_ours_and_valkey() {
    an_operator_changes_primaries(&[Kind::Keyway, Kind::Valkey, Kind::Redis], Kind::Valkey);
}
