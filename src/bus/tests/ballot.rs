//! Whom a candidate asks, whom it asks again, and what ends that.

use super::*;

const PRIMARY: &str = "2222222222222222222222222222222222222222";
/// The other primaries, at the addresses 10.0.0.3, 10.0.0.4 and 10.0.0.5.
const VOTERS: [&str; 3] = [
    "3333333333333333333333333333333333333333",
    "4444444444444444444444444444444444444444",
    "5555555555555555555555555555555555555555",
];
const SIBLING: &str = "6666666666666666666666666666666666666666";
const TIMEOUT: Duration = Duration::from_secs(2);

/// A replica whose primary, one of four, has just been called failed, and its links to the voters.
struct Candidate {
    member: Member,
    links: Vec<LinkId>,
    now: Now,
    began: Instant,
}

impl Candidate {
    fn new(sibling: bool) -> Self {
        let now = Now::read();
        let slots = |n: usize| format!("{}-{}", n * 4096, n * 4096 + 4095);
        let mut text = format!(
            "{OWN} 10.0.0.1:7000@17000 myself,slave {PRIMARY} 0 0 1 connected\n\
             {PRIMARY} 10.0.0.2:7000@17000 master - 0 0 1 connected {}\n",
            slots(0)
        );
        for (n, voter) in VOTERS.iter().enumerate() {
            let (host, slots) = (n + 3, slots(n + 1));
            text += &format!(
                "{voter} 10.0.0.{host}:7000@17000 master - 0 0 {} connected {slots}\n",
                n + 2
            );
        }
        if sibling {
            text += &format!("{SIBLING} 10.0.0.6:7000@17000 slave {PRIMARY} 0 0 1 connected\n");
        }
        text += &format!("vars currentEpoch 4 lastVoteEpoch 0 shardId {OWN}\n");
        let durable = Durable::parse(&text).expect("some nodes");
        let options = Options { node_timeout: TIMEOUT, ..Options::new(7000) };
        let member = Member::new(options, Some(&durable), [1; 32], now);
        let mut candidate = Self { member, links: Vec::new(), now, began: now.instant };
        candidate.tick(Duration::ZERO);
        for voter in VOTERS {
            let link = candidate.node(voter).outbound.expect("it is dialled");
            candidate.open(link);
            candidate.links.push(link);
        }
        candidate.drain();
        candidate.say(0, Body::Fail(id(PRIMARY)), Epoch(4));
        candidate
    }

    fn node(&self, name: &str) -> &Node {
        self.member.view().by_id(&id(name)).expect("a node of the test")
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.member.poll_output()).collect()
    }

    fn open(&mut self, link: LinkId) {
        self.member.handle_input(self.now, Input::Opened(link));
    }

    /// Lets time pass, in which the others say that they are there.
    fn tick(&mut self, time: Duration) {
        self.now = self.now.after(time);
        let heard = Some(self.now.instant);
        self.member.set_replication(Replication { offset: 7, heard, linked: false });
        for (voter, link) in self.links.clone().into_iter().enumerate() {
            let header = Box::new(self.header_of(voter, Epoch(4)));
            let packet = Packet::Full { header, body: Body::Pong(Gossip::default()) };
            self.member.handle_input(self.now, Input::Received { link, packet: Ok(packet) });
        }
        if let Some(sibling) = self.member.view().key(&id(SIBLING)) {
            self.member.view.node_mut(sibling).data_received = Some(self.now);
        }
        self.member.handle_input(self.now, Input::Timeout);
    }

    fn header_of(&self, voter: usize, epoch: Epoch) -> Header {
        let known = self.node(VOTERS[voter]);
        let (config_epoch, slots) = (known.config_epoch, known.slots().clone());
        Header { current_epoch: epoch, config_epoch, slots, ..header(VOTERS[voter]) }
    }

    /// A voter says something.
    fn say(&mut self, voter: usize, body: Body, epoch: Epoch) -> Vec<Output> {
        let header = self.header_of(voter, epoch);
        let link = self.links[voter];
        say(&mut self.member, self.now, link, header, body)
    }

    fn vote(&mut self, voter: usize, epoch: Epoch) {
        self.say(voter, Body::VoteGranted, epoch);
    }

    /// Which voters have been asked since the last look, and in which epoch.
    fn asked(&mut self) -> Vec<(usize, Epoch)> {
        let outputs = self.drain();
        let mut told = None;
        let mut asked = Vec::new();
        for output in outputs {
            let Output::Send { link, packet: Packet::Full { header, body } } = output else {
                continue;
            };
            match body {
                Body::Fail(failed) => told = Some((link, failed)),
                Body::VoteRequest => {
                    // As long as nobody may have taken it back.
                    let age = self.now.instant.duration_since(self.began);
                    let expected = (age < TIMEOUT * 2).then_some((link, id(PRIMARY)));
                    assert_eq!(told.take(), expected, "the failure is told just before");
                    let voter = self.links.iter().position(|known| *known == link);
                    asked.push((voter.expect("a voter's link"), header.current_epoch));
                }
                _ => {}
            }
        }
        asked
    }

    /// Lets time pass until somebody is asked, and says when and whom.
    fn until_asked(&mut self, within: Duration) -> (Duration, Vec<(usize, Epoch)>) {
        let since = self.now.instant;
        loop {
            self.tick(TICK);
            let (asked, took) = (self.asked(), self.now.instant.duration_since(since));
            if !asked.is_empty() {
                return (took, asked);
            }
            assert!(took < within, "nobody is asked within {within:?}");
        }
    }

    fn is_primary(&self) -> bool {
        self.member.view().myself().is_primary()
    }
}

