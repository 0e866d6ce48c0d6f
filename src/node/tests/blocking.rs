//! Clients that wait for keys. The replies are those of Redis 7.0.15 (measured).

use super::*;

impl Node {
    /// What came for a client since the last time, while nothing of its own was run.
    pub(in crate::node) fn arrived(&mut self, client: &mut Client) -> String {
        self.replies_to(client, b"")
    }

    fn replies_to(&mut self, client: &mut Client, bytes: &[u8]) -> String {
        self.send(client, bytes).0.replace("\r\n", "|")
    }

    /// A client that waits for its command to be served.
    pub(in crate::node) fn waiting(&mut self, line: &str) -> Client {
        let mut client = self.client();
        let (reply, progress) = self.send(&mut client, format!("{line}\r\n").as_bytes());
        assert_eq!(reply, "", "{line}");
        assert!(matches!(progress, Progress::Blocked { .. }), "{line}");
        client
    }

    fn woken(&mut self) -> Vec<ClientId> {
        std::iter::from_fn(|| self.core.poll_output())
            .filter_map(|output| match output {
                Output::Wake(id) => Some(id),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn whoever_came_first_is_served_first() {
    let mut node = Node::new(&[]);
    let mut pusher = node.client();
    let mut first = node.waiting("BLPOP other k 0");
    let mut second = node.waiting("BRPOP k 0");
    let mut third = node.waiting("BLMPOP 0 1 k LEFT COUNT 5");
    assert_eq!(node.replies(&mut pusher, "RPUSH k a b c d"), ":4|");
    assert_eq!(node.woken(), [first.id, second.id, third.id]);
    assert_eq!(node.arrived(&mut first), "*2|$1|k|$1|a|");
    assert_eq!(node.arrived(&mut second), "*2|$1|k|$1|d|");
    assert_eq!(node.arrived(&mut third), "*2|$1|k|*2|$1|b|$1|c|");
    assert_eq!(node.replies(&mut pusher, "EXISTS k"), ":0|");
}

#[test]
fn a_blocked_client_that_left_takes_nothing() {
    let mut node = Node::new(&[]);
    let mut pusher = node.client();
    let gone = node.waiting("BLPOP k 0");
    let killed = node.waiting("BLPOP k 0");
    let mut stays = node.waiting("BLPOP k 0");
    node.core.disconnect(gone.id);
    assert_eq!(node.replies(&mut pusher, &format!("CLIENT KILL ID {}", killed.id)), ":1|");
    assert_eq!(node.replies(&mut pusher, "RPUSH k a"), ":1|");
    assert_eq!(node.arrived(&mut stays), "*2|$1|k|$1|a|");
    node.core.disconnect(killed.id);
    assert_eq!(node.core.server.waiters.len(), 0);
}

#[test]
fn an_element_may_pass_through_several_hands() {
    let mut node = Node::new(&[]);
    let mut pusher = node.client();
    let mut last = node.waiting("BLPOP c 0");
    let mut middle = node.waiting("BLMOVE b c LEFT RIGHT 0");
    let mut first = node.waiting("BRPOPLPUSH a b 0");
    let mut circle = node.waiting("BRPOPLPUSH a a 0");
    assert_eq!(node.replies(&mut pusher, "RPUSH a x"), ":1|");
    for client in [&mut first, &mut middle] {
        assert_eq!(node.arrived(client), "$1|x|");
    }
    assert_eq!(node.arrived(&mut last), "*2|$1|c|$1|x|");
    assert_eq!(node.arrived(&mut circle), "");
    assert_eq!(node.replies(&mut pusher, "RPUSH a y"), ":1|");
    assert_eq!(node.arrived(&mut circle), "$1|y|");
    assert_eq!(node.replies(&mut pusher, "LRANGE a 0 -1"), "*1|$1|y|");
}

#[test]
fn a_transaction_is_over_before_anyone_is_served() {
    let mut node = Node::new(&[]);
    let mut pusher = node.client();
    let mut one = node.waiting("BLPOP a b 0");
    let transaction =
        b"MULTI\r\nRPUSH a x\r\nDEL a\r\nRPUSH b y\r\nLPUSH b z\r\nRPUSH a w\r\nEXEC\r\n";
    node.send(&mut pusher, transaction);
    assert_eq!(node.arrived(&mut one), "*2|$1|a|$1|w|", "a was written first");
    assert_eq!(node.replies(&mut pusher, "LRANGE b 0 -1"), "*2|$1|z|$1|y|");
    let mut other = node.waiting("BLPOP a 0");
    node.send(&mut pusher, b"MULTI\r\nRPUSH a x\r\nLPOP a\r\nEXEC\r\n");
    assert_eq!(node.arrived(&mut other), "");
}

#[test]
fn pipelined_commands_are_served_one_by_one() {
    let mut node = Node::new(&[]);
    let mut pusher = node.client();
    let mut one = node.waiting("BLPOP k 0");
    let replies = node.replies_to(&mut pusher, b"LPUSH k a\r\nLLEN k\r\nLPUSH k b\r\nLLEN k\r\n");
    assert_eq!(replies, ":1|:0|:1|:1|");
    assert_eq!(node.arrived(&mut one), "*2|$1|k|$1|a|");
}

#[test]
fn what_was_sent_behind_a_blocked_command_waits() {
    let mut node = Node::new(&[]);
    let (mut one, mut pusher) = (node.client(), node.client());
    let mut output = Vec::new();
    let input = b"BLPOP k 0\r\nPING\r\n";
    let (used, _) = node.core.handle_input(node.now, one.id, &mut one.decoder, input, &mut output);
    assert_eq!((used, output.len()), (b"BLPOP k 0\r\n".len(), 0));
    node.replies(&mut pusher, "RPUSH k a");
    assert_eq!(node.replies_to(&mut one, &input[used..]), "*2|$1|k|$1|a|+PONG|");
}

#[test]
fn a_wait_ends_in_time() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    let (_, progress) = node.send(&mut client, b"BLPOP k 0.25\r\n");
    let until = node.now.instant + Duration::from_millis(250);
    assert_eq!(progress, Progress::Blocked { until: Some(until) });
    node.now = node.now.after(Duration::from_millis(249));
    assert_eq!(node.arrived(&mut client), "");
    node.now = node.now.after(Duration::from_millis(1));
    assert_eq!(node.arrived(&mut client), "*-1|");
    node.send(&mut client, b"HELLO 3\r\n");
    node.send(&mut client, b"BLMOVE k l LEFT LEFT 1\r\n");
    node.now = node.now.after(Duration::from_secs(1));
    assert_eq!(node.arrived(&mut client), "_|");
    assert_eq!(node.core.server.waiters.len(), 0);
}

#[test]
fn nothing_blocks_inside_a_transaction() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    for (command, reply) in [
        ("BLPOP k 0", "*-1|"),
        ("BLMOVE k l LEFT LEFT 0", "$-1|"),
        ("BRPOPLPUSH k l 0", "$-1|"),
        ("BLMPOP 0 1 k LEFT", "*-1|"),
        ("BZPOPMAX k 0", "*-1|"),
        ("BZMPOP 0 1 k MIN", "*-1|"),
    ] {
        let text = format!("MULTI\r\n{command}\r\nEXEC\r\n");
        let expected = format!("+OK|+QUEUED|*1|{reply}");
        assert_eq!(node.replies_to(&mut client, text.as_bytes()), expected, "{command}");
    }
    assert_eq!(node.replies(&mut client, "PING"), "+PONG|");
}

#[test]
fn a_key_that_comes_as_something_else_has_not_come() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut list = node.waiting("BLPOP k 0");
    let mut set = node.waiting("BZPOPMIN k 0");
    node.replies(&mut other, "SET k x");
    node.replies(&mut other, "DEL k");
    node.replies(&mut other, "ZADD k 1 m");
    assert_eq!(node.arrived(&mut list), "");
    assert_eq!(node.arrived(&mut set), "*3|$1|k|$1|m|$1|1|");
    node.replies(&mut other, "RPUSH elsewhere x");
    node.replies(&mut other, "RENAME elsewhere k");
    assert_eq!(node.arrived(&mut list), "*2|$1|k|$1|x|");
    let mut mover = node.waiting("BLMOVE from to LEFT LEFT 0");
    node.replies(&mut other, "SET to text");
    node.replies(&mut other, "RPUSH from x");
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value|";
    assert_eq!(node.arrived(&mut mover), wrong);
    assert_eq!(node.replies(&mut other, "LLEN from"), ":1|");
}

#[test]
fn another_client_may_end_a_wait() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut one = node.waiting("BLPOP k 0");
    assert_eq!(node.replies(&mut other, &format!("CLIENT UNBLOCK {}", one.id)), ":1|");
    assert_eq!(node.woken(), [one.id]);
    assert_eq!(node.arrived(&mut one), "*-1|");
    assert_eq!(node.replies(&mut other, &format!("CLIENT UNBLOCK {}", one.id)), ":0|");
    let mut two = node.waiting("BLMOVE k l LEFT LEFT 0");
    assert_eq!(node.replies(&mut other, &format!("CLIENT UNBLOCK {} error", two.id)), ":1|");
    assert_eq!(node.arrived(&mut two), "-UNBLOCKED client unblocked via CLIENT UNBLOCK|");
    let stats = node.replies(&mut other, "INFO commandstats");
    let failed = |name: &str, count: u32| {
        let mut lines =
            stats.split('|').filter(|line| line.starts_with(&format!("cmdstat_{name}:")));
        let line = lines.next().expect("it was called");
        assert!(line.ends_with(&format!("rejected_calls=0,failed_calls={count}")), "{line}");
    };
    failed("blpop", 0);
    failed("blmove", 1);
    assert_eq!(node.replies(&mut other, "CLIENT UNBLOCK 99"), ":0|");
    assert_eq!(node.replies(&mut other, "CLIENT UNBLOCK -1"), ":0|");
}

