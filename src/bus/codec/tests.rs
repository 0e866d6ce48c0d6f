//! Round trips, the sizes that live servers were seen to send, and packets that are none.

use super::*;
use crate::cluster::Slot;
use proptest::prelude::*;

fn id(byte: u8) -> NodeId {
    NodeId::from_random([byte; 20])
}

fn sample_header() -> Header {
    Header {
        sender: id(1),
        current_epoch: Epoch(7),
        config_epoch: Epoch(5),
        offset: 1234,
        slots: [0, 5460, 16_383].into_iter().map(|n| Slot::new(n).expect("a slot")).collect(),
        replica_of: None,
        ip: None,
        port: 7000,
        secondary_port: 0,
        bus_port: 17_000,
        flags: NodeFlags::PRIMARY.with(NodeFlags::MYSELF),
        state_ok: true,
        paused: false,
        force_ack: false,
        extensions: true,
    }
}

fn sample_entry(byte: u8) -> GossipEntry {
    GossipEntry {
        id: id(byte),
        ping_sent: 0,
        pong_received: 1_700_000_000,
        ip: Some(IpAddr::from([10, 0, 0, byte])),
        port: 7000,
        bus_port: 17_000,
        flags: NodeFlags::REPLICA,
        secondary_port: 0,
    }
}

fn full(body: Body) -> Packet {
    Packet::Full { header: Box::new(sample_header()), body }
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut out = Vec::new();
    encode(packet, &mut out);
    out
}

/// One packet of every kind.
fn samples() -> Vec<Packet> {
    let gossip = Gossip {
        entries: vec![sample_entry(2), sample_entry(3)],
        extensions: vec![
            Extension::Hostname("node-1.example".into()),
            Extension::ForgottenNode { node: id(9), ttl_secs: 60 },
            Extension::ShardId(id(8)),
        ],
    };
    let publish = |channel: &'static str| Broadcast::Publish {
        channel: Bytes::from_static(channel.as_bytes()),
        message: Bytes::from_static(b"hello"),
    };
    let module =
        Broadcast::Module { module: 7, kind: 3, payload: Bytes::from_static(b"something") };
    let shard = Broadcast::PublishShard { channel: Bytes::new(), message: Bytes::new() };
    let update = Update { node: id(4), config_epoch: Epoch(9), slots: SlotSet::full() };
    vec![
        full(Body::Ping(gossip.clone())),
        full(Body::Pong(Gossip::default())),
        full(Body::Meet(gossip)),
        full(Body::Fail(id(3))),
        full(Body::Broadcast(publish("news"))),
        full(Body::VoteRequest),
        full(Body::VoteGranted),
        full(Body::Update(update)),
        full(Body::ManualFailoverStart),
        full(Body::Broadcast(module.clone())),
        full(Body::Broadcast(shard.clone())),
        Packet::Light(publish("c")),
        Packet::Light(shard),
        Packet::Light(module),
    ]
}

#[test]
fn every_kind_survives_the_wire() {
    for packet in samples() {
        assert_eq!(decode(&bytes(&packet).into()), Ok(packet));
    }
}

/// Sizes and places as cluster-protocol facts have them, measured on live servers.
#[test]
fn packets_have_the_sizes_and_places_of_the_protocol() {
    let sizes: Vec<usize> = samples().iter().map(|packet| bytes(packet).len()).collect();
    assert_eq!(
        sizes[1..9],
        [2256, 2256 + 2 * 104 + 24 + 56 + 48, 2296, 2273, 2256, 2256, 4352, 2256]
    );
    assert_eq!(sizes[9], 2269 + 9);
    let ping = bytes(&samples()[0]);
    assert_eq!(&ping[..4], b"RCmb");
    assert_eq!((u16_at(&ping, 8), u16_at(&ping, 10), u16_at(&ping, 14)), (1, 7000, 2));
    assert_eq!(&ping[40..80], id(1).as_bytes());
    assert_eq!(ping[80], 1, "slot 0");
    assert_eq!(u16_at(&ping, 2214), 3, "three extensions");
    assert_eq!((u16_at(&ping, 2248), u16_at(&ping, 2250)), (17_000, 17));
    assert_eq!(ping[2253], 4, "extensions are understood");
    assert_eq!(&ping[2256..2296], id(2).as_bytes());
}