const ALL: [(usize, Epoch); 3] = [(0, Epoch(5)), (1, Epoch(5)), (2, Epoch(5))];
const SOON: Duration = Duration::from_millis(1_200);
const HALF: Duration = Duration::from_millis(700);

#[test]
fn who_has_not_voted_is_asked_again_in_the_same_epoch() {
    let mut candidate = Candidate::new(false);
    assert_eq!(candidate.until_asked(SOON).1, ALL);
    assert_eq!(candidate.until_asked(HALF).1, ALL);
    candidate.vote(1, Epoch(5));
    assert_eq!(candidate.until_asked(HALF).1, [ALL[0], ALL[2]]);
    candidate.vote(0, Epoch(5));
    assert_eq!(candidate.until_asked(HALF).1, [ALL[2]], "one is lacking");
    candidate.vote(0, Epoch(5));
    assert!(!candidate.is_primary(), "one vote is one vote");
    candidate.vote(2, Epoch(5));
    assert!(candidate.is_primary());
    assert_eq!(candidate.member.view().myself().config_epoch, Epoch(5));
}

#[test]
fn a_voter_is_asked_as_soon_as_there_is_a_link_to_it() {
    let mut candidate = Candidate::new(false);
    candidate.member.handle_input(candidate.now, Input::Closed(candidate.links[1]));
    while candidate.asked().is_empty() {
        // The link is dialled, and not open yet.
        candidate.tick(TICK);
    }
    let link = candidate.node(VOTERS[1]).outbound.expect("it is dialled");
    candidate.links[1] = link;
    candidate.tick(TICK);
    assert_eq!(candidate.asked(), []);
    candidate.open(link);
    assert_eq!(candidate.asked(), [ALL[1]]);
}

#[test]
fn a_vote_of_another_epoch_counts_for_nothing() {
    let mut candidate = Candidate::new(false);
    candidate.until_asked(SOON);
    for voter in 0..3 {
        candidate.vote(voter, Epoch(4));
        candidate.vote(voter, Epoch(6));
    }
    assert!(!candidate.is_primary());
}

/// Votes may be under way for a moment; then it asks anew, and the next time waits for longer.
#[test]
fn an_epoch_that_is_over_is_given_up_for_another() {
    let mut candidate = Candidate::new(false);
    candidate.until_asked(SOON);
    candidate.vote(0, Epoch(5));
    let mut pauses = Vec::new();
    for over in [6, 8, 10, 12] {
        candidate.say(1, Body::Ping(Gossip::default()), Epoch(over));
        candidate.asked();
        let mut took = Duration::ZERO;
        loop {
            let (passed, asked) = candidate.until_asked(TIMEOUT * 4);
            took += passed;
            if asked[0].1 == Epoch(over + 1) {
                assert_eq!(asked.len(), 3, "all of them: it is another epoch");
                break;
            }
        }
        pauses.push(took.as_millis());
    }
    assert!(pauses[0] <= 400, "{pauses:?}");
    assert!(pauses.is_sorted() && pauses[3] > 2 * pauses[1], "{pauses:?}");
}

