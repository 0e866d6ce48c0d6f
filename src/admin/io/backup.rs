//! `backup`: every primary's data as an RDB file, read from it as a replica would.

use super::failure::Failure;
use super::inspect::nodes_json;
use super::nodes::connect;
use super::tool::Tool;
use crate::cluster::{Endpoint, NodeId};
use crate::net::ClientOptions;
use bytes::BytesMut;
use memchr::memmem;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server may need this long to write its snapshot before the first byte comes; it sends empty
/// lines meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The header line is short.
const LINE_MAX: usize = 1024;
/// Digits of the mark that ends a stream whose length nobody knows.
const MARK_LEN: usize = 40;

/// `backup`.
pub(super) async fn backup(tool: &mut Tool) -> Result<(), Failure> {
    let folder = PathBuf::from(&tool.invocation.words[1]);
    fs::create_dir_all(&folder).map_err(|error| on_disk(&folder, &error))?;
    let cluster = tool.load(0).await?;
    let checkup = tool.check(&cluster);
    let primaries: Vec<(NodeId, Endpoint)> =
        cluster.snapshot.primaries().map(|node| (node.id(), node.endpoint.clone())).collect();
    let mut files = Vec::new();
    for (id, endpoint) in &primaries {
        tool.say(format!(">>> Node {endpoint} -> Saving RDB..."));
        if tool.is_dry() {
            continue;
        }
        let host = endpoint.host.replace(':', "_");
        let file = folder.join(format!("redis-node-{host}-{}-{id}.rdb", endpoint.port));
        let bytes = save(endpoint, &tool.client, &file).await?;
        tool.say(format!("{bytes} bytes in {}", file.display()));
        files
            .push(json!({"node": id.as_str(), "file": file.display().to_string(), "bytes": bytes}));
    }
    if tool.is_dry() {
        return Ok(());
    }
    let nodes = nodes_json(&cluster.snapshot).to_string();
    let path = folder.join("nodes.json");
    fs::write(&path, nodes).map_err(|error| on_disk(&path, &error))?;
    tool.note("result", json!(files));
    if !checkup.is_well() {
        return Err(Failure::error("The backup is of a cluster that is not well: see above."));
    }
    tool.say(format!("[OK] Backup created into: {}", folder.display()));
    Ok(())
}

fn on_disk(path: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("{}: {error}", path.display()))
}

/// Saves one node's data. The file has its name only once it is whole and on disk.
async fn save(endpoint: &Endpoint, client: &ClientOptions, file: &Path) -> Result<u64, Failure> {
    let (stream, input) = connect(endpoint, client).await?.into_client().into_parts();
    let part = file.with_extension("rdb.part");
    let saved = Transfer { endpoint, stream, input, written: 0 }.receive(&part).await;
    let result = saved.and_then(|bytes| {
        fs::rename(&part, file).map_err(|error| on_disk(file, &error))?;
        Ok(bytes)
    });
    if result.is_err() {
        // Half a backup is worse than none; if it cannot be removed, its name says what it is.
        let _ = fs::remove_file(&part);
    }
    result
}

/// One full synchronisation, of which only the snapshot is wanted.
struct Transfer<'a> {
    endpoint: &'a Endpoint,
    stream: TcpStream,
    input: BytesMut,
    written: u64,
}

impl Transfer<'_> {
    async fn receive(mut self, part: &Path) -> Result<u64, Failure> {
        let broken = |error: io::Error| Failure::at(self.endpoint, error);
        self.stream.write_all(b"SYNC\r\n").await.map_err(broken)?;
        let header = self.header().await?;
        let mut out = fs::File::create(part).map_err(|error| on_disk(part, &error))?;
        match header.strip_prefix("$EOF:") {
            Some(mark) if mark.len() == MARK_LEN => {
                let mark = mark.as_bytes().to_vec();
                self.until_mark(&mut out, part, &mark).await?;
            }
            Some(_) => return Err(self.not_a_snapshot(&header)),
            None => {
                let len = header.strip_prefix('$').and_then(|len| len.parse().ok());
                let len = len.ok_or_else(|| self.not_a_snapshot(&header))?;
                self.exactly(&mut out, part, len).await?;
            }
        }
        out.sync_all().map_err(|error| on_disk(part, &error))?;
        Ok(self.written)
    }

    fn not_a_snapshot(&self, header: &str) -> Failure {
        Failure::at(self.endpoint, format!("SYNC was answered by `{}`", header.escape_debug()))
    }

    /// `$<length>` or `$EOF:<mark>`, after the empty lines that say that a server is at work.
    async fn header(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line = self.input.split_to(end + 1);
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() {
                    return Ok(line);
                }
            } else if self.input.len() > LINE_MAX {
                return Err(Failure::at(self.endpoint, "SYNC was answered by no line"));
            } else {
                self.more().await?;
            }
        }
    }

    async fn more(&mut self) -> Result<(), Failure> {
        self.input.reserve(64 * 1024);
        let read = timeout(SILENCE_MAX, self.stream.read_buf(&mut self.input)).await;
        match read {
            Err(_) => Err(Failure::at(self.endpoint, "nothing came for a minute")),
            Ok(Err(error)) => Err(Failure::at(self.endpoint, error)),
            Ok(Ok(0)) => Err(Failure::at(self.endpoint, "the connection closed in the middle")),
            Ok(Ok(_)) => Ok(()),
        }
    }

    fn write(&mut self, out: &mut fs::File, part: &Path, len: usize) -> Result<(), Failure> {
        let bytes = self.input.split_to(len);
        if self.written == 0 && !bytes.starts_with(b"REDIS") && !bytes.starts_with(b"VALKEY") {
            return Err(Failure::at(self.endpoint, "what it sent is not an RDB file"));
        }
        io::Write::write_all(out, &bytes).map_err(|error| on_disk(part, &error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    async fn exactly(&mut self, out: &mut fs::File, part: &Path, len: u64) -> Result<(), Failure> {
        while self.written < len {
            // The first write is looked at: it must hold the file's first word.
            if self.input.is_empty() || (self.written == 0 && self.input.len() < 9 && len >= 9) {
                self.more().await?;
                continue;
            }
            let left = usize::try_from(len - self.written).unwrap_or(usize::MAX);
            self.write(out, part, left.min(self.input.len()))?;
        }
        Ok(())
    }

    async fn until_mark(
        &mut self,
        out: &mut fs::File,
        part: &Path,
        mark: &[u8],
    ) -> Result<(), Failure> {
        loop {
            if let Some(at) = memmem::find(&self.input, mark) {
                return self.write(out, part, at);
            }
            // The mark may have arrived in part.
            if self.input.len() > mark.len() + 9 {
                let sure = self.input.len() - mark.len();
                self.write(out, part, sure)?;
            }
            self.more().await?;
        }
    }
}
