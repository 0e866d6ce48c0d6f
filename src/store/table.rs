//! The hash table of the store: keys of a slot, fields of a hash, and every other collection that
//! outgrows its compact form.
//!
//! It is ours for two things that std's map does not offer. **No command pays for a resize**: old
//! and new side live next to each other, each insertion or removal moves a bucket, and even the
//! memory of a side is taken and given back a segment at a time. **SCAN keeps its guarantee**: it
//! walks buckets by their reversed index bits, so that an element present from the start of a
//! scan to its end is visited whatever the table does meanwhile.
//!
//! A bucket is one cache line: six entries, a byte of hash for each (so that a look-up reads an
//! entry only when it is very likely the right one), and a link to a further bucket. An entry is
//! in exactly one place: the bucket of its hash in the old side while that bucket has not moved,
//! else in the new side.

mod bucket;

use self::bucket::{Bucket, WAYS};
use super::hasher::Hasher;

/// What a table holds: something that knows its key.
pub trait Keyed {
    /// The bytes that identify it in its table.
    fn key(&self) -> &[u8];
}

/// A side grows when it holds more entries per bucket than this, on average.
const FILL_MAX: usize = 6;
/// A side shrinks when it holds no more entries per bucket than this, on average.
const SPARSE: usize = 1;
/// Buckets of one segment, as a power of two: 8 KiB are taken or given back at a time.
const SEGMENT_BITS: u32 = 7;
/// Empty old buckets that a step may skip on top of those it moves.
const EMPTY_MAX: usize = 16;

/// Where an entry is. Valid until the next change of its table.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    old: bool,
    index: usize,
    /// Which way of which bucket of the chain.
    nth: usize,
}

/// The buckets of one size. A segment that holds nothing yet, or nothing any more, is an empty
/// slice and takes no memory.
#[derive(Debug)]
struct Side<T> {
    segments: Vec<Box<[Bucket<T>]>>,
    bits: u32,
}

impl<T> Side<T> {
    const fn empty() -> Self {
        Self { segments: Vec::new(), bits: 0 }
    }

    fn new(bits: u32) -> Self {
        let segments = 1usize << bits.saturating_sub(SEGMENT_BITS);
        Self { segments: (0..segments).map(|_| Box::default()).collect(), bits }
    }

    fn buckets(&self) -> usize {
        if self.segments.is_empty() { 0 } else { 1 << self.bits }
    }

    fn mask(&self) -> u64 {
        (1u64 << self.bits) - 1
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&Bucket<T>> {
        self.segments.get(index >> SEGMENT_BITS)?.get(index & ((1 << SEGMENT_BITS) - 1))
    }

    #[inline]
    fn get_mut(&mut self, index: usize) -> Option<&mut Bucket<T>> {
        self.segments.get_mut(index >> SEGMENT_BITS)?.get_mut(index & ((1 << SEGMENT_BITS) - 1))
    }

    fn bucket_to_fill(&mut self, index: usize) -> &mut Bucket<T> {
        let segment = &mut self.segments[index >> SEGMENT_BITS];
        if segment.is_empty() {
            let buckets = 1usize << self.bits.min(SEGMENT_BITS);
            *segment = (0..buckets).map(|_| Bucket::new()).collect();
        }
        &mut segment[index & ((1 << SEGMENT_BITS) - 1)]
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flat_map(|segment| segment.iter().flat_map(Bucket::iter))
    }
}

/// A hash table that resizes in steps and can be scanned meanwhile.
#[derive(Debug)]
pub struct Table<T> {
    /// What is being left, while there is a resize; empty otherwise.
    old: Side<T>,
    new: Side<T>,
    /// Old buckets below this one have moved.
    moved: usize,
    len: usize,
    hasher: Hasher,
}

impl<T: Keyed> Table<T> {
    /// A table without entries; it takes no memory beyond itself.
    pub const fn new(hasher: Hasher) -> Self {
        Self { old: Side::empty(), new: Side::empty(), moved: 0, len: 0, hasher }
    }