#[test]
fn a_host_name_as_announced_address_counts_as_none() {
    let mut ping = bytes(&samples()[0]);
    ping[2168..2174].copy_from_slice(b"node-1");
    let Ok(Packet::Full { header, .. }) = decode(&ping.into()) else { panic!("a PING") };
    assert_eq!(header.ip, None);
}

#[test]
fn extensions_that_nobody_knows_are_skipped() {
    // 4 is a secret of Redis 8 or an address of Valkey's, 77 nobody's.
    for number in [4, 77] {
        let mut ping = bytes(&full(Body::Ping(Gossip {
            entries: Vec::new(),
            extensions: vec![Extension::ShardId(id(1)), Extension::Hostname("h".into())],
        })));
        ping[2256 + 4..2256 + 6].copy_from_slice(&u16::to_be_bytes(number));
        let Ok(Packet::Full { body: Body::Ping(gossip), .. }) = decode(&ping.into()) else {
            panic!("a PING")
        };
        assert_eq!(gossip.extensions, [Extension::Hostname("h".into())]);
    }
}

/// Writes a big-endian number into a packet.
fn with(packet: &Packet, at: usize, number: &[u8]) -> Vec<u8> {
    let mut bytes = bytes(packet);
    bytes[at..at + number.len()].copy_from_slice(number);
    bytes
}

