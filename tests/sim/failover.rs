//! Replicas that take over: by election, by an operator, and what becomes of the data.

use crate::world::{NODE_TIMEOUT, World};
use keyway::bus::{Change, FailoverMode};
use keyway::cluster::{NodeFlags, Slot};
use std::time::Duration;

/// The bound that the project gives itself.
const PROMOTION_MAX: Duration = Duration::from_secs(2 * 2 + 2);

/// The host that owns the slots which `host` owned when the cluster was formed with three
/// primaries.
fn owner_of_share(world: &World, share: usize) -> Option<usize> {
    let slot = Slot::new((share * Slot::COUNT / 3 + 7) as u16).expect("a slot of the test");
    (0..world.hosts.len()).filter(|&host| world.is_alive(host)).find(|&host| {
        let view = world.hosts[host].member.view();
        view.owner(slot).is_some_and(|key| view.node(key).id == world.id(host))
    })
}

fn is_primary(world: &World, host: usize) -> bool {
    world.hosts[host].member.view().myself().is_primary()
}

#[test]
fn a_replica_takes_over_from_a_primary_that_died() {
    let mut worst = Duration::ZERO;
    for seed in 0..20 {
        let mut world = World::new(seed, 6);
        world.form_with_replicas(3);
        world.write_to(0);
        world.run(Duration::from_secs(2));
        world.crash(0);
        let promoted = |world: &World| owner_of_share(world, 0) == Some(3);
        worst = worst.max(world.run_until("it is elected", PROMOTION_MAX, promoted));
        world.run_until("all know it", Duration::from_secs(5), |world| {
            world.agrees_and_is_ok() && world.live_primaries() == 3
        });
        world.restart(0);
        world.run_until("the old one is its replica", Duration::from_secs(20), |world| {
            let data = &world.hosts[0].data;
            world.agrees_and_is_ok() && data.source() == Some(3) && data.is_linked()
        });
    }
    println!("worst time to promotion: {worst:?} at a node timeout of {NODE_TIMEOUT:?}");
}

#[test]
fn two_primaries_that_die_at_once_are_both_replaced() {
    for seed in 0..20 {
        let mut world = World::new(seed, 10);
        world.form_with_replicas(5);
        world.crash(1);
        world.crash(3);
        world.run_until("both are replaced", PROMOTION_MAX, |world| {
            is_primary(world, 6) && is_primary(world, 8)
        });
        world.run_until("all is well", Duration::from_secs(10), World::agrees_and_is_ok);
    }
}

/// Both replicas ask in one epoch, as neither hears the other in time: nobody gets enough votes, and
/// they ask again at once.
#[test]
fn two_elections_in_one_epoch_are_decided_soon() {
    for seed in 0..20 {
        let mut world = World::new(seed, 10);
        world.form_with_replicas(5);
        for (one, other) in [(6, 8), (8, 6)] {
            world.slow_down(one, other, Duration::from_millis(800));
        }
        world.crash(1);
        world.crash(3);
        world.run_until("both are replaced", PROMOTION_MAX + Duration::from_secs(2), |world| {
            is_primary(world, 6) && is_primary(world, 8)
        });
        world.heal();
        world.run_until("all is well", Duration::from_secs(10), World::agrees_and_is_ok);
    }
}

/// Of all that elections consist of, four in ten are lost, each with the connection that it was sent on: requests, votes,
/// and the news of the failure. Who has not answered is asked again, and nobody waits for another election.
/// `KEYWAY_SEEDS` says how many are tried, as in `make soak`, which tries 500.
#[test]
fn packets_that_are_lost_around_an_election_do_not_delay_it_for_long() {
    let seeds = std::env::var("KEYWAY_SEEDS").ok().and_then(|text| text.parse().ok());
    let (mut worst, mut lost, mut repeated) = (Duration::ZERO, 0, 0);
    for seed in 0..seeds.unwrap_or(20_u64).min(500) {
        let mut world = World::new(seed, 8);
        world.form_with_replicas(5);
        world.losses = 40;
        world.crash(0);
        let promoted = |world: &World| is_primary(world, 5);
        let within = PROMOTION_MAX + Duration::from_secs(2);
        worst = worst.max(world.run_until("it is elected", within, promoted));
        (lost, repeated) = (lost + world.lost, repeated + world.checkers.repeated_votes);
        world.heal();
        world.run_until("all is well", Duration::from_secs(10), World::agrees_and_is_ok);
    }
    println!(
        "worst time to promotion: {worst:?}; {lost} packets lost, {repeated} votes sent again"
    );
    assert!(lost > 100 && repeated > 0, "there was nothing to make good");
}

