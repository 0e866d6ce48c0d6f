//! What becomes of readings, in whatever order and from whomever they come.

use super::*;
use crate::cluster::ViewNode;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn view(lines: &[(&str, u16, u64, &str)]) -> View {
    let text: String = lines
        .iter()
        .enumerate()
        .map(|(i, (id, port, epoch, slots))| {
            let myself = if i == 0 { "myself,master" } else { "master" };
            format!("{id} 127.0.0.1:{port}@1{port} {myself} - 0 0 {epoch} connected {slots}\n")
        })
        .collect();
    View::parse(&text, "127.0.0.1").expect("valid")
}

fn at(port: u16) -> Endpoint {
    Endpoint::new("127.0.0.1", port)
}

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("in range")
}

fn owner(map: &ClusterMap, number: u16) -> Option<u16> {
    let topology = map.current().load();
    topology.owner(slot(number)).map(|node| topology.node(node).endpoint.port)
}

struct Clock(Instant);

impl Clock {
    fn tick(&mut self) -> Instant {
        self.0 += Duration::from_millis(1);
        self.0
    }
}

#[allow(clippy::disallowed_methods, reason = "tests need some start")]
fn clock() -> Clock {
    Clock(Instant::now())
}

#[test]
fn a_reading_never_undoes_what_was_learned_after_it_began() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let both = view(&[(A, 7000, 1, "0-99"), (B, 7001, 2, "100-16383")]);
    map.publish(&both, &at(7000), clock.tick(), clock.tick());
    let began = clock.tick();
    assert!(map.learn(slot(5), &at(7001), clock.tick()));
    assert!(!map.learn(slot(5), &at(7001), clock.tick()), "the same again is nothing new");
    assert_eq!(map.publish(&both, &at(7000), began, clock.tick()), Reading::Unchanged);
    assert_eq!(owner(&map, 5), Some(7001));
    let changed = map.publish(&both, &at(7000), clock.tick(), clock.tick());
    let text = "slots 5-5: 127.0.0.1:7001 -> 127.0.0.1:7000";
    assert_eq!(changed, Reading::Changed(vec![text.to_owned()]));
}

/// Slot 5 is at A by a claim of epoch 3; then something is learned, and then somebody tells something.
#[test]
fn of_two_stories_of_a_slot_the_one_is_believed_whose_teller_must_know() {
    const C: &str = "cccccccccccccccccccccccccccccccccccccccc";
    let (a, b, c) = (7000, 7001, 7002);
    // What a node tells: where slot 5 is, and the epochs of A and B.
    let tells = |by: u16, at_b: bool, epochs: (u64, u64)| {
        let slots = if at_b { ("0-4 6-99", "5 100-199") } else { ("0-99", "100-199") };
        let mut rows =
            [(A, a, epochs.0, slots.0), (B, b, epochs.1, slots.1), (C, c, 1, "200-16383")];
        let first = rows.iter().position(|row| row.1 == by).expect("one of the three");
        rows.swap(0, first);
        view(&rows)
    };
    let (moved, own_word) = ("a MOVED to B", "B says that it has it");
    let rows = [
        ("a third node repeats what is old", moved, c, false, (3, 2), 1, b),
        ("so it does after B has said so", own_word, c, false, (3, 3), 1, b),
        ("it has heard", moved, c, true, (3, 2), 1, b),
        ("A says that it has it", moved, a, false, (3, 2), 1, a),
        ("A says so, and B has said otherwise", own_word, a, false, (3, 3), 1, a),
        ("B says that it has it not", moved, b, false, (3, 2), 1, a),
        ("A has made a claim since", moved, c, false, (4, 2), 1, a),
        ("so it has after B had said so", own_word, c, false, (4, 3), 1, a),
        ("a third node has not heard for too long", moved, c, false, (3, 2), 15_000, a),
    ];
    for (name, learned, by, at_b, epochs, after, expected) in rows {
        let (map, mut clock) = (ClusterMap::default(), clock());
        // B's claim is as old as A's where it tells of it, else the change would be doubted.
        let before = if learned == own_word { (3, 3) } else { (3, 2) };
        map.publish(&tells(c, false, before), &at(c), clock.tick(), clock.tick());
        if learned == own_word {
            map.publish(&tells(b, true, before), &at(b), clock.tick(), clock.tick());
        } else {
            assert!(map.learn(slot(5), &at(b), clock.tick()));
        }
        assert_eq!(owner(&map, 5), Some(b), "{name}");
        clock.0 += Duration::from_millis(after);
        map.publish(&tells(by, at_b, epochs), &at(by), clock.tick(), clock.tick());
        assert_eq!(owner(&map, 5), Some(expected), "{name}");
        assert_eq!((owner(&map, 4), owner(&map, 100)), (Some(a), Some(b)), "{name}: the others");
    }
}

