//! One value on its way in: it grows by whole elements, as their bytes come, and can wait for more
//! between any two of them.

use super::error::RdbError;
use super::input::{Input, Read, Stop, Text};
use super::kind;
use super::streams::StreamBuilder;
use super::ziplist::{ziplist, zipmap};
use crate::store::entry::Entry;
use crate::store::hasher::Hasher;
use crate::store::keyspace::TypeLimits;
use crate::store::types::{
    End, Hash, HashMut, Intset, List, ListMut, Listpack, Set, SetMut, SortedSet, SortedSetMut,
};
use crate::store::value::Value;

/// What decides the form of values that are read: those of [`Keyspace::value_limits`].
///
/// [`Keyspace::value_limits`]: crate::store::Keyspace::value_limits
#[derive(Clone, Copy, Debug)]
pub struct ValueLimits {
    pub(in crate::store) types: TypeLimits,
    pub(in crate::store) hasher: Hasher,
}

/// A value that has been read.
#[derive(Debug)]
pub enum Loaded {
    /// A string that was written as a number.
    Int(i64),
    /// Any other string.
    Text(Vec<u8>),
    /// A collection.
    Value(Value),
}

impl Loaded {
    /// The value under a key.
    pub fn into_entry(self, key: &[u8], expires_at: Option<u64>) -> Entry {
        match self {
            Self::Int(number) => Entry::int(key, number, expires_at),
            Self::Text(bytes) => Entry::string(key, &bytes, expires_at),
            Self::Value(value) => Entry::object(key, value, expires_at),
        }
    }
}

/// What is known of the value so far.
#[derive(Debug)]
enum State {
    /// Nothing but its type.
    Begin(u8),
    List {
        list: List,
        left: u64,
    },
    Set {
        set: Set,
        left: u64,
    },
    Hash {
        hash: Hash,
        left: u64,
        expiring: bool,
    },
    SortedSet {
        set: SortedSet,
        left: u64,
        text: bool,
    },
    Nodes {
        nodes: Vec<Listpack>,
        left: u64,
        ziplists: bool,
    },
    Stream(Box<StreamBuilder>),
}

/// A value that is being read.
#[derive(Debug)]
pub(super) struct Builder {
    limits: ValueLimits,
    state: State,
}

fn corrupt<T>(what: &'static str) -> Read<T> {
    Err(Stop::Bad(RdbError::Corrupt(what)))
}

impl Builder {
    /// A value of this type.
    ///
    /// # Errors
    /// There is no such type, or not here.
    pub(super) fn new(kind: u8, limits: ValueLimits) -> Result<Self, RdbError> {
        match kind {
            kind::STRING..=kind::SORTED_SET
            | kind::HASH_ZIPMAP..=kind::QUICKLIST_ZIPLISTS
            | kind::HASH_LISTPACK..=kind::QUICKLIST
            | kind::SET_LISTPACK
            | kind::HASH_EXPIRING => Ok(Self { limits, state: State::Begin(kind) }),
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => {
                Ok(Self { limits, state: State::Stream(Box::new(StreamBuilder::new(kind))) })
            }
            kind::MODULE_EARLY | kind::MODULE => Err(RdbError::Unsupported("a module's value")),
            _ => Err(RdbError::Corrupt("Unknown RDB encoding type")),
        }
    }

    /// Reads on; `None` is a collection without elements. After [`Stop::More`] everything that was
    /// read is kept, and what `input` has left is to come again with more behind it.
    pub(super) fn step(&mut self, input: &mut Input<'_>) -> Read<Option<Loaded>> {
        let mut whole = input.at();
        let outcome = self.advance(input, &mut whole);
        if matches!(outcome, Err(Stop::More(_))) {
            input.back_to(whole);
        }
        outcome
    }