#[test]
fn an_epoch_that_somebody_claims_is_over() {
    let mut candidate = Candidate::new(false);
    candidate.until_asked(SOON);
    let slots = candidate.node(VOTERS[2]).slots().clone();
    let claim =
        Header { current_epoch: Epoch(5), config_epoch: Epoch(5), slots, ..header(VOTERS[2]) };
    let (link, now) = (candidate.links[2], candidate.now);
    say(&mut candidate.member, now, link, claim, Body::Ping(Gossip::default()));
    let next = candidate.until_asked(HALF).1;
    assert_eq!(next[0].1, Epoch(6), "{next:?}");
}

/// It has its turn: whoever votes for the one does not vote for the other for a while.
#[test]
fn another_replica_that_asks_later_is_not_disturbed() {
    let mut candidate = Candidate::new(true);
    candidate.until_asked(SOON);
    let request = Header {
        current_epoch: Epoch(6),
        config_epoch: Epoch(1),
        replica_of: Some(id(PRIMARY)),
        flags: NodeFlags::REPLICA,
        slots: SlotSet::new(),
        ..header(SIBLING)
    };
    let (peer, local) = (IpAddr::from([10, 0, 0, 6]), IpAddr::from([10, 0, 0, 1]));
    let link = candidate.member.new_link(peer, local).expect("a neighbour");
    candidate.member.handle_input(candidate.now, Input::Accepted { link, peer, local });
    let now = candidate.now;
    say(&mut candidate.member, now, link, request, Body::VoteRequest);
    for _ in 0..70 {
        candidate.tick(TICK);
        let asked = candidate.asked();
        // What was given in that epoch may still be fetched.
        assert!(asked.iter().all(|(_, epoch)| *epoch == Epoch(5)), "{asked:?}");
    }
    let next = candidate.until_asked(TIMEOUT * 4).1;
    assert_eq!(next[0].1, Epoch(7), "it is not waited for without end");
}

/// Where no other replica could stand, there is nobody to wait for after the time for votes.
#[test]
fn an_election_that_was_not_won_is_tried_again_at_once_where_nobody_else_could_stand() {
    for (sibling, at_least) in [(false, 0), (true, 8_000)] {
        let mut candidate = Candidate::new(sibling);
        candidate.until_asked(SOON);
        let since = candidate.now.instant;
        while candidate.until_asked(TIMEOUT * 6).1[0].1 == Epoch(5) {}
        let took = candidate.now.instant.duration_since(since).as_millis();
        assert!((at_least..at_least + 5_000).contains(&took), "sibling {sibling}: {took} ms");
    }
}

/// The epoch is on disk before anybody is asked in it, and that may take longer than votes are waited for.
#[test]
fn votes_are_waited_for_from_when_the_request_has_left() {
    let mut candidate = Candidate::new(false);
    let mut promises = Promises::new(Some(candidate.member.view().durable()));
    let (mut saves, mut last) = (0, None);
    let mut asked = 0;
    let mut turn = |candidate: &mut Candidate, synced: bool| {
        if synced {
            promises.synced(saves, last.as_ref().expect("something was saved"));
        }
        while let Some(step) = promises.next(&mut candidate.member) {
            match step {
                Step::Save(durable) => {
                    saves += 1;
                    last = Some(durable.clone());
                    promises.written(saves, durable);
                }
                Step::Do(Output::Send { packet, .. }) => {
                    asked += usize::from(packet.kind() == Kind::VoteRequest);
                }
                Step::Do(_) => {}
            }
        }
        asked
    };
    for _ in 0..120 {
        candidate.tick(TICK);
        assert_eq!(turn(&mut candidate, false), 0, "nobody hears of it before it is on disk");
    }
    assert_eq!(candidate.member.view().current_epoch, Epoch(5), "one epoch is enough");
    assert_eq!(turn(&mut candidate, true), 3);
    for _ in 0..35 {
        candidate.tick(TICK);
        turn(&mut candidate, false);
    }
    (0..3).for_each(|voter| candidate.vote(voter, Epoch(5)));
    assert!(candidate.is_primary());
}
