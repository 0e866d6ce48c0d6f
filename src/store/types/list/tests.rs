use super::*;
use proptest::prelude::*;

fn texts<'a>(elements: impl Iterator<Item = Item<'a>>) -> Vec<Vec<u8>> {
    elements.map(|item| item.bytes(&mut itoa::Buffer::new()).to_vec()).collect()
}

fn pushed(limit: ListLimit, elements: &[&[u8]]) -> List {
    let mut list = List::new();
    let mut change = ListMut::new(&mut list, limit);
    for element in elements {
        change.make_room_for(std::iter::once(*element));
        change.push(End::Tail, element);
    }
    list
}

fn node_lengths(list: &List) -> Vec<usize> {
    list.listpacks().map(Listpack::len).collect()
}

#[test]
fn the_directive_counts_elements_or_names_a_size() {
    for (value, limit) in [
        (-1, ListLimit::Bytes(4096)),
        (-2, ListLimit::Bytes(8192)),
        (-5, ListLimit::Bytes(65_536)),
        (-6, ListLimit::Bytes(65_536)),
        (i64::MIN, ListLimit::Bytes(65_536)),
        (0, ListLimit::Elements(1)),
        (128, ListLimit::Elements(128)),
        (1 << 40, ListLimit::Elements(32_767)),
    ] {
        assert_eq!(ListLimit::of_directive(value), limit, "{value}");
    }
}

/// The lengths at which Valkey 9.1.2 changes the encoding, with its default limit of 8 KiB.
#[test]
fn a_list_is_a_listpack_up_to_the_limit_and_again_below_half_of_it() {
    let element = [b'a'; 1000];
    let mut list = pushed(ListLimit::default(), &[&element[..]; 8]);
    assert_eq!(list.encoding(), "listpack");
    let mut change = ListMut::new(&mut list, ListLimit::default());
    // 8,039 bytes are there.
    change.make_room_for(std::iter::once(&element[..153]));
    assert_eq!(change.encoding(), "listpack");
    change.make_room_for(std::iter::once(&element[..154]));
    assert_eq!(change.encoding(), "quicklist");
    for (left, encoding) in [(5, "quicklist"), (4, "listpack")] {
        drop(change.remove_range(left, usize::MAX));
        change.settle();
        assert_eq!((change.encoding(), change.len()), (encoding, left));
    }
}

/// What Valkey 9.1.2 makes of one RPUSH to a list that holds `x`: it weighs the elements' own bytes,
/// so that a listpack may pass the limit by what each takes besides. Redis 7.0.15 cuts the fourth after the
/// 132 that fit.
#[test]
fn what_one_command_adds_is_weighed_once() {
    let large = |bytes: usize, elements: usize| vec![vec![b'v'; bytes]; elements];
    for (elements, encoding, nodes) in [
        (large(7, 900), "listpack", vec![901]),
        (large(60, 130), "listpack", vec![131]),
        ([large(1308, 2), large(1820, 2), large(32, 57)].concat(), "listpack", vec![62]),
        (large(60, 136), "listpack", vec![137]),
        (large(60, 137), "quicklist", vec![132, 6]),
    ] {
        let mut list = pushed(ListLimit::default(), &[b"x"]);
        let mut change = ListMut::new(&mut list, ListLimit::default());
        change.make_room_for(elements.iter().map(Vec::as_slice));
        elements.iter().for_each(|element| change.push(End::Tail, element));
        assert_eq!((list.encoding(), node_lengths(&list)), (encoding, nodes));
    }
}

#[test]
fn nodes_that_are_cut_off_in_numbers_are_given_back_to_be_freed_elsewhere() {
    let limit = ListLimit::Elements(2);
    let mut list = pushed(limit, &[&b"x"[..]; 1001]);
    let mut change = ListMut::new(&mut list, limit);
    assert!(change.remove_range(7, 9).is_none(), "a few are freed at once");
    assert_eq!(change.len(), 992);
    let cut = change.remove_range(3, usize::MAX).expect("there are many");
    assert!(cut.free_effort() > FREE_INLINE_MAX, "{} nodes", cut.listpacks().count());
    assert_eq!((list.len(), texts(list.iter()).len()), (3, 3));
}

/// DEBUG OBJECT's ql_nodes of Redis 7.0.15 after the same commands.
#[test]
fn an_insertion_into_a_full_node_splits_it_or_finds_room_beside_it() {
    let limit = ListLimit::Elements(3);
    let letters: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
    for (pivot, after, expected) in [
        // In the middle of a full node: split, and the smaller part merges with nothing full.
        (b"b", true, vec![2, 2, 3]),
        (b"b", false, vec![2, 2, 3]),
        // Between two full nodes.
        (b"c", true, vec![3, 1, 3]),
        (b"d", false, vec![3, 1, 3]),
        (b"a", false, vec![1, 3, 3]),
        (b"f", true, vec![3, 3, 1]),
    ] {
        let mut list = pushed(limit, &letters);
        assert_eq!(node_lengths(&list), [3, 3]);
        let mut change = ListMut::new(&mut list, limit);
        assert!(change.insert(pivot, after, b"x"));
        assert_eq!(node_lengths(&list), expected, "{pivot:?} {after}");
    }
    let mut list = pushed(limit, &letters[..5]);
    let mut change = ListMut::new(&mut list, limit);
    assert!(change.insert(b"c", true, b"x"));
    assert_eq!(node_lengths(&list), [3, 3], "the node behind has room at its head");
    assert!(!ListMut::new(&mut list, limit).insert(b"none", true, b"x"));
}

