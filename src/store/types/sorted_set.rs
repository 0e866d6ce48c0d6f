//! Sorted sets: a listpack of members and scores while small, a ranking beyond.
//!
//! Both forms keep the members by score and then by their bytes, so that every kind of range
//! comes down to ranks: [`SortedSet::count_before`] finds where one begins and ends.

use super::listpack::{Item, Listpack};
use super::ranking::Ranking;
use crate::store::compact::{CompactOr, Form};
use crate::store::garbage::FREE_INLINE_MAX;
use crate::store::hasher::Hasher;
use crate::value::{DoubleText, parse_double};
use std::cmp::Ordering;

/// Up to which size a sorted set stays a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortedSetLimits {
    /// `zset-max-listpack-entries`: members.
    pub entries: usize,
    /// `zset-max-listpack-value`: bytes of a member.
    pub value: usize,
}

impl Default for SortedSetLimits {
    fn default() -> Self {
        Self { entries: 128, value: 64 }
    }
}

/// A sorted set: member, score, member, score, … in order, or a ranking.
#[derive(Debug)]
#[repr(transparent)]
pub struct SortedSet(CompactOr<Listpack, Ranking>);

/// The score of an element of a listpack.
fn score_of(item: Item<'_>) -> f64 {
    match item {
        Item::Int(number) => number as f64,
        Item::Bytes(text) => parse_double(text).unwrap_or(0.0),
    }
}

impl SortedSet {
    /// A sorted set without members.
    pub(crate) fn new() -> Self {
        Self(CompactOr::compact(Listpack::new()))
    }

    /// A sorted set from a listpack of members and scores that somebody else wrote: none if a
    /// score is missing or no number, or a member is there twice.
    pub(crate) fn from_listpack(
        list: Listpack,
        limits: SortedSetLimits,
        hasher: Hasher,
    ) -> Option<Self> {
        let are_numbers = |item| match item {
            Item::Int(_) => true,
            Item::Bytes(text) => parse_double(text).is_some_and(|score| !score.is_nan()),
        };
        let numbers = list.iter().skip(1).step_by(2).all(are_numbers);
        let whole = numbers && list.len().is_multiple_of(2);
        if !whole || !list.is_unique(2, hasher) {
            return None;
        }
        let read = Self(CompactOr::compact(list));
        let mut buffers = (itoa::Buffer::new(), itoa::Buffer::new());
        let in_order = read.iter().zip(read.iter().skip(1)).all(|((a, low), (b, high))| {
            let members = || a.bytes(&mut buffers.0).cmp(b.bytes(&mut buffers.1));
            low.partial_cmp(&high).unwrap_or(Ordering::Equal).then_with(members).is_lt()
        });
        if in_order && read.len() <= limits.entries {
            return Some(read);
        }
        let mut set = Self::new();
        let mut filled = SortedSetMut::new(&mut set, limits, hasher);
        filled.make_room_for(read.len(), 0);
        let mut buffer = itoa::Buffer::new();
        for (member, score) in read.iter() {
            filled.set(member.bytes(&mut buffer), score);
        }
        Some(set)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        match self.0.get() {
            Form::Compact(list) => list.len() / 2,
            Form::Large(list) => list.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match self.0.get() {
            Form::Compact(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// The listpack of a small sorted set.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self.0.get() {
            Form::Compact(list) => Some(list),
            Form::Large(_) => None,
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0.get() {
            Form::Compact(list) => {
                let at = list.after(list.find(member, 1)?);
                Some(score_of(list.get(at.expect("a score follows every member"))))
            }
            Form::Large(list) => list.score(member),
        }
    }

    /// The rank of a member, the lowest score first, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0.get() {
            Form::Compact(list) => {
                let wanted = list.find(member, 1)?;
                let score = score_of(list.get(list.after(wanted)?));
                let starts = std::iter::successors(list.first(), |&at| list.after(list.after(at)?));
                Some((starts.take_while(|&at| at != wanted).count(), score))
            }
            Form::Large(list) => list.rank(member),
        }
    }

    /// How many members, from the lowest on, satisfy `is_before`. It must hold for those up to
    /// some place in the order and not for the rest.
    pub fn count_before(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match self.0.get() {
            Form::Compact(_) => {
                let mut buffer = itoa::Buffer::new();
                self.iter_from(0, false)
                    .take_while(|(member, score)| is_before(*score, member.bytes(&mut buffer)))
                    .count()
            }
            Form::Large(list) => list.count_before(is_before),
        }
    }

    /// Members and scores from a rank on: upwards, or downwards.
    pub fn iter_from(&self, rank: usize, reverse: bool) -> impl Iterator<Item = (Item<'_>, f64)> {
        let (list, large) = match self.0.get() {
            Form::Compact(list) => (Some(list), None),
            Form::Large(list) => (None, Some(list.iter_from(rank, reverse))),
        };
        let mut at = list.and_then(|list| list.seek(rank as i64 * 2));
        let listed = std::iter::from_fn(move || {
            let (list, member) = (list?, at?);
            let score = list.after(member).expect("a score follows every member");
            at = match reverse {
                false => list.after(score),
                true => list.before(member).and_then(|score| list.before(score)),
            };
            Some((list.get(member), score_of(list.get(score))))
        });
        let large = large.into_iter().flatten();
        listed.chain(large.map(|(member, score)| (Item::Bytes(member), score)))
    }

    /// All members and scores, the lowest score first.
    pub fn iter(&self) -> impl Iterator<Item = (Item<'_>, f64)> {
        self.iter_from(0, false)
    }

    /// Visits about `count` members from `cursor` on; returns the next cursor, 0 at the end. A
    /// small sorted set is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Item<'_>, f64)) -> u64 {
        match self.0.get() {
            Form::Compact(_) => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Form::Large(list) => {
                let mut cursor = cursor;
                let mut seen = 0;
                for _ in 0..count.saturating_mul(10) {
                    cursor = list.scan(cursor, |member, score| {
                        seen += 1;
                        visit(Item::Bytes(member), score);
                    });
                    if cursor == 0 || seen >= count {
                        break;
                    }
                }
                cursor
            }
        }
    }

