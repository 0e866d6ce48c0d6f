//! Bytes in, bytes out: what a client of a node sees, without a socket.

use super::*;
use crate::clock::Now;
use crate::resp::RequestDecoder;
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

mod blocking;
mod pubsub;
mod streams;
mod upkeep;

/// Time passes for it while a command sleeps.
#[derive(Default)]
struct StillHost {
    slept: Cell<Duration>,
}

impl Host for StillHost {
    fn local_subnets(&self) -> Vec<crate::bus::IpRange> {
        Vec::new()
    }

    fn elapsed(&self) -> Duration {
        self.slept.get()
    }
    fn allocated_bytes(&self) -> u64 {
        0
    }
    fn figures(&self) -> ProcessFigures {
        ProcessFigures::default()
    }
    fn sleep(&self, time: Duration) {
        self.slept.set(self.slept.get() + time);
    }
    fn read_config(&self, _: &Path) -> std::io::Result<String> {
        Ok(String::new())
    }
    fn replace_config(&self, _: &Path, _: &str) -> std::io::Result<()> {
        Ok(())
    }
}

/// A node and the time.
pub(super) struct Node {
    pub(super) core: Core,
    pub(super) now: Now,
}

/// One of its clients.
pub(super) struct Client {
    pub(super) id: ClientId,
    decoder: RequestDecoder,
}

impl Node {
    pub(super) fn new(directives: &[(&str, &str)]) -> Self {
        let now = Now::read();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let directives =
            directives.iter().map(|(name, text)| ((*name).to_owned(), words(text))).collect();
        let options = CoreOptions {
            directives,
            config_file: None,
            host: Box::<StillHost>::default(),
            seed: 1,
        };
        Self { core: Core::new(now, options).expect("a valid configuration"), now }
    }

    pub(super) fn client(&mut self) -> Client {
        let local = "127.0.0.1:7000".parse().expect("an address");
        let peer = "127.0.0.1:50000".parse().expect("an address");
        let addresses = Addresses { peer, local, descriptor: 8 };
        let id = self.core.connect(self.now, addresses).expect("let in");
        Client { id, decoder: RequestDecoder::default() }
    }

    /// The replies to these bytes, and what the node wants next.
    pub(super) fn send(&mut self, client: &mut Client, bytes: &[u8]) -> (String, Progress) {
        let mut output = Vec::new();
        let (_, progress) =
            self.core.handle_input(self.now, client.id, &mut client.decoder, bytes, &mut output);
        (String::from_utf8_lossy(&output).into_owned(), progress)
    }

    /// The reply to each of these lines, with line ends shown as `|`.
    pub(super) fn replies(&mut self, client: &mut Client, line: &str) -> String {
        self.send(client, format!("{line}\r\n").as_bytes()).0.replace("\r\n", "|")
    }

    /// Runs a transcript: what is sent, and what must come back.
    fn transcript(&mut self, client: &mut Client, lines: &[(&str, &str)]) {
        for (sent, expected) in lines {
            assert_eq!(self.replies(client, sent), *expected, "{sent}");
        }
    }
}

