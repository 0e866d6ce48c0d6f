//! Replication on real processes: ours, 7.0.15 and 9.1.2 in every pairing and in either role. Data
//! that should be the same is compared by DEBUG DIGEST.

mod disk;
mod limits;
mod restart;
mod roles;
mod stream;
mod sync;

use crate::support::{Kind, Server, wait_for};
use std::time::Duration;

/// How long a link may take to come about, or a replica to catch up; the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A server whose snapshots for replicas begin at once.
fn server(kind: Kind, directives: &[&str]) -> Option<Server> {
    let mut all = vec!["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];
    all.extend(directives);
    Server::node(kind, &all)
}

/// Makes `replica` follow whoever listens on `port`.
fn follow(replica: &Server, port: u16) {
    replica.client().ok(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
}

fn await_link(replica: &Server) {
    wait_for("the link is up", SOON, || replica.info("master_link_status") == "up");
}

/// Waits until a replica has run all that its primary has said so far.
fn await_catch_up(primary: &Server, replica: &Server) {
    wait_for("the replica has caught up", SOON, || {
        replica.info("master_link_status") == "up"
            && replica.info("slave_repl_offset") == primary.info("master_repl_offset")
    });
}

fn digest(server: &Server) -> String {
    server.client().text(&["DEBUG", "DIGEST"])
}

/// Both have the same data, and there is some.
fn assert_same_data(primary: &Server, replica: &Server) {
    await_catch_up(primary, replica);
    let wanted = digest(primary);
    assert_ne!(wanted, "0".repeat(40), "there is no data");
    // A key that expires between the two looks is gone from both soon after.
    wait_for("the data is the same", SOON, || digest(replica) == digest(primary));
}

/// Keys of every type, in two databases.
fn fill(server: &Server, from: usize, count: usize) {
    let mut client = server.client();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for n in from..from + count {
        let words = [
            format!("SET string:{n} value-{n}"),
            format!("RPUSH list:{} {n}", n % 50),
            format!("SADD set:{} {n} member-{n}", n % 40),
            format!("HSET hash:{} field-{n} {n}", n % 30),
            format!("ZADD zset:{} {n} member-{n}", n % 20),
            format!("SETEX expiring:{n} 1000 x"),
        ];
        commands.extend(words.iter().map(|line| line.split(' ').map(str::to_owned).collect()));
    }
    commands.push(["SELECT", "3"].map(str::to_owned).into());
    commands.push(["SET".to_owned(), format!("other:{from}"), "x".to_owned()].into());
    client.pipeline(&commands);
}