#[test]
fn waiting_clients_are_counted_and_shown() {
    let mut node = Node::new(&[("timeout", "5")]);
    let mut other = node.client();
    let mut one = node.waiting("BLPOP k l 0");
    let _two = node.waiting("BLPOP k 60");
    let info = node.replies(&mut other, "INFO clients");
    for line in ["blocked_clients:2", "clients_in_timeout_table:1", "total_blocking_keys:2"] {
        assert!(info.contains(&format!("|{line}|")), "{line}: {info}");
    }
    let list = node.replies(&mut other, &format!("CLIENT LIST ID {}", one.id));
    assert!(list.contains(" flags=b ") && list.contains(" cmd=blpop "), "{list}");
    node.now = node.now.after(Duration::from_secs(20));
    node.core.handle_tick(node.now);
    assert_eq!(node.woken(), [other.id], "waiting is not idling");
    assert_eq!(node.arrived(&mut one), "");
}

#[test]
fn a_client_that_wants_no_reply_gets_none_when_it_is_served() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut one = node.client();
    node.send(&mut one, b"CLIENT REPLY SKIP\r\n");
    node.send(&mut one, b"BLPOP k 0\r\n");
    node.replies(&mut other, "RPUSH k a b");
    assert_eq!(node.replies(&mut one, "LLEN k"), ":1|");
}

