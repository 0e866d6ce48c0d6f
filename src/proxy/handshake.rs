//! What is said on a connection to a node before any command: who we are, and which protocol.
//!
//! Each step waits for the answer to the one before. AUTH is never sent behind something else,
//! and no command of a client goes out until the last answer is there, so no answer of the
//! handshake can ever be taken for a client's.

use super::elements::integer;
use crate::resp::{Protocol, encode_request};
use crate::secret::Secret;

/// Why a node cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// AUTH was refused.
    #[error("the node refuses our user or password: {0}")]
    Auth(String),
    /// It does not speak RESP3.
    #[error("the node does not speak RESP3: {0}")]
    Hello(String),
    /// Something else it said.
    #[error("the node refuses us: {0}")]
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Start,
    Auth,
    Hello,
    Ping,
    /// The answer to this one of the further steps.
    Further(usize),
}

/// What is said once the node has taken us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Further {
    /// `SELECT`: the connection is for this database.
    Select(u32),
    /// `READONLY`: a replica answers reads on it.
    ReadOnly,
    /// `CLIENT NO-TOUCH ON`.
    NoTouch,
    /// `CLIENT ID`: another connection may have to name this one.
    ClientId,
    /// `CLIENT TRACKING ON`: the node says which keys change of those that are read.
    Tracking {
        /// How.
        words: Vec<Vec<u8>>,
        /// The connection on which it says so, where that is not this one.
        sink: Option<i64>,
    },
}

/// The steps of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    protocol: Protocol,
    user: Option<String>,
    password: Option<Secret>,
    further: Vec<Further>,
    step: Step,
    client_id: Option<i64>,
    refused: Option<String>,
}

impl Handshake {
    /// The handshake of a connection that shall speak `protocol` as this user.
    pub(crate) fn new(protocol: Protocol, user: Option<String>, password: Option<Secret>) -> Self {
        let further = Vec::new();
        Self {
            protocol,
            user,
            password,
            further,
            step: Step::Start,
            client_id: None,
            refused: None,
        }
    }

    /// With these steps behind the usual ones.
    #[must_use]
    pub(crate) fn with(mut self, further: Vec<Further>) -> Self {
        self.further = further;
        self
    }

    /// What the node answered to CLIENT ID, where that was asked.
    pub(crate) fn client_id(&self) -> Option<i64> {
        self.client_id
    }

    /// What the node said to CLIENT TRACKING, where that was an error: whoever asked for it is told.
    pub(crate) fn refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    /// Writes a further step: true when there is none.
    fn go_further(&mut self, at: usize, out: &mut Vec<u8>) -> bool {
        let Some(further) = self.further.get(at) else { return true };
        self.step = Step::Further(at);
        match further {
            Further::Select(database) => {
                encode_request(out, &["SELECT", &database.to_string()]);
            }
            Further::ReadOnly => encode_request(out, &["READONLY"]),
            Further::NoTouch => encode_request(out, &["CLIENT", "NO-TOUCH", "ON"]),
            Further::ClientId => encode_request(out, &["CLIENT", "ID"]),
            Further::Tracking { words, sink } => {
                let sink = sink.map(|id| id.to_string());
                let mut args: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON"];
                if let Some(sink) = &sink {
                    args.extend([&b"REDIRECT"[..], sink.as_bytes()]);
                }
                args.extend(words.iter().map(Vec::as_slice));
                encode_request(out, &args);
            }
        }
        false
    }