/// The errors are those of Redis 7.0.15 (measured), and of Valkey 9.1.2 for what came later.
#[test]
fn connections_are_answered_in_redis_words() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.transcript(
        &mut client,
        &[
            ("PING", "+PONG|"),
            ("PING hi", "$2|hi|"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command|"),
            ("ECHO \"\"", "$0||"),
            (
                "FOO bar 'a b'",
                "-ERR unknown command 'FOO', with args beginning with: 'bar' 'a b' |",
            ),
            ("SELECT foo", "-ERR value is not an integer or out of range|"),
            ("SELECT 99", "-ERR DB index is out of range|"),
            ("SELECT 15", "+OK|"),
            ("AUTH x y z", "-ERR syntax error|"),
            (
                "AUTH x",
                "-ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?|",
            ),
            ("AUTH default x", "+OK|"),
            ("AUTH bob x", "-WRONGPASS invalid username-password pair or user is disabled.|"),
            ("HELLO 4", "-NOPROTO unsupported protocol version|"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range|"),
            ("HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'|"),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command|"),
            ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.|"),
            (
                "CLIENT SETNAME 'a b'",
                "-ERR Client names cannot contain spaces, newlines or special characters.|",
            ),
            ("CLIENT GETNAME", "$-1|"),
            ("CLIENT SETNAME me", "+OK|"),
            ("CLIENT GETNAME", "$2|me|"),
            ("CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'|"),
            ("CLIENT KILL 1.2.3.4:5", "-ERR No such client|"),
            ("CLIENT UNBLOCK 1 foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR|"),
            ("RESET", "+RESET|"),
            ("CLIENT GETNAME", "$-1|"),
            ("CLIENT ID", ":1|"),
        ],
    );
    let (reply, progress) = node.send(&mut client, b"QUIT\r\nPING\r\n");
    assert_eq!((reply.as_str(), progress), ("+OK\r\n", Progress::CloseAfterReplies));
}

#[test]
fn a_password_is_asked_for_before_anything_else() {
    let mut node = Node::new(&[("requirepass", "secret")]);
    let mut client = node.client();
    node.transcript(
        &mut client,
        &[
            ("PING", "-NOAUTH Authentication required.|"),
            ("NOTHING", "-ERR unknown command 'NOTHING', with args beginning with: |"),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.|"),
            ("AUTH secret", "+OK|"),
            ("PING", "+PONG|"),
            ("RESET", "+RESET|"),
            ("PING", "-NOAUTH Authentication required.|"),
        ],
    );
    let hello = node.replies(&mut client, "HELLO 3 AUTH default secret SETNAME me");
    assert!(hello.starts_with("%7|$6|server|$5|redis|$7|version|$5|7.2.4|$5|proto|:3|"), "{hello}");
    assert_eq!(node.replies(&mut client, "CLIENT GETNAME"), "$2|me|");
}

/// Before AUTH a request is small, and so is what may wait to be read.
#[test]
fn a_stranger_costs_little() {
    let mut node = Node::new(&[("requirepass", "secret")]);
    let mut client = node.client();
    let (_, progress) = node.send(&mut client, &b"PING\r\n".repeat(100_000));
    assert_eq!(progress, Progress::CloseNow);
    let mut client = node.client();
    let (reply, progress) = node.send(&mut client, b"*11\r\n");
    assert_eq!(reply, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    assert_eq!(progress, Progress::CloseAfterReplies);
}

#[test]
fn a_client_that_does_not_read_is_not_run_any_further() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    let echo = format!("*2\r\n$4\r\nECHO\r\n$500000\r\n{}\r\n", "x".repeat(500_000));
    let (replies, progress) = node.send(&mut client, echo.repeat(10).as_bytes());
    assert_eq!(progress, Progress::OutputFull);
    assert!(replies.len() < 2_000_000, "{}", replies.len());
}

#[test]
fn transactions_run_as_a_whole_or_not_at_all() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.transcript(
        &mut client,
        &[
            ("EXEC", "-ERR EXEC without MULTI|"),
            ("DISCARD", "-ERR DISCARD without MULTI|"),
            ("MULTI", "+OK|"),
            ("MULTI", "-ERR MULTI calls can not be nested|"),
            ("PING", "+QUEUED|"),
            ("SELECT x", "+QUEUED|"),
            ("EXEC", "*2|+PONG|-ERR value is not an integer or out of range|"),
            ("MULTI", "+OK|"),
            ("PING", "+QUEUED|"),
            ("ECHO", "-ERR wrong number of arguments for 'echo' command|"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors.|"),
            ("MULTI", "+OK|"),
            ("DISCARD", "+OK|"),
            ("EXEC", "-ERR EXEC without MULTI|"),
            ("WATCH k", "+OK|"),
            ("MULTI", "+OK|"),
            ("EXEC", "*0|"),
        ],
    );
}

#[test]
fn a_client_may_want_no_replies() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.transcript(
        &mut client,
        &[
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("PING", "+PONG|"),
            ("CLIENT REPLY OFF", ""),
            ("PING", ""),
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("CLIENT REPLY ON", "+OK|"),
            ("PING", "+PONG|"),
        ],
    );
}

#[test]
fn a_paused_node_goes_on_where_it_stopped() {
    let mut node = Node::new(&[]);
    let (mut one, mut other) = (node.client(), node.client());
    assert_eq!(node.replies(&mut one, "CLIENT PAUSE 100 WRITE"), "+OK|");
    assert_eq!(node.replies(&mut other, "PING"), "+PONG|");
    assert_eq!(node.replies(&mut one, "CLIENT PAUSE 100 ALL"), "+OK|");
    let (reply, progress) = node.send(&mut other, b"PING\r\n");
    assert_eq!((reply.as_str(), progress), ("", Progress::Paused));
    node.now = node.now.after(Duration::from_millis(100));
    node.core.handle_tick(node.now);
    assert_eq!(node.core.poll_output(), Some(Output::Wake(other.id)));
    assert_eq!(node.replies(&mut other, "PING"), "+PONG|");
}

