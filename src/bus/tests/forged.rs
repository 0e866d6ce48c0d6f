//! Packets that mean harm, each by its name, on their way from a connection's bytes to the view: what is
//! no packet is counted, what a stranger may not say is counted, and neither changes anything.

use super::*;
use crate::bus::codec::tests::malformed;
use bytes::BytesMut;

/// What comes of a packet. In none of them does the view change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is no packet: counted as such.
    Malformed,
    /// Only known nodes may say that: counted as such.
    Strange,
    /// It is looked at, and nothing follows.
    Ignored,
    /// Its sender is answered, or told what is true, and nothing else follows.
    Answered,
    /// The link is closed.
    Closed,
    /// More bytes would have to come.
    Waits,
}

/// Feeds a link what came on it, as the shell does, and says what followed.
fn outcome(member: &mut Member, now: Now, link: LinkId, bytes: &[u8]) -> Outcome {
    let before = (member.stats().malformed, member.stats().strange);
    let mut buffer = BytesMut::from(bytes);
    loop {
        let packet = match next_frame(&mut buffer, STRANGER_PACKET_MAX) {
            Ok(Some(frame)) => decode(&frame),
            Ok(None) => break,
            Err(error) => Err(error),
        };
        let ends = packet.as_ref().is_err_and(|error| !error.is_recoverable());
        member.handle_input(now, Input::Received { link, packet });
        if ends {
            break;
        }
    }
    let outputs: Vec<Output> = std::iter::from_fn(|| member.poll_output()).collect();
    let after = (member.stats().malformed, member.stats().strange);
    let sends = |output: &Output| matches!(output, Output::Send { .. });
    let closes = |output: &Output| *output == Output::Close(link);
    assert!(outputs.iter().all(|output| sends(output) || closes(output)), "{outputs:?}");
    let closed = outputs.iter().any(closes);
    assert!(!closed || !outputs.iter().any(sends), "{outputs:?}");
    match (after.0 - before.0, after.1 - before.1) {
        (0, 0) if closed => Outcome::Closed,
        (0, 0) if !outputs.is_empty() => Outcome::Answered,
        (0, 0) if buffer.len() == bytes.len() => Outcome::Waits,
        (0, 0) => Outcome::Ignored,
        (1.., 0) => Outcome::Malformed,
        (0, 1..) => Outcome::Strange,
        both => panic!("counted twice: {both:?}"),
    }
}

#[test]
fn malformed_packets_are_counted_and_change_nothing_whoever_sends_them() {
    let mut waiting = Vec::new();
    for (what, mut bytes) in malformed() {
        for sender in [STRANGER, FRIEND] {
            // The corpus is of an unknown sender; where it is about the sender, it stays as it is.
            if sender == FRIEND && bytes.len() >= 80 && !what.starts_with("sender") {
                bytes[40..80].copy_from_slice(FRIEND.as_bytes());
            }
            let (mut member, link, now) = member_and_link("10.0.0.2");
            let before = belief(&member);
            let followed = outcome(&mut member, now, link, &bytes);
            assert_eq!(belief(&member), before, "{what}, by {sender}");
            match followed {
                Outcome::Malformed => {}
                // Cut short, it may still be on its way.
                Outcome::Waits => waiting.push(what.clone()),
                other => panic!("{what}, by {sender}: {other:?}"),
            }
        }
    }
    waiting.dedup();
    let short = |what: &String| what.ends_with(", cut") || what.starts_with("length ");
    assert!(waiting.iter().all(short), "{waiting:?}");
}

fn bytes(header: Header, body: Body) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&Packet::Full { header: Box::new(header), body }, &mut out);
    out
}

fn light(broadcast: Broadcast) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&Packet::Light(broadcast), &mut out);
    out
}