    /// Buckets of its index by member, if it has one: those being left by a resize, and those in use.
    pub fn buckets(&self) -> Option<(usize, usize)> {
        match self.0.get() {
            Form::Compact(_) => None,
            Form::Large(list) => Some(list.buckets()),
        }
    }

    /// How many allocations freeing it gives back.
    pub fn free_effort(&self) -> usize {
        match self.0.get() {
            Form::Compact(_) => 1,
            Form::Large(list) => 1 + list.len(),
        }
    }

    /// Bytes on the heap; of a large one, an estimate from some of its members.
    pub fn heap_bytes(&self) -> usize {
        match self.0.get() {
            Form::Compact(list) => list.heap_bytes(),
            Form::Large(list) => size_of_val(list) + list.heap_bytes(),
        }
    }
}

impl Clone for SortedSet {
    fn clone(&self) -> Self {
        match self.0.get() {
            Form::Compact(list) => Self(CompactOr::compact(list.clone())),
            Form::Large(list) => {
                let mut copy = Ranking::new(list.hasher());
                for (member, score) in list.iter_from(0, false) {
                    copy.insert(member, score);
                }
                Self(CompactOr::large(copy))
            }
        }
    }
}

/// A sorted set that a command changes, with what it must know to change its form.
#[derive(Debug)]
pub struct SortedSetMut<'a> {
    set: &'a mut SortedSet,
    limits: SortedSetLimits,
    hasher: Hasher,
}

impl<'a> SortedSetMut<'a> {
    pub(crate) fn new(set: &'a mut SortedSet, limits: SortedSetLimits, hasher: Hasher) -> Self {
        Self { set, limits, hasher }
    }

    /// Gives an empty one the form for so many members, the longest of so many bytes.
    pub fn make_room_for(&mut self, members: usize, longest: usize) {
        let large = members > self.limits.entries || longest > self.limits.value;
        if large && self.set.is_empty() {
            self.become_large();
        }
    }

    /// Gives a member a score; the old one, if it was there.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        if let Form::Large(list) = self.set.0.get_mut() {
            return list.set(member, score);
        }
        let old = self.set.score(member);
        if old == Some(score) {
            return old;
        }
        if old.is_some() {
            self.remove(member);
        }
        let fits = old.is_some()
            || (self.set.len() < self.limits.entries && member.len() <= self.limits.value);
        match self.set.0.get_mut() {
            Form::Compact(list) if fits && list.has_room_for(member.len()) => {
                insert_in_order(list, member, score);
            }
            Form::Compact(_) => {
                self.become_large();
                self.set(member, score);
            }
            Form::Large(_) => unreachable!("it was a listpack a moment ago"),
        }
        old
    }

    /// Removes a member; its score, if it was there.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self.set.0.get_mut() {
            Form::Compact(list) => {
                let at = list.find(member, 1)?;
                let score = list.after(at).expect("a score follows every member");
                let score = score_of(list.get(score));
                list.remove(at, 2);
                Some(score)
            }
            Form::Large(list) => list.remove(member),
        }
    }

    /// Removes `count` members from a rank on. Gives back what takes long to free: where few of
    /// many stay, those are put into a set of their own.
    #[must_use = "what takes long to free is to be freed elsewhere"]
    pub fn remove_ranks(&mut self, rank: usize, count: usize) -> Option<SortedSet> {
        match self.set.0.get_mut() {
            Form::Compact(list) => {
                if let Some(at) = list.seek(rank as i64 * 2)
                    && count > 0
                {
                    list.remove(at, count * 2);
                }
                None
            }
            Form::Large(list) if list.is_cheaper_to_rebuild_without(count) => {
                let rest = list.without(rank, count);
                let old = std::mem::replace(list, rest);
                Some(SortedSet(CompactOr::large(old)))
            }
            Form::Large(list) => {
                list.remove_ranks(rank, count);
                None
            }
        }
    }

    /// Gives it the form of a large one.
    pub fn become_large(&mut self) {
        if let Form::Large(_) = self.set.0.get() {
            return;
        }
        let mut list = Ranking::new(self.hasher);
        let mut buffer = itoa::Buffer::new();
        for (member, score) in self.set.iter() {
            list.insert(member.bytes(&mut buffer), score);
        }
        self.set.0 = CompactOr::large(list);
    }
}

