//! Who gets our vote, and how often.

use super::*;

const CANDIDATE: &str = "5555555555555555555555555555555555555555";
const RIVAL: &str = "6666666666666666666666666666666666666666";

/// Ours and a friend's primary that has failed, with two replicas, of which one asks for our vote.
fn voter() -> (Member, LinkId, Now) {
    let text = format!(
        "{OWN} 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-8191\n\
         {FRIEND} 10.0.0.2:7000@17000 master,fail - 0 0 2 connected 8192-16383\n\
         {CANDIDATE} 10.0.0.5:7000@17000 slave {FRIEND} 0 0 2 connected\n\
         {RIVAL} 10.0.0.6:7000@17000 slave {FRIEND} 0 0 2 connected\n\
         vars currentEpoch 2 lastVoteEpoch 0 shardId {OWN}\n"
    );
    voter_with(&Durable::parse(&text).expect("four nodes"))
}

/// With what it has saved.
fn voter_with(durable: &Durable) -> (Member, LinkId, Now) {
    let now = Now::read();
    let mut member = Member::new(Options::new(7000), Some(durable), [1; 32], now);
    member.handle_input(now, Input::Timeout);
    let outputs: Vec<Output> = std::iter::from_fn(|| member.poll_output()).collect();
    // The link that our vote goes out on.
    let to = std::net::SocketAddr::from(([10, 0, 0, 5], 17_000));
    let dialled = |output: &Output| match output {
        Output::Connect { link, to: dialled } if *dialled == to => Some(*link),
        _ => None,
    };
    let outbound = outputs.iter().find_map(dialled).expect("it is dialled");
    member.handle_input(now, Input::Opened(outbound));
    let link = link_of(&mut member, now, 5);
    (member, link, now)
}

/// A link that the node of this address has opened.
fn link_of(member: &mut Member, now: Now, host: u8) -> LinkId {
    let (peer, local) = (IpAddr::from([10, 0, 0, host]), IpAddr::from([10, 0, 0, 1]));
    let link = member.new_link(peer, local).expect("a neighbour");
    member.handle_input(now, Input::Accepted { link, peer, local });
    while member.poll_output().is_some() {}
    link
}

fn request(epoch: u64) -> Header {
    Header {
        current_epoch: Epoch(epoch),
        replica_of: Some(id(FRIEND)),
        flags: NodeFlags::REPLICA,
        ..header(CANDIDATE)
    }
}

fn votes(outputs: &[Output]) -> usize {
    let vote = |output: &&Output| matches!(output, Output::Send { packet, .. } if packet.kind() == Kind::VoteGranted);
    outputs.iter().filter(vote).count()
}

#[test]
fn a_vote_is_saved_before_it_is_sent_and_given_once_per_epoch() {
    let (mut member, link, now) = voter();
    let outputs = say(&mut member, now, link, request(3), Body::VoteRequest);
    let Output::Persist(saved) = &outputs[0] else { panic!("not saved first: {outputs:?}") };
    assert_eq!(saved.last_vote_epoch, Epoch(3));
    assert_eq!(votes(&outputs[1..]), 1);
    let other = Header { sender: id(RIVAL), ..request(3) };
    let others = link_of(&mut member, now, 6);
    let outputs = say(&mut member, now, others, other, Body::VoteRequest);
    assert_eq!(votes(&outputs), 0, "the vote of this epoch is given");

    // What was saved is enough not to vote again after a crash: not even for the same, which cannot be
    // known any more.
    let text = saved.to_text();
    let (mut again, link, now) = voter_with(&Durable::parse(&text).expect("what was saved"));
    assert_eq!(again.view().last_vote_epoch, Epoch(3));
    assert_eq!(votes(&say(&mut again, now, link, request(3), Body::VoteRequest)), 0);
}

