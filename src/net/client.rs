//! A small request/reply client: what the tool, health checks and the wiring of a bundled
//! cluster speak to servers with. The proxy's data path has a shape of its own.
//!
//! Every wait has a deadline: a server that accepts a connection and never answers must not hang
//! an operator's terminal. A connection that missed a deadline is of no more use, because the
//! answer may still come and would be taken for the next one's; the client refuses to go on.

use crate::resp::{Limits, ProtocolError, Reply, ReplyScanner, encode_request, parse_reply};
use crate::secret::Secret;
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Who we are to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` for the default user (and for servers before Redis 6).
    pub user: Option<String>,
    /// The password; without one, no `AUTH` is sent.
    pub password: Option<Secret>,
}

/// How long a client waits, and as whom it speaks.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// For the connection to stand, authentication included.
    pub connect_timeout: Duration,
    /// For one command's reply, or for a whole pipeline's.
    pub command_timeout: Duration,
    /// Sent as `AUTH` first.
    pub credentials: Credentials,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(15),
            credentials: Credentials::default(),
        }
    }
}

/// Why a client has no reply to give.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or the name is unknown, or the way is closed.
    #[error("can't connect: {0}")]
    Connect(#[source] io::Error),
    /// The server did not answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
    /// What came is not RESP.
    #[error("not a Redis server: {0}")]
    Protocol(#[from] ProtocolError),
    /// The server did not accept our credentials; its own words.
    #[error("{0}")]
    Refused(String),
}

/// One connection: requests go out in order, replies come back in order.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    output: Vec<u8>,
    input: BytesMut,
    scanner: ReplyScanner,
    limits: Limits,
    command_timeout: Duration,
    /// Set when the connection cannot be understood any further.
    spent: bool,
}

impl Client {
    /// Connects to a server and authenticates.
    ///
    /// # Errors
    /// [`ClientError::Connect`] or [`ClientError::Timeout`] where nobody answers,
    /// [`ClientError::Refused`] where the credentials are wrong.
    pub async fn connect(
        host: &str,
        port: u16,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        let connect = async {
            let stream = TcpStream::connect((host, port)).await.map_err(ClientError::Connect)?;
            stream.set_nodelay(true).map_err(ClientError::Connect)?;
            let peer = stream.peer_addr().map_err(ClientError::Connect)?;
            let mut client = Self {
                stream,
                peer,
                output: Vec::new(),
                input: BytesMut::new(),
                scanner: ReplyScanner::default(),
                limits: Limits::default(),
                command_timeout: options.command_timeout,
                spent: false,
            };
            client.authenticate(&options.credentials).await?;
            Ok(client)
        };
        timeout(options.connect_timeout, connect)
            .await
            .unwrap_or(Err(ClientError::Timeout(options.connect_timeout)))
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        let reply = match (&credentials.user, &credentials.password) {
            (_, None) => return Ok(()),
            (None, Some(password)) => self.call(&[b"AUTH", password.expose()]).await?,
            (Some(user), Some(password)) => {
                self.call(&[b"AUTH", user.as_bytes(), password.expose()]).await?
            }
        };
        match reply.as_error() {
            Some(text) => Err(ClientError::Refused(String::from_utf8_lossy(text).into_owned())),
            None => Ok(()),
        }
    }

    /// The address that the host name turned out to be.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Changes how long later calls wait for their replies.
    pub fn set_command_timeout(&mut self, command_timeout: Duration) {
        self.command_timeout = command_timeout;
    }

    /// Sends one command and waits for its reply. An error reply is a reply.
    ///
    /// # Errors
    /// No reply came; the client is of no further use.
    pub async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, ClientError> {
        encode_request(&mut self.output, args);
        Ok(self.replies(1).await?.pop().expect("as many replies as asked for"))
    }

    /// Sends several commands at once and waits for all their replies, which come in order.
    ///
    /// # Errors
    /// Fewer replies came; the client is of no further use.
    pub async fn call_all<A: AsRef<[u8]>>(
        &mut self,
        commands: &[Vec<A>],
    ) -> Result<Vec<Reply>, ClientError> {
        for args in commands {
            encode_request(&mut self.output, args);
        }
        self.replies(commands.len()).await
    }

    async fn replies(&mut self, count: usize) -> Result<Vec<Reply>, ClientError> {
        if self.spent {
            return Err(ClientError::Closed);
        }
        // Cleared only when everything arrived: a caller may also drop the future midway.
        self.spent = true;
        let command_timeout = self.command_timeout;
        let replies = timeout(command_timeout, self.exchange(count))
            .await
            .unwrap_or(Err(ClientError::Timeout(command_timeout)))?;
        self.spent = false;
        Ok(replies)
    }

    /// Writes and reads side by side: a server that answers a long pipeline stops reading it
    /// when nobody takes its answers.
    async fn exchange(&mut self, count: usize) -> Result<Vec<Reply>, ClientError> {
        let mut replies = Vec::with_capacity(count);
        let mut written = 0;
        let (mut reader, mut writer) = self.stream.split();
        loop {
            while replies.len() < count
                && let Some(len) = self.scanner.scan(&self.input, &self.limits)?
            {
                let frame = self.input.split_to(len).freeze();
                replies.push(parse_reply(&frame, self.limits.reply_depth)?);
            }
            if replies.len() == count {
                self.output.clear();
                return Ok(replies);
            }
            self.input.reserve(16 * 1024);
            tokio::select! {
                sent = writer.write(&self.output[written..]), if written < self.output.len() => {
                    written += sent.map_err(ClientError::Io)?;
                }
                read = reader.read_buf(&mut self.input) => {
                    if read.map_err(ClientError::Io)? == 0 {
                        return Err(ClientError::Closed);
                    }
                }
            }
        }
    }

    /// The bare connection and what was read ahead: for streams that are not replies, as SYNC's.
    pub fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn on_runtime(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test);
    }

    fn options(command_timeout: Duration) -> ClientOptions {
        ClientOptions { command_timeout, ..ClientOptions::default() }
    }

    #[test]
    fn a_pipeline_larger_than_all_buffers_does_not_lock_up() {
        on_runtime(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let port = listener.local_addr().expect("bound").port();
            // An echo of RESP: every command comes back as an array, and reading stops while
            // the answer cannot be written.
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("accept");
                let (mut reader, mut writer) = stream.into_split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
            let mut client = Client::connect("127.0.0.1", port, &options(Duration::from_secs(20)))
                .await
                .expect("connect");
            let commands: Vec<Vec<String>> =
                (0..4_000).map(|n| vec![n.to_string(), "x".repeat(4_000)]).collect();
            let replies = client.call_all(&commands).await.expect("replies");
            for (n, reply) in replies.iter().enumerate() {
                let items = reply.as_array().expect("an array");
                assert_eq!(items[0].as_str(), Some(n.to_string().as_str()));
            }
            server.abort();
        });
    }

    #[test]
    fn a_server_that_never_answers_costs_one_deadline_and_the_connection() {
        on_runtime(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let port = listener.local_addr().expect("bound").port();
            let mut client =
                Client::connect("127.0.0.1", port, &options(Duration::from_millis(50)))
                    .await
                    .expect("connect");
            assert!(matches!(client.call(&["PING"]).await, Err(ClientError::Timeout(_))));
            // The late answer would be taken for this one's.
            assert!(matches!(client.call(&["PING"]).await, Err(ClientError::Closed)));
        });
    }
}
