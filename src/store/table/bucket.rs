//! One bucket of a table: a cache line of entries, each with a byte of its hash, and a link to a
//! further one.

use super::Keyed;

/// Entries in one bucket before it links to another.
pub(super) const WAYS: usize = 6;

#[derive(Debug)]
pub(super) struct Bucket<T> {
    /// The top byte of each entry's hash.
    tags: [u8; WAYS],
    pub(super) entries: [Option<T>; WAYS],
    pub(super) more: Option<Box<Bucket<T>>>,
}

impl<T> Bucket<T> {
    pub(super) const fn new() -> Self {
        Self { tags: [0; WAYS], entries: [const { None }; WAYS], more: None }
    }

    pub(super) fn push(&mut self, tag: u8, entry: T) -> &mut T {
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
    pub(super) fn pop(&mut self) -> Option<(u8, T)> {
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
    pub(super) fn nth(&self, nth: usize) -> Option<&T> {
        let mut bucket = self;
        for _ in 0..nth / WAYS {
            bucket = bucket.more.as_deref()?;
        }
        bucket.entries[nth % WAYS].as_ref()
    }

    #[inline]
    pub(super) fn nth_mut(&mut self, nth: usize) -> Option<&mut T> {
        let mut bucket = self;
        for _ in 0..nth / WAYS {
            bucket = bucket.more.as_deref_mut()?;
        }
        bucket.entries[nth % WAYS].as_mut()
    }

    /// Takes an entry out; one from the end of the chain fills its place.
    pub(super) fn remove(&mut self, nth: usize) -> Option<T> {
        if nth >= WAYS {
            let more = self.more.as_deref_mut()?;
            let removed = more.remove(nth - WAYS);
            if more.is_empty() {
                self.more = None;
            }
            return removed;
        }
        let removed = self.entries[nth].take();
        if let Some(more) = &mut self.more {
            if let Some((tag, entry)) = more.pop() {
                self.tags[nth] = tag;
                self.entries[nth] = Some(entry);
            }
            if more.is_empty() {
                self.more = None;
            }
        }
        removed
    }

    /// Which way of the chain holds the entry of this number.
    pub(super) fn taken(&self, mut number: usize) -> Option<usize> {
        let mut bucket = self;
        let mut first = 0;
        loop {
            for way in 0..WAYS {
                if bucket.entries[way].is_some() {
                    if number == 0 {
                        return Some(first + way);
                    }
                    number -= 1;
                }
            }
            bucket = bucket.more.as_deref()?;
            first += WAYS;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.more.is_none() && self.entries.iter().all(Option::is_none)
    }

    /// Entries of the chain.
    pub(super) fn count(&self) -> usize {
        self.iter().count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::successors(Some(self), |bucket| bucket.more.as_deref())
            .flat_map(|bucket| bucket.entries.iter().flatten())
    }

    pub(super) fn iter_mut(&mut self, visit: &mut impl FnMut(&mut T)) {
        let mut bucket = Some(self);
        while let Some(this) = bucket {
            this.entries.iter_mut().flatten().for_each(&mut *visit);
            bucket = this.more.as_deref_mut();
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.more.as_ref().map_or(0, |more| size_of::<Self>() + more.heap_bytes())
    }
}

impl<T: Keyed> Bucket<T> {
    #[inline]
    pub(super) fn position(&self, tag: u8, key: &[u8]) -> Option<usize> {
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
}
