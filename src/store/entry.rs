//! One key with its value: a single allocation for what is small.
//!
//! ```text
//! a short string:  meta: 4 | expiry: 8, if it has one | key length: 1 or 5 | key | value
//! everything else: meta: 4 | payload: 8 | expiry: 8, if it has one | key
//! ```
//! A short string lies behind its key, so that a look-up costs one cache miss for both; an
//! integer is the payload; everything else is a value of one word, and that is the payload. With
//! the four bytes of its length in front, an entry with a key of 16 bytes and a value of 64 has 89
//! bytes, in a block of 96; one with a payload and such a key has 32.

#![allow(unsafe_code, reason = "a word that owns a value among packed bytes: see `payload`")]

use super::payload::{Kind, Payload};
use super::table::Keyed;
use super::thin::{self, Thin};
use super::value::{Value, ValueMut, ValueRef};

/// Strings up to this many bytes lie in the entry itself; longer ones are a value of their own.
pub(super) const EMBEDDED_MAX: usize = 1024;

const META: usize = 4;
const PAYLOAD: usize = size_of::<Payload>();
const USAGE_MASK: u32 = 0x00ff_ffff;
const KIND_SHIFT: u32 = 24;
const KIND_MASK: u32 = 7 << KIND_SHIFT;
const EXPIRES: u32 = 1 << 27;
/// The string has been changed in place: OBJECT ENCODING says raw for it, however short.
const RAW: u32 = 1 << 28;
/// Which snapshots have the entry: see [`super::snapshot`].
const MARK: u32 = 1 << 29;
/// What survives a change of the value.
const KEPT: u32 = USAGE_MASK | MARK;

/// A key, its value, its expiry and when it was used.
pub struct Entry(Thin);

// The payload is aligned: it lies behind the length and the meta word.
const _: () = assert!((thin::HEADER + META).is_multiple_of(align_of::<Payload>()));
const _: () = assert!(thin::ALIGN.is_multiple_of(align_of::<Payload>()));

impl Entry {
    /// A string, in the form that suits it.
    pub fn string(key: &[u8], bytes: &[u8], expires_at: Option<u64>) -> Self {
        if let Some(number) = crate::value::parse_i64(bytes) {
            return Self::int(key, number, expires_at);
        }
        if bytes.len() > EMBEDDED_MAX {
            return Self::object(key, Value::string(bytes.into()), expires_at);
        }
        Self::build(Kind::Embedded, 0, None, key, bytes, expires_at)
    }

    /// A string that is an integer.
    pub fn int(key: &[u8], number: i64, expires_at: Option<u64>) -> Self {
        Self::build(Kind::Int, 0, Some(Payload::int(number)), key, &[], expires_at)
    }

    /// Any other value.
    pub fn object(key: &[u8], value: Value, expires_at: Option<u64>) -> Self {
        let (kind, payload) = Payload::of(value);
        Self::build(kind, 0, Some(payload), key, &[], expires_at)
    }

    /// With a payload of the kind, or else the bytes of an embedded string.
    fn build(
        kind: Kind,
        flags: u32,
        payload: Option<Payload>,
        key: &[u8],
        bytes: &[u8],
        expires_at: Option<u64>,
    ) -> Self {
        let expires = if expires_at.is_some() { EXPIRES } else { 0 };
        let meta = ((kind as u32) << KIND_SHIFT | expires | flags).to_ne_bytes();
        let expiry = expires_at.map(u64::to_ne_bytes);
        let expiry = expiry.as_ref().map_or(&[][..], |expiry| expiry);
        if let Some(payload) = payload {
            let mut entry = Self(Thin::concat(&[&meta, &[0; PAYLOAD], expiry, key]));
            // SAFETY: there is room for it, aligned, and nothing there that would have to be dropped.
            unsafe { entry.place_mut().write(payload) };
            return entry;
        }
        let mut prefix = [0xff; 5];
        let prefix = if key.len() < 0xff {
            prefix[0] = key.len() as u8;
            &prefix[..1]
        } else {
            prefix[1..].copy_from_slice(&(key.len() as u32).to_ne_bytes());
            &prefix[..]
        };
        Self(Thin::concat(&[&meta, expiry, prefix, key, bytes]))
    }

    /// Where the payload is.
    #[inline]
    fn place(&self) -> *const Payload {
        self.0.bytes()[META..META + PAYLOAD].as_ptr().cast()
    }

