//! What strangers and liars get: nothing.

use super::*;
use crate::cluster::{Epoch, Move, OpenSlot, Slot, SlotSet};
use std::net::IpAddr;

mod ballot;
mod forged;
mod vote;

const OWN: &str = "1111111111111111111111111111111111111111";
const FRIEND: &str = "2222222222222222222222222222222222222222";
const OTHER: &str = "4444444444444444444444444444444444444444";
const STRANGER: &str = "3333333333333333333333333333333333333333";

fn id(text: &str) -> NodeId {
    NodeId::parse(text.as_bytes()).expect("an id of the test")
}

fn durable() -> Durable {
    let text = format!(
        "{OWN} 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-8191\n\
         {FRIEND} 10.0.0.2:7000@17000 master - 0 0 2 connected 8192-16383\n\
         vars currentEpoch 2 lastVoteEpoch 0 shardId {OWN}\n"
    );
    Durable::parse(&text).expect("two nodes")
}

/// A member with one friend, whose cluster is up, and a link that somebody opened to it.
fn member_and_link(peer: &str) -> (Member, LinkId, Now) {
    let now = Now::read();
    let mut member = Member::new(Options::new(7000), Some(&durable()), [1; 32], now);
    let now = now.after(Duration::from_secs(3));
    member.handle_input(now, Input::Timeout);
    assert!(member.view().state_ok);
    let (peer, local) = (peer.parse().expect("an ip"), IpAddr::from([10, 0, 0, 1]));
    let link = member.new_link(peer, local).expect("a neighbour");
    member.handle_input(now, Input::Accepted { link, peer, local });
    while member.poll_output().is_some() {}
    (member, link, now)
}

fn header(sender: &str) -> Header {
    Header {
        sender: id(sender),
        current_epoch: Epoch(2),
        config_epoch: Epoch(2),
        offset: 0,
        slots: Slot::all().skip(8192).collect(),
        replica_of: None,
        ip: None,
        port: 7000,
        secondary_port: 0,
        bus_port: 17_000,
        flags: NodeFlags::PRIMARY,
        state_ok: true,
        paused: false,
        force_ack: false,
        extensions: true,
    }
}

fn say(member: &mut Member, now: Now, link: LinkId, header: Header, body: Body) -> Vec<Output> {
    let packet = Ok(Packet::Full { header: Box::new(header), body });
    member.handle_input(now, Input::Received { link, packet });
    std::iter::from_fn(|| member.poll_output()).collect()
}

/// All that a member believes, but for the times at which it last heard of others.
fn belief(member: &Member) -> String {
    format!("{}{}", member.view().durable().to_text(), member.view().state_ok)
}

fn lies() -> Vec<Body> {
    let update = |node: &str, epoch| Update {
        node: id(node),
        config_epoch: Epoch(epoch),
        slots: SlotSet::full(),
    };
    let entry = GossipEntry {
        id: id("4444444444444444444444444444444444444444"),
        ping_sent: 0,
        pong_received: 0,
        ip: Some(IpAddr::from([6, 6, 6, 6])),
        port: 1,
        bus_port: 2,
        flags: NodeFlags::PRIMARY,
        secondary_port: 0,
    };
    let failed = GossipEntry { id: id(FRIEND), flags: NodeFlags::FAIL, ..entry.clone() };
    let gossip = Gossip {
        entries: vec![entry, failed],
        extensions: vec![Extension::ForgottenNode { node: id(FRIEND), ttl_secs: 60 }],
    };
    vec![
        Body::Fail(id(FRIEND)),
        Body::Fail(id(OWN)),
        Body::Update(update(FRIEND, u64::MAX)),
        Body::Update(update(FRIEND, 9)),
        Body::Ping(gossip.clone()),
        Body::Pong(gossip),
        Body::Broadcast(Broadcast::Publish { channel: "c".into(), message: "m".into() }),
        Body::VoteRequest,
        Body::VoteGranted,
        Body::ManualFailoverStart,
    ]
}

