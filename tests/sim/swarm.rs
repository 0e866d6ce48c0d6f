//! Anything that a seed can draw: crashes, partitions, slow and stopped hosts, operators. What
//! must always hold is checked at every output, and after the trouble all must agree.

use crate::world::World;
use keyway::bus::{Change, FailoverMode};
use keyway::cluster::Slot;
use std::time::Duration;

const PRIMARIES: usize = 5;
const HOSTS: usize = 11;
/// How long a cluster has to come to rest.
const PEACE: Duration = Duration::from_secs(90);

/// `KEYWAY_SEEDS` says how many, `KEYWAY_SEED` which one, `KEYWAY_FIRST_SEED` where to begin.
#[test]
fn swarm() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("KEYWAY_FIRST_SEED").unwrap_or(0);
    let seeds = match number("KEYWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("KEYWAY_SEEDS").unwrap_or(40),
    };
    for seed in seeds {
        let again = format!("KEYWAY_SEED={seed} cargo test --test sim swarm");
        let Ok(life) = std::panic::catch_unwind(|| troubled_life(seed)) else {
            panic!("replay with: {again}")
        };
        assert_eq!(life, troubled_life(seed), "not the same twice; replay with: {again}");
    }
}

fn troubled_life(seed: u64) -> u64 {
    let mut world = World::new(seed, HOSTS);
    world.form_with_replicas(PRIMARIES);
    // Half of the lives are without operators who take epochs as they like.
    let operators = seed.is_multiple_of(2);
    world.checkers.operators_are_at_work = operators;
    world.disks_are_slow = true;
    for host in 0..HOSTS {
        world.write_to(host);
    }
    for _ in 0..40 {
        trouble(&mut world, operators);
        let pause = Duration::from_millis(world.random(1500) as u64);
        world.run(pause);
    }
    world.heal();
    for host in 0..HOSTS {
        world.disarm(host);
        if !world.is_alive(host) {
            world.restart(host);
        }
    }
    world.run_until("all is well", PEACE, |world| {
        world.agrees_and_is_ok() && world.replicas_have_their_primarys_data()
    });
    world.trace()
}

fn trouble(world: &mut World, operators: bool) {
    let (host, other) = (world.random(HOSTS), world.random(HOSTS));
    let dead = (0..HOSTS).filter(|host| !world.is_alive(*host)).count();
    match world.random(15) {
        0 if dead < 3 => world.crash(host),
        1 if dead < 3 => {
            let outputs = world.random(20) as u32 + 1;
            world.crash_after(host, outputs);
        }
        2 | 3 => {
            let asleep = (0..HOSTS).find(|host| !world.is_alive(*host));
            if let Some(host) = asleep {
                if world.random(4) == 0 {
                    world.hosts[host].data.lose_all();
                }
                world.restart(host);
            }
        }
        4 => world.partition(&[host, other]),
        5 => world.cut_one_way(host, other),
        6 => {
            let by = Duration::from_millis(world.random(1000) as u64);
            world.slow_down(host, other, by);
        }
        7 => {
            let time = Duration::from_millis(world.random(10_000) as u64);
            world.stop(host, time);
        }
        8 | 9 => world.heal(),
        10 if world.is_alive(host) => {
            // Refused when it is a primary, and that is fine.
            let _ = world.apply(host, Change::Failover(FailoverMode::Agreed));
        }
        11 if world.is_alive(host) && operators => {
            let _ = world.apply(host, Change::Failover(FailoverMode::Takeover));
        }
        12 | 13 if world.is_alive(host) && operators => move_a_slot(world, host),
        14 => world.losses = world.random(60),
        _ => {}
    }
}

/// A slot is moved by an operator who does not look what the network is like.
fn move_a_slot(world: &mut World, to: usize) {
    let moving = Slot::new(world.random(Slot::COUNT) as u16).expect("below the count");
    let view = world.hosts[to].member.view();
    let Some(owner) = view.owner(moving).map(|key| view.node(key).id) else { return };
    let name = world.id(to).to_string();
    if world.apply(to, Change::Importing(moving, owner.to_string())).is_err() {
        return;
    }
    let change = Change::Assign { slot: moving, node: name, has_keys: false };
    world.apply(to, change).expect("an empty slot that it imports");
}