    /// `whole` is kept at the end of the last element that was taken.
    fn advance(&mut self, input: &mut Input<'_>, whole: &mut usize) -> Read<Option<Loaded>> {
        if let State::Begin(kind) = self.state {
            if let Some(loaded) = self.begin(kind, input)? {
                return Ok(loaded);
            }
            *whole = input.at();
        }
        let ValueLimits { types, hasher } = self.limits;
        Ok(match &mut self.state {
            State::Begin(_) => unreachable!("it has begun"),
            State::List { list, left } => {
                let mut filled = ListMut::new(list, types.list);
                while *left > 0 {
                    let element = input.string()?;
                    filled.make_room_for(std::iter::once(&*element));
                    filled.push(End::Tail, &element);
                    *left -= 1;
                    *whole = input.at();
                }
                finished(Value::List(std::mem::replace(list, List::new())))
            }
            State::Set { set, left } => {
                let mut filled = SetMut::new(set, types.set, hasher);
                while *left > 0 {
                    if !filled.add(&input.string()?) {
                        return corrupt("Duplicate set members detected");
                    }
                    *left -= 1;
                    *whole = input.at();
                }
                finished(Value::Set(std::mem::take(set)))
            }
            State::Hash { hash, left, expiring } => {
                let mut filled = HashMut::new(hash, types.hash, hasher);
                while *left > 0 {
                    let (field, value) = (input.string()?, input.string()?);
                    if *expiring && i64::from_le_bytes(input.array()?) != -1 {
                        let what = RdbError::Unsupported("a hash field that expires");
                        return Err(what.into());
                    }
                    if !filled.set(&field, &value) {
                        return corrupt("Duplicate hash fields detected");
                    }
                    *left -= 1;
                    *whole = input.at();
                }
                finished(Value::Hash(std::mem::replace(hash, Hash::new())))
            }
            State::SortedSet { set, left, text } => {
                let mut filled = SortedSetMut::new(set, types.sorted_set, hasher);
                while *left > 0 {
                    let member = input.string()?;
                    let score = if *text { input.double_text()? } else { input.double()? };
                    if score.is_nan() {
                        return corrupt("Zset with NAN score detected");
                    }
                    if filled.set(&member, score).is_some() {
                        return corrupt("Duplicate zset fields detected");
                    }
                    *left -= 1;
                    *whole = input.at();
                }
                finished(Value::SortedSet(std::mem::replace(set, SortedSet::new())))
            }
            State::Stream(builder) => {
                let stream = builder.read(input, whole)?;
                Some(Loaded::Value(Value::Stream(Box::new(stream))))
            }
            State::Nodes { nodes, left, ziplists } => {
                while *left > 0 {
                    let node = if *ziplists {
                        ziplist(&input.string()?).ok_or(RdbError::Corrupt(ZIPLIST))?
                    } else {
                        quicklist_node(input)?
                    };
                    if !node.is_empty() {
                        nodes.push(node);
                    }
                    *left -= 1;
                    *whole = input.at();
                }
                finished(Value::List(List::from_nodes(std::mem::take(nodes), types.list)))
            }
        })
    }

