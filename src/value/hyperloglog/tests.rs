//! The bytes and counts were read from Redis 7.0.15; the differential tests compare many more.

use super::*;
use proptest::prelude::*;

/// Redis's default for `hll-sparse-max-bytes`.
const SPARSE_MAX: usize = 3000;

#[test]
fn an_empty_one_is_one_run() {
    let bytes = empty();
    assert_eq!(bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
    assert_eq!((cached_count(&bytes), count(&bytes)), (Some(0), Ok(0)));
    assert_eq!(describe(&bytes).as_deref(), Some("Z:16384"));
}

#[test]
fn other_strings_are_not_taken_for_one() {
    let mut wrong = empty();
    wrong[4] = 2;
    let mut short = vec![0; HEADER + dense::BYTES - 1];
    short[..4].copy_from_slice(MAGIC);
    for bytes in [&b""[..], b"HYLL", b"HYLX\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", &wrong, &short] {
        assert_eq!(encoding(bytes), None, "{bytes:?}");
    }
}

#[test]
fn runs_that_do_not_add_up_are_found() {
    let good = empty();
    for tail in [&b"\x7f"[..], b"", b"\x7f\xfe", b"\x7f\xff\x00", b"\x80", b"\x7f\xff\x7f\xff"] {
        let mut bytes = [&good[..HEADER], tail].concat();
        assert_eq!(count(&bytes), Err(Corrupted), "{tail:?}");
        assert_eq!(to_dense(&mut bytes), Err(Corrupted), "{tail:?}");
    }
}

#[test]
fn values_too_large_for_runs_make_it_dense() {
    let mut bytes = empty();
    assert_eq!(raise(&mut bytes, 7, 32, SPARSE_MAX), Ok(true));
    assert_eq!(encoding(&bytes), Some(Encoding::Sparse));
    assert_eq!(raise(&mut bytes, 8, 33, SPARSE_MAX), Ok(true));
    assert_eq!(encoding(&bytes), Some(Encoding::Dense));
    assert_eq!(
        Registers::of(&bytes).map(|all| all.values()[6..10].to_vec()),
        Ok(vec![0, 32, 33, 0])
    );
}

#[test]
fn estimates_are_as_good_as_the_algorithm_promises() {
    let mut bytes = empty();
    let mut next = 0_u64;
    for (elements, off_by_max) in [(10, 0.0), (1_000, 0.02), (100_000, 0.03)] {
        while next < elements {
            add(&mut bytes, next.to_string().as_bytes(), SPARSE_MAX).expect("not corrupted");
            next += 1;
        }
        let counted = count(&bytes).expect("not corrupted") as f64;
        let off_by = (counted - elements as f64).abs() / elements as f64;
        assert!(off_by <= off_by_max, "{elements} were counted as {counted}");
    }
}

proptest! {
    #[test]
    fn both_encodings_hold_the_same(
        raises in proptest::collection::vec((0..REGISTERS, 1_u8..=51), 0..2_000),
        sparse_max in 0_usize..4_000,
    ) {
        let mut model = [0; REGISTERS];
        let mut dense = empty();
        to_dense(&mut dense).expect("not corrupted");
        let mut mixed = empty();
        for (index, value) in raises {
            let rises = model[index] < value;
            model[index] = model[index].max(value);
            prop_assert_eq!(raise(&mut dense, index, value, sparse_max), Ok(rises));
            prop_assert_eq!(raise(&mut mixed, index, value, sparse_max), Ok(rises));
        }
        for bytes in [&dense, &mixed] {
            let registers = Registers::of(bytes).expect("not corrupted");
            prop_assert_eq!(registers.values(), &model);
        }
        let mut merged = empty();
        Registers::of(&mixed).expect("not corrupted").raise(&mut merged, sparse_max).expect("not corrupted");
        prop_assert_eq!(count(&merged), count(&dense));
    }

    #[test]
    fn nothing_that_a_client_stores_panics(tail in proptest::collection::vec(any::<u8>(), 0..40), index in 0..REGISTERS) {
        let mut bytes = [&empty()[..HEADER], &tail].concat();
        let _ = describe(&bytes);
        let _ = count(&bytes);
        let _ = raise(&mut bytes, index, 5, SPARSE_MAX);
        let _ = to_dense(&mut bytes);
    }
}