/// Makes the length field true again.
fn relabelled(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// Packets that are none, by what is wrong with them.
pub(in crate::bus) fn malformed() -> Vec<(String, Vec<u8>)> {
    let mut corpus: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: String, bytes: Vec<u8>| corpus.push((what, bytes));
    let all = samples();
    let ping = &all[0];
    for len in [0u32, 1, 14, 15, 16, 2255, 2257, 65_536, u32::MAX] {
        add(format!("length {len}"), with(ping, 4, &len.to_be_bytes()));
    }
    for version in [0u16, 2, 256, u16::MAX] {
        add(format!("version {version}"), with(ping, 8, &version.to_be_bytes()));
    }
    for kind in [11u16, 255, 0x7fff, 0x8000, 0x8001, 0x8003, 0x800b, u16::MAX] {
        add(format!("kind {kind:#x}"), with(ping, 12, &kind.to_be_bytes()));
    }
    for count in [0u16, 1, 3, 4, 16_384, 16_385, u16::MAX] {
        add(format!("gossip count {count}"), with(ping, 14, &count.to_be_bytes()));
    }
    for count in [0u16, 2, 4, 16, u16::MAX] {
        add(format!("extension count {count}"), with(ping, 2214, &count.to_be_bytes()));
    }
    let first_extension = 2256 + 2 * 104;
    for len in [0u32, 4, 7, 8, 9, 16, 20, 25, 32, 131_072, 0x8000_0000, u32::MAX] {
        add(format!("extension length {len}"), with(ping, first_extension, &len.to_be_bytes()));
    }
    add("unterminated host name".into(), with(ping, first_extension + 8, &[b'a'; 16]));
    add("host name with a blank".into(), with(ping, first_extension + 8, b"a b"));
    add("host name with a comma".into(), with(ping, first_extension + 8, b"a,b"));
    add("host name with a line end".into(), with(ping, first_extension + 8, b"a\nb"));
    add("host name that is no UTF-8".into(), with(ping, first_extension + 8, &[0xff, 0xfe]));
    add("forgotten node of no id".into(), with(ping, first_extension + 24 + 8, b"Z"));
    add("shard of no id".into(), with(ping, first_extension + 24 + 56 + 8, &[0]));
    let forgotten = first_extension + 24;
    add("forgotten node called a shard".into(), with(ping, forgotten + 4, &3u16.to_be_bytes()));
    add(
        "shard called a forgotten node".into(),
        with(ping, forgotten + 56 + 4, &2u16.to_be_bytes()),
    );
    for (what, at) in [("sender", 40), ("gossip", 2256), ("second gossip", 2256 + 104)] {
        add(format!("{what} of no id"), with(ping, at, b"G"));
        add(format!("{what} of NULs"), with(ping, at, &[0; 40]));
        add(format!("{what} in capitals"), with(ping, at, &[b'A'; 40]));
    }
    add("primary of half an id".into(), with(ping, 2128, b"abc"));
    for (n, packet) in all.iter().enumerate() {
        let whole = bytes(packet);
        let mut longer = whole.clone();
        longer.extend_from_slice(&[0; 8]);
        add(format!("sample {n}, longer"), relabelled(longer));
        add(format!("sample {n}, shorter"), relabelled(whole[..whole.len() - 1].to_vec()));
        add(format!("sample {n}, cut"), whole[..whole.len() - 1].to_vec());
    }
    let publish = &all[4];
    for (channel, message) in [(u32::MAX, 1), (1, u32::MAX), (5, 5), (0, 0), (u32::MAX, 10)] {
        let mut bytes = with(publish, 2256, &u32::to_be_bytes(channel));
        bytes[2260..2264].copy_from_slice(&u32::to_be_bytes(message));
        add(format!("publish of {channel} and {message}"), bytes);
    }
    for len in [0u32, 8, 10, u32::MAX] {
        add(format!("module of {len}"), with(&all[9], 2264, &len.to_be_bytes()));
    }
    add("failed node of no id".into(), with(&all[3], 2256, b"-"));
    add("updated node of no id".into(), with(&all[7], 2264, b"-"));
    for signature in [b"RCmc", b"rcmb", b"HTTP", b"\0\0\0\0"] {
        add(format!("signature {signature:?}"), with(ping, 0, signature));
    }
    corpus
}

#[test]
fn malformed_packets_are_refused_and_none_panics() {
    let corpus = malformed();
    assert!(corpus.len() >= 80, "{} kinds", corpus.len());
    for (what, bytes) in corpus {
        assert!(decode(&bytes.into()).is_err(), "{what} was believed");
    }
}

/// `KEYWAY_REWRITE=1` writes them.
#[test]
fn the_fuzzer_begins_with_every_malformed_kind() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/bus_packet");
    let rewrite = std::env::var_os("KEYWAY_REWRITE").is_some();
    for (what, bytes) in malformed() {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let file = folder.join(format!("bad-{}", what.chars().map(word).collect::<String>()));
        if rewrite {
            std::fs::write(&file, &bytes).expect("our own folder can be written");
        }
        assert!(std::fs::read(&file).is_ok_and(|there| there == bytes), "{}", file.display());
    }
}

#[test]
fn a_packet_cut_or_broken_anywhere_never_panics() {
    for packet in samples() {
        let whole = bytes(&packet);
        for cut in 0..whole.len() {
            let _ = decode(&whole[..cut].to_vec().into());
            let _ = decode(&relabelled_if_long(whole[..cut].to_vec()).into());
        }
        for at in (0..whole.len()).filter(|at| *at < 80 || *at >= 2128) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = decode(&broken.into());
            }
        }
    }
}

fn relabelled_if_long(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 8 { relabelled(bytes) } else { bytes }
}

#[test]
fn frames_are_cut_from_a_stream_however_it_arrives() {
    let packets = samples();
    let stream: Vec<u8> = packets.iter().flat_map(bytes).collect();
    for step in [1, 7, 16, 1000, stream.len()] {
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for chunk in stream.chunks(step) {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = next_frame(&mut buffer, PACKET_MAX).expect("a good stream") {
                found.push(decode(&frame).expect("a good packet"));
            }
        }
        assert_eq!(found, packets, "in steps of {step}");
    }
}

