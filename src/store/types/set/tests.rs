use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const HASHER: Hasher = Hasher::new(1, 2);

fn texts(set: &Set) -> Vec<Vec<u8>> {
    set.iter().map(|item| item.bytes(&mut itoa::Buffer::new()).to_vec()).collect()
}

fn change(set: &mut Set, limits: SetLimits) -> SetMut<'_> {
    SetMut::new(set, limits, HASHER)
}

/// OBJECT ENCODING of Valkey 9.1.2 after the same additions.
#[test]
fn a_set_changes_its_form_where_redis_does() {
    let limits = SetLimits::default();
    let numbers = |count: usize| (0..count).map(|n| n.to_string().into_bytes());
    for (count, extra, encoding) in [
        (512, None, "intset"),
        (513, None, "hashtable"),
        (127, Some(b"text".to_vec()), "listpack"),
        (128, Some(b"text".to_vec()), "hashtable"),
        (1, Some(vec![b'x'; 64]), "listpack"),
        (1, Some(vec![b'x'; 65]), "hashtable"),
    ] {
        let mut set = Set::new();
        let mut adding = change(&mut set, limits);
        numbers(count).chain(extra.clone()).for_each(|member| {
            assert!(adding.add(&member));
        });
        assert_eq!(set.encoding(), encoding, "{count} {extra:?}");
    }
    for (first, expected, encoding) in [
        (&b"1"[..], 512, "intset"),
        (b"1", 513, "hashtable"),
        (b"a", 128, "listpack"),
        (b"a", 129, "hashtable"),
    ] {
        let set = Set::for_first(first, expected, limits, HASHER);
        assert_eq!(set.encoding(), encoding, "{expected}");
    }
}

#[test]
fn an_intset_that_becomes_a_listpack_keeps_its_order() {
    let mut set = Set::new();
    let mut adding = change(&mut set, SetLimits::default());
    for member in [&b"30"[..], b"-4", b"7", b"x", b"1"] {
        adding.add(member);
    }
    assert_eq!(texts(&set), [&b"-4"[..], b"7", b"30", b"x", b"1"]);
}

#[test]
fn every_member_is_drawn_about_as_often_as_any_other() {
    for members in [[&b"1"[..], b"2", b"3"], [b"a", b"2", b"c"], [b"a", b"b", &[b'c'; 65]]] {
        let mut set = Set::new();
        members.iter().for_each(|member| {
            change(&mut set, SetLimits::default()).add(member);
        });
        let mut random = crate::store::Random::new(7);
        let mut drawn = [0; 3];
        for _ in 0..3000 {
            let member = set.random(|| random.next()).expect("it has members");
            let member = member.bytes(&mut itoa::Buffer::new()).to_vec();
            drawn[members.iter().position(|known| *known == member).expect("a member")] += 1;
        }
        assert!(drawn.iter().all(|&times| (800..1200).contains(&times)), "{drawn:?}");
    }
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-20i64..20).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => proptest::collection::vec(any::<u8>(), 0..4),
        1 => (60usize..70).prop_map(|len| vec![b'x'; len]),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_set_holds(
        limits in (0usize..20, 0usize..20, 0usize..70),
        ops in proptest::collection::vec((0u8..8, member()), 0..150),
    ) {
        let (intset_entries, listpack_entries, listpack_value) = limits;
        let limits = SetLimits { intset_entries, listpack_entries, listpack_value };
        let mut set = Set::new();
        let mut model = BTreeSet::new();
        let mut random = crate::store::Random::new(3);
        for (op, member) in ops {
            let mut changing = change(&mut set, limits);
            match op {
                0..5 => prop_assert_eq!(changing.add(&member), model.insert(member.clone())),
                5 => prop_assert_eq!(changing.remove(&member), model.remove(&member)),
                6 => {
                    let popped = changing
                        .pop(|| random.next(), |m| m.bytes(&mut itoa::Buffer::new()).to_vec());
                    prop_assert_eq!(popped.is_some(), !model.is_empty());
                    prop_assert!(popped.is_none_or(|member| model.remove(&member)));
                }
                _ if member.len() % 2 == 0 => changing.rebuild_as_listpack(),
                _ => changing.become_intset(),
            }
            prop_assert_eq!(set.contains(&member), model.contains(&member));
            prop_assert_eq!(set.len(), model.len());
            let held: BTreeSet<Vec<u8>> = texts(&set).into_iter().collect();
            prop_assert_eq!(&held, &model);
            let copy: BTreeSet<Vec<u8>> = texts(&set.clone()).into_iter().collect();
            prop_assert_eq!(&copy, &model);
        }
        let mut scanned = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 3, |m| {
                scanned.insert(m.bytes(&mut itoa::Buffer::new()).to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(scanned, model);
    }
}
