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

use super::hasher::Hasher;

/// What a table holds: something that knows its key.
pub trait Keyed {
    /// The bytes that identify it in its table.
    fn key(&self) -> &[u8];
}

/// Entries in one bucket before it links to another.
const WAYS: usize = 6;
/// A side grows when it holds more entries per bucket than this, on average.
const FILL_MAX: usize = 6;
/// A side shrinks when it holds one entry per so many buckets or fewer.
const SPARSE: usize = 2;
/// Buckets of one segment, as a power of two: 8 KiB are taken or given back at a time.
const SEGMENT_BITS: u32 = 7;
/// Empty old buckets that a step may skip on top of those it moves.
const EMPTY_MAX: usize = 16;

#[derive(Debug)]
struct Bucket<T> {
    /// The top byte of each entry's hash.
    tags: [u8; WAYS],
    entries: [Option<T>; WAYS],
    more: Option<Box<Bucket<T>>>,
}

/// Where an entry is. Valid until the next change of its table.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    old: bool,
    index: usize,
    /// Which way of which bucket of the chain.
    nth: usize,
}

impl<T> Bucket<T> {
    const fn new() -> Self {
        Self { tags: [0; WAYS], entries: [const { None }; WAYS], more: None }
    }

    fn push(&mut self, tag: u8, entry: T) -> &mut T {
        let mut bucket = self;
        loop {
            if let Some(free) = bucket.entries.iter().position(Option::is_none) {
                bucket.tags[free] = tag;
                return bucket.entries[free].insert(entry);
            }
            bucket = bucket.more.get_or_insert_with(|| Box::new(Self::new()));
        }
    }

    /// Takes one entry from the end of the chain; frees the bucket that this empties.
    fn pop(&mut self) -> Option<(u8, T)> {
        if let Some(more) = &mut self.more {
            let popped = more.pop();
            if more.is_empty() {
                self.more = None;
            }
            if popped.is_some() {
                return popped;
            }
        }
        let last = self.entries.iter().rposition(Option::is_some)?;
        self.entries[last].take().map(|entry| (self.tags[last], entry))
    }

    #[inline]
    fn nth(&self, nth: usize) -> Option<&T> {
        let mut bucket = self;
        for _ in 0..nth / WAYS {
            bucket = bucket.more.as_deref()?;
        }
        bucket.entries[nth % WAYS].as_ref()
    }

    #[inline]
    fn nth_mut(&mut self, nth: usize) -> Option<&mut T> {
        let mut bucket = self;
        for _ in 0..nth / WAYS {
            bucket = bucket.more.as_deref_mut()?;
        }
        bucket.entries[nth % WAYS].as_mut()
    }

    fn is_empty(&self) -> bool {
        self.more.is_none() && self.entries.iter().all(Option::is_none)
    }

    /// Entries of the chain.
    fn count(&self) -> usize {
        self.iter().count()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::successors(Some(self), |bucket| bucket.more.as_deref())
            .flat_map(|bucket| bucket.entries.iter().flatten())
    }

    fn iter_mut(&mut self, visit: &mut impl FnMut(&mut T)) {
        let mut bucket = Some(self);
        while let Some(this) = bucket {
            this.entries.iter_mut().flatten().for_each(&mut *visit);
            bucket = this.more.as_deref_mut();
        }
    }

    fn heap_bytes(&self) -> usize {
        self.more.as_ref().map_or(0, |more| size_of::<Self>() + more.heap_bytes())
    }
}

impl<T: Keyed> Bucket<T> {
    #[inline]
    fn position(&self, tag: u8, key: &[u8]) -> Option<usize> {
        let mut bucket = self;
        let mut first = 0;
        loop {
            for way in 0..WAYS {
                if bucket.tags[way] == tag
                    && bucket.entries[way].as_ref().is_some_and(|entry| entry.key() == key)
                {
                    return Some(first + way);
                }
            }
            bucket = bucket.more.as_deref()?;
            first += WAYS;
        }
    }

    /// Takes an entry out; one from the end of the chain fills its place.
    fn remove(&mut self, tag: u8, key: &[u8]) -> Option<T> {
        let way = (0..WAYS).find(|&way| {
            self.tags[way] == tag
                && self.entries[way].as_ref().is_some_and(|entry| entry.key() == key)
        });
        let Some(way) = way else {
            let more = self.more.as_deref_mut()?;
            let removed = more.remove(tag, key);
            if more.is_empty() {
                self.more = None;
            }
            return removed;
        };
        let removed = self.entries[way].take();
        if let Some(more) = &mut self.more {
            if let Some((tag, entry)) = more.pop() {
                self.tags[way] = tag;
                self.entries[way] = Some(entry);
            }
            if more.is_empty() {
                self.more = None;
            }
        }
        removed
    }
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
        let hash = self.hasher.hash(key);
        let side = if self.waits(hash) { &mut self.old } else { &mut self.new };
        let index = (hash & side.mask()) as usize;
        let removed = side.get_mut(index)?.remove(tag(hash), key)?;
        self.len -= 1;
        if self.len == 0 {
            self.clear();
            return Some(removed);
        }
        self.step(1);
        if !self.is_resizing() && self.new.bits > 0 && self.len * SPARSE <= self.new.buckets() {
            // To about half full: neither the next insertion nor the next removal resizes again.
            let buckets = (self.len * 2).div_ceil(FILL_MAX).next_power_of_two();
            self.resize(buckets.trailing_zeros());
        }
        Some(removed)
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
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&T> {
        if self.is_empty() {
            return None;
        }
        let total = self.old.buckets() - self.moved + self.new.buckets();
        let bucket_at = |n: usize| {
            let old = self.old.buckets() - self.moved;
            if n < old { self.old.get(self.moved + n) } else { self.new.get(n - old) }
        };
        // A place that may be empty, drawn until it is not: longer chains weigh as they should, up
        // to as many places as hardly any chain is longer than. During a resize the two sides
        // differ in how full they are.
        let places_max = WAYS * 3;
        let places = if self.is_resizing() {
            places_max
        } else {
            (2 * self.len.div_ceil(total) + 4).min(places_max)
        };
        for _ in 0..200 {
            let drawn = random();
            let Some(bucket) = bucket_at((drawn >> 16) as usize % total) else { continue };
            let place = (drawn & 0xffff) as usize % places.max(bucket.count());
            if let Some(entry) = bucket.iter().nth(place) {
                return Some(entry);
            }
        }
        // A table that has lost most of its entries a moment ago: the first one after a place.
        let from = random() as usize % total;
        let buckets = (from..total).chain(0..from);
        let chain = buckets.filter_map(bucket_at).find(|bucket| !bucket.is_empty());
        chain.and_then(|bucket| bucket.iter().next())
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