#[test]
fn what_a_stranger_says_changes_nothing() {
    for lie in lies() {
        let (mut member, link, now) = member_and_link("127.0.0.1");
        let before = belief(&member);
        let greedy = Header {
            slots: SlotSet::full(),
            config_epoch: Epoch(99),
            current_epoch: Epoch(99),
            ..header(STRANGER)
        };
        let kind = lie.kind();
        let outputs = say(&mut member, now, link, greedy, lie);
        assert_eq!(belief(&member), before, "{kind:?}");
        let answered = |output: &Output| matches!(output, Output::Send { packet, .. } if packet.kind() == Kind::Pong);
        // As servers do: a PING is answered, which tells the other end who is here.
        let expected = usize::from(kind == Kind::Ping);
        assert_eq!(outputs.iter().filter(|output| answered(output)).count(), expected, "{kind:?}");
        assert_eq!(outputs.len(), expected, "{kind:?}: {outputs:?}");
    }
}

#[test]
fn a_connection_is_taken_from_where_it_is_allowed() {
    for (peer, range, taken) in [
        ("127.0.0.1", None, true),
        ("10.0.0.2", None, true),
        ("10.0.0.3", None, false),
        ("10.0.0.3", Some("10.0.0.0/24"), true),
        ("10.0.1.3", Some("10.0.0.0/24"), false),
        // This very host, by an address that is not loopback.
        ("10.0.0.1", None, true),
        // Whoever says from where nodes may connect, says it of this host, too.
        ("127.0.0.1", Some("10.0.0.0/24"), false),
        ("10.0.0.1", Some("192.0.2.0/24"), false),
        ("10.0.0.1", Some("10.0.0.0/24"), true),
        // A node that is known.
        ("10.0.0.2", Some("192.0.2.0/24"), true),
    ] {
        let (mut member, _, _) = member_and_link("127.0.0.1");
        let range: Option<IpRange> = range.map(|range| range.parse().expect("a range"));
        let allow_this_host = range.is_none();
        let allow_from = range.into_iter().collect();
        let options = member.options().clone();
        member.set_options(Options { allow_from, allow_this_host, ..options });
        let (ip, local) = (peer.parse().expect("an ip"), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(member.new_link(ip, local).is_some(), taken, "{peer}");
        assert_eq!(member.stats().refused_links, u64::from(!taken));
    }
}

#[test]
fn a_neighbour_that_asks_is_taken_in() {
    let (mut member, link, now) = member_and_link("127.0.0.1");
    say(&mut member, now, link, header(STRANGER), Body::Meet(Gossip::default()));
    assert_eq!(member.view().len(), 3);
}

#[test]
fn a_node_that_peers_forgot_first_can_be_forgotten_on_demand() {
    let (mut member, link, now) = member_and_link("127.0.0.1");
    let forget = |member: &mut Member, id: &str| member.apply(now, Change::Forget(id.to_owned()));
    let unknown = Err(Refusal::UnknownNode(STRANGER.to_owned()));
    assert_eq!(forget(&mut member, STRANGER), unknown, "nobody ever knew it");
    let entry = GossipEntry {
        id: id(STRANGER),
        ping_sent: 0,
        pong_received: 0,
        ip: Some(IpAddr::from([10, 0, 0, 3])),
        port: 7000,
        bus_port: 17_000,
        flags: NodeFlags::PRIMARY,
        secondary_port: 0,
    };
    let learned = Gossip { entries: vec![entry], extensions: Vec::new() };
    say(&mut member, now, link, header(FRIEND), Body::Ping(learned));
    assert!(member.view().key(&id(STRANGER)).is_some());
    let forgotten = Extension::ForgottenNode { node: id(STRANGER), ttl_secs: 60 };
    let gossip = Gossip { entries: Vec::new(), extensions: vec![forgotten] };
    say(&mut member, now, link, header(FRIEND), Body::Ping(gossip));
    assert!(member.view().key(&id(STRANGER)).is_none());
    assert_eq!(forget(&mut member, STRANGER), Ok(Applied::Done));
}

#[test]
fn an_epoch_out_of_all_bounds_is_not_believed_even_of_a_friend() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    let before = belief(&member);
    let mad = Header { current_epoch: Epoch(u64::MAX), ..header(FRIEND) };
    let outputs = say(&mut member, now, link, mad, Body::Ping(Gossip::default()));
    assert_eq!(outputs, [Output::Close(link)]);
    assert_eq!(belief(&member), before);
}