#[derive(Clone, Debug)]
enum Op {
    Push(bool, Vec<u8>),
    Pop(bool),
    Insert(usize, bool, Vec<u8>),
    Set(usize, Vec<u8>),
    RemoveRange(usize, usize),
    RemoveEqual(bool, usize, usize),
    Settle,
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0i64..30).prop_map(|n| n.to_string().into_bytes()),
        2 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (0usize..3000).prop_map(|len| vec![b'x'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), element()).prop_map(|(head, e)| Op::Push(head, e)),
        2 => any::<bool>().prop_map(Op::Pop),
        4 => (any::<usize>(), any::<bool>(), element()).prop_map(|(i, a, e)| Op::Insert(i, a, e)),
        2 => (any::<usize>(), element()).prop_map(|(i, e)| Op::Set(i, e)),
        1 => (any::<usize>(), 0usize..9).prop_map(|(i, n)| Op::RemoveRange(i, n)),
        1 => (any::<bool>(), 1usize..4, any::<usize>())
            .prop_map(|(head, max, i)| Op::RemoveEqual(head, max, i)),
        1 => Just(Op::Settle),
    ]
}

fn end(head: bool) -> End {
    if head { End::Head } else { End::Tail }
}

proptest! {
    #[test]
    fn it_holds_what_a_vector_holds(
        limit in prop_oneof![Just(-1), Just(-2), Just(0), 1i64..8],
        ops in proptest::collection::vec(op(), 0..120),
    ) {
        let limit = ListLimit::of_directive(limit);
        let mut list = List::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for op in ops {
            let mut change = ListMut::new(&mut list, limit);
            match op {
                Op::Push(head, element) => {
                    change.make_room_for(std::iter::once(&element[..]));
                    change.push(end(head), &element);
                    model.insert(if head { 0 } else { model.len() }, element);
                }
                Op::Pop(head) => {
                    let popped =
                        change.pop(end(head), |i| i.bytes(&mut itoa::Buffer::new()).to_vec());
                    let expected = if model.is_empty() {
                        None
                    } else {
                        Some(model.remove(if head { 0 } else { model.len() - 1 }))
                    };
                    prop_assert_eq!(popped, expected);
                }
                Op::Insert(index, after, element) if !model.is_empty() => {
                    let pivot = model[index % model.len()].clone();
                    change.make_room_for(std::iter::once(&element[..]));
                    prop_assert!(change.insert(&pivot, after, &element));
                    let first = model.iter().position(|e| *e == pivot).unwrap();
                    model.insert(first + usize::from(after), element);
                }
                Op::Set(index, element) if !model.is_empty() => {
                    let index = index % model.len();
                    change.make_room_for(std::iter::once(&element[..]));
                    prop_assert!(change.set(index, &element));
                    model[index] = element;
                }
                Op::RemoveRange(index, count) if !model.is_empty() => {
                    let index = index % model.len();
                    drop(change.remove_range(index, count));
                    model.drain(index..model.len().min(index + count));
                }
                Op::RemoveEqual(head, max, index) if !model.is_empty() => {
                    let element = model[index % model.len()].clone();
                    let removed = change.remove_equal(end(head), max, &element);
                    let mut places: Vec<usize> =
                        (0..model.len()).filter(|&i| model[i] == element).collect();
                    if !head {
                        places.reverse();
                    }
                    places.truncate(max);
                    prop_assert_eq!(removed, places.len());
                    places.sort_unstable();
                    for place in places.into_iter().rev() {
                        model.remove(place);
                    }
                }
                Op::Settle => change.settle(),
                Op::Insert(..) | Op::Set(..) | Op::RemoveRange(..) | Op::RemoveEqual(..) => {}
            }
            prop_assert_eq!(texts(list.iter()), model.clone());
            prop_assert_eq!(list.len(), model.len());
            if matches!(list.0.get(), Form::Large(_)) {
                prop_assert!(list.listpacks().all(|node| !node.is_empty()));
            }
        }
        let last = model.len().wrapping_sub(1);
        let mut backwards = texts(list.iter_back_from(last));
        backwards.reverse();
        prop_assert_eq!(&backwards, &model);
        for (index, element) in model.iter().enumerate() {
            prop_assert_eq!(texts(list.get(index).into_iter()), [element.clone()]);
        }
        prop_assert!(list.get(model.len()).is_none());
    }

    /// Set into a node that has no room, as an element of half a gibibyte would be.
    #[test]
    fn an_element_set_apart_keeps_its_place(len in 1usize..9, index in any::<usize>()) {
        let index = index % len;
        let nodes = (0..len).map(|i| i.to_string().into_bytes()).collect::<Vec<_>>();
        let mut model = nodes.clone();
        let mut node = Listpack::new();
        nodes.iter().for_each(|element| node.push(element));
        let at = node.seek(index as i64).unwrap();
        let mut quicklist =
            Quicklist { nodes: [node].into(), len, limit: ListLimit::default() };
        quicklist.set_apart(Place { node: 0, at }, b"apart");
        model[index] = b"apart".to_vec();
        prop_assert_eq!(texts(List(CompactOr::large(quicklist)).iter()), model);
    }
}