#[test]
fn a_frame_is_refused_before_memory_is_taken_for_it() {
    let mut buffer = BytesMut::from(&b"RCmb\xff\xff\xff\xff"[..]);
    assert_eq!(
        next_frame(&mut buffer, STRANGER_PACKET_MAX),
        Err(PacketError::Length(u32::MAX as usize))
    );
    assert!(buffer.capacity() < 1024);
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"X", b"RCmX"] {
        let mut buffer = BytesMut::from(garbage);
        assert_eq!(next_frame(&mut buffer, PACKET_MAX), Err(PacketError::Signature));
    }
    let mut buffer = BytesMut::from(&b"RCm"[..]);
    assert_eq!(next_frame(&mut buffer, PACKET_MAX), Ok(None));
}

fn any_id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId::from_random)
}

fn any_flags() -> impl Strategy<Value = NodeFlags> {
    any::<u16>().prop_map(NodeFlags::from_bits)
}

fn any_slots() -> impl Strategy<Value = SlotSet> {
    prop::collection::vec(0..16_384u16, 0..20)
        .prop_map(|numbers| numbers.into_iter().filter_map(|n| Slot::new(n).ok()).collect())
}

prop_compose! {
    fn any_header()(
        sender in any_id(),
        epochs in any::<(u64, u64, u64)>(),
        slots in any_slots(),
        replica_of in prop::option::of(any_id()),
        ip in prop::option::of(any::<IpAddr>()),
        ports in any::<(u16, u16, u16)>(),
        flags in any_flags(),
        bits in any::<(bool, bool, bool, bool)>(),
    ) -> Header {
        Header {
            sender,
            current_epoch: Epoch(epochs.0),
            config_epoch: Epoch(epochs.1),
            offset: epochs.2,
            slots,
            replica_of,
            ip,
            port: ports.0,
            secondary_port: ports.1,
            bus_port: ports.2,
            flags,
            state_ok: bits.0,
            paused: bits.1,
            force_ack: bits.2,
            extensions: bits.3,
        }
    }
}

prop_compose! {
    fn any_entry()(
        id in any_id(),
        times in any::<(u32, u32)>(),
        ip in prop::option::of(any::<IpAddr>()),
        ports in any::<(u16, u16, u16)>(),
        flags in any_flags(),
    ) -> GossipEntry {
        GossipEntry {
            id,
            ping_sent: times.0,
            pong_received: times.1,
            ip,
            port: ports.0,
            bus_port: ports.1,
            flags,
            secondary_port: ports.2,
        }
    }
}

fn any_extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        "[a-z0-9.-]{0,64}".prop_map(Extension::Hostname),
        "[A-Za-z0-9_-]{0,64}".prop_map(Extension::HumanName),
        (any_id(), any::<u64>())
            .prop_map(|(node, ttl_secs)| Extension::ForgottenNode { node, ttl_secs }),
        any_id().prop_map(Extension::ShardId),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn heartbeats_survive_the_wire(
        header in any_header(),
        entries in prop::collection::vec(any_entry(), 0..8),
        extensions in prop::collection::vec(any_extension(), 0..5),
    ) {
        let body = Body::Pong(Gossip { entries, extensions });
        let packet = Packet::Full { header: Box::new(header), body };
        prop_assert_eq!(decode(&bytes(&packet).into()), Ok(packet));
    }

    /// What is read is what would be written: nothing is believed that has no meaning.
    #[test]
    fn any_bytes_after_a_good_header_are_read_or_refused(
        kind in 0u16..12,
        count in 0u16..4,
        extensions in 0u16..4,
        tail in prop::collection::vec(any::<u8>(), 0..512),
    ) {
        let mut packet = bytes(&full(Body::VoteRequest));
        packet[12..14].copy_from_slice(&kind.to_be_bytes());
        packet[14..16].copy_from_slice(&count.to_be_bytes());
        packet[2214..2216].copy_from_slice(&extensions.to_be_bytes());
        packet.extend_from_slice(&tail);
        let _ = decode(&relabelled(packet).into());
    }
}