#[test]
fn a_newer_claim_takes_slots_and_an_older_one_is_corrected() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    let more: SlotSet = Slot::all().skip(8000).collect();
    let older = Header { config_epoch: Epoch(1), slots: more.clone(), ..header(FRIEND) };
    say(&mut member, now, link, older, Body::Ping(Gossip::default()));
    assert_eq!(member.view().myself().slot_count(), 8192, "the owner's epoch is not lower");
    let newer =
        Header { config_epoch: Epoch(5), current_epoch: Epoch(5), slots: more, ..header(FRIEND) };
    let outputs = say(&mut member, now, link, newer, Body::Ping(Gossip::default()));
    assert_eq!(member.view().myself().slot_count(), 8000);
    assert!(matches!(outputs[0], Output::Persist(_)), "saved before anything is sent");
    let lost: SlotSet = Slot::all().skip(8000).take(192).collect();
    assert!(outputs.contains(&Output::SlotsLost(lost)));
}

/// Replicas of real servers are told of by gossip, and a failover among them is followed.
#[test]
fn the_failover_of_others_is_followed() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    let replica = "5555555555555555555555555555555555555555";
    let entry = GossipEntry {
        id: id(replica),
        ping_sent: 0,
        pong_received: 0,
        ip: Some(IpAddr::from([10, 0, 0, 5])),
        port: 7000,
        bus_port: 17_000,
        flags: NodeFlags::REPLICA,
        secondary_port: 0,
    };
    let gossip = Gossip { entries: vec![entry], extensions: Vec::new() };
    say(&mut member, now, link, header(FRIEND), Body::Ping(gossip));
    let (peer, local) = (IpAddr::from([10, 0, 0, 5]), IpAddr::from([10, 0, 0, 1]));
    let second = member.new_link(peer, local).expect("its address is known");
    member.handle_input(now, Input::Accepted { link: second, peer, local });
    let follower = Header {
        replica_of: Some(id(FRIEND)),
        flags: NodeFlags::REPLICA,
        offset: 14,
        ..header(replica)
    };
    say(&mut member, now, second, follower, Body::Ping(Gossip::default()));
    let view = member.view();
    let primary = view.key(&id(FRIEND)).expect("known");
    assert_eq!(
        view.replicas_of(primary).map(|(_, node)| node.id).collect::<Vec<_>>(),
        [id(replica)]
    );

    let won = Header { config_epoch: Epoch(3), current_epoch: Epoch(3), ..header(replica) };
    say(&mut member, now, second, won, Body::Pong(Gossip::default()));
    let view = member.view();
    let owner = view.owner(Slot::new(16_383).expect("a slot")).expect("an owner");
    assert_eq!(view.node(owner).id, id(replica));
    assert!(view.node(owner).is_primary());
    assert_eq!(view.node(primary).slot_count(), 0);
}

/// Two links lead from one node to another, and what was said first on one may come behind what was said
/// next on the other.
#[test]
fn what_a_node_said_before_it_became_a_replica_does_not_get_the_epoch_of_its_primary() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    let empty = || Body::Pong(Gossip::default());
    // Its slots go to this node with epoch 9; this node's replica, it tells this node's epoch.
    let replica = Header {
        replica_of: Some(id(OWN)),
        flags: NodeFlags::REPLICA,
        config_epoch: Epoch(9),
        current_epoch: Epoch(9),
        slots: Slot::all().take(8192).collect(),
        ..header(FRIEND)
    };
    say(&mut member, now, link, replica, empty());
    let slot = Slot::new(10_000).expect("a slot");
    assert_eq!(member.view().owner(slot), None);
    say(&mut member, now, link, header(FRIEND), empty());
    let owner = member.view().owner(slot).expect("a claim of what is free");
    assert_eq!(member.view().node(owner).id, id(FRIEND));
    assert_eq!(member.view().node(owner).config_epoch, Epoch(2), "as it was claimed");
}

#[test]
fn garbage_is_counted_and_ends_a_link_after_a_while() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    for n in 1..=10 {
        member.handle_input(now, Input::Received { link, packet: Err(PacketError::Version(0)) });
        let outputs: Vec<Output> = std::iter::from_fn(|| member.poll_output()).collect();
        assert_eq!(outputs.contains(&Output::Close(link)), n == 10);
        assert_eq!(member.stats().malformed, n);
    }
}

#[test]
fn strangers_do_not_take_every_connection() {
    let (mut member, _, now) = member_and_link("10.0.0.2");
    let mut accepted = 1;
    let (peer, local) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 1]));
    while let Some(link) = member.new_link(peer, local) {
        member.handle_input(now, Input::Accepted { link, peer, local });
        accepted += 1;
        assert!(accepted <= 256);
    }
    assert_eq!(accepted, 256);
}

