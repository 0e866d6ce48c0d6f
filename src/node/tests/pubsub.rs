//! Clients that listen. Replies are those of Redis 7.0.15, the place of a message to oneself that
//! of Redis 7.2 (behind the reply).

use super::*;

impl Node {
    /// A client that listens.
    fn listening(&mut self, lines: &[&str]) -> Client {
        let mut client = self.client();
        for line in lines {
            self.replies(&mut client, line);
        }
        client
    }
}

#[test]
fn subscriptions_are_confirmed_and_counted() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.transcript(
        &mut client,
        &[
            (
                "SUBSCRIBE x y x",
                "*3|$9|subscribe|$1|x|:1|*3|$9|subscribe|$1|y|:2|*3|$9|subscribe|$1|x|:2|",
            ),
            ("PSUBSCRIBE h* x", "*3|$10|psubscribe|$2|h*|:3|*3|$10|psubscribe|$1|x|:4|"),
            ("SSUBSCRIBE sh", "*3|$10|ssubscribe|$2|sh|:1|"),
            ("UNSUBSCRIBE x", "*3|$11|unsubscribe|$1|x|:3|"),
            ("UNSUBSCRIBE nope", "*3|$11|unsubscribe|$4|nope|:3|"),
            ("UNSUBSCRIBE", "*3|$11|unsubscribe|$1|y|:2|"),
            ("UNSUBSCRIBE", "*3|$11|unsubscribe|$-1|:2|"),
            ("PUNSUBSCRIBE", "*3|$12|punsubscribe|$2|h*|:1|*3|$12|punsubscribe|$1|x|:0|"),
            (
                "GET k",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context|",
            ),
            ("SUNSUBSCRIBE", "*3|$12|sunsubscribe|$2|sh|:0|"),
            ("SUNSUBSCRIBE", "*3|$12|sunsubscribe|$-1|:0|"),
            ("GET k", "$-1|"),
        ],
    );
    assert_eq!(node.core.server.pubsub.counts(), (0, 0, 0, 0));
}

#[test]
fn a_message_reaches_each_listener_once_per_subscription() {
    let mut node = Node::new(&[]);
    let mut sender = node.client();
    let mut old = node.listening(&["SUBSCRIBE news", "PSUBSCRIBE n*s"]);
    let mut new = node.listening(&["HELLO 3", "PSUBSCRIBE *", "SSUBSCRIBE news"]);
    assert_eq!(node.replies(&mut sender, "PUBLISH news hi"), ":3|");
    let to_old = "*3|$7|message|$4|news|$2|hi|*4|$8|pmessage|$3|n*s|$4|news|$2|hi|";
    assert_eq!(node.arrived(&mut old), to_old);
    assert_eq!(node.arrived(&mut new), ">4|$8|pmessage|$1|*|$4|news|$2|hi|");
    assert_eq!(node.replies(&mut sender, "SPUBLISH news hi"), ":1|");
    assert_eq!(node.arrived(&mut new), ">3|$8|smessage|$4|news|$2|hi|");
    assert_eq!(node.arrived(&mut old), "");
    assert_eq!(node.replies(&mut sender, "PUBLISH quiet hi"), ":1|");
    assert_eq!(node.replies(&mut sender, "SPUBLISH quiet hi"), ":0|");
}

#[test]
fn what_one_sends_to_oneself_comes_behind_the_reply() {
    let mut node = Node::new(&[]);
    let mut client = node.listening(&["HELLO 3", "SUBSCRIBE x"]);
    let message = ">3|$7|message|$1|x|$1|m|";
    assert_eq!(node.replies(&mut client, "PUBLISH x m"), format!(":1|{message}"));
    node.send(&mut client, b"MULTI\r\nPUBLISH x m\r\nGET k\r\n");
    assert_eq!(node.replies(&mut client, "EXEC"), format!("*2|:1|_|{message}"));
    node.send(&mut client, b"CLIENT REPLY OFF\r\n");
    assert_eq!(node.replies(&mut client, "PUBLISH x m"), message);
    assert_eq!(node.replies(&mut client, "SUBSCRIBE y"), ">3|$9|subscribe|$1|y|:2|");
}