/// Two primaries of one epoch settle that among themselves some time after a cluster was made. Clients
/// that keep values would be told to forget all of them.
#[test]
fn another_epoch_of_the_same_owners_is_not_another_map() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let before = view(&[(A, 7000, 1, "0-99"), (B, 7001, 1, "100-16383")]);
    map.publish(&before, &at(7000), clock.tick(), clock.tick());
    let generation = map.current().load().generation();
    let after = view(&[(A, 7000, 1, "0-99"), (B, 7001, 2, "100-16383")]);
    let reading = map.publish(&after, &at(7000), clock.tick(), clock.tick());
    assert_eq!(reading, Reading::Unchanged);
    let topology = map.current().load();
    assert_eq!(topology.generation(), generation);
    let node = topology.owner(slot(500)).expect("an owner");
    assert_eq!(topology.node(node).config_epoch, Epoch(2), "it is shown all the same");
}

#[test]
fn each_node_tells_the_same_map_in_an_order_of_its_own() {
    let map = ClusterMap::default();
    let lines = [(A, 1, 1, "0-9"), (B, 2, 2, "10-19")];
    let mut clock = clock();
    let mut read = |lines: &[_], from| {
        let (began, ended) = (clock.tick(), clock.tick());
        map.publish(&view(lines), &at(from), began, ended)
    };
    assert!(matches!(read(&lines, 1), Reading::Changed(_)));
    let generation = map.current().load().generation();
    assert_eq!(read(&[lines[1], lines[0]], 2), Reading::Unchanged);
    assert_eq!(map.current().load().generation(), generation);
    assert_eq!((owner(&map, 0), owner(&map, 10)), (Some(1), Some(2)));
}

/// The worst that slots can be spread: a thousand nodes, none of which has two slots side by side.
#[test]
#[allow(clippy::disallowed_methods, reason = "it is about time that passes")]
fn a_thousand_nodes_and_as_many_ranges_as_slots_are_read_at_once() {
    const NODES: usize = 1_000;
    let line = |node: usize, myself: usize| {
        let flags = if node == myself { "myself,master" } else { "master" };
        let slots = (node..Slot::COUNT).step_by(NODES);
        let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
        let port = 7000 + node;
        let slots = slots.join(" ");
        format!("{node:040x} 127.0.0.1:{port}@1{port} {flags} - 0 0 {node} connected {slots}\n")
    };
    let first: String = (0..NODES).map(|node| line(node, 0)).collect();
    let another: String = (0..NODES).rev().map(|node| line(node, 7)).collect();
    let map = ClusterMap::default();
    let (mut clock, begun) = (clock(), std::time::Instant::now());
    for (text, from) in [(&first, 7000), (&another, 7007)] {
        let view = View::parse(text, "127.0.0.1").expect("valid");
        let reading = map.publish(&view, &at(from), clock.tick(), clock.tick());
        assert_eq!(reading == Reading::Unchanged, from != 7000);
    }
    let took = begun.elapsed() / 2;
    println!("measured: a reading of {NODES} nodes and 16,384 ranges took {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(
        (0..Slot::COUNT)
            .step_by(997)
            .all(|number| { owner(&map, number as u16) == Some(7000 + (number % NODES) as u16) })
    );
}