#[test]
fn a_fresh_node_persists_its_name_before_anything_else() {
    let now = Now::read();
    let mut member = Member::new(Options::new(7000), None, [3; 32], now);
    let Some(Output::Persist(durable)) = member.poll_output() else { panic!("nothing to save") };
    assert_eq!(durable.myself().id, member.view().myself().id);
    let again = Member::new(Options::new(7000), Some(&durable), [4; 32], now);
    assert_eq!(again.view().myself().id, member.view().myself().id);
    assert_eq!(again.shard_id(), member.shard_id());
}

#[test]
fn a_primary_that_stood_still_serves_nothing_before_it_has_heard_from_others() {
    let (mut member, _, now) = member_and_link("10.0.0.2");
    assert!(!member.overslept(now.after(Duration::from_secs(15))));
    let later = now.after(Duration::from_secs(60));
    assert!(member.overslept(later));
    for (millis, ok) in [(0, false), (100, false), (4900, false), (5100, true)] {
        let now = later.after(Duration::from_millis(millis));
        member.handle_input(now, Input::Timeout);
        assert_eq!(member.view().state_ok, ok, "{millis} ms after it went on");
    }
}

#[test]
fn messages_have_a_full_header_whatever_their_reader_knows() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    let outbound = member.view().by_id(&id(FRIEND)).and_then(|node| node.outbound);
    let outbound = outbound.expect("the member dials everyone");
    member.handle_input(now, Input::Opened(outbound));
    while member.poll_output().is_some() {}
    let publish = |member: &mut Member| -> Vec<Packet> {
        member.publish(Broadcast::Publish { channel: "c".into(), message: "m".into() });
        let outputs = std::iter::from_fn(|| member.poll_output());
        let packet = |output| match output {
            Output::Send { link, packet } if link == outbound => Some(packet),
            _ => None,
        };
        outputs.filter_map(packet).collect()
    };
    let is_light = |packets: &[Packet]| matches!(packets, [Packet::Light(_)]);
    let packets = publish(&mut member);
    assert!(packets.len() == 1 && !is_light(&packets), "Redis reads full headers only");
    let flags = NodeFlags::PRIMARY.with(NodeFlags::LIGHT_PUBLISH);
    let newer = Header { flags, ..header(FRIEND) };
    say(&mut member, now, link, newer, Body::Ping(Gossip::default()));
    let packets = publish(&mut member);
    assert!(packets.len() == 1 && !is_light(&packets), "it may not know yet whose link it is");
    assert!(member.header().flags.any(NodeFlags::LIGHT_PUBLISH), "light ones are read");
    let text = member.view().durable().to_text();
    say(&mut member, now, link, header(FRIEND), Body::Ping(Gossip::default()));
    assert!(!is_light(&publish(&mut member)));
    assert_eq!(member.view().durable().to_text(), text, "it is nothing to remember");
}

#[test]
fn a_replica_follows_what_its_primary_says_of_slots() {
    let (mut member, _, now) = member_and_link("10.0.0.2");
    let slot = |number| Slot::new(number).expect("a slot");
    let migrating = Change::Migrating(slot(9000), OWN.to_owned());
    assert!(member.follow_slot_change(now, migrating.clone()).is_err(), "a primary follows nobody");
    member.apply(now, Change::DelSlots((0..8192).map(slot).collect())).expect("its own");
    let replicate = Change::Replicate { node: FRIEND.to_owned(), has_keys: false };
    member.apply(now, replicate).expect("an empty node");
    assert_eq!(member.check_slot_change(&migrating), Err(Refusal::NotAPrimary));

    let stranger = Change::Importing(slot(1), STRANGER.to_owned());
    assert!(member.follow_slot_change(now, stranger).is_err());
    member.follow_slot_change(now, migrating).expect("known nodes");
    let importing = Change::Importing(slot(1), OWN.to_owned());
    member.follow_slot_change(now, importing).expect("known nodes");
    let text = member.view().durable().to_text();
    assert!(text.contains(&format!("[1-<-{OWN}] [9000->-{OWN}]")), "{text}");
    let assign = |number, node: &str| Change::Assign {
        slot: slot(number),
        node: node.into(),
        has_keys: true,
    };
    member.follow_slot_change(now, assign(1, FRIEND)).expect("known nodes");
    member.follow_slot_change(now, assign(9000, OWN)).expect("known nodes");
    let view = member.view();
    assert!(view.importing_from(slot(1)).is_none() && view.migrating_to(slot(9000)).is_none());
    let owner = |number| view.owner(slot(number)).map(|key| view.node(key).id);
    assert_eq!((owner(1), owner(9000)), (Some(id(FRIEND)), Some(id(OWN))));
}

