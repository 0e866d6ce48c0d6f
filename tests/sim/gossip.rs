//! Clusters that form, fall apart and come together again.

use crate::world::{NODE_TIMEOUT, World};
use keyway::bus::Change;
use keyway::cluster::{Epoch, NodeFlags, Slot, SlotSet};
use std::time::Duration;

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot of the test")
}

fn flags_of(world: &World, seer: usize, seen: usize) -> Option<NodeFlags> {
    let id = world.id(seen);
    world.hosts[seer].member.view().by_id(&id).map(|node| node.flags)
}

#[test]
fn nodes_that_met_one_of_them_know_all_and_agree() {
    for seed in 0..3 {
        let mut world = World::new(seed, 12);
        world.form(5);
        for host in &world.hosts {
            assert_eq!(host.member.view().len(), 12);
            assert_eq!(host.member.size(), 5);
        }
        let epochs: std::collections::BTreeSet<Epoch> =
            world.hosts.iter().map(|host| host.member.view().myself().config_epoch).collect();
        assert_eq!(epochs.len(), 12, "every primary has an epoch of its own");
    }
}

/// FORGET on one node is enough where all nodes speak of it (Redis 7.2), and gossip does not
/// bring the node back.
#[test]
fn a_forgotten_node_stays_forgotten() {
    let mut world = World::new(7, 6);
    world.form(3);
    let id = world.id(5);
    world.apply(0, Change::Forget(id.to_string())).expect("it is known");
    let gone =
        |world: &World| world.hosts[..5].iter().all(|host| host.member.view().by_id(&id).is_none());
    world.run_until("everyone forgot it", Duration::from_secs(20), gone);
    for _ in 0..20 {
        world.run(Duration::from_secs(1));
        assert!(gone(&world), "it came back");
    }
}

#[test]
fn slots_claimed_twice_under_one_epoch_end_with_one_owner() {
    for seed in 0..10 {
        let mut world = World::new(seed, 4);
        world.checkers.operators_are_at_work = true;
        // Two clusters that know nothing of each other, with the same claims and epochs.
        for host in 0..4 {
            let first = if host % 2 == 0 { 0 } else { 8192 };
            let slots: SlotSet = Slot::all().skip(first).take(8192).collect();
            world.apply(host, Change::AddSlots(slots)).expect("free slots");
        }
        world.meet(0, 1);
        world.meet(2, 3);
        world.run(Duration::from_secs(5));
        world.meet(0, 2);
        world.run_until("one owner per slot", Duration::from_secs(30), World::agrees_and_is_ok);
    }
}

/// Two operators, or one who is quick: both take the same epoch, and neither loses anything by it.
#[test]
fn nodes_that_bump_their_epochs_at_once_end_with_epochs_of_their_own() {
    for seed in 0..10 {
        let mut world = World::new(seed, 5);
        world.checkers.operators_are_at_work = true;
        world.form(5);
        let slots = |world: &World| -> Vec<SlotSet> {
            let own = |host: &crate::world::Host| host.member.view().myself().slots().clone();
            world.hosts.iter().map(own).collect()
        };
        let before = slots(&world);
        let epoch =
            |world: &World, host: usize| world.hosts[host].member.view().myself().config_epoch;
        let highest = (0..5).map(|host| epoch(&world, host)).max();
        // Those that do not have the highest yet.
        let bumping: Vec<usize> =
            (0..5).filter(|&host| Some(epoch(&world, host)) != highest).collect();
        for host in &bumping {
            world.apply(*host, Change::BumpEpoch).expect("always taken");
        }
        assert_eq!(epoch(&world, bumping[0]), epoch(&world, bumping[1]), "nobody has heard of it");
        world.run_until("epochs of their own", Duration::from_secs(10), |world| {
            let epochs: std::collections::BTreeSet<Epoch> =
                (0..5).map(|host| epoch(world, host)).collect();
            epochs.len() == 5 && world.agrees_and_is_ok()
        });
        assert!(bumping.iter().all(|host| Some(epoch(&world, *host)) > highest));
        assert_eq!(slots(&world), before, "seed {seed}");
    }
}