    /// Reads what comes before the elements, or all of a value that is one string. `Some` ends it.
    fn begin(&mut self, kind: u8, input: &mut Input<'_>) -> Read<Option<Option<Loaded>>> {
        let ValueLimits { types, hasher } = self.limits;
        let corrupt_list = RdbError::Corrupt;
        let value = match kind {
            kind::STRING => {
                return Ok(Some(Some(match input.text()? {
                    Text::Int(number) => Loaded::Int(number),
                    Text::Bytes(bytes) => Loaded::Text(bytes.into_owned()),
                })));
            }
            kind::SET_INTSET => {
                let set = Intset::parse(&input.string()?).ok_or(corrupt_list(INTSET))?;
                Value::Set(Set::from_intset(set, types.set, hasher))
            }
            kind::SET_LISTPACK => {
                let set = Set::from_listpack(listpack(input)?, types.set, hasher);
                Value::Set(set.ok_or(corrupt_list("Set listpack integrity check failed."))?)
            }
            kind::HASH_LISTPACK | kind::HASH_ZIPLIST | kind::HASH_ZIPMAP => {
                let mut limits = types.hash;
                let list = match kind {
                    kind::HASH_LISTPACK => listpack(input)?,
                    kind::HASH_ZIPLIST => ziplist(&input.string()?).ok_or(corrupt_list(ZIPLIST))?,
                    _ => {
                        let map = zipmap(&input.string()?);
                        let list = map.ok_or(corrupt_list("Zipmap integrity check failed."))?;
                        // Its writer did not know of this limit, or had another.
                        let mut buffer = itoa::Buffer::new();
                        if list.iter().any(|item| item.bytes(&mut buffer).len() > limits.value) {
                            limits.entries = 0;
                        }
                        list
                    }
                };
                let hash = Hash::from_listpack(list, limits, hasher);
                Value::Hash(hash.ok_or(corrupt_list("Hash listpack integrity check failed."))?)
            }
            kind::SORTED_SET_LISTPACK | kind::SORTED_SET_ZIPLIST => {
                let list = if kind == kind::SORTED_SET_LISTPACK {
                    listpack(input)?
                } else {
                    ziplist(&input.string()?).ok_or(corrupt_list(ZIPLIST))?
                };
                let set = SortedSet::from_listpack(list, types.sorted_set, hasher);
                let failed = corrupt_list("Zset listpack integrity check failed.");
                Value::SortedSet(set.ok_or(failed)?)
            }
            kind::LIST_ZIPLIST => {
                let node = ziplist(&input.string()?).ok_or(corrupt_list(ZIPLIST))?;
                Value::List(List::from_nodes(vec![node], types.list))
            }
            _ => {
                let left = input.length()?;
                self.state = self.collection(kind, left);
                return Ok(None);
            }
        };
        Ok(Some(finished(value)))
    }

    /// A collection of so many elements that come one by one.
    fn collection(&self, kind: u8, left: u64) -> State {
        let ValueLimits { types, hasher } = self.limits;
        // What is only claimed takes no memory: a table grows with its elements.
        let expected = usize::try_from(left).unwrap_or(usize::MAX);
        match kind {
            kind::LIST => State::List { list: List::new(), left },
            kind::SET => {
                let mut set = Set::new();
                SetMut::new(&mut set, types.set, hasher).make_room_for(expected);
                State::Set { set, left }
            }
            kind::HASH | kind::HASH_EXPIRING => {
                let hash = Hash::for_fields(left, types.hash, hasher);
                State::Hash { hash, left, expiring: kind == kind::HASH_EXPIRING }
            }
            kind::SORTED_SET | kind::SORTED_SET_TEXT => {
                let mut set = SortedSet::new();
                SortedSetMut::new(&mut set, types.sorted_set, hasher).make_room_for(expected, 0);
                State::SortedSet { set, left, text: kind == kind::SORTED_SET_TEXT }
            }
            _ => {
                let ziplists = kind == kind::QUICKLIST_ZIPLISTS;
                State::Nodes { nodes: Vec::new(), left, ziplists }
            }
        }
    }
}

const INTSET: &str = "Intset integrity check failed.";
const ZIPLIST: &str = "Ziplist integrity check failed.";
const LISTPACK: &str = "Listpack integrity check failed.";

fn listpack(input: &mut Input<'_>) -> Read<Listpack> {
    Ok(Listpack::parse(&input.string()?).ok_or(RdbError::Corrupt(LISTPACK))?)
}

fn quicklist_node(input: &mut Input<'_>) -> Read<Listpack> {
    match input.length()? {
        kind::NODE_PACKED => listpack(input),
        kind::NODE_PLAIN => {
            let element = input.string()?;
            // A node of its own is for what is too large to share one.
            if element.is_empty() {
                return corrupt("a list's node without an element");
            }
            if element.len() > List::ELEMENT_BYTES_MAX {
                return corrupt("a list element that is longer than any can be");
            }
            let mut node = Listpack::new();
            node.push(&element);
            Ok(node)
        }
        _ => corrupt("Quicklist integrity check failed."),
    }
}

/// A collection with all its elements, if it has any.
fn finished(value: Value) -> Option<Loaded> {
    let empty = match &value {
        Value::String(_) => false,
        Value::List(list) => list.is_empty(),
        Value::Hash(hash) => hash.is_empty(),
        Value::SortedSet(set) => set.is_empty(),
        Value::Set(set) => set.is_empty(),
        Value::Stream(_) => false,
    };
    (!empty).then_some(Loaded::Value(value))
}
