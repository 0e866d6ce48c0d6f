//! Who gets our vote, and how often.

use super::*;

const CANDIDATE: &str = "5555555555555555555555555555555555555555";

/// Ours and a friend's primary that has failed, with a replica that asks for our vote.
fn voter() -> (Member, LinkId, Now) {
    let now = Now::read();
    let text = format!(
        "{OWN} 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-8191\n\
         {FRIEND} 10.0.0.2:7000@17000 master,fail - 0 0 2 connected 8192-16383\n\
         {CANDIDATE} 10.0.0.5:7000@17000 slave {FRIEND} 0 0 2 connected\n\
         vars currentEpoch 2 lastVoteEpoch 0 shardId {OWN}\n"
    );
    let durable = Durable::parse(&text).expect("three nodes");
    let mut member = Member::new(Options::new(7000), Some(&durable), [1; 32], now);
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
    let (peer, local) = (IpAddr::from([10, 0, 0, 5]), IpAddr::from([10, 0, 0, 1]));
    let link = member.new_link(peer, local).expect("a neighbour");
    member.handle_input(now, Input::Accepted { link, peer, local });
    while member.poll_output().is_some() {}
    (member, link, now)
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
    let outputs = say(&mut member, now, link, request(3), Body::VoteRequest);
    assert_eq!(votes(&outputs), 0, "the vote of this epoch is given");

    // What was saved is enough not to vote again after a crash.
    let text = saved.to_text();
    let again = Member::new(
        Options::new(7000),
        Some(&Durable::parse(&text).expect("what was saved")),
        [2; 32],
        now,
    );
    assert_eq!(again.view().last_vote_epoch, Epoch(3));
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