/// A tool raises the owner's epoch, and then gives the slot to its importer. What the tool was told at the
/// one node is on its way to the other; when it is there first, the importer's claim is the newer one.
#[test]
fn a_slot_is_its_importers_where_its_owner_has_bumped_its_epoch_just_before() {
    for seed in 0..20 {
        let mut world = World::new(seed, 4);
        world.checkers.operators_are_at_work = true;
        world.form(3);
        let (from, to) = (world.id(0).to_string(), world.id(3).to_string());
        let moving = slot(17);
        world.apply(3, Change::Importing(moving, from)).expect("not its own");
        world.apply(0, Change::Migrating(moving, to.clone())).expect("its own");
        world.apply(0, Change::BumpEpoch).expect("always taken");
        // The longest that a packet of this world takes.
        world.run(Duration::from_millis(20));
        let assign = || Change::Assign { slot: moving, node: to.clone(), has_keys: false };
        world.apply(3, assign()).expect("it imports it");
        let epoch = |host: usize| world.hosts[host].member.view().myself().config_epoch;
        assert!(epoch(3) > epoch(0), "seed {seed}");
        world.run(Duration::from_millis(50));
        world.apply(0, assign()).expect("it has no keys of it");
        world.run_until("it has moved", Duration::from_secs(5), |world| {
            world.agrees_and_is_ok()
                && world.hosts.iter().all(|host| {
                    let view = host.member.view();
                    view.owner(moving).is_some_and(|key| view.node(key).id.to_string() == to)
                })
        });
    }
}

#[test]
fn a_slot_that_was_moved_belongs_to_its_importer_everywhere() {
    let mut world = World::new(3, 4);
    world.form(3);
    let (from, to) = (world.id(0).to_string(), world.id(3).to_string());
    let moving = slot(17);
    world.apply(3, Change::Importing(moving, from)).expect("not its own");
    world.apply(0, Change::Migrating(moving, to.clone())).expect("its own");
    world.run(Duration::from_secs(2));
    assert!(world.hosts[0].member.view().is_open(moving));
    assert!(world.disk(0).contains(&format!("[17->-{to}]")));
    for host in [3, 0] {
        let change = Change::Assign { slot: moving, node: to.clone(), has_keys: false };
        world.apply(host, change).expect("an empty slot");
    }
    let moved = |world: &World| {
        let owner = world.id(3);
        world.agrees_and_is_ok()
            && world.hosts.iter().all(|host| {
                let view = host.member.view();
                view.owner(moving).is_some_and(|key| view.node(key).id == owner)
            })
    };
    world.run_until("the slot has moved", Duration::from_secs(5), moved);
    assert!(!world.hosts[0].member.view().is_open(moving));
}

#[test]
fn a_node_comes_back_as_who_it_was() {
    let mut world = World::new(11, 4);
    world.form(3);
    let id = world.id(1);
    world.crash(1);
    world.run(Duration::from_secs(1));
    world.restart(1);
    assert_eq!(world.id(1), id);
    assert_eq!(world.hosts[1].member.view().myself().slot_count(), 5461);
    assert!(!world.hosts[1].member.view().state_ok, "it waits before it takes writes");
    world.run_until("it is back", Duration::from_secs(20), World::agrees_and_is_ok);
}

#[test]
fn a_dead_primary_is_failed_by_the_majority_and_cleared_when_it_is_back() {
    let mut world = World::new(5, 5);
    world.form(5);
    world.crash(4);
    let failed = |world: &World| {
        (0..4).all(|seer| flags_of(world, seer, 4).is_some_and(|flags| flags.any(NodeFlags::FAIL)))
    };
    let took = world.run_until("it is failed", Duration::from_secs(10), failed);
    assert!(took < NODE_TIMEOUT * 2 + Duration::from_secs(1), "it took {took:?}");
    assert!((0..4).all(|host| !world.hosts[host].member.view().state_ok), "slots are not covered");
    world.restart(4);
    world.run_until("it is cleared", Duration::from_secs(30), World::agrees_and_is_ok);
}

#[test]
fn one_node_that_cannot_reach_another_does_not_fail_it() {
    let mut world = World::new(6, 5);
    world.form(5);
    world.cut_one_way(1, 0);
    for _ in 0..100 {
        world.run(Duration::from_millis(100));
        for seer in 0..5 {
            let flags = flags_of(&world, seer, 1).expect("it is known");
            assert!(!flags.any(NodeFlags::FAIL), "{seer} believes one voice");
        }
    }
    world.heal();
    world.run_until("all is well", Duration::from_secs(30), World::agrees_and_is_ok);
}

#[test]
fn the_minority_stops_and_comes_back_after_the_partition() {
    let mut world = World::new(9, 5);
    world.form(5);
    world.partition(&[0, 1]);
    let stopped = |world: &World| {
        [0, 1].iter().all(|&host: &usize| !world.hosts[host].member.view().state_ok)
    };
    let took = world.run_until("the minority stops", Duration::from_secs(10), stopped);
    assert!(took <= NODE_TIMEOUT + Duration::from_secs(2), "it took {took:?}");
    world.run(Duration::from_secs(10));
    world.heal();
    world.run_until("all is well", Duration::from_secs(60), World::agrees_and_is_ok);
}