fn insert_in_order(list: &mut Listpack, member: &[u8], score: f64) {
    let mut buffer = itoa::Buffer::new();
    let mut at = list.first();
    while let Some(place) = at {
        let after = list.after(place).expect("a score follows every member");
        let other = score_of(list.get(after));
        let order = other.partial_cmp(&score).unwrap_or(Ordering::Equal);
        if order.then_with(|| list.get(place).bytes(&mut buffer).cmp(member)).is_gt() {
            break;
        }
        at = list.after(after);
    }
    let text = DoubleText::stored(score);
    match at {
        Some(at) => {
            list.insert(at, text.as_bytes());
            list.insert(at, member);
        }
        None => {
            list.push(member);
            list.push(text.as_bytes());
        }
    }
}

impl std::ops::Deref for SortedSetMut<'_> {
    type Target = SortedSet;

    fn deref(&self) -> &SortedSet {
        self.set
    }
}

const _: () = assert!(FREE_INLINE_MAX < 128, "a ranking is worth handing over");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(set: &SortedSet) -> Vec<(Vec<u8>, f64)> {
        let mut buffer = itoa::Buffer::new();
        set.iter().map(|(member, score)| (member.bytes(&mut buffer).to_vec(), score)).collect()
    }

    #[test]
    fn it_changes_its_form_beyond_either_limit() {
        let limits = SortedSetLimits { entries: 2, value: 4 };
        let mut set = SortedSet::new();
        let mut edit = SortedSetMut::new(&mut set, limits, Hasher::new(1, 2));
        edit.set(b"a", 1.0);
        edit.set(b"b", 0.5);
        edit.set(b"a", 7.0);
        assert_eq!(edit.encoding(), "listpack");
        edit.set(b"c", 2.0);
        assert_eq!(edit.encoding(), "skiplist");
        assert_eq!(all(&set), [(b"b".to_vec(), 0.5), (b"c".to_vec(), 2.0), (b"a".to_vec(), 7.0)]);

        let mut set = SortedSet::new();
        let mut edit = SortedSetMut::new(&mut set, limits, Hasher::new(1, 2));
        edit.set(b"12345", 1.0);
        assert_eq!(edit.encoding(), "skiplist");
    }

    #[test]
    fn what_is_cut_off_a_large_one_is_given_back_where_little_stays() {
        let limits = SortedSetLimits::default();
        for (rank, count, given_back) in [(100, 850, true), (0, 900, true), (300, 500, false)] {
            let mut set = SortedSet::new();
            let mut edit = SortedSetMut::new(&mut set, limits, Hasher::new(1, 2));
            for n in 0..1000 {
                edit.set(format!("{n:04}").as_bytes(), f64::from(n));
            }
            let mut left = all(&edit);
            left.drain(rank..rank + count);
            let old = edit.remove_ranks(rank, count);
            assert_eq!(old.map(|old| old.len()), given_back.then_some(1000));
            assert_eq!((all(&set), set.encoding()), (left, "skiplist"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn both_forms_hold_the_same(
            changes in proptest::collection::vec((0u8..40, -4i8..4, any::<bool>()), 0..120),
            seed: u64,
        ) {
            let hasher = Hasher::new(seed, 0);
            let (mut small, mut large) = (SortedSet::new(), SortedSet::new());
            let limits = SortedSetLimits { entries: 1000, value: 64 };
            let none = SortedSetLimits { entries: 0, value: 0 };
            for (member, score, removes) in changes {
                let member = format!("m{member}").into_bytes();
                let score = f64::from(score) / 4.0;
                let mut one = SortedSetMut::new(&mut small, limits, hasher);
                let mut other = SortedSetMut::new(&mut large, none, hasher);
                if removes {
                    prop_assert_eq!(one.remove(&member), other.remove(&member));
                } else {
                    prop_assert_eq!(one.set(&member, score), other.set(&member, score));
                }
            }
            prop_assert_eq!(all(&small), all(&large));
            if !large.is_empty() {
                prop_assert_eq!(all(&small), all(&large.clone()));
                prop_assert_eq!((small.encoding(), large.encoding()), ("listpack", "skiplist"));
            }
            for (rank, (member, score)) in all(&small).into_iter().enumerate() {
                prop_assert_eq!(small.rank(&member), Some((rank, score)));
                prop_assert_eq!(large.rank(&member), Some((rank, score)));
                for set in [&small, &large] {
                    prop_assert_eq!(set.count_before(|s, m| (s, m) < (score, &member[..])), rank);
                    let down = set.iter_from(rank, true).count();
                    prop_assert_eq!(down, rank + 1);
                }
            }
        }
    }
}
