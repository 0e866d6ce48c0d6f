//! Sets: an intset while all members are integers, a listpack while small, a table beyond.

use super::intset::Intset;
use super::listpack::{Item, Listpack};
use crate::store::compact::{self, CompactOr};
use crate::store::hasher::Hasher;
use crate::store::table::{Keyed, Table};
use crate::store::thin::{Compact, Thin};
use crate::value::parse_i64;

/// Up to which size a set stays compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimits {
    /// `set-max-intset-entries`: members, all of them integers.
    pub intset_entries: usize,
    /// `set-max-listpack-entries`: members.
    pub listpack_entries: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub listpack_value: usize,
}

impl Default for SetLimits {
    fn default() -> Self {
        Self { intset_entries: 512, listpack_entries: 128, listpack_value: 64 }
    }
}

/// A member of a large set, in an allocation of its own.
#[derive(Debug)]
struct Member(Thin);

impl Member {
    fn new(bytes: &[u8]) -> Self {
        Self(Thin::concat(&[bytes]))
    }
}

impl Keyed for Member {
    #[inline]
    fn key(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A set. The compact bytes are an intset, or a listpack in the order of insertion.
#[derive(Debug)]
#[repr(transparent)]
pub struct Set(CompactOr<Thin, Table<Member>>);

enum Form<'a> {
    Intset(&'a Intset),
    Listpack(&'a Listpack),
    Table(&'a Table<Member>),
}

enum FormMut<'a> {
    Intset(&'a mut Intset),
    Listpack(&'a mut Listpack),
    Table(&'a mut Table<Member>),
}

impl Set {
    /// A set without members, in the form in which sets grow from nothing.
    pub fn new() -> Self {
        Self::of_intset(Intset::new())
    }

    fn of_intset(set: Intset) -> Self {
        Self(CompactOr::compact(set.into()))
    }

    fn of_listpack(list: Listpack) -> Self {
        Self(CompactOr::compact(list.into()))
    }

    fn of_table(table: Table<Member>) -> Self {
        Self(CompactOr::large(table))
    }

    #[inline]
    fn form(&self) -> Form<'_> {
        match self.0.get() {
            compact::Form::Large(table) => Form::Table(table),
            compact::Form::Compact(thin) if Intset::is_one(thin) => Form::Intset(Intset::of(thin)),
            compact::Form::Compact(thin) => Form::Listpack(Listpack::of(thin)),
        }
    }

    #[inline]
    fn form_mut(&mut self) -> FormMut<'_> {
        match self.0.get_mut() {
            compact::Form::Large(table) => FormMut::Table(table),
            compact::Form::Compact(thin) if Intset::is_one(thin) => {
                FormMut::Intset(Intset::of_mut(thin))
            }
            compact::Form::Compact(thin) => FormMut::Listpack(Listpack::of_mut(thin)),
        }
    }

    /// A set without members, in the form that suits its first one, when about `expected` come.
    pub(crate) fn for_first(
        first: &[u8],
        expected: usize,
        limits: SetLimits,
        hasher: Hasher,
    ) -> Self {
        if expected <= limits.intset_entries && parse_i64(first).is_some() {
            Self::new()
        } else if expected <= limits.listpack_entries {
            Self::of_listpack(Listpack::new())
        } else {
            Self::of_table(Table::new(hasher))
        }
    }

    /// A set from an intset.
    pub(crate) fn from_intset(set: Intset, limits: SetLimits, hasher: Hasher) -> Self {
        let mut set = Self::of_intset(set);
        if set.len() > limits.intset_entries {
            SetMut::new(&mut set, limits, hasher).become_table();
        }
        set
    }

    /// A set from a listpack that somebody else wrote: none if a member is there twice.
    pub(crate) fn from_listpack(list: Listpack, limits: SetLimits, hasher: Hasher) -> Option<Self> {
        if !list.is_unique(1, hasher) {
            return None;
        }
        let mut set = Self::of_listpack(list);
        if set.len() > limits.listpack_entries {
            SetMut::new(&mut set, limits, hasher).become_table();
        }
        Some(set)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        match self.form() {
            Form::Intset(set) => set.len(),
            Form::Listpack(list) => list.len(),
            Form::Table(table) => table.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match self.form() {
            Form::Intset(_) => "intset",
            Form::Listpack(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    /// The intset of a set of integers.
    pub fn as_intset(&self) -> Option<&Intset> {
        match self.form() {
            Form::Intset(set) => Some(set),
            Form::Listpack(_) | Form::Table(_) => None,
        }
    }

    /// The listpack of a small set.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self.form() {
            Form::Listpack(list) => Some(list),
            Form::Intset(_) | Form::Table(_) => None,
        }
    }

    /// Whether it has this member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.form() {
            Form::Intset(set) => parse_i64(member).is_some_and(|number| set.contains(number)),
            Form::Listpack(list) => list.find(member, 0).is_some(),
            Form::Table(table) => table.contains(member),
        }
    }

    /// Whether it has this member of another set.
    pub fn contains_item(&self, member: Item<'_>) -> bool {
        match (self.form(), member) {
            (Form::Intset(set), Item::Int(number)) => set.contains(number),
            _ => self.contains(member.bytes(&mut itoa::Buffer::new())),
        }
    }

    /// Its members: integers in ascending order, in the order of insertion while it is a listpack,
    /// in no order beyond.
    pub fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        let (ints, list, table) = match self.form() {
            Form::Intset(set) => (Some(set), None, None),
            Form::Listpack(list) => (None, Some(list), None),
            Form::Table(table) => (None, None, Some(table)),
        };
        let ints = ints.into_iter().flat_map(Intset::iter).map(Item::Int);
        let listed = list.into_iter().flat_map(Listpack::iter);
        let members = table.into_iter().flat_map(|table| table.iter());
        ints.chain(listed).chain(members.map(|member| Item::Bytes(member.key())))
    }

    /// Visits about `count` members from `cursor` on; returns the next cursor, 0 at the end. A
    /// compact set is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Item<'_>)) -> u64 {
        let Form::Table(table) = self.form() else {
            self.iter().for_each(visit);
            return 0;
        };
        let mut cursor = cursor;
        let mut seen = 0;
        for _ in 0..count.saturating_mul(10) {
            cursor = table.scan(cursor, |member| {
                seen += 1;
                visit(Item::Bytes(member.key()));
            });
            if cursor == 0 || seen >= count {
                break;
            }
        }
        cursor
    }

    /// A member, each as likely as any other. `random` gives 64 random bits.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Item<'_>> {
        match self.form() {
            Form::Intset(set) => {
                let index = random().checked_rem(set.len() as u64)?;
                set.get(index as usize).map(Item::Int)
            }
            Form::Listpack(list) => {
                let index = random().checked_rem(list.len() as u64)?;
                list.seek(index as i64).map(|at| list.get(at))
            }
            Form::Table(table) => table.random(random).map(|member| Item::Bytes(member.key())),
        }
    }

    /// Buckets of its table, if it has one: those being left by a resize, and those in use.
    pub fn buckets(&self) -> Option<(usize, usize)> {
        match self.form() {
            Form::Intset(_) | Form::Listpack(_) => None,
            Form::Table(table) => Some(table.buckets()),
        }
    }

    /// How many allocations freeing it gives back.
    pub fn free_effort(&self) -> usize {
        match self.form() {
            Form::Intset(_) | Form::Listpack(_) => 1,
            Form::Table(table) => 1 + table.len(),
        }
    }

    /// Bytes on the heap; of a large set, an estimate from some of its members.
    pub fn heap_bytes(&self) -> usize {
        match self.form() {
            Form::Intset(set) => set.heap_bytes(),
            Form::Listpack(list) => list.heap_bytes(),
            Form::Table(table) => {
                const SAMPLE: usize = 64;
                let sampled = table.len().clamp(1, SAMPLE);
                let members = table.iter().take(SAMPLE);
                let bytes: usize = members.map(|member| member.0.heap_bytes()).sum();
                size_of_val(table) + table.heap_bytes() + bytes * table.len() / sampled
            }
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Set {
    fn clone(&self) -> Self {
        match self.form() {
            Form::Intset(set) => Self::of_intset(set.clone()),
            Form::Listpack(list) => Self::of_listpack(list.clone()),
            Form::Table(table) => {
                let mut copy = Table::new(table.hasher());
                for member in table.iter() {
                    copy.insert_new(Member::new(member.key()));
                }
                Self::of_table(copy)
            }
        }
    }
}

/// A set that a command changes, with what it must know to change its form.
#[derive(Debug)]
pub struct SetMut<'a> {
    set: &'a mut Set,
    limits: SetLimits,
    hasher: Hasher,
}

impl<'a> SetMut<'a> {
    pub(crate) fn new(set: &'a mut Set, limits: SetLimits, hasher: Hasher) -> Self {
        Self { set, limits, hasher }
    }

    /// Makes it a table if so many members, to be added right after, would make it one.
    pub fn make_room_for(&mut self, members: usize) {
        let compact = match self.set.form() {
            Form::Intset(_) => members <= self.limits.intset_entries,
            Form::Listpack(_) => members <= self.limits.listpack_entries,
            Form::Table(_) => true,
        };
        if !compact {
            self.become_table();
        }
    }

    /// Adds a member; false if it was there.
    pub fn add(&mut self, member: &[u8]) -> bool {
        match (self.set.form_mut(), self.limits) {
            (FormMut::Table(table), _) => {
                let hash = table.hasher().hash(member);
                let added = table.find_hashed(hash, member).is_none();
                if added {
                    table.insert_new_hashed(hash, Member::new(member));
                }
                added
            }
            (FormMut::Listpack(list), limits) => {
                if list.find(member, 0).is_some() {
                    return false;
                }
                if list.len() < limits.listpack_entries
                    && member.len() <= limits.listpack_value
                    && list.has_room_for(member.len())
                {
                    list.push(member);
                    return true;
                }
                self.become_table();
                self.add(member)
            }
            (FormMut::Intset(set), limits) => {
                if let Some(number) = parse_i64(member) {
                    let added = set.add(number);
                    if added && set.len() > limits.intset_entries {
                        self.become_table();
                    }
                    return added;
                }
                let ends = [set.get(0), set.get(set.len().wrapping_sub(1))];
                let longest = ends.into_iter().flatten().map(digits).max().unwrap_or(0);
                if set.len() < limits.listpack_entries
                    && longest.max(member.len()) <= limits.listpack_value
                {
                    self.become_listpack();
                } else {
                    self.become_table();
                }
                self.add(member)
            }
        }
    }

    /// Adds a member of another set; false if it was there.
    pub fn add_item(&mut self, member: Item<'_>) -> bool {
        self.add(member.bytes(&mut itoa::Buffer::new()))
    }

    /// Removes a member; false if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.set.form_mut() {
            FormMut::Intset(set) => parse_i64(member).is_some_and(|number| set.remove(number)),
            FormMut::Listpack(list) => match list.find(member, 0) {
                Some(at) => {
                    list.remove(at, 1);
                    true
                }
                None => false,
            },
            FormMut::Table(table) => table.remove(member).is_some(),
        }
    }

    /// Takes out a member, each as likely as any other, after `read` has seen it; `None` if there
    /// is none. `random` gives 64 random bits.
    pub fn pop<R>(
        &mut self,
        random: impl FnMut() -> u64,
        read: impl FnOnce(Item<'_>) -> R,
    ) -> Option<R> {
        if let FormMut::Table(table) = self.set.form_mut() {
            let place = table.random_place(random)?;
            return Some(read(Item::Bytes(table.remove_at(place).key())));
        }
        let member = self.set.random(random)?;
        let result = read(member);
        match member {
            Item::Int(number) => self.remove(itoa::Buffer::new().format(number).as_bytes()),
            Item::Bytes(bytes) => {
                let bytes: Box<[u8]> = bytes.into();
                self.remove(&bytes)
            }
        };
        Some(result)
    }

    /// Gives it the form of a set that was made of `self`'s members alone, one after another,
    /// from a listpack on: what is left of a table may be small.
    pub fn rebuild_as_listpack(&mut self) {
        let old = std::mem::replace(self.set, Set::of_listpack(Listpack::new()));
        old.iter().for_each(|member| {
            self.add_item(member);
        });
    }

    /// Makes it an intset if all members are integers and not too many.
    pub fn become_intset(&mut self) {
        if self.len() > self.limits.intset_entries || self.set.as_intset().is_some() {
            return;
        }
        let mut numbers = Intset::new();
        for member in self.set.iter() {
            let number = match member {
                Item::Int(number) => Some(number),
                Item::Bytes(bytes) => parse_i64(bytes),
            };
            let Some(number) = number else { return };
            numbers.add(number);
        }
        *self.set = Set::of_intset(numbers);
    }

    fn become_listpack(&mut self) {
        let mut list = Listpack::new();
        let mut buffer = itoa::Buffer::new();
        self.set.iter().for_each(|member| list.push(member.bytes(&mut buffer)));
        *self.set = Set::of_listpack(list);
    }

    fn become_table(&mut self) {
        let mut table = Table::new(self.hasher);
        let mut buffer = itoa::Buffer::new();
        for member in self.set.iter() {
            table.insert_new(Member::new(member.bytes(&mut buffer)));
        }
        *self.set = Set::of_table(table);
    }
}

fn digits(number: i64) -> usize {
    itoa::Buffer::new().format(number).len()
}

impl std::ops::Deref for SetMut<'_> {
    type Target = Set;

    fn deref(&self) -> &Set {
        self.set
    }
}

#[cfg(test)]
mod tests;
