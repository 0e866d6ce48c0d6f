//! Brings keys to other servers: a task per migration, and the connections that are kept between
//! them. What is said there and what follows from the answers is decided by the core.

use super::engine::Engine;
use crate::clock::Now;
use crate::node::{Answers, Migration, MigrationEnd, MigrationFailure, MigrationTarget};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Connections that are kept at most.
const KEPT_MAX: usize = 64;
/// How long a connection is kept that nobody uses.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How often they are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A connection that may be used again.
struct Kept {
    stream: TcpStream,
    db: i64,
    since: Instant,
}

#[derive(Default)]
struct Pool(RefCell<HashMap<MigrationTarget, Vec<Kept>>>);

impl Pool {
    /// A connection to this target that is still open and has nothing unread.
    fn take(&self, target: &MigrationTarget) -> Option<Kept> {
        let mut pool = self.0.borrow_mut();
        let kept = pool.get_mut(target)?;
        let mut byte = [0];
        while let Some(connection) = kept.pop() {
            let read = connection.stream.try_read(&mut byte);
            if matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, target: MigrationTarget, stream: TcpStream, db: i64) {
        if self.count() < KEPT_MAX {
            let mut pool = self.0.borrow_mut();
            let kept = pool.entry(target).or_default();
            kept.push(Kept { stream, db, since: Instant::now() });
        }
    }

    fn sweep(&self) {
        self.0.borrow_mut().retain(|_, kept| {
            kept.retain(|connection| connection.since.elapsed() < KEPT_FOR);
            !kept.is_empty()
        });
    }

    fn count(&self) -> usize {
        self.0.borrow().values().map(Vec::len).sum()
    }
}

/// Carries out what the core has for it, for as long as the node runs.
pub(super) async fn run(engine: Rc<Engine>) {
    let pool = Rc::<Pool>::default();
    loop {
        while let Some(migration) = engine.with_core(|core| core.next_migration()) {
            let (engine, pool) = (engine.clone(), pool.clone());
            tokio::task::spawn_local(async move {
                let end = carry(&pool, &migration).await;
                engine.with_core(|core| {
                    core.note_migration_connections(pool.count());
                    core.migration_ended(Now::read(), migration.id, end);
                });
                // Its connection may be one to look after.
                engine.migration.notify_one();
            });
        }
        tokio::select! {
            () = engine.migration.notified() => {}
            () = tokio::time::sleep(SWEEP_EVERY), if pool.count() > 0 => {
                pool.sweep();
                engine.with_core(|core| core.note_migration_connections(pool.count()));
            }
        }
    }
}

/// Brings keys to where they belong.
async fn carry(pool: &Pool, migration: &Migration) -> MigrationEnd {
    if let Some(kept) = pool.take(&migration.target) {
        // It may have been closed while nobody looked.
        if let Some(end) = attempt(pool, migration, kept.stream, Some(kept.db)).await {
            return end;
        }
    }
    match connect(migration).await {
        Err(failure) => failed(failure),
        Ok(stream) => {
            let end = attempt(pool, migration, stream, None).await;
            end.unwrap_or_else(|| failed(MigrationFailure::Reading))
        }
    }
}

fn failed(failure: MigrationFailure) -> MigrationEnd {
    MigrationEnd { taken: Vec::new(), failure: Some(failure) }
}

async fn connect(migration: &Migration) -> Result<TcpStream, MigrationFailure> {
    let Migration { target, timeout, .. } = migration;
    let addresses = tokio::net::lookup_host((target.host.as_str(), target.port));
    let addresses = tokio::time::timeout(*timeout, addresses).await;
    let addresses = addresses.map_err(|_| MigrationFailure::Connecting)?;
    let addresses = addresses.map_err(|error| MigrationFailure::Unreachable(error.to_string()))?;
    let addresses: Vec<_> = addresses.collect();
    let stream = tokio::time::timeout(*timeout, TcpStream::connect(&*addresses)).await;
    let stream = stream.map_err(|_| MigrationFailure::Connecting)?;
    // Redis finds out with the first bytes.
    let stream = stream.map_err(|_| MigrationFailure::Writing)?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection for MIGRATE keeps small packets back");
    }
    Ok(stream)
}

/// Brings the keys over this connection. `None` if it was closed before anything came from it.
async fn attempt(
    pool: &Pool,
    migration: &Migration,
    mut stream: TcpStream,
    selected: Option<i64>,
) -> Option<MigrationEnd> {
    let timeout = migration.timeout;
    let (greeting, replies) = migration.greeting(selected);
    let mut greeted = Answers::default();
    let said = exchange(&mut stream, &greeting, replies, &mut greeted, timeout).await;
    if matches!(said, Err(Broken { closed: true, .. })) && greeted.accepted.is_empty() {
        return None;
    }
    let refused = greeted.refused.map(MigrationFailure::Refused);
    if let Some(failure) = refused.or(said.err().map(|broken| broken.failure)) {
        return Some(failed(failure));
    }
    let mut answers = Answers::default();
    let bytes = &migration.restores;
    let said = exchange(&mut stream, bytes, migration.keys, &mut answers, timeout).await;
    if matches!(said, Err(Broken { closed: true, .. }))
        && answers.accepted.is_empty()
        && greeted.accepted.is_empty()
    {
        return None;
    }
    if said.is_ok() {
        pool.put(migration.target.clone(), stream, migration.db);
    }
    let failure = said.err().map(|broken| broken.failure);
    let failure = failure.or(answers.refused.map(MigrationFailure::Refused));
    Some(MigrationEnd { taken: answers.accepted, failure })
}

/// A connection that is of no use any longer.
struct Broken {
    failure: MigrationFailure,
    /// It was closed; otherwise nothing went over it for too long, or what came made no sense.
    closed: bool,
}

/// Writes requests, and meanwhile reads what is answered, until there are so many replies.
async fn exchange(
    stream: &mut TcpStream,
    requests: &[u8],
    replies: usize,
    answers: &mut Answers,
    timeout: Duration,
) -> Result<(), Broken> {
    let (mut reader, mut writer) = stream.split();
    let (mut input, mut written) = (Vec::new(), 0);
    while answers.accepted.len() < replies {
        let writes = written < requests.len();
        let broken = |closed| {
            let failure =
                if writes { MigrationFailure::Writing } else { MigrationFailure::Reading };
            Broken { failure, closed }
        };
        let moved = async {
            tokio::select! {
                read = reader.read_buf(&mut input) => match read? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(0),
                },
                count = writer.write(&requests[written..]), if writes => count,
            }
        };
        match tokio::time::timeout(timeout, moved).await {
            Err(_) => return Err(broken(false)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection for MIGRATE broke");
                return Err(broken(true));
            }
            Ok(Ok(count)) => written += count,
        }
        if let Err(error) = answers.read(&mut input) {
            tracing::debug!(%error, "the target of MIGRATE is no server of the family");
            return Err(broken(false));
        }
    }
    Ok(())
}
