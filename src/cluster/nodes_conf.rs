//! nodes.conf: what a cluster node must not forget, as text that Redis and Valkey read too.
//!
//! The file is one line per node, as in CLUSTER NODES, and one line of variables. Redis 7.2 and
//! Valkey add `,shard-id=…` to the address; 7.0 takes whatever follows the comma for the
//! hostname and shows it to clients. So shard ids are read from there but never written there:
//! our own is kept as a variable (`shardId`), which every server skips with a log line, and those
//! of others come back with their first PING.

use super::{Epoch, NodeFlags, NodeId, Slot, SlotSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// Which way a slot is moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// To that node: `[slot->-id]`.
    MigratingTo,
    /// From that node: `[slot-<-id]`.
    ImportingFrom,
}

/// A slot that this node gives away or takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSlot {
    /// The slot.
    pub slot: Slot,
    /// Which way it goes.
    pub direction: Move,
    /// The node at the other end.
    pub peer: NodeId,
}

/// One node, as nodes.conf and CLUSTER NODES tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its name.
    pub id: NodeId,
    /// Its address; none while it is not known.
    pub ip: Option<IpAddr>,
    /// The port for clients.
    pub port: u16,
    /// The port for nodes.
    pub bus_port: u16,
    /// The port for clients with TLS that it announces; 0 for none. Not kept in nodes.conf.
    pub tls_port: u16,
    /// The host name it announces.
    pub hostname: Option<String>,
    /// The name of its shard, where it said so (Redis 7.2, Valkey).
    pub shard_id: Option<NodeId>,
    /// Role and state.
    pub flags: NodeFlags,
    /// Whom it copies.
    pub primary: Option<NodeId>,
    /// When the PING that waits for an answer was sent, in Unix milliseconds; 0 for none.
    pub ping_sent_ms: u64,
    /// When it last answered, in Unix milliseconds; 0 for never.
    pub pong_received_ms: u64,
    /// The epoch of its claim; its primary's, for a replica.
    pub config_epoch: Epoch,
    /// Whether a link to it is open.
    pub connected: bool,
    /// What it owns.
    pub slots: SlotSet,
    /// What is on its way: only ever on the node's own line.
    pub open_slots: Vec<OpenSlot>,
    /// How much of its shard's replication stream it has. Not part of the text.
    pub offset: u64,
}

impl fmt::Display for NodeRecord {
    /// The line as CLUSTER NODES has it, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id)?;
        if let Some(ip) = self.ip {
            write!(f, "{ip}")?;
        }
        write!(f, ":{}@{}", self.port, self.bus_port)?;
        if let Some(hostname) = &self.hostname {
            write!(f, ",{hostname}")?;
        }
        write!(f, " {} ", self.flags)?;
        match self.primary {
            Some(primary) => write!(f, "{primary}")?,
            None => f.write_str("-")?,
        }
        let link = if self.connected { "connected" } else { "disconnected" };
        let (ping, pong) = (self.ping_sent_ms, self.pong_received_ms);
        write!(f, " {ping} {pong} {} {link}", self.config_epoch)?;
        if !self.slots.is_empty() {
            write!(f, " {}", self.slots)?;
        }
        for OpenSlot { slot, direction, peer } in &self.open_slots {
            match direction {
                Move::MigratingTo => write!(f, " [{slot}->-{peer}]")?,
                Move::ImportingFrom => write!(f, " [{slot}-<-{peer}]")?,
            }
        }
        Ok(())
    }
}

/// What a node keeps across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Every node it knows, itself (flag `myself`) included, exactly once.
    pub nodes: Vec<NodeRecord>,
    /// The highest epoch it has seen.
    pub current_epoch: Epoch,
    /// The last epoch in which it gave its vote away.
    pub last_vote_epoch: Epoch,
}

/// What waits until a [`Durable`] would survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldsBack {
    /// Nothing: it promises nothing that others build upon.
    Nothing,
    /// What goes to other nodes. Clients go on: what they see of the node is as before.
    TheBus,
    /// The writes of clients as well: the node is something else from here on.
    TheNode,
}

/// A nodes.conf that cannot be read: the line at fault. The text is Redis's, as operators and
/// their tools look for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unrecoverable error: corrupted cluster config file \"{0}\".")]
pub struct CorruptNodesConf(pub String);

impl Durable {
    /// The node whose file this is.
    pub fn myself(&self) -> &NodeRecord {
        let mut nodes = self.nodes.iter();
        nodes
            .find(|node| node.flags.any(NodeFlags::MYSELF))
            .expect("parse and the view both put exactly one `myself` in")
    }