/// Its first answer may have been lost with the link that it was sent on, or that one may hang.
#[test]
fn a_candidate_that_asks_again_gets_the_same_vote_where_it_asks() {
    let (mut member, link, now) = voter();
    let sent_on = |outputs: &[Output]| -> Vec<(LinkId, Epoch)> {
        let vote = |output: &Output| match output {
            Output::Send { link, packet: Packet::Full { header, body: Body::VoteGranted } } => {
                Some((*link, header.current_epoch))
            }
            _ => None,
        };
        outputs.iter().filter_map(vote).collect()
    };
    let outputs = say(&mut member, now, link, request(3), Body::VoteRequest);
    let [(first, Epoch(3))] = sent_on(&outputs)[..] else { panic!("{outputs:?}") };
    assert_ne!(first, link, "our own link to it");
    let outputs = say(&mut member, now, link, request(3), Body::VoteRequest);
    assert_eq!(sent_on(&outputs), [(link, Epoch(3))]);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Persist(_))), "{outputs:?}");

    // A vote does not become one of another epoch.
    let newer = Header { current_epoch: Epoch(9), ..header(FRIEND) };
    let friend = link_of(&mut member, now, 2);
    say(&mut member, now, friend, newer, Body::Ping(Gossip::default()));
    let outputs = say(&mut member, now, link, request(3), Body::VoteRequest);
    assert_eq!(sent_on(&outputs), [(link, Epoch(3))]);

    member.apply(now, Change::DelSlots(member.view().myself().slots().clone())).expect("ours");
    member.apply(now, Change::Reset { hard: true, has_keys: false }).expect("no keys");
    while member.poll_output().is_some() {}
    assert_eq!(member.last_vote, None, "it is another node");
}

#[test]
fn a_vote_is_given_where_no_link_of_ours_is_open() {
    let (mut member, link, now) = voter();
    let outbound = member.view().by_id(&id(CANDIDATE)).and_then(|node| node.outbound);
    member.handle_input(now, Input::Closed(outbound.expect("it was dialled")));
    let outputs = say(&mut member, now, link, request(3), Body::VoteRequest);
    let sent = |output: &Output| match output {
        Output::Send { link: on, packet } => *on == link && packet.kind() == Kind::VoteGranted,
        _ => false,
    };
    assert!(outputs.iter().any(sent), "{outputs:?}");
}

#[test]
fn a_voter_that_hears_of_the_failure_late_votes_when_it_is_asked_again() {
    let (mut member, link, now) = voter();
    let key = member.view.key(&id(FRIEND)).expect("known");
    member.view.node_mut(key).flags.remove(NodeFlags::FAIL);
    assert_eq!(votes(&say(&mut member, now, link, request(3), Body::VoteRequest)), 0);
    say(&mut member, now, link, request(3), Body::Fail(id(FRIEND)));
    assert_eq!(votes(&say(&mut member, now, link, request(3), Body::VoteRequest)), 1);
}

/// The vote waits for the disk, and so does every answer to whoever asks again meanwhile: one is enough.
#[test]
fn a_vote_that_waits_for_the_disk_is_sent_once() {
    let (mut member, link, now) = voter();
    let synced = member.view().durable();
    let mut promises = Promises::new(Some(synced));
    let mut done: Vec<Output> = Vec::new();
    let mut saves = 0;
    let mut wanted = None;
    for _ in 0..4 {
        let packet = Packet::Full { header: Box::new(request(3)), body: Body::VoteRequest };
        member.handle_input(now, Input::Received { link, packet: Ok(packet) });
        while let Some(step) = promises.next(&mut member) {
            match step {
                Step::Save(durable) => {
                    saves += 1;
                    wanted = Some(durable.clone());
                    promises.written(saves, durable);
                }
                Step::Do(output) => done.push(output),
            }
        }
    }
    assert_eq!((votes(&done), saves), (0, 1), "{done:?}");
    promises.synced(1, &wanted.expect("the vote is saved"));
    while let Some(Step::Do(output)) = promises.next(&mut member) {
        done.push(output);
    }
    assert_eq!(votes(&done), 1);
}

