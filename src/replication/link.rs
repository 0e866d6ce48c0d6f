//! A replica's side of the link to its primary, from the first byte to the stream.
//!
//! ```text
//!  PING ▶ AUTH? REPLCONF … ▶ PSYNC id next ─┬ +CONTINUE  ▶ stream
//!                                           ├ +FULLRESYNC ▶ $len or $EOF:mark ▶ snapshot ▶ stream
//!                                           ├ -LOADING, -NOMASTERLINK ▶ try again later
//!                                           └ -anything else ▶ SYNC ▶ snapshot ▶ stream
//! ```
//! Primaries of many versions are spoken to, so an answer to REPLCONF that is an error ends
//! nothing. What the bytes mean is decided here; the shell moves them, and loads the snapshot.

use super::id::{Offset, ReplicationId};
use crate::resp::encode_request;
use crate::secret::Secret;
use memchr::{memchr, memmem};
use std::collections::VecDeque;
use std::fmt;

/// What a replica says of itself.
#[derive(Clone, Debug, Default)]
pub struct LinkConfig {
    /// `masteruser`, if it is set.
    pub user: Option<String>,
    /// `masterauth`, if it is set.
    pub password: Option<Secret>,
    /// The port on which it listens, or announces that it does.
    pub listening_port: u16,
    /// `replica-announce-ip`, if it is set.
    pub announced_ip: Option<String>,
    /// The other is a replica of this node, and is asked to take over.
    pub take_over: bool,
    /// The version it answers to.
    pub version: &'static str,
    /// The history it has a state of, and how much of it: what it asks to go on from.
    pub resume: Option<(ReplicationId, Offset)>,
}

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Questions and answers.
    Handshake,
    /// The snapshot is announced, or on its way.
    Snapshot,
    /// The stream is being followed.
    Online,
}

/// How the end of a snapshot is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It is so many bytes.
    Sized(u64),
    /// A mark that was announced comes after it.
    Marked,
}

/// What has come over the link.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEvent<'a> {
    /// Nothing as a whole: more bytes are needed.
    More,
    /// These bytes are to be sent.
    Send(Vec<u8>),
    /// The primary will send all its data: a state of this history, if it named one.
    FullSync(Option<(ReplicationId, Offset)>),
    /// The snapshot begins.
    SnapshotBegins(Framing),
    /// A part of it.
    Snapshot(&'a [u8]),
    /// There is no more of it. [`Link::loaded`] lets the stream begin.
    SnapshotEnds,
    /// The primary goes on from where this replica stopped; under this name, if it told one.
    Resumed(Option<ReplicationId>),
    /// Bytes of the stream.
    Stream(&'a [u8]),
    /// The link is of no use.
    Failed(LinkError),
}

/// Why a link is of no use. Its text is for the log and an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The primary cannot serve replicas at present.
    Busy(String),
    /// It refused, or said what no primary says.
    Refused(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Busy(text) | Self::Refused(text)) = self;
        f.write_str(text)
    }
}

/// The longest line that a primary may send before the stream.
const LINE_BYTES_MAX: usize = 1024;
/// Bytes of the mark after a snapshot whose length was not known.
const MARK_BYTES: usize = 40;

/// One question of the handshake whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Ping,
    Auth,
    ListeningPort,
    IpAddress,
    Capabilities,
    Version,
    Psync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    /// The head of the snapshot is next.
    Head,
    Sized {
        left: u64,
    },
    Marked {
        mark: [u8; MARK_BYTES],
    },
    /// The snapshot is there, and being loaded.
    Loading,
    Online,
}

/// One link, from its connection on.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    state: State,
    asked: VecDeque<Question>,
}

impl Link {
    /// A link that has been connected, and the bytes to begin with.
    pub fn new(config: LinkConfig) -> (Self, Vec<u8>) {
        let asked = VecDeque::from([Question::Ping]);
        let mut bytes = Vec::new();
        encode_request(&mut bytes, &["PING"]);
        (Self { config, state: State::Handshake, asked }, bytes)
    }

    /// How far it has come.
    pub fn state(&self) -> LinkState {
        match self.state {
            State::Handshake => LinkState::Handshake,
            State::Online => LinkState::Online,
            State::Head | State::Sized { .. } | State::Marked { .. } | State::Loading => {
                LinkState::Snapshot
            }
        }
    }

    /// The snapshot has become the data set: the stream begins.
    pub fn loaded(&mut self) {
        debug_assert_eq!(self.state, State::Loading);
        self.state = State::Online;
    }

