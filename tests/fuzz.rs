//! The fuzzers' corpora, replayed on a stable toolchain: also cut short at every byte, and with
//! single bytes changed.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::fs;
use std::path::Path;

/// Feeds a target every file of its corpus, and what is near it.
fn replay(name: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let data = fs::read(entry.expect("it is readable").path()).expect("it is readable");
        body(&data);
        // A long input is cut and changed here and there: at most some hundred times.
        let step = data.len() / 256 + 1;
        for at in (0..data.len()).step_by(step) {
            body(&data[..at]);
            let mut changed = data.clone();
            for byte in [0, b'\n', b'-', b'9', 0xff] {
                changed[at] = byte;
                body(&changed);
            }
        }
        files += 1;
    }
    assert!(files >= 5, "{name} has a corpus");
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

replayed! { resp_request resp_reply inline topology_text nodes_conf bus_packet config_file }