    /// What must wait until this is on disk as well, where `saved` is already. Others build upon an epoch, a
    /// vote, a role, a slot that the node takes. Everything else (what it knows of others, slots that are open
    /// or given away) is told again by somebody, or found open and mended.
    pub fn holds_back(&self, saved: &Self) -> HoldsBack {
        let (new, old) = (self.myself(), saved.myself());
        let votes = (self.current_epoch, self.last_vote_epoch);
        if (new.id, new.config_epoch, new.primary) != (old.id, old.config_epoch, old.primary)
            || new.slots.iter().any(|slot| !old.slots.contains(slot))
        {
            HoldsBack::TheNode
        } else if votes == (saved.current_epoch, saved.last_vote_epoch) {
            HoldsBack::Nothing
        } else if new.slots == old.slots {
            HoldsBack::TheBus
        } else {
            HoldsBack::TheNode
        }
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(256 * self.nodes.len() + 128);
        for node in &self.nodes {
            let _ = writeln!(text, "{node}");
        }
        let (current, vote) = (self.current_epoch, self.last_vote_epoch);
        let _ = write!(text, "vars currentEpoch {current} lastVoteEpoch {vote}");
        if let Some(shard) = self.myself().shard_id {
            let _ = write!(text, " shardId {shard}");
        }
        text.push('\n');
        text
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// The first line that is not of the grammar; or the last line, when no line (or more than
    /// one) is the node's own, or when two lines claim a slot or a name.
    pub fn parse(text: &str) -> Result<Self, CorruptNodesConf> {
        let mut durable =
            Self { nodes: Vec::new(), current_epoch: Epoch::ZERO, last_vote_epoch: Epoch::ZERO };
        let mut own_shard = None;
        let mut taken = SlotSet::new();
        let mut last = "";
        for line in text.split('\n') {
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                continue;
            }
            last = line;
            let corrupt = || CorruptNodesConf(line.to_owned());
            if let Some(vars) = line.strip_prefix("vars ") {
                parse_vars(vars, &mut durable, &mut own_shard).ok_or_else(corrupt)?;
                continue;
            }
            let node = parse_node(line).ok_or_else(corrupt)?;
            let doubled = durable.nodes.iter().any(|known| known.id == node.id);
            if doubled || !node.slots.iter().all(|slot| taken.insert(slot)) {
                return Err(corrupt());
            }
            durable.nodes.push(node);
        }
        let mut own = durable.nodes.iter_mut().filter(|node| node.flags.any(NodeFlags::MYSELF));
        match (own.next(), own.next()) {
            (Some(myself), None) => {
                myself.shard_id = own_shard.or(myself.shard_id);
                // An epoch that a node claims has been seen, whatever the variables say.
                let claimed = durable.nodes.iter().map(|node| node.config_epoch).max();
                durable.current_epoch = durable.current_epoch.max(claimed.unwrap_or_default());
                Ok(durable)
            }
            _ => Err(CorruptNodesConf(last.to_owned())),
        }
    }
}

/// Variables come in pairs of a name and a value; those of other servers are skipped.
fn parse_vars(text: &str, durable: &mut Durable, shard: &mut Option<NodeId>) -> Option<()> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    while let Some(name) = words.next() {
        let value = words.next()?;
        match name {
            "currentEpoch" => durable.current_epoch = Epoch(value.parse().ok()?),
            "lastVoteEpoch" => durable.last_vote_epoch = Epoch(value.parse().ok()?),
            "shardId" => *shard = Some(NodeId::parse(value.as_bytes()).ok()?),
            _ => tracing::info!(name, "skipping unknown cluster config variable"),
        }
    }
    Some(())
}

