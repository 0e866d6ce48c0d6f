//! The fuzzers' corpora, replayed on a stable toolchain: also cut short at every byte, and with
//! single bytes changed.

#![allow(unsafe_code, reason = "to see how much memory an input takes at most")]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

/// Bytes that a target may take for an input at most, whatever lengths the input claims: some of them
/// keep what they read several times over, as values and as text.
const MEMORY_MAX: usize = 16 * 1024 * 1024;

thread_local! {
    static TAKEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, and how many bytes this thread holds, and has held at most.
struct Watched;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = TAKEN.try_with(|taken| {
            let (now, most) = taken.get();
            let now = now.saturating_add(layout.size());
            taken.set((now, most.max(now)));
        });
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let _ = TAKEN.try_with(|taken| {
            let (now, most) = taken.get();
            taken.set((now.saturating_sub(layout.size()), most));
        });
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Runs a target on an input, which may not make it take more memory than it is worth.
fn feed(name: &str, body: fn(&[u8]), data: &[u8]) {
    TAKEN.set((0, 0));
    body(data);
    let (_, most) = TAKEN.get();
    assert!(most <= MEMORY_MAX, "{name} took {most} bytes for {}", data.escape_ascii());
}

/// Feeds a target every file of its corpus, and what is near it.
fn replay(name: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let data = fs::read(entry.expect("it is readable").path()).expect("it is readable");
        feed(name, body, &data);
        // A long input is cut and changed here and there: at most some hundred times.
        let step = data.len() / 256 + 1;
        for at in (0..data.len()).step_by(step) {
            feed(name, body, &data[..at]);
            let mut changed = data.clone();
            for byte in [0, b'\n', b'-', b'9', 0xff] {
                changed[at] = byte;
                feed(name, body, &changed);
            }
        }
        files += 1;
    }
    assert!(files >= 5, "{name} has a corpus");
}

/// What servers wrote is read, and what was made to do harm is refused.
#[test]
fn corpora_of_data_are_what_their_names_say() {
    type Reads = fn(&[u8]) -> Result<(), String>;
    let payload: Reads = |data| bodies::restored(data).map(drop).map_err(|e| e.to_string());
    let file: Reads = |data| match bodies::rdb_keys(data, data.len()).1 {
        None => Ok(()),
        Some(error) => Err(error.to_string()),
    };
    for (folder, reads, good_min, bad_min) in
        [("rdb_payload", payload, 50, 40), ("rdb_file", file, 8, 8)]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
        let (mut good, mut bad) = (0, 0);
        for entry in fs::read_dir(path).expect("it is there") {
            let entry = entry.expect("it is readable");
            let name = entry.file_name().into_string().expect("text");
            let outcome = reads(&fs::read(entry.path()).expect("it is readable"));
            if name.starts_with("found-") {
                // A fuzzer's: whatever it is, it gets somewhere.
                continue;
            }
            if name.starts_with("bad-") {
                assert!(outcome.is_err(), "{folder}/{name} was believed");
                bad += 1;
            } else {
                assert_eq!(outcome, Ok(()), "{folder}/{name}");
                good += 1;
            }
        }
        assert!(good >= good_min && bad >= bad_min, "{folder}: {good} good ones, {bad} bad ones");
    }
}

macro_rules! replayed {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), bodies::$name);
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            let mut targets: Vec<String> = fs::read_dir(folder)
                .expect("it is there")
                .map(|entry| entry.expect("it is readable").path())
                .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
                .collect();
            targets.sort();
            let mut replayed = vec![$(stringify!($name)),*];
            replayed.sort_unstable();
            assert_eq!(targets, replayed);
        }
    };
}

replayed! { resp_request resp_reply inline topology_text nodes_conf bus_packet config_file rdb_payload rdb_file }
