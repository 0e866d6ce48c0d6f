use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn a_node_takes_24_bytes() {
    assert_eq!(size_of::<Node>(), 24);
}

#[derive(Clone, Debug)]
enum Change {
    Put(u16, i8),
    Remove(u16),
    RemoveRanks(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0u16..400, -3i8..3).prop_map(|(member, score)| Change::Put(member, score)),
        3 => (0u16..400).prop_map(Change::Remove),
        1 => (0usize..300, 0usize..40).prop_map(|(at, count)| Change::RemoveRanks(at, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_sorted_list_with_ranks_whatever_is_done_to_it(
        changes in proptest::collection::vec(change(), 0..600),
        seed: u64,
    ) {
        let mut list = Ranking::new(Hasher::new(seed, 1));
        let mut model: BTreeMap<Vec<u8>, i8> = BTreeMap::new();
        let sorted = |model: &BTreeMap<Vec<u8>, i8>| {
            let mut all: Vec<(i8, Vec<u8>)> =
                model.iter().map(|(member, score)| (*score, member.clone())).collect();
            all.sort();
            all
        };
        for change in changes {
            match change {
                Change::Put(member, score) => {
                    let member = member.to_string().into_bytes();
                    let old = list.set(&member, f64::from(score));
                    prop_assert_eq!(old, model.insert(member, score).map(f64::from));
                }
                Change::Remove(member) => {
                    let member = member.to_string().into_bytes();
                    let old = list.remove(&member);
                    prop_assert_eq!(old, model.remove(&member).map(f64::from));
                }
                Change::RemoveRanks(rank, count) => {
                    list.remove_ranks(rank, count);
                    for (_, member) in sorted(&model).into_iter().skip(rank).take(count) {
                        model.remove(&member);
                    }
                }
            }
        }
        prop_assert_eq!(list.tree.check(&list.nodes).len(), list.len());
        let expected = sorted(&model);
        let listed: Vec<(i8, Vec<u8>)> =
            list.iter_from(0, false).map(|(m, s)| (s as i8, m.to_vec())).collect();
        prop_assert_eq!(&listed, &expected);
        for (rank, (score, member)) in expected.iter().enumerate() {
            prop_assert_eq!(list.rank(member), Some((rank, f64::from(*score))));
            prop_assert_eq!(list.score(member), Some(f64::from(*score)));
            prop_assert_eq!(list.iter_from(rank, true).next().map(|(m, _)| m), Some(&member[..]));
        }
        let mut scanned = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = list.scan(cursor, |member, _| scanned.push(member.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        scanned.sort();
        let members: Vec<Vec<u8>> = model.keys().cloned().collect();
        prop_assert_eq!(scanned, members);
    }
}

#[test]
fn a_scan_visits_what_stays_while_the_index_grows_and_shrinks() {
    let mut list = Ranking::new(Hasher::new(3, 4));
    let name = |n: usize| format!("stays{n}").into_bytes();
    (0..100).for_each(|n| list.insert(&name(n), n as f64));
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = 0;
    let mut extra = 0;
    for round in 0.. {
        cursor = list.scan(cursor, |member, _| {
            seen.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
        if round < 60 {
            for _ in 0..50 {
                list.insert(format!("goes{extra}").as_bytes(), 0.0);
                extra += 1;
            }
        } else {
            for _ in 0..50.min(extra) {
                extra -= 1;
                list.remove(format!("goes{extra}").as_bytes());
            }
        }
    }
    assert!((0..100).all(|n| seen.contains(&name(n))));
}

/// Names whose order is that of their numbers.
fn name(n: usize) -> Vec<u8> {
    format!("{n:08}").into_bytes()
}

#[test]
fn members_that_come_in_order_leave_full_leaves_behind() {
    for descending in [false, true] {
        let mut list = Ranking::new(Hasher::new(5, 6));
        for n in 0..10_000 {
            let n = if descending { 10_000 - n } else { n };
            list.insert(&name(n), n as f64);
        }
        let leaves = list.tree.leaves();
        assert_eq!(leaves.len(), 10_000usize.div_ceil(31), "descending: {descending}");
        list.tree.check(&list.nodes);
    }
}

#[test]
fn members_in_any_order_fill_leaves_to_three_quarters() {
    let mut random = crate::store::Random::new(9);
    let mut list = Ranking::new(Hasher::new(5, 6));
    for n in 0..20_000 {
        list.insert(&name(n), random.below(100_000) as f64);
    }
    let leaves = list.tree.leaves();
    let filled = 20_000.0 / (leaves.len() * 31) as f64;
    assert!(filled > 0.75, "{filled}");
    list.tree.check(&list.nodes);
}

#[test]
fn what_empties_leaves_few_of_them_and_then_nothing() {
    let mut random = crate::store::Random::new(10);
    for way in 0..3 {
        let mut list = Ranking::new(Hasher::new(5, 6));
        (0..20_000).for_each(|n| list.insert(&name(n), (n % 7) as f64));
        while list.len() > 300 {
            let rank = [0, list.len() - 1, random.below(list.len())][way];
            let (member, score) = list.iter_from(rank, false).next().expect("there are members");
            let member = member.to_vec();
            assert_eq!(list.remove(&member), Some(score));
        }
        list.tree.check(&list.nodes);
        assert!(list.tree.leaves().len() <= 300 / 8 + 1, "{:?}", list.tree.leaves());
        list.remove_ranks(0, 300);
        assert_eq!((list.len(), list.tree.leaves().len()), (0, 0));
    }
}

#[test]
fn scores_of_either_sign_and_infinite_ones_are_in_order() {
    let scores = [f64::NEG_INFINITY, -1e300, -1.5, -f64::MIN_POSITIVE, -0.0, 0.0, 5e-324, 2.0];
    let mut list = Ranking::new(Hasher::new(5, 6));
    for (n, score) in scores.into_iter().enumerate().rev() {
        list.insert(&name(n), score);
    }
    list.insert(&name(8), f64::INFINITY);
    let listed: Vec<Vec<u8>> =
        list.iter_from(0, false).map(|(member, _)| member.to_vec()).collect();
    assert_eq!(listed, (0..9).map(name).collect::<Vec<_>>());
    // Both zeros are one score, and each is given back as it came.
    assert!(list.score(&name(4)).is_some_and(f64::is_sign_negative));
    assert_eq!(list.count_before(|score, _| score < 0.0), 4);
}