#[test]
fn a_listener_in_resp2_runs_little_else() {
    let mut node = Node::new(&[]);
    let mut client = node.listening(&["SUBSCRIBE x"]);
    node.transcript(
        &mut client,
        &[
            ("PING", "*2|$4|pong|$0||"),
            ("PING hi", "*2|$4|pong|$2|hi|"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command|"),
            (
                "CLIENT LIST",
                "-ERR Can't execute 'client|list': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING \
                 / QUIT / RESET are allowed in this context|",
            ),
            ("RESET", "+RESET|"),
            ("GET k", "$-1|"),
        ],
    );
    let mut client = node.listening(&["HELLO 3", "SUBSCRIBE x"]);
    assert_eq!(node.replies(&mut client, "PING"), "+PONG|");
    let mut client = node.listening(&["MULTI"]);
    assert_eq!(node.replies(&mut client, "SUBSCRIBE a"), "+QUEUED|");
    assert_eq!(node.replies(&mut client, "EXEC"), "*1|*3|$9|subscribe|$1|a|:1|");
}

#[test]
fn what_is_listened_to_can_be_asked() {
    let mut node = Node::new(&[]);
    let mut asker = node.client();
    let listener = node.listening(&["SUBSCRIBE x xx y"]);
    let _other = node.listening(&["SUBSCRIBE x", "PSUBSCRIBE p* q", "SSUBSCRIBE s1"]);
    let usage =
        "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.|";
    node.transcript(
        &mut asker,
        &[
            ("PUBSUB CHANNELS", "*3|$1|x|$2|xx|$1|y|"),
            ("PUBSUB CHANNELS x*", "*2|$1|x|$2|xx|"),
            ("PUBSUB NUMSUB", "*0|"),
            ("PUBSUB NUMSUB x no", "*4|$1|x|:2|$2|no|:0|"),
            ("PUBSUB NUMPAT", ":2|"),
            ("PUBSUB SHARDCHANNELS", "*1|$2|s1|"),
            ("PUBSUB SHARDCHANNELS t*", "*0|"),
            ("PUBSUB SHARDNUMSUB s1 q", "*4|$2|s1|:1|$1|q|:0|"),
            ("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command|"),
            ("PUBSUB CHANNELS x y", usage),
        ],
    );
    let info = node.replies(&mut asker, "INFO");
    for line in
        ["pubsub_channels:3", "pubsub_patterns:2", "pubsubshard_channels:1", "pubsub_clients:2"]
    {
        assert!(info.contains(&format!("|{line}|")), "{line}");
    }
    let list = node.replies(&mut asker, "CLIENT LIST TYPE pubsub");
    assert!(list.contains(" flags=P db=0 sub=1 psub=2 ssub=1 "), "{list}");
    assert_eq!(list.matches("id=").count(), 2);
    node.core.disconnect(listener.id);
    assert_eq!(node.replies(&mut asker, "PUBSUB CHANNELS"), "*1|$1|x|");
    assert_eq!(node.replies(&mut asker, "CLIENT KILL TYPE pubsub"), ":1|");
}

#[test]
fn a_listener_that_does_not_read_is_closed_alone() {
    let mut node = Node::new(&[("client-output-buffer-limit", "pubsub 1000 0 0")]);
    let mut sender = node.client();
    let mut slow = node.listening(&["SUBSCRIBE x"]);
    let mut quick = node.listening(&["SUBSCRIBE x"]);
    let text = "m".repeat(320);
    for told in [2, 2, 2, 1] {
        if told == 1 {
            // It has been told to go with the third message, and is not counted for long.
            assert_eq!(node.send(&mut slow, b"").1, Progress::CloseNow);
            node.core.disconnect(slow.id);
        }
        assert_eq!(node.replies(&mut sender, &format!("PUBLISH x {text}")), format!(":{told}|"));
        assert!(node.arrived(&mut quick).ends_with(&format!("{text}|")));
    }
    assert_eq!(node.core.stats().closed_for_output, 1);
}

#[test]
fn a_client_that_waits_hears_messages_meanwhile() {
    let mut node = Node::new(&[]);
    let mut sender = node.client();
    let mut client = node.listening(&["HELLO 3", "SUBSCRIBE x"]);
    let (_, progress) = node.send(&mut client, b"BLPOP k 0\r\n");
    assert_eq!(progress, Progress::Blocked { until: None });
    node.replies(&mut sender, "PUBLISH x m");
    assert_eq!(node.arrived(&mut client), ">3|$7|message|$1|x|$1|m|");
    node.replies(&mut sender, "RPUSH k v");
    assert_eq!(node.arrived(&mut client), "*2|$1|k|$1|v|");
}