/// The votes are waited for from when the request has left.
#[test]
fn a_replica_is_elected_where_every_disk_takes_seconds() {
    let mut worst = Duration::ZERO;
    let sync = NODE_TIMEOUT * 3 / 2;
    for seed in 0..20 {
        let mut world = World::new(seed, 6);
        world.form_with_replicas(3);
        world.each_save_takes = Some(sync);
        world.crash(0);
        let promoted = |world: &World| is_primary(world, 3) && owner_of_share(world, 0) == Some(3);
        // What was under way before; the epoch, the vote, and the role.
        let within = PROMOTION_MAX + sync * 4;
        worst = worst.max(world.run_until("it is elected", within, promoted));
        world.each_save_takes = None;
        world.run_until("all is well", Duration::from_secs(20), World::agrees_and_is_ok);
    }
    println!("worst time to promotion: {worst:?} where a save takes {sync:?}");
}

/// Epochs that others take meanwhile are learned of, and the election goes on in a newer one.
#[test]
fn an_operator_who_takes_epochs_does_not_delay_an_election_for_long() {
    for seed in 0..20 {
        let mut world = World::new(seed, 8);
        world.checkers.operators_are_at_work = true;
        world.form_with_replicas(5);
        world.crash(0);
        let began = world.now.instant;
        let mut bumps = 0;
        while !is_primary(&world, 5) {
            let took = world.now.instant.saturating_duration_since(began);
            assert!(took < PROMOTION_MAX + Duration::from_secs(3), "seed {seed}: {took:?}");
            let host = 1 + world.random(4);
            // Just while the votes are asked for.
            if bumps < 3
                && world.hosts[5]
                    .member
                    .view()
                    .by_id(&world.id(0))
                    .is_some_and(|node| node.is_failed())
            {
                world.apply(host, Change::BumpEpoch).expect("always taken");
                bumps += 1;
            }
            world.run(Duration::from_millis(250));
        }
        world.run_until("all is well", Duration::from_secs(10), World::agrees_and_is_ok);
    }
}

#[test]
fn the_replica_with_the_most_data_is_elected() {
    for seed in 0..20 {
        let mut world = World::new(seed, 9);
        world.form_with_replicas(3);
        // Hosts 3 and 6 copy host 0; 6 hears nothing of the latest writes.
        world.write_to(0);
        world.cut_one_way(0, 6);
        world.run(Duration::from_millis(700));
        world.crash(0);
        world.heal();
        world.run_until("one is elected", PROMOTION_MAX + Duration::from_secs(1), |world| {
            owner_of_share(world, 0).is_some()
        });
        assert_eq!(owner_of_share(&world, 0), Some(3), "seed {seed}");
        world.run_until("the other follows", Duration::from_secs(10), |world| {
            world.hosts[6].data.source() == Some(3) && world.hosts[6].data.is_linked()
        });
    }
}

#[test]
fn a_replica_without_the_data_is_not_elected() {
    let mut world = World::new(4, 6);
    world.form_with_replicas(3);
    world.cut_one_way(0, 3);
    world.run(Duration::from_secs(1));
    world.crash(3);
    world.restart(3);
    world.crash(0);
    world.heal();
    world.run(Duration::from_secs(60));
    assert_eq!(owner_of_share(&world, 0), None, "it never had the data");
    world.restart(0);
    world.run_until("all is well", Duration::from_secs(30), World::agrees_and_is_ok);
}

/// WAIT 1 and one crash, between any two steps of any node: what the client was told holds. A crash
/// loses what was not synced, and a primary is back before it is replaced or after that.
#[test]
fn what_a_replica_was_said_to_have_survives_one_crash() {
    let seeds = std::env::var("KEYWAY_SEEDS").ok().and_then(|text| text.parse().ok());
    let mut confirmed = 0;
    for seed in 0..seeds.unwrap_or(40_u64) {
        let mut world = World::new(seed, 6);
        world.form_with_replicas(3);
        for host in 0..6 {
            world.write_to(host);
        }
        let time = Duration::from_millis(world.random(3000) as u64);
        world.run(time);
        let victim = world.random(6);
        let outputs = world.random(60) as u32 + 1;
        world.crash_after(victim, outputs);
        world.run_until("a crash", Duration::from_secs(20), |world| !world.is_alive(victim));
        if victim < 3 && world.random(2) == 0 {
            let replaced = |world: &World| owner_of_share(world, victim) == Some(victim + 3);
            world.run_until("a promotion", PROMOTION_MAX, replaced);
        }
        let time = Duration::from_millis(world.random(5_000) as u64);
        world.run(time);
        world.restart(victim);
        if victim < 3 {
            let replaced = |world: &World| owner_of_share(world, victim) == Some(victim + 3);
            world.run_until("a promotion, if there was none", PROMOTION_MAX, replaced);
        }
        world.run_until("all is well", Duration::from_secs(60), |world| {
            world.agrees_and_is_ok() && world.replicas_have_their_primarys_data()
        });
        println!("seed {seed}, victim {victim}");
        world.assert_confirmed_writes_are_there();
        confirmed += world.checkers.confirmed().count();
    }
    assert!(confirmed > 1000, "only {confirmed} writes were waited for");
}