    /// Writes the first step.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        match &self.password {
            Some(password) => {
                self.step = Step::Auth;
                match &self.user {
                    Some(user) => {
                        encode_request(out, &[b"AUTH", user.as_bytes(), password.expose()]);
                    }
                    None => encode_request(out, &[b"AUTH", password.expose()]),
                }
            }
            None => self.greet(out),
        }
    }

    fn greet(&mut self, out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Resp3 => {
                self.step = Step::Hello;
                encode_request(out, &["HELLO", "3"]);
            }
            // A server of any version answers PING, and the answer tells that it is served.
            Protocol::Resp2 => {
                self.step = Step::Ping;
                encode_request(out, &["PING"]);
            }
        }
    }

    /// A reply has come. True when the connection is ready; else the next step was written.
    ///
    /// # Errors
    /// The node does not take us.
    pub(crate) fn answered(
        &mut self,
        reply: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, HandshakeError> {
        let error = reply.strip_prefix(b"-").map(|line| {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            String::from_utf8_lossy(line).into_owned()
        });
        match (self.step, error) {
            (Step::Auth, None) => {
                self.greet(out);
                Ok(false)
            }
            (Step::Auth, Some(error)) => Err(HandshakeError::Auth(error)),
            (Step::Hello | Step::Ping, None) => Ok(self.go_further(0, out)),
            (Step::Further(at), None) => {
                if self.further[at] == Further::ClientId {
                    self.client_id = integer(reply).ok();
                }
                Ok(self.go_further(at + 1, out))
            }
            // Who may not ask for it can do without.
            (Step::Further(at), Some(_)) if self.further[at] == Further::ClientId => {
                Ok(self.go_further(at + 1, out))
            }
            (Step::Further(at), Some(error))
                if matches!(self.further[at], Further::Tracking { .. }) =>
            {
                self.refused = Some(error);
                Ok(self.go_further(at + 1, out))
            }
            // The node is there and will say so itself to each command: those are tried again.
            (Step::Ping, Some(error))
                if ["LOADING", "MASTERDOWN", "BUSY", "MISCONF"]
                    .iter()
                    .any(|code| error.starts_with(code)) =>
            {
                Ok(self.go_further(0, out))
            }
            (Step::Hello, Some(error))
                if error.starts_with("NOPROTO") || error.contains("unknown command") =>
            {
                Err(HandshakeError::Hello(error))
            }
            (_, Some(error)) if error.starts_with("NOAUTH") || error.starts_with("WRONGPASS") => {
                Err(HandshakeError::Auth(error))
            }
            (_, Some(error)) => Err(HandshakeError::Refused(error)),
            (Step::Start, None) => Err(HandshakeError::Refused("it spoke first".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(out: &mut Vec<u8>) -> String {
        String::from_utf8(std::mem::take(out)).expect("text")
    }

    #[test]
    fn each_step_waits_for_the_answer_to_the_one_before() {
        let mut out = Vec::new();
        let secret = Some(Secret::new("pw"));
        let mut handshake = Handshake::new(Protocol::Resp3, Some("app".to_owned()), secret);
        handshake.begin(&mut out);
        assert_eq!(sent(&mut out), "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$2\r\npw\r\n");
        assert_eq!(handshake.answered(b"+OK\r\n", &mut out), Ok(false));
        assert_eq!(sent(&mut out), "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        assert_eq!(handshake.answered(b"%0\r\n", &mut out), Ok(true));
        assert_eq!(sent(&mut out), "");
    }

    #[test]
    fn further_steps_come_one_by_one_and_the_id_is_kept() {
        let mut out = Vec::new();
        let further = vec![Further::Select(3), Further::ClientId];
        let mut handshake = Handshake::new(Protocol::Resp2, None, None).with(further);
        handshake.begin(&mut out);
        out.clear();
        assert_eq!(handshake.answered(b"+PONG\r\n", &mut out), Ok(false));
        assert_eq!(sent(&mut out), "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
        let mut refused = handshake.clone();
        let no = refused.answered(b"-ERR DB index is out of range\r\n", &mut Vec::new());
        assert!(matches!(no, Err(HandshakeError::Refused(_))), "it would be another database");
        assert_eq!(handshake.answered(b"+OK\r\n", &mut out), Ok(false));
        assert_eq!(sent(&mut out), "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n");
        assert_eq!(handshake.answered(b":42\r\n", &mut out), Ok(true));
        assert_eq!(handshake.client_id(), Some(42));
    }

    #[test]
    fn a_node_that_does_not_take_us_is_not_used() {
        let mut out = Vec::new();
        let mut handshake = Handshake::new(Protocol::Resp2, None, None);
        handshake.begin(&mut out);
        assert_eq!(
            handshake.clone().answered(b"-NOAUTH Authentication required.\r\n", &mut out),
            Err(HandshakeError::Auth("NOAUTH Authentication required.".to_owned()))
        );
        let loading = b"-LOADING Redis is loading the dataset in memory\r\n";
        assert_eq!(handshake.answered(loading, &mut out), Ok(true), "its commands are tried again");
    }
}
