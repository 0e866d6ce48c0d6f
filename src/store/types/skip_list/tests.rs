use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn a_node_takes_32_bytes() {
    assert_eq!((size_of::<Node>(), size_of::<Stop>()), (32, 16));
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
        let mut list = SkipList::new(Hasher::new(seed, 1));
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
                    let old = list.update(&member, f64::from(score));
                    prop_assert_eq!(old, model.insert(member.clone(), score).map(f64::from));
                    if old.is_none() {
                        list.insert(&member, f64::from(score));
                    }
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
        list.check();
        let expected = sorted(&model);
        let listed: Vec<(i8, Vec<u8>)> =
            list.iter_from(0, false).map(|(m, s)| (s as i8, m.to_vec())).collect();
        prop_assert_eq!(&listed, &expected);
        for (rank, (score, member)) in expected.iter().enumerate() {
            prop_assert_eq!(list.rank(f64::from(*score), member), rank);
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
    let mut list = SkipList::new(Hasher::new(3, 4));
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