    /// Looks at what has come: how many bytes are done with, and what they mean. To be called
    /// again with the rest, until more are needed.
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> (usize, LinkEvent<'a>) {
        match self.state {
            State::Online if input.is_empty() => (0, LinkEvent::More),
            State::Online => (input.len(), LinkEvent::Stream(input)),
            State::Loading => (0, LinkEvent::More),
            State::Sized { left: 0 } => {
                self.state = State::Loading;
                (0, LinkEvent::SnapshotEnds)
            }
            State::Sized { .. } if input.is_empty() => (0, LinkEvent::More),
            State::Sized { left } => {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.state = State::Sized { left: left - len as u64 };
                (len, LinkEvent::Snapshot(&input[..len]))
            }
            State::Marked { mark } => self.receive_marked(mark, input),
            State::Handshake | State::Head => self.receive_line(input),
        }
    }

    /// The mark may begin in this read and end in the next: that much is held back.
    fn receive_marked<'a>(
        &mut self,
        mark: [u8; MARK_BYTES],
        input: &'a [u8],
    ) -> (usize, LinkEvent<'a>) {
        match memmem::find(input, &mark) {
            Some(0) => {
                self.state = State::Loading;
                (MARK_BYTES, LinkEvent::SnapshotEnds)
            }
            Some(len) => (len, LinkEvent::Snapshot(&input[..len])),
            None if input.len() < MARK_BYTES => (0, LinkEvent::More),
            None => {
                let len = input.len() - (MARK_BYTES - 1);
                (len, LinkEvent::Snapshot(&input[..len]))
            }
        }
    }

    fn receive_line<'a>(&mut self, input: &'a [u8]) -> (usize, LinkEvent<'a>) {
        // A primary that prepares something sends line ends, to show that it lives.
        let idle = input.iter().take_while(|byte| **byte == b'\n').count();
        let rest = &input[idle..];
        let Some(end) = memchr(b'\n', rest) else {
            if rest.len() > LINE_BYTES_MAX {
                return (idle, refused("the primary sent a line without an end"));
            }
            return (idle, LinkEvent::More);
        };
        let line = String::from_utf8_lossy(&rest[..end]);
        let line = line.trim_end_matches('\r');
        let event = match self.state {
            State::Handshake => self.answer(line),
            _ => self.head(line),
        };
        (idle + end + 1, event)
    }

    fn answer<'a>(&mut self, line: &str) -> LinkEvent<'a> {
        let Some(question) = self.asked.pop_front() else {
            return refused(format_args!("Unexpected answer from the primary: {line}"));
        };
        let error = line.strip_prefix('-');
        match (question, error) {
            (Question::Ping, None) => {
                tracing::info!("Master replied to PING, replication can continue...");
                LinkEvent::Send(self.introduction())
            }
            (Question::Ping, Some(error)) => {
                let wants_password = ["NOAUTH", "NOPERM", "ERR operation not permitted"]
                    .iter()
                    .any(|known| error.starts_with(known));
                if !wants_password {
                    return refused(format_args!("Error reply to PING from master: '{line}'"));
                }
                LinkEvent::Send(self.introduction())
            }
            (Question::Auth, Some(_)) => refused(format_args!("Unable to AUTH to MASTER: {line}")),
            (Question::Psync, _) => self.psync_answer(line),
            (_, Some(_)) => {
                tracing::info!("(Non critical) the master does not understand a REPLCONF: {line}");
                self.next_question()
            }
            (_, None) => self.next_question(),
        }
    }

    /// PSYNC, once every answer before it is there.
    fn next_question<'a>(&mut self) -> LinkEvent<'a> {
        if !self.asked.is_empty() {
            // The next line, if there is one, is looked at in the next call.
            return LinkEvent::Send(Vec::new());
        }
        self.asked.push_back(Question::Psync);
        let (id, next) = match self.config.resume {
            Some((id, offset)) => {
                tracing::info!("Trying a partial resynchronization (request {id}:{}).", offset + 1);
                (id.to_string(), (offset + 1).to_string())
            }
            None => {
                tracing::info!("Partial resynchronization not possible (no cached master)");
                ("?".to_owned(), "-1".to_owned())
            }
        };
        let mut bytes = Vec::new();
        if self.config.take_over {
            encode_request(&mut bytes, &["PSYNC", &id, &next, "FAILOVER"]);
        } else {
            encode_request(&mut bytes, &["PSYNC", &id, &next]);
        }
        LinkEvent::Send(bytes)
    }

    /// Everything that a primary is told before PSYNC, in one go.
    fn introduction(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut ask = |question, args: &[&[u8]]| {
            self.asked.push_back(question);
            encode_request(&mut bytes, args);
        };
        let config = &self.config;
        match (&config.user, &config.password) {
            (_, None) => {}
            (None, Some(password)) => ask(Question::Auth, &[b"AUTH", password.expose()]),
            (Some(user), Some(password)) => {
                ask(Question::Auth, &[b"AUTH", user.as_bytes(), password.expose()]);
            }
        }
        let port = config.listening_port.to_string();
        ask(Question::ListeningPort, &[b"REPLCONF", b"listening-port", port.as_bytes()]);
        if let Some(ip) = &config.announced_ip {
            ask(Question::IpAddress, &[b"REPLCONF", b"ip-address", ip.as_bytes()]);
        }
        ask(Question::Capabilities, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        // What a primary of 8.0 or later may send depends on it; others say that they do not know.
        ask(Question::Version, &[b"REPLCONF", b"version", config.version.as_bytes()]);
        bytes
    }

    fn psync_answer<'a>(&mut self, line: &str) -> LinkEvent<'a> {
        let mut words = line.split(' ');
        match words.next() {
            Some("+FULLRESYNC") => {
                let id = words.next().and_then(|id| ReplicationId::parse(id.as_bytes()));
                let offset = words.next().and_then(|offset| offset.parse().ok());
                let history = id.zip(offset);
                match history {
                    Some((id, offset)) => {
                        tracing::info!("Full resync from master: {id}:{offset}");
                    }
                    None => {
                        tracing::warn!("Master replied with wrong +FULLRESYNC syntax: {line}");
                    }
                }
                self.state = State::Head;
                LinkEvent::FullSync(history)
            }
            Some("+CONTINUE") => {
                tracing::info!("Successful partial resynchronization with master.");
                self.state = State::Online;
                let name = words.next().map(str::trim).filter(|name| !name.is_empty());
                match name.map(|name| ReplicationId::parse(name.as_bytes())) {
                    Some(None) => refused(format_args!("a history without a name: {line}")),
                    name => LinkEvent::Resumed(name.flatten()),
                }
            }
            Some("-NOMASTERLINK" | "-LOADING") => {
                tracing::info!(
                    "Master is currently unable to PSYNC but should be in the future: {line}"
                );
                LinkEvent::Failed(LinkError::Busy(line.to_owned()))
            }
            _ if self.config.take_over => refused(format_args!("it does not take over: {line}")),
            _ => {
                tracing::info!(
                    "Master does not support PSYNC or is in error state (reply: {line})"
                );
                tracing::info!("Retrying with SYNC...");
                self.state = State::Head;
                let mut bytes = Vec::new();
                encode_request(&mut bytes, &["SYNC"]);
                LinkEvent::Send(bytes)
            }
        }
    }

    /// `$length` or `$EOF:mark`.
    fn head<'a>(&mut self, line: &str) -> LinkEvent<'a> {
        if line.starts_with('-') {
            return refused(format_args!("MASTER aborted replication with an error: {line}"));
        }
        let rest = line.strip_prefix('$').unwrap_or_default();
        let mark = rest.strip_prefix("EOF:").and_then(|mark| mark.as_bytes().try_into().ok());
        if let Some(mark) = mark {
            self.state = State::Marked { mark };
            return LinkEvent::SnapshotBegins(Framing::Marked);
        }
        match rest.parse() {
            Ok(left) => {
                self.state = State::Sized { left };
                LinkEvent::SnapshotBegins(Framing::Sized(left))
            }
            Err(_) => refused(format_args!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{line}'), are \
                 you sure the host and port are right?"
            )),
        }
    }
}

fn refused<'a>(why: impl fmt::Display) -> LinkEvent<'a> {
    LinkEvent::Failed(LinkError::Refused(why.to_string()))
}

/// `REPLCONF ACK`: how much of the stream is run, and how much of that is on disk, if anything is.
pub fn acknowledgement(offset: Offset, on_disk: Option<Offset>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (offset, on_disk) = (offset.to_string(), on_disk.map(|offset| offset.to_string()));
    match &on_disk {
        None => encode_request(&mut bytes, &["REPLCONF", "ACK", &offset]),
        Some(on_disk) => {
            encode_request(&mut bytes, &["REPLCONF", "ACK", &offset, "FACK", on_disk]);
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