#[test]
fn a_replica_has_the_open_slots_of_its_primarys_copy_and_no_others() {
    let (mut member, _, now) = member_and_link("10.0.0.2");
    let open = |slot, direction, peer| OpenSlot {
        slot: Slot::new(slot).expect("a slot"),
        direction,
        peer: id(peer),
    };
    let text = |member: &Member| {
        let durable = member.view().durable().to_text();
        durable.lines().find(|line| line.contains("myself")).expect("itself").to_owned()
    };
    let copied = [
        open(1, Move::ImportingFrom, OTHER),
        open(9000, Move::MigratingTo, OTHER),
        open(9001, Move::MigratingTo, STRANGER),
        open(9002, Move::MigratingTo, OWN),
        open(9003, Move::ImportingFrom, FRIEND),
    ];
    member.follow_open_slots(now, &copied);
    assert!(!text(&member).contains('['), "a primary follows nobody");

    let durable = Durable::parse(&format!(
        "{OWN} 10.0.0.1:7000@17000 myself,slave {FRIEND} 0 0 2 connected [7->-{OTHER}]\n\
         {FRIEND} 10.0.0.2:7000@17000 master - 0 0 2 connected 8192-16383\n\
         {OTHER} 10.0.0.3:7000@17000 master - 0 0 1 connected 0-8191\n\
         vars currentEpoch 2 lastVoteEpoch 0 shardId {FRIEND}\n"
    ));
    let mut member =
        Member::new(Options::new(7000), Some(&durable.expect("a replica")), [1; 32], now);
    assert!(text(&member).ends_with(&format!(" [7->-{OTHER}]")), "{}", text(&member));
    while member.poll_output().is_some() {}
    let persists = |member: &mut Member| {
        std::iter::from_fn(|| member.poll_output()).any(|out| matches!(out, Output::Persist(_)))
    };
    member.follow_open_slots(now, &copied);
    let expected = format!(" [1-<-{OTHER}] [9000->-{OTHER}]");
    assert!(text(&member).ends_with(&expected), "{}", text(&member));
    assert!(persists(&mut member), "it is saved");
    member.follow_open_slots(now, &copied);
    assert!(!persists(&mut member), "once");
    member.follow_open_slots(now, &[]);
    assert!(!text(&member).contains('['), "{}", text(&member));
}

/// A replica can be told whom to copy before that one has said of which shard it is.
#[test]
fn a_replica_takes_over_the_shard_id_that_its_primary_tells_later() {
    let (mut member, link, now) = member_and_link("10.0.0.2");
    let slots = member.view().myself().slots().clone();
    member.apply(now, Change::DelSlots(slots)).expect("they are ours");
    let change = Change::Replicate { node: FRIEND.to_owned(), has_keys: false };
    member.apply(now, change).expect("an empty node");
    while member.poll_output().is_some() {}
    assert_eq!(member.shard_id(), id(OWN), "its own, for want of another");
    let extensions = vec![Extension::ShardId(id(STRANGER))];
    let said = Body::Ping(Gossip { entries: Vec::new(), extensions });
    let outputs = say(&mut member, now, link, header(FRIEND), said);
    assert_eq!(member.view().myself().shard_id, Some(id(STRANGER)));
    let saved = outputs.iter().find_map(|output| match output {
        Output::Persist(durable) => durable.myself().shard_id,
        _ => None,
    });
    assert_eq!(saved, Some(id(STRANGER)), "it is saved");
}

/// A member that announces a host name, at an address of its own.
fn fresh(port: u16, hostname: &str, now: Now) -> Member {
    let mut options = Options::new(port);
    options.announce_hostname = Some(hostname.to_owned());
    Member::new(options, None, [port as u8; 32], now)
}