#[test]
fn a_candidate_that_is_behind_is_told_what_it_lacks() {
    let (mut member, link, now) = voter();
    let old = request(1);
    let outputs = say(&mut member, now, link, old, Body::VoteRequest);
    let told = |output: &Output| match output {
        Output::Send { link: on, packet: Packet::Full { header, body: Body::Pong(_) } } => {
            (*on, header.current_epoch) == (link, Epoch(2))
        }
        _ => false,
    };
    assert!(outputs.iter().any(told), "{outputs:?}");

    let stale = Header { config_epoch: Epoch(1), ..request(3) };
    let outputs = say(&mut member, now, link, stale, Body::VoteRequest);
    let told = |output: &Output| match output {
        Output::Send { packet: Packet::Full { body: Body::Update(update), .. }, .. } => {
            (update.node, update.config_epoch) == (id(FRIEND), Epoch(2))
        }
        _ => false,
    };
    assert!(outputs.iter().any(told), "{outputs:?}");
}

#[test]
fn a_candidate_that_may_not_win_gets_no_vote() {
    type Change = fn(&mut Member, &mut Header);
    let table: &[(&str, Change)] = &[
        ("an older epoch", |_, request| request.current_epoch = Epoch(1)),
        ("its primary is alive", |member, _| {
            let key = member.view.key(&id(FRIEND)).expect("known");
            member.view.node_mut(key).flags.remove(NodeFlags::FAIL);
        }),
        ("it has missed a change of owners", |_, request| request.config_epoch = Epoch(1)),
        ("it is a primary", |member, _| {
            let key = member.view.key(&id(CANDIDATE)).expect("known");
            member.view.node_mut(key).flags = NodeFlags::PRIMARY;
        }),
        ("nobody knows whose replica it is", |member, _| {
            let key = member.view.key(&id(CANDIDATE)).expect("known");
            member.view.set_primary_of(key, None);
        }),
        ("we have no slots", |member, _| {
            member.view.unassign_all(NodeKey::MYSELF);
        }),
        ("we voted in that epoch before a crash", |member, _| {
            member.view.last_vote_epoch = Epoch(3);
        }),
    ];
    for (why, change) in table {
        let (mut member, link, now) = voter();
        let mut header = request(3);
        change(&mut member, &mut header);
        let before = member.view.last_vote_epoch;
        let outputs = say(&mut member, now, link, header, Body::VoteRequest);
        assert_eq!(votes(&outputs), 0, "{why}");
        assert_eq!(member.view.last_vote_epoch, before, "{why}");
    }
}

#[test]
fn an_operator_may_have_a_primary_replaced_that_is_alive() {
    let (mut member, link, now) = voter();
    let key = member.view.key(&id(FRIEND)).expect("known");
    member.view.node_mut(key).flags.remove(NodeFlags::FAIL);
    let forced = Header { force_ack: true, ..request(3) };
    let outputs = say(&mut member, now, link, forced, Body::VoteRequest);
    assert_eq!(votes(&outputs), 1);
}

#[test]
fn replicas_of_one_primary_do_not_get_votes_in_quick_succession() {
    let (mut member, link, now) = voter();
    assert_eq!(votes(&say(&mut member, now, link, request(3), Body::VoteRequest)), 1);
    let soon = now.after(Duration::from_secs(1));
    let again = votes(&say(&mut member, soon, link, request(4), Body::VoteRequest));
    assert_eq!(again, 1, "it asks again itself, so it has not won");
    // As if the other replica had got it.
    let key = member.view.key(&id(FRIEND)).expect("known");
    member.view.node_mut(key).voted_for = Some(NodeKey::MYSELF);
    let late = soon.after(Duration::from_secs(29));
    assert_eq!(votes(&say(&mut member, late, link, request(5), Body::VoteRequest)), 0);
    let later = soon.after(Duration::from_secs(30));
    assert_eq!(votes(&say(&mut member, later, link, request(6), Body::VoteRequest)), 1);
}
