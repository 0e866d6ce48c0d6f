//! The world around one worker's machine, as a transcript writes it down.

use super::super::*;
use crate::cluster::{Endpoint, View};
use crate::proxy::link::Role;
use crate::proxy::metrics::{LinkEnd, Outcome};
use crate::resp::Protocol;
use std::time::Duration;

pub(super) const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// `a` is slot 15495 and belongs to node B; `b` is 3300 and `c` is 7365: node A's.
pub(super) const NODE_A: u16 = 7000;
pub(super) const NODE_B: u16 = 7001;

/// A worker in front of two nodes, its clients, and the time.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Instant,
}

pub(super) fn at(port: u16) -> Endpoint {
    Endpoint::new("127.0.0.1", port)
}

pub(super) fn view(a: &str, b: &str, epoch: u64) -> View {
    let text = format!(
        "{A} 127.0.0.1:{NODE_A}@17000 myself,master - 0 0 {epoch} connected {a}\n\
         {B} 127.0.0.1:{NODE_B}@17001 master - 0 0 {} connected {b}\n",
        epoch + 1
    );
    View::parse(&text, "127.0.0.1").expect("valid")
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    #[allow(clippy::disallowed_methods, reason = "tests need some start")]
    pub(super) fn with(options: Options) -> Self {
        let now = Instant::now();
        let shared = Arc::new(Shared::default());
        let half = view("0-8191", "8192-16383", 1);
        shared.map.publish(&half, &at(NODE_A), now, now);
        let outside =
            Outside { unix_us: || 1_700_000_000_123_456, random: || 7, figures: Figures::default };
        let metrics = Arc::new(vec![Arc::default()]);
        let core = Core::new(Arc::new(options), shared, 0, metrics, outside, now);
        Self { core, now }
    }

    pub(super) fn client(&mut self) -> SessionId {
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
        self.core.shared.clients.fetch_add(1, Ordering::Relaxed);
        self.core.accept(address, address, self.now)
    }

    /// The client sends inline commands, separated by `|`.
    pub(super) fn send(&mut self, client: SessionId, commands: &str) {
        for command in commands.split('|') {
            let args: Vec<&str> = command.split(' ').collect();
            let mut frame = Vec::new();
            crate::resp::encode_request(&mut frame, &args);
            self.core.read_buffer(client).expect("it is read from").extend_from_slice(&frame);
            self.core.received(client, frame.len(), self.now);
        }
    }

    /// What the client has been sent, line ends as `|`.
    pub(super) fn told(&mut self, client: SessionId) -> String {
        let mut text = Vec::new();
        while !self.core.output(client).is_empty() {
            let bytes = self.core.output(client).to_vec();
            self.core.wrote(client, bytes.len(), self.now);
            text.extend(bytes);
        }
        String::from_utf8_lossy(&text).replace("\r\n", "|")
    }

    /// The connection to a node, its handshake done.
    pub(super) fn link(&mut self, port: u16) -> LinkId {
        self.connect();
        self.find_link(port, false).expect("a connection to this node")
    }

    /// The connection to a node that carries subscriptions, its handshake done.
    pub(super) fn feed(&mut self, port: u16) -> Option<LinkId> {
        self.connect();
        self.find_link(port, true)
    }

    pub(super) fn connect(&mut self) {
        while let Some(id) = self.core.next_open() {
            if self.core.link(id).is_closed() {
                self.core.link_freed(id, false);
                continue;
            }
            self.core.link_connected(id, self.now);
            let hello = self.core.link(id).writable().to_vec();
            self.core.link(id).wrote(hello.len());
            let lane = self.core.link(id).lane;
            match self.core.backends.lanes.setup(lane).protocol {
                Protocol::Resp2 => {
                    assert_eq!(hello, b"*1\r\n$4\r\nPING\r\n");
                    self.say_on(id, "+PONG\r\n");
                }
                Protocol::Resp3 => {
                    assert_eq!(hello, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
                    self.say_on(id, "%0\r\n");
                }
            }
            // What is said on this lane alone, and the name of a connection of one's own.
            while !self.core.link(id).is_ready() {
                let further = self.core.link(id).writable().to_vec();
                assert!(further.starts_with(b"*2\r\n$6\r\n") || further.starts_with(b"*3\r\n$6"));
                self.core.link(id).wrote(further.len());
                let is_id = further.ends_with(b"$2\r\nID\r\n");
                self.say_on(id, if is_id { ":77\r\n" } else { "+OK\r\n" });
            }
        }
    }

    pub(super) fn find_link(&self, port: u16, subscriber: bool) -> Option<LinkId> {
        let wanted = |(_, link): &(LinkId, &crate::proxy::link::Link)| {
            link.endpoint == at(port)
                && !link.is_closed()
                && link.role == Role::Shared
                && link.tracker.is_none()
                && link.subscriber == subscriber
        };
        self.core.backends.links().find(wanted).map(|(id, _)| id)
    }

    /// What a node has been sent, as words; line ends and lengths left out.
    pub(super) fn asked(&mut self, port: u16) -> String {
        let id = self.link(port);
        self.asked_on(id)
    }

    pub(super) fn asked_on(&mut self, id: LinkId) -> String {
        let bytes = self.core.link(id).writable().to_vec();
        self.core.link(id).wrote(bytes.len());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut asked = String::new();
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            match line.as_bytes()[0] {
                b'*' if line.len() == 1 => asked.push_str("* "),
                b'*' if asked.is_empty() => {}
                b'*' => asked.push_str("| "),
                b'$' => {}
                _ => asked.push_str(&format!("{line} ")),
            }
        }
        asked.trim_end().to_owned()
    }

    /// A node answers.
    pub(super) fn say(&mut self, port: u16, reply: &str) {
        let id = self.link(port);
        self.say_on(id, reply);
    }

    pub(super) fn say_on(&mut self, id: LinkId, reply: &str) {
        self.core.link(id).read_buffer().extend_from_slice(reply.as_bytes());
        self.core.link_received(id, self.now);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(1)).min(end);
            self.core.due(self.now);
            if (end - self.now).as_millis().is_multiple_of(100) {
                self.core.tick(self.now);
            }
        }
    }

    pub(super) fn lose(&mut self, port: u16) {
        let id = self.link(port);
        self.core.link_lost(id, LinkEnd::Lost, "connection reset", self.now);
        self.core.link_freed(id, true);
    }

    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.core.metrics.count_all(outcome)
    }
}
