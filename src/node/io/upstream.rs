//! The shell of the link to a primary: connects, moves bytes, keeps a snapshot on disk until it can
//! be loaded, and tries again. What the bytes mean is decided by the core.

use super::engine::Engine;
use super::load::Pauses;
use super::spool::Spool;
use crate::clock::Now;
use crate::node::{LinkTarget, LinkTask};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a link rests after it failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the primary may be due to hear something.
const SAY_EVERY: Duration = Duration::from_millis(100);
/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// Follows whom the core wants to follow, as long as it wants to.
pub(super) async fn follow(engine: Rc<Engine>) {
    loop {
        let target = engine.with_core(|core| core.link_target());
        let Some(target) = target else {
            engine.link_changed.notified().await;
            continue;
        };
        let link = target.link;
        let outcome = tokio::select! {
            outcome = run(&engine, &target) => outcome,
            () = given_up(&engine, link) => Ok(()),
        };
        engine.sockets.upstream.replace(None);
        let wanted = engine.with_core(|core| {
            let why = outcome.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
            core.link_lost(Now::read(), link, &why);
            core.link_is_wanted(link)
        });
        if wanted {
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                () = given_up(&engine, link) => {}
            }
        }
    }
}

/// Ready when another link is wanted than this one.
async fn given_up(engine: &Engine, link: u64) {
    while engine.with_core(|core| core.link_is_wanted(link)) {
        engine.link_changed.notified().await;
    }
}

/// One connection, from its first byte to its last.
async fn run(engine: &Engine, target: &LinkTarget) -> io::Result<()> {
    let link = target.link;
    engine.with_core(|core| core.link_connecting(link));
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = tokio::time::timeout(target.timeout, connecting).await.map_err(|_| {
        let why = engine.with_core(|core| core.link_silence(link));
        io::Error::new(io::ErrorKind::TimedOut, why)
    })??;
    stream.set_nodelay(true)?;
    engine.sockets.upstream.replace(Some(stream.as_fd().try_clone_to_owned()?));
    let hello = engine.with_core(|core| core.link_connected(Now::read(), link));
    let mut connection = Connection {
        engine,
        link,
        stream,
        spool: None,
        timeout: target.timeout,
        unread: Vec::new(),
        is_deaf: false,
    };
    connection.write(&hello).await?;
    loop {
        if !connection.process().await? {
            return Ok(());
        }
        connection.read().await?;
    }
}

/// A connection to a primary.
struct Connection<'e> {
    engine: &'e Engine,
    link: u64,
    stream: TcpStream,
    spool: Option<Spool>,
    timeout: Duration,
    unread: Vec<u8>,
    /// The primary takes no more. What it sent before may still be on its way in.
    is_deaf: bool,
}

/// What was decided about some bytes, without what it borrowed.
enum Decided {
    Read,
    Write(Vec<u8>),
    LoadSpool,
    Yield,
    Close,
}

impl Connection<'_> {
    /// Only the end of what it sends is the end of a link: a primary that dies has sent more than was read
    /// of it yet, and those writes have been promised to its clients.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_deaf {
            return Ok(());
        }
        match tokio::time::timeout(self.timeout, self.stream.write_all(bytes)).await? {
            Err(error) if is_hung_up(&error) => {
                tracing::debug!(%error, "the primary takes no more");
                self.is_deaf = true;
                Ok(())
            }
            written => written,
        }
    }

    /// Waits for more bytes, and meanwhile tells the primary what it is due to hear.
    async fn read(&mut self) -> io::Result<()> {
        let mut silent = Duration::ZERO;
        loop {
            self.unread.reserve(READ_BYTES);
            let reading = self.stream.read_buf(&mut self.unread);
            match tokio::time::timeout(SAY_EVERY, reading).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    read?;
                    return Ok(());
                }
                Err(_) => {
                    silent += SAY_EVERY;
                    if silent >= self.timeout {
                        let why = self.engine.with_core(|core| core.link_silence(self.link));
                        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                    }
                    let now = Now::read();
                    if !self.engine.with_core(|core| core.link_goes_on(now, self.link)) {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    self.say().await?;
                }
            }
        }
    }

    async fn say(&mut self) -> io::Result<()> {
        let says = self.engine.with_core(|core| core.link_says(Now::read(), self.link));
        match says {
            Some(bytes) => self.write(&bytes).await,
            None => Ok(()),
        }
    }

    /// Has the core look at what has come, and does what it says. False if the link is to end.
    async fn process(&mut self) -> io::Result<bool> {
        let mut at = 0;
        let goes_on = loop {
            let spool = &mut self.spool;
            let unread = &self.unread[at..];
            let (used, decided) = self.engine.with_core(|core| {
                let (used, task) = core.link_received(Now::read(), self.link, unread);
                let decided = match task {
                    LinkTask::Read => Decided::Read,
                    LinkTask::Write(bytes) => Decided::Write(bytes),
                    LinkTask::Spool(bytes) => {
                        // A page or so of the kernel's cache: it does not wait for the disk.
                        append(spool, bytes)?;
                        Decided::Yield
                    }
                    LinkTask::LoadSpool => Decided::LoadSpool,
                    LinkTask::Yield => Decided::Yield,
                    LinkTask::Close => Decided::Close,
                };
                io::Result::Ok((used, decided))
            })?;
            at += used;
            match decided {
                Decided::Read => break true,
                Decided::Write(bytes) => self.write(&bytes).await?,
                Decided::Yield => {
                    self.say().await?;
                    tokio::task::yield_now().await;
                    self.pause().await?;
                }
                Decided::LoadSpool => {
                    if !self.load_spool().await? {
                        break false;
                    }
                }
                Decided::Close => break false,
            }
        };
        self.unread.drain(..at);
        self.say().await?;
        Ok(goes_on)
    }

    async fn load_spool(&mut self) -> io::Result<bool> {
        let mut spool = match self.spool.take() {
            Some(spool) => spool,
            None => Spool::create()?,
        };
        spool.file.rewind()?;
        let mut bytes = vec![0; READ_BYTES];
        let pauses = Pauses::begin();
        loop {
            let read = spool.file.read(&mut bytes)?;
            let engine = self.engine;
            let task = engine.with_core(|core| match read {
                0 => core.link_load_ends(Now::read(), self.link),
                _ => core.link_load(Now::read(), self.link, &bytes[..read]),
            });
            if task == LinkTask::Close {
                return Ok(false);
            }
            if read == 0 {
                return Ok(true);
            }
            self.say().await?;
            pauses.let_others().await;
            self.pause().await?;
        }
    }

    /// `key-load-delay`.
    async fn pause(&mut self) -> io::Result<()> {
        while let Some(pause) = self.engine.with_core(|core| core.load_pause()) {
            tokio::time::sleep(pause).await;
            self.say().await?;
        }
        Ok(())
    }
}

fn is_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn append(spool: &mut Option<Spool>, bytes: &[u8]) -> io::Result<()> {
    if spool.is_none() {
        *spool = Some(Spool::create()?);
    }
    match spool {
        Some(spool) => spool.file.write_all(bytes),
        None => Ok(()),
    }
}
