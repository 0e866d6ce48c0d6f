use super::*;
use proptest::prelude::*;

fn of(elements: &[&[u8]]) -> Listpack {
    let mut list = Listpack::new();
    elements.iter().for_each(|element| list.push(element));
    list
}

fn texts(list: &Listpack) -> Vec<Vec<u8>> {
    list.iter().map(|item| item.bytes(&mut itoa::Buffer::new()).to_vec()).collect()
}

/// One element of each encoding, at the edges of each: the bytes of the specification.
#[test]
fn each_encoding_has_the_bytes_of_the_specification() {
    let table: &[(&[u8], &[u8])] = &[
        (b"0", &[0x00, 1]),
        (b"127", &[0x7f, 1]),
        (b"128", &[0xc0, 0x80, 2]),
        (b"4095", &[0xcf, 0xff, 2]),
        (b"-1", &[0xdf, 0xff, 2]),
        (b"-4096", &[0xd0, 0x00, 2]),
        (b"4096", &[0xf1, 0x00, 0x10, 3]),
        (b"-32768", &[0xf1, 0x00, 0x80, 3]),
        (b"32768", &[0xf2, 0x00, 0x80, 0x00, 4]),
        (b"-8388608", &[0xf2, 0x00, 0x00, 0x80, 4]),
        (b"8388608", &[0xf3, 0x00, 0x00, 0x80, 0x00, 5]),
        (b"2147483648", &[0xf4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]),
        (b"-9223372036854775808", &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]),
        (b"", &[0x80, 1]),
        (b"01", &[0x82, b'0', b'1', 3]),
    ];
    for (element, bytes) in table {
        let list = of(&[element]);
        assert_eq!(&list.as_bytes()[HEADER..list.as_bytes().len() - 1], *bytes);
        assert_eq!(texts(&list), [element.to_vec()]);
    }
}

#[test]
fn long_strings_have_long_lengths_at_both_ends() {
    for (len, head, back) in [
        (63, vec![0x80 | 63], vec![64]),
        (64, vec![0xe0, 64], vec![66]),
        (126, vec![0xe0, 126], vec![0x01, 0x80]),
        (4095, vec![0xef, 0xff], vec![0x20, 0x81]),
        (4096, vec![0xf0, 0, 0x10, 0, 0], vec![0x20, 0x85]),
        // An element of 16,383 bytes takes three bytes already.
        (16_378, vec![0xf0, 0xfa, 0x3f, 0, 0], vec![0x00, 0xff, 0xff]),
    ] {
        let element = vec![b'x'; len];
        let list = of(&[&element, b"after"]);
        let bytes = list.as_bytes();
        assert_eq!(&bytes[HEADER..HEADER + head.len()], head, "{len}");
        let end = HEADER + head.len() + len;
        assert_eq!(&bytes[end..end + back.len()], back, "{len}");
        assert_eq!(list.before(list.last().unwrap()), list.first());
    }
}

#[test]
fn a_list_beyond_its_counter_still_knows_its_length() {
    let mut list = Listpack::new();
    for _ in 0..65_534 {
        list.push(b"1");
    }
    assert_eq!((list.count(), list.len()), (65_534, 65_534));
    list.push(b"1");
    assert_eq!((list.count(), list.len()), (COUNT_UNKNOWN, 65_535));
    list.push(b"2");
    assert_eq!(list.len(), 65_536);
    assert_eq!(list.seek(65_535).map(|at| list.get(at)), Some(Item::Int(2)));
    assert_eq!(list.seek(65_536), None);
    list.remove(HEADER, 3);
    assert_eq!(list.len(), 65_533);
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        4 => (-5000i64..5000).prop_map(|n| n.to_string().into_bytes()),
        4 => proptest::collection::vec(any::<u8>(), 0..80),
        1 => (4090usize..4100).prop_map(|len| vec![b'x'; len]),
        1 => (16_370usize..16_390).prop_map(|len| vec![b'y'; len]),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_vector_holds(ops in proptest::collection::vec(prop_oneof![
        4 => (any::<usize>(), element()).prop_map(|(at, e)| Op::Insert(at, e)),
        2 => (any::<usize>(), element()).prop_map(|(at, e)| Op::Replace(at, e)),
        2 => (any::<usize>(), 0usize..4).prop_map(|(at, n)| Op::Remove(at, n)),
    ], 0..60)) {
        let mut list = Listpack::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for op in ops {
            match op {
                Op::Insert(at, element) => {
                    let at = at % (model.len() + 1);
                    let end = list.as_bytes().len() - 1;
                    list.insert(list.seek(at as i64).unwrap_or(end), &element);
                    model.insert(at, element);
                }
                Op::Replace(at, element) if !model.is_empty() => {
                    let at = at % model.len();
                    list.replace(list.seek(at as i64).unwrap(), &element);
                    model[at] = element;
                }
                Op::Remove(at, count) if !model.is_empty() => {
                    let at = at % model.len();
                    list.remove(list.seek(at as i64).unwrap(), count);
                    model.drain(at..model.len().min(at + count));
                }
                Op::Replace(..) | Op::Remove(..) => {}
            }
            prop_assert_eq!(texts(&list), model.clone());
            prop_assert_eq!(list.len(), model.len());
            let total = u32::from_le_bytes(*list.as_bytes().first_chunk().unwrap());
            prop_assert_eq!(total as usize, list.as_bytes().len());
        }
        // What was built up in steps is what is built at once: the encoding has no history.
        let fresh = of(&model.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(fresh.as_bytes(), list.as_bytes());
        for (index, element) in model.iter().enumerate() {
            let from_end = index as i64 - model.len() as i64;
            prop_assert_eq!(list.seek(index as i64), list.seek(from_end));
            let found = list.find(element, 0).expect("it is there");
            let first = model.iter().position(|e| e == element).unwrap();
            prop_assert_eq!(Some(found), list.seek(first as i64));
        }
    }
}