#[test]
fn a_redirect_to_an_unknown_node_adds_it() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let alone = view(&[(A, 7000, 1, "0-16383")]);
    map.publish(&alone, &at(7000), clock.tick(), clock.tick());
    let generation = map.current().load().generation();
    assert!(map.learn(slot(5), &at(7009), clock.tick()));
    assert_eq!((owner(&map, 5), owner(&map, 6)), (Some(7009), Some(7000)));
    assert!(map.current().load().generation() > generation);
}

#[test]
fn unknown_nodes_are_limited() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    for port in 1..=200 {
        map.learn(slot(port), &at(port), clock.tick());
    }
    assert_eq!(map.current().load().nodes().len(), UNKNOWN_NODES_MAX);
}

#[test]
fn an_older_story_is_believed_only_when_everyone_tells_it() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let good = view(&[(A, 7000, 5, "0-99"), (B, 7001, 6, "100-16383")]);
    map.publish(&good, &at(7000), clock.tick(), clock.tick());
    // A node that was cut off still thinks that it owns everything, at an old epoch.
    let stale = view(&[(B, 7001, 2, "0-16383"), (A, 7000, 1, "")]);
    assert_eq!(map.publish(&stale, &at(7001), clock.tick(), clock.tick()), Reading::Doubted);
    assert_eq!(map.publish(&stale, &at(7001), clock.tick(), clock.tick()), Reading::Doubted);
    // One that lost its memory knows nobody.
    let empty = view(&[(A, 7000, 0, "")]);
    map.publish(&good, &at(7000), clock.tick(), clock.tick());
    assert_eq!(map.publish(&empty, &at(7000), clock.tick(), clock.tick()), Reading::Doubted);
    assert_eq!((owner(&map, 5), owner(&map, 500)), (Some(7000), Some(7001)));
    // A cluster that was reset and made again tells a new story with one voice.
    let reset = view(&[(A, 7000, 1, "100-16383"), (B, 7001, 2, "0-99")]);
    map.publish(&reset, &at(7000), clock.tick(), clock.tick());
    let told = map.publish(&reset, &at(7001), clock.tick(), clock.tick());
    assert!(matches!(told, Reading::Changed(_)));
    assert_eq!((owner(&map, 5), owner(&map, 500)), (Some(7001), Some(7000)));
}

#[test]
fn the_highest_epoch_wins_where_two_nodes_claim_a_slot() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let both = view(&[(A, 7000, 1, "0-16383"), (B, 7001, 2, "7")]);
    map.publish(&both, &at(7000), clock.tick(), clock.tick());
    assert_eq!((owner(&map, 7), owner(&map, 8)), (Some(7001), Some(7000)));
}

/// What a node tells of itself: its id, port, epoch and slots.
type Row<'a> = (&'a str, u16, u64, &'a str);