#[test]
fn a_pause_holds_back_whoever_would_block_and_ends_no_wait_late() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut one = node.waiting("BLPOP k 0.5");
    assert_eq!(node.replies(&mut other, "CLIENT PAUSE 10000 WRITE"), "+OK|");
    let mut two = node.client();
    assert_eq!(node.send(&mut two, b"BLPOP k 1\r\n").1, Progress::Paused);
    let info = node.replies(&mut other, "INFO clients");
    assert!(info.contains("|blocked_clients:2|"), "{info}");
    assert_eq!(node.replies(&mut other, &format!("CLIENT UNBLOCK {}", two.id)), ":0|");
    node.now = node.now.after(Duration::from_millis(500));
    assert_eq!(node.arrived(&mut one), "*-1|");
}

#[test]
fn who_waits_at_a_primary_that_is_one_no_longer_is_sent_away() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut one = node.waiting("BLPOP k 0");
    let mut two = node.waiting("BLMOVE k l LEFT LEFT 5");
    assert_eq!(node.replies(&mut other, "REPLICAOF 127.0.0.1 1"), "+OK|");
    for client in [&mut one, &mut two] {
        let (reply, progress) = node.send(client, b"");
        assert_eq!(
            reply,
            "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> \
             replica?)\r\n"
        );
        assert_eq!(progress, Progress::CloseAfterReplies);
    }
    assert_eq!(node.core.server.waiters.len(), 0);
}

#[test]
fn keys_that_come_with_another_database_have_come() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut one = node.waiting("BLPOP a 0");
    let mut two = node.waiting("BLPOP b 0");
    for line in ["SELECT 1", "RPUSH a x", "SET b text", "SWAPDB 0 1"] {
        node.replies(&mut other, line);
    }
    assert_eq!(node.arrived(&mut one), "*2|$1|a|$1|x|");
    assert_eq!(node.arrived(&mut two), "");
    node.send(&mut other, b"RPUSH b y\r\nMOVE b 0\r\n");
    assert_eq!(node.arrived(&mut two), "", "there is a text of that name");
    node.send(&mut other, b"COPY b b DB 0 REPLACE\r\n");
    assert_eq!(node.arrived(&mut two), "*2|$1|b|$1|y|");
}

#[test]
fn keys_that_went_before_they_came_are_served_as_they_came() {
    let mut node = Node::new(&[]);
    let mut other = node.client();
    let mut one = node.waiting("BLPOP a b 0");
    node.send(&mut other, b"MULTI\r\nFLUSHALL\r\nDEL a\r\nRPUSH b x\r\nRPUSH a y\r\nEXEC\r\n");
    assert_eq!(node.arrived(&mut one), "*2|$1|b|$1|x|");
}