/// From the very command that pauses or goes on, and not from some later moment.
#[test]
fn nothing_expires_while_writes_are_paused() {
    let mut node = Node::new(&[]);
    let mut one = node.client();
    node.replies(&mut one, "SET k v PX 10");
    assert_eq!(node.replies(&mut one, "CLIENT PAUSE 50000 WRITE"), "+OK|");
    node.now = node.now.after(Duration::from_millis(20));
    assert_eq!(node.replies(&mut one, "GET k"), "$-1|");
    assert_eq!(node.core.keyspace.stats().expired, 0);
    assert_eq!(node.replies(&mut one, "CLIENT UNPAUSE"), "+OK|");
    assert_eq!(node.replies(&mut one, "GET k"), "$-1|");
    assert_eq!(node.core.keyspace.stats().expired, 1);
}

#[test]
fn a_browser_cannot_be_made_to_send_commands() {
    let mut node = Node::new(&[]);
    for header in ["POST / HTTP/1.1", "Host: localhost"] {
        let mut client = node.client();
        let (reply, progress) = node.send(&mut client, format!("{header}\r\nPING\r\n").as_bytes());
        assert_eq!((reply.as_str(), progress), ("", Progress::CloseNow));
    }
}

#[test]
fn clients_can_be_listed_and_closed() {
    let mut node = Node::new(&[]);
    let (mut one, two) = (node.client(), node.client());
    let list = node.replies(&mut one, "CLIENT LIST");
    assert_eq!(list.matches("addr=127.0.0.1:50000 laddr=127.0.0.1:7000 fd=8").count(), 2);
    assert!(list.find("id=1 ").expect("listed") < list.find("id=2 ").expect("listed"));
    assert!(!node.replies(&mut one, "CLIENT LIST ID 2").contains("id=1 "));
    assert_eq!(node.replies(&mut one, "CLIENT KILL ID 2 SKIPME no"), ":1|");
    assert_eq!(node.core.poll_output(), Some(Output::Wake(two.id)));
    let (_, progress) = node.send(&mut one, b"CLIENT KILL TYPE normal SKIPME no\r\n");
    assert_eq!(progress, Progress::CloseAfterReplies);
}

#[test]
fn too_many_clients_are_turned_away() {
    let mut node = Node::new(&[("maxclients", "1")]);
    let _one = node.client();
    let local = "127.0.0.1:7000".parse().expect("an address");
    let addresses = Addresses { peer: local, local, descriptor: 9 };
    let refusal = node.core.connect(node.now, addresses).expect_err("full");
    assert_eq!(refusal.to_string(), "ERR max number of clients reached");
    assert_eq!(node.core.stats().rejected_connections, 1);
}

#[test]
fn parameters_are_read_and_changed_by_clients() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.transcript(&mut client, &[
        ("CONFIG GET timeout", "*2|$7|timeout|$1|0|"),
        ("CONFIG SET timeout 7 maxmemory 1kb", "+OK|"),
        ("CONFIG GET TIMEOUT maxmemory", "*4|$9|maxmemory|$4|1024|$7|TIMEOUT|$1|7|"),
        (
            "CONFIG SET timeout x",
            "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't \
             be parsed into an integer|",
        ),
        ("CONFIG SET foo 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'|"),
        ("CONFIG SET timeout", "-ERR wrong number of arguments for 'config|set' command|"),
        ("CONFIG REWRITE", "-ERR The server is running without a config file|"),
        ("CONFIG RESETSTAT", "+OK|"),
    ]);
}

#[test]
fn idle_clients_are_closed_when_a_timeout_is_set() {
    let mut node = Node::new(&[("timeout", "30")]);
    let mut client = node.client();
    node.now = node.now.after(Duration::from_secs(30));
    node.core.handle_tick(node.now);
    assert_eq!(node.core.poll_output(), None);
    node.now = node.now.after(Duration::from_secs(2));
    node.core.handle_tick(node.now);
    assert_eq!(node.core.poll_output(), Some(Output::Wake(client.id)));
    assert_eq!(node.send(&mut client, b"").1, Progress::CloseNow);
}

/// Whether the node closes the client in the next look-through, so many seconds later.
fn closes_after(node: &mut Node, client: &mut Client, seconds: u64) -> bool {
    node.now = node.now.after(Duration::from_secs(seconds));
    node.core.handle_tick(node.now);
    let woken = node.core.poll_output() == Some(Output::Wake(client.id));
    woken && node.send(client, b"").1 == Progress::CloseNow
}

#[test]
fn a_request_that_trickles_in_ends_the_connection() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    let request = b"*2\r\n$3";
    for end in 1..=request.len() {
        assert!(!closes_after(&mut node, &mut client, 5));
        node.send(&mut client, &request[..end]);
        node.core.note_read(client.id, 1, end);
    }
    assert!(closes_after(&mut node, &mut client, 6));
}