    #[inline]
    fn place_mut(&mut self) -> *mut Payload {
        self.0.bytes_mut()[META..META + PAYLOAD].as_mut_ptr().cast()
    }

    #[inline]
    fn meta(&self) -> u32 {
        u32::from_ne_bytes(*self.0.bytes().first_chunk().expect("an entry has its meta word"))
    }

    fn set_meta(&mut self, meta: u32) {
        self.0.bytes_mut()[..META].copy_from_slice(&meta.to_ne_bytes());
    }

    #[inline]
    fn kind(&self) -> Kind {
        Kind::of_bits(self.meta() >> KIND_SHIFT)
    }

    fn expiry_at(&self) -> usize {
        META + if self.kind() == Kind::Embedded { 0 } else { PAYLOAD }
    }

    /// Where the key starts and ends.
    #[inline]
    fn key_span(&self) -> (usize, usize) {
        let meta = self.meta();
        let bytes = self.0.bytes();
        let at = META + if meta & EXPIRES == 0 { 0 } else { 8 };
        if meta & KIND_MASK != 0 {
            // It is the last.
            return (at + PAYLOAD, bytes.len());
        }
        match bytes[at] {
            0xff => {
                let len = bytes[at + 1..].first_chunk().expect("a long key has its length");
                (at + 5, at + 5 + u32::from_ne_bytes(*len) as usize)
            }
            len => (at + 1, at + 1 + usize::from(len)),
        }
    }

    /// When it expires, in milliseconds since the Unix epoch.
    #[inline]
    pub fn expires_at(&self) -> Option<u64> {
        if self.meta() & EXPIRES == 0 {
            return None;
        }
        let bytes = self.0.bytes()[self.expiry_at()..].first_chunk();
        Some(u64::from_ne_bytes(*bytes.expect("the expiry has its place")))
    }