/// `id addr flags primary ping pong epoch link [slot …]`.
fn parse_node(line: &str) -> Option<NodeRecord> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let id = NodeId::parse(words.next()?.as_bytes()).ok()?;
    let address = parse_address(words.next()?)?;
    let flags = NodeFlags::parse(words.next()?)?;
    let primary = match words.next()? {
        "-" => None,
        primary => Some(NodeId::parse(primary.as_bytes()).ok()?),
    };
    let ping_sent_ms = words.next()?.parse().ok()?;
    let pong_received_ms = words.next()?.parse().ok()?;
    let config_epoch = Epoch(words.next()?.parse().ok()?);
    let connected = match words.next()? {
        "connected" => true,
        "disconnected" => false,
        _ => return None,
    };
    let mut slots = SlotSet::new();
    let mut open_slots = Vec::new();
    for word in words {
        match word.strip_prefix('[') {
            Some(open) => open_slots.push(parse_open_slot(open.strip_suffix(']')?)?),
            None => {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
                Slot::new(last).ok()?;
                for number in first..=last {
                    slots.insert(Slot::new(number).ok()?);
                }
            }
        }
    }
    Some(NodeRecord {
        id,
        ip: address.ip,
        port: address.port,
        bus_port: address.bus_port,
        tls_port: 0,
        hostname: address.hostname,
        shard_id: address.shard_id,
        flags,
        primary,
        ping_sent_ms,
        pong_received_ms,
        config_epoch,
        connected,
        slots,
        open_slots,
        offset: 0,
    })
}

/// What `ip:port@bus[,hostname][,name=value …]` says.
struct Address {
    ip: Option<IpAddr>,
    port: u16,
    bus_port: u16,
    hostname: Option<String>,
    shard_id: Option<NodeId>,
}

fn parse_address(text: &str) -> Option<Address> {
    let mut parts = text.split(',');
    let socket = parts.next()?;
    let (ip, ports) = socket.rsplit_once(':')?;
    let ip = if ip.is_empty() { None } else { Some(ip.parse().ok()?) };
    let (port, bus_port) = match ports.split_once('@') {
        Some((port, bus)) => (port.parse().ok()?, bus.parse().ok()?),
        // Redis 3 wrote no bus port.
        None => {
            let port: u16 = ports.parse().ok()?;
            (port, port.checked_add(10_000)?)
        }
    };
    let hostname = match parts.next() {
        Some("") | None => None,
        Some(name) => Some(is_hostname(name).then(|| name.to_owned())?),
    };
    let mut shard_id = None;
    for part in parts {
        match part.split_once('=')? {
            ("shard-id", value) => shard_id = Some(NodeId::parse(value.as_bytes()).ok()?),
            ("nodename" | "tcp-port" | "tls-port" | "client-ipv4" | "client-ipv6", _) => {}
            // As Redis 7.2 has it: a field that nobody knows may mean that this is no address.
            _ => return None,
        }
    }
    Some(Address { ip, port, bus_port, hostname, shard_id })
}

fn parse_open_slot(text: &str) -> Option<OpenSlot> {
    let (slot, direction, peer) = match text.split_once("->-") {
        Some((slot, peer)) => (slot, Move::MigratingTo, peer),
        None => {
            let (slot, peer) = text.split_once("-<-")?;
            (slot, Move::ImportingFrom, peer)
        }
    };
    let slot = Slot::new(slot.parse().ok()?).ok()?;
    Some(OpenSlot { slot, direction, peer: NodeId::parse(peer.as_bytes()).ok()? })
}

/// Whether a text can be announced as a host name: letters, digits, `.`, `-` and `_`, and at most
/// 255 of them. It ends up in nodes.conf, so blanks and commas would corrupt it.
pub fn is_hostname(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !text.is_empty() && text.len() <= 255 && text.bytes().all(plain)
}

