//! A small blocking RESP client: whole commands, pipelines, or raw bytes. Knows no clusters.

use bytes::Bytes;
use keyway::resp::{Limits, Reply, ReplyScanner, encode_request, parse_reply};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a reply may take before the test fails: longer than any ride-out.
const REPLY_WITHIN: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the bytes that were not handed out yet begin in `buffer`.
    start: usize,
    scanner: ReplyScanner,
    limits: Limits,
    timeout: Duration,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Loss {
    /// The server closed the connection, or it broke.
    #[error("closed: {0}")]
    Closed(io::Error),
    /// Nothing came in time.
    #[error("no reply within {0:?}")]
    TimedOut(Duration),
    /// The server sent what is not RESP.
    #[error("not RESP: {0}")]
    Garbage(keyway::resp::ProtocolError),
}

impl Client {
    /// Connects to a loopback port.
    ///
    /// # Panics
    /// When nobody listens there.
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|error| panic!("connect to port {port}: {error}"))
    }

    /// Connects to a loopback port.
    pub(crate) fn try_connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            scanner: ReplyScanner::default(),
            limits: Limits { request_bytes: usize::MAX / 2, ..Limits::default() },
            timeout: REPLY_WITHIN,
        })
    }

    /// Connects, and switches to RESP3.
    pub(crate) fn connect_resp3(port: u16) -> Self {
        let mut client = Self::connect(port);
        let hello = client.call(&["HELLO", "3"]);
        assert!(matches!(hello, Reply::Map(_)), "HELLO 3 was answered by {hello:?}");
        client
    }

    /// How long a reply may take.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Panics
    /// When there is no reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Reply {
        self.try_call(command).unwrap_or_else(|loss| panic!("{}: {loss}", shown(command)))
    }

    /// Sends one command and waits for its reply.
    pub(crate) fn try_call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, Loss> {
        self.try_send(command)?;
        self.try_reply()
    }

    /// Sends one command, and expects `+OK`.
    ///
    /// # Panics
    /// When the reply is another.
    pub(crate) fn ok<A: AsRef<[u8]>>(&mut self, command: &[A]) {
        let reply = self.call(command);
        assert_eq!(reply, Reply::simple("OK"), "{}", shown(command));
    }

    /// Sends one command, and takes its reply as text.
    ///
    /// # Panics
    /// When the reply is no text.
    pub(crate) fn text<A: AsRef<[u8]>>(&mut self, command: &[A]) -> String {
        let reply = self.call(command);
        match reply.as_str() {
            Some(text) => text.to_owned(),
            None => panic!("{} was answered by {reply:?}", shown(command)),
        }
    }

    /// Sends one command, and takes its reply as a number.
    ///
    /// # Panics
    /// When the reply is no integer.
    pub(crate) fn integer<A: AsRef<[u8]>>(&mut self, command: &[A]) -> i64 {
        let reply = self.call(command);
        reply.as_integer().unwrap_or_else(|| panic!("{} was answered by {reply:?}", shown(command)))
    }

    /// Sends all commands at once, then reads all replies.
    ///
    /// # Panics
    /// When a reply is missing.
    pub(crate) fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for command in commands {
            encode_request(&mut bytes, command);
        }
        self.send_raw(&bytes);
        commands.iter().map(|_| self.reply()).collect()
    }

    /// Sends one command and does not wait.
    pub(crate) fn try_send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<(), Loss> {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, command);
        self.stream.write_all(&bytes).map_err(Loss::Closed)
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection is gone.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes bytes");
    }

    /// Sends bytes as they are; a server that has closed the connection is no failure.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|loss| panic!("{loss}"))
    }

    /// The next reply.
    pub(crate) fn try_reply(&mut self) -> Result<Reply, Loss> {
        let bytes = Bytes::from(self.try_reply_bytes()?);
        parse_reply(&bytes, self.limits.reply_depth + 1).map_err(Loss::Garbage)
    }

    /// The next reply, byte for byte as the server wrote it.
    pub(crate) fn try_reply_bytes(&mut self) -> Result<Vec<u8>, Loss> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let scan = self.scanner.scan(&self.buffer[self.start..], &self.limits);
            if let Some(len) = scan.map_err(Loss::Garbage)? {
                let reply = self.buffer[self.start..self.start + len].to_vec();
                self.start += len;
                if self.start == self.buffer.len() {
                    self.buffer.clear();
                    self.start = 0;
                }
                return Ok(reply);
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            if !self.read_some(deadline)? {
                return Err(Loss::Closed(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Everything until the server closes the connection, and whether it did within the time.
    pub(crate) fn read_to_end(&mut self, within: Duration) -> (Vec<u8>, bool) {
        let deadline = Instant::now() + within;
        let closed = loop {
            match self.read_some(deadline) {
                Ok(true) => {}
                // A reset is how a server closes that still had bytes to read.
                Ok(false) | Err(Loss::Closed(_)) => break true,
                Err(_) => break false,
            }
        };
        let bytes = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        (bytes, closed)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes the connection with a reset, as a client does that was killed with bytes unread.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger can be set");
    }

    /// Reads what there is; `false` at the end of the stream.
    fn read_some(&mut self, deadline: Instant) -> Result<bool, Loss> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Loss::TimedOut(self.timeout));
        }
        self.stream.set_read_timeout(Some(left)).map_err(Loss::Closed)?;
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(len) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                Ok(len > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Loss::TimedOut(self.timeout))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(Loss::Closed(error)),
        }
    }
}

/// A command for a message: short, and printable.
pub(crate) fn shown<A: AsRef<[u8]>>(command: &[A]) -> String {
    let mut text = String::new();
    for arg in command {
        let arg = arg.as_ref();
        let cut = arg.len().min(200);
        text.push_str(&format!("\"{}\"", arg[..cut].escape_ascii()));
        if cut < arg.len() {
            text.push_str(&format!("…({} bytes)", arg.len()));
        }
        text.push(' ');
    }
    text.truncate(text.trim_end().len());
    text
}
