//! What the bus costs with a hundred nodes, and how soon it notices a death. Next to it: what the
//! protocol's own rules make of it, for the original as for us.

use crate::world::World;
use keyway::cluster::NodeFlags;
use std::time::Duration;

const NODES: usize = 100;
/// Redis's default.
const NODE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a header, and of what a heartbeat tells of one other node.
const HEADER: f64 = 2256.0;
const GOSSIP: f64 = 104.0;
/// Bytes of the shard's name, which 7.2 and we append.
const SHARD_ID: f64 = 48.0;

/// Takes some seconds, and minutes without optimisation.
#[test]
#[ignore = "long: `make soak` runs it"]
fn a_hundred_nodes_cost_what_the_protocol_says() {
    let mut world = World::with_timeout(1, NODES, NODE_TIMEOUT);
    world.form(NODES);
    world.run(NODE_TIMEOUT);
    let (packets, bytes) = (world.checkers.packets, world.checkers.bytes);
    let time = Duration::from_secs(60);
    world.run(time);
    let per_node = |sum: u64| sum as f64 / NODES as f64 / time.as_secs_f64();
    let packets = per_node(world.checkers.packets - packets);
    let bytes = per_node(world.checkers.bytes - bytes);

    // Everyone who was silent for half the timeout is pinged, and one more each second; each PING
    // has its PONG; a tenth of the nodes is told of.
    let pings = (NODES - 1) as f64 / (NODE_TIMEOUT.as_secs_f64() / 2.0);
    let told = (NODES / 10) as f64;
    let (most_packets, size) = (2.0 * (pings + 1.0), HEADER + GOSSIP * told + SHARD_ID);
    println!("{NODES} nodes, node timeout {NODE_TIMEOUT:?}, per node and second:");
    println!("    {packets:.1} packets sent, {bytes:.0} bytes");
    println!("    {most_packets:.1} packets, {:.0} bytes by the rules", most_packets * size);
    assert!(packets <= most_packets * 1.05, "more than the rules ask for");
    assert!(packets >= 2.0, "nobody is heard of");
    assert!(bytes / packets <= size * 1.02, "{} bytes per packet", bytes / packets);

    let victim = NODES - 1;
    let id = world.id(victim);
    world.crash(victim);
    let took = world.run_until("everyone knows", NODE_TIMEOUT * 2, |world| {
        (0..victim).all(|seer| {
            let node = world.hosts[seer].member.view().by_id(&id).expect("it is known");
            node.flags.any(NodeFlags::FAIL)
        })
    });
    println!("    a death is known to all after {took:?}");
    assert!(took <= NODE_TIMEOUT * 3 / 2 + Duration::from_secs(2));
}