    /// How many entries it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a resize is under way.
    pub fn is_resizing(&self) -> bool {
        !self.old.segments.is_empty()
    }

    /// The hash function, for a table that shall agree with this one.
    pub fn hasher(&self) -> Hasher {
        self.hasher
    }

    /// Whether the bucket of this hash still waits in the old side.
    #[inline]
    fn waits(&self, hash: u64) -> bool {
        self.is_resizing() && (hash & self.old.mask()) as usize >= self.moved
    }

    /// The entry with this key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        self.find(key).map(|place| self.at(place))
    }

    /// The entry with this key, to be changed. Its key must stay what it is.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        self.find(key).map(|place| self.at_mut(place))
    }

    /// Where the entry with this key is, for a look now and a change right after.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Place> {
        self.find_hashed(self.hasher.hash(key), key)
    }

    /// The same for whoever knows the key's hash already.
    #[inline]
    pub fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let old = self.waits(hash);
        let side = if old { &self.old } else { &self.new };
        let index = (hash & side.mask()) as usize;
        let nth = side.get(index)?.position(tag(hash), key)?;
        Some(Place { old, index, nth })
    }

    /// The entry at a place.
    ///
    /// # Panics
    /// If the table has changed since the place was found, it may panic or give another entry.
    #[inline]
    pub fn at(&self, place: Place) -> &T {
        let side = if place.old { &self.old } else { &self.new };
        let entry = side.get(place.index).and_then(|bucket| bucket.nth(place.nth));
        entry.expect("the table has not changed since the place was found")
    }

    /// The entry at a place, to be changed. Its key must stay what it is.
    ///
    /// # Panics
    /// As [`Table::at`].
    #[inline]
    pub fn at_mut(&mut self, place: Place) -> &mut T {
        let side = if place.old { &mut self.old } else { &mut self.new };
        let entry = side.get_mut(place.index).and_then(|bucket| bucket.nth_mut(place.nth));
        entry.expect("the table has not changed since the place was found")
    }

    /// An entry with this hash for which `wanted` holds.
    pub fn find_by_hash(&self, hash: u64, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        let side = if self.waits(hash) { &self.old } else { &self.new };
        let bucket = side.get((hash & side.mask()) as usize)?;
        bucket.iter().find(|entry| self.hasher.hash(entry.key()) == hash && wanted(entry))
    }

    /// Whether there is an entry with this key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Adds an entry whose key is not in the table: the caller has looked.
    pub fn insert_new(&mut self, entry: T) -> &mut T {
        self.insert_new_hashed(self.hasher.hash(entry.key()), entry)
    }

    /// The same for whoever knows the key's hash already.
    pub fn insert_new_hashed(&mut self, hash: u64, entry: T) -> &mut T {
        debug_assert!(!self.contains(entry.key()), "the key is not in the table");
        self.step(1);
        if self.new.segments.is_empty() {
            self.new = Side::new(0);
        } else if !self.is_resizing() && self.len >= self.new.buckets() * FILL_MAX {
            self.resize(self.new.bits + 1);
        }
        self.len += 1;
        let side = if self.waits(hash) { &mut self.old } else { &mut self.new };
        let index = (hash & side.mask()) as usize;
        side.bucket_to_fill(index).push(tag(hash), entry)
    }

    /// Adds an entry, or puts it in place of the one with its key, which it returns.
    pub fn insert(&mut self, entry: T) -> Option<T> {
        if let Some(present) = self.get_mut(entry.key()) {
            return Some(std::mem::replace(present, entry));
        }
        self.insert_new(entry);
        None
    }

    /// Takes the entry with this key out.
    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        let place = self.find(key)?;
        Some(self.remove_at(place))
    }

    /// Takes the entry at a place out.
    ///
    /// # Panics
    /// As [`Table::at`].
    pub fn remove_at(&mut self, place: Place) -> T {
        let side = if place.old { &mut self.old } else { &mut self.new };
        let removed = side.get_mut(place.index).and_then(|bucket| bucket.remove(place.nth));
        let removed = removed.expect("the table has not changed since the place was found");
        self.len -= 1;
        if self.len == 0 {
            self.clear();
            return removed;
        }
        self.step(1);
        if !self.is_resizing() && self.new.bits > 0 && self.len <= self.new.buckets() * SPARSE {
            // To about half full: neither the next insertion nor the next removal resizes again.
            let buckets = (self.len * 2).div_ceil(FILL_MAX).next_power_of_two();
            self.resize(buckets.trailing_zeros());
        }
        removed
    }

    /// Drops everything at once, which takes time in proportion.
    pub fn clear(&mut self) {
        *self = Self::new(self.hasher);
    }

    /// Takes everything out, to be dropped elsewhere.
    pub fn take(&mut self) -> Self {
        let hasher = self.hasher;
        std::mem::replace(self, Self::new(hasher))
    }

    fn resize(&mut self, bits: u32) {
        debug_assert!(!self.is_resizing(), "one resize at a time");
        if bits == self.new.bits {
            return;
        }
        self.old = std::mem::replace(&mut self.new, Side::new(bits));
        self.moved = 0;
    }

    /// Moves up to `buckets` buckets of a resize that is under way; true if one still is.
    pub fn step(&mut self, buckets: usize) -> bool {
        if !self.is_resizing() {
            return false;
        }
        let mut full = 0;
        let mut empty = 0;
        while full < buckets && empty < EMPTY_MAX * buckets {
            if self.moved == self.old.buckets() {
                self.old = Side::empty();
                self.moved = 0;
                return false;
            }
            // While it moves, its entries count as moved: insertions go to the new side.
            let index = self.moved;
            self.moved += 1;
            match self.old.get_mut(index).map(|bucket| std::mem::replace(bucket, Bucket::new())) {
                Some(bucket) if !bucket.is_empty() => {
                    full += 1;
                    self.spread(bucket);
                }
                _ => empty += 1,
            }
            if self.moved & ((1 << SEGMENT_BITS) - 1) == 0 {
                self.old.segments[index >> SEGMENT_BITS] = Box::default();
            }
        }
        true
    }

    fn spread(&mut self, bucket: Bucket<T>) {
        let mut next = Some(bucket);
        while let Some(Bucket { entries, more, .. }) = next {
            for entry in entries.into_iter().flatten() {
                let hash = self.hasher.hash(entry.key());
                let index = (hash & self.new.mask()) as usize;
                self.new.bucket_to_fill(index).push(tag(hash), entry);
            }
            next = more.map(|more| *more);
        }
    }

    /// Visits every entry of the bucket that `cursor` names and returns the next cursor; 0 starts
    /// a scan, and 0 returned ends it.
    ///
    /// An entry that is in the table from start to end of a scan is visited at least once, for
    /// any resizes in between: a table of another size has the same order of buckets, only that
    /// each stands for several, or for a part of one. It may be visited more than once.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&T)) -> u64 {
        let Some((small, large)) = self.sides_by_size() else { return 0 };
        let mut visit_bucket = |side: &Side<T>, index: u64| {
            if let Some(bucket) = side.get(index as usize) {
                bucket.iter().for_each(&mut visit);
            }
        };
        let Some(large) = large else {
            visit_bucket(small, cursor & small.mask());
            return next_cursor(cursor, small.mask());
        };
        // The bucket of the smaller side, and all those of the larger side that it stands for.
        visit_bucket(small, cursor & small.mask());
        let mut cursor = cursor;
        loop {
            visit_bucket(large, cursor & large.mask());
            cursor = next_cursor(cursor, large.mask());
            if cursor & (small.mask() ^ large.mask()) == 0 {
                return cursor;
            }
        }
    }

    /// The same for whoever changes the entries, but not their keys.
    pub fn scan_mut(&mut self, cursor: u64, mut visit: impl FnMut(&mut T)) -> u64 {
        let mut visit_bucket = |side: &mut Side<T>, index: u64| {
            if let Some(bucket) = side.get_mut(index as usize) {
                bucket.iter_mut(&mut visit);
            }
        };
        if self.new.segments.is_empty() {
            return 0;
        }
        if !self.is_resizing() {
            let mask = self.new.mask();
            visit_bucket(&mut self.new, cursor & mask);
            return next_cursor(cursor, mask);
        }
        let new_is_smaller = self.new.bits < self.old.bits;
        let (old, new) = (&mut self.old, &mut self.new);
        let (small, large) = if new_is_smaller { (new, old) } else { (old, new) };
        let (small_mask, large_mask) = (small.mask(), large.mask());
        visit_bucket(small, cursor & small_mask);
        let mut cursor = cursor;
        loop {
            visit_bucket(large, cursor & large_mask);
            cursor = next_cursor(cursor, large_mask);
            if cursor & (small_mask ^ large_mask) == 0 {
                return cursor;
            }
        }
    }

    fn sides_by_size(&self) -> Option<(&Side<T>, Option<&Side<T>>)> {
        match (self.new.segments.is_empty(), self.old.segments.is_empty()) {
            (true, _) => None,
            (false, true) => Some((&self.new, None)),
            (false, false) if self.new.bits < self.old.bits => Some((&self.new, Some(&self.old))),
            (false, false) => Some((&self.old, Some(&self.new))),
        }
    }

    /// One of the entries, each about as likely as any other. `random` gives 64 random bits.
    pub fn random(&self, random: impl FnMut() -> u64) -> Option<&T> {
        self.random_place(random).map(|place| self.at(place))
    }

    /// The place of one of the entries, each about as likely as any other.
    pub fn random_place(&self, mut random: impl FnMut() -> u64) -> Option<Place> {
        if self.is_empty() {
            return None;
        }
        let waiting = self.old.buckets() - self.moved;
        let total = waiting + self.new.buckets();
        let bucket_at = |n: usize| {
            let old = n < waiting;
            let index = if old { self.moved + n } else { n - waiting };
            let side = if old { &self.old } else { &self.new };
            side.get(index).map(|bucket| (bucket, Place { old, index, nth: 0 }))
        };
        // A place that may be empty, drawn until it is not: longer chains weigh as they should, up
        // to as many places as hardly any chain is longer than. During a resize the two sides
        // differ in how full they are: the fuller one counts.
        let filled = match self.is_resizing() {
            false => self.len.div_ceil(total),
            true if self.new.bits < self.old.bits => SPARSE << (self.old.bits - self.new.bits),
            true => FILL_MAX + 1,
        };
        let places = (2 * filled + 4).min(WAYS * 3);
        for _ in 0..200 {
            let drawn = random();
            let Some((bucket, place)) = bucket_at((drawn >> 16) as usize % total) else { continue };
            let number = (drawn & 0xffff) as usize % places.max(bucket.count());
            if let Some(nth) = bucket.taken(number) {
                return Some(Place { nth, ..place });
            }
        }
        // A table that has lost most of its entries a moment ago: the first one after a place.
        let from = random() as usize % total;
        let mut buckets = (from..total).chain(0..from).filter_map(bucket_at);
        buckets.find_map(|(bucket, place)| Some(Place { nth: bucket.taken(0)?, ..place }))
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.old.iter().chain(self.new.iter())
    }

    /// Bytes that the table itself takes on the heap, without what its entries own.
    pub fn heap_bytes(&self) -> usize {
        [&self.old, &self.new]
            .into_iter()
            .map(|side| {
                let buckets = side.segments.iter().flat_map(|segment| segment.iter());
                side.segments.capacity() * size_of::<Box<[Bucket<T>]>>()
                    + buckets.map(|b| size_of::<Bucket<T>>() + b.heap_bytes()).sum::<usize>()
            })
            .sum()
    }

    /// Buckets of the old side (0 while there is no resize) and of the new: what DEBUG HTSTATS shows.
    pub fn buckets(&self) -> (usize, usize) {
        (self.old.buckets(), self.new.buckets())
    }
}

/// The top byte of a hash: independent of the low bits that choose the bucket.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// The cursor after this one: its bits below the mask, counted up from the highest to the lowest.
fn next_cursor(cursor: u64, mask: u64) -> u64 {
    (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
}

#[cfg(test)]
mod tests;