    /// Whether it has expired at this time.
    #[inline]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at().is_some_and(|at| now_ms > at)
    }

    /// Sets or clears the expiry. The database does this, for it indexes them.
    pub(super) fn set_expires_at(&mut self, expires_at: Option<u64>) {
        if let (Some(at), true) = (expires_at, self.meta() & EXPIRES != 0) {
            let place = self.expiry_at();
            self.0.bytes_mut()[place..place + 8].copy_from_slice(&at.to_ne_bytes());
        } else if expires_at != self.expires_at() {
            *self = self.rebuilt(None, expires_at);
        }
    }

    /// The same value under another key or with another expiry. Takes the value: what remains
    /// in `self` is an integer or an empty string.
    fn rebuilt(&mut self, key: Option<&[u8]>, expires_at: Option<u64>) -> Self {
        let kind = self.kind();
        // SAFETY: a kind that is not embedded has a payload, whose value `self` gives up.
        let payload = (kind != Kind::Embedded).then(|| unsafe { self.place().read() });
        let (start, end) = self.key_span();
        let bytes = self.0.bytes();
        let key = key.unwrap_or(&bytes[start..end]);
        let kept = self.meta() & (KEPT | RAW);
        let rebuilt = Self::build(kind, kept, payload, key, &bytes[end..], expires_at);
        self.forget_value();
        rebuilt
    }

    /// The same value, expiry and use under another key.
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let expires_at = self.expires_at();
        self.rebuilt(Some(key), expires_at)
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        let kind = self.kind();
        if kind == Kind::Embedded {
            return ValueRef::Embedded {
                bytes: &self.0.bytes()[self.key_span().1..],
                raw: self.meta() & RAW != 0,
            };
        }
        // SAFETY: the meta word says which kind of payload is there. It lives as long as the
        // entry, unless `take_object` or `drop` takes it, which need `&mut`.
        unsafe { (*self.place()).view(kind) }
    }

    /// The value, if it is neither an integer nor a string in the entry.
    #[inline]
    pub fn object_mut(&mut self) -> Option<ValueMut<'_>> {
        let kind = self.kind();
        if kind == Kind::Embedded {
            return None;
        }
        // SAFETY: as in `value`; `&mut self` makes it the only borrow.
        unsafe { (*self.place_mut()).view_mut(kind) }
    }

    /// Marks the entry as an integer, if it has a payload, so that it no longer owns a value.
    fn forget_value(&mut self) {
        let meta = self.meta();
        if meta & KIND_MASK != 0 {
            self.set_meta(meta & !KIND_MASK | (Kind::Int as u32) << KIND_SHIFT);
        }
    }

    /// Takes the object out; the entry holds the integer that was its address, for a moment.
    fn take_object(&mut self) -> Option<Value> {
        let kind = self.kind();
        if matches!(kind, Kind::Embedded | Kind::Int) {
            return None;
        }
        // SAFETY: the payload is of this kind, and with its kind changed the entry no longer owns
        // what it read.
        let payload = unsafe { self.place().read() };
        self.forget_value();
        // SAFETY: as above.
        unsafe { payload.take(kind) }
    }

    /// Puts a string in place of the value. Returns the old one if it was an object.
    pub fn set_string(&mut self, bytes: &[u8]) -> Option<Value> {
        if let Some(number) = crate::value::parse_i64(bytes) {
            return self.set_int(number);
        }
        if bytes.len() > EMBEDDED_MAX {
            return self.set_object(Value::string(bytes.into()));
        }
        self.set_embedded(bytes, false)
    }

    /// Puts a string in place of the value that stays text even where it is a number.
    pub fn set_text(&mut self, bytes: &[u8]) -> Option<Value> {
        if bytes.len() > EMBEDDED_MAX {
            return self.set_object(Value::string(bytes.into()));
        }
        self.set_embedded(bytes, false)
    }

    /// Puts a string in place of the value that OBJECT ENCODING calls raw, number or not.
    pub fn set_raw(&mut self, bytes: &[u8]) -> Option<Value> {
        if bytes.len() > EMBEDDED_MAX {
            return self.set_object(Value::string(bytes.into()));
        }
        self.set_embedded(bytes, true)
    }

    fn set_embedded(&mut self, bytes: &[u8], raw: bool) -> Option<Value> {
        let flag = if raw { RAW } else { 0 };
        let (start, end) = self.key_span();
        if self.kind() == Kind::Embedded {
            if self.0.bytes().len() != end + bytes.len() {
                self.0.resize(end + bytes.len());
            }
            self.0.bytes_mut()[end..].copy_from_slice(bytes);
            self.set_meta(self.meta() & !RAW | flag);
            return None;
        }
        let old = self.take_object();
        let flags = self.meta() & KEPT | flag;
        let key = &self.0.bytes()[start..end];
        *self = Self::build(Kind::Embedded, flags, None, key, bytes, self.expires_at());
        old
    }

    /// Puts an integer in place of the value. Returns the old one if it was an object.
    pub fn set_int(&mut self, number: i64) -> Option<Value> {
        self.set_payload(Kind::Int, Payload::int(number))
    }

    /// Puts a value in place of the value. Returns the old one if it was an object.
    pub fn set_object(&mut self, value: Value) -> Option<Value> {
        let (kind, payload) = Payload::of(value);
        self.set_payload(kind, payload)
    }

    fn set_payload(&mut self, kind: Kind, payload: Payload) -> Option<Value> {
        if self.kind() == Kind::Embedded {
            let (start, end) = self.key_span();
            let flags = self.meta() & KEPT;
            let key = &self.0.bytes()[start..end];
            *self = Self::build(kind, flags, Some(payload), key, &[], self.expires_at());
            return None;
        }
        let old = self.take_object();
        // SAFETY: there is a payload, and the value that it may have owned is taken.
        unsafe { self.place_mut().write(payload) };
        let meta = self.meta() & !(KIND_MASK | RAW) | (kind as u32) << KIND_SHIFT;
        self.set_meta(meta);
        old
    }

    /// The bit that tells those that a snapshot has from those that it has not.
    #[inline]
    pub(super) fn mark(&self) -> bool {
        self.meta() & MARK != 0
    }

    /// Sets that bit.
    #[inline]
    pub(super) fn set_mark(&mut self, mark: bool) {
        if self.mark() != mark {
            self.set_meta(self.meta() ^ MARK);
        }
    }

    /// The 24 bits that say when or how often it was used.
    pub fn usage(&self) -> u32 {
        self.meta() & USAGE_MASK
    }

    /// Sets the 24 bits that say when or how often it was used.
    #[inline]
    pub fn set_usage(&mut self, usage: u32) {
        let meta = self.meta();
        if meta & USAGE_MASK != usage {
            self.set_meta(meta & !USAGE_MASK | usage & USAGE_MASK);
        }
    }

    /// Bytes on the heap, the value's included (an estimate for large collections).
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.value().heap_bytes()
    }
}