/// A walk that begins, and the slots that its next round visits, by what the nodes tell.
fn walk(map: &ClusterMap, clock: &mut Clock, told: &[Row<'_>]) -> Vec<u16> {
    const NOW: u64 = 50_000_000;
    let began = {
        let mut changes = map.changes();
        changes.tick(NOW);
        changes.begin(NOW)
    };
    let told: Vec<ViewNode> = told.iter().map(|row| view(&[*row]).nodes.remove(0)).collect();
    map.survey(&told, clock.tick());
    let topology = map.current().load();
    let changes = &mut *map.changes();
    let Some(next) = changes.next_round(&topology, began, NOW) else { return Vec::new() };
    changes.stops(&topology, next).into_iter().map(Slot::number).collect()
}

#[test]
fn what_the_nodes_tell_at_the_end_of_a_round_sends_a_walk_round_again() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let before = [(A, 7000, 1, "0-99"), (B, 7001, 2, "100-16383")];
    map.publish(&view(&before), &at(7000), clock.tick(), clock.tick());
    let rows: &[(&str, [Row<'_>; 2], &[u16])] = &[
        ("at rest", before, &[]),
        ("moved", [(A, 7000, 3, "0-100"), (B, 7001, 2, "101-16383")], &[100]),
        ("known", [(A, 7000, 3, "0-100"), (B, 7001, 2, "101-16383")], &[]),
        ("not told to A", [(A, 7000, 3, "0-100"), (B, 7001, 4, "50 101-16383")], &[16_383]),
        ("gone and back", [(A, 7000, 5, "0-49 51-100"), (B, 7001, 4, "50 101-16383")], &[100]),
        (
            "open",
            [
                (A, 7000, 5, "0-49 51-100 [7->-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb]"),
                (B, 7001, 4, "50 101-16383"),
            ],
            &[100],
        ),
    ];
    for (name, told, expected) in rows {
        assert_eq!(walk(&map, &mut clock, told), *expected, "{name}");
    }
    assert_eq!(owner(&map, 100), Some(7000), "what was told is known");
    let silent = &[(A, 7000, 5, "0-49 51-100")];
    assert_eq!(walk(&map, &mut clock, silent), [16_383, 100], "given up, and no word from B");
}

/// The old owner's epoch stays the higher one: whoever else is asked goes on to name it.
#[test]
fn a_slot_that_was_given_away_without_a_higher_epoch_sends_a_walk_round_again() {
    const C: &str = "cccccccccccccccccccccccccccccccccccccccc";
    let (map, mut clock) = (ClusterMap::default(), clock());
    let nodes = |a, b| [(C, 7002, 1, "200-16383"), (A, 7000, 5, a), (B, 7001, 2, b)];
    let before = nodes("0-99", "100-199");
    map.publish(&view(&before), &at(7002), clock.tick(), clock.tick());
    assert!(walk(&map, &mut clock, &before).is_empty());
    // One that comes back with an old claim is not believed while the owner has the slot.
    let both = nodes("0-99", "99-199");
    assert!(walk(&map, &mut clock, &both).is_empty());
    assert_eq!(owner(&map, 99), Some(7000));
    let given = nodes("0-98", "99-199");
    assert_eq!(walk(&map, &mut clock, &given), [199], "B has more");
    assert_eq!(owner(&map, 99), Some(7001));
    // C has not heard: the map stays, and walks end.
    let told = map.publish(&view(&before), &at(7002), clock.tick(), clock.tick());
    assert_eq!(told, Reading::Unchanged);
    assert!(walk(&map, &mut clock, &given).is_empty());
    assert_eq!(owner(&map, 99), Some(7001));
}

/// Its new owner had none before, and so is not asked.
#[test]
fn a_slot_that_went_to_nobody_that_is_known_sends_a_walk_round_until_it_is_heard_of() {
    let (map, mut clock) = (ClusterMap::default(), clock());
    let before = [(A, 7000, 5, "0-16383")];
    map.publish(&view(&before), &at(7000), clock.tick(), clock.tick());
    assert!(walk(&map, &mut clock, &before).is_empty());
    let given = [(A, 7000, 5, "0-99 101-16383")];
    for _ in 0..3 {
        assert_eq!(walk(&map, &mut clock, &given), [16_383], "B is not known");
        assert!(map.take_refresh_wanted());
    }
    let after = [(A, 7000, 5, "0-99 101-16383"), (B, 7001, 6, "100")];
    map.publish(&view(&after), &at(7000), clock.tick(), clock.tick());
    assert!(walk(&map, &mut clock, &after).is_empty(), "a walk that begins now visits B");
    // One that belongs to nobody is not waited for for ever.
    let nobody = [(A, 7000, 5, "0-98 101-16383"), (B, 7001, 6, "100")];
    assert_eq!(walk(&map, &mut clock, &nobody).len(), 1);
    clock.0 += HEARSAY_MAX;
    assert!(walk(&map, &mut clock, &nobody).is_empty());
}

#[test]
fn the_lowest_version_counts() {
    let map = ClusterMap::default();
    for (port, version) in [(1, "7.2.4"), (2, "7.0.15"), (3, "10.0.0")] {
        map.set_version(&at(port), version);
    }
    assert_eq!(map.lowest_version().as_deref(), Some("7.0.15"));
}