#[test]
fn an_operator_changes_primaries_and_no_write_is_lost() {
    for seed in 0..20 {
        let mut world = World::new(seed, 6);
        world.form_with_replicas(3);
        world.write_to(0);
        world.write_to(3);
        world.run(Duration::from_secs(2));
        for (new, old) in [(3, 0), (0, 3)] {
            world.apply(new, Change::Failover(FailoverMode::Agreed)).expect("a replica");
            let took = world.run_until("it took over", Duration::from_secs(5), |world| {
                is_primary(world, new) && world.hosts[old].data.source() == Some(new)
            });
            assert!(took < Duration::from_secs(2), "it took {took:?}");
            world.run_until("they agree", Duration::from_secs(10), World::agrees_and_is_ok);
            world.run(Duration::from_secs(6));
        }
        let log = world.hosts[0].data.log();
        assert!(world.checkers.writes().eq(log.iter().copied()), "seed {seed}: a write is lost");
        assert!(log.len() > 100);
    }
}

/// CLUSTER FAILOVER at a primary that stands still comes to nothing; once the others call it failed, the
/// replica that the operator has chosen stands at once.
#[test]
fn a_replica_that_an_operator_has_chosen_goes_first() {
    for seed in 0..20 {
        let mut world = World::new(seed, 9);
        world.form_with_replicas(3);
        // 6 is the sibling that would go first.
        let (chosen, sibling) = if world.id(3) > world.id(6) { (3, 6) } else { (6, 3) };
        world.stop(0, Duration::from_secs(30));
        world.run(Duration::from_secs(1));
        world.apply(chosen, Change::Failover(FailoverMode::Agreed)).expect("a replica");
        world.run_until("a promotion", PROMOTION_MAX, |world| {
            is_primary(world, chosen) || is_primary(world, sibling)
        });
        assert!(is_primary(&world, chosen), "seed {seed}");
    }
}

#[test]
fn an_operator_forces_a_replica_up_when_its_primary_or_everyone_is_gone() {
    let mut world = World::new(1, 6);
    world.form_with_replicas(3);
    world.crash(0);
    world.apply(3, Change::Failover(FailoverMode::Force)).expect("a replica");
    world.run_until("it took over", Duration::from_secs(1), |world| is_primary(world, 3));
    world.crash(1);
    world.crash(2);
    let refused = world.apply(4, Change::Failover(FailoverMode::Agreed));
    assert!(refused.is_ok(), "the link is still up, as far as it knows: {refused:?}");
    world.run(Duration::from_secs(6));
    assert!(!is_primary(&world, 4), "it cannot agree with a dead one");
    world.apply(4, Change::Failover(FailoverMode::Takeover)).expect("a replica");
    assert!(is_primary(&world, 4), "nobody is asked");
}

/// What one host knows of another.
fn flags_of(world: &World, seer: usize, of: usize) -> NodeFlags {
    let view = world.hosts[seer].member.view();
    view.by_id(&world.id(of)).expect("known").flags
}

#[test]
fn a_replica_that_may_not_stand_does_not() {
    let mut world = World::new(2, 6);
    world.form_with_replicas(3);
    world.with_options(3, |options| options.no_failover = true);
    world.crash(0);
    world.run(Duration::from_secs(30));
    assert_eq!(owner_of_share(&world, 0), None);
    assert!(
        (1..6).all(|seer| flags_of(&world, seer, 3).any(NodeFlags::NOFAILOVER)),
        "all are told"
    );
}

#[test]
fn a_primary_that_lost_its_data_leaves_the_slots_to_its_replica() {
    for seed in 0..10 {
        let mut world = World::new(seed, 6);
        world.form_with_replicas(3);
        world.write_to(0);
        world.run(Duration::from_secs(3));
        let before = world.hosts[3].data.log().len();
        world.crash(0);
        world.hosts[0].data.lose_all();
        world.restart(0);
        world.run_until("the replica took over", Duration::from_secs(9), |world| {
            is_primary(world, 3) && world.hosts[0].data.is_linked()
        });
        assert!(world.hosts[0].data.log().len() >= before, "seed {seed}: the data is gone");
        // Or its shard would seem to have no replica, and another shard's would move there.
        let silent = NodeFlags::PFAIL.with(NodeFlags::FAIL);
        world.run_until("nobody misses it", Duration::from_secs(1), |world| {
            (1..6).all(|seer| !flags_of(world, seer, 0).any(silent))
        });
        world.run_until("all is well", Duration::from_secs(10), World::agrees_and_is_ok);
    }
}

