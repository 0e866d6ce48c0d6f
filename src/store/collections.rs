//! The collections of a database as handlers see them: to read, to change, or made if missing.
//!
//! Whoever empties a collection removes its key: the store keeps no empty ones.

use super::database::EntryPlace;
use super::db::{Db, WrongType};
use super::entry::Entry;
use super::types::{
    Hash, HashMut, List, ListMut, Set, SetMut, SortedSet, SortedSetMut, Stream, StreamMut,
};
use super::value::{Value, ValueMut, ValueRef};

impl Db<'_> {
    /// The hash of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&'_ Hash>, WrongType> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(WrongType),
        }
    }

    /// The hash of a key that a command changes. Whoever empties it removes the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn hash_mut(&mut self, key: &[u8]) -> Result<Option<HashMut<'_>>, WrongType> {
        let Some(place) = self.find(key) else { return Ok(None) };
        self.hash_at(place).map(Some)
    }

    /// The hash of a key that a command adds to; an empty one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn hash_or_new(&mut self, key: &[u8]) -> Result<HashMut<'_>, WrongType> {
        let place = self.find_or_add(key, || Value::Hash(Hash::new()));
        self.hash_at(place)
    }

    fn hash_at(&mut self, place: EntryPlace) -> Result<HashMut<'_>, WrongType> {
        self.touch(place);
        let (limits, hasher) = (self.shared.limits.hash, self.database.hasher());
        match self.entry_mut(place).object_mut() {
            Some(ValueMut::Hash(hash)) => Ok(HashMut::new(hash, limits, hasher)),
            _ => Err(WrongType),
        }
    }

    /// The list of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list(&mut self, key: &[u8]) -> Result<Option<&'_ List>, WrongType> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::List(list)) => Ok(Some(list)),
            Some(_) => Err(WrongType),
        }
    }

    /// The list of a key that a command changes. Whoever empties it removes the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list_mut(&mut self, key: &[u8]) -> Result<Option<ListMut<'_>>, WrongType> {
        let Some(place) = self.find(key) else { return Ok(None) };
        self.list_at(place).map(Some)
    }

    /// The list of a key that a command adds to; an empty one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list_or_new(&mut self, key: &[u8]) -> Result<ListMut<'_>, WrongType> {
        let place = self.find_or_add(key, || Value::List(List::new()));
        self.list_at(place)
    }

    fn list_at(&mut self, place: EntryPlace) -> Result<ListMut<'_>, WrongType> {
        self.touch(place);
        let limit = self.shared.limits.list;
        match self.entry_mut(place).object_mut() {
            Some(ValueMut::List(list)) => Ok(ListMut::new(list, limit)),
            _ => Err(WrongType),
        }
    }

    /// The sorted set of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn sorted_set(&mut self, key: &[u8]) -> Result<Option<&'_ SortedSet>, WrongType> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::SortedSet(set)) => Ok(Some(set)),
            Some(_) => Err(WrongType),
        }
    }

    /// The sorted set of a key that a command changes. Whoever empties it removes the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn sorted_set_mut(&mut self, key: &[u8]) -> Result<Option<SortedSetMut<'_>>, WrongType> {
        let Some(place) = self.find(key) else { return Ok(None) };
        self.sorted_set_at(place).map(Some)
    }

    /// The sorted set of a key that a command adds to; an empty one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn sorted_set_or_new(&mut self, key: &[u8]) -> Result<SortedSetMut<'_>, WrongType> {
        let place = self.find_or_add(key, || Value::SortedSet(SortedSet::new()));
        self.sorted_set_at(place)
    }

    fn sorted_set_at(&mut self, place: EntryPlace) -> Result<SortedSetMut<'_>, WrongType> {
        self.touch(place);
        let (limits, hasher) = (self.shared.limits.sorted_set, self.database.hasher());
        match self.entry_mut(place).object_mut() {
            Some(ValueMut::SortedSet(set)) => Ok(SortedSetMut::new(set, limits, hasher)),
            _ => Err(WrongType),
        }
    }

    /// The set of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn set(&mut self, key: &[u8]) -> Result<Option<&'_ Set>, WrongType> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::Set(set)) => Ok(Some(set)),
            Some(_) => Err(WrongType),
        }
    }

    /// The sets of several keys at once, in their order: what is missing, expired or no set is
    /// `None`. [`Db::set`] comes first for each: it tells whether there is a set, and counts.
    pub fn sets<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<Option<&'_ Set>> {
        keys.map(|key| match self.glance(key)?.value() {
            ValueRef::Set(set) => Some(set),
            _ => None,
        })
        .collect()
    }

    /// The set of a key that a command changes. Whoever empties it removes the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn set_mut(&mut self, key: &[u8]) -> Result<Option<SetMut<'_>>, WrongType> {
        let Some(place) = self.find(key) else { return Ok(None) };
        self.set_at(place).map(Some)
    }

    /// The set of a key that a command adds `expected` members to, `first` among them; an empty
    /// one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn set_or_new(
        &mut self,
        key: &[u8],
        first: &[u8],
        expected: usize,
    ) -> Result<SetMut<'_>, WrongType> {
        let (limits, hasher) = (self.shared.limits.set, self.database.hasher());
        let empty = || Value::Set(Set::for_first(first, expected, limits, hasher));
        let place = self.find_or_add(key, empty);
        let mut set = self.set_at(place)?;
        set.make_room_for(expected);
        Ok(set)
    }

    /// A set of no key, to be filled: its limits are those of this database.
    pub fn change_set<'s>(&self, set: &'s mut Set) -> SetMut<'s> {
        SetMut::new(set, self.shared.limits.set, self.database.hasher())
    }

    fn set_at(&mut self, place: EntryPlace) -> Result<SetMut<'_>, WrongType> {
        self.touch(place);
        let (limits, hasher) = (self.shared.limits.set, self.database.hasher());
        match self.entry_mut(place).object_mut() {
            Some(ValueMut::Set(set)) => Ok(SetMut::new(set, limits, hasher)),
            _ => Err(WrongType),
        }
    }

    /// The stream of a key that a command reads.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream(&mut self, key: &[u8]) -> Result<Option<&'_ Stream>, WrongType> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WrongType),
        }
    }

    /// The stream of a key that a command changes: it stays when it is emptied.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream_mut(&mut self, key: &[u8]) -> Result<Option<StreamMut<'_>>, WrongType> {
        let Some(place) = self.find(key) else { return Ok(None) };
        self.stream_at(place).map(Some)
    }

    /// The same for a command that Redis has read it first (XACK and the like): counted as a hit or
    /// a miss.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream_read_mut(&mut self, key: &[u8]) -> Result<Option<StreamMut<'_>>, WrongType> {
        match self.find_counted(key) {
            Some(place) => self.stream_at(place).map(Some),
            None => Ok(None),
        }
    }

    /// The stream of a key that a command adds to; an empty one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream_or_new(&mut self, key: &[u8]) -> Result<StreamMut<'_>, WrongType> {
        let place = self.find_or_add(key, || Value::Stream(Box::new(Stream::new())));
        self.stream_at(place)
    }

    fn stream_at(&mut self, place: EntryPlace) -> Result<StreamMut<'_>, WrongType> {
        self.touch(place);
        let limits = self.shared.limits.stream;
        match self.entry_mut(place).object_mut() {
            Some(ValueMut::Stream(stream)) => Ok(StreamMut::new(stream, limits)),
            _ => Err(WrongType),
        }
    }

    fn find_or_add(&mut self, key: &[u8], value: impl FnOnce() -> Value) -> EntryPlace {
        let home = self.database.home(key);
        if let Some(place) = self.find_at(home, key) {
            return place;
        }
        self.add(home, Entry::object(key, value(), None));
        self.database.find(home, key).expect("the key was added a moment ago")
    }
}
