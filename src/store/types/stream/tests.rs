use super::*;
use crate::store::garbage::FREE_INLINE_MAX;
use proptest::prelude::*;

fn append(stream: &mut Stream, limits: StreamLimits, id: StreamId, fields: &[&[u8]]) {
    StreamMut::new(stream, limits).append(id, fields.len() / 2, |index| fields[index]);
}

fn id(number: u64) -> StreamId {
    StreamId::new(number / 3, number % 3)
}

fn texts(entry: &StreamEntry<'_>) -> Vec<Vec<u8>> {
    let mut buffer = itoa::Buffer::new();
    entry
        .fields()
        .flat_map(|(name, value)| [name, value])
        .map(|item| item.bytes(&mut buffer).to_vec())
        .collect()
}

/// DUMP of Redis 7.0.15 after `XADD s 1-1 a 1 b x`, `XADD s 1-5 a 300 b y`, `XADD s 2-0 c z`,
/// `XDEL s 1-5`.
#[test]
fn a_node_has_the_bytes_of_redis() {
    let mut stream = Stream::new();
    let limits = StreamLimits::default();
    append(&mut stream, limits, StreamId::new(1, 1), &[b"a", b"1", b"b", b"x"]);
    append(&mut stream, limits, StreamId::new(1, 5), &[b"a", b"300", b"b", b"y"]);
    append(&mut stream, limits, StreamId::new(2, 0), &[b"c", b"z"]);
    assert!(stream.log.remove(StreamId::new(1, 5)));
    let (master, node) = stream.log.nodes().next().expect("there is one");
    assert_eq!(master, StreamId::new(1, 1));
    let hex: String = node.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, NODE);
}

const NODE: &str = "410000001900020101010201816102816202000102010001000101018178020501\
    030100010401c12c02817902050100010101dfff020101816302817a020601ff";

#[test]
fn a_full_node_is_followed_by_another() {
    let mut stream = Stream::new();
    let limits = StreamLimits { node_bytes: 0, node_entries: 3 };
    (1..=7).for_each(|number| append(&mut stream, limits, id(number), &[b"f", b"v"]));
    assert_eq!(stream.log.node_count(), 3);
    let masters: Vec<StreamId> = stream.log.nodes().map(|(master, _)| master).collect();
    assert_eq!(masters, [id(1), id(4), id(7)]);
    // Entries that were deleted fill their node, too; a node without any goes.
    assert!(stream.log.remove(id(7)));
    assert_eq!(stream.log.node_count(), 2);
    append(&mut stream, limits, id(8), &[b"f", b"v"]);
    assert_eq!(stream.log.node_count(), 3);
    assert_eq!(stream.log.figures().max_deleted_id, id(7));
    assert_eq!(stream.log.figures().entries_added, 8);
}

#[test]
fn nodes_that_are_trimmed_in_numbers_are_given_back_to_be_freed_elsewhere() {
    let limits = StreamLimits { node_bytes: 0, node_entries: 3 };
    for trim in [Trim::MaxLen(2), Trim::MaxLen(900), Trim::MinId(id(700))] {
        let mut stream = Stream::new();
        (1..=1200).for_each(|number| append(&mut stream, limits, id(number), &[b"f", b"v"]));
        let mut all = stream.clone();
        let few = all.log.trim(Trim::MaxLen(1150), true, 0);
        assert_eq!((few.entries, few.waste().is_some()), (50, false));
        let trimmed = stream.log.trim(trim, true, 0);
        let left = 1200 - trimmed.entries;
        assert_eq!(left, if let Trim::MaxLen(max) = trim { max } else { 501 });
        let waste = trimmed.waste().map_or(0, |waste| waste.free_effort());
        assert_eq!(waste > FREE_INLINE_MAX, left < 900, "{waste} nodes of {trim:?}");
        assert_eq!((stream.log.len(), stream.log.iter().count()), (left, left));
        assert_eq!(stream.log.figures().first_id, stream.log.iter().next().expect("some").id);
    }
}

#[test]
fn a_long_field_begins_a_node_of_its_own() {
    let mut stream = Stream::new();
    let limits = StreamLimits { node_bytes: 100, node_entries: 0 };
    append(&mut stream, limits, id(1), &[b"f", b"v"]);
    append(&mut stream, limits, id(2), &[b"f", &[b'v'; 100]]);
    append(&mut stream, limits, id(3), &[b"f", b"v"]);
    assert_eq!(stream.log.node_count(), 3);
}

/// What a stream must hold, kept simply.
#[derive(Default)]
struct Model {
    entries: BTreeMap<StreamId, Vec<Vec<u8>>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_it_was_given(
        steps in proptest::collection::vec((0u8..10, 0u64..150, 0usize..4), 1..150),
        node_entries in 1usize..8,
    ) {
        let limits = StreamLimits { node_bytes: 90, node_entries };
        let (mut stream, mut model, mut last) = (Stream::new(), Model::default(), 0);
        for (what, number, fields) in steps {
            match what {
                0..6 => {
                    last += 1 + number % 3;
                    let texts = [b"f0", &b"f1"[..], b"13", b"-70000"];
                    let fields = [&texts[..], &texts[fields..], &texts[..fields]].concat();
                    append(&mut stream, limits, id(last), &fields);
                    let fields = fields.iter().map(|text| text.to_vec()).collect();
                    model.entries.insert(id(last), fields);
                }
                6..8 => {
                    let removed = model.entries.remove(&id(number)).is_some();
                    prop_assert_eq!(stream.log.remove(id(number)), removed);
                }
                8 => {
                    let max = number as usize % 20;
                    let removed = stream.log.trim(Trim::MaxLen(max), true, 0).entries;
                    prop_assert_eq!(removed, model.entries.len().saturating_sub(max));
                    (0..removed).for_each(|_| drop(model.entries.pop_first()));
                }
                _ => {
                    let removed = stream.log.trim(Trim::MinId(id(number)), true, 0).entries;
                    let kept = model.entries.split_off(&id(number));
                    prop_assert_eq!(removed, model.entries.len());
                    model.entries = kept;
                }
            }
            let first = model.entries.keys().next().copied().unwrap_or_default();
            prop_assert_eq!(stream.log.figures().first_id, first);
            prop_assert_eq!(stream.log.len(), model.entries.len());
        }
        for (from, to) in [(0, 500), (3, 60), (61, 62), (80, 20)] {
            let expected: Vec<_> = match from <= to {
                true => model.entries.range(id(from)..=id(to)).collect(),
                false => Vec::new(),
            };
            let entries: Vec<_> = stream.log.range(id(from), id(to)).collect();
            prop_assert_eq!(entries.len(), expected.len());
            for (entry, (id, fields)) in entries.iter().zip(&expected) {
                prop_assert_eq!((entry.id, &texts(entry)), (**id, *fields));
                prop_assert!(stream.log.contains(**id));
            }
            let mut back: Vec<StreamId> =
                stream.log.range_back(id(from), id(to)).map(|entry| entry.id).collect();
            back.reverse();
            prop_assert_eq!(back, entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
        }
        let mut copy = Log::default();
        for (master, list) in stream.log.nodes() {
            prop_assert!(copy.push_node(master, list.clone()));
        }
        prop_assert!(copy.set_figures(stream.log.figures()));
        prop_assert_eq!(copy.iter().count(), stream.log.len());
    }
}