/// All have lost their power: nobody can be elected, and nobody waits for that as long as for a replica.
#[test]
fn nodes_that_all_start_anew_serve_what_they_have() {
    let mut world = World::new(5, 6);
    world.form_with_replicas(3);
    (0..3).for_each(|host| world.write_to(host));
    world.run(Duration::from_secs(3));
    let synced = world.hosts[0].data.log().len() / 2;
    (0..6).for_each(|host| world.crash(host));
    (0..6).for_each(|host| world.restart(host));
    assert!((0..3).all(|host| world.hosts[host].member.is_guarded()));
    world.run(Duration::from_millis(5_500));
    assert!((0..3).all(|host| !world.hosts[host].member.is_guarded()));
    world.run_until("all is well", Duration::from_secs(20), World::agrees_and_is_ok);
    assert_eq!(owner_of_share(&world, 0), Some(0));
    assert!(world.hosts[0].data.log().len() > synced, "what was on disk is there");
}

#[test]
fn a_primary_that_nobody_can_replace_serves_empty_in_the_end() {
    let mut world = World::new(3, 6);
    world.form_with_replicas(3);
    world.crash(3);
    world.crash(0);
    world.hosts[0].data.lose_all();
    world.restart(0);
    world.run(Duration::from_secs(8));
    assert!(world.hosts[0].member.is_guarded());
    world.run(Duration::from_secs(2));
    assert!(!world.hosts[0].member.is_guarded());
    world.restart(3);
    world.run_until("all is well", Duration::from_secs(20), World::agrees_and_is_ok);
    assert_eq!(owner_of_share(&world, 0), Some(0));
}

#[test]
fn a_shard_with_replicas_to_spare_sends_one_to_a_shard_without() {
    for seed in 0..5 {
        let mut world = World::new(seed, 7);
        world.form_with_replicas(3);
        // Hosts 3 and 6 copy host 0; host 4 is the only replica of host 1.
        world.crash(4);
        world.run_until("one has moved", Duration::from_secs(20), |world| {
            [3, 6].iter().any(|&host| world.hosts[host].data.source() == Some(1))
        });
        world.run(Duration::from_secs(20));
        let left = [3, 6].iter().filter(|&&host| world.hosts[host].data.source() == Some(0));
        assert_eq!(left.count(), 1, "seed {seed}: the barrier holds");
        world.run_until("all is well", Duration::from_secs(10), World::agrees_and_is_ok);
    }
}

#[test]
fn a_primary_that_was_stopped_past_its_failover_comes_back_as_a_replica() {
    for seed in 0..10 {
        let mut world = World::new(seed, 6);
        world.form_with_replicas(3);
        world.write_to(0);
        world.run(Duration::from_secs(1));
        world.stop(0, Duration::from_secs(15));
        world.run_until("it is replaced", PROMOTION_MAX, |world| is_primary(world, 3));
        world.run(Duration::from_secs(12));
        world.run_until("it follows", Duration::from_secs(10), |world| {
            world.agrees_and_is_ok() && world.hosts[0].data.source() == Some(3)
        });
    }
}

/// Everyone stands still at once (a suspended machine): nobody is to blame.
#[test]
fn nodes_that_were_all_stopped_do_not_fail_each_other() {
    let mut world = World::new(8, 6);
    world.form_with_replicas(3);
    for host in 0..6 {
        world.stop(host, Duration::from_secs(30));
    }
    world.run(Duration::from_secs(60));
    for host in 0..6 {
        assert_eq!(is_primary(&world, host), host < 3, "host {host} has changed its role");
    }
    assert!(world.agrees_and_is_ok());
}

#[test]
fn a_partitioned_primary_stops_before_its_slots_are_served_elsewhere() {
    for seed in 0..20 {
        let mut world = World::new(seed, 10);
        world.form_with_replicas(5);
        world.partition(&[0, 1]);
        let took = world.run_until("replicas took over", Duration::from_secs(15), |world| {
            is_primary(world, 5) && is_primary(world, 6)
        });
        for old in [0, 1] {
            let stopped = !world.hosts[old].member.view().state_ok;
            assert!(stopped, "seed {seed}: two primaries take writes after {took:?}");
        }
        world.heal();
        world.run_until("all is well", Duration::from_secs(30), World::agrees_and_is_ok);
        assert!(!is_primary(&world, 0) && !is_primary(&world, 1));
    }
}
