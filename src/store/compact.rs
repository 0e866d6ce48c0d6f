//! A collection in one word: compact bytes while it is small, a box of something larger beyond.
//!
//! An enum of the two would take a word more for saying which. The lowest bit of the address says
//! it here: both kinds of allocation are aligned to more than one byte.

#![allow(unsafe_code, reason = "a pointer whose lowest bit tells what it points to: see above")]

use super::thin::{Compact, Thin};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A `C`, which is compact bytes, or a boxed `L`.
#[repr(transparent)]
pub(super) struct CompactOr<C: Compact, L> {
    /// The pointer of the `C`, or that of the box with its lowest bit set.
    word: NonNull<u8>,
    owns: PhantomData<(C, Box<L>)>,
}

/// Which of the two it is.
#[derive(Debug)]
pub(super) enum Form<C, L> {
    /// Compact bytes.
    Compact(C),
    /// Something larger.
    Large(L),
}

const LARGE: usize = 1;

// SAFETY: it owns a `C` or a `Box<L>` and nothing else.
unsafe impl<C: Compact + Send, L: Send> Send for CompactOr<C, L> {}
// SAFETY: as above.
unsafe impl<C: Compact + Sync, L: Sync> Sync for CompactOr<C, L> {}

impl<C: Compact, L> CompactOr<C, L> {
    const ALIGNED: () = assert!(align_of::<L>() > LARGE && super::thin::ALIGN > LARGE);

    pub(super) fn compact(compact: C) -> Self {
        const { assert!(size_of::<C>() == size_of::<NonNull<u8>>()) };
        let compact = ManuallyDrop::new(compact);
        // SAFETY: a `C` is a `Thin`, which is one pointer that is not null, and it is not used again.
        let word = unsafe { std::mem::transmute_copy::<ManuallyDrop<C>, NonNull<u8>>(&compact) };
        Self { word, owns: PhantomData }
    }

    pub(super) fn large(large: L) -> Self {
        const { Self::ALIGNED };
        let pointer = NonNull::from(Box::leak(Box::new(large))).cast::<u8>();
        Self { word: pointer.map_addr(|address| address | LARGE), owns: PhantomData }
    }

    #[inline]
    fn is_large(&self) -> bool {
        self.word.addr().get() & LARGE != 0
    }

    /// Where the `L` is, if it is large.
    #[inline]
    fn pointer(&self) -> *mut L {
        self.word.as_ptr().map_addr(|address| address & !LARGE).cast()
    }

    #[inline]
    pub(super) fn get(&self) -> Form<&C, &L> {
        if self.is_large() {
            // SAFETY: the bit says that this is the address of a leaked `Box<L>`, which `self` owns.
            return Form::Large(unsafe { &*self.pointer() });
        }
        // SAFETY: without the bit, the word is the one pointer that a `Thin` consists of.
        Form::Compact(C::of(unsafe { &*(&raw const self.word).cast::<Thin>() }))
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> Form<&mut C, &mut L> {
        if self.is_large() {
            // SAFETY: as in `get`; `&mut self` makes it the only borrow.
            return Form::Large(unsafe { &mut *self.pointer() });
        }
        // SAFETY: as in `get`. Whatever is put there is a `C` again, whose address is aligned.
        Form::Compact(C::of_mut(unsafe { &mut *(&raw mut self.word).cast::<Thin>() }))
    }
}

impl<C: Compact, L> Drop for CompactOr<C, L> {
    fn drop(&mut self) {
        if self.is_large() {
            // SAFETY: the address of a leaked `Box<L>` that `self` owned.
            drop(unsafe { Box::from_raw(self.pointer()) });
        } else {
            // SAFETY: the word is a `C` that `self` owned, and is not used again.
            unsafe { (&raw mut self.word).cast::<C>().drop_in_place() };
        }
    }
}

impl<C: Compact, L> std::fmt::Debug for CompactOr<C, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_large() { "Large" } else { "Compact" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn it_is_one_word_and_knows_which_it_is() {
        type Either = CompactOr<Thin, Rc<u64>>;
        assert_eq!(size_of::<Option<Either>>(), size_of::<usize>());

        let mut compact = Either::compact(Thin::concat(&[b"few"]));
        let Form::Compact(thin) = compact.get_mut() else { panic!("it is compact") };
        thin.resize(5000);
        thin.bytes_mut()[4999] = b'x';
        assert!(matches!(compact.get(), Form::Compact(thin) if thin.bytes().ends_with(b"x")));

        let shared = Rc::new(7);
        let mut large = Either::large(shared.clone());
        assert!(matches!(large.get_mut(), Form::Large(number) if **number == 7));
        assert!(matches!(large.get(), Form::Large(number) if **number == 7));
        drop(large);
        assert_eq!(Rc::strong_count(&shared), 1, "it owned the box");
    }
}
