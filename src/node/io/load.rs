//! Loads the data at the start: pieces of the files, and clients in between, who are told to wait. A node
//! without data tells nobody to wait: writes do, until the append-only file that they go to is there.

use super::append::Append;
use super::engine::Engine;
use crate::clock::Now;
use crate::node::{Core, Unsaved};
use anyhow::{Context, bail};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that are loaded at a time: about a millisecond's.
const PIECE_BYTES: usize = 64 * 1024;
/// What is loaded so soon is loaded before the first client is heard: it need not be told to wait, and many
/// that start a server do not expect to be.
const UNHEARD: Duration = Duration::from_millis(100);

/// Lets clients be heard in between.
pub(super) struct Pauses(Now);

impl Pauses {
    /// A load begins.
    pub(super) fn begin() -> Self {
        Self(Now::read())
    }

    async fn take(&self, engine: &Engine) {
        while let Some(pause) = engine.with_core(|core| core.load_pause()) {
            tokio::time::sleep(pause).await;
        }
        self.let_others().await;
    }

    /// Lets others have their turn, if the load has lasted for so long.
    pub(super) async fn let_others(&self) {
        if Now::read().instant.saturating_duration_since(self.0.instant) >= UNHEARD {
            tokio::task::yield_now().await;
        }
    }
}

/// Loads the append-only file if the node keeps one, else the file of `dbfilename`, if there is one. When
/// this returns, nobody has been heard since the load ended.
pub(super) async fn at_start(engine: &Engine) -> anyhow::Result<()> {
    let pauses = Pauses::begin();
    if engine.with_core(|core| core.parameter("appendonly")) == "yes" {
        return log(engine, &pauses).await;
    }
    let name = engine.with_core(|core| core.parameter("dbfilename"));
    let Some((mut file, size)) = open(Path::new(&name))? else { return Ok(()) };
    engine.with_core(|core| core.begin_file_load(Now::read(), size));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        engine.with_core(|core| core.load_file(Now::read(), &piece[..count]))?;
        pauses.take(engine).await;
    }
    engine.with_core(|core| core.end_file_load(Now::read()))?;
    Ok(())
}

/// A file and its size, if it is there.
fn open(path: &Path) -> anyhow::Result<Option<(File, u64)>> {
    match File::open(path) {
        Ok(file) => {
            let size = file.metadata()?.len();
            Ok(Some((file, size)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Reads all files of the append-only file. Writes wait from here on for [`resume_log`].
async fn log(engine: &Engine, pauses: &Pauses) -> anyhow::Result<()> {
    let mut append = engine.with_core(|core| Append::open(core))?;
    let may = engine.with_core(|core| core.parameter("aof-load-truncated")) == "yes";
    for aside in append.close_gap(may)? {
        tracing::warn!(
            "!!! Warning: the end of an append-only file is missing, and the file after it is not used: \
             it is kept as {aside}"
        );
    }
    let parts = parts_of(&append);
    let mut total = 0;
    for (path, _) in &parts {
        let size = std::fs::metadata(path).map(|file| file.len());
        total +=
            size.with_context(|| format!("the append-only file {} is unusable", path.display()))?;
    }
    engine.with_core(|core| core.begin_loading(Now::read(), total));
    for (path, last) in &parts {
        part(engine, path, *last, pauses).await.with_context(|| path.display().to_string())?;
    }
    engine.set_append(append);
    engine.with_core(|core| {
        core.end_loading(Now::read());
        core.set_log(true);
        core.hold_writes(Unsaved::Log, true);
    });
    Ok(())
}

/// Makes the append-only file, if there is one, ready to be written, and lets writes go on. Nobody is heard
/// while that is soon done.
pub(super) async fn resume_log(engine: &Engine) -> anyhow::Result<()> {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let work = |append: &mut Append| {
        let resumption = append.resumption();
        move || {
            let resumed = resumption();
            drop(done);
            resumed
        }
    };
    let (resumed, ()) = tokio::join!(biased; engine.change_folder(work, Append::resumed), async {
        let _ = is_done.recv_timeout(UNHEARD);
    });
    // None: it was turned off meanwhile, or there is none.
    let size = resumed.transpose().context("the append-only file cannot be begun")?;
    engine.with_core(|core| {
        if let Some(size) = size {
            core.set_log_base(size);
        }
        core.hold_writes(Unsaved::Log, false);
    });
    Ok(())
}

/// The files to be read, and whether each is the last one: those after it hold nothing.
fn parts_of(append: &Append) -> Vec<(PathBuf, bool)> {
    let paths = append.parts();
    let holds_something = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let last = paths.iter().rposition(holds_something).unwrap_or(0);
    paths.into_iter().enumerate().map(|(n, path)| (path, n >= last)).collect()
}

async fn part(engine: &Engine, path: &Path, last: bool, pauses: &Pauses) -> anyhow::Result<()> {
    let mut reader = PartReader::open(path)?;
    while engine.with_core(|core| reader.read_piece(core))? {
        pauses.take(engine).await;
    }
    engine.with_core(|core| reader.finish(core, path, last))
}

/// Empties the node, and reads all files of the append-only file while everybody waits.
pub(super) fn log_again(core: &mut Core) -> anyhow::Result<()> {
    let parts = parts_of(&Append::open(core)?);
    if parts.is_empty() {
        bail!("there is no append-only file");
    }
    core.begin_log_again();
    for (path, last) in &parts {
        let mut read = || {
            let mut reader = PartReader::open(path)?;
            while reader.read_piece(core)? {}
            reader.finish(core, path, *last)
        };
        read().with_context(|| path.display().to_string())?;
    }
    core.end_log_again();
    Ok(())
}

/// A file of the append-only file, on its way in.
struct PartReader {
    file: File,
    size: u64,
    piece: Vec<u8>,
    begun: bool,
}

impl PartReader {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let Some((file, size)) = open(path)? else { bail!("it is not there") };
        Ok(Self { file, size, piece: vec![0; PIECE_BYTES], begun: false })
    }

    /// Reads and runs the next piece. False at the end.
    fn read_piece(&mut self, core: &mut Core) -> anyhow::Result<bool> {
        let count = self.file.read(&mut self.piece)?;
        let bytes = &self.piece[..count];
        if bytes.is_empty() {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.begun, true) {
            let with_snapshot = bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKEY");
            core.begin_log(Now::read(), with_snapshot);
        }
        core.read_log(Now::read(), bytes)?;
        Ok(true)
    }

    /// The file has ended: the last one may end in the middle of a command.
    fn finish(self, core: &mut Core, path: &Path, last: bool) -> anyhow::Result<()> {
        if !self.begun {
            return Ok(());
        }
        let whole = core.end_log();
        if whole == self.size {
            return Ok(());
        }
        let name = path.display();
        if !last || core.parameter("aof-load-truncated") != "yes" {
            bail!(
                "Unexpected end of file reading the append only file {name}. You can: 1) Make a \
                 backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) \
                 Alternatively you can set the 'aof-load-truncated' configuration option to yes and \
                 restart the server."
            );
        }
        tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
        tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        tracing::warn!("Truncating the AOF {name} at offset {whole}");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole)?;
        file.sync_all()?;
        Ok(())
    }
}
