//! The table against std's map, and its scan under every interleaving.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, PartialEq, Eq)]
struct Pair(Vec<u8>, u32);

impl Keyed for Pair {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

fn table() -> Table<Pair> {
    Table::new(Hasher::new(1, 2))
}

fn pair(n: u32) -> Pair {
    Pair(n.to_string().into_bytes(), n)
}

/// A step of a random number generator good enough for tests.
fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn a_bucket_of_pointers_is_one_cache_line() {
    assert_eq!(size_of::<Bucket<Box<u64>>>(), 64);
}

#[test]
fn no_step_of_a_growing_table_moves_more_than_its_share() {
    let mut table = table();
    for n in 0..200_000 {
        let before = table.moved;
        table.insert_new(pair(n));
        let moved = table.moved.saturating_sub(before);
        assert!(moved <= 1 + EMPTY_MAX, "{moved} buckets moved by one insertion");
    }
    assert_eq!(table.iter().count(), 200_000);
}

#[test]
fn a_table_that_lost_its_entries_gives_its_memory_back() {
    let mut table = table();
    for n in 0..100_000 {
        table.insert_new(pair(n));
    }
    let full = table.heap_bytes();
    for n in 0..99_900 {
        table.remove(n.to_string().as_bytes());
    }
    while table.step(1) {}
    assert!(table.heap_bytes() < full / 50, "{} of {full} bytes", table.heap_bytes());
    assert_eq!(table.len(), 100);
}

#[test]
fn every_entry_is_picked_about_as_often_as_any_other() {
    let mut table = table();
    for n in 0..100 {
        table.insert_new(pair(n));
    }
    let mut state = 7;
    let mut picks = [0u32; 100];
    for _ in 0..100_000 {
        let picked = table.random(|| xorshift(&mut state)).expect("not empty");
        picks[picked.1 as usize] += 1;
    }
    let (least, most) = (picks.iter().min().unwrap(), picks.iter().max().unwrap());
    assert!(*least > 700 && *most < 1300, "between {least} and {most}; 1000 expected");
}

#[test]
fn a_pick_ends_in_a_table_that_is_all_but_empty() {
    let mut table = table();
    for n in 0..50_000 {
        table.insert_new(pair(n));
    }
    // Emptied without the steps that removals take: the worst that a shrink can start from.
    for n in 1..50_000 {
        let hash = table.hasher.hash(n.to_string().as_bytes());
        let side = if table.waits(hash) { &mut table.old } else { &mut table.new };
        let index = (hash & side.mask()) as usize;
        let bucket = side.get_mut(index).unwrap();
        let nth = bucket.position(tag(hash), n.to_string().as_bytes()).unwrap();
        bucket.remove(nth);
    }
    table.len = 1;
    let mut state = 7;
    assert_eq!(table.random(|| xorshift(&mut state)), Some(&pair(0)));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    Remove(u32),
    InsertMany(u32, u32),
    RemoveMany(u32, u32),
    Step(usize),
    Scan,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0u32..3000).prop_map(Op::Insert),
        3 => (0u32..3000).prop_map(Op::Remove),
        1 => (0u32..2000, 1u32..1000).prop_map(|(from, n)| Op::InsertMany(from, n)),
        1 => (0u32..2000, 1u32..1000).prop_map(|(from, n)| Op::RemoveMany(from, n)),
        1 => (1usize..50).prop_map(Op::Step),
        6 => Just(Op::Scan),
    ];
    proptest::collection::vec(op, 1..120)
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds(ops in ops()) {
        let mut table = table();
        let mut model = BTreeMap::new();
        let insert = |table: &mut Table<Pair>, model: &mut BTreeMap<u32, u32>, n: u32| {
            assert_eq!(table.insert(pair(n)).map(|p| p.1), model.insert(n, n));
        };
        let remove = |table: &mut Table<Pair>, model: &mut BTreeMap<u32, u32>, n: u32| {
            let removed = table.remove(n.to_string().as_bytes());
            assert_eq!(removed.map(|p| p.1), model.remove(&n));
        };
        for op in ops {
            match op {
                Op::Insert(n) => insert(&mut table, &mut model, n),
                Op::Remove(n) => remove(&mut table, &mut model, n),
                Op::InsertMany(from, n) => {
                    (from..from + n).for_each(|n| insert(&mut table, &mut model, n));
                }
                Op::RemoveMany(from, n) => {
                    (from..from + n).for_each(|n| remove(&mut table, &mut model, n));
                }
                Op::Step(n) => { table.step(n); }
                Op::Scan => {}
            }
            prop_assert_eq!(table.len(), model.len());
        }
        let held: BTreeSet<u32> = table.iter().map(|p| p.1).collect();
        prop_assert_eq!(held, model.keys().copied().collect::<BTreeSet<_>>());
        for n in 0..3000 {
            let found = table.get(n.to_string().as_bytes()).map(|p| p.1);
            prop_assert_eq!(found, model.get(&n).copied());
        }
    }

    /// Entries 0 to 99 stay; everything else comes and goes between the steps of a scan.
    #[test]
    fn what_stays_during_a_scan_is_returned_by_it(start in 0u32..3000, ops in ops()) {
        let mut table = table();
        for n in (0..100).chain(10_000..10_000 + start) {
            table.insert_new(pair(n));
        }
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        let mut ops = ops.into_iter().cycle();
        for calls in 0.. {
            prop_assert!(calls < 100_000, "the scan does not end");
            cursor = table.scan(cursor, |p| { seen.insert(p.1); });
            if cursor == 0 {
                break;
            }
            match ops.next().expect("a cycle does not end") {
                Op::Insert(n) => { table.insert(pair(10_000 + n)); }
                Op::Remove(n) => { table.remove((10_000 + n).to_string().as_bytes()); }
                Op::InsertMany(from, n) => {
                    (from..from + n).for_each(|n| { table.insert(pair(10_000 + n)); });
                }
                Op::RemoveMany(from, n) => {
                    let gone = from..from + 4 * n;
                    gone.for_each(|n| { table.remove((10_000 + n).to_string().as_bytes()); });
                }
                Op::Step(n) => { table.step(n); }
                Op::Scan => {}
            }
        }
        let missed: Vec<u32> = (0..100).filter(|n| !seen.contains(n)).collect();
        prop_assert!(missed.is_empty(), "missed {:?}", missed);
    }
}

#[test]
fn entries_are_drawn_evenly_and_taken_out_at_their_place_while_the_table_shrinks() {
    let mut random = crate::store::Random::new(4);
    let mut table = table();
    for n in 0..4_000 {
        table.insert_new(pair(n));
    }
    // Drawn until few are left, through several resizes: those that stay are drawn evenly too.
    let mut sum = 0u64;
    let taken = 3_900;
    for _ in 0..taken {
        let place = table.random_place(|| random.next()).unwrap();
        sum += u64::from(table.remove_at(place).1);
        assert!(table.len() == table.iter().count() || !table.len().is_multiple_of(97));
    }
    let mean = sum / taken;
    assert!((1_900..2_100).contains(&mean), "{mean}");
    let buckets = table.buckets();
    assert!(buckets.0 + buckets.1 <= 256, "{buckets:?}");
}
