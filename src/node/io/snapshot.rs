//! Carries snapshots out: slices from the core, one at a time and others in between, to a thread
//! that writes them to disk. It decides nothing.

use super::append::Append;
use super::engine::Engine;
use super::new_file::NewFile;
use crate::clock::Now;
use crate::node::{SnapshotFor, SnapshotSlice};
use std::io;
use std::path::Path;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

/// Pieces that may wait for the disk: the walk waits for it beyond that.
const WAITING_MAX: usize = 16;
/// Bytes that are worth handing to the disk's thread.
const PIECE_BYTES: usize = 64 * 1024;

/// Where a snapshot goes.
enum Sink {
    File(FileSink),
    /// The base of the append-only file; and the folder, while nothing else is written into it.
    Base(FileSink, Option<Box<Append>>),
}

/// A file, written on a thread of its own.
struct FileSink {
    /// `None` is the end.
    pieces: mpsc::Sender<Option<Vec<u8>>>,
    outcome: oneshot::Receiver<io::Result<()>>,
}

impl FileSink {
    fn open(mut file: NewFile) -> io::Result<Self> {
        let (pieces, mut incoming) = mpsc::channel::<Option<Vec<u8>>>(WAITING_MAX);
        let (tell, outcome) = oneshot::channel();
        std::thread::Builder::new().name("save".into()).spawn(move || {
            let write = move || {
                while let Some(piece) = incoming.blocking_recv() {
                    match piece {
                        Some(bytes) => file.write(&bytes)?,
                        None => return file.keep(),
                    }
                }
                // Nobody wants it any more.
                Ok(())
            };
            // Whoever asked may be gone.
            let _ = tell.send(write());
        })?;
        Ok(Self { pieces, outcome })
    }

    /// Takes a piece; false if the file cannot be written any more.
    async fn take(&mut self, piece: Vec<u8>) -> bool {
        self.pieces.send(Some(piece)).await.is_ok()
    }

    async fn finish(self) -> io::Result<()> {
        // A thread that has failed already says so below.
        let _ = self.pieces.send(None).await;
        drop(self.pieces);
        self.outcome.await.map_err(|_| io::Error::other("the writing thread has gone"))?
    }
}

impl Sink {
    fn open(engine: &Engine, purpose: SnapshotFor) -> io::Result<Self> {
        match purpose {
            SnapshotFor::File => {
                let path = engine.with_core(|core| core.parameter("dbfilename"));
                FileSink::open(NewFile::create(Path::new(&path))?).map(Self::File)
            }
            SnapshotFor::Rewrite => match engine.with_append(|append| append.new_base()) {
                Some(file) => Ok(Self::Base(FileSink::open(file?)?, None)),
                None => {
                    let append = engine.with_core(|core| Append::open(core))?;
                    Ok(Self::Base(FileSink::open(append.new_base()?)?, Some(Box::new(append))))
                }
            },
        }
    }

    async fn take(&mut self, piece: Vec<u8>) -> bool {
        match self {
            Self::File(file) | Self::Base(file, _) => file.take(piece).await,
        }
    }

    async fn finish(self, engine: &Engine) -> io::Result<()> {
        match self {
            Self::File(file) => file.finish().await,
            Self::Base(file, folder) => {
                file.finish().await?;
                let size = match folder {
                    Some(append) => {
                        let kept = tokio::task::spawn_blocking(append.keeping()).await;
                        kept.map_err(io::Error::other)??.1
                    }
                    None => {
                        let keeping = |append: &mut Append| append.keeping();
                        match engine.change_folder(keeping, Append::base_is_kept).await {
                            Some(size) => size?,
                            // It was turned off.
                            None => return Ok(()),
                        }
                    }
                };
                engine.with_core(|core| core.set_log_base(size));
                Ok(())
            }
        }
    }
}

/// Takes snapshots for as long as the node runs.
pub(super) async fn run(engine: Rc<Engine>) {
    loop {
        engine.snapshot.notified().await;
        loop {
            prepare_rewrite(&engine).await;
            let begun = engine.with_core(|core| core.snapshot_begun(Now::read()));
            let Some(purpose) = begun else { break };
            let outcome = match Sink::open(&engine, purpose) {
                Ok(sink) => carry(&engine, sink).await,
                Err(error) => Some(Err(error)),
            };
            if let Some(outcome) = outcome {
                let outcome = outcome.map_err(|error| error.to_string());
                engine.with_core(|core| core.snapshot_kept(Now::read(), outcome));
            }
        }
        // What nobody wants is brought to its end.
        while engine.with_core(|core| core.snapshot_slice(Now::read(), &mut Vec::new()))
            == SnapshotSlice::GivenUp
        {
            tokio::task::yield_now().await;
        }
    }
}

/// Makes the increment ready that a rewrite begins with, if one waits for it.
async fn prepare_rewrite(engine: &Engine) {
    while engine.with_core(|core| core.rewrite_waits()) {
        let is_prepared = engine.with_append(|append| append.is_prepared()).unwrap_or(true);
        if is_prepared {
            engine.with_core(|core| core.rewrite_may_begin());
            return;
        }
        let preparation = |append: &mut Append| append.preparation();
        if let Some(Err(error)) = engine.change_folder(preparation, Append::prepared).await {
            engine.with_core(|core| core.fail_rewrite(&error.to_string()));
        }
    }
}

/// Brings one snapshot to where it belongs: how that went, or nothing if it was given up.
async fn carry(engine: &Engine, mut sink: Sink) -> Option<io::Result<()>> {
    let mut piece = Vec::new();
    loop {
        let slice = engine.with_core(|core| core.snapshot_slice(Now::read(), &mut piece));
        let last = match slice {
            SnapshotSlice::More(pause) if !pause.is_zero() => {
                tokio::time::sleep(pause).await;
                false
            }
            SnapshotSlice::More(_) => {
                tokio::task::yield_now().await;
                false
            }
            SnapshotSlice::Last => true,
            SnapshotSlice::GivenUp | SnapshotSlice::Nothing => return None,
        };
        if last || piece.len() >= PIECE_BYTES {
            let goes_on = sink.take(std::mem::take(&mut piece)).await;
            if last || !goes_on {
                return Some(sink.finish(engine).await);
            }
        }
    }
}