#[test]
fn an_upload_that_gets_further_is_waited_for() {
    let mut node = Node::new(&[("timeout", "20")]);
    let mut client = node.client();
    let mut input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n".to_vec();
    for _ in 0..10 {
        input.resize(input.len() + 100_000, b'v');
        let (reply, progress) = node.send(&mut client, &input);
        assert_eq!(reply, "");
        assert!(matches!(progress, Progress::NeedsInput { .. }));
        node.core.note_read(client.id, 100_000, input.len());
        assert!(!closes_after(&mut node, &mut client, 15));
    }
    input.extend_from_slice(b"\r\n");
    assert_eq!(node.send(&mut client, &input).0, "+OK\r\n");
    node.core.note_read(client.id, 2, 0);
    assert!(closes_after(&mut node, &mut client, 21), "it is silent");
}

#[test]
fn who_does_not_authenticate_in_time_is_closed() {
    let mut node = Node::new(&[("requirepass", "secret")]);
    let (mut known, mut stranger) = (node.client(), node.client());
    assert_eq!(node.replies(&mut known, "AUTH secret"), "+OK|");
    assert!(!closes_after(&mut node, &mut stranger, 9));
    assert!(closes_after(&mut node, &mut stranger, 2));
    assert_eq!(node.replies(&mut known, "PING"), "+PONG|");
}

#[test]
fn output_that_a_client_does_not_take_is_bounded_as_configured() {
    let mut node = Node::new(&[("client-output-buffer-limit", "normal 1000 100 10")]);
    let (mut over, mut slow) = (node.client(), node.client());
    node.core.note_written(over.id, 0, 999);
    assert_eq!(node.core.poll_output(), None);
    node.core.note_written(over.id, 0, 1000);
    assert_eq!(node.core.poll_output(), Some(Output::Wake(over.id)));
    assert_eq!(node.send(&mut over, b"").1, Progress::CloseNow);

    node.core.note_written(slow.id, 0, 100);
    assert!(!closes_after(&mut node, &mut slow, 9));
    node.core.note_written(slow.id, 10, 99);
    node.core.note_written(slow.id, 0, 100);
    assert!(!closes_after(&mut node, &mut slow, 9), "it was below the limit in between");
    assert!(closes_after(&mut node, &mut slow, 2));
    assert_eq!(node.core.stats().closed_for_output, 2);
}

#[test]
fn the_memory_policy_says_what_keys_remember() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.replies(&mut client, "SET k v");
    assert_eq!(node.replies(&mut client, "OBJECT IDLETIME k"), ":0|");
    node.replies(&mut client, "CONFIG SET maxmemory-policy allkeys-lfu");
    node.replies(&mut client, "SET l v");
    assert_eq!(node.replies(&mut client, "OBJECT FREQ l"), ":5|");
    assert!(node.replies(&mut client, "OBJECT IDLETIME l").starts_with("-ERR An LFU"));
}

#[test]
fn time_is_told_to_the_microsecond() {
    let mut node = Node::new(&[]);
    let mut client = node.client();
    node.now.unix_ms = 1_700_000_000_123;
    node.now.micros = 456;
    assert_eq!(node.replies(&mut client, "TIME"), "*2|$10|1700000000|$6|123456|");
}

/// Every command that the node runs, with no to three arguments: one reply each, and no panic.
#[test]
fn every_command_survives_every_number_of_arguments() {
    for argument in ["1", "-1", "x", "9223372036854775807", ""] {
        for spec in crate::command::all() {
            for count in 0..4 {
                let mut node = Node::new(&[("enable-debug-command", "yes")]);
                let mut words: Vec<&str> = spec.name.split('|').collect();
                words.resize(words.len() + count, argument);
                let request = crate::resp::OwnedRequest::from_args(&words);
                let mut client = node.client();
                let (reply, progress) = node.send(&mut client, request.as_request().frame());
                let silent = matches!(progress, Progress::CloseNow | Progress::Replica)
                    || matches!(progress, Progress::Blocked { .. })
                    || spec.name == "client|reply";
                assert!(silent || !reply.is_empty(), "{words:?} has no reply");
            }
        }
    }
}

#[test]
fn the_example_file_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/node.conf");
    let file = std::fs::read_to_string(path).expect("the example is there");
    // The grammar has tests of its own: here each line, examples included, must be accepted.
    for line in file.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let Some(words) = crate::resp::split_inline(line.as_bytes()) else { continue };
        let words: Vec<String> =
            words.into_iter().map(|word| String::from_utf8(word).expect("text")).collect();
        let Some((name, words)) = words.split_first() else { continue };
        let name = name.as_str();
        if directives::directive(name).is_some() && !line.ends_with('.') {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let outcome = directives::Directives::default().load(name, &words);
            assert_eq!(outcome, Ok(()), "{line}");
            assert!(settings::Settings::HONOURED.contains(&name), "{name} has no effect");
        }
    }
}
