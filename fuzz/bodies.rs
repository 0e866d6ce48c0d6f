//! What the fuzzers run, as plain functions: `tests/fuzz.rs` feeds them the corpora on a stable
//! toolchain, so that what was once found stays found.
//!
//! Each takes any bytes, and asserts what must hold whatever they are.

use bytes::{Bytes, BytesMut};
use keyway::bus;
use keyway::cluster::{Durable, View};
use keyway::config::check_proxy;
use keyway::resp::{Limits, ReplyScanner, RequestDecoder, parse_reply, split_inline};
use keyway::store::rdb::{
    Crc64, Loaded, PAYLOAD_MIN, RdbError, RdbEvent, RdbReader, dump, restore,
};
use keyway::store::{Keyed, Keyspace, KeyspaceOptions};

/// Small enough that no input of a fuzzer is refused for its size alone.
const LIMITS: Limits = Limits {
    arguments_max: 1024,
    bulk_bytes: 64 * 1024,
    inline_bytes: 1024,
    request_bytes: 64 * 1024,
    reply_depth: 16,
};

/// Decodes requests until the bytes end or are refused: how many there were, and how it ended.
fn requests(data: &[u8], step: usize) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let mut decoder = RequestDecoder::default();
    let mut decoded = Vec::new();
    let mut start = 0;
    let mut end = step.min(data.len());
    loop {
        match decoder.decode(&data[start..end], &LIMITS) {
            Ok(Some(used)) => {
                if let Some(request) = decoder.request(&data[start..end], used) {
                    decoded.push(request.args_from(0).map(<[u8]>::to_vec).collect());
                }
                assert!(used > 0, "a request takes bytes");
                start += used;
            }
            Ok(None) if end == data.len() => return (decoded, None),
            Ok(None) => end = (end + step).min(data.len()),
            Err(error) => return (decoded, Some(error.to_string())),
        }
    }
}

/// A client's bytes decode alike, however they are cut.
pub(crate) fn resp_request(data: &[u8]) {
    let whole = requests(data, data.len().max(1));
    assert_eq!(requests(data, 1), whole, "one byte at a time");
}

/// A node's bytes: where a reply ends is where its tree ends.
pub(crate) fn resp_reply(data: &[u8]) {
    let mut whole = ReplyScanner::default();
    let end = whole.scan(data, &LIMITS);
    let mut bytewise = ReplyScanner::default();
    let mut found = Ok(None);
    for len in 1..=data.len() {
        found = bytewise.scan(&data[..len], &LIMITS);
        if !matches!(found, Ok(None)) {
            break;
        }
    }
    assert_eq!(found.is_err(), end.is_err(), "one byte at a time");
    if let (Ok(end), Ok(found)) = (&end, &found) {
        assert_eq!(found, end, "one byte at a time");
    }
    if let Ok(Some(end)) = end {
        // The scanner is lenient inside scalars; the parser may refuse them, and must not panic.
        let _ = parse_reply(&Bytes::copy_from_slice(&data[..end]), LIMITS.reply_depth);
    }
}

/// A line as people type it.
pub(crate) fn inline(data: &[u8]) {
    if let Some(words) = split_inline(data) {
        let bytes: usize = words.iter().map(Vec::len).sum();
        assert!(bytes <= data.len(), "words are never longer than their line");
    }
}

fn text_lines(data: &[u8]) -> usize {
    data.split(|&byte| byte == b'\n').count()
}

/// What a node says about its cluster.
pub(crate) fn topology_text(data: &[u8]) {
    if let Ok(view) = View::parse(&String::from_utf8_lossy(data), "127.0.0.1") {
        // Several nodes may claim one slot: claims are counted, and may be more than there are slots.
        let most = 16_384 * text_lines(data);
        assert!(view.slots_covered() <= most, "a line claims each slot once");
    }
}

/// nodes.conf: what was read is written and read back as the same.
pub(crate) fn nodes_conf(data: &[u8]) {
    if let Ok(durable) = Durable::parse(&String::from_utf8_lossy(data)) {
        let text = durable.to_text();
        let again = Durable::parse(&text).expect("what we write we read");
        assert_eq!(again.to_text(), text);
    }
}

/// Packets of the cluster bus, one after the other.
pub(crate) fn bus_packet(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = bus::next_frame(&mut buffer, bus::STRANGER_PACKET_MAX) {
        if let Ok(packet) = bus::decode(&frame) {
            let mut out = Vec::new();
            bus::encode(&packet, &mut out);
            let again = bus::decode(&Bytes::from(out)).expect("what we write we read");
            assert_eq!(format!("{again:?}"), format!("{packet:?}"));
        }
    }
}

/// A node's data, before anything is in it.
fn keyspace() -> Keyspace {
    Keyspace::new(KeyspaceOptions { by_slot: true, databases: 1, seed: (1, 2) })
}

/// Reads a payload whose checksum is made right first: it keeps out accidents, and nobody who means harm.
pub(crate) fn restored(data: &[u8]) -> Result<Loaded, RdbError> {
    let body = data.len().checked_sub(PAYLOAD_MIN).ok_or(RdbError::Short)?;
    let mut payload = data[..body].to_vec();
    payload.extend_from_slice(&10_u16.to_le_bytes());
    payload.extend_from_slice(&Crc64::of(&payload).to_le_bytes());
    restore(&payload, keyspace().value_limits())
}

/// What RESTORE takes: what is read is what DUMP writes of it, and what is refused leaves nothing.
pub(crate) fn rdb_payload(data: &[u8]) {
    let _ = restore(data, keyspace().value_limits());
    let Ok(loaded) = restored(data) else { return };
    let dumped = |loaded: Loaded| {
        let mut out = Vec::new();
        dump(&mut out, &loaded.into_entry(b"key", None), false);
        out
    };
    let first = dumped(loaded);
    let again = restore(&first, keyspace().value_limits()).expect("what we write we read");
    assert_eq!(dumped(again).len(), first.len(), "nothing is lost or doubled");
}

/// Reads a file in pieces: which keys there are, and how it ended. One that is cut ends too soon.
pub(crate) fn rdb_keys(data: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<RdbError>) {
    let mut reader = RdbReader::new(keyspace().value_limits());
    let mut keys = Vec::new();
    for piece in data.chunks(step.max(1)) {
        reader.feed(piece);
        loop {
            match reader.next() {
                Ok(Some(RdbEvent::Key { entry, .. })) => keys.push(entry.key().to_vec()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return (keys, Some(error)),
            }
        }
        assert!(reader.position() <= data.len() as u64);
    }
    let ended = reader.is_done();
    (keys, (!ended).then_some(RdbError::Short))
}

/// A file of a data set: the same however it is cut.
pub(crate) fn rdb_file(data: &[u8]) {
    assert_eq!(rdb_keys(data, 7), rdb_keys(data, data.len()));
}

/// A configuration file: every mistake has a place within the file.
pub(crate) fn config_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(problems) = check_proxy("fuzz.yaml", &text) {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(problem.line <= text.lines().count(), "{problem}");
        }
    }
}