impl Keyed for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        let (start, end) = self.key_span();
        &self.0.bytes()[start..end]
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        drop(self.take_object());
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &String::from_utf8_lossy(self.key()))
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::{Hash, List, Set, SortedSet};

    fn text(entry: &Entry) -> Vec<u8> {
        match entry.value() {
            ValueRef::Int(number) => number.to_string().into_bytes(),
            ValueRef::Embedded { bytes, .. } => bytes.to_vec(),
            ValueRef::String(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sixteen_bytes_of_key_and_sixty_four_of_value_fit_a_block_of_96() {
        let entry = Entry::string(&[b'k'; 16], &[b'v'; 64], None);
        assert!(entry.heap_bytes() <= 96, "{} bytes", entry.heap_bytes());
        assert_eq!(size_of::<Option<Entry>>(), size_of::<usize>());
    }

    #[test]
    fn a_key_of_sixteen_bytes_with_a_payload_fits_a_block_of_32() {
        assert_eq!(Entry::int(&[b'k'; 16], i64::MIN, None).heap_bytes(), 32);
        let hash = Entry::object(&[b'k'; 16], Value::Hash(Hash::new()), None);
        assert_eq!(hash.heap_bytes(), 32 + 8, "and an empty listpack");
    }

    #[test]
    fn every_kind_of_value_comes_back_out() {
        let values = [
            Value::string(vec![b'x'; 2000]),
            Value::List(List::new()),
            Value::Hash(Hash::new()),
            Value::SortedSet(SortedSet::new()),
            Value::Set(Set::new()),
            Value::Stream(Box::default()),
        ];
        for value in &values {
            let (kind, encoding) = (value.view().type_of(), value.view().encoding());
            let mut entry = Entry::object(b"key", value.clone(), Some(9));
            assert_eq!((entry.value().type_of(), entry.value().encoding()), (kind, encoding));
            assert!(entry.object_mut().is_some());
            for other in &values {
                let old = entry.set_object(other.clone()).expect("there was a value");
                assert_eq!(old.view().type_of(), kind);
                let old = entry.set_object(value.clone()).expect("there was a value");
                assert_eq!(old.view().type_of(), other.view().type_of());
            }
            entry.set_expires_at(None);
            let mut entry = entry.renamed(b"another");
            assert_eq!((entry.key(), entry.value().type_of()), (&b"another"[..], kind));
            assert_eq!(entry.set_int(3).map(|old| old.view().type_of()), Some(kind));
            assert!(entry.object_mut().is_none());
        }
    }

    /// Every form of value, from every form, with a short and a long key, with and without expiry.
    #[test]
    fn a_value_survives_every_change_of_form() {
        let forms: [&[u8]; 5] = [b"12345", b"", b"short", &[b'm'; 500], &[b'l'; 5000]];
        for key in [&b"k"[..], &[b'K'; 254], &[b'K'; 255], &[b'K'; 70_000]] {
            for from in forms {
                for to in forms {
                    for raw in [false, true] {
                        let mut entry = Entry::string(key, from, None);
                        entry.set_usage(0xabcdef);
                        assert_eq!(text(&entry), from);
                        entry.set_expires_at(Some(77));
                        assert_eq!((text(&entry), entry.expires_at()), (from.to_vec(), Some(77)));
                        if raw {
                            entry.set_raw(to)
                        } else {
                            entry.set_string(to)
                        };
                        assert_eq!((text(&entry), entry.expires_at()), (to.to_vec(), Some(77)));
                        entry.set_expires_at(Some(78));
                        assert_eq!(entry.expires_at(), Some(78));
                        entry.set_expires_at(None);
                        assert_eq!((text(&entry), entry.expires_at()), (to.to_vec(), None));
                        assert_eq!(entry.key(), key);
                        let entry = entry.renamed(b"other");
                        assert_eq!((entry.key(), entry.usage()), (&b"other"[..], 0xabcdef));
                        assert_eq!(text(&entry), to);
                    }
                }
            }
        }
    }

    #[test]
    fn a_replaced_object_is_handed_back() {
        let mut entry = Entry::string(b"k", &[b'l'; 5000], None);
        assert!(entry.set_int(7).is_some());
        assert!(entry.set_string(&[b'l'; 5000]).is_none());
        assert!(entry.set_string(b"s").is_some());
    }
}