/// Whether a text can be what people call a node: what Valkey takes for one, up to a length.
pub fn is_human_name(text: &str) -> bool {
    const LEN_MAX: usize = 1024;
    let refused =
        |c: char| c.is_whitespace() || c.is_control() || "!\"#$%&'()*+,;<=>?@[\\]^{|}~".contains(c);
    !text.is_empty() && text.len() <= LEN_MAX && !text.contains(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
0364f9f4a3a5a1dcb3c4b49c2f0ac2a1b1a2b3c4 127.0.0.1:9070@19070 myself,master - 0 0 1 connected 0-5460 [5461-<-1111111111111111111111111111111111111111] [7->-1111111111111111111111111111111111111111]
1111111111111111111111111111111111111111 127.0.0.1:9071@19071,db-1.example master,fail? - 1700000000000 1699999999000 2 connected 5461-10922 16383
2222222222222222222222222222222222222222 ::1:9072@19072 slave,nofailover 1111111111111111111111111111111111111111 0 1700000000000 2 disconnected
3333333333333333333333333333333333333333 :0@0 master,fail,noaddr - 0 0 0 disconnected
vars currentEpoch 5 lastVoteEpoch 4
";

    #[test]
    fn a_file_of_redis_is_read_and_written_back_byte_for_byte() {
        let durable = Durable::parse(FILE).expect("a file as Redis 7.0 writes it");
        assert_eq!(durable.to_text(), FILE);
        assert_eq!(durable.myself().open_slots.len(), 2);
        assert_eq!(durable.last_vote_epoch, Epoch(4));
    }

    #[test]
    fn what_later_servers_add_to_an_address_is_read() {
        let shard = "4444444444444444444444444444444444444444";
        let text = format!(
            "{shard} 127.0.0.1:1@10001,,tls-port=0,shard-id={shard} myself,master - 0 0 0 connected\n"
        );
        let durable = Durable::parse(&text).expect("a file as Valkey writes it");
        assert_eq!(durable.myself().shard_id.map(|id| id.to_string()).as_deref(), Some(shard));
        assert_eq!(durable.myself().hostname, None);
        let text = durable.to_text();
        assert!(text.ends_with(&format!("lastVoteEpoch 0 shardId {shard}\n")), "{text}");
        assert_eq!(Durable::parse(&text), Ok(durable));
    }

    #[test]
    fn an_epoch_that_a_node_claims_has_been_seen() {
        let text = FILE.replace("currentEpoch 5", "currentEpoch 1");
        assert_eq!(Durable::parse(&text).map(|d| d.current_epoch), Ok(Epoch(2)));
    }

    #[test]
    fn a_corrupt_file_names_the_line() {
        let line = |n: usize| FILE.lines().nth(n).unwrap_or_default().to_owned();
        let table = [
            // Cut by a crash of 7.0, which writes in place (redis#13353).
            (format!("{}\nva", line(0)), "va".to_owned()),
            (line(1), line(1)),
            (format!("{}\n{}", line(0), line(0)), line(0)),
            (FILE.replace("5461-10922", "5460-10922"), line(1).replace("5461-", "5460-")),
            (FILE.replace(" 16383", " 16384"), line(1).replace(" 16383", " 16384")),
            (FILE.replace("master,fail?", "wizard"), line(1).replace("master,fail?", "wizard")),
            (FILE.replace("->-1", ">>-1"), line(0).replace("->-1", ">>-1")),
            (FILE.replace(" lastVoteEpoch 4", " lastVoteEpoch"), line(4).replace(" 4", "")),
        ];
        for (text, fault) in table {
            let error = Durable::parse(&text).expect_err(&text);
            assert_eq!(error, CorruptNodesConf(fault));
            assert!(error.to_string().starts_with("Unrecoverable error: corrupted cluster config"));
        }
    }

    const OWN: &str = "1111111111111111111111111111111111111111 :7000@17000 myself,master - 0 0 0 \
                       connected\nvars currentEpoch 3 lastVoteEpoch 0\n";
    const OTHER: &str =
        "2222222222222222222222222222222222222222 10.0.0.2:7000@17000 master - 0 0 3 connected 5";

    #[test]
    fn what_others_build_upon_is_held_back_until_it_is_on_disk() {
        let old = Durable::parse(OWN).expect("a good text");
        let cases = [
            ("what it knows of others", format!("{OTHER}\n{OWN}"), HoldsBack::Nothing),
            ("an epoch", OWN.replace("currentEpoch 3", "currentEpoch 4"), HoldsBack::TheBus),
            ("a vote", OWN.replace("lastVoteEpoch 0", "lastVoteEpoch 3"), HoldsBack::TheBus),
            ("a slot", OWN.replace(" connected\n", " connected 7\n"), HoldsBack::TheNode),
            (
                "its own epoch",
                OWN.replace("0 0 0 connected", "0 0 3 connected"),
                HoldsBack::TheNode,
            ),
        ];
        for (what, newer, held_back) in cases {
            let newer = Durable::parse(&newer).expect("a good text");
            assert_eq!(newer.holds_back(&old), held_back, "{what}");
        }
        let with_slot =
            Durable::parse(&OWN.replace(" connected\n", " connected 7\n")).expect("good");
        assert_eq!(old.holds_back(&with_slot), HoldsBack::Nothing, "a slot that goes");
        let both = Durable::parse(&OWN.replace("currentEpoch 3", "currentEpoch 4")).expect("good");
        assert_eq!(
            both.holds_back(&with_slot),
            HoldsBack::TheNode,
            "a slot that goes, and an epoch"
        );
    }

    #[test]
    fn no_text_panics() {
        for cut in 0..FILE.len() {
            let _ = Durable::parse(&FILE[..cut]);
            let _ = Durable::parse(&format!("{}{}", &FILE[..cut], FILE));
        }
    }
}
