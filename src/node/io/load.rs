//! Loads the data at the start: pieces of the file, and clients in between, who are told to wait.

use super::engine::Engine;
use crate::clock::Now;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes that are loaded at a time: about a millisecond's.
const PIECE_BYTES: usize = 64 * 1024;

/// Loads the file of `dbfilename`, if there is one.
pub(super) async fn at_start(engine: &Engine) -> anyhow::Result<()> {
    let name = engine.with_core(|core| core.parameter("dbfilename"));
    let mut file = match File::open(Path::new(&name)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let size = file.metadata()?.len();
    engine.with_core(|core| core.begin_file_load(Now::read(), size));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        engine.with_core(|core| core.load_file(Now::read(), &piece[..count]))?;
        tokio::task::yield_now().await;
    }
    engine.with_core(|core| core.end_file_load(Now::read()))?;
    Ok(())
}