fn broadcasts() -> [(&'static str, Broadcast); 3] {
    let (channel, message) = (bytes::Bytes::from("c"), bytes::Bytes::from("m"));
    let publish = Broadcast::Publish { channel: channel.clone(), message: message.clone() };
    let shard = Broadcast::PublishShard { channel, message: message.clone() };
    let module = Broadcast::Module { module: 1, kind: 2, payload: message };
    [("a message", publish), ("a shard's message", shard), ("a module's message", module)]
}

fn update(node: &str, epoch: u64) -> Body {
    let slots = SlotSet::full();
    Body::Update(Update { node: id(node), config_epoch: Epoch(epoch), slots })
}

fn entry(node: &str) -> GossipEntry {
    GossipEntry {
        id: id(node),
        ping_sent: 0,
        pong_received: u32::MAX,
        ip: Some(IpAddr::from([6, 6, 6, 6])),
        port: 1,
        bus_port: 2,
        flags: NodeFlags::PRIMARY,
        secondary_port: 0,
    }
}

fn gossip(entry: GossipEntry) -> Body {
    Body::Ping(Gossip { entries: vec![entry], extensions: Vec::new() })
}

fn extension(extension: Extension) -> Body {
    Body::Ping(Gossip { entries: Vec::new(), extensions: vec![extension] })
}

/// What strangers say, by name; each is sent from an address that may open connections.
fn of_strangers() -> Vec<(String, Vec<u8>, Outcome)> {
    use Outcome::{Answered, Closed, Ignored, Strange};
    let greedy = || Header {
        slots: SlotSet::full(),
        config_epoch: Epoch(99),
        current_epoch: Epoch(99),
        ..header(STRANGER)
    };
    let ping = || gossip(GossipEntry { flags: NodeFlags::FAIL, ..entry(FRIEND) });
    let pong = || Body::Pong(Gossip { entries: vec![entry(STRANGER)], extensions: Vec::new() });
    let replica = Header { replica_of: Some(id(OWN)), flags: NodeFlags::REPLICA, ..greedy() };
    let forced = Header { force_ack: true, ..replica.clone() };
    let mut all: Vec<(&str, Vec<u8>, Outcome)> = vec![
        ("FAIL of a friend", bytes(greedy(), Body::Fail(id(FRIEND))), Strange),
        ("FAIL of ourselves", bytes(greedy(), Body::Fail(id(OWN))), Strange),
        ("FAIL of nobody", bytes(greedy(), Body::Fail(id(STRANGER))), Strange),
        ("UPDATE of a friend", bytes(greedy(), update(FRIEND, 9)), Strange),
        ("UPDATE of a friend, for good", bytes(greedy(), update(FRIEND, u64::MAX)), Strange),
        ("UPDATE of ourselves", bytes(greedy(), update(OWN, 9)), Strange),
        ("UPDATE of the stranger", bytes(greedy(), update(STRANGER, 9)), Strange),
        ("a request for votes", bytes(replica, Body::VoteRequest), Strange),
        ("a forced request for votes", bytes(forced, Body::VoteRequest), Strange),
        ("a vote", bytes(greedy(), Body::VoteGranted), Strange),
        ("MFSTART", bytes(greedy(), Body::ManualFailoverStart), Strange),
        ("PING with claims and lies", bytes(greedy(), ping()), Answered),
        ("PONG with claims and lies", bytes(greedy(), pong()), Ignored),
        ("our own PING", bytes(header(OWN), ping()), Answered),
        ("our own PONG", bytes(header(OWN), pong()), Closed),
        ("our own FAIL of a friend", bytes(header(OWN), Body::Fail(id(FRIEND))), Closed),
        ("our own UPDATE", bytes(header(OWN), update(FRIEND, 9)), Closed),
        ("our own vote", bytes(header(OWN), Body::VoteGranted), Closed),
        ("our own MFSTART", bytes(header(OWN), Body::ManualFailoverStart), Closed),
        (
            "an epoch of 2^64-1",
            bytes(Header { current_epoch: Epoch(u64::MAX), ..greedy() }, ping()),
            Answered,
        ),
    ];
    for (what, broadcast) in broadcasts() {
        all.push((what, bytes(greedy(), Body::Broadcast(broadcast)), Strange));
    }
    let mut all: Vec<_> = all.into_iter().map(|(what, b, o)| (what.to_owned(), b, o)).collect();
    for (what, broadcast) in broadcasts() {
        all.push((format!("{what} with a light header"), light(broadcast), Closed));
    }
    all
}

#[test]
fn what_strangers_forge_changes_nothing() {
    for (what, bytes, expected) in of_strangers() {
        let (mut member, link, now) = member_and_link("127.0.0.1");
        let before = belief(&member);
        assert_eq!(outcome(&mut member, now, link, &bytes), expected, "{what}");
        assert_eq!(belief(&member), before, "{what}");
        // Said again, and again, it is not believed either.
        for _ in 0..3 {
            outcome(&mut member, now, link, &bytes);
        }
        assert_eq!(belief(&member), before, "{what}, repeated");
    }
}

/// What no node in its right mind says, though it is known.
#[test]
fn what_a_friend_cannot_mean_changes_nothing() {
    use Outcome::{Answered, Closed, Ignored};
    let friend = || header(FRIEND);
    let jump = Epoch((1 << 20) + 3);
    let with_flags = |flags| GossipEntry { flags, ..entry(STRANGER) };
    let nowhere = || GossipEntry { ip: None, ..entry(STRANGER) };
    let portless = || GossipEntry { bus_port: 0, ..entry(STRANGER) };
    let replica = Header { replica_of: Some(id(OWN)), flags: NodeFlags::REPLICA, ..friend() };
    let forget = |node| extension(Extension::ForgottenNode { node: id(node), ttl_secs: u64::MAX });
    let bold = NodeFlags::from_bits(u16::MAX)
        .without(NodeFlags::NOFAILOVER.with(NodeFlags::LIGHT_PUBLISH));
    let poor = Header { slots: SlotSet::full(), config_epoch: Epoch(0), ..friend() };
    for (what, bytes, expected) in [
        ("FAIL of ourselves", bytes(friend(), Body::Fail(id(OWN))), Ignored),
        ("FAIL of nobody", bytes(friend(), Body::Fail(id(STRANGER))), Ignored),
        ("UPDATE of nobody", bytes(friend(), update(STRANGER, 9)), Ignored),
        ("UPDATE of ourselves", bytes(friend(), update(OWN, 9)), Ignored),
        ("UPDATE of before", bytes(friend(), update(FRIEND, 1)), Ignored),
        ("UPDATE of now", bytes(friend(), update(FRIEND, 2)), Ignored),
        ("UPDATE of 2^20 epochs ahead", bytes(friend(), update(FRIEND, jump.0)), Ignored),
        ("UPDATE of the last epoch", bytes(friend(), update(FRIEND, u64::MAX)), Ignored),
        (
            "a header of 2^20 epochs ahead",
            bytes(Header { current_epoch: jump, ..friend() }, gossip(entry(FRIEND))),
            Closed,
        ),
        (
            "a claim of 2^20 epochs ahead",
            bytes(Header { config_epoch: jump, ..friend() }, gossip(entry(FRIEND))),
            Closed,
        ),
        ("a request for votes of a primary", bytes(friend(), Body::VoteRequest), Ignored),
        ("a forced one", bytes(Header { force_ack: true, ..friend() }, Body::VoteRequest), Ignored),
        ("one of a replica that is none", bytes(replica, Body::VoteRequest), Ignored),
        ("a vote that nobody asked for", bytes(friend(), Body::VoteGranted), Ignored),
        ("MFSTART of no replica of ours", bytes(friend(), Body::ManualFailoverStart), Ignored),
        (
            "gossip that we have failed",
            bytes(friend(), gossip(GossipEntry { flags: NodeFlags::FAIL, ..entry(OWN) })),
            Answered,
        ),
        ("gossip of a node without an address", bytes(friend(), gossip(nowhere())), Answered),
        ("gossip of a node without a bus", bytes(friend(), gossip(portless())), Answered),
        (
            "gossip of a node that is lost",
            bytes(friend(), gossip(with_flags(NodeFlags::NOADDR))),
            Answered,
        ),
        (
            "gossip of a node in handshake",
            bytes(friend(), gossip(with_flags(NodeFlags::HANDSHAKE))),
            Answered,
        ),
        ("word to forget ourselves", bytes(friend(), forget(OWN)), Answered),
        ("word to forget nobody", bytes(friend(), forget(STRANGER)), Answered),
        (
            "every flag at once",
            bytes(Header { flags: bold, ..friend() }, gossip(entry(FRIEND))),
            Answered,
        ),
        (
            "an offset of 2^64-1",
            bytes(Header { offset: u64::MAX, ..friend() }, gossip(entry(FRIEND))),
            Answered,
        ),
        ("a claim of everything under no epoch", bytes(poor, gossip(entry(FRIEND))), Answered),
    ] {
        let (mut member, link, now) = member_and_link("10.0.0.2");
        // It is where it says, so that its address is no news.
        let before = belief(&member);
        assert_eq!(outcome(&mut member, now, link, &bytes), expected, "{what}");
        assert_eq!(belief(&member), before, "{what}");
    }
}