/// Each end knows what the other announces as soon as it knows its name.
#[test]
fn a_handshake_ends_with_the_host_names_of_both() {
    let mut now = Now::read();
    let ip = IpAddr::from([127, 0, 0, 1]);
    let mut members = [fresh(7000, "one.example", now), fresh(7001, "two.example", now)];
    let met = Change::Meet { ip, port: 7001, bus_port: 17_001 };
    members[0].apply(now, met).expect("an address");
    // Links by both ends' names: of the first member, of the second.
    let mut links: Vec<[LinkId; 2]> = Vec::new();
    for _ in 0..20 {
        now = now.after(TICK);
        members.iter_mut().for_each(|member| member.handle_input(now, Input::Timeout));
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for me in [0, 1] {
                let other = 1 - me;
                while let Some(output) = members[me].poll_output() {
                    quiet = false;
                    match output {
                        Output::Connect { link, .. } => {
                            let far = members[other].new_link(ip, ip).expect("loopback");
                            let accepted = Input::Accepted { link: far, peer: ip, local: ip };
                            members[other].handle_input(now, accepted);
                            links.push(if me == 0 { [link, far] } else { [far, link] });
                            members[me].handle_input(now, Input::Opened(link));
                        }
                        Output::Send { link, packet } => {
                            let pair = links.iter().find(|pair| pair[me] == link);
                            let link = pair.expect("a link that was opened")[other];
                            let received = Input::Received { link, packet: Ok(packet) };
                            members[other].handle_input(now, received);
                        }
                        _ => {}
                    }
                    for (member, name) in [(0, "two.example"), (1, "one.example")] {
                        let known = |(_, node): &(NodeKey, &Node)| !node.in_handshake();
                        for (_, node) in members[member].view().others().filter(known) {
                            assert_eq!(node.hostname.as_deref(), Some(name));
                        }
                    }
                }
            }
        }
        let met = |member: &Member| member.view().others().any(|(_, node)| !node.in_handshake());
        if members.iter().all(met) {
            return;
        }
    }
    panic!("they do not get to know each other");
}

/// Whoever is met, whatever it understands: as Redis 7.0.15 does (measured). The rest is for those who say that
/// they understand it.
#[test]
fn a_host_name_is_told_with_the_first_word() {
    let now = Now::read();
    let ip = IpAddr::from([127, 0, 0, 1]);
    let mut member = fresh(7000, "one.example", now);
    member.apply(now, Change::Meet { ip, port: 7001, bus_port: 17_001 }).expect("an address");
    let now = now.after(TICK);
    member.handle_input(now, Input::Timeout);
    let outputs: Vec<Output> = std::iter::from_fn(|| member.poll_output()).collect();
    let dialled = |output: &Output| match output {
        Output::Connect { link, .. } => Some(*link),
        _ => None,
    };
    let link = outputs.iter().find_map(dialled).expect("it dials");
    member.handle_input(now, Input::Opened(link));
    let met = std::iter::from_fn(|| member.poll_output()).find_map(|output| match output {
        Output::Send { packet: Packet::Full { body: Body::Meet(gossip), .. }, .. } => {
            Some(gossip.extensions)
        }
        _ => None,
    });
    assert_eq!(met, Some(vec![Extension::Hostname("one.example".to_owned())]));
}

/// A tool that goes on at another node must not find it with an older view of the epochs.
#[test]
fn an_epoch_that_an_operator_asks_for_is_told_at_once() {
    let (mut member, _, now) = member_and_link("10.0.0.2");
    let outbound = member.view().by_id(&id(FRIEND)).and_then(|node| node.outbound);
    let outbound = outbound.expect("the member dials everyone");
    member.handle_input(now, Input::Opened(outbound));
    while member.poll_output().is_some() {}
    let bumped = member.apply(now, Change::BumpEpoch);
    assert_eq!(bumped, Ok(Applied::Bumped(Epoch(3))));
    let outputs: Vec<Output> = std::iter::from_fn(|| member.poll_output()).collect();
    assert!(matches!(outputs[0], Output::Persist(_)), "saved before anything is sent");
    let told = |output: &Output| match output {
        Output::Send { link, packet: Packet::Full { header, body: Body::Pong(_) } } => {
            (*link, header.config_epoch) == (outbound, Epoch(3))
        }
        _ => false,
    };
    assert!(outputs.iter().any(told), "{outputs:?}");
    assert_eq!(member.apply(now, Change::BumpEpoch), Ok(Applied::Still(Epoch(3))));
    assert!(!member.has_output(), "there is nothing to tell");
}
